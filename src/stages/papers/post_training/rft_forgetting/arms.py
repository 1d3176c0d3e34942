"""The arms, what a profile fixes, and what all arms of a seed share."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from stages.models import GPT
from stages.papers.post_training.rft_forgetting import method
from stages.papers.post_training.rft_forgetting.method import Update
from stages.papers.post_training.rft_forgetting.tasks import (
    ORDER,
    Start,
    Wording,
    accuracy,
    divide,
    own_wording,
    start_policy,
    usual_requests,
)
from stages.seeding import torch_rng
from stages.worlds.smalltalk import Requests
from stages.worlds.vocabulary import Answered


@dataclass(frozen=True)
class Settings:
    """What a profile fixes.

    Attributes:
        start: how the start policy is made.
        batch: labels of an update of SFT.
        prompts, samples: of an update on own responses; their product is `batch`.
        target: accuracy in % on the validation requests of its task that ends a stage.
        most, every: updates of a stage, and between two looks.
        general: requests of each usual family that a policy is measured on, at most.
        probed: requests for what explains the arms: risk, drift, dead groups.
        only: arms that are run; all where it is empty.
    """

    start: Start = field(default_factory=Start)
    batch: int = 64
    prompts: int = 8
    samples: int = 8
    target: float = 80.0
    most: int = 400
    every: int = 5
    general: int = 60
    probed: int = 64
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lab:
    """What all arms of a seed share.

    Attributes:
        parts: of the new families: to train on, to end a stage by, to test.
        usual: requests that the start policy answers already.
        old: usual requests with the start policy's own responses.
    """

    start: GPT
    parts: dict[str, Requests]
    usual: Requests
    old: Answered
    seed: int

    def tested(self, policy: GPT) -> Float[Tensor, " tasks"]:
        """Return the accuracy on the test requests of each new family."""
        test = self.parts["test"]
        return torch.tensor([accuracy(policy, test.of(name)) for name in ORDER])


def make_lab(settings: Settings, seed: int) -> Lab:
    """Divide the requests of a seed, and make its start policy."""
    parts = divide(seed)
    start = start_policy(parts, settings.start, seed)
    usual = usual_requests(seed, settings.general)
    every = len(usual) // settings.probed + 1
    some = usual.take(torch.arange(len(usual))[::every])
    old = method.roll_out(start, some, 1, torch_rng(seed, "old")).texts
    return Lab(start, parts, usual, old, seed)


# ------------------------------------------------------------------------ ways to learn


def imitate(settings: Settings) -> Update:
    """SFT on labels."""
    return method.imitate(settings.batch)


def imitate_own(settings: Settings) -> Update:
    """SFT on own right responses."""
    return method.imitate_own(settings.prompts, settings.samples)


def grpo(divided: bool = True, penalty: float = 0.0) -> Callable[[Settings], Update]:
    """GRPO and its variants."""

    def made(settings: Settings) -> Update:
        return method.grpo(settings.prompts, settings.samples, divided, penalty)

    return made


@dataclass(frozen=True)
class Arm:
    """A way to learn the tasks.

    Attributes:
        update: makes the loss of an update.
        rate: of Adam.
        wording: of the labels, where there are any.
        together: whether all tasks are learnt in one stage.
    """

    update: Callable[[Settings], Update]
    rate: float
    wording: Wording = own_wording
    together: bool = False
