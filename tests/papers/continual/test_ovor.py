"""Virtual outliers, the regulariser, the two stages and what stays still in each, and the controls."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from stages.evidence import judge, tidy_scores
from stages.models import ViT
from stages.papers.continual import ovor as paper
from stages.papers.continual.common.loop import Budget, batches, encode, learn_stream, nearest_mean
from stages.papers.continual.common.metrics import accuracy_matrix
from stages.papers.continual.common.outliers import (
    KEEP,
    NEIGHBOUR,
    OFFSETS,
    POINTS,
    apart,
    energy,
    hinge,
    kth_distance,
    regulariser,
    virtual_outliers,
)
from stages.papers.continual.common.streams import shapes_r
from stages.papers.continual.ovor import (
    AVERAGE,
    CODA,
    COSINE,
    DUAL,
    EXTRA,
    HEAD,
    NAMED,
    NONE,
    ONE,
    ORACLE,
    ORIGIN,
    OVOR,
    PAPER,
    VOR,
    CosineHead,
    World,
    align_weights,
    falling,
    first_stage,
    learn_prompts,
    level,
    make,
    nearest_prompted_mean,
    plus,
    prolong,
    regularise,
)

COMPARISONS = [*PAPER.claims, *PAPER.also]

PLAIN = VOR("none", weight=0.0)
METHODS = (*PAPER.profiles["full"].plain, *PAPER.profiles["full"].staged)
TINY = replace(
    PAPER.profiles["full"],
    tasks=4,
    ways=2,
    train=10,
    test=5,
    budget=Budget(5, 4),
    share=0.4,
    rates=dict.fromkeys(METHODS, 0.01),
    longer=3,
)


@pytest.fixture(scope="module")
def world():
    torch.manual_seed(0)
    vit = ViT().requires_grad_(False)
    stream = shapes_r(TINY.tasks, TINY.ways, 5, train=TINY.train, test=TINY.test)
    return World(vit, stream, encode(vit, stream, paper.BLOCKS[0]))


@pytest.fixture(scope="module")
def learnt(world):
    return first_stage(ONE, world, TINY, 5)


def features(n=120, width=16, seed=0):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed)) + 1


def drawn(where, z=None, noise=0.3, keep=40):
    z = features() if z is None else z
    return virtual_outliers(z, keep, where, noise, torch.Generator().manual_seed(3))


def heads_of(learnt, *arms, **changes):
    given = {"budget": TINY.budget, "lr": 0.01, "seed": 5} | changes
    return regularise(learnt, arms, **given)


# ---- the regulariser


def test_energy_of_logits_that_are_all_zero_is_the_outlier_threshold():
    assert energy(torch.zeros(3, 4)).tolist() == pytest.approx([-math.log(4)] * 3)
    logits = torch.randn(3, 4)
    assert torch.allclose(energy(logits + 2), energy(logits) - 2)


def test_hinge_is_the_huber_loss_of_the_excess():
    assert hinge(torch.tensor([[-3.0, 0.5], [1.0, 4.0]])).tolist() == pytest.approx([0.125 / 2, (0.5 + 3.5) / 2])


def test_both_terms_pull_the_right_way_and_rest_within_their_thresholds():
    own, far = torch.randn(6, 4, requires_grad=True), torch.randn(5, 4, requires_grad=True)
    identity, outlier = regulariser(own, far, torch.tensor(-9.0), -8.0)
    to_own, to_far = torch.autograd.grad(identity + outlier, [own, far])
    assert (to_own < 0).all()  # a step of descent lifts all of the task's logits on its own features
    assert (to_far == 0).all()  # E is above -8 already
    identity, outlier = regulariser(own + 20, far + 20, torch.tensor(-9.0), -8.0)
    assert identity == 0
    assert (torch.autograd.grad(outlier, far)[0] > 0).all()


def test_the_identity_terms_gradient_is_the_softmax():
    """d/dz_k of the mean Huber of E - t_id: -softmax_k / n where the excess is beyond δ = 1."""
    own = torch.randn(6, 4, requires_grad=True)
    identity, _ = regulariser(own, own.detach(), torch.tensor(-20.0), -100.0)
    (gradient,) = torch.autograd.grad(identity, own)
    assert torch.allclose(gradient, -own.softmax(-1) / 6, atol=1e-6)


def test_near_the_origin_the_outlier_term_is_idle_from_the_start():
    """Logits there are the biases alone; the threshold is the energy of zero logits."""
    w, b = torch.randn(4, 16), torch.zeros(4)
    _, outlier = regulariser(torch.randn(2, 4), F.linear(torch.zeros(3, 16), w, b), torch.tensor(-9.0), -math.log(4))
    assert outlier == pytest.approx(0, abs=1e-6)


# ---- virtual outliers


def test_outliers_lie_around_the_loneliest_features():
    z = features()
    index = F.normalize(z, dim=-1)
    distance = torch.stack([torch.stack([(a - b).norm() for b in index]).sort().values[NEIGHBOUR - 1] for a in index])
    assert torch.allclose(kth_distance(index, index, NEIGHBOUR), distance, atol=1e-4)
    lonely = z[distance.topk(POINTS).indices]
    made = drawn("boundary", z, noise=1e-4)
    assert torch.cdist(made, lonely).amin(1).max() < 0.01
    assert len(made) == 40


def test_the_kept_candidates_are_those_far_from_all_features_in_direction():
    z = features()
    everything, kept = (drawn("boundary", z, keep=k) for k in (POINTS * OFFSETS, 40))
    assert len(everything) == POINTS * OFFSETS
    index = F.normalize(z, dim=-1)
    far = kth_distance(F.normalize(everything, dim=-1), index, NEIGHBOUR).sort(descending=True).values
    assert torch.allclose(kth_distance(F.normalize(kept, dim=-1), index, NEIGHBOUR), far[:40], atol=1e-5)


def test_an_outcast_is_a_boundary_point():
    z = features()
    z[7] = -z[7]
    made = drawn("boundary", z, noise=1e-4)
    assert torch.cdist(made, z[7:8]).min() < 0.01


@pytest.mark.parametrize("width", [16, 256])
@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_noise_is_the_length_of_an_offset_whatever_the_width(width, noise):
    z = features(width=width)
    made = drawn("origin", z, noise, keep=POINTS * OFFSETS)
    assert (made.norm(dim=1).mean() / z.norm(dim=1).median()).item() == pytest.approx(noise, rel=0.1)


def test_outliers_of_the_released_code_lie_at_the_origin_and_are_copies():
    z = features()
    made = drawn("origin", z, keep=KEEP)
    assert len(made.unique(dim=0)) == math.ceil(KEEP / POINTS)  # each of the farthest offsets, once a boundary point
    assert torch.equal(made, drawn("origin", z.flip(0), keep=KEEP))  # where features lie counts for nothing
    longest = drawn("origin", z, keep=POINTS * OFFSETS)
    assert len(longest.unique(dim=0)) == OFFSETS


def test_kinds_share_their_chance_within_a_task_and_tasks_do_not(learnt):
    part = learnt[0]
    assert torch.equal(VOR().outliers(part, 5, 0), VOR(weight=9.0, gap=1.0).outliers(part, 5, 0))
    assert not torch.equal(VOR().outliers(part, 5, 0), VOR().outliers(part, 5, 1))
    assert torch.equal(VOR("oracle").outliers(part, 5, 0), part.others)
    assert len(VOR().outliers(part, 5, 0)) == len(part.others)


# ---- the two stages


@pytest.mark.parametrize("method", [ONE, DUAL, CODA, HEAD])
def test_a_first_stage_with_all_updates_is_the_plain_method(method, world):
    whole = first_stage(method, world, replace(TINY, share=0.0), 5)
    learner, lr = make(method, world, TINY, 5)
    plain = learn_stream(learner, world.stream, TINY.budget, lr, 5)
    for task, part in enumerate(whole):
        own = world.stream.own(task)
        assert torch.allclose(part.test @ part.rows[0].T + part.rows[1], plain[task][:, own], atol=1e-6)
    heads = heads_of(whole, VOR(weight=5.0))  # no update is left for it
    seen, then = (accuracy_matrix(x, world.stream.test_labels, 2) for x in (heads.after_tasks(whole)[0], plain))
    assert torch.equal(seen, then)


def test_without_the_regulariser_the_head_goes_on_as_if_there_were_one_stage(world):
    """With features that never move, a second stage at λ = 0 is the rest of plain training, Adam's memory and all."""
    two = first_stage(HEAD, world, TINY, 5)
    learner, lr = make(HEAD, world, TINY, 5)
    plain = learn_stream(learner, world.stream, TINY.budget, lr, 5)
    heads = heads_of(two, PLAIN, lr=lr)
    assert torch.allclose(heads.weight[0], learner.head.weight, atol=1e-6)
    assert torch.allclose(heads.bias[0], learner.head.bias, atol=1e-6)
    assert torch.allclose(heads.logits(two[-1].test)[0], plain[-1], atol=1e-5)


def test_both_stages_share_out_the_same_batches(world, learnt):
    first = TINY.budget.steps - len(learnt[0].order)
    assert (first, len(learnt[0].order)) == (3, 2)
    for task, part in enumerate(learnt):
        rows = world.stream.rows(task)
        assert torch.equal(rows[part.order], batches(world.stream, task, TINY.budget, 5)[first:])
        assert torch.equal(part.labels, world.stream.labels[rows] - 2 * task)


def test_a_longer_stage_has_passes_of_its_own_and_the_schedule_to_match(world, learnt):
    parts, budget = prolong(learnt, world.stream, TINY, 5)
    assert budget == Budget(3 + TINY.longer, 4)
    assert {len(part.order) for part in parts} == {TINY.longer}
    assert torch.equal(world.stream.rows(1)[parts[1].order], batches(world.stream, 1, Budget(TINY.longer, 4), 5))
    assert all(torch.equal(a.own, b.own) for a, b in zip(parts, learnt, strict=True))


def test_the_second_stage_gets_the_low_end_of_the_schedule():
    rates = [falling(100)(step) for step in range(100)]
    assert rates == sorted(rates, reverse=True)
    assert (rates[0], rates[-1]) == (1.0, pytest.approx(0.0157, abs=1e-3))
    assert max(rates[80:]) < 0.32


def test_the_second_stage_leaves_prompt_and_features_alone(world):
    before, again = (first_stage(ONE, world, TINY, 5) for _ in range(2))
    heads_of(before, VOR(weight=10.0), PLAIN)
    for one, two in zip(before, again, strict=True):
        for name in ("own", "others", "test", "prompt", "order"):
            assert torch.equal(getattr(one, name), getattr(two, name))
        assert all(torch.equal(a, b) for a, b in zip(one.rows, two.rows, strict=True))
        assert all(torch.equal(a[k], b[k]) for a, b in zip(one.memory, two.memory, strict=True) for k in a)


def test_a_tasks_rows_learn_from_that_task_alone(learnt):
    arms = VOR(weight=1.0), VOR("origin", weight=1.0), VOR("none", weight=1.0)
    whole, other = heads_of(learnt, *arms), heads_of([replace(learnt[0], own=-learnt[0].own), *learnt[1:]], *arms)
    assert torch.equal(whole.weight[:, 2:], other.weight[:, 2:])
    assert not torch.equal(whole.weight[:, :2], other.weight[:, :2])
    foreign = [replace(part, others=-part.others) for part in learnt]
    assert torch.equal(heads_of(foreign, *arms).weight, whole.weight)  # only the oracle sees other tasks
    oracle = VOR("oracle", weight=1.0)
    assert not torch.equal(heads_of(foreign, oracle).weight, heads_of(learnt, oracle).weight)


def test_the_features_are_as_the_prompt_is_when_the_task_ends(world):
    learner, lr = make(ONE, world, TINY, 5)
    found = learn_prompts(learner, world.stream, TINY.budget, 3, lr, 5)
    rows = world.stream.rows(3)
    assert torch.allclose(found[-1].own, learner.test_features(train=True)[rows], atol=1e-5)
    assert torch.equal(found[-1].test, learner.test_features())
    assert not torch.allclose(found[0].test, found[-1].test, atol=1e-4)
    assert not found[-1].own.requires_grad


def test_arms_side_by_side_learn_as_they_would_alone(learnt):
    arms = VOR(weight=1.0), PLAIN, VOR("oracle", weight=3.0, gap=4.0), VOR("origin", noise=1.0)
    together = heads_of(learnt, *arms)
    for i, arm in enumerate(arms):
        alone = heads_of(learnt, arm)
        assert torch.allclose(alone.weight[0], together.weight[i], atol=1e-6)
        assert torch.allclose(alone.short[:, 0], together.short[:, i])


def test_without_weight_it_matters_not_where_outliers_lie(learnt):
    heads = heads_of(learnt, *(VOR(where, weight=0.0) for where in paper.MODES))
    assert torch.allclose(heads.weight, heads.weight[:1].expand(4, -1, -1), atol=1e-7)
    assert torch.equal(heads.short[0], heads.short[0, :1].expand(4))


def test_a_strong_regulariser_brings_own_features_down_and_outliers_up(learnt):
    part = [replace(learnt[0], order=learnt[0].order.repeat(30, 1))]
    strong, budget = VOR(weight=3.0, gap=3.0), Budget(62, 4)
    heads = heads_of(part, strong, VOR("none", 3.0, 3.0), PLAIN, budget=budget, lr=0.05)
    own, far = (energy(heads.logits(z)).mean(1).tolist() for z in (learnt[0].own, strong.outliers(learnt[0], 5, 0)))
    assert own[0] < own[2] - 0.5
    assert own[1] < own[2] - 0.5
    assert far[0] > far[1] + 0.5
    assert heads.short[1, 0] < heads.short[0, 0]
    assert heads.short[1, 2] == pytest.approx(100)


# ---- controls


def test_alignment_makes_rows_equally_long_and_keeps_their_directions(learnt):
    heads = heads_of(learnt, VOR(weight=3.0), PLAIN)
    aligned = align_weights(heads, 4)
    length = aligned.weight.unflatten(1, (4, 2)).norm(dim=-1).mean(-1)
    assert torch.allclose(length, length[:, :1].expand(-1, 4), atol=1e-5)
    assert torch.allclose(F.cosine_similarity(aligned.weight, heads.weight, dim=-1), torch.ones(2, 8), atol=1e-5)
    assert torch.equal(aligned.bias, heads.bias)


def test_a_shift_levels_energies_and_tightens_nothing(world, learnt):
    heads = heads_of(learnt, PLAIN)
    levelled = level(heads, learnt)
    for task, part in enumerate(learnt):
        own = world.stream.own(task)
        assert energy(levelled.logits(part.own)[0, :, own]).mean().item() == pytest.approx(0, abs=1e-5)
    labels = world.stream.test_labels
    before, after = (h.logits(learnt[-1].test)[0] for h in (heads, levelled))
    assert apart(after, labels, 2) == pytest.approx(apart(before, labels, 2), abs=0.2)  # ties within rounding
    named = [accuracy_matrix(x[None].expand(4, -1, -1), labels, 2, "own") for x in (before, after)]
    assert torch.equal(*named)
    assert not torch.allclose(before, after)


def test_apart_is_chance_for_one_level_and_certain_for_separate_ones():
    labels = torch.tensor([0, 1, 2, 3])
    assert apart(torch.zeros(4, 4), labels, 2) == 50
    sure = 5 * F.one_hot(labels, 4).float()
    assert apart(sure, labels, 2) == 100
    assert apart(sure + torch.tensor([9.0, 9, 0, 0]), labels, 2) == 100  # though all answers are now of task 0
    assert apart(-sure, labels, 2) == 0


def test_prompted_means_are_plain_means_where_no_feature_moves(world):
    means = nearest_prompted_mean(first_stage(HEAD, world, TINY, 5))
    assert torch.allclose(means, nearest_mean(world.encoded, world.stream), atol=1e-4)


def test_a_cosine_head_knows_no_scale(world):
    learner, _ = make(COSINE, world, TINY, 5)
    assert isinstance(learner.head, CosineHead)
    z = features(width=64)
    before = learner.head(z)
    with torch.no_grad():
        learner.head.weight.mul_(torch.rand(8, 1) + 0.5)
    assert torch.allclose(learner.head(7 * z), before, atol=1e-4)
    assert before.abs().max() <= TINY.cosine


# ---- the experiment


@pytest.fixture
def tiny(monkeypatch, world):
    """Random weights as the base model: what is tested here holds for any."""
    monkeypatch.setattr(paper.zoo, "load", lambda name: world.vit)
    return TINY


def test_a_run_is_pure_and_measures_all_that_the_claims_speak_of(tiny):
    one, two, other = PAPER.run(tiny, 0), PAPER.run(tiny, 0), PAPER.run(tiny, 1)
    assert one.scores == two.scores
    assert one.curves == two.curves
    assert one.scores != other.scores
    scores = tidy_scores({0: one, 1: other})
    assert [finding.key for finding in judge(COMPARISONS, scores)] == [claim.key for claim in COMPARISONS]


def test_all_plain_arms_see_as_many_pictures_and_one_prompt_takes_half_the_passes(tiny):
    scores = tidy_scores({0: PAPER.run(replace(tiny, staged=()), 0)})
    table = scores.pivot(index="method", columns="metric", values="value")
    trained = table.drop(index=paper.MEAN)
    assert set(trained[paper.PICTURES]) == {4 * 5 * 4}
    assert table.loc[[ONE, DUAL, CODA, paper.L2PP], paper.PASSES].tolist() == [1, 2, 2, 2]
    assert table.loc[ONE, paper.TRAINED] < table.loc[CODA, paper.TRAINED] / 5


def test_arms_of_one_prompt_start_from_one_first_stage(tiny):
    scores = tidy_scores({0: PAPER.run(replace(tiny, plain=(), staged=(ONE, DUAL)), 0)})
    before = scores[scores["metric"] == paper.SHORT[0]].set_index("method")["value"]
    vor = tiny.arms[OVOR]
    alike = [plus(ONE, EXTRA), *(name for name, arm in tiny.arms.items() if arm.gap == vor.gap)]
    assert before[alike].nunique() == 1
    assert {OVOR, ORIGIN, ORACLE, plus(DUAL), NONE + paper.LONGER} <= set(scores["method"])
    named = scores[scores["metric"] == NAMED].set_index("method")["value"]
    assert named[paper.LEVELLED] == pytest.approx(named[plus(ONE, EXTRA)])


def test_every_claim_and_control_of_the_dossier_is_there():
    assert {claim.key[:2] for claim in COMPARISONS} == {"C1", "C2", "C3", "C4", "C5"}
    full = PAPER.profiles["full"]
    assert {arm.where for arm in full.arms.values()} == set(paper.MODES)
    assert {ONE, DUAL, CODA, paper.L2PP, HEAD, paper.MEAN, COSINE, paper.FTPP, paper.JOINT} <= set(full.plain)
    assert {ONE, DUAL, CODA} <= set(full.staged)


def test_tuning_tries_the_grid_and_the_chosen_arms_are_in_it(tiny):
    tried = paper.tune(tiny, 1000)
    full, where = PAPER.profiles["full"], [arm.where for arm in tried if isinstance(arm, VOR)]
    assert [where.count(kind) for kind in paper.MODES] == [30, 30, 10, 10]
    assert all(arm in tried for arm in full.arms.values())
    assert f"cosine, {full.cosine:g}" in tried
    assert AVERAGE not in tried
