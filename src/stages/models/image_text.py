"""A small language model that sees: a GPT that reads the patches of a picture in the
place of placeholder tokens, as LLaVA does (Liu et al. 2023).

A text is a row of tokens. Where it shows a picture it holds one placeholder, the
`slot`, for each patch; rows without a picture hold none, and both kinds share a batch.
Pads on the right need no mask, since nothing before them can see them.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from stages.models.gpt import GPT
from stages.models.vit import STEMS

Tokens = Int[Tensor, "n length"]
Images = Float[Tensor, "pictures channels side side"]
Mask = Bool[Tensor, "n length"] | None


class ImageTextGPT(nn.Module):
    """A GPT, and a stem that makes a vector of each patch of a picture.

    Patches have positions of their own beside those in the text, so that a picture
    looks the same wherever it stands in a text.

    Args:
        vocabulary: number of tokens, the slot among them.
        slot: the token in whose place a patch is read.
        image_size, patch, channels: of a picture; a row that shows one holds
            (image_size / patch)² slots.
        stem: how a patch becomes a vector, "convolution" or "linear", as in
            `stages.models.ViT`.
        width: of a token.
        gpt: goes to `stages.models.GPT`, as depth, heads, and length, which counts
            slots.

    Raises:
        ValueError: patches do not fill the picture, there is no such stem, or the slot
            is no token; and as `GPT`.
    """

    def __init__(
        self,
        vocabulary: int,
        slot: int,
        *,
        image_size: int = 16,
        patch: int = 4,
        channels: int = 3,
        stem: str = "convolution",
        width: int = 64,
        **gpt,
    ):
        super().__init__()
        if image_size % patch:
            raise ValueError(f"patch {patch} must divide image_size {image_size}")
        if stem not in STEMS:
            raise ValueError(f"no stem {stem!r}; choose {' or '.join(STEMS)}")
        if not 0 <= slot < vocabulary:
            raise ValueError(
                f"the slot {slot} is no token; there are 0 to {vocabulary - 1}"
            )
        self.slot = slot
        self.gpt = GPT(vocabulary, width, **gpt)
        self.patches = STEMS[stem](patch, channels, width)
        count = (image_size // patch) ** 2
        size = self.gpt.embedding.weight.std().item()  # patches are as large as words
        self.places = nn.Parameter(size * torch.randn(count, width))

    def embed(
        self, tokens: Tokens, images: Images | None = None
    ) -> Float[Tensor, "n length width"]:
        """Return the vectors that the GPT reads: of words, and of patches in slots.

        Args:
            tokens: texts.
            images: one for each row that has slots, in the rows' order; None where no
                row has any.

        Raises:
            ValueError: a row has another number of slots than a picture has patches,
                or there are not as many pictures as rows with slots.
        """
        vectors = self.gpt.embedding(tokens)
        slots = tokens == self.slot
        counts = slots.sum(1)
        shown = int((counts > 0).sum())
        given = 0 if images is None else len(images)
        if shown != given:
            raise ValueError(f"{given} pictures for {shown} rows that have slots")
        if images is None:
            return vectors
        wrong = (counts > 0) & (counts != len(self.places))
        if wrong.any():
            row = int(wrong.nonzero()[0])
            raise ValueError(
                f"row {row} has {int(counts[row])} slots; a picture has"
                f" {len(self.places)} patches"
            )
        patches = self.patches(images) + self.places
        return vectors.masked_scatter(slots[..., None], patches)

    def forward(
        self, tokens: Tokens, images: Images | None = None, mask: Mask = None
    ) -> Float[Tensor, "n length vocabulary"]:
        """Return the logits of the next token at every token; arguments and errors are
        those of `embed` and of `GPT.forward`.
        """
        return self.gpt.logits(self.final_states(tokens, images, mask))

    def final_states(
        self, tokens: Tokens, images: Images | None = None, mask: Mask = None
    ) -> Float[Tensor, "n length width"]:
        """Return the states after the final norm, which `forward` maps to logits."""
        return self.gpt.extend(self.embed(tokens, images), mask=mask)[0]

    def generate(
        self, tokens: Tokens, images: Images | None, new: int, **options
    ) -> Int[Tensor, "n made"]:
        """Write up to `new` tokens after each prompt; `options` go to `GPT.generate`,
        as a `mask` of prompts whose pads are on the left.
        """
        return self.gpt.generate(self.embed(tokens, images), new, **options)
