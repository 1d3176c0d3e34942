"""A base model that reads characters: a small network of convolutions."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from stages.models import Conv4, cosine_logits
from stages.progress import bar
from stages.seeding import rng, torch_rng
from stages.training import fit, optimiser
from stages.worlds import glyphs
from stages.zoo.recipe import Recipe


@dataclass(frozen=True)
class GlyphSettings:
    """A Conv-4 on characters: which, how many images of each, how unsteady the hand,
    and the training.
    """

    alphabets: int = 8
    characters: int = 8
    images: int = 40
    unsteady: float = 1.5
    steps: int = 800
    batch: int = 64
    lr: float = 2e-3
    novel_alphabets: tuple[int, int] = (
        10**6,
        10**6 + 5,
    )  # from where no experiment will ever take one
    ways: int = 5
    shots: int = 5
    episodes: int = 600


def build(settings: GlyphSettings) -> Conv4:
    """Make the network, one class a character."""
    return Conv4(image_size=20, classes=settings.alphabets * settings.characters)


def write_glyphs(
    settings: GlyphSettings, alphabets: range, images: int, seed: int, stream: str
) -> tuple[Float[Tensor, "n 1 20 20"], Int[Tensor, " n"]]:
    """Write so many images of each character of some alphabets; return them and their
    classes.
    """
    world = glyphs.characters(alphabets, settings.characters)
    labels = torch.arange(len(world)).repeat(images)
    return (
        glyphs.write(
            world, labels, seed, unsteady=settings.unsteady, stream=("zoo", stream)
        ),
        labels,
    )


def train(model: Conv4, settings: GlyphSettings, seed: int) -> None:
    """Train to tell the characters apart."""
    device = model.scale.device
    images, labels = write_glyphs(
        settings, range(settings.alphabets), settings.images, seed, "train"
    )
    images, labels = images.to(device), labels.to(device)
    rows = torch.randint(
        len(labels),
        (settings.steps, settings.batch),
        generator=torch_rng(seed, "zoo", "batches"),
    )
    adam = optimiser(model.parameters(), "adam", settings.lr)

    def loss(step: int) -> Tensor:
        chosen = rows[step].to(device)
        return F.cross_entropy(model(images[chosen]), labels[chosen])

    fit(loss, bar(range(settings.steps), desc="training"), adam)


def measure(model: Conv4, settings: GlyphSettings, seed: int) -> dict[str, float]:
    """Measure accuracy on new images of the characters, and by nearest class mean in
    episodes of novel ones.
    """
    device = model.scale.device
    images, labels = write_glyphs(settings, range(settings.alphabets), 10, seed, "test")
    base = model(images.to(device)).argmax(1).cpu() == labels
    images, labels = write_glyphs(
        settings, range(*settings.novel_alphabets), 20, seed, "novel"
    )
    features = (
        model.features(images.to(device))
        .cpu()
        .view(20, -1, model.prototypes.shape[1])
        .transpose(0, 1)
    )
    chance, right = rng(seed, "zoo", "episodes"), []
    for _ in range(settings.episodes):
        episode = features[
            torch.from_numpy(chance.choice(len(features), settings.ways, replace=False))
        ]
        episode = episode[:, torch.from_numpy(chance.permutation(20))]
        support, query = F.normalize(episode, dim=-1).split(
            [settings.shots, 20 - settings.shots], 1
        )
        guess = cosine_logits(query, support.mean(1)).argmax(-1)
        right.append((guess == torch.arange(settings.ways)[:, None]).float().mean())
    name = f"novel {settings.ways}-way {settings.shots}-shot accuracy"
    return {
        "base accuracy": 100 * base.float().mean().item(),
        name: 100 * torch.stack(right).mean().item(),
    }


GLYPH_CONV4 = Recipe(
    "glyph_conv4",
    "a network of four convolutions that reads the characters of 8 alphabets, left"
    " imperfect on purpose",
    "40 images of each of 64 characters",
    GlyphSettings(),
    build,
    train,
    measure,
)
