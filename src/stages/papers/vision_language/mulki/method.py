"""After MulKI (Zhang et al. 2024): a CLIP learns task after task, and is taught by what
it was: by the original model and by the one after the previous task.

The four stages, their inputs and their purpose are the paper's. Its equations were not
found, so that every formula here is our most literal reading.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from stages.models.clip import CLIP, class_vectors
from stages.training import cosine, fit, optimiser

TEMPERATURE = 2.0  # T, of relations
SMOOTHING = 0.2  # of labels, as in ZSCL
MOMENTUM = 0.9  # of the student's visual prototypes
ALIGNED = 0.5  # weight of what visual prototypes add to stage 1
WARMUP = 0.1  # of the updates
SNAPSHOTS = 10  # of the student that are averaged in a task, beside its start
KEPT = 0.8  # beta, the share of that average in the connected model
NEVER = -1e9  # the logarithm of a probability of 0

Images = Float[Tensor, "n 3 side side"]
Labels = Int[Tensor, " n"]
Batch = Int[Tensor, " batch"]
Knowledge = tuple[Float[Tensor, "batch classes"], ...]


@dataclass(frozen=True)
class Lesson:
    """The training data of a task.

    Attributes:
        prompts: each class's name in each template.
    """

    images: Images
    labels: Labels
    prompts: Int[Tensor, "templates classes length"]

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return self.prompts.shape[1]


class View(NamedTuple):
    """How a model sees a batch and the classes of its task: unit vectors."""

    images: Float[Tensor, "batch size"]  # f(x)
    texts: Float[Tensor, "classes size"]  # U, the textual prototypes
    visuals: Float[Tensor, "classes size"]  # V, the visual ones


class Teacher:
    """What a frozen model makes of a lesson, once and for all."""

    @torch.no_grad()
    def __init__(self, model: CLIP, lesson: Lesson):
        self.scale = model.log_scale.exp()
        self.images = model.encode_images(lesson.images)
        self.texts = class_vectors(model, lesson.prompts)
        self.visuals = prototypes(self.images, lesson.labels, lesson.classes)

    def view(self, rows: Batch) -> View:
        """Return its view of a batch."""
        return View(self.images[rows], self.texts, self.visuals)


def prototypes(
    features: Float[Tensor, "n size"], labels: Labels, classes: int
) -> Float[Tensor, "classes size"]:
    """Return each class's mean feature, brought to length 1; zeros for no pictures."""
    member = F.one_hot(labels, classes).to(features)
    return F.normalize(member.T @ features, dim=1)


# --------------------------------------------------------------------------- the stages


def elicit(view: View, labels: Labels, scale: Tensor) -> Float[Tensor, ""]:
    """Return the loss of stage 1, Eliciting Ideas: pictures are aligned with textual
    and visual prototypes, and the textual prototypes with the visual ones (eq. 2).
    """
    f, u, v = view
    to_text = smoothed(scale * f @ u.T, labels)
    between = F.cross_entropy(scale * u[labels] @ v.T, labels)
    to_visual = F.cross_entropy(scale * f @ v.T, labels)
    return to_text + ALIGNED * (between + to_visual)  # eq. 2


def smoothed(logits: Float[Tensor, "batch classes"], labels: Labels) -> Tensor:
    """Return the cross-entropy with smoothed labels."""
    return F.cross_entropy(logits, labels, label_smoothing=SMOOTHING)


def relations(view: View, labels: Labels, scale: Tensor) -> Knowledge:
    """Return the knowledge of stage 2, Adding New Ideas: log-probabilities that relate
    each picture, and the name of its class, to all prototypes (eq. 3).
    """
    f, u, v = view
    s = scale / TEMPERATURE
    itself = F.one_hot(labels, len(u)).bool()
    among_names = (s * u[labels] @ u.T).masked_fill(itself, NEVER)
    return (
        (s * f @ u.T).log_softmax(1),  # R1, eq. 3
        (s * f @ v.T).log_softmax(1),  # R2
        (s * u[labels] @ v.T).log_softmax(1),  # R3
        among_names.log_softmax(1),  # R4
    )


def disagreement(teacher: Knowledge, student: Knowledge) -> Tensor:
    """Return how far a student is from a teacher, (n): one number a picture (eq. 4)."""
    each = [
        F.kl_div(ours, theirs, reduction="none", log_target=True).sum(1)
        for theirs, ours in zip(teacher, student, strict=True)
    ]
    return TEMPERATURE**2 * torch.stack(each).sum(0)  # eq. 4


def trust(taught: Sequence[Knowledge], labels: Labels) -> Tensor:
    """Return the weights of stage 3, Distinguishing Ideas, (teachers, n): a teacher
    counts the more, the more probable it finds a picture's class (eq. 5).
    """
    found = torch.stack([knowledge[0] for knowledge in taught])  # log R1
    index = labels.expand(len(found), -1)[..., None]
    return found.gather(2, index)[..., 0].softmax(0)  # eq. 5


@torch.no_grad()
def connect(average: CLIP, previous: CLIP, kept: float = KEPT) -> CLIP:
    """Return the model of stage 4, Making Connections: so much of the student's average
    over a task, and the rest of the model before it (eq. 6).
    """
    connected = deepcopy(average)
    pairs = zip(connected.parameters(), previous.parameters(), strict=True)
    for new, old in pairs:
        new.lerp_(old, 1 - kept)  # eq. 6
    return connected


# ------------------------------------------------------------------------ the objective


class Objective(Protocol):
    """What a student minimises in one task."""

    def loss(self, student: CLIP, rows: Batch) -> Tensor:
        """Return the loss on some pictures of the lesson."""
        ...

    def after_step(self) -> None:
        """Do what is to be done after an update."""
        ...


class MulKI:
    """Learn the lesson, and agree with teachers about it.

    Args:
        lesson: the task's.
        teachers: the original model and the previous one.
        visuals: the student's visual prototypes at its start.
        weight: lambda, of agreement.
    """

    def __init__(
        self,
        lesson: Lesson,
        teachers: Sequence[Teacher],
        visuals: Float[Tensor, "classes size"],
        weight: float,
    ):
        self.lesson = lesson
        self.teachers = teachers
        self.visuals = visuals
        self.weight = weight
        self.seen: tuple[Tensor, Labels] | None = None

    def loss(self, student: CLIP, rows: Batch) -> Tensor:
        """Return the loss (eq. 5); gradients flow to the student alone."""
        labels = self.lesson.labels[rows]
        images = student.encode_images(self.lesson.images[rows])
        view = View(images, class_vectors(student, self.lesson.prompts), self.visuals)
        self.seen = (images.detach(), labels)
        scale = student.log_scale.exp()
        learnt = self.relate(view, labels, scale)
        taught = [self.relate(t.view(rows), labels, t.scale) for t in self.teachers]
        apart = torch.stack([disagreement(each, learnt) for each in taught])
        agreement = (self.weigh(taught, labels) * apart).sum(0).mean()
        return elicit(view, labels, scale) + self.weight * agreement

    relate = staticmethod(relations)
    weigh = staticmethod(trust)

    def after_step(self) -> None:
        """Move the visual prototypes of the classes just seen."""
        images, labels = self.seen
        classes = self.lesson.classes
        means = prototypes(images, labels, classes)
        there = F.one_hot(labels, classes).any(0)[:, None]
        moved = F.normalize(torch.lerp(means, self.visuals, MOMENTUM), dim=1)
        self.visuals = torch.where(there, moved, self.visuals)


# ------------------------------------------------------------------------ how it learns


def learn(
    student: CLIP,
    objective: Objective,
    batches: Int[Tensor, "updates batch"],
    rate: float,
) -> CLIP:
    """Train a student in place with AdamW, a warm-up and a cosine; return the average
    of its start and of `SNAPSHOTS` states on the way. The temperature stays.
    """
    steps = len(batches)
    every = max(1, steps // SNAPSHOTS)
    student.requires_grad_(True).log_scale.requires_grad_(False)
    average = AveragedModel(student)
    average.update_parameters(student)  # the start counts once
    weights = [p for p in student.parameters() if p.requires_grad]
    adam = optimiser(weights, "adamw", rate, weight_decay=0.0)

    def after_step(step: int) -> None:
        objective.after_step()
        if (step + 1) % every == 0:
            average.update_parameters(student)

    fit(
        lambda step: objective.loss(student, batches[step]),
        steps,
        adam,
        schedule=cosine(steps, int(WARMUP * steps)),
        after_step=after_step,
    )
    student.requires_grad_(False)
    return average.module.requires_grad_(False)
