"""Base models that see: transformers on scenes of shapes, and a small network on
characters.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from sklearn.metrics import average_precision_score
from torch import Tensor
from torch.nn import functional as F

from stages.models import Conv4, ViT, cosine_logits
from stages.progress import bar
from stages.seeding import rng, torch_rng
from stages.training import cosine, fit, optimiser
from stages.worlds import glyphs, shapes
from stages.worlds.shapes import COLOURS, SHAPES, STYLES, TEXTURES, Classes, Scenes
from stages.zoo.recipe import Recipe

# --------------------------------------------------------------- transformers on shapes


RENDITIONS = (
    "sketch",
    "neon",
    "noisy",
    "negative",
    "faint",
)  # what photo-style pictures may be blended with


@dataclass(frozen=True)
class ShapesSettings:
    """A transformer on photo-style scenes: its sizes, what scenes hold, and the
    training.

    `stylised` is how far half of the pictures may lean towards another style, from 0 to
    1, as photographs on the web lie among drawings.
    """

    patch: int
    shapes: tuple[str, ...]
    textures: tuple[str, ...]
    colours: tuple[str, ...]
    objects: tuple[int, int]
    size: tuple[float, float]
    placements: int
    steps: int
    batch: int = 64
    lr: float = 2e-3
    decay: float = 0.05
    warmup: int = 200
    images: int = 50_000
    test_images: int = 2_000
    width: int = 64
    depth: int = 4
    heads: int = 4
    stylised: float = 0.0

    @property
    def answers(self) -> dict[str, Classes]:
        """What the heads answer for, by name: the object's class and colour, or the
        shapes and colours of several.
        """
        colour = Classes.product(colour=self.colours)
        if self.objects == (1, 1):
            return {
                "class": Classes.product(shape=self.shapes, texture=self.textures),
                "colour": colour,
            }
        return {"shape": Classes.product(shape=self.shapes), "colour": colour}

    @property
    def outputs(self) -> list[int]:
        """How many logits each head has."""
        return [len(classes) for classes in self.answers.values()]


def draw(settings: ShapesSettings, n: int, seed: int, stream: str) -> Scenes:
    """Draw the scenes of a recipe."""
    return shapes.sample(
        n,
        seed,
        objects=settings.objects,
        shape=settings.shapes,
        texture=settings.textures,
        colour=settings.colours,
        size=settings.size,
        placements=settings.placements,
        stream=("zoo", stream),
    )


def photograph(
    settings: ShapesSettings, scenes: Scenes, seed: int
) -> Float[Tensor, "n 3 32 32"]:
    """Render the scenes, half of them leaning towards another style by up to
    `settings.stylised`.
    """
    pictures = shapes.render(scenes)
    if not settings.stylised:
        return pictures
    chance = rng(seed, "zoo", "renditions")
    chosen = torch.from_numpy(chance.integers(len(RENDITIONS), size=len(scenes)))
    vocabulary = torch.tensor([STYLES.index(style) for style in RENDITIONS])
    share = (
        settings.stylised
        * chance.random(len(scenes))
        * (chance.random(len(scenes)) < 0.5)
    )
    other = shapes.render(replace(scenes, style=vocabulary[chosen]))
    return pictures.lerp(other, torch.from_numpy(share).float()[:, None, None, None])


def presence(settings: ShapesSettings, scenes: Scenes) -> Float[Tensor, "n outputs"]:
    """Return 1 for each answer that some present object of a scene gives, 0 for the
    others; heads side by side.
    """
    return torch.cat(
        [classes.in_scene(scenes) for classes in settings.answers.values()], 1
    ).float()


def build_vit(settings: ShapesSettings) -> ViT:
    """Make the transformer, with a convolution stem and one logit an answer."""
    return ViT(
        image_size=32,
        patch=settings.patch,
        width=settings.width,
        depth=settings.depth,
        heads=settings.heads,
        classes=sum(settings.outputs),
        stem="convolution",
    )


def fit_vit(model: ViT, settings: ShapesSettings, seed: int) -> None:
    """Train on a pool of scenes and their mirror images: one softmax a head, or one
    sigmoid an answer.
    """
    device = model.positions.device
    scenes = draw(settings, settings.images, seed, "train")
    drawn = [
        photograph(settings, part, seed + i).half()
        for i, part in enumerate(parts(scenes))
    ]
    images = torch.cat(drawn).to(device)
    answers = presence(settings, scenes).to(device)
    chance = torch_rng(seed, "zoo", "batches")
    rows = torch.randint(
        len(images), (settings.steps, settings.batch), generator=chance
    )
    mirrored = torch.rand(settings.steps, generator=chance) < 0.5
    adam = optimiser(
        model.parameters(),
        "adamw",
        settings.lr,
        weight_decay=settings.decay,
        betas=(0.9, 0.99),
    )

    def loss(step: int) -> Tensor:
        chosen = images[rows[step].to(device)].float()
        logits = model(chosen.flip(-1) if mirrored[step] else chosen)
        return answer_loss(settings, logits, answers[rows[step].to(device)])

    fit(
        loss,
        bar(range(settings.steps), desc="training"),
        adam,
        schedule=cosine(settings.steps, settings.warmup),
        clip=1.0,
    )


def parts(scenes: Scenes, size: int = 5_000) -> list[Scenes]:
    """Cut scenes so that their pictures fit into memory."""
    return [scenes[i : i + size] for i in range(0, len(scenes), size)]


def answer_loss(
    settings: ShapesSettings,
    logits: Float[Tensor, "batch outputs"],
    answers: Float[Tensor, "batch outputs"],
) -> Float[Tensor, ""]:
    """Sum over heads: cross-entropy where a scene has one object, else binary
    cross-entropy summed over answers.
    """
    if settings.objects != (1, 1):
        return F.binary_cross_entropy_with_logits(logits, answers) * logits.shape[1]
    pairs = zip(
        logits.split(settings.outputs, 1),
        answers.split(settings.outputs, 1),
        strict=True,
    )
    return torch.stack(
        [F.cross_entropy(guess, answer) for guess, answer in pairs]
    ).sum()


def measure_vit(model: ViT, settings: ShapesSettings, seed: int) -> dict[str, float]:
    """Measure on new photo-style scenes the accuracy of each head and of all together,
    or mean average precisions.
    """
    scenes = draw(settings, settings.test_images, seed, "test")
    device = model.positions.device
    logits = torch.cat(
        [model(shapes.render(part).to(device)).cpu() for part in parts(scenes, 500)]
    )
    names, answers = list(settings.answers), presence(settings, scenes)
    pairs = list(
        zip(
            logits.split(settings.outputs, 1),
            answers.split(settings.outputs, 1),
            strict=True,
        )
    )
    if settings.objects != (1, 1):
        precise = [average_precision_score(answer, guess) for guess, answer in pairs]
        return {
            f"{name} mAP": 100 * value
            for name, value in zip(names, precise, strict=True)
        }
    right = torch.stack(
        [guess.argmax(1) == answer.argmax(1) for guess, answer in pairs]
    )
    accuracy = dict(zip(names, right.float().mean(1).tolist(), strict=True))
    accuracy["all"] = right.all(0).float().mean().item()
    return {f"{name} accuracy": 100 * value for name, value in accuracy.items()}


# ------------------------------------------------------------ a small network on glyphs


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


def build_conv4(settings: GlyphSettings) -> Conv4:
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


def fit_conv4(model: Conv4, settings: GlyphSettings, seed: int) -> None:
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


def measure_conv4(model: Conv4, settings: GlyphSettings, seed: int) -> dict[str, float]:
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


# -------------------------------------------------------------------------- the recipes

VIT_P8 = Recipe(
    "vit_p8",
    "a transformer of 17 tokens, 4 blocks and width 64 that names an object's class"
    " (shape and texture) and colour",
    "50,000 photo-style scenes of one object, some a little stylised: 10 shapes, 4"
    " textures, 8 colours",
    ShapesSettings(
        8,
        SHAPES[:10],
        TEXTURES[:4],
        COLOURS,
        (1, 1),
        (0.28, 0.42),
        1,
        steps=8_000,
        stylised=0.5,
    ),
    build_vit,
    fit_vit,
    measure_vit,
)
VIT_P4 = Recipe(
    "vit_p4",
    "a transformer of 65 tokens, 4 blocks and width 64 that says which shapes and"
    " which colours a scene shows",
    "50,000 photo-style scenes of one to four objects: 6 shapes, 4 colours, 4 textures",
    ShapesSettings(
        4,
        SHAPES[:6],
        TEXTURES[:4],
        ("red", "yellow", "green", "blue"),
        (1, 4),
        (0.13, 0.22),
        8,
        steps=4_000,
    ),
    build_vit,
    fit_vit,
    measure_vit,
)
GLYPH_CONV4 = Recipe(
    "glyph_conv4",
    "a network of four convolutions that reads the characters of 8 alphabets, left"
    " imperfect on purpose",
    "40 images of each of 64 characters",
    GlyphSettings(),
    build_conv4,
    fit_conv4,
    measure_conv4,
)
