"""Base models of scenes in quarters: one that reads them, some that draw them after a
caption, and one that edits them.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from stages.models.unet import UNet
from stages.progress import bar
from stages.seeding import torch_rng
from stages.training import cosine, diffusion, fit, optimiser
from stages.worlds.shapes import quads
from stages.worlds.shapes.quads import Pictures, Quads
from stages.zoo.recipe import Recipe

SHIFT = 3.0  # of times towards the noise, in training and in sampling

# ------------------------------------------------------------------------ who reads


@dataclass(frozen=True)
class ReaderSettings:
    """A small convolutional network, and its training on renders."""

    width: int = 24
    features: int = 64
    steps: int = 1_500
    batch: int = 64
    lr: float = 2e-3
    decay: float = 0.02
    noise: float = 0.15
    test: int = 2_000


class QuadsReader(nn.Module):
    """Says what is in each quarter of a picture: a shape and a colour, or nothing.

    It sees the whole picture at once. `features` is what its last layer reads, tanh
    units, by which sets of pictures are compared.
    """

    def __init__(self, width: int = 24, features: int = 64):
        super().__init__()
        self.hidden = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(2 * width * 16, features),
            nn.Tanh(),
        )
        self.shape = nn.Linear(features, 4 * 7)
        self.colour = nn.Linear(features, 4 * 7)

    def features(self, pictures: Pictures) -> Float[Tensor, "n features"]:
        """Return what the last layer reads."""
        return self.hidden(pictures)

    def forward(
        self, pictures: Pictures
    ) -> tuple[Float[Tensor, "n 4 7"], Float[Tensor, "n 4 7"]]:
        """Return logits of shapes and of colours a quarter; 0 stands for nothing."""
        features = self.features(pictures)
        return self.shape(features).view(-1, 4, 7), self.colour(features).view(-1, 4, 7)

    @torch.no_grad()
    def read(self, pictures: Pictures) -> tuple[Int[Tensor, "n 4"], Int[Tensor, "n 4"]]:
        """Return the likeliest shape and colour a quarter, as in `Quads`: where the
        shape is nothing, so is the colour.
        """
        shapes, colours = self(pictures)
        shape = shapes.argmax(-1)
        colour = 1 + colours[..., 1:].argmax(-1)
        return shape, torch.where(shape > 0, colour, 0)


def build_reader(settings: ReaderSettings) -> QuadsReader:
    """Make the network."""
    return QuadsReader(settings.width, settings.features)


def fit_reader(model: QuadsReader, settings: ReaderSettings, seed: int) -> None:
    """Train on renders of none to four things, noise added to each."""
    device = model.shape.weight.device
    chance = torch_rng(seed, "zoo", "noise")
    adam = optimiser(
        model.parameters(), "adamw", settings.lr, weight_decay=settings.decay
    )

    def loss(step: int) -> Tensor:
        scenes = quads.sample(settings.batch, seed, (0, 4), ("zoo", "train", step))
        pictures = quads.render(scenes)
        strength = settings.noise * torch.rand(len(scenes), 1, 1, 1, generator=chance)
        pictures += strength * torch.randn(pictures.shape, generator=chance)
        shapes, colours = model(pictures.to(device))
        shape_loss = F.cross_entropy(
            shapes.flatten(0, 1), scenes.shape.flatten().to(device)
        )
        colour_loss = F.cross_entropy(
            colours.flatten(0, 1), scenes.colour.flatten().to(device)
        )
        return shape_loss + colour_loss

    fit(
        loss,
        bar(range(settings.steps), desc="training"),
        adam,
        schedule=cosine(settings.steps, 50),
    )


def measure_reader(
    model: QuadsReader, settings: ReaderSettings, seed: int
) -> dict[str, float]:
    """Measure on new renders how many quarters are read right, by the network and by
    the templates of `quads.read`.
    """
    scenes = quads.sample(settings.test, seed, (0, 4), ("zoo", "test"))
    pictures = quads.render(scenes)
    shape, colour = model.read(pictures.to(model.shape.weight.device))
    right = (shape.cpu() == scenes.shape) & (colour.cpu() == scenes.colour)
    by_template = quads.read(pictures) == scenes.contents
    return {
        "quarters read right": 100 * right.float().mean().item(),
        "quarters read right by templates": 100 * by_template.float().mean().item(),
    }


# ------------------------------------------------------------------------- who draws


@dataclass(frozen=True)
class DrawerSettings:
    """A U-Net that draws after a caption, and its training.

    The rate falls along a cosine that would end after `horizon` updates; training stops
    after `steps`. `caption` is the width of a caption, a bottleneck if it is narrow;
    `unit` says whether it has unit size. An editor is made with
    `start`, the base model from which it sets out.
    """

    steps: int
    horizon: int = 4_500
    caption: int = 64
    unit: bool = True
    things: tuple[int, int] = (1, 3)
    start: str = ""
    batch: int = 32
    lr: float = 3e-3
    warmup: int = 100
    keep: float = 0.995
    dropped: float = 0.1
    test: int = 200
    test_steps: int = 16


def sampling_times(steps: int) -> Float[Tensor, " times"]:
    """Return falling times from 1 to 0, shifted as in training."""
    return diffusion.shifted(torch.linspace(1, 0, steps + 1), SHIFT)


def training_times(
    n: int, chance: torch.Generator | None = None
) -> Float[Tensor, " n"]:
    """Draw times: the logistic function of a standard normal, shifted."""
    return diffusion.shifted(torch.randn(n, generator=chance).sigmoid(), SHIFT)


def drawn(
    model: UNet,
    captions: Int[Tensor, "n phrases words"],
    noise: Pictures,
    steps: int = 16,
    source: Pictures | None = None,
) -> Pictures:
    """Draw pictures after captions, or edit `source` after instructions, without
    guidance, by Euler's method.
    """
    read = model.captions(captions)

    def velocity(x: Pictures, t: Tensor) -> Pictures:
        return model.after(x, t, read, source)

    return diffusion.euler(velocity, noise, sampling_times(steps)).clamp(-1, 1)


def build_drawer(settings: DrawerSettings) -> UNet:
    """Make the U-Net; an editor begins as the network it starts from, whose picture
    it does not see yet.
    """
    return UNet(
        len(quads.WORDS),
        caption=settings.caption,
        unit=settings.unit,
        source=bool(settings.start),
    )


def fit_drawer(model: UNet, settings: DrawerSettings, seed: int) -> None:
    """Train on renders with the velocity loss; what is kept is the moving average."""
    from stages.zoo.store import load  # it imports the recipes

    if settings.start:
        start = load(settings.start)
        model.load_state_dict(start.state_dict(), strict=False)
    chance = torch_rng(seed, "zoo", "noise")
    average = diffusion.average(model, settings.keep)
    adam = optimiser(model.parameters(), "adamw", settings.lr)

    def loss(step: int) -> Tensor:
        stream = ("zoo", "train", step)
        before = quads.sample(settings.batch, seed, settings.things, stream)
        after, captions = before, quads.captions(before)
        if settings.start:
            after, captions = quads.edits(before, seed, stream)
        kept = torch.rand(settings.batch, generator=chance) >= settings.dropped
        captions = captions * kept[:, None, None]
        source = quads.render(before) if settings.start else None
        target = quads.render(after)
        times = training_times(settings.batch, chance)
        noise = torch.randn(target.shape, generator=chance)
        read = model.captions(captions)

        def velocity(x: Pictures, t: Tensor) -> Pictures:
            return model.after(x, t, read, source)

        return diffusion.velocity_loss(velocity, target, times, noise).mean()

    fit(
        loss,
        bar(range(settings.steps), desc="training"),
        adam,
        schedule=cosine(settings.horizon, settings.warmup),
        clip=1.0,
        after_step=lambda _: average.update_parameters(model),
    )
    model.load_state_dict(average.module.state_dict())


def score(pictures: Pictures, scenes: Quads) -> Float[Tensor, " n"]:
    """Return the share of a scene's questions that its picture answers right, by the
    templates: shape and colour of each thing that it should hold.
    """
    right = quads.right(quads.read(pictures), scenes.contents).float().mean(-1)
    asked = (scenes.shape > 0).float()
    return (right * asked).sum(1) / asked.sum(1)


def measure_drawer(
    model: UNet, settings: DrawerSettings, seed: int
) -> dict[str, float]:
    """Measure the share of right answers, in per cent, of pictures of one to four
    things; of an editor, how often it obeys, and leaves the other quarters alone.
    """
    chance = torch_rng(seed, "zoo", "samples")

    def noise() -> Pictures:
        return torch.randn(settings.test, 3, quads.SIDE, quads.SIDE, generator=chance)

    if settings.start:
        before = quads.sample(settings.test, seed, (1, 4), ("zoo", "test"))
        after, words = quads.edits(before, seed, ("zoo", "test"))
        source = quads.render(before)
        edited = drawn(model, words, noise(), settings.test_steps, source)
        found = quads.read(edited)
        meant = before.contents != after.contents
        obeyed = (found == after.contents)[meant]
        left = (found == before.contents)[~meant]
        return {
            "edits obeyed": 100 * obeyed.float().mean().item(),
            "other quarters kept": 100 * left.float().mean().item(),
        }
    scores = {}
    for things in range(1, 5):
        scenes = quads.sample(settings.test, seed, things, ("zoo", "test", things))
        pictures = drawn(model, quads.captions(scenes), noise(), settings.test_steps)
        asked = score(pictures, scenes)
        scores[f"score, {things} things"] = 100 * asked.mean().item()
        every = 100 * (asked == 1).float().mean().item()
        scores[f"all right, {things} things"] = every
    return scores


# ----------------------------------------------------------------------- the recipes

RENDERS = "renders of one to three things in quarters, new ones at every update"
READER = Recipe(
    "quads_reader",
    "a convolutional network that says what is in each quarter of a picture",
    "renders of none to four things in quarters, with noise",
    ReaderSettings(),
    build_reader,
    fit_reader,
    measure_reader,
)
BASE = Recipe(
    "quads_base",
    "a U-Net that draws quarters after a caption whose phrases are summed as they are",
    RENDERS,
    DrawerSettings(3_000, horizon=3_000, unit=False),
    build_drawer,
    fit_drawer,
    measure_drawer,
)
WEAK = Recipe(
    "quads_weak",
    "a U-Net that draws quarters after a caption of 10 numbers, too few for four"
    " phrases",
    RENDERS,
    DrawerSettings(1_500, caption=10),
    build_drawer,
    fit_drawer,
    measure_drawer,
)
STRONG = Recipe(
    "quads_strong",
    "a U-Net that draws quarters after a caption of 14 numbers, trained like"
    " `quads_weak`",
    RENDERS,
    DrawerSettings(1_500, caption=14),
    build_drawer,
    fit_drawer,
    measure_drawer,
)
EDITS = "renders of one to four things before and after one change, none generated"
EDITOR = Recipe(
    "quads_editor",
    "a U-Net that edits one quarter after an instruction; from `quads_base`",
    EDITS,
    DrawerSettings(500, things=(1, 4), start="quads_base", unit=False, dropped=0.0),
    build_drawer,
    fit_drawer,
    measure_drawer,
)
LONG_EDITOR = Recipe(
    "quads_editor_long",
    "the same U-Net as `quads_editor`, trained longer",
    EDITS,
    DrawerSettings(1_250, things=(1, 4), start="quads_base", unit=False, dropped=0.0),
    build_drawer,
    fit_drawer,
    measure_drawer,
)
