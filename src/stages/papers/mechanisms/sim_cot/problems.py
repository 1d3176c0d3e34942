"""Word problems in tokens, as a network that thinks before it answers reads them."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional as F

from stages.training import pick_device
from stages.worlds import chains
from stages.worlds.vocabulary import PAD, join


@dataclass(frozen=True)
class Problems:
    """Word problems of `stages.worlds.chains`.

    Attributes:
        question: in words, pads on the left.
        steps: each "< 7 + 3 = 10 >"; pads where a problem has no more.
        answer: "<answer> 10 <end>".
        count: how many steps a problem takes.
    """

    question: Int[Tensor, "n length"]
    steps: Int[Tensor, "n most 7"]
    answer: Int[Tensor, "n 3"]
    count: Int[Tensor, " n"]

    @classmethod
    def of(cls, world: chains.Chains) -> "Problems":
        """Write down what a world holds, on the device that is there."""
        words = chains.vocabulary(world.modulus, world.plain).number
        device = pick_device()
        mark = torch.full_like(world.answer, words["<answer>"])
        end = torch.full_like(world.answer, words["<end>"])
        answer = torch.stack([mark, 1 + world.answer, end], 1)
        rows = (world.question, world.written, answer, world.steps)
        return cls(*(part.to(device) for part in rows))

    def __len__(self) -> int:
        return len(self.count)

    def take(self, rows: Int[Tensor, " some"] | slice) -> "Problems":
        """Return some of the problems, without the columns of questions in which all of
        these have pads.
        """
        question = self.question[rows]
        question = question[:, (question != PAD).any(0)]
        return Problems(question, self.steps[rows], self.answer[rows], self.count[rows])

    def text(self, skip: int = 0, last: bool = True) -> Int[Tensor, "n length"]:
        """Return the steps from `skip` on, without the last one if so asked, and the
        answer; pads on the right.
        """
        number = torch.arange(skip + 1, self.steps.shape[1] + 1)
        before_last = number.to(self.count.device) < self.count[:, None]
        steps = self.steps[:, skip:] * (before_last | last)[..., None]
        return join(steps.flatten(1), self.answer)

    def slots(
        self, slots: int, empty: Literal["answer", "nothing"] = "answer"
    ) -> Int[Tensor, "n slots length"]:
        """Return what is to be decoded from each of `slots` slots: a step and "<end>",
        pads on the right.

        The last slot takes all steps that are left. One for which a problem has no step
        takes the answer (released for Coconut), or nothing, which gives no loss
        (released for CODI).
        """
        end = self.answer[:, -1:]
        rows = []
        for k in range(slots):
            step = self.steps[:, k : None if k == slots - 1 else k + 1].flatten(1)
            none = (k >= self.count)[:, None]
            other = self.answer * (none & (empty == "answer"))
            rows.append(join(step, end * ~none, other))
        longest = max(row.shape[1] for row in rows)
        return torch.stack([F.pad(row, (0, longest - row.shape[1])) for row in rows], 1)
