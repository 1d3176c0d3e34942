"""An album of small pictures with captions: most are photographs, some are in styles
that are rare, as on the web; and tasks in rare styles that are told by words alone.

A picture shows one large thing, or one to four small ones, all of a plain texture. A
caption is one of `stages.worlds.captions`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stages.seeding import torch_rng
from stages.worlds import captions, shapes
from stages.worlds.captions import COUNTS
from stages.worlds.shapes import COLOURS, Classes, Scenes

SIDE = 16
MOST = len(COUNTS)  # things in a picture
LARGE, SMALL = (0.28, 0.44), (0.12, 0.17)  # radii of things, as shares of the side
TURN = 0.5  # greatest rotation either way, in radians: about 30 degrees
PLACEMENTS = 32  # of small things, of which the one is kept that hides least
WEB = {
    **{"photo": 0.63, "flat": 0.30, "faint": 0.02, "sketch": 0.02},
    **{"neon": 0.01, "noisy": 0.01, "negative": 0.01},
}  # how often each style is seen
Images = Float[Tensor, "n 3 16 16"]
Tokens = Int[Tensor, "n length"]


def scenes(
    n: int,
    seed: int,
    *,
    styles: Mapping[str, float] = WEB,
    stream: Sequence[str | int] = (),
) -> Scenes:
    """Draw what an album shows: every other picture has one large thing, the rest one
    to four small ones; scene i is the same however many follow it.

    Args:
        styles: how often each style is seen; shares need not add up to 1.
        stream: names added to the seed's stream of chance.
    """
    style = _drawn(styles, n, seed, stream)
    large = one_large(n, seed, style=style, stream=stream)
    small = few_small(n, seed, style=style, stream=stream)
    even = torch.rand(n, generator=torch_rng(seed, "album", *stream, "size"))
    return _either(even < 0.5, large, small)


def one_large(n: int, seed: int, *, stream: Sequence[str | int] = (), **how) -> Scenes:
    """Draw scenes of one large thing, with room for as many as `few_small` has; `how`
    goes to `shapes.sample`.
    """
    drawn = _sample(n, seed, LARGE, stream=("album", "large", *stream), **how)
    alone = torch.arange(MOST) == 0
    return replace(drawn, present=drawn.present & alone)


def few_small(n: int, seed: int, *, stream: Sequence[str | int] = (), **how) -> Scenes:
    """Draw scenes of one to four small things, that hardly hide one another; `how` goes
    to `shapes.sample`.
    """
    how = {"placements": PLACEMENTS, "stream": ("album", "small", *stream), **how}
    return _sample(n, seed, SMALL, **how)


def render(scenes: Scenes) -> Images:
    """Draw scenes in RGB from 0 to 1."""
    return shapes.render(scenes, SIDE)


def _sample(n: int, seed: int, size: tuple[float, float], **how) -> Scenes:
    how = {"texture": "plain", "rotation": (-TURN, TURN), **how}
    return shapes.sample(n, seed, objects=(1, MOST), size=size, **how)


def _drawn(
    styles: Mapping[str, float], n: int, seed: int, stream: Sequence[str | int]
) -> Int[Tensor, " n"]:
    """Draw styles in proportion to their shares."""
    shares = torch.tensor(list(styles.values()), dtype=torch.float64).cumsum(0)
    numbers = torch.tensor([shapes.STYLES.index(word) for word in styles])
    chance = torch_rng(seed, "album", *stream, "style")
    even = torch.rand(n, generator=chance, dtype=torch.float64)
    return numbers[torch.searchsorted(shares / shares[-1], even, right=True)]


def _either(first: Tensor, one: Scenes, other: Scenes) -> Scenes:
    """Take a scene from one where `first` is True, else from the other."""

    def pick(name: str) -> Tensor:
        a, b = getattr(one, name), getattr(other, name)
        return torch.where(first.view(-1, *[1] * (a.ndim - 1)), a, b)

    return Scenes(*(pick(field.name) for field in fields(Scenes)))


# ---------------------------------------------------------------------------- the tasks


@dataclass(frozen=True)
class Task:
    """Pictures in one style, each with one of some names.

    Attributes:
        name: of the task.
        style: of all its pictures.
        classes: of the one large thing that is named; without them, small things are
            counted.
    """

    name: str
    style: str
    classes: Classes | None = None

    @property
    def names(self) -> list[str]:
        """What its classes are called."""
        if self.classes:
            return self.classes.names
        return [f"{count} things" for count in COUNTS]

    @property
    def prompts(self) -> Int[Tensor, "templates classes length"]:
        """Each name as a caption, for `stages.models.clip.class_vectors`."""
        closing = f"in {self.style} style"
        words = captions.vocabulary()
        return captions.prompts(words, self.names, ["a picture of"], closing)

    def draw(self, n: int, seed: int, stream: str) -> tuple[Images, Int[Tensor, " n"]]:
        """Draw pictures and their labels; each class is as frequent as any other."""
        how = {"style": self.style, "stream": (self.name, stream)}
        label = torch.arange(n) % len(self.names)
        if self.classes:
            drawn = one_large(n, seed, classes=self.classes, labels=label, **how)
        else:
            drawn = few_small(n, seed, **how)
            there = torch.arange(MOST) <= label[:, None]
            drawn = replace(drawn, present=there)
        return render(drawn), label


SKETCHED = ("circle", "square", "triangle", "star", "heart")
NOISY = ("ring", "cross", "bar", "diamond")
GLOWING = ("hexagon", "crescent", "arrow")
TASKS = (
    Task("shapes", "sketch", Classes.product(shape=SKETCHED)),
    Task("counts", "neon"),
    Task("sixteen things", "noisy", Classes.product(shape=NOISY, colour=COLOURS[::2])),
    Task("twelve things", "neon", Classes.product(shape=GLOWING, colour=COLOURS[1::2])),
)
