"""How all arms are trained, and the rivals of the curriculum."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stages.models import Denoiser, seeded
from stages.papers.diffusion.task_curriculum.method import (
    Curriculum,
    Draws,
    Interval,
    Patience,
    Reverse,
    Sampler,
    Times,
)
from stages.seeding import torch_rng
from stages.training import diffusion, fit, optimiser

Images = Float[Tensor, "images pixels"]
Kind = Literal["uniform", "curriculum", "reverse", "shuffled"]  # of sampler
STEPS = 1000  # timesteps of the diffusion, T
CALLS = 20  # of the network, for a sample
SIGNAL = diffusion.cosine_signal(STEPS)  # ᾱ_t


@dataclass(frozen=True)
class Recipe:
    """How a denoiser is trained: AdamW at a constant rate, and a moving average."""

    lr: float
    updates: int
    batch: int = 128
    width: int = 128
    blocks: int = 3
    keep: float = 0.995


@dataclass
class Trained:
    """What a training leaves.

    Attributes:
        snapshots: the moving average of the parameters, by update.
        times: the timesteps of all updates.
    """

    snapshots: dict[int, Denoiser] = field(default_factory=dict)
    times: Int[Tensor, "updates batch"] | None = None


class Replay:
    """Timesteps that are given: those of another training, shuffled."""

    def __init__(self, times: Int[Tensor, "updates batch"], seed: int):
        order = torch.randperm(times.numel(), generator=torch_rng(seed, "shuffle"))
        self.rows = iter(times.flatten()[order].view(times.shape))

    def __call__(self, draws: Draws) -> Times:
        return next(self.rows)

    def told(self, loss: float) -> None:
        """Learn nothing from the loss."""


def sampler(
    kind: Kind,
    number: int,
    patience: Patience,
    drawn: Int[Tensor, "updates batch"] | None,
    seed: int,
) -> Sampler:
    """Make a sampler; `drawn` are the timesteps that the kind "shuffled" replays.

    Raises:
        ValueError: there are none to replay.
    """
    if kind == "uniform":
        return Interval(0, STEPS)
    if kind == "shuffled":
        if drawn is None:
            raise ValueError("no timesteps to shuffle: train the curriculum first")
        return Replay(drawn, seed)
    curriculum = {"curriculum": Curriculum, "reverse": Reverse}[kind]
    return curriculum(STEPS, number, patience)


def min_snr(
    t: Times, signal: Float[Tensor, " steps"], most: float = 5.0
) -> Float[Tensor, " batch"]:
    """Return the weights min(SNR, γ) / SNR of the noise loss (Hang et al. 2023), with
    SNR = ᾱ / (1 - ᾱ).
    """
    ratio = signal[t] / (1 - signal[t])
    return ratio.clamp(max=most) / ratio  # eq. 8


def train(
    sampler: Sampler,
    images: Images,
    recipe: Recipe,
    seed: int,
    checkpoints: Iterable[int],
    weighted: bool = False,
) -> Trained:
    """Train a denoiser on timesteps of a sampler.

    Initial parameters, images, noise and the draws that a sampler gets depend on the
    seed alone.

    Args:
        checkpoints: the updates after which a snapshot is kept.
        weighted: by Min-SNR.
    """
    with seeded(seed, "denoiser"):
        model = Denoiser(images.shape[1], recipe.width, recipe.blocks)
    average = diffusion.average(model, recipe.keep)
    chance = torch_rng(seed, "batches")
    checkpoints = set(checkpoints)
    trained = Trained()
    times = []
    last = torch.tensor(0.0)

    def loss(step: int) -> Tensor:
        nonlocal last
        rows = torch.randint(len(images), (recipe.batch,), generator=chance)
        noise = torch.randn(recipe.batch, images.shape[1], generator=chance)
        t = sampler(torch.rand(recipe.batch, generator=chance))
        times.append(t)
        losses = diffusion.noise_loss(model, images[rows], t, noise, SIGNAL)  # eq. 1
        if weighted:
            losses = min_snr(t, SIGNAL) * losses
        last = losses.mean()
        return last

    def after(step: int) -> None:
        average.update_parameters(model)
        sampler.told(float(last.detach()))
        if step + 1 in checkpoints:
            trained.snapshots[step + 1] = copy.deepcopy(average.module)

    adam = optimiser(model.parameters(), "adamw", recipe.lr)
    fit(loss, recipe.updates, adam, after_step=after)
    trained.times = torch.stack(times)
    return trained


@torch.no_grad()
def samples(model: Denoiser, count: int, seed: int) -> Images:
    """Draw images with DDIM, from noise that depends on the seed alone."""
    pixels = model.leave.out_features
    noise = torch.randn(count, pixels, generator=torch_rng(seed, "samples"))
    return diffusion.ddim(model, noise, SIGNAL, CALLS)


@torch.no_grad()
def held_out(
    model: diffusion.Network, images: Images, times: Times, seed: int
) -> float:
    """Return the loss on images that were not trained on, at given timesteps in turn,
    with noise that depends on the seed alone.
    """
    chance = torch_rng(seed, "held out")
    noise = torch.randn(images.shape, generator=chance)
    t = times[torch.arange(len(images)) % len(times)]
    return float(diffusion.noise_loss(model, images, t, noise, SIGNAL).mean())
