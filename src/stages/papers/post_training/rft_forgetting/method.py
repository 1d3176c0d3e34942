"""Reinforcement fine-tuning (RFT) beside supervised fine-tuning (SFT), task after task.

Lai et al., "Reinforcement Fine-Tuning Naturally Mitigates Forgetting in Continual
Post-Training", 2025, arXiv 2507.05386. One model learns tasks one after the other, each
from its own data, with nothing kept of earlier ones. SFT makes the answers of a data
set likelier; RFT (here GRPO) makes those of its own answers likelier that a checker
calls right. Afterwards the paper asks how much of the earlier tasks is left, and
explains it by how far an update moves what the model did before.

Equations are numbered as on the page. Losses are means over the tokens of responses.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from stages.models import GPT
from stages.papers.post_training.common.responses import until
from stages.training import fit, next_token_loss, optimiser
from stages.training.answers import token_log_probs
from stages.training.policy import (
    Rewards,
    group_advantages,
    kl_to,
    pick_right,
    policy_loss,
)
from stages.worlds import smalltalk
from stages.worlds.smalltalk import Requests, template
from stages.worlds.vocabulary import PAD, Answered, answered

NEW = 8  # tokens that a response may take
Update = Callable[[GPT, "Task", Generator], Tensor]  # the loss of one update
Matrix = Float[Tensor, "stages tasks"]


class Task(NamedTuple):
    """What one stage has to learn.

    Attributes:
        requests: with right answers.
        labels: prompts with the data set's answers to them, in the same order.
        start: the policy as it was before the stage.
    """

    requests: Requests
    labels: Answered
    start: GPT


def draw(n: int, among: int, chance: Generator) -> Int[Tensor, " n"]:
    """Draw n places, with replacement."""
    return torch.randint(among, (n,), generator=chance)


# ------------------------------------------------------------- supervised fine-tuning


def imitate(batch: int) -> Update:
    """Make the loss of SFT on `batch` labels (eq. 1)."""

    def loss(policy: GPT, task: Task, chance: Generator) -> Tensor:
        drawn = task.labels.take(draw(batch, len(task.labels), chance))
        return next_token_loss(
            policy(drawn.tokens), drawn.tokens, drawn.counted
        )  # eq. 1

    return loss


# ---------------------------------------------------------- reinforcement fine-tuning


@dataclass(frozen=True)
class Rollouts:
    """What a policy wrote, prompt by prompt, and what that is worth.

    Attributes:
        texts: prompts with the responses, (prompts * samples) rows.
        rewards: 1 for a right response and 0 for a wrong one.
    """

    texts: Answered
    rewards: Rewards


def roll_out(
    policy: GPT, requests: Requests, samples: int, chance: Generator
) -> Rollouts:
    """Let a policy write `samples` responses to each request, and check each."""
    end = smalltalk.vocabulary().number[template.END]
    each = torch.arange(len(requests)).repeat_interleave(samples)
    asked = template.prompt(requests)[each]
    mask = asked != PAD
    written = policy.generate(
        asked, NEW, stop=[end], temperature=1.0, generator=chance, mask=mask
    )
    reward = smalltalk.means_right(requests.take(each), written).float()
    texts = answered(asked, until(written, end))
    return Rollouts(texts, reward.unflatten(0, (-1, samples)))


def grpo(
    prompts: int, samples: int, divided: bool = True, penalty: float = 0.0
) -> Update:
    """Make the loss of GRPO: responses better than their prompt's others become
    likelier, in one update on what was just sampled (eq. 2, 3).

    Args:
        divided: whether advantages are in units of their group's deviation.
        penalty: the weight of the KL divergence from the start of the stage.
    """

    def loss(policy: GPT, task: Task, chance: Generator) -> Tensor:
        asked = task.requests.take(draw(prompts, len(task.requests), chance))
        rollouts = roll_out(policy, asked, samples, chance)
        tokens, counted = rollouts.texts.tokens, rollouts.texts.counted
        advantage = group_advantages(rollouts.rewards, divided)  # eq. 2
        log_probs = token_log_probs(policy, tokens, counted)
        gain = policy_loss(log_probs, counted, advantage.flatten())  # eq. 3
        if not penalty:
            return gain
        with torch.no_grad():
            reference = token_log_probs(task.start, tokens, counted)
        return gain + penalty * kl_to(reference, log_probs, counted)  # eq. 3

    return loss


def imitate_own(prompts: int, samples: int) -> Update:
    """Make the loss of SFT on the policy's own right responses, sampled anew for each
    update (rejection sampling).
    """

    def loss(policy: GPT, task: Task, chance: Generator) -> Tensor:
        asked = task.requests.take(draw(prompts, len(task.requests), chance))
        rollouts = roll_out(policy, asked, samples, chance)
        right = pick_right(rollouts.rewards > 0, samples, chance)
        own = rollouts.texts.take(right)
        log_probs = token_log_probs(policy, own.tokens, own.counted)
        return policy_loss(log_probs, own.counted, torch.ones(len(right)))

    return loss


# ---------------------------------------------------------------------- task after task


def learn_stage(
    policy: GPT,
    update: Update,
    task: Task,
    rate: float,
    check: Callable[[GPT], float],
    chance: Generator,
    *,
    target: float,
    most: int,
    every: int,
) -> list[float]:
    """Learn one task in place, with a new Adam, until it is learnt well enough.

    Args:
        check: measures how well, in %; every so many updates.
        target: ends the stage once it is reached; `most` updates end it anyhow.

    Returns:
        What `check` said.
    """
    said = []

    def steps() -> Iterator[int]:
        for step in range(most + 1):
            if step % every == 0:
                said.append(check(policy))
                if said[-1] >= target:
                    return
            if step < most:
                yield step

    adam = optimiser(policy.parameters(), "adamw", rate, weight_decay=0.0)
    fit(lambda step: update(policy, task, chance), steps(), adam, clip=1.0)
    return said


def forgetting_measure(accuracy: Matrix) -> Float[Tensor, ""]:
    """Return the mean change of each task but the last from its best (eq. 4); below 0
    where something is forgotten.

    Args:
        accuracy: on task i after stage k.
    """
    last = len(accuracy) - 1
    best = torch.stack([accuracy[i:last, i].max() for i in range(last)])
    return (accuracy[last, :last] - best).mean()  # eq. 4


# -------------------------------------------------------------- the paper's explanation


def response_gradients(
    policy: GPT, texts: Answered
) -> Iterator[list[Float[Tensor, "..."]]]:
    """Yield the gradient of log p(response) for one text after the other."""
    parameters = list(policy.parameters())
    for tokens, counted in zip(texts.tokens, texts.counted, strict=True):
        chance = token_log_probs(policy, tokens[None], counted[None]).sum()
        yield torch.autograd.grad(chance, parameters)


def fisher(policy: GPT, texts: Answered) -> list[Float[Tensor, "..."]]:
    """Return the diagonal Fisher information, from texts that the policy wrote itself
    (eq. 5): the mean square of the gradients of their log-probability.
    """
    total = [torch.zeros_like(weight) for weight in policy.parameters()]
    for gradient in response_gradients(policy, texts):
        for kept, one in zip(total, gradient, strict=True):
            kept += one.square() / len(texts)  # eq. 5
    return total


def risks(
    policy: GPT, texts: Answered, information: list[Float[Tensor, "..."]]
) -> Float[Tensor, " n"]:
    """Return the forgetting risk g' F g of the gradient g of each text's
    log-probability (eq. 5). That of A times a gradient is A² times as large.
    """
    found = []
    for gradient in response_gradients(policy, texts):
        pairs = zip(gradient, information, strict=True)
        found.append(sum((one.square() * f).sum() for one, f in pairs))  # eq. 5
    return torch.stack(found)
