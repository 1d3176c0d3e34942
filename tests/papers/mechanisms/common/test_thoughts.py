import pytest
import torch

from stages.papers.mechanisms.common.thoughts import (
    CENTRE,
    CENTRE_NORMED,
    COSINE,
    DISTANCE,
    RANK,
    gap,
    geometry,
    probe,
)
from stages.seeding import torch_rng


def test_geometry_of_known_thoughts():
    embedding = torch.tensor([[1.0, 0, 0], [-1, 0, 0]])
    same = geometry(torch.ones(5, 4, 3), embedding)
    assert same[DISTANCE] == 0
    assert same[COSINE] == pytest.approx(1)
    assert same[RANK] == pytest.approx(1)
    assert same[CENTRE] == pytest.approx(3**0.5)
    assert same[CENTRE_NORMED] == pytest.approx(1)
    axes = geometry(2 * torch.eye(3).expand(5, 3, 3), embedding)
    assert axes[DISTANCE] == pytest.approx(2**0.5)
    assert axes[COSINE] == pytest.approx(0)
    assert axes[RANK] == pytest.approx(3)
    assert geometry(5 * torch.eye(3).expand(5, 3, 3), embedding)[DISTANCE] == pytest.approx(axes[DISTANCE])


def test_probes_find_what_is_linear_and_no_more():
    labels = torch.randint(0, 5, (600, 2), generator=torch_rng(0))
    place = torch.randn(5, 16, generator=torch_rng(1))
    x = place[labels] + 0.1 * torch.randn(600, 2, 16, generator=torch_rng(2))
    x[:, 1] = torch.randn(600, 16, generator=torch_rng(3))
    found = probe(x[:300], labels[:300], x[300:], labels[300:])
    assert found[0] == 100
    assert found[1] == pytest.approx(20, abs=8)


def test_the_gap_is_that_of_shares_and_near_zero_where_nothing_is_wrong():
    there = torch.ones(200, 1).double()
    right = torch.cat([torch.ones(100, 1), torch.zeros(100, 1)]).double()
    answered = torch.cat([torch.ones(100), torch.zeros(100)]).double()
    assert gap(right, answered, there) == pytest.approx(100 * (101 / 102 - 1 / 102))
    assert gap(right, torch.ones(200).double(), there) == pytest.approx(0)
    assert gap(there, answered, there) == pytest.approx(0)
    assert gap(1 - there, answered, there) == pytest.approx(0)
    mask = torch.cat([torch.ones(100, 1), torch.zeros(100, 1)]).double()
    assert gap(right, answered, mask) == pytest.approx(0)
