"""The frozen stream of tokens, and how each task learns on it by itself."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from stages.models import ViT
from stages.papers.continual.common.loop import new_head

Features = Float[Tensor, "n width"]
# loss(logits of a task's own classes, rows of the training images, task)
Loss = Callable[[Float[Tensor, "batch own"], Int[Tensor, " batch"], int], Tensor]


@dataclass(frozen=True)
class Frozen:
    """What the frozen network makes of images, computed once and the same for all
    tasks.

    Attributes:
        entering: the tokens that enter block 0.
        second: those that enter block 1.
        normed: those that enter each block, after its first norm: X̃ of eq. 2.
        leaving: those that leave the last block, after the final norm; `leaving[:, 0]`
            is the feature q(x).
    """

    entering: Float[Tensor, "n tokens width"]
    second: Float[Tensor, "n tokens width"]
    normed: Float[Tensor, "blocks n tokens width"]
    leaving: Float[Tensor, "n tokens width"]

    def __len__(self) -> int:
        return len(self.entering)

    def __getitem__(self, rows: Int[Tensor, " batch"] | slice) -> "Frozen":
        return Frozen(
            self.entering[rows],
            self.second[rows],
            self.normed[:, rows],
            self.leaving[rows],
        )

    def parts(self, size: int = 300) -> Iterator["Frozen"]:
        """Cut into parts that fit a processor's cache."""
        return (self[i : i + size] for i in range(0, len(self), size))


@torch.no_grad()
def freeze(vit: ViT, images: Float[Tensor, "n 3 side side"], size: int = 250) -> Frozen:
    """Pass images through the frozen network and keep its tokens."""
    shape = (len(images), *vit.positions.shape)
    entering, second, leaving = (images.new_empty(shape) for _ in range(3))
    normed = images.new_empty(len(vit.blocks), *shape)
    for i in range(0, len(images), size):
        part = slice(i, i + size)
        stages = vit.tokens(images[part])
        entering[part] = stages[0]
        second[part] = stages[1]
        leaving[part] = vit.norm(stages[-1])
        for block, tokens, kept in zip(vit.blocks, stages, normed, strict=False):
            kept[part] = block.norm1(tokens)
    return Frozen(entering, second, normed, leaving)


@dataclass(frozen=True)
class Lab:
    """What the learners of a seed share.

    Attributes:
        vit: the frozen network.
        sizes: classes of each task.
        seen, tested: the frozen tokens of training and test images.
        loss: of the logits of a task's own classes.
        seed: of what is drawn to begin with.
    """

    vit: ViT
    sizes: Sequence[int]
    seen: Frozen
    tested: Frozen
    loss: Loss
    seed: int

    @property
    def width(self) -> int:
        """The width of a token."""
        return self.vit.positions.shape[1]


class Heads(nn.Module):
    """Learns each task with parameters of its own, here its own rows of a linear head
    on the frozen feature q(x): "frozen CLS heads".

    Once learnt, a task's test scores cannot change, so each is computed once. That
    nothing is forgotten is by construction.
    """

    def __init__(self, lab: Lab):
        super().__init__()
        self.lab = lab
        self.head = new_head(lab.vit, sum(lab.sizes))
        ends = torch.tensor(lab.sizes).cumsum(0).tolist()
        self.rows = [
            slice(end - size, end) for end, size in zip(ends, lab.sizes, strict=True)
        ]
        self.scores = torch.zeros(
            len(lab.tested), sum(lab.sizes), device=self.head.bias.device
        )

    def features(self, seen: Frozen, task: int) -> Features:
        """Return what a task's rows of the head read."""
        return seen.leaving[:, 0]

    def own_logits(self, seen: Frozen, task: int) -> Float[Tensor, "n own"]:
        """Return the logits of a task's own classes, z_k = w_k · û + b_k (eq. 4)."""
        own = self.rows[task]
        features = self.features(seen, task)
        return F.linear(features, self.head.weight[own], self.head.bias[own])  # eq. 4

    def start(self, task: int) -> Sequence[nn.Parameter]:
        """Train the head; the rows of other tasks get no gradient, and a fresh Adam
        leaves them as they are.
        """
        return list(self.head.parameters())

    def loss(self, rows: Int[Tensor, " batch"], task: int) -> Tensor:
        """Compute the loss on training images of a task."""
        return self.lab.loss(self.own_logits(self.lab.seen[rows], task), rows, task)

    @torch.no_grad()
    def end(self, task: int) -> None:
        """Score the test images for the task's classes."""
        parts = [self.own_logits(part, task) for part in self.lab.tested.parts()]
        self.scores[:, self.rows[task]] = torch.cat(parts)

    def logits(self) -> Float[Tensor, "test classes"]:
        """Return the test logits: all tasks' side by side, 0 for classes to come."""
        return self.scores.clone()
