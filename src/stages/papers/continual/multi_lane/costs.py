"""What an answer costs: operations of each way to answer for all known tasks."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from stages.models import ViT
from stages.papers.continual.multi_lane.frozen import Frozen, Heads, Lab, freeze
from stages.papers.continual.multi_lane.method import Lanes
from stages.papers.continual.multi_lane.rivals import FullTokens, l2p_pool

Answer = Callable[[Float[Tensor, "n 3 side side"]], Float[Tensor, "n classes"]]


def side_by_side(lanes: Heads, seen: Frozen) -> Float[Tensor, "n classes"]:
    """Return the logits of all lanes."""
    tasks = range(len(lanes.rows))
    return torch.cat([lanes.own_logits(seen, task) for task in tasks], 1)


def summary_lanes(lanes: Lanes, images: Tensor) -> Tensor:
    """Answer by MULTI-LANE. The frozen stream stops before the last block, whose
    outputs no lane reads.
    """
    vit = lanes.lab.vit
    tokens = [vit.embed(images)]
    for block in vit.blocks[:-1]:
        tokens.append(block(tokens[-1]))
    pairs = zip(vit.blocks, tokens, strict=True)
    normed = torch.stack([block.norm1(x) for block, x in pairs])
    return side_by_side(lanes, Frozen(tokens[0], tokens[1], normed, tokens[-1]))


def full_lanes(lanes: FullTokens, images: Tensor) -> Tensor:
    """Answer by lanes that each carry all tokens."""
    tokens = lanes.lab.vit.embed(images)
    return side_by_side(lanes, Frozen(tokens, tokens, tokens[None], tokens))


def answers(vit: ViT, sizes: Sequence[int], seed: int = 0) -> dict[str, Answer]:
    """Return functions from images to answers, of untrained arms that know all tasks;
    each does only what its answer needs. Picked prompts share block 0 with the pass
    that makes the query.
    """
    none = freeze(vit, torch.zeros(1, 3, 32, 32, device=vit.positions.device))
    lab = Lab(vit, sizes, none, none, lambda *given: None, seed)
    lanes = Lanes(lab)
    full = FullTokens(lab)
    heads = Heads(lab)
    pool = l2p_pool(lab).to(vit.positions.device)
    for arm in (lanes, full, heads, pool):
        arm.requires_grad_(False)

    def picked(images: Tensor) -> Tensor:
        tokens = vit.blocks[0](vit.embed(images))
        given, _ = pool(vit.features_from(tokens, 1))
        return heads.head(vit.features_from(tokens, 1, given))

    return {
        "MULTI-LANE": lambda images: summary_lanes(lanes, images),
        "full-token lanes": lambda images: full_lanes(full, images),
        "L2P++": picked,
        "frozen CLS heads": lambda images: heads.head(vit.features(images)),
    }


@torch.no_grad()
def megaflops(answer: Answer, images: Float[Tensor, "n 3 side side"]) -> float:
    """Count the millions of floating-point operations that one image takes: matrix
    products and convolutions.
    """
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        answer(images)
    return counter.get_total_flops() / len(images) / 1e6
