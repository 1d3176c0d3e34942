"""Prompts and their traces, injections, what is learned, the rivals; how the experiment is wired; the probe."""

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stages import zoo
from stages.evidence import check_probe, recorded
from stages.models import GPT, seeded
from stages.papers.mechanisms.soft_injection import PAPER, arms, experiment, method, rivals, scores
from stages.papers.mechanisms.soft_injection.experiment import (
    BASE,
    FROM_TEN,
    FUNCTION,
    GAINS,
    LORA,
    ON_NOISE,
    SITE,
    TEN,
    ZERO,
)
from stages.papers.mechanisms.soft_injection.method import Learnt, Training
from stages.papers.mechanisms.soft_injection.prompts import Prompts, losses, permuted, right
from stages.papers.mechanisms.soft_injection.scores import (
    ABOVE,
    ACCURACY,
    BEST,
    BINARY,
    BOTTOM,
    BY_HEADS,
    BY_TASK,
    CHANGED,
    KIN,
    MEAN,
    OTHER,
    STRANGER,
    TOP,
    WORST,
)
from stages.seeding import torch_rng
from stages.worlds import ledgers

V = ledgers.vocabulary()
TASKS = len(ledgers.TASKS)
HOW = Training(lr=0.1, steps=6, every=2)
TINY = experiment.Settings(steps=5, every=2, prompts=3, draws=2, most=(1, 3), rank=2)


def make_model(seed=0):
    """Parameters at random, large enough for heads and places to matter."""
    with seeded(seed):
        model = GPT(len(V), 16, 2, 4, 60)
    for parameter in model.parameters():
        parameter.data.mul_(3)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def facts():
    return ledgers.invent(0)


@pytest.fixture(scope="module")
def asked(model, facts):
    """Zero-shot prompts of all tasks."""
    return {split: Prompts.read(model, facts, toys[:, :6]) for split, toys in ledgers.divided(facts, 0).items()}


def uniform(*shape, seed=0):
    return torch.rand(shape, generator=torch_rng(seed, "test"))


def trace_of(problems=TASKS, seed=1):
    return 2 * uniform(problems, 2, 4, 4, seed=seed) - 1


@contextmanager
def changed_last(model, change):
    """Let `change(layer, o)` replace what reaches W_O at the last token, (rows, heads, size); an independent way in."""

    def hook(layer):
        def act(_, given):
            rest, last = given[0].split((given[0].shape[1] - 1, 1), 1)
            return torch.cat([rest, change(layer, last[:, 0].unflatten(-1, (4, 4))).flatten(1)[:, None]], 1)

        return act

    handles = [
        block.attention.project.register_forward_pre_hook(hook(layer)) for layer, block in enumerate(model.blocks)
    ]
    yield
    for handle in handles:
        handle.remove()


def answered(model, facts, task, query, keep, added, shown=None):
    """The last logits of one task's prompts with keep · o + added, (layers, heads) and (layers, heads, size)."""
    rows = query[:, None] if shown is None else torch.cat([shown, query[:, None]], 1)
    tokens = facts.written(torch.full((len(rows),), task), rows)[:, :-2]
    with changed_last(model, lambda layer, o: keep[layer][:, None] * o + added[layer]):
        return model(tokens)[:, -1]


# ---- prompts, the trace, an injection


def test_prompts_show_pairs_and_end_in_an_open_query(model, facts):
    query, shown = torch.tensor([[5, 6], [7, 8]]), torch.tensor([[[1, 2], [3, 4]], [[9, 10], [11, 12]]])
    prompts = Prompts.read(model, facts, query, shown)
    said = [[V.tokens[facts.table[task, toy]] for toy in range(64)] for task in (0, 1)]
    toys = ledgers.TOYS
    assert V.decode(prompts.tokens[1]) == (f"Q {toys[3]} A {said[0][3]} ; Q {toys[4]} A {said[0][4]} ; Q {toys[6]} A")
    assert V.decode(prompts.tokens[2]).endswith(f"A {said[1][10]} ; Q {toys[7]} A")
    assert prompts.answers.tolist() == [facts.table[0, [5, 6]].tolist(), facts.table[1, [7, 8]].tolist()]
    swapped = Prompts.read(model, facts, query, shown, labels=shown.flip(2))
    assert V.decode(swapped.tokens[1]) == (f"Q {toys[3]} A {said[0][4]} ; Q {toys[4]} A {said[0][3]} ; Q {toys[6]} A")
    assert torch.equal(swapped.answers, prompts.answers)
    assert torch.allclose(prompts.logits(), prompts.logits(everywhere=True), atol=1e-4)
    again = Prompts.read(model, facts, query.repeat(TASKS, 1))  # the tasks come round again
    assert torch.equal(again.answers[TASKS : TASKS + 2], again.answers[:2])
    logits = F.one_hot(torch.tensor([[3, 4]]), 6).float() * 5
    plain = SimpleNamespace(answers=torch.tensor([[3, 0]]))
    assert right(logits, plain).tolist() == [[100, 0]]
    expected = -logits.log_softmax(-1)[0, [0, 1], [3, 0]].mean()
    assert losses(logits, plain).item() == pytest.approx(expected.item())


def test_the_trace_is_the_mean_of_what_heads_say_before_w_o(model, facts):
    toys = torch.rand(TASKS, 3, 64, generator=torch_rng(0)).argsort(2)[..., :11]
    trace = method.embed(arms.demonstrated(model, facts, toys))
    for task in (0, 7):
        said = []
        tokens = facts.written(torch.full((3,), task), toys[task])[:, :-2]
        with changed_last(model, lambda layer, o, said=said: (said.append(o), o)[1]):
            model(tokens)
        for layer, o in enumerate(said):
            assert torch.allclose(trace[task, layer], o.mean(0), atol=1e-4)


def test_an_injection_mixes_each_head_at_the_last_token_and_later_blocks_read_it(model, facts, asked):
    prompts, trace, share = asked["test"], trace_of(), uniform(TASKS, 2, 4)
    toys = ledgers.divided(facts, 0)["test"][:, :6]
    found = prompts.logits(method.inject(share, trace))
    for task in (0, 5):
        added = share[task][..., None] * trace[task]
        expected = answered(model, facts, task, toys[task], 1 - share[task], added)
        assert torch.allclose(found[task], expected, atol=1e-4)
    assert torch.allclose(prompts.logits(method.inject(0 * share, trace)), prompts.logits(), atol=1e-4)
    blind = prompts.logits(method.inject(torch.ones_like(share), trace))
    assert torch.allclose(blind, blind[:, :1].expand_as(blind), atol=1e-4)  # all say t: the query is not seen
    assert not torch.allclose(found[:, 0], found[:, 1], atol=1e-2)
    other = prompts.logits(method.mixed(1 - share, 0.5 * share, trace))
    expected = answered(model, facts, 3, toys[3], 1 - share[3], 0.5 * share[3][..., None] * trace[3])
    assert torch.allclose(other[3], expected, atol=1e-4)


# ---- learning


def test_alphas_start_at_a_half_and_are_learned_each_task_as_alone(model, facts, asked, monkeypatch):
    trace, seen = trace_of(), []

    def watched(start, answer, train, validation, how):
        seen.append((start, answer, train, validation, how))
        return Learnt(torch.full_like(start, 2.0), torch.full_like(start, -1.0))

    monkeypatch.setattr(method, "learn", watched)
    found = method.select(trace, asked["train"], asked["validation"], HOW)
    ((start, answer, *rest),) = seen
    assert rest == [asked["train"], asked["validation"], HOW]
    assert torch.equal(start, torch.zeros(TASKS, 2, 4))
    numbers = 3 * uniform(TASKS, 2, 4) - 1
    expected = asked["test"].logits(method.inject(numbers.sigmoid(), trace))
    assert torch.allclose(answer(numbers, asked["test"]), expected)
    assert found.best.unique().item() == pytest.approx(torch.tensor(2.0).sigmoid().item())
    assert found.last.unique().item() == pytest.approx(torch.tensor(-1.0).sigmoid().item())
    monkeypatch.undo()
    before = [parameter.clone() for parameter in model.parameters()]
    toys = ledgers.divided(facts, 0)
    parts = [[Prompts.read(model, facts, toys[s][:n, :6]) for s in ("train", "validation")] for n in (3, 1)]
    together, alone = (method.select(trace[: len(p[0].answers)], *p, HOW) for p in parts)
    for one, other in zip(together, alone, strict=True):
        assert torch.allclose(one[:1], other, atol=1e-4)
    assert (together.last - 0.5).abs().max() > 0.05
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_the_gradient_of_an_alpha_is_that_of_finite_differences(facts):
    model = GPT(len(V), 8, 2, 2, 5).double().requires_grad_(False)
    prompts = Prompts.read(model, facts, torch.tensor([[1, 2, 3], [4, 5, 6]]))
    trace = torch.randn(2, 2, 2, 4, dtype=torch.double, generator=torch_rng(0))

    def loss(a):
        return losses(prompts.logits(method.inject(a.sigmoid(), trace)), prompts)

    a = torch.randn(2, 2, 2, dtype=torch.double, generator=torch_rng(1))
    assert torch.autograd.gradcheck(loss, a.requires_grad_())


def test_the_checkpoint_with_the_lowest_validation_loss_counts_and_not_the_last(monkeypatch):
    """Training wants numbers to rise; validation has its best at 0.25 in problem 0, and at 9 in problem 1."""
    seen, made = [], []

    def answer(numbers, prompts):
        if prompts == "validation":
            seen.append(numbers.clone())
        return -numbers if prompts == "train" else (numbers - torch.tensor([0.25, 9.0])).abs()

    plain = method.optimiser
    monkeypatch.setattr(method, "losses", lambda logits, prompts: logits)
    monkeypatch.setattr(method, "optimiser", lambda *given: (made.append(given[1:]), plain(*given))[1])
    how = Training(lr=0.1, steps=10, every=2)
    found = method.learn(torch.zeros(2), answer, "train", "validation", how)
    assert torch.allclose(torch.stack(seen)[:, 0], torch.tensor([0.2, 0.4, 0.6, 0.8, 1.0]), atol=1e-3)
    assert torch.allclose(found.best, torch.tensor([0.2, 1.0]), atol=1e-3)
    assert torch.allclose(found.last, torch.tensor([1.0, 1.0]), atol=1e-3)
    without = method.learn(torch.zeros(2), answer, "train", None, how)
    assert torch.equal(without.best, found.last)
    assert made == [("adam", 0.1)] * 2


# ---- the rivals


def test_gains_and_lora_start_as_the_model_and_never_see_the_trace(model, facts, asked, monkeypatch):
    trace, prompts, seen = trace_of(), asked["test"], []
    for module in (method, rivals):
        monkeypatch.setattr(module, "learn", lambda *given: seen.append(given))
    rivals.learn_gains(trace, asked["train"], asked["validation"], HOW)
    rivals.learn_lora(trace, asked["train"], asked["validation"], HOW, 3, 5)
    rivals.learn_lora(-trace, asked["train"], asked["validation"], HOW, 3, 6)
    gains, lora, other = seen
    for start, answer, *rest in seen:
        assert rest == [asked["train"], asked["validation"], HOW]
        assert torch.allclose(answer(start, prompts), prompts.logits(), atol=1e-4)
    assert torch.equal(gains[0], torch.ones(TASKS, 2, 4))
    assert lora[0].shape == (TASKS, 2, 2, 3, 16)
    assert not torch.equal(lora[0], other[0])
    assert lora[0][:, 0].std().item() == pytest.approx(0.25, abs=0.05)
    gain = uniform(TASKS, 2, 4)
    toys = ledgers.divided(facts, 0)["test"][:, :6]
    expected = answered(model, facts, 4, toys[4], gain[4], torch.zeros(2, 4, 4))
    assert torch.allclose(gains[1](gain, prompts)[4], expected, atol=1e-4)
    numbers = uniform(TASKS, 2, 2, 3, 16) - 0.5
    changed = make_model()
    for layer, block in enumerate(changed.blocks):
        down, up = numbers[2, :, layer]
        block.attention.project.weight.data @= torch.eye(16) + up.T @ down  # W_O (I + Bᵀ A), at every token
    tokens = facts.written(torch.full((6,), 2), toys[2][:, None])[:, :-2]
    assert torch.allclose(lora[1](numbers, prompts)[2], changed(tokens)[:, -1], atol=1e-3)


def test_noise_is_as_long_as_the_trace_and_points_elsewhere():
    trace = trace_of()
    noise = rivals.noise_like(trace, 0)
    assert torch.allclose(noise.norm(dim=-1), trace.norm(dim=-1), atol=1e-4)
    assert F.cosine_similarity(noise, trace, dim=-1).mean().abs() < 0.2
    assert not torch.equal(noise, rivals.noise_like(trace, 1))


def test_function_vectors_add_what_the_strongest_heads_write_and_validation_picks(model, facts, asked):
    trace, prompts = trace_of(), asked["test"]
    effects = rivals.indirect_effects(prompts, trace)
    answers = prompts.answers[..., None]
    before = prompts.logits().softmax(-1).gather(-1, answers).mean()
    alone = torch.zeros(TASKS, 2, 4)
    alone[:, 1, 2] = 1
    after = prompts.logits(method.inject(alone, trace)).softmax(-1).gather(-1, answers).mean()
    assert effects[1, 2].item() == pytest.approx((after - before).item(), abs=1e-6)
    assert (effects != 0).all()
    vector = rivals.function_vector(model, trace, [1, 6])
    first, second = (block.attention.project.weight for block in model.blocks)
    expected = first[:, 4:8] @ trace[3, 0, 1] + second[:, 8:12] @ trace[3, 1, 2]
    assert torch.allclose(vector[3], expected, atol=1e-4)
    steered = prompts.steered(1, vector)
    states = model.states(prompts.tokens)[1].clone()
    states[:, -1] += vector.repeat_interleave(6, 0)
    assert torch.allclose(steered.flatten(0, 1), model.forward_from(states, 1)[:, -1], atol=1e-4)
    chosen = rivals.function_vectors(trace, effects, asked["validation"], prompts, (1, 3))
    ranked = effects.flatten().argsort(descending=True).tolist()
    tried = [(s, rivals.function_vector(model, trace, ranked[:k])) for s in (1, 2) for k in (1, 3)]
    for task in range(TASKS):
        loss = [losses(asked["validation"].steered(*one), asked["validation"])[task].item() for one in tried]
        best = tried[loss.index(min(loss))]
        assert torch.allclose(chosen[task], prompts.steered(*best)[task], atol=1e-4)


# ---- the wiring of the experiment


def chance(logits, prompts):
    """Stands in for `right`: the answer's probability in %, which no two arms share."""
    return 100 * logits.softmax(-1).gather(-1, prompts.answers[..., None])[..., 0]


RATES = {name: 0.01 * (1 + i) for i, name in enumerate(experiment.ARMS)}  # no two alike


class Recorder:
    """Stands in for what learns, and returns numbers planted for each call."""

    def __init__(self):
        self.calls = {}

    def note(self, name, given, start, last):
        call = SimpleNamespace(given=given, best=start, last=last)
        self.calls.setdefault(name, []).append(call)
        return Learnt(start, last)

    def select(self, trace, train, validation, how):
        number = len(self.calls.get("select", ()))
        shape = trace.shape[:-1]
        return self.note("select", (trace, train, validation, how), uniform(*shape, seed=10 + number), uniform(*shape))

    def gains(self, trace, train, validation, how):
        gain = 2 * uniform(*trace.shape[:-1], seed=20)
        return self.note("gains", (trace, train, validation, how), gain, 0 * gain)

    def lora(self, trace, train, validation, how, rank, seed):
        numbers = uniform(len(trace), 2, 2, rank, 16, seed=30) - 0.5
        return self.note("lora", (trace, train, validation, how, rank, seed), numbers, 0 * numbers)

    def effects(self, shuffled, trace):
        self.note("effects", (shuffled, trace), None, None)
        return uniform(2, 4, seed=40)


@pytest.fixture(scope="module")
def wired():
    """A run of seed 4, with a recorder in the learners' place, and models of three worlds."""
    models = nn.ModuleDict({str(world): make_model(world) for world in range(3)})
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            experiment, "ARMS", {name: replace(arm, rate=RATES[name]) for name, arm in experiment.ARMS.items()}
        )
        patch.setattr(experiment.zoo, "load", lambda name: models if name == "icl_gpt" else None)
        patch.setattr(method, "select", recorder.select)
        patch.setattr(rivals, "learn_gains", recorder.gains)
        patch.setattr(rivals, "learn_lora", recorder.lora)
        patch.setattr(rivals, "indirect_effects", recorder.effects)
        for module in (arms, scores):
            patch.setattr(module, "right", chance)
        outcome = PAPER.run(TINY, 4)
    found = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    curves = {(row["method"], row["name"]): row["y"] for row in outcome.curves}
    return SimpleNamespace(
        model=models["1"],  # 4 modulo 3
        facts=ledgers.invent(1),
        calls=recorder.calls,
        scores=found,
        curves=curves,
        exhibits=outcome.exhibits,
        toys=ledgers.divided(ledgers.invent(1), 4),
    )


def expected_scores(wired, by_task):
    """Accuracy, accuracy on changed entries, and accuracy by task, of a (task, question) table."""
    table = torch.stack(by_task)
    changed = wired.facts.changed.gather(1, wired.toys["test"])
    return table.mean().item(), table[changed].mean().item(), table.mean(1).tolist()


def check(wired, name, by_task):
    accuracy, changed, each = expected_scores(wired, by_task)
    assert wired.scores[name, ACCURACY] == pytest.approx(accuracy, rel=1e-4), name
    assert wired.scores[name, CHANGED] == pytest.approx(changed, rel=1e-4), name
    assert wired.curves[name, BY_TASK] == pytest.approx(each, rel=1e-4), name


def of_answer(wired, task, logits):
    answers = wired.facts.table[task, wired.toys["test"][task]]
    return 100 * logits.softmax(-1).gather(-1, answers[:, None])[:, 0]


def by_hand(wired, keep, added):
    """What each task's test prompts would score with keep · o + added at the last token."""
    query = wired.toys["test"]
    return [
        of_answer(wired, task, answered(wired.model, wired.facts, task, query[task], keep[task], added[task]))
        for task in range(TASKS)
    ]


def injected_by_hand(wired, share, trace):
    return by_hand(wired, 1 - share, share[..., None] * trace)


def trace_by_hand(wired, toys):
    """The mean trace of each task's prompts, (tasks, prompts, 11)."""
    found = []
    for task in range(TASKS):
        said = []
        tokens = wired.facts.written(torch.full((len(toys[task]),), task), toys[task])[:, :-2]
        with changed_last(wired.model, lambda layer, o, said=said: (said.append(o.mean(0)), o)[1]):
            wired.model(tokens)
        found.append(torch.stack(said))
    return torch.stack(found)


def drawn_by_hand(wired, name, draws):
    """Toys of the training part, drawn for each task apart: ten to show and one to ask about."""
    order = torch.rand(draws, TASKS, 40, generator=torch_rng(4, "site", name)).argsort(2)
    return torch.stack([wired.toys["train"][task][order[:, task, :11]] for task in range(TASKS)])


def asks(prompts, toys):
    return prompts.tokens.shape[1] == 3 and torch.equal(prompts.tokens[:, 1], toys.flatten() + 1)


def test_each_arm_learns_from_its_own_trace_and_toys_at_its_own_rate(wired):
    trace = trace_by_hand(wired, drawn_by_hand(wired, "embed", 3))
    site, noise, ten = wired.calls["select"]
    assert torch.allclose(site.given[0], trace, atol=1e-3)
    assert torch.allclose(noise.given[0], rivals.noise_like(trace, 4), atol=1e-3)
    (gains,), (lora,), (effects,) = (wired.calls[name] for name in ("gains", "lora", "effects"))
    for call, name in ((site, SITE), (noise, ON_NOISE), (gains, GAINS), (lora, LORA)):
        _, train, validation, how = call.given[:4]
        assert asks(train, wired.toys["train"]), name
        assert asks(validation, wired.toys["validation"]), name
        assert how == Training(RATES[name], 5, 2), name
    assert lora.given[4:] == (2, 4)
    shown = drawn_by_hand(wired, "ten", 2)  # tasks, draws, 11
    own, train, validation, how = ten.given
    assert validation is None
    assert how == Training(RATES[FROM_TEN], 5, 2)
    flat = shown.transpose(0, 1).flatten(0, 1)
    assert asks(train, flat[:, :-1])
    for draw in range(2):
        one = trace_by_hand(wired, shown[:, draw : draw + 1])
        assert torch.allclose(own[draw * TASKS : (draw + 1) * TASKS], one, atol=1e-3)
    shuffled, given = effects.given
    assert torch.allclose(given, trace, atol=1e-3)
    toys = drawn_by_hand(wired, "shuffled", 3)
    rows = shuffled.tokens.unflatten(0, (TASKS, 3))
    assert torch.equal(rows[:, :, 1:-2:5], toys[..., :-1] + 1)
    assert torch.equal(rows[:, :, -2], toys[..., -1] + 1)
    true = torch.stack([wired.facts.table[task, toys[task, :, :-1]] for task in range(TASKS)])
    said = rows[:, :, 3::5]
    assert torch.equal(said.sort(2).values, true.sort(2).values)
    own, other = (permuted(toys[..., :-1].flatten(0, 1), seed).view(TASKS, 3, 10) for seed in (4, 5))
    assert torch.equal(said, torch.stack([wired.facts.table[task, own[task]] for task in range(TASKS)]))
    assert not torch.equal(own, other)
    assert (said == true).float().mean() < 0.5
    parts = [set(part[0].tolist()) for part in wired.toys.values()]
    assert len(set.union(*parts)) == sum(map(len, parts)) == 64


def test_arms_are_scored_on_the_test_with_what_they_learned(wired):
    site, noise, ten = wired.calls["select"]
    (gains,), (lora,) = wired.calls["gains"], wired.calls["lora"]
    none = torch.zeros(TASKS, 2, 4, 4)
    check(wired, ZERO, by_hand(wired, torch.ones(TASKS, 2, 4), none))
    check(wired, SITE, injected_by_hand(wired, site.best, site.given[0]))
    check(wired, ON_NOISE, injected_by_hand(wired, noise.best, noise.given[0]))
    check(wired, GAINS, by_hand(wired, gains.best, none))
    parts = [slice(0, TASKS), slice(TASKS, 2 * TASKS)]
    both = [injected_by_hand(wired, ten.best[part], ten.given[0][part]) for part in parts]
    check(wired, FROM_TEN, [(a + b) / 2 for a, b in zip(*both, strict=True)])
    shown, query, plain = drawn_by_hand(wired, "ten", 2), wired.toys["test"], torch.ones(2, 4)
    few = []
    for task in range(TASKS):
        each = [
            of_answer(
                wired,
                task,
                answered(wired.model, wired.facts, task, query[task], plain, none[0], rows[None, :-1].expand(10, -1)),
            )
            for rows in shown[task]
        ]
        few.append(sum(each) / 2)
    check(wired, TEN, few)
    prompts = {name: Prompts.read(wired.model, wired.facts, part) for name, part in wired.toys.items()}
    logits = prompts["test"].logits(rivals.low_rank(lora.best), everywhere=True)
    check(wired, LORA, list(chance(logits, prompts["test"])))
    planted = uniform(2, 4, seed=40)
    logits = rivals.function_vectors(site.given[0], planted, prompts["validation"], prompts["test"], (1, 3))
    check(wired, FUNCTION, list(chance(logits, prompts["test"])))
    assert set(wired.exhibits) == {*experiment.ARMS, TOP, BOTTOM, "lab"}


def test_sites_answers_with_other_heads_and_contents_are_what_they_are_called(wired):
    site = wired.calls["select"][0]
    share, trace = site.best, site.given[0]
    rank = torch.zeros_like(share)
    for task in range(TASKS):
        for place, head in enumerate(sorted(range(8), key=lambda h, task=task: -share[task].flatten()[h])):
            rank[task].view(-1)[head] = place
    check(wired, TOP, injected_by_hand(wired, share * (rank < 4), trace))
    check(wired, BOTTOM, injected_by_hand(wired, share * (rank >= 4), trace))
    mean = torch.stack([trace.sum(0) / TASKS] * TASKS)
    check(wired, MEAN, injected_by_hand(wired, share, mean))
    swapped = [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10]
    check(wired, OTHER, injected_by_hand(wired, share, trace[swapped]))
    check(wired, KIN, injected_by_hand(wired, share[swapped], trace))
    strangers = []
    for further in (2, 4, 6, 8, 10):  # the same ledger's other columns
        theirs = share[[(task - further) % 12 for task in range(TASKS)]]
        strangers.append(torch.stack(injected_by_hand(wired, theirs, trace)))
    check(wired, STRANGER, list(torch.stack(strangers).mean(0)))
    for name, keep in ((TOP, rank < 3), (BOTTOM, rank >= 5)):
        curve = wired.curves[name, BY_HEADS]
        assert len(curve) == 9
        three = torch.stack(injected_by_hand(wired, share * keep, trace))
        assert curve[3] == pytest.approx(three.mean().item(), rel=1e-4)
        assert curve[0] == pytest.approx(wired.scores[ZERO, ACCURACY], rel=1e-4)
        assert curve[8] == pytest.approx(wired.scores[SITE, ACCURACY], rel=1e-4)


def test_alphas_the_best_reader_and_the_base_are_scored_by_hand(wired):
    near = torch.tensor([[0.05, 0.1, 0.3, 0.5, 0.89, 0.9, 0.95, 1.0, 0.11, 0.6]])
    outcome = experiment.Outcome()
    scores.score_alphas(outcome, SITE, near)
    assert [row["value"] for row in outcome.scores] == pytest.approx([50, -20])
    last = uniform(TASKS, 2, 4)  # after the last update, not the best
    share = 100 * ((last <= 0.1) | (last >= 0.9)).float().mean().item()
    for name in (SITE, ON_NOISE):
        assert wired.scores[name, BINARY] == pytest.approx(share)
        assert wired.scores[name, ABOVE] == pytest.approx(share - 70)
    assert {key for key in wired.scores if key[1] == BINARY} == {(SITE, BINARY), (ON_NOISE, BINARY)}
    shown, best = drawn_by_hand(wired, "ten", 2), []
    for task in range(TASKS):
        rows = []
        changed = wired.facts.changed[task]
        for draw in shown[task, :, :-1]:
            told = changed[draw].any()
            rows.append(torch.where(changed[wired.toys["test"][task]] & ~told, 50.0, 100.0))
        best.append(torch.stack(rows).mean(0))
    check(wired, BEST, best)
    assert 75 < wired.scores[BEST, ACCURACY] < 100
    worst = []
    for task in range(TASKS):
        toys = wired.facts.changed[task].nonzero()[:, 0].tolist()
        found = []
        for start in range(13):
            row = torch.tensor([(toys + toys)[start : start + 11]])
            plain = answered(
                wired.model, wired.facts, task, row[:, -1], torch.ones(2, 4), torch.zeros(2, 4, 4), row[:, :-1]
            )
            found.append(100 * plain.softmax(-1)[0, wired.facts.table[task, row[0, -1]]])
        worst.append(sum(found) / 13)
    assert wired.scores[BASE, WORST] == pytest.approx(min(worst).item(), rel=1e-4)


# ---- the record


def test_claims_and_gates_compare_what_they_say_and_the_probe_holds():
    claims = {c.key: (c.metric, c.better, c.worse, c.margin, c.kind) for c in PAPER.claims}
    assert claims == {
        "C1": (ACCURACY, SITE, TEN, 0, "superiority"),
        "C2": (ACCURACY, SITE, FUNCTION, 0, "superiority"),
        "C3": (ACCURACY, TOP, SITE, 3, "equivalence"),
        "C4": (ABOVE, SITE, None, 0, "superiority"),
        "C5": (ACCURACY, KIN, STRANGER, 0, "superiority"),
        "C6": (ACCURACY, FROM_TEN, TEN, 0, "superiority"),
    }
    also = {c.key: (c.metric, c.better, c.worse) for c in PAPER.also}
    assert also == {
        "C1b": (CHANGED, SITE, TEN),
        "C1c": (ACCURACY, SITE, BEST),
        "C1d": (ACCURACY, SITE, LORA),
        "C2b": (ACCURACY, SITE, GAINS),
        "C2c": (CHANGED, SITE, GAINS),
        "C2d": (ACCURACY, GAINS, ZERO),
        "C3b": (ACCURACY, SITE, BOTTOM),
        "C3c": (ACCURACY, SITE, MEAN),
        "C3d": (CHANGED, SITE, OTHER),
        "C4b": (BINARY, SITE, ON_NOISE),
        "C4c": (ACCURACY, SITE, ON_NOISE),
    }
    assert not any(c.lower_is_better for c in (*PAPER.claims, *PAPER.also))
    assert {(c.margin, c.kind) for c in PAPER.also} == {(0, "superiority")}
    gates = [(g.method, g.metric, g.minus, g.least, g.most) for g in PAPER.gates]
    assert gates == [
        (ZERO, ACCURACY, None, None, 30),
        (BASE, WORST, None, 90, None),
        (TEN, CHANGED, None, None, 90),
        (LORA, ACCURACY, TEN, 5, None),
    ]
    rates = {name: arm.rate for name, arm in experiment.ARMS.items() if arm.rate}
    assert rates == {SITE: 0.2, GAINS: 0.6, LORA: 0.01, ON_NOISE: 0.2, FROM_TEN: 0.1}
    assert list(experiment.ARMS) == [ZERO, TEN, SITE, FUNCTION, GAINS, LORA, ON_NOISE, FROM_TEN]
    full = PAPER.settings("full")
    assert (full.steps, full.every, full.prompts, full.draws, full.rank) == (200, 25, 50, 10, 2)
    assert full.most == (1, 2, 4, 8)
    check_probe(PAPER, recorded(PAPER.slug))


def test_quick_runs_the_arms_that_the_page_shows(monkeypatch):
    quick = PAPER.settings("quick")
    assert quick.only == (ZERO, TEN, SITE, GAINS)
    assert PAPER.settings("full").only == PAPER.settings("probe").only == ()
    models = nn.ModuleDict({"0": make_model()})
    monkeypatch.setattr(zoo, "load", lambda name: models)
    outcome = PAPER.run(replace(TINY, only=quick.only), 0)
    run = {row["method"] for row in outcome.scores}
    assert run == {ZERO, TEN, SITE, GAINS, BASE, BEST, TOP, BOTTOM, MEAN, OTHER, KIN, STRANGER}
