"""The stream of several labels and its measures, summaries and lanes, and what keeps the comparison fair."""

import copy
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import nn
from torch.nn import functional as F

from stages.evidence import Outcome, in_setting, tidy_scores
from stages.evidence import judge as judge_claims
from stages.models import ViT, seeded
from stages.papers.continual import multi_lane as paper
from stages.papers.continual.common import multilabel
from stages.papers.continual.common.loop import Budget, Encoded, learn_stream
from stages.papers.continual.common.multilabel import (
    FORGETTING,
    LAST,
    MAP,
    STRATA,
    STRATUM,
    FineTunedML,
    Isolated,
    MultiLabelStream,
    Pooled,
    PromptedML,
    best_f1,
    best_keys,
    f1,
    freeze,
    judge,
    mean_auc,
    mean_average_precision,
    megaflops,
    merge,
    own_loss,
    present,
    shapes_ml,
)
from stages.papers.continual.common.prompts import DualPrompt, OnePrompt
from stages.papers.continual.multi_lane import (
    OURS,
    PAPER,
    Lane,
    Lanes,
    carry,
    count,
    drop_and_replace,
    evolve,
    predictors,
    selected,
    summarise,
)

COMPARISONS = [*PAPER.claims, *PAPER.also]

SIZES = (2, 3, 2)


@pytest.fixture(autouse=True)
def same_chance():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def vit():
    """A random transformer of 17 tokens; its norms are given scales and shifts that matter."""
    with seeded(3):
        model = ViT(image_size=16, patch=4, width=16, depth=3, heads=2)
        for name, p in model.named_parameters():
            if "norm" in name:
                nn.init.normal_(p, 1.0 if name.endswith("weight") else 0.0, 0.3)
            elif p.ndim > 1:
                p.data.mul_(2)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def stream():
    """Three tasks of 12 pictures of noise, with answers of chance, each with one of its task's classes at least."""
    chance = torch.Generator().manual_seed(0)
    images, tests = torch.rand(36, 3, 16, 16, generator=chance), torch.rand(30, 3, 16, 16, generator=chance)
    answers, told = (torch.rand(n, 7, generator=chance) < 0.35 for n in (36, 30))
    owner, first = torch.arange(3).repeat_interleave(12), torch.tensor([0, 2, 5])
    answers[torch.arange(36), first[owner]] = True
    told[torch.arange(30), torch.arange(30) % 7] = True
    return MultiLabelStream(images, answers, owner, tests, told, SIZES, tuple("abcdefg"))


@pytest.fixture(scope="module")
def frozen(vit, stream):
    return freeze(vit, stream.images), freeze(vit, stream.test_images)


def make(kind, vit, stream, frozen, *more, seed=0):
    """An arm whose head is not the zeros it starts from: these would hide everything behind them."""
    arm = kind(vit, SIZES, *frozen, stream.loss, seed, *more)
    nn.init.normal_(arm.head.weight, std=0.1)
    return arm


def prefixes(vit, n, length=3, blocks=(0, 1), seed=1):
    chance = torch.Generator().manual_seed(seed)
    draw = [[torch.randn(length, 16, generator=chance).expand(n, -1, -1) for _ in "kv"] for _ in blocks]
    return {block: tuple(pair) for block, pair in zip(blocks, draw, strict=True)}


# ---- the stream: what is told, what is hidden


@pytest.fixture(scope="module")
def shapes():
    return shapes_ml((4, 4, 2), 5, train=24, test=60)


def test_a_task_tells_of_its_own_classes_only(shapes):
    for task, size in enumerate(shapes.sizes):
        rows, own = shapes.rows(task), shapes.own(task)
        labels = shapes.labels(rows, task)
        assert labels.shape == (24, size)
        assert torch.equal(labels.bool(), shapes.answers[rows][:, own])
        assert labels.any(1).all()  # a picture shows one of them at least
        hidden = shapes.answers[rows].clone()
        hidden[:, own] = False
        assert hidden.any(1).float().mean() > 0.3  # and others, of which nothing is said


def test_own_classes_come_equally_often_and_others_by_chance(shapes):
    counts = shapes.labels(shapes.rows(0), 0).sum(0)
    assert counts.min() >= 24 // 4


def test_tasks_present_are_counted_from_all_answers(shapes):
    there = shapes.tasks_in(shapes.test_answers)
    for task in range(3):
        assert torch.equal(there[:, task], shapes.test_answers[:, shapes.own(task)].any(1))
    assert set(there.sum(1).tolist()) == {1, 2, 3}


def test_the_stream_depends_on_the_seed_alone(shapes):
    again, other = shapes_ml((4, 4, 2), 5, train=24, test=60), shapes_ml((4, 4, 2), 6, train=24, test=60)
    assert torch.equal(shapes.images, again.images)
    assert shapes.names == again.names
    assert shapes.names != other.names
    tested = {image.numpy().tobytes() for image in shapes.test_images}
    assert not tested & {image.numpy().tobytes() for image in shapes.images}


def test_joint_hides_nothing(shapes):
    joint = shapes.joint()
    assert len(joint) == 1
    assert len(joint.rows(0)) == len(shapes.images)
    assert torch.equal(joint.labels(joint.rows(0), 0).bool(), shapes.answers)


def test_too_many_classes_are_refused():
    with pytest.raises(ValueError, match="25 classes are too many"):
        shapes_ml((5,) * 5, 0)


# ---- measures


def test_mean_average_precision_drops_classes_that_no_picture_shows(stream):
    scores, answers = torch.rand(30, 7), stream.test_answers.clone()
    each = [average_precision_score(answers[:, c], scores[:, c]) for c in range(7)]
    assert mean_average_precision(scores, answers) == pytest.approx(100 * np.mean(each))
    answers[:, 4] = False
    assert mean_average_precision(scores, answers) == pytest.approx(100 * np.mean(each[:4] + each[5:]))
    with pytest.raises(ValueError, match="no picture shows any class"):
        mean_average_precision(scores, torch.zeros_like(answers))


def test_the_auc_leaves_out_classes_without_a_choice(stream):
    scores, answers = torch.rand(30, 7), stream.test_answers.clone()
    each = [roc_auc_score(answers[:, c], scores[:, c]) for c in range(7)]
    answers[:, 0], answers[:, 1] = True, False
    assert mean_auc(scores, answers) == pytest.approx(100 * np.mean(each[2:]))


def test_precision_cannot_see_the_calibration_between_classes_and_f1_can(stream):
    scores = torch.randn(30, 7) + 2.0 * stream.test_answers
    shifted = scores + torch.linspace(-6, 6, 7)
    answers = stream.test_answers
    assert mean_average_precision(scores, answers) == pytest.approx(mean_average_precision(shifted, answers))
    assert best_f1(shifted, answers)[0] < best_f1(scores, answers)[0] - 5


def test_f1_by_hand():
    answers = torch.tensor([[1, 0], [1, 0], [0, 1], [0, 0]]).bool()
    scores = torch.tensor([[2.0, -1.0], [-1.0, 2.0], [2.0, 2.0], [-1.0, -1.0]])
    # class 0: said 2, hits 1, true 2; class 1: said 2, hits 1, true 1
    overall, by_class = f1(scores, answers, 0.0)
    assert overall == pytest.approx(100 * 2 * 2 / (4 + 3))
    assert by_class == pytest.approx(100 * 2 * 0.5 * 0.75 / 1.25)
    assert f1(scores, answers, 5.0) == (0.0, 0.0)


def test_no_threshold_beats_the_best_by_more_than_its_grid(stream):
    scores = torch.randn(30, 7) + 1.5 * stream.test_answers
    best = best_f1(scores, stream.test_answers)
    tried = [f1(scores, stream.test_answers, level) for level in np.linspace(-3, 4, 500)]
    for i in range(2):
        assert best[i] >= max(pair[i] for pair in tried) - 1


def test_the_masked_loss_of_the_released_code_is_ours_but_for_a_scale_and_a_constant():
    """Logits and targets of all other classes at 0, mean over all: |C_t|/|C| of ours plus log 2 for each masked one."""
    logits, labels, own = torch.randn(5, 20, requires_grad=True), (torch.rand(5, 20) < 0.3).float(), slice(4, 8)
    inside = torch.zeros(20)
    inside[own] = 1
    code = F.binary_cross_entropy_with_logits(logits * inside, labels * inside)
    ours = own_loss(logits[:, own], labels[:, own])
    assert code.item() == pytest.approx((4 * ours.item() + 16 * math.log(2)) / 20, abs=1e-6)
    theirs, mine = (torch.autograd.grad(loss, logits, retain_graph=True)[0] for loss in (code, ours))
    assert torch.allclose(theirs, mine * 4 / 20, atol=1e-7)


# ---- the frozen stream, selectors and summaries


def test_frozen_tokens_are_those_of_the_transformer(vit, stream, frozen):
    stages, seen = vit.tokens(stream.images), frozen[0]
    assert torch.allclose(seen.entering, stages[0], atol=1e-6)
    assert torch.allclose(seen.second, stages[1], atol=1e-5)
    assert torch.allclose(seen.normed[2], vit.blocks[2].norm1(stages[2]), atol=1e-5)
    assert torch.allclose(seen.leaving[:, 0], vit.features(stream.images), atol=1e-5)
    rows = torch.tensor([3, 1])
    assert torch.equal(seen[rows].normed, seen.normed[:, rows])
    assert torch.equal(torch.cat([part.normed for part in seen.parts(10)], 1), seen.normed)


def test_a_summary_is_one_wide_softmax_over_all_tokens(frozen):
    selectors, tokens = torch.randn(3, 5, 16), frozen[0].normed
    z, weights = summarise(selectors, tokens)
    assert weights.shape == (3, 36, 5, 17)  # 16 patches and the picture's own class token
    scores = torch.stack([selectors[1, 2] @ tokens[1, 7, i] for i in range(17)]) / math.sqrt(16)
    by_hand = sum(w * x for w, x in zip(scores.softmax(0), tokens[1, 7], strict=True))
    assert torch.allclose(z[1, 7, 2], by_hand, atol=1e-5)


def literal(vit, selectors, images, given):
    """MULTI-LANE as it is written: all 1+S tokens through attention, summaries dropped, selectors in lockstep."""
    x, c, s = vit.embed(images), (vit.class_token + vit.positions[0]).expand(len(images), 1, -1), selectors
    s = s.expand(len(images), -1, -1)
    for i, block in enumerate(vit.blocks):
        tokens, cn, sn = block.norm1(x).detach(), block.norm1(c), block.norm1(s)
        z = (sn @ tokens.mT / math.sqrt(16)).softmax(-1) @ tokens
        o = block.attention(torch.cat([cn, z], 1), given.get(i))
        carried = torch.cat([c + o[:, :1], s + sn], 1)
        carried = carried + block.mlp(block.norm2(carried))
        c, s, x = carried[:, :1], carried[:, 1:], block(x)
    return vit.norm(c[:, 0])


def test_the_class_token_alone_gives_what_the_literal_lane_gives(vit, stream, frozen):
    selectors, given = torch.randn(5, 16), prefixes(vit, 36)
    ours = drop_and_replace(vit, summarise(evolve(vit, selectors), frozen[0].normed)[0], given)
    assert torch.allclose(ours, literal(vit, selectors, stream.images, given), atol=1e-5)


def test_selectors_never_see_the_picture(vit, stream):
    """In the literal lane as well: they are the same map of their start, whatever the picture."""
    one, two = (evolve(vit, torch.full((2, 16), 0.3)) for _ in range(2))
    assert torch.equal(one, two)
    chosen = torch.randn(4, 16)
    step = chosen + vit.blocks[0].norm1(chosen)
    step = step + vit.blocks[0].mlp(vit.blocks[0].norm2(step))
    assert torch.allclose(evolve(vit, chosen)[1], vit.blocks[1].norm1(step), atol=1e-6)


def test_without_drop_and_replace_summaries_are_ordinary_tokens(vit, stream, frozen):
    given, z = prefixes(vit, 36), torch.randn(36, 4, 16)
    c = (vit.class_token + vit.positions[0]).expand(36, 1, -1)
    block = vit.blocks[0]
    x = torch.cat([c, z], 1) + block.attention(torch.cat([block.norm1(c), z], 1), given[0])
    x = x + block.mlp(block.norm2(x))
    x = vit.blocks[2](vit.blocks[1](x, given[1]))
    assert torch.allclose(carry(vit, z, given), vit.norm(x[:, 0]), atol=1e-5)


def test_gradients_reach_selectors_and_prompts_through_the_frozen_weights(vit, stream, frozen):
    arm = make(Lanes, vit, stream, frozen)
    trained = arm.start(0)
    arm.loss(torch.arange(8), 0).backward()
    assert all(p.grad.abs().sum() > 0 for p in trained)
    assert all(p.grad is None for p in vit.parameters())
    assert not frozen[0].normed.requires_grad  # the tokens are cut off
    slope = arm.selectors[0].grad
    with torch.no_grad():
        arm.selectors[0] += 5e-3 * slope / slope.norm()
        above = arm.loss(torch.arange(8), 0)
        arm.selectors[0] -= 1e-2 * slope / slope.norm()
        assert (above - arm.loss(torch.arange(8), 0)).item() == pytest.approx(1e-2 * slope.norm().item(), rel=0.1)


# ---- lanes


def test_a_lane_begins_as_one_vector_of_length_one_of_each_kind(vit, stream, frozen):
    arm = make(Lanes, vit, stream, frozen)
    assert arm.selectors[0].norm().item() == pytest.approx(1, abs=1e-5)
    assert arm.prompts[0].norm().item() == pytest.approx(1, abs=1e-5)
    assert arm.prompts[0].shape == (2, 2, 4, 16)


def test_a_lane_starts_from_the_one_before(vit, stream, frozen):
    arm = make(Lanes, vit, stream, frozen)
    arm.start(0)
    with torch.no_grad():
        arm.selectors[0] += 1
        arm.prompts[0] -= 1
    arm.start(1)
    assert torch.equal(arm.selectors[1], arm.selectors[0])
    assert torch.equal(arm.prompts[1], arm.prompts[0])
    assert arm.selectors[1] is not arm.selectors[0]


@pytest.mark.parametrize("lane", [Lane(), Lane(again=False), Lane(normalise=False), Lane(tokens="carried")])
def test_nothing_that_was_learnt_changes_by_a_bit(vit, stream, frozen, lane):
    """By construction: slices without a gradient, and a fresh Adam without decay."""
    arm = make(Lanes, vit, stream, frozen, lane)
    logits = learn_stream(arm, stream, Budget(4, 6), 0.1, 0)
    for task in range(3):
        own = stream.own(task)
        assert torch.equal(logits[task:, :, own], logits[task, :, own].expand(3 - task, -1, -1))
        with torch.no_grad():
            assert torch.equal(arm.own_logits(frozen[1], task), logits[2, :, own])


def test_normalised_features_have_length_one_and_logits_forget_their_scale(vit, stream, frozen):
    arm, raw = (make(Lanes, vit, stream, frozen, Lane(normalise=on)) for on in (True, False))
    assert torch.allclose(arm.features(frozen[1], 0).norm(dim=-1), torch.ones(30), atol=1e-5)
    assert torch.allclose(F.normalize(raw.features(frozen[1], 0), dim=-1), arm.features(frozen[1], 0), atol=1e-5)


def test_a_full_token_lane_without_prompts_is_the_frozen_transformer(vit, stream, frozen):
    arm = make(Lanes, vit, stream, frozen, Lane(prompts=0, tokens="carried", normalise=False))
    assert torch.allclose(arm.features(frozen[1], 0), frozen[1].leaving[:, 0], atol=1e-5)


def test_reading_all_tokens_without_prompts_starts_beside_the_frozen_feature(vit, stream, frozen):
    """The class token meets itself twice, which is all the difference in the first block."""
    arm = make(Lanes, vit, stream, frozen, Lane(prompts=0, tokens="all", normalise=False))
    few = make(Lanes, vit, stream, frozen, Lane(prompts=0, normalise=False))
    near, far = (F.cosine_similarity(a.features(frozen[1], 0), frozen[1].leaving[:, 0]).mean() for a in (arm, few))
    assert near > 0.9
    assert near > far


def test_only_the_rows_of_the_task_are_trained(vit, stream, frozen):
    for kind in (Isolated, Pooled, Lanes):
        arm = make(kind, vit, stream, frozen)
        arm.start(1)
        arm.loss(torch.arange(12, 20), 1).backward()
        outside = arm.head.weight.grad.clone()
        outside[stream.own(1)] = 0
        assert outside.abs().sum() == 0
        assert arm.head.weight.grad.abs().sum() > 0


def test_pooling_is_attention_by_one_query_a_class(vit, stream, frozen):
    arm, x = make(Pooled, vit, stream, frozen), frozen[0].leaving[:4]
    weights = (x @ arm.queries[3] / 4.0).softmax(-1)
    by_hand = (weights[..., None] * x).sum(1) @ arm.head.weight[3] + arm.head.bias[3]
    assert torch.allclose(arm.own_logits(frozen[0][:4], 1)[:, 1], by_hand, atol=1e-5)


# ---- merging


def test_merging_keeps_the_class_token_and_the_mean_of_the_patches(vit, frozen):
    normed = frozen[0].normed
    for keep in (9, 4):
        merged = merge(vit, normed, keep)
        assert merged.shape == (3, 36, keep, 16)
        assert torch.allclose(merged[:, :, 0], normed[:, :, 0], atol=1e-6)
    alone = merge(vit, normed, 2)[:, :, 1]
    assert torch.allclose(alone, normed[:, :, 1:].mean(2), atol=1e-5)


def test_what_is_merged_first_is_most_alike(vit, frozen):
    tokens = frozen[0].normed[:, :3, :5].clone()
    tokens[:, :, 2] = tokens[:, :, 3]  # of the four patches, the second and the third are one
    merged = merge(vit, tokens, 4)
    there = (merged[:, :, :, None] - tokens[:, :, None]).abs().amax(-1) < 1e-5
    assert there.any(2).all()  # every token is still among them


# ---- picking one lane


def test_the_best_keys_minimise_the_loss_of_keys(frozen, stream):
    queries = frozen[0].leaving[:, 0]
    keys = best_keys(queries, stream.owner, 3).requires_grad_()

    def loss(k):
        return sum((1 - F.cosine_similarity(queries[stream.owner == t], k[t], dim=-1)).mean() for t in range(3))

    (slope,) = torch.autograd.grad(loss(keys), keys)
    assert slope.abs().max() < 1e-5
    assert all(loss(keys) < loss(keys + 0.1 * torch.randn_like(keys)) for _ in range(20))


def test_the_lane_of_the_asked_task_gives_its_own_logits(vit, stream, frozen):
    arm = make(Lanes, vit, stream, frozen)
    for task in range(3):
        arm.end(task)
    chosen = torch.arange(3)[:, None].expand(3, 30)  # phase n: lane n for all
    every, own = selected(arm, chosen), selected(arm, chosen, own_rows=True)
    for task in range(3):
        rows = stream.own(task)
        assert torch.allclose(every[task, :, rows], arm.logits()[:, rows], atol=1e-5)
        assert torch.allclose(own[task, :, rows], every[task, :, rows])
        assert (own[task] == -30).sum() == 30 * (7 - SIZES[task])
    assert (every > -30).all()


def test_told_pictures_get_the_lane_of_a_task_that_is_there(vit, stream, frozen, monkeypatch):
    arm, outcome, seen = make(Lanes, vit, stream, frozen), Outcome(), []
    monkeypatch.setattr(paper, "selected", lambda lanes, chosen, **more: seen.append(chosen) or selected(lanes, chosen))
    paper.query_key(outcome, arm, stream, 0)
    keyed, _, told = seen
    assert stream.tasks_in(stream.test_answers).gather(1, told[-1:].T).all()
    assert (keyed.amax(1) <= torch.arange(3)).all()  # no key of a task to come
    right = next(row["value"] for row in outcome.scores if row["metric"] == paper.RIGHT)
    assert right == pytest.approx(
        100 * stream.tasks_in(stream.test_answers).gather(1, keyed[-1:].T).float().mean().item(), abs=1e-3
    )


# ---- baselines


def test_prompts_from_the_second_block_on_need_its_tokens_alone(vit, stream, frozen):
    encoded = Encoded(frozen[0].second, frozen[0].leaving[:, 0], frozen[1].second, frozen[1].leaving[:, 0], first=1)
    prompt = OnePrompt({1: 4, 2: 4}, 16, 0.5, 0)
    arm = PromptedML(vit, prompt, stream, encoded)
    given, _ = prompt(encoded.test_query)
    assert torch.allclose(arm.test_features(), vit.features(stream.test_images, given), atol=1e-5)


def test_masked_losses_train_own_rows_alone(vit, stream, frozen):
    encoded = Encoded(frozen[0].second, frozen[0].leaving[:, 0], frozen[1].second, frozen[1].leaving[:, 0], first=1)
    prompted = PromptedML(vit, DualPrompt(3, 4, 4, (1,), (2,), 16, 0.2, 0), stream, encoded)
    for arm, head in ((prompted, prompted.head), (tuned := FineTunedML(vit, stream, 0), tuned.vit.head)):
        arm.start(2)
        arm.loss(torch.arange(24, 30), 2).backward()
        assert head.weight.grad[: stream.own(2).start].abs().sum() == 0
        assert head.weight.grad[stream.own(2)].abs().sum() > 0


# ---- scores, cost, fairness


def test_scores_by_the_number_of_tasks_present(stream):
    logits = torch.randn(3, 30, 7)
    outcome = Outcome()
    judge(outcome, "some", logits, stream)
    scores = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    tasks = stream.tasks_in(stream.test_answers).sum(1)
    for k in STRATA:
        expected = mean_average_precision(logits[-1][tasks == k], stream.test_answers[tasks == k])
        assert scores[present("some", k), STRATUM] == pytest.approx(expected)
    first = stream.test_answers[:, :2].any(1)  # after task 1, only pictures with a class of it
    by_phase = next(row for row in outcome.curves if row["name"] == MAP)
    assert by_phase["y"][0] == pytest.approx(
        mean_average_precision(logits[0][first, :2], stream.test_answers[first, :2])
    )
    assert scores["some", LAST] == pytest.approx(mean_average_precision(logits[-1], stream.test_answers))


def test_what_cannot_change_is_not_forgotten(stream):
    outcome, still = Outcome(), torch.randn(1, 30, 7).expand(3, -1, -1)
    judge(outcome, "still", still, stream)
    assert [row["value"] for row in outcome.scores if row["metric"] == FORGETTING] == [0.0]


def test_operations_are_counted():
    layer = nn.Linear(30, 20).requires_grad_(False)
    assert megaflops(layer, torch.rand(8, 30)) == pytest.approx(2 * 30 * 20 / 1e6)


def test_a_lane_costs_a_small_part_of_a_pass_and_a_full_lane_costs_a_pass():
    with seeded(0):
        vit = ViT(patch=4).requires_grad_(False)
    images = torch.rand(16, 3, 32, 32)
    few, many = ({n: megaflops(w, images) for n, w in predictors(vit, (2,) * t).items()} for t in (2, 6))
    alone = megaflops(vit.features, images)
    each = {name: (many[name] - few[name]) / 4 for name in few}
    assert each[OURS] < 0.1 * alone
    assert each[paper.CARRIED] > 0.75 * alone
    assert each[paper.DUAL_] == pytest.approx(0, abs=0.01 * alone)
    assert alone < few[paper.DUAL_] < 2 * alone


def test_predictors_compute_what_the_arms_do(monkeypatch):
    with seeded(0):
        vit, head = ViT(patch=4, depth=3).requires_grad_(False), nn.Linear(64, 7)
    monkeypatch.setattr(multilabel, "new_head", lambda vit, classes: copy.deepcopy(head))  # zeros would show nothing
    images = torch.rand(4, 3, 32, 32)
    work, seen = predictors(vit, SIZES), freeze(vit, images)
    with torch.no_grad():
        for name in (OURS, paper.CARRIED):
            arm = Lanes(vit, SIZES, seen, seen, None, 0, paper.LANES[name])
            by_lane = torch.cat([arm.own_logits(seen, t) for t in range(3)], 1)
            assert torch.allclose(work[name](images), by_lane, atol=1e-4)
            assert by_lane.std() > 0.1


TINY = replace(
    PAPER.profiles["full"], sizes=(2, 2, 2), train=8, test=60, budget=Budget(1, 4),
    cil_budget=Budget(1, 4), cil_tasks=2, cil_ways=2, cil_train=8, others={"two sizes": ((3, 1), ("flat",))},
)  # fmt: skip


@pytest.fixture(scope="module")
def tiny():
    """One update of every arm of the full profile, with the settings of `learn_stream` written down."""
    seen, original = [], paper.learn_stream
    with pytest.MonkeyPatch.context() as patch:
        spy = lambda arm, stream, budget, lr, seed: (  # noqa: E731
            seen.append((len(stream), budget)) or original(arm, stream, budget, lr, seed)
        )
        patch.setattr(paper, "learn_stream", spy)
        outcomes = {seed: PAPER.run(TINY, seed) for seed in (0, 1)}
    return outcomes, seen


def test_all_claims_are_measured_by_the_full_profile(tiny):
    scores = tidy_scores(tiny[0])
    assert [f.key for f in judge_claims(COMPARISONS, scores)] == [c.key for c in COMPARISONS]


def test_all_arms_take_as_many_updates(tiny):
    updates = Counter(tasks * budget.steps for tasks, budget in tiny[1][: len(TINY.rates)])
    assert updates == {3: len(TINY.rates)}
    assert {budget.batch for _, budget in tiny[1]} == {4}


def test_a_run_is_a_pure_function_of_its_seed(tiny):
    small = replace(TINY, rates={OURS: 0.1, paper.HEADS: 0.1}, others={}, cil={})
    one, two = (PAPER.run(small, 0) for _ in range(2))
    assert one.scores == two.scores
    assert one.curves == two.curves
    assert PAPER.run(small, 1).scores != one.scores


def test_every_claim_of_the_dossier_is_there():
    assert {claim.key[:2] for claim in COMPARISONS} == {"C1", "C2", "C3", "C4", "C5", "C6"}
    first = [claim.worse for claim in COMPARISONS if claim.key.startswith("C1")]
    assert first == [paper.L2P_, paper.DUAL_, paper.QUERY_KEY, paper.HEADS, paper.POOLING]
    assert {count(s) for s in (1, 2, 4, 8, 16)} <= set(PAPER.profiles["full"].rates)
    assert {paper.SHARED, paper.FINE, paper.JOINT, paper.MERGED} <= set(PAPER.profiles["full"].rates)
    assert PAPER.claims[0].metrics == (LAST, in_setting(MAP, "average"))


def test_tuning_tries_three_rates_for_every_arm_and_the_best_is_taken():
    names = (OURS, paper.DUAL_, paper.HEADS)
    tried = paper.tune(replace(TINY, rates=dict.fromkeys(names)), 1000)
    assert {name: len(rates) for name, rates in tried.items()} == dict.fromkeys(names, 3)
    for name, rate in PAPER.profiles["full"].rates.items():
        assert rate in paper.GRIDS.get(name, paper.GRID)


def test_with_one_label_its_rate_and_depth_are_tuned_on_two_tasks(monkeypatch):
    seen, original = [], paper.shapes_r
    monkeypatch.setattr(paper, "shapes_r", lambda tasks, *a, **b: seen.append(tasks) or original(tasks, *a, **b))
    tried = paper.tune_single(replace(TINY, cil_tasks=5), 1000)
    assert len(tried) == len(seen) == 6  # as many as the other methods got
    assert set(seen) == {2}
    assert (PAPER.profiles["full"].cil[OURS], paper.CIL_LANE.prompted) in tried
