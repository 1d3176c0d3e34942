"""The regulariser, virtual outliers, the two stages and what stays still in each; how the experiment is wired."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from stages.evidence import Outcome, judge, tidy_scores
from stages.evidence.gates import measure_gates
from stages.models import ViT
from stages.papers.continual.common import arms
from stages.papers.continual.common.arms import CODA, DUAL, HEAD, MEAN, ONE, Result, learn, make_learner, make_prompt
from stages.papers.continual.common.loop import Budget, batches, falling
from stages.papers.continual.common.metrics import accuracy_matrix
from stages.papers.continual.common.prompts import OnePrompt
from stages.papers.continual.common.scores import AVERAGE, CROSS, NAMED, WITHIN
from stages.papers.continual.ovor import PAPER, experiment, method, scores
from stages.papers.continual.ovor.experiment import BASE, EXTRA, JOINT, LEVEL, NONE, OVOR, PASSES, TRAINED
from stages.papers.continual.ovor.first_stage import Learnt, Rows, first_stage
from stages.papers.continual.ovor.method import Stage
from stages.papers.continual.ovor.scores import APART, FIRST, PHOTO, SHARE
from stages.worlds import signs

TINY = experiment.Settings(tasks=4, ways=2, train=10, test=5, budget=Budget(5, 4), share=0.4, photos=2)
PLAIN = Stage(0.0, 0.0, 6.0, 0.5)
STAGES = [Stage(1.0, 1.0, 6.0, 0.5), PLAIN, Stage(3.0, 0.0, 4.0, 0.5), Stage(0.0, 2.0, 2.0, 1.0)]
SEED = 5


@pytest.fixture(scope="module")
def vit():
    """Random parameters: what is tested here holds for any."""
    torch.manual_seed(0)
    return ViT(classes=signs.COUNT + 8, stem="convolution").eval().requires_grad_(False)


@pytest.fixture(scope="module")
def world(vit):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arms.zoo, "load", lambda name: vit)
        return experiment.make_world(TINY, SEED)


@pytest.fixture(scope="module")
def learnt(world):
    return staged(world, ONE, 3)


def staged(world, name, first):
    learner = make_learner(name, world, make_prompt(name, 4, SEED))
    return first_stage(learner, world.stream, TINY.budget, first, 0.01, SEED)


def heads_of(learnt, *stages, seed=SEED):
    return method.regularise(learnt, stages, TINY.budget, 0.01, seed)


def features(n=120, width=16, seed=0):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed)) + 1


def made_of(z, noise=0.3, keep=40, seed=3):
    return method.virtual_outliers(z, keep, noise, torch.Generator().manual_seed(seed))


# ---- the regulariser, the outliers


def test_both_terms_pull_by_the_softmax_each_its_own_way_and_rest_within_their_thresholds():
    """d/dz_k of the mean Huber of ±(E - t) is ∓ softmax_k / n where the excess is beyond δ = 1."""
    assert method.energy(torch.zeros(3, 4)).tolist() == pytest.approx([-math.log(4)] * 3)
    logits = torch.randn(3, 4)
    torch.testing.assert_close(method.energy(logits), -logits.exp().sum(1).log())
    excess = torch.tensor([[-3.0, 0.5], [1.0, 4.0]])
    assert method.hinge(excess).tolist() == pytest.approx([0.125 / 2, (0.5 + 3.5) / 2])
    own = torch.randn(6, 4, requires_grad=True)
    far = torch.randn(5, 4, requires_grad=True)
    t_id, t_ood = torch.tensor([-20.0]), 9.0
    terms = method.regulariser(own, far, t_id, t_ood)
    expected = -own.logsumexp(1) + 20 - 0.5, 9 + far.logsumexp(1) - 0.5
    assert terms.identity.item() == pytest.approx(expected[0].mean().item(), rel=1e-5)
    assert terms.outlier.item() == pytest.approx(expected[1].mean().item(), rel=1e-5)
    to_own, to_far = torch.autograd.grad(terms.identity + terms.outlier, [own, far])
    torch.testing.assert_close(to_own, -own.softmax(1) / 6)
    torch.testing.assert_close(to_far, far.softmax(1) / 5)
    rest = method.regulariser(own + 30, far - 20, t_id, t_ood)
    assert (rest.identity, rest.outlier) == (0, 0)


def test_outliers_lie_around_the_loneliest_features():
    z = features()
    z[7] = -z[7]  # an outcast
    index = F.normalize(z, dim=-1)
    distance = torch.stack([(a - index).norm(dim=1).sort().values[method.NEIGHBOUR - 1] for a in index])
    torch.testing.assert_close(method.kth_distance(index, index), distance, atol=1e-4, rtol=0)
    lonely = distance.topk(method.POINTS).indices
    assert 7 in lonely
    made = made_of(z, noise=1e-4, keep=2_000)
    assert len(made) == method.POINTS * method.OFFSETS
    gaps = torch.cdist(made, z[lonely])
    assert gaps.amin(1).max() < 0.01
    assert (gaps.amin(0) < 0.01).all()  # all of them have some


def test_kept_are_the_candidates_far_from_all_features_in_direction_and_noise_is_a_length():
    z = features()
    index = F.normalize(z, dim=-1)
    far = [method.kth_distance(F.normalize(made_of(z, keep=k), dim=-1), index).sort().values for k in (2_000, 40)]
    torch.testing.assert_close(far[1], far[0][-40:], atol=1e-5, rtol=0)
    assert not torch.equal(made_of(z), made_of(z, seed=4))
    for width in (16, 256):
        z = features(width=width)
        one, two = made_of(z, 1e-4, keep=2_000), made_of(z, 0.5, keep=2_000)
        boundary = torch.cdist(one, z).argmin(1).unique()
        steps = torch.cdist(two, z[boundary]).amin(1)
        assert (steps.mean() / z.norm(dim=1).median()).item() == pytest.approx(0.5, rel=0.15)


# ---- the two stages


@pytest.mark.parametrize("name", [ONE, HEAD])
def test_a_first_stage_with_all_updates_is_the_plain_method(name, world):
    whole = staged(world, name, 5)
    plain = learn(name, world, TINY.budget, SEED, rate=0.01).logits
    for task, part in enumerate(whole):
        logits = part.rows.logits(part.test)
        torch.testing.assert_close(logits, plain[task][:, world.stream.own(task)], atol=1e-5, rtol=0)
    heads = heads_of(whole, STAGES[0])  # no update is left for it
    torch.testing.assert_close(heads[0].weight, torch.cat([part.rows.weight for part in whole]))


def test_without_the_regulariser_the_head_goes_on_as_if_there_were_one_stage(world):
    """With features that never move, a second stage of cross-entropy is the rest of plain training."""
    parts = staged(world, HEAD, 3)
    head = heads_of(parts, PLAIN)[0]
    plain = learn(HEAD, world, TINY.budget, SEED, rate=0.01).logits
    torch.testing.assert_close(head.logits(parts[-1].test), plain[-1], atol=1e-5, rtol=0)
    rates = [falling(100)(step) for step in range(100)]
    assert rates == sorted(rates, reverse=True)
    assert (rates[0], rates[-1]) == (1.0, pytest.approx(math.cos(0.495 * math.pi)))


def test_the_first_stage_keeps_the_features_of_its_own_prompt_and_the_batches_that_are_left(world):
    learner = make_learner(ONE, world, make_prompt(ONE, 4, SEED))
    found = first_stage(learner, world.stream, TINY.budget, 3, 0.01, SEED)
    rows = world.stream.rows(3)
    torch.testing.assert_close(
        found[3].own, learner.train_features(torch.arange(len(world.stream.labels)))[rows], atol=1e-5, rtol=0
    )
    assert torch.equal(found[3].test, learner.test_features())
    assert not torch.allclose(found[0].test, found[3].test, atol=1e-4)  # the prompt has moved since
    for task, part in enumerate(found):
        rows = world.stream.rows(task)
        assert torch.equal(rows[part.order], batches(world.stream, task, TINY.budget, SEED)[3:])
        assert torch.equal(part.labels, world.stream.labels[rows] - 2 * task)
        assert not part.own.requires_grad


def test_every_stage_takes_the_updates_of_its_own_loss_worked_out_apart(learnt):
    """Against a plain loop with torch's Adam: cross-entropy, both terms over all outliers, the end of the schedule."""
    found = heads_of(learnt, *STAGES)
    for stage, head in zip(STAGES, found, strict=True):
        for task, part in enumerate(learnt):
            own = slice(2 * task, 2 * task + 2)
            w, b = by_hand(part, stage, task)
            torch.testing.assert_close(head.weight[own], w, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(head.bias[own], b, atol=1e-5, rtol=1e-4)


def by_hand(part, stage, task):
    w, b = (value.clone().requires_grad_() for value in part.rows)
    adam = torch.optim.Adam([w, b], lr=0.01)
    for value, memory in zip((w, b), part.memory, strict=True):
        adam.state[value] = {key: moment.clone() for key, moment in memory.items()}
    outliers = method.outliers_of(part, stage.noise, SEED, task)
    assert len(outliers) == 2 * method.KEEP
    for step, batch in enumerate(part.order):
        adam.param_groups[0]["lr"] = 0.01 * math.cos(0.495 * math.pi * (3 + step) / 4)
        logits = part.own[batch] @ w.T + b
        loss = F.cross_entropy(logits, part.labels[batch])
        above = -logits.logsumexp(1) - (-math.log(2) - stage.gap)
        below = -math.log(2) + (outliers @ w.T + b).logsumexp(1)
        for weight, excess in ((stage.identity, above), (stage.outlier, below)):
            x = excess.clamp(min=0)
            loss = loss + weight * torch.where(x < 1, x**2 / 2, x - 0.5).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return w.detach(), b.detach()


def test_the_second_stage_changes_nothing_it_starts_from_and_reads_its_own_task_alone(world, learnt):
    again = staged(world, ONE, 3)
    before = heads_of(learnt, *STAGES)
    for one, two in zip(learnt, again, strict=True):
        for name in ("own", "test", "order"):
            assert torch.equal(getattr(one, name), getattr(two, name))
        assert all(torch.equal(a, b) for a, b in zip(one.rows, two.rows, strict=True))
        assert all(torch.equal(a[k], b[k]) for a, b in zip(one.memory, two.memory, strict=True) for k in a)
    other = heads_of([replace(learnt[0], own=-learnt[0].own), *learnt[1:]], *STAGES)
    for one, two in zip(before, other, strict=True):
        assert torch.equal(one.weight[2:], two.weight[2:])
        assert not torch.equal(one.weight[:2], two.weight[:2])
    offsets = [method.outliers_of(learnt[0], 0.5, seed, task) for seed, task in ((5, 0), (5, 0), (5, 1), (6, 0))]
    assert torch.equal(offsets[0], offsets[1])
    assert not torch.equal(offsets[0], offsets[2])
    assert not torch.equal(offsets[0], offsets[3])


def test_a_shift_levels_energies_and_tightens_nothing(world, learnt):
    rows = heads_of(learnt, STAGES[0])[0]
    levelled = method.level(rows, learnt)
    for task, part in enumerate(learnt):
        own = world.stream.own(task)
        assert method.energy(levelled.logits(part.own)[:, own]).mean().item() == pytest.approx(0, abs=1e-5)
        shift = levelled.bias[own] - rows.bias[own]
        assert (shift - shift[0]).abs().max() < 1e-6
        assert shift[0].abs() > 0.01
    labels = world.stream.test_labels
    one, two = (head.logits(learnt[-1].test) for head in (rows, levelled))
    assert scores.apart(one, labels, 2) == pytest.approx(scores.apart(two, labels, 2), abs=0.5)  # ties in rounding
    named = [accuracy_matrix(x.expand(4, -1, -1), labels, 2, "own") for x in (one, two)]
    assert torch.equal(*named)


# ---- the scores


class Labelled(SimpleNamespace):
    """A stream, as far as scores read it."""

    def __init__(self, labels, ways):
        super().__init__(test_labels=torch.tensor(labels), ways=ways, tasks=(max(labels) + 1) // ways)

    def __len__(self):
        return self.tasks

    own = staticmethod(lambda task: slice(2 * task, 2 * task + 2))


def scored(found):
    return {(row["method"], row["metric"]): row["value"] for row in found.scores}


def test_answers_and_the_base_model_are_scored_by_hand(monkeypatch):
    labels = [0, 1, 2, 3]
    sure = 5 * F.one_hot(torch.tensor(labels), 4).float()
    first = sure + torch.tensor([9.0, 9, 0, 0])  # all answers are of task 1; the order by each task's energy stays
    values = [scores.apart(x, torch.tensor(labels), 2) for x in (torch.zeros(4, 4), sure, first, -sure)]
    assert values == [50, 100, 100, 0]
    answers = torch.tensor([1, 3, 0, 1])  # one within the task, three across
    answered = 5 * F.one_hot(answers, 4).float() + 0.2 * sure
    outcome = Outcome()
    scores.score_answers(outcome, "a", Labelled(labels, 2), torch.stack([sure, answered]))
    scores.score_answers(outcome, "right", Labelled(labels, 2), sure[None])
    found = scored(outcome)
    assert found["a", SHARE] == 75
    assert found["a", FIRST] == -50  # with the task named, image 1 is right still
    assert found["a", APART] == scores.apart(answered, torch.tensor(labels), 2)
    assert found["right", SHARE] == 0
    assert ("right", FIRST) not in found
    seen = []

    def always_three(images):
        seen.append(images)
        answers = F.one_hot(torch.full((len(images),), 3), signs.COUNT)
        return torch.cat([answers, torch.full((len(images), 8), 2)], 1)  # and a colour, which does not count

    always_three.positions = torch.zeros(1)
    assert scores.photo_accuracy(always_three, 2, 7) == pytest.approx(100 / signs.COUNT)
    scenes = signs.sample(torch.arange(80) // 2, 7, style="photo", stream=("ovor", "photo"))
    assert torch.equal(torch.cat(seen), signs.render(scenes))


def test_energies_are_scored_by_hand_as_each_task_was_learnt(monkeypatch):
    """Two tasks of two classes, features of one number: the energy of rows with weight s is -log 2 - s z."""
    monkeypatch.setattr(scores, "outliers_of", lambda part, noise, seed, task: torch.tensor([[noise + seed + task]]))
    ones = torch.ones(2, 1)
    kept = {"labels": None, "memory": None, "order": None}
    parts = [
        Learnt(torch.tensor([[1.0], [2.0], [3.0]]), test=torch.tensor([[1.0], [3.0], [6.0]]), rows=start, **kept)
        for start in (Rows(ones, torch.zeros(2)), Rows(3 * ones, torch.zeros(2)))
    ]
    parts[1] = replace(parts[1], test=torch.tensor([[2.0], [4.0], [9.0]]))
    final = Rows(torch.cat([2 * ones, 5 * ones]), torch.zeros(4))
    outcome = Outcome()
    stage = Stage(1.0, 1.0, gap=4.5, noise=0.5)
    scores.score_energies(outcome, "a", final, parts, stage, Labelled([0, 1, 3], 2), seed=4)
    found = {metric: value for (_, metric), value in scored(outcome).items()}
    assert found == pytest.approx(
        {
            scores.OWN: -math.log(2) - (2 * 2 + 5 * 9) / 2,
            scores.OTHERS: -math.log(2) - (2 * 6 + 5 * 3) / 2,
            scores.VIRTUAL: -math.log(2) - (2 * 4.5 + 5 * 5.5) / 2,
            scores.BEFORE: (100 + 100 / 3) / 2,  # s z < 4.5: with s = 1 all three, with s = 3 the first
            scores.AFTER: (200 / 3 + 0) / 2,
        },
        rel=1e-5,
    )


# ---- the wiring of the experiment

RIGHT = {name: 1 + i for i, name in enumerate((MEAN, ONE, EXTRA, LEVEL, DUAL, CODA, JOINT))}  # of 10 images a task
STAGED = [8, 7, 3, 6]  # planted for the second stages of OVOR, head updates, no outliers and the levelled arm


def planted(stream, right):
    """Test logits: of each task's ten images `right` are right, one is wrong within the task, the others across."""
    rank = torch.arange(len(stream.test_labels)) % 10
    label = stream.test_labels
    across = (label + 2) % 8
    answer = torch.where(rank < right, label, torch.where(rank == 9, label ^ 1, across))
    return 9.0 * F.one_hot(answer, 8) + F.one_hot(label, 8)


@pytest.fixture(scope="module")
def wired(world):
    """A run of all arms with recorders in the place of what learns."""
    calls = SimpleNamespace(world=[], learn=[], first=[], regularise=[], level=[], photo=[], energies=[])
    small = world.stream

    def make_world(*given):
        calls.world.append(given)
        return world

    def learned(name, where, budget, seed, **others):
        joint = where.stream.ways == 8
        calls.learn.append((name, joint, where, budget, seed, others))
        logits = planted(small, RIGHT[JOINT if joint else name])
        trained = 10 + RIGHT[name]
        return Result(logits[None].expand(1 if joint else 4, -1, -1), trained, RIGHT[name])

    def first(learner, stream, budget, updates, lr, seed):
        calls.first.append((learner, stream, budget, updates, lr, seed))
        rights = [(10,) * 5] * 3 + [(*STAGED, RIGHT[LEVEL])]  # nothing is wrong before the last task
        tests = [torch.cat([planted(small, right) for right in each], 1).float() for each in rights]
        rows = Rows(torch.zeros(2, 40), torch.zeros(2))
        return [Learnt(features(20, 40, t), None, test, rows, ({}, {}), None) for t, test in enumerate(tests)]

    def head(i):
        return Rows(torch.eye(40)[8 * i : 8 * i + 8], torch.zeros(8))

    def regularised(*given):
        calls.regularise.append(given)
        return [head(i) for i in range(len(given[1]))]

    def levelled(rows, parts):
        calls.level.append((rows, parts))
        return head(4)

    def photos(*given):
        calls.photo.append(given)
        return 77.0

    score_energies = experiment.score_energies

    def energies(outcome, name, rows, *given):
        calls.energies.append((name, rows, *given))
        score_energies(outcome, name, rows, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "make_world", make_world)
        patch.setattr(experiment, "RATES", {name: 0.1 * right for name, right in RIGHT.items()})
        patch.setattr(experiment, "JOINT_RATES", {ONE: 0.9, DUAL: 0.8, CODA: 0.7})
        patch.setattr(experiment, "learn", learned)
        patch.setattr(experiment, "first_stage", first)
        patch.setattr(experiment, "regularise", regularised)
        patch.setattr(experiment, "level", levelled)
        patch.setattr(experiment, "photo_accuracy", photos)
        patch.setattr(experiment, "score_energies", energies)
        outcome = PAPER.run(TINY, SEED)
    return SimpleNamespace(scores=scored(outcome), outcome=outcome, **vars(calls))


def test_every_arm_learns_its_own_stream_with_its_own_settings(wired, world):
    assert wired.world == [(TINY, SEED)]
    assert wired.photo == [(world.vit, 2, SEED)]
    plain = {(name, joint): given for name, joint, *given in wired.learn}
    assert set(plain) == {(ONE, False), (DUAL, False), (CODA, False), (MEAN, False), (ONE, True)}
    assert len(wired.learn) == 5
    for (name, joint), (where, budget, seed, others) in plain.items():
        assert budget == (Budget(20, 4) if joint else Budget(5, 4)), name
        assert where.stream.ways == (8 if joint else 2)
        assert where.stream.images is world.stream.images
        assert where.encoded is world.encoded
        rate = 0.9 if joint else None  # else the method's own, as are scale and prompt
        assert (seed, others) == (SEED, {"rate": rate}), name
    ((learner, stream, budget, updates, lr, seed),) = wired.first
    assert isinstance(learner.prompt, OnePrompt)
    expected = make_prompt(ONE, 4, SEED)
    assert all(torch.equal(a, b) for a, b in zip(learner.prompt.parameters(), expected.parameters(), strict=True))
    assert (stream, budget, updates, lr, seed) == (world.stream, Budget(5, 4), 3, 0.2, SEED)
    ((parts, stages, budget, lr, seed),) = wired.regularise
    assert (budget, lr, seed) == (Budget(5, 4), 0.2, SEED)
    ovor, extra, none, level = stages
    assert ovor == experiment.ARMS[OVOR].stage
    assert ovor.identity == ovor.outlier > 0
    assert extra == level == replace(ovor, identity=0.0, outlier=0.0)
    assert none == experiment.ARMS[NONE].stage
    assert none.identity > none.outlier == 0
    ((shifted, of),) = wired.level
    assert of is parts
    assert torch.equal(shifted.weight, torch.eye(40)[24:32])
    for i, (name, rows, given, stage, where, seed) in enumerate(wired.energies):
        assert name == (OVOR, EXTRA, NONE)[i]
        assert torch.equal(rows.weight, torch.eye(40)[8 * i : 8 * i + 8])
        assert (given, stage, where, seed) == (parts, stages[i], world.stream, SEED)


def test_scores_effects_and_gates_are_those_worked_out_by_hand(wired):
    right = RIGHT | dict(zip((OVOR, EXTRA, NONE), STAGED, strict=False))
    assert {name for name, metric in wired.scores if metric == AVERAGE} == set(right) == set(experiment.ARMS)
    for name, r in right.items():
        assert wired.scores[name, AVERAGE] == pytest.approx(10 * r), name
        assert wired.scores[name, CROSS] == pytest.approx(10 * (9 - r)), name
        assert wired.scores[name, WITHIN] == pytest.approx(10), name
        assert wired.scores[name, NAMED] == pytest.approx(90), name
        assert wired.scores[name, SHARE] == pytest.approx(100 * (9 - r) / (10 - r)), name
        fall = None if name == JOINT else -10 if experiment.ARMS[name].stage else 0  # by one image in ten
        assert wired.scores.get((name, FIRST)) == pytest.approx(fall), name
    for name in (ONE, DUAL, CODA):
        assert wired.scores[name, TRAINED] == 10 + RIGHT[name]
        assert wired.scores[name, PASSES] == RIGHT[name]
    assert wired.scores[BASE, PHOTO] == 77
    table = tidy_scores({0: wired.outcome, 1: wired.outcome})
    found = {finding.key: finding.effect for finding in judge(PAPER.claims, table)}
    assert found == pytest.approx({"C1": 60, "C2": -30, "C3": 20, "C4": 60, "C5": 50, "C6": 10})
    gates = [row["value"] for row in measure_gates(PAPER.gates, table)]
    assert gates == pytest.approx([77, 70, 50, 100 * 7 / 8])


def test_claims_and_gates_compare_what_they_say():
    claims = {c.key: (c.metric, c.better, c.worse, c.margin, c.kind) for c in PAPER.claims}
    assert claims == {
        "C1": (AVERAGE, OVOR, ONE, 0, "superiority"),
        "C2": (AVERAGE, ONE, DUAL, 1.5, "equivalence"),
        "C3": (AVERAGE, OVOR, CODA, 1.5, "noninferiority"),
        "C4": (CROSS, OVOR, ONE, 0, "superiority"),
        "C5": (AVERAGE, OVOR, NONE, 0, "superiority"),
        "C6": (AVERAGE, OVOR, EXTRA, 0, "superiority"),
    }
    also = {c.key: (c.metric, c.better, c.worse, c.margin, c.kind) for c in PAPER.also}
    assert also == {
        "C1b": (AVERAGE, OVOR, LEVEL, 0, "superiority"),
        "C2b": (FIRST, ONE, None, 2, "noninferiority"),
        "C4b": (NAMED, OVOR, ONE, 0.5, "equivalence"),
        "C5b": (APART, OVOR, EXTRA, 0, "superiority"),
        "C5c": (AVERAGE, NONE, EXTRA, 0, "superiority"),
        "C6b": (AVERAGE, EXTRA, ONE, 0, "superiority"),
    }
    assert [c.key for c in (*PAPER.claims, *PAPER.also) if c.lower_is_better] == ["C4"]
    gates = [(g.method, g.metric, g.minus, g.least, g.most) for g in PAPER.gates]
    assert gates == [
        (BASE, PHOTO, None, 95, None),
        (OVOR, AVERAGE, MEAN, 0, None),
        (JOINT, AVERAGE, ONE, 10, None),
        (ONE, SHARE, None, 50, None),
    ]
    assert len(experiment.ARMS) - 1 == 8  # and a bound for a gate


def test_seeds_are_paired_splits_disjoint_and_a_run_measures_all(vit, world, monkeypatch):
    monkeypatch.setattr(arms.zoo, "load", lambda name: vit)
    stream = world.stream
    assert (len(stream), stream.ways, len(stream.images), len(stream.test_images)) == (4, 2, 80, 40)
    shown = {image.numpy().tobytes() for image in stream.images}
    assert not shown & {image.numpy().tobytes() for image in stream.test_images}
    again, other = (experiment.make_world(TINY, seed).stream for seed in (SEED, SEED + 1))
    assert torch.equal(again.images, stream.images)
    assert not torch.equal(other.images, stream.images)
    small = replace(TINY, tasks=2, test=2, budget=Budget(3, 4), share=0.34)
    outcome = PAPER.run(small, SEED)
    table = tidy_scores({0: outcome, 1: outcome})
    comparisons = [*PAPER.claims, *PAPER.also]
    assert [finding.key for finding in judge(comparisons, table)] == [claim.key for claim in comparisons]
    assert len(measure_gates(PAPER.gates, table)) == len(PAPER.gates)
    quick = PAPER.run(replace(small, only=PAPER.settings("quick").only), SEED)
    assert {"C1", "C4", "C5", "C6"} <= {c.key for c in PAPER.claims if set(c.methods) <= set(run_arms(quick))}
    full = PAPER.settings("full")
    assert (full.tasks, full.ways, full.train, full.test) == (5, 8, 200, 100)
    assert (full.budget, full.share, full.only) == (Budget(200, 32), 0.2, ())


def run_arms(outcome):
    return {row["method"] for row in outcome.scores}
