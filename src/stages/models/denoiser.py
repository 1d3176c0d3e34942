"""A residual perceptron that reads a flat noisy image and its noise level, and answers
with a vector of the same length: the noise, the clean image, whatever it is trained
for.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

Vectors = Float[Tensor, "batch pixels"]
Levels = Float[Tensor, " batch"]


def sinusoids(
    levels: Levels, width: int, slowest: float = 10_000.0
) -> Float[Tensor, "batch width"]:
    """Return cosines and sines of levels at width / 2 frequencies, from 1 down to
    1 / `slowest` in equal ratios (Vaswani et al. 2017, as in DDPM).

    Levels are best spread over hundreds: timesteps from 0 to 1,000, say.
    """
    exponents = torch.arange(width // 2, device=levels.device) / (width // 2)
    angles = levels[:, None] * torch.exp(-math.log(slowest) * exponents)
    return torch.cat([angles.cos(), angles.sin()], 1)


class ResidualBlock(nn.Module):
    """Adds a perceptron of what it reads and of the noise level."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.enter = nn.Linear(width, width)
        self.level = nn.Linear(width, width)
        self.leave = nn.Linear(width, width)

    def forward(
        self, x: Float[Tensor, "batch width"], level: Float[Tensor, "batch width"]
    ) -> Float[Tensor, "batch width"]:
        hidden = F.silu(self.enter(self.norm(x)) + self.level(level))
        return x + self.leave(hidden)


class Denoiser(nn.Module):
    """The whole perceptron: width in, residual blocks, width out.

    Its last layer starts at zero, so that a fresh network answers 0.

    Args:
        pixels: of a flat image.
        width: of all hidden layers.
        blocks: how many are stacked.
    """

    def __init__(self, pixels: int = 64, width: int = 128, blocks: int = 3):
        super().__init__()
        self.width = width
        self.level = nn.Sequential(
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        self.enter = nn.Linear(pixels, width)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, pixels)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Vectors, levels: Levels) -> Vectors:
        """Answer for noisy images, each at a level of its own, spread over hundreds."""
        level = self.level(sinusoids(levels, self.width))
        hidden = self.enter(x)
        for block in self.blocks:
            hidden = block(hidden, level)
        return self.leave(self.norm(hidden))


class Preconditioned(nn.Module):
    """A network F as EDM's denoiser D, whose input and target have unit variance at
    every noise level (Karras et al. 2022, eq. 7):

        D(x; σ) = c_skip x + c_out F(c_in x; c_noise).

    c_noise is ln(σ) / 4 in thousands, for `sinusoids`. A fresh network that answers 0
    gives the best linear denoiser of white noise of deviation `data`.

    Args:
        network: takes images and levels.
        data: the data's deviation σ_d.
    """

    def __init__(self, network: nn.Module, data: float):
        super().__init__()
        self.network = network
        self.data = data

    def forward(
        self, x: Float[Tensor, "batch *shape"], sigma: Levels
    ) -> Float[Tensor, "batch *shape"]:
        """Return the expected clean images, given noisy ones of deviations σ."""
        column = sigma.view(-1, *[1] * (x.dim() - 1))
        variance = column.square() + self.data**2
        skip = self.data**2 / variance
        out = column * self.data / variance.sqrt()
        answer = self.network(x / variance.sqrt(), 250 * sigma.log())
        return skip * x + out * answer
