"""Both consolidation steps, the importance they rest on, their limits, and what keeps the comparison fair."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from stages.evidence import judge, tidy_scores
from stages.models.conv4 import Conv4, cosine_logits
from stages.papers.continual import brain_inspired_fewshot as paper
from stages.papers.continual.brain_inspired_fewshot import (
    EWC,
    FINE,
    FROZEN,
    JOINT,
    L2SP,
    MEANS,
    NEW,
    OLD,
    PAPER,
    REPTILE,
    TSC,
    Arm,
    base_importance,
    class_means,
    consolidate_fast,
    consolidate_slow,
    embed,
    fast_step,
    features,
    first_heads,
    importance,
    make_world,
    per_layer,
    sequence,
    stack,
    together,
)
from stages.seeding import rng

COMPARISONS = [*PAPER.claims, *PAPER.also]

TINY = replace(PAPER.profiles["quick"], tasks=3, steps=4, checks=(0, 1, 3), episodes=10)
QUICKEST = replace(TINY, tasks=2, steps=1, checks=(0, 2), episodes=2)
HELD = Arm(protect=0.1, pull=0.1, slow=0.2, guard=1.0, kind="fisher")


def scribbles(classes, labels, seed, *, stream, **drawing):
    """Noise of 8x8 pixels in the place of written characters; like them, image i is the same however many follow."""
    return torch.from_numpy(rng(seed, *stream).random((len(labels), 1, 8, 8), dtype=np.float32))


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    """Noise as images and random weights as the trained base network: what is tested here holds for any."""
    torch.manual_seed(0)
    weights = tuple(p.detach() for p in Conv4(classes=64).layers.parameters())
    monkeypatch.setattr(paper, "base", lambda steps=0: weights)
    monkeypatch.setattr(paper.glyphs, "write", scribbles)
    base_importance.cache_clear()
    yield
    base_importance.cache_clear()


@pytest.fixture
def world():
    return make_world(TINY, 5)


def lists(arms):
    """Random fast and slow weights of a stack."""
    torch.manual_seed(1)
    start = stack(paper.base(), len(arms))
    return [s + 0.1 * torch.randn_like(s) for s in start], start


def fit(arms, world, steps=5, fast=None, slow=None, omega=None):
    slow = slow or stack(paper.base(), len(arms))
    fast = fast or slow
    omega = omega or [torch.rand_like(f) for f in fast]
    labels = world.labels(world.support)
    heads = class_means(features(fast, world.support[0]), labels)[:, None]
    return consolidate_fast(
        fast, slow, omega, heads, [(world.support[0], labels, torch.zeros_like(labels))] * steps, arms
    )


def near(one, other, **close):
    return all(torch.allclose(a, b, **close) for a, b in zip(one, other, strict=True))


# ---- embeddings and heads


def test_a_stack_embeds_as_its_members_do_alone(world):
    torch.manual_seed(2)
    models = [Conv4(classes=5) for _ in range(3)]
    stacked = [torch.stack(parts) for parts in zip(*(m.layers.parameters() for m in models), strict=True)]
    expected = torch.stack([m.features(world.novel[:7]) for m in models])
    assert torch.allclose(embed(stacked, world.novel[:7]), expected, atol=1e-5)


def test_heads_start_from_class_means_for_all_methods(world, monkeypatch):
    """Without a step, every arm is the nearest class mean, which is how the control is scored."""
    still = replace(TINY, steps=0)
    arms = list(PAPER.profiles["full"].arms.values())
    trace = sequence(world, arms, still)
    control = paper._judge(
        world, stack(paper.base(), 1), stack(paper.base(), 1), first_heads(stack(paper.base(), 1), world)
    )
    for result in (trace, together(world, list(still.joint.values()), still, 5)):
        assert torch.allclose(result["by task"], control["by task"].expand(len(result["by task"]), -1))


def test_class_means_are_the_means(world):
    z, labels = features(stack(paper.base(), 2), world.support[0]), world.labels(world.support)
    expected = torch.stack([F.normalize(z[1, labels == c].mean(0), dim=0) for c in range(5)])
    assert torch.allclose(class_means(z, labels)[1], expected, atol=1e-6)


# ---- importance


@pytest.mark.parametrize("kind", ["fisher", "mas"])
def test_importance_is_the_mean_squared_gradient_of_single_images(world, kind):
    images, weights = world.support[0][:4], [w.double() for w in lists([0, 1])[0]]
    heads = torch.randn(2, 5, 24, dtype=torch.double)
    got, expected = importance(weights, images.double(), heads, kind), [torch.zeros_like(w) for w in weights]
    for image in images.double():
        inputs = [w.clone().requires_grad_() for w in weights]
        logits = cosine_logits(embed(inputs, image[None]), heads, paper.SCALE)[:, 0]
        values = logits.log_softmax(-1) if kind == "fisher" else logits.square().sum(-1, keepdim=True)
        chance = logits.softmax(-1).detach() if kind == "fisher" else torch.ones_like(values)
        for m in range(2):
            for c in range(values.shape[1]):
                gradients = torch.autograd.grad(values[m, c], inputs, retain_graph=True)
                for e, g in zip(expected, gradients, strict=True):
                    e += chance[m, c] * g.square() / len(images)
    assert near(got, expected, rtol=1e-8, atol=1e-14)


def test_importance_is_one_on_average_in_every_layer():
    for w in per_layer([w.square() for w in lists([0, 1])[0]]):
        assert torch.allclose(w.flatten(1).mean(1), torch.ones(2), atol=1e-5)
    for kind in ("fisher", "mas"):
        assert all(w.mean().item() == pytest.approx(1, abs=1e-4) for w in base_importance(kind))


def test_each_task_adds_as_much_importance_as_the_base_classes(world):
    arms = [HELD, Arm(), replace(HELD, kind="mas")]
    omega, labels = paper._base_importance(arms), world.labels(world.support)
    fast = lists(arms)[0]
    heads = class_means(features(fast, world.support[0]), labels)
    more = paper._more_importance(omega, fast, world.support[0], heads, arms)
    means = torch.stack([o.flatten(1).mean(1) for o in more])
    assert torch.allclose(means, torch.tensor([2.0, 0.0, 2.0]).expand_as(means), atol=1e-3)


def test_the_fisher_of_fitted_images_is_not_nothing(world):
    """With true labels it would vanish as the likelihood nears one; the scale-free importance still has an order."""
    fast, heads = fit([Arm(lr=0.05)], world, steps=30)
    f = importance(fast, world.support[0], heads[:, 0])
    assert all(torch.isfinite(w).all() and w.max() > 0 for w in per_layer(f))


# ---- step 1


def test_without_penalties_it_is_sequential_fine_tuning(world):
    """Against torch's own SGD with momentum."""
    fast, heads = fit([Arm(lr=0.02)], world)
    labels = world.labels(world.support)
    inputs = [w.clone().requires_grad_() for w in stack(paper.base(), 1)]
    head = class_means(features(stack(paper.base(), 1), world.support[0]), labels).requires_grad_()
    sgd = torch.optim.SGD([{"params": inputs, "lr": 0.02}, {"params": [head], "lr": Arm.lr}], momentum=paper.MOMENTUM)
    for _ in range(5):
        sgd.zero_grad()
        F.cross_entropy(cosine_logits(embed(inputs, world.support[0]), head, paper.SCALE)[0], labels).backward()
        sgd.step()
    assert near(fast, inputs, atol=1e-5)
    assert torch.allclose(heads[:, 0], head, atol=1e-5)


def test_penalties_without_end_put_each_weight_on_its_target(world):
    arms = [Arm(protect=1e9, pull=1e9, kind="fisher")]
    fast, slow = lists(arms)
    omega = [torch.zeros_like(f) for f in fast]
    for o in omega:
        o.view(-1)[0] = 1.0  # the only weight that old tasks need
    after, _ = fit(arms, world, fast=fast, slow=slow, omega=omega)
    for a, f, s in zip(after, fast, slow, strict=True):
        assert a.view(-1)[0] == pytest.approx(f.view(-1)[0].item(), abs=1e-4)
        assert torch.allclose(a.view(-1)[1:], s.view(-1)[1:], atol=1e-4)


def test_the_steps_come_to_rest_where_the_objective_does():
    """On g = θ - 1 with one penalty c (θ - 3)², half: θ* = (1 + 3c)/(1 + c)."""
    for strength in (0.1, 1.0, 10.0):
        theta, velocity = [torch.zeros(1, 1)], [torch.zeros(1, 1)]
        hold = [[(torch.full((1, 1), strength), torch.full((1, 1), 3.0))]]
        for _ in range(2000):
            theta = fast_step(theta, velocity, [theta[0] - 1], [torch.full((1, 1), 0.02)], hold)
        assert theta[0].item() == pytest.approx((1 + 3 * strength) / (1 + strength), abs=1e-3)


def test_a_frozen_embedding_does_not_move_and_its_heads_do(world):
    fast, heads = fit([Arm(lr=0.0)], world)
    assert near(fast, stack(paper.base(), 1))
    assert not torch.allclose(heads, first_heads(stack(paper.base(), 1), world)[:, :1])


# ---- step 2


def test_without_guard_the_slow_weights_are_an_exponentially_weighted_mean():
    rate, arm = 0.3, [Arm(slow=0.3)]
    base = stack(paper.base(), 1)
    torch.manual_seed(3)
    seen = [[b + torch.randn_like(b) for b in base] for _ in range(5)]
    slow = base
    for fast in seen:
        slow = consolidate_slow(fast, slow, [torch.rand_like(s) for s in slow], arm)
    last = len(seen) - 1
    for i, s in enumerate(slow):
        weighted = sum(rate * (1 - rate) ** (last - t) * seen[t][i] for t in range(len(seen)))
        assert torch.allclose(s, weighted + (1 - rate) ** len(seen) * base[i], atol=1e-5)


def test_rate_one_copies_and_rate_zero_freezes():
    arms = [Arm(slow=1.0), Arm(slow=0.0)]
    fast, slow = lists(arms)
    after = consolidate_slow(fast, slow, fast, arms)
    assert near([a[0] for a in after], [f[0] for f in fast], atol=1e-6)
    assert near([a[1] for a in after], [s[1] for s in slow])


def test_the_guard_slows_what_is_settled():
    arms = [Arm(slow=0.5, guard=1.0)]
    fast, slow = [torch.ones(1, 2)], [torch.zeros(1, 2)]
    after = consolidate_slow(fast, slow, [torch.tensor([[0.0, 4.0]])], arms)
    assert after[0].tolist() == [[0.5, pytest.approx(0.1)]]


# ---- both sets


def test_each_set_needs_the_other(world):
    """A pull that does nothing would leave an EMA teacher; slow weights that stay put would leave EWC."""
    arms = [HELD, replace(HELD, pull=0.0), replace(HELD, slow=0.0, guard=0.0)]
    trace = sequence(world, arms, TINY)
    assert len({round(v, 4) for v in trace[paper.MOVED].tolist()}) == 3


def test_old_tasks_are_answered_by_the_fast_weights_and_new_ones_by_the_slow(world):
    arms = [replace(HELD, slow=0.0, pull=0.0), Arm(slow=0.0, restart=True)]
    trace = sequence(world, arms, replace(TINY, steps=15))
    assert trace["curves"][1].std(dim=1).tolist() == [0, 0]  # frozen slow weights: the same on new classes throughout
    assert trace[paper.MOVED][0] > 1  # while the fast ones learn
    assert trace[paper.MOVED][1] == 0  # Reptile with rate 0 throws all away, and answers with the base


def test_one_set_of_weights_answers_both():
    trace = sequence(make_world(TINY, 5), [Arm()], replace(TINY, steps=10))
    assert trace[NEW].tolist() == trace[paper.NEW_FAST].tolist()


# ---- fairness


def test_joint_training_sees_the_same_images_as_often(world, monkeypatch):
    shown = {}

    def watch(name):
        def spy(fast, slow, omega, heads, batches, arms):
            batches = list(batches)
            shown.setdefault(name, []).extend(image for images, _, _ in batches for image in images)
            return fast, heads

        monkeypatch.setattr(paper, "consolidate_fast", spy)

    watch("sequence")
    sequence(world, [Arm()], TINY)
    watch("joint")
    together(world, [Arm()], TINY, 5)
    counts = {}
    for name, images in shown.items():
        for image in images:
            counts.setdefault(image.numpy().tobytes(), dict.fromkeys(shown, 0))[name] += 1
    assert len(counts) == TINY.tasks * 25
    assert all(c == {"sequence": TINY.steps, "joint": TINY.steps} for c in counts.values())
    tested = {image.numpy().tobytes() for image in (*world.query.flatten(0, 1), *world.novel)}
    assert not tested & set(counts)  # query and held-out images are never trained on


def test_joint_images_meet_the_head_of_their_task(world):
    """A wrong head would make them no better than chance on their own support images."""
    settings = replace(TINY, steps=0)
    order = []
    original = paper.consolidate_fast
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paper, "consolidate_fast", lambda *a: order.extend(b := list(a[4])) or original(*a[:4], b, a[5]))
        together(world, [Arm()], replace(settings, steps=2), 5)
    known = {image.numpy().tobytes(): (t, i % 5) for t in range(3) for i, image in enumerate(world.support[t])}
    for images, labels, task in order:
        assert [known[i.numpy().tobytes()] for i in images] == list(zip(task.tolist(), labels.tolist(), strict=True))


def test_more_shots_add_images_to_the_same_tasks(world):
    more = make_world(TINY, 5, shots=20)
    assert torch.equal(more.support[:, :25], world.support)
    assert torch.equal(more.query, world.query)


def test_classes_of_stream_and_held_out_alphabets_are_apart():
    numbers = [set(range(8))] + [set(range(8 + 10 * s, 18 + 10 * s)) for s in (0, 1, 1000)]
    assert sum(map(len, numbers)) == len(set.union(*numbers))
    episodes = make_world(TINY, 3).episodes
    assert all(len(set(e.flatten().tolist())) == 100 for e in episodes)


def test_an_arm_learns_in_a_stack_as_it_does_alone(world):
    arms = [HELD, Arm(), Arm(slow=0.2, restart=True)]
    side_by_side = sequence(world, arms, TINY)
    for i, arm in enumerate(arms):
        alone = sequence(world, [arm], TINY)
        assert alone[paper.MOVED].item() == pytest.approx(side_by_side[paper.MOVED][i].item(), rel=1e-3)


def test_a_run_is_a_pure_function_of_its_seed():
    tiny = replace(QUICKEST, more_shots=(1,), rates=(0.5,), arms={FINE: Arm(), TSC: HELD})
    one, two = (PAPER.run(tiny, 7) for _ in range(2))
    assert one.scores == two.scores
    assert one.curves == two.curves
    assert PAPER.run(tiny, 8).scores != one.scores


def test_all_arms_take_as_many_updates_on_as_many_images():
    full = replace(QUICKEST, arms=PAPER.profiles["full"].arms, more_shots=(20,))
    scores = tidy_scores({seed: PAPER.run(full, seed) for seed in (0, 1)})
    table = scores[scores["seed"] == 0].pivot(index="method", columns="metric", values="value")
    alike = [FINE, EWC, REPTILE, TSC, FROZEN, JOINT, L2SP]
    assert table.loc[alike, [paper.UPDATES, paper.IMAGES]].nunique().tolist() == [1, 1]
    assert table.loc[MEANS, [OLD, NEW]].notna().all()
    assert [f.key for f in judge(COMPARISONS, scores)] == [c.key for c in COMPARISONS]


def test_every_claim_of_the_dossier_is_there():
    assert {claim.key[:2] for claim in COMPARISONS} == {"C1", "C2", "C3", "C4", "C5"}
    assert {c.worse for c in COMPARISONS if c.key.startswith("C1")} == {JOINT, L2SP}
    assert all(c.everywhere == paper.AXES for c in COMPARISONS if c.key.startswith("C4"))


def test_tuning_tries_nine_candidates_for_every_method():
    tried = paper.tune(QUICKEST, 1000)
    assert {len(candidates) for candidates in tried.values()} == {9}
    full = PAPER.profiles["full"]
    for name, candidates in tried.items():
        assert (full.arms | full.joint)[name] in candidates
