"""Learning without rehearsal by penalties and distillation: losses, penalties on
weights, and one learner.

The formulas are those of Smith et al. (2023), "A Closer Look at Rehearsal-Free
Continual Learning". A network is a body, which makes features, and a linear head for
all classes to come; any body will do.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from stages.models import seeded
from stages.papers.continual.common.loop import task_cross_entropy
from stages.papers.continual.common.streams import Stream
from stages.seeding import rng, torch_rng

Logits = Float[Tensor, "batch classes"]
FISHER = 128  # pictures of a task that EWC looks at

# --------------------------------------------------------------------------- the losses


def bce_kd(
    logits: Logits,
    labels: Int[Tensor, " batch"],
    own: slice,
    teacher: Logits | None = None,
) -> Float[Tensor, ""]:
    """Compute BCE+KD: sigmoids over all classes seen, each with its target, summed over
    classes and averaged over pictures. New classes have their labels as targets and old
    ones the teacher's sigmoids, or 0 without a teacher.
    """
    target = F.one_hot(labels, logits.shape[1]).to(logits)
    if teacher is not None:
        target[:, : own.start] = teacher[:, : own.start].detach().sigmoid()
    return _bce(logits[:, : own.stop], target[:, : own.stop])


def softmax_kd(
    logits: Logits,
    labels: Int[Tensor, " batch"],
    own: slice,
    teacher: Logits | None = None,
    heat: float = 2.0,
) -> Float[Tensor, ""]:
    """Compute the other form: cross-entropy over the classes seen, plus `heat`² times
    the cross-entropy between the teacher's and the network's softmax over the old
    classes, both at temperature `heat`.
    """
    loss = F.cross_entropy(logits[:, : own.stop], labels)
    if teacher is None:
        return loss
    old = slice(0, own.start)
    return loss + heat**2 * F.cross_entropy(
        logits[:, old] / heat, (teacher[:, old].detach() / heat).softmax(-1)
    )


def bce_current(
    logits: Logits, labels: Int[Tensor, " batch"], own: slice, teacher: None = None
) -> Float[Tensor, ""]:
    """Compute BCE over the task's own classes alone: old rows of the head get no
    gradient.
    """
    return bce_kd(logits[:, own], labels - own.start, slice(0, own.stop - own.start))


def masked_softmax(
    logits: Logits, labels: Int[Tensor, " batch"], own: slice, teacher: None = None
):
    """Compute the loss of the prompts: a softmax over the task's own classes."""
    return task_cross_entropy(logits, labels, own)


def _bce(logits: Logits, target: Logits) -> Float[Tensor, ""]:
    return F.binary_cross_entropy_with_logits(logits, target, reduction="sum") / len(
        logits
    )


LOSSES = {
    "bce": bce_kd,
    "softmax": softmax_kd,
    "current": bce_current,
    "masked": masked_softmax,
}


class Penalty:
    """Σ_j F_j (θ_j - θ*_j)², with one anchor θ*: the weights at the end of the last
    task.

    F is λ for L2, and λ times the running sum of the tasks' Fisher information for EWC.
    The chapter's other EWC has one term a task instead, each anchored where that task
    ended, and writes λ/2 for the λ here.

    Args:
        weights: θ; the first anchor is where they are now.
        first: F in task 1, for all weights: above 0 only where the start is worth
            staying near.
    """

    def __init__(self, weights: Sequence[nn.Parameter], first: float = 0.0):
        self.weights = weights
        self.anchor = [w.detach().clone() for w in weights]
        self.importance = [torch.full_like(w, first) for w in self.anchor]
        self.active = first > 0

    def __call__(self) -> Float[Tensor, ""] | float:
        """Return the penalty; 0.0 while F is zero."""
        if not self.active:
            return 0.0
        terms = zip(self.importance, self.weights, self.anchor, strict=True)
        return sum((f * (w - a).square()).sum() for f, w, a in terms)

    def move(self, importance: Sequence[Tensor]) -> None:
        """Anchor the weights where they are, with another F."""
        self.anchor = [w.detach().clone() for w in self.weights]
        self.importance, self.active = list(importance), True


@torch.no_grad()
def sampled_fisher(
    answer: Callable[[dict, Tensor], Logits],
    weights: Mapping[str, Tensor],
    images: Float[Tensor, "n ..."],
    sigmoid: bool,
    generator: torch.Generator,
    size: int = 32,
) -> list[Tensor]:
    """Estimate the diagonal of the Fisher information, F_j = E_x E_{y~p(y|x)} [(∂_j log
    p(y|x))²].

    Each picture has one answer y drawn from the network and one gradient of its own.
    The chapter's `diagonal_fisher` takes the expectation over y exactly, but for stacks
    of perceptrons with a softmax only.

    Args:
        answer: maps weights, by name, and pictures to logits.
        sigmoid: whether y is a set of classes, each with a chance of its own, or one
            class.
    """

    def minus_log(weights: dict, image: Tensor, drawn: Tensor) -> Tensor:
        logits = answer(weights, image[None])
        return (
            _bce(logits, drawn[None])
            if sigmoid
            else F.cross_entropy(logits, drawn[None])
        )

    total = [torch.zeros_like(w) for w in weights.values()]
    with sdpa_kernel(SDPBackend.MATH):  # the fused attention has no rule for vmap
        for part in images.split(size):
            logits = answer(weights, part)
            if sigmoid:
                drawn = torch.bernoulli(logits.sigmoid().cpu(), generator=generator).to(
                    logits
                )
            else:
                drawn = torch.multinomial(
                    logits.softmax(-1).cpu(), 1, generator=generator
                )[:, 0].to(logits.device)
            each = vmap(grad(minus_log), (None, 0, 0))(weights, part, drawn)
            total = [
                t + g.square().sum(0) for t, g in zip(total, each.values(), strict=True)
            ]
    return [t / len(images) for t in total]


# -------------------------------------------------------------------------- the learner


@dataclass(frozen=True)
class Arm:
    """A way to learn a stream.

    Attributes:
        lr: Adam's learning rate.
        loss: a name in `LOSSES`.
        distil: PredKD, with the network of the last task as teacher.
        penalty: "L2", "EWC", "FeatKD" or none, of this `strength`, from task 2 on.
        first: λ of an L2 penalty to the start, in task 1.
        trained: "all" weights, "qkv" alone, or the "head" alone; the head always.
        random: start from random weights, not from the base model.
        replay: pictures of each old class that are kept; half of each batch are such.
        joint: learn all tasks at once, in as many updates.
    """

    lr: float
    loss: Literal["bce", "softmax", "current", "masked"] = "bce"
    distil: bool = False
    penalty: Literal["", "L2", "EWC", "FeatKD"] = ""
    strength: float = 0.0
    first: float = 0.0
    trained: Literal["all", "qkv", "head"] = "all"
    random: bool = False
    replay: int = 0
    joint: bool = False


class Regularised:
    """Learns a stream as its arm says: a body that makes features, and a linear head on
    them.

    Args:
        body: maps pictures to features; it is copied.
    """

    def __init__(self, body: nn.Module, stream: Stream, arm: Arm, seed: int):
        self.body, self.stream, self.arm, self.seed = (
            copy.deepcopy(body),
            stream,
            arm,
            seed,
        )
        with torch.no_grad(), seeded(seed, "head"):
            self.head = nn.Linear(body(stream.images[:1]).shape[1], stream.classes).to(
                stream.images.device
            )
        if (
            arm.loss == "masked"
        ):  # as the chapter's heads start; other losses see all rows side by side
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)
        self.weights = {}
        for name, weight in self.body.named_parameters():
            weight.requires_grad_(
                arm.trained == "all"
                or (arm.trained == "qkv" and "attention.qkv" in name)
            )
            if weight.requires_grad:
                self.weights[name] = weight
        self.penalty, self.teacher = (
            Penalty(list(self.weights.values()), arm.first),
            None,
        )
        self.chance, self.depths = torch_rng(seed, "replay"), []
        classes = range(stream.classes) if arm.replay else ()
        self.kept = [
            self._some((stream.labels == c).nonzero()[:, 0], arm.replay, "kept", c)
            for c in classes
        ]

    @property
    def trained(self) -> int:
        """How many weights are trained, the head's among them."""
        return sum(w.numel() for w in self.start(0))

    @property
    def copies(self) -> int:
        """How many numbers are kept beside the network: anchors, Fisher information,
        teacher, pictures.
        """
        anchors = sum(w.numel() for w in self.weights.values()) * {
            "L2": 1,
            "EWC": 2,
        }.get(self.arm.penalty, 0)
        teacher = sum(
            w.numel() for w in (*self.body.parameters(), *self.head.parameters())
        )
        pictures = sum(map(len, self.kept)) * self.stream.images[0].numel()
        return (
            anchors
            + teacher * (self.arm.distil or self.arm.penalty == "FeatKD")
            + pictures
        )

    def start(self, task: int) -> Sequence[nn.Parameter]:
        """Train the arm's weights and the head."""
        return [*self.weights.values(), *self.head.parameters()]

    def loss(self, rows: Int[Tensor, " batch"], task: int) -> Tensor:
        """Return the loss with its penalty, L_cls(+KD) + λ L_penalty. The head is not
        penalised.
        """
        if self.arm.replay and task:
            rows = self._with_old(rows, task)
        images, labels, own = (
            self.stream.images[rows],
            self.stream.labels[rows],
            self.stream.own(task),
        )
        features, taught, total = self.body(images), None, self.penalty()
        if self.teacher:
            body, head = self.teacher
            with torch.no_grad():
                before = body(images)
                taught = head(before) if self.arm.distil else None
            if self.arm.penalty == "FeatKD":
                total = (
                    total
                    + self.arm.strength * (features - before).square().sum(1).mean()
                )
        return LOSSES[self.arm.loss](self.head(features), labels, own, taught) + total

    def end(self, task: int) -> None:
        """Keep the network as the next teacher, and the weights as the next anchor."""
        if self.arm.distil or self.arm.penalty == "FeatKD":
            self.teacher = copy.deepcopy((self.body, self.head))
        if self.arm.penalty == "L2":
            self.penalty.move(
                [torch.full_like(w, self.arm.strength) for w in self.weights.values()]
            )
        elif (
            self.arm.penalty == "EWC"
        ):  # a pull to the start, if there was one, ends with task 1
            before = self.penalty.importance if task else [0.0] * len(self.weights)
            fisher = self.information(task)
            self.penalty.move(
                [b + self.arm.strength * f for b, f in zip(before, fisher, strict=True)]
            )
        if task in (0, len(self.stream) - 1):
            self.depths.append(self.representations())

    def information(self, task: int) -> list[Tensor]:
        """Return the Fisher information of the weights about a task's pictures, under
        the likelihood of the loss.
        """
        own, rows = (
            self.stream.own(task),
            self._some(self.stream.rows(task), FISHER, "fisher", task),
        )
        asked = own if self.arm.loss in ("current", "masked") else slice(0, own.stop)

        def answer(weights: dict, images: Tensor) -> Tensor:
            return self.head(functional_call(self.body, weights, (images,)))[:, asked]

        sigmoid, chance = (
            self.arm.loss in ("bce", "current"),
            torch_rng(self.seed, "answers", task),
        )
        return sampled_fisher(
            answer, self.weights, self.stream.images[rows], sigmoid, chance
        )

    @torch.no_grad()
    def logits(self) -> Float[Tensor, "test classes"]:
        """Return the test logits."""
        return torch.cat(
            [self.head(self.body(part)) for part in self.stream.test_images.split(500)]
        )

    @torch.no_grad()
    def representations(self) -> list[Float[Tensor, "n width"]]:
        """Return what a body of layers makes of task 1's test pictures, ReLU by ReLU,
        and the logits of its classes.
        """
        own, found = self.stream.own(0), []
        x = self.stream.test_images[self.stream.test_labels < own.stop]
        for layer in self.body if isinstance(self.body, nn.Sequential) else ():
            x = layer(x)
            found += [x.flatten(1)] if isinstance(layer, nn.ReLU) else []
        return [*found, self.head(x)[:, own]] if found else []

    def _some(self, rows: Tensor, many: int, *name: str | int) -> Tensor:
        return rows[
            torch.from_numpy(rng(self.seed, *name).permutation(len(rows))[:many]).to(
                rows.device
            )
        ]

    def _with_old(self, rows: Tensor, task: int) -> Tensor:
        pool, half = torch.cat(self.kept[: self.stream.own(task).start]), len(rows) // 2
        drawn = torch.randint(len(pool), (half,), generator=self.chance).to(rows.device)
        return torch.cat([rows[half:], pool[drawn]])
