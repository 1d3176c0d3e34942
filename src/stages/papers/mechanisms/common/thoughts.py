"""What thoughts that are vectors hold: how far apart they lie, what a probe reads
there, and whether answers follow.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from stages.training import effective_rank, ridge

DISTANCE, COSINE, RANK = (
    "distance of thoughts / norm",
    "cosine of thoughts",
    "effective rank of thoughts",
)
CENTRE, CENTRE_NORMED = (
    "distance to the mean embedding",
    "distance to the mean embedding / norm",
)


def geometry(
    thoughts: Float[Tensor, "n k width"], embedding: Float[Tensor, "words width"]
) -> dict[str, float]:
    """Measure how thoughts about one problem lie: pairwise distance over their mean
    norm, pairwise cosine, effective rank, and the distance to the mean token embedding,
    plain and over the norm; all averaged over problems.
    """
    k, norm = thoughts.shape[1], thoughts.norm(dim=-1).mean(1)
    pairs = torch.triu_indices(k, k, 1, device=thoughts.device)
    apart = (thoughts[:, pairs[0]] - thoughts[:, pairs[1]]).norm(dim=-1).mean(1)
    centre = (thoughts - embedding.mean(0)).norm(dim=-1).mean(1)
    alike = F.cosine_similarity(thoughts[:, pairs[0]], thoughts[:, pairs[1]], dim=-1)
    found = {
        DISTANCE: apart / norm,
        COSINE: alike,
        RANK: effective_rank(thoughts),
        CENTRE: centre,
        CENTRE_NORMED: centre / norm,
    }
    return {name: float(values.mean()) for name, values in found.items()}


def probe(
    fit_on: Float[Tensor, "n slots width"],
    fit_to: Int[Tensor, "n slots"],
    test_on: Float[Tensor, "m slots width"],
    test_to: Int[Tensor, "m slots"],
) -> Float[Tensor, " slots"]:
    """Return in % how often a ridge probe, one a slot, is right about problems that it
    was not fit to.
    """
    classes = int(max(fit_to.max(), test_to.max())) + 1
    weight, level = ridge(
        fit_on.transpose(0, 1), F.one_hot(fit_to, classes).transpose(0, 1).double(), 1.0
    )
    guess = (test_on.transpose(0, 1).double() @ weight + level).argmax(-1)
    return 100 * (guess == test_to.T).double().mean(1)


def gap(
    right: Float[Tensor, "n slots"],
    answered: Float[Tensor, " n"],
    there: Float[Tensor, "n slots"],
) -> float:
    """Return the accuracy, in points, where a step was decoded right less that where it
    was decoded wrong.

    Every (problem, step) counts once. Two more of the accuracy of all are added to
    either side, so that the gap is defined, and near 0, where a side has few.
    """
    usual = (there * answered[:, None]).sum() / there.sum()
    sides = [
        ((side * answered[:, None]).sum(), side.sum())
        for side in (there * right, there * (1 - right))
    ]
    shares = [(hits + 2 * usual) / (count + 2) for hits, count in sides]
    return 100 * float(shares[0] - shares[1])
