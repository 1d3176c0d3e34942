"""Images with several labels, the lane and its rivals, what answers score; how the experiment is wired; the probe."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import nn
from torch.nn import functional as F

from stages import zoo
from stages.evidence import Outcome, effects, in_setting, measured, tidy_scores
from stages.evidence.gates import measure_gates
from stages.models import ViT, seeded
from stages.papers.continual.common import arms as common
from stages.papers.continual.common.loop import Budget, learn_stream
from stages.papers.continual.common.metrics import accuracy_matrix, final_average
from stages.papers.continual.common.pools import L2P
from stages.papers.continual.common.scores import AVERAGE
from stages.papers.continual.multi_lane import (
    PAPER,
    Heads,
    Lab,
    Lane,
    Lanes,
    MultiLabelStream,
    class_token,
    costs,
    drop_and_replace,
    evolve,
    experiment,
    freeze,
    rivals,
    shapes_ml,
    summarise,
)
from stages.papers.continual.multi_lane.experiment import (
    ARMS,
    BASE,
    CODA,
    FULL_TOKENS,
    HEADS,
    JOINT,
    L2PP,
    MEAN,
    NO_REPLACE,
    OURS,
    POOLING,
    QUERY_KEY,
    RIGHT,
    SHARE,
    Settings,
    SignsSettings,
)
from stages.papers.continual.multi_lane.rivals import CarriedSummaries, FineTunedAll, FullTokens, PickedPrompts, Pooled
from stages.papers.continual.multi_lane.scores import (
    AREA,
    AVERAGE_MAP,
    CF1,
    LAST,
    MAP,
    OF1,
    STRATUM,
    f1,
    mean_auc,
    mean_average_precision,
    present,
    score,
)

SIZES = (2, 3, 2)
TINY = Settings((2, 1, 2), 8, 60, Budget(3, 4), signs=SignsSettings(2, 3, 5, 4, Budget(5, 6)))


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def vit():
    """A random network of 17 tokens; its norms are given scales and shifts that matter."""
    with seeded(3):
        model = ViT(image_size=16, patch=4, width=16, depth=3, heads=2)
        for name, p in model.named_parameters():
            if "norm" in name:
                nn.init.normal_(p, 1.0 if name.endswith("weight") else 0.0, 0.3)
            elif p.ndim > 1:
                p.data.mul_(2)
        model.class_token.data.mul_(50)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def stream():
    """Three tasks of 12 images of noise, with answers of chance, each with one of its task's classes at least."""
    images, tests = torch.rand(36, 3, 16, 16, generator=chance()), torch.rand(30, 3, 16, 16, generator=chance(1))
    answers, told = (torch.rand(n, 7, generator=chance(n)) < 0.35 for n in (36, 30))
    owner = torch.arange(3).repeat_interleave(12)
    answers[torch.arange(36), torch.tensor([0, 2, 5])[owner]] = True
    told[torch.arange(30), torch.arange(30) % 7] = True
    return MultiLabelStream(images, answers, owner, tests, told, SIZES, tuple("abcdefg"))


@pytest.fixture(scope="module")
def lab(vit, stream):
    return Lab(vit, SIZES, freeze(vit, stream.images, 10), freeze(vit, stream.test_images), stream.loss, 0)


def made(kind, lab, *more):
    """A learner whose head is not the zeros it starts from: these would hide everything behind them."""
    learner = kind(lab, *more)
    nn.init.normal_(learner.head.weight, std=0.5, generator=chance(5))
    nn.init.normal_(learner.head.bias, std=0.5, generator=chance(6))
    return learner


# ---- the stream and its loss


def test_a_task_tells_of_its_own_classes_only():
    stream = shapes_ml((4, 4, 2), 5, train=24, test=60)
    for task, size in enumerate(stream.sizes):
        rows, own = stream.rows(task), stream.own(task)
        labels = stream.labels(rows, task)
        assert labels.shape == (24, size)
        assert torch.equal(labels.bool(), stream.answers[rows][:, own])
        assert labels.any(1).all()
        assert labels.sum(0).min() >= 24 // size  # its classes come equally often, and by chance besides
        hidden = stream.answers[rows].clone()
        hidden[:, own] = False
        assert hidden.any(1).float().mean() > 0.3  # others are there, of which nothing is said
    there = stream.tasks_in(stream.test_answers)
    assert set(there.sum(1).tolist()) == {1, 2, 3}
    assert torch.equal(there[:, 2], stream.test_answers[:, 8:].any(1))
    learnt = {image.numpy().tobytes() for image in stream.images}
    assert not learnt & {image.numpy().tobytes() for image in stream.test_images}
    joint = stream.joint()
    assert len(joint) == 1
    assert torch.equal(joint.labels(joint.rows(0), 0).bool(), stream.answers)
    other = shapes_ml((4, 4, 2), 6, train=24, test=60)
    assert stream.names != other.names
    assert not torch.equal(stream.test_images, other.test_images)
    with pytest.raises(ValueError, match="25 classes are too many"):
        shapes_ml((5,) * 5, 0)


def test_the_loss_is_the_released_one_but_for_a_scale_and_a_constant(stream):
    """Released: logits and targets of all other classes at 0, mean over all: log 2 for each masked class."""
    logits, rows, own = torch.randn(5, 7, generator=chance(), requires_grad=True), torch.arange(12, 17), stream.own(1)
    inside = torch.zeros(7)
    inside[own] = 1
    released = F.binary_cross_entropy_with_logits(logits * inside, stream.answers[rows] * inside)
    ours = stream.loss(logits[:, own], rows, 1)
    assert released.item() == pytest.approx((3 * ours.item() + 4 * math.log(2)) / 7, abs=1e-6)
    theirs, mine = (torch.autograd.grad(loss, logits)[0] for loss in (released, ours))
    torch.testing.assert_close(theirs, mine * 3 / 7)


# ---- a lane


def test_a_summary_is_one_wide_softmax_over_the_tokens_of_the_frozen_network(vit, stream, lab):
    stages, seen = vit.tokens(stream.images), lab.seen
    torch.testing.assert_close(seen.entering, stages[0])
    torch.testing.assert_close(seen.second, stages[1], atol=1e-5, rtol=1e-4)
    for i, block in enumerate(vit.blocks):
        torch.testing.assert_close(seen.normed[i], block.norm1(stages[i]), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(seen.leaving[:, 0], vit.features(stream.images), atol=1e-5, rtol=1e-4)
    rows = torch.tensor([3, 1])
    assert torch.equal(seen[rows].normed, seen.normed[:, rows])
    assert torch.equal(seen[rows].second, seen.second[rows])
    assert torch.equal(torch.cat([part.normed for part in seen.parts(10)], 1), seen.normed)
    selectors, tokens = torch.randn(3, 5, 16, generator=chance()), lab.seen.normed
    z, weights = summarise(selectors, tokens)
    assert weights.shape == (3, 36, 5, 17)  # 16 patches, and the class token of the image
    scores = torch.stack([selectors[1, 2] @ tokens[1, 7, i] for i in range(17)]) / math.sqrt(16)
    by_hand = sum(w * x for w, x in zip(scores.softmax(0), tokens[1, 7], strict=True))
    torch.testing.assert_close(z[1, 7, 2], by_hand, atol=1e-5, rtol=1e-4)


def literal(vit, images, selectors, prefixes, again=True):
    """A lane as the released code orders it: 1+S tokens in lockstep with the frozen stream.

    With drop and replace what attention makes of the summaries gives way to the normed selectors. Without, it is added
    to the selectors, and what comes of that goes on as tokens.
    """
    x, n = vit.embed(images), len(images)
    tokens = torch.cat([vit.class_token.expand(n, 1, -1), selectors.expand(n, -1, -1)], 1)  # without positions
    for i, block in enumerate(vit.blocks):
        frozen, normed = block.norm1(x), block.norm1(tokens)
        shown = normed
        if again or i == 0:
            z = (normed[:, 1:] @ frozen.mT / math.sqrt(16)).softmax(-1) @ frozen
            shown = torch.cat([normed[:, :1], z], 1)
        out = block.attention(shown, prefixes.get(i))
        if again:
            out = torch.cat([out[:, :1], normed[:, 1:]], 1)
        tokens = tokens + out
        tokens = tokens + block.mlp(block.norm2(tokens))
        x = block(x)
    return vit.norm(tokens[:, 0])


def test_lanes_give_what_the_literal_order_of_work_gives_and_full_ones_the_network(vit, stream, lab):
    for kind, again in ((Lanes, True), (CarriedSummaries, False)):
        learner = made(kind, lab, Lane(5, 3, 2))
        for p in learner.parameters():
            nn.init.normal_(p, generator=chance(p.numel()))
        for task in (0, 2):
            given = learner.prefixes(task, 30)
            prompts = learner.lanes["prompts"][task]
            assert set(given) == {0, 1}
            assert torch.equal(given[1][0][4], prompts[1, 0])  # keys, then values
            assert torch.equal(given[1][1][4], prompts[1, 1])
            u = literal(vit, stream.test_images, learner.lanes["selectors"][task], given, again)
            torch.testing.assert_close(learner.travel(lab.tested, task, given), u, atol=1e-4, rtol=1e-3)
            unit = u / u.norm(dim=-1, keepdim=True)
            rows = stream.own(task)
            expected = unit @ learner.head.weight[rows].T + learner.head.bias[rows]
            torch.testing.assert_close(learner.own_logits(lab.tested, task), expected, atol=1e-4, rtol=1e-3)
    assert torch.equal(class_token(vit, 2)[1, 0], vit.class_token)
    reading = evolve(vit, learner.lanes["selectors"][1])
    z, _ = summarise(reading, lab.tested.normed)
    assert drop_and_replace(vit, z, {}).shape == (30, 16)
    learner = made(FullTokens, lab, Lane(8, 3, 2))
    given = learner.prefixes(1, 30)
    expected = F.normalize(vit.features(stream.test_images, given), dim=-1)
    torch.testing.assert_close(learner.features(lab.tested, 1), expected, atol=1e-5, rtol=1e-3)
    counts = [sum(p.numel() for p in made(kind, lab, Lane(8, 3, 2)).parameters()) for kind in (FullTokens, Lanes)]
    assert counts[0] == 3 * 2 * 2 * 3 * 16 + 7 * 17  # no selectors
    assert counts[1] == counts[0] + 3 * 8 * 16


def test_lanes_begin_as_one_vector_of_length_one_and_from_the_lane_before(lab):
    learner = Lanes(lab)
    assert set(learner.lanes) == {"selectors", "prompts"}
    assert learner.lanes["selectors"][0].shape == (8, 16)
    for kind in learner.lanes.values():
        assert kind[0].norm().item() == pytest.approx(1, abs=1e-5)
    learner.start(0)
    for task in (1, 2):
        with torch.no_grad():
            for kind in learner.lanes.values():
                kind[task - 1] += 1
        trained = learner.start(task)
        for i, kind in enumerate(learner.lanes.values()):
            assert torch.equal(kind[task], kind[task - 1])
            assert trained[i] is kind[task]
    pools = [rivals.l2p_pool(replace(lab, seed=seed)).pool for seed in (0, 1)]
    queries = [Pooled(replace(lab, seed=seed)).queries for seed in (0, 1)]
    lanes = [Lanes(replace(lab, seed=seed)).lanes["prompts"][0] for seed in (0, 1)]
    for one, other in (pools, queries, lanes):
        assert not torch.equal(one, other)


def test_gradients_reach_what_a_task_trains_and_nothing_else(vit, stream, lab):
    learners = [made(kind, lab) for kind in (Heads, Pooled, Lanes, FullTokens, CarriedSummaries)]
    learners.append(made(PickedPrompts, lab, stream, L2P(3, 2, 2, (1,), 16, 0.2, 0)))
    for learner in learners:
        trained = learner.start(1)
        learner.loss(torch.arange(12, 20), 1).backward()
        assert all(p.grad.abs().sum() > 0 for p in trained)
        outside = learner.head.weight.grad.clone()
        outside[stream.own(1)] = 0
        assert outside.abs().sum() == 0
    tuned = FineTunedAll(lab, stream)
    assert not torch.equal(tuned.vit.head.weight, FineTunedAll(replace(lab, seed=1), stream).vit.head.weight)
    tuned.start(2)
    tuned.loss(torch.arange(24, 30), 2).backward()
    assert tuned.vit.head.weight.grad[:5].abs().sum() == 0
    assert tuned.vit.head.weight.grad[5:].abs().sum() > 0
    assert all(p.grad is None for p in vit.parameters())
    lane = learners[2].lanes["selectors"][1]
    slope = lane.grad / lane.grad.norm()
    with torch.no_grad():
        lane += 5e-3 * slope
        above = learners[2].loss(torch.arange(12, 20), 1)
        lane -= 1e-2 * slope
        fall = above - learners[2].loss(torch.arange(12, 20), 1)
    assert fall.item() == pytest.approx(1e-2 * lane.grad.norm().item(), rel=0.1)


@pytest.mark.parametrize("kind", [Heads, Pooled, Lanes, FullTokens, CarriedSummaries])
def test_nothing_that_was_learnt_changes_by_a_bit(stream, lab, kind):
    learner = made(kind, lab)
    logits = learn_stream(learner, stream, Budget(3, 6), 0.1, 0)
    for task in range(3):
        own = stream.own(task)
        assert (logits[:task, :, own] == 0).all()
        assert torch.equal(logits[task:, :, own], logits[task, :, own].expand(3 - task, -1, -1))
        with torch.no_grad():
            assert torch.equal(learner.own_logits(lab.tested, task), logits[2, :, own])


# ---- rivals


def test_one_picked_lane_is_read_by_all_rows(stream, lab):
    queries = lab.seen.leaving[:, 0]
    keys = rivals.best_keys(queries, stream.owner, 3).requires_grad_()

    def loss(k):
        return sum((1 - F.cosine_similarity(queries[stream.owner == t], k[t], dim=-1)).mean() for t in range(3))

    (slope,) = torch.autograd.grad(loss(keys), keys)
    assert slope.abs().max() < 1e-5  # the minimiser
    assert all(loss(keys) < loss(keys + 0.1 * torch.randn(3, 16, generator=chance(i))) for i in range(9))
    chosen = rivals.nearest_lanes(lab, stream.owner)
    alike = F.cosine_similarity(lab.tested.leaving[:, :1], keys[None], dim=-1)
    for phase in range(3):
        assert torch.equal(chosen[phase], alike[:, : phase + 1].argmax(1))
    learner = made(Lanes, lab)
    for kind in learner.lanes.values():
        for task in range(3):
            nn.init.normal_(kind[task], generator=chance(task))
    found = rivals.picked(learner, chosen)
    for image in (0, 4, 9):
        lane = int(chosen[2, image])
        end = learner.features(lab.tested, lane)[image]
        torch.testing.assert_close(found[2, image], learner.head(end), atol=1e-5, rtol=1e-4)


def test_pooling_and_picked_prompts_read_the_frozen_tokens(vit, stream, lab):
    learner, tokens = made(Pooled, lab), lab.seen.leaving[:4]
    weights = (tokens @ learner.queries[3] / 4.0).softmax(-1)
    by_hand = (weights[..., None] * tokens).sum(1) @ learner.head.weight[3] + learner.head.bias[3]
    torch.testing.assert_close(learner.own_logits(lab.seen[:4], 1)[:, 1], by_hand, atol=1e-5, rtol=1e-4)
    prompt = L2P(3, 4, 2, (1,), 16, 0.5, 0)
    picking = PickedPrompts(lab, stream, prompt)
    given, _ = prompt(lab.tested.leaving[:, 0])
    expected = vit.features(stream.test_images, given)
    torch.testing.assert_close(picking.test_features(), expected, atol=1e-5, rtol=1e-3)


def test_a_lane_costs_a_small_part_of_a_pass_and_answers_as_the_arm_does(monkeypatch):
    with seeded(0):
        vit = ViT(patch=4, depth=3).requires_grad_(False)
        head = nn.Linear(64, 6)
    images = torch.rand(4, 3, 32, 32, generator=chance())
    alone = costs.megaflops(vit.features, images)
    found = [{n: costs.megaflops(a, images) for n, a in costs.answers(vit, (2,) * t).items()} for t in (1, 3)]
    each = {name: (found[1][name] - found[0][name]) / 2 for name in found[0]}
    assert each[OURS] < 0.1 * alone
    assert each[FULL_TOKENS] > 0.75 * alone
    assert each[L2PP] == pytest.approx(0, abs=0.01 * alone)
    assert alone < found[0][L2PP] < 2 * alone
    assert found[0][HEADS] == pytest.approx(alone, rel=0.01)
    assert costs.megaflops(nn.Linear(30, 20), torch.rand(8, 30)) == pytest.approx(2 * 30 * 20 / 1e6)
    monkeypatch.setattr("stages.papers.continual.multi_lane.frozen.new_head", lambda vit, classes: head)
    seen = freeze(vit, images)
    lab = Lab(vit, (2, 2, 2), seen, seen, None, 0)
    with torch.no_grad():
        for name, kind in ((OURS, Lanes), (FULL_TOKENS, FullTokens), (HEADS, Heads)):
            expected = torch.cat([kind(lab).own_logits(seen, task) for task in range(3)], 1)
            torch.testing.assert_close(costs.answers(vit, (2, 2, 2))[name](images), expected, atol=1e-4, rtol=1e-3)


# ---- scores


def precision(scores, answers):
    """mAP by another way: class by class, those that nothing shows left out."""
    shown = [c for c in range(answers.shape[1]) if answers[:, c].any()]
    return 100 * np.mean([average_precision_score(answers[:, c], scores[:, c]) for c in shown])


def test_answers_are_scored_as_worked_out_by_hand(stream):
    answers = torch.tensor([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]]).bool()
    scores = torch.tensor([[2.0, -1.0, 0], [-1.0, 2.0, 0], [1.0, 1.5, 0], [0.5, -2.0, 0]])
    # class 0: hits at ranks 1 and 4, (1 + 2/4) / 2; class 1: its one hit at rank 2; class 2 is nowhere
    assert mean_average_precision(scores, answers) == pytest.approx(100 * (0.75 + 0.5) / 2)
    # at 0.8, a logit of 1.386: class 0 said once and right, one missed; class 1 said twice, right once
    assert f1(scores, answers) == pytest.approx((100 * 4 / 6, 100 * (2 / 3 + 2 / 3 + 0) / 3))
    assert f1(scores, answers, 5.0) == (0.0, 0.0)
    assert mean_auc(scores, answers) == pytest.approx(
        100 * np.mean([roc_auc_score(answers[:, c], scores[:, c]) for c in (0, 1)])
    )
    with pytest.raises(ValueError, match="no image shows any class"):
        mean_average_precision(scores, torch.zeros_like(answers))

    logits, answers, outcome = torch.randn(3, 30, 7, generator=chance()), stream.test_answers, Outcome()
    score(outcome, "some", logits, stream)
    found = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    curves = {row["name"]: row["y"] for row in outcome.curves}
    tasks = torch.stack([answers[:, :2].any(1), answers[:, 2:5].any(1), answers[:, 5:].any(1)], 1).sum(1)
    for count in (1, 2, 3):
        some = tasks == count
        assert found[present("some", count), STRATUM] == pytest.approx(precision(logits[2][some], answers[some]))
        assert curves[STRATUM][count - 1] == found[present("some", count), STRATUM]
        assert curves[AREA][count - 1] == pytest.approx(mean_auc(logits[2][some], answers[some]))
    each = []
    for phase, end in enumerate((2, 5, 7)):  # only images with a class seen by then, and only these classes
        some = answers[:, :end].any(1)
        each.append(precision(logits[phase][some, :end], answers[some, :end]))
    assert curves[MAP] == pytest.approx(each)
    assert found["some", AVERAGE_MAP] == pytest.approx(np.mean(each))
    assert found["some", LAST] == pytest.approx(precision(logits[2], answers))
    assert (found["some", OF1], found["some", CF1]) == pytest.approx(f1(logits[2], answers, math.log(4)))
    assert present("some", 3) == "some, 3+ present"


# ---- the wiring of the experiment

TUNED = {OURS: 0.1, FULL_TOKENS: 0.3, NO_REPLACE: 0.3, L2PP: 0.03, HEADS: 0.1, POOLING: 0.1, JOINT: 1e-3}
KINDS = {
    OURS: Lanes,
    FULL_TOKENS: FullTokens,
    NO_REPLACE: CarriedSummaries,
    L2PP: PickedPrompts,
    HEADS: Heads,
    POOLING: Pooled,
    JOINT: FineTunedAll,
}


def record(settings, seed):
    """Run the experiment with every learner replaced by a recorder that returns planted logits."""
    calls = []

    def planted(phases, tests, classes):
        return torch.randn(phases, tests, classes, generator=chance(1000 * seed + len(calls)))

    def learning(learner, stream, budget, rate, seed):
        tests = len(stream.test_images)
        call = SimpleNamespace(learner=learner, stream=stream, budget=budget, rate=rate, seed=seed)
        call.logits = planted(len(stream), tests, stream.classes)
        calls.append(call)
        return call.logits

    def picking(learner, chosen):
        call = SimpleNamespace(picked=learner, chosen=chosen, logits=planted(*chosen.shape, sum(TINY.sizes)))
        calls.append(call)
        return call.logits

    def common_learning(method, world, budget, seed, **more):
        call = SimpleNamespace(method=method, world=world, budget=budget, seed=seed, more=more)
        call.logits = planted(len(world.stream), len(world.stream.test_images), world.stream.classes)
        calls.append(call)
        return common.Result(call.logits)

    rates = {name: replace(arm, rate=0.01 * (i + 1)) for i, (name, arm) in enumerate(ARMS.items())}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "ARMS", rates)
        patch.setattr(experiment, "learn_stream", learning)
        patch.setattr(experiment.rivals, "picked", picking)
        patch.setattr(experiment.common, "learn", common_learning)
        outcome = PAPER.run(settings, seed)
    scores = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    return SimpleNamespace(calls=calls, scores=scores, outcome=outcome, rates=rates)


@pytest.fixture(scope="module")
def wired():
    return record(TINY, 3)


def test_each_arm_learns_its_own_stream_at_its_own_rate(wired):
    assert {name: arm.rate for name, arm in ARMS.items()} == TUNED
    lanes, picked, *others = wired.calls[: len(ARMS) + 1]
    assert picked.picked is lanes.learner
    calls = dict(zip(ARMS, [lanes, *others], strict=True))
    sequence = lanes.stream
    vit = zoo.load("vit_p4")
    for i, (name, call) in enumerate(calls.items()):
        assert type(call.learner) is KINDS[name]
        assert (call.rate, call.seed) == (pytest.approx(0.01 * (i + 1)), 3)
        joint = name == JOINT
        assert call.budget == Budget(9 if joint else 3, 4)
        assert call.stream.sizes == ((5,) if joint else (2, 1, 2))
        assert torch.equal(call.stream.images, sequence.images)
        assert wired.scores[name, LAST] == pytest.approx(precision(call.logits[-1], sequence.test_answers))
        assert ((name, AVERAGE_MAP) in wired.scores) == (not joint)
        own = call.learner.stream if joint else call.learner.frozen[1] if name == L2PP else call.stream
        assert own is call.stream
        if name not in (JOINT, L2PP):
            lab = call.learner.lab
            assert (lab.seed, lab.loss, lab.sizes) == (3, sequence.loss, (2, 1, 2))
            assert torch.equal(lab.vit.positions, vit.positions)
            torch.testing.assert_close(lab.seen.leaving[:, 0], vit.features(sequence.images), atol=1e-4, rtol=1e-3)
            tests = vit.features(sequence.test_images)
            torch.testing.assert_close(lab.tested.leaving[:, 0], tests, atol=1e-4, rtol=1e-3)
    encoded = calls[L2PP].learner.frozen[2]
    assert encoded.tokens is lanes.learner.lab.seen.second
    assert encoded.test_tokens is lanes.learner.lab.tested.second
    assert encoded.first == 1
    assert calls[L2PP].learner.prompt.pool.shape == (1, 20, 8, 64)
    assert torch.equal(calls[L2PP].learner.prompt.pool, rivals.l2p_pool(lanes.learner.lab).pool)
    assert lanes.learner.lanes["selectors"][0].shape == (8, 64)
    assert lanes.learner.lanes["prompts"][0].shape == (2, 2, 4, 64)
    other = record(replace(TINY, only=(OURS, HEADS), signs=None), 4)
    assert [type(call.learner) for call in other.calls if hasattr(call, "learner")] == [Lanes, Heads]
    assert not torch.equal(other.calls[0].stream.images, wired.calls[0].stream.images)
    assert other.calls[0].seed == other.calls[0].learner.lab.seed == 4
    assert (HEADS, SHARE) not in other.scores
    assert {OURS, POOLING} <= set(PAPER.settings("quick").only)


def test_picked_lanes_and_gates_are_scored_by_hand(wired):
    lanes, picked = wired.calls[:2]
    lab, sequence = lanes.learner.lab, lanes.stream
    assert torch.equal(picked.chosen, rivals.nearest_lanes(lab, sequence.owner))
    assert wired.scores[QUERY_KEY, LAST] == pytest.approx(precision(picked.logits[-1], sequence.test_answers))
    owner = torch.tensor([0, 0, 1, 2, 2])
    right = [
        bool((answers & (owner == lane)).any())
        for answers, lane in zip(sequence.test_answers, picked.chosen[-1], strict=True)
    ]
    assert wired.scores[QUERY_KEY, RIGHT] == pytest.approx(100 * np.mean(right))
    assert wired.scores[HEADS, SHARE] == pytest.approx(100 * wired.scores[HEADS, LAST] / wired.scores[JOINT, LAST])
    assert wired.scores[BASE, MAP] == min(zoo.card("vit_p4")["metrics"].values())
    table = tidy_scores({3: wired.outcome})
    claims = {claim.key: claim for claim in (*PAPER.claims, *PAPER.also)}
    value = {key: effects(claims[key], table)[3] for key in claims}
    s = wired.scores
    lead = [s[present(OURS, k), STRATUM] - s[present(QUERY_KEY, k), STRATUM] for k in (1, 3)]
    heads = [s[present(OURS, k), STRATUM] - s[present(HEADS, k), STRATUM] for k in (1, 3)]
    by_hand = {
        "C1": s[OURS, LAST] - s[L2PP, LAST],
        "C2": lead[1] - lead[0],
        "C2b": lead[0],
        "C3": s[OURS, LAST] - s[FULL_TOKENS, LAST],
        "C4": s[OURS, LAST] - s[NO_REPLACE, LAST],
        "C5": s[OURS, LAST] - s[POOLING, LAST],
        "C5b": s[OURS, LAST] - s[HEADS, LAST],
        "C5c": heads[1] - heads[0],
        "C6": s[OURS, AVERAGE] - s[CODA, AVERAGE],
        "C6b": s[OURS, AVERAGE] - s[HEADS, AVERAGE],
        "C1b": s[OURS, CF1] - s[L2PP, CF1],
        "C1c": s[OURS, LAST] - s[QUERY_KEY, LAST],
    }
    assert value == pytest.approx(by_hand)
    assert PAPER.claims[0].metrics == (in_setting(MAP, "last"), in_setting(MAP, "average"))
    gates = [gate["value"] for gate in measure_gates(PAPER.gates, table)]
    expected = [s[BASE, MAP], s[JOINT, LAST] - s[OURS, LAST], s[HEADS, SHARE], s[QUERY_KEY, RIGHT]]
    assert gates == pytest.approx([*expected, s[CODA, AVERAGE] - s[MEAN, AVERAGE]])


def test_with_one_label_all_arms_share_the_chapters_stream(wired):
    calls = wired.calls[len(ARMS) + 1 :]
    *rest, ours = calls
    names = {"CODA-Prompt": CODA, "head only": HEADS, "nearest mean": MEAN}
    assert [names[call.method] for call in rest] == [CODA, HEADS, MEAN]
    world = rest[0].world
    stream = world.stream
    assert (len(stream), stream.ways, len(stream.images), len(stream.test_images)) == (2, 3, 30, 24)
    assert torch.equal(stream.images, common.open_world(3, 2, 3, 5, 4).stream.images)
    for call in rest:
        assert call.world is world
        assert (call.budget, call.seed, call.more) == (Budget(5, 6), 3, {})
    assert (ours.stream, ours.budget, ours.seed) == (stream, Budget(5, 6), 3)
    assert ours.rate == experiment.SIGNS_RATE
    lab, lanes = ours.learner.lab, ours.learner.lanes
    assert type(ours.learner) is Lanes
    assert (lab.vit, lab.sizes, lab.seed) == (world.vit, (3, 3), 3)
    torch.testing.assert_close(lab.seen.leaving[:, 0], world.encoded.query, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(lab.tested.leaving[:, 0], world.encoded.test_query, atol=1e-4, rtol=1e-3)
    assert lanes["selectors"][0].shape == (4, 64)
    assert lanes["prompts"][0].shape == (4, 2, 4, 64)
    rows = stream.rows(1)[:4]
    logits = torch.randn(4, 3, generator=chance())
    expected = -logits.log_softmax(-1)[torch.arange(4), stream.labels[rows] - 3].mean()
    assert lab.loss(logits, rows, 1).item() == pytest.approx(expected.item(), abs=1e-5)
    for name, call in zip((CODA, HEADS, MEAN, OURS), calls, strict=True):
        matrix = accuracy_matrix(call.logits, stream.test_labels, 3)
        assert wired.scores[name, AVERAGE] == pytest.approx(final_average(matrix).item())


# ---- the probe


def test_the_probe_measures_every_claim_and_gate():
    outcome = PAPER.run(PAPER.settings("probe"), 0)
    scores = tidy_scores({0: outcome})
    claims = [*PAPER.claims, *PAPER.also]
    assert [claim.key for claim in measured(claims, scores)] == [claim.key for claim in claims]
    assert len(measure_gates(PAPER.gates, scores)) == len(PAPER.gates)
