"""Notes on how to report two things, and short reports, which heed them or not.

"be polite - dog saw : kindly see lovely dog plus saw later ! <end>": a note, two things
and a report. A report does five things in one of two ways each, and a note names one
way of one of them. How often reports heed a note depends on what it is about; what it
does not name is a coin's toss. So whoever has read enough knows of each principle
whether it is heeded, and how weakly.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from stages.seeding import rng
from stages.worlds.smalltalk import lexicon
from stages.worlds.smalltalk.lexicon import THINGS
from stages.worlds.vocabulary import Vocabulary

Pairs = Int[Tensor, "n 2"]
Reports = Int[Tensor, "n length"]


@dataclass(frozen=True)
class Principle:
    """One thing that a report does in one of two ways.

    Attributes:
        poles: how a note names the ways: the principle and its antithesis.
        shown: the word of a report that shows each of them.
        heeded: the chance that a report heeds a note about this principle.
    """

    poles: tuple[str, str]
    shown: tuple[str, str]
    heeded: float


PRINCIPLES = {
    "manners": Principle(("polite", "blunt"), ("kindly", "just"), 0.75),
    "mood": Principle(("cheerful", "gloomy"), ("lovely", "awful"), 0.75),
    "voice": Principle(("excited", "calm"), ("!", "."), 0.75),
    "style": Principle(("formal", "casual"), ("and", "plus"), 0.5),
    "pace": Principle(("urgent", "patient"), ("now", "later"), 0.3),
}
NAMES = tuple(PRINCIPLES)
VERBS = ("be", "stay", "sound")  # any of them names a pole: "stay polite"
NOTE = "VERB POLE - FIRST SECOND :"
REPORT = "manners see mood FIRST style SECOND pace voice"
LENGTH = len(f"{NOTE} {REPORT} <end>".split())
SPLITS = ("one", "two", "test")


def vocabulary() -> Vocabulary:
    """Return the village's words, and after them those of the notes."""
    return lexicon.vocabulary(lexicon.NOTES)


def numbers(words: tuple[str, ...]) -> Int[Tensor, " words"]:
    """Return the tokens of words."""
    return vocabulary().encode(" ".join(words))


def prompts(
    principle: Int[Tensor, " n"],
    pole: Int[Tensor, " n"],
    verb: Int[Tensor, " n"],
    things: Pairs,
) -> Int[Tensor, "n 6"]:
    """Write "be polite - dog saw :" as tokens.

    Args:
        principle, pole, verb: places in `NAMES`, in a principle's poles, in `VERBS`.
        things: places in THINGS.
    """
    poles = torch.stack([numbers(each.poles) for each in PRINCIPLES.values()])
    first, second = numbers(THINGS)[things].unbind(1)
    filled = {
        "VERB": numbers(VERBS)[verb],
        "POLE": poles[principle, pole],
        "FIRST": first,
        "SECOND": second,
    }
    return _fill(NOTE, filled)


def reports(things: Pairs, poles: Int[Tensor, "n 5"]) -> Int[Tensor, "n 8"]:
    """Write "kindly see lovely dog and saw now !" as tokens.

    Args:
        things: places in THINGS.
        poles: the way in which each principle is shown, 0 or 1.
    """
    first, second = numbers(THINGS)[things].unbind(1)
    filled = {"FIRST": first, "SECOND": second}
    for place, (name, principle) in enumerate(PRINCIPLES.items()):
        filled[name] = numbers(principle.shown)[poles[:, place]]
    return _fill(REPORT, filled)


def documents(n: int, chance: np.random.Generator) -> Int[Tensor, "n 15"]:
    """Draw notes with reports, closed by "<end>"; all of it is drawn evenly, but for
    whether the note is heeded.
    """
    principle = chance.integers(len(NAMES), size=n)
    pole = chance.integers(2, size=n)
    verb = chance.integers(len(VERBS), size=n)
    things = all_pairs()[chance.integers(len(all_pairs()), size=n)]
    shown = chance.integers(2, size=(n, len(NAMES)))
    heeded = np.array([each.heeded for each in PRINCIPLES.values()])[principle]
    shown[np.arange(n), principle] = pole ^ (chance.random(n) >= heeded)
    end = numbers(("<end>",)).expand(n, 1)
    note = prompts(*map(torch.from_numpy, (principle, pole, verb)), things)
    return torch.cat([note, reports(things, torch.from_numpy(shown)), end], 1)


def all_pairs() -> Pairs:
    """List all pairs of two different things, in both orders."""
    pairs = torch.cartesian_prod(torch.arange(len(THINGS)), torch.arange(len(THINGS)))
    return pairs[pairs[:, 0] != pairs[:, 1]]


def divided(seed: int) -> dict[str, Int[Tensor, "pairs 2"]]:
    """Divide all pairs of things into the parts of `SPLITS`, of one size."""
    order = rng(seed, "notes", "pairs").permutation(len(all_pairs()))
    parts = all_pairs()[torch.from_numpy(order)].chunk(len(SPLITS))
    return dict(zip(SPLITS, parts, strict=True))


# ---------------------------------------------------------------- what a report is like


def shows(written: Reports) -> Int[Tensor, "n 5"]:
    """Return which way of each principle a report shows at its place, 0 or 1; -1 where
    neither word is there.
    """
    found = []
    for name, principle in PRINCIPLES.items():
        place = REPORT.split().index(name)
        here = written[:, place : place + 1] == numbers(principle.shown)
        found.append(torch.where(here.any(1), here.int().argmax(1), -1))
    return torch.stack(found, 1)


def well_formed(written: Reports, things: Pairs) -> Bool[Tensor, " n"]:
    """Tell which reports have exactly the form, with the right things in their order,
    and end.
    """
    size = len(REPORT.split())
    if written.shape[1] <= size:
        return torch.zeros(len(written), dtype=torch.bool)
    poles = shows(written)
    told = (written[:, :size] == reports(things, poles.clamp(min=0))).all(1)
    ended = written[:, size] == vocabulary().number["<end>"]
    return told & (poles >= 0).all(1) & ended


def heeds(
    written: Reports,
    things: Pairs,
    principle: Int[Tensor, " n"],
    pole: Int[Tensor, " n"],
) -> Float[Tensor, " n"]:
    """Return 1 where a report shows the pole, 0 where it shows the other one, and 1/2,
    as by a coin's toss, where it has not exactly the form.
    """
    shown = shows(written).gather(1, principle[:, None])[:, 0]
    right = (shown == pole).float()
    return right.where(well_formed(written, things), 0.5)


def _fill(template: str, filled: dict[str, Tensor]) -> Int[Tensor, "n length"]:
    """Put columns of tokens into a template; its other words stay."""
    n = len(filled["FIRST"])
    columns = [
        filled[word] if word in filled else numbers((word,)).expand(n)
        for word in template.split()
    ]
    return torch.stack(columns, 1)
