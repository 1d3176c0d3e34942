"""A small vision transformer (Dosovitskiy et al. 2021) whose blocks take prefixes, keys
and values of each image's own.

Pictures are (batch, channels, image_size, image_size); tokens are the class token and
then the patches, row by row. All parts are public, so that a method which goes its own
way through a block (`norm1`, `attention`, `norm2`, `mlp`) is written outside, over the
tokens that `ViT.tokens` keeps. `torch.func.vmap` over several networks' weights works
inside `torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`; torch's fused attention has no
rule for it.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal

import torch
from einops import rearrange
from einops.layers.torch import Rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

Prefix = tuple[
    Float[Tensor, "batch length width"], Float[Tensor, "batch length width"]
]  # keys, values
Tokens = Float[Tensor, "batch tokens width"]


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)

    def forward(
        self, x: Tokens, prefix: Prefix | None = None, queries: int | None = None
    ) -> Tokens:
        """Attend from the first `queries` tokens (all, if None) to the prefix and all
        tokens; return as many.

        The prefix joins the keys and values *after* their projection, Attn(Q, [p_K; K],
        [p_V; V]), as in DualPrompt and CODA-Prompt; heads share out its width as they
        do the tokens'.
        """
        q, k, v = self.qkv(x).chunk(3, -1)
        if prefix is not None:
            k, v = torch.cat([prefix[0], k], 1), torch.cat([prefix[1], v], 1)
        q, k, v = (
            rearrange(t, "b n (h d) -> b h n d", h=self.heads)
            for t in (q[:, :queries], k, v)
        )
        return self.project(
            rearrange(F.scaled_dot_product_attention(q, k, v), "b h n d -> b n (h d)")
        )


class Block(nn.Module):
    """A pre-norm block: attention, then a perceptron, each added to what it reads."""

    def __init__(self, width: int, heads: int, ratio: int):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width)
        )

    def forward(
        self, x: Tokens, prefix: Prefix | None = None, queries: int | None = None
    ) -> Tokens:
        """Update the first `queries` tokens (all, if None) from all tokens and the
        prefix; return these.
        """
        x = x[:, :queries] + self.attention(self.norm1(x), prefix, queries)
        return x + self.mlp(self.norm2(x))


def linear_stem(patch: int, channels: int, width: int) -> nn.Sequential:
    """Map each patch's pixels to a token."""
    rows = Rearrange("b c (h p) (w q) -> b (h w) (c p q)", p=patch, q=patch)
    return nn.Sequential(rows, nn.Linear(channels * patch**2, width))


def convolution_stem(patch: int, channels: int, width: int) -> nn.Sequential:
    """Halve the side with 4x4 convolutions until a patch is a pixel. Raises ValueError
    if `patch` is no power of 2.
    """
    halvings = patch.bit_length() - 1
    if patch != 2**halvings or not halvings:
        raise ValueError(
            f"patch {patch}: a convolution stem halves the side, so the patch must be"
            " 2, 4, 8, ..."
        )
    sizes = [channels, width // 2, *[width] * (halvings - 1)]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [
            nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False),
            nn.GroupNorm(4, after),
            nn.ReLU(),
        ]
    return nn.Sequential(
        *layers, nn.Conv2d(sizes[-1], width, 1), Rearrange("b d h w -> b (h w) d")
    )


STEMS = {"linear": linear_stem, "convolution": convolution_stem}


class ViT(nn.Module):
    """A vision transformer with a linear head on its class token.

    Args:
        image_size, patch: sides of the picture and of a patch, in pixels.
        channels: of the picture.
        width, depth, heads: of a token, of the network in blocks, of an attention.
        ratio: the perceptron's hidden width is `ratio * width`.
        classes: outputs of the head.
        stem: how a patch becomes a token. "linear" is the original; "convolution"
            halves the side again and again, so that neighbours overlap, which small
            networks learn from far fewer pictures (Xiao et al. 2021).

    Raises:
        ValueError: patches do not fill the picture, heads do not share out the width,
            or there is no such stem.
    """

    def __init__(
        self,
        image_size: int = 32,
        patch: int = 8,
        channels: int = 3,
        width: int = 64,
        depth: int = 4,
        heads: int = 4,
        ratio: int = 4,
        classes: int = 10,
        stem: Literal["linear", "convolution"] = "linear",
    ):
        super().__init__()
        if image_size % patch or width % heads:
            raise ValueError(
                f"patch {patch} must divide image_size {image_size}, and heads {heads}"
                f" the width {width}"
            )
        if stem not in STEMS:
            raise ValueError(f"no stem {stem!r}; choose {' or '.join(STEMS)}")
        self.patches = STEMS[stem](patch, channels, width)
        self.class_token = nn.Parameter(0.02 * torch.randn(width))
        self.positions = nn.Parameter(
            0.02 * torch.randn(1 + (image_size // patch) ** 2, width)
        )
        self.blocks = nn.ModuleList(Block(width, heads, ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(
        self,
        images: Float[Tensor, "batch channels side side"],
        prefixes: Mapping[int, Prefix] | None = None,
    ) -> Float[Tensor, "batch classes"]:
        """Return the logits of pictures.

        Args:
            images: pixels in [0, 1].
            prefixes: for some blocks, by index, keys and values that each image's
                tokens attend to beside their own.

        Raises:
            ValueError: a prefix for a block that there is not.
        """
        return self.head(self.features(images, prefixes))

    def features(
        self,
        images: Float[Tensor, "batch channels side side"],
        prefixes: Mapping[int, Prefix] | None = None,
    ) -> Float[Tensor, "batch width"]:
        """Return the class token after the final norm."""
        return self.features_from(self.embed(images), 0, prefixes)

    def tokens(
        self,
        images: Float[Tensor, "batch channels side side"],
        prefixes: Mapping[int, Prefix] | None = None,
    ) -> Float[Tensor, "stages batch tokens width"]:
        """Return the tokens that enter each block and, last, those that leave the
        network, before the final norm.
        """
        stages, prefixes = [self.embed(images)], self._checked(prefixes, 0)
        for i, block in enumerate(self.blocks):
            stages.append(block(stages[-1], prefixes.get(i)))
        return torch.stack(stages)

    def forward_from(
        self, tokens: Tokens, block: int, prefixes: Mapping[int, Prefix] | None = None
    ) -> Float[Tensor, "batch classes"]:
        """Go on from the tokens that enter `block`: `forward_from(tokens(x)[b], b)` is
        `forward(x)`.
        """
        return self.head(self.features_from(tokens, block, prefixes))

    def features_from(
        self, tokens: Tokens, block: int, prefixes: Mapping[int, Prefix] | None = None
    ) -> Float[Tensor, "batch width"]:
        """Go on from the tokens that enter `block` to the features.

        Raises:
            ValueError: a prefix for a block that is not one of those still to come.
        """
        prefixes, last = self._checked(prefixes, block), len(self.blocks) - 1
        for i in range(
            block, last + 1
        ):  # nothing reads what the last block would make of the patches
            tokens = self.blocks[i](
                tokens, prefixes.get(i), queries=1 if i == last else None
            )
        return self.norm(tokens[:, 0])

    def embed(self, images: Float[Tensor, "batch channels side side"]) -> Tokens:
        """Return the tokens that enter block 0."""
        start = self.class_token.expand(len(images), 1, -1)
        return torch.cat([start, self.patches(images)], 1) + self.positions

    def _checked(
        self, prefixes: Mapping[int, Prefix] | None, first: int
    ) -> Mapping[int, Prefix]:
        if wrong := set(prefixes or ()) - set(range(first, len(self.blocks))):
            raise ValueError(
                f"a prefix for block {min(wrong)}; there are blocks {first} to"
                f" {len(self.blocks) - 1} to go through"
            )
        return prefixes or {}


def masked_logits(
    logits: Float[Tensor, "batch classes"], allowed: Bool[Tensor, "*batch classes"]
) -> Float[Tensor, "batch classes"]:
    """Put the logits of classes that are not `allowed` to -∞: they get no probability,
    and no gradient.

    Args:
        allowed: one row for all images, or one an image.
    """
    return logits.masked_fill(~allowed, -torch.inf)
