"""What is measured of the pullback metric: whether it predicts how far a prediction
moves (C5), and how states vary along its directions (C6).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from stages.evidence import Outcome, in_setting
from stages.papers.mechanisms.markov_categories import method
from stages.papers.mechanisms.markov_categories.lab import LINEAR, SURFACE, Lab
from stages.papers.mechanisms.markov_categories.scores import at
from stages.papers.mechanisms.markov_categories.training import Network
from stages.seeding import rng
from stages.training import effective_rank

RANDOM, REAL = "random directions", "differences of states"
SHORT, WHOLE = 0.02, 1.0  # lengths of a move, as shares of the difference
MOVES = 2000
SLOPE, AGREES = "slope of short moves", "correlation at full length"
IDLE = "share of rank idle"
ENERGY = "Dirichlet energy"
TOP, BOTTOM = "top directions", "bottom directions"
TOP_UNTRAINED, BOTTOM_UNTRAINED = "top, untrained", "bottom, untrained"


def score_geometry(
    outcome: Outcome,
    lab: Lab,
    name: str,
    d: int,
    network: Network,
    ends: tuple[str, str] = (TOP, BOTTOM),
) -> None:
    """Score the idle share of the metric's rank, and Dirichlet energies along the
    quarter of its directions that the head is most and least sensitive to.

    All in whitened coordinates, which do not depend on how a model is written.

    Args:
        ends: the names of the two quarters.
    """
    h = lab.read(network)[0].mean(0)
    z, v, b = method.canonical(h, network.rows(), lab.mu)
    metric = method.pullback_metric((z @ v.T + b).softmax(-1), v)
    mean = torch.einsum("n,nij->ij", lab.mu, metric)
    bound = min(d, lab.world.tokens - 1)
    idle = 1 - float(effective_rank(mean)) / bound
    outcome.score(name, in_setting(IDLE, at(d)), idle)
    directions = torch.linalg.eigh(mean).eigenvectors.flip(1)  # most sensitive first
    few = max(1, d // 4)
    for kernel in (LINEAR, SURFACE):
        similarity = lab.world.similarity(kernel)
        energy = method.dirichlet_energy(z @ directions, similarity, lab.mu)
        here = in_setting(in_setting(ENERGY, kernel), at(d))
        outcome.score(ends[0], here, float(energy[:few].mean()))
        outcome.score(ends[1], here, float(energy[-few:].mean()))


def score_moves(
    outcome: Outcome, lab: Lab, d: int, network: Network, seed: int
) -> None:
    """Score how well the metric predicts the KL of a trained network's predictions:
    the slope for short moves, the correlation over whole differences.
    """
    h = lab.read(network)[0].mean(0)
    written = method.canonical(h, network.rows(), lab.mu)
    for kind, (start, move) in moves(written[0], lab.mu, seed).items():
        true, predicted = divergences(start, SHORT * move, *written[1:])
        slope = float((true * predicted).sum() / predicted.square().sum())
        outcome.score(kind, in_setting(SLOPE, at(d)), slope)
        true, predicted = divergences(start, WHOLE * move, *written[1:])
        agrees = float(torch.corrcoef(torch.stack([true, predicted]))[0, 1])
        outcome.score(kind, in_setting(AGREES, at(d)), agrees)


def moves(
    z: Float[Tensor, "n d"], mu: Float[Tensor, " n"], seed: int
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return starts and moves of either kind, (moves, d) each: to another state's
    place, or as far on the average in a random direction. States have the law mu.
    """
    chance = rng(seed, "moves")
    ends = torch.from_numpy(chance.choice(len(z), (2, MOVES), p=mu.numpy()))
    random = torch.from_numpy(chance.standard_normal((MOVES, z.shape[1])))
    start, end = z[ends[0]], z[ends[1]]
    return {RANDOM: (start, 2**0.5 * random), REAL: (start, end - start)}


def divergences(
    start: Float[Tensor, "n d"],
    move: Float[Tensor, "n d"],
    v: Float[Tensor, "tokens d"],
    b: Float[Tensor, " tokens"],
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Return the KL divergence of p_{z + move} from p_z, and ½ g*(move, move) at z,
    which predicts it.
    """
    p = (start @ v.T + b).softmax(-1)
    moved = ((start + move) @ v.T + b).softmax(-1)
    metric = method.pullback_metric(p, v)
    square = torch.einsum("ni,nij,nj->n", move, metric, move)
    return method.kl(moved, p), square / 2
