"""Implicit process rewards: a judge of answers that turns out to judge steps.

Yuan, Li, Chen, Cui, Ding, Zhang, Zhou, Liu and Peng, "Free Process Rewards without
Process Labels", 2024, arXiv 2412.01981. A copy π of the generator π_ref learns from
right and wrong answers alone, with the log-ratio of the two as its reward. The same
log-ratio, summed over part of a solution, is that part's value, and its increments are
rewards of steps. Nobody has labelled a step.

Equations are numbered as on the page. Log-ratios are in nats; β is `beta`.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from stages.models import GPT
from stages.papers.post_training.implicit_prm.bank import Solutions
from stages.training import cosine, fit, optimiser
from stages.training.answers import token_log_probs
from stages.training.policy import log_ratio, outcome_loss, preference_loss

Tokens = Float[Tensor, "n length"]
Steps = Float[Tensor, "n most"]
Loss = Float[Tensor, ""]
Objective = Callable[[nn.Module, Solutions, float], Loss]

BETAS = (0.9, 0.95)  # of Adam, as in the released code
WARMUP, FLOOR = 0.03, 0.1  # shares of the updates, and of the rate
ROWS = 1024  # solutions that are read at a time

# ------------------------------------------------------------- rewards, values, scores


def log_ratios(model: nn.Module, solutions: Solutions) -> Tokens:
    """Return log π(token) - log π_ref(token) at the tokens of solutions, 0 at those of
    prompts.
    """
    own = token_log_probs(model, solutions.tokens, solutions.counted)
    return own - solutions.reference


def values(ratios: Tokens, beta: float) -> Tokens:
    """Return q of every part of a solution: β times the log-ratios so far (eq. 2).

    At the last token it is the reward r(y) of the whole (eq. 1). For any π at all,
    q_t = β log E exp(r / β) over what π_ref may write next: no proof of quality.
    """
    return beta * ratios.cumsum(1)  # eq. 2


def step_rewards(q: Tokens, ends: Int[Tensor, "n most"]) -> Steps:
    """Return by how much q rises in each step: its values at the steps' last tokens,
    minus those one step earlier (eq. 3).

    Args:
        ends: the place of each step's last token, -1 for a step that is not there; its
            reward is 0.
    """
    last = q.gather(1, ends.clamp(min=0))
    rises = last.diff(prepend=torch.zeros_like(last[:, :1]))  # eq. 3
    return rises.where(ends >= 0, 0.0)


def lowest(rewards: Steps, ends: Int[Tensor, "n most"]) -> Float[Tensor, " n"]:
    """Score solutions by their worst step (eq. 6); the sum would be r(y) again."""
    return rewards.where(ends >= 0, torch.inf).amin(1)  # eq. 6


@torch.no_grad()
def judge_steps(model: nn.Module, solutions: Solutions, beta: float) -> Steps:
    """Return the reward of each step of solutions under a trained model."""
    parts = [
        step_rewards(values(log_ratios(model, part), beta), part.ends)
        for part in solutions.split(ROWS)
    ]
    return torch.cat(parts)


# ------------------------------------------------------------------------------- losses


def whole(model: nn.Module, solutions: Solutions) -> Float[Tensor, " n"]:
    """Return log π(y) - log π_ref(y) of whole solutions: r(y), but for β (eq. 1)."""
    own = token_log_probs(model, solutions.tokens, solutions.counted)
    return log_ratio(own, solutions.reference, solutions.counted)  # eq. 1


def cross_entropy(model: nn.Module, solutions: Solutions, beta: float) -> Loss:
    """Return the cross-entropy of σ(r) and "the answer is right", solution by solution
    (eq. 4).
    """
    r = whole(model, solutions)
    return outcome_loss(r, solutions.right, beta)  # eq. 4


def preferences(model: nn.Module, solutions: Solutions, beta: float) -> Loss:
    """Return DPO's loss over all pairs of a right and a wrong solution to one prompt
    (eq. 5). At least one prompt must have both.
    """
    r = whole(model, solutions).view(-1, solutions.samples)
    right = solutions.right.view_as(r)
    pairs = right[:, :, None] & ~right[:, None, :]  # prompts, better, worse
    better = r[:, :, None].expand_as(pairs)[pairs]
    worse = r[:, None, :].expand_as(pairs)[pairs]
    return preference_loss(better, worse, beta)  # eq. 5


# ----------------------------------------------------------------------------- training


@dataclass(frozen=True)
class Training:
    """How a judge learns.

    Attributes:
        rate, updates: of Adam, after a short warm-up under a cosine.
        beta: how much reward a nat of log-ratio is.
        prompts: of an update, each with all of its solutions.
    """

    rate: float
    updates: int
    beta: float = 1.0
    prompts: int = 4


def learn(
    judge: nn.Module,
    bank: Solutions,
    objective: Objective,
    how: Training,
    chance: Generator,
) -> nn.Module:
    """Train a judge in place on solutions that were graded as a whole; return it."""
    adam = optimiser(
        judge.parameters(), "adamw", how.rate, betas=BETAS, weight_decay=0.0
    )

    def loss(step: int) -> Loss:
        prompts = torch.randint(bank.prompts, (how.prompts,), generator=chance)
        return objective(judge, bank.of(prompts), how.beta)

    schedule = cosine(how.updates, round(WARMUP * how.updates), FLOOR)
    fit(loss, how.updates, adam, schedule=schedule, clip=1.0)
    return judge.eval().requires_grad_(False)


def implicit_judge(
    generator: GPT,
    bank: Solutions,
    objective: Objective,
    how: Training,
    chance: Generator,
) -> nn.Module:
    """Train a copy of the generator as a judge; the generator stays the reference."""
    judge = copy.deepcopy(generator).requires_grad_(True).train()
    return learn(judge, bank, objective, how, chance)
