"""Losses and samplers of diffusion models, on Gaussians where all answers are known."""

import copy
import math
import warnings

import pytest
import torch
from torch import nn

from stages.training import diffusion

S = 0.6  # deviation of the Gaussian data


def gaussian_noise_network(signal):
    """The best predictor of the noise for data N(0, S²): E[noise | x_t]."""

    def network(x, t):
        share = signal[t.long()][:, None]
        return (1 - share).sqrt() / (share * S**2 + 1 - share) * x

    return network


def gaussian_denoiser(x, sigma):
    return S**2 / (S**2 + diffusion.column(sigma, x).square()) * x


def gaussian_velocity(x, t):
    t = diffusion.column(t, x)
    variance = (1 - t).square() * S**2 + t.square()
    return (t - (1 - t) * S**2) / variance * x


def test_the_cosine_schedule_is_that_of_diffusers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from diffusers.schedulers.scheduling_ddim import DDIMScheduler

        theirs = DDIMScheduler(1000, beta_schedule="squaredcos_cap_v2").alphas_cumprod
    torch.testing.assert_close(diffusion.cosine_signal(), theirs, rtol=2e-4, atol=1e-8)


@pytest.mark.parametrize("steps", [10, 20])
def test_ddim_is_that_of_diffusers(steps):
    """From the last timestep, in equal strides, images clipped."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from diffusers.schedulers.scheduling_ddim import DDIMScheduler

        scheduler = DDIMScheduler(
            1000, beta_schedule="squaredcos_cap_v2", clip_sample=True, timestep_spacing="trailing"
        )
        scheduler.set_timesteps(steps)
        signal = scheduler.alphas_cumprod
        network = gaussian_noise_network(signal)
        noise = torch.randn(50, 4)
        x = noise
        for t in scheduler.timesteps:
            x = scheduler.step(network(x, t.expand(50)), int(t), x).prev_sample
    ours = diffusion.ddim(network, noise, signal, steps)
    # at the end diffusers keeps ᾱ of timestep 0, where ours goes to the clean image
    torch.testing.assert_close(ours, x.clamp(-1, 1), rtol=1e-3, atol=2e-2)


def test_karras_sigmas_are_those_of_diffusers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from diffusers.schedulers.scheduling_edm_euler import EDMEulerScheduler

        theirs = EDMEulerScheduler(sigma_min=0.02, sigma_max=20.0)
        theirs.set_timesteps(18)
    found = diffusion.karras_sigmas(18, 0.02, 20.0)
    torch.testing.assert_close(found, theirs.sigmas, rtol=1e-4, atol=1e-6)
    assert found[-1] == 0
    assert (found.diff() < 0).all()


def test_noised_data_have_the_signal_that_was_asked_for():
    x, noise = torch.randn(3, 2, 2), torch.randn(3, 2, 2)
    found = diffusion.noised(x, noise, torch.tensor([1.0, 0.25, 0.0]))
    torch.testing.assert_close(found[0], x[0])
    torch.testing.assert_close(found[1], 0.5 * x[1] + math.sqrt(0.75) * noise[1])
    torch.testing.assert_close(found[2], noise[2])


def test_the_noise_loss_of_the_best_predictor_is_its_closed_form():
    """ᾱ S² / (ᾱ S² + 1 - ᾱ) a pixel, example by example."""
    signal = diffusion.cosine_signal()
    t = torch.tensor([50, 500, 900])
    x, noise = S * torch.randn(3, 40_000), torch.randn(3, 40_000)
    found = diffusion.noise_loss(gaussian_noise_network(signal), x, t, noise, signal)
    share = signal[t]
    torch.testing.assert_close(found, share * S**2 / (share * S**2 + 1 - share), rtol=0.05, atol=5e-3)


def test_ddim_solves_the_gaussians_ode():
    """√variance of x_t grows from S to 1, so that noise z ends at S z."""
    signal = diffusion.cosine_signal()
    noise = torch.randn(30, 4)
    network = gaussian_noise_network(signal)
    errors = [(diffusion.ddim(network, noise, signal, n, None) - S * noise).abs().max() for n in (10, 50, 500)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.02


def test_ddim_calls_the_network_as_often_as_it_says_and_keeps_within_limits():
    signal = diffusion.cosine_signal()
    seen = []

    def network(x, t):
        seen.append(float(t[0]))
        return 0 * x

    found = diffusion.ddim(network, torch.randn(5, 3), signal, 20)
    assert seen == [999 - 50 * i for i in range(20)]
    assert found.abs().max() <= 1


def test_the_edm_loss_is_1_for_a_denoiser_that_is_best_for_white_noise():
    """Of white data with the assumed deviation, at every noise level."""
    sigma = torch.tensor([0.05, 0.5, 5.0])
    x, noise = S * torch.randn(3, 40_000), torch.randn(3, 40_000)
    found = diffusion.edm_loss(gaussian_denoiser, x, sigma, noise, S)
    torch.testing.assert_close(found, torch.ones(3), rtol=0.05, atol=0.02)


def test_heun_solves_the_gaussians_ode_to_second_order():
    """x(σ) / √(S² + σ²) is constant, so that x(0) = x S / √(S² + σ²)."""
    noise = torch.randn(30, 4)
    exact = 20 * noise * S / math.sqrt(S**2 + 400)
    errors = []
    for levels in (10, 20, 40):
        sigmas = diffusion.karras_sigmas(levels, 0.02, 20.0)
        errors.append(float((diffusion.heun(gaussian_denoiser, noise, sigmas) - exact).abs().max()))
    assert errors[1] < errors[0] / 3
    assert errors[2] < errors[1] / 3
    assert errors[2] < 0.01


def test_heun_calls_the_denoiser_twice_a_level_but_once_at_the_last():
    seen = []

    def denoiser(x, sigma):
        seen.append(round(float(sigma[0]), 4))
        return 0 * x

    diffusion.heun(denoiser, torch.randn(2, 3), torch.tensor([4.0, 2.0, 1.0, 0.0]))
    assert seen == [4.0, 2.0, 2.0, 1.0, 1.0]


def test_the_velocity_loss_of_the_best_predictor_is_its_closed_form():
    """Var(noise - x | x_t) = S² / ((1-t)² S² + t²), pixel by pixel."""
    t = torch.tensor([0.2, 0.5, 0.9])
    x, noise = S * torch.randn(3, 40_000), torch.randn(3, 40_000)
    found = diffusion.velocity_loss(gaussian_velocity, x, t, noise)
    assert found.shape == x.shape
    expected = S**2 / ((1 - t).square() * S**2 + t.square())
    torch.testing.assert_close(found.mean(1), expected, rtol=0.05, atol=0.01)


def test_euler_solves_the_gaussians_ode():
    noise = torch.randn(30, 4)
    errors = []
    for steps in (10, 100, 1000):
        times = diffusion.shifted(torch.linspace(1, 0, steps + 1), 3.0)
        errors.append(float((diffusion.euler(gaussian_velocity, noise, times) - S * noise).abs().max()))
    assert errors[1] < errors[0] / 5
    assert errors[2] < 0.01


def test_shifting_keeps_the_ends_and_moves_the_middle_to_the_noise():
    t = torch.tensor([0.0, 0.5, 1.0])
    torch.testing.assert_close(diffusion.shifted(t, 3.0), torch.tensor([0.0, 0.75, 1.0]))
    torch.testing.assert_close(diffusion.shifted(t, 1.0), t)


def test_guidance_extrapolates_from_the_negative():
    def one(x, t):
        return 3 * x

    def other(x, t):
        return x - 1

    x, t = torch.randn(4, 2), torch.rand(4)
    assert diffusion.guided(one, other, 1.0) is one
    torch.testing.assert_close(diffusion.guided(one, other, 0.0)(x, t), other(x, t))
    torch.testing.assert_close(diffusion.guided(one, other, 2.5)(x, t), x - 1 + 2.5 * (2 * x + 1))


def test_the_average_is_exponential_and_begins_with_the_first_step():
    model = nn.Linear(2, 1)
    average = diffusion.average(model, 0.9)
    expected = None
    for step in range(4):
        model.weight.data.fill_(float(step))
        average.update_parameters(model)
        now = copy.deepcopy(model.weight.data)
        expected = now if expected is None else 0.9 * expected + 0.1 * now
        torch.testing.assert_close(average.module.weight.data, expected)
    assert not any(p.requires_grad for p in average.parameters())
