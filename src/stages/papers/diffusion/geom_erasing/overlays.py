"""What is laid over pictures without a word in their captions, and who finds it in
training pictures.

A *watermark* is one fixed glyph, half transparent, in one of nine places; a *qr* is a
random black and white block anywhere. Both are 5 pixels wide and independent of what
the picture shows. Boxes are (left, top, right, bottom), the last pixels included.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from stages.seeding import torch_rng
from stages.worlds.shapes.quads import SIDE, Pictures

Boxes = Int[Tensor, "n 4"]
CONCEPTS = ("watermark", "qr")
SIZE = 5  # of an overlay, in pixels
OPACITY = 0.6  # of the watermark
STEPS = torch.tensor([0, 5, 11])  # where a watermark begins, across and down
GLYPH = torch.tensor(
    [
        [1, 0, 0, 0, 1],
        [1, 0, 0, 0, 1],
        [1, 0, 1, 0, 1],
        [1, 1, 0, 1, 1],
        [1, 0, 0, 0, 1],
    ]
).float()


@dataclass(frozen=True)
class Marked:
    """Pictures, some with an overlay: which of them, and in which box (zeros where
    there is none).
    """

    pictures: Pictures
    present: Bool[Tensor, " n"]
    boxes: Boxes


def boxed(corners: Int[Tensor, "n 2"]) -> Boxes:
    """Return the boxes of overlays that begin at (left, top)."""
    return torch.cat([corners, corners + SIZE - 1], 1)


def pasted(
    pictures: Pictures, corners: Int[Tensor, "n 2"], paint: Tensor, opacity: Tensor
) -> Pictures:
    """Lay a square of paint, (n, 5, 5), over each picture, as opaque as (n, 5, 5)."""
    offsets = torch.arange(SIZE)
    rows = (corners[:, 1, None] + offsets)[:, :, None]
    columns = (corners[:, 0, None] + offsets)[:, None, :]
    each = torch.arange(len(pictures))[:, None, None]
    made = pictures.clone().permute(0, 2, 3, 1)
    under = made[each, rows, columns]
    cover = opacity[..., None]
    made[each, rows, columns] = (1 - cover) * under + cover * paint[..., None]
    return made.permute(0, 3, 1, 2).contiguous()


def overlaid(
    pictures: Pictures, concept: str, chance: torch.Generator
) -> tuple[Pictures, Boxes]:
    """Lay one overlay of a concept over every picture; return the pictures and boxes.

    Raises:
        ValueError: there is no such concept.
    """
    n = len(pictures)
    if concept == "watermark":
        corners = STEPS[torch.randint(len(STEPS), (n, 2), generator=chance)]
        paint = torch.ones(n, SIZE, SIZE)
        opacity = OPACITY * GLYPH.expand(n, -1, -1)
    elif concept == "qr":
        corners = torch.randint(SIDE - SIZE + 1, (n, 2), generator=chance)
        paint = torch.randint(2, (n, SIZE, SIZE), generator=chance) * 2.0 - 1
        opacity = torch.ones(n, SIZE, SIZE)
    else:
        raise ValueError(f"no overlay {concept!r}; there are {', '.join(CONCEPTS)}")
    return pasted(pictures, corners, paint, opacity), boxed(corners)


def contaminated(pictures: Pictures, concept: str, share: float, seed: int) -> Marked:
    """Lay an overlay over a share of pictures, each by chance."""
    marked, boxes = overlaid(pictures, concept, torch_rng(seed, "overlays", concept))
    level = torch.rand(len(pictures), generator=torch_rng(seed, "overlays", "which"))
    present = level < share
    return Marked(
        torch.where(present[:, None, None, None], marked, pictures),
        present,
        boxes * present[:, None],
    )


# ------------------------------------------------ the detector of training pictures


def detected(
    marked: Marked, recall: float, false: float, seed: int
) -> tuple[Bool[Tensor, " n"], Boxes]:
    """Detect overlays as a noisy oracle; return which pictures are flagged, and boxes.

    It finds the share `recall` of overlays, in boxes whose four edges are each off by
    -1, 0 or 1 pixel, and the share `false` of clean pictures, in boxes at random.
    """
    n = len(marked.pictures)
    chance = torch_rng(seed, "detections")
    level = torch.rand(n, generator=chance)
    found = level < torch.where(marked.present, recall, false)
    anywhere = torch.randint(SIDE - SIZE + 1, (n, 2), generator=chance)
    boxes = torch.where(marked.present[:, None], marked.boxes, boxed(anywhere))
    off = torch.randint(-1, 2, (n, 4), generator=chance)
    boxes = (boxes + off).clamp(0, SIDE - 1)
    return found, boxes * found[:, None]


def overlap(first: Boxes, second: Boxes) -> Float[Tensor, " n"]:
    """Return the intersection of boxes over their union."""
    low = torch.maximum(first[:, :2], second[:, :2])
    high = torch.minimum(first[:, 2:], second[:, 2:])
    both = (high - low + 1).clamp(min=0).prod(1)
    areas = [(box[:, 2:] - box[:, :2] + 1).prod(1) for box in (first, second)]
    return both / (areas[0] + areas[1] - both)
