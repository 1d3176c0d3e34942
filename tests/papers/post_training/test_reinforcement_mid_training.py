"""The text and its thoughts; budget, curriculum, rewards and the loss of an update; how the experiment is wired; the
probe.
"""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from stages import zoo
from stages.evidence import check_probe, effects, recorded, tidy_scores
from stages.evidence.gates import measure_gates
from stages.models import GPT, seeded
from stages.papers.post_training.common.responses import until
from stages.papers.post_training.reinforcement_mid_training import PAPER, arms, experiment, method, prose, scores, start
from stages.papers.post_training.reinforcement_mid_training.experiment import (
    ARMS,
    CONTINUED,
    EVERYWHERE,
    NO_BUDGET,
    NO_CURRICULUM,
    NO_TEXT,
    RMT,
    RPT,
    START,
)
from stages.papers.post_training.reinforcement_mid_training.method import Budget, Curriculum, Objective, Rollouts
from stages.papers.post_training.reinforcement_mid_training.scores import (
    ACCURACY,
    DEAD,
    FAR,
    GREEDY,
    LENGTH,
    MISSED,
    PROCESSED,
    QUESTIONS,
    TEXT,
    direct,
    of,
)
from stages.seeding import torch_rng

WORDS = prose.WORDS
KINDS = prose.KINDS
SEED = 3
TINY = replace(
    PAPER.settings("probe"),
    start=start.Start(width=16, depth=1, heads=2, pool=50, updates=3, batch=10, warmup=1),
    pool=300,
    updates=5,
    reads=3,
    asked=20,
    watched=6,
    every=2,
)


def make_model(seed=0, width=16):
    """Parameters at random, large enough for tokens and places to matter."""
    with seeded(seed):
        model = GPT(len(WORDS), width, 1, 2, 64)
    for parameter in model.parameters():
        parameter.data.mul_(3)
    return model.eval()


def numbers(text):
    return WORDS.encode(text)[None]


def rollouts_of(texts, match, length=None):
    """Roll-outs from pairs of a prompt and what was written, one sample after another."""
    width = max(len(f"{prompt} {written}".split()) for prompt, written in texts)
    tokens = torch.zeros(len(texts), width, dtype=torch.long)
    counted = torch.zeros(len(texts), width, dtype=torch.bool)
    for i, (prompt, written) in enumerate(texts):
        row = WORDS.encode(f"{prompt} {written}")
        tokens[i, : len(row)] = row
        counted[i, len(prompt.split()) : len(row)] = True
    match = torch.tensor(match)
    length = torch.zeros_like(match, dtype=torch.long) if length is None else torch.tensor(length)
    return Rollouts(tokens, counted, match, length)


# ---- text, positions, thoughts


def calculated(document):
    """The last value, from the words alone."""
    value = None
    for sentence in document.split(" . "):
        words = sentence.split()
        if value is None:
            value = int(words[2])
        elif words[2].isdigit():
            assert value % 7 == int(words[2])
            return value % 7
        else:
            amount = 1 + ("one", "two", "three", "four", "five", "six").index(words[2])
            sign = {"adds": 1, "finds": 1, "gives": -1, "sells": -1}.get(words[1])
            value = value * amount if sign is None else value + sign * amount
    raise AssertionError(document)


def test_positions_stand_where_their_kind_says_and_see_only_what_is_before():
    asked = prose.positions(400, SEED, "test")
    shares = asked.kind.bincount(minlength=3) / 400
    assert shares.tolist() == pytest.approx([0.6, 0.2, 0.2], abs=0.08)
    seen = set()
    for i in range(len(asked)):
        document = WORDS.decode(asked.document[i])
        words = document.split()
        place = int(asked.place[i])
        value = calculated(document)
        assert WORDS.tokens[asked.target[i]] == words[place]
        assert WORDS.decode(asked.prefix[i]).split() == words[:place]
        kind = KINDS[asked.kind[i]]
        if kind == "computable":
            assert place == len(words) - 2
            assert words[place] == str(value)
        elif kind == "template":
            assert words[place] == "." or words[place] == words[0]
            seen.add(words[place] == ".")
        else:
            assert place % 5 == 2
            assert place < len(words) - 5
    assert seen == {True, False}
    some = asked.take(torch.tensor([5, 2]))
    assert torch.equal(some.document, asked.document[[5, 2]])
    assert torch.equal(some.told.values, asked.told.values[[5, 2]])
    only = prose.positions(50, SEED, "test", kind="noise")
    assert (only.kind == 2).all()


def test_a_thought_follows_the_text_and_may_say_a_step_twice():
    told = prose.draw(200, SEED, "t")
    whole = prose.thoughts(told, SEED, "t")
    twice = 0
    for i in range(200):
        words = WORDS.decode(whole[i]).split()
        steps = []
        for k in range(1, len(words), 3):
            step = words[k : k + 3]
            if not steps or step != steps[-1] or k // 3 > len(steps) + 3:
                steps.append(step)
            else:
                twice += 1
        value = int(words[0])
        for sign, amount, after in steps:
            operand = 1 + ("one", "two", "three", "four", "five", "six").index(amount)
            value = {"+": value + operand, "-": value - operand, "*": value * operand}[sign] % 7
            assert int(after) == value
        assert value == told.answer[i]
    assert twice / told.steps.sum() == pytest.approx(0.6, abs=0.08)
    cut = prose.thoughts(told, SEED, "t", kept=torch.zeros_like(told.steps))
    assert cut.shape == (200, 1)
    assert torch.equal(cut[:, 0], told.values[:, 0] + 1)
    prompts, written = prose.think(numbers("mia has"), numbers("3 + one 4"), torch.tensor([5]))
    assert WORDS.decode(prompts[0]) == "mia has <thought>"
    assert WORDS.decode(written[0]) == "3 + one 4 </thought> 4 <end>"
    said = prose.read(torch.cat([written, numbers("4 </thought> 6 <end> 1 2 </thought>")]))
    assert said.answer.tolist() == [5, 7]
    assert said.length.tolist() == [4, 1]
    never = prose.read(torch.cat([numbers("3 + one"), numbers("3 + </thought>")]))
    assert never.answer.tolist() == [0, 0]
    assert never.length.tolist() == [3, 2]
    assert WORDS.decode(until(numbers("4 <end> <end> 6"), prose.END)[0]) == "4 <end>"


def test_the_start_learns_mostly_bad_thoughts_about_positions():
    asked = prose.positions(3000, SEED, "positions")
    texts = start.positions(3000, SEED)
    shares = {}
    for i in range(len(asked)):
        told = WORDS.decode(texts.tokens[i][texts.counted[i]])
        thought, _, answer = told.removesuffix(" <end>").rpartition("</thought>")
        kind = KINDS[asked.kind[i]]
        right = answer.strip() == WORDS.tokens[asked.target[i]]
        steps = int(asked.told.steps[i])
        words = thought.split()
        whole = bool(words) and words[-1] == str(int(asked.told.answer[i])) and len(words) > 3 * steps
        shares.setdefault((kind, "empty"), []).append(not words)
        shares.setdefault((kind, "right"), []).append(right)
        if kind == "computable" and words:
            shares.setdefault((kind, "whole"), []).append(whole)
            assert answer.strip() == words[-1] or right
    mean = {key: sum(values) / len(values) for key, values in shares.items()}
    assert mean["computable", "empty"] == pytest.approx(0.5, abs=0.05)
    assert mean["computable", "whole"] == pytest.approx(0.5, abs=0.08)
    assert mean["computable", "right"] == pytest.approx(0.25 + 0.5 / 7 + 0.25 / 7, abs=0.06)
    assert mean["template", "right"] == pytest.approx(0.6, abs=0.06)
    assert mean["noise", "right"] == pytest.approx(0.6 + 0.4 / 7, abs=0.1)


# ---- the method


def test_the_budget_shrinks_the_length_reward_is_a_triangle_and_easy_tiers_come_first():
    budget = Budget(first=12, shrinks=0.7, least=1)
    assert [budget.at(progress) for progress in (0, 0.2, 0.5, 1)] == [12, 11, 10, 8]
    assert Budget(16, 0.01, 3).at(1.0) == 3
    lengths = torch.tensor([0, 3, 10, 15, 20, 34])
    assert method.length_reward(lengths, 10).tolist() == pytest.approx([0, 0.3, 1, 0.5, 0, 0])
    curriculum = Curriculum()
    entropy = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.9, 1.4, 1.6, 1.9])
    assert curriculum.tiers(entropy).tolist() == [0, 0, 0, 0, 1, 1, 2, 2]
    for progress, chances in ((0, (0.6, 0.3, 0.1)), (0.3, (0.6, 0.3, 0.1)), (0.5, (0.35, 0.3, 0.35))):
        assert curriculum.at(progress).tolist() == pytest.approx(chances)
    assert curriculum.at(0.7).tolist() == pytest.approx((0.1, 0.3, 0.6))
    assert curriculum.at(1.0).tolist() == pytest.approx((0.1, 0.3, 0.6))
    many = entropy.repeat(2000)
    drawn = curriculum.draw(many, 3000, 0.4, torch_rng(SEED)) % 8
    expected = torch.tensor([0.475 / 4] * 4 + [0.15] * 2 + [0.225 / 2] * 2)
    assert torch.allclose(drawn.bincount(minlength=8) / 3000, expected, atol=0.03)
    no_medium = many[(many < 0.5) | (many > 1.5)]
    hard = no_medium[curriculum.draw(no_medium, 900, 0.0, torch_rng(SEED))] > 1.5
    assert hard.float().mean().item() == pytest.approx(1 / 7, abs=0.04)


def test_entropies_and_direct_guesses_are_of_the_prefix_alone():
    model = make_model()
    asked = prose.positions(20, SEED, "test")
    found = method.entropies(model, asked)
    guesses = scores.guessed(model, asked)
    for i in range(20):
        chance = model(asked.document[i, : asked.place[i]][None])[0, -1].softmax(-1)
        assert found[i].item() == pytest.approx(-(chance * chance.log()).sum().item(), abs=1e-4)
        assert guesses[i].item() == (chance.argmax() == asked.target[i])
    text = asked.document
    terms = []
    for row in text:
        row = row[row != 0]
        chances = model(row[None])[0].log_softmax(-1)
        terms += [-chances[k - 1, row[k]].item() for k in range(1, len(row))]
    assert scores.text_loss(model, text).item() == pytest.approx(sum(terms) / len(terms), rel=1e-4)


def test_a_rollout_is_matched_with_the_token_and_its_thought_is_measured():
    asked = prose.positions(3, SEED, "test", kind="computable")
    planted = ["3 </thought> A <end> <end>", "</thought> A <end> <end> <end>", "3 + one 4 A"]
    seen = []

    def generate(prompts, new, *, stop, temperature, generator, mask):
        seen.append((prompts, new, [*stop], temperature, generator, mask))
        rows = []
        for i in range(6):
            target, wrong = asked.target[i // 2], 1 + asked.target[i // 2] % 7
            answer = WORDS.tokens[target if i % 2 == 0 else wrong]
            rows.append(numbers(planted[i // 2].replace("A", answer)))
        return torch.cat(rows)

    chance = torch_rng(SEED)
    found = method.roll_out(SimpleNamespace(generate=generate), asked, 2, 9, chance, 0.5)
    ((prompts, *rest),) = seen
    assert rest[:4] == [9, [prose.END], 0.5, chance]
    assert torch.equal(rest[4], prompts != 0)
    for i in range(6):
        expected = f"{WORDS.decode(asked.prefix[i // 2])} <thought>"
        assert WORDS.decode(prompts[i]) == expected
        told = planted[i // 2].split("<end>")[0].split()
        written = WORDS.decode(found.tokens[i][found.counted[i]]).split()
        assert len(written) == len(told) + ("<end>" in planted[i // 2])
        assert WORDS.decode(found.tokens[i]).startswith(expected)
    assert found.match.tolist() == [[True, False], [True, False], [False, False]]
    assert found.length.tolist() == [[1, 1], [0, 0], [5, 5]]
    method.roll_out(SimpleNamespace(generate=generate), asked, 2, 9, chance)
    assert seen[1][3] == 1.0


def test_rewards_mix_match_and_length_and_only_mixed_groups_teach():
    match = [[True, True], [True, False], [False, False], [False, True], [True, False]]
    length = [[10, 5], [10, 5], [10, 5], [20, 5], [0, 0]]
    rollouts = rollouts_of([("mia", f"{i % 7}") for i in range(10)], match, length)
    objective = Objective(Budget(20, 0.5), weight=0.3)
    reward = method.rewards(rollouts, objective, 1.0)
    expected = [[1.0, 0.85], [1.0, 0.15], [0.3, 0.15], [0.0, 0.85], [0.7, 0.0]]
    assert reward.tolist() == [pytest.approx(row) for row in expected]
    plain = method.rewards(rollouts, replace(objective, budget=None), 1.0)
    assert torch.equal(plain, rollouts.match.float())
    chosen, advantages = method.learn_from(rollouts, reward, 2)
    assert torch.equal(chosen.tokens, rollouts.tokens[[2, 3, 6, 7]])
    assert torch.equal(chosen.counted, rollouts.counted[[2, 3, 6, 7]])
    assert chosen.match.tolist() == [match[1], match[3]]
    assert chosen.length.tolist() == [length[1], length[3]]
    half = math.sqrt(0.5)
    assert advantages.tolist() == [pytest.approx([half, -half]), pytest.approx([-half, half])]
    none, _ = method.learn_from(rollouts.take(torch.tensor([0, 2])), reward[[0, 2]], 2)
    assert len(none.tokens) == 0
    assert method.reinforce(make_model(), none, torch.zeros(0, 2)).item() == 0


def test_the_loss_of_an_update_has_the_gradient_worked_out_by_hand():
    model = make_model().double()
    positions = prose.positions(2, SEED, "test")
    texts = [
        ("mia has <thought>", "3 + one </thought> 4 <end>"),
        ("mia has <thought>", "</thought> 6 <end>"),
        ("tom <thought>", "</thought> has <end>"),
        ("tom <thought>", "2 </thought> has <end>"),
    ]
    rollouts = rollouts_of(texts, [[True, False], [True, True]], [[3, 0], [0, 1]])
    objective = Objective(Budget(6, 1.0), weight=0.4, text=0.7, most=8)
    loss = method.mid_train(model, positions, rollouts, objective, 0.5)
    reward = torch.tensor([0.6 + 0.4 * 0.5, 0.0])  # the second group teaches nothing
    advantage = (reward - reward.mean()) / reward.std()
    total, count = 0.0, 0
    for (prompt, written), weight in zip(texts[:2], advantage, strict=True):
        row = WORDS.encode(f"{prompt} {written}")
        chances = model(row[None])[0].log_softmax(-1)
        for k in range(len(prompt.split()), len(row)):
            total = total - weight.double() * chances[k - 1, row[k]]
            count += 1
    terms = []
    for document, place in zip(positions.document, positions.place, strict=True):
        row = document[document != 0]
        chances = model(row[None])[0].log_softmax(-1)
        terms += [-chances[k - 1, row[k]] for k in range(1, len(row)) if k != place]
    text = sum(terms) / len(terms)
    weights = list(model.parameters())
    for found, expected in (
        (loss, total / count + 0.7 * text),
        (method.mid_train(model, positions, rollouts, replace(objective, text=0.0), 0.5), total / count),
        (method.read_on(model, positions), text),
    ):
        grads = zip(
            torch.autograd.grad(found, weights, retain_graph=True, allow_unused=True),
            torch.autograd.grad(expected, weights, retain_graph=True, allow_unused=True),
            strict=True,
        )
        for one, other in grads:
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


# ---- the wiring of the experiment

EXPECTED = {  # rate's owner, where, budget, λ
    START: (None, None, Budget(), 0.5),
    CONTINUED: (CONTINUED, None, Budget(), 0.5),
    RPT: (RPT, arms.uncertain, None, 0.0),
    EVERYWHERE: (EVERYWHERE, arms.anywhere, None, 0.0),
    RMT: (RMT, arms.by_curriculum, Budget(), 0.5),
    NO_BUDGET: (RMT, arms.by_curriculum, None, 0.5),
    NO_TEXT: (RMT, arms.by_curriculum, Budget(), 0.0),
    NO_CURRICULUM: (RMT, arms.uncertain, Budget(), 0.5),
}
RATES = {START: 0.0, CONTINUED: 1e-3, RPT: 3e-4, EVERYWHERE: 6e-4, RMT: 6e-4}


@pytest.fixture(scope="module")
def lab():
    return arms.Lab.of(TINY, SEED)


def test_positions_are_drawn_from_the_pool_as_each_rule_says(lab):
    model = make_model()
    entropy = torch.linspace(0, 2, 300)
    here = replace(lab, entropy=entropy)
    rows = {
        rule: rule(here, 200, 0.9, torch_rng(SEED, "d")) for rule in (arms.uncertain, arms.anywhere, arms.by_curriculum)
    }
    assert (entropy[rows[arms.uncertain]] > 0.5).all()
    assert entropy[rows[arms.uncertain]].min() < 0.6
    assert (entropy[rows[arms.anywhere]] <= 0.5).float().mean().item() == pytest.approx(0.25, abs=0.1)
    assert torch.equal(rows[arms.by_curriculum], Curriculum().draw(entropy, 200, 0.9, torch_rng(SEED, "d")))
    assert torch.equal(lab.entropy, method.entropies(lab.model, lab.pool))
    assert not torch.equal(lab.entropy, method.entropies(model, lab.pool))
    pool = prose.positions(300, SEED, "pool")
    assert torch.equal(lab.pool.document, pool.document)
    for kind in KINDS:
        assert {KINDS[k] for k in lab.test[kind].kind} == {kind}
        assert torch.equal(lab.test[kind].document, prose.positions(20, SEED, "test", kind=kind).document)
    assert torch.equal(lab.questions.question, prose.draw(20, SEED, "test questions").question)
    assert torch.equal(lab.text, prose.documents(prose.draw(20, SEED, "test text")))
    other = arms.Lab.of(TINY, SEED + 1)
    assert not torch.equal(other.pool.document[:, :10], lab.pool.document[:, :10])
    assert not torch.equal(other.model.embedding.weight, lab.model.embedding.weight)
    with seeded(SEED, "start"):
        fresh = start.make(TINY.start)
    start.learn(fresh, TINY.start, SEED)
    assert torch.equal(fresh.embedding.weight, lab.model.embedding.weight)


@pytest.mark.parametrize("name", [RPT, RMT])
def test_an_arm_thinks_about_its_positions_and_learns_by_its_objective(lab, monkeypatch, name):
    calls, made, watched = [], [], []
    plain = arms.optimiser

    def rolled(model, positions, samples, new, chance):
        calls.append(SimpleNamespace(model=model, positions=positions, given=(samples, new), chance=chance))
        match = torch.ones(len(positions), samples, dtype=torch.bool)
        match[0, 0] = False
        match[1] = len(calls) > 1
        length = torch.zeros_like(match, dtype=torch.long)
        tokens = torch.ones(len(positions) * samples, 10, dtype=torch.long)
        return Rollouts(tokens, tokens > 0, match, length)

    def loss(model, positions, rollouts, objective, progress):
        calls[-1].loss = (model, positions, objective, progress)
        return sum(parameter.sum() for parameter in model.parameters())

    monkeypatch.setattr(method, "roll_out", rolled)
    monkeypatch.setattr(method, "mid_train", loss)
    monkeypatch.setattr(
        arms, "optimiser", lambda *given, **more: (made.append((given[1:], more)), plain(*given, **more))[1]
    )
    arm = replace(ARMS[name], rate=0.01)
    before = lab.model.embedding.weight.clone()
    learnt = arms.learn(lab, arm, TINY, lambda update, model: watched.append((update, model)))
    assert made == [(("adamw", 0.01), {"weight_decay": 0.0})]
    assert torch.equal(lab.model.embedding.weight, before)
    # Adam moves every parameter by its rate while the gradient is the same
    moved = before - learnt.model.embedding.weight
    assert torch.allclose(moved, torch.full_like(moved, 5 * 0.01), atol=1e-4)
    places = torch_rng(SEED, "mid-training", "positions")
    for step, call in enumerate(calls):
        rows = arm.where(lab, 6, step / 5, places)
        assert torch.equal(call.positions.document, lab.pool.document[rows])
        assert call.given == (8, 24)
        assert call.loss == (learnt.model, call.positions, arm.objective, step / 5)
        assert call.model is learnt.model
        assert call.chance.initial_seed() == torch_rng(SEED, "mid-training", "samples").initial_seed()
    assert [update for update, _ in watched] == [0, 2, 4]
    assert learnt.dead == pytest.approx([5 / 6] * 5)
    assert learnt.missed == pytest.approx([1 / 6, 0, 0, 0, 0])
    text = sum(int((call.positions.document != 0).sum()) for call in calls) if name == RMT else 0
    assert learnt.processed == 5 * (6 * 8 * 10 + 8 * 10) + text


def test_continued_prediction_reads_the_pool_and_the_start_learns_nothing(lab, monkeypatch):
    seen, made = [], []
    plain, optimise = arms.next_token_loss, arms.optimiser
    monkeypatch.setattr(arms, "next_token_loss", lambda *given: (seen.append(given), plain(*given))[1])
    monkeypatch.setattr(
        arms, "optimiser", lambda *given, **more: (made.append((given[1:], more)), optimise(*given, **more))[1]
    )
    learnt = arms.learn(lab, replace(ARMS[CONTINUED], rate=0.02), TINY, None)
    assert made == [(("adamw", 0.02), {"weight_decay": 0.0})]
    assert len(seen) == 3
    rows = torch_rng(SEED, "mid-training", "texts")
    for _, text, counted in seen:
        here = torch.randint(300, (4,), generator=rows)
        assert torch.equal(text, lab.pool.document[here])
        assert torch.equal(counted, text != 0)
    assert learnt.processed == sum(int(counted.sum()) for *_, counted in seen)
    assert not torch.equal(learnt.model.embedding.weight, lab.model.embedding.weight)
    still = arms.learn(lab, ARMS[START], TINY, None)
    assert torch.equal(still.model.embedding.weight, lab.model.embedding.weight)
    assert (still.processed, still.dead) == (0, [])


class Planted:
    """Stands in for learning and for thinking: the k-th arm is right at 2k, 3k + 1, k of 20 positions of a kind, less
    one with the likeliest thoughts, and at k, k + 1, k + 2 of them without a thought; its thoughts take 5 + k tokens,
    or 30 where one operation is asked for, and the likeliest one less.
    """

    def __init__(self):
        self.given = []
        self.tested = []
        self.read = []

    def learn(self, lab, arm, settings, watch):
        model = SimpleNamespace(k=len(self.given))
        self.given.append((lab, arm, settings))
        if arm.where is not None:
            watch(0, model)
            watch(2, model)
        if arm.where is None:
            return arms.Learnt(model, 1000 * model.k)
        return arms.Learnt(model, 1000 * model.k, [0.1 * model.k, 0.3 * model.k], [0.0, 0.02 * model.k])

    def roll_out(self, model, positions, samples, new, chance, temperature=1.0):
        assert samples == 1
        kind = int(positions.kind[0])
        self.tested.append((KINDS[kind], positions, new, chance.initial_seed(), temperature))
        count = (2 * model.k, 3 * model.k + 1, model.k)[kind] - (temperature == 0)
        match = torch.arange(len(positions)) < count
        length = torch.where(positions.told.steps > 1, 5 + model.k, 30) - int(temperature == 0)
        return Rollouts(positions.document, positions.document > 0, match[:, None], length[:, None])


@pytest.fixture(scope="module")
def planted():
    recorder = Planted()
    names = ("answered", "guessed", "text_loss")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arms, "learn", recorder.learn)
        patch.setattr(method, "roll_out", recorder.roll_out)
        patch.setattr(experiment, names[0], lambda lab, settings: 91.0)
        patch.setattr(scores, names[1], lambda model, asked: torch.arange(20) < model.k + int(asked.kind[0]))
        patch.setattr(scores, names[2], lambda model, text: (recorder.read.append(text), 5.0 - model.k)[1])
        outcome = PAPER.run(TINY, SEED)
    found = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    return SimpleNamespace(**vars(recorder), found=found, outcome=outcome)


def test_every_arm_differs_from_rmt_as_its_name_says_and_all_share_a_start_and_a_test(planted):
    assert list(ARMS) == list(EXPECTED)
    for name, (owner, where, budget, text) in EXPECTED.items():
        arm = ARMS[name]
        assert arm.rate == RATES[owner or START], name
        assert arm.where is where, name
        assert (arm.objective.budget, arm.objective.text) == (budget, text), name
        assert (arm.objective.weight, arm.objective.most) == (0.3, 8), name
    assert Budget() == Budget(12, 0.7, 1)
    assert Curriculum() == Curriculum((0.5, 1.5), (0.6, 0.3, 0.1), (0.1, 0.3, 0.6), 0.3, 0.7)
    assert [arm for _, arm, _ in planted.given] == list(ARMS.values())
    assert len({id(lab) for lab, *_ in planted.given}) == 1
    assert {id(settings) for *_, settings in planted.given} == {id(TINY)}
    lab = planted.given[0][0]
    assert lab.seed == SEED
    whole = [test for test in planted.tested if len(test[1]) == 20]
    assert len(whole) == 8 * 2 * 3
    for kind, positions, new, chance, temperature in whole:
        assert positions is lab.test[kind]
        assert (new, chance) == (24, torch_rng(SEED, "test", kind).initial_seed())
        assert temperature in (0.0, 1.0)
    assert len(planted.read) == 8
    assert all(text is lab.text for text in planted.read)
    watched = [test for test in planted.tested if len(test[1]) == 6]
    assert len(watched) == 6 * 2 * 3
    for kind, positions, new, chance, temperature in watched:
        assert torch.equal(positions.document, lab.test[kind].document[:6])
        assert (new, chance, temperature) == (24, torch_rng(SEED, "test", kind).initial_seed(), 1.0)


def test_scores_are_those_worked_out_by_hand(planted):
    found = planted.found
    hard = planted.given[0][0].test["computable"].told.steps > 1
    for k, name in enumerate(ARMS):
        share = [min(20, n) * 5 for n in (2 * k, 3 * k + 1, k)]
        assert [found[name, of(kind)] for kind in KINDS] == pytest.approx(share), name
        assert found[name, ACCURACY] == pytest.approx(sum(share) / 3), name
        less = [min(20, max(0, n - 1)) * 5 for n in (2 * k, 3 * k + 1, k)]
        assert found[name, GREEDY] == pytest.approx(sum(less) / 3), name
        assert [found[direct(name), of(kind)] for kind in KINDS] == pytest.approx([5 * k, 5 * k + 5, 5 * k + 10]), name
        assert found[direct(name), ACCURACY] == pytest.approx(5 * k + 5), name
        far = hard[: 2 * k].sum() / hard.sum()
        assert found[name, FAR] == pytest.approx(100 * far.item()), name
        assert found[direct(name), FAR] == pytest.approx(100 * (hard[:k].sum() / hard.sum()).item()), name
        assert found[name, LENGTH] == 5 + k, name
        assert found[name, TEXT] == 5 - k, name
        assert found[name, PROCESSED] == pytest.approx(k / 1000), name
        if ARMS[name].where is None:
            assert (name, DEAD) not in found
        else:
            assert found[name, DEAD] == pytest.approx(20 * k), name
            assert found[name, MISSED] == pytest.approx(k), name
    assert found[START, QUESTIONS] == 91
    curves = {(row["method"], row["name"]): (row["x"], row["y"]) for row in planted.outcome.curves}
    assert curves[RMT, LENGTH] == ([0, 2], [9, 9])
    assert curves[RPT, ACCURACY][1] == pytest.approx([100 * (4 + 6 + 2) / 18] * 2)
    assert set(curves) == {(name, what) for name in list(ARMS)[2:] for what in (ACCURACY, LENGTH)}
    asked = prose.draw(20, SEED, "test questions")
    planned = asked.answer + 1
    planned[:5] = 1 + planned[:5] % 7

    def generate(prompts, new, *, stop, mask):
        assert WORDS.decode(prompts[0]) == f"{WORDS.decode(asked.question[0])} <thought>"
        return torch.stack([torch.full((20,), prose.THOUGHT), planned, torch.full((20,), prose.END)], 1)

    lab = SimpleNamespace(questions=asked, model=SimpleNamespace(generate=generate))
    assert scores.answered(lab, TINY) == pytest.approx(75)


def test_claims_and_gates_compare_what_they_say(planted):
    table = tidy_scores({SEED: planted.outcome})
    k = {name: i for i, name in enumerate(ARMS)}
    found = planted.found
    by_hand = {claim.key: effects(claim, table).item() for claim in (*PAPER.claims, *PAPER.also)}
    kind = {name: {c: found[name, of(c)] for c in KINDS} for name in ARMS}
    expected = {
        "C1": found[RMT, ACCURACY] - found[RPT, ACCURACY],
        "C2": k[RPT] - k[RMT],
        "C3": found[RMT, ACCURACY] - found[NO_TEXT, ACCURACY],
        "C4": found[RMT, ACCURACY] - found[EVERYWHERE, ACCURACY],
        "C5": found[RMT, FAR] - found[direct(CONTINUED), FAR],
        "C3d": k[RMT] - k[NO_TEXT],
        "C1b": found[RPT, ACCURACY] - found[START, ACCURACY],
        "C1c": kind[RMT]["computable"] - kind[RPT]["computable"],
        "C1d": kind[RMT]["template"] - kind[RPT]["template"],
        "C1e": kind[RMT]["noise"] - kind[RPT]["noise"],
        "C1f": found[RMT, GREEDY] - found[RPT, GREEDY],
        "C1g": found[direct(START), ACCURACY] - found[START, ACCURACY],
        "C2b": k[NO_BUDGET] - k[RMT],
        "C2c": found[RMT, ACCURACY] - found[NO_BUDGET, ACCURACY],
        "C3b": found[RMT, ACCURACY] - found[NO_CURRICULUM, ACCURACY],
        "C3c": 5 * (k[RMT] - k[NO_TEXT]),
        "C4b": found[EVERYWHERE, ACCURACY] - found[RPT, ACCURACY],
        "C4c": kind[RMT]["computable"] - kind[EVERYWHERE]["computable"],
        "C5b": found[RMT, ACCURACY] - found[direct(CONTINUED), ACCURACY],
        "C5c": (k[CONTINUED] - k[RMT]) / 1000,
    }
    assert by_hand == pytest.approx(expected)
    assert {c.key: c.margin for c in PAPER.claims} == {"C1": 3, "C2": 1, "C3": 1, "C4": 1, "C5": 10}
    gates = [(row["value"], row["bound"]) for row in measure_gates(PAPER.gates, table)]
    values = [found[direct(START), FAR], 91, kind[START]["computable"], 20, 40, 4]
    assert [value for value, _ in gates] == pytest.approx(values)
    bounds = ["at most 35", "at least 80", "at least 15 and at most 40", "at least 30", "at most 40", "at most 40"]
    assert [bound for _, bound in gates] == bounds


def test_quick_thinks_from_the_zoos_start_and_the_probe_holds(monkeypatch):
    full, quick = PAPER.settings("full"), PAPER.settings("quick")
    assert (full.updates, full.positions, full.samples, full.only) == (120, 12, 16, ())
    assert quick.only == (START, RPT, RMT)
    assert (quick.start, full.start) == (None, start.Start())
    names = []
    monkeypatch.setattr(zoo, "load", lambda name: (names.append(name), make_model())[1])
    small = replace(TINY, start=None, only=quick.only, updates=1)
    outcome = PAPER.run(small, SEED)
    assert names == ["reason_gpt"]
    assert {row["method"] for row in outcome.scores} == {*quick.only, *(direct(name) for name in quick.only)}
    monkeypatch.undo()
    check_probe(PAPER, recorded(PAPER.slug))
