"""The base model `overlay_detector`, which judges generated pictures and trains
nothing: what fine-tuning is told comes from another detector.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from stages.papers.diffusion.geom_erasing.overlays import CONCEPTS, overlaid
from stages.progress import bar
from stages.seeding import torch_rng
from stages.training import cosine, fit, optimiser
from stages.worlds.shapes import quads
from stages.worlds.shapes.quads import Pictures
from stages.zoo.recipe import Recipe


@dataclass(frozen=True)
class DetectorSettings:
    """A small convolutional network, its training, and its threshold.

    Attributes:
        noise: the most noise that is added to a picture.
        false: the share of clean held-out pictures that it may flag.
        held_out: pictures that set the threshold, and as many that measure it.
    """

    width: int = 16
    steps: int = 500
    batch: int = 64
    lr: float = 3e-3
    noise: float = 0.15
    false: float = 0.02
    held_out: int = 4_000


class OverlayDetector(nn.Module):
    """Gives each picture a logit a concept: watermark, qr."""

    def __init__(self, width: int = 16):
        super().__init__()
        self.hidden = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, 2 * width, 5, padding=2, stride=2),
            nn.SiLU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.SiLU(),
        )
        self.logits = nn.Conv2d(2 * width, len(CONCEPTS), 3, padding=1)
        self.register_buffer("threshold", torch.zeros(len(CONCEPTS)))

    def forward(self, pictures: Pictures) -> Float[Tensor, "n concepts"]:
        """Return logits: the largest over all places."""
        return self.logits(self.hidden(pictures)).amax((2, 3))

    @torch.no_grad()
    def finds(self, pictures: Pictures, concept: str) -> Bool[Tensor, " n"]:
        """Tell in which pictures it finds the concept."""
        number = CONCEPTS.index(concept)
        return self(pictures)[:, number] > self.threshold[number]


def renders(n: int, seed: int, stream: tuple) -> Pictures:
    """Draw scenes of none to two things."""
    return quads.render(quads.sample(n, seed, (0, 2), stream))


def spoilt(pictures: Pictures, most: float, chance: torch.Generator) -> Pictures:
    """Make pictures look generated: some blurred, all with noise, each its own dose;
    in some, things are drawn in part or fade into another picture's.
    """
    n = len(pictures)

    def dose() -> Float[Tensor, "n 1 1 1"]:
        return torch.rand(n, 1, 1, 1, generator=chance)

    faint = (dose() < 0.25) * 0.6 * dose()
    pictures = (1 - faint) * pictures + faint * pictures.roll(1, 0)
    soft = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
    blur = (dose() < 0.3) * 0.5 * dose()
    pictures = (1 - blur) * pictures + blur * soft
    noise = torch.randn(pictures.shape, generator=chance)
    return (pictures + most * dose().square() * noise).clamp(-1, 1)


def held_out(n: int, seed: int, name: str, settings: DetectorSettings) -> Pictures:
    """Draw clean pictures for the threshold or for the test, a third of them spoilt."""
    pictures = renders(n, seed, ("detector", name))
    chance = torch_rng(seed, "detector", name, "spoilt")
    worse = spoilt(pictures, settings.noise, chance)
    third = torch.arange(n) % 3 == 0
    return torch.where(third[:, None, None, None], worse, pictures)


def build(settings: DetectorSettings) -> OverlayDetector:
    """Make the network."""
    return OverlayDetector(settings.width)


def fit_detector(model: OverlayDetector, settings: DetectorSettings, seed: int) -> None:
    """Train on spoilt pictures, a third each clean, with a watermark, with a qr; then
    set the thresholds on clean ones.
    """
    device = model.threshold.device
    chance = torch_rng(seed, "detector", "train")
    adam = optimiser(model.parameters(), "adamw", settings.lr)
    each = torch.arange(settings.batch) % (len(CONCEPTS) + 1)
    target = (each[:, None] == torch.arange(len(CONCEPTS))).float().to(device)

    def loss(step: int) -> Tensor:
        pictures = renders(settings.batch, seed, ("detector", "train", step))
        for number, concept in enumerate(CONCEPTS):
            marked, _ = overlaid(pictures, concept, chance)
            here = (each == number)[:, None, None, None]
            pictures = torch.where(here, marked, pictures)
        pictures = spoilt(pictures, settings.noise, chance)
        return F.binary_cross_entropy_with_logits(model(pictures.to(device)), target)

    fit(
        loss,
        bar(range(settings.steps), desc="training"),
        adam,
        schedule=cosine(settings.steps, 50),
    )
    with torch.no_grad():
        clean = held_out(settings.held_out, seed, "threshold", settings).to(device)
        least = torch.quantile(model(clean), 1 - settings.false, dim=0)
        model.threshold.copy_(least)


def measure(
    model: OverlayDetector, settings: DetectorSettings, seed: int
) -> dict[str, float]:
    """Measure on new pictures the recall of each concept, and false positives."""
    device = model.threshold.device
    clean = held_out(settings.held_out, seed, "test", settings)
    chance = torch_rng(seed, "detector", "test overlays")
    found = {}
    for concept in CONCEPTS:
        marked, _ = overlaid(clean, concept, chance)
        recall = model.finds(marked.to(device), concept).float().mean()
        false = model.finds(clean.to(device), concept).float().mean()
        found[f"recall, {concept}"] = 100 * recall.item()
        found[f"false positives, {concept}"] = 100 * false.item()
    return found


RECIPE = Recipe(
    "overlay_detector",
    "a convolutional network that finds watermarks and qr blocks in pictures",
    "renders of none to two things in quarters, with noise, blur and fading, a third"
    " each clean, with a watermark, with a qr",
    DetectorSettings(),
    build,
    fit_detector,
    measure,
)
