"""Responses as a model samples them, row by row."""

from jaxtyping import Int
from torch import Tensor

from stages.worlds.vocabulary import PAD


def until(written: Int[Tensor, "n length"], end: int) -> Int[Tensor, "n length"]:
    """Blank what comes after the first `end` of each row; that itself stays."""
    ended = (written == end).int()
    return written.masked_fill(ended.cumsum(1) > ended, PAD)
