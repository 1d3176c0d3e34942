"""Geom-Erasing: name what the captions keep silent about, and say where it is.

Liu, Chen, Zhang, Han, Hong, Xu, Li, Yeung and Kwok, "Implicit Concept Removal of
Diffusion Models", ECCV 2024, arXiv 2310.05873. A detector finds an unwanted concept in
training pictures. Its name and the cells that it covers are written into their
captions, as new words; the loss there counts less. A sampler is then told, as a
negative prompt, what to stay away from.

A caption is a set of phrases of three words, as in `stages.worlds.shapes.quads`; the
name is a phrase, and so is every cell. Equations are numbered as on the page.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from stages.models.unet import UNet
from stages.seeding import torch_rng
from stages.training import cosine, diffusion, fit, optimiser
from stages.worlds.shapes.quads import SIDE, WORDS, Captions, Pictures
from stages.zoo.quads import sampling_times, training_times

GRID = 4  # cells a side
CELLS = GRID * GRID
BIN = SIDE // GRID  # pixels a side of a cell
NAME = len(WORDS)  # the word for the concept; then follow the words for the cells
FIRST_CELL = NAME + 1
FRESH = 0.1  # how large new embeddings are, beside the usual ones
Flags = Bool[Tensor, "n 4 4"]  # which cells, row by row
How = Literal["nothing", "name", "cells"]  # what a caption or prompt is told

# ---------------------------------------------------------- geometry, written as words


def covered(boxes: Int[Tensor, "n 4"]) -> Flags:
    """Return the cells that boxes (left, top, right, bottom) reach into (eq. 1)."""
    low, high = boxes[:, :2] // BIN, boxes[:, 2:] // BIN  # eq. 1
    cells = torch.arange(GRID)
    across = (cells >= low[:, :1]) & (cells <= high[:, :1])
    down = (cells >= low[:, 1:]) & (cells <= high[:, 1:])
    return down[:, :, None] & across[:, None, :]


def named(n: int) -> Int[Tensor, "n 1 3"]:
    """Return the concept's name as a phrase."""
    return torch.tensor([[[NAME, 0, 0]]]).expand(n, -1, -1)


def located(cells: Flags) -> Int[Tensor, "n 16 3"]:
    """Return one phrase a cell, in the order of rows; zeros for cells not flagged."""
    words = (FIRST_CELL + torch.arange(CELLS)) * cells.flatten(1)
    return torch.stack([words, 0 * words, 0 * words], -1)


def written(
    captions: Captions,
    found: Bool[Tensor, " n"],
    cells: Flags,
    how: How,
) -> Int[Tensor, "n phrases 3"]:
    """Add to the captions of flagged pictures nothing, the concept's name, or its name
    and all covered cells (eq. 2). Other captions stay as they are.
    """
    flagged = found[:, None, None]
    name = named(len(captions)) * (flagged & (how != "nothing"))
    places = located(cells) * (flagged & (how == "cells"))
    return torch.cat([captions, name, places], 1)  # eq. 2


# ----------------------------------------------------------------- a loss by the cells


def cell_weights(cells: Flags, alpha: float) -> Float[Tensor, "n 4 4"]:
    """Return the weight of each cell's loss: 1 inside the concept for `alpha` outside,
    scaled so that they sum to the number of cells (eq. 3).
    """
    inside = cells.float()
    total = inside.sum((1, 2), keepdim=True)  # K
    relative = inside + alpha * (1 - inside)
    return relative * CELLS / (total + alpha * (CELLS - total))  # eq. 3


def pixel_weights(weights: Float[Tensor, "n 4 4"]) -> Float[Tensor, "n 1 16 16"]:
    """Give every pixel the weight of its cell."""
    return weights.repeat_interleave(BIN, 1).repeat_interleave(BIN, 2)[:, None]


# ---------------------------------------------------------------------------- learning


@dataclass(frozen=True)
class Recipe:
    """How a base model is fine-tuned.

    Attributes:
        dropped: the share of captions left out as a whole, new words and all.
    """

    updates: int = 400
    batch: int = 32
    lr: float = 1e-3
    warmup: int = 20
    dropped: float = 0.1


@dataclass(frozen=True)
class Lessons:
    """A training set: pictures, what is said of them, and what each pixel counts."""

    pictures: Pictures
    captions: Int[Tensor, "n phrases 3"]
    weights: Float[Tensor, "n 1 16 16"]

    def __len__(self) -> int:
        return len(self.pictures)


def extended(base: UNet, seed: int) -> UNet:
    """Copy a model and give it the new words: a name and the cells."""
    old = base.captions.embedding.weight.detach()
    model = UNet(len(WORDS) + 1 + CELLS, unit=base.captions.unit)
    state = base.state_dict()
    fresh = torch.randn(1 + CELLS, old.shape[1], generator=torch_rng(seed, "new words"))
    state["captions.embedding.weight"] = torch.cat([old, FRESH * fresh])
    model.load_state_dict(state)
    return model


def fine_tune(base: UNet, lessons: Lessons, recipe: Recipe, seed: int) -> UNet:
    """Fine-tune a copy of the base model, all of it, on the weighted velocity loss
    (eq. 4).
    """
    model = extended(base, seed)
    chance = torch_rng(seed, "fine-tuning")
    adam = optimiser(model.parameters(), "adamw", recipe.lr)

    def loss(step: int) -> Tensor:
        place = torch.rand(recipe.batch, generator=chance)
        kept = torch.rand(recipe.batch, generator=chance) >= recipe.dropped
        times = training_times(recipe.batch, chance)
        noise = torch.randn(recipe.batch, 3, SIDE, SIDE, generator=chance)
        rows = (place * len(lessons)).long()
        read = model.captions(lessons.captions[rows] * kept[:, None, None])
        errors = diffusion.velocity_loss(
            lambda x, t: model.after(x, t, read), lessons.pictures[rows], times, noise
        )
        return (lessons.weights[rows] * errors).mean()  # eq. 4

    fit(
        loss,
        recipe.updates,
        adam,
        schedule=cosine(recipe.updates, recipe.warmup),
        clip=1.0,
    )
    return model.eval().requires_grad_(False)


# ---------------------------------------------------------------------------- sampling


def negative(n: int, how: How) -> Int[Tensor, "n phrases 3"]:
    """Return negative prompts: empty, the concept's name, or its name and all cells."""
    everywhere = torch.ones(n, GRID, GRID, dtype=torch.bool)
    found = torch.ones(n, dtype=torch.bool)
    nobody = torch.zeros(n, 1, 3, dtype=torch.long)
    return written(nobody, found, everywhere, how)


def drawn(
    model: nn.Module,
    prompts: Int[Tensor, "n phrases 3"],
    away: Int[Tensor, "n others 3"],
    noise: Pictures,
    scale: float,
    steps: int,
) -> Pictures:
    """Draw pictures after prompts, guided away from negative prompts (eq. 5)."""
    positive = model.captions(prompts)
    other = model.captions(away)
    network = diffusion.guided(
        lambda x, t: model.after(x, t, positive),
        lambda x, t: model.after(x, t, other),
        scale,
    )  # eq. 5
    return diffusion.euler(network, noise, sampling_times(steps)).clamp(-1, 1)
