"""Streams of images whose classes come task by task.

Signs-R mirrors ImageNet-R: the classes are those the base model was trained on, drawn
in other styles and turned further. A class is a sign; colour, size, place, rotation and
ground say nothing about it.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stages.seeding import rng
from stages.training import pick_device
from stages.worlds import signs
from stages.worlds.shapes import STYLES

# The base model saw photo-style images, half of them leaning towards other styles.
RENDITIONS = ("sketch", "neon")
TURN = math.pi / 4  # greatest rotation either way; the base model saw 20 degrees
# One a task, where styles change with the tasks.
SHIFTS = ("sketch", "neon", "noisy", "negative", "faint")


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
    classes: int

    def __len__(self) -> int:
        return self.classes // self.ways

    def rows(self, task: int) -> Int[Tensor, " rows"]:
        """Return where a task's training images are."""
        return (self.labels // self.ways == task).nonzero()[:, 0]

    def own(self, task: int) -> slice:
        """Return the classes of a task."""
        return slice(task * self.ways, (task + 1) * self.ways)

    def in_tasks(self, tasks: int) -> "Stream":
        """Return the same classes in another number of tasks."""
        return replace(self, ways=self.classes // tasks)

    def joint(self) -> "Stream":
        """Return all tasks as one."""
        return self.in_tasks(1)


def signs_r(
    tasks: int,
    ways: int,
    seed: int,
    *,
    train: int = 200,
    test: int = 100,
    dual_shift: bool = False,
) -> Stream:
    """Draw Signs-R: signs in an order of the seed's own, styles mixed inside every
    class.

    Args:
        tasks, ways: how many tasks, and classes in each; at most 40 classes in all.
        train, test: images of each class.
        dual_shift: the training images of a task have one of SHIFTS, the next task's
            another; test images have all.

    Raises:
        ValueError: there are not so many classes.
    """
    classes = tasks * ways
    if classes > signs.COUNT:
        raise ValueError(
            f"{tasks} tasks of {ways} classes are too many; Signs-R has"
            f" {signs.COUNT} classes"
        )
    order = rng(seed, "classes").permutation(signs.COUNT)[:classes]
    chosen = torch.from_numpy(order)
    styles = SHIFTS if dual_shift else RENDITIONS
    vocabulary = torch.tensor([STYLES.index(style) for style in styles])
    device = pick_device()

    def draw(each: int, name: str, one_style: bool) -> tuple[Tensor, Tensor]:
        labels = torch.arange(classes).repeat_interleave(each)
        # in turn, so that every class has as many of each style
        kind = labels // ways if one_style else torch.arange(len(labels))
        scenes = signs.sample(
            chosen[labels],
            seed,
            style=vocabulary[kind % len(vocabulary)],
            turn=TURN,
            stream=("signs-r", name),
        )
        return signs.render(scenes.to(device)), labels.to(device)

    images, labels = draw(train, "train", dual_shift)
    test_images, test_labels = draw(test, "test", False)
    return Stream(images, labels, test_images, test_labels, ways, classes)
