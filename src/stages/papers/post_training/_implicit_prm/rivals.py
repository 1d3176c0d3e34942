"""What implicit rewards are compared with: judges with a scalar head, which learn from
answers or from labelled steps (Math-Shepherd, Wang et al. 2024).
"""

import copy
from dataclasses import replace

import torch
from torch import Generator, nn
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
    """A copy of the generator; a linear layer makes one logit of its state at the end
    of a step, and of how likely the generator finds the solution so far.

    It starts as that log-likelihood, which implicit rewards have, too. With the state
    alone it did not learn to tell right from wrong here.
    """

    def __init__(self, generator: GPT):
        super().__init__()
        self.network = copy.deepcopy(generator).requires_grad_(True)
        self.head = nn.Linear(self.network.positions.shape[1], 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, solutions: Solutions) -> Steps:
        """Return a logit at the end of each step; what stands for absent steps means
        nothing.
        """
        states = self.network.extend(solutions.tokens)[0]
        rows = torch.arange(len(states))[:, None]
        logits = self.head(states[rows, solutions.ends.clamp(min=0)])[..., 0]
        return logits + self.weight * likelihood_steps(solutions).cumsum(1)


@torch.no_grad()
def judge_ends(judge: ScalarJudge, solutions: Solutions) -> Steps:
    """Return a trained judge's logit at the end of each step, 0 for absent ones."""
    parts = [judge(part).where(part.ends >= 0, 0.0) for part in solutions.split(ROWS)]
    return torch.cat(parts)


def scalar_steps(judge: nn.Module, solutions: Solutions, beta: float) -> Loss:
    """Return the cross-entropy of a scalar head and the labels at the ends of steps,
    the mean over all steps.

    Args:
        beta: has no meaning here.
    """
    there = solutions.ends >= 0
    return F.binary_cross_entropy_with_logits(
        judge(solutions)[there], solutions.labels[there]
    )


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
