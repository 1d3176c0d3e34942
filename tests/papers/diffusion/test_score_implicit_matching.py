"""The loss against closed forms, its relatives, training against plain loops; how `run` is wired; the probe."""

import copy
import math
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from stages import zoo
from stages.evidence import Outcome, check_probe, recorded
from stages.models.denoiser import Denoiser, Preconditioned
from stages.papers.diffusion.score_implicit_matching import (
    PAPER,
    Answers,
    Recipe,
    Student,
    ask,
    diff_instruct,
    experiment,
    gaussians,
    generator_levels,
    identity_distillation,
    implicit,
    method,
    naive,
    pairs,
    pseudo_huber,
    rivals,
    scores,
    squared,
    teacher_calls,
)
from stages.papers.diffusion.score_implicit_matching.experiment import (
    BEST,
    CALLS,
    CURVE,
    DIVERGED,
    FAST,
    KL,
    L2,
    LAST,
    NAIVE,
    OVER_RUN,
    PAIRS,
    REAL,
    SID,
    SIM,
    START,
    TEACHER,
)
from stages.papers.diffusion.score_implicit_matching.scores import DISTANCE, PRECISION, RECALL, TOLD_APART
from stages.seeding import torch_rng
from stages.tracing import listening
from stages.training import diffusion

SIGMA = 0.8
HUBER = 0.3 * SIGMA**2  # 0.3 in units of scores


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def answers(seed=0, pixels=6, n=5):
    return Answers(*(normal(n, pixels, seed=seed + i).requires_grad_(True) for i in range(3)))


def small_teacher(seed=0, width=8):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Denoiser(64, width, 1)
        nn.init.normal_(network.leave.weight, std=0.1)
    return Preconditioned(network, 0.75).requires_grad_(False)


# ---- the gradient


def norm(y):
    return (y.square().sum(1) + HUBER**2).sqrt() - HUBER


def square(y):
    return y.square().sum(1)


def test_the_loss_has_the_gradient_of_the_distance_between_scores():
    for mean, deviation in ((0.4, 0.6), (-0.7, 1.3), (0.0, 0.8)):
        for slope, distance in ((squared, square), (partial(pseudo_huber, c=HUBER), norm)):
            got = gaussians.gradient(partial(implicit, slope=slope), mean, deviation, SIGMA)
            assert got == pytest.approx(gaussians.exact_gradient(distance, mean, deviation, SIGMA), abs=1e-5)
    mean, deviation = 0.4, 0.6
    # the squared distance by hand: u and v are the variances of noisy data and of noisy images
    u, v = 1 + SIGMA**2, deviation**2 + SIGMA**2
    by_hand = 2 * mean / (u * v), 4 * deviation / v**2 * (v / u - 1)
    exact = gaussians.exact_gradient(square, mean, deviation, SIGMA)
    assert [part / SIGMA**4 for part in exact] == pytest.approx(by_hand, abs=1e-9)


def test_what_is_detached_and_what_is_naive_has_another_gradient():
    """The numbers are those of a student N(0.4, 0.6²) or N(0.7, 0.6²) beside data N(0, 1), in units of scores."""

    def scale(slope):
        return gaussians.gradient(partial(implicit, slope=slope), 0.4, 0.6, SIGMA)[1]

    def held_norm(y):
        return y / (y.square().sum(1, keepdim=True) + HUBER**2).sqrt().detach()

    assert scale(squared) / SIGMA**4 == pytest.approx(-0.936, abs=1e-3)
    assert scale(lambda y: squared(y).detach()) / SIGMA**4 == pytest.approx(-0.468, abs=1e-3)  # half of it
    assert scale(partial(pseudo_huber, c=HUBER)) / SIGMA**2 == pytest.approx(-0.650, abs=1e-3)
    assert scale(held_norm) / SIGMA**2 == pytest.approx(-0.856, abs=1e-3)
    assert scale(lambda y: pseudo_huber(y, HUBER).detach()) / SIGMA**2 == pytest.approx(-0.325, abs=1e-3)
    u, v = 1.64, 1.0
    shift = [gaussians.gradient(loss, 0.7, 0.6, SIGMA)[0] for loss in (partial(implicit, slope=squared), naive)]
    assert shift[0] / SIGMA**4 == pytest.approx(2 * 0.7 / (u * v), abs=1e-6)
    assert shift[1] / SIGMA**4 == pytest.approx(2 * 0.7 / u * (1 / u - 1 / v), abs=1e-6)  # below 0: away from the data
    kl = gaussians.gradient(diff_instruct, 0.7, 0.6, SIGMA)[0]
    assert kl / SIGMA**2 == pytest.approx(0.7 / u, abs=1e-6)


def test_slopes_are_derivatives_with_one_norm_an_example():
    y = normal(4, 6).requires_grad_(True)
    for slope, distance in ((squared, square), (partial(pseudo_huber, c=HUBER), norm)):
        expected = torch.autograd.grad(distance(y).sum(), y)[0]
        assert torch.allclose(slope(y), expected, atol=1e-6)
    assert torch.allclose(pseudo_huber(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), 12.0)[0], torch.tensor([3, 4]) / 13)
    assert torch.equal(pseudo_huber(torch.zeros(1, 2), 12.0), torch.zeros(1, 2))
    a = answers()
    expected = [-2 * ((f - t) * (f - x)).sum().item() for x, t, f in zip(a.x, a.teacher, a.fake, strict=True)]
    assert implicit(a, squared).tolist() == pytest.approx(expected, rel=1e-5)


def test_the_relatives_are_what_they_are_said_to_be():
    a = answers()
    gap, residual = a.fake - a.teacher, a.fake - a.x
    omega = (a.x - a.teacher).abs().mean(1)
    for alpha in (1.0, 1.2, 0.5):
        as_published = (-gap * ((a.teacher - a.x) + alpha * gap)).sum(1) / omega
        assert torch.allclose(identity_distillation(a, alpha), as_published, atol=1e-5)
        of_sim = (implicit(a, squared) / 2 - (alpha - 1) * gap.square().sum(1)) / omega.detach()
        for part in (a.x, a.teacher, a.fake):
            got, expected = (
                torch.autograd.grad(loss.sum(), part, retain_graph=True)[0]
                for loss in (identity_distillation(a, alpha), of_sim)
            )
            assert torch.allclose(got, expected, atol=1e-5)  # the scale carries no gradient
    same = Answers(a.x, a.x.detach(), a.fake)  # a teacher without any error
    assert torch.allclose(identity_distillation(same, 1.0), -residual.square().sum(1) * 1e5, rtol=1e-4)
    assert torch.allclose(naive(a), gap.square().sum(1))
    found = torch.autograd.grad(diff_instruct(a).sum(), (a.x, a.teacher, a.fake), allow_unused=True)
    assert torch.equal(found[0], gap.detach())
    assert found[1:] == (None, None)
    assert torch.allclose(diff_instruct(a), (gap * a.x).sum(1))


def test_noise_is_added_and_gradients_pass_through_the_inputs_of_both():
    x, sigma, noise = normal(3, 2).requires_grad_(True), torch.tensor([0.0, 1.0, 2.0]), normal(3, 2, seed=1)
    levels = []

    def double(y, level):
        levels.append(level)
        return 2 * y

    a = ask(x, sigma, noise, teacher=lambda y, level: 3 * y, fake=double)
    noisy = x + sigma[:, None] * noise
    assert torch.allclose(a.teacher, 3 * noisy)
    assert torch.allclose(a.fake, 2 * noisy)
    assert torch.allclose(a.gap, -noisy)
    assert torch.allclose(a.residual, 2 * noisy - x)
    assert a.x is x
    assert levels[0] is sigma
    for part, factor in ((a.teacher, 3.0), (a.fake, 2.0), (a.gap, -1.0), (a.residual, 1.0)):
        assert (torch.autograd.grad(part.sum(), x, retain_graph=True)[0] == factor).all()


# ---- training

# no field but the pixels is as it is by default
CHANGED = Recipe(3e-3, 4, 6, start=2.0, mean=-0.4, deviation=0.9, least=0.05, most=10.0, reach=0.7, keep=0.9)


def test_a_student_is_the_teacher_at_one_level_and_levels_are_those_of_karras():
    teacher = small_teacher()
    student = Student(teacher, 3.0)
    z = normal(5, 64)
    assert torch.allclose(student(z), teacher(3 * z, torch.full((5,), 3.0)), atol=1e-5)
    student.denoiser.network.leave.bias.data += 1
    assert not torch.allclose(student(z), teacher(3 * z, torch.full((5,), 3.0)), atol=0.1)  # a copy
    assert all(p.requires_grad for p in student.parameters())
    recipe = Recipe(1e-3)
    levels = generator_levels(torch.linspace(0, 1, 81), recipe)
    assert torch.allclose(levels, diffusion.karras_sigmas(101, 0.02, 20.0)[:-1].flip(0)[:81], rtol=1e-4)
    assert levels[[0, -1]].tolist() == pytest.approx([0.02, 7.83], rel=1e-3)
    fixed = (recipe.iterations, recipe.batch, recipe.start, recipe.keep, recipe.mean, recipe.deviation)
    assert fixed == (1500, 64, 3.0, 0.995, -0.6, 1.2)


def plain_distillation(teacher, loss, recipe, seed):
    """The whole training in one loop, with torch's own optimiser."""
    chance = torch_rng(seed, "distillation")
    student, fake, data = copy.deepcopy(teacher).requires_grad_(True), copy.deepcopy(teacher), teacher.data
    fake.requires_grad_(True)
    adams = [torch.optim.Adam(net.parameters(), recipe.rate, betas=(0.0, 0.999)) for net in (student, fake)]
    shape, n = (recipe.batch, 64), recipe.batch
    average, trace = None, []

    def images():
        z = torch.randn(shape, generator=chance)
        return student(recipe.start * z, torch.full((n,), recipe.start))

    for _ in range(recipe.iterations):
        x = images().detach()
        sigma = torch.exp(recipe.mean + recipe.deviation * torch.randn(n, generator=chance))[:, None]
        error = fake(x + sigma * torch.randn(shape, generator=chance), sigma[:, 0]) - x
        adams[1].zero_grad()
        online = ((sigma**2 + data**2) / (sigma * data) ** 2 * error.square()).mean()
        online.backward()
        adams[1].step()
        x = images()
        ends = [end ** (1 / 7) for end in (recipe.least, recipe.most)]
        sigma = (ends[0] + recipe.reach * torch.rand(n, generator=chance) * (ends[1] - ends[0])) ** 7
        noisy = x + sigma[:, None] * torch.randn(shape, generator=chance)
        adams[0].zero_grad()
        value = loss(Answers(x, teacher(noisy, sigma), fake(noisy, sigma))).mean()
        value.backward()
        adams[0].step()
        now = [p.detach().clone() for p in student.parameters()]
        average = now if average is None else [0.9 * a + 0.1 * b for a, b in zip(average, now, strict=True)]
        trace.append(average)
    return now, trace, {"last online loss": online.item(), "last loss": value.item()}


def test_distillation_is_the_plain_loop_and_leaves_the_teacher_alone():
    teacher = small_teacher()
    before = [p.clone() for p in teacher.parameters()]
    recipe = CHANGED
    results = []
    for loss in (partial(implicit, slope=partial(pseudo_huber, c=0.6)), partial(identity_distillation, alpha=1.2)):
        seen = []

        def watch(step, m, seen=seen):
            seen.append((step, [p.clone() for p in m.parameters()]))

        with listening() as heard:
            last, average = method.distil(teacher, loss, recipe, 5, watch)
        now, trace, losses = plain_distillation(teacher, loss, recipe, 5)
        assert dict(heard) == pytest.approx(losses, rel=1e-3)
        assert [step for step, _ in seen] == [1, 2, 3, 4]
        for got, expected in ((last.parameters(), now), (average.parameters(), trace[-1]), (seen[1][1], trace[1])):
            for a, b in zip(got, expected, strict=True):
                assert torch.allclose(a, b, atol=2e-5)
        results.append(now[-2])
    assert all(torch.equal(a, b) for a, b in zip(teacher.parameters(), before, strict=True))
    assert not torch.allclose(results[0], results[1], atol=1e-4)  # another loss, another student
    other, _ = method.distil(teacher, naive, recipe, 6, lambda *_: None)
    again, _ = method.distil(teacher, naive, recipe, 5, lambda *_: None)
    assert not torch.equal(other.denoiser.network.leave.weight, again.denoiser.network.leave.weight)


class Counted(nn.Module):
    """A denoiser that counts images on their way forward, and on their way back to its input."""

    def __init__(self, denoiser):
        super().__init__()
        self.denoiser = denoiser
        self.data = denoiser.data
        self.calls = SimpleNamespace(forward=0, back=0)

    def __deepcopy__(self, memo):
        return copy.deepcopy(self.denoiser, memo)

    def forward(self, x, sigma):
        self.calls.forward += len(x)
        if x.requires_grad:
            x.register_hook(lambda gradient: setattr(self.calls, "back", self.calls.back + len(gradient)))
        return self.denoiser(x, sigma)


def test_pairs_cost_as_many_teacher_calls_as_a_distillation():
    recipe = replace(CHANGED, iterations=6, batch=8)
    teacher = Counted(small_teacher())
    method.distil(teacher, partial(implicit, slope=squared), recipe, 0, lambda *_: None)
    assert teacher.calls.forward == 48
    assert teacher.calls.back >= 48
    assert teacher_calls(recipe) == 96
    bank = Counted(small_teacher())
    z, images = pairs(bank, 3, recipe, 4)
    assert len(z) == 96 // 5
    assert bank.calls.forward == 5 * (96 // 5)
    assert torch.allclose(images, diffusion.heun(bank, z, diffusion.karras_sigmas(3, 0.05, 10.0)))
    assert torch.equal(z, torch.randn(96 // 5, 64, generator=torch_rng(4, "pairs")))  # no test noise among it
    assert not torch.equal(z, pairs(bank, 3, recipe, 5)[0])


def test_regression_is_the_plain_loop():
    teacher = small_teacher()
    recipe = CHANGED
    z, images = pairs(teacher, 2, recipe, 5)
    student = copy.deepcopy(teacher).requires_grad_(True)
    adam = torch.optim.Adam(student.parameters(), 3e-3, betas=(0.0, 0.999))
    chance = torch_rng(5, "batches of pairs")
    average = None
    for _ in range(4):
        rows = torch.randint(len(z), (6,), generator=chance)
        adam.zero_grad()
        value = (student(2 * z[rows], torch.full((6,), 2.0)) - images[rows]).square().sum(1).mean()
        value.backward()
        adam.step()
        now = [p.detach().clone() for p in student.parameters()]
        average = now if average is None else [0.9 * a + 0.1 * b for a, b in zip(average, now, strict=True)]
    seen = []
    with listening() as heard:
        last, averaged = rivals.regress(teacher, 2, recipe, 5, lambda step, m: seen.append((step, m)))
    assert dict(heard) == pytest.approx({"last loss": value.item()}, rel=1e-3)
    assert [step for step, _ in seen] == [1, 2, 3, 4]
    assert all(m is averaged for _, m in seen)
    for got, expected in ((last, now), (averaged, average)):
        for a, b in zip(got.parameters(), expected, strict=True):
            assert torch.allclose(a, b, atol=1e-5)


# ---- how images are judged


def test_teacher_images_by_calls_and_images_that_are_not_finite_are_worst(monkeypatch):
    teacher = Counted(small_teacher())
    noise = normal(4, 64)
    drawn = scores.heun_images(teacher, noise, (1, 3, 18))
    assert list(drawn) == [1, 5, 35]
    assert teacher.calls.forward == 4 * (1 + 5 + 35)
    assert torch.allclose(drawn[5], diffusion.heun(teacher, noise, diffusion.karras_sigmas(3, 0.02, 20.0)))
    assert not scores.draw(Student(small_teacher(), 3.0), noise).requires_grad
    planted = SimpleNamespace(
        log_distance=lambda x: float(x[0, 0]), coverage=lambda x: (61.0, 72.0), told_apart=lambda x: 83.0
    )
    monkeypatch.setattr(scores, "judge", planted)
    images = torch.full((120, 2), 0.5)
    images[100:, 1] = 0.6
    lost = images.clone()
    lost[3, 1] = math.nan
    outcome = Outcome()
    scores.compare(outcome, "good", images)
    scores.compare(outcome, "lost", lost)
    found = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    metrics = (DISTANCE, PRECISION, RECALL, TOLD_APART)
    assert [found["good", m] for m in metrics] == [0.5, 61.0, 72.0, 83.0]
    assert [found["lost", m] for m in metrics] == [math.log(128), 0.0, 0.0, 100.0]
    assert torch.equal(outcome.exhibits["good"], images[:100])
    assert scores.log_distance(lost) == math.log(128)
    # what has diverged is no better than its start at the end, whatever it was on the way
    for start, curve, diverged in ((0.5, {1: 0.1, 2: 0.5}, 1), (0.6, {1: 0.9, 2: 0.8}, 0)):
        outcome = Outcome()
        experiment.test(outcome, "good", images, curve, start)
        assert [row["value"] for row in outcome.scores if row["metric"] == DIVERGED] == [diverged]


# ---- the wiring of the experiment

RATES = {SIM: 0.1, L2: 0.2, SID: 0.3, KL: 0.4, NAIVE: 0.5, PAIRS: 0.6}
TINY = experiment.Settings(
    **dict(zip(("sim", "l2", "sid", "kl", "naive", "pairs"), RATES.values(), strict=True)),
    iterations=9,
    batch=7,
    huber=0.2,
    pair_levels=4,
    levels=(2, 3, 5, 18),
    checks=3,
    samples=6,
)


class Planted(nn.Module):
    """A student whose images are one number everywhere."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, z):
        return torch.full_like(z, self.value)


class Recorder:
    """Stands in for both learners: the n-th student is 10 n + step / 100 after a step, and 1 more without averaging."""

    def __init__(self):
        self.calls = []

    def learn(self, kind, teacher, recipe, seed, watch, **given):
        self.calls.append(SimpleNamespace(kind=kind, teacher=teacher, recipe=recipe, seed=seed, **given))
        n = len(self.calls)
        for step in range(1, recipe.iterations + 1):
            watch(step, Planted(10 * n + step / 100))
        return Planted(10 * n + 1 + step / 100), Planted(10 * n + step / 100)


@pytest.fixture(scope="module")
def wired():
    """A run with recorders in the learners' place, and images judged by what was planted in them."""
    recorder = Recorder()
    teacher = small_teacher()
    noises, sizes = [], []

    def log_distance(x):
        sizes.append(len(x))
        return float(x.double().mean()) if x.min() == x.max() else 25.0  # 25: of real noise

    def heun_images(given, noise, levels):
        assert given is teacher
        noises.append(noise)
        return {2 * n - 1: torch.full_like(noise, abs(n - 5) - 7.0) for n in levels}  # best at 9 calls

    judge = SimpleNamespace(
        log_distance=log_distance,
        log_floor=lambda: -9.0,
        coverage=lambda x: (float(x.mean()) + 1, float(x.mean()) + 2),
        told_apart=lambda x: float(x.mean()) + 3,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(method, "distil", partial(recorder.learn, "distil"))
        patch.setattr(rivals, "regress", partial(recorder.learn, "regress"))
        patch.setattr(zoo, "load", lambda name: {"digits_edm": teacher}[name])
        patch.setattr(experiment, "heun_images", heun_images)
        patch.setattr(experiment, "judge", judge)
        patch.setattr(scores, "judge", judge)
        drawn = []
        plain = scores.draw
        patch.setattr(
            experiment, "draw", lambda student, noise: (drawn.append((student, noise)), plain(student, noise))[1]
        )
        outcome = PAPER.run(TINY, 3)
    found = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    curves = {(row["method"], row["name"]): row for row in outcome.curves}
    return SimpleNamespace(
        calls=recorder.calls,
        scores=found,
        curves=curves,
        teacher=teacher,
        noises=noises,
        sizes=sizes,
        drawn=drawn,
        outcome=outcome,
    )


def test_each_arm_has_its_own_loss_and_rate_and_all_share_teacher_and_seed(wired):
    a = answers(pixels=64)
    c = 0.2 * 0.75 * 8
    losses = {
        SIM: implicit(a, partial(pseudo_huber, c=c)),
        L2: identity_distillation(a, 1.0),
        SID: identity_distillation(a, 1.2),
        KL: diff_instruct(a),
        NAIVE: naive(a),
    }
    for call, name in zip(wired.calls, RATES, strict=False):
        assert call.recipe == Recipe(RATES[name], iterations=9, batch=7), name
        if name == PAIRS:
            assert (call.kind, call.levels) == ("regress", 4)
        else:
            assert call.kind == "distil"
            assert torch.equal(call.loss(a), losses[name]), name
    assert len(wired.calls) == 6
    assert all(call.teacher is wired.teacher and call.seed == 3 for call in wired.calls)
    full = experiment.FULL
    assert (full.huber, full.iterations, full.pair_levels) == (0.1, 1500, 7)
    assert [full.sim, full.l2, full.sid, full.kl, full.naive, full.pairs] == [1e-3, 1e-3, 1e-3, 1e-3, 3e-4, 1e-3]
    assert (full.batch, full.checks, full.samples) == (64, 10, 2000)
    assert full.levels == (1, 2, 3, 4, 5, 6, 8, 10, 13, 18, 26)
    assert PAPER.profiles["full"] == full
    for profile in PAPER.profiles.values():
        assert {3, 18} <= set(profile.levels)  # 5 and 35 calls are scored
        assert profile.iterations % profile.checks == 0  # the last check is at the end


def test_scores_are_those_worked_out_by_hand(wired):
    for n, name in enumerate(RATES, start=1):
        end = 10 * n + 0.09
        assert wired.scores[name, DISTANCE] == pytest.approx(end, abs=1e-5)  # of the average, at the end
        assert wired.scores[name, OVER_RUN] == pytest.approx(10 * n + 0.06, abs=1e-5)
        assert wired.scores[name, PRECISION] == pytest.approx(end + 1, abs=1e-4)
        assert wired.scores[name, RECALL] == pytest.approx(end + 2, abs=1e-4)
        assert wired.scores[name, TOLD_APART] == pytest.approx(end + 3, abs=1e-4)
        assert wired.scores[name, DIVERGED] == (end >= 25)  # the start
        assert wired.curves[name, DISTANCE]["x"] == [3, 6, 9]
        assert wired.curves[name, DISTANCE]["y"] == pytest.approx([10 * n + s for s in (0.03, 0.06, 0.09)], abs=1e-5)
        assert float(wired.outcome.exhibits[name].mean()) == pytest.approx(end, abs=1e-5)
    assert wired.scores[LAST, DISTANCE] == pytest.approx(11.09, abs=1e-5)
    assert wired.scores[START, DISTANCE] == 25
    assert wired.scores[REAL, DISTANCE] == -9
    assert (wired.scores[TEACHER, DISTANCE], wired.scores[FAST, DISTANCE]) == (6, -5)
    assert (wired.scores[TEACHER, RECALL], wired.scores[FAST, PRECISION]) == (8, -4)
    assert (wired.scores[BEST, DISTANCE], wired.scores[BEST, CALLS]) == (-7, 9)
    assert wired.curves["teacher", CURVE]["x"] == [3, 5, 9, 35]
    assert wired.curves["teacher", CURVE]["y"] == [-4, -5, -7, 6]


def test_all_are_tested_on_the_same_noise_of_the_seed(wired):
    expected = torch.randn(6, 64, generator=torch_rng(3, "test noise"))
    assert torch.equal(wired.noises[0], expected)
    assert all(torch.equal(noise, expected) for _, noise in wired.drawn)
    before = wired.drawn[0][0]
    assert isinstance(before, Student)
    assert before.start == 3
    assert torch.allclose(before(expected), wired.teacher(3 * expected, torch.full((6,), 3.0)), atol=1e-5)
    assert len(wired.drawn) == 1 + 6 * 3 + 6 + 1  # start, checks, ends, last weights
    assert set(wired.sizes) == {6}  # and all images are judged
    assert {len(images) for images in wired.outcome.exhibits.values()} == {6}


# ---- the record


def test_claims_and_gates_compare_what_they_say():
    claims = [(c.key, c.metric, c.better, c.worse, c.margin, c.kind, c.lower_is_better) for c in PAPER.claims]
    assert claims == [
        ("C1", DISTANCE, SIM, TEACHER, math.log(1.5), "noninferiority", True),
        ("C2", DISTANCE, SIM, FAST, 0.5, "superiority", True),
        ("C3", OVER_RUN, SIM, L2, 0.05, "superiority", True),
        ("C4", DISTANCE, SIM, PAIRS, 0.1, "superiority", True),
        ("C5", RECALL, SIM, KL, 0.0, "superiority", False),
    ]
    also = {c.key: (c.metric, c.better, c.worse, c.lower_is_better) for c in PAPER.also}
    assert also == {
        "C1b": (DISTANCE, SIM, BEST, True),
        "C1c": (DISTANCE, SIM, LAST, True),
        "C3b": (DISTANCE, SIM, L2, True),
        "C3c": (OVER_RUN, SIM, SID, True),
        "C3d": (OVER_RUN, SIM, KL, True),
        "C3e": (DISTANCE, SIM, KL, True),
        "C3f": (DISTANCE, SIM, NAIVE, True),
        "C3g": (DIVERGED, SIM, NAIVE, True),
        "C3h": (DIVERGED, SIM, L2, True),
        "C4b": (TOLD_APART, SIM, PAIRS, True),
        "C4c": (TOLD_APART, SIM, TEACHER, True),
        "C5b": (RECALL, SIM, TEACHER, False),
        "C5c": (RECALL, SIM, PAIRS, False),
        "C5d": (PRECISION, SIM, KL, False),
    }
    gates = [(g.method, g.metric, g.minus, g.least, g.most) for g in PAPER.gates]
    assert gates == [
        (TEACHER, DISTANCE, REAL, None, math.log(4)),
        (FAST, DISTANCE, TEACHER, math.log(3), None),
        (START, DISTANCE, TEACHER, math.log(10), None),
    ]


def test_the_probe_holds():
    check_probe(PAPER, recorded(PAPER.slug))
