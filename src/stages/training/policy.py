"""Learning from rewards and preferences, for networks that write (reinforcement
fine-tuning).

Papers sample responses, judge them, and take one update on what they sampled. The
policy is then still the one that sampled: the ratio of PPO and GRPO is 1, its gradient
is that of log p, and there is nothing to clip. One convention holds in all of them: a
loss is the mean over all counted tokens of an update (token mean), as it is in
`next_token_loss`, so that learning from labels and from rewards weigh tokens alike.

Log-probabilities of tokens come from `stages.training.answers.token_log_probs`.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor
from torch.nn import functional as F

Rewards = Float[Tensor, "prompts samples"]
TokenLogProbs = Float[Tensor, "n length"]
Counted = Bool[Tensor, "n length"]
LogRatios = Float[Tensor, " n"]

# ------------------------------------------------------------------------- advantages


def group_advantages(rewards: Rewards, divided: bool = True) -> Rewards:
    """Return by how much each response is better than the mean of its prompt's (GRPO).

    Args:
        divided: whether by the standard deviation of the group, with n - 1 as in trl.
            Without it this is the advantage of Dr. GRPO.

    Returns:
        The advantages; 0 in groups whose rewards are all the same, which teach nothing.

    Raises:
        ValueError: there are fewer than two responses to a prompt.
    """
    _check_groups(rewards)
    centred = rewards - rewards.mean(1, keepdim=True)
    centred = centred.masked_fill(dead_groups(rewards)[:, None], 0.0)
    if not divided:
        return centred
    deviation = rewards.std(1, keepdim=True)
    return centred / deviation.where(deviation > 0, 1.0)


def leave_one_out(rewards: Rewards) -> Rewards:
    """Return each reward minus the mean of the others to its prompt (RLOO).

    The baseline does not depend on the response, so that the expected gradient is
    exactly that of the expected reward.

    Raises:
        ValueError: there are fewer than two responses to a prompt.
    """
    _check_groups(rewards)
    others = (rewards.sum(1, keepdim=True) - rewards) / (rewards.shape[1] - 1)
    return (rewards - others).masked_fill(dead_groups(rewards)[:, None], 0.0)


def dead_groups(rewards: Rewards) -> Bool[Tensor, " prompts"]:
    """Tell which prompts have responses of one and the same reward."""
    return rewards.amax(1) == rewards.amin(1)


def _check_groups(rewards: Tensor) -> None:
    if rewards.ndim != 2 or rewards.shape[1] < 2:
        raise ValueError(
            f"rewards are {tuple(rewards.shape)}; give (prompts, samples) with two"
            " samples or more"
        )


# ----------------------------------------------------------------------------- losses


def policy_loss(
    log_probs: TokenLogProbs, counted: Counted, advantages: Float[Tensor, " n"]
) -> Float[Tensor, ""]:
    """Return -A log p(token), the mean over all counted tokens; it flows into log p.

    Its gradient is the policy gradient of an update whose policy has just sampled, of
    GRPO with the "bnpo" loss of trl. With A = 1 it is the loss of supervised
    fine-tuning; its value means nothing else.

    Args:
        log_probs, counted: of the responses' tokens.
        advantages: one a response; no gradient flows through them.
    """
    weighted = advantages.detach()[:, None] * log_probs
    return -token_mean(weighted, counted)


def token_mean(values: TokenLogProbs, counted: Counted) -> Float[Tensor, ""]:
    """Return the mean over the counted tokens of all responses; 0 where none is."""
    return values.where(counted, 0.0).sum() / counted.sum().clamp(min=1)


def kl_to(
    reference: TokenLogProbs, log_probs: TokenLogProbs, counted: Counted
) -> Float[Tensor, ""]:
    """Estimate KL(policy, reference) a token, from tokens that the policy wrote: the
    mean of q/p - log(q/p) - 1, which is never negative (k3, as in GRPO).

    Its mean is that KL, exactly. The gradient that it passes on to the policy is, on
    average, that of KL(reference, policy), since the sampling is not differentiated.

    Args:
        reference: log q of the tokens; no gradient flows into it.
        log_probs: log p of the tokens.
    """
    apart = reference.detach() - log_probs
    return token_mean(apart.exp() - apart - 1, counted)


def log_ratio(
    log_probs: TokenLogProbs, reference: TokenLogProbs, counted: Counted
) -> LogRatios:
    """Return log p(response) - log q(response): sums over the response's tokens. With
    a factor it is the implicit reward of DPO.
    """
    return (log_probs - reference.detach()).where(counted, 0.0).sum(1)


def outcome_loss(
    ratios: LogRatios, right: Bool[Tensor, " n"], scale: float
) -> Float[Tensor, ""]:
    """Return the cross-entropy of "this response is right" under σ(scale · ratio)."""
    return F.binary_cross_entropy_with_logits(scale * ratios, right.to(ratios.dtype))


def preference_loss(
    better: LogRatios, worse: LogRatios, scale: float
) -> Float[Tensor, ""]:
    """Return -log σ(scale · (better - worse)), the mean over pairs of responses to one
    prompt (DPO).
    """
    return -F.logsigmoid(scale * (better - worse)).mean()


# ----------------------------------------------------------------- rejection sampling


def pick_right(
    right: Bool[Tensor, "prompts samples"], most: int, generator: Generator
) -> Int[Tensor, " picked"]:
    """Draw up to `most` right responses to each prompt, without replacement.

    Returns:
        Their places in the flat list of responses, prompt by prompt, in order. A prompt
        that was never answered right has none.

    Raises:
        ValueError: none is to be drawn.
    """
    if most < 1:
        raise ValueError(f"{most} right responses to draw; draw 1 or more")
    draws = torch.rand(right.shape, generator=generator).to(right.device)
    order = draws.masked_fill(~right, -1.0).argsort(1, descending=True)
    place = order.argsort(1)
    return (right & (place < most)).flatten().nonzero()[:, 0]
