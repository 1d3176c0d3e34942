"""NeuMeta: one function from the place of a weight to its value, for every width.

Yang & Wang, "Neural Metamorphosis", ECCV 2024, arXiv 2410.11878. An implicit neural
representation learns the weights of a perceptron as a smooth picture that can be
sampled at any size. Neurons are first put in an order in which neighbours resemble each
other; noise on the coordinates then makes the picture smooth between sizes.

The network is a perceptron with two hidden layers of one width h; its six tensors are
those of `torch.nn.Linear`, weight and bias of each layer. In the authors' code the
noise also moves the layer's index and the fan-in, so that another perceptron may make a
weight. Here noise reaches the features only. Equations are numbered as on the page.
"""

import copy
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from stages.models import seeded

Weights = list[Tensor]  # (h, inputs), (h,), (h, h), (h,), (classes, h), (classes,)

# ------------------------------------------------- smooth inside one network: the order


def total_variation(weights: Weights) -> float:
    """Sum the steps between neighbouring rows and columns of all tensors (eq. 1)."""
    steps = [w.diff(dim=axis).abs().sum() for w in weights for axis in range(w.dim())]
    return float(sum(steps))  # eq. 1


def neurons(weights: Weights, layer: int) -> Float[Tensor, "h weights"]:
    """Gather what belongs to each neuron of hidden layer 0 or 1: its row of weights,
    its bias, and its column of the next layer.
    """
    row, bias, following = weights[2 * layer : 2 * layer + 3]
    return torch.cat([row, bias[:, None], following.T], dim=1)


def smooth_order(features: Float[Tensor, "h weights"]) -> Int[np.ndarray, " h"]:
    """Find a short path through all neurons, in the L1 distance (eq. 2): the nearest
    neighbour from every start, each path improved by 2-opt, the shortest kept.
    """
    distance = torch.cdist(features, features, p=1).double().numpy()
    starts = range(len(distance))
    paths = [two_opt(nearest_neighbour(distance, s), distance) for s in starts]
    return min(paths, key=lambda path: path_length(path, distance))  # eq. 2


def path_length(path: Int[np.ndarray, " h"], distance: np.ndarray) -> float:
    """Sum the distances between neighbours on a path."""
    return float(distance[path[:-1], path[1:]].sum())


def nearest_neighbour(distance: np.ndarray, start: int) -> Int[np.ndarray, " h"]:
    """Go from `start` to the nearest neuron that is left, until none is."""
    left = distance.copy()
    path = [start]
    while len(path) < len(distance):
        left[:, path[-1]] = np.inf
        path.append(int(left[path[-1]].argmin()))
    return np.array(path)


def two_opt(path: Int[np.ndarray, " h"], distance: np.ndarray) -> np.ndarray:
    """Turn round the stretch of the path that saves most, until none saves anything.

    A dummy city at distance 0 from all others closes the path to a tour, so that its
    two ends may be turned round as well.
    """
    padded = np.pad(distance, (0, 1))
    dummy = len(distance)
    tour = np.array([dummy, *path, dummy])
    while True:
        apart = padded[np.ix_(tour, tour)]
        edges = apart.diagonal(1)
        # [i, j]: turn round tour[i+1 ... j+1], which replaces edges i and j+1
        saved = edges[:-1, None] + edges[1:] - apart[:-2, 1:-1] - apart[1:-1, 2:]
        i, j = np.unravel_index(np.triu(saved).argmax(), saved.shape)
        if np.triu(saved)[i, j] < 1e-9:
            return tour[1:-1]
        tour[i + 1 : j + 2] = tour[i + 1 : j + 2][::-1].copy()


def permute(weights: Weights, first: Sequence, second: Sequence) -> Weights:
    """Put the neurons of both hidden layers in another order; the function stays."""
    w1, b1, w2, b2, w3, b3 = weights
    return [w1[first], b1[first], w2[second][:, first], b2[second], w3[:, second], b3]


def smoothed(weights: Weights) -> Weights:
    """Permute a network so that neighbours are alike. Inputs and classes stay."""
    orders = [smooth_order(neurons(weights, layer)) for layer in (0, 1)]
    return permute(weights, *orders)


# ----------------------------------------------- the weights as a function of the place


def shapes(width: int, inputs: int, classes: int) -> list[tuple[int, ...]]:
    """Return the shapes of the six tensors at a width."""
    ends = (inputs, width, width, classes)
    return [s for d1, d0 in pairwise(ends) for s in ((d0, d1), (d0,))]


def coordinates(layer: int, shape: tuple[int, ...], layers: int) -> Tensor:
    """Return (l, i, j, L, d0, d1) for every entry of a tensor, row by row (eq. 3).

    A bias has j = 0 and d1 = 1.
    """
    rows, columns = (*shape, 1)[:2]
    i, j = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    same = torch.tensor([layer, layers, rows, columns]).expand(rows * columns, 4)
    place = torch.stack([i.flatten(), j.flatten()], dim=1)
    return torch.cat([same[:, :1], place, same[:, 1:]], dim=1).float()  # eq. 3


def jitter(v: Tensor, size: float, generator: torch.Generator | None) -> Tensor:
    """Move rows, columns and sizes by uniform noise within half of `size` (eq. 4)."""
    noise = torch.rand(v.shape, generator=generator) - 0.5
    moved = torch.tensor([0.0, 1, 1, 0, 1, 1])
    return v + size * moved * noise  # eq. 4


def features(v: Float[Tensor, "n 6"], frequencies: int, norm: float) -> Tensor:
    """Give relative places, sizes, and waves of relative row and column (eq. 5)."""
    relative = v[:, :3] / v[:, 3:]
    octaves = 2.0 ** torch.arange(frequencies)
    angles = relative[:, 1:, None] * torch.pi * octaves
    waves = torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1)
    return torch.cat([relative, v[:, 3:] / norm, waves], dim=1)  # eq. 5


class ResidualMLP(nn.Module):
    """A perceptron whose later layers add to the first by a learnt, small scale."""

    def __init__(self, inputs: int, hidden: int, layers: int):
        super().__init__()
        self.first = nn.Linear(inputs, hidden)
        self.later = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(layers - 1))
        self.scales = nn.Parameter(torch.full((layers - 1,), 0.1))
        self.last = nn.Linear(hidden, 1)

    def forward(self, x: Float[Tensor, "n inputs"]) -> Float[Tensor, " n"]:
        x = self.first(x).relu()
        for layer, scale in zip(self.later, self.scales, strict=True):
            x = x + scale * layer(x).relu()  # eq. 6
        return self.last(x).squeeze(1)


class Manifold(nn.Module):
    """The weights of a perceptron of any width, one residual MLP a tensor (eq. 7).

    Args:
        base: the trained network's six tensors; their shapes and deviations set scales.
        seed: of the initial weights.
        hidden, layers, frequencies: of each residual MLP, and of its Fourier features.
    """

    def __init__(
        self, base: Weights, seed: int, hidden: int, layers: int, frequencies: int
    ):
        super().__init__()
        self.full = [tuple(w.shape) for w in base]
        self.deviations = [float(w.std()) for w in base]
        self.frequencies = frequencies
        self.norm = float(len(base[0]))
        with seeded(seed, "manifold"):
            made = [ResidualMLP(6 + 4 * frequencies, hidden, layers) for _ in base]
        self.mlps = nn.ModuleList(made)

    def forward(
        self,
        width: int,
        noise: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Weights:
        """Sample all weights of the network of a width; noise is in cells (eq. 7)."""
        (_, inputs), classes = self.full[0], self.full[-1][0]
        weights = []
        for layer, shape in enumerate(shapes(width, inputs, classes)):
            v = coordinates(layer, shape, len(self.mlps))
            if noise:
                v = jitter(v, noise, generator)
            x = features(v, self.frequencies, self.norm)
            # true layer and true fan-in, whatever the noise
            fan_in = (*shape, 1)[1] / (*self.full[layer], 1)[1]
            scale = self.deviations[layer] / fan_in
            weights.append(scale * self.mlps[layer](x).view(shape))  # eq. 7
        return weights


# ------------------------------------------------------- what is learnt, and how to use


def reconstruction(weights: Weights, base: Weights) -> Tensor:
    """Compare with the base network, large weights counting more (eq. 8)."""
    errors = []
    for made, true in zip(weights, base, strict=True):
        counts = (true.abs() + 1e-8) / (true.abs().max() + 1e-8)
        errors.append((counts * (made - true).square()).mean())
    return torch.stack(errors).mean()  # eq. 8


def regularisers(weights: Weights, base: Weights | None, decay: float) -> Tensor:
    """Add to the cross-entropy: the norms, and reconstruction at full width (eq. 9)."""
    total = decay * sum(w.norm() for w in weights)
    if base is not None and len(weights[0]) == len(base[0]):
        total = total + reconstruction(weights, base)  # eq. 9
    return total


class MovingAverage:
    """The exponential moving average of a module's parameters (eq. 10)."""

    def __init__(self, module: nn.Module, keep: float):
        self.module = copy.deepcopy(module).requires_grad_(False)
        self.keep = keep

    def update(self, module: nn.Module) -> None:
        """Take in the parameters as they are now."""
        pairs = zip(self.module.parameters(), module.parameters(), strict=True)
        for mean, now in pairs:
            mean.lerp_(now.detach(), 1 - self.keep)  # eq. 10


@torch.no_grad()
def morph(
    manifold: Manifold,
    width: int,
    samples: int,
    noise: float,
    generator: torch.Generator | None = None,
) -> Weights:
    """Average the weights of several samples, the first without noise (eq. 11)."""
    draws = [manifold(width)]
    draws += [manifold(width, noise, generator) for _ in range(samples - 1)]
    return [torch.stack(parts).mean(0) for parts in zip(*draws, strict=True)]  # eq. 11
