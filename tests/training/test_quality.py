"""Metrics of samples, each against an independent computation."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from stages.training.quality import (
    frechet_distance,
    nearest_neighbour_accuracy,
    precision_recall,
)


@pytest.fixture
def sets():
    chance = np.random.default_rng(0)
    mix = chance.normal(size=(5, 5))
    one = chance.normal(size=(60, 5))
    other = 0.5 + chance.normal(size=(80, 5)) @ mix
    return torch.from_numpy(one), torch.from_numpy(other)


def test_the_frechet_distance_equals_one_with_a_matrix_square_root(sets):
    one, other = (s.numpy() for s in sets)
    sigma, gamma = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    apart = np.square(one.mean(0) - other.mean(0)).sum()
    expected = apart + np.trace(sigma + gamma - 2 * sqrtm(sigma @ gamma).real)
    assert frechet_distance(*sets) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(sets[0].float(), sets[1].float()) == pytest.approx(expected, rel=1e-4)


def test_the_frechet_distance_of_gaussians_is_its_closed_form():
    one = torch.randn(200_000, 2) * torch.tensor([1.0, 2.0])
    other = torch.randn(200_000, 2) * torch.tensor([3.0, 2.0]) + torch.tensor([1.0, 0.0])
    assert frechet_distance(one, other) == pytest.approx(1 + (3 - 1) ** 2, rel=0.03)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6)


def test_it_stands_features_that_do_not_vary(sets):
    flat = torch.cat([sets[0], torch.zeros(60, 1)], 1)
    other = torch.cat([sets[1], torch.zeros(80, 1)], 1)
    assert frechet_distance(flat, other) == pytest.approx(frechet_distance(*sets), rel=1e-6)


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_equal_a_plain_loop(sets, k):
    def inside(points, manifold):
        radii = NearestNeighbors(n_neighbors=k + 1).fit(manifold).kneighbors(manifold)[0][:, -1]
        hits = [any(np.linalg.norm(p - m) <= r for m, r in zip(manifold, radii, strict=True)) for p in points]
        return np.mean(hits)

    one, other = (s.numpy() for s in sets)
    found = precision_recall(*sets, neighbours=k)
    assert found == pytest.approx((inside(one, other), inside(other, one)))
    assert found != (1, 1)


def test_recall_falls_with_modes_and_precision_with_noise():
    real = torch.cat([torch.randn(100, 2), torch.randn(100, 2) + 20])
    half = torch.randn(200, 2)
    precision, recall = precision_recall(half, real)
    assert precision > 0.8
    assert recall < 0.6
    wide = torch.cat([real, torch.randn(200, 2) * 100 + 500])
    assert precision_recall(wide, real)[0] < 0.7


def test_leave_one_out_equals_scikit_learns(sets):
    one, other = sets[0], sets[1][:60]
    both = torch.cat([one, other]).numpy()
    labels = np.repeat([0, 1], 60)
    hits = []
    for i in range(120):
        rest = np.arange(120) != i
        nearest = KNeighborsClassifier(1).fit(both[rest], labels[rest])
        hits.append(nearest.predict(both[i : i + 1])[0] == labels[i])
    assert nearest_neighbour_accuracy(one, other) == pytest.approx(100 * np.mean(hits))


def test_copies_are_below_50_and_strangers_at_100():
    real = torch.randn(100, 3)
    assert nearest_neighbour_accuracy(real + 1e-6, real) < 5
    assert nearest_neighbour_accuracy(real + 100, real) == 100
    with pytest.raises(ValueError, match="equal numbers"):
        nearest_neighbour_accuracy(real[:50], real)
