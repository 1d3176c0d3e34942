"""The residual perceptron, and EDM's preconditioning around it."""

import math

import pytest
import torch
from torch.nn import functional as F

from stages.models import Denoiser, Preconditioned, seeded, sinusoids


def awake(model, seed=0):
    """Give every parameter a value, so that nothing is silent at the start."""
    chance = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=chance)
    return model


def test_sinusoids_are_those_of_the_formula():
    found = sinusoids(torch.tensor([0.0, 3.0, 250.5]), 6)
    for row, level in zip(found, (0.0, 3.0, 250.5), strict=True):
        angles = [level / 10_000 ** (i / 3) for i in range(3)]
        expected = [math.cos(a) for a in angles] + [math.sin(a) for a in angles]
        torch.testing.assert_close(row, torch.tensor(expected), rtol=1e-4, atol=1e-4)


def test_the_denoiser_equals_a_plain_reference():
    model = awake(Denoiser(pixels=5, width=8, blocks=2))
    x, levels = torch.randn(3, 5), torch.tensor([1.0, 40.0, 900.0])
    p = dict(model.named_parameters())

    def linear(name, value):
        return value @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def norm(name, value):
        centred = value - value.mean(1, keepdim=True)
        scaled = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
        return scaled * p[f"{name}.weight"] + p[f"{name}.bias"]

    level = F.silu(linear("level.2", F.silu(linear("level.0", sinusoids(levels, 8)))))
    hidden = linear("enter", x)
    for i in range(2):
        inner = linear(f"blocks.{i}.enter", norm(f"blocks.{i}.norm", hidden)) + linear(f"blocks.{i}.level", level)
        hidden = hidden + linear(f"blocks.{i}.leave", F.silu(inner))
    torch.testing.assert_close(model(x, levels), linear("leave", norm("norm", hidden)), rtol=1e-4, atol=1e-4)


def test_the_level_is_used_and_a_fresh_network_answers_nothing():
    x = torch.randn(4, 64)
    model = Denoiser()
    assert not model(x, torch.full((4,), 5.0)).any()
    awake(model)
    apart = model(x, torch.full((4,), 5.0)) - model(x, torch.full((4,), 500.0))
    assert apart.abs().amax(1).min() > 1e-3
    rows = model(x, torch.tensor([1.0, 2.0, 3.0, 4.0]))
    alone = torch.cat([model(x[i : i + 1], torch.tensor([i + 1.0])) for i in range(4)])
    torch.testing.assert_close(rows, alone, rtol=1e-4, atol=1e-4)


def test_preconditioning_is_karras_equation_7():
    model = Preconditioned(lambda x, level: 2 * x + level[:, None], data=0.5)
    x, sigma = torch.randn(2, 3), torch.tensor([0.1, 4.0])
    for row, found, s in zip(x, model(x, sigma), (0.1, 4.0), strict=True):
        skip, out, enter = 0.25 / (s**2 + 0.25), s * 0.5 / math.sqrt(s**2 + 0.25), 1 / math.sqrt(s**2 + 0.25)
        expected = skip * row + out * (2 * enter * row + 1000 * math.log(s) / 4)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_a_fresh_denoiser_is_the_best_linear_one_of_white_noise():
    with seeded(0):
        model = Preconditioned(Denoiser(pixels=16, width=16), data=0.5)
    clean, noise = 0.5 * torch.randn(20_000, 16), torch.randn(20_000, 16)
    sigma = torch.full((20_000,), 0.7)
    noisy = clean + 0.7 * noise
    slope = float((noisy * clean).sum() / noisy.square().sum())  # least squares
    torch.testing.assert_close(model(noisy, sigma), noisy * 0.25 / (0.49 + 0.25))
    assert slope == pytest.approx(0.25 / (0.49 + 0.25), rel=0.02)


def test_preconditioning_takes_images_of_any_shape():
    model = Preconditioned(lambda x, level: x, data=1.0)
    x = torch.randn(2, 3, 4, 4)
    flat = model(x.flatten(1), torch.tensor([0.3, 2.0]))
    assert torch.equal(model(x, torch.tensor([0.3, 2.0])).flatten(1), flat)
