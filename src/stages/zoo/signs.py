"""The base model that names signs and their colours: what the prompts of the continual
papers adapt.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from stages.models import ViT
from stages.seeding import rng, torch_rng
from stages.worlds import signs
from stages.worlds.shapes import COLOURS, STYLES, Scenes
from stages.zoo.recipe import Recipe
from stages.zoo.vision import VisionSettings, descend, parts, transformer

RENDITIONS = ("sketch", "neon", "noisy", "negative", "faint")


@dataclass(frozen=True)
class SignsSettings(VisionSettings):
    """A transformer on photo-style scenes of one sign.

    `stylised` is how far half of the images may lean towards another style, from 0 to
    1, as photographs on the web lie among drawings.
    """

    stylised: float = 0.5


def build(settings: SignsSettings) -> ViT:
    """Make the transformer, with one logit a sign and one a colour."""
    return transformer(settings, signs.COUNT + len(COLOURS))


def draw(n: int, seed: int, stream: str, style: str = "photo") -> Scenes:
    """Draw scenes, as many of each sign."""
    labels = torch.arange(n) % signs.COUNT
    return signs.sample(labels, seed, style=style, stream=("zoo", stream))


def photograph(
    scenes: Scenes, stylised: float, seed: int
) -> Float[Tensor, "n 3 32 32"]:
    """Render the scenes, half of them leaning towards another style by up to
    `stylised`.
    """
    chance = rng(seed, "zoo", "renditions")
    chosen = torch.from_numpy(chance.integers(len(RENDITIONS), size=len(scenes)))
    half = torch.from_numpy(chance.random(len(scenes)) < 0.5)
    share = half * stylised * torch.from_numpy(chance.random(len(scenes)))
    vocabulary = torch.tensor([STYLES.index(style) for style in RENDITIONS])
    other = signs.render(replace(scenes, style=vocabulary[chosen]))
    return signs.render(scenes).lerp(other, share.float()[:, None, None, None])


def train(model: ViT, settings: SignsSettings, seed: int) -> None:
    """Train on a pool of scenes, with one softmax for the sign and one for its colour.

    Who must tell the colour keeps it in the feature, where the classes of a stream have
    to be told apart in spite of it.
    """
    device = model.positions.device
    scenes = draw(settings.images, seed, "train")
    drawn = [
        photograph(part, settings.stylised, seed + i).half()
        for i, part in enumerate(parts(scenes))
    ]
    images = torch.cat(drawn).to(device)
    labels = scenes.shape[:, 0].to(device)
    colours = scenes.colour[:, 0].to(device)
    rows = torch.randint(
        len(images),
        (settings.steps, settings.batch),
        generator=torch_rng(seed, "zoo", "batches"),
    ).to(device)

    def loss(step: int) -> Tensor:
        chosen = rows[step]
        sign, colour = heads(model(images[chosen].float()))
        signs_lost = F.cross_entropy(sign, labels[chosen])
        return signs_lost + F.cross_entropy(colour, colours[chosen])

    descend(model, settings, loss)


def heads(
    logits: Float[Tensor, "n outputs"],
) -> tuple[Float[Tensor, "n signs"], Float[Tensor, "n colours"]]:
    """Split the network's logits into those of the sign and those of its colour."""
    return logits.split([signs.COUNT, len(COLOURS)], 1)


def named(model: ViT, scenes: Scenes) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
    """Return the sign and the colour that the network names for each scene."""
    images = signs.render(scenes.to(model.positions.device))
    logits = torch.cat([model(part).cpu() for part in images.split(500)])
    sign, colour = heads(logits)
    return sign.argmax(1), colour.argmax(1)


def measure(model: ViT, settings: SignsSettings, seed: int) -> dict[str, float]:
    """Measure the accuracy on new scenes, in per cent: of signs in every style, and of
    colours in photographs.
    """
    found = {}
    for style in STYLES:
        scenes = draw(settings.test_images, seed, "test", style)
        sign, colour = named(model, scenes)
        right = sign == scenes.shape[:, 0]
        found[f"{style} accuracy"] = 100 * right.float().mean().item()
        if style == "photo":
            right = colour == scenes.colour[:, 0]
            found["colour accuracy"] = 100 * right.float().mean().item()
    return found


VIT_SIGNS = Recipe(
    "vit_signs",
    "a transformer of 17 tokens, 4 blocks and width 64 that names one of forty signs"
    " and its colour",
    "40,000 photo-style scenes of one sign, half of them a little stylised",
    SignsSettings(patch=8, images=40_000, steps=6_000),
    build,
    train,
    measure,
)
