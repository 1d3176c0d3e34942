import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from stages.training import cka, effective_rank, leading_subspace, r2, ridge, subspace_overlap


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# --------------------------------------------------------------------------------------------------------------- probes


@pytest.mark.parametrize("n", [40, 5])  # more examples than features, and fewer
@pytest.mark.parametrize("strength", [1e-3, 2.0])
def test_ridge_is_scikit_learns_one_layer_at_a_time(n, strength):
    x, y = 3 + normal(2, 3, n, 8), normal(2, 3, n, 4, seed=1) - 5
    weight, bias = ridge(x, y, strength)
    assert (weight.shape, bias.shape) == ((2, 3, 8, 4), (2, 3, 1, 4))
    for i in np.ndindex(2, 3):
        expected = Ridge(alpha=strength, solver="svd").fit(x[i].numpy(), y[i].numpy())
        np.testing.assert_allclose(weight[i], expected.coef_.T, atol=1e-8)
        np.testing.assert_allclose(bias[i][0], expected.intercept_, atol=1e-8)


def test_single_precision_is_raised_before_it_is_squared():
    x = 100 + normal(50, 8).float()
    y = x @ normal(8, 1).float()
    exact, found = ridge(x.double(), y.double(), 1e-6), ridge(x, y, 1e-6)
    assert all(torch.equal(a, b) for a, b in zip(exact, found, strict=True))


@pytest.mark.parametrize("strength", [0.0, -1.0])
def test_a_ridge_without_strength_is_refused(strength):
    with pytest.raises(ValueError, match=f"strength {strength}: it must be above 0"):
        ridge(normal(9, 2), normal(9, 1), strength)


def test_r2_is_scikit_learns():
    predicted, true = normal(3, 20, 4), normal(3, 20, 4, seed=1) + 2
    for i, found in enumerate(r2(predicted, true)):
        np.testing.assert_allclose(found, r2_score(true[i].numpy(), predicted[i].numpy(), multioutput="raw_values"))
    assert torch.equal(r2(true, true), torch.ones(3, 4).double())
    torch.testing.assert_close(r2(true.mean(1, keepdim=True).expand_as(true), true), torch.zeros(3, 4).double())


def test_a_probe_finds_what_is_there_and_no_more():
    states, target = normal(2, 400, 6), normal(400, 1, seed=1)
    states[1, :, :1] += target  # the second layer holds it, in noise of equal variance
    fit, test = slice(0, 200), slice(200, 400)
    weight, bias = ridge(states[:, fit], target[fit].expand(2, -1, -1), 1.0)
    found = r2(states[:, test] @ weight + bias, target[test].expand(2, -1, -1))[:, 0]
    assert found[0] < 0.05
    assert found[1] == pytest.approx(0.5, abs=0.12)


# ------------------------------------------------------------------------------------------------------------ subspaces


@pytest.mark.parametrize("weighted", [False, True])
def test_the_leading_subspace_is_that_of_the_kernels_operator(weighted):
    features, mu = normal(30, 6), torch.rand(30, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 0.1
    mu = mu / mu.sum() if weighted else torch.full((30,), 1 / 30, dtype=torch.float64)
    centred = features - mu @ features
    values, functions = np.linalg.eig((centred @ centred.T * mu).numpy())  # (Mψ)(i) = Σ_j K(i, j) ψ(j) μ(j)
    leading = functions[:, values.real.argsort()[::-1][:3]].real
    found = leading_subspace(features, 3, 7 * mu if weighted else None)
    torch.testing.assert_close(found.mT @ found, torch.eye(3).double())
    expected = torch.from_numpy(leading) * mu.sqrt()[:, None]
    torch.testing.assert_close((found.mT @ expected).norm(dim=0), expected.norm(dim=0))


def test_each_layer_has_its_own_leading_subspace():
    states = normal(4, 20, 5)
    for found, layer in zip(leading_subspace(states, 2), states, strict=True):
        torch.testing.assert_close(found.abs(), leading_subspace(layer, 2).abs())


def test_more_dimensions_than_rows_vary_in_are_refused():
    flat = normal(20, 3) @ normal(3, 8) + 5
    assert leading_subspace(flat, 3).shape == (20, 3)
    for x, asked, fills in ((flat, 4, 3), (normal(4, 8), 4, 3), (torch.ones(5, 2), 1, 0)):
        with pytest.raises(ValueError, match=f"{asked} dimensions asked for; the rows vary in {fills}"):
            leading_subspace(x, asked)


def test_overlap_is_the_mean_squared_cosine_of_scipys_angles():
    for p, q in ((3, 3), (2, 5), (5, 2)):
        one, other = normal(12, p), normal(12, q, seed=1)
        angles = scipy.linalg.subspace_angles(one.numpy(), other.numpy())
        assert subspace_overlap(one, other).item() == pytest.approx((np.cos(angles) ** 2).mean())


def test_overlap_goes_from_orthogonal_over_chance_to_contained():
    one = normal(12, 3)
    assert subspace_overlap(one, (one @ normal(3, 3, seed=1))).item() == pytest.approx(1)
    assert subspace_overlap(one, torch.cat([normal(12, 2, seed=2), one], 1)).item() == pytest.approx(1)
    identity = torch.eye(12)
    assert subspace_overlap(identity[:, :3], identity[:, 3:7]).item() == 0
    chance = subspace_overlap(normal(3000, 12, 3), normal(3000, 12, 4, seed=1))
    assert chance.shape == (3000,)
    assert chance.mean().item() == pytest.approx(4 / 12, abs=0.01)


# ----------------------------------------------------------------------------------------------------------------- rank


def test_effective_rank_is_the_exponential_of_the_entropy_of_singular_values():
    x = normal(2, 9, 5)
    for found, one in zip(effective_rank(x), x, strict=True):
        shares = np.linalg.svd(one.numpy(), compute_uv=False)
        shares /= shares.sum()
        assert found.item() == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))


def test_effective_rank_counts_what_is_equal_and_no_scale():
    frame = torch.linalg.qr(normal(9, 4)).Q
    assert effective_rank(frame).item() == pytest.approx(4)
    assert effective_rank(1e-3 * frame[:, :2] @ normal(2, 2).svd().U).item() == pytest.approx(2)
    assert effective_rank(normal(9, 1) @ normal(1, 4)).item() == pytest.approx(1, abs=1e-6)
    assert effective_rank(torch.zeros(3, 4)).item() == 0


def test_cka_does_not_see_rotations_shifts_and_scales():
    torch.manual_seed(0)
    x = torch.randn(30, 5)
    turn = torch.linalg.qr(torch.randn(5, 5))[0]
    assert cka(x, 3 * x @ turn + 7).item() == pytest.approx(1, abs=1e-5)
    assert cka(x, x @ torch.diag(torch.tensor([1.0, 9, 1, 1, 1]))).item() < 0.95


def test_cka_is_the_size_of_the_cross_covariance():
    torch.manual_seed(0)
    x, y = torch.randn(20, 5), torch.randn(20, 3)
    a, b = x - x.mean(0), y - y.mean(0)
    expected = (a.T @ b).square().sum() / ((a.T @ a).norm() * (b.T @ b).norm())
    assert cka(x, y).item() == pytest.approx(expected.item(), rel=1e-4)
    assert cka(torch.tensor([[1.0], [-1], [0], [0]]), torch.tensor([[0.0], [0], [1], [-1]])) == 0
