"""Shapes-ML: a stream of images with several labels; a task tells only its own.

It mirrors COCO cut into tasks. An image shows one to four objects, and their classes, a
colour and a shape each, belong to several tasks. Whoever learns task t is given images
that show at least one of its classes, and the labels of these classes alone; other
objects are there, and nobody says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from stages.seeding import rng
from stages.training import pick_device
from stages.worlds import shapes
from stages.worlds.shapes import SHAPES, TEXTURES, Classes

COLOURS = ("red", "yellow", "green", "blue")
OBJECTS = (1, 4)
# As the base model vit_p4 saw objects: small, and hardly ever hidden.
SIZE = (0.13, 0.22)
PLACEMENTS = 8

Answers = Bool[Tensor, "n classes"]


@dataclass(frozen=True)
class MultiLabelStream:
    """Tasks of new classes. Classes are numbered as they come: task t has the next
    `sizes[t]` of them.

    Attributes:
        answers: all classes that an image shows, those hidden from its task included;
            only `labels` is for learning.
        owner: the task that a training image belongs to.
        names: of the classes, in words.
    """

    images: Float[Tensor, "n 3 side side"]
    answers: Answers
    owner: Int[Tensor, " n"]
    test_images: Float[Tensor, "test 3 side side"]
    test_answers: Bool[Tensor, "test classes"]
    sizes: tuple[int, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def classes(self) -> int:
        """How many classes there are in all."""
        return len(self.names)

    def rows(self, task: int) -> Int[Tensor, " rows"]:
        """Return where a task's training images are."""
        return (self.owner == task).nonzero()[:, 0]

    def own(self, task: int) -> slice:
        """Return the classes of a task."""
        return slice(sum(self.sizes[:task]), sum(self.sizes[: task + 1]))

    def labels(
        self, rows: Int[Tensor, " batch"], task: int
    ) -> Float[Tensor, "batch own"]:
        """Return what the task tells of training images: 0 or 1 for each of its own
        classes, and no more.
        """
        return self.answers[rows, self.own(task)].float()

    def loss(
        self, logits: Float[Tensor, "batch own"], rows: Int[Tensor, " batch"], task: int
    ) -> Float[Tensor, ""]:
        """Compute the binary cross-entropy of training images, averaged over images and
        the task's own classes (eq. 5): no other class has any part in it.
        """
        labels = self.labels(rows, task)
        return F.binary_cross_entropy_with_logits(logits, labels)  # eq. 5

    def tasks_in(self, answers: Answers) -> Bool[Tensor, "n tasks"]:
        """Return which tasks' classes images show."""
        return torch.stack([part.any(1) for part in answers.split(self.sizes, 1)], 1)

    def joint(self) -> "MultiLabelStream":
        """Return all tasks as one, with nothing hidden."""
        return replace(self, owner=torch.zeros_like(self.owner), sizes=(self.classes,))


def shapes_ml(
    sizes: Sequence[int], seed: int, *, train: int = 500, test: int = 600
) -> MultiLabelStream:
    """Draw Shapes-ML: classes, a shape in a colour, in an order of the seed's own.

    One object of a training image is of its task, each class equally often; the others
    are of any class of the stream. Texture, place, size, rotation and ground say
    nothing.

    Args:
        sizes: classes of each task, at most 24 in all.
        train, test: images of each task, and to test on, which are the same for all
            tasks.

    Raises:
        ValueError: there are not so many classes.
    """
    everything = Classes.product(shape=SHAPES[:6], colour=COLOURS)
    count = sum(sizes)
    if count > len(everything):
        raise ValueError(
            f"{count} classes are too many; Shapes-ML has {len(everything)}"
        )
    order = rng(seed, "classes").permutation(len(everything))[:count]
    classes = everything[torch.from_numpy(order)]
    device = pick_device()

    def draw(n: int, name: str, *more: int, own: slice | None = None) -> tuple:
        chance = rng(seed, "shapes-ml", name, *more)
        labels = torch.from_numpy(chance.integers(count, size=(n, OBJECTS[1])))
        if own is not None:
            labels[:, 0] = own.start + torch.arange(n) % (own.stop - own.start)
        scenes = shapes.sample(
            n,
            seed,
            objects=OBJECTS,
            classes=classes,
            labels=labels,
            texture=TEXTURES[:4],
            size=SIZE,
            placements=PLACEMENTS,
            stream=("shapes-ml", name, *more),
        )
        return shapes.render(scenes.to(device)), classes.in_scene(scenes).to(device)

    parts = []
    for task, size in enumerate(sizes):
        start = sum(sizes[:task])
        parts.append(draw(train, "train", task, own=slice(start, start + size)))
    images, answers = (torch.cat(part) for part in zip(*parts, strict=True))
    owner = torch.arange(len(sizes), device=device).repeat_interleave(train)
    test_images, test_answers = draw(test, "test")
    return MultiLabelStream(
        images,
        answers,
        owner,
        test_images,
        test_answers,
        tuple(sizes),
        tuple(classes.names),
    )
