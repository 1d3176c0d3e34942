from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from stages.evidence import Outcome
from stages.models import GPT, seeded
from stages.papers.mechanisms.sim_cot import (
    PAPER,
    Problems,
    SimCoT,
    StepDecoder,
    Thinker,
    experiment,
    measures,
    recipe,
    step_loss,
    training,
    variants,
)
from stages.papers.mechanisms.sim_cot.experiment import ARMS, Settings
from stages.papers.mechanisms.sim_cot.training import Arm, Training
from stages.papers.mechanisms.sim_cot.variants import COCONUT, COT, EQUAL_TIME, NO_COT, PAUSE, SIM, STOP
from stages.seeding import torch_rng
from stages.worlds import chains

WORDS = chains.vocabulary(11, plain=True)
MOST = 3
TINY = Training(
    steps=(2, 3), pool=60, width=16, heads=2, depth=1, batch=8, written=3, curriculum=(2, 2), between=1, further=3,
    seeds=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def problems():
    return Problems.of(chains.sample(12, 0, steps=(2, MOST), distractors=(0, 1), modulus=11, plain=True))


@pytest.fixture(scope="module")
def model():
    with seeded(0):
        return GPT(len(WORDS), 16, 2, 2, length=96)


def make(kind, model, thoughts=MOST):
    with seeded(1):
        return kind(model, WORDS, MOST, thoughts)


def gradients(thinker, problems):
    thinker.zero_grad()
    thinker.loss(problems, MOST, torch_rng(0)).backward()
    return {name: None if p.grad is None else p.grad.clone() for name, p in thinker.named_parameters()}


def plain_loss(model, problems, text, asked):
    """Cross-entropy of the last `asked` tokens of the question and a text, read in one piece."""
    whole = torch.cat([problems.question, text], 1)
    mask = F.pad(problems.question != 0, (0, text.shape[1]), value=True)
    logits = model(whole, mask)[:, -asked - 1 : -1]
    return F.cross_entropy(logits.flatten(0, 1), whole[:, -asked:].flatten(), ignore_index=0).item()


# ---- the method


def test_a_thought_is_the_last_state_at_an_embeddings_length_and_is_read_next(model, problems):
    """z_k = H(U_{k-1}), with the whole sequence read anew each time, without a cache."""
    thinker = make(Thinker, model)
    cache, word = thinker.read(problems)
    thoughts, after = thinker.think(cache, word, 3)
    inputs = thinker.model.embedding(torch.cat([problems.question, thinker.mark("<thought>", word)], 1))
    for k in range(3):
        mask = F.pad(problems.question != 0, (0, inputs.shape[1] - problems.question.shape[1]), value=True)
        z = F.normalize(thinker.model.extend(inputs, mask=mask)[0][:, -1:], dim=-1)
        z = z * model.embedding.weight.norm(dim=1).mean()
        assert torch.allclose(thoughts[:, k : k + 1], z, atol=1e-5)
        inputs = torch.cat([inputs, z], 1)
    assert after.past == inputs.shape[1]
    edited = thinker.solve(problems, lambda k, z: z.roll(1, 0) if k == 1 else z)[2]
    assert torch.equal(edited[:, 0], thoughts[:, 0])
    assert torch.allclose(edited[:, 1], thoughts[:, 1].roll(1, 0))
    assert not torch.allclose(edited[:, 2], thoughts[:, 2], atol=1e-4)


def test_gradients_through_the_chain_are_those_of_differences(problems):
    with seeded(0):
        model = GPT(len(WORDS), 8, 1, 1, length=96).double()
    thinker = make(SimCoT, model).double()
    found = gradients(thinker, problems)["model.blocks.0.mlp.0.weight"]
    weight = thinker.model.blocks[0].mlp[0].weight
    for place in ((0, 0), (5, 3), (20, 7)):
        values = []
        for shift in (1e-5, -1e-5):
            with torch.no_grad():
                weight[place] += shift
                values.append(thinker.loss(problems, MOST).item())
                weight[place] -= shift
        assert found[place].item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-4, abs=1e-8)


def test_the_step_loss_teaches_the_thinker_unless_its_gradient_is_stopped(model, problems):
    plain, supervised, stopped = (
        gradients(make(kind, model), problems) for kind in (Thinker, SimCoT, variants.StopGradient)
    )
    for name, gradient in plain.items():
        if name != "model.embedding.weight":  # which the decoder reads with
            assert torch.allclose(stopped[name], gradient, atol=1e-7)
            assert not torch.allclose(supervised[name], gradient, rtol=1e-3)
    for found in (supervised, stopped):
        assert all(g.norm() > 0 for name, g in found.items() if "reader" in name and "positions" not in name)


def test_a_stage_thinks_the_first_steps_and_writes_the_others(model, problems):
    """L = L_answer + λ L_step; c thoughts a step, and the decoder's steps are those that are thought."""
    thinker = make(SimCoT, model, 2 * MOST)
    for stage in (1, 2, 3):
        cache, word = thinker.read(problems)
        thoughts, cache = thinker.think(cache, word, 2 * stage)
        answer = thinker.text_loss(cache, thinker.mark("</thought>", word), problems.text(stage))
        step = step_loss(thinker.reader, thoughts, problems.slots(MOST)[:, :stage])
        for thinker.weight in (1.0, 3.0):  # λ
            total = answer + thinker.weight * step
            assert thinker.loss(problems, stage).item() == pytest.approx(total.item(), rel=1e-5)
    assert (thinker.last, make(Thinker, model, 2).last, make(Thinker, model, 1).last) == (3, 3, 2)
    with pytest.raises(ValueError, match="4 thoughts do not share out among 3 slots"):
        make(Thinker, model, 4)


def test_a_decoder_reads_its_own_slots_thoughts_and_the_words_before(model, problems):
    decoder, targets = StepDecoder(model), problems.slots(MOST)
    thoughts = torch.randn(12, 2 * MOST, 16, generator=torch_rng(0), requires_grad=True)
    words = targets.flatten(0, 1)
    whole = torch.cat([thoughts.view(36, 2, 16), model.embedding(words)], 1)
    assert torch.allclose(decoder(thoughts.view(36, 2, 16), words), model(whole)[:, 1:-1], atol=1e-5)
    one = torch.zeros_like(targets)
    one[0, 1] = targets[0, 1]
    step_loss(decoder, thoughts, one).backward()
    assert (thoughts.grad.norm(dim=-1) > 0).nonzero().tolist() == [[0, 2], [0, 3]]
    shared = {id(p) for p in model.parameters()} & {id(p) for p in decoder.parameters()}
    assert shared == {id(model.embedding.weight)}


def test_step_losses_are_normalised_as_released(model, problems):
    decoder, targets = StepDecoder(model), problems.slots(MOST, "nothing")
    thoughts = torch.randn(12, MOST, 16, generator=torch_rng(0))
    per_problem, per_token = [], []
    for k in range(MOST):
        rows = (targets[:, k] != 0).any(1)
        words = targets[rows, k]
        logp = decoder(thoughts[rows, k : k + 1], words).log_softmax(-1).gather(2, words[..., None])[..., 0]
        total = -(logp * (words != 0)).sum()
        per_problem.append((total / rows.sum()).item())
        per_token.append((total / (words != 0).sum()).item())
    assert step_loss(decoder, thoughts, targets).item() == pytest.approx(np.mean(per_problem), rel=1e-5)
    assert step_loss(decoder, thoughts, targets, True).item() == pytest.approx(np.mean(per_token), rel=1e-5)
    targets[:, 2] = 0  # a slot without targets counts for nothing
    assert step_loss(decoder, thoughts, targets).item() == pytest.approx(np.mean(per_problem[:2]), rel=1e-5)


def test_a_slot_is_to_say_its_own_step_and_in_the_controls_another(model, problems):
    def told(rows):
        return [WORDS.decode(row) for row in rows]

    answers, teaching = told(problems.answer), told(problems.text(last=False))
    for slots in (2, MOST):
        found, empty = problems.slots(slots), problems.slots(slots, "nothing")
        for i, count in enumerate(problems.count):
            steps = told(problems.steps[i][:count])
            parts = [*steps[: slots - 1], " ".join(steps[slots - 1 :])]
            parts = [part + " <end>" if part else "" for part in parts]
            assert told(empty[i]) == parts
            assert told(found[i]) == [part or answers[i] for part in parts]
            assert teaching[i] == " ".join([*steps[:-1], answers[i]])  # with the last one the answer is given away
            assert told(problems.text(1))[i] == " ".join([*steps[1:], answers[i]])
    assert problems.count.min() < MOST

    own = problems.slots(MOST)
    shuffled = make(variants.Shuffled, model).targets(problems, MOST, torch_rng(0))
    foreign = make(variants.Foreign, model).targets(problems, MOST, None)
    assert torch.equal(make(SimCoT, model).targets(problems, MOST, None), own)
    assert torch.equal(foreign, own.roll(1, 0))
    for ours, theirs in zip(own, shuffled, strict=True):
        assert sorted(ours.tolist()) == sorted(theirs.tolist())
    many = problems.take(torch.zeros(3000, dtype=torch.long))
    first = make(variants.Shuffled, model).targets(many, MOST, torch_rng(0))[:, 0]
    assert (first == own[0, 0]).all(1).float().mean().item() == pytest.approx(1 / 3, abs=0.04)


def test_what_is_written_ends_at_its_end(model, problems, monkeypatch):
    thinker, end, mark = make(SimCoT, model), WORDS.number["<end>"], WORDS.number["<answer>"]
    rows = torch.tensor([mark, 5, end]).repeat(12, 1)
    rows[0] = torch.tensor([end, end, end])
    rows[1] = torch.tensor([7, mark, 9])
    rows[2] = torch.tensor([7, 7, mark])
    monkeypatch.setattr(thinker.model, "generate", lambda *_, **__: rows)
    answers, tokens, thoughts = thinker.solve(problems)
    assert answers.tolist() == [0, 9, 0, *[5] * 9]
    assert tokens.tolist() == [MOST + 1, *[MOST + 3] * 11]
    monkeypatch.setattr(thinker.reader.model, "generate", lambda alone, *_, **__: rows.repeat(len(alone) // 12, 1))
    made = thinker.reader.write(thoughts, MOST, 5, end)
    assert made.shape == (12, MOST, 5)
    assert made[0].tolist() == [[end, 0, 0, 0, 0], [7, mark, 9, 0, 0], [7, 7, mark, 0, 0]]


# ---- what it is compared with


def test_without_thoughts_the_loss_is_that_of_the_plain_text(model, problems):
    marks = [WORDS.number[word] for word in ("<thought>", *["<pause>"] * MOST, "</thought>")]
    paused = torch.cat([torch.tensor(marks).expand(12, -1), problems.answer], 1)
    written = problems.text()
    for kind, text, asked in (
        (variants.Written, written, written.shape[1]),
        (variants.AtOnce, problems.answer, 3),
        (variants.Pauses, paused, 3),
    ):
        expected = plain_loss(model, problems, text, asked)
        assert make(kind, model).loss(problems, MOST).item() == pytest.approx(expected, rel=1e-5)
    mixed = make(variants.Replay, model).loss(problems, MOST).item()
    told = plain_loss(model, problems.take(slice(2)), problems.take(slice(2)).text(), written.shape[1])
    silent = make(Thinker, model).loss(problems.take(slice(2, None)), MOST).item()
    assert mixed == pytest.approx((2 * told + 10 * silent) / 12, rel=1e-5)  # a fifth of 12 is 2


def test_codi_learns_from_its_own_state_before_the_answer(model, problems):
    student, teacher = (
        [torch.randn(2, n, 4, generator=torch_rng(n, i), requires_grad=True) for i in range(2)] for n in (3, 4)
    )
    at, taught_at = torch.eye(3, dtype=torch.bool)[[0, 1]], torch.eye(4, dtype=torch.bool)[[2, 1]]
    found = variants.distillation_loss(student, teacher, at, taught_at)
    by_hand = []
    for one, other in zip(student, teacher, strict=True):  # a state that has read text[t] is at t + 1
        ours, theirs = torch.stack([one[0, 1], one[1, 2]]), torch.stack([other[0, 3], other[1, 2]])
        by_hand.append(F.smooth_l1_loss(ours / theirs.std(), theirs / theirs.std()).item())
    assert found.item() == pytest.approx(np.mean(by_hand), rel=1e-6)
    found.backward()
    assert all(t.grad is None for t in teacher)
    codi = make(variants.CodiSim, model)
    answer, thoughts = codi.answer_loss(problems, MOST)
    targets = problems.slots(MOST, "nothing")
    expected = answer + step_loss(codi.reader, thoughts, targets, per_token=True)
    assert codi.loss(problems, MOST).item() == pytest.approx(expected.item(), rel=1e-5)
    teaching = plain_loss(model, problems, problems.text(last=False), problems.text(last=False).shape[1])
    assert answer.item() > teaching
    length = model.embedding.weight.norm(dim=1).mean()
    assert torch.allclose(thoughts.norm(dim=-1), length.expand(12, MOST), rtol=1e-3)
    assert torch.allclose(thoughts.mean(-1), torch.zeros(12, MOST), atol=1e-5)


# ---- training


def test_all_arms_get_as_many_updates_on_the_same_problems(monkeypatch):
    seen, rates = [], []
    pool = Problems.of(TINY.draw(0, "train", 400))
    monkeypatch.setattr(training, "fit", lambda loss, updates, *_, **__: [loss(i) for i in range(updates)])
    monkeypatch.setattr(training, "optimiser", lambda _, __, rate, **___: rates.append(rate))
    monkeypatch.setattr(Thinker, "loss", lambda _, part, stage, __: seen.append((stage, part.question)))
    monkeypatch.setattr(SimCoT, "loss", Thinker.loss)
    model = training.learn_steps(TINY, pool, 5)
    assert rates == [TINY.rate]
    rates.clear()
    found = {}
    for name, arm in {"first": Arm(thoughts=3), "other": Arm(SimCoT, 3), "free": Arm(variants.Codi, 3, False)}.items():
        training.learn_on(TINY, pool, model, arm, 5)
        found[name] = [*seen]
        seen.clear()
    assert Counter(stage for stage, _ in found["first"]) == {3: 3}
    assert Counter(stage for stage, _ in found["free"]) == {3: 3 + 4}  # the curriculum's on top
    for name in ("other", "free"):
        assert all(torch.equal(a[1], b[1]) for a, b in zip(found["first"], found[name], strict=False))
    assert set(rates) == {TINY.later}
    long = replace(TINY, steps=(2, 4), further=5)
    training.learn_on(long, Problems.of(long.draw(0, "train", 400)), training.make_gpt(long), Arm(), 5, 9)
    assert Counter(stage for stage, _ in seen) == {3: 1, 4: 8}
    few, many, other = (training.batches(pool, n, 16, seed, "x") for n, seed in ((10, 0), (30, 0), (10, 1)))
    assert torch.equal(many[:10], few)
    assert not torch.equal(few, other)
    length = (pool.question != 0).sum(1) + 7 * pool.count
    assert length[many].float().std(1).mean() < 0.5 * length.float().std()


def test_the_recipe_trains_what_the_paper_would():
    how = replace(TINY, steps=(2, 4))
    untrained = [training.learn_steps(replace(how, written=0), None, seed).positions for seed in (0, 1)]
    assert not torch.equal(*untrained)
    networks = recipe.build(how)
    recipe.fit_all(networks, how, 1)
    settings = Settings(how, arms=(COT, COCONUT, SIM, STOP), sweep=(4,), test=2, probes=2)
    world = measures.World.of(how, 1, 2, 2)
    for name, thinker in experiment.learn_all(settings, world, 1):
        found = networks["0"][name].state_dict()
        assert found.keys() == thinker.state_dict().keys()
        for key, value in thinker.state_dict().items():
            assert torch.equal(found[key], value) or (name, key) == (COT, "project.length")
    embedding, number = networks["0"][COT].model.embedding.weight, how.words.number
    assert all(torch.equal(embedding[number[mark]], embedding[number["<"]]) for mark in training.MARKS)


# ---- the experiment


class Planted:
    """A network with planted answers, thoughts and steps: right in the first `right(kind)` of a test's problems."""

    def __init__(self, number, arm, world):
        self.number, self.arm, self.world = number, arm, world
        self.thinks, self.slots = arm.kind.thinks, min(arm.thoughts, 3)
        self.per_slot, self.words = arm.thoughts // self.slots, TINY.words.number
        self.model = SimpleNamespace(embedding=SimpleNamespace(weight=torch.zeros(4, 9)))
        self.reader = self if issubclass(arm.kind, SimCoT) else None

    def right(self, kind):
        return (3 * self.number + 5 * list(self.world.tests).index(kind)) % 21

    def solve(self, problems):
        self.solved = problems
        kind = next((kind for kind, test in self.world.tests.items() if test is problems), None)
        answers = problems.answer[:, 1].clone()
        answers[self.right(kind) if kind else 0 :] = 0
        thoughts = F.pad(torch.eye(self.arm.thoughts), (1, 8 - self.arm.thoughts)).repeat(len(problems), 1, 1)
        thoughts[..., 0] = self.number  # pairs are √2 apart, and √(1 + number²) long
        return answers, torch.full((len(problems),), self.number), thoughts

    def write(self, given, slots, length, end):
        """Write all steps, but for problem 0's first; from zeros, those of problem 0 alone."""
        made = self.solved.slots(slots)
        if (given == 0).all():
            made[1:] = 0
        else:
            made[0, 0] = 0
        return made


@pytest.fixture
def planted(monkeypatch):
    """A run whose networks are planted: its settings and outcome, and how each network was trained."""
    settings = Settings(TINY, thoughts=3, sweep=(2, 3, 6), test=20, probes=30, blind=7, slower=2.0)
    trained, blind, worlds, drawn = {}, [], [], []
    names = iter(settings.methods())

    def learn(how, pool, start, arm, seed, updates=None):
        assert pool is worlds[0].pool
        name = next(names)
        trained[name] = SimpleNamespace(start=start, arm=arm, seed=seed, updates=updates)
        return Planted(len(trained), arm, worlds[0])

    def world(*args):
        worlds.append(make_world(*args))
        return worlds[0]

    def draw(self, seed, name, n, **options):
        drawn.append((seed, name, n, options))
        return make_draw(self, seed, name, n, **options)

    make_world, make_draw = measures.World.of, Training.draw
    monkeypatch.setattr(measures.World, "of", world)
    monkeypatch.setattr(Training, "draw", draw)

    def make(how, start, arm, seed):
        return learn(how, worlds[0].pool, start, arm, seed)

    def learn_blind(how, pool, thinker, seed, updates):
        blind.append((thinker.arm, seed, updates))
        return thinker

    monkeypatch.setattr(experiment, "learn_steps", lambda how, pool, seed: f"written, seed {seed}")
    monkeypatch.setattr(experiment, "learn_first_thoughts", lambda how, pool, start, k, seed: f"{start}, {k} thoughts")
    monkeypatch.setattr(experiment, "make_thinker", make)
    monkeypatch.setattr(experiment, "learn_on", learn)
    monkeypatch.setattr(experiment, "learn_blind", learn_blind)
    outcome = PAPER.run(settings, 4)
    return SimpleNamespace(settings=settings, outcome=outcome, trained=trained, blind=blind, drawn=drawn)


def test_each_arm_is_trained_as_its_own_and_tests_are_other_problems(planted):
    full = PAPER.profiles["full"].methods()
    assert list(full)[:12] == list(ARMS) == list(PAPER.profiles["full"].arms)
    assert [full[name].thoughts for name in list(full)[12:]] == [2, 8, 2, 8]
    trained = planted.trained
    assert list(trained) == list(planted.settings.methods())
    kinds = {
        NO_COT: variants.AtOnce, PAUSE: variants.Pauses, COT: variants.Written, EQUAL_TIME: Thinker,
        variants.REPLAY: variants.Replay, variants.SHUFFLED: variants.Shuffled, variants.FOREIGN: variants.Foreign,
        variants.CODI: variants.Codi, variants.CODI_SIM: variants.CodiSim, COCONUT: Thinker, SIM: SimCoT,
        STOP: variants.StopGradient,
    }  # fmt: skip
    kinds |= {f"{name}, K = {k}": kinds[name] for name in (COCONUT, SIM) for k in (2, 6)}
    assert {name: one.arm.kind for name, one in trained.items()} == kinds
    for name, one in trained.items():
        k = int(name[-1]) if "K =" in name else 3
        free = name in (NO_COT, PAUSE, COT, variants.CODI, variants.CODI_SIM)
        assert (one.seed, one.arm.thoughts) == (4, k)
        assert one.start == "written, seed 4" + ("" if free else f", {k} thoughts")
        assert one.updates == {COT: None, EQUAL_TIME: 6}.get(name, 3)
    assert planted.blind == [(Arm(SimCoT, 3), 4, 7)]
    assert Counter(seed for seed, *_ in planted.drawn) == {4: 9}
    assert {name: (n, options) for _, name, n, options in planted.drawn} == {
        "2 steps": (20, {"steps": 2}), "3 steps": (20, {"steps": 3}), "one step fewer": (20, {"steps": 1}),
        "one step more": (20, {"steps": 4}), "new tellings": (20, {"tellings": "new"}),
        "one distractor": (20, {"distractors": 1}), "train": (60, {}), "to fit": (30, {"steps": 3}),
        "to test": (30, {"steps": 3}),
    }  # fmt: skip


def test_every_score_is_what_it_says(planted):
    """The m-th network is right in (3 m + 5 j) mod 21 of the 20 problems of the j-th test."""
    found = {(row["method"], row["metric"]): row["value"] for row in planted.outcome.scores}
    number = {name: m for m, name in enumerate(planted.trained, 1)}
    shares = {name: [5 * ((3 * m + 5 * j) % 21) for j in range(6)] for name, m in number.items()}
    for name, share in shares.items():
        assert found[name, "accuracy [3 steps]"] == pytest.approx(share[1])
        assert found[name, "accuracy"] == pytest.approx(sum(share[:2]) / 2)
        assert found[name, "accuracy, out of distribution"] == pytest.approx(sum(share[2:]) / 4)
        assert found[name, "tokens generated"] == number[name]
    apart = {name: 2**0.5 / (1 + m**2) ** 0.5 for name, m in number.items() if name not in (NO_COT, PAUSE, COT)}
    assert {n: v for (n, metric), v in found.items() if metric == measures.DISTANCE} == pytest.approx(apart)
    at = {k: sum(shares[f"Coconut, K = {k}" if k != 3 else COCONUT][:2]) / 2 for k in (2, 3, 6)}
    assert found[COCONUT, "accuracy at the worst K"] == min(at.values()) < max(at.values())
    x = np.log2([2, 3, 6])
    by_hand = ((x - x.mean()) * [at[2], at[3], at[6]]).sum() / ((x - x.mean()) ** 2).sum()
    assert found[COCONUT, "accuracy gained by doubling K"] == pytest.approx(by_hand)
    both = [[apart[name], sum(shares[name][:2])] for name in apart]
    assert found["all runs", measures.CORRELATION] == pytest.approx(stats.spearmanr(both).statistic)
    # 20 problems of 2 steps and 20 of 3: one step of each lot is wrong, from zeros all but those of one problem
    assert found[SIM, measures.DECODED] == pytest.approx(100 * 98 / 100)
    assert found[variants.BLIND, measures.DECODED] == pytest.approx(5)
    assert (EQUAL_TIME, measures.DECODED) not in found


def test_what_thoughts_hold_is_measured_on_other_problems():
    """A probe reads a value from the last thought of a slot, and not where it is planted otherwise in the test."""
    how = replace(TINY, steps=(2, 2))
    fitted, tested = (how.draw(0, name, 200) for name in ("to fit", "to test"))

    def holding(shift):
        def solve(problems):
            world = (
                fitted if len(problems) == 200 and torch.equal(problems.answer, Problems.of(fitted).answer) else tested
            )
            noise = torch.randn(200, 2, 8, generator=torch_rng(len(world), world is fitted))
            value = (world.values[:, 1:] + (shift if world is tested else 0)) % 5
            held = torch.cat([F.one_hot(value, 5) + 0.0, torch.zeros(200, 2, 3)], 2)
            return None, None, torch.stack([noise, held], 2).flatten(1, 2)  # the second thought of each slot holds it

        embedding = SimpleNamespace(weight=torch.zeros(4, 8))
        return SimpleNamespace(solve=solve, model=SimpleNamespace(embedding=embedding), per_slot=2, slots=2)

    shares = {}
    for shift in (0, 1):
        outcome = Outcome()
        measures.score_thoughts(outcome, SIM, holding(shift), fitted, tested)
        shares[shift] = {row["metric"]: row["value"] for row in outcome.scores}
    assert (shares[0][measures.VALUE], shares[1][measures.VALUE]) == (100, 0)
    assert shares[0][measures.OPERATOR] < 60
    axes = measures.geometry(2 * torch.eye(3).expand(5, 3, 3), torch.tensor([[1.0, 0, 0], [-1, 0, 0]]))
    by_hand = {measures.DISTANCE: 2**0.5, measures.COSINE: 0, measures.RANK: 3, measures.CENTRE: 2}
    assert axes == pytest.approx(by_hand | {measures.CENTRE_NORMED: 1}, abs=1e-6)
    right = torch.tensor([[1.0, 1], [0, 1], [0, 0]])  # right of two steps for three problems, the last with one step
    there = torch.tensor([[1.0, 1], [1, 1], [1, 0]])
    gap = measures.gap(right, torch.tensor([1.0, 0, 1]), there)  # 3 of all 5 are answered, 2 of 3 right ones, 1 of 2
    assert gap == pytest.approx(100 * ((2 + 1.2) / 5 - (1 + 1.2) / 4))
