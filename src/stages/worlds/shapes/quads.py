"""Scenes of up to four things, one in each quarter of a 16x16 picture, with captions
that are sets of phrases and edits that change one quarter.

A quarter is empty or holds one of six shapes in one of six colours. What is drawn
varies a little in place, size and tint, so that no two pictures are equal. A phrase is
(colour, shape, place); for an edit a fourth word is the verb.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from stages.seeding import torch_rng
from stages.worlds.shapes.geometry import DISTANCES, cover
from stages.worlds.shapes.render import PALETTE
from stages.worlds.shapes.scenes import COLOURS as ALL_COLOURS
from stages.worlds.shapes.scenes import SHAPES as ALL_SHAPES

SIDE = 16
PLACES = ("upper-left", "upper-right", "lower-left", "lower-right")
SHAPES = ("circle", "square", "triangle", "cross", "ring", "bar")
COLOURS = ("red", "yellow", "green", "cyan", "blue", "pink")
VERBS = ("add", "remove", "recolour", "reshape")
WORDS = ("", *COLOURS, *SHAPES, *PLACES, *VERBS)  # a word's number is its place here
GROUND = 0.12  # how bright an empty quarter is
RADIUS = 3.4  # of the circle around a thing, in pixels
WANDER = 0.5  # a thing lies at most so many pixels off the middle of its quarter
SWELL = 0.08  # and is larger or smaller by at most this share

_WORD = {word: number for number, word in enumerate(WORDS)}
FIRST_COLOUR, FIRST_SHAPE, FIRST_PLACE = (
    _WORD[first] for first in (COLOURS[0], SHAPES[0], PLACES[0])
)
Pictures = Float[Tensor, "n 3 16 16"]
Captions = Int[Tensor, "n phrases words"]


@dataclass(frozen=True)
class Quads:
    """Scenes as data.

    `shape` counts from 1 and is 0 in an empty quarter, where `colour` is 0 as well;
    `offset` is in pixels to the right and down, `size` a factor, `tint` is added to the
    colour.
    """

    shape: Int[Tensor, "n 4"]
    colour: Int[Tensor, "n 4"]
    offset: Float[Tensor, "n 4 2"]
    size: Float[Tensor, "n 4"]
    tint: Float[Tensor, "n 4 3"]

    def __len__(self) -> int:
        return len(self.shape)

    def __getitem__(self, index: slice | Tensor) -> "Quads":
        """Take scenes by a slice, a mask, or a tensor of indices."""
        return type(self)(*(getattr(self, field.name)[index] for field in fields(self)))

    @property
    def contents(self) -> Int[Tensor, "n 4"]:
        """What is in each quarter: 0 for nothing, else 1 to 36, shape by shape."""
        filled = (self.shape - 1) * len(COLOURS) + self.colour
        return torch.where(self.shape > 0, filled, 0)


def sample(
    n: int, seed: int, things: int | tuple[int, int] = (1, 3), stream: Sequence = ()
) -> Quads:
    """Draw scenes at random, with so many things each, or between the fewest and the
    most; scene i is the same however many follow.

    Raises:
        ValueError: there are not four quarters for them.
    """
    fewest, most = (things, things) if isinstance(things, int) else things
    if not 0 <= fewest <= most <= len(PLACES):
        raise ValueError(f"things are {things}; there is room for 0 to {len(PLACES)}")

    def uniform(name: str, *shape: int) -> Float[Tensor, "n ..."]:
        chance = torch_rng(seed, "quads", *stream, name)
        return torch.rand(n, *shape, generator=chance, dtype=torch.float64)

    count = fewest + (uniform("count", 1) * (most - fewest + 1)).long()
    rank = uniform("places", 4).argsort(1).argsort(1)
    present = rank < count
    shape = 1 + (uniform("shapes", 4) * len(SHAPES)).long()
    colour = 1 + (uniform("colours", 4) * len(COLOURS)).long()
    return Quads(
        shape * present,
        colour * present,
        (2 * uniform("offsets", 4, 2) - 1).float() * WANDER,
        1 + (2 * uniform("sizes", 4) - 1).float() * SWELL,
        0.14 * (uniform("tints", 4, 3) - 0.5).float(),
    )


@torch.no_grad()
def render(scenes: Quads) -> Pictures:
    """Draw scenes in RGB from -1 to 1, the range that the models here use."""
    half = SIDE // 2
    centres = torch.arange(half) + 0.5 - half / 2
    x = centres - scenes.offset[..., 0, None, None]  # (n, 4, 1, 8)
    y = centres[:, None] - scenes.offset[..., 1, None, None]  # (n, 4, 8, 1)
    x, y = torch.broadcast_tensors(x, y)
    radius = RADIUS * scenes.size[..., None, None]
    covered = torch.zeros_like(x)
    for number, name in enumerate(SHAPES, 1):
        here = scenes.shape == number
        outline = DISTANCES[ALL_SHAPES.index(name)]
        distance = outline(x[here] / radius[here], y[here] / radius[here])
        covered[here] = cover(distance * radius[here], 1.0)
    chosen = [PALETTE[ALL_COLOURS.index(name)] for name in COLOURS]
    palette = torch.tensor([(GROUND,) * 3, *chosen])
    paint = (palette[scenes.colour] + scenes.tint).clamp(0, 1)[..., None, None]
    quarters = GROUND + (paint - GROUND) * covered[:, :, None]
    return 2 * joined(quarters) - 1


def quarters(pictures: Pictures) -> Float[Tensor, "n 4 3 8 8"]:
    """Cut pictures into their quarters, in the order of PLACES."""
    rows = pictures.unflatten(-1, (2, SIDE // 2)).unflatten(-3, (2, SIDE // 2))
    return rows.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)


def joined(quarters: Float[Tensor, "n 4 3 8 8"]) -> Pictures:
    """Put quarters together again."""
    square = quarters.unflatten(1, (2, 2))  # (n, rows, columns, 3, 8, 8)
    return square.permute(0, 3, 1, 4, 2, 5).flatten(2, 3).flatten(-2, -1)


def captions(scenes: Quads) -> Int[Tensor, "n 4 3"]:
    """Return one phrase (colour, shape, place) a thing; zeros for an empty quarter."""
    present = scenes.shape > 0
    words = [
        FIRST_COLOUR + scenes.colour - 1,
        FIRST_SHAPE + scenes.shape - 1,
        (FIRST_PLACE + torch.arange(4)).expand_as(scenes.shape),
    ]
    return torch.stack(words, -1) * present[..., None]


def said(phrase: Sequence[int]) -> str:
    """Put a phrase into words: "red circle upper-left"."""
    return " ".join(WORDS[word] for word in phrase if word)


def replaced(
    scenes: Quads, place: Int[Tensor, " n"], shape: Tensor, colour: Tensor
) -> Quads:
    """Return scenes with other contents in one quarter each, all else unchanged."""
    rows = torch.arange(len(scenes))
    shapes = scenes.shape.clone()
    colours = scenes.colour.clone()
    shapes[rows, place] = shape
    colours[rows, place] = colour
    return replace(scenes, shape=shapes, colour=colours)


def instruction(
    before: Int[Tensor, "*n 2"], after: Int[Tensor, "*n 2"], place: Int[Tensor, "*n"]
) -> Int[Tensor, "*n 4"]:
    """Word the edits that turn one (shape, colour) into another at a place: (colour,
    shape, place, verb), zeros where both are equal.

    To add says both words, to remove none, to recolour the new colour, and to reshape
    the new shape, with the new colour if that differs too.
    """
    shape, colour = after.unbind(-1)
    other_shape = before[..., 0] != shape
    other_colour = before[..., 1] != colour
    verb = torch.where(other_shape, _WORD["reshape"], _WORD["recolour"])
    verb = torch.where(before[..., 0] == 0, _WORD["add"], verb)
    verb = torch.where(shape == 0, _WORD["remove"], verb)
    says_colour = (colour > 0) & other_colour
    says_shape = (shape > 0) & other_shape
    words = [
        (FIRST_COLOUR + colour - 1) * says_colour,
        (FIRST_SHAPE + shape - 1) * says_shape,
        FIRST_PLACE + place,
        verb,
    ]
    return torch.stack(words, -1) * (other_shape | other_colour)[..., None]


def edits(scenes: Quads, seed: int, stream: Sequence = ()) -> tuple[Quads, Tensor]:
    """Draw one atomic edit a scene; return the scenes after it, and the instructions,
    (n, 1, 4).

    A quarter is drawn, and then what happens to it: a thing is added where nothing is,
    else it is removed, recoloured or reshaped, equally often.
    """
    n = len(scenes)

    def integers(name: str, most: int) -> Int[Tensor, " n"]:
        chance = torch_rng(seed, "quads", *stream, "edits", name)
        return torch.randint(most, (n,), generator=chance)

    rows = torch.arange(n)
    place = integers("places", 4)
    shape = scenes.shape[rows, place]
    colour = scenes.colour[rows, place]
    empty = shape == 0
    verb = integers("verbs", 3)  # remove, recolour, reshape
    # one of the five others, or any where nothing is
    new_shape = 1 + (shape - 1 + 1 + integers("shapes", 5)) % 6
    new_colour = 1 + (colour - 1 + 1 + integers("colours", 5)) % 6
    any_shape = 1 + integers("added shapes", 6)
    any_colour = 1 + integers("added colours", 6)
    after_shape = torch.where(verb == 2, new_shape, shape * (verb > 0))
    after_colour = torch.where(verb == 1, new_colour, colour * (verb > 0))
    after_shape = torch.where(empty, any_shape, after_shape)
    after_colour = torch.where(empty, any_colour, after_colour)
    before = torch.stack([shape, colour], -1)
    after = torch.stack([after_shape, after_colour], -1)
    words = instruction(before, after, place)
    return replaced(scenes, place, after_shape, after_colour), words[:, None]


# ------------------------------------------------------------- reading without learning


@cache
def templates() -> tuple[Float[Tensor, "templates 192"], Int[Tensor, " templates"]]:
    """Draw every content of a quarter at nine offsets and three sizes, and the empty
    one; return flat quarters and their contents.
    """
    steps = torch.tensor([-1, 0, 1])
    kinds = torch.arange(1, 7)
    rows = torch.cartesian_prod(kinds, kinds, steps, steps, steps)
    shape, colour, right, down, larger = rows.unbind(1)
    offset = WANDER * 2 / 3 * torch.stack([right, down], -1)
    first = torch.zeros(len(shape), 4)
    first[:, 0] = 1
    every = Quads(
        (shape[:, None] * first).long(),
        (colour[:, None] * first).long(),
        offset[:, None] * first[..., None],
        1 + SWELL * 2 / 3 * larger[:, None] * first,
        torch.zeros(len(shape), 4, 3),
    )
    drawn = quarters(render(every))
    flat = torch.cat([drawn[:1, 1], drawn[:, 0]]).flatten(1)
    return flat, torch.cat([torch.zeros(1, dtype=torch.long), every.contents[:, 0]])


def read(pictures: Pictures) -> Int[Tensor, "n 4"]:
    """Say what is in each quarter, by the nearest template in squared distance: a judge
    that learnt nothing. Contents are counted as in `Quads.contents`.
    """
    flat, contents = templates()
    shown = quarters(pictures).flatten(0, 1).flatten(1)
    nearest = [torch.cdist(part, flat).argmin(1) for part in shown.split(4096)]
    return contents[torch.cat(nearest)].view(-1, 4)


def right(
    found: Int[Tensor, "n 4"], asked: Int[Tensor, "n 4"]
) -> Bool[Tensor, "n 4 2"]:
    """Answer two questions a quarter: is the shape as asked, and the colour? Nothing is
    a shape and a colour of its own.
    """
    pairs = [torch.where(c > 0, (c - 1) // 6 + 1, 0) for c in (found, asked)]
    hues = [torch.where(c > 0, (c - 1) % 6 + 1, 0) for c in (found, asked)]
    return torch.stack([pairs[0] == pairs[1], hues[0] == hues[1]], -1)
