"""A base model that sees scenes: a transformer on photographs of several objects."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from sklearn.metrics import average_precision_score
from torch import Tensor
from torch.nn import functional as F

from stages.models import ViT
from stages.seeding import torch_rng
from stages.worlds import shapes
from stages.worlds.shapes import SHAPES, TEXTURES, Classes, Scenes
from stages.zoo.recipe import Recipe
from stages.zoo.vision import VisionSettings, descend, parts, transformer


@dataclass(frozen=True)
class ScenesSettings(VisionSettings):
    """A transformer on photo-style scenes of several objects, and what these hold."""

    shapes: tuple[str, ...] = SHAPES[:6]
    textures: tuple[str, ...] = TEXTURES[:4]
    colours: tuple[str, ...] = ("red", "yellow", "green", "blue")
    objects: tuple[int, int] = (1, 4)
    size: tuple[float, float] = (0.13, 0.22)
    placements: int = 8

    @property
    def answers(self) -> dict[str, Classes]:
        """What the two heads answer for: which shapes and which colours there are."""
        return {
            "shape": Classes.product(shape=self.shapes),
            "colour": Classes.product(colour=self.colours),
        }

    @property
    def outputs(self) -> list[int]:
        """How many logits each head has."""
        return [len(classes) for classes in self.answers.values()]


def draw(settings: ScenesSettings, n: int, seed: int, stream: str) -> Scenes:
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


def presence(settings: ScenesSettings, scenes: Scenes) -> Float[Tensor, "n outputs"]:
    """Return 1 for each answer that some present object of a scene gives, 0 for the
    others; heads side by side.
    """
    heads = [classes.in_scene(scenes) for classes in settings.answers.values()]
    return torch.cat(heads, 1).float()


def build(settings: ScenesSettings) -> ViT:
    """Make the transformer, with one logit an answer."""
    return transformer(settings, sum(settings.outputs))


def train(model: ViT, settings: ScenesSettings, seed: int) -> None:
    """Train on a pool of scenes and their mirror images, one sigmoid an answer."""
    device = model.positions.device
    scenes = draw(settings, settings.images, seed, "train")
    drawn = [shapes.render(part).half() for part in parts(scenes)]
    images = torch.cat(drawn).to(device)
    answers = presence(settings, scenes).to(device)
    chance = torch_rng(seed, "zoo", "batches")
    rows = torch.randint(
        len(images), (settings.steps, settings.batch), generator=chance
    )
    mirrored = torch.rand(settings.steps, generator=chance) < 0.5

    def loss(step: int) -> Tensor:
        chosen = images[rows[step].to(device)].float()
        logits = model(chosen.flip(-1) if mirrored[step] else chosen)
        return answer_loss(logits, answers[rows[step].to(device)])

    descend(model, settings, loss)


def answer_loss(
    logits: Float[Tensor, "batch outputs"], answers: Float[Tensor, "batch outputs"]
) -> Float[Tensor, ""]:
    """Return the binary cross-entropy, summed over answers, averaged over scenes."""
    return F.binary_cross_entropy_with_logits(logits, answers) * logits.shape[1]


def measure(model: ViT, settings: ScenesSettings, seed: int) -> dict[str, float]:
    """Measure the mean average precision of each head on new scenes, in per cent."""
    scenes = draw(settings, settings.test_images, seed, "test")
    device = model.positions.device
    found = [model(shapes.render(part).to(device)).cpu() for part in parts(scenes, 500)]
    guesses = torch.cat(found).split(settings.outputs, 1)
    answers = presence(settings, scenes).split(settings.outputs, 1)
    return {
        f"{name} mAP": 100 * average_precision_score(answer, guess)
        for name, answer, guess in zip(settings.answers, answers, guesses, strict=True)
    }


VIT_P4 = Recipe(
    "vit_p4",
    "a transformer of 65 tokens, 4 blocks and width 64 that says which shapes and"
    " which colours a scene shows",
    "50,000 photo-style scenes of one to four objects: 6 shapes, 4 colours, 4 textures",
    ScenesSettings(patch=4, images=50_000, steps=4_000),
    build,
    train,
    measure,
)
