"""Streams of pictures whose classes come task by task.

Shapes-R mirrors ImageNet-R: the classes are those the base model was trained on, drawn
in other styles. A class is a shape and a texture; colour, size, place, rotation and
ground say nothing about it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stages.seeding import rng
from stages.training import pick_device
from stages.worlds import shapes
from stages.worlds.shapes import SHAPES, TEXTURES, Classes

STYLES = (
    "sketch",
    "neon",
    # of the stream; the base saw photo-style pictures, a few leaning towards others
)
SHIFTS = (
    "sketch",
    "neon",
    "noisy",
    "negative",
    "faint",
)  # one a task, where styles change with the tasks
SIZE = (0.28, 0.42)  # radius of the object, as the base model saw it


@dataclass(frozen=True)
class Stream:
    """Tasks of as many new classes each. Classes are numbered as they come: class c
    belongs to task c // ways.
    """

    images: Float[Tensor, "n 3 side side"]
    labels: Int[Tensor, " n"]
    test_images: Float[Tensor, "test 3 side side"]
    test_labels: Int[Tensor, " test"]
    ways: int
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names) // self.ways

    @property
    def classes(self) -> int:
        """How many classes there are in all."""
        return len(self.names)

    def rows(self, task: int) -> Int[Tensor, " rows"]:
        """Return where a task's training pictures are."""
        return (self.labels // self.ways == task).nonzero()[:, 0]

    def own(self, task: int) -> slice:
        """Return the classes of a task."""
        return slice(task * self.ways, (task + 1) * self.ways)

    def joint(self) -> "Stream":
        """Return all tasks as one."""
        return replace(self, ways=self.classes)


def shapes_r(
    tasks: int,
    ways: int,
    seed: int,
    *,
    train: int = 80,
    test: int = 40,
    dual_shift: bool = False,
    styles: Sequence[str] = (),
) -> Stream:
    """Draw Shapes-R: classes in an order of the seed's own, styles mixed inside every
    class.

    Args:
        tasks, ways: how many tasks, and classes in each; at most 40 classes in all.
        train, test: pictures of each class.
        dual_shift: the training pictures of a task have one of SHIFTS, the next task's
            another; test pictures have all.
        styles: of the pictures; STYLES by default, or SHIFTS.

    Raises:
        ValueError: there are not so many classes.
    """
    everything = Classes.product(shape=SHAPES[:10], texture=TEXTURES[:4])
    if tasks * ways > len(everything):
        raise ValueError(
            f"{tasks} tasks of {ways} classes are too many; Shapes-R has"
            f" {len(everything)} classes"
        )
    classes = everything[
        torch.from_numpy(
            rng(seed, "classes").permutation(len(everything))[: tasks * ways]
        )
    ]
    styles, device = styles or (SHIFTS if dual_shift else STYLES), pick_device()
    vocabulary = torch.tensor([shapes.STYLES.index(style) for style in styles])

    def draw(each: int, name: str, one_style: bool) -> tuple[Tensor, Tensor]:
        labels = torch.arange(len(classes)).repeat_interleave(each)
        turn = (
            labels // ways if one_style else torch.arange(len(labels))
        )  # as many of each style in every class
        scenes = shapes.sample(
            len(labels),
            seed,
            classes=classes,
            labels=labels,
            style=vocabulary[turn % len(vocabulary)],
            size=SIZE,
            stream=("shapes-r", name),
        )
        return shapes.render(scenes.to(device)), labels.to(device)

    return Stream(
        *draw(train, "train", dual_shift),
        *draw(test, "test", False),
        ways,
        tuple(classes.names),
    )
