"""How scenes become pictures: objects are painted from the farthest to the nearest,
then the whole is finished.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from stages.worlds.shapes.geometry import (
    bands,
    chunks,
    cover,
    distances,
    grid,
    local,
    tones,
    uniform,
)
from stages.worlds.shapes.scenes import STYLES, Scenes

PALETTE = (
    *((0.90, 0.13, 0.16), (1.00, 0.53, 0.08), (0.98, 0.88, 0.20), (0.16, 0.70, 0.27)),
    *((0.15, 0.82, 0.85), (0.16, 0.30, 0.95), (0.58, 0.24, 0.85), (1.00, 0.52, 0.76)),
)
HEAT = (
    (0.02, 0.0, 0.15),
    (0.5, 0.0, 0.55),
    (0.95, 0.3, 0.15),
    (1.0, 0.8, 0.2),
    (1.0, 1.0, 0.9),
)
LIGHT = (0.30, 0.59, 0.11)  # how bright red, green and blue look
Picture = Float[Tensor, "n 3 side side"]
Layer = Float[Tensor, "n 1 side side"]
Outlines = Callable[[Scenes, Tensor, Tensor], Tensor]


@torch.no_grad()
def render(scenes: Scenes, side: int = 32, outlines: Outlines = distances) -> Picture:
    """Draw scenes on their device, in RGB from 0 to 1: thousands a second on one core
    at 32x32.

    A scene's picture depends on the scene alone, its noise included; how scenes are
    batched changes nothing.

    Args:
        outlines: gives the signed distance of every pixel to every object, as
            `distances` does for SHAPES; another one draws other bodies.
    """
    parts = chunks(scenes, side)
    return torch.cat([_styled(part, side, outlines) for part in parts])


def _styled(scenes: Scenes, side: int, outlines: Outlines) -> Picture:
    order = scenes.depth.argsort(1, descending=True)
    u, v = local(scenes, side)
    layers = torch.stack([outlines(scenes, u, v), tones(scenes, u, v)], 2)
    out = torch.empty(len(scenes), 3, side, side, device=u.device)
    for i, style in enumerate(STYLES):
        here = scenes.style == i
        if here.any():
            out[here] = _finish(
                style,
                _paint(style, scenes[here], layers[here], order[here]),
                scenes.seed[here],
            )
    return out


def _paint(
    style: str,
    scenes: Scenes,
    layers: Float[Tensor, "n objects 2 side side"],
    order: Tensor,
) -> Picture:
    brush = {"photo": _solid_lit, "sketch": _pencil, "neon": _tube}.get(style, _solid)
    canvas, rows = (
        _ground(style, scenes, layers.shape[-1]),
        torch.arange(len(scenes), device=order.device),
    )
    for objects in order.unbind(1):  # one object of every scene
        distance, tone = layers[rows, objects].split(1, 1)
        tone = tone * _cover(
            distance + 0.02
        )  # a plain rim, so that a dark tone does not eat the outline
        canvas = brush(
            canvas,
            distance,
            tone,
            _colour(scenes, rows, objects),
            _shine(scenes, rows, objects, distance),
        )
    return canvas


def _colour(scenes: Scenes, rows: Tensor, objects: Tensor) -> Float[Tensor, "n 3 1 1"]:
    """A palette's colour, a little off."""
    palette = torch.tensor(PALETTE, device=rows.device)
    off = uniform(scenes.seed + (objects << 16), 3, stream=2) - 0.5
    return (palette[scenes.colour[rows, objects]] + 0.14 * off).clamp(0, 1)[
        ..., None, None
    ]


def _shine(scenes: Scenes, rows: Tensor, objects: Tensor, distance: Layer) -> Layer:
    """Light from the upper left on something like a cushion, from -1 to 1."""
    x, y = grid(distance.shape[-1], rows.device)
    place, size = (
        scenes.position[rows, objects].T[..., None, None],
        scenes.size[rows, objects][:, None, None],
    )
    return (
        (-(x - place[0]) - 1.4 * (y - place[1])).div(1.72 * size).clamp(-1, 1)[:, None]
    )


def _ground(style: str, scenes: Scenes, side: int) -> Picture:
    """The background: a pattern between two muted tints, all dark or all light; faint
    on paper and in the dark.
    """
    pattern = _pattern(scenes, side)
    draws = uniform(scenes.seed, 8, stream=3)
    light = torch.where(
        draws[:, :1] < 0.5, 0.14 + 0.2 * draws[:, 1:2], 0.72 + 0.2 * draws[:, 1:2]
    )
    tints = light + 0.22 * light.clamp(min=0.35) * (draws[:, 2:5] - 0.5) * 2
    step = 0.16 * torch.where(light < 0.5, 1, -1)
    if style == "sketch":
        return (0.97 - 0.1 * pattern).expand(-1, 3, -1, -1)
    if style == "neon":
        return 0.02 + 0.14 * pattern * tints[..., None, None]
    return (tints[..., None, None] + step[..., None, None] * pattern).clamp(0, 1)


def _pattern(scenes: Scenes, side: int) -> Layer:
    x, y = grid(side, scenes.seed.device)
    draws = uniform(scenes.seed, 27, stream=4)
    angle, shift = (draws[:, i, None, None] for i in (0, 1))
    u = (x - 0.5) * torch.cos(6.2832 * angle) + (y - 0.5) * torch.sin(6.2832 * angle)
    cloud = F.interpolate(
        draws[:, None, 2:].unflatten(-1, (5, 5)),
        size=(side, side),
        mode="bilinear",
        align_corners=True,
    )
    kinds = torch.stack(
        [
            torch.zeros_like(u),
            (0.5 + 0.8 * u).clamp(0, 1),
            cloud[:, 0],
            cover(bands(u + shift, 0.22), 1 / side),
        ]
    )
    return kinds[scenes.background, torch.arange(len(scenes), device=u.device)][:, None]


def _solid(
    canvas: Picture, distance: Layer, tone: Layer, colour: Tensor, shine: Layer
) -> Picture:
    return torch.lerp(canvas, colour * (1 - 0.72 * tone), _cover(distance))


def _solid_lit(
    canvas: Picture, distance: Layer, tone: Layer, colour: Tensor, shine: Layer
) -> Picture:
    """Lit from the upper left, with a soft shadow around."""
    canvas = canvas * (1 - 0.5 * torch.exp(-distance.relu() / 0.035))
    return torch.lerp(
        canvas,
        (colour * (1 - 0.72 * tone) * (0.85 + 0.3 * shine)).clamp(0, 1),
        _cover(distance),
    )


def _pencil(
    canvas: Picture, distance: Layer, tone: Layer, colour: Tensor, shine: Layer
) -> Picture:
    """An outline and grey hatching on paper, no colour."""
    canvas = torch.lerp(canvas, 0.97 - 0.5 * tone, _cover(distance))
    return canvas * (1 - 0.85 * _cover(distance.abs() - 0.02))


def _tube(
    canvas: Picture, distance: Layer, tone: Layer, colour: Tensor, shine: Layer
) -> Picture:
    """A glowing outline around a dark body."""
    canvas = torch.lerp(canvas, colour * (0.1 + 0.4 * tone), _cover(distance))
    glow = torch.exp(-distance.abs() / 0.03)
    return canvas + (1 - canvas) * (0.25 + 0.75 * colour) * glow


def _cover(distance: Layer) -> Layer:
    return cover(distance, 1 / distance.shape[-1])


def _finish(style: str, picture: Picture, seed: Tensor) -> Picture:
    if style == "photo":
        return (
            torch.lerp(picture, _blur(picture), 0.6) + 0.08 * _noise(picture, seed)
        ).clamp(0, 1)
    if style == "noisy":
        return (picture + 0.6 * _noise(picture, seed)).clamp(0, 1)
    if style == "negative":
        return 1 - picture
    if style == "faint":
        return 0.6 + 0.28 * (picture - 0.5)
    if style == "thermal":
        return _heat(picture)
    return picture.clamp(0, 1)


def _noise(picture: Picture, seed: Tensor) -> Picture:
    """Even noise between -1/2 and 1/2, another for every pixel and channel."""
    return uniform(seed, picture[0].numel(), stream=5).view_as(picture) - 0.5


def _blur(picture: Picture) -> Picture:
    """Smooth with weights 1, 2, 1 along both axes."""
    padded = F.pad(picture, (1, 1, 1, 1), mode="replicate")
    rows = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    return (rows[..., :-2, :] + 2 * rows[..., 1:-1, :] + rows[..., 2:, :]) / 16


def _heat(picture: Picture) -> Picture:
    """Brightness as a thermal camera shows it."""
    stops = torch.tensor(HEAT, device=picture.device)
    place = torch.einsum(
        "nchw,c->nhw", picture, torch.tensor(LIGHT, device=picture.device)
    ) * (len(stops) - 1)
    low = place.long().clamp(max=len(stops) - 2)
    return torch.lerp(stops[low], stops[low + 1], (place - low)[..., None]).permute(
        0, 3, 1, 2
    )
