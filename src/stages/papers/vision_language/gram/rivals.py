"""What GRAM is compared with: other maps of the gradient, and the same pairs without
meta-learning.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from stages.models.clip import CLIP
from stages.papers.vision_language.gram.method import (
    CLIP_NORM,
    TINY,
    Context,
    Prompt,
    Prompts,
)
from stages.papers.vision_language.gram.pseudo_tasks import Pairs
from stages.training import fit, optimiser
from stages.training.contrastive import info_nce


class Raw(nn.Module):
    """Leave the gradient as it is: plain tuning, and plain MAML."""

    def forward(self, raw: Prompts, context: Context) -> Prompts:
        """Return the gradient."""
        return raw

    def miss(self, context: Context, alike: Float[Tensor, " tasks"]) -> Tensor:
        """Return 0: there is no gate."""
        return torch.zeros((), device=context.device)


class Affine(Raw):
    """Scale and shift each number of the gradient, and keep the length of each row; at
    the start it is the identity.
    """

    def __init__(self, vectors: int = 4, width: int = 64):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(vectors, width))
        self.shift = nn.Parameter(torch.zeros(vectors, width))

    def forward(self, raw: Prompts, context: Context) -> Prompts:
        """Return the scaled and shifted gradient."""
        length = raw.norm(dim=-1, keepdim=True)
        scaled = raw / length.clamp(min=TINY) * raw.shape[-1] ** 0.5
        return F.normalize(self.scale * scaled + self.shift, dim=-1) * length


def pretune(
    clip: CLIP,
    prompt: Prompt,
    pairs: Pairs,
    draw: Callable[[], Int[Tensor, " batch"]],
    steps: int,
    rate: float,
) -> Prompt:
    """Train a prompt before all captions by CLIP's own loss, with Adam; return it.

    Args:
        draw: gives the pairs of the next step.
    """
    initial = nn.Parameter(prompt.clone())

    def contrast(step: int) -> Tensor:
        rows = draw()
        texts = clip.encode_texts(pairs.captions[rows], initial)
        return info_nce(clip.compare(pairs.images[rows], texts))

    fit(contrast, steps, optimiser([initial], "adam", rate), clip=CLIP_NORM)
    return initial.detach()
