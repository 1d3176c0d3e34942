"""What SIM-CoT is compared with: other ways to answer, decoders that are kept from
teaching or that teach nonsense, and CODI.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from stages.models import GPT, Cache
from stages.papers.mechanisms.sim_cot.method import (
    Edit,
    SimCoT,
    Targets,
    Thinker,
    Thoughts,
    Word,
)
from stages.papers.mechanisms.sim_cot.problems import Problems
from stages.worlds.vocabulary import Vocabulary

NO_COT = "no CoT"
PAUSE = "pause tokens"
COT = "explicit CoT"
COCONUT = "Coconut"
EQUAL_TIME = "Coconut, equal time"
REPLAY = "Coconut, step-text replay"
SIM = "SIM-CoT"
STOP = "SIM-CoT, stop-gradient"
SHUFFLED = "SIM-CoT, steps shuffled"
FOREIGN = "SIM-CoT, another problem's steps"
CODI = "CODI"
CODI_SIM = "CODI + SIM"
BLIND = "decoder given a zero vector"


# ------------------------------------------------------------------ without thoughts


class AtOnce(Thinker):
    """A model that answers at once."""

    thinks = False

    def loss(
        self, problems: Problems, stage: int, chance: Generator | None = None
    ) -> Float[Tensor, ""]:
        """Return the answer's loss right after the question."""
        return self.text_loss(*self.read(problems), problems.answer)

    @torch.no_grad()
    def solve(
        self, problems: Problems, edit: Edit | None = None
    ) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"], None]:
        """Answer; there are no thoughts to return."""
        cache, word = self.read(problems)
        return *self.write(cache, word, self.room(problems)), None

    def room(self, problems: Problems) -> int:
        """Return the most words that an answer takes."""
        return problems.answer.shape[1]


class Written(AtOnce):
    """A model that writes its steps, and then the answer."""

    def loss(
        self, problems: Problems, stage: int, chance: Generator | None = None
    ) -> Float[Tensor, ""]:
        """Return the loss of steps and answer."""
        return self.text_loss(*self.read(problems), problems.text())

    def room(self, problems: Problems) -> int:
        """Return the most words that steps and an answer take."""
        return problems.steps[0].numel() + problems.answer.shape[1]


class Pauses(Thinker):
    """A model with words that mean nothing in the place of thoughts."""

    thinks = False

    def think(
        self, cache: Cache, word: Word, count: int, edit: Edit | None = None
    ) -> tuple[Thoughts, Cache]:
        """Read the pauses; their embeddings stand for the thoughts."""
        start = torch.cat([word, self.mark("<thought>", word)], 1)
        _, cache = self.model.extend(start, cache)
        pauses = self.mark("<pause>", word).expand(-1, count)
        thoughts = self.model.embedding(pauses)
        _, cache = self.model.extend(thoughts, cache)
        return thoughts, cache


# -------------------------------------------------------------------------- controls


class Replay(Thinker):
    """Coconut that goes on reading written steps in a share of its examples."""

    share = 0.2

    def loss(
        self, problems: Problems, stage: int, chance: Generator | None = None
    ) -> Float[Tensor, ""]:
        """Return the mean over examples, those with written steps first."""
        cut = round(self.share * len(problems))
        told = problems.take(slice(cut))
        silent = problems.take(slice(cut, None))
        written = self.text_loss(*self.read(told), told.text())
        thought = super().loss(silent, stage, chance)
        part = cut / len(problems)
        return part * written + (1 - part) * thought


class StopGradient(SimCoT):
    """SIM-CoT with a decoder that learns and cannot teach."""

    def heard(self, thoughts: Thoughts) -> Thoughts:
        """Return the thoughts without their gradients."""
        return thoughts.detach()


class Shuffled(SimCoT):
    """SIM-CoT with each problem's steps in random order."""

    def targets(self, problems: Problems, stage: int, chance: Generator) -> Targets:
        """Give a problem's steps to its slots in an order drawn anew."""
        own = super().targets(problems, stage, chance)
        order = torch.rand(own.shape[:2], generator=chance).argsort(1)
        return own.gather(1, order.to(own.device)[..., None].expand_as(own))


class Foreign(SimCoT):
    """SIM-CoT with another problem's steps."""

    def targets(
        self, problems: Problems, stage: int, chance: Generator | None
    ) -> Targets:
        """Give each problem the steps of the one before it in the batch."""
        return super().targets(problems, stage, chance).roll(1, 0)


# ------------------------------------------------------------------------------ CODI


class Codi(Thinker):
    """CODI (Shen et al. 2025): the model is its own teacher, who writes the steps.

    A perceptron and a norm stand between a state and the thought.
    """

    def __init__(self, model: GPT, words: Vocabulary, most: int, thoughts: int = 4):
        super().__init__(model, words, most, thoughts)
        width = model.positions.shape[1]
        first = nn.Linear(width, width)
        second = nn.Linear(width, width)
        norm = nn.LayerNorm(width)
        nn.init.constant_(norm.weight, self.project.length / width**0.5)
        self.project = nn.Sequential(first, nn.GELU(), second, norm)

    def answer_loss(
        self, problems: Problems, stage: int
    ) -> tuple[Float[Tensor, ""], Thoughts]:
        """Return the losses of student and teacher and of their distance, and the
        student's thoughts.

        The teacher's text is without the last step; with it, the teacher's state would
        give the answer away.
        """
        cache, word = self.read(problems)
        thoughts, thought = self.think(cache, word, self.thoughts)
        mark = self.mark("</thought>", word)
        teaching = problems.text(last=False)
        with recorded(self.model) as student:
            loss = self.text_loss(thought, mark, problems.answer)
        with recorded(self.model) as teacher:
            loss = loss + self.text_loss(cache, word, teaching)
        at = problems.answer == self.words["<answer>"]
        taught_at = teaching == self.words["<answer>"]
        return loss + distillation_loss(student, teacher, at, taught_at), thoughts


class CodiSim(SimCoT, Codi):
    """CODI with SIM-CoT's decoder; empty slots say nothing, as released."""

    empty = "nothing"
    per_token = True


def distillation_loss(
    student: Sequence[Float[Tensor, "n tokens width"]],
    teacher: Sequence[Float[Tensor, "n tokens2 width"]],
    at: Bool[Tensor, "n tokens"],
    taught_at: Bool[Tensor, "n tokens2"],
) -> Float[Tensor, ""]:
    """Return CODI's smooth L1 between states of all layers at the token just before the
    answer, averaged over layers.

    The teacher's are detached, and both are divided by the standard deviation of the
    teacher's.

    Args:
        student, teacher: states of each layer, at inputs that are one behind the texts.
        at, taught_at: where each text has that token.
    """
    losses = []
    for one, other in zip(student, teacher, strict=True):
        ours = one[F.pad(at, (1, 0))[:, : one.shape[1]]]
        theirs = other[F.pad(taught_at, (1, 0))[:, : other.shape[1]]].detach()
        losses.append(F.smooth_l1_loss(ours / theirs.std(), theirs / theirs.std()))
    return torch.stack(losses).mean()


@contextmanager
def recorded(model: GPT) -> Iterator[list[Float[Tensor, "n tokens width"]]]:
    """Keep what leaves each block while the model is used inside."""
    kept = []

    def keep(_block, _read, out):
        kept.append(out[0])

    handles = [block.register_forward_hook(keep) for block in model.blocks]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()
