"""Characters of alphabets that nobody knows: as many classes as wanted, a handful of
examples of each.

A character is two to four strokes, each a quadratic Bezier curve between nodes of a 3x3
lattice. The characters of one alphabet share how many strokes they take, how curved
these are, and how often a stroke begins where the last one ended. Every time a
character is written, its points, slant, size and place and the pen's width differ a
little.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from stages.seeding import rng, torch_rng

STROKES = 4  # at most
PIECES = 8  # straight pieces that stand for one curve
DISTANCES_AT_ONCE = 2**21


@dataclass(frozen=True)
class Characters:
    """Classes as data: each stroke's start, bend and end in the unit square (y down),
    and which strokes there are.
    """

    points: Float[Tensor, "classes strokes 3 2"]
    drawn: Bool[Tensor, "classes strokes"]
    alphabet: Int[Tensor, " classes"]

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: slice | Tensor) -> "Characters":
        """Take some of the classes."""
        return type(self)(self.points[index], self.drawn[index], self.alphabet[index])


def characters(alphabets: Sequence[int], each: int = 8, seed: int = 0) -> Characters:
    """Invent `each` characters of every alphabet; a character is the same whatever else
    is asked for.

    Args:
        alphabets: their numbers, from 0 up without end; disjoint numbers give disjoint
            classes.
        each: how many characters of each alphabet.
        seed: another seed is another world of alphabets.

    Raises:
        ValueError: nothing asked for.
    """
    if not alphabets or each < 1:
        raise ValueError(
            f"asked for {each} characters of {len(alphabets)} alphabets; ask for 1 or"
            " more of each"
        )
    made = [
        _character(seed, alphabet, i) for alphabet in alphabets for i in range(each)
    ]
    points, drawn = (
        torch.from_numpy(np.stack(part)) for part in zip(*made, strict=True)
    )
    return Characters(
        points, drawn, torch.tensor(list(alphabets)).repeat_interleave(each)
    )


def write(
    classes: Characters,
    labels: Int[Tensor, " n"],
    seed: int,
    side: int = 20,
    *,
    unsteady: float = 1.0,
    stream: Sequence[str | int] = (),
    device: str | torch.device = "cpu",
) -> Float[Tensor, "n 1 side side"]:
    """Write one character for every label: ink 1 on paper 0, anti-aliased; image i is
    the same however many follow.

    Args:
        classes: the characters that labels count.
        labels: which character to write.
        seed: with `stream`, decides every hand movement.
        side: of the square picture, in pixels.
        unsteady: factor of all variation, 0 for none; at 1, points shift with a
            deviation of 0.05 sides, rotation is within 18 degrees, scale 0.82 to 1.18,
            place within 1/11 of the side, the pen 1/20 to 1/10 of it wide; at 1.5, a
            small convolutional network still errs on one new character in five (5 ways,
            5 shots).
        stream: names added to the seed's stream of chance; give training and test
            images their own.
        device: where the images are drawn.

    Raises:
        ValueError: a label that no class has.
    """
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
        raise ValueError(
            f"labels go from {labels.min()} to {labels.max()}; there are {len(classes)}"
            " classes"
        )

    def even(name: str, *shape: int) -> Float[Tensor, "n ..."]:
        draws = torch.rand(
            len(labels),
            *shape,
            generator=torch_rng(seed, "glyphs", *stream, name),
            dtype=torch.float64,
        )
        return unsteady * (2 * draws - 1)

    shifts = even("points", 4, STROKES, 3, 2).sum(1) * (
        0.05 * math.sqrt(3 / 4)
    )  # four even draws are nearly normal
    angle, (wide, high), slant = (
        even("rotation") * math.radians(18),
        even("scale", 2).T * 0.18,
        even("slant") * 0.25,
    )
    sine, cosine = angle.sin(), angle.cos()
    turn = torch.stack(
        [torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2
    )
    shape = torch.stack(
        [torch.stack([1 + wide, slant], -1), torch.stack([0 * high, 1 + high], -1)], -2
    )
    points = (classes.points[labels.cpu()] - 0.5 + shifts).flatten(1, 2) @ (
        turn @ shape
    ).mT
    points = (
        (points + 0.5 + even("place", 1, 2) / 11).unflatten(1, (STROKES, 3)).float()
    )
    pen = (
        (3 + even("pen") / max(unsteady, 1)) / 40
    ).float()  # however unsteady the hand, the pen keeps its range
    return _ink(
        points.to(device), classes.drawn[labels.cpu()].to(device), pen.to(device), side
    )


def _character(seed: int, alphabet: int, index: int) -> tuple[np.ndarray, np.ndarray]:
    manner = rng(seed, "alphabet", alphabet)
    strokes, curvature, joined = (
        manner.integers(2, STROKES + 1),
        manner.uniform(0.1, 0.5),
        manner.uniform(0.3, 0.9),
    )
    chance = rng(seed, "alphabet", alphabet, "character", index)
    count = int(np.clip(strokes + chance.choice([-1, 0, 0, 1]), 2, STROKES))
    points, end = np.zeros((STROKES, 3, 2), np.float32), None
    lattice = np.stack(np.divmod(np.arange(9), 3), -1)
    for i in range(count):
        start = (
            end if end is not None and chance.random() < joined else chance.integers(9)
        )
        others = [node for node in range(9) if node != start]
        end = chance.choice(others)
        a, b = (0.2 + 0.3 * lattice[node] for node in (start, end))
        across = np.array([a[1] - b[1], b[0] - a[0]])
        bend = (a + b) / 2 + curvature * chance.choice([-1, 1]) * chance.uniform(
            0.5, 1.5
        ) * across
        points[i] = a, bend, b
    return points, np.arange(STROKES) < count


def _ink(
    points: Float[Tensor, "n strokes 3 2"],
    drawn: Bool[Tensor, "n strokes"],
    pen: Float[Tensor, " n"],
    side: int,
) -> Float[Tensor, "n 1 side side"]:
    """Cover pixels within half a pen's width of a curve."""
    time = torch.linspace(0, 1, PIECES + 1, device=points.device)
    curve = curves(points, time)
    centres = (torch.arange(side, device=points.device) + 0.5) / side
    pixels = torch.stack(
        [centres[None].expand(side, side), centres[:, None].expand(side, side)], -1
    ).view(-1, 2)
    step, pages = max(1, DISTANCES_AT_ONCE // (STROKES * PIECES * len(pixels))), []
    for i in range(0, max(len(points), 1), step):
        part = slice(i, i + step)
        distance = nearest(curve[part], drawn[part], pixels) - pen[part, None] / 2
        pages.append((0.5 - distance * side).clamp(0, 1).view(-1, 1, side, side))
    return torch.cat(pages)


def curves(
    points: Float[Tensor, "n strokes 3 2"], time: Float[Tensor, " nodes"]
) -> Float[Tensor, "n strokes nodes 2"]:
    """Return where the pen is on each quadratic Bezier curve at these times, 0 to 1."""
    bernstein = torch.stack([(1 - time) ** 2, 2 * time * (1 - time), time**2], -1)
    return torch.einsum("tk,nskc->nstc", bernstein, points)


def nearest(
    curve: Float[Tensor, "n strokes nodes 2"],
    drawn: Bool[Tensor, "n strokes"],
    places: Float[Tensor, "places 2"],
) -> Float[Tensor, "n places"]:
    """Return the distance from each place to the nearest curve that is drawn."""
    squared = _squared_distance(curve, places)
    squared = squared.masked_fill(~drawn[:, :, None, None], torch.inf)
    return squared.amin((1, 2)).sqrt()


def _squared_distance(
    curve: Float[Tensor, "n strokes nodes 2"], pixels: Float[Tensor, "pixels 2"]
) -> Float[Tensor, "n strokes pieces pixels"]:
    """From each pixel to each straight piece of each curve."""
    start, run = curve[:, :, :-1], curve.diff(dim=2)
    x, y = (pixels[:, i] - start[..., i, None] for i in (0, 1))
    run_x, run_y = (run[..., i, None] for i in (0, 1))
    along = ((x * run_x + y * run_y) / (run_x**2 + run_y**2 + 1e-12)).clamp(0, 1)
    return (x - along * run_x) ** 2 + (y - along * run_y) ** 2
