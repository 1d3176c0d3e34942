"""What is measured of the start policy, of each arm, and of the paper's explanation."""

from copy import deepcopy

import torch
from jaxtyping import Float
from torch import Tensor

from stages.evidence import Outcome
from stages.models import GPT
from stages.papers.post_training.rft_forgetting import method
from stages.papers.post_training.rft_forgetting.method import Rollouts
from stages.papers.post_training.rft_forgetting.tasks import (
    ORDER,
    foreign_wording,
    labelled,
    own_wording,
)
from stages.seeding import torch_rng
from stages.training.policy import dead_groups, group_advantages
from stages.worlds.smalltalk import Requests
from stages.worlds.vocabulary import Answered

NEW = "average new accuracy"
GENERAL = "general accuracy"
FM = "forgetting measure"
GAIN = "smallest gain of a stage"
UPDATES = "updates of all stages"
DRIFT = "KL on old prompts"
DEAD = "dead groups"
LEAST, MOST = "least known family, sampled", "best known family, sampled"
RISK = "forgetting risk of an update, log10"
PREDICTED = "variance of the reward times SFT's risk"
TINY = 1e-12  # a risk that stands for none


@torch.no_grad()
def drift(policy: GPT, start: GPT, old: Answered) -> Float[Tensor, ""]:
    """Return KL(start, policy) a token, exactly, along responses of the start policy
    to requests of before.
    """
    before = start(old.tokens).log_softmax(-1)[:, :-1]
    now = policy(old.tokens).log_softmax(-1)[:, :-1]
    apart = (before.exp() * (before - now)).sum(-1)
    return apart[old.counted[:, 1:]].mean()


def dead_share(rollouts: Rollouts) -> float:
    """Return how many groups, in %, have one reward and teach nothing."""
    return 100 * dead_groups(rollouts.rewards).float().mean().item()


def score_risks(
    outcome: Outcome,
    start: GPT,
    old: Answered,
    new: Requests,
    names: tuple[str, str, str, str],
    samples: int,
    seed: int,
) -> None:
    """Score by how much one step of each kind would move what the start policy does on
    usual requests (eq. 5), in log10 of the mean over new requests.

    Args:
        old: usual requests with the start policy's own responses.
        new: requests to learn from.
        names: of SFT in foreign and in the own wording, and of GRPO divided by the
            deviation and not.
    """
    chance = torch_rng(seed, "risks")
    policy = deepcopy(start)
    information = method.fisher(policy, old)
    tried = method.roll_out(policy, new, samples, chance)
    sampled = method.risks(policy, tried.texts, information)
    sampled = sampled.view_as(tried.rewards)
    foreign, native = (
        method.risks(policy, labelled(new, wording), information)
        for wording in (foreign_wording, own_wording)
    )
    variance = tried.rewards.var(1, correction=0)
    found = dict(zip(names[:2], (foreign, native), strict=True))
    for name, divided in zip(names[2:], (True, False), strict=True):
        advantages = group_advantages(tried.rewards, divided)
        found[name] = advantages.square() * sampled
    found[PREDICTED] = variance * native
    for name, risk in found.items():
        outcome.score(name, RISK, risk.mean().clamp(min=TINY).log10())
    outcome.exhibits["risks"] = {
        "variance": variance,
        "ratio": found[names[3]].mean(1) / native,
        "divided": found[names[2]].mean(1) / native,
    }


def score_stages(
    outcome: Outcome,
    name: str,
    before: Float[Tensor, " tasks"],
    accuracy: Float[Tensor, "stages tasks"],
    general: list[float],
) -> None:
    """Score an arm by its accuracies, on each task after each stage.

    Args:
        before: the start policy's, on the tasks.
        general: on usual requests, before the first stage and after each.
    """
    outcome.score(name, NEW, accuracy[-1].mean())
    outcome.score(name, GENERAL, general[-1])
    rows = torch.cat([before[None], accuracy])
    for i, family in enumerate(ORDER):
        outcome.curve(name, f"accuracy: {family}", range(len(rows)), rows[:, i])
    outcome.curve(name, GENERAL, range(len(general)), general)
    if len(accuracy) < len(ORDER):  # all were learnt at once
        return
    outcome.score(name, FM, method.forgetting_measure(accuracy))
    outcome.score(name, GAIN, (rows[1:].diagonal() - rows[:-1].diagonal()).min())
