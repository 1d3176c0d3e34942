"""Losses that more than one paper uses."""

from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

IGNORED = -100  # what F.cross_entropy leaves out


def next_token_loss(
    logits: Float[Tensor, "batch tokens vocabulary"],
    tokens: Int[Tensor, "batch tokens"],
    counted: Bool[Tensor, "batch tokens"] | None = None,
) -> Float[Tensor, ""]:
    """Return the mean of -log p(token | those before it) over the tokens that are
    `counted`.

    Logits at a token are those of the next: the last ones predict nothing here, and the
    first token is never counted.

    Args:
        counted: True where a token is to be predicted, as in an answer; all of them by
            default. If none is, the loss is not a number.

    Raises:
        ValueError: shapes differ.
    """
    if logits.shape[:2] != tokens.shape or (
        counted is not None and counted.shape != tokens.shape
    ):
        shapes = (
            f"logits {tuple(logits.shape)}, counted"
            f" {None if counted is None else tuple(counted.shape)}"
        )
        raise ValueError(
            f"{shapes} for tokens {tuple(tokens.shape)}; the first two axes must agree"
        )
    targets = tokens if counted is None else tokens.masked_fill(~counted, IGNORED)
    # the shift is in the targets, which are small, and not in the logits
    return F.cross_entropy(
        logits.flatten(0, 1), F.pad(targets[:, 1:], (0, 1), value=IGNORED).flatten()
    )
