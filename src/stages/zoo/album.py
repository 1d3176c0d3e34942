"""A small CLIP that has seen an album of captioned pictures (`stages.worlds.album`),
in which most styles are rare. `vision_language` papers start from here.
"""

from dataclasses import dataclass

import torch

from stages.models.clip import (
    CLIP,
    ConvTower,
    TextTower,
    accuracy_by_class,
    zero_shot,
)
from stages.seeding import torch_rng
from stages.training.contrastive import learn_pairs
from stages.worlds import album, captions
from stages.zoo.recipe import Recipe


@dataclass(frozen=True)
class Pairs:
    """A network, and what it learns from.

    Attributes:
        strides: of the image tower.
        pictures: with captions.
        updates, batch, rate: of training.
        tests: pictures of each task.
    """

    strides: tuple[int, ...] = (1, 2, 2, 2)
    pictures: int = 32_000
    updates: int = 1_400
    batch: int = 256
    rate: float = 3e-3
    tests: int = 1_200


def build(settings: Pairs) -> CLIP:
    """Make a network, from torch's own stream."""
    words = len(captions.vocabulary())
    return CLIP(ConvTower(album.SIDE, strides=settings.strides), TextTower(words))


def train(model: CLIP, settings: Pairs, seed: int) -> None:
    """Let it tell the pairs of an album from one another."""
    device = model.log_scale.device
    scenes = album.scenes(settings.pictures, seed, stream=("train",))
    images = album.render(scenes).to(device)
    texts = captions.captions(scenes, seed, stream=("train",)).to(device)
    rows = torch.randint(
        settings.pictures,
        (settings.updates, settings.batch),
        generator=torch_rng(seed, "album", "batches"),
    )
    learn_pairs(model, images, texts, rows.to(device), settings.rate)


def measure(model: CLIP, settings: Pairs, seed: int) -> dict[str, float]:
    """Measure how many pictures of each task are named rightly by words alone, in %."""
    found = {}
    for task in album.TASKS:
        images, labels = task.draw(settings.tests, seed, "measured")
        logits = zero_shot(model, images, task.prompts)
        accuracy = accuracy_by_class(logits, labels).mean().item()
        found[f"{task.name} in {task.style} style"] = accuracy
    return found


RECIPE = Recipe(
    "tiny_clip",
    "a CLIP of 0.2 M parameters that has seen small pictures with captions",
    "32,000 pictures of one large or one to four small things, nine in ten in photo or"
    " flat style, the rest in five rarer ones, with captions",
    Pairs(),
    build,
    train,
    measure,
)
