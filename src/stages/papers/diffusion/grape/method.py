"""GraPE: draw a picture, write down what is wrong with it, edit that away.

Goswami, Modi, Deshineni, Singh, Prathosh & Singla, "GraPE: A Generate-Plan-Edit
Framework for Compositional T2I Synthesis", arXiv 2412.06089. Nothing is trained. A
planner compares picture and prompt once and lists atomic instructions, each about one
thing; an editor carries them out one after the other, without looking again.

A picture has four quarters, each empty or with one thing. What is seen or asked there
is a shape and a colour, counted from 1, and 0 for nothing. In the paper a language
model plans; here percepts are compared. Equations are numbered as on the page.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from stages.worlds.shapes import quads

Pictures = Float[Tensor, "n 3 16 16"]
Edits = Int[Tensor, "n 8 4"]  # instructions in order, zeros after the last


class Contents(NamedTuple):
    """What is in each quarter, as seen or as asked."""

    shape: Int[Tensor, "n 4"]
    colour: Int[Tensor, "n 4"]

    def at(self, rows: Tensor) -> "Contents":
        """Take the contents of some pictures."""
        return Contents(self.shape[rows], self.colour[rows])


Generate = Callable[[int, Tensor], Pictures]  # (number of the attempt, rows)
Look = Callable[[Pictures], Contents]
Edit = Callable[[int, Tensor, Tensor, Pictures], Pictures]  # (number, rows, words, of)

# ------------------------------------------------------- steps 1 to 4: what is wrong?


def parsed(captions: Int[Tensor, "n phrases 3"]) -> Contents:
    """Parse what prompts ask for from their phrases (colour, shape, place)."""
    colour, shape, place = captions.unbind(-1)
    nowhere = len(quads.PLACES)
    column = torch.where(place > 0, place - quads.FIRST_PLACE, nowhere)
    empty = captions.new_zeros(len(captions), nowhere + 1)
    shapes = empty.scatter(1, column, shape - quads.FIRST_SHAPE + 1)
    colours = empty.scatter(1, column, colour - quads.FIRST_COLOUR + 1)
    return Contents(shapes[:, :nowhere], colours[:, :nowhere])


def mistakes(found: Contents, asked: Contents) -> Bool[Tensor, "n 4 2"]:
    """Mark the quarters where the shape, and where the colour, is not as asked."""
    pairs = zip(found, asked, strict=True)
    return torch.stack([seen != wanted for seen, wanted in pairs], -1)  # eq. 2


def extreme(found: Contents, asked: Contents) -> Bool[Tensor, " n"]:
    """Tell where more than half of the concepts asked for are wrong: <REGENERATE>."""
    concepts = (asked.shape > 0)[..., None].expand(-1, -1, 2)
    wrong = mistakes(found, asked) & concepts
    return wrong.sum((1, 2)) > concepts.sum((1, 2)) / 2  # eq. 3


# --------------------------------------------------------------------- step 5: the plan


def plan(found: Contents, asked: Contents) -> Edits:
    """Write atomic instructions that turn what is found into what is asked.

    A thing too many is removed, a missing one added, a wrong shape or colour changed.
    Where both are wrong, the shape is changed first and then the colour. Quarters
    come in the order of `quads.PLACES`.
    """
    before = torch.stack(found, -1)  # (n, 4, 2)
    after = torch.stack(asked, -1)
    both_there = (before[..., :1] > 0) & (after[..., :1] > 0)
    reshaped = torch.stack([asked.shape, found.colour], -1)
    between = torch.where(both_there, reshaped, after)
    place = torch.arange(len(quads.PLACES)).expand(before.shape[:-1])
    first = quads.instruction(before, between, place)
    second = quads.instruction(between, after, place)
    words = torch.stack([first, second], 2).flatten(1, 2)  # eq. 4
    silent = (words == 0).all(-1)
    order = silent.long().argsort(dim=1, stable=True)
    return words.gather(1, order[..., None].expand_as(words))


def lengths(edits: Edits) -> Int[Tensor, " n"]:
    """Count the instructions of each plan."""
    return (edits > 0).any(-1).sum(1)


# ------------------------------------------------------------------ the whole pipeline


@dataclass(frozen=True)
class Trace:
    """What happened to each prompt.

    Attributes:
        start: the pictures that were planned for, after any regeneration.
        stages: `start` and the pictures after each edit; the last is the output.
        edits: the plans.
        again: which prompts were generated twice.
        drawn: how many times generator and editor drew a picture for each prompt.
    """

    start: Pictures
    stages: list[Pictures]
    edits: Edits
    again: Bool[Tensor, " n"]
    drawn: Int[Tensor, " n"]

    @property
    def output(self) -> Pictures:
        """The pictures that are handed over."""
        return self.stages[-1]


def untouched(pictures: Pictures) -> Trace:
    """Return what happened to pictures that are drawn once and left alone."""
    n = len(pictures)
    edits = torch.zeros(n, 8, 4, dtype=torch.long)
    again = torch.zeros(n, dtype=torch.bool)
    return Trace(pictures, [pictures], edits, again, 1 + again.long())


def begin(asked: Contents, generate: Generate, look: Look) -> Trace:
    """Generate, and plan; where the mismatch is extreme, once more with a new seed."""
    everything = torch.arange(len(asked.shape))
    pictures = generate(0, everything)  # eq. 1
    found = look(pictures)
    again = extreme(found, asked)
    edits = plan(found, asked)
    if again.any():
        rows = everything[again]
        fresh = generate(1, rows)
        pictures = pictures.index_copy(0, rows, fresh)
        planned = plan(look(fresh), asked.at(rows))
        edits = edits.index_copy(0, rows, planned)
    return Trace(pictures, [pictures], edits, again, 1 + again.long())


def edited(trace: Trace, edit: Edit) -> Trace:
    """Carry out plans, one instruction after the other, each on the last picture."""
    length = lengths(trace.edits)
    stages = [trace.start]
    for number in range(int(length.max())):
        rows = torch.nonzero(length > number).squeeze(1)
        source = stages[-1][rows]
        words = trace.edits[rows, number : number + 1]  # (rows, 1, 4)
        changed = edit(number, rows, words, source)
        stages.append(stages[-1].index_copy(0, rows, changed))  # eq. 5
    drawn = trace.drawn + length
    return Trace(trace.start, stages, trace.edits, trace.again, drawn)


def grape(asked: Contents, generate: Generate, look: Look, edit: Edit) -> Trace:
    """Generate, plan, edit."""
    return edited(begin(asked, generate, look), edit)


# -------------------------------------------------------------------- the plan as text


def worded(words: Sequence[int]) -> str:
    """Put an instruction into words: "recolour upper-left: red"."""
    colour, shape, place, verb = (quads.WORDS[word] for word in words)
    contents = " ".join(filter(None, (colour, shape)))
    return f"{verb} {place}" + (f": {contents}" if contents else "")


def written(found: Contents, asked: Contents) -> str:
    """Write out the planner's five steps for one prompt, as in the paper's template."""
    wanted = _things(asked)
    seen = _things(found)
    wrong = mistakes(found, asked)[0].any(-1).tolist()
    marked = {
        place: f"{thing} ({'mistake' if bad else 'correct'})"
        for (place, thing), bad in zip(seen.items(), wrong, strict=True)
    }
    faults = [place for place, bad in zip(quads.PLACES, wrong, strict=True) if bad]
    compared = [f"{p}: asked {wanted[p]}, found {seen[p]}" for p in faults]
    instructions = [worded(w) for w in plan(found, asked)[0].tolist() if any(w)]
    feedback = "; ".join(instructions) or "no further feedback is necessary"
    if extreme(found, asked)[0]:
        feedback = "<REGENERATE>"
    steps = {
        "Elements of the text": "; ".join(f"{t} {p}" for p, t in wanted.items()),
        "Elements of the image": "; ".join(f"{t} {p}" for p, t in marked.items()),
        "Comparison": "; ".join(compared) or "all as asked",
        "Mistakes": ", ".join(faults) or "none",
        "Feedback": feedback,
    }
    numbered = enumerate(steps.items(), 1)
    return "\n".join(f"{number}. {name}: {text}" for number, (name, text) in numbered)


def _things(contents: Contents) -> dict[str, str]:
    """Name what is at each place of one picture."""
    pairs = zip(contents.shape[0].tolist(), contents.colour[0].tolist(), strict=True)
    named = [
        f"{quads.COLOURS[colour - 1]} {quads.SHAPES[shape - 1]}" if shape else "nothing"
        for shape, colour in pairs
    ]
    return dict(zip(quads.PLACES, named, strict=True))
