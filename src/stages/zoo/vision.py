"""What the transformers of the zoo share: their sizes, and how they are trained."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from stages.models import ViT
from stages.progress import bar
from stages.training import cosine, fit, optimiser
from stages.worlds.shapes import Scenes

AT_ONCE = 5_000  # scenes that are drawn together, so that they fit into memory


@dataclass(frozen=True, kw_only=True)
class VisionSettings:
    """A transformer on scenes: its sizes, and its training."""

    patch: int
    width: int = 64
    depth: int = 4
    heads: int = 4
    images: int
    test_images: int = 2_000
    steps: int
    batch: int = 64
    lr: float = 2e-3
    decay: float = 0.05
    warmup: int = 200


def transformer(settings: VisionSettings, outputs: int) -> ViT:
    """Make the transformer, with a convolution stem and so many logits."""
    return ViT(
        image_size=32,
        patch=settings.patch,
        width=settings.width,
        depth=settings.depth,
        heads=settings.heads,
        classes=outputs,
        stem="convolution",
    )


def descend(
    model: ViT, settings: VisionSettings, loss: Callable[[int], Tensor]
) -> None:
    """Train with AdamW along a cosine; `loss` is that of each step."""
    adam = optimiser(
        model.parameters(),
        "adamw",
        settings.lr,
        weight_decay=settings.decay,
        betas=(0.9, 0.99),
    )
    fit(
        loss,
        bar(range(settings.steps), desc="training"),
        adam,
        schedule=cosine(settings.steps, settings.warmup),
        clip=1.0,
    )


def parts(scenes: Scenes, size: int = AT_ONCE) -> list[Scenes]:
    """Cut scenes into parts of so many."""
    return [scenes[i : i + size] for i in range(0, len(scenes), size)]
