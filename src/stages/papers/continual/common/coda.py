"""CODA-Prompt, the prompt that several papers of the chapter compare with."""

from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from stages.papers.continual.common.prompts import (
    Prefixes,
    Prompt,
    Query,
    prefixes,
)
from stages.seeding import torch_rng


class CodaPrompt(Prompt):
    """A sum of prompt components, weighted by attention (Smith et al. 2023, eqs. 3 and
    5):

        α_m = cos(q(x) ⊙ A_m, K_m),   p(x) = Σ_m α_m P_m.

    The weights are signed and not normalised. Each task brings components of its own,
    made orthogonal to all before; older ones stay in the sum, frozen. All parts learn
    from the task's loss.

    Args:
        tasks, components: components are M in all; each of N tasks owns M/N of them.
        length: of a prompt, even.
        scale: the norm of a new component (1 in the released code); keys and attention
            vectors have norm 1.

    Raises:
        ValueError: tasks do not share out the components, or there are more than
            Gram-Schmidt can make orthogonal.
    """

    def __init__(
        self,
        tasks: int,
        components: int,
        length: int,
        blocks: Sequence[int],
        width: int,
        scale: float,
        seed: int,
    ):
        super().__init__()
        if components % tasks or components > width:
            raise ValueError(
                f"{components} components: give a multiple of {tasks} tasks, at most"
                f" the width {width}"
            )
        self.blocks = blocks
        self.each = components // tasks
        self.length = length
        self.scale = scale
        self.seed = seed
        empty = torch.zeros(len(blocks), components, width)
        self.components = nn.Parameter(empty.repeat(1, 1, length))  # P
        self.keys = nn.Parameter(empty.clone())  # K
        self.attention = nn.Parameter(empty.clone())  # A
        self.own = slice(0, 0)

    @torch.no_grad()
    def start(self, task: int) -> None:
        """Draw the task's rows: orthogonal to all earlier ones, of norm `scale`
        (components) or 1.
        """
        self.own = slice(task * self.each, (task + 1) * self.each)
        self.grow(self.components, task, "components", self.scale)
        self.grow(self.keys, task, "keys")
        self.grow(self.attention, task, "attention")

    def grow(
        self,
        bank: Float[Tensor, "blocks all n"],
        task: int,
        name: str,
        norm: float = 1.0,
    ) -> None:
        """Draw the rows of a task in one bank."""
        chance = torch_rng(self.seed, "coda", name, task)
        shape = (len(bank), self.each, bank.shape[-1])
        drawn = torch.randn(shape, generator=chance).to(bank)
        for rows, new in zip(bank, drawn, strict=True):
            rows[self.own] = norm * gram_schmidt(new, rows[: self.own.start])

    def rows(
        self, bank: Float[Tensor, "blocks all n"]
    ) -> Float[Tensor, "blocks seen n"]:
        """Return the rows of the tasks so far, the older ones cut off from the
        gradient.
        """
        old = bank[:, : self.own.start].detach()
        return torch.cat([old, bank[:, self.own]], 1)

    def attended(self, query: Query) -> Float[Tensor, "blocks batch seen width"]:
        """Return q(x) ⊙ A_m for every component."""
        return query[None, :, None] * self.rows(self.attention)[:, None]

    def weights(self, query: Query) -> Float[Tensor, "blocks batch seen"]:
        """Return α_m = cos(q(x) ⊙ A_m, K_m)."""
        keys = self.rows(self.keys)
        attended = self.attended(query)
        return F.cosine_similarity(attended, keys[:, None], dim=-1)  # eq. 5

    def forward(self, query: Query) -> tuple[Prefixes, Float[Tensor, ""]]:
        """Return p(x) for every block; no side loss."""
        alpha = self.weights(query)
        components = self.rows(self.components)
        prompts = torch.einsum("lbm,lmn->lbn", alpha, components)  # eq. 3
        prompts = rearrange(prompts, "l b (n d) -> l b n d", n=self.length)
        return prefixes(self.blocks, prompts), query.new_zeros(())


def gram_schmidt(
    new: Float[Tensor, "rows n"], old: Float[Tensor, "older n"]
) -> Float[Tensor, "rows n"]:
    """Make `new` rows orthogonal to the span of `old` ones and to each other, of norm
    1.

    After training the old rows are no longer orthogonal to one another, so all of their
    span is projected out.
    """
    rows = torch.cat([old, new]).double()
    basis = torch.linalg.qr(rows.T)[0].T  # spans the old rows, then the new
    made = basis[len(old) :].to(new)
    return made * torch.sign((made * new).sum(-1, keepdim=True))
