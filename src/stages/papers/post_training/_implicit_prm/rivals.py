"""What implicit rewards are compared with: judges with a scalar head, which learn from
answers or from labelled steps (Math-Shepherd, Wang et al. 2024).
"""

import copy
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from stages.models import GPT
from stages.papers.post_training._implicit_prm.bank import Completions, Solutions
from stages.papers.post_training._implicit_prm.method import (
    ROWS,
    Loss,
    Steps,
    Training,
    learn,
    step_rewards,
    values,
)


class ScalarJudge(nn.Module):
    """A copy of the generator whose last states a linear layer maps to one logit."""

    def __init__(self, generator: GPT):
        super().__init__()
        self.network = copy.deepcopy(generator).requires_grad_(True)
        self.head = nn.Linear(self.network.positions.shape[1], 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, tokens: Int[Tensor, "n length"]) -> Float[Tensor, "n length"]:
        """Return a logit at every token."""
        return self.head(self.network.extend(tokens)[0])[..., 0]


def logits_at(judge: nn.Module, solutions: Solutions) -> Steps:
    """Return the logits at the ends of steps; what stands for absent steps means
    nothing.
    """
    return judge(solutions.tokens).gather(1, solutions.ends.clamp(min=0))


@torch.no_grad()
def judge_ends(judge: nn.Module, solutions: Solutions) -> Steps:
    """Return a trained judge's logit at the end of each step, 0 for absent ones."""
    parts = [
        logits_at(judge, part).where(part.ends >= 0, 0.0)
        for part in solutions.split(ROWS)
    ]
    return torch.cat(parts)


def scalar_steps(judge: nn.Module, solutions: Solutions, beta: float) -> Loss:
    """Return the cross-entropy of a scalar head and the labels at the ends of steps,
    the mean over all steps.

    Args:
        beta: has no meaning here.
    """
    there = solutions.ends >= 0
    logits, labels = logits_at(judge, solutions)[there], solutions.labels[there]
    return F.binary_cross_entropy_with_logits(logits, labels)


def scalar_judge(
    generator: GPT, bank: Solutions, how: Training, chance: Generator
) -> nn.Module:
    """Train a judge with a scalar head on the labels of a bank's steps."""
    return learn(ScalarJudge(generator), bank, scalar_steps, how, chance)


# ----------------------------------------------------------------------- Math-Shepherd


def shepherd_labels(bank: Solutions, completions: Completions) -> Solutions:
    """Label a step good if any completion after it ends right (hard estimation)."""
    return replace(bank, labels=(completions.success > 0).float())


def affordable(bank: Solutions, completions: Completions) -> int:
    """Return for how many prompts solutions and their completions together have no more
    tokens than the solutions of all prompts.
    """
    own = bank.counted.sum(1)
    each = (own + completions.cost.sum(1)).view(-1, bank.samples).sum(1)
    return int((each.cumsum(0) <= own.sum()).sum())


# -------------------------------------------------------------------------- likelihood


def likelihood_steps(solutions: Solutions) -> Steps:
    """Return how likely the generator finds each step: log π_ref, summed over it."""
    return step_rewards(values(solutions.reference, 1.0), solutions.ends)
