import numpy as np
import pytest
import torch
from scipy.stats import kstest, ortho_group
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor

from stages.worlds import linreg

PAIRS, D = 9, 4
ESTIMATORS = {
    "least squares": linreg.least_squares,
    "ridge": lambda x, y: linreg.ridge(x, y, 0.3),
    "bayes": lambda x, y: linreg.bayes(x, y, 0.5, 1.5),
    "one step": lambda x, y: linreg.gradient_descent(x, y, 0.02),
    "five steps": lambda x, y: linreg.gradient_descent(x, y, 0.02, 5),
    "sgd": lambda x, y: linreg.sgd(x, y, 0.03),
}


@pytest.fixture(scope="module")
def world():
    """Twenty noisy sequences."""
    return linreg.sample(20, PAIRS, D, 0, sigma=0.5, tau=1.5)


def prefixes(world):
    """Each prefix of each sequence in numpy, and where it belongs."""
    for n in range(len(world.x)):
        for i in range(PAIRS):
            yield (n, i), world.x[n, :i].numpy(), world.y[n, :i].numpy()


def test_sequences_follow_their_law():
    world = linreg.sample(4000, 5, 3, 0, sigma=0.5, tau=1.5, scale=2.0)
    noise = world.y - torch.einsum("npd,nd->np", world.x, world.w)
    for values, deviation in ((world.w, 1.5), (world.x, 2.0), (noise, 0.5)):
        assert kstest(values.flatten() / deviation, "norm").pvalue > 0.001
    assert world.x.dtype == world.y.dtype == world.w.dtype == torch.float64
    draws = torch.cat([world.w.flatten() / 1.5, world.x.flatten() / 2, noise.flatten() / 0.5]).round(decimals=9)
    assert len(draws.unique()) > 0.999 * len(draws)  # no stream serves two ends
    columns = torch.cat([world.w, world.x.flatten(1), noise], 1)
    assert (torch.corrcoef(columns.T) - torch.eye(columns.shape[1])).abs().max() < 5 / 4000**0.5


def test_a_seed_and_a_stream_decide_everything_and_a_sequence_is_the_same_however_many_follow():
    one, two = linreg.sample(50, 6, 3, 0, sigma=1.0), linreg.sample(7, 6, 3, 0, sigma=1.0)
    for name in ("x", "y", "w"):
        assert torch.equal(getattr(one, name)[:7], getattr(two, name))
        for other in (linreg.sample(7, 6, 3, 1), linreg.sample(7, 6, 3, 0, stream=("test",))):
            assert not torch.isclose(getattr(other, name), getattr(two, name)).any()


def test_one_setting_leaves_the_other_draws():
    plain, other = linreg.sample(9, 6, 3, 0), linreg.sample(9, 6, 3, 0, sigma=0.7, scale=3.0)
    assert torch.equal(plain.w, other.w)
    assert torch.equal(3 * plain.x, other.x)
    assert torch.allclose(plain.y, torch.einsum("npd,nd->np", plain.x, plain.w))
    ones = linreg.sample(9, 6, 3, 0, weights=torch.ones(3))
    assert torch.equal(plain.x, ones.x)
    assert torch.allclose(ones.y, ones.x.sum(-1))
    assert torch.equal(linreg.sample(9, 6, 3, 5, weights=plain.w).w, plain.w)


def test_tokens_hold_the_pairs_in_turn(world):
    tokens = linreg.encode(world.x, world.y)
    assert tokens.shape == (20, 2 * PAIRS, D + 1)
    assert tokens.dtype == torch.float32
    assert (tokens[:, ::2, 0] == 0).all()
    assert (tokens[:, 1::2, 1:] == 0).all()
    x, y = linreg.decode(tokens)
    assert torch.equal(x, world.x.float())
    assert torch.equal(y, world.y.float())
    query = linreg.encode(world.x, world.y[:, :-1])  # the last token asks
    assert torch.equal(query, tokens[:, :-1])
    assert linreg.encode(world.x[0, :1], world.y[0, :0]).shape == (1, D + 1)


def test_least_squares_is_numpys_of_minimal_norm(world):
    w = linreg.least_squares(world.x, world.y)
    assert (w[:, 0] == 0).all()
    for at, x, y in prefixes(world):
        np.testing.assert_allclose(w[at], np.linalg.lstsq(x, y)[0], atol=1e-9)


def test_ridge_is_scikit_learns(world):
    w = linreg.ridge(world.x, world.y, 0.3)
    for at, x, y in prefixes(world):
        if len(y):
            np.testing.assert_allclose(w[at], Ridge(0.3, fit_intercept=False).fit(x, y).coef_, atol=1e-10)


@pytest.mark.parametrize("weighted", [False, True])
def test_nearest_is_scikit_learns(world, weighted):
    prediction = linreg.nearest(world.x, world.y, weighted=weighted)
    assert (prediction[:, 0] == 0).all()
    for at, x, y in prefixes(world):
        if len(y):
            weights = (lambda distance: distance**-2) if weighted else "uniform"
            reference = KNeighborsRegressor(min(3, len(y)), weights=weights).fit(x, y)
            np.testing.assert_allclose(prediction[at], reference.predict(world.x[at][None].numpy())[0])


def test_gradient_descent_takes_its_steps_on_the_sum_of_squares(world):
    step = torch.linspace(0.01, 0.05, PAIRS)
    for given, steps in ((0.02, 1), (0.02, 3), (step, 4)):
        w = linreg.gradient_descent(world.x, world.y, given, steps)
        for at, x, y in prefixes(world):
            expected = np.zeros(D)
            for _ in range(steps):
                expected -= 2 * float(torch.as_tensor(given).expand(PAIRS)[at[1]]) * x.T @ (x @ expected - y)
            np.testing.assert_allclose(w[at], expected, atol=1e-6)
    assert torch.allclose(
        linreg.gradient_descent(world.x, world.y, 0.01)[:, 3],
        0.02 * torch.einsum("npd,np->nd", world.x[:, :3], world.y[:, :3]),
    )


def test_many_steps_reach_the_solution_of_minimal_norm():
    x = torch.from_numpy(np.stack([ortho_group.rvs(6, random_state=i) for i in range(3)]))  # well conditioned
    y = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 6)))
    reached = linreg.gradient_descent(x, y, 0.2, 200)
    torch.testing.assert_close(reached, linreg.least_squares(x, y), atol=1e-9, rtol=0)


def test_one_clean_step_is_best_at_half_over_pairs_plus_inputs_plus_one():
    world = linreg.sample(10_000, 6, D, 0)
    steps = np.linspace(0.02, 0.12, 21).tolist()
    errors = [(linreg.gradient_descent(world.x, world.y, step)[:, -1] - world.w).square().mean() for step in steps]
    assert abs(steps[int(torch.stack(errors).argmin())] - 1 / (2 * (5 + D + 1))) < 0.006


def test_sgd_is_torchs_optimiser_over_one_pass(world):
    w = linreg.sgd(world.x, world.y, 0.03, penalty=0.2)
    for n in range(3):
        weight = torch.zeros(D, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.SGD([weight], lr=0.03, weight_decay=2 * 0.2)
        for i in range(PAIRS):
            torch.testing.assert_close(w[n, i], weight.detach())
            optimiser.zero_grad()
            (world.x[n, i] @ weight - world.y[n, i]).square().backward()
            optimiser.step()


def test_bayes_is_the_gaussian_posterior(world):
    """Condition the joint Gaussian of (earlier y, y) given x, without any regression."""
    sigma, tau = 0.5, 1.5
    prediction = (linreg.bayes(world.x, world.y, sigma, tau) * world.x).sum(-1)
    risk = linreg.bayes_risk(world.x, sigma, tau)
    for at, x, y in prefixes(world):
        new = world.x[at].numpy()
        covariance, cross = tau**2 * x @ x.T + sigma**2 * np.eye(len(y)), tau**2 * x @ new
        gain = np.linalg.solve(covariance, cross) if len(y) else cross
        np.testing.assert_allclose(prediction[at], gain @ y, atol=1e-10)
        np.testing.assert_allclose(risk[at], tau**2 * new @ new + sigma**2 - gain @ cross, atol=1e-10)


def test_without_noise_bayes_is_least_squares_and_its_risk_what_the_prefix_leaves_open():
    world = linreg.sample(50, PAIRS, D, 0, tau=2.0)
    assert torch.equal(linreg.bayes(world.x, world.y, 0.0, 2.0), linreg.least_squares(world.x, world.y))
    risk = linreg.bayes_risk(world.x, 0.0, 2.0)
    torch.testing.assert_close(risk[:, 0], 4 * world.x[:, 0].square().sum(-1))
    torch.testing.assert_close(risk[:, D:], torch.zeros_like(risk[:, D:]), atol=1e-9, rtol=0)
    limit = linreg.bayes_risk(world.x[:, :3], 1e-4, 2.0)
    torch.testing.assert_close(limit, risk[:, :3], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("sigma", "tau"), [(0.0, 1.0), (0.5, 1.5), (0.5, 0.75)])
def test_no_estimator_beats_bayes_and_its_error_is_its_risk(sigma, tau):
    world = linreg.sample(8000, 6, D, 0, sigma=sigma, tau=tau)

    def error(w):
        return ((w * world.x).sum(-1) - world.y).square()

    best = error(linreg.bayes(world.x, world.y, sigma, tau))
    risk = linreg.bayes_risk(world.x, sigma, tau)
    assert ((best - risk).mean(0).abs() < 4 * (best - risk).std(0) / len(best) ** 0.5 + 1e-12).all()
    for penalty in (3.0, 0.02) if sigma else (3.0,):
        assert (error(linreg.ridge(world.x, world.y, penalty)).mean(0)[1:] > best.mean(0)[1:]).all()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_no_prediction_sees_its_own_output_or_what_follows(world, name):
    y = world.y.clone()
    y[:, 5:] = 100.0
    x = world.x.clone()
    x[:, 6:] = -7.0
    assert torch.allclose(ESTIMATORS[name](x, y)[:, :6], ESTIMATORS[name](world.x, world.y)[:, :6])
    assert torch.allclose(linreg.nearest(x, y)[:, :6], linreg.nearest(world.x, world.y)[:, :6])


def test_least_squares_keeps_its_predictions_when_inputs_are_scaled_and_turned(world):
    turn = torch.from_numpy(ortho_group.rvs(D, random_state=0))
    moved = 3.0 * world.x @ turn
    predictions = [(linreg.least_squares(x, world.y) * x).sum(-1) for x in (world.x, moved)]
    torch.testing.assert_close(*predictions)
    ridge = [(linreg.ridge(x, world.y, 0.3) * x).sum(-1) for x in (world.x, moved)]
    assert (ridge[0] - ridge[1])[:, 1:D].abs().mean() > 0.01


def test_what_is_orthogonal_to_the_prefix_is_predicted_as_zero():
    x = torch.eye(D, dtype=torch.float64).expand(3, D, D)
    y = linreg.sample(3, D, D, 0).y
    assert ((linreg.least_squares(x, y) * x).sum(-1).abs() < 1e-12).all()


def test_predictors_differ_as_much_as_has_to_be_resolved():
    """Squared differences of predictions over d, for prefixes with fewer pairs than inputs, x' ~ N(0, I)."""
    world = linreg.sample(4000, 5, 5, 0)
    w = linreg.least_squares(world.x, world.y)

    def distance(other):
        return (w - other).square().sum(-1)[:, 1:].mean().item() / 5

    assert distance(linreg.ridge(world.x, world.y, 0.1)) == pytest.approx(0.0099, rel=0.1)
    assert distance(linreg.ridge(world.x, world.y, 0.25)) == pytest.approx(0.0226, rel=0.1)
    assert distance(linreg.gradient_descent(world.x, world.y, 0.05)) == pytest.approx(0.224, rel=0.05)
    assert distance(world.w[:, None]) == pytest.approx(0.5, rel=0.05)  # a share (d - n) / d of w is out of reach


def test_what_makes_no_sense_is_refused(world):
    with pytest.raises(ValueError, match="pairs=0"):
        linreg.sample(3, 0, 2, 0)
    with pytest.raises(ValueError, match=r"sigma=-1.0, .* not negative"):
        linreg.sample(3, 4, 2, 0, sigma=-1.0)
    with pytest.raises(ValueError, match=r"weights have shape \(3,\); give \(2,\) or \(4, 2\)"):
        linreg.sample(4, 4, 2, 0, weights=torch.ones(3))
    with pytest.raises(ValueError, match="7 outputs for 9 inputs"):
        linreg.encode(world.x, world.y[:, :7])
    with pytest.raises(ValueError, match=r"the penalty is 0\.0; it must be above 0"):
        linreg.ridge(world.x, world.y, 0.0)
    with pytest.raises(ValueError, match="0 steps"):
        linreg.gradient_descent(world.x, world.y, 0.1, 0)
    with pytest.raises(ValueError, match="0 neighbours"):
        linreg.nearest(world.x, world.y, 0)
