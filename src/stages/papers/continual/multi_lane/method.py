"""MULTI-LANE: a lane for every task through one frozen network.

De Min, Mancini, Lathuilière, Roy & Ricci, "Less is more: Summarizing Patch Tokens for
efficient Multi-Label Class-Incremental Learning", CoLLAs 2024, arXiv 2405.15633. An
image with several labels shows objects of several tasks, so a method that picks one
task's prompt for it has no right choice. Here every task has a lane of its own through
the frozen transformer, and all lanes run. What keeps that cheap is that a lane reads a
few learned summaries of the patches.

Equations are numbered as on the book's page. The order of work is the released code's;
that code is under a non-commercial licence, and none of it is here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from stages.models import Prefix, ViT
from stages.papers.continual.multi_lane.frozen import Features, Frozen, Heads, Lab
from stages.seeding import torch_rng

Prefixes = Mapping[int, Prefix]
Summaries = Float[Tensor, "blocks n s width"]
Weights = Float[Tensor, "blocks n s tokens"]

# ------------------------------------------------------------- a lane, block by block


def evolve(
    vit: ViT, selectors: Float[Tensor, "s width"]
) -> Float[Tensor, "blocks s width"]:
    """Return s̃, the selectors as each block reads with them (eq. 1).

    No image has any part in this: a trained lane's are computed once for all.
    """
    found = []
    for block in vit.blocks:
        normed = block.norm1(selectors)
        found.append(normed)
        selectors = selectors + normed  # eq. 1
        selectors = selectors + block.mlp(block.norm2(selectors))
    return torch.stack(found)


def summarise(
    selectors: Float[Tensor, "blocks s width"],
    tokens: Float[Tensor, "blocks n tokens width"],
) -> tuple[Summaries, Weights]:
    """Return the summaries Z of every block and the attention weights (eq. 2): one head
    as wide as the token, no projection.
    """
    scores = torch.einsum("lsd,lntd->lnst", selectors, tokens)
    weights = (scores / tokens.shape[-1] ** 0.5).softmax(-1)
    return weights @ tokens, weights  # eq. 2


def class_token(vit: ViT, n: int) -> Float[Tensor, "n 1 width"]:
    """Return what lanes start from: the frozen class token, without a position."""
    return vit.class_token.expand(n, 1, -1)


def drop_and_replace(
    vit: ViT,
    summaries: Summaries,
    prefixes: Prefixes,
) -> Features:
    """Carry the class token through the frozen blocks, each of which shows it new
    summaries; return u (eq. 3).

    What a block's attention would make of Z is dropped, so only the class token's query
    is computed.
    """
    c = class_token(vit, summaries.shape[1])
    for i, (block, z) in enumerate(zip(vit.blocks, summaries, strict=True)):
        shown = torch.cat([block.norm1(c), z], 1)
        c = c + block.attention(shown, prefixes.get(i), queries=1)  # eq. 3
        c = c + block.mlp(block.norm2(c))
    return vit.norm(c[:, 0])


# ------------------------------------------------------------- a lane for every task


@dataclass(frozen=True)
class Lane:
    """How large a lane is.

    Attributes:
        summaries: S, the selectors of a lane.
        prompts: P, the key and value vectors that a block's prefix has.
        prompted: how many blocks, from the first on, have one.
    """

    summaries: int = 8
    prompts: int = 4
    prompted: int = 2


class Lanes(Heads):
    """MULTI-LANE: selectors, prompts and rows of the head for each task, copied from
    the task before when it begins (the rows are not).
    """

    kinds: tuple[str, ...] = ("selectors", "prompts")

    def __init__(self, lab: Lab, lane: Lane = Lane()):
        super().__init__(lab)
        shapes = {
            "selectors": (lane.summaries, lab.width),
            "prompts": (lane.prompted, 2, lane.prompts, lab.width),
        }
        self.lanes = nn.ModuleDict()
        for kind in self.kinds:
            # All that the first lane has of a kind is one vector of length 1: what an
            # orthogonal start of the stack of lanes comes to.
            chance = torch_rng(lab.seed, "lanes", kind)
            first = torch.randn(shapes[kind], generator=chance).to(self.scores.device)
            first = first / first.norm()
            self.lanes[kind] = nn.ParameterList(
                nn.Parameter(first.clone()) for _ in lab.sizes
            )

    @torch.no_grad()
    def start(self, task: int) -> Sequence[nn.Parameter]:
        """Begin a lane with what the one before has learnt."""
        for kind in self.lanes.values():
            if task:
                kind[task].copy_(kind[task - 1])
        own = [kind[task] for kind in self.lanes.values()]
        return [*own, *self.head.parameters()]

    def prefixes(self, task: int, n: int) -> Prefixes:
        """Return a lane's keys and values of the first blocks, for n images."""
        prompts = self.lanes["prompts"][task]
        return {
            block: (keys.expand(n, -1, -1), values.expand(n, -1, -1))
            for block, (keys, values) in enumerate(prompts)
        }

    def travel(self, seen: Frozen, task: int, prefixes: Prefixes) -> Features:
        """Return u, what the class token of a lane has become at its end."""
        vit = self.lab.vit
        selectors = evolve(vit, self.lanes["selectors"][task])
        summaries, _ = summarise(selectors, seen.normed)
        return drop_and_replace(vit, summaries, prefixes)

    def features(self, seen: Frozen, task: int) -> Features:
        """Return û = u / ‖u‖, which the lane's own rows of the head read (eq. 4)."""
        u = self.travel(seen, task, self.prefixes(task, len(seen)))
        return F.normalize(u, dim=-1)  # eq. 4
