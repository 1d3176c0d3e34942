"""The order of neurons, the function of coordinates, its loss; the rivals; how the experiment is wired; the probe."""

from dataclasses import replace
from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stages.evidence import check_probe, recorded
from stages.papers.scaling.neumeta import (
    PAPER,
    Manifold,
    MovingAverage,
    coordinates,
    experiment,
    features,
    jitter,
    method,
    morph,
    nearest_neighbour,
    networks,
    neurons,
    path_length,
    permute,
    reconstruction,
    regularisers,
    smooth_order,
    smoothed,
    total_variation,
    two_opt,
)
from stages.papers.scaling.neumeta.experiment import (
    CUT,
    FALL,
    GRID,
    NEUMETA,
    NO_NOISE,
    NO_ORDER,
    NO_TARGET,
    ONE_SAMPLE,
    PARAMETERS,
    SLIMMABLE,
    TRAINED,
    VARIATION,
    at,
)

IMAGES = torch.rand(20, 64, generator=torch.Generator().manual_seed(0))


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def random_base(width=8, seed=0):
    generator = chance(seed)
    return [torch.randn(shape, generator=generator) for shape in method.shapes(width, 64, 10)]


def small_manifold(base, seed=0):
    return Manifold(base, seed, hidden=8, layers=3, frequencies=2)


# ---- the order of neurons


def test_a_permutation_keeps_the_function_and_the_smooth_one_lowers_the_variation():
    base = networks.initial(16, seed=3)
    orders = [np.random.default_rng(layer).permutation(16) for layer in (0, 1)]
    for other in (permute(base, *orders), smoothed(base), networks.by_l1(base)):
        assert torch.allclose(networks.classify(other, IMAGES), networks.classify(base, IMAGES), atol=1e-5)
        assert not torch.equal(other[2], base[2])
    assert total_variation(smoothed(base)) < total_variation(base)
    assert total_variation([torch.tensor([[1.0, 3.0], [2.0, 7.0]]), torch.tensor([4.0, 1.0])]) == 15  # 1+4 +2+5 +3
    for tensor in (0, 2):
        assert (networks.by_l1(base)[tensor].abs().sum(1).diff() <= 1e-6).all()
    for layer in (0, 1):  # each layer has an order of its own
        steps = [neurons(network, layer).diff(dim=0).abs().sum() for network in (base, smoothed(base))]
        assert steps[1] < 0.95 * steps[0]
    w1, b1, w2, b2, w3, b3 = base
    by_hand = ((IMAGES @ w1.T + b1).relu() @ w2.T + b2).relu() @ w3.T + b3
    assert torch.allclose(networks.classify(base, IMAGES), by_hand, atol=1e-5)
    right = by_hand.argmax(1)
    assert networks.accuracy(base, IMAGES, right) == 100
    assert networks.accuracy(base, IMAGES, torch.where(torch.arange(20) < 5, (right + 1) % 10, right)) == 75
    for layer in (0, 1):  # a neuron is its row, its bias and its column of the next layer
        row, bias, following = base[2 * layer : 2 * layer + 3]
        assert torch.equal(neurons(base, layer)[2], torch.cat([row[2], bias[2:3], following[:, 2]]))


def test_the_path_is_the_shortest_on_few_neurons_and_two_opt_only_shortens():
    gaps = []
    for seed in range(12):
        points = torch.randn(6, 3, generator=chance(seed))
        distance = torch.cdist(points, points, p=1).double().numpy()
        best = min(path_length(np.array(p), distance) for p in permutations(range(6)))
        order = smooth_order(points)
        assert sorted(order) == list(range(6))
        gaps.append(path_length(order, distance) - best)
        for start in range(6):
            greedy = nearest_neighbour(distance, start)
            assert greedy[0] == start
            assert path_length(order, distance) <= path_length(greedy, distance) + 1e-9
    assert max(gaps) < 1e-5
    line = np.abs(np.subtract.outer(np.arange(5.0), np.arange(5.0)))
    for size in (1.0, 0.01):
        turned = two_opt(np.array([2, 1, 0, 3, 4]), size * line).tolist()
        assert turned in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0])  # an end is turned round


# ---- the function of coordinates


def test_coordinates_give_relative_places_and_raw_sizes_and_stay_as_they_are():
    v = coordinates(2, (2, 3), layers=6)
    assert v.tolist() == [[2, i, j, 6, 2, 3] for i in range(2) for j in range(3)]
    assert coordinates(1, (3,), 6).tolist() == [[1, i, 0, 6, 3, 1] for i in range(3)]
    before = v.clone()
    x = features(v, frequencies=3, norm=4.0)
    assert torch.equal(v, before)  # sampling twice from one tensor gives the same
    last = x[-1]  # l = 2, i = 1, j = 2
    assert last[:6].tolist() == pytest.approx([2 / 6, 1 / 2, 2 / 3, 6 / 4, 2 / 4, 3 / 4])
    angles = [place * np.pi * octave for place in (1 / 2, 2 / 3) for octave in (1, 2, 4)]
    expected = [*np.sin(angles), *np.cos(angles)]
    waves = sorted(last[6:].tolist())
    assert waves == pytest.approx(sorted(expected), abs=1e-6)


def test_noise_moves_rows_columns_and_sizes_by_half_a_cell_and_none_is_deterministic():
    v = coordinates(3, (40, 50), 6)
    moved = jitter(v, 0.8, chance()) - v
    assert (moved[:, [0, 3]] == 0).all()
    assert moved.abs().max() <= 0.4 + 1e-5
    assert moved[:, [1, 2, 4, 5]].std(0).numpy() == pytest.approx(0.8 / 12**0.5, rel=0.05)
    manifold = small_manifold(random_base())
    noisy = [manifold(5, 1.0, chance(seed)) for seed in (0, 0, 1)]
    assert torch.equal(noisy[0][2], noisy[1][2])
    assert not torch.equal(noisy[0][2], noisy[2][2])
    assert all(torch.equal(a, b) for a, b in zip(manifold(5), manifold(5), strict=True))


def test_noise_changes_neither_the_perceptron_of_a_weight_nor_its_fan_in():
    base = random_base(8)
    manifold = small_manifold(base)
    assert manifold.norm == 8
    for layer, mlp in enumerate(manifold.mlps):  # perceptron l says l + 1, whatever it is told
        with torch.no_grad():
            mlp.last.weight.zero_()
            mlp.last.bias.fill_(layer + 1.0)
    fan_ins = (1, 1, 4 / 8, 1, 4 / 8, 1)  # of width 4, as a share of the full width's
    for noise in (0.0, 1.0):
        for layer, made in enumerate(manifold(4, noise, chance())):
            expected = (layer + 1) * float(base[layer].std()) / fan_ins[layer]
            assert made.shape == method.shapes(4, 64, 10)[layer]
            assert torch.allclose(made, torch.tensor(expected), rtol=1e-5)


def test_residual_layers_start_at_a_tenth():
    mlp = method.ResidualMLP(4, 8, 3)
    x = torch.randn(5, 4, generator=chance())
    h = mlp.first(x).relu()
    for layer in mlp.later:
        h = h + 0.1 * layer(h).relu()
    assert torch.allclose(mlp(x), mlp.last(h)[:, 0], atol=1e-6)
    got, expected = (torch.autograd.grad(y.sum(), mlp.first.weight)[0] for y in (mlp(x), mlp.last(h)))
    assert torch.allclose(got, expected, atol=1e-5)
    assert len(mlp.later) == 2


# ---- the loss, the average


def test_reconstruction_counts_large_weights_more_and_only_at_full_width():
    base = [torch.tensor([[2.0, 1.0]]), torch.tensor([4.0])]
    made = [torch.tensor([[3.0, 3.0]]), torch.tensor([1.0])]
    expected = ((1 * 1 + 0.5 * 4) / 2 + 9) / 2
    assert float(reconstruction(made, base)) == pytest.approx(expected)
    norms = 0.1 * (18**0.5 + 1)
    assert float(regularisers(made, base, 0.1)) == pytest.approx(expected + norms)
    assert float(regularisers(made, None, 0.1)) == pytest.approx(norms)
    learnt = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    regularisers([learnt], base, 0.1).backward()
    assert learnt.grad.tolist() == [pytest.approx([0.06, 0.08]), [0, 0]]
    wider = [torch.ones(2, 2), torch.ones(2)]
    assert float(regularisers(wider, base, 0.1)) == pytest.approx(0.1 * (2 + 2**0.5))


def test_the_moving_average_and_the_mean_of_samples_have_closed_forms():
    line = torch.nn.Linear(1, 1, bias=False)
    line.weight.data.fill_(1.0)
    average = MovingAverage(line, keep=0.9)
    for value in (2.0, 3.0):
        line.weight.data.fill_(value)
        average.update(line)
    assert float(average.module.weight) == pytest.approx(0.81 * 1 + 0.09 * 2 + 0.1 * 3)
    manifold = small_manifold(random_base())
    stream = chance(5)
    draws = [manifold(6), manifold(6, 1.0, stream), manifold(6, 1.0, stream)]
    mean = morph(manifold, 6, samples=3, noise=1.0, generator=chance(5))
    for made, parts in zip(mean, zip(*draws, strict=True), strict=True):
        assert torch.allclose(made, sum(parts) / 3, atol=1e-6)
    assert torch.equal(morph(manifold, 6, 1, 1.0)[0], manifold(6)[0])
    assert not mean[0].requires_grad


# ---- the rivals


def test_a_cut_network_equals_the_wide_one_with_the_other_neurons_silenced():
    base = random_base(8)
    module = networks.Slimmable(base)
    silent = [w.clone() for w in base]
    for tensor, rows, columns in ((0, 5, 64), (1, 5, 0), (2, 5, 5), (3, 5, 0), (4, 10, 5)):
        silent[tensor][rows:] = 0
        if columns:
            silent[tensor][:, columns:] = 0
    assert torch.allclose(networks.classify(module(5), IMAGES), networks.classify(silent, IMAGES), atol=1e-3)


def test_the_grid_is_itself_at_full_width_and_a_straight_line_between():
    base = random_base(8)
    grid = networks.Grid(base)
    for made, true in zip(grid(8), base, strict=True):
        assert torch.allclose(made, true, atol=1e-6)
    half = grid(4)
    assert torch.allclose(half[0], base[0][::2])  # positions i / 4 of 8 rows
    assert torch.allclose(half[2], 2 * base[2][::2, ::2])  # half the fan-in, twice the weight
    assert torch.allclose(half[4], 2 * base[4][:, ::2])
    assert torch.allclose(half[5], base[5])
    assert torch.allclose(half[1], base[1][::2])
    assert torch.allclose(half[3], base[3][::2])
    third = networks.interpolation(8, 5) @ torch.arange(8.0)
    assert third.tolist() == pytest.approx([0, 1.6, 3.2, 4.8, 6.4])


# ---- learning


def test_only_trained_widths_are_sampled_and_reconstruction_comes_first_at_full_width(monkeypatch):
    recipe = networks.Recipe(lr=2e-3, updates=30, warmup=2, reconstruction=3, noise=1.0, samples=2, hidden=8)
    base = random_base(8)
    asked = []
    plain = Manifold.forward

    def forward(self, width, noise=0.0, generator=None):
        asked.append((width, noise))
        return plain(self, width, noise, generator)

    monkeypatch.setattr(Manifold, "forward", forward)
    targets = []
    averages = []
    given = []
    penalty = regularisers
    kept = MovingAverage
    monkeypatch.setattr(
        networks, "MovingAverage", lambda *a: (averages.append(kept(*a)), given.append(a[0]), averages[-1])[2]
    )
    updates = []
    plain_update = MovingAverage.update
    monkeypatch.setattr(MovingAverage, "update", lambda self, m: (updates.append(m), plain_update(self, m)))
    makers = []
    for name in ("optimiser", "cosine", "fit"):
        maker = getattr(networks, name)

        def spy(*given, of=maker, name=name, **how):
            numbers = [value for value in given if isinstance(value, int | float)]
            scheduled = [True] if "schedule" in how else []
            makers.append((name, *numbers, *scheduled, *(how[key] for key in ("weight_decay", "clip") if key in how)))
            return of(*given, **how)

        monkeypatch.setattr(networks, name, spy)
    shown = []
    plain_loss = networks.F.cross_entropy
    plain_classify = networks.classify
    monkeypatch.setattr(networks, "classify", lambda w, x: (shown.append([x]), plain_classify(w, x))[1])
    monkeypatch.setattr(networks.F, "cross_entropy", lambda logits, y: (shown[-1].append(y), plain_loss(logits, y))[1])
    seeds = []
    for module, name in ((networks, "rng"), (networks, "torch_rng"), (method, "seeded")):
        source = getattr(module, name)
        monkeypatch.setattr(module, name, lambda s, *names, of=source: (seeds.append(s), of(s, *names))[1])
    monkeypatch.setattr(networks, "regularisers", lambda w, t, d: (targets.append((t, d)), penalty(w, t, d))[1])
    images = networks.split(60, 30, seed=5)
    sample = networks.learn_manifold(base, (4, 5, 6, 7, 8), images, recipe, seed=5)
    assert asked[:3] == [(8, 1.0)] * 3
    assert {width for width, _ in asked[3:]} == {4, 5, 6, 7, 8}
    assert len(asked) == 33
    assert all(target is base and decay == 1e-4 for target, decay in targets)
    assert makers == [
        *(("optimiser", 2e-3), ("cosine", 3, 2), ("fit", 3, True)),
        *(("optimiser", 2e-3, 0.01), ("cosine", 30, 2), ("fit", 30, True, 1.0)),
    ]
    label_of = dict(zip((i.numpy().tobytes() for i in images.train), images.train_labels.tolist(), strict=True))
    seen = [(image.numpy().tobytes(), int(label)) for x, y in shown for image, label in zip(x, y, strict=True)]
    assert all(label_of[image] == label for image, label in seen)
    assert len({image for image, _ in seen}) > 55  # of 60
    assert averages[0].keep == 0.995
    assert given[0] is updates[0]  # it starts at what reconstruction has learnt
    asked.clear()
    assert len(updates) == 30
    made = sample(3)
    assert asked == [(3, 0.0), (3, 1.0)]
    chance_at_test = networks.torch_rng(5, "test noise", 3)
    expected = morph(averages[0].module, 3, 2, 1.0, chance_at_test)  # of the average, not of the last step
    assert torch.equal(made[0], expected[0])
    asked.clear()
    targets.clear()
    networks.learn_manifold(base, (4, 5, 6, 7, 8), images, replace(recipe, reconstruction=0, noise=0.0), seed=5)
    assert len(asked) == 30
    assert {noise for _, noise in asked} == {0.0}
    assert targets == [(None, 1e-4)] * 30

    shared = []
    module = networks.Slimmable(base)
    plain_cut = networks.cut
    monkeypatch.setattr(networks, "cut", lambda w, width: (shared.append(width), plain_cut(w, width))[1])
    networks.learn_shared(module, (4, 5, 6, 7, 8), images, recipe, seed=5)
    assert shared == [width for width, _ in asked]  # the same widths at the same steps
    kept_base = [w.clone() for w in base]
    for shared_weights in (module, networks.Grid(base)):
        if isinstance(shared_weights, networks.Grid):
            networks.learn_shared(shared_weights, (4, 5, 6, 7, 8), images, recipe, seed=5)
        for learnt, start in zip(shared_weights.weights, kept_base, strict=True):
            assert not torch.equal(learnt, start)
    assert all(torch.equal(w, start) for w, start in zip(base, kept_base, strict=True))
    small = networks.Slimmable(base)
    networks.train(small, small, (8,), images, recipe, 5, extra=lambda w: 1e6 * w[2].square().sum())
    assert (small.weights[2].abs().mean() < kept_base[2].abs().mean()).all()
    alone = networks.learn_one(16, images, networks.Recipe(lr=1e-2, updates=250, warmup=2), seed=5)
    assert networks.accuracy(alone, images.train, images.train_labels) > 90
    assert set(seeds) == {5}  # of images, widths, batches, noise and initial weights


# ---- the wiring of the experiment


class Recorder:
    """Stands in for the learners: notes what it is given; the n-th arm has an accuracy of 1000 n - width."""

    def __init__(self):
        self.calls = []
        self.tested = []

    def note(self, kind, start, widths, images, recipe, seed):
        self.calls.append(SimpleNamespace(kind=kind, start=start, widths=tuple(widths), recipe=recipe, seed=seed))
        self.calls[-1].images = images
        return len(self.calls)

    def one(self, width, images, recipe, seed):
        n = self.note("own", None, [width], images, recipe, seed)
        return [w + n for w in random_base(width)]

    def shared(self, module, widths, images, recipe, seed):
        n = self.note(type(module).__name__, [w.detach() for w in module.weights], widths, images, recipe, seed)
        return lambda width: ("planted", n, width, None)

    def manifold(self, base, widths, images, recipe, seed):
        n = self.note("Manifold", base, widths, images, recipe, seed)
        return lambda width, samples=None: ("planted", n, width, samples)

    def accuracy(self, weights, images, labels):
        self.tested.append((images, labels))
        if weights[0] == "planted":
            _, n, width, samples = weights
            return 1000 * n - width + (0.5 if samples == 1 else 0)
        return float(weights[0].mean()) + len(weights[0])  # to be worked out from the weights


OWN, SLIM, PICTURE, META = (networks.Recipe(lr=rate) for rate in (0.1, 0.2, 0.3, 0.4))
TINY = experiment.Settings(OWN, SLIM, PICTURE, META, train=50, test=40, shown=(4, 8, 12, 32))


@pytest.fixture(scope="module")
def wired():
    """A run with recorders in the learners' place."""
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "learn_one", recorder.one)
        patch.setattr(networks, "learn_shared", recorder.shared)
        patch.setattr(networks, "learn_manifold", recorder.manifold)
        patch.setattr(networks, "accuracy", recorder.accuracy)
        outcome = PAPER.run(TINY, 3)
    scores = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    curves = {row["method"]: row for row in outcome.curves}
    return SimpleNamespace(
        calls=recorder.calls, tested=recorder.tested, scores=scores, curves=curves, exhibits=outcome.exhibits
    )


def test_each_arm_is_trained_with_its_own_settings_from_its_own_start(wired):
    base = [w + 1 for w in random_base(32)]
    names = (SLIMMABLE, GRID, NEUMETA, NO_ORDER, NO_NOISE, NO_TARGET)
    starts = {SLIMMABLE: networks.by_l1(base), NO_ORDER: base}
    recipes = {
        SLIMMABLE: SLIM,
        GRID: PICTURE,
        NO_NOISE: replace(META, noise=0.0),
        NO_TARGET: replace(META, reconstruction=0),
    }
    kinds = {SLIMMABLE: "Slimmable", GRID: "Grid"}
    for name in names:
        call = wired.calls[round(wired.scores[name, at(8)] / 1000) - 1]
        assert call.kind == kinds.get(name, "Manifold"), name
        assert call.recipe == recipes.get(name, META), name
        assert call.widths == tuple(range(16, 33)), name  # 4, 8 and 12 are never trained
        for made, expected in zip(call.start, starts.get(name, smoothed(base)), strict=True):
            assert torch.equal(made, expected), name
    assert set(experiment.arms(TINY)) - set(experiment.arms(replace(TINY, without=(GRID,)))) == {GRID}
    own = wired.calls[:4]  # the base, which is also the network of width 32, then the others
    assert [call.widths for call in own] == [(32,), (4,), (8,), (12,)]
    assert all(call.kind == "own" and call.recipe == OWN for call in own)
    for n, width in ((1, 32), (2, 4), (3, 8), (4, 12)):
        trained = float((random_base(width)[0] + n).mean()) + width
        assert wired.scores[TRAINED, at(width)] == pytest.approx(trained)
    assert wired.scores[CUT, at(8)] == pytest.approx(float(networks.by_l1(base)[0][:8].mean()) + 8)


def test_all_arms_of_a_seed_share_images_and_none_is_both_trained_on_and_tested(wired):
    images = networks.split(50, 40, seed=3)
    for call in wired.calls:
        assert call.seed == 3
        assert torch.equal(call.images.train, images.train)
        assert torch.equal(call.images.train_labels, images.train_labels)
    for tested, labels in wired.tested:
        assert torch.equal(tested, images.test)
        assert torch.equal(labels, images.test_labels)
    both = networks.split(900, 897, seed=3)
    rows = {image.numpy().tobytes() for image in torch.cat([both.train, both.test])}
    known = networks.digits.load()
    label_of = {
        image.numpy().tobytes(): int(label)
        for images_, labels in ((known.train_images, known.train_labels), (known.test_images, known.test_labels))
        for image, label in zip(images_, labels, strict=True)
    }
    for image, label in zip(torch.cat([both.train, both.test]), [*both.train_labels, *both.test_labels], strict=True):
        assert label_of[image.numpy().tobytes()] == label
    assert rows == {image.numpy().tobytes() for image in torch.cat([known.train_images, known.test_images])}
    assert not torch.equal(networks.split(50, 40, seed=4).train, images.train)
    assert not torch.equal(networks.initial(8, 3)[0], networks.initial(8, 4)[0])
    with pytest.raises(ValueError, match="1797"):
        networks.split(1000, 798, seed=0)


def test_scores_are_those_worked_out_by_hand(wired):
    base = [w + 1 for w in random_base(32)]
    for name, n in ((SLIMMABLE, 5), (GRID, 6), (NEUMETA, 7), (NO_ORDER, 8), (NO_NOISE, 9), (NO_TARGET, 10)):
        assert [wired.scores[name, at(w)] for w in TINY.shown] == [1000 * n - w for w in TINY.shown]
        assert wired.scores[name, FALL] == -24
        assert wired.curves[name]["x"] == [4, 8, 12, 32]
        assert wired.curves[name]["y"] == [1000 * n - w for w in TINY.shown]
    assert [wired.scores[ONE_SAMPLE, at(w)] for w in TINY.shown] == [7000.5 - w for w in TINY.shown]
    assert wired.scores[NO_ORDER, VARIATION] == pytest.approx(total_variation(base))
    assert wired.scores[NEUMETA, VARIATION] == pytest.approx(total_variation(smoothed(base)))
    network = 64 * 32 + 32 + 32 * 32 + 32 + 32 * 10 + 10
    assert wired.scores[GRID, PARAMETERS] == wired.scores[CUT, PARAMETERS] == network
    assert wired.scores[TRAINED, VARIATION] == pytest.approx(total_variation(base))
    assert wired.exhibits[NEUMETA][8] == ("planted", 7, 8, None)
    assert at(8) == "accuracy [width 8]"
    one = (6 + 24) * 64 + 64 + 2 * (64 * 64 + 64) + 2 + 64 + 1  # 30 features, three layers of 64, two scales
    assert wired.scores[NEUMETA, PARAMETERS] == 6 * one


# ---- the record


def test_claims_and_gates_compare_what_they_say_and_the_probe_holds():
    claims = {c.key: (c.metric, c.better, c.worse, c.margin, c.kind) for c in PAPER.claims}
    assert claims == {
        "C1": (at(8), NEUMETA, SLIMMABLE, 10.0, "superiority"),
        "C2": (at(8), NEUMETA, TRAINED, 3.0, "noninferiority"),
        "C3": (at(8), NEUMETA, NO_ORDER, 1.0, "superiority"),
        "C4": (at(8), NEUMETA, NO_NOISE, 1.0, "superiority"),
        "C5": (at(8), NEUMETA, GRID, 5.0, "superiority"),
    }
    assert {c.key for c in (*PAPER.claims, *PAPER.also) if c.lower_is_better} == {"C3c"}
    also = {c.key: (c.metric, c.better, c.worse) for c in PAPER.also}
    assert also["C3d"] == (at(8), NEUMETA, NO_TARGET)
    assert also["C4c"] == (at(8), NEUMETA, ONE_SAMPLE)
    assert also["C5c"] == (at(8), GRID, SLIMMABLE)
    gates = [(g.method, g.metric, g.minus, g.least, g.most) for g in PAPER.gates]
    assert gates == [
        (TRAINED, at(32), None, 94, None),
        (TRAINED, FALL, None, 2, None),
        (SLIMMABLE, at(8), None, None, 50),
        (TRAINED, at(32), NEUMETA, None, 3),
    ]
    check_probe(PAPER, recorded(PAPER.slug))
