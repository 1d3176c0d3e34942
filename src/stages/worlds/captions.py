"""What pictures of `shapes` are said to show: one vocabulary, and captions as rows of
tokens, thousands at once.

A caption is an opening, then how many things there are, what they are, and in which
style: "here is two things , red star and blue ring in neon style". Each part may be
left out. There are no articles, and a word has one form: "one things".
"""

from collections.abc import Sequence
from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from stages.seeding import torch_rng
from stages.worlds.shapes import COLOURS, SHAPES, STYLES, Scenes
from stages.worlds.vocabulary import PAD, Vocabulary, join

OPENINGS = (
    *("", "a picture of", "this is", "here is"),
    *("look at", "you can see", "an image of", "somebody made"),
)
COUNTS = ("one", "two", "three", "four")
Tokens = Int[Tensor, "n length"]


@cache
def vocabulary() -> Vocabulary:
    """Make the vocabulary of captions."""
    said = (*OPENINGS, "things , and in style", *COUNTS, *COLOURS, *SHAPES, *STYLES)
    return Vocabulary(dict.fromkeys(" ".join(said).split()))


def captions(
    scenes: Scenes,
    seed: int,
    *,
    count: float = 0.5,
    objects: float = 0.8,
    colour: float = 0.7,
    style: float = 0.5,
    stream: Sequence[str | int] = (),
) -> Tokens:
    """Describe scenes; the caption of scene i is the same however many follow it.

    Openings are drawn evenly. Objects are named in the scene's order, by their shape.

    Args:
        scenes: of one to four objects.
        seed: with `stream`, decides the opening and what is left out.
        count, objects, colour, style: how probable it is that a caption tells each.
            One without a count always names the objects; a colour is told with its
            object only.

    Raises:
        ValueError: a scene has more objects than there are words to count them.
    """
    scenes = scenes.to("cpu")
    n, most = scenes.present.shape
    if most > len(COUNTS):
        raise ValueError(f"scenes of up to {most} objects; captions count to four")

    def even(name: str) -> Float[Tensor, " n"]:
        chance = torch_rng(seed, "captions", *stream, name)
        return torch.rand(n, generator=chance, dtype=torch.float64)

    counted = even("count") < count
    named = (even("objects") < objects) | ~counted
    told = named[:, None] & scenes.present
    coloured = told & (even("colour") < colour)[:, None]
    styled = even("style") < style
    opening = rows(vocabulary(), OPENINGS)[(even("opening") * len(OPENINGS)).long()]
    number = _numbers(COUNTS)[scenes.present.sum(1) - 1]
    things = torch.stack([number, _words("things", n)], 1)
    both = counted & named
    return join(
        opening,
        _if(counted, things),
        _if(both, _words(",", n)[:, None]),
        _listed(scenes, told, coloured),
        _if(styled, _styles(scenes)),
    )


def prompts(
    words: Vocabulary,
    names: Sequence[str],
    openings: Sequence[str] = OPENINGS,
    closing: str = "",
) -> Int[Tensor, "templates classes length"]:
    """Write each class's name into each template: an opening, the name, a closing, as
    `stages.models.clip.class_vectors` takes them.

    Args:
        words: the vocabulary, of any world.
        closing: what stands after every name, as in "in neon style".
    """
    texts = [f"{first} {name} {closing}" for first in openings for name in names]
    return rows(words, texts).unflatten(0, (len(openings), len(names)))


def rows(words: Vocabulary, texts: Sequence[str]) -> Tokens:
    """Encode texts as rows, with pads on the right; spaces too many do no harm."""
    nothing = torch.zeros(0, dtype=torch.long)
    encoded = [
        words.encode(" ".join(text.split())) if text else nothing for text in texts
    ]
    return pad_sequence(encoded, batch_first=True, padding_value=PAD)


def _numbers(words: Sequence[str]) -> Int[Tensor, " words"]:
    return torch.tensor([vocabulary().number[word] for word in words])


def _words(word: str, *shape: int) -> Int[Tensor, "..."]:
    return torch.full(shape, vocabulary().number[word])


def _if(told: Bool[Tensor, " n"], part: Tokens) -> Tokens:
    return torch.where(told[:, None], part, PAD)


def _listed(
    scenes: Scenes, told: Bool[Tensor, "n objects"], coloured: Bool[Tensor, "n objects"]
) -> Tokens:
    """Say "red star and blue ring"."""
    first = told.cumsum(1) == 1
    joining = torch.where(told & ~first, _words("and", *told.shape), PAD)
    colours = torch.where(coloured, _numbers(COLOURS)[scenes.colour], PAD)
    shapes = torch.where(told, _numbers(SHAPES)[scenes.shape], PAD)
    return torch.stack([joining, colours, shapes], 2).flatten(1)


def _styles(scenes: Scenes) -> Tokens:
    """Say "in neon style"."""
    n = len(scenes)
    style = _numbers(STYLES)[scenes.style]
    return torch.stack([_words("in", n), style, _words("style", n)], 1)
