"""The contrastive loss, and learning from pairs."""

import math

import pytest
import torch
from torch.nn import functional as F

from stages.models import seeded
from stages.models.clip import CLIP, ConvTower, TextTower
from stages.training.contrastive import info_nce, learn_pairs


def test_the_loss_against_a_plain_loop():
    logits = torch.randn(6, 6, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    total = 0.0
    for i in range(6):
        row = [math.exp(logits[i, j]) for j in range(6)]
        column = [math.exp(logits[j, i]) for j in range(6)]
        total -= math.log(row[i] / sum(row)) + math.log(column[i] / sum(column))
    assert info_nce(logits).item() == pytest.approx(total / 12)
    assert info_nce(torch.zeros(4, 4)).item() == pytest.approx(math.log(4))


def test_permuting_the_batch_changes_nothing_and_swapping_the_towers_neither():
    logits = torch.randn(7, 7, dtype=torch.double, generator=torch.Generator().manual_seed(1))
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    torch.testing.assert_close(info_nce(logits[order][:, order]), info_nce(logits))
    torch.testing.assert_close(info_nce(logits.T), info_nce(logits))
    assert info_nce(logits[order]) != info_nce(logits)


def test_the_gradient_in_closed_form():
    logits = torch.randn(5, 5, dtype=torch.double, generator=torch.Generator().manual_seed(2)).requires_grad_()
    (gradient,) = torch.autograd.grad(info_nce(logits), logits)
    torch.testing.assert_close(gradient, (logits.softmax(0) + logits.softmax(1) - 2 * torch.eye(5)) / 10)


def small():
    with seeded(0):
        return CLIP(ConvTower(widths=(8, 8), strides=(1, 2), size=8), TextTower(9, 8, depth=0, size=8))


def test_pairs_are_learnt():
    """Which quarter of a picture is lit."""
    chance = torch.Generator().manual_seed(0)
    label = torch.arange(64) % 4
    lit = F.one_hot(label, 4).view(64, 1, 2, 2).expand(-1, 3, -1, -1).float()
    images = 0.5 * F.interpolate(lit, scale_factor=8) + 0.5 * torch.rand(64, 3, 16, 16, generator=chance)
    texts = torch.stack([label + 1, torch.full_like(label, 6)], 1)
    rows = torch.stack([torch.randperm(64, generator=chance)[:16] for _ in range(40)])
    model = small()
    losses = learn_pairs(model, images, texts, rows, 1e-2)
    assert len(losses) == 40
    classes = torch.stack([torch.arange(1, 5), torch.full((4,), 6)], 1)
    assert (model(images, classes).argmax(1) == label).float().mean() > 0.95


def test_the_scale_is_clipped_after_each_update():
    model = small()
    model.log_scale.data.fill_(9.0)
    learn_pairs(model, torch.rand(4, 3, 16, 16), torch.arange(1, 5)[:, None], torch.arange(4)[None], 1e-3)
    assert model.log_scale.exp().item() == pytest.approx(100)


def test_each_update_takes_its_rows():
    images, texts = torch.rand(6, 3, 16, 16), torch.arange(1, 7)[:, None]
    rows = torch.tensor([[0, 1, 2], [3, 4, 5]])
    model = small()
    first = info_nce(model(images[:3], texts[:3])).item()
    assert learn_pairs(model, images, texts, rows, 1e-3)[0] == pytest.approx(first)
    twin = small()
    learn_pairs(twin, images[[3, 4, 5, 0, 1, 2]], texts[[3, 4, 5, 0, 1, 2]], rows.roll(1, 0), 1e-3)
    assert torch.equal(twin.log_scale, model.log_scale)
