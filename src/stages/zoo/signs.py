"""The base model that names signs and their colours: what the prompts of the continual
papers adapt.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from stages.models import ViT
from stages.progress import bar
from stages.seeding import rng, torch_rng
from stages.training import cosine, fit, optimiser
from stages.worlds import signs
from stages.worlds.shapes import COLOURS, STYLES, Scenes
from stages.zoo.recipe import Recipe
from stages.zoo.scenes import AT_ONCE, parts

RENDITIONS = ("sketch", "neon", "noisy", "negative", "faint")


@dataclass(frozen=True)
class SignsSettings:
    """A transformer on photo-style scenes of one sign: its sizes and its training.

    `stylised` is how far half of the images may lean towards another style, from 0 to
    1, as photographs on the web lie among drawings.
    """

    patch: int = 8
    width: int = 64
    depth: int = 4
    heads: int = 4
    images: int = 40_000
    test_images: int = 2_000
    stylised: float = 0.5
    steps: int = 6_000
    batch: int = 64
    lr: float = 2e-3
    decay: float = 0.05
    warmup: int = 200


def build(settings: SignsSettings) -> ViT:
    """Make the transformer, with a convolution stem, one logit a sign and one a
    colour.
    """
    return ViT(
        image_size=32,
        patch=settings.patch,
        width=settings.width,
        depth=settings.depth,
        heads=settings.heads,
        classes=signs.COUNT + len(COLOURS),
        stem="convolution",
    )


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
        for i, part in enumerate(parts(scenes, AT_ONCE))
    ]
    images = torch.cat(drawn).to(device)
    labels = scenes.shape[:, 0].to(device)
    colours = scenes.colour[:, 0].to(device)
    rows = torch.randint(
        len(images),
        (settings.steps, settings.batch),
        generator=torch_rng(seed, "zoo", "batches"),
    ).to(device)
    adam = optimiser(
        model.parameters(),
        "adamw",
        settings.lr,
        weight_decay=settings.decay,
        betas=(0.9, 0.99),
    )

    def loss(step: int) -> Tensor:
        chosen = rows[step]
        sign, colour = heads(model(images[chosen].float()))
        named = F.cross_entropy(sign, labels[chosen])
        return named + F.cross_entropy(colour, colours[chosen])

    fit(
        loss,
        bar(range(settings.steps), desc="training"),
        adam,
        schedule=cosine(settings.steps, settings.warmup),
        clip=1.0,
    )


def heads(
    logits: Float[Tensor, "n outputs"],
) -> tuple[Float[Tensor, "n signs"], Float[Tensor, "n colours"]]:
    """Split the network's logits into those of the sign and those of its colour."""
    return logits.split([signs.COUNT, len(COLOURS)], 1)


def measure(model: ViT, settings: SignsSettings, seed: int) -> dict[str, float]:
    """Measure the accuracy on new scenes, in per cent: of signs in every style, and of
    colours in photographs.
    """
    found = {}
    for style in STYLES:
        scenes = draw(settings.test_images, seed, "test", style)
        images = signs.render(scenes).to(model.positions.device)
        logits = torch.cat([model(part).cpu() for part in images.split(500)])
        sign, colour = (part.argmax(1) for part in heads(logits))
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
    SignsSettings(),
    build,
    train,
    measure,
)
