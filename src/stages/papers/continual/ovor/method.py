"""OVOR: one prompt for all tasks, and a head that learns from virtual outliers what
does not belong to its task.

Huang, Chen and Hsu, "OVOR: OnePrompt with Virtual Outlier Regularization for
Rehearsal-Free Class-Incremental Learning", ICLR 2024, arXiv 2402.04129. Each task has
three steps. (a) Its prompt and its rows of the head learn as usual. (b) The prompt is
frozen, and outliers are made from the features of its images. (c) The rows alone learn
on: own features shall have a low energy, outliers a high one. Step (a) is in
`first_stage`; the one prompt is `OnePrompt` of the chapter's common code.

Equations are numbered as on the page. Several second stages start from one first stage
and are trained side by side, each as it would be alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from stages.papers.continual.common.loop import Budget, falling
from stages.papers.continual.ovor.first_stage import Learnt, Rows
from stages.seeding import torch_rng
from stages.training import fit, optimiser

NEIGHBOUR = 10  # K: a point's distance to the others is that to its K-th nearest
POINTS = 20  # boundary points of a task
OFFSETS = 100  # candidates around each of them
KEEP = 40  # outliers kept for each class of the task

# -------------------------------------------------------------- energy, the regulariser


def energy(logits: Float[Tensor, "*any classes"]) -> Float[Tensor, "*any"]:
    """Compute a feature's energy from the logits of one task's own classes (eq. 1): low
    where the task claims it.
    """
    return -logits.logsumexp(-1)  # eq. 1


def hinge(excess: Float[Tensor, "*arms n"]) -> Float[Tensor, "*arms"]:
    """Return the mean Huber loss (δ = 1) of what is above zero: h in eq. 3."""
    excess = excess.clamp(min=0)
    loss = F.huber_loss(excess, torch.zeros_like(excess), reduction="none")
    return loss.mean(-1)


class Terms(NamedTuple):
    """The two terms of the regulariser: of the task's own features, of outliers."""

    identity: Float[Tensor, "*arms"]
    outlier: Float[Tensor, "*arms"]


def regulariser(
    own: Float[Tensor, "*arms n ways"],
    outliers: Float[Tensor, "*arms v ways"],
    t_id: Float[Tensor, "*arms 1"],
    t_ood: float,
) -> Terms:
    """Compute the two terms of eq. 3 from the task's own logits: its features are to
    have an energy below `t_id`, outliers one above `t_ood`.
    """
    return Terms(
        identity=hinge(energy(own) - t_id),  # eq. 3
        outlier=hinge(t_ood - energy(outliers)),
    )


# --------------------------------------------------------------- (b) virtual outliers


def kth_distance(
    points: Float[Tensor, "p d"], index: Float[Tensor, "n d"]
) -> Float[Tensor, " p"]:
    """Return the distance of each point to its K-th nearest in the index; a point that
    is in the index counts as its own first.
    """
    k = min(NEIGHBOUR, len(index))
    return torch.cdist(points, index).kthvalue(k, dim=1).values


def virtual_outliers(
    features: Float[Tensor, "n d"],
    keep: int,
    noise: float,
    chance: torch.Generator,
) -> Float[Tensor, "keep d"]:
    """Make outliers for the features of one task, as NPOS does (Tao et al.
    2023): Gaussian offsets around the loneliest features.

    Args:
        noise: the length of an offset, in median lengths of a feature.
    """
    index = F.normalize(features, dim=-1)
    distance = kth_distance(index, index)
    lonely = distance.topk(min(POINTS, len(index))).indices
    boundary = features[lonely]  # (points, d)
    width = features.shape[1]
    sigma = noise * features.norm(dim=-1).median() / width**0.5
    shape = (len(boundary), OFFSETS, width)
    offsets = torch.randn(shape, generator=chance).to(features)
    made = (boundary[:, None] + sigma * offsets).flatten(0, 1)  # eq. 2
    distance = kth_distance(F.normalize(made, dim=-1), index)
    return made[distance.topk(min(keep, len(made))).indices]


# ------------------------------------------------------------------- (c) the head alone


@dataclass(frozen=True)
class Stage:
    """A second stage: what it adds to the cross-entropy.

    Attributes:
        identity, outlier: weights of the two terms; OVOR has λ for both.
        gap: t_ood - t_id, where t_ood = -log C: the energy of C logits that are zero.
        noise: the length of an outlier's offset, in median lengths of a feature.
    """

    identity: float
    outlier: float
    gap: float
    noise: float


def regularise(
    learnt: Sequence[Learnt],
    stages: Sequence[Stage],
    budget: Budget,
    lr: float,
    seed: int,
) -> list[Rows]:
    """Take steps (b) and (c) in every task; return each stage's head, all tasks' rows
    together. A task's rows are final when it ends.
    """
    parts = []
    for task, part in enumerate(learnt):
        made = [outliers_of(part, stage.noise, seed, task) for stage in stages]
        parts.append(regularise_task(part, torch.stack(made), stages, budget, lr))
    weight = torch.cat([rows.weight for rows in parts], 1)
    bias = torch.cat([rows.bias for rows in parts], 1)
    return [Rows(*rows) for rows in zip(weight, bias, strict=True)]


def outliers_of(
    part: Learnt, noise: float, seed: int, task: int
) -> Float[Tensor, "keep d"]:
    """Make a task's outliers; the offsets are alike for all stages, but for length."""
    keep = KEEP * len(part.rows.bias)
    return virtual_outliers(part.own, keep, noise, torch_rng(seed, "outliers", task))


def regularise_task(
    part: Learnt,
    outliers: Float[Tensor, "arms v d"],
    stages: Sequence[Stage],
    budget: Budget,
    lr: float,
) -> Rows:
    """Train one task's rows on eq. 4 for the updates that are left, once for every
    stage. All of them start from the rows and Adam's memory of step (a), and see the
    same batches; features and prompt stay as they are.
    """
    many = len(stages)
    first = budget.steps - len(part.order)
    t_ood = -math.log(len(part.rows.bias))
    t_id = t_ood - torch.tensor([[stage.gap] for stage in stages]).to(part.own)
    identity = torch.tensor([stage.identity for stage in stages]).to(part.own)
    outlier = torch.tensor([stage.outlier for stage in stages]).to(part.own)
    rows = Rows(*(nn.Parameter(_repeated(start, many)) for start in part.rows))
    adam = optimiser(rows, "adam", lr)
    for parameter, memory in zip(rows, part.memory, strict=True):
        adam.state[parameter] = {
            key: _repeated(value, many) if value.ndim else value.clone()
            for key, value in memory.items()
        }

    def loss(step: int) -> Tensor:
        batch = part.order[step - first]
        own = rows.logits(part.own[batch])
        labels = part.labels[batch].expand(many, -1)
        plain = F.cross_entropy(own.mT, labels, reduction="none").mean(1)
        terms = regulariser(own, rows.logits(outliers), t_id, t_ood)
        added = identity * terms.identity + outlier * terms.outlier
        return (plain + added).sum()  # eq. 4

    steps = range(first, budget.steps)
    fit(loss, steps, adam, schedule=falling(budget.steps))
    return Rows(rows.weight.detach(), rows.bias.detach())


def _repeated(value: Tensor, many: int) -> Tensor:
    return value.expand(many, *value.shape).clone()


# ------------------------------------------------------------------------- a control


def level(rows: Rows, learnt: Sequence[Learnt]) -> Rows:
    """Shift each task's biases so that its training features have a mean energy of
    zero: a calibration across tasks that leaves each task's own boundary as it was.
    """
    parts = []
    ways = len(learnt[0].rows.bias)
    for task, part in enumerate(learnt):
        own = slice(task * ways, (task + 1) * ways)
        mean = energy(rows.logits(part.own)[:, own]).mean()
        parts.append(rows.bias[own] + mean)
    return Rows(rows.weight, torch.cat(parts))
