"""Diffusion models: what a network is trained to predict, and how samples are drawn.

Three families, each with its noising, its loss and its sampler. `x` is clean data and
`noise` standard normal, of one shape (batch, ...); levels are (batch,).

- noise prediction (Ho et al. 2020): √ᾱ x + √(1-ᾱ) noise, sampled by DDIM;
- EDM (Karras et al. 2022): x + σ noise, sampled by Heun's method;
- velocity (flow matching, Lipman et al. 2023): (1-t) x + t noise, sampled by Euler's.

Losses come one an example, so that a caller can weight them. A moving average of the
parameters is torch's: `average(model, keep)`.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Data = Float[Tensor, "batch *shape"]
Levels = Float[Tensor, " batch"]
Network = Callable[[Data, Levels], Data]


def column(levels: Levels, like: Data) -> Float[Tensor, "batch *ones"]:
    """Give levels as many axes as the data have."""
    return levels.view(-1, *[1] * (like.dim() - 1))


def average(model: nn.Module, keep: float) -> AveragedModel:
    """Return the exponential moving average of a model's parameters: call
    `average.update_parameters(model)` after each step, use `average.module`.

    At the first call it is the model itself; at each later one it keeps the share
    `keep` of what it was.
    """
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(keep))
    return averaged.requires_grad_(False)


# ------------------------------------------------------------------- noise prediction


def cosine_signal(
    steps: int = 1000, offset: float = 0.008, largest: float = 0.999
) -> Float[Tensor, " steps"]:
    """Return ᾱ_t of the cosine schedule (Nichol and Dhariwal 2021, eq. 17) for t = 0 to
    steps - 1; no step adds more than the share `largest` of noise.
    """
    t = torch.arange(steps + 1, dtype=torch.float64) / steps
    signal = torch.cos((t + offset) / (1 + offset) * math.pi / 2).square()
    betas = (1 - signal[1:] / signal[:-1]).clamp(max=largest)
    return (1 - betas).cumprod(0).float()


def noised(x: Data, noise: Data, signal: Levels) -> Data:
    """Mix data and noise: √ᾱ x + √(1-ᾱ) noise (Ho et al. 2020, eq. 4)."""
    share = column(signal, x)
    return share.sqrt() * x + (1 - share).sqrt() * noise


def noise_loss(
    network: Network,
    x: Data,
    t: Int[Tensor, " batch"],
    noise: Data,
    signal: Float[Tensor, " steps"],
) -> Levels:
    """Return the mean squared error of each example's predicted noise (eq. 14)."""
    predicted = network(noised(x, noise, signal[t]), t.float())
    return (predicted - noise).square().flatten(1).mean(1)


@torch.no_grad()
def ddim(
    network: Network,
    noise: Data,
    signal: Float[Tensor, " steps"],
    steps: int = 20,
    limit: float | None = 1.0,
) -> Data:
    """Draw samples with DDIM (Song et al. 2021, eq. 12 with η = 0).

    Args:
        network: predicts the noise.
        noise: where samples start: a function of it alone.
        signal: ᾱ of all timesteps.
        steps: how many network calls, at timesteps in equal strides from the last.
        limit: clean images are predicted within [-limit, limit]; None: anywhere.
    """
    stride = len(signal) / steps
    times = [round(len(signal) - 1 - i * stride) for i in range(steps)]
    x = noise
    for now, following in zip(times, [*times[1:], None], strict=True):
        level = torch.full((len(x),), float(now), device=x.device)
        predicted = network(x, level)
        clean = (x - (1 - signal[now]).sqrt() * predicted) / signal[now].sqrt()
        if limit is not None:
            clean = clean.clamp(-limit, limit)
            predicted = (x - signal[now].sqrt() * clean) / (1 - signal[now]).sqrt()
        if following is None:
            return clean
        share = signal[following]
        x = share.sqrt() * clean + (1 - share).sqrt() * predicted  # eq. 12
    return x


# -------------------------------------------------------------------------------- EDM


def karras_sigmas(
    steps: int, least: float, most: float, rho: float = 7.0
) -> Float[Tensor, " levels"]:
    """Return `steps` noise levels from `most` to `least`, and then 0 (Karras et al.
    2022, eq. 5).
    """
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    ends = most ** (1 / rho), least ** (1 / rho)
    sigmas = (ends[0] + ramp * (ends[1] - ends[0])) ** rho
    return torch.cat([sigmas, sigmas.new_zeros(1)]).float()


def edm_loss(
    denoiser: Network, x: Data, sigma: Levels, noise: Data, data: float
) -> Levels:
    """Return each example's squared error of the denoised image, averaged over pixels
    and weighted by (σ² + σ_d²) / (σ σ_d)², which makes all levels alike (eq. 2).
    """
    denoised = denoiser(x + column(sigma, x) * noise, sigma)
    weight = (sigma.square() + data**2) / (sigma * data).square()
    return weight * (denoised - x).square().flatten(1).mean(1)


@torch.no_grad()
def heun(denoiser: Network, noise: Data, sigmas: Float[Tensor, " levels"]) -> Data:
    """Draw samples with Heun's second-order method (alg. 1, deterministic).

    Args:
        denoiser: predicts the clean image.
        noise: standard normal; samples start at `sigmas[0]` times it.
        sigmas: falling noise levels, the last of them 0. Of n levels above it there are
            2 n - 1 calls, for the step to 0 is Euler's.
    """

    def slope(x: Data, sigma: Tensor) -> Data:
        return (x - denoiser(x, sigma.expand(len(x)))) / sigma

    x = sigmas[0] * noise
    for now, following in pairwise(sigmas):
        first = slope(x, now)
        moved = x + (following - now) * first
        if following > 0:
            second = slope(moved, following)
            moved = x + (following - now) * (first + second) / 2
        x = moved
    return x


# --------------------------------------------------------------------------- velocity


def shifted(t: Float[Tensor, "*batch"], shift: float) -> Float[Tensor, "*batch"]:
    """Push times in [0, 1] towards the noise: s t / (1 + (s - 1) t) (Esser et al. 2024,
    eq. 23).
    """
    return shift * t / (1 + (shift - 1) * t)


def velocity_loss(network: Network, x: Data, t: Levels, noise: Data) -> Data:
    """Return the squared error of each pixel's predicted velocity noise - x, at
    (1-t) x + t noise.
    """
    share = column(t, x)
    predicted = network((1 - share) * x + share * noise, t)
    return (predicted - (noise - x)).square()


@torch.no_grad()
def euler(network: Network, noise: Data, times: Float[Tensor, " levels"]) -> Data:
    """Draw samples with Euler's method along the predicted velocity.

    Args:
        network: predicts the velocity.
        noise: samples start from it.
        times: falling, from 1 to 0; one call for each but the last.
    """
    x = noise
    for now, following in pairwise(times):
        x = x + (following - now) * network(x, now.expand(len(x)))
    return x


def guided(network: Network, negative: Network, scale: float) -> Network:
    """Return classifier-free guidance (Ho and Salimans 2021) away from `negative`: the
    answers there, plus `scale` times the step from them to those of `network`.

    `negative` is the network without a caption, or with a negative prompt. At a scale
    of 1 it has no say, and is not called.
    """
    if scale == 1:
        return network

    def both(x: Data, t: Levels) -> Data:
        away = negative(x, t)
        return away + scale * (network(x, t) - away)

    return both
