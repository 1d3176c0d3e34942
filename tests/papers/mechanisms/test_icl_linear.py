"""In-context regression: the yardsticks, the probes, and what a run has to measure."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group
from sklearn.linear_model import LinearRegression
from torch import nn

from stages import zoo
from stages.evidence import Outcome, in_setting, judge, tidy_scores
from stages.papers.mechanisms import icl_linear as paper
from stages.papers.mechanisms.icl_linear import GD, KNN, OLS, PAPER, PLUS, RIDGE, SGD, TRUTH, TUNED, Probing, Settings
from stages.worlds import linreg
from stages.zoo.in_context import CONTROL, Family, Regressor, Task, build, tasks

COMPARISONS = [*PAPER.claims, *PAPER.also]

D, PAIRS = 3, 6
TASK = Task(width=8, heads=1, steps=4, batch=4)
SMALL = Settings(
    family=Family(TASK, noisy=2, control=2),
    others={name: replace(task, steps=2, batch=4) for name, task in PAPER.settings("full").others.items()},
    contexts=60,
    weighed=10,
    probing=Probing((2, 4), train=60, test=40, hidden=8, steps=3, batch=16),
    watched=3,
)


@pytest.fixture(scope="module")
def world():
    return linreg.sample(2000, PAIRS, D, 0, stream=("test",))


@pytest.fixture(scope="module")
def known(world):
    return paper.references(world, (16, 4, 1))


class Estimator(nn.Module):
    """An estimator in a network's clothes."""

    def __init__(self, weights):
        super().__init__()
        self.weights = weights

    def forward(self, tokens):
        x, y = linreg.decode(tokens)
        return (self.weights(x, y) * x.double()).sum(-1)


# ---- the yardsticks


def test_the_yardsticks_are_as_far_apart_as_has_to_be_resolved(known):
    """Known beforehand for d = 3; the distance to the truth is exactly the mean share of w that is out of reach."""
    ols = known[OLS][0]
    assert paper.distance(ols, known[OLS], D) == 0
    assert paper.distance(ols, known[RIDGE], D) == pytest.approx(0.0159, rel=0.15)
    assert paper.distance(ols, known[TRUTH], D) == pytest.approx(0.5, rel=0.08)
    assert paper.distance(ols, known[GD], D) > 0.1  # even with the best step for every prefix
    assert min(paper.distance(ols, known[name], D) for name in paper.REST) > 0.02


def test_distances_are_means_of_squares_over_d_by_setting_and_prefix(known):
    said = torch.randn(2000, PAIRS)
    found = paper.distances(said, known[SGD], D)
    assert found.shape == (len(paper.STEPS), PAIRS)
    expected = ((said[:, 3] - known[SGD][7, :, 3]) ** 2).mean() / 3
    assert found[7, 3] == pytest.approx(expected.item())
    best = [min(found[k, n] for k in range(len(found))) for n in (1, 2)]  # the empty prefix and n >= d do not count
    assert paper.distance(said, known[SGD], D) == pytest.approx((sum(best) / 2).item())


def test_every_member_of_a_family_is_found_again(world, known):
    for name in (GD, SGD, PLUS, TUNED, paper.TWO, paper.FOUR):
        assert paper.distance(known[name][len(known[name]) // 2], known[name], D) == 0
    for i in (3, 30):
        assert paper.effective_penalty(known[TUNED][i], known[TUNED], D) == pytest.approx(paper.PENALTIES[i])
    assert paper.effective_penalty(known[OLS][0], known[TUNED], D) == paper.PENALTIES[0]


def test_one_step_is_the_texts_and_linear_in_its_size(world, known):
    w = linreg.gradient_descent(world.x, world.y, paper.STEPS[20])
    torch.testing.assert_close(known[GD][20], (w * world.x).sum(-1))
    moment = torch.einsum("npd,np->nd", world.x[:, :2], world.y[:, :2])
    torch.testing.assert_close(known[GD][20][:, 2], 2 * paper.STEPS[20] * (moment * world.x[:, 2]).sum(-1))


def test_a_gd_plus_plus_step_conditions_inputs_and_query_alike(world):
    """P applied to the pairs and to the query, then one plain step, for one prefix and one context."""
    step, gamma, n = 0.05, 0.03, 4
    x, y, query = world.x[7, :n], world.y[7, :n], world.x[7, n]
    p = torch.eye(D, dtype=torch.float64) - gamma * x.T @ x
    expected = 2 * step * (x @ p).T @ y @ (p @ query)
    assert paper.plus_plus(world.x, world.y, step, gamma)[7, n] @ query == pytest.approx(expected.item())


def test_knn_is_no_linear_function_of_the_query(world, known):
    assert known[KNN].shape == (1, 2000, PAIRS)
    assert paper.distance(known[KNN][0], known[OLS], D) > 0.2


def test_bayes_ridge_is_the_one_of_the_noise():
    noisy = linreg.sample(200, PAIRS, D, 0, sigma=0.5)
    bayes = (linreg.bayes(noisy.x, noisy.y, 0.5, 1.0) * noisy.x).sum(-1)
    torch.testing.assert_close(paper.references(noisy, (16, 4, 1))[paper.ridge_name(4)][0], bayes)


# ---- scores of known learners


def scored(weights, world, known):
    outcome = Outcome()
    paper.compare(outcome, "it", Estimator(weights), world, known, 0.0)
    return {(row["method"], row["metric"]): row["value"] for row in outcome.scores}


def test_ridge_in_a_networks_clothes_is_recognised(world, known):
    value = scored(lambda x, y: linreg.ridge(x, y, 0.1), world, known)
    gaps = {name: value[name, in_setting(paper.DISTANCE, "it")] for name in (OLS, RIDGE, GD, TUNED)}
    assert min(gaps, key=gaps.get) == RIDGE
    assert gaps[RIDGE] < 1e-10
    assert value["it", paper.PENALTY] == pytest.approx(-1, abs=0.05)
    assert value["it", paper.EXCESS] > 0
    value = scored(linreg.least_squares, world, known)
    assert abs(value["it", paper.EXCESS]) < 0.05  # what is left is a matter of which w were drawn


def test_weights_of_one_step_are_told_from_those_of_least_squares(world, known):
    outcome, queries = Outcome(), torch.randn(100, 12, D, dtype=torch.float64)
    step = float(paper.STEPS[25])
    paper.weigh(outcome, "it", Estimator(lambda x, y: one_step(x, y, step)), world, known, queries)
    value = {row["method"]: row["value"] for row in outcome.scores}
    assert value[GD] < 1e-6
    assert value[OLS] > 0.05
    assert value["it"] == pytest.approx(1.0)


def one_step(x, y, step):
    y = torch.nn.functional.pad(y, (0, x.shape[1] - y.shape[1]))
    return linreg.gradient_descent(x, y, step)


def shifted(weights):
    outcome = Outcome()
    paper.shifts(outcome, Estimator(weights), replace(TASK, longest=9), 300, 0)
    return {(row["method"], row["metric"]): row["value"] for row in outcome.scores}


def test_least_squares_stays_flat_under_every_shift_and_ridge_does_not():
    flat = shifted(linreg.least_squares)
    assert max(flat.values()) < 1e-3  # float32 tokens
    bent = shifted(lambda x, y: linreg.ridge(x, y, 0.1))
    for name, falls in {"x × 0.5": False, "x × 2": True, "x × 3": True}.items():
        change = bent[paper.SHIFTED, in_setting(paper.FLAT, name)] - bent[paper.TRAINED, in_setting(paper.FLAT, name)]
        assert (change < -0.005) if falls else (change > 0.005)
    heavy = in_setting(paper.FLAT, paper.HEAVY)
    assert bent[paper.SHIFTED, heavy] == pytest.approx(bent[paper.TRAINED, heavy], rel=0.15)  # ridge is linear in y


def test_least_squares_knows_neither_scale_nor_rotation(world):
    turn = torch.from_numpy(ortho_group.rvs(D, random_state=0))
    moved = replace(world, x=2.0 * world.x @ turn)
    torch.testing.assert_close(paper.textbook(moved)[OLS], paper.textbook(world)[OLS])
    assert not torch.allclose(paper.textbook(moved)[RIDGE], paper.textbook(world)[RIDGE], atol=0.01)


# ---- the probes


def test_a_linear_probe_finds_scikit_learns_solution_and_an_mlp_more():
    """Targets: one linear in the state of one token, one a product that no line can read."""
    chance = torch.Generator().manual_seed(0)
    states = torch.randn(1, 3000, 3, 4, generator=chance)
    read = states[0, :, 1]
    targets = torch.stack([read[:, :2] + 0.5 * read[:, 2:], read[:, :2] * read[:, 2:]])
    how = Probing((1,), train=2400, test=600, hidden=32, steps=500, batch=200, lr=0.02)
    error = paper.probe(states, targets, how, 0)[..., 0]
    assert error.shape == (2, 2)
    assert error[0, 0] < 0.05  # linear, and it found the token by itself
    assert error[0, 1] > 0.9
    assert error[1, 1] < 0.35
    line = LinearRegression().fit(read[:2400], targets[1, :2400])
    assert 1 - line.score(read[2400:], targets[1, 2400:]) > 0.9


def test_a_probe_of_noise_reads_nothing_from_contexts_it_has_not_seen():
    states, targets = torch.randn(1, 200, 2, 4), torch.randn(1, 200, 3)
    error = paper.probe(states, targets, Probing((1,), train=100, test=100, hidden=64, steps=200, batch=50), 0)
    assert (error > 0.9).all()


def test_a_probe_leaves_the_network_and_other_stages_alone():
    states, targets = torch.randn(3, 120, 5, 4), torch.randn(2, 120, 3)
    how = Probing((2,), train=80, test=40, hidden=8, steps=5, batch=20)
    both = paper.probe(states, targets, how, 0)
    assert both.shape == (2, 2, 3)
    other = states.clone()
    other[2] = 0.0
    torch.testing.assert_close(paper.probe(other, targets, how, 0)[..., :2], both[..., :2])
    assert not states.requires_grad


# ---- the experiment


@pytest.fixture(scope="module")
def outcomes():
    return {seed: PAPER.run(SMALL, seed) for seed in (0, 1)}


def test_a_run_is_pure_and_measures_all_that_the_claims_speak_of(outcomes):
    again = PAPER.run(SMALL, 0)
    assert again.scores == outcomes[0].scores
    assert again.curves == outcomes[0].curves
    assert outcomes[0].scores != outcomes[1].scores
    findings = judge(COMPARISONS, tidy_scores(outcomes))
    assert [finding.key for finding in findings] == [claim.key for claim in COMPARISONS]


def test_a_seed_compares_all_networks_with_all_estimators(outcomes):
    table = tidy_scores(outcomes).query("seed == 0").set_index(["method", "metric"])["value"]
    names = [*tasks(SMALL.family), *SMALL.others, paper.UNTRAINED]
    for name in names:
        for reference in (OLS, RIDGE, GD, TUNED, TRUTH, *paper.REST, paper.NEAREST_REST):
            assert (reference, in_setting(paper.DISTANCE, name)) in table
    deep = [table[name, in_setting(paper.DISTANCE, paper.DEEP)] for name in (paper.NEAREST_REST, *paper.REST)]
    assert deep[0] == min(deep[1:])
    assert table[TUNED, in_setting(paper.DISTANCE, "depth 2")] <= table[RIDGE, in_setting(paper.DISTANCE, "depth 2")]


def test_the_slope_follows_the_penalties(outcomes):
    table = tidy_scores(outcomes).query("seed == 0").set_index(["method", "metric"])["value"]
    heights = [table[f"noise 1/{n}", paper.PENALTY] for n in (16, 4, 1)]
    expected = np.polyfit(np.log10([1 / 16, 1 / 4, 1]), heights, 1)[0]
    assert table[paper.NETWORKS, paper.SLOPE] == pytest.approx(expected, abs=1e-9)


def test_watching_a_training_does_not_change_it(outcomes):
    lines = [row for row in outcomes[0].curves if row["name"] == paper.CURVE]
    assert [row["method"] for row in lines] == [OLS, RIDGE, GD]
    assert lines[0]["x"][-1] == SMALL.family.task.steps
    final = tidy_scores(outcomes).query("seed == 0").set_index(["method", "metric"])["value"]
    for row in lines:
        assert row["y"][-1] == pytest.approx(final[row["method"], in_setting(paper.DISTANCE, paper.DEEP)])


def test_shipped_networks_are_those_of_the_seed(monkeypatch):
    groups = build(SMALL.family).requires_grad_(False)
    monkeypatch.setattr(zoo, "load", lambda name: groups)
    found = paper.networks(replace(SMALL, shipped=True, others={}), 4, Outcome())
    assert found[paper.DEEP] is groups[1][paper.DEEP]
    assert found[CONTROL] is groups[0][CONTROL]
    assert list(found) == [*tasks(SMALL.family), paper.UNTRAINED]
    assert isinstance(found[paper.UNTRAINED], Regressor)


def test_every_claim_and_control_of_the_dossier_is_there():
    assert {claim.key[:2] for claim in COMPARISONS} == {"C1", "C2", "C3", "C4", "C5"}
    full = PAPER.settings("full")
    assert {paper.LSTM, paper.LAST} <= set(full.others)
    assert not full.shipped
    assert full.family == PAPER.settings("quick").family == zoo.in_context.RECIPE.settings
    assert all(task.longest > task.pairs for task in tasks(full.family).values())
