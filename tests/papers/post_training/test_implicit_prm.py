"""Log-ratios as rewards, their losses; the bank; the rivals; how the experiment is wired."""

import copy
import itertools
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from scipy.stats import spearmanr
from torch.nn import functional as F

from stages import zoo
from stages.models import GPT, Cache, seeded
from stages.papers.post_training.implicit_prm import PAPER, arms, bank, experiment, generators, method, rivals, scores
from stages.papers.post_training.implicit_prm.bank import WORDS, Completions
from stages.papers.post_training.implicit_prm.method import Training
from stages.seeding import torch_rng
from stages.tracing import listening
from stages.worlds import chain_prose
from stages.worlds.vocabulary import PAD


def make_model(seed=0, words=None):
    with seeded(seed):
        model = GPT(words or len(WORDS), 16, 2, 4, 96)
    for parameter in model.parameters():
        parameter.data.mul_(2)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def generator():
    return make_model()


@pytest.fixture(scope="module")
def problems():
    return bank.draw(3, 7, "test")


def solution(text):
    return WORDS.encode(text)


def rewritten(text, width=40):
    tokens = solution(text)
    return F.pad(tokens, (0, width - len(tokens)))


@pytest.fixture(scope="module")
def solutions(generator, problems):
    """Two solutions to each of three problems: right ones, and one that is wrong in each of three ways."""
    plan = F.pad(chain_prose.worked(problems), (0, 9))
    made = plan.repeat_interleave(2, 0)
    for place in (7 + 5, 22):  # the second step's value, and the answer
        made[1, place] = 1 + made[1, place] % 7
    made[3, 21:] = 0  # no answer
    made[5, 14:] = rewritten(f"<answer> {WORDS.tokens[made[5, 22]]} <end>", 19)  # a step is missing
    prompts = problems.question.repeat_interleave(2, 0)
    return bank.graded(generator, prompts, made, problems.answer, 2)


# ---- rewards, values, scores


def test_q_is_the_log_ratio_of_the_part_written_so_far_and_steps_are_its_rises(generator, solutions):
    model, beta = make_model(1), 0.7
    q = method.values(method.log_ratios(model, solutions), beta)
    steps = method.judge_steps(model, solutions, beta)
    for row in (1, 3):
        tokens, asked = solutions.tokens[row], 24
        for end in (asked, 37, int(solutions.ends[row].max())):
            part = tokens[None, : end + 1]
            both = [
                each(part).log_softmax(-1)[0, :-1].gather(1, part[0, 1:, None])[asked - 1 :].sum()
                for each in (model, generator)
            ]
            assert q[row, end].item() == pytest.approx(beta * (both[0] - both[1]).item(), abs=1e-3)
        ends = [end for end in solutions.ends[row].tolist() if end >= 0]
        rises = [(q[row, end] - q[row, last]).item() for last, end in zip([0, *ends], ends, strict=False)]
        assert steps[row].tolist() == pytest.approx([*rises, *[0] * (len(steps[row]) - len(rises))], abs=1e-3)
    assert (q[:, :24] == 0).all()
    torch.testing.assert_close(steps.sum(1), beta * method.whole(model, solutions), atol=1e-3, rtol=1e-3)
    likely = rivals.likelihood_steps(solutions)
    torch.testing.assert_close(likely.sum(1), solutions.reference.sum(1), atol=1e-3, rtol=1e-3)
    assert likely[0, 1].item() == pytest.approx(solutions.reference[0, 31:38].sum().item(), abs=1e-3)


def test_q_is_the_soft_value_of_the_rewards_to_come_for_any_model():
    """All of 3^4 texts are written out: q_t = β log E exp(r / β) under the generator."""
    generator, model, beta = make_model(2, 4), make_model(3, 4), 0.4
    texts = torch.tensor([[1, *rest] for rest in itertools.product((0, 1, 2, 3), repeat=4)])
    counted = torch.ones_like(texts, dtype=torch.bool)
    counted[:, 0] = False
    reference = method.token_log_probs(generator, texts, counted)
    given = SimpleNamespace(tokens=texts, counted=counted, reference=reference)
    q = method.values(method.log_ratios(model, given), beta)
    for start in ((1, 2), (1, 3, 0)):
        n = len(start)
        here = (texts[:, :n] == torch.tensor(start)).all(1)
        chance = reference[here, n:].sum(1).exp()
        assert chance.sum().item() == pytest.approx(1, abs=1e-4)
        soft = beta * (chance * (q[here, -1] / beta).exp()).sum().log()
        torch.testing.assert_close(q[here, n - 1], soft.expand(int(here.sum())), atol=1e-4, rtol=1e-3)


# ---- losses and training


def test_losses_are_those_worked_out_pair_by_pair_and_move_the_judge_alone(generator, solutions):
    judge, beta = make_model(1).requires_grad_(True), 0.3
    r = beta * method.whole(judge, solutions)
    right = solutions.right.tolist()
    assert right == [True, False, True, False, True, True]
    by_hand = [-F.logsigmoid(x if ok else -x) for x, ok in zip(r, right, strict=True)]
    loss = method.cross_entropy(judge, solutions, beta)
    assert loss.item() == pytest.approx(torch.stack(by_hand).mean().item(), rel=1e-4)
    dealt = replace(solutions, right=solutions.right.roll(1))  # the answers count, not the labels of steps
    other = [-F.logsigmoid(x if ok else -x) for x, ok in zip(r, [right[-1], *right[:-1]], strict=True)]
    assert method.cross_entropy(judge, dealt, beta).item() == pytest.approx(torch.stack(other).mean().item(), rel=1e-4)
    pairs = [-F.logsigmoid(r[i] - r[i + 1]) for i in (0, 2)]  # the third prompt has no wrong solution
    found = method.preferences(judge, solutions, beta)
    assert found.item() == pytest.approx(torch.stack(pairs).mean().item(), rel=1e-4)
    (loss + found).backward()
    assert all(parameter.grad is not None for parameter in judge.parameters())
    assert all(parameter.grad is None for parameter in generator.parameters())
    wide = replace(solutions.take(torch.tensor([0, 1, 2, 3])), samples=4)
    r = r[:4]
    pairs = [-F.logsigmoid(r[i] - r[j]) for i in (0, 2) for j in (1, 3)]
    assert method.preferences(judge, wide, beta).item() == pytest.approx(torch.stack(pairs).mean().item(), rel=1e-4)


def test_a_judge_starts_as_the_generator_and_learns_as_told(generator, solutions, monkeypatch):
    seen, made, fitted = [], [], []
    plain, fit = method.optimiser, method.fit

    def objective(judge, part, beta):
        seen.append((len(part), beta, method.whole(judge, part).abs().max().item(), part.tokens[::2, 2:8].tolist()))
        return method.cross_entropy(judge, part, beta)

    monkeypatch.setattr(method, "optimiser", lambda *a, **o: (made.append((a[1:], o)), plain(*a, **o))[1])
    monkeypatch.setattr(method, "fit", lambda *a, **o: (fitted.append((a[1], o)), fit(*a, **o))[1])
    before = copy.deepcopy(generator.state_dict())
    how = Training(0.01, 6, beta=0.4, prompts=5)
    judge = method.implicit_judge(generator, solutions, objective, how, torch_rng(0, "updates"))
    assert made == [(("adamw", 0.01), {"betas": (0.9, 0.95), "weight_decay": 0.0})]
    assert [one[:2] for one in seen] == [(10, 0.4)] * 6
    assert seen[0][2] < 1e-4 < seen[-1][2]
    assert seen[0][3] != seen[1][3]
    asked = {tuple(prompt) for *_, prompts in seen for prompt in prompts}
    assert asked == {tuple(prompt) for prompt in solutions.tokens[::2, 2:8].tolist()}, "every prompt is learnt from"
    ((updates, options),) = fitted
    assert (updates, options["clip"]) == (6, 1)
    assert options["schedule"](6) == pytest.approx(0.1)
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
    assert not any(p.requires_grad for p in judge.parameters())
    again = method.implicit_judge(generator, solutions, method.cross_entropy, how, torch_rng(0, "updates"))
    assert torch.equal(judge.positions, again.positions)
    other = method.implicit_judge(generator, solutions, method.cross_entropy, how, torch_rng(1, "updates"))
    assert not torch.equal(judge.positions, other.positions)
    monkeypatch.setattr(method, "fit", lambda *a, **o: fitted.append((a[1], o)))
    method.learn(make_model(1), solutions, objective, Training(0.01, 200), torch_rng(0))
    factor = fitted[-1][1]["schedule"]
    assert [factor(step) for step in (0, 5, 6, 103, 200)] == pytest.approx([1 / 6, 1, 1, 0.55, 0.1])


# ---- the bank


def test_solutions_are_graded_by_their_answers_and_cut_into_steps(generator, problems, solutions, monkeypatch):
    s = solutions
    assert s.ends.tolist() == [
        [30, 37, 44, 47],
        [30, 37, 44, 47],
        [30, 37, 44, 47],
        [30, 37, 44, -1],
        [30, 37, 44, 47],
        [30, 37, 40, -1],
    ]
    assert s.answer[3] == -1
    assert torch.equal(s.answer[[0, 2, 4, 5]], problems.answer[[0, 1, 2, 2]])
    assert torch.equal(s.labels, s.right[:, None].float().expand(6, 4))
    assert (s.counted == ((s.tokens != PAD) & (torch.arange(s.tokens.shape[1]) >= 24))).all()
    assert torch.equal(s.tokens[:, :24], problems.question.repeat_interleave(2, 0))
    expected = method.token_log_probs(generator, s.tokens, s.counted)
    torch.testing.assert_close(s.reference, expected, atol=1e-4, rtol=1e-4)
    assert bank.first_wrong(s, problems).tolist() == [4, 1, 4, 2, 4, 2]
    assert s.mixed().tolist() == [0, 1]
    assert torch.equal(s.of(torch.tensor([2, 0])).tokens, s.tokens[[4, 5, 0, 1]])
    assert [len(part) for part in s.split(4)] == [4, 2]
    asked, chance = [], torch_rng(0)
    monkeypatch.setattr(bank, "write", lambda *given: (asked.append(given), s.tokens[:, 24:])[1])
    again = bank.solve(generator, problems, 2, 0.7, chance)
    assert asked == [(generator, problems.question, 24, 0.7, chance, 2)]
    for name in ("tokens", "ends", "right", "answer", "labels"):
        assert torch.equal(getattr(again, name), getattr(s, name)), name
    assert (again.samples, again.prompts) == (2, 3)


class Parrot:
    """Stands in for the generator: it writes planted answers, in turns right and wrong, and notes what it read."""

    def __init__(self, answer):
        self.answer, self.read, self.asked, self.chances = answer, [], [], []

    def extend(self, prefixes):
        self.read.append(prefixes)
        states = prefixes[:, None, :, None].float()
        return None, Cache(((states, 2 * states),))

    def generate(self, last, new, *, stop, temperature, generator, cache):
        ((keys, values),) = cache.blocks
        assert torch.equal(2 * keys, values)
        whole = torch.cat([keys[:, 0, :, 0].long(), last], 1)
        self.asked.append((whole, new, temperature))
        self.chances.append(generator)
        rows = torch.arange(len(last))
        right = rows % 4 != 1
        number = torch.where(right, self.answer + 1, 1 + (self.answer + 1) % 7)
        end = torch.full_like(number, bank.END)
        return torch.stack([torch.full_like(number, bank.ANSWER), number, end, end], 1)


def test_completions_go_on_from_every_step_but_the_last_and_are_shared_by_what_is_alike(solutions):
    goal = torch.tensor([3, 3, 5])  # 5 is never written
    parrot = Parrot(3)
    chance = torch_rng(0)
    found = bank.complete(parrot, solutions, goal, 2, 0.9, chance)
    assert all(one is chance for one in parrot.chances)
    # at first the two solutions to a prompt are alike; the first prompt's part in the second step
    assert [(len(p), p.shape[1], new, t) for p, new, t in parrot.asked] == [
        (6, 31, 17, 0.9),
        (8, 38, 10, 0.9),
        (8, 45, 3, 0.9),
    ]
    assert [len(prefixes) for prefixes in parrot.read] == [3, 4, 4]  # once for both completions
    # of four completions in a row the second is wrong
    share = {}
    for prefixes, *_ in parrot.asked:
        for i, prefix in enumerate(prefixes[::2]):
            share[tuple(prefix.tolist())] = 0.5 if i % 2 == 0 else 1.0
    for row, ends in enumerate(solutions.ends.tolist()):
        ends = [end for end in ends if end >= 0]
        expected = [share[tuple(solutions.tokens[row, : end + 1].tolist())] * (row < 4) for end in ends[:-1]]
        expected += [float(solutions.right[row])] + [0] * (4 - len(ends))
        assert found.success[row].tolist() == expected, row
    assert found.cost.tolist() == [
        [6, 6, 6, 0],
        [0, 6, 6, 0],
        [6, 6, 6, 0],
        [0, 0, 0, 0],
        [6, 6, 6, 0],
        [0, 0, 0, 0],
    ]
    made = bank.write(parrot, torch.tensor([[1, 1], [2, 2], [3, 3]]), 6, 0.8, torch_rng(0), 2)
    assert parrot.asked[-1][0].tolist() == [[1, 1], [1, 1], [2, 2], [2, 2], [3, 3], [3, 3]]
    assert (made[:, 2] == bank.END).all()
    assert (made[:, 3:] == PAD).all()


def test_lessons_end_when_the_running_mean_solves_enough_and_leave_it(monkeypatch):
    looks, seen = iter([30, 40, 60, 90]), []

    def solved(model, n, samples, seed, name):
        assert (n, samples, seed, name) == (120, 4, 5, "school")
        seen.append(model.positions.clone())
        return torch.full((4, 25), next(looks) / 100)

    def average(model, keep):
        assert keep == 0.6
        return plain[1](model, keep)

    def sample(n, *given):
        sampled.append((n, *given))
        return plain[2](n, 0, *given[1:])

    def solve(model, problems, samples, temperature, chance):
        asked.append((problems.question, samples, temperature, chance.initial_seed()))
        return SimpleNamespace(right=torch.tensor([True, False, False, False, True, True]))

    plain = (generators.solved, generators.average, chain_prose.sample)
    monkeypatch.setattr(generators, "solved", solved)
    monkeypatch.setattr(generators, "average", average)
    sampled, asked = [], []
    for name, value in (("FIRST", 4), ("FAR", 3), ("NEAR", 1)):
        monkeypatch.setattr(generators, name, value)
    how = generators.Schooling(worked=8, solved=50, batch=4, rate=0.02, keep=0.6, width=16, depth=1)
    with seeded(0):
        model = generators.make(how)
    other, *pair = (copy.deepcopy(model) for _ in range(3))
    losses = generators.train(model, how, 5)
    assert len(losses) == 8  # looks after 6, 7 and 8 updates
    assert losses[-1] < losses[0]
    assert torch.equal(model.positions, seen[-1])  # what was looked at is what is kept
    assert len(generators.train(other, replace(how, solved=500, lessons=6), 5)) == 6
    assert not torch.equal(other.positions, model.positions)
    # a seed decides the problems, the order of lessons, the first weights and the looks
    monkeypatch.setattr(generators, "chain_prose", SimpleNamespace(sample=sample, worked=chain_prose.worked))
    for seed, each in zip((5, 6), pair, strict=True):
        generators.train(each, replace(how, lessons=3), seed)
    assert [(given[:2], given[3]) for given in sampled] == [((8, 5), ("worked",)), ((8, 6), ("worked",))]
    assert not torch.equal(pair[0].positions, pair[1].positions)
    trained = []
    monkeypatch.setattr(generators, "train", lambda *given: trained.append(given))
    made = generators.make_generator(6)
    with seeded(6, "chain_generator"):
        expected = generators.make(generators.Schooling())
    assert torch.equal(made.positions, expected.positions)
    assert trained == [(made, generators.Schooling(), 6)]
    monkeypatch.setattr(bank, "solve", solve)
    right = plain[0](model, 3, 2, 6, "school")
    assert right.tolist() == [[True, False], [False, False], [True, True]]
    ((question, *others),) = asked
    assert torch.equal(question, bank.draw(3, 6, "school").question)
    assert others == [2, 0.8, torch_rng(6, "implicit prm", "school").initial_seed()]
    monkeypatch.setattr(generators, "solved", lambda model, n, samples, seed, name: right)
    told = generators.measure(model, how, 6)
    assert list(told.values()) == pytest.approx([50, 200 / 3])


# ---- the rivals


def test_scalar_heads_read_states_and_likelihoods_and_learn_a_label_at_the_end_of_every_step(generator, solutions):
    with seeded(0):
        judge = rivals.ScalarJudge(generator)
    labels = torch.rand(6, 4, generator=torch_rng(1))
    given = replace(solutions, labels=labels)
    state = generator.extend(solutions.tokens)[0]
    reference = solutions.reference[..., None]
    read = state + reference * judge.likely.weight[:, 0] + judge.likely.bias
    logits = torch.zeros(6, 4)
    terms = []
    for row in range(6):
        for step, end in enumerate(solutions.ends[row].tolist()):
            if end >= 0:
                so_far = judge.norm(judge.block(read[row : row + 1, : end + 1])[0])[0, -1]
                logits[row, step] = so_far @ judge.head.weight[0] + judge.head.bias[0]
                terms.append(F.binary_cross_entropy_with_logits(logits[row, step], labels[row, step]))
    loss = rivals.scalar_steps(judge, given, 0.0)
    assert loss.item() == pytest.approx(torch.stack(terms).mean().item(), rel=1e-3)
    torch.testing.assert_close(rivals.judge_ends(judge, solutions), logits, atol=1e-3, rtol=1e-3)
    loss.backward()
    assert all(parameter.grad is not None for parameter in judge.parameters())
    assert all(parameter.grad is None for parameter in generator.parameters())
    other = replace(solutions, reference=solutions.reference.clone())
    other.reference[0, 30] -= 3
    changed = (rivals.judge_ends(judge, other) - logits).abs() > 1e-4
    assert changed.tolist() == [[True] * 4] + [[False] * 4] * 5  # likelihoods are read
    # the new weights are a seed's
    how = Training(1e-9, 1, prompts=1)
    one, same, other = (rivals.scalar_judge(generator, solutions, how, seed, torch_rng(0)) for seed in (1, 1, 2))
    torch.testing.assert_close(one.head.weight, same.head.weight, rtol=0, atol=0)
    assert not torch.allclose(one.head.weight, other.head.weight)
    torch.testing.assert_close(one.network.positions, generator.positions, atol=1e-6, rtol=0)


def test_step_labels_in_the_implicit_form_are_learnt_by_q_at_the_ends_of_steps(generator, solutions):
    judge, beta = make_model(1).requires_grad_(True), 0.4
    labels = torch.rand(6, 4, generator=torch_rng(1))
    q = beta * (method.log_ratios(judge, solutions)).cumsum(1)
    terms = [
        F.binary_cross_entropy_with_logits(q[row, end], labels[row, step])
        for row in range(6)
        for step, end in enumerate(solutions.ends[row].tolist())
        if end >= 0
    ]
    loss = rivals.labelled_values(judge, replace(solutions, labels=labels), beta)
    assert loss.item() == pytest.approx(torch.stack(terms).mean().item(), rel=1e-3)
    ends = rivals.judge_ends(partial(rivals.values_at_ends, judge, beta=beta), solutions)
    torch.testing.assert_close(ends, method.judge_steps(judge, solutions, beta).cumsum(1).where(solutions.ends >= 0, 0))
    loss.backward()
    assert all(parameter.grad is None for parameter in generator.parameters())


def test_math_shepherd_calls_a_step_good_if_one_completion_is_right_and_counts_all_tokens(solutions):
    success = torch.zeros(6, 4)
    success[0, :3] = torch.tensor([0.25, 0.0, 1.0])
    cost = torch.zeros(6, 4, dtype=torch.long)
    cost[:, 0] = torch.tensor([10, 10, 30, 30, 500, 500])
    completions = Completions(success, cost)
    labelled = rivals.shepherd_labels(solutions, completions)
    assert labelled.labels[0].tolist() == [1, 0, 1, 0]
    assert torch.equal(solutions.labels[0], torch.ones(4))
    # solutions have 24, 24, 24, 21, 24 and 17 tokens, 134 in all; prompts with completions 68 and 105
    assert rivals.affordable(solutions, completions) == 1
    assert rivals.affordable(solutions, replace(completions, cost=cost // 2)) == 2
    assert rivals.affordable(solutions, replace(completions, cost=0 * cost)) == 3


# ---- the scores


def test_steps_choices_of_n_votes_and_first_wrong_steps_are_counted_by_hand(solutions, problems):
    steps = torch.tensor([[3.0, -1.0, 2.0], [1.0, 4.0, 0.0]])
    ends = torch.tensor([[5, 8, 9], [5, 7, -1]])
    assert method.lowest(steps, ends).tolist() == [-1, 1]
    assert arms.total(steps, ends).tolist() == [4, 5]
    assert arms.final(steps, ends).tolist() == [2, 4]
    q = torch.tensor([[0.0, 0.5, 0.5, 2.0, 1.0]])
    rises = method.step_rewards(q, torch.tensor([[1, 3, 4, -1]]))
    torch.testing.assert_close(rises, torch.tensor([[0.5, 1.5, -1.0, 0.0]]))

    generator = torch_rng(0)
    points = torch.rand(3 * 5, generator=generator)
    right = torch.rand(3 * 5, generator=generator) < 0.5
    for n in (1, 2, 3, 5):
        won = []
        for prompt in range(3):
            for rows in itertools.combinations(range(5 * prompt, 5 * prompt + 5), n):
                won.append(right[max(rows, key=lambda row: points[row])].item())
        assert scores.best_of(points, right, 5, n).item() == pytest.approx(100 * sum(won) / len(won))

    given = SimpleNamespace(
        answer=torch.tensor([1, 1, 2, 5, 5, 6, -1, -1, 4]),
        right=torch.tensor([1, 1, 0, 0, 0, 1, 0, 0, 1]).bool(),
        samples=3,
    )
    assert scores.majority(given).item() == pytest.approx(100 * (1 + 0 + 1) / 3)
    assert scores.oracle(given).item() == pytest.approx(100)
    steps = torch.arange(24.0).view(6, 4)
    wrong = bank.first_wrong(solutions, problems)
    bad = [steps[1, 1], steps[3, 2], steps[5, 2]]
    good = [*steps[0], steps[1, 0], *steps[2], *steps[3, :2], *steps[4], *steps[5, :2]]
    share = sum(float(b < g) for b in bad for g in good) / (len(bad) * len(good))
    assert scores.wrong_step_auc(steps, solutions, wrong) == pytest.approx(share)


# ---- the wiring of the experiment

SEED = 4
TINY = experiment.Settings(
    shipped=True, prompts=7, samples=4, completions=2, problems=6, candidates=8, tracked=3, times=5, temperature=0.9
)
CROSS, DPO, SCALAR = experiment.CROSS, experiment.DPO, experiment.SCALAR
SHEPHERD, EQUAL, SHUFFLED = experiment.SHEPHERD, experiment.EQUAL, experiment.SHUFFLED
HEADED = experiment.HEADED
HOW = {name: Training(0.01 * (1 + i), 10 + i, 0.1 + 0.2 * i) for i, name in enumerate(experiment.ARMS)}  # no two alike


def uniform(*shape, seed=0):
    return torch.rand(shape, generator=torch_rng(seed, "test"))


class Recorder:
    """Stands in for what writes and what learns: plants solutions, completions and judges, and notes what it got."""

    def __init__(self):
        self.solved, self.completed, self.calls = [], [], []

    def solve(self, generator, problems, samples, temperature, chance):
        """Right solutions, but for a step and the answer of every third, and the first of every prompt."""
        call = SimpleNamespace(generator=generator, problems=problems, how=(samples, temperature))
        call.state = chance.get_state()
        torch.rand(1, generator=chance)
        self.solved.append(call)
        made = chain_prose.worked(problems).repeat_interleave(samples, 0)
        rows = torch.arange(len(made))
        wrong = (rows % 3 == 0) | (rows % samples == 0)
        wrong &= rows >= samples  # the first prompt has right ones alone
        for place in (7 * 2 + 5, 22):
            made[:, place] = torch.where(wrong, 1 + made[:, place] % 7, made[:, place])
        prompts = problems.question.repeat_interleave(samples, 0)
        found = bank.graded(generator, prompts, made, problems.answer, samples)
        call.share = 100 * found.right.float().mean().item()
        return found

    def complete(self, generator, solutions, answers, times, temperature, chance):
        self.completed.append((generator, solutions, answers, times, temperature, chance.get_state()))
        shape = solutions.ends.shape
        success = (2 * uniform(*shape, seed=solutions.prompts)).floor() / 2
        return Completions(success, torch.full(shape, 9))

    def implicit(self, generator, solutions, objective, how, chance):
        return self.note("implicit", generator, solutions, objective, how, chance)

    def scalar(self, generator, solutions, how, seed, chance):
        assert seed in (SEED, SEED + 1)
        return self.note("scalar", generator, solutions, None, how, chance)

    def note(self, kind, generator, solutions, objective, how, chance):
        judge = make_model(20 + len(self.calls))
        if kind == "scalar":
            with seeded(30 + len(self.calls)):
                judge = rivals.ScalarJudge(judge).requires_grad_(False)
        state = chance.get_state()
        torch.rand(1, generator=chance)
        call = SimpleNamespace(
            kind=kind, generator=generator, bank=solutions, objective=objective, how=how, state=state, judge=judge
        )
        self.calls.append(call)
        return judge


def record(settings, seed):
    """Run the experiment with a recorder in the place of what writes and learns."""
    recorder, model = Recorder(), make_model()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo, "load", {"chain_generator": model}.get)
        for module in (bank, scores):
            patch.setattr(module, "solve", recorder.solve)
            patch.setattr(module, "complete", recorder.complete)
        patch.setattr(arms, "implicit_judge", recorder.implicit)
        patch.setattr(arms, "scalar_judge", recorder.scalar)
        planted = {name: replace(arm, how=HOW[name]) for name, arm in experiment.ARMS.items()}
        patch.setattr(experiment, "ARMS", planted)
        outcome = PAPER.run(settings, seed)
    found = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    learners = [name for name in settings.only or planted if name != experiment.LIKELIHOOD]
    calls = dict(zip(learners, recorder.calls, strict=True))
    return SimpleNamespace(recorder=recorder, calls=calls, scores=found, outcome=outcome, model=model)


@pytest.fixture(scope="module")
def wired():
    return record(TINY, SEED)


def test_every_arm_learns_from_its_own_labels_in_its_own_way(wired):
    first = wired.recorder.solved[0]
    given = next(iter(wired.calls.values())).bank
    assert first.how == (4, 0.9)
    assert given.prompts == 7
    assert torch.equal(given.tokens[:, :24], first.problems.question.repeat_interleave(4, 0))
    ((generator, completed, answers, *how, state),) = [one for one in wired.recorder.completed if one[1].prompts == 7]
    assert generator is wired.model
    assert torch.equal(completed.tokens, given.tokens)
    assert torch.equal(answers, first.problems.answer)
    assert how == [2, 0.9]
    assert torch.equal(state, torch_rng(SEED, "implicit prm", "completions").get_state())
    labels = uniform(*given.ends.shape, seed=7) >= 0.5
    answer = given.right[:, None].expand_as(labels)
    # 7 x 4 solutions have 24 tokens; with four steps completed at 9 tokens each they have 60
    equal = 2
    expected = {
        CROSS: ("implicit", method.cross_entropy, 7, answer),
        DPO: ("implicit", method.preferences, 6, answer[4:]),
        SCALAR: ("scalar", None, 7, answer),
        SHEPHERD: ("implicit", rivals.labelled_values, 7, labels),
        EQUAL: ("implicit", rivals.labelled_values, equal, labels[:8]),
        HEADED: ("scalar", None, 7, labels),
        SHUFFLED: ("implicit", method.cross_entropy, 7, answer),
    }
    assert set(expected) | {experiment.LIKELIHOOD} == set(experiment.ARMS)
    state = torch_rng(SEED, "implicit prm", "updates").get_state()
    for name, (kind, objective, prompts, truth) in expected.items():
        call = wired.calls[name]
        assert (call.kind, call.objective, call.bank.prompts) == (kind, objective, prompts), name
        assert call.generator is wired.model, name
        assert call.how == HOW[name], name
        assert torch.equal(call.state, state), name
        rows = slice(4, None) if name == DPO else slice(0, 4 * prompts)
        assert torch.equal(call.bank.tokens, given.tokens[rows]), name
        assert torch.equal(call.bank.labels.bool(), truth), name
        same = torch.equal(call.bank.right, given.right[rows])
        assert same != (name == SHUFFLED), name
    order = torch.randperm(28, generator=torch_rng(SEED, "implicit prm", "shuffled"))
    assert torch.equal(wired.calls[SHUFFLED].bank.right, given.right[order])
    spent = {name: wired.scores[name, scores.SPENT] for name in expected}
    own, all_in = 0.024, 0.060
    assert spent == pytest.approx(
        {name: 28 * own for name in expected} | {SHEPHERD: 28 * all_in, EQUAL: 8 * all_in, HEADED: 28 * all_in}
    )


def test_a_seed_decides_problems_solutions_and_updates_and_the_test_is_apart(wired):
    other = record(replace(TINY, only=(CROSS, SCALAR)), SEED + 1)
    learnt, tested = (wired.recorder.solved[i].problems for i in (0, 1))
    asked = {row.numpy().tobytes() for row in learnt.question}
    assert len(asked) == 7
    assert not asked & {row.numpy().tobytes() for row in tested.question}
    assert not torch.equal(other.recorder.solved[0].problems.question, learnt.question)
    assert not torch.equal(other.recorder.solved[1].problems.question, tested.question)
    assert not torch.equal(other.calls[CROSS].state, wired.calls[CROSS].state)
    assert not torch.equal(other.calls[CROSS].bank.right, wired.calls[SHUFFLED].bank.right)
    few = record(replace(TINY, only=(CROSS,), updates=3), SEED)
    assert few.calls[CROSS].how == replace(HOW[CROSS], updates=3)
    many = record(replace(TINY, only=(CROSS,), updates=3_000), SEED)
    assert many.calls[CROSS].how == HOW[CROSS]
    for seed, run in ((SEED, wired), (SEED + 1, other)):
        stream = torch_rng(seed, "implicit prm", "solutions")
        for call in run.recorder.solved[:2]:
            assert torch.equal(call.state, stream.get_state())
            torch.rand(1, generator=stream)
    # a seed trains its own generator where none is shipped
    made = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generators, "make_generator", lambda seed: (made.append((seed, make_model(9))), made[0][1])[1])
        own = record(replace(TINY, shipped=False, only=(CROSS,)), SEED)
    ((seed, model),) = made
    assert seed == SEED
    assert {call.generator for call in (*own.recorder.solved[:2], own.calls[CROSS])} == {model}


def by_hand(wired):
    """Each judge's rewards of the steps of the test, and the test."""
    test = wired.outcome.exhibits["lab"].test
    place = [24, *(test.ends[0] + 1).tolist()]
    assert (test.ends == test.ends[0]).all()

    def pieces(values):
        return torch.stack([values[:, a:b].sum(1) for a, b in itertools.pairwise(place)], 1)

    def log_probs(model):
        chances = model(test.tokens).log_softmax(-1)
        return F.pad(chances[:, :-1].gather(2, test.tokens[:, 1:, None])[..., 0], (1, 0))

    reference = log_probs(wired.model)
    steps = {experiment.LIKELIHOOD: pieces(reference)}
    for name, call in wired.calls.items():
        if call.kind == "implicit":
            steps[name] = HOW[name].beta * pieces(log_probs(call.judge) - reference)
        else:
            states = call.judge.network.extend(test.tokens)[0] + call.judge.likely(test.reference[..., None])
            steps[name] = call.judge.head(call.judge.norm(call.judge.block(states)[0]))[:, test.ends[0], 0]
    for name in (SHEPHERD, EQUAL):
        steps[name] = steps[name].cumsum(1)  # of the whole so far
    steps[experiment.ALONE] = pieces(log_probs(wired.calls[CROSS].judge))
    return steps, test


def test_scores_are_those_worked_out_by_hand(wired):
    steps, test = by_hand(wired)
    lowest = {name: each.amin(1) for name, each in steps.items()}
    points = lowest | {
        experiment.LIKELIHOOD: steps[experiment.LIKELIHOOD].sum(1),
        SCALAR: steps[SCALAR][:, -1],
        experiment.SUM: steps[CROSS].sum(1),
    }
    for name, each in steps.items():
        if name != experiment.ALONE:
            torch.testing.assert_close(wired.outcome.exhibits[name][1], each, atol=1e-3, rtol=1e-3)
    steps[experiment.SUM] = steps[CROSS]
    best = {}
    for name, each in points.items():
        picked = each.view(6, 8).argmax(1)
        best[name] = 100 * test.right.view(6, 8).gather(1, picked[:, None]).float().mean().item()
        assert wired.scores[name, scores.BEST] == pytest.approx(best[name], abs=1e-3), name
        gap = each[test.right][:, None] - each[~test.right]
        share = ((gap > 1e-5).float() + (gap.abs() <= 1e-5) / 2).mean().item()  # some have their worst step in common
        assert wired.scores[name, scores.ANSWERS] == pytest.approx(share, abs=1e-3), name
        slips = steps[name][~test.right, 2]
        fine = torch.cat([steps[name][test.right].flatten(), steps[name][~test.right, :2].flatten()])
        share = (slips[:, None] < fine).float().mean().item()
        assert wired.scores[name, scores.WRONG_STEP] == pytest.approx(share, abs=1e-3), name
    assert experiment.REWARDS == (CROSS, DPO, SCALAR, SHEPHERD, EQUAL, HEADED)
    learnt = [best[name] for name in experiment.REWARDS]
    assert wired.scores[experiment.WEAKEST, scores.BEST] == pytest.approx(min(learnt), abs=1e-3)
    one = 100 * test.right.float().mean().item()
    for metric in (scores.BEST, scores.POLICY):
        assert wired.scores[experiment.GENERATOR, metric] == pytest.approx(one)
    assert wired.scores[experiment.GENERATOR, scores.MIXED] == pytest.approx(500 / 6)
    assert wired.scores[experiment.ORACLE, scores.BEST] == pytest.approx(100)
    # all wrong answers to a prompt are one number, and two prompts have as many wrong as right ones
    share = test.right.view(6, 8).float().mean(1)
    assert (share == 0.5).sum() == 2
    voted = 100 * ((share > 0.5).float() + (share == 0.5) / 2).mean().item()
    assert wired.scores[experiment.MAJORITY, scores.BEST] == pytest.approx(voted)
    for row in wired.outcome.curves:
        assert row["x"] == [1, 2, 4, 8]
        assert row["y"][0] == pytest.approx(one, abs=1e-3), row["method"]
        assert row["y"][-1] == pytest.approx(wired.scores[row["method"], scores.BEST], abs=1e-3), row["method"]
    assert len(wired.outcome.curves) == len(best) + 2
    solvers = [call.generator for call in wired.recorder.solved]
    assert solvers == [wired.model, wired.model, wired.calls[CROSS].judge, wired.calls[DPO].judge]
    assert all(call.problems is wired.recorder.solved[1].problems for call in wired.recorder.solved[2:])
    assert [call.how for call in wired.recorder.solved] == [(4, 0.9), (8, 0.9), (4, 0.9), (4, 0.9)]
    for name, call in zip((CROSS, DPO), wired.recorder.solved[2:], strict=True):
        assert torch.equal(call.state, torch_rng(SEED, "implicit prm", "policy").get_state())
        assert wired.scores[name, scores.POLICY] == pytest.approx(call.share)
        assert abs(call.share - one) > 1
    ((source, tracked, answers, times, heat, state),) = [one for one in wired.recorder.completed if one[1].prompts == 3]
    assert source is wired.model
    assert torch.equal(tracked.tokens, test.tokens[[0, 8, 16]])
    assert (tracked.samples, times, heat) == (1, 5, 0.9)
    assert torch.equal(state, torch_rng(SEED, "implicit prm", "tracked").get_state())
    assert torch.equal(answers, wired.recorder.solved[1].problems.answer[:3])
    found = wired.outcome.exhibits["tracked"]
    torch.testing.assert_close(found.q, steps[CROSS][[0, 8, 16]].cumsum(1), atol=1e-3, rtol=1e-3)
    rank = spearmanr(found.q[:, :-1].flatten(), found.success[:, :-1].flatten()).statistic
    assert wired.scores[CROSS, scores.TRACKS] == pytest.approx(rank)


# ---- the record


def test_claims_and_gates_compare_what_they_say_and_a_small_run_has_all_of_it(monkeypatch):
    claims = {c.key: (c.metric, c.better, c.worse, c.margin, c.kind) for c in PAPER.claims}
    assert claims == {
        "C1": (scores.BEST, CROSS, EQUAL, 2, "superiority"),
        "C2": (scores.BEST, CROSS, SHEPHERD, 3, "noninferiority"),
        "C3": (scores.WRONG_STEP, CROSS, SCALAR, 0.03, "superiority"),
        "C4": (scores.BEST, CROSS, experiment.SUM, 0, "superiority"),
        "C5": (scores.BEST, CROSS, experiment.LIKELIHOOD, 3, "superiority"),
        "C6": (scores.BEST, DPO, CROSS, 0, "superiority"),
    }
    also = {c.key: (c.metric, c.better, c.worse) for c in PAPER.also}
    assert also == {
        "C1b": (scores.BEST, DPO, EQUAL),
        "C1c": (scores.BEST, CROSS, SCALAR),
        "C1d": (scores.BEST, CROSS, SHUFFLED),
        "C1e": (scores.BEST, CROSS, experiment.MAJORITY),
        "C2b": (scores.BEST, CROSS, HEADED),
        "C2c": (scores.BEST, SHEPHERD, HEADED),
        "C3b": (scores.WRONG_STEP, CROSS, experiment.LIKELIHOOD),
        "C3c": (scores.WRONG_STEP, CROSS, SHEPHERD),
        "C3d": (scores.TRACKS, CROSS, None),
        "C5b": (scores.BEST, CROSS, experiment.ALONE),
        "C6b": (scores.POLICY, CROSS, experiment.GENERATOR),
        "C6c": (scores.POLICY, DPO, experiment.GENERATOR),
    }
    assert {(c.margin, c.kind, c.lower_is_better) for c in PAPER.also} == {(0, "superiority", False)}
    gates = [(g.method, g.metric, g.minus, g.least, g.most) for g in PAPER.gates]
    assert gates == [
        (experiment.GENERATOR, scores.POLICY, None, 30, 55),
        (experiment.ORACLE, scores.BEST, None, 80, None),
        (experiment.ORACLE, scores.BEST, experiment.MAJORITY, 15, None),
        (experiment.GENERATOR, scores.MIXED, None, 60, None),
        (experiment.WEAKEST, scores.BEST, experiment.GENERATOR, 2, None),
    ]
    full = PAPER.settings("full")
    assert not full.shipped
    assert (full.samples, full.candidates, full.completions, full.temperature) == (8, 16, 4, 0.8)
    assert (full.updates, full.only, PAPER.settings("probe").only) == (None, (), ())
    hows = {name: vars(arm.how) for name, arm in experiment.ARMS.items() if arm.how}
    crossed = {"rate": 5e-4, "updates": 1000, "beta": 1, "prompts": 4}
    stepped = crossed | {"rate": 1e-3}
    head = {"rate": 1e-3, "updates": 700, "beta": 1, "prompts": 4}
    assert hows == (
        dict.fromkeys((CROSS, SHUFFLED), crossed)
        | dict.fromkeys((SHEPHERD, EQUAL), stepped)
        | dict.fromkeys((SCALAR, HEADED), head)
        | {DPO: {"rate": 2e-4, "updates": 1000, "beta": 10, "prompts": 4}}
    )
    model = make_model()
    monkeypatch.setattr(zoo, "load", {"chain_generator": model}.get)
    for module in (bank, scores):
        monkeypatch.setattr(module, "solve", Recorder().solve)  # the small network would solve nothing
    monkeypatch.setattr(scores, "complete", Recorder().complete)
    with listening() as heard:
        outcome = PAPER.run(replace(PAPER.settings("probe"), prompts=6, problems=4, updates=2), 0)
    assert len([name for name, _ in heard if name == "last loss"]) == 7
    there = {(row["method"], row["metric"]) for row in outcome.scores}
    for claim in (*PAPER.claims, *PAPER.also):
        assert {(method, claim.metric) for method in claim.methods} <= there, claim.key
    for gate in PAPER.gates:
        assert {(method, gate.metric) for method in (gate.method, gate.minus or gate.method)} <= there, gate.text
