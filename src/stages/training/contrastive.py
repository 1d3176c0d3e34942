"""How two towers learn from pairs: each picture is to be told from the captions of
others, and each caption from their pictures.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from stages.training.loop import cosine, fit, optimiser

WARMUP = 0.05  # of the updates


def info_nce(logits: Float[Tensor, "n n"]) -> Float[Tensor, ""]:
    """Return the symmetric InfoNCE loss (van den Oord et al. 2018, Radford et al. 2021)
    of a batch of pairs; those that belong together are on the diagonal.
    """
    own = torch.arange(len(logits), device=logits.device)
    by_row = F.cross_entropy(logits, own)
    by_column = F.cross_entropy(logits.mT, own)
    return (by_row + by_column) / 2


def learn_pairs(
    model: nn.Module,
    images: Float[Tensor, "pairs channels side side"],
    texts: Int[Tensor, "pairs length"],
    rows: Int[Tensor, "updates batch"],
    rate: float,
) -> list[float]:
    """Train a `stages.models.clip.CLIP` in place with Adam, a short warm-up and a
    cosine to 0; return the losses.

    Args:
        images, texts: the pairs, on the model's device.
        rows: which pairs each update takes.
        rate: the highest of the learning rate.
    """
    steps = len(rows)
    adam = optimiser(model.parameters(), "adamw", rate, weight_decay=0.0)

    def loss(step: int) -> Tensor:
        return info_nce(model(images[rows[step]], texts[rows[step]]))

    schedule = cosine(steps, int(WARMUP * steps))
    clip = model.clip_scale
    return fit(loss, steps, adam, schedule=schedule, after_step=lambda step: clip())
