"""What implicit rewards from answers are compared with: judges with a scalar head, and
steps that completions have labelled (Math-Shepherd, Wang et al. 2024).
"""

import copy
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Generator, nn
from torch.nn import functional as F

from stages.models import GPT, seeded
from stages.models.gpt import CausalBlock
from stages.papers.post_training.implicit_prm.bank import Completions, Solutions
from stages.papers.post_training.implicit_prm.method import (
    ROWS,
    Loss,
    Steps,
    Training,
    learn,
    log_ratios,
    step_rewards,
    values,
)


class ScalarJudge(nn.Module):
    """A copy of the generator with one block more; a linear layer makes one logit of
    its state at the end of a step.

    The block also reads how likely the generator finds each token. The states alone do
    not tell: the last block predicts the next token, and no block is left to compare
    the two.

    Args:
        generator: is copied; the new layers start from torch's own stream.
    """

    def __init__(self, generator: GPT):
        super().__init__()
        width = generator.positions.shape[1]
        heads = generator.blocks[0].attention.heads
        self.network = copy.deepcopy(generator).requires_grad_(True)
        self.likely = nn.Linear(1, width)
        self.block = CausalBlock(width, heads, ratio=4, dropout=0.0)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 1)

    def forward(self, solutions: Solutions) -> Steps:
        """Return a logit at the end of each step; what stands for absent steps means
        nothing.
        """
        states = self.network.extend(solutions.tokens)[0]
        read = states + self.likely(solutions.reference[..., None])
        judged = self.norm(self.block(read)[0])
        rows = torch.arange(len(judged))[:, None]
        return self.head(judged[rows, solutions.ends.clamp(min=0)])[..., 0]


@torch.no_grad()
def judge_ends(logits: Callable[[Solutions], Steps], solutions: Solutions) -> Steps:
    """Return a trained judge's logit at the end of each step, 0 for absent ones."""
    parts = [logits(part).where(part.ends >= 0, 0.0) for part in solutions.split(ROWS)]
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
    generator: GPT, bank: Solutions, how: Training, seed: int, chance: Generator
) -> nn.Module:
    """Train a judge with a scalar head on the labels of a bank's steps."""
    with seeded(seed, "implicit prm", "head"):
        judge = ScalarJudge(generator)
    return learn(judge, bank, scalar_steps, how, chance)


# ----------------------------------------------------------------------- Math-Shepherd


def shepherd_labels(bank: Solutions, completions: Completions) -> Solutions:
    """Label a step good if any completion after it ends right (hard estimation)."""
    return replace(bank, labels=(completions.success > 0).float())


def values_at_ends(judge: nn.Module, solutions: Solutions, beta: float) -> Steps:
    """Return q at the end of each step (eq. 2)."""
    q = values(log_ratios(judge, solutions), beta)
    return q.gather(1, solutions.ends.clamp(min=0))


def labelled_values(judge: nn.Module, solutions: Solutions, beta: float) -> Loss:
    """Return the cross-entropy of σ(q) and the labels at the ends of steps, the mean
    over all steps: labelled steps for an implicit reward.
    """
    there = solutions.ends >= 0
    return F.binary_cross_entropy_with_logits(
        values_at_ends(judge, solutions, beta)[there], solutions.labels[there]
    )


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
