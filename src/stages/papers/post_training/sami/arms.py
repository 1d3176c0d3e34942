"""The arms: each learns from responses in its own way, and is otherwise like SAMI."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from stages.models import GPT
from stages.papers.post_training.sami import method
from stages.papers.post_training.sami.method import (
    Loss,
    Objective,
    Samples,
    likelihoods,
    log_probs,
    two_sided,
)
from stages.papers.post_training.sami.queries import principles_of
from stages.worlds.smalltalk import notes

Own = Float[Tensor, "queries constitutions"]


@dataclass(frozen=True)
class Arm:
    """One way to learn from responses.

    Attributes:
        objective: the loss; None where nothing is learnt.
        rate: of Adam.
        source: the arm whose samples it learns from, run before it; itself by default.
    """

    objective: Objective | None = None
    rate: float = 0.0
    source: str = ""


def contrast(part: Callable[[Tensor], Loss], mean: bool = True) -> Objective:
    """Make an objective of another loss on the matrix of log-probabilities."""

    def objective(model: GPT, samples: Samples) -> Loss:
        return part(likelihoods(model, samples.prompts, samples.responses, mean))

    return objective


def permuted(scores: method.Matrix) -> Loss:
    """Return SAMI's loss with the responses moved on by one constitution, so that each
    is to be told from a constitution that it was not written for.
    """
    return two_sided(scores.roll(1, 2))


def own_likelihoods(model: GPT, samples: Samples) -> Own:
    """Return the mean log-probability of each response under its own constitution: the
    diagonal of the matrix, without the rest of it.
    """
    asked, told = samples.prompts.flatten(0, 1), samples.responses.flatten(0, 1)
    return log_probs(model, asked, told).view(samples.prompts.shape[:2])


def imitate(model: GPT, samples: Samples) -> Loss:
    """Learn to write the responses (self-distillation)."""
    return -own_likelihoods(model, samples).mean()


def follows(samples: Samples) -> Bool[Tensor, "queries constitutions"]:
    """Tell which responses show the pole of their note."""
    principle = principles_of(samples.prompts)[:, None]
    columns = [
        notes.shows(each).gather(1, principle)[:, 0] == pole
        for pole, each in enumerate(samples.responses.unbind(1))
    ]
    return torch.stack(columns, 1)


def imitate_checked(model: GPT, samples: Samples) -> Loss:
    """Learn to write those responses that a checker found to follow their note."""
    own = own_likelihoods(model, samples)
    right = follows(samples).to(own)
    return -(own * right).sum() / right.sum().clamp(min=1)
