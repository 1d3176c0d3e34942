"""Prose about the plain chains of `stages.worlds.chains`, and a judge of how they are
solved.

A text tells what somebody has and what is done to it, asks, and answers in words, "what
has mia ? mia has 5 ." It shows no scratch pad and none of its marks: how to work in
steps is for post-training to teach. `check` reads such written work, step by step.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from stages.seeding import rng
from stages.worlds import chains
from stages.worlds.chains import PEOPLE, SIGNS, SPELLED, Chains
from stages.worlds.vocabulary import PAD, Vocabulary, join

WORLD = {"modulus": 7, "largest": 6, "plain": True, "distractors": 0}
SENTENCE, ASK, STEP = 5, 4, 7  # tokens of a sentence, of a question, of a written step
DRILLS, BETWEEN, MOST = 0.25, 0.1, 4


def vocabulary() -> Vocabulary:
    """Return the words of prose and scratch pad."""
    return chains.vocabulary(WORLD["modulus"], WORLD["plain"])


def sample(
    n: int, seed: int, steps: int | tuple[int, int], stream: Sequence[str | int] = ()
) -> Chains:
    """Draw plain problems modulo 7 about one person; see `chains.sample`."""
    return chains.sample(n, seed, steps=steps, stream=stream, **WORLD)


# ----------------------------------------------------------------------------- the text


def told(problems: Chains, between: Bool[Tensor, " n"]) -> Int[Tensor, "n length"]:
    """Tell problems with their answers, as tokens with the pads on the right.

    Args:
        between: whose values after each change but the last are told, too: "mia has 3
            first . mia adds two more . mia has 5 ."
    """
    values = problems.values[:, : problems.operand.shape[1] + 1]
    sentences = problems.question[:, :-ASK].unflatten(1, (-1, SENTENCE))
    asked = problems.question[:, -ASK:]
    last = sentences.shape[1] - 1
    step = torch.arange(last + 1) - (last - problems.steps[:, None])
    inner = (step >= 1) & (step < problems.steps[:, None]) & between[:, None]
    value = values.gather(1, step.clamp(min=0))
    said = _has(asked[:, -2, None], value) * inner[..., None]
    story = torch.cat([sentences, said], 2).flatten(1)
    return join(story, asked, _has(asked[:, -2], problems.answer))


def prose(
    texts: int, seed: int, stream: Sequence[str | int] = ()
) -> Int[Tensor, " tokens"]:
    """Write texts one after the other, in a random order.

    A quarter are drills of one change; the others take one to four, and a tenth of
    these tell the values between.
    """
    drills = round(DRILLS * texts)
    short = sample(drills, seed, 1, ("prose", "drills", *stream))
    long = sample(texts - drills, seed, (1, MOST), ("prose", "chains", *stream))
    chance = rng(seed, "chain prose", *stream)
    between = torch.from_numpy(chance.random(len(long)) < BETWEEN)
    silent = torch.zeros(len(short), dtype=torch.bool)
    rows = [told(short, silent), told(long, between)]
    width = max(row.shape[1] for row in rows)
    rows = torch.cat(
        [torch.nn.functional.pad(r, (0, width - r.shape[1])) for r in rows]
    )
    rows = rows[torch.from_numpy(chance.permutation(len(rows)))]
    return rows[rows != PAD]


def _has(
    name: Int[Tensor, "*shape"], value: Int[Tensor, "*shape"]
) -> Int[Tensor, "*shape 4"]:
    """Tell what somebody has: "mia has 5 ."."""
    has, stop = vocabulary().encode("has .")
    columns = torch.broadcast_tensors(name, has, value + 1, stop)
    return torch.stack(columns, -1)
