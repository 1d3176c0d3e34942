"""In-context regression: the construction, the yardsticks, the probes, and how a run is wired."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group
from sklearn.linear_model import LinearRegression, Ridge
from torch import nn
from torch.nn import functional as F

from stages import zoo
from stages.evidence import Outcome, in_setting, tidy_scores
from stages.papers.mechanisms.icl_linear import (
    PAPER,
    HandWritten,
    Probing,
    distance,
    distances,
    effective_penalty,
    estimators,
    implied,
    inside,
    probe,
    scores,
    training,
)
from stages.papers.mechanisms.icl_linear.estimators import FIRST, GD, KNN, OLS, PENALTIES, RIDGE, STEPS, TUNED
from stages.papers.mechanisms.icl_linear.experiment import DEEP, MIDDLE, SHALLOW, Settings
from stages.worlds import linreg
from stages.zoo import in_context
from stages.zoo.in_context import CONTROL, Family, Regressor, Task, build

D, PAIRS, STEP = 3, 6, 0.07
TINY = Family(Task(width=8, heads=1, steps=7, batch=4, lr=0.01), shallow=5, noisy=3, control=2)


@pytest.fixture(scope="module")
def world():
    """Prompts that float32 holds exactly, so that tokens and estimators see the same numbers."""
    drawn = linreg.sample(2000, PAIRS, D, 0, stream=("test",))
    return replace(drawn, x=drawn.x.float().double(), y=drawn.y.float().double())


@pytest.fixture(scope="module")
def known(world):
    return estimators.references(world)


class Estimator(nn.Module):
    """An estimator in a network's clothes, with a bend if asked; nobody reads the last answer of a query."""

    def __init__(self, weights, bend=0.0):
        super().__init__()
        self.weights, self.bend = weights, bend

    def forward(self, tokens):
        x, y = linreg.decode(tokens)
        y = F.pad(y, (0, x.shape[1] - y.shape[1]))
        said = (self.weights(x, y) * x.double()).sum(-1)
        return said + self.bend * said.square()


# ---- the construction


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_by_hand_a_stack_takes_as_many_steps_of_gradient_descent(world, steps):
    """One layer on every prefix, under a causal mask; several on a prefix that sees itself."""
    tokens = linreg.encode(world.x, world.y).double()[:20]
    expected = (linreg.gradient_descent(world.x, world.y, STEP, steps) * world.x).sum(-1)[:20]
    stack = HandWritten(D, 2 * PAIRS, STEP, steps, causal=False)
    for n in range(PAIRS):
        answer = stack(tokens[:, : 2 * n + 1])[:, -1]
        torch.testing.assert_close(answer, expected[:, n], atol=1e-12, rtol=0)
    if steps == 1:
        torch.testing.assert_close(HandWritten(D, 2 * PAIRS, STEP)(tokens), expected, atol=1e-12, rtol=0)
    else:
        with pytest.raises(ValueError, match=f"{steps} steps under a causal mask"):
            HandWritten(D, 2 * PAIRS, STEP, steps)
    assert not list(stack.parameters())


# ---- the yardsticks


def test_yardsticks_are_those_of_the_text(world, known):
    x, y = world.x, world.y
    moment = torch.einsum("npd,np->nd", x[:, :2], y[:, :2])
    torch.testing.assert_close(known[GD][20][:, 2], 2 * STEPS[20] * (moment * x[:, 2]).sum(-1))
    step, gamma, n = 0.05, 0.03, 4
    p = torch.eye(D, dtype=torch.float64) - gamma * x[7, :n].T @ x[7, :n]  # GD++ conditions pairs and query alike
    expected = 2 * step * (x[7, :n] @ p).T @ y[7, :n] @ (p @ x[7, n])
    assert estimators.plus_plus(x, y, step, gamma)[7, n] @ x[7, n] == pytest.approx(expected.item())
    for i in (3, 30):
        fitted = Ridge(alpha=PENALTIES[i], fit_intercept=False).fit(x[5, :4], y[5, :4])
        assert known[TUNED][i, 5, 4].item() == pytest.approx(fitted.predict(x[5, 4:5])[0])
    for i in range(20):
        alone = LinearRegression(fit_intercept=False).fit(x[i, :1], y[i, :1]).predict(x[i])
        assert known[FIRST][0, i, 1:].numpy() == pytest.approx(alone[1:])
    assert (known[FIRST][0, :, 0] == 0).all()
    for name, steps in ((estimators.TWO, 2), (estimators.FOUR, 4)):
        w = linreg.gradient_descent(x, y, STEPS[9], steps)
        torch.testing.assert_close(known[name][9], (w * x).sum(-1))
    torch.testing.assert_close(known[estimators.TRUTH][0], y, atol=1e-5, rtol=0)
    for name, i, w in (
        (estimators.SGD, 9, linreg.sgd(x, y, STEPS[9])),
        (estimators.PLUS, 5, estimators.plus_plus(x, y, STEPS[4], 0.03)),
    ):
        torch.testing.assert_close(known[name][i], (w * x).sum(-1))
    for name, weighted in ((KNN, False), (estimators.WEIGHTED, True)):
        torch.testing.assert_close(known[name][0], linreg.nearest(x, y, weighted=weighted))


def test_least_squares_knows_neither_scale_nor_rotation_and_ridge_knows_scale(world, known):
    turn = torch.from_numpy(ortho_group.rvs(D, random_state=0))
    moved = estimators.textbook(replace(world, x=2.0 * world.x @ turn))
    torch.testing.assert_close(moved[OLS], known[OLS])
    assert not torch.allclose(moved[RIDGE], known[RIDGE], atol=0.01)
    assert distance(known[OLS][0], known[RIDGE], D) == pytest.approx(0.0159, rel=0.15)  # what has to be resolved


def test_a_distance_is_that_of_the_best_setting_for_each_number_of_pairs_below_d(known):
    said = torch.randn(2000, PAIRS, generator=torch.Generator().manual_seed(0))
    found = distances(said, known[GD], D)
    assert found.shape == (len(STEPS), PAIRS)
    assert found[7, 3].item() == pytest.approx(((said[:, 3] - known[GD][7, :, 3]) ** 2).mean().item() / 3)
    best = [min(found[k, n].item() for k in range(len(found))) for n in (1, 2)]
    assert distance(said, known[GD], D) == pytest.approx(sum(best) / 2)
    for i in (3, 30):
        assert distance(known[TUNED][i], known[TUNED], D) == 0
        assert effective_penalty(known[TUNED][i], known[TUNED], D) == pytest.approx(PENALTIES[i])
    family = torch.ones(len(PENALTIES), 5, PAIRS)  # one λ* for all numbers of pairs from 1 to 2
    family[30, :, 1:3] = torch.tensor([0.0, 0.5])
    family[20, :, 1:3] = torch.tensor([0.6, 0.0])
    family[30, :, 0] = family[30, :, 3:] = 9.0  # no pairs, or d of them, do not count
    assert effective_penalty(torch.zeros(5, PAIRS), family, D) == pytest.approx(PENALTIES[30])


def test_implied_weights_of_a_linear_learner_are_its_own_and_account_for_all(world):
    queries = torch.randn(20, 12, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for n in (1, 2, 4):
        w, share = implied(Estimator(linreg.least_squares), world, n, queries)
        torch.testing.assert_close(w, linreg.least_squares(world.x, world.y)[:20, n], atol=1e-4, rtol=1e-4)
        assert share == pytest.approx(1.0, abs=1e-6)
        assert implied(Estimator(linreg.least_squares, bend=1.0), world, n, queries)[1] < 0.9


# ---- the probes


def test_a_linear_probe_finds_scikit_learns_solution_and_an_mlp_more():
    """Targets: one linear in the state of one token, one a product that no line can read."""
    chance = torch.Generator().manual_seed(0)
    states = torch.randn(1, 1400, 3, 4, generator=chance)
    read = states[0, :, 1]
    targets = torch.stack([3 + 7 * read[:, :2] + 2 * read[:, 2:], read[:, :2] * read[:, 2:]])
    how = Probing((1,), train=1000, test=400, hidden=32, steps=300, batch=100, lr=0.02)
    line, mlp = (probe(states, targets, how, 0, linear)[:, 0] for linear in (True, False))
    assert line[0] < 0.05  # and it found the token by itself
    assert line[1] > 0.9
    assert mlp[1] < 0.4
    fitted = LinearRegression().fit(read[:1000], targets[1, :1000])
    assert line[1].item() == pytest.approx(1 - fitted.score(read[1000:], targets[1, 1000:]), abs=0.1)


def test_a_probe_is_tested_on_prompts_it_has_not_seen_and_reads_one_stage():
    chance = torch.Generator().manual_seed(0)
    noise, targets = torch.randn(3, 40, 2, 4, generator=chance), torch.randn(2, 40, 3, generator=chance)
    how = Probing((1,), train=20, test=20, hidden=64, steps=200, batch=20)
    found = probe(noise, targets, how, 0)
    assert found.shape == (2, 3)
    assert (found > 0.9).all()  # what was learnt by heart helps nothing
    other = noise.clone()
    other[2] = 0.0
    torch.testing.assert_close(probe(other, targets, how, 0)[:, :2], found[:, :2])
    assert not torch.equal(probe(noise, targets, how, 1), found)


def test_probes_read_each_number_of_pairs_up_to_its_query(monkeypatch):
    """A probe's targets are XᵀY and least squares' w of the pairs before the query, of prompts kept for it."""
    calls, asked = [], []

    def planted(states, targets, how, seed, linear):
        calls.append((states, targets, how, seed, linear))
        return torch.full((2, 5), float(len(calls)))

    sample = linreg.sample
    monkeypatch.setattr(inside, "probe", planted)
    monkeypatch.setattr(linreg, "sample", lambda *a, **how: (asked.append((a, how)), sample(*a, **how))[1])
    network, how = Regressor(TINY.task).eval(), Probing((2, 4), train=30, test=20)
    found = inside.probe_all(network, how, TINY.task, 3, linear=True)
    assert torch.equal(found, torch.full((2, 5), 1.5))  # the mean of both
    assert asked == [((50, PAIRS, D, 3), {"stream": ("probe",)})]
    drawn = sample(50, PAIRS, D, 3, stream=("probe",))
    whole = network.states(linreg.encode(drawn.x, drawn.y))
    for n, (states, targets, *rest) in zip((2, 4), calls, strict=True):
        assert rest == [how, 3, True]
        torch.testing.assert_close(states, whole[:, :, : 2 * n + 1])
        moment = torch.einsum("npd,np->nd", drawn.x[:, :n], drawn.y[:, :n])
        shortest = [np.linalg.pinv(x[:n]) @ y[:n] for x, y in zip(drawn.x.numpy(), drawn.y.numpy(), strict=True)]
        torch.testing.assert_close(targets[0], moment.float(), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(targets[1], torch.tensor(np.array(shortest)).float(), atol=1e-4, rtol=1e-3)


# ---- how a run is wired


@pytest.fixture
def trained(monkeypatch):
    """What `learn` trains, in order: task, seed, stream and weights at the start; training leaves a mark."""
    seen = []

    def train(network, task, seed, *names, watch=None):
        start = network.gpt.positions.detach().clone()
        seen.append(SimpleNamespace(task=task, seed=seed, names=names, start=start, network=network, watch=watch))
        nn.init.constant_(network.gpt.positions, len(seen))
        for step in range(task.steps) if watch else ():
            watch(step)

    monkeypatch.setattr(training, "train", train)
    return seen


def test_each_arm_is_trained_as_its_own(trained):
    arms = in_context.tasks(TINY)
    looked = []
    found = training.learn(arms, 5, {DEEP: lambda network, step: looked.append((network, step))})
    assert list(found) == [SHALLOW, MIDDLE, DEEP, "noise 1/16", "noise 1/4", "noise 1/1", CONTROL]
    expected = {  # blocks, σ, w all ones, updates
        SHALLOW: (1, 0.0, False, 5), MIDDLE: (2, 0.0, False, 7), DEEP: (4, 0.0, False, 7),
        "noise 1/16": (4, 0.25, False, 3), "noise 1/4": (4, 0.5, False, 3), "noise 1/1": (4, 1.0, False, 3),
        CONTROL: (4, 0.0, True, 2),
    }  # fmt: skip
    for (name, (depth, sigma, ones, steps)), one in zip(expected.items(), trained, strict=True):
        task = one.task
        assert (task.depth, task.sigma, task.ones, task.steps) == (depth, sigma, ones, steps)
        assert (task.lr, task.batch, task.pairs, task.d, one.seed) == (0.01, 4, PAIRS, D, 5)
        assert one.network is found[name]
        assert len(one.network.gpt.blocks) == depth
        assert not one.network.training
        assert not any(p.requires_grad for p in one.network.parameters())
        goes_on = torch.equal(one.start, torch.full_like(one.start, 3.0))  # the mark of the third
        assert goes_on == bool(sigma)
    assert len({one.names for one in trained if not one.task.sigma}) == 1  # paired: the same sequences
    assert len({one.names for one in trained}) == 2
    assert looked == [(found[DEEP], step) for step in range(7)]
    first = [one.start for one in trained if one.task.depth != 4]
    assert not torch.equal(*first)
    training.learn({SHALLOW: arms[SHALLOW]}, 6, {})
    assert not torch.equal(trained[-1].start, trained[0].start)  # another seed starts from other weights


def test_full_and_shipped_networks_are_of_one_recipe(monkeypatch, trained):
    full = PAPER.settings("full")
    assert full.family == PAPER.settings("quick").family == in_context.RECIPE.settings
    assert full.family.depths == (1, 2, 4)
    assert not full.shipped
    assert PAPER.settings("quick").shipped
    groups = build(replace(TINY, seeds=2)).requires_grad_(False)
    monkeypatch.setattr(zoo, "load", lambda name: groups)
    for seed in (3, 4):
        found = training.load(seed)
        assert found[DEEP] is groups[seed % 2][DEEP]
        assert found[SHALLOW] is groups[seed % 2][SHALLOW]
        assert found[CONTROL] is groups[0][CONTROL]
        assert list(found) == list(in_context.tasks(TINY))

    def load(seed):
        raise LookupError(f"networks of {seed}")

    monkeypatch.setattr(training, "load", load)
    with pytest.raises(LookupError, match=r"^networks of 7$"):
        PAPER.run(Settings(TINY, shipped=True), 7)


def test_a_watch_keeps_distances_at_growing_steps_on_prompts_of_the_test():
    outcome, task = Outcome(), TINY.task
    watch = training.Watch(replace(task, steps=200), 50, 4, seed=2)
    for step in range(200):
        weights = linreg.least_squares if step == 199 else lambda x, y: linreg.ridge(x, y, 0.1)
        watch.look(Estimator(weights), step)
    watch.record(outcome)
    lines = {row["method"]: row for row in outcome.curves}
    assert list(lines) == [OLS, RIDGE, GD]
    assert lines[OLS]["x"] == [30, 56, 106, 200]
    drawn = linreg.sample(50, PAIRS, D, 2, stream=("test",))
    known = estimators.textbook(drawn)
    gap = distance(known[OLS][0], known[RIDGE], D)
    assert lines[RIDGE]["y"] == pytest.approx([0, 0, 0, gap], abs=1e-6)
    assert lines[OLS]["y"] == pytest.approx([gap, gap, gap, 0], abs=1e-6)


PLANTED = {  # what each network of the planted run does
    SHALLOW: lambda x, y: linreg.gradient_descent(x, y, float(STEPS[25])),
    MIDDLE: lambda x, y: linreg.ridge(x, y, 0.1),
    DEEP: lambda x, y: linreg.ridge(x, y, 0.01),
    "noise 1/16": lambda x, y: linreg.ridge(x, y, float(PENALTIES[20])),
    "noise 1/4": lambda x, y: linreg.ridge(x, y, float(PENALTIES[30])),
    "noise 1/1": lambda x, y: linreg.ridge(x, y, float(PENALTIES[35])),
    CONTROL: lambda x, y: torch.full_like(x.double(), 1.5),
}


@pytest.fixture(scope="module")
def planted():
    """A run of seed 4 whose networks are estimators, and whose probes read what is planted."""
    networks = {name: Estimator(weights) for name, weights in PLANTED.items()}
    learnt, probed, asked, watched, questions = [], [], [], [], scores.questions
    settings = Settings(TINY, contexts=300, weighed=40, queries=9, probing=Probing((2,)), looks=5)

    def learn(arms, seed, watches):
        learnt.append((arms, seed, list(watches)))
        for name, look in watches.items():
            look(networks[name], TINY.task.steps - 1)
        return networks

    def probe_all(network, how, task, seed, linear=False):
        name = next(name for name, one in networks.items() if one is network)
        probed.append((name, how, task, seed, linear))
        lines = {
            (DEEP, True): [[0.1, 0.8, 0.7, 0.9, 0.9], [0.1, 0.9, 0.8, 0.6, 0.9]],
            (DEEP, False): [[0.5, 0.35, 0.3, 0.6, 0.7], [0.65, 0.6, 0.4, 0.25, 0.34]],
            (CONTROL, False): [[0.4, 0.45, 0.55, 0.6, 0.7], [0.5, 0.75, 0.7, 0.8, 0.9]],
        }
        return torch.tensor(lines[name, linear])

    sample, watch = linreg.sample, training.Watch.__init__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.Watch, "__init__", lambda self, *a: (watched.append(a), watch(self, *a))[1])
        patch.setattr(scores, "questions", lambda *a: (watched.append(a), questions(*a))[1])
        patch.setattr(linreg, "sample", lambda *a, **how: (asked.append((a, how)), sample(*a, **how))[1])
        patch.setattr(training, "learn", learn)
        patch.setattr(training.Watch, "look", lambda self, network, step: self.lines[OLS].append(0.0))
        patch.setattr(training.Watch, "record", lambda self, outcome: None)
        patch.setattr(inside, "probe_all", probe_all)
        outcome = PAPER.run(settings, 4)
    value = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    curves = {(row["method"], row["name"]): row["y"] for row in outcome.curves}
    return SimpleNamespace(
        curves=curves,
        settings=settings,
        outcome=outcome,
        value=value,
        learnt=learnt,
        probed=probed,
        asked=asked,
        sample=sample,
        watched=watched,
    )


def test_a_run_trains_its_arms_and_tests_on_other_prompts(planted):
    ((arms, seed, watched),) = planted.learnt
    assert (arms, seed, watched) == (in_context.tasks(TINY), 4, [DEEP])
    assert planted.watched == [(arms[DEEP], 300, 5, 4), (40, 9, D, 4)]  # and the questions for implied weights
    assert not torch.equal(scores.questions(2, 2, D, 0), scores.questions(2, 2, D, 1))
    how = planted.settings.probing
    assert planted.probed == [
        (DEEP, how, TINY.task, 4, True), (DEEP, how, TINY.task, 4, False), (CONTROL, how, TINY.task, 4, False),
    ]  # fmt: skip
    assert {(args, options["stream"]) for args, options in planted.asked} == {((300, PAIRS, D, 4), ("test",))}
    assert planted.outcome.exhibits["networks"].keys() == arms.keys()


def test_every_distance_is_on_its_own_prompts(planted):
    """Each network beside each estimator, worked out from the prompts of its noise."""
    value = planted.value

    def gap(one, other):
        return ((one - other)[:, 1:3] ** 2).mean(0).mean().item() / D

    for name in (SHALLOW, MIDDLE, DEEP, "noise 1/16", "noise 1/4", "noise 1/1"):
        sigma = float(eval(name.removeprefix("noise "))) ** 0.5 if "noise" in name else 0.0
        drawn = planted.sample(300, PAIRS, D, 4, sigma=sigma, stream=("test",))
        x, y = drawn.x, drawn.y

        def say(weights, x=x, y=y):
            return (weights(x, y) * x).sum(-1)

        said = say(PLANTED[name])
        best = say(lambda x, y, s=sigma: linreg.ridge(x, y, s**2) if s else linreg.least_squares(x, y))
        assert value[name, scores.EXCESS] == pytest.approx(((said - best) ** 2).mean().item(), rel=1e-3)
        expected = {OLS: gap(said, say(linreg.least_squares))}
        for n in (16, 4, 1):
            expected[f"ridge(1/{n})"] = gap(said, say(lambda x, y, n=n: linreg.ridge(x, y, 1 / n)))
        if not sigma:
            expected[RIDGE] = gap(said, say(lambda x, y: linreg.ridge(x, y, 0.1)))
            expected[FIRST] = gap(said, say(estimators.first_pair))
            rest = [value[other, in_setting(scores.DISTANCE, name)] for other in estimators.REST]
            expected[scores.NEAREST_REST] = min(rest)
            assert min(rest) < max(rest)
        for other, number in expected.items():
            found = value[other, in_setting(scores.DISTANCE, name)]
            assert found == pytest.approx(number, rel=1e-3, abs=1e-9), (name, other)
        assert value[name, scores.TO_OLS] == value[OLS, in_setting(scores.DISTANCE, name)]
    assert value[GD, in_setting(scores.DISTANCE, SHALLOW)] == pytest.approx(0, abs=1e-9)
    assert value[RIDGE, in_setting(scores.DISTANCE, MIDDLE)] == pytest.approx(0, abs=1e-9)
    ones = planted.sample(300, PAIRS, D, 4, stream=("test",)).x.sum(-1)
    drawn = planted.sample(300, PAIRS, D, 4, stream=("test",))
    gaps = linreg.ridge(drawn.x, drawn.y, 0.01) - linreg.least_squares(drawn.x, drawn.y)
    gaps = ((gaps * drawn.x).sum(-1) ** 2).mean(0)[1:] / D
    for other, line in ((OLS, gaps.tolist()), (TUNED, [0] * 5)):  # ridge(0.01) is among the tuned
        curve = planted.curves[other, in_setting(scores.DISTANCE, DEEP)]
        assert curve == pytest.approx(line, rel=1e-3, abs=1e-9)
    assert value[CONTROL, scores.EXCESS] == pytest.approx((ones**2).mean().item() / 4, rel=1e-3)


def test_derived_scores_are_what_they_say(planted):
    value = planted.value
    rulers = [value[f"noise 1/{n}", scores.PENALTY] for n in (16, 4, 1)]
    assert rulers == pytest.approx(np.log10(PENALTIES[[20, 30, 35]]))
    x = np.log10([1 / 16, 1 / 4, 1])
    slope = ((x - x.mean()) * rulers).sum() / ((x - x.mean()) ** 2).sum()
    assert value[scores.NETWORKS, scores.SLOPE] == pytest.approx(slope)
    assert value[scores.BAYES, scores.SLOPE] == 1
    grid = {DEEP: OLS, "noise 1/16": "ridge(1/16)", "noise 1/4": "ridge(1/4)", "noise 1/1": "ridge(1/1)"}
    for name, own in grid.items():
        gaps = {other: value[other, in_setting(scores.DISTANCE, name)] for other in grid.values()}
        metric = in_setting(scores.DIAGONAL, name)
        assert value[scores.OWN, metric] == gaps.pop(own)
        assert value[scores.ANOTHER, metric] == min(gaps.values())
    drawn = planted.sample(300, PAIRS, D, 4, stream=("test",))
    own = linreg.ridge(drawn.x, drawn.y, 0.01)[:40, 1:3]
    for name, penalty in ((OLS, None), (RIDGE, 0.1)):
        w = linreg.ridge(drawn.x, drawn.y, penalty) if penalty else linreg.least_squares(drawn.x, drawn.y)
        expected = ((w[:40, 1:3] - own) ** 2).sum(-1).mean().item() / D
        assert value[name, scores.WEIGHT_DISTANCE] == pytest.approx(expected, rel=1e-2, abs=1e-7)
    assert value[DEEP, scores.LINEARITY] == pytest.approx(1)
    for name, scale, tau in (("x × 0.5", 0.5, 1), ("x × 2", 2, 1), ("x × 3", 3, 1), ("w × 3", 1, 3)):
        moved = planted.sample(300, PAIRS, D, 4, scale=scale, tau=tau, stream=("test",))
        gap = linreg.ridge(moved.x, moved.y, 0.01) - linreg.least_squares(moved.x, moved.y)
        gap = ((gap * moved.x).sum(-1)[:, 1:3] ** 2).mean().item() / D / (scale * tau) ** 2
        metric = in_setting(scores.FLAT, name)
        assert value[scores.SHIFTED, metric] == pytest.approx(gap, rel=1e-2, abs=1e-8)
        assert value[scores.TRAINED, metric] == value[DEEP, scores.TO_OLS]
    assert [value[inside.LINEAR, f"probe error [{t}]"] for t in ("w", "XᵀY")] == pytest.approx([0.6, 0.7])
    assert [value[inside.PERCEPTRON, f"probe error [{t}]"] for t in ("w", "XᵀY")] == pytest.approx([0.25, 0.3])
    assert [value[inside.AT_CONTROL, f"probe error [{t}]"] for t in ("w", "XᵀY")] == pytest.approx([0.7, 0.45])
    assert [value[inside.AT_INPUT, f"probe error [{t}]"] for t in ("w", "XᵀY")] == pytest.approx([0.65, 0.5])
    assert (value["XᵀY", inside.LAYER], value["w", inside.LAYER]) == (1, 3)
    assert planted.curves[inside.PERCEPTRON, "probe error [w]"] == pytest.approx([0.65, 0.6, 0.4, 0.25, 0.34])
    assert planted.curves[inside.AT_CONTROL, "probe error [XᵀY]"] == pytest.approx([0.4, 0.45, 0.55, 0.6, 0.7])


# ---- the record


def test_claims_and_gates_compare_what_they_say():
    one, two, four = (f"distance [depth {n}]" for n in (1, 2, 4))
    slope, flat, behind = "slope of log λ* on log σ²", "distance to least squares, scale taken out", "superiority"
    read, both, scales = "probe error", ("XᵀY", "w"), ("x × 0.5", "x × 2", "x × 3")
    claims = (*PAPER.claims, *PAPER.also)
    assert {c.key: (c.metric, c.better, c.worse, c.margin, c.kind, c.everywhere) for c in claims} == {
        "C1": (four, OLS, RIDGE, 0, behind, ()),
        "C2a": (slope, "networks", None, 0.5, behind, ()),
        "C3a": (one, GD, TUNED, 0, behind, ()),
        "C3c": (two, RIDGE, OLS, 0, behind, ()),
        "C4a": (read, "MLP probe", "linear probe", 0, behind, both),
        "C5a": (flat, "shifted", "as trained", 0.005, "equivalence", scales),
        "C1b": (four, OLS, GD, 0, behind, ()),
        "C1c": (four, OLS, "the nearest of the rest", 0, behind, ()),
        "C1d": ("distance of implied weights", OLS, RIDGE, 0, behind, ()),
        "C2b": (slope, "networks", "Bayes", 0.2, "equivalence", ()),
        "C2c": (
            *("distance to the network", "Bayes' ridge", "another ridge", 0, behind),
            ("depth 4", "noise 1/16", "noise 1/4", "noise 1/1"),
        ),
        "C3b": (two, TUNED, GD, 0, behind, ()),
        "C3d": ("distance to least squares", "depth 2", "depth 1", 0, behind, ()),
        "C3e": ("distance to least squares", "depth 4", "depth 2", 0, behind, ()),
        "C3f": (one, FIRST, TUNED, 0, behind, ()),
        "C4b": ("stage at which it is decodable", "XᵀY", "w", 0, behind, ()),
        "C4c": (read, "MLP probe", "MLP probe of the control", 0, behind, both),
        "C5b": (f"{flat} [w × 3]", "shifted", "as trained", 0.005, "equivalence", ()),
    }
    assert {c.key for c in claims if not c.lower_is_better} == {"C2a", "C2b"}
    assert list(estimators.REST) == [
        *("two GD steps, tuned", "four GD steps, tuned", "GD++ step, tuned", "SGD, tuned"),
        *("3 nearest", "3 nearest, weighted"),
    ]
    assert [(g.method, g.metric, g.minus, g.least, g.most) for g in PAPER.gates] == [
        ("depth 4", "error above Bayes", None, None, 0.1),
        ("depth 1", "error above Bayes", "depth 4", 0.5, None),
        ("noise 1/16", "error above Bayes", None, None, 0.1),
        ("control", "error above Bayes", None, None, 0.01),
        ("MLP probe of the input", "probe error [w]", None, 0.4, None),
    ]


def test_the_probe_goes_through_every_claim_and_is_pure():
    outcome, again = (PAPER.run(PAPER.settings("probe"), 0) for _ in range(2))
    assert outcome.scores == again.scores
    assert outcome.curves == again.curves
    table = tidy_scores({0: outcome})
    found = set(zip(table["method"], table["metric"], strict=True))
    for claim in (*PAPER.claims, *PAPER.also):
        assert {(method, metric) for method in claim.methods for metric in claim.metrics} <= found
    for gate in PAPER.gates:
        assert {(name, gate.metric) for name in filter(None, (gate.method, gate.minus))} <= found
