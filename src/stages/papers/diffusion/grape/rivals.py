"""What GraPE is compared with: other plans, other eyes, and more pictures to choose
from.
"""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stages.papers.diffusion.grape.method import (
    Contents,
    Edit,
    Look,
    Pictures,
    Trace,
    lengths,
)
from stages.worlds.shapes import quads

KINDS = 1 + len(quads.SHAPES) * len(quads.COLOURS)  # of contents of a quarter


def compound(trace: Trace, edit: Edit) -> Trace:
    """Give the editor a whole plan at once, as the phrases of one instruction."""
    length = lengths(trace.edits)
    rows = torch.nonzero(length).squeeze(1)
    stages = [trace.start]
    if len(rows):
        changed = edit(0, rows, trace.edits[rows], trace.start[rows])
        stages.append(trace.start.index_copy(0, rows, changed))
    return replace(trace, stages=stages, drawn=trace.drawn + (length > 0))


def shuffled(trace: Trace) -> Trace:
    """Give each prompt the plan of the prompt before it."""
    return replace(trace, edits=trace.edits.roll(1, 0))


def best_of(
    candidates: Float[Tensor, "attempts n 3 16 16"],
    wrong: Int[Tensor, "attempts n"],
    allowed: Int[Tensor, " n"],
) -> Pictures:
    """Choose for each prompt, among as many of its candidates as it is allowed, the one
    with the fewest mistakes; of several, the first.
    """
    attempts, prompts = wrong.shape
    number = torch.arange(attempts)[:, None]
    order = wrong * attempts + number  # no two alike
    order = order.masked_fill(number >= allowed, torch.iinfo(order.dtype).max)
    return candidates[order.argmin(0), torch.arange(prompts)]


# --------------------------------------------------------------------------- other eyes


def from_kinds(kinds: Int[Tensor, "n 4"]) -> Contents:
    """Take contents counted as in `quads.Quads.contents` apart."""
    shape = torch.where(kinds > 0, (kinds - 1) // len(quads.COLOURS) + 1, 0)
    colour = torch.where(kinds > 0, (kinds - 1) % len(quads.COLOURS) + 1, 0)
    return Contents(shape, colour)


def as_judge(pictures: Pictures) -> Contents:
    """Look as the judge does."""
    return from_kinds(quads.read(pictures))


def mistaken(look: Look, rate: float, chance: torch.Generator) -> Look:
    """Return eyes that see something else in a quarter with probability `rate`, each
    other thing, or nothing, equally likely.
    """

    def see(pictures: Pictures) -> Contents:
        shape, colour = look(pictures)
        kinds = torch.where(shape > 0, (shape - 1) * len(quads.COLOURS) + colour, 0)
        flipped = torch.rand(kinds.shape, generator=chance) < rate
        moved = 1 + torch.randint(KINDS - 1, kinds.shape, generator=chance)
        return from_kinds(torch.where(flipped, (kinds + moved) % KINDS, kinds))

    return see
