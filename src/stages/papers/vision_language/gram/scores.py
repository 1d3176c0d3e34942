"""What is scored: accuracy on the source and beyond it, on the way of adaptation."""

from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from stages.evidence import Outcome
from stages.models.clip import CLIP
from stages.papers.vision_language.gram.arms import Lab, Path, Shifted
from stages.papers.vision_language.gram.method import (
    Prompts,
    gradient,
    logits,
)
from stages.papers.vision_language.gram.pseudo_tasks import Features, Names

SOURCE, TARGET = "source accuracy", "target accuracy"
NEW, HARMONIC = "accuracy on new classes", "harmonic mean"
BEST, COSINE = "best harmonic mean on the way", "cosine with the target gradient"
JUDGED = 20  # steps after which the claims are judged
END = "at the end"  # after all steps
MOMENTS = (0, 1, 2, 3, 5, 7, 10, 14, 20, 28, 40, 60)  # steps after which is tested
PerTask = Float[Tensor, " tasks"]


def after(metric: str, steps: int, shots: int = 4) -> str:
    """Name a metric after some steps on some pictures a class."""
    unit = "step" if steps == 1 else "steps"
    return few(f"{metric} after {steps} {unit}", shots)


def few(metric: str, shots: int) -> str:
    """Name a metric, and the pictures a class where they are not four."""
    return metric if shots == 4 else f"{metric}, {shots} shot"


class Accuracies(NamedTuple):
    """Accuracies of tasks, in %."""

    source: PerTask
    target: PerTask  # the mean over target styles
    new: PerTask

    @property
    def harmonic(self) -> PerTask:
        """The harmonic mean of source and target."""
        both = self.source + self.target
        return 2 * self.source * self.target / both.clamp(min=1e-9)


@torch.no_grad()
def accuracy(clip: CLIP, names: Names, prompts: Prompts, images: Features) -> PerTask:
    """Return each task's accuracy in %; `images[:, c]` show class c."""
    guess = logits(clip, names, prompts, images).argmax(-1)
    right = guess == torch.arange(names.shape[1], device=guess.device)[:, None]
    return 100 * right.double().mean((1, 2))


def measure(clip: CLIP, prompts: Prompts, tasks: Shifted) -> Accuracies:
    """Test prompts on all that is judged."""
    target = [accuracy(clip, tasks.names, prompts, each) for each in tasks.targets]
    return Accuracies(
        accuracy(clip, tasks.names, prompts, tasks.source),
        torch.stack(target).mean(0),
        accuracy(clip, tasks.new_names, prompts, tasks.new),
    )


def score(outcome: Outcome, arm: str, lab: Lab, path: Path, shots: int = 4) -> None:
    """Score how an arm's prompts did on their way, as means over tasks."""
    moments = [step for step in MOMENTS if step < len(path)]
    measured = [measure(lab.clip, path[step], lab.tasks) for step in moments]
    named = {SOURCE: "source", TARGET: "target", NEW: "new", HARMONIC: "harmonic"}
    for metric, part in named.items():
        course = [getattr(each, part).mean().item() for each in measured]
        for step in (1, JUDGED):
            value = course[moments.index(step)]
            outcome.score(arm, after(metric, step, shots), value)
        outcome.score(arm, few(f"{metric} {END}", shots), course[-1])
        outcome.curve(arm, few(metric, shots), moments, course)
        if metric == HARMONIC:
            outcome.score(arm, few(BEST, shots), max(course))


def score_agreement(outcome: Outcome, arm: str, lab: Lab, path: Path) -> None:
    """Score how far an arm's first steps lead down on the target pictures."""
    found = agreement(lab.clip, path[: JUDGED + 1], lab.tasks)
    outcome.score(arm, COSINE, found.mean())
    outcome.curve(arm, COSINE, range(1, len(found) + 1), found.mean(1).tolist())


def agreement(clip: CLIP, path: Path, tasks: Shifted) -> Float[Tensor, "steps tasks"]:
    """Return the cosine of each step with the way down on the target pictures."""
    every = tasks.targets.movedim(0, 2).flatten(2, 3)  # (tasks, classes, n, size)
    found = []
    for before, behind in pairwise(path):
        down = -gradient(clip, tasks.names, before, every)
        step = behind - before
        found.append(F.cosine_similarity(step.flatten(1), down.flatten(1)))
    return torch.stack(found)
