"""What models say at test positions, after a thought and without one."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from stages.evidence import Outcome
from stages.models import GPT
from stages.papers.post_training.reinforcement_mid_training import method, prose
from stages.papers.post_training.reinforcement_mid_training.arms import (
    Lab,
    Learnt,
    Settings,
)
from stages.papers.post_training.reinforcement_mid_training.prose import (
    KINDS,
    Positions,
)
from stages.seeding import torch_rng
from stages.training import next_token_loss
from stages.worlds.vocabulary import PAD

ACCURACY = "accuracy"  # the mean over kinds of positions
GREEDY = "accuracy, greedy"
FAR = "accuracy, 2-3 operations"
LENGTH = "thinking tokens, 2-3 operations"
TEXT = "text loss"
DEAD = "dead groups"
MISSED = "groups that all miss"
PROCESSED = "million tokens processed"
QUESTIONS = "questions answered"

Found = dict[str, tuple[Bool[Tensor, " n"], Int[Tensor, " n"]]]


def of(kind: str) -> str:
    """Name the accuracy at positions of a kind."""
    return f"accuracy, {kind}"


def direct(name: str) -> str:
    """Name an arm's model when it answers without a thought."""
    return f"{name}, direct"


def thoughts(
    model: GPT,
    positions: Mapping[str, Positions],
    new: int,
    seed: int,
    temperature: float = 1.0,
) -> Found:
    """Let a model think once at each position; by kind, tell whether the token came out
    and how long the thought was.
    """
    found = {}
    for kind, asked in positions.items():
        chance = torch_rng(seed, "test", kind)
        said = method.roll_out(model, asked, 1, new, chance, temperature)
        found[kind] = (said.match[:, 0], said.length[:, 0])
    return found


@torch.no_grad()
def guessed(model: GPT, positions: Positions) -> Bool[Tensor, " n"]:
    """Tell at which positions the likeliest next token is right, without a thought."""
    prefix = positions.prefix
    return model(prefix, prefix != PAD)[:, -1].argmax(-1) == positions.target


def per_cent(right: Bool[Tensor, " n"]) -> float:
    """Return how many are right, in %."""
    return 100 * right.float().mean().item()


def mean_of_kinds(right: Mapping[str, Tensor]) -> float:
    """Return the accuracy in %, all kinds of positions weighing the same."""
    return sum(per_cent(right[kind]) for kind in KINDS) / len(KINDS)


def far(positions: Mapping[str, Positions]) -> Bool[Tensor, " n"]:
    """Tell which computable positions take two operations or three."""
    return positions["computable"].told.steps > 1


def score(
    outcome: Outcome, name: str, learnt: Learnt, lab: Lab, settings: Settings
) -> None:
    """Score an arm's model on the test positions, with thoughts and without, and on
    text.
    """
    model = learnt.model
    hard = far(lab.test)
    found = thoughts(model, lab.test, settings.new, lab.seed)
    greedy = thoughts(model, lab.test, settings.new, lab.seed, temperature=0.0)
    guesses = {kind: guessed(model, lab.test[kind]) for kind in KINDS}
    thought = {kind: right for kind, (right, _) in found.items()}
    for method_name, right in ((name, thought), (direct(name), guesses)):
        outcome.score(method_name, ACCURACY, mean_of_kinds(right))
        outcome.score(method_name, FAR, per_cent(right["computable"][hard]))
        for kind in KINDS:
            outcome.score(method_name, of(kind), per_cent(right[kind]))
    best = {kind: right for kind, (right, _) in greedy.items()}
    outcome.score(name, GREEDY, mean_of_kinds(best))
    length = found["computable"][1][hard]
    outcome.score(name, LENGTH, length.float().mean())
    outcome.score(name, TEXT, text_loss(model, lab.text))
    outcome.score(name, PROCESSED, learnt.processed / 1e6)
    for metric, shares in ((DEAD, learnt.dead), (MISSED, learnt.missed)):
        if shares:
            outcome.score(name, metric, 100 * sum(shares) / len(shares))


@torch.no_grad()
def text_loss(model: GPT, text: Int[Tensor, "n length"]) -> Float[Tensor, ""]:
    """Return the loss of predicting text without a thought, the mean a token."""
    return next_token_loss(model(text), text, text != PAD)


def answered(lab: Lab, settings: Settings) -> float:
    """Return how many questions the start answers with its likeliest thought, in %."""
    asked = lab.questions
    nothing = torch.full_like(asked.steps[:, None], PAD)
    prompts, _ = prose.think(asked.question, nothing, asked.answer)
    written = lab.model.generate(
        prompts, settings.new, stop=[prose.END], mask=prompts != PAD
    )
    return per_cent(prose.read(written).answer == asked.answer + 1)


class Watch:
    """Notes, while an arm learns, how it thinks at a few of the test positions."""

    def __init__(self, lab: Lab, settings: Settings):
        rows = torch.arange(settings.watched)
        self.test = {kind: lab.test[kind].take(rows) for kind in KINDS}
        self.new = settings.new
        self.seed = lab.seed
        self.updates: list[int] = []
        self.accuracy: list[float] = []
        self.length: list[float] = []

    def __call__(self, update: int, model: GPT) -> None:
        """Let the model think."""
        found = thoughts(model, self.test, self.new, self.seed)
        right = {kind: matches for kind, (matches, _) in found.items()}
        length = found["computable"][1][far(self.test)]
        self.updates.append(update)
        self.accuracy.append(mean_of_kinds(right))
        self.length.append(length.float().mean().item())

    def draw(self, outcome: Outcome, name: str) -> None:
        """Put what was noted into the record."""
        if self.updates:
            outcome.curve(name, ACCURACY, self.updates, self.accuracy)
            outcome.curve(name, LENGTH, self.updates, self.length)
