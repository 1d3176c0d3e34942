"""Losses, penalties and Fisher information against closed forms; what each arm trains and holds; the wiring."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stages import zoo
from stages.evidence import effects, measured, tidy_scores
from stages.evidence.gates import measure_gates
from stages.models import ViT
from stages.papers.continual.common import arms as chapter
from stages.papers.continual.common.arms import CODA, DUAL, MEAN
from stages.papers.continual.common.coda import CodaPrompt
from stages.papers.continual.common.loop import Budget, FineTuned, encode, learn_stream, new_head
from stages.papers.continual.common.pools import DualPrompt
from stages.papers.continual.common.scores import AVERAGE, GLOBAL, NEW
from stages.papers.continual.common.streams import Stream
from stages.papers.continual.power_law_rehearsal import learners as power_law
from stages.papers.continual.rehearsal_free import PAPER, experiment, learner, streams, tuning
from stages.papers.continual.rehearsal_free.experiment import (
    ALONE,
    ANCHORED,
    EWC,
    FROZEN,
    JOINT,
    KD,
    L2,
    MEANS,
    QKV,
    QKV_JOINT,
    QKV_L2,
    at_random,
    on_digits,
)
from stages.papers.continual.rehearsal_free.learner import Arm, Regularised
from stages.papers.continual.rehearsal_free.method import Penalty, bce_kd, feature_distance, sampled_fisher
from stages.seeding import rng, torch_rng
from stages.training import StackedMLP

SMALL = Budget(2, 4)
OWN, LABELS = slice(2, 4), torch.tensor([2, 3, 3, 2, 3])


@pytest.fixture(scope="module")
def vit():
    torch.manual_seed(0)
    body = ViT(width=16, depth=2, heads=2).requires_grad_(False)
    body.head = nn.Identity()
    return body


def random_logits(seed=0):
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(seed)).requires_grad_(True)


def value(penalty):
    return penalty.item() if isinstance(penalty, torch.Tensor) else penalty


def move(parameters, by=0.1):
    with torch.no_grad():
        for p in parameters:
            p += by


# ---- losses


def test_bce_with_distillation_sums_over_classes_and_asks_the_teacher_for_the_old_ones():
    logits, teacher = random_logits(), random_logits(seed=1)
    total = 0.0
    for b, label in enumerate(LABELS):
        for k in range(4):
            target = teacher[b, k].sigmoid() if k < 2 else (label == k).float()
            p = logits[b, k].sigmoid()
            total -= target * p.log() + (1 - target) * (1 - p).log()
    loss = bce_kd(logits, LABELS, OWN, teacher)
    assert loss.item() == pytest.approx(total.item() / 5, rel=1e-5)
    loss.backward()
    assert teacher.grad is None
    target = F.one_hot(LABELS, 6).float()
    target[:, :2] = teacher[:, :2].sigmoid()
    torch.testing.assert_close(logits.grad[:, :4], ((logits.sigmoid() - target) / 5)[:, :4].detach())
    assert (logits.grad[:, 4:] == 0).all()  # classes to come
    # like its teacher the network is left alone on old classes, without teacher pushed down
    (held,) = torch.autograd.grad(bce_kd(logits, LABELS, OWN, logits), logits)
    assert held[:, :2].abs().max() < 1e-7
    (free,) = torch.autograd.grad(bce_kd(logits, LABELS, OWN), logits)
    assert (free[:, :2] > 0).all()  # a step against it lowers every old logit


def test_the_distance_of_features_is_a_sum_over_the_width_and_pulls_the_student_alone():
    features, before = random_logits(), random_logits(seed=1)
    loss = feature_distance(features, before)
    by_hand = sum((f - b) ** 2 for f, b in zip(features.flatten().tolist(), before.flatten().tolist(), strict=True))
    assert loss.item() == pytest.approx(by_hand / 5, rel=1e-5)
    loss.backward()
    torch.testing.assert_close(features.grad, 2 * (features - before).detach() / 5)
    assert before.grad is None


# ---- penalties


def test_the_penalty_has_a_closed_gradient_and_for_one_past_task_is_the_chapters_ewc():
    torch.manual_seed(0)
    model, images = StackedMLP((6, 8, 4), [0]), torch.rand(10, 6)
    parameters = list(model.parameters())
    other, penalty = power_law.EWC(model, torch.tensor([3.0])), Penalty(parameters)
    assert penalty() == 0.0
    other.end_task(images)
    importance = [1.5 * f for f in power_law.diagonal_fisher(model, images)]  # λ/2 there, λ here
    penalty.move(importance)
    assert penalty().item() == 0.0  # at its anchor
    anchor = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        for p in parameters:
            p += 0.1 * torch.randn_like(p)
    moved = [p.detach() - a for p, a in zip(parameters, anchor, strict=True)]
    by_hand = sum((f * m**2).sum().item() for f, m in zip(importance, moved, strict=True))
    assert penalty().item() == pytest.approx(by_hand, rel=1e-5)
    gradients = torch.autograd.grad(penalty(), parameters)
    for p in parameters:
        p.grad = torch.zeros_like(p)
    other.add_gradient()
    for p, g, f, m in zip(parameters, gradients, importance, moved, strict=True):
        torch.testing.assert_close(g, 2 * f * m)
        torch.testing.assert_close(p.grad, g, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("loss", ["bce", "masked"])
def test_fisher_information_is_the_mean_square_of_single_images_gradients(vit, stream, loss, monkeypatch):
    monkeypatch.setattr(learner, "FISHER", 4)
    made = Regularised(vit, stream, Arm(0.01, loss, trained="qkv"), 0)
    nn.init.normal_(made.head.weight, std=0.2)  # of zeros it passes on no gradient, large it leaves nothing to chance
    got, asked = made.information(1), slice(2, 4) if loss == "masked" else slice(0, 4)
    task = stream.rows(1)
    rows = task[torch.from_numpy(rng(0, "fisher", 1).permutation(len(task))[:4])]
    chance = torch_rng(0, "answers", 1)
    logits = made.head(made.body(stream.images[rows]))[:, asked].detach()
    if loss == "bce":
        drawn = torch.bernoulli(logits.sigmoid(), generator=chance)
    else:
        drawn = F.one_hot(torch.multinomial(logits.softmax(-1), 1, generator=chance)[:, 0], 2)
    assert not (drawn.bool() == (logits > 0 if loss == "bce" else logits == logits.amax(1, keepdim=True))).all()
    expected = [torch.zeros_like(p) for p in made.held.values()]
    for image, y in zip(stream.images[rows], drawn, strict=True):
        z = made.head(made.body(image[None]))[0, asked]
        p = z.sigmoid()
        log_p = (y * p.log() + (1 - y) * (1 - p).log()).sum() if loss == "bce" else (y * z.log_softmax(-1)).sum()
        for e, g in zip(expected, torch.autograd.grad(log_p, list(made.held.values())), strict=True):
            e += g**2 / 4
    for g, e in zip(got, expected, strict=True):
        torch.testing.assert_close(g, e, rtol=1e-3, atol=1e-9)
    assert any(g.max() > 0 for g in got)


def test_drawn_answers_estimate_the_exact_fisher_information():
    torch.manual_seed(0)
    model = StackedMLP((6, 8, 3), [0])
    alone, image = model.member(0), torch.rand(1, 6)
    exact = power_law.diagonal_fisher(model, image)[0][0].T  # the first layer's, as `nn.Linear` has them

    def answer(given, images):
        return torch.func.functional_call(alone, given, (images,))

    chance = torch.Generator().manual_seed(0)
    given = {"0.weight": alone[0].weight.detach()}
    drawn = sampled_fisher(answer, given, image.expand(4000, -1), False, chance, size=500)[0]
    torch.testing.assert_close(drawn, exact, rtol=0.12, atol=exact.max().item() / 100)


# ---- the learner


def test_what_is_held_in_task_one_and_after_it(vit, stream, monkeypatch):
    """L2 acts in task 1 from a pre-trained start alone; EWC has one anchor and a sum of Fisher information."""
    plain = Arm(0.01, distil=True)
    ewc = plain.held("EWC", 2.0)
    monkeypatch.setattr(
        Regularised, "information", lambda self, task: [torch.full_like(p, 10.0**task) for p in self.held.values()]
    )
    for arm, importances in (
        (plain, (0, 0, 0)),
        (plain.held("L2", 0.5), (0.5, 0.5, 0.5)),
        (replace(plain, random=True).held("L2", 0.5), (0, 0.5, 0.5)),
        (ewc, (0, 2, 22)),
        (replace(ewc, first=0.5), (0.5, 2, 22)),  # the pull to the start ends with task 1
        (plain.held("FeatKD", 0.5), (0, 0, 0)),
    ):
        made = Regularised(vit, stream, arm, 0)
        size = sum(p.numel() for p in made.held.values())
        for task, importance in enumerate(importances):
            assert value(made.penalty()) == 0.0
            move(made.head.parameters(), 1.0)  # the head is not held
            move(made.held.values())
            assert value(made.penalty()) == pytest.approx(importance * 0.01 * size, rel=1e-3), arm
            made.end(task)


def test_without_penalty_and_teacher_it_is_the_chapters_fine_tuning(stream):
    torch.manual_seed(1)
    whole = ViT(width=16, depth=2, heads=2)
    body = copy.deepcopy(whole)
    body.head = nn.Identity()
    made = Regularised(body, stream, Arm(0.01, "masked"), 0)
    assert torch.equal(made.head.weight, new_head(whole, stream.classes).weight)
    mine = learn_stream(made, stream, SMALL, 0.01, 0)
    theirs = learn_stream(FineTuned(whole, stream), stream, SMALL, 0.01, 0)
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


def test_an_arm_trains_what_it_names_on_a_copy_of_the_body(vit, stream):
    for trained in ("qkv", "head", "all"):
        made = Regularised(vit, stream, Arm(0.01, "masked", trained=trained), 4)
        before = {name: p.detach().clone() for name, p in made.body.named_parameters()}
        assert all(torch.equal(p, before[name]) for name, p in vit.named_parameters())
        names = {"qkv": {n for n in before if ".attention.qkv." in n}, "head": set(), "all": set(before)}[trained]
        assert set(made.held) == names
        learn_stream(made, stream, SMALL, 0.01, 4)
        after = dict(made.body.named_parameters())
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert changed <= names
        assert not names or changed
        assert made.head.weight.any()
        assert made.trained == sum(p.numel() for n, p in after.items() if n in names) + 17 * stream.classes
    heads = [
        Regularised(vit, stream, arm, seed).head.weight
        for arm, seed in ((Arm(1.0), 4), (Arm(2.0, distil=True), 4), (Arm(1.0), 5))
    ]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_the_loss_is_that_of_the_arm_and_its_teacher_the_frozen_network_of_the_last_task(vit, stream):
    for arm in (
        Arm(0.05),
        Arm(0.05, distil=True),
        Arm(0.05).held("FeatKD", 0.5),
        Arm(0.05, distil=True).held("FeatKD", 0.5),
    ):
        made = Regularised(vit, stream, arm, 0)
        rows, own = stream.rows(1)[:4], stream.own(1)
        images, labels = stream.images[rows], stream.labels[rows]
        before = made.body(images).detach()
        taught = made.head(before).detach()
        made.end(0)
        move(made.start(1))
        features = made.body(images)
        expected = bce_kd(made.head(features), labels, own, taught if arm.distil else None)
        if arm.penalty:
            expected = expected + 0.5 * feature_distance(features, before)
        torch.testing.assert_close(made.loss(rows, 1), expected)
        made.loss(rows, 1).backward()
        if made.teacher:
            assert all(p.grad is None for part in made.teacher for p in part.parameters())
        assert bool(made.teacher) == (arm != Arm(0.05))


# ---- the streams


def scribbles(classes, labels, seed, *, stream, **drawing):
    """Noise in the place of written characters, which take long to draw."""
    return torch.from_numpy(rng(seed, *stream).random((len(labels), 1, 20, 20), dtype=np.float32))


def test_streams_are_a_seeds_own_new_to_the_base_model_and_their_splits_disjoint(monkeypatch):
    known, asked, written = zoo.find("glyph_conv4").settings, [], []
    original = streams.glyphs.characters
    monkeypatch.setattr(streams.glyphs, "characters", lambda a, each: asked.append(set(a)) or original(a, each))
    monkeypatch.setattr(streams.glyphs, "write", lambda *a, **more: written.append(a[0]) or scribbles(*a, **more))
    for make in (streams.split_digits, lambda seed: streams.characters(seed, 6, 4)):
        one, again, other = (make(seed) for seed in (0, 0, 1))
        assert len(one) == 5
        assert torch.equal(one.images, again.images)
        assert torch.equal(one.labels, again.labels)
        assert not (torch.equal(one.labels, other.labels) and torch.equal(one.images, other.images))
        seen = {image.numpy().tobytes() for image in one.images}
        assert not seen & {image.numpy().tobytes() for image in one.test_images}
        if make is streams.split_digits:  # train and test have one order of the classes
            every = streams.digits.load()
            place = dict(zip(every.train_labels.tolist(), one.labels.tolist(), strict=True))
            assert sorted(place.values()) == list(range(10))
            assert one.test_labels.tolist() == [place[digit] for digit in every.test_labels.tolist()]
    assert all(torch.equal(characters.points, written[0].points) for characters in written[:4])
    assert len({*written[0].alphabet.tolist()}) == 5  # no alphabet comes before the others
    assert one.labels.bincount().tolist() == [6] * 20
    assert one.test_labels.bincount().tolist() == [4] * 20
    assert not asked[0] & asked[2]
    assert not (asked[0] | asked[2]) & set(range(known.alphabets))
    pre, random, other = (streams.convolutions(*which) for which in ((0, False), (0, True), (1, True)))
    assert torch.equal(pre[0].weight, zoo.load("glyph_conv4").layers[0].weight)
    assert [p.shape for p in pre.parameters()] == [p.shape for p in random.parameters()]
    assert torch.equal(random[0].weight, streams.convolutions(0, True)[0].weight)
    assert not torch.equal(random[0].weight, other[0].weight)
    assert not torch.equal(streams.perceptron(0)[0].weight, streams.perceptron(1)[0].weight)


# ---- the wiring of the experiment


class Recorder:
    """Stands in for the loop over tasks: notes what it is given and returns planted logits.

    The k-th learner answers 40 + 2k - 2 (n - i) per cent of task i's test images rightly after phase n, and names
    another class of the same task for the others.
    """

    def __init__(self):
        self.calls = []

    def __call__(self, made, stream, budget, rate, seed):
        labels = stream.test_labels
        ways = stream.classes // 5
        phases = len(stream)
        logits = torch.zeros(phases, len(labels), stream.classes)
        for task in range(5):
            rows = (labels // ways == task).nonzero()[:, 0]
            wrong = task * ways + (labels[rows] - task * ways + 1) % ways
            for phase in range(phases):
                share = (40 + 2 * len(self.calls) - 2 * max(0, phase - task)) / 100
                right = torch.arange(len(rows)) < round(share * len(rows))
                logits[phase, rows, torch.where(right, labels[rows], wrong)] = 1.0
        self.calls.append(SimpleNamespace(made=made, stream=stream, budget=budget, rate=rate, seed=seed))
        return logits


def record(settings, seed):
    """Run the experiment with the loop replaced by a recorder, and random networks and noise for images."""
    recorder = Recorder()
    torch.manual_seed(0)
    net = ViT(width=64, depth=4, heads=4).requires_grad_(False)
    recipe = zoo.find("glyph_conv4")
    base = recipe.build(recipe.settings).requires_grad_(False)
    opened = []

    def open_world(seed, tasks, ways, train, test):
        opened.append((seed, tasks, ways, train, test))

        def draw(each, name):
            labels = torch.arange(tasks * ways).repeat_interleave(each)
            return torch.rand(len(labels), 3, 32, 32, generator=torch_rng(seed, name)), labels

        made = Stream(*draw(train, "train"), *draw(test, "test"), ways, tasks * ways)
        return chapter.World(net, made, encode(net, made, chapter.BLOCKS[0]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learner, "learn_stream", recorder)
        patch.setattr(chapter, "learn_stream", recorder)
        patch.setattr(chapter, "open_world", open_world)
        patch.setattr(chapter, "RATES", {CODA: 0.1, DUAL: 0.2})
        patch.setattr(streams.glyphs, "write", scribbles)
        patch.setattr(zoo, "load", lambda name: copy.deepcopy(base))
        outcome = PAPER.run(settings, seed)
    scores = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    return SimpleNamespace(calls=recorder.calls, scores=scores, outcome=outcome, base=base, net=net, opened=opened)


TINY = replace(
    PAPER.settings("full"),
    digits=Budget(3, 4),
    characters=Budget(5, 6),
    signs=Budget(7, 8),
    written=(3, 25),
    drawn=(2, 3, 50),
)


@pytest.fixture(scope="module")
def wired():
    """A run of all arms."""
    return record(TINY, 3)


def call_of(wired, name):
    """Find the call behind a score, and its number."""
    joint = name in (JOINT, QKV_JOINT)
    k = round((wired.scores[name, AVERAGE] - (40 if joint else 36)) / 2)
    return wired.calls[k], k


def test_each_arm_learns_its_own_stream_with_its_own_strength_rate_and_start(wired):
    """The numbers stand here once more, so that none can change its place unseen."""
    warm, cold = (0.003, False), (0.003, True)
    digits = (0.001, True)
    every = {  # penalty, λ, λ in task 1, (rate, random)
        "BCE alone, digits": ("", 0, 0, digits),
        "L2 alone, digits": ("L2", 0.1, 0, digits),
        "EWC alone, digits": ("EWC", 10, 0, digits),
        "FeatKD alone, digits": ("FeatKD", 0.01, 0, digits),
        "PredKD, digits": ("", 0, 0, digits),
        "PredKD+L2, digits": ("L2", 1e-4, 0, digits),
        "PredKD+EWC, digits": ("EWC", 10, 0, digits),
        "PredKD+FeatKD, digits": ("FeatKD", 0.01, 0, digits),
        KD: ("", 0, 0, warm),
        L2: ("L2", 0.1, 0.1, warm),
        EWC: ("EWC", 0.1, 0, warm),
        at_random(KD): ("", 0, 0, cold),
        at_random(L2): ("L2", 0.03, 0, cold),
        ANCHORED: ("EWC", 0.1, 0.1, warm),
        FROZEN: ("", 0, 0, (0.03, False)),
        JOINT: ("", 0, 0, warm),
        QKV: ("", 0, 0, (0.0001, False)),
        QKV_L2: ("L2", 0.03, 0.03, (0.001, False)),
        QKV_JOINT: ("", 0, 0, (0.001, False)),
    }
    numbers = set()
    for name, (penalty, strength, first, (rate, random)) in every.items():
        call, k = call_of(wired, name)
        numbers.add(k)
        arm = call.made.arm
        assert (arm.penalty, arm.strength, arm.first, arm.random) == (penalty, strength, first, random), name
        assert call.rate == rate, name
        assert call.made.penalty.active == (first > 0), name
        assert arm.distil == ("PredKD" in name), name
        assert arm.loss == ("masked" if "QKV" in name else "bce"), name
        trained = "qkv" if "QKV" in name else "head" if name == FROZEN else "all"
        assert arm.trained == trained, name
    assert len(numbers) == len(every)
    assert len(wired.calls) == len(every) + 2  # the chapter's methods that are trained
    for name, rate, kind in ((CODA, 0.1, CodaPrompt), (DUAL, 0.2, DualPrompt)):
        call, _ = call_of(wired, name)
        assert call.rate == rate, name
        assert isinstance(call.made.prompt, kind), name
        assert wired.scores[name, experiment.TRAINED] == call.made.trained


def test_all_arms_of_a_stream_share_it_and_its_budget_and_start_where_they_should(wired):
    first = {}
    for name in (n for n, metric in wired.scores if metric == AVERAGE and n not in (MEANS, MEAN)):
        call, _ = call_of(wired, name)
        where = "digits" if "digits" in name else "characters" if "Pred" in name or name == JOINT else "signs"
        budget = getattr(TINY, where)
        joint = name in (JOINT, QKV_JOINT)
        assert len(call.stream) == (1 if joint else 5), name
        assert call.budget == (replace(budget, steps=5 * budget.steps) if joint else budget), name
        assert call.seed == 3, name
        shown = first.setdefault(where, call)
        assert torch.equal(call.stream.labels, shown.stream.labels), name
        assert torch.equal(call.stream.test_labels, shown.stream.test_labels), name
        if where == "characters":
            body = call.made.body
            base = wired.base.layers
            if name == FROZEN:
                assert isinstance(body, nn.Identity)
                images = shown.stream
                torch.testing.assert_close(call.made.stream.images, base(images.images), atol=1e-5, rtol=1e-4)
                torch.testing.assert_close(call.made.stream.test_images, base(images.test_images), atol=1e-5, rtol=1e-4)
                continue
            start = streams.convolutions(3, random=True) if "random" in name else base
            assert torch.equal(body[0].weight, start[0].weight), name
            assert torch.equal(call.made.stream.images, shown.stream.images), name
        if where == "digits":
            assert torch.equal(call.made.body[0].weight, streams.perceptron(3)[0].weight), name
        if where == "signs" and "QKV" in name:
            made = call.made
            images = call_of(wired, CODA)[0].stream.images[:3]  # which the prompts read as they are
            torch.testing.assert_close(made.body(made.stream.images[:3]), wired.net.features(images))
    assert wired.opened == [(3, 5, 2, 3, 50)]
    other = record(replace(TINY, only=(KD, on_digits(KD), at_random(KD))), 4)
    for call, name in zip(other.calls, (on_digits(KD), KD, at_random(KD)), strict=True):
        assert call.seed == 4
        same = call_of(wired, name)[0]
        part = "labels" if name == on_digits(KD) else "images"  # the digits are the same, their order is not
        assert not torch.equal(getattr(call.stream, part), getattr(same.stream, part))
        assert name == KD or not torch.equal(call.made.body[0].weight, same.made.body[0].weight)


def test_scores_comparisons_and_gates_are_those_worked_out_by_hand(wired):
    scores = wired.scores
    for name in (KD, at_random(KD), L2, at_random(L2), QKV_L2):
        k = call_of(wired, name)[1]
        assert scores[name, AVERAGE] == pytest.approx(36 + 2 * k)  # after task 5: 32, 34, ..., 40, and 2k
        assert scores[name, NEW] == pytest.approx(40 + 2 * k)
        assert scores[name, GLOBAL] == pytest.approx(2.5)  # (2/2 + 6/3 + 12/4 + 20/5) / 4
    for method in (KD, L2):
        for start, name in (("pre-trained", method), ("random start", at_random(method))):
            k = call_of(wired, name)[1]
            assert scores[start, f"{experiment.PLASTIC} [{method}]"] == pytest.approx(42.5 + 2 * k)
    for penalty in ("EWC", "L2", "FeatKD"):
        for side, name in (("PredKD and penalty", f"PredKD+{penalty}"), ("penalty alone", f"{penalty} alone")):
            k = call_of(wired, on_digits(name))[1]
            assert scores[side, f"{AVERAGE} [{penalty}]"] == pytest.approx(36 + 2 * k, abs=0.7)
    stream = call_of(wired, KD)[0].stream
    with torch.no_grad():
        features, tests = (wired.base.layers(images) for images in (stream.images, stream.test_images))
    means = torch.stack([features[stream.labels == c].mean(0) for c in range(20)])
    right = torch.cdist(tests, means).argmin(1) == stream.test_labels
    assert scores[MEANS, AVERAGE] == pytest.approx(100 * right.float().mean().item(), abs=0.3)
    at = {name: value for (name, metric), value in wired.scores.items() if metric == AVERAGE}
    sides = {
        "C1": (L2, EWC),
        "C4": (QKV_L2, CODA),
        "C1b": (L2, KD),
        "C1c": (ANCHORED, EWC),
        "C1d": (L2, FROZEN),
        "C1e": (L2, MEANS),
        "C2b": (at_random(KD), at_random(L2)),
        "C4b": (QKV_L2, QKV),
        "C4c": (QKV_L2, DUAL),
        "C4d": (QKV_L2, MEAN),
    }
    expected = {key: at[better] - at[worse] for key, (better, worse) in sides.items()}
    expected["C2"] = at[L2] - at[KD] - (at[at_random(L2)] - at[at_random(KD)])
    expected["C3"] = at[on_digits(EWC)] - at[on_digits("EWC alone")]  # of the first penalty
    expected["C5"] = 2.0 * (call_of(wired, KD)[1] - call_of(wired, at_random(KD))[1])
    table = tidy_scores({3: wired.outcome})
    assert {c.key: effects(c, table)[3] for c in (*PAPER.claims, *PAPER.also)} == pytest.approx(expected, abs=1e-3)
    assert {c.key: c.over for c in PAPER.claims if c.over} == {"C2": (at_random(L2), at_random(KD))}  # planted: 0
    gates = [row["value"] for row in measure_gates(PAPER.gates, table)]
    rooms = [at[one] - at[two] for one, two in ((JOINT, L2), (CODA, MEAN), (QKV_JOINT, QKV_L2))]
    assert gates == pytest.approx([at[MEANS], rooms[0], at[ALONE], *rooms[1:]])


def test_strengths_lie_inside_their_grids_and_each_candidate_is_tried_by_itself(monkeypatch):
    every = experiment.DIGITS | experiment.CHARACTERS | experiment.SIGNS
    for name, grid in tuning.GRIDS.items():
        arm = every[name]
        if isinstance(grid[0], tuple):
            assert arm.rate in {rate for rate, _ in grid}
            strengths = [strength for rate, strength in grid if rate == arm.rate]
            assert min(strengths) < arm.strength < max(strengths), name
            continue
        chosen = arm.strength if arm.penalty else arm.rate
        assert chosen in grid, name
        assert min(grid) < chosen < max(grid), name
    recorder = Recorder()
    monkeypatch.setattr(learner, "learn_stream", recorder)
    tried = list(tuning.tune(1000, on_digits(EWC)))
    assert (
        [call.made.arm.strength for call in recorder.calls]
        == [value for _, value, _ in tried]
        == list(tuning.GRIDS[on_digits(EWC)])
    )
    assert [found for _, _, found in tried] == pytest.approx([36 + 2 * k for k in range(6)], abs=0.7)


def test_the_probe_measures_every_comparison_and_every_gate():
    outcome = PAPER.run(PAPER.settings("probe"), 0)
    comparisons = [*PAPER.claims, *PAPER.also]
    assert measured(comparisons, tidy_scores({0: outcome})) == comparisons
    scores = {(row["method"], row["metric"]) for row in outcome.scores}
    for gate in PAPER.gates:
        assert {(name, gate.metric) for name in (gate.method, gate.minus) if name} <= scores
    names = {method for method, metric in scores if metric == AVERAGE}
    assert {*experiment.DIGITS, *experiment.CHARACTERS, *experiment.SIGNS} <= names
