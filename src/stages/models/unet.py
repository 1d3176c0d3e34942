"""A small U-Net that draws 16x16 images after a caption (after Ho et al. 2020).

A caption is a set of phrases, each a few words: (batch, phrases, words) of tokens, of
which 0 is no word. It becomes one vector; every residual block is scaled and shifted by
that vector and by the time (FiLM, Perez et al. 2018), and a linear map of it, four by
four, is added at the input and in the decoder, so that words can name places.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from stages.models.denoiser import sinusoids

Captions = Int[Tensor, "batch phrases words"]
Images = Float[Tensor, "batch channels side side"]
GROUPS = 8  # of a group norm
MAP = 4  # side of the caption's map


class PhraseEncoder(nn.Module):
    """Reads a caption: a phrase is the sum of its words, read by a perceptron; a
    caption is the sum of its phrases.

    Args:
        vocabulary: number of words, 0 included.
        words: width of a word.
        hidden: of the perceptron.
        width: of the caption.
        unit: whether the caption is divided by its root mean square, so that each
            phrase counts the less the more there are.
    """

    def __init__(
        self,
        vocabulary: int,
        words: int = 128,
        hidden: int = 256,
        width: int = 64,
        unit: bool = True,
    ):
        super().__init__()
        self.unit = unit
        self.embedding = nn.Embedding(vocabulary, words, padding_idx=0)
        self.perceptron = nn.Sequential(
            nn.Linear(words, hidden), nn.SiLU(), nn.Linear(hidden, width)
        )

    def forward(self, captions: Captions) -> Float[Tensor, "batch width"]:
        """Return a vector a caption: zeros for one without a word."""
        phrases = self.perceptron(self.embedding(captions).sum(2))
        said: Bool[Tensor, "batch phrases"] = (captions > 0).any(2)
        caption = (phrases * said[..., None]).sum(1)
        if not self.unit:
            return caption
        return caption * (caption.square().mean(1, keepdim=True) + 1e-6).rsqrt()


class FilmBlock(nn.Module):
    """Two convolutions around a FiLM, added to what the block reads."""

    def __init__(self, channels: int, out: int, condition: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, channels)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.film = nn.Linear(condition, 2 * out)
        self.norm2 = nn.GroupNorm(GROUPS, out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.skip = nn.Conv2d(channels, out, 1) if channels != out else nn.Identity()
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: Images, condition: Float[Tensor, "batch condition"]) -> Images:
        hidden = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.film(condition)[..., None, None].chunk(2, 1)
        hidden = self.norm2(hidden) * (1 + scale) + shift
        return self.skip(x) + self.conv2(F.silu(hidden))


class UNet(nn.Module):
    """The whole network: patches of 2x2, one resolution of side / 2 and one of
    side / 4.

    Its last convolution starts at zero, so that a fresh network answers 0. What
    `source` adds starts at zero as well: a network that gets a source image begins as
    one that gets none.

    Args:
        vocabulary: number of words, 0 included.
        side: of the images, a multiple of 16.
        wide, deep: channels at side / 2 and at side / 4.
        condition: width of time and caption together.
        caption: width of a caption alone.
        unit: whether captions have unit size, as in `PhraseEncoder`.
        source: whether the network also reads an image, to edit it.
    """

    def __init__(
        self,
        vocabulary: int,
        side: int = 16,
        wide: int = 64,
        deep: int = 96,
        condition: int = 128,
        caption: int = 64,
        unit: bool = True,
        source: bool = False,
    ):
        super().__init__()
        if side % (4 * MAP):
            raise ValueError(f"side {side} must be a multiple of {4 * MAP}")
        self.condition = condition
        self.wide = wide
        self.captions = PhraseEncoder(vocabulary, width=caption, unit=unit)
        self.time = nn.Sequential(
            nn.Linear(condition, condition), nn.SiLU(), nn.Linear(condition, condition)
        )
        self.said = nn.Linear(caption, condition)
        self.map_in = nn.Linear(caption, wide * MAP * MAP)
        self.map_out = nn.Linear(caption, wide * MAP * MAP)
        self.stem = nn.Conv2d(12, wide, 3, padding=1)
        self.source = nn.Conv2d(12, wide, 3, padding=1) if source else None
        self.down1 = FilmBlock(wide, wide, condition)
        self.shrink = nn.Conv2d(wide, deep, 3, stride=2, padding=1)
        self.middle1 = FilmBlock(deep, deep, condition)
        self.middle2 = FilmBlock(deep, deep, condition)
        self.widen = nn.Conv2d(deep, wide, 3, padding=1)
        self.up1 = FilmBlock(2 * wide, wide, condition)
        self.up2 = FilmBlock(wide, wide, condition)
        self.norm = nn.GroupNorm(GROUPS, wide)
        self.leave = nn.Conv2d(wide, 12, 3, padding=1)
        silent = [self.leave] if self.source is None else [self.leave, self.source]
        for layer in silent:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        x: Images,
        t: Float[Tensor, " batch"],
        captions: Captions,
        source: Images | None = None,
    ) -> Images:
        """Answer for noisy images at times from 0 to 1.

        Args:
            source: the image to edit, for a network made with one.
        """
        return self.after(x, t, self.captions(captions), source)

    def after(
        self,
        x: Images,
        t: Float[Tensor, " batch"],
        caption: Float[Tensor, "batch caption"],
        source: Images | None = None,
    ) -> Images:
        """Answer for captions already read, so that a sampler reads them once."""
        if (source is None) != (self.source is None):
            raise ValueError(
                "give a source image to a network made with source=True, and only to it"
            )
        condition = self.time(sinusoids(1000 * t, self.condition)) + self.said(caption)
        condition = F.silu(condition)
        hidden = self.stem(F.pixel_unshuffle(x, 2))
        if source is not None:
            hidden = hidden + self.source(F.pixel_unshuffle(source, 2))
        hidden = hidden + self._map(self.map_in, caption, hidden)
        hidden = self.down1(hidden, condition)
        kept = hidden
        hidden = self.shrink(hidden)
        hidden = self.middle1(hidden, condition)
        hidden = self.middle2(hidden, condition)
        hidden = self.widen(F.interpolate(hidden, scale_factor=2.0, mode="nearest"))
        hidden = hidden + self._map(self.map_out, caption, hidden)
        hidden = self.up1(torch.cat([hidden, kept], 1), condition)
        hidden = self.up2(hidden, condition)
        return F.pixel_shuffle(self.leave(F.silu(self.norm(hidden))), 2)

    def _map(self, layer: nn.Linear, caption: Tensor, like: Tensor) -> Tensor:
        """Lay the caption's map over features."""
        places = layer(caption).view(-1, self.wide, MAP, MAP)
        return F.interpolate(places, size=like.shape[-2:], mode="nearest")
