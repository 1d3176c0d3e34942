"""Reinforcement mid-training (Tian et al. 2025): think before a token of plain text,
and be rewarded if the token comes out.

Its full text was not at hand; the equations are those of two detailed notes on it, and
of the paper that it goes on from, "Reinforcement Pre-Training" (Dong et al. 2025). They
have no numbers of their own, so that they are numbered here as on the page.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from stages.models import GPT
from stages.papers.post_training.common.responses import until
from stages.papers.post_training.reinforcement_mid_training import prose
from stages.papers.post_training.reinforcement_mid_training.prose import Positions
from stages.training import next_token_loss
from stages.training.answers import token_log_probs
from stages.training.policy import dead_groups, group_advantages, policy_loss
from stages.worlds.vocabulary import PAD, answered


@dataclass(frozen=True)
class Budget:
    """How long a thought is to be, at first and in the end.

    Attributes:
        first: B_0, tokens.
        shrinks: γ, what is left of it when training ends.
        least: B_min.
    """

    first: int = 12
    shrinks: float = 0.7
    least: int = 1

    def at(self, progress: float) -> int:
        """Return B_t after a share of the training, in tokens."""
        shrunk = self.first * self.shrinks**progress
        return max(self.least, math.floor(shrunk))  # eq. 2


def length_reward(
    length: Int[Tensor, "*n"],
    budget: int,
) -> Float[Tensor, "*n"]:
    """Return 1 for a thought of just the budget's length, falling to 0 on both sides:
    at no tokens, and at twice as many.
    """
    return (1 - (length / budget - 1).abs()).clamp(min=0)  # eq. 3


@dataclass(frozen=True)
class Curriculum:
    """Which tier of positions is drawn how often: easy ones first, hard ones later.

    Attributes:
        bounds: entropies, in nats, between easy and medium, and medium and hard.
        before, after: chances of the tiers until `start`, and from `end` on.
        start, end: shares of the training between which they change linearly.
    """

    bounds: tuple[float, float] = (0.5, 1.5)
    before: tuple[float, float, float] = (0.6, 0.3, 0.1)
    after: tuple[float, float, float] = (0.1, 0.3, 0.6)
    start: float = 0.3
    end: float = 0.7

    def tiers(self, entropy: Float[Tensor, " n"]) -> Int[Tensor, " n"]:
        """Tell the tier of each position: 0 easy, 1 medium, 2 hard."""
        return torch.bucketize(entropy, torch.tensor(self.bounds))

    def at(self, progress: float) -> Float[Tensor, " tiers"]:
        """Return the chances of the tiers after a share of the training."""
        way = (progress - self.start) / (self.end - self.start)
        way = min(1.0, max(0.0, way))
        return torch.lerp(torch.tensor(self.before), torch.tensor(self.after), way)

    def draw(
        self,
        entropy: Float[Tensor, " n"],
        count: int,
        progress: float,
        chance: Generator,
    ) -> Int[Tensor, " count"]:
        """Draw a tier for each position, then a position of it (eq. 4)."""
        tier = self.tiers(entropy)
        there = tier.bincount(minlength=3)
        chances = self.at(progress) * (there > 0)
        weight = (chances / there.clamp(min=1))[tier]
        return torch.multinomial(weight, count, generator=chance)


@torch.no_grad()
def entropies(model: GPT, positions: Positions) -> Float[Tensor, " n"]:
    """Return how uncertain a model is of each position without a thought, in nats."""
    prefix = positions.prefix
    chances = model(prefix, prefix != PAD)[:, -1].log_softmax(-1)
    return -(chances.exp() * chances).sum(-1)


@dataclass(frozen=True)
class Rollouts:
    """What a policy wrote at some positions, several times at each.

    Attributes:
        tokens, counted: prefix and what was written, and where that is; row by row, all
            samples of a position after one another.
        match: whether the answer is the text's token.
        length: tokens of the thought.
    """

    tokens: Int[Tensor, "rows length"]
    counted: Bool[Tensor, "rows length"]
    match: Bool[Tensor, "positions samples"]
    length: Int[Tensor, "positions samples"]

    def take(self, groups: Int[Tensor, " m"]) -> "Rollouts":
        """Return those of some positions."""
        rows = torch.arange(len(self.tokens)).view(self.match.shape)[groups].flatten()
        return Rollouts(
            self.tokens[rows],
            self.counted[rows],
            self.match[groups],
            self.length[groups],
        )


def roll_out(
    model: GPT,
    positions: Positions,
    samples: int,
    new: int,
    chance: Generator,
    temperature: float = 1.0,
) -> Rollouts:
    """Let a model think and answer, several times at each position.

    Args:
        new: the most tokens that thought, answer and marks may take.
    """
    nothing = torch.full_like(positions.place[:, None], PAD)
    prompts, _ = prose.think(positions.prefix, nothing, positions.target)
    prompts = prompts.repeat_interleave(samples, 0)
    written = model.generate(
        prompts,
        new,
        stop=[prose.END],
        temperature=temperature,
        generator=chance,
        mask=prompts != PAD,
    )
    said = prose.read(written)
    target = positions.target.repeat_interleave(samples)
    texts = answered(prompts, until(written, prose.END))
    return Rollouts(
        texts.tokens,
        texts.counted,
        (said.answer == target).view(-1, samples),  # eq. 1
        said.length.view(-1, samples),
    )


@dataclass(frozen=True)
class Objective:
    """What an update rewards, and what else it learns.

    Attributes:
        budget: of the thoughts; without one their length does not count, and w is 0.
        weight: w, of the length reward.
        text: λ, of predicting the other tokens of the texts.
        most: groups with matches and misses that an update learns from.
    """

    budget: Budget | None = Budget()
    weight: float = 0.3
    text: float = 0.5
    most: int = 8


def rewards(
    rollouts: Rollouts, objective: Objective, progress: float
) -> Float[Tensor, "positions samples"]:
    """Weigh whether the token came out against the length of the thought."""
    match = rollouts.match.float()
    if objective.budget is None:
        return match
    w = objective.weight
    budget = objective.budget.at(progress)
    brief = length_reward(rollouts.length, budget)
    return (1 - w) * match + w * brief  # eq. 5


def learn_from(
    rollouts: Rollouts, reward: Float[Tensor, "positions samples"], most: int
) -> tuple[Rollouts, Float[Tensor, "groups samples"]]:
    """Return the groups in which some answers match and some do not, the first `most`
    of them, and the advantages in them.
    """
    mixed = (~dead_groups(rollouts.match.float())).nonzero()[:most, 0]
    return rollouts.take(mixed), group_advantages(reward)[mixed]  # eq. 6


def reinforce(
    model: GPT, rollouts: Rollouts, advantages: Float[Tensor, "groups samples"]
) -> Float[Tensor, ""]:
    """Return the loss of GRPO on what was written."""
    log_probs = token_log_probs(model, rollouts.tokens, rollouts.counted)
    return policy_loss(log_probs, rollouts.counted, advantages.flatten())  # eq. 7


def read_on(model: GPT, positions: Positions) -> Float[Tensor, ""]:
    """Return the loss of predicting all other tokens of the same texts without a
    thought, the mean a token: the positions themselves are left out.
    """
    text = positions.document
    place = torch.arange(text.shape[1])
    others = (text != PAD) & (place != positions.place[:, None])
    return next_token_loss(model(text), text, others)  # eq. 8


def mid_train(
    model: GPT,
    positions: Positions,
    rollouts: Rollouts,
    objective: Objective,
    progress: float,
) -> Float[Tensor, ""]:
    """Return the loss of an update on what a model wrote at some positions."""
    reward = rewards(rollouts, objective, progress)
    chosen, advantages = learn_from(rollouts, reward, objective.most)
    loss = reinforce(model, chosen, advantages)
    if objective.text:
        loss = loss + objective.text * read_on(model, positions)  # eq. 9
    return loss
