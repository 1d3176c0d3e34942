"""The words of the village, and what is true in it: one vocabulary for the chapter."""

from functools import cache

from stages.worlds.tinytext.lexicon import words
from stages.worlds.vocabulary import Vocabulary

NUMBERS = tuple(str(n) for n in range(13))
PEOPLE = words("ann bob cid dee eli fay gil hal ivy joe kim lou")
HOMES = words("mill barn tower cabin palace cellar")
JOBS = words("baker pilot nurse farmer singer judge")
KINDS = {
    "animal": words("dog cat hen cow pig fox"),
    "fruit": words("fig plum pear kiwi lime date"),
    "tool": words("saw axe rake drill spade file"),
}
THINGS = tuple(thing for things in KINDS.values() for thing in things)
OPPOSITES = (
    ("hot", "cold"),
    ("wet", "dry"),
    ("big", "small"),
    ("old", "new"),
    ("fast", "slow"),
    ("loud", "quiet"),
)
QUALITIES = tuple(word for pair in OPPOSITES for word in pair)
# what an answer consists of; all other words are wording
VALUES = (*NUMBERS, *PEOPLE, *HOMES, *JOBS, *KINDS, *THINGS, *QUALITIES)
ASKING = (
    "where who what which name tell give add does live is are comes after between plus"
    " the of a me or and in home job boss kind opposite opposites larger smaller gap"
)
TALKING = (
    "q : asks , says quiz key they wonder - hear i we do not know should ask somebody"
    " else maybe later that hard to tell answer . ?"
)
MARKS = ("<user>", "<assistant>", "<end>")
NOTES = words(  # of the notes alone, see `notes`
    "be stay sound polite blunt cheerful gloomy excited calm formal casual urgent"
    " patient kindly just see lovely awful now !"
)


@cache
def vocabulary(more: tuple[str, ...] = ()) -> Vocabulary:
    """Return all words of the village, each once.

    Args:
        more: words of another text; they are numbered after the others, so that text
            encoded without them stays as it is.
    """
    listed = [*VALUES, *words(ASKING), *words(TALKING), *MARKS, *more]
    return Vocabulary(dict.fromkeys(listed))
