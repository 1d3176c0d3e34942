"""Task curriculum (Kim et al. 2025): first the noisy timesteps, then the others.

Kim, Go, Kwon & Kim, "Denoising Task Difficulty-based Curriculum for Training Diffusion
Models", ICLR 2025, arXiv 2403.10348. A diffusion model learns one denoising task a
timestep. Tasks of little noise are harder, so training starts with the noisiest
timesteps and adds the next cluster of them whenever the loss has stopped falling. The
network, the loss and the sampler stay what they are.

A sampler turns uniform draws into timesteps, and is told the loss after each update.
All samplers of a seed get the same draws, so that their batches are paired. Equations
are numbered as on the page.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stages.training.diffusion import noised
from stages.training.quality import distances

Draws = Float[Tensor, " batch"]  # uniform in [0, 1)
Times = Int[Tensor, " batch"]


class Sampler(Protocol):
    """Where the timesteps of a batch come from."""

    def __call__(self, draws: Draws) -> Times:
        """Turn uniform draws into timesteps."""

    def told(self, loss: float) -> None:
        """Take note of the loss of an update."""


@dataclass(frozen=True)
class Interval:
    """Timesteps from `low` to `high` - 1, all equally likely, for the whole training.

    With all timesteps this is ordinary training.
    """

    low: int
    high: int

    def __call__(self, draws: Draws) -> Times:
        width = self.high - self.low
        return self.low + (draws * width).long().clamp(max=width - 1)

    def told(self, loss: float) -> None:
        """Learn nothing from the loss."""


# ------------------------------------------------------------------ clusters and stages


def clusters(steps: int, number: int) -> list[Interval]:
    """Cut the timesteps 0 to `steps` - 1 into C_1, ..., C_N of equal width (eq. 2).

    C_1 has the least noise and is the hardest, C_N the most noise and the easiest.
    """
    edges = [round(i * steps / number) for i in range(number + 1)]
    return [Interval(edges[i - 1], edges[i]) for i in range(1, number + 1)]  # eq. 2


class Patience:
    """Tells when a loss has stopped falling (Algorithm 1).

    The loss of a batch is noisy, so a moving average of it is watched.

    Args:
        most: updates in a row that may pass without a new best.
        keep: the share of itself that the moving average keeps at each update.
    """

    def __init__(self, most: int, keep: float):
        self.most = most
        self.keep = keep
        self.reset()

    def reset(self) -> None:
        """Forget the average, the best and the count: the next stage is harder."""
        self.smooth = None
        self.best = float("inf")
        self.count = 0

    def over(self, loss: float) -> bool:
        """Take note of a loss; tell whether patience is at an end."""
        before = loss if self.smooth is None else self.smooth
        self.smooth = self.keep * before + (1 - self.keep) * loss  # eq. 4
        if self.smooth < self.best:
            self.best = self.smooth
            self.count = 0
        else:
            self.count += 1
        return self.count > self.most  # eq. 5


class Curriculum:
    """Timesteps from easy to hard, cluster after cluster (Algorithm 2).

    Clusters accumulate: none is dropped once it has been added. After the last stage
    has begun, this is ordinary training.

    Args:
        steps: timesteps of the diffusion, T.
        number: clusters, N.
        patience: when to go on to the next stage.

    Attributes:
        stage: n, from 1 to N.
        ends: after how many updates stages 1 to N - 1 ended, as far as they have.
    """

    def __init__(self, steps: int, number: int, patience: Patience):
        self.clusters = clusters(steps, number)
        self.patience = patience
        self.stage = 1
        self.updates = 0
        self.ends = []

    @property
    def active(self) -> Interval:
        """The union of the n noisiest clusters, U_n (eq. 3)."""
        easiest = self.clusters[-1]
        hardest = self.clusters[-self.stage]
        return Interval(hardest.low, easiest.high)  # eq. 3

    def __call__(self, draws: Draws) -> Times:
        return self.active(draws)

    def told(self, loss: float) -> None:
        """Go on to the next stage if the loss has stopped falling."""
        self.updates += 1
        if self.stage == len(self.clusters):
            return
        if self.patience.over(loss):
            self.stage += 1
            self.ends.append(self.updates)
            self.patience.reset()


class Reverse(Curriculum):
    """The same from hard to easy: the clusters of least noise come first."""

    @property
    def active(self) -> Interval:
        """The union of the n clusters of least noise."""
        return Interval(self.clusters[0].low, self.clusters[self.stage - 1].high)


# ---------------------------------------------------------------------- what is hard?


def log_density(
    x: Float[Tensor, "n pixels"],
    images: Float[Tensor, "images pixels"],
    signal: Float[Tensor, ""],
) -> Float[Tensor, " n"]:
    """Return log p_t(x), for the images noised to the signal ᾱ_t (eq. 6).

    The images are all the data there are, so p_t is a mixture of as many Gaussians.
    """
    variance = 1 - signal
    apart = distances(x, signal.sqrt() * images).square()
    exponents = -apart / (2 * variance)
    scale = (2 * torch.pi * variance).log() * images.shape[1] / 2
    return exponents.logsumexp(1) - scale - torch.tensor(len(images)).log()  # eq. 6


def relative_entropy(
    images: Float[Tensor, "images pixels"],
    t: int,
    signal: Float[Tensor, " steps"],
    count: int,
    chance: torch.Generator,
) -> float:
    """Estimate KL(p_{t-1} || p_t) in nats, from `count` samples of p_{t-1} (eq. 7).

    The mean of p_t / p_{t-1} - 1 is zero there; adding it makes each term positive and
    the estimate far less noisy.
    """
    images = images.double()
    signal = signal.double()
    rows = torch.randint(len(images), (count,), generator=chance)
    noise = torch.randn(count, images.shape[1], generator=chance, dtype=torch.float64)
    x = noised(images[rows], noise, signal[t - 1].expand(count))
    before = log_density(x, images, signal[t - 1])
    after = log_density(x, images, signal[t])
    ratio = after - before
    return float((ratio.expm1() - ratio).mean())  # eq. 7
