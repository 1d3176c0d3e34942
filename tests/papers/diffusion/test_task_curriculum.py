"""Clusters, pacing and stages; the measures of difficulty; the rivals and the loop; how the experiment is wired."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.distributions import Independent, MixtureSameFamily, Normal, kl_divergence

from stages.evidence import check_probe, recorded
from stages.models import Denoiser, seeded
from stages.papers.diffusion.task_curriculum import (
    PAPER,
    Curriculum,
    Interval,
    Patience,
    Reverse,
    clusters,
    difficulty,
    experiment,
    log_density,
    relative_entropy,
    scores,
    training,
)
from stages.papers.diffusion.task_curriculum.experiment import (
    BOTH,
    CURRICULUM,
    MIN_SNR,
    REVERSE,
    SHUFFLED,
    UNIFORM,
)
from stages.papers.diffusion.task_curriculum.scores import ALONE, FINAL, LATE, NEAREST, REAL, of
from stages.papers.diffusion.task_curriculum.training import Recipe, Replay, Trained, min_snr
from stages.seeding import torch_rng
from stages.training import diffusion

TINY = Recipe(lr=1e-2, updates=4, batch=8, width=16, blocks=1, keep=0.6)
IMAGES = torch.rand(20, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
ALL = Interval(0, 1000)


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


# ---- clusters, stages, pacing


def test_clusters_are_equal_parts_of_all_timesteps_and_the_first_has_the_least_noise():
    parts = clusters(1000, 6)
    assert [(part.low, part.high) for part in parts] == [
        *((0, 167), (167, 333), (333, 500), (500, 667), (667, 833), (833, 1000))
    ]
    assert training.SIGNAL[parts[0].low] > 0.99 > 0.01 > training.SIGNAL[parts[-1].high - 1]
    assert torch.equal(training.SIGNAL, diffusion.cosine_signal(1000))
    draws = torch.tensor([0.0, 0.1, 0.5, 0.999999999])
    assert Interval(100, 110)(draws).tolist() == [100, 101, 105, 109]
    drawn = Interval(5, 9)(torch.rand(40_000, generator=chance()))
    assert torch.bincount(drawn, minlength=9)[5:].tolist() == pytest.approx([10_000] * 4, rel=0.03)


def test_stages_begin_with_the_most_noise_and_accumulate_to_all_timesteps():
    curriculum = Curriculum(1000, 4, Patience(0, 0.0))
    reverse = Reverse(1000, 4, Patience(0, 0.0))
    seen = []
    for _ in range(8):
        seen.append((curriculum.active, reverse.active))
        for sampler in (curriculum, reverse):
            assert sampler(torch.tensor([0.0, 0.9999])).tolist() == [sampler.active.low, sampler.active.high - 1]
            sampler.told(1.0)
    assert [low.low for low, _ in seen] == [750, 750, 500, 500, 250, 250, 0, 0]
    assert {low.high for low, _ in seen} == {1000}
    assert [high.high for _, high in seen] == [250, 250, 500, 500, 750, 750, 1000, 1000]
    assert {high.low for _, high in seen} == {0}
    assert curriculum.ends == reverse.ends == [2, 4, 6]
    assert curriculum.stage == 4  # and no fifth


def test_patience_counts_updates_without_a_new_best_of_the_moving_average():
    patience = Patience(2, 0.5)
    averages = []
    ended = []
    for loss in (4.0, 2.0, 3.0, 5.0, 2.0, 4.0, 9.0):
        ended.append(patience.over(loss))
        averages.append(patience.smooth)
    assert averages == [4.0, 3.0, 3.0, 4.0, 3.0, 3.5, 6.25]
    assert ended == [False, False, False, False, True, True, True]  # 3.0 again is no new best
    assert (patience.best, patience.count) == (3.0, 5)
    patience.reset()
    assert [patience.over(loss) for loss in (9.0, 9.0, 9.0, 9.0)] == [False, False, False, True]
    assert patience.smooth == 9.0  # nothing is left of what was before
    slow = Patience(1, 0.75)
    assert [slow.over(loss) for loss in (8.0, 12.0, 1.0, 11.0, 12.0)] == [False, False, False, False, True]
    assert (slow.smooth, slow.best) == (9.0, 7.0)  # of 8, 9, 7, 8, 9: a new best starts the count anew
    for most in (0, 3, 10):
        flat = Curriculum(60, 3, Patience(most, 0.9))
        for _ in range(40):
            flat.told(0.5)
        assert flat.ends == [most + 2, 2 * (most + 2)]  # advances without any learning


def test_a_jump_of_the_loss_at_a_new_stage_does_not_end_it():
    curriculum = Curriculum(600, 3, Patience(3, 0.9))
    start = {1: 0.1, 2: 0.5, 3: 1.0}
    since = 0
    for _ in range(150):
        stage = curriculum.stage
        curriculum.told(start[stage] * (0.9 ** min(since, 20) + 0.01 * max(0, since - 20)))  # falls, then rises
        since = since + 1 if curriculum.stage == stage else 0
    assert curriculum.ends[0] > 21
    assert curriculum.ends[1] - curriculum.ends[0] == curriculum.ends[0]  # the second takes as long as the first


# ---- what is hard


def test_the_density_is_that_of_a_mixture_and_the_entropy_that_of_gaussians():
    images = torch.randn(7, 5, generator=chance(), dtype=torch.float64)
    x = torch.randn(4, 5, generator=chance(1), dtype=torch.float64)
    share = torch.tensor(0.3, dtype=torch.float64)
    parts = Independent(Normal(share.sqrt() * images, (1 - share).sqrt()), 1)
    mixture = MixtureSameFamily(torch.distributions.Categorical(torch.ones(7, dtype=torch.float64)), parts)
    assert torch.allclose(log_density(x, images, share), mixture.log_prob(x))
    signal = torch.tensor([0.9, 0.8, 0.75])
    for t in (1, 2):  # one image: a Gaussian
        before, after = (
            Independent(Normal(signal[i].sqrt() * images[:1], ((1 - signal[i]).sqrt().expand(1, 5))), 1)
            for i in (t - 1, t)
        )
        exact = float(kl_divergence(before, after))
        assert float(kl_divergence(after, before)) != pytest.approx(exact, rel=0.05)
        assert relative_entropy(images[:1], t, signal, 100_000, chance()) == pytest.approx(exact, rel=0.02)
    few = [relative_entropy(images, 1, signal, 50, chance(seed)) for seed in range(3)]
    assert len(set(few)) == 3
    assert relative_entropy(images, 1, signal, 50, chance(2)) == few[2]
    assert relative_entropy(images, 1, signal, 20_000, chance(5)) < exact + 5  # and finite
    far = 5 * images  # images that do not overlap: the mean of their Gaussians
    before, after = (Independent(Normal(share.sqrt() * far, (1 - share).sqrt()), 1) for share in signal[1:].double())
    assert relative_entropy(far, 2, signal, 100_000, chance(1)) == pytest.approx(
        float(kl_divergence(before, after).mean()), rel=0.05
    )


def test_a_cluster_has_converged_when_nine_tenths_of_the_fall_are_over(monkeypatch):
    assert difficulty.converges({20: 0.6, 40: 0.29, 60: 0.27, 80: 0.2}, start=1.0) == 60  # from 0.28 on
    assert difficulty.converges({20: 1.3, 40: 1.3}, start=1.0) == 40
    assert difficulty.converges({20: 0.45, 40: 0.2, 60: 0.4}, start=1.0) == 20  # the last is not the best
    calls = []
    losses = {2: 0.7, 4: 0.25, 6: 0.2}

    def train(sampler, images, recipe, seed, checkpoints, weighted=False):
        calls.append((sampler, recipe, seed, list(checkpoints), weighted))
        assert torch.equal(images, difficulty.digits.train_images())
        return Trained({u: u for u in checkpoints})

    def held_out(model, images, times, seed):
        assert torch.equal(images, difficulty.digits.test_images())
        assert (times.tolist(), seed) == (list(range(30, 40)), 5)
        return 1.0 if model is difficulty.silent else losses[model]

    def entropy(images, t, signal, count, stream):
        assert torch.equal(images, difficulty.digits.train_images())
        assert signal is training.SIGNAL
        assert stream.initial_seed() == torch_rng(5, "entropy").initial_seed()
        return t + count / 1000

    monkeypatch.setattr(difficulty.training, "train", train)
    monkeypatch.setattr(difficulty.training, "held_out", held_out)
    monkeypatch.setattr(difficulty.method, "relative_entropy", entropy)
    found = difficulty.measure(Interval(30, 40), replace(TINY, updates=6), 2, 70, 5)
    assert found == difficulty.Difficulty(losses, 4, 35.07)
    assert calls == [(Interval(30, 40), replace(TINY, updates=6, keep=0.0), 5, [2, 4, 6], False)]
    assert not difficulty.silent(IMAGES, torch.ones(20)).any()


# ---- the rivals and the loop


def test_min_snr_weights_the_noise_loss_as_the_clipped_snr_weights_the_image_loss():
    signal = training.SIGNAL
    t = torch.tensor([0, 200, 500, 900])
    snr = signal[t] / (1 - signal[t])
    assert (snr[:2] > 5).all()
    assert (snr[2:] < 5).all()
    x = IMAGES[:4]
    noise = torch.randn(4, 64, generator=chance())
    noisy = diffusion.noised(x, noise, signal[t])
    guess = noise + torch.randn(4, 64, generator=chance(1))
    share = signal[t][:, None]
    clean = (noisy - (1 - share).sqrt() * guess) / share.sqrt()
    of_noise = (guess - noise).square().mean(1)
    of_image = (clean - x).square().mean(1)
    assert torch.allclose(min_snr(t, signal) * of_noise, snr.clamp(max=5) * of_image, rtol=1e-3)
    assert torch.allclose(min_snr(t, signal)[2:], torch.ones(2))


def test_the_shuffled_timesteps_are_exactly_those_of_the_curriculum():
    times = torch.arange(600).view(60, 10)
    replay = Replay(times, 3)
    rows = torch.stack([replay(torch.rand(10)) for _ in range(60)])
    assert torch.equal(rows.flatten().sort().values, times.flatten())
    assert abs(rows[:30].float().mean() - rows[30:].float().mean()) < 60  # was 300: no order is left
    assert (rows.diff() != 1).float().mean() > 0.9
    assert not torch.equal(rows[0], Replay(times, 4)(torch.rand(10)))
    assert torch.equal(rows[0], Replay(times, 3)(torch.rand(10)))
    replay.told(1.0)
    kinds = [training.sampler(k, 6, Patience(7, 0.9), times, 3) for k in ("curriculum", "reverse", "uniform")]
    assert [type(kind) for kind in kinds] == [Curriculum, Reverse, Interval]
    assert kinds[2] == ALL
    assert torch.equal(training.sampler("shuffled", 6, Patience(7, 0.9), times, 3)(rows[0]), rows[0])
    for made in kinds[:2]:
        assert (len(made.clusters), made.patience.most, made.clusters[-1].high) == (6, 7, 1000)
    with pytest.raises(ValueError, match="curriculum first"):
        training.sampler("shuffled", 6, Patience(7, 0.9), None, 3)


class Listener:
    """All timesteps; notes draws and losses."""

    def __init__(self):
        self.draws = []
        self.losses = []

    def __call__(self, draws):
        self.draws.append(draws)
        return ALL(draws)

    def told(self, loss):
        self.losses.append(loss)


@pytest.mark.parametrize("weighted", [False, True])
def test_training_equals_a_plain_loop_with_a_moving_average(weighted):
    listener = Listener()
    trained = training.train(listener, IMAGES, TINY, 5, [2, 4], weighted)
    with seeded(5, "denoiser"):
        model = Denoiser(64, 16, 1)
    average = None
    adam = torch.optim.AdamW(model.parameters(), lr=1e-2)
    stream = torch_rng(5, "batches")
    for step in range(4):
        x = IMAGES[torch.randint(20, (8,), generator=stream)]
        noise = torch.randn(8, 64, generator=stream)
        t = (torch.rand(8, generator=stream) * 1000).long()
        assert torch.equal(trained.times[step], t)
        share = training.SIGNAL[t][:, None]
        guess = model(share.sqrt() * x + (1 - share).sqrt() * noise, t.float())
        losses = (guess - noise).square().mean(1)
        if weighted:
            losses = losses * (5 * (1 - share) / share).clamp(max=1)[:, 0]
        loss = losses.mean()
        assert listener.losses[step] == pytest.approx(float(loss.detach()), rel=1e-4)
        adam.zero_grad()
        loss.backward()
        adam.step()
        now = torch.cat([p.detach().flatten() for p in model.parameters()])
        average = now if average is None else 0.6 * average + 0.4 * now
        if step + 1 in (2, 4):
            snapshot = torch.cat([p.flatten() for p in trained.snapshots[step + 1].parameters()])
            assert torch.allclose(snapshot, average, atol=1e-5)
    assert list(trained.snapshots) == [2, 4]
    assert len(listener.losses) == 4


def test_arms_of_a_seed_share_parameters_images_and_noise_and_other_seeds_do_not(monkeypatch):
    seen = []
    plain = diffusion.noise_loss

    def spy(network, x, t, noise, signal):
        weights = torch.cat([p.detach().flatten() for p in network.parameters()])
        seen.append((x, noise, weights.clone()))
        return plain(network, x, t, noise, signal)

    monkeypatch.setattr(training.diffusion, "noise_loss", spy)
    listener = Listener()
    training.train(listener, IMAGES, TINY, 5, [4])
    curriculum = Curriculum(1000, 4, Patience(0, 0.9))
    times = training.train(curriculum, IMAGES, TINY, 5, [4], weighted=True).times
    training.train(ALL, IMAGES, TINY, 6, [4])
    first, second, other = seen[:4], seen[4:8], seen[8:]
    for step in range(4):
        for i in (0, 1):
            assert torch.equal(first[step][i], second[step][i])
            assert not torch.equal(first[step][i], other[step][i])
    assert torch.equal(first[0][2], second[0][2])
    assert not torch.equal(first[0][2], other[0][2])
    assert not torch.equal(first[0][1], first[1][1])
    assert torch.equal(times[0], Interval(750, 1000)(listener.draws[0]))  # the same draws, squeezed
    assert curriculum.updates == 4


def test_samples_and_held_out_losses_depend_on_the_seed_and_see_what_they_should(monkeypatch):
    with seeded(0):
        model = Denoiser(64, 16, 1)
    torch.nn.init.normal_(model.leave.weight, generator=chance())
    noise = torch.randn(9, 64, generator=torch_rng(3, "samples"))
    assert torch.equal(training.samples(model, 9, 3), diffusion.ddim(model, noise, training.SIGNAL, 20))
    assert not torch.equal(training.samples(model, 9, 3), training.samples(model, 9, 4))
    times = torch.arange(100, 107)
    t = torch.tensor([100, 101, 102, 103, 104, 105, 106] * 3)[:20]
    noise = torch.randn(20, 64, generator=torch_rng(3, "held out"))
    expected = diffusion.noise_loss(model, IMAGES, t, noise, training.SIGNAL).mean()
    assert training.held_out(model, IMAGES, times, 3) == pytest.approx(float(expected.detach()))
    assert training.held_out(difficulty.silent, IMAGES, times, 3) == pytest.approx(float(noise.square().mean()))
    assert not training.samples(model, 2, 3).requires_grad


# ---- the wiring of the experiment

SMALL = experiment.Settings(
    Recipe(lr=0.3, updates=200, batch=7), patience=9, smoothing=0.8, clusters=4, count=11, shown=2, alone=60, stride=30
)
ORDER = [UNIFORM, CURRICULUM, REVERSE, SHUFFLED, MIN_SNR, BOTH]
ENDS = {2: [10, 20, 110], 3: [10, 20, 122], 6: [1, 2]}  # of the n-th arm; the last one never gets to all timesteps


class Recorder:
    """Stands in for training and judging: the n-th arm has the log FD 10 n + v (3.3 - v) at update 100 v."""

    def __init__(self):
        self.calls = []
        self.studied = []

    def train(self, sampler, images, recipe, seed, checkpoints, weighted=False):
        n = len(self.calls) + 1
        first = sampler(torch.zeros(3)) if isinstance(sampler, Replay) else None
        call = SimpleNamespace(sampler=sampler, images=images, recipe=recipe, seed=seed, first=first)
        call.checkpoints, call.weighted = list(checkpoints), weighted
        self.calls.append(call)
        if n in ENDS:
            sampler.ends = ENDS[n]
        return Trained({u: (n, u) for u in checkpoints}, 100 * n + torch.arange(15).view(5, 3))

    def samples(self, model, count, seed):
        assert (count, seed) == (11, 3)
        return torch.full((count, 64), model[0] + model[1] / 1000) + torch.arange(count)[:, None]

    def log_distance(self, samples):
        n, u = divmod(round(float(samples[0, 0]) * 1000), 1000)
        assert len(samples) == 11
        return 10 * n + u / 100 * (3.3 - u / 100)

    def told_apart(self, samples):
        return 7 * float(samples[0, 0])

    def held_out(self, model, images, times, seed):
        assert torch.equal(images, scores.digits.test_images())
        assert seed == 3
        assert times.tolist() in [list(range(part.low, part.high)) for part in clusters(1000, 4)]
        return float(1000 * model[0] + model[1] + times.float().mean() / 1e4)

    def measure(self, cluster, recipe, stride, count, seed):
        self.studied.append((cluster, recipe, stride, count, seed))
        i = len(self.studied)
        return difficulty.Difficulty({30: 1.0 / i, 60: 0.5 / i}, [70, 50, 20, 40][i - 1], i / 10)


@pytest.fixture(scope="module")
def wired():
    """A run with recorders in the learners' and the judges' place."""
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("train", "samples", "held_out"):
            patch.setattr(training, name, getattr(recorder, name))
        for name in ("log_distance", "told_apart"):
            patch.setattr(scores.digits, name, getattr(recorder, name))
        patch.setattr(scores.digits, "log_floor", lambda: -4.5)
        patch.setattr(difficulty, "measure", recorder.measure)
        outcome = PAPER.run(SMALL, 3)
        short = PAPER.run(replace(SMALL, points=10, without=(REVERSE, BOTH, ALONE)), 3)
    found = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    curves = {(row["method"], row["name"]): (row["x"], row["y"]) for row in outcome.curves}
    return SimpleNamespace(
        calls=recorder.calls, studied=recorder.studied, scores=found, curves=curves, outcome=outcome, short=short
    )


def test_each_arm_is_trained_on_its_own_timesteps_and_on_what_all_arms_share(wired):
    kinds = [Interval, Curriculum, Reverse, Replay, Interval, Curriculum]
    assert [type(call.sampler) for call in wired.calls[:6]] == kinds
    assert [call.weighted for call in wired.calls[:6]] == [False, False, False, False, True, True]
    for n, call in enumerate(wired.calls):
        assert torch.equal(call.images, scores.digits.train_images())
        assert call.recipe == SMALL.recipe
        assert call.seed == 3
        stride = 10 if n < 6 else 20
        assert call.checkpoints == list(range(stride, 201, stride))
    assert wired.calls[0].sampler == wired.calls[4].sampler == ALL
    paced = [wired.calls[i].sampler for i in (1, 2, 5)]
    for sampler in paced:
        assert (sampler.patience.most, sampler.patience.keep) == (9, 0.8)
        assert sampler.clusters == clusters(1000, 4)
    assert len({id(sampler.patience) for sampler in paced}) == 3
    drawn = 200 + torch.arange(15).view(5, 3)  # by the curriculum, the second arm
    assert torch.equal(wired.calls[3].first, Replay(drawn, 3)(torch.zeros(3)))
    assert list(experiment.arms(SMALL)) == ORDER
    train, test = (part.numpy() for part in (scores.digits.train_images(), scores.digits.test_images()))
    assert len({row.tobytes() for row in train} & {row.tobytes() for row in test}) < 5
    assert len(wired.calls) == 10
    assert {row["method"] for row in wired.short.scores} == {UNIFORM, CURRICULUM, SHUFFLED, MIN_SNR, REAL}


def test_scores_are_those_worked_out_by_hand(wired):
    def distance(n, percent):
        u = 2 * percent  # of 200 updates
        return 10 * n + u / 100 * (3.3 - u / 100)  # the last is neither the best nor the worst

    for n, name in enumerate(ORDER, 1):
        late = sum(distance(n, percent) for percent in (60, 70, 80, 90, 100)) / 5
        assert wired.scores[name, LATE] == pytest.approx(late)
        assert wired.scores[name, FINAL] == pytest.approx(10 * n + 2.6)
        assert wired.scores[name, scores.ROOM] == pytest.approx(distance(n, 30) - distance(n, 100))
        assert wired.scores[name, scores.TAIL] == pytest.approx(distance(n, 60) - distance(n, 100))
        assert wired.scores[name, NEAREST] == pytest.approx(7 * (n + 0.2))
        assert wired.scores[name, of("held-out loss", 1)] == pytest.approx(1000 * n + 200 + 124.5 / 1e4, abs=1e-3)
        assert wired.scores[name, of("held-out loss", 4)] == pytest.approx(1000 * n + 200 + 874.5 / 1e4, abs=1e-3)
        x, y = wired.curves[name, "log FD"]
        assert (x[0], x[-1], len(x)) == (10, 200, 20)
        assert y == pytest.approx([distance(n, u / 2) for u in x])
        pixels = wired.curves[name, "samples"]
        assert pixels == (list(range(128)), [round(n + 0.2, 2)] * 64 + [round(n + 1.2, 2)] * 64)
        kept = wired.outcome.exhibits[name]
        assert list(kept) == x
        assert torch.equal(kept[10], torch.full((2, 64), n + 0.01) + torch.arange(2)[:, None])
    ends = {CURRICULUM: (55, 1, 3), REVERSE: (61, 0, 3), BOTH: (100, 0, 2)}
    for name, (end, in_time, stages) in ends.items():
        assert wired.scores[name, scores.END] == end
        assert wired.scores[name, scores.IN_TIME] == in_time
        assert wired.curves[name, "stages"] == (ENDS[ORDER.index(name) + 1], list(range(2, 2 + stages)))
    assert (UNIFORM, scores.END) not in wired.scores
    assert wired.scores[REAL, FINAL] == -4.5
    recipe = replace(SMALL.recipe, updates=60)
    assert wired.studied == [(part, recipe, 30, 11, 3) for part in clusters(1000, 4)]
    assert [wired.scores[ALONE, of("updates to converge", i)] for i in (1, 2, 3, 4)] == [70, 50, 20, 40]
    assert wired.scores[ALONE, of("relative entropy", 3)] == 0.3
    assert wired.scores[ALONE, scores.SLOWEST] == 20
    assert wired.curves[of(ALONE, 2), "held-out loss"] == ([30, 60], [0.5, 0.25])
    third = [[0, 0, 0, 1 / 3, 1 / 3], [0, 1 / 2, 1 / 2, 1 / 3, 1 / 3], [1, 1 / 2, 1 / 2, 1 / 3, 1 / 3]]
    drawn = scores.shares([5, 8], [4, 5, 7, 8, 20], 3)
    assert drawn == pytest.approx(torch.tensor(third).numpy())
    assert scores.shares([5, 8], [4, 5, 7, 8, 20], 3, reverse=True) == pytest.approx(drawn[::-1])
    assert of("loss", 2) == "loss [cluster 2]"


def test_claims_and_gates_compare_what_they_say_and_the_probe_holds():
    claims = {c.key: (c.metric, c.better, c.worse, c.margin) for c in PAPER.claims}
    assert claims == {
        "C1": (LATE, CURRICULUM, UNIFORM, 0.05),
        "C2": (LATE, CURRICULUM, REVERSE, 0.05),
        "C3": (LATE, CURRICULUM, SHUFFLED, 0.05),
        "C4": (LATE, BOTH, MIN_SNR, 0.0),
        "C5": (FINAL, CURRICULUM, UNIFORM, 0.0),
    }
    everything = (*PAPER.claims, *PAPER.also)
    assert all(c.lower_is_better for c in everything)
    assert {c.kind for c in everything} == {"superiority"}
    assert [c.key for c in everything if c.origin == "ours"] == ["C3"]
    also = {c.key: (c.metric, c.better, c.worse, c.over) for c in PAPER.also}
    assert also == {
        "C1b": (NEAREST, CURRICULUM, UNIFORM, None),
        "C1c": ("held-out loss [cluster 1]", CURRICULUM, UNIFORM, None),
        "C1d": ("held-out loss [cluster 6]", CURRICULUM, UNIFORM, None),
        "C2b": (LATE, UNIFORM, REVERSE, None),
        "C3b": (FINAL, CURRICULUM, SHUFFLED, None),
        "C3c": (LATE, SHUFFLED, UNIFORM, None),
        "C4b": (LATE, MIN_SNR, UNIFORM, None),
        "C4c": (LATE, BOTH, MIN_SNR, (CURRICULUM, UNIFORM)),
        "C4d": (FINAL, BOTH, MIN_SNR, None),
    }
    gates = [(g.method, g.metric, g.minus, g.least, g.most) for g in PAPER.gates]
    assert gates == [
        (UNIFORM, FINAL, REAL, 1.1, None),
        (UNIFORM, scores.ROOM, None, 0.25, None),
        (UNIFORM, scores.TAIL, None, None, 0.3),
        (CURRICULUM, scores.IN_TIME, None, 1, None),
        (BOTH, scores.IN_TIME, None, 1, None),
        (ALONE, scores.SLOWEST, None, 20, None),
    ]
    full = PAPER.settings("full")
    assert (full.clusters, full.smoothing, full.count, full.without) == (6, 0.95, 1000, ())
    assert (full.recipe.lr, full.recipe.updates, full.patience) == (2e-3, 2500, 30)
    assert (full.recipe.keep, full.recipe.batch, training.CALLS) == (0.995, 128, 20)
    check_probe(PAPER, recorded(PAPER.slug))
