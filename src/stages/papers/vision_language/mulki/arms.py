"""What every arm of a seed shares, and how an arm learns task after task."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stages import zoo
from stages.models.clip import CLIP, accuracy_by_class, zero_shot
from stages.papers.vision_language.mulki.method import (
    Images,
    Labels,
    Lesson,
    MulKI,
    Objective,
    Teacher,
    connect,
    learn,
)
from stages.papers.vision_language.mulki.rivals import (
    ZSCL,
    FineTune,
    Reference,
    Together,
)
from stages.seeding import torch_rng
from stages.training import pick_device
from stages.worlds import album, captions

FIRST, BEFORE = "original", "previous"  # the two teachers
Batches = Int[Tensor, "tasks updates batch"]
Accuracies = Float[Tensor, " tasks"]


@dataclass(frozen=True)
class Settings:
    """What a profile fixes.

    Attributes:
        pictures, tests: of a task, for training and for testing.
        updates, batch: of training on a task.
        reference: how many pictures and captions ZSCL is given.
        references: how many of them an update takes.
        only: arms that are run; all where it is empty.
    """

    pictures: int = 960
    tests: int = 480
    updates: int = 120
    batch: int = 32
    reference: tuple[int, int] = (1_000, 300)
    references: tuple[int, int] = (32, 64)
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lab:
    """What all arms of a seed share.

    Attributes:
        original: the base model.
        lessons, tests: of each task.
        batches: which pictures of a task each update takes.
        reference: what ZSCL learns from beside.
        some, said: which pictures and which captions of it each update takes.
        turns: which task is learnt at each update of all together.
    """

    original: CLIP
    lessons: list[Lesson]
    tests: list[tuple[Images, Labels]]
    batches: Batches
    reference: Reference
    some: Batches
    said: Batches
    turns: Int[Tensor, " updates"]

    @property
    def tasks(self) -> range:
        """The numbers of the tasks."""
        return range(len(self.lessons))

    def accuracy(self, model: CLIP) -> Accuracies:
        """Return a model's accuracy on each task, in %, by names alone."""
        found = [
            accuracy_by_class(zero_shot(model, images, lesson.prompts), labels).mean()
            for lesson, (images, labels) in zip(self.lessons, self.tests, strict=True)
        ]
        return torch.stack(found)


def make_lab(settings: Settings, seed: int) -> Lab:
    """Draw a seed's pictures and batches; load the base model."""
    device = pick_device()
    original = zoo.load("tiny_clip").to(device)
    count = len(album.TASKS)

    def lesson(task: album.Task) -> Lesson:
        drawn = task.draw(settings.pictures, seed, "train")
        return Lesson(*(each.to(device) for each in (*drawn, task.prompts)))

    def rows(name: str, most: int, size: int) -> Batches:
        chance = torch_rng(seed, "mulki", name)
        shape = (count, settings.updates, size)
        return torch.randint(most, shape, generator=chance).to(device)

    turns = torch_rng(seed, "mulki", "turns")
    pairs, taken = settings.reference, settings.references
    return Lab(
        original,
        [lesson(task) for task in album.TASKS],
        [task.draw(settings.tests, seed, "test") for task in album.TASKS],
        rows("batches", settings.pictures, settings.batch),
        Reference.of(original, *draw_reference(*pairs, seed)),
        rows("reference pictures", pairs[0], taken[0]),
        rows("reference captions", pairs[1], taken[1]),
        torch.randint(count, (count * settings.updates,), generator=turns),
    )


def draw_reference(
    pictures: int, said: int, seed: int
) -> tuple[Images, Int[Tensor, "m length"]]:
    """Draw pictures from the album, and captions of other ones."""
    device = pick_device()
    scenes = album.scenes(pictures + said, seed, stream=("reference",))
    others = scenes[pictures:]
    texts = captions.captions(others, seed, stream=("reference",))
    return album.render(scenes[:pictures]).to(device), texts.to(device)


# ----------------------------------------------------------------------------- an arm

Maker = Callable[[Lab, int, CLIP, float], Objective]


def alone(lab: Lab, task: int, previous: CLIP, weight: float) -> FineTune:
    """Make the objective that knows the task's pictures only."""
    return FineTune(lab.lessons[task])


def referred(lab: Lab, task: int, previous: CLIP, weight: float) -> ZSCL:
    """Make ZSCL's objective."""
    batches = (lab.some[task], lab.said[task])
    return ZSCL(lab.lessons[task], lab.reference, batches, weight)


def taught(*teachers: str, objective: type[MulKI] = MulKI) -> Maker:
    """Return what makes MulKI's objective, or a variant's, with some teachers."""

    def make(lab: Lab, task: int, previous: CLIP, weight: float) -> MulKI:
        lesson = lab.lessons[task]
        start = Teacher(previous, lesson)
        known = {FIRST: Teacher(lab.original, lesson), BEFORE: start}
        chosen = [known[name] for name in teachers]
        return objective(lesson, chosen, start.visuals, weight)

    return make


@dataclass(frozen=True)
class Arm:
    """How a model learns the tasks in their order.

    Attributes:
        make: makes the objective of a task.
        rate: the highest learning rate.
        weight: of agreement with teachers.
        connected: whether the weights are averaged, in a task and with the model before
            it.
    """

    make: Maker
    rate: float
    weight: float = 0.0
    connected: bool = True


def course(arm: Arm, lab: Lab) -> list[CLIP]:
    """Let an arm learn task after task; return the model after each."""
    models, previous = [], lab.original
    for task in lab.tasks:
        student = deepcopy(previous)
        objective = arm.make(lab, task, previous, arm.weight)
        average = learn(student, objective, lab.batches[task], arm.rate)
        previous = connect(average, previous) if arm.connected else student
        models.append(previous)
    return models


def each_alone(lab: Lab, rate: float) -> list[CLIP]:
    """Fine-tune the base model on each task; return one model a task."""
    models = [deepcopy(lab.original) for _ in lab.tasks]
    for task, model in enumerate(models):
        learn(model, FineTune(lab.lessons[task]), lab.batches[task], rate)
    return models


def all_together(lab: Lab, rate: float) -> CLIP:
    """Fine-tune the base model on all tasks at once, with as many updates in all."""
    model = deepcopy(lab.original)
    learn(model, Together(lab.lessons, lab.turns), lab.batches.flatten(0, 1), rate)
    return model
