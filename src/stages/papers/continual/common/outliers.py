"""Energy as a score of belonging, and virtual outliers that a head can learn from
(Huang et al. 2024).
"""

from typing import Literal

import torch
from jaxtyping import Float, Int
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional as F

Where = Literal["boundary", "origin"]
NEIGHBOUR, POINTS, OFFSETS, KEEP = (
    10,
    20,
    100,
    40,
)  # K; boundary points, offsets around each, outliers kept a class


def energy(logits: Float[Tensor, "*any classes"]) -> Float[Tensor, "*any"]:
    """Return E = -log Σ_k exp(logit_k) over a task's own classes: low where the task
    claims a picture.
    """
    return -logits.logsumexp(-1)


def hinge(excess: Float[Tensor, "*arms n"]) -> Float[Tensor, "*arms"]:
    """Return the mean Huber loss (δ = 1) of what is above zero."""
    excess = excess.clamp(min=0)
    return F.huber_loss(excess, torch.zeros_like(excess), reduction="none").mean(-1)


def regulariser(
    own: Float[Tensor, "*arms n ways"],
    outliers: Float[Tensor, "*arms v ways"],
    t_id: Tensor,
    t_ood: float,
) -> tuple[Float[Tensor, "*arms"], Float[Tensor, "*arms"]]:
    """Return R's two terms from the task's own logits: its features are to have E <=
    t_id, outliers E >= t_ood.
    """
    return hinge(energy(own) - t_id[..., None]), hinge(t_ood - energy(outliers))


def kth_distance(
    points: Float[Tensor, "p d"], index: Float[Tensor, "n d"], k: int
) -> Float[Tensor, " p"]:
    """Return the distance of each point to its k-th nearest in the index (the first is
    itself, if it is there).
    """
    return torch.cdist(points, index).kthvalue(min(k, len(index)), dim=1).values


def virtual_outliers(
    features: Float[Tensor, "n d"],
    keep: int,
    where: Where,
    noise: float,
    chance: torch.Generator,
) -> Float[Tensor, "keep d"]:
    """Make virtual outliers for the features of one task: step (b) of the paper, by
    NPOS (Tao et al. 2023).

    Args:
        where: "boundary" puts Gaussian offsets around the loneliest features. "origin"
            is what the released code does: the bare offsets, the same ones once for
            every boundary point.
        noise: the length of an offset, in median lengths of a feature.
    """
    index = F.normalize(features, dim=-1)
    lonely = kth_distance(index, index, NEIGHBOUR).topk(min(POINTS, len(index))).indices
    scale = noise * features.norm(dim=-1).median() / features.shape[1] ** 0.5
    offsets = scale * torch.randn(
        len(lonely), OFFSETS, features.shape[1], generator=chance
    ).to(features)
    if where == "boundary":
        made = (features[lonely, None] + offsets).flatten(0, 1)
        distance = kth_distance(F.normalize(made, dim=-1), index, NEIGHBOUR)
    else:
        made = offsets[0].repeat(len(lonely), 1)
        distance = kth_distance(
            made, index, NEIGHBOUR
        )  # raw against normalised, as released
    return made[distance.topk(min(keep, len(made))).indices]


def apart(
    logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"], ways: int
) -> float:
    """Return, averaged over tasks, how surely (AUROC in %) a task's energy tells its
    own pictures from all others.

    It asks for the order alone: no shift of a task's level, nor anything else that
    keeps the order, can raise it.
    """
    task, claim = (
        (labels // ways).cpu(),
        -energy(logits.unflatten(-1, (-1, ways))).cpu(),
    )
    return (
        100
        * sum(roc_auc_score(task == t, claim[:, t]) for t in range(claim.shape[1]))
        / claim.shape[1]
    )
