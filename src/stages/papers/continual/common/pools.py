"""Prompts that are chosen by a key: DualPrompt's expert of a task, L2P++'s pool."""

from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from stages.papers.continual.common.prompts import (
    Prefixes,
    Prompt,
    Query,
    prefixes,
)
from stages.seeding import torch_rng


def cosines(
    query: Query, keys: Float[Tensor, "blocks keys width"]
) -> Float[Tensor, "blocks batch keys"]:
    """Return the cosine between every query and every key of a block."""
    return F.cosine_similarity(query[None, :, None], keys[:, None], dim=-1)


class DualPrompt(Prompt):
    """A general prompt for all tasks, and an expert for each, chosen by the nearest key
    (Wang et al. 2022).

    In training the task's own expert is used and its key drawn to the queries by 1 -
    cos(q, k); in evaluation the expert with the nearest of the keys seen so far. No
    gradient of the task's loss reaches a key.

    Args:
        general, expert: lengths of the prompts, even numbers.
        general_blocks, expert_blocks: where they go.
        scale: the initial entries are uniform within 0 and this.
    """

    def __init__(
        self,
        tasks: int,
        general: int,
        expert: int,
        general_blocks: Sequence[int],
        expert_blocks: Sequence[int],
        width: int,
        scale: float,
        seed: int,
    ):
        super().__init__()
        self.general_blocks = general_blocks
        self.expert_blocks = expert_blocks
        chance = torch_rng(seed, "dual prompt")

        def drawn(*shape: int) -> Float[Tensor, "..."]:
            return torch.rand(*shape, width, generator=chance)

        self.general = nn.Parameter(scale * drawn(len(general_blocks), general))
        self.experts = nn.Parameter(scale * drawn(len(expert_blocks), tasks, expert))
        self.keys = nn.Parameter(drawn(len(expert_blocks), tasks))
        self.task = 0

    def start(self, task: int) -> None:
        """Turn to the task's expert."""
        self.task = task

    def chosen(self, query: Query) -> Int[Tensor, "blocks batch"]:
        """Return the expert each block takes for each image: of those seen, the one
        with the nearest key.
        """
        seen = self.keys[:, : self.task + 1]
        return cosines(query, seen).argmax(-1)

    def forward(self, query: Query) -> tuple[Prefixes, Float[Tensor, ""]]:
        """Return general and expert prefixes, and in training Σ_blocks mean (1 - cos(q,
        own key)).
        """
        side = query.new_zeros(())
        if self.training:
            own = self.keys[:, self.task, None]
            side = (1 - cosines(query, own)).mean(1).sum()
            expert = [
                prompt[self.task].expand(len(query), -1, -1) for prompt in self.experts
            ]
        else:
            choice = self.chosen(query)
            expert = [
                prompt[index]
                for prompt, index in zip(self.experts, choice, strict=True)
            ]
        general = [prompt.expand(len(query), -1, -1) for prompt in self.general]
        blocks = (*self.general_blocks, *self.expert_blocks)
        return prefixes(blocks, [*general, *expert]), side


class L2P(Prompt):
    """A pool of prompts shared by all tasks, of which each image takes the few with
    the nearest keys.

    L2P++ is L2P (Wang et al. 2022) with prefixes, in one block; "Deep" has a pool in
    several (Smith et al. 2023). Choosing stops the gradient: keys are trained by the
    side loss mean Σ_chosen (1 - cos(q, k)) alone.

    Args:
        pool, length, top: prompts in the pool, their length (even), and how many a
            image takes.
    """

    def __init__(
        self,
        pool: int,
        length: int,
        top: int,
        blocks: Sequence[int],
        width: int,
        scale: float,
        seed: int,
    ):
        super().__init__()
        self.blocks = blocks
        self.top = top
        chance = torch_rng(seed, "prompt pool")
        drawn = torch.rand(len(blocks), pool, length, width, generator=chance)
        self.pool = nn.Parameter(scale * drawn)
        self.keys = nn.Parameter(torch.rand(len(blocks), pool, width, generator=chance))

    def forward(self, query: Query) -> tuple[Prefixes, Float[Tensor, ""]]:
        """Return each image's own selection, its prompts one after another: all keys,
        then all values.
        """
        best = cosines(query, self.keys).topk(self.top, dim=-1)
        chosen = [
            prompts[index]
            for prompts, index in zip(self.pool, best.indices, strict=True)
        ]
        prompts = [
            rearrange(c, "b k (half l) d -> b (half k l) d", half=2) for c in chosen
        ]
        return prefixes(self.blocks, prompts), (1 - best.values).sum(-1).mean(1).sum()
