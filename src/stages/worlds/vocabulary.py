"""Text as rows of token numbers: a vocabulary, and how pieces of text whose lengths
differ by row are joined.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

PAD = 0  # the number of "<pad>" in every vocabulary; where a row has it, it has nothing


class Vocabulary:
    """Tokens and their numbers, from 1 up in the order given; 0 is "<pad>".

    Args:
        tokens: the tokens, no one twice.
        separator: what stands between tokens in a text, " " for words, "" for
            characters.
    """

    def __init__(self, tokens: Iterable[str], separator: str = " "):
        self.tokens = ("<pad>", *tokens)
        self.separator = separator
        self.number = {token: i for i, token in enumerate(self.tokens)}
        if len(self.number) < len(self.tokens):
            twice = next(
                token for i, token in enumerate(self.tokens) if self.number[token] != i
            )
            raise ValueError(f"the token {twice!r} is in the vocabulary twice")

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> Int[Tensor, " length"]:
        """Return the numbers of a text's tokens; ValueError names one that the
        vocabulary does not have.
        """
        tokens = text.split(self.separator) if self.separator else list(text)
        if unknown := [token for token in tokens if token not in self.number]:
            raise ValueError(
                f"no token {unknown[0]!r} in the vocabulary of {len(self)}"
            )
        return torch.tensor([self.number[token] for token in tokens], dtype=torch.int64)

    def decode(self, numbers: Int[Tensor, " length"] | Sequence[int]) -> str:
        """Return the text of one row; pads are left out."""
        numbers = numbers.tolist() if isinstance(numbers, Tensor) else numbers
        return self.separator.join(self.tokens[i] for i in numbers if i != PAD)


def join(*pieces: Int[Tensor, "..."], pad: str = "right") -> Int[Tensor, "n length"]:
    """Put pieces of text, (n, tokens) or (tokens) for all rows alike, one after the
    other without gaps.

    Pads inside pieces are dropped: rows become as long as the longest, with the pads of
    the shorter on the right, or on the left where what follows a row has to start at
    one position for all of them.
    """
    if pad not in ("left", "right"):
        raise ValueError(f"pads go 'left' or 'right', not {pad!r}")
    n = max((len(piece) for piece in pieces if piece.ndim == 2), default=1)
    rows = torch.cat([piece.expand(n, piece.shape[-1]) for piece in pieces], 1)
    present = rows != PAD
    lengths = present.sum(1, keepdim=True)
    width = int(lengths.max()) if n else 0
    place = present.cumsum(1) - 1 + (width - lengths if pad == "left" else 0)
    joined = rows.new_full((n, width + 1), PAD)  # the last column takes what is dropped
    return joined.scatter_(1, place.masked_fill(~present, width), rows)[:, :width]


@dataclass(frozen=True)
class Answered:
    """Prompts with their answers, as tokens with pads on the right.

    Attributes:
        counted: True at the tokens of the answers.
    """

    tokens: Int[Tensor, "n length"]
    counted: Bool[Tensor, "n length"]

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, rows: Int[Tensor, " m"] | Bool[Tensor, " n"]) -> "Answered":
        """Return some of them."""
        return Answered(self.tokens[rows], self.counted[rows])


def answered(
    prompts: Int[Tensor, "n asked"] | Int[Tensor, " asked"],
    answers: Int[Tensor, "n told"],
) -> Answered:
    """Put answers behind prompts, or behind one prompt for all.

    Args:
        prompts, answers: tokens; pads anywhere are dropped. Whether an answer's closing
            token is learnt, too, depends on whether it is given here.
    """
    tokens = join(prompts, answers)
    length = (tokens != PAD).sum(1, keepdim=True)
    told = (answers != PAD).sum(1, keepdim=True)
    place = torch.arange(tokens.shape[1], device=tokens.device)
    return Answered(tokens, (place >= length - told) & (place < length))
