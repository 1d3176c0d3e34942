"""The schedules, the stream they make, and what keeps the comparison fair."""

import gzip
import hashlib
import struct
from dataclasses import replace

import numpy as np
import pytest

from stages.evidence import judge, tidy_scores
from stages.papers.continual import power_law_rehearsal as paper
from stages.papers.continual.power_law_rehearsal import (
    PAPER,
    Budget,
    Environment,
    comparison,
    counts,
    exponential,
    matched_exponential,
    mean_lag,
    power_law,
    recency,
    rehearsals,
    shares,
    stream,
)
from stages.worlds import digits

BUDGET = Budget(examples=300, rehearsed=50, epochs=2, batch=20)
TINY = replace(
    PAPER.profiles["quick"], budget=replace(BUDGET, examples=100, rehearsed=40), tasks=3, hidden=(16,), watched=5
)
ARRANGEMENTS = ("mixed", "sequential", "environment")


def settings(**changes):
    return replace(TINY, **changes)


# ---- schedules


def test_a_power_law_is_a_straight_line_on_log_axes():
    lags = np.arange(1.0, 50)
    assert np.diff(np.log(power_law(1.5)(lags))) == pytest.approx(-1.5 * np.diff(np.log(lags)))


def test_the_power_law_runs_from_uniform_to_recency():
    assert shares(power_law(0), 7) == pytest.approx(np.full(7, 1 / 7))
    assert shares(power_law(60), 7) == pytest.approx(shares(recency, 7))


@pytest.mark.parametrize(
    "weights", [power_law(1), exponential(0.5), power_law(0), recency], ids=["pow", "exp", "uni", "rec"]
)
def test_shares_sum_to_one_and_favour_the_newest(weights):
    share = shares(weights, 9)
    assert share.sum() == pytest.approx(1)
    assert (np.diff(share) >= -1e-12).all()  # oldest first


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.0])
def test_the_exponential_is_matched_in_mean_lag_and_not_in_shape(alpha):
    law, match = power_law(alpha), matched_exponential(power_law(alpha), 9)
    assert mean_lag(match, 9) == pytest.approx(mean_lag(law, 9))
    if alpha:
        assert shares(match, 9)[0] < shares(law, 9)[0]  # the lighter tail: the oldest task gets less


def test_the_dossiers_exercise_exposures_of_the_first_task():
    def exposures(weights):
        return sum(200 * shares(weights, phase)[0] for phase in range(1, 10))

    assert exposures(power_law(1)) == pytest.approx(386, abs=0.5)
    assert exposures(power_law(0)) == pytest.approx(566, abs=0.5)


# ---- rounding


def test_rounded_counts_sum_to_the_budget_for_any_draw():
    for older in range(1, 30):
        for u in np.linspace(0, 0.999, 7):
            assert rehearsals(50 * shares(power_law(1), older), u).sum() == 50


def test_rounding_is_right_on_average_even_below_one_example():
    expected = 5 * shares(power_law(2), 20)  # the oldest task expects 0.008 examples
    draws = np.mean([rehearsals(expected, u) for u in (np.arange(20_000) + 0.5) / 20_000], axis=0)
    assert expected.min() < 0.01
    assert draws == pytest.approx(expected, abs=2e-4)


def test_rounded_counts_are_whole_and_next_to_what_is_expected():
    expected = 50 * shares(power_law(1), 12)
    for u in (0.0, 0.3, 0.9999):
        rounded = rehearsals(expected, u)
        assert rounded.dtype.kind == "i"
        assert (np.abs(rounded - expected) < 1).all()


# ---- the budget


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@pytest.mark.parametrize("phase", [1, 2, 9])
def test_all_shapes_rehearse_equally_much_and_update_equally_often(arrangement, phase):
    environments = comparison(settings(tasks=10), arrangement)
    rehearsed, steps = set(), set()
    for name, environment in environments.items():
        if name != paper.NONE:
            rehearsed.add(counts(environment, BUDGET, phase, u=0.4)[:-1].sum())
        steps.add(stream(environment, BUDGET, phase, seed=0).shape)
    assert len(rehearsed) == 1
    assert len(steps) == 1


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_the_batches_hold_what_was_counted(arrangement):
    environment = comparison(settings(tasks=10), arrangement)[paper.POWER]
    budget, u = BUDGET, paper.rng(3, "rounding", 6).random()
    batches = stream(environment, replace(budget, batch=1), 6, seed=3)
    shown = np.bincount(batches.ravel() // budget.examples, minlength=7)
    assert (shown == budget.epochs * counts(environment, budget, 6, u)).all()


def test_without_rehearsal_the_new_task_gets_the_slots():
    assert counts(Environment(None), BUDGET, 4, 0.5).tolist() == [0, 0, 0, 0, 350]
    assert (stream(Environment(None), BUDGET, 4, 0) >= 4 * 300).all()


def test_the_first_phase_is_the_same_for_all():
    first = [stream(e, BUDGET, 0, seed=1) for e in comparison(settings(tasks=10)).values()]
    assert all((batches == first[0]).all() for batches in first)


def test_in_the_environment_the_new_task_is_one_more_point_of_the_law():
    environment = comparison(settings(tasks=10), "environment")[paper.POWER]
    got = np.mean([counts(environment, BUDGET, 9, u) for u in (np.arange(500) + 0.5) / 500], axis=0)
    expected = 300 * shares(power_law(1), 10)  # p_i ∝ (n-i+1)^-1
    assert got == pytest.approx(expected, abs=0.6)
    assert expected[-1] / 300 == pytest.approx(0.341, abs=1e-3)  # 1 / H_10


def test_joint_shows_everything_so_far():
    joint = Environment(power_law(0), "joint")
    assert counts(joint, BUDGET, 3, 0.7).tolist() == [300] * 4
    shown = stream(joint, replace(BUDGET, batch=1, epochs=1), 3, 0)
    assert sorted(shown.ravel()) == list(range(1200))


# ---- the stream


def test_sequential_rehearsal_comes_after_the_task():
    batches = stream(Environment(power_law(1), "sequential"), replace(BUDGET, batch=1), 5, seed=0).ravel()
    assert (batches[:600] >= 5 * 300).all()
    assert (batches[600:] < 5 * 300).all()


def test_environments_of_a_seed_see_the_new_task_alike():
    """Common random numbers: where two environments both show the new task, it is the same example."""
    one, other = (stream(Environment(w), BUDGET, 6, seed=2).ravel() for w in (power_law(1), recency))
    new = one >= 6 * 300
    assert (new == (other >= 6 * 300)).all()
    assert (one[new] == other[new]).all()
    assert (one[~new] != other[~new]).any()


def test_a_task_is_drawn_from_without_repeats():
    batches = stream(Environment(recency), replace(BUDGET, epochs=1, batch=1), 6, seed=2).ravel()
    assert len(set(batches)) == len(batches) == 350


def test_a_buffer_is_small_and_stays_the_same():
    environment = Environment(recency, buffer=20)
    old = {p: set(b[b < p * 300] - (p - 1) * 300) for p in (4, 5) for b in [stream(environment, BUDGET, p, 0)]}
    assert len(old[4]) == len(old[5]) == 20
    again = Environment(power_law(0), buffer=20)
    later = stream(again, BUDGET, 9, 0)
    assert set(later[(later >= 3 * 300) & (later < 4 * 300)] - 3 * 300) <= old[4]


# ---- the experiment


def test_a_run_is_a_pure_function_of_its_seed():
    one, two = (PAPER.run(TINY, 7) for _ in range(2))
    assert one.scores == two.scores
    assert one.curves == two.curves
    assert PAPER.run(TINY, 8).scores != one.scores


def test_environments_are_paired_by_weights_permutations_and_first_phase():
    outcome = PAPER.run(settings(grid=(), joint=True), 0)
    first = {name: outcome.exhibits[name][0][0, 0] for name in comparison(TINY)}
    assert len(set(first.values())) == 1  # all stand at one point when the first task ends


def test_equal_budgets_are_counted_from_the_batches():
    scores = tidy_scores({0: PAPER.run(settings(grid=()), 0)}).pivot(index="method", columns="metric", values="value")
    shapes = [paper.RECENCY, paper.EXPONENTIAL, paper.BEST, paper.UNIFORM, paper.POWER]
    assert scores.loc[shapes, paper.REHEARSED].nunique() == 1
    assert scores.loc[paper.POWER, paper.REHEARSED] > 0
    assert (scores.loc[[paper.NONE, "EWC", "SI"], paper.REHEARSED] == 0).all()
    assert scores.loc[[*shapes, paper.NONE, "EWC", "SI"], paper.UPDATES].nunique() == 1


def test_the_grid_changes_what_it_names():
    full = PAPER.profiles["full"]
    assert set(full.grid) <= set(paper.GRID)
    assert set(paper.ROBUST) - {paper.BASE} <= set(full.grid)
    tiny = settings(grid=tuple(full.grid), joint=False)
    tiny = replace(tiny, budget=replace(tiny.budget, examples=40, epochs=1, batch=10), hidden=(4,), watched=4)
    scores = tidy_scores({seed: PAPER.run(tiny, seed) for seed in (0, 1)})
    findings = judge(PAPER.claims, scores)
    assert [f.key for f in findings] == [c.key for c in PAPER.claims]


def test_every_claim_of_the_dossier_is_there():
    keys = {claim.key[:2] for claim in PAPER.claims}
    assert keys == {"C1", "C2", "C3", "C4", "C5"}
    everywhere = {claim.everywhere for claim in PAPER.claims if claim.key.startswith("C5")}
    assert everywhere == {paper.ROBUST}
    assert len(paper.ROBUST) == 11


def test_tuning_tries_every_candidate_and_keeps_the_loop_of_the_experiment():
    tried = paper.tune(settings(watched=0), 1000)
    assert set(tried) == {"ewc", "si", "rate"}
    assert all(0 <= value <= 100 for values in tried.values() for value in values.values())
    chosen = {"ewc": PAPER.profiles["full"].ewc, "si": PAPER.profiles["full"].si, "rate": PAPER.profiles["full"].rate}
    for name, value in chosen.items():
        assert min(tried[name]) < value < max(tried[name])  # the best was not at the edge of what was tried


@pytest.fixture
def mnist(tmp_path, monkeypatch):
    """A cache of generated files in MNIST's format: 60 training and 30 test images of 28x28."""
    random = np.random.default_rng(0)
    arrays = [a for n in (60, 30) for a in (random.integers(0, 256, (n, 28, 28)), np.arange(n) % 10)]
    monkeypatch.setattr(digits.pooch, "os_cache", lambda project: tmp_path)
    for name, array in zip(list(digits.MNIST_SHA256), arrays, strict=True):
        head = struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape)
        file = tmp_path / "mnist" / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(gzip.compress(head + array.astype(np.uint8).tobytes()))
        monkeypatch.setitem(digits.MNIST_SHA256, name, hashlib.sha256(file.read_bytes()).hexdigest())


def test_mnist_is_a_setting_of_the_same_experiment(mnist):
    settings = PAPER.profiles["mnist"]
    budget = replace(settings.budget, examples=60, rehearsed=20)
    tiny = replace(settings, tasks=3, budget=budget, hidden=(8,), grid=(), watched=2)
    outcome = PAPER.run(tiny, 0)
    assert paper.permuted_digits("mnist", 3, 60, seed=0).images.shape == (180, 784)
    assert {row["method"] for row in outcome.scores} >= {*paper.SHAPES, "EWC", "SI", paper.JOINT}
