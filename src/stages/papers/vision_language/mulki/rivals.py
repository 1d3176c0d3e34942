"""What MulKI is compared with: objectives that students minimise in its place."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional as F

from stages.models.clip import CLIP, class_vectors
from stages.papers.vision_language.mulki.method import (
    TEMPERATURE,
    Batch,
    Images,
    Knowledge,
    Labels,
    Lesson,
    MulKI,
    View,
    relations,
    smoothed,
)


class FineTune:
    """Learn the lesson, and nothing else."""

    def __init__(self, lesson: Lesson):
        self.lesson = lesson

    def loss(self, student: CLIP, rows: Batch) -> Tensor:
        """Return the cross-entropy of names, labels smoothed."""
        images = student.encode_images(self.lesson.images[rows])
        texts = class_vectors(student, self.lesson.prompts)
        return smoothed(student.compare(images, texts), self.lesson.labels[rows])

    def after_step(self) -> None:
        """Do nothing."""


class Together:
    """Learn all lessons, a random one at each update."""

    def __init__(self, lessons: Sequence[Lesson], order: Int[Tensor, " updates"]):
        self.each = [FineTune(lesson) for lesson in lessons]
        self.order = iter(order.tolist())

    def loss(self, student: CLIP, rows: Batch) -> Tensor:
        """Return the loss of the lesson whose turn it is."""
        return self.each[next(self.order)].loss(student, rows)

    def after_step(self) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Reference:
    """Pictures and captions that belong to no task, and how the original model encodes
    them.
    """

    images: Images
    captions: Int[Tensor, "m length"]
    image_features: Tensor
    caption_features: Tensor

    @classmethod
    @torch.no_grad()
    def of(
        cls, original: CLIP, images: Images, captions: Int[Tensor, "m length"]
    ) -> "Reference":
        """Let the original model encode them."""
        features = original.encode_images(images), original.encode_texts(captions)
        return cls(images, captions, *features)


class ZSCL(FineTune):
    """Agree with the original model about reference data (Zheng et al. 2023).

    Args:
        batches: which pictures and which captions each update takes.
        weight: of agreement.
    """

    def __init__(
        self,
        lesson: Lesson,
        reference: Reference,
        batches: tuple[Int[Tensor, "updates a"], Int[Tensor, "updates b"]],
        weight: float,
    ):
        super().__init__(lesson)
        self.reference = reference
        self.batches = zip(*batches, strict=True)
        self.weight = weight

    def loss(self, student: CLIP, rows: Batch) -> Tensor:
        """Return the lesson's loss, and the divergence from the original model's
        softmax, over captions for each picture and over pictures for each caption.
        """
        known = self.reference
        some, said = next(self.batches)
        taught = student.compare(
            known.image_features[some], known.caption_features[said]
        )
        learnt = student(known.images[some], known.captions[said])
        agreement = apart(taught, learnt) + apart(taught.mT, learnt.mT)
        return super().loss(student, rows) + self.weight * agreement


def apart(taught: Tensor, learnt: Tensor) -> Tensor:
    """Return T² times the mean divergence of rows of logits."""
    theirs, ours = ((each / TEMPERATURE).log_softmax(1) for each in (taught, learnt))
    divergence = F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    return TEMPERATURE**2 * divergence


class WithoutRelations(MulKI):
    """Agree with the teachers only about how pictures relate to names."""

    @staticmethod
    def relate(view: View, labels: Labels, scale: Tensor) -> Knowledge:
        """Return the first of MulKI's relations."""
        return relations(view, labels, scale)[:1]


class FixedWeights(MulKI):
    """Let all teachers count alike."""

    @staticmethod
    def weigh(taught: Sequence[Knowledge], labels: Labels) -> Tensor:
        """Return equal weights, summing to 1."""
        return torch.full((len(taught), len(labels)), 1 / len(taught)).to(taught[0][0])
