"""Where things are: signed distances of shapes and textures, masks, boxes. Negative is
inside.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from stages.worlds.shapes.scenes import SHAPES, TEXTURES, Scenes

Distance = Callable[[Tensor, Tensor], Tensor]
PIXELS_AT_ONCE = (
    2**19
)  # of all objects' layers together: what fits a processor's cache, and far below 1 GB


def _box(x: Tensor, y: Tensor, width: float, height: float) -> Tensor:
    x, y = x.abs() - width, y.abs() - height
    return torch.hypot(x.relu(), y.relu()) + torch.maximum(x, y).clamp(max=0)


def _star(x: Tensor, y: Tensor, points: int, inner: float) -> Tensor:
    """A star with its tips at radius 1 and its notches at `inner`; at cos(pi / points)
    it is a regular polygon.
    """
    half = math.pi / points
    angle = (
        torch.remainder(torch.atan2(x, -y) + half, 2 * half) - half
    ).abs()  # from the nearest tip's axis
    radius = torch.hypot(x, y)
    across, along = (
        inner * math.sin(half),
        1 - inner * math.cos(half),
    )  # the edge runs from the tip to the notch
    return (
        (radius * angle.cos() - 1) * across + radius * angle.sin() * along
    ) / math.hypot(across, along)


def _heart(x: Tensor, y: Tensor, half: float = 0.52) -> Tensor:
    """A square on its corner, with a disc on each of the two upper edges."""
    x, y, lobe = x.abs(), y - 0.08, half / math.sqrt(2)
    square = (x + y.abs()) / math.sqrt(2) - half
    return torch.minimum(square, torch.hypot(x - lobe, y + lobe) - half)


def _arrow(x: Tensor, y: Tensor) -> Tensor:
    head = torch.maximum((x.abs() * 0.95 - (y + 0.95) * 0.8) / math.hypot(0.95, 0.8), y)
    return torch.minimum(head, _box(x, y - 0.4, 0.27, 0.52))


# The shapes in the order of SHAPES, in the unit circle; y points down.
DISTANCES: tuple[Distance, ...] = (
    lambda x, y: torch.hypot(x, y) - 0.86,
    lambda x, y: _box(x, y, 0.7, 0.7),
    partial(_star, points=3, inner=math.cos(math.pi / 3)),
    partial(_star, points=5, inner=0.42),
    lambda x, y: torch.minimum(_box(x, y, 0.95, 0.28), _box(x, y, 0.28, 0.95)),
    lambda x, y: (torch.hypot(x, y) - 0.71).abs() - 0.21,
    _heart,
    lambda x, y: torch.maximum(
        torch.hypot(x, y) - 0.95, 0.75 - torch.hypot(x - 0.45, y)
    ),
    partial(_star, points=6, inner=math.cos(math.pi / 6)),
    _arrow,
    lambda x, y: (x.abs() * 1.8 + y.abs() - 1) / math.hypot(1.8, 1),
    lambda x, y: _box(x, y, 0.3, 0.95),
)


def bands(u: Tensor, period: float = 0.15) -> Tensor:
    """Parallel bands, as wide as the gaps between them."""
    return (torch.remainder(u, period) - period / 2).abs() - period / 4


def _checks(u: Tensor, v: Tensor) -> Tensor:
    a, b = bands(u, 0.165), bands(v, 0.165)
    return torch.maximum(
        torch.minimum(a, b), -torch.maximum(a, b)
    )  # inside one, not both


def _dots(u: Tensor, v: Tensor, period: float = 0.175) -> Tensor:
    u, v = (torch.remainder(w, period) - period / 2 for w in (u, v))
    return torch.hypot(u, v) - 0.3 * period


# The textures whose second tone has an outline, along the object's axes u and v,
# shifted by s and t.
PATTERNS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "striped": lambda u, v, s, t: bands(u + s),
    "dotted": lambda u, v, s, t: _dots(u + s, v + t),
    "checked": lambda u, v, s, t: _checks(u + s, v + t),
    "ringed": lambda u, v, s, t: bands(torch.hypot(u, v) + s),
}


def uniform(
    seed: Int[Tensor, "*batch"], count: int, stream: int
) -> Float[Tensor, "*batch count"]:
    """Draw `count` numbers in [0, 1) for every seed, on any device the same: a hash of
    seed, stream and place.
    """
    places = torch.arange(count, device=seed.device)
    return (
        _hash(_hash(seed + (stream << 24))[..., None] ^ _hash(places))
        .double()
        .mul_(2**-32)
        .float()
    )


def _hash(x: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
    """Scramble 32 bits ("lowbias32" by C. Wellons)."""
    x = x & 0xFFFFFFFF
    x = (x ^ (x >> 16)) * 0x7FEB352D & 0xFFFFFFFF
    x = (x ^ (x >> 15)) * 0x846CA68B & 0xFFFFFFFF
    return x ^ (x >> 16)


def chunks(scenes: Scenes, side: int) -> Iterator[Scenes]:
    """Cut scenes so that memory stays bounded and a processor's cache is used."""
    step = max(1, PIXELS_AT_ONCE // (side * side * scenes.shape.shape[1]))
    return (scenes[i : i + step] for i in range(0, max(len(scenes), 1), step))


def grid(
    side: int, device: torch.device
) -> tuple[Float[Tensor, "1 side"], Float[Tensor, "side 1"]]:
    """Return the x and the y of pixel centres, in [0, 1]."""
    centres = (torch.arange(side, device=device) + 0.5) / side
    return centres[None], centres[:, None]


def local(
    scenes: Scenes, side: int
) -> tuple[Float[Tensor, "n objects side side"], Float[Tensor, "n objects side side"]]:
    """Return every pixel's coordinates along each object's own axes, from its centre,
    as fractions of the picture.
    """
    x, y = grid(side, scenes.size.device)
    x, y = (c - scenes.position[..., i, None, None] for i, c in enumerate((x, y)))
    sine, cosine = (f(scenes.rotation)[..., None, None] for f in (torch.sin, torch.cos))
    return x * cosine + y * sine, y * cosine - x * sine


def distances(
    scenes: Scenes, u: Tensor, v: Tensor
) -> Float[Tensor, "n objects side side"]:
    """Return the signed distance from each pixel to each object's outline; absent
    objects are far away.
    """
    out = torch.full_like(u, 9.0)
    for i in range(len(SHAPES)):
        here = (scenes.shape == i) & scenes.present
        if here.any():
            size = scenes.size[here][:, None, None]
            out[here] = DISTANCES[i](u[here] / size, v[here] / size) * size
    return out


def tones(scenes: Scenes, u: Tensor, v: Tensor) -> Float[Tensor, "n objects side side"]:
    """Return how much of the texture's second tone each pixel has, in [0, 1]."""
    out, pixel = torch.zeros_like(u), 1 / u.shape[-1]
    slots = torch.arange(u.shape[1], device=u.device)
    phase = uniform(scenes.seed[:, None] + (slots << 16), 2, stream=1)
    for i, texture in enumerate(TEXTURES):
        here = (scenes.texture == i) & scenes.present
        if texture == "plain" or not here.any():
            continue
        if texture == "shaded":
            out[here] = (0.5 + 0.6 * u[here] / scenes.size[here][:, None, None]).clamp(
                0, 1
            )
        else:
            out[here] = cover(
                PATTERNS[texture](u[here], v[here], *phase[here].T[..., None, None]),
                pixel,
            )
    return out


def cover(distance: Float[Tensor, "..."], pixel: float) -> Float[Tensor, "..."]:
    """Return how much of a pixel lies inside, near enough: 1/2 where the outline passes
    through its centre.
    """
    return (0.5 - distance / pixel).clamp(0, 1)


@torch.no_grad()
def masks(
    scenes: Scenes, side: int = 32, *, hidden: bool = False
) -> Bool[Tensor, "n objects side side"]:
    """Return which pixels show each object: those whose centre is inside it and inside
    nothing nearer.

    With `hidden`, the parts behind other objects count too.
    """
    parts = []
    for part in chunks(scenes, side):
        inside = distances(part, *local(part, side)) <= 0
        depth = part.depth[..., None, None]
        nearest = depth.masked_fill(~inside, inside.shape[1]).amin(1, keepdim=True)
        parts.append(inside if hidden else inside & (depth == nearest))
    return torch.cat(parts)


def boxes(masks: Bool[Tensor, "n objects side side"]) -> Int[Tensor, "n objects 4"]:
    """Return the tightest box around each mask: left, top, right, bottom in pixels, so
    that a slice of the picture `[top:bottom, left:right]` cuts it out. An empty mask
    has the box 0, 0, 0, 0.
    """
    side, found = masks.shape[-1], masks.flatten(2).any(-1)
    ends = []
    for line in (masks.any(-2).int(), masks.any(-1).int()):  # the columns, the rows
        ends.append((line.argmax(-1), side - line.flip(-1).argmax(-1)))
    (left, right), (top, bottom) = ends
    return torch.stack([left, top, right, bottom], -1) * found[..., None]
