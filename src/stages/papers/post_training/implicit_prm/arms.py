"""The arms: each learns to judge steps from the same bank, and scores solutions by what
it says of their steps.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from stages.models import GPT
from stages.papers.post_training.implicit_prm import bank as banks
from stages.papers.post_training.implicit_prm.bank import Completions, Solutions
from stages.papers.post_training.implicit_prm.method import (
    Objective,
    Steps,
    Training,
    implicit_judge,
    judge_steps,
)
from stages.papers.post_training.implicit_prm.rivals import (
    affordable,
    judge_ends,
    labelled_values,
    likelihood_steps,
    scalar_judge,
    shepherd_labels,
    values_at_ends,
)
from stages.seeding import torch_rng
from stages.worlds.chains import Chains

Ends = Int[Tensor, "n most"]
Scores = Float[Tensor, " n"]


class Judge(NamedTuple):
    """What an arm has learnt.

    Attributes:
        network: that judges.
        steps: judges each step of solutions.
        spent: tokens written for it.
    """

    network: nn.Module
    steps: Callable[[Solutions], Steps]
    spent: int


@dataclass(frozen=True)
class Lab:
    """What all arms of a seed share.

    Attributes:
        bank: graded solutions to learn from, and the answers of their problems.
        problems, test: what judges are tested on, and its solutions.
        completions: how many a step gets where steps are labelled.
    """

    seed: int
    generator: GPT
    bank: Solutions
    answers: Int[Tensor, " prompts"]
    problems: Chains
    test: Solutions
    completions: int
    temperature: float

    def chance(self) -> torch.Generator:
        """Return the stream of updates, anew for each arm."""
        return torch_rng(self.seed, "implicit prm", "updates")

    @cached_property
    def completed(self) -> Completions:
        """The bank's solutions, completed after each step."""
        chance = torch_rng(self.seed, "implicit prm", "completions")
        return banks.complete(
            self.generator,
            self.bank,
            self.answers,
            self.completions,
            self.temperature,
            chance,
        )


# ------------------------------------------------------------------------------ judges


def implicit(
    objective: Objective, lab: Lab, how: Training, mixed: bool = False
) -> Judge:
    """Learn from answers, with the log-ratio as reward.

    Args:
        mixed: whether prompts without both a right and a wrong solution are left out.
    """
    bank = lab.bank.of(lab.bank.mixed()) if mixed else lab.bank
    judge = implicit_judge(lab.generator, bank, objective, how, lab.chance())
    steps = partial(judge_steps, judge, beta=how.beta)
    return Judge(judge, steps, written(lab.bank))


def shuffled(objective: Objective, lab: Lab, how: Training) -> Judge:
    """Do the same with the labels dealt out anew over all solutions."""
    order = torch.randperm(
        len(lab.bank), generator=torch_rng(lab.seed, "implicit prm", "shuffled")
    )
    bank = replace(lab.bank, right=lab.bank.right[order])
    return implicit(objective, replace(lab, bank=bank), how)


def outcome(lab: Lab, how: Training) -> Judge:
    """Learn from answers, with a scalar head."""
    judge = scalar_judge(lab.generator, lab.bank, how, lab.seed, lab.chance())
    steps = partial(judge_ends, judge)
    return Judge(judge, steps, written(lab.bank))


def shepherd(lab: Lab, how: Training, equal: bool = False) -> Judge:
    """Learn from labelled steps, with the log-ratio so far as logit (Math-Shepherd).

    Args:
        equal: whether only so many prompts are labelled that no more tokens are written
            for them than for the bank.
    """
    bank, spent = labelled(lab, equal)
    judge = implicit_judge(lab.generator, bank, labelled_values, how, lab.chance())
    logits = partial(values_at_ends, judge, beta=how.beta)
    return Judge(judge, partial(judge_ends, logits), spent)


def headed(lab: Lab, how: Training) -> Judge:
    """Learn from labelled steps, with a scalar head."""
    bank, spent = labelled(lab, equal=False)
    judge = scalar_judge(lab.generator, bank, how, lab.seed, lab.chance())
    return Judge(judge, partial(judge_ends, judge), spent)


def labelled(lab: Lab, equal: bool) -> tuple[Solutions, int]:
    """Return a bank with labelled steps, and the tokens written for it."""
    prompts = affordable(lab.bank, lab.completed) if equal else lab.bank.prompts
    bank = shepherd_labels(lab.bank, lab.completed).of(torch.arange(prompts))
    return bank, written(bank) + int(lab.completed.cost[: len(bank)].sum())


def likelihood(lab: Lab, how: Training) -> Judge:
    """Learn nothing: a step is as good as it is likely."""
    return Judge(lab.generator, likelihood_steps, 0)


def written(bank: Solutions) -> int:
    """Return how many tokens solutions have."""
    return int(bank.counted.sum())


# ------------------------------------------------------------------------------ scores


def total(steps: Steps, ends: Ends) -> Scores:
    """Score solutions by the sum over their steps; absent ones have 0."""
    return steps.sum(1)


def final(steps: Steps, ends: Ends) -> Scores:
    """Score solutions by what is said of their last step."""
    last = (ends >= 0).sum(1, keepdim=True) - 1
    return steps.gather(1, last)[:, 0]


@dataclass(frozen=True)
class Arm:
    """One way to judge solutions.

    Attributes:
        judge: learns, and returns a network and what judges steps.
        score: makes one number of the steps of a solution.
        how: what is learnt with, chosen on validation problems.
    """

    judge: Callable[[Lab, Training], Judge]
    score: Callable[[Steps, Ends], Scores]
    how: Training | None = None
