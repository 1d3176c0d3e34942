"""Signs: forty characters cut out of card, in all the styles of `shapes`.

A class is a character of `glyphs`, written with a thick pen and drawn as the body of an
object: its colour, size, place and rotation, the ground and the style say nothing about
it. The forty are far apart in ink, so that no two share a part as two shapes of one
texture do.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from stages.worlds import glyphs, shapes
from stages.worlds.shapes import Scenes

COUNT = 40
ALPHABETS = range(100, 120)  # the candidates; other experiments take lower numbers
EACH = 8
PEN = 0.15  # half of the pen's width, in radii
REACH = 1.6  # how far from its centre a sign's distances are known, in radii
CELLS = 128  # of the table of distances, along a side
SIZE = (0.30, 0.44)  # radius, as a fraction of the picture's side
TURN = 0.35  # greatest rotation either way, in radians: 20 degrees
POOLED = 4  # pixels that are compared as one when the signs are chosen


@cache
def characters() -> glyphs.Characters:
    """Choose the forty among the candidates: each next one is the farthest, in blurred
    ink, from those that are chosen already.
    """
    candidates = glyphs.characters(ALPHABETS, EACH)
    labels = torch.arange(len(candidates))
    ink = glyphs.write(candidates, labels, seed=0, unsteady=0.0)
    blurred = F.avg_pool2d(ink.double(), POOLED).flatten(1)
    apart = (blurred[:, None] - blurred).norm(dim=-1)
    chosen = [0]
    while len(chosen) < COUNT:
        nearest = apart[:, chosen].amin(1)
        chosen.append(int(nearest.argmax()))
    return candidates[torch.tensor(chosen)]


def sample(
    labels: Int[Tensor, " n"],
    seed: int,
    *,
    style: shapes.Choice = "photo",
    turn: float = TURN,
    stream: Sequence[str | int] = (),
) -> Scenes:
    """Draw a scene with one sign for every label; scene i is the same however many
    follow it. The scenes' `shape` is the number of the sign.

    Args:
        labels: the signs, from 0 to 39.
        seed: with `stream`, decides all but the signs.
        style: as of `shapes.sample`.
        turn: greatest rotation either way, in radians.

    Raises:
        ValueError: a label that no sign has.
    """
    if len(labels) and not 0 <= labels.min() <= labels.max() < COUNT:
        raise ValueError(
            f"labels go from {labels.min()} to {labels.max()}; signs from 0 to"
            f" {COUNT - 1}"
        )
    scenes = shapes.sample(
        len(labels),
        seed,
        texture="plain",
        style=style,
        size=SIZE,
        rotation=(-turn, turn),
        stream=("signs", *stream),
    )
    return replace(scenes, shape=labels.cpu()[:, None])


def render(scenes: Scenes, side: int = 32) -> Float[Tensor, "n 3 side side"]:
    """Draw scenes of signs, in RGB from 0 to 1."""
    return shapes.render(scenes, side, outlines=distances)


def distances(
    scenes: Scenes, u: Tensor, v: Tensor
) -> Float[Tensor, "n objects side side"]:
    """Return the signed distance from each pixel to each sign's outline; absent signs
    are far away.

    Args:
        u, v: every pixel's coordinates along the sign's axes, from its centre, as
            fractions of the picture.
    """
    out = torch.full_like(u, 9.0)
    tables = _tables().to(u.device)
    for sign in range(COUNT):
        here = (scenes.shape == sign) & scenes.present
        if here.any():
            size = scenes.size[here][:, None, None]
            places = torch.stack([u[here], v[here]], -1) / (size[..., None] * REACH)
            found = F.grid_sample(
                tables[sign][None, None],
                places.flatten(0, 1)[None],
                padding_mode="border",
                align_corners=True,
            )
            out[here] = found.view(u[here].shape) * size
    return out


@cache
def _tables() -> Float[Tensor, "signs cells cells"]:
    """Return the distance to each sign's outline in radii, on a grid within REACH.

    A sign is scaled so that its strokes just stay within the unit circle.
    """
    chosen = characters()
    time = torch.linspace(0, 1, glyphs.PIECES + 1)
    curves = glyphs.curves(chosen.points, time)
    shown = chosen.drawn[..., None, None]
    low = curves.masked_fill(~shown, torch.inf).amin((1, 2))
    high = curves.masked_fill(~shown, -torch.inf).amax((1, 2))
    curves = curves - ((low + high) / 2)[:, None, None]
    radius = curves.norm(dim=-1).masked_fill(~shown[..., 0], 0).amax((1, 2))
    curves = curves * ((1 - PEN) / radius)[:, None, None, None]
    line = torch.linspace(-REACH, REACH, CELLS)
    cells = torch.cartesian_prod(line, line).flip(-1)  # x runs along a row
    nearest = glyphs.nearest(curves, chosen.drawn, cells)
    return (nearest - PEN).view(COUNT, CELLS, CELLS)
