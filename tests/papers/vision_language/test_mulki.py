"""MulKI: prototypes, relations, trust, connection, the rivals, and the wiring of the experiment."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from stages import zoo
from stages.evidence import tidy_scores
from stages.evidence.gates import measure_gates
from stages.evidence.verdicts import effects
from stages.models import seeded
from stages.models.clip import CLIP, ConvTower, TextTower, class_vectors
from stages.papers.vision_language.mulki import arms, experiment, method, rivals, scores
from stages.papers.vision_language.mulki.arms import Lab
from stages.papers.vision_language.mulki.experiment import ARMS, PAPER
from stages.papers.vision_language.mulki.method import Lesson, MulKI, Teacher, View
from stages.worlds import album, captions

S = torch.tensor(7.0, dtype=torch.double)
LABELS = torch.tensor([0, 2, 1, 2, 0])


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, dtype=torch.double, generator=chance(seed)), dim=-1)


def view(seed=0, classes=3):
    return View(unit(5, 4, seed=seed), unit(classes, 4, seed=seed + 10), unit(classes, 4, seed=seed + 20))


def network(seed=0):
    with seeded(seed):
        made = CLIP(ConvTower(8, 3, (8, 8), (2, 2), 6), TextTower(10, 8, depth=0, length=6, size=6), temperature=0.2)
    return made.double().eval().requires_grad_(False)


@pytest.fixture
def lesson():
    images = torch.rand(30, 3, 8, 8, dtype=torch.double, generator=chance(3))
    return Lesson(images, torch.arange(30) % 3, torch.tensor([[[1, 2, 0], [3, 4, 5], [6, 0, 0]]]))


def softmax(logits):
    e = np.exp(logits - logits.max())
    return e / e.sum()


# ---- the stages


def test_stage_one_is_three_cross_entropies():
    v = view()
    f, u, p = (each.numpy() for each in v)
    total = 0
    for i, y in enumerate(LABELS.tolist()):
        first = np.log(softmax(7 * u @ f[i]))
        total -= 0.8 * first[y] + 0.2 * first.mean()
        total -= 0.5 * np.log(softmax(7 * p @ u[y]))[y]
        total -= 0.5 * np.log(softmax(7 * p @ f[i]))[y]
    assert method.elicit(v, LABELS, S).item() == pytest.approx(total / 5)


def test_relations_are_softmaxes_at_half_the_scale_and_a_name_is_not_related_to_itself():
    v = view()
    f, u, p = (each.numpy() for each in v)
    found = [each.exp().numpy() for each in method.relations(v, LABELS, S)]
    assert len(found) == 4
    for i, y in enumerate(LABELS.tolist()):
        assert found[0][i] == pytest.approx(softmax(3.5 * u @ f[i]))
        assert found[1][i] == pytest.approx(softmax(3.5 * p @ f[i]))
        assert found[2][i] == pytest.approx(softmax(3.5 * p @ u[y]))
        others = [c for c in range(3) if c != y]
        assert found[3][i][y] == 0
        assert found[3][i][others] == pytest.approx(softmax(3.5 * u[others] @ u[y]))


def test_disagreement_is_a_divergence_times_four_and_a_teacher_counts_by_the_probability_of_the_right_class():
    teacher, student = (method.relations(view(seed), LABELS, S) for seed in (0, 1))
    expected = np.zeros(5)
    for theirs, ours in zip(teacher, student, strict=True):
        p = theirs.exp()
        expected += 4 * torch.where(p > 0, p * (theirs - ours), 0).sum(1).numpy()
    assert method.disagreement(teacher, student).numpy() == pytest.approx(expected)
    assert method.disagreement(teacher, teacher).abs().max() == 0
    assert (method.disagreement(student, teacher) - torch.tensor(expected)).abs().max() > 1e-3, "not symmetric"
    taught = [teacher, student]
    found = method.trust(taught, LABELS)
    p = torch.stack([each[0].exp()[torch.arange(5), LABELS] for each in taught])
    torch.testing.assert_close(found, p / p.sum(0))
    torch.testing.assert_close(method.trust([taught[0]] * 2, LABELS), torch.full((2, 5), 0.5, dtype=torch.double))
    assert (method.trust(taught[:1], LABELS) == 1).all()


def test_connecting_keeps_four_fifths_of_the_average():
    average, previous = network(1), network(2)
    before = deepcopy(average.state_dict())
    found = method.connect(average, previous)
    for name, value in found.state_dict().items():
        torch.testing.assert_close(value, 0.8 * before[name] + 0.2 * previous.state_dict()[name])
        assert torch.equal(average.state_dict()[name], before[name]), "the average stays"


# ---- the objective


def made(lesson, student, teachers, weight=1.0, kind=MulKI):
    each = [Teacher(model, lesson) for model in teachers]
    return kind(lesson, each, Teacher(student, lesson).visuals, weight)


ROWS = torch.arange(12)


def test_the_loss_is_elicitation_and_weighted_disagreement_with_each_teacher(lesson):
    student, first, before = network(0), network(1), network(2)
    objective = made(lesson, student, [first, before], 0.3)
    labels = lesson.labels[ROWS]

    def seen(model):
        features = model.encode_images(lesson.images)
        own = method.prototypes(features, lesson.labels, 3)
        return View(features[ROWS], class_vectors(model, lesson.prompts), own)

    scale = student.log_scale.exp()
    learnt, *taught = (method.relations(seen(m), labels, scale) for m in (student, first, before))
    w = method.trust(taught, labels)
    apart = torch.stack([method.disagreement(each, learnt) for each in taught])
    expected = method.elicit(seen(student), labels, scale) + 0.3 * (w * apart).sum(0).mean()
    torch.testing.assert_close(objective.loss(student, ROWS), expected)
    twice, once = made(lesson, student, [first, first]), made(lesson, student, [first])
    torch.testing.assert_close(twice.loss(student, ROWS), once.loss(student, ROWS))
    assert made(lesson, student, [student]).loss(student, ROWS) == pytest.approx(
        method.elicit(seen(student), labels, scale).item()
    ), "who is his own teacher agrees"


def test_gradients_reach_both_towers_of_the_student_and_no_one_else(lesson):
    student, teacher = network(0).requires_grad_(True), network(1).requires_grad_(True)
    objective = made(lesson, student, [teacher, student], 1.0)
    assert not any(t.requires_grad for each in objective.teachers for t in (*each.view(ROWS),))
    assert not objective.visuals.requires_grad
    objective.loss(student, ROWS).backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert student.image.project.weight.grad.abs().max() > 0
    assert student.text.project.weight.grad.abs().max() > 0
    objective.after_step()
    assert not objective.visuals.requires_grad


def test_visual_prototypes_are_class_means_and_move_a_tenth_of_the_way_if_their_class_was_seen(lesson):
    vectors = unit(5, 4)
    found = method.prototypes(vectors, LABELS, 4)
    for c in range(3):
        mean = vectors[c == LABELS].mean(0)
        torch.testing.assert_close(found[c], mean / mean.norm())
    assert (found[3] == 0).all(), "no pictures, no direction"
    student = network(0)
    objective = made(lesson, student, [network(1)])
    start = objective.visuals.clone()
    rows = torch.tensor([0, 3, 2])  # classes 0, 0, 2
    objective.loss(student, rows)
    assert torch.equal(objective.visuals, start), "only after the step"
    objective.after_step()
    features = student.encode_images(lesson.images[rows])
    for c, members in ((0, [0, 1]), (2, [2])):
        mean = F.normalize(features[members].mean(0), dim=0)
        torch.testing.assert_close(objective.visuals[c], F.normalize(0.9 * start[c] + 0.1 * mean, dim=0))
    assert torch.equal(objective.visuals[1], start[1])


def test_learning_returns_the_average_of_the_start_and_ten_states(lesson):
    student = network(0)
    start, states = student.image.project.weight.clone(), []

    class Watched(rivals.FineTune):
        def after_step(self):
            states.append(student.image.project.weight.detach().clone())

    batches = torch.arange(200).view(20, 10) % 30
    average = method.learn(student, Watched(lesson), batches, 1e-2)
    expected = torch.stack([start, *states[1::2]]).mean(0)
    torch.testing.assert_close(average.image.project.weight, expected)
    assert torch.equal(student.image.project.weight, states[-1])
    assert student.log_scale.item() == network(0).log_scale.item(), "the temperature stays"
    moved = states[0] - start
    assert moved.abs().max().item() == pytest.approx(5e-3, rel=1e-3), (
        "half of the rate in the first of two warm-up steps"
    )
    assert not any(p.requires_grad for m in (student, average) for p in m.parameters())


# ---- the rivals


def test_rivals_differ_from_mulki_in_one_thing(lesson):
    student, first, before = network(0), network(1), network(2)
    labels, scale = lesson.labels[ROWS], student.log_scale.exp()
    logits = student(lesson.images[ROWS], lesson.prompts[0])
    expected = F.cross_entropy(logits, labels, label_smoothing=0.2)
    torch.testing.assert_close(rivals.FineTune(lesson).loss(student, ROWS), expected)
    taught = [method.relations(Teacher(m, lesson).view(ROWS), labels, scale) for m in (first, before)]
    learnt = method.relations(Teacher(student, lesson).view(ROWS), labels, scale)
    even = rivals.FixedWeights.weigh(taught, labels)
    assert (even == 0.5).all()
    elicited = method.elicit(Teacher(student, lesson).view(ROWS), labels, scale)
    fixed = made(lesson, student, [first, before], 1.0, rivals.FixedWeights)
    apart = sum(method.disagreement(each, learnt).mean() / 2 for each in taught)
    torch.testing.assert_close(fixed.loss(student, ROWS), elicited + apart)
    plain = made(lesson, student, [first, before], 1.0, rivals.WithoutRelations)
    names = [method.disagreement(each[:1], learnt[:1]) for each in taught]
    agreed = (method.trust(taught, labels) * torch.stack(names)).sum(0).mean()
    torch.testing.assert_close(plain.loss(student, ROWS), elicited + agreed)
    turns = rivals.Together([lesson, replace(lesson, labels=lesson.labels.roll(1))], torch.tensor([1, 0]))
    other = F.cross_entropy(logits, lesson.labels.roll(1)[ROWS], label_smoothing=0.2)
    torch.testing.assert_close(turns.loss(student, ROWS), other)
    torch.testing.assert_close(turns.loss(student, ROWS), expected)


def test_zscl_agrees_with_the_original_about_reference_data_both_ways(lesson):
    student, original = network(0), network(1)
    images = torch.rand(9, 3, 8, 8, dtype=torch.double, generator=chance(5))
    said = torch.tensor([[1, 2], [3, 0], [4, 5], [6, 7], [8, 0]])
    reference = rivals.Reference.of(original, images, said)
    batches = torch.tensor([[0, 3, 5, 8], [1, 2, 4, 6]]), torch.tensor([[4, 1, 0], [2, 3, 0]])
    objective = rivals.ZSCL(lesson, reference, batches, 0.3)
    own = rivals.FineTune(lesson).loss(student, ROWS)
    for some, few in zip(*batches, strict=True):
        theirs, ours = (model(images[some], said[few]) / 2 for model in (original, student))
        kl = 0
        for a, b in ((theirs, ours), (theirs.T, ours.T)):
            kl += 4 * (a.softmax(1) * (a.log_softmax(1) - b.log_softmax(1))).sum(1).mean()
        torch.testing.assert_close(objective.loss(student, ROWS), own + 0.3 * kl)
    same = rivals.ZSCL(lesson, rivals.Reference.of(student, images, said), batches, 5.0)
    torch.testing.assert_close(same.loss(student, ROWS), own)


# ---- the wiring of the experiment

SEED = 4
TINY = replace(PAPER.settings("probe"), updates=3)
NAMES = [experiment.FINE_TUNE, experiment.AVERAGING, experiment.PREVIOUS, experiment.ORIGINAL]
NAMES += [experiment.REFERRED, experiment.MULKI, experiment.PLAIN, experiment.FIXED]


def planted(tag):
    """The accuracy on the four tasks of the model with a tag; the base model has none."""
    if tag is None:
        return torch.tensor([40.0, 50.0, 60.0, 70.0])
    return torch.tensor([(7 * tag + 13 * task) % 50 + 30.0 for task in range(4)])


class Recorder:
    """Stands in for learning: models are numbered in the order in which they are made."""

    def __init__(self):
        self.learnt, self.connected = [], []

    def learn(self, student, objective, batches, rate):
        self.learnt.append((getattr(student, "tag", None), objective, batches, rate))
        student.tag = len(self.learnt)
        average = deepcopy(student)
        average.tag += 0.5
        return average

    def connect(self, average, previous):
        found = deepcopy(average)
        self.connected.append((average.tag, getattr(previous, "tag", None)))
        found.tag = average.tag + 0.25
        return found


@pytest.fixture(scope="module")
def wired():
    recorder = Recorder()
    with seeded(0):
        base = CLIP(ConvTower(), TextTower(len(captions.vocabulary()))).requires_grad_(False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arms, "learn", recorder.learn)
        patch.setattr(arms, "connect", recorder.connect)
        patch.setattr(zoo, "load", lambda name: {"tiny_clip": base}[name])
        patch.setattr(Lab, "accuracy", lambda self, model: planted(getattr(model, "tag", None)))
        recorder.outcome = PAPER.run(TINY, SEED)
    recorder.lab = recorder.outcome.exhibits["lab"]
    recorder.scores = {(row["method"], row["metric"]): row["value"] for row in recorder.outcome.scores}
    return recorder


def test_each_arm_learns_task_after_task_with_its_own_objective_and_teachers(wired):
    assert list(ARMS) == NAMES
    lab = wired.lab
    place = 0
    for name in NAMES:
        arm, before = ARMS[name], None
        for task in range(4):
            start, objective, batches, rate = wired.learnt[place]
            place += 1
            assert start == before, name
            assert objective.lesson is lab.lessons[task], name
            assert torch.equal(batches, lab.batches[task])
            assert rate == arm.rate
            assert getattr(objective, "weight", 0) == arm.weight
            before = place + 0.75 if arm.connected else place
    assert [arm.connected for arm in ARMS.values()] == [False] + [True] * 7
    assert len(wired.connected) == 28
    assert wired.connected[:5] == [(5.5, None), (6.5, 5.75), (7.5, 6.75), (8.5, 7.75), (9.5, None)]
    assert [start for start, *_ in wired.learnt[32:]] == [None] * 5, "the controls start from the base model"
    for task, (_, objective, batches, rate) in enumerate(wired.learnt[32:36]):
        assert type(objective) is rivals.FineTune
        assert objective.lesson is lab.lessons[task]
        assert torch.equal(batches, lab.batches[task])
        assert rate == experiment.RATE
    _, joint, batches, rate = wired.learnt[36]
    assert [each.lesson for each in joint.each] == lab.lessons
    assert batches.shape == (12, 8)
    assert rate == experiment.RATE
    assert sorted(set(lab.turns.tolist())) == [0, 1, 2, 3]
    kinds = [rivals.FineTune] * 2 + [MulKI] * 2
    kinds += [rivals.ZSCL, MulKI, rivals.WithoutRelations, rivals.FixedWeights]
    counts = [0, 0, 1, 1, 0, 2, 2, 2]
    for k, (name, kind, count) in enumerate(zip(NAMES, kinds, counts, strict=True)):
        for task in range(4):
            objective = wired.learnt[4 * k + task][1]
            assert type(objective) is kind, name
            assert len(getattr(objective, "teachers", ())) == count, name
    with seeded(1):
        other = CLIP(ConvTower(), TextTower(len(captions.vocabulary()))).requires_grad_(False)
    seen = {model: Teacher(model, lab.lessons[2]).texts for model in (lab.original, other)}
    teachers = {name: ARMS[name].make(lab, 2, other, 0.5) for name in NAMES if name not in NAMES[:2]}
    for name, whom in (
        (experiment.PREVIOUS, [other]),
        (experiment.ORIGINAL, [lab.original]),
        (experiment.MULKI, [lab.original, other]),
        (experiment.PLAIN, [lab.original, other]),
        (experiment.FIXED, [lab.original, other]),
    ):
        for teacher, model in zip(teachers[name].teachers, whom, strict=True):
            assert torch.equal(teacher.texts, seen[model]), name
        assert torch.equal(teachers[name].visuals, Teacher(other, lab.lessons[2]).visuals), name
    zscl = teachers[experiment.REFERRED]
    assert zscl.reference is lab.reference
    some, said = next(zscl.batches)
    assert torch.equal(some, lab.some[2, 0])
    assert torch.equal(said, lab.said[2, 0])


def test_pictures_of_training_testing_and_reference_are_not_the_same(wired):
    lab = wired.lab
    assert [lesson.classes for lesson in lab.lessons] == [5, 4, 16, 12]
    for lesson, (images, labels), task in zip(lab.lessons, lab.tests, album.TASKS, strict=True):
        assert len(lesson.images) == 32
        assert len(images) == len(labels) == 16
        assert torch.equal(lesson.prompts, task.prompts)
        pools = [each.flatten(1) for each in (lesson.images, images, lab.reference.images)]
        for i, j in ((0, 1), (0, 2), (1, 2)):
            assert torch.cdist(pools[i], pools[j]).min() > 1e-3
    assert lab.reference.images.shape == (20, 3, 16, 16)
    assert len(lab.reference.captions) == 10
    assert torch.equal(lab.reference.image_features, lab.original.encode_images(lab.reference.images))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo, "load", lambda name: lab.original)
        again, other = arms.make_lab(TINY, SEED), arms.make_lab(TINY, SEED + 1)
    for found in (again, other):
        same = found is again
        assert torch.equal(found.lessons[0].images, lab.lessons[0].images) == same
        assert torch.equal(found.tests[0][0], lab.tests[0][0]) == same
        assert torch.equal(found.batches, lab.batches) == same
        assert torch.equal(found.turns, lab.turns) == same
        assert torch.equal(found.reference.images, lab.reference.images) == same


def test_scores_are_what_the_planted_matrices_say(wired):
    matrix = torch.tensor([[9.0, 1.0, 2.0], [8.0, 7.0, 5.0], [6.0, 4.0, 3.0]])
    assert scores.transfer(matrix) == pytest.approx((1 + (2 + 5) / 2) / 2)
    found, place = wired.scores, 0
    for name in NAMES:
        tags = [place + k + (0.75 if ARMS[name].connected else 0) for k in range(1, 5)]
        place += 4
        a = torch.stack([planted(tag) for tag in tags]).numpy()
        before = np.mean([a[0, 1], a[:2, 2].mean(), a[:3, 3].mean()])
        assert found[name, scores.TRANSFER] == pytest.approx(before, rel=1e-5), name
        assert found[name, scores.LAST] == pytest.approx(a[3].mean())
        assert found[name, scores.AVERAGE] == pytest.approx(a.mean())
        assert found[name, scores.BOTH] == pytest.approx((before + a[3].mean()) / 2, rel=1e-5)
        assert found[name, scores.NEW] == pytest.approx(np.diag(a).mean())
        lines = [row for row in wired.outcome.curves if row["method"] == name]
        assert [line["y"] for line in lines] == [[planted(None)[j], *a[:, j]] for j in range(4)]
    assert found["zero-shot", scores.TRANSFER] == pytest.approx(60)
    assert (found["zero-shot", scores.LOWEST], found["zero-shot", scores.HIGHEST]) == (40, 70)
    alone = np.mean([planted(33 + task)[task] for task in range(4)])
    assert found["each alone", scores.NEW] == pytest.approx(alone)
    assert found["all together", scores.LAST] == pytest.approx(planted(37).mean().item())
    assert found["MulKI", scores.TRUST] == pytest.approx(50), "planted learning leaves the weights alone"


def test_every_comparison_gate_and_profile_is_the_one_it_names(wired):
    weights = {experiment.FINE_TUNE: 0, experiment.AVERAGING: 0, experiment.PREVIOUS: 3, experiment.REFERRED: 0.1}
    assert {name: (arm.rate, arm.weight) for name, arm in ARMS.items()} == {
        name: (7e-4, weights.get(name, 1)) for name in NAMES
    }
    table, s = tidy_scores({SEED: wired.outcome}), wired.scores
    found = {claim.key: effects(claim, table).item() for claim in (*PAPER.claims, *PAPER.also)}
    ours, pairs = (
        "MulKI",
        {
            "C1": ("Transfer", "fine-tuning"),
            "C2": ("Transfer", "ZSCL"),
            "C3": ("Last", "original model only"),
            "C4": ("Transfer", "previous model only"),
            "C5": ("mean of Transfer and Last", "averaging only"),
            "C1c": ("Last", "fine-tuning"),
            "C1d": ("Avg", "fine-tuning"),
            "C1e": ("Transfer", "zero-shot"),
            "C1f": ("task just learnt", "fine-tuning"),
            "C2b": ("Last", "ZSCL"),
            "C2c": ("Avg", "ZSCL"),
            "C3b": ("Transfer", "original model only"),
            "C3c": ("mean of Transfer and Last", "original model only"),
            "C4b": ("Last", "previous model only"),
            "C5b": ("Transfer", "averaging only"),
            "C5c": ("Last", "averaging only"),
            "C5d": ("task just learnt", "averaging only"),
            "C5e": ("mean of Transfer and Last", "MulKI, no relations"),
            "C5f": ("mean of Transfer and Last", "MulKI, fixed weights"),
        },
    )
    expected = {key: s[ours, metric] - s[other, metric] for key, (metric, other) in pairs.items()}
    expected["C1b"] = s["averaging only", "Transfer"] - s["fine-tuning", "Transfer"]
    expected["C5g"] = s[ours, scores.TRUST]
    expected["C5h"] = s["all together", "Last"] - s[ours, "Last"]
    assert found == pytest.approx(expected)
    assert [claim.margin for claim in PAPER.claims] == [3, 2, 0, 0, 0]
    assert [claim.kind for claim in PAPER.claims][1] == "noninferiority"
    rows = measure_gates(PAPER.gates, table)
    assert [row["value"] for row in rows] == pytest.approx(
        [40, 70, s["each alone", scores.NEW], 60 - s["fine-tuning", "Transfer"]]
    )
    assert [row["bound"] for row in rows] == ["at least 35", "at most 80", "at least 85", "at least 8"]
    assert PAPER.settings("quick").only == ("fine-tuning", "averaging only", "MulKI")
    assert PAPER.settings("full") == arms.Settings()


def test_the_probe_goes_through_every_arm():
    """With a record, `check_probe` takes its place."""
    found = tidy_scores({0: PAPER.run(PAPER.settings("probe"), 0)})
    assert set(found["method"]) >= set(ARMS)
    for claim in (*PAPER.claims, *PAPER.also):
        assert np.isfinite(effects(claim, found)).all()
