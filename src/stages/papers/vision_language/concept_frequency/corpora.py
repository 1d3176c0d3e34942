"""The world: 96 characters with nonsense names, and corpora of pictures with captions
in which some names are common and others rare.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from stages.seeding import rng, torch_rng
from stages.worlds import captions, glyphs
from stages.worlds.vocabulary import Vocabulary

ALPHABETS, EACH = range(12), 8
GLYPHS = len(ALPHABETS) * EACH
SIDE = 16
UNSTEADY = 0.9  # a factor of how far writing varies
SHIFT = (0.35, 0.65)  # from the paper's colour to the ink's, in each channel, modulo 1
ENDS = ("lim", "dop")
NAMES = tuple(c + v + end for end in ENDS for c in "bdfgklmnpr" for v in "aeiou")
NAMES = NAMES[:GLYPHS]
Labels = Int[Tensor, " n"]
Ink = Float[Tensor, "n 1 16 16"]
Counts = Int[np.ndarray, " glyphs"]


def vocabulary() -> Vocabulary:
    """Make the vocabulary: the words of the templates, then the names."""
    words = " ".join(captions.OPENINGS).split()
    return Vocabulary([*dict.fromkeys(words), *NAMES])


# ------------------------------------------------------------------- how often, by rank


def shared(shares: Float[np.ndarray, " glyphs"], pairs: int) -> Counts:
    """Divide pairs in proportion to shares; what rounding leaves goes to the largest
    remainders.
    """
    exact = pairs * shares / shares.sum()
    counts = np.floor(exact).astype(int)
    rest = pairs - counts.sum()
    counts[np.argsort(counts - exact, kind="stable")[:rest]] += 1
    return counts


def zipf(pairs: int) -> Counts:
    """Let the glyph of rank r have a share in proportion to 1/r."""
    return shared(1 / np.arange(1, GLYPHS + 1), pairs)


def uniform(pairs: int) -> Counts:
    """Let all glyphs have as many pairs."""
    return shared(np.ones(GLYPHS), pairs)


def capped(pairs: int, most: float = 1.5) -> Counts:
    """Cut a larger Zipf corpus at a low count, `most` times the mean, so that as many
    pairs are left: the head gives to the tail.
    """
    rank = np.arange(1, GLYPHS + 1)
    limit = most / GLYPHS
    scale = 1 / (1 / rank).sum()
    while np.minimum(limit, scale / rank).sum() < 1:
        scale *= 1.001
    return shared(np.minimum(limit, scale / rank), pairs)


# ------------------------------------------------------------------------- the pictures


@dataclass(frozen=True)
class Pictures:
    """Characters in ink on paper, both of any colour."""

    label: Labels
    ink: Ink
    colours: Float[Tensor, "n 2 3"]

    @classmethod
    def draw(
        cls, world: glyphs.Characters, label: Labels, seed: int, stream: str
    ) -> "Pictures":
        """Draw one for each label."""
        ink = glyphs.write(
            world, label, seed, SIDE, unsteady=UNSTEADY, stream=("concepts", stream)
        )
        chance = torch_rng(seed, "concepts", stream, "colours")
        drawn = torch.rand(len(label), 2, 3, generator=chance)
        paper = drawn[:, 0]
        shift = SHIFT[0] + (SHIFT[1] - SHIFT[0]) * drawn[:, 1]
        return cls(label, ink, torch.stack([paper, (paper + shift) % 1], 1))

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: Tensor) -> "Pictures":
        """Return some of them."""
        return Pictures(self.label[rows], self.ink[rows], self.colours[rows])

    def images(self) -> Float[Tensor, "n 3 16 16"]:
        """Return the pictures in RGB from 0 to 1."""
        paper, ink = self.colours[..., None, None].unbind(1)
        return torch.lerp(paper, ink, self.ink)


def likeness(ink: Ink, other: Ink) -> Float[Tensor, " n"]:
    """Return the cosine of each picture's ink with the nearest of others."""
    one, two = (F.normalize(each.flatten(1), dim=1) for each in (ink, other))
    return torch.cat([(part @ two.T).amax(1) for part in one.split(1_000)])


# -------------------------------------------------------------------------- the corpora


@dataclass(frozen=True)
class World:
    """What all corpora of a seed share.

    Attributes:
        rank: of each glyph, from 0 for the commonest: drawn anew by each seed.
        test: new pictures, as many of each glyph.
    """

    seed: int
    characters: glyphs.Characters
    rank: Int[np.ndarray, " glyphs"]
    test: Pictures

    @classmethod
    def of(cls, seed: int, tests: int) -> "World":
        """Make the world of a seed, with so many test pictures a glyph."""
        characters = glyphs.characters(ALPHABETS, EACH)
        rank = rng(seed, "concepts", "ranks").permutation(GLYPHS)
        label = torch.arange(GLYPHS).repeat(tests)
        test = Pictures.draw(characters, label, seed, "test")
        return cls(seed, characters, rank, test)


@dataclass(frozen=True)
class Corpus:
    """Pairs of a picture and a caption.

    Attributes:
        named: which glyph each caption names.
        opening: which template it has.
    """

    pictures: Pictures
    named: Labels
    opening: Labels

    @property
    def captions(self) -> list[str]:
        """The captions as text."""
        pairs = zip(self.opening.tolist(), self.named.tolist(), strict=True)
        return [f"{captions.OPENINGS[i]} {NAMES[k]}".strip() for i, k in pairs]

    @property
    def tokens(self) -> Int[Tensor, "n length"]:
        """The captions as tokens."""
        written = captions.prompts(vocabulary(), NAMES)
        return written[self.opening, self.named]

    @property
    def shown(self) -> Float[np.ndarray, "n glyphs"]:
        """What is in the pictures, as a perfect tagger would tell."""
        return F.one_hot(self.pictures.label, GLYPHS).double().numpy()


def collect(
    world: World,
    pairs: int,
    by_rank: Callable[[int], Counts],
    *,
    backwards: bool = False,
    misaligned: float = 0.0,
    pruned: float = 0.0,
) -> Corpus:
    """Collect a corpus.

    Args:
        pairs: its size.
        by_rank: gives so many pairs to the ranks, the commonest first.
        backwards: the commonest glyph becomes the rarest, and so on.
        misaligned: share of captions that name another glyph than the picture shows.
        pruned: share of pictures, those most like a test picture in their ink, that is
            left out of a corpus larger by as much.
    """
    seed = world.seed
    rank = GLYPHS - 1 - world.rank if backwards else world.rank
    counts = by_rank(round(pairs / (1 - pruned)))[rank]
    label = torch.arange(GLYPHS).repeat_interleave(torch.from_numpy(counts))
    order = torch_rng(seed, "concepts", "order")
    label = label[torch.randperm(len(label), generator=order)]
    pictures = Pictures.draw(world.characters, label, seed, "train")
    if pruned:
        near = likeness(pictures.ink, world.test.ink)
        kept = near.argsort(stable=True)[:pairs].sort().values
        pictures = pictures.take(kept)
    opening = torch_rng(seed, "concepts", "openings")
    return Corpus(
        pictures,
        renamed(pictures.label, misaligned, seed),
        torch.randint(len(captions.OPENINGS), (pairs,), generator=opening),
    )


def renamed(label: Labels, share: float, seed: int) -> Labels:
    """Let a share of the captions name another glyph, as common names as often as in
    the rest.
    """
    named = label.clone()
    chance = torch_rng(seed, "concepts", "renamed")
    wrong = torch.arange(round(share * len(label)))  # pairs are in no order
    while len(wrong):
        drawn = torch.randint(len(label), (len(wrong),), generator=chance)
        named[wrong] = label[drawn]
        wrong = wrong[named[wrong] == label[wrong]]
    return named
