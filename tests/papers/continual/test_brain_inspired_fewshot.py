"""Two sets of weights, what holds each and how they meet; how the experiment is wired; the probe."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stages import zoo
from stages.evidence import check_probe, recorded
from stages.models import Conv4, cosine_logits
from stages.papers.continual.brain_inspired_fewshot import (
    PAPER,
    Strengths,
    TwoSets,
    class_means,
    consolidate_fast,
    consolidate_slow,
    embed,
    experiment,
    fast_step,
    fisher,
    learn_task,
    per_layer,
    scores,
    ties,
    training,
)
from stages.papers.continual.brain_inspired_fewshot.experiment import (
    ACCURACY,
    APART,
    AXES,
    BY_TASK,
    EWC,
    FINE,
    FORGETTING,
    GENTLE,
    JOINT,
    L2SP,
    LEARNT,
    MEANS,
    MOVED,
    NEW,
    NO_PULL,
    OLD,
    SLOPE,
    TSC,
    UNNAMED,
    knob,
)
from stages.papers.continual.brain_inspired_fewshot.training import (
    Arm,
    Base,
    FewShotStream,
    Learnt,
    Snapshot,
    draw_stream,
    learn,
    load_base,
)
from stages.worlds import glyphs

TINY = experiment.Settings(tasks=3, steps=7, episodes=6, base_tasks=2, rates=(0.2, 0.5))
HELD = Strengths(protect=0.1, pull=0.1, slow=0.2, guard=1.0)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Conv4(image_size=8, width=8, classes=1).layers


@pytest.fixture
def base(network):
    """Random weights and importances; what is tested with it holds for any."""
    chance = torch.Generator().manual_seed(1)
    weights = {name: p.detach().clone() for name, p in network.named_parameters()}
    importance = {name: torch.rand(w.shape, generator=chance) for name, w in weights.items()}
    return Base(network, weights, per_layer(importance))


@pytest.fixture(scope="module")
def stream():
    """Noise of 8x8 pixels: three tasks, and twelve held-out classes."""
    chance = torch.Generator().manual_seed(2)
    episodes = torch.stack(
        [torch.randperm(12, generator=chance)[:5, None] * 20 + torch.randperm(20, generator=chance) for _ in range(6)]
    )
    images = [torch.rand(*shape, 1, 8, 8, generator=chance) for shape in ((3, 25), (3, 15), (240,))]
    return FewShotStream(*images, episodes)


def other(weights, seed=3, size=0.1):
    chance = torch.Generator().manual_seed(seed)
    return {name: w + size * torch.randn(w.shape, generator=chance) for name, w in weights.items()}


def near(one, two, **close):
    assert one.keys() == two.keys()
    return all(torch.allclose(one[name], two[name], **close) for name in one)


def two_sets(base):
    """Sets of which every part differs from every other."""
    parts = [other(base.weights, seed) for seed in (4, 5)]
    parts += [{name: w.abs() for name, w in other(base.weights, seed).items()} for seed in (6, 7, 8)]
    return TwoSets(*parts)


# ---- what the method is


def test_importance_is_the_expected_squared_gradient_of_single_images(base, stream):
    weights = {name: w.double() for name, w in base.weights.items()}
    images, head = stream.support[0, :4].double(), torch.randn(5, 8, dtype=torch.double)
    network = Conv4(image_size=8, width=8, classes=1).layers.double()
    expected = {name: torch.zeros_like(w) for name, w in weights.items()}
    for image in images:
        leaves = {name: w.clone().requires_grad_() for name, w in weights.items()}
        log_p = cosine_logits(embed(network, leaves, image[None]), head, 10.0).log_softmax(-1)[0]
        for c in range(5):
            for name, g in zip(
                leaves, torch.autograd.grad(log_p[c], [*leaves.values()], retain_graph=True), strict=True
            ):
                expected[name] += log_p[c].exp().detach() * g.square() / 4
    assert near(fisher(network, weights, images, head), expected, rtol=1e-6, atol=1e-14)
    scaled = per_layer(expected)
    for name, w in scaled.items():
        assert w.mean().item() == pytest.approx(1)
        assert torch.allclose(w / w.max(), expected[name] / expected[name].max())


def test_heads_start_at_the_mean_directions(base, stream):
    labels = torch.arange(25) % 5
    z = F.normalize(embed(base.network, base.weights, stream.support[1]), dim=-1)
    expected = torch.stack([F.normalize(z[c::5].mean(0), dim=0) for c in range(5)])
    assert torch.allclose(class_means(base.network, base.weights, stream.support[1], labels), expected, atol=1e-6)
    heads = training.first_heads(base, stream)
    assert heads.shape == (3, 5, 8)
    assert torch.allclose(heads[1], expected, atol=1e-6)


def test_without_penalties_step_1_is_sgd_with_momentum_in_which_each_image_meets_its_own_head(base, stream):
    chance = torch.Generator().manual_seed(9)
    images = stream.support.flatten(0, 1)
    rows = torch.randint(75, (6, 10), generator=chance)
    batches = [(images[r], torch.arange(75)[r] % 5, torch.arange(75)[r] // 25) for r in rows]
    heads = torch.randn(3, 5, 8, generator=chance)
    sets = replace(two_sets(base), fast=base.weights)
    fast, got = consolidate_fast(base.network, sets, heads, batches, Strengths(), 0.02, 0.07)
    leaves = {name: w.clone().requires_grad_() for name, w in base.weights.items()}
    own = heads.clone().requires_grad_()
    sgd = torch.optim.SGD([{"params": [*leaves.values()], "lr": 0.02}, {"params": [own], "lr": 0.07}], momentum=0.9)
    for images, labels, task in batches:
        z = F.normalize(embed(base.network, leaves, images), dim=-1)
        logits = 10 * torch.stack([F.normalize(own[t], dim=-1) @ v for v, t in zip(z, task, strict=True)])
        sgd.zero_grad()
        F.cross_entropy(logits, labels).backward()
        sgd.step()
    assert near(fast, leaves, atol=1e-5)
    assert torch.allclose(got, own, atol=1e-5)
    assert not torch.allclose(got, heads, atol=1e-3)


def test_fast_weights_are_held_and_pulled_at_every_step_and_slow_ones_follow_from_the_first_task_on(base, stream):
    sets = two_sets(base)
    images, labels, task = stream.support[0], torch.arange(25) % 5, torch.zeros(25, dtype=torch.long)
    heads = torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(9))
    strengths = Strengths(protect=2.0, pull=3.0)
    got, _ = consolidate_fast(base.network, sets, heads, [(images, labels, task)] * 3, strengths, 0.05, 0.0)
    now, velocity = sets.fast, dict.fromkeys(sets.fast, 0)
    for _ in range(3):
        leaves = {name: w.clone().requires_grad_() for name, w in now.items()}
        loss = F.cross_entropy(cosine_logits(embed(base.network, leaves, images), heads[0], 10.0), labels)
        now = {}
        for name, g in zip(leaves, torch.autograd.grad(loss, [*leaves.values()]), strict=True):
            omega = sets.omega[name]
            protect, pull = 0.5 * 2 * omega, 0.5 * 3 * (1 - omega / omega.max())  # 0.05 / (1 - 0.9) = 0.5
            velocity[name] = 0.9 * velocity[name] + g
            moved = leaves[name].detach() - 0.05 * velocity[name]
            now[name] = (moved + protect * sets.fast[name] + pull * sets.slow[name]) / (1 + protect + pull)
    assert near(got, now, atol=1e-5)
    begun = TwoSets.start(base.weights, base.importance)  # nothing has gone any way yet
    for name, w in consolidate_slow(got, begun, Strengths(slow=0.3, guard=2.0)).items():
        old = base.weights[name]
        assert torch.allclose(w, old + 0.3 * (got[name] - old) / (1 + 2 * base.importance[name]), atol=1e-6)


def test_penalties_hold_what_old_tasks_need_and_pull_the_rest(base):
    sets = two_sets(base)
    held = ties(sets, Strengths(protect=2.0, pull=3.0))
    for name, ((protect, old), (pull, slow)) in held.items():
        omega = sets.omega[name]
        assert torch.allclose(protect, 2 * omega)
        assert torch.allclose(pull, 3 * (1 - omega / omega.max()))
        assert torch.equal(old, sets.fast[name])
        assert torch.equal(slow, sets.slow[name])
    nothing = {name: torch.zeros_like(w) for name, w in base.weights.items()}
    for _, (pull, _) in ties(replace(sets, omega=nothing), Strengths(pull=3.0)).values():
        assert (pull == 3).all()  # nothing is needed: the pull holds all


def test_steps_come_to_rest_where_the_objective_does_and_endless_penalties_at_their_target():
    """On g = θ - 1 with penalties c (θ - 3)²/2 and d (θ + 2)²/2: θ* = (1 + 3c - 2d)/(1 + c + d)."""
    for c, d in ((0.1, 0.0), (10.0, 0.5), (1e9, 0.0)):
        theta, velocity = torch.zeros(1), torch.zeros(1)
        held = [(torch.tensor([c]), torch.tensor([3.0])), (torch.tensor([d]), torch.tensor([-2.0]))]
        for _ in range(2000):
            theta, velocity = fast_step(theta, velocity, theta - 1, 0.02, held)
        assert theta.item() == pytest.approx((1 + 3 * c - 2 * d) / (1 + c + d), abs=1e-3)
    once, velocity = fast_step(torch.zeros(1), torch.ones(1), torch.ones(1), 0.1, [(torch.ones(1), torch.ones(1))])
    assert velocity.item() == pytest.approx(1.9)
    assert once.item() == pytest.approx((-0.19 + 1.0) / (1 + 1.0))


def test_slow_weights_average_the_fast_ones_and_settled_ones_follow_less(base):
    sets = two_sets(base)
    fast = other(base.weights, 10)
    got = consolidate_slow(fast, sets, Strengths(slow=0.3, guard=2.0))
    for name, s in sets.slow.items():
        settled = sets.base[name] + sets.way[name] / sets.way[name].mean()
        assert torch.allclose(got[name], s + 0.3 * (fast[name] - s) / (1 + 2 * settled), atol=1e-6)
    assert near(consolidate_slow(fast, sets, Strengths()), fast, atol=1e-6)  # one set
    assert near(consolidate_slow(fast, sets, Strengths(slow=0.0, guard=2.0)), sets.slow)
    seen = [other(base.weights, seed) for seed in range(20, 25)]
    now = sets
    for fast in seen:
        now = replace(now, slow=consolidate_slow(fast, now, Strengths(slow=0.3)))
    for name, s in now.slow.items():  # without a guard, an exponentially weighted mean
        mean = sum(0.3 * 0.7 ** (4 - t) * fast[name] for t, fast in enumerate(seen))
        assert torch.allclose(s, mean + 0.7**5 * sets.slow[name], atol=1e-5)


def test_a_task_starts_at_class_means_and_updates_both_sets_and_both_memories(base, stream):
    sets = two_sets(base)
    images, labels = stream.support[0], torch.arange(25) % 5
    now, head = learn_task(base.network, sets, images, labels, HELD, 4, 0.05, 0.03)
    start = class_means(base.network, sets.fast, images, labels)[None]
    batches = [(images, labels, torch.zeros(25, dtype=torch.long))] * 4
    fast, heads = consolidate_fast(base.network, sets, start, batches, HELD, 0.05, 0.03)
    assert near(now.fast, fast, atol=1e-6)
    assert torch.allclose(head, heads[0], atol=1e-6)
    assert near(now.slow, consolidate_slow(fast, sets, HELD), atol=1e-6)
    new = per_layer(fisher(base.network, fast, images, heads[0]))
    for name in fast:
        assert torch.allclose(now.omega[name], sets.omega[name] + new[name], rtol=1e-3, atol=1e-4)
        assert torch.allclose(now.way[name], sets.way[name] + (now.slow[name] - sets.slow[name]).abs(), atol=1e-6)
        assert torch.equal(now.base[name], sets.base[name])
    begun = TwoSets.start(base.weights, base.importance)
    assert near(begun.fast, base.weights)
    assert near(begun.slow, base.weights)
    assert near(begun.omega, base.importance)
    assert near(begun.base, base.importance)
    assert all((w == 0).all() for w in begun.way.values())


# ---- the stream and the learners


def test_alphabets_images_and_episodes_are_apart_and_a_seeds_own(monkeypatch):
    asked, written = [], []

    def characters(alphabets, each):
        asked.append([*alphabets])
        return Known(asked[-1], each)

    class Known(list):
        def __init__(self, alphabets, each):
            super().__init__((a, i) for a in alphabets for i in range(each))

    def write(known, labels, seed, *, unsteady, stream, device):
        written.append((known, labels, seed, unsteady, stream))
        alphabet, number = np.array(known)[labels.numpy()].T
        values = torch.tensor(1000 * alphabet + 10 * number).float()
        return (values + torch.arange(len(labels)) / 1000).view(-1, 1, 1, 1)

    monkeypatch.setattr(training.glyphs, "characters", characters)
    monkeypatch.setattr(training.glyphs, "write", write)
    drawn = {seed: draw_stream(8, 5, 400, seed) for seed in (0, 1, 1000)}
    numbers = [set(range(8))] + [set(a) for a in asked]  # the first eight are the base network's
    assert [len(a) for a in numbers[1:]] == [5] * 6
    assert sum(map(len, numbers)) == len(set.union(*numbers))
    assert {(seed, unsteady, stream) for _, _, seed, unsteady, stream in written} == {
        (seed, 1.5, (name,)) for seed in drawn for name in ("support", "query", "novel")
    }
    for seed, made in drawn.items():
        assert made.support.shape[:2] == (8, 25)
        assert made.query.shape[:2] == (8, 75)
        kinds = (made.support.flatten(1) / 10).floor()  # alphabet and character of each image
        assert torch.equal(kinds, kinds[:, :5].repeat(1, 5))  # by copies, then classes
        assert torch.equal((made.query.flatten(1) / 10).floor(), kinds[:, :5].repeat(1, 15))
        assert len(kinds.unique()) == 40  # no class is in two tasks
        assert set((kinds // 100).unique().int().tolist()) == set(range(8 + 10 * seed, 13 + 10 * seed))
        held_out = (made.novel.flatten() / 10).floor()[made.episodes]
        assert set((held_out // 100).unique().int().tolist()) <= set(range(13 + 10 * seed, 18 + 10 * seed))
        assert (held_out == held_out[:, :, :1]).all()  # an episode has five classes of 20 images
        assert all(len(set(e.flatten().tolist())) == 100 and len(e[:, 0].unique()) == 5 for e in made.episodes)
        assert len(held_out.unique()) == 40
        assert len((made.episodes[:, :, 0] % 20).unique()) == 20  # any image of a class can be an example
    assert not torch.equal(drawn[0].episodes, drawn[1].episodes)
    order = [(made.support[:, :5].flatten(1) / 10).floor() - 100 * s for s, made in ((8, drawn[0]), (18, drawn[1]))]
    assert all(set(kinds.flatten().tolist()) == {100 * a + i for a in range(5) for i in range(8)} for kinds in order)
    assert not torch.equal(*order)
    few = draw_stream(3, 2, 1, 0)
    assert torch.equal((few.support.flatten(1) / 10).floor()[:, :5], (drawn[0].support.flatten(1) / 10).floor()[:3, :5])
    assert len(few.novel) == 100  # images that no episode asks for are left out
    with pytest.raises(ValueError, match="40"):
        draw_stream(9, 5, 1, 0)


def test_the_base_network_is_the_zoos_and_its_importance_that_of_its_own_characters(monkeypatch):
    base = load_base(2)
    for name, p in zoo.load("glyph_conv4").layers.named_parameters():
        assert torch.equal(base.weights[name], p)
    known = glyphs.characters(range(8), each=8)
    labels = torch.arange(25) % 5
    total = dict.fromkeys(base.weights, 0)
    for task in range(2):
        images = glyphs.write(known, 5 * task + labels, 0, unsteady=1.5, stream=("importance",))
        head = class_means(base.network, base.weights, images, labels)
        for name, f in fisher(base.network, base.weights, images, head).items():
            total[name] = total[name] + f
    assert near(base.importance, per_layer(total), rtol=1e-3, atol=1e-4)


def test_tasks_come_in_sequence_with_what_the_sets_remember(base, stream, monkeypatch):
    calls = []

    def learn_task(network, sets, images, labels, *how):
        calls.append((sets, images, labels, how))
        made = two_sets(base)
        marked = replace(made, fast={"n": torch.tensor(len(calls))}, slow={"n": torch.tensor(-len(calls))})
        return marked, torch.full((5, 8), len(calls))

    monkeypatch.setattr(training, "learn_task", learn_task)
    left = learn(base, stream, Arm(HELD, lr=0.3), 7, seed=0)
    assert [call[0].fast for call in calls[1:]] == [{"n": torch.tensor(n)} for n in (1, 2)]
    begun = calls[0][0]
    assert begun.fast is base.weights
    assert begun.omega is base.importance
    for call, images in zip(calls, stream.support, strict=True):
        assert torch.equal(call[1], images)
        assert torch.equal(call[2], torch.arange(25) % 5)
        assert call[3] == (HELD, 7, 0.3, 0.05)
    assert [s.tasks for s in left.snapshots] == [0, 1, 2, 3]
    assert left.snapshots[0].fast is left.snapshots[0].slow is base.weights
    assert [(int(s.fast["n"]), int(s.slow["n"])) for s in left.snapshots[1:]] == [(1, -1), (2, -2), (3, -3)]
    assert left.last is left.snapshots[3]
    assert left.heads[:, 0, 0].tolist() == [1, 2, 3]


def test_joint_training_sees_the_same_images_as_often_and_the_frozen_network_none(base, stream, monkeypatch):
    calls = []

    def consolidate_fast(*given):
        calls.append(given)
        return {"n": torch.tensor(1)}, torch.ones(3, 5, 8)

    monkeypatch.setattr(training, "consolidate_fast", consolidate_fast)
    left = learn(base, stream, Arm(HELD, lr=0.3, way="together"), 7, seed=4)
    ((network, sets, heads, batches, *how),) = calls
    assert network is base.network
    assert sets.fast is sets.slow is base.weights
    assert all((w == 0).all() for w in sets.omega.values())
    assert torch.equal(heads, training.first_heads(base, stream))
    assert how == [HELD, 0.3, 0.05]
    assert len(batches) == 3 * 7  # as many updates as in sequence
    assert {len(images) for images, _, _ in batches} == {25}
    known = {image.numpy().tobytes(): (t, i % 5) for t in range(3) for i, image in enumerate(stream.support[t])}
    counts = dict.fromkeys(known, 0)
    for images, labels, task in batches:
        assert [known[i.numpy().tobytes()] for i in images] == list(zip(task.tolist(), labels.tolist(), strict=True))
        assert len(task.unique()) > 1
        for image in images:
            counts[image.numpy().tobytes()] += 1
    assert set(counts.values()) == {7}
    rows = [{image.numpy().tobytes() for image in part} for part in (stream.support.flatten(0, 1), stream.query[0])]
    assert not rows[0] & rows[1]
    assert left.snapshots == (Snapshot(3, {"n": torch.tensor(1)}, {"n": torch.tensor(1)}),)
    assert torch.equal(left.heads, torch.ones(3, 5, 8))
    same, again = (training.shuffled(stream, 7, seed) for seed in (4, 5))
    assert all(torch.equal(one[0], two[0]) for one, two in zip(batches, same, strict=True))
    assert not torch.equal(again[0][0], batches[0][0])  # another seed, another order
    passes = torch.stack([images for images, _, _ in batches]).view(7, 75, -1)
    assert all(len(shown.unique(dim=0)) == 75 for shown in passes)  # pass after pass,
    assert len(passes[:, 0].unique(dim=0)) > 1  # each in its own order
    none = learn(base, stream, Arm(HELD, way="not at all"), 7, seed=4)
    assert len(calls) == 1
    assert none.snapshots == (Snapshot(3, base.weights, base.weights),)
    assert torch.equal(none.heads, training.first_heads(base, stream))


# ---- the wiring of run


class Reader(nn.Module):
    """Reads an image's class where the weight is at least the image's threshold, and the next class where not.

    An image is its class, a task and a threshold.
    """

    def __init__(self):
        super().__init__()
        self.level = nn.Parameter(torch.ones(1))

    def forward(self, images):
        kind, task, threshold = images[:, 0, 0, :3].T
        read = (kind + (self.level < threshold)).long() % 6
        return torch.cat([F.one_hot(read, 6), 0.5 * F.one_hot(task.long(), 3)], 1)


def sheet(rows):
    return torch.tensor([*rows]).float()[:, None, None]


def toy_stream():
    """Query images of which 20, 40, ... % of task 0 are read at level 0, 1, ..., of task 1 at level 1, 2, ...; a third
    of every task look like task 0. Class c of task t is written as c + t. Held-out images are read from level 1 on,
    20 % more a level.
    """
    query = [sheet(((i + t) % 5, 0 if i < 5 else t, i // 3 + t) for i in range(15)) for t in range(3)]
    support = torch.zeros(3, 25, 1, 1, 3)
    novel = sheet((c, 0, 0 if i < 5 else 1 + (i - 5) // 3) for c in range(6) for i in range(20))
    rows = torch.arange(120).view(6, 20)
    return FewShotStream(support, torch.stack(query), novel, torch.stack([rows[:5], rows[[5, 0, 1, 2, 3]]]))


def level(value):
    return {"level": torch.tensor([float(value)])}


def planted(number, way):
    """The levels of the fast and the slow weights of arm `number`, after 0, 1, 2, 3 tasks."""
    fast = (1, 4, 2 + number % 2, 1 + number % 4)
    slow = (1, 4, 1 + number % 3, 2 + number % 2)
    if way == "in sequence":
        return fast, slow
    return (fast[3],), (slow[3],)


ARMS = {
    TSC: Arm(Strengths(0.1, 0.03, 0.2, 1.0), 0.05, "in sequence"),
    NO_PULL: Arm(Strengths(0.1, 0.0, 0.2, 1.0), 0.05, "in sequence"),
    FINE: Arm(Strengths(0.0, 0.0, 1.0, 0.0), 0.05, "in sequence"),
    GENTLE: Arm(Strengths(0.0, 0.0, 1.0, 0.0), 0.0005, "in sequence"),
    EWC: Arm(Strengths(0.3, 0.0, 1.0, 0.0), 0.05, "in sequence"),
    JOINT: Arm(Strengths(0.0, 0.0, 1.0, 0.0), 0.01, "together"),
    L2SP: Arm(Strengths(0.0, 0.01, 1.0, 0.0), 0.05, "together"),
    MEANS: Arm(Strengths(0.0, 0.0, 1.0, 0.0), 0.05, "not at all"),
    "TSC-style, η = 0.2, λ = 0": Arm(Strengths(0.0, 0.03, 0.2, 1.0), 0.05, "in sequence"),
    "TSC-style, η = 0.5, λ as chosen": Arm(Strengths(0.1, 0.03, 0.5, 1.0), 0.05, "in sequence"),
    "TSC-style, η = 0.5, λ = 0": Arm(Strengths(0.0, 0.03, 0.5, 1.0), 0.05, "in sequence"),
}


@pytest.fixture
def wired(monkeypatch):
    """Run the experiment with planted results in the learners' place."""
    base = Base(Reader(), level(2), level(1))
    heads = [torch.cat([torch.eye(6)[:5].roll(-t, 0), 0.5 * torch.eye(3)[t].expand(5, 3)], 1) for t in range(3)]
    made = SimpleNamespace(learnt=[], based=[], drawn=[], streams={}, base=base)

    def load_base(*given):
        made.based.append(given)
        return base

    def draw(*given):
        made.drawn.append(given)
        return made.streams.setdefault(given[-1], toy_stream())

    def learn(*given):
        made.learnt.append(given)
        number = len(made.learnt) - 1
        levels = planted(number, given[2].way)
        tasks = range(4) if given[2].way == "in sequence" else [3]
        parts = zip(tasks, *levels, strict=True)
        return Learnt(tuple(Snapshot(t, level(f), level(s)) for t, f, s in parts), torch.stack(heads))

    for name, stand_in in (("load_base", load_base), ("draw_stream", draw), ("learn", learn)):
        monkeypatch.setattr(training, name, stand_in)
    made.outcome = PAPER.run(TINY, 6)
    return made


def test_every_arm_learns_the_seeds_own_stream_from_one_base_with_its_own_strengths(wired):
    assert wired.based == [(2,)]
    assert wired.drawn == [(3, 5, 6, 6)]
    assert [given[2] for given in wired.learnt] == [*ARMS.values()]
    for base, stream, _, steps, seed in wired.learnt:
        assert base is wired.base
        assert stream is wired.streams[6]
        assert (steps, seed) == (7, 6)
    assert list(experiment.arms(TINY)) == [*ARMS]
    assert experiment.arms(replace(TINY, only=(TSC, JOINT), rates=())) == {TSC: ARMS[TSC], JOINT: ARMS[JOINT]}
    assert knob(0.2, True) == TSC
    full, quick = PAPER.settings("full"), PAPER.settings("quick")
    assert (full.tasks, full.shots, full.steps, full.episodes, full.base_tasks) == (8, 5, 40, 400, 12)
    assert (full.rates, full.only) == ((0.0, 0.2, 0.5, 1.0), ())
    assert (quick.rates, quick.only) == ((), (TSC, GENTLE, JOINT))


def test_scores_are_those_worked_out_by_hand(wired):
    def old(task, level):
        return 20 * min(max(level + 1 - task, 0), 5)

    def new(level):
        return 20 * min(level, 5)

    got = {(row["method"], row["metric"]): row["value"] for row in wired.outcome.scores}
    curves = {(row["method"], row["name"]): (row["x"], row["y"]) for row in wired.outcome.curves}
    expected, drawn = {}, {}
    for number, (name, arm) in enumerate(ARMS.items()):
        fast, slow = planted(number, arm.way)
        final = [old(t, fast[-1]) for t in range(3)]
        expected[name, OLD] = np.mean(final)
        expected[name, NEW] = new(slow[-1])
        expected[name, APART] = new(slow[-1]) - new(fast[-1])
        expected[name, MOVED] = 100 * abs(fast[-1] - 2) / 2
        alike = [[min(old(t, fast[-1]) * 3 // 20, 15) for t in (1, 2)], [0, 0]]  # images read, of 15
        right = [final[0] * 3 // 20] + [max(n - 5, 0) for n in alike[0]]  # the first five look like task 0
        expected[name, UNNAMED] = 100 * sum(right) / 45
        drawn[name, BY_TASK] = ([1, 2, 3], final)
        if arm.way == "in sequence":
            first = [old(t, fast[t + 1]) for t in range(3)]
            best = [max(old(t, f) for f in fast[t + 1 :]) for t in range(2)]
            expected[name, FORGETTING] = np.mean([b - f for b, f in zip(best, final[:2], strict=True)])
            expected[name, LEARNT] = np.mean(first)
            line = [new(s) for s in slow]  # least squares on 0, 1, 2, 3
            expected[name, SLOPE] = (-1.5 * line[0] - 0.5 * line[1] + 0.5 * line[2] + 1.5 * line[3]) / 5
            so_far = [np.mean([old(t, f) for t in range(n + 1)]) for n, f in enumerate(fast[1:])]
            drawn[name, AXES[0]] = ([1, 2, 3], so_far)
            drawn[name, AXES[1]] = ([0, 1, 2, 3], line)
    assert got == pytest.approx(expected, abs=1e-3)
    assert curves.keys() == drawn.keys()
    for key, (x, y) in drawn.items():
        assert curves[key][0] == x
        assert curves[key][1] == pytest.approx(y, abs=1e-3)
    assert (got[TSC, OLD], got[TSC, NEW], got[TSC, UNNAMED]) == pytest.approx((20, 40, 100 * 6 / 45))
    assert (got[TSC, FORGETTING], got[TSC, LEARNT]) == pytest.approx((40, 140 / 3))
    assert len({got[name, OLD] for name in ARMS}) == 4


def test_few_shot_accuracy_is_that_of_nearest_mean_directions_and_distance_is_relative(stream):
    chance = torch.Generator().manual_seed(11)
    kinds = torch.randn(12, 1, 1, 8, 8, generator=chance).expand(-1, 20, -1, -1, -1).flatten(0, 1)
    images = kinds + 4 * torch.randn(240, 1, 8, 8, generator=chance)
    images = images * 30 ** torch.rand(240, 1, 1, 1, generator=chance)  # directions count, lengths do not
    novel = replace(stream, novel=images)
    z = F.normalize(images.flatten(1), dim=-1)
    right = []
    for episode in stream.episodes:
        means = F.normalize(torch.stack([z[rows[:5]].mean(0) for rows in episode]), dim=-1)
        for kind, rows in enumerate(episode):
            right += [int((means @ z[row]).argmax()) == kind for row in rows[5:]]
    assert 30 < 100 * np.mean(right) < 90
    assert scores.few_shot(nn.Flatten(), {}, novel) == pytest.approx(100 * np.mean(right))
    assert torch.equal(scores.features(nn.Flatten(), {}, images), images.flatten(1))
    one, two = ({"a": torch.tensor(values), "b": torch.tensor([4.0])} for values in ([0.0, 3.0], [2.0, 3.0]))
    assert scores.distance_moved(one, two) == pytest.approx(100 * 2 / 5)
    assert scores.distance_moved(one, {"a": one["a"], "b": torch.tensor([2.0])}) == pytest.approx(40)


# ---- the record


def test_claims_and_gates_compare_what_they_say_and_the_probe_holds():
    claims = [
        (c.key, c.metric, c.better, c.worse, c.margin, c.kind, c.everywhere, c.lower_is_better)
        for c in (*PAPER.claims, *PAPER.also)
    ]
    plain = (0.0, "superiority", (), False)
    both = (0.0, "superiority", ("old tasks", "new classes"), False)
    assert claims == [
        ("C1", OLD, TSC, JOINT, 1.0, "superiority", (), False),
        ("C2", SLOPE, TSC, None, *plain),
        ("C3", ACCURACY, TSC, GENTLE, *both),
        ("C4", OLD, TSC, NO_PULL, *plain),
        ("C1b", OLD, TSC, L2SP, *plain),
        ("C1c", OLD, TSC, MEANS, *plain),
        ("C1d", OLD, JOINT, MEANS, *plain),
        ("C1e", UNNAMED, TSC, MEANS, *plain),
        ("C2b", NEW, TSC, MEANS, *plain),
        ("C2c", NEW, MEANS, EWC, *plain),
        ("C3b", ACCURACY, TSC, EWC, *both),
        ("C3c", APART, TSC, None, *plain),
        ("C4b", NEW, TSC, NO_PULL, *plain),
        ("C4c", MOVED, TSC, NO_PULL, 0.0, "superiority", (), True),
    ]
    assert (OLD, NEW) == ("accuracy [old tasks]", "accuracy [new classes]")
    gates = [(g.method, g.metric, g.minus, g.least, g.most) for g in PAPER.gates]
    assert gates == [
        (MEANS, NEW, None, 75, 88),
        (FINE, FORGETTING, None, 5, None),
        (MEANS, NEW, FINE, 1, None),
        (JOINT, OLD, MEANS, 1, None),
        (TSC, MOVED, None, 2, None),
    ]
    check_probe(PAPER, recorded(PAPER.slug))
