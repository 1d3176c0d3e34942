"""What MULTI-LANE is compared with: lanes built otherwise, one lane picked, attention
pooling, picked prompts, and fine-tuning.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from stages.models import seeded
from stages.papers.continual.common.loop import Encoded, FineTuned
from stages.papers.continual.common.pools import L2P
from stages.papers.continual.common.prompts import Prompt, Prompted
from stages.papers.continual.multi_lane.frozen import Features, Frozen, Heads, Lab
from stages.papers.continual.multi_lane.method import (
    Lanes,
    Prefixes,
    class_token,
    evolve,
    summarise,
)
from stages.papers.continual.multi_lane.world import MultiLabelStream
from stages.seeding import torch_rng

# ---------------------------------------------------------------- lanes built otherwise


class CarriedSummaries(Lanes):
    """Lanes without drop and replace: they read the image in block 0 only, and carry
    all their tokens on.
    """

    def travel(self, seen: Frozen, task: int, prefixes: Prefixes) -> Features:
        """Return u. As in the released code, what block 0's attention makes of the
        summaries is added to the selectors, not to the summaries.
        """
        vit = self.lab.vit
        first = vit.blocks[0]
        selectors = self.lanes["selectors"][task]
        reading = evolve(vit, selectors)
        summaries, _ = summarise(reading[:1], seen.normed[:1])
        c = class_token(vit, len(seen))
        tokens = torch.cat([c, selectors.expand(len(seen), -1, -1)], 1)
        shown = torch.cat([first.norm1(c), summaries[0]], 1)
        tokens = tokens + first.attention(shown, prefixes.get(0))
        tokens = tokens + first.mlp(first.norm2(tokens))
        later = {block: prefix for block, prefix in prefixes.items() if block}
        return vit.features_from(tokens, 1, later)


class FullTokens(Lanes):
    """Lanes that carry all tokens of the image, each through the whole network."""

    kinds = ("prompts",)

    def travel(self, seen: Frozen, task: int, prefixes: Prefixes) -> Features:
        """Return u, the class token of the network with the lane's prompts."""
        return self.lab.vit.features_from(seen.entering, 0, prefixes)


# ------------------------------------------------------------------- one lane is picked


def best_keys(
    queries: Features, owner: Int[Tensor, " n"], tasks: int
) -> Float[Tensor, "tasks width"]:
    """Return the keys that minimise each task's mean 1 - cos(q(x), k): the mean of its
    queries' directions, scaled to length 1.
    """
    unit = F.normalize(queries, dim=-1)
    means = torch.stack([unit[owner == task].mean(0) for task in range(tasks)])
    return F.normalize(means, dim=-1)


def nearest_lanes(lab: Lab, owner: Int[Tensor, " n"]) -> Int[Tensor, "phases test"]:
    """Return the lane whose key is nearest to each test image, among those there are
    after each task.
    """
    tasks = len(lab.sizes)
    keys = best_keys(lab.seen.leaving[:, 0], owner, tasks)
    alike = F.normalize(lab.tested.leaving[:, 0], dim=-1) @ keys.T
    return torch.stack([alike[:, : n + 1].argmax(1) for n in range(tasks)])


@torch.no_grad()
def picked(
    lanes: Lanes, chosen: Int[Tensor, "phases test"]
) -> Float[Tensor, "phases test classes"]:
    """Score with one trained lane an image, the query-key variant of the released code:
    all rows of the head read the feature of the chosen lane.
    """
    ends = [
        torch.cat([lanes.features(part, task) for part in lanes.lab.tested.parts()])
        for task in range(len(lanes.rows))
    ]
    ends = torch.stack(ends)  # (tasks, test, width)
    images = torch.arange(chosen.shape[1], device=chosen.device)
    return torch.stack([lanes.head(ends[choice, images]) for choice in chosen])


# ------------------------------------------------------------------- without any lane


class Pooled(Heads):
    """Attention pooling over the frozen network's last tokens, by one learned query a
    class.
    """

    def __init__(self, lab: Lab):
        super().__init__(lab)
        chance = torch_rng(lab.seed, "pooling")
        drawn = torch.randn(self.head.weight.shape, generator=chance)
        self.queries = nn.Parameter((drawn / lab.width**0.5).to(self.scores.device))

    def start(self, task: int) -> list[nn.Parameter]:
        """Train head and queries, of which only the task's own rows get a gradient."""
        return list(self.parameters())

    def own_logits(self, seen: Frozen, task: int) -> Float[Tensor, "n own"]:
        """Return w_k · Σ_i a_i x_i + b_k with a = softmax(q_k · x_i / √D), for the
        task's classes k.
        """
        own = self.rows[task]
        tokens = seen.leaving
        scores = self.queries[own] @ tokens.mT / tokens.shape[-1] ** 0.5
        pooled = scores.softmax(-1) @ tokens  # (n, own, width)
        return (pooled * self.head.weight[own]).sum(-1) + self.head.bias[own]


class PickedPrompts(Prompted):
    """Prompts chosen for an image, L2P++ by default, trained by the masked loss of
    several labels.
    """

    def __init__(
        self, lab: Lab, stream: MultiLabelStream, prompt: Prompt | None = None
    ):
        encoded = Encoded(
            lab.seen.second,
            lab.seen.leaving[:, 0],
            lab.tested.second,
            lab.tested.leaving[:, 0],
            first=1,
        )
        super().__init__(lab.vit, prompt or l2p_pool(lab), stream, encoded)

    def loss(self, rows: Int[Tensor, " batch"], task: int) -> Tensor:
        """Binary cross-entropy on the task's own classes, and the side loss that trains
        keys.
        """
        _, stream, encoded = self.frozen
        features, side = self.features(encoded.tokens[rows], encoded.query[rows])
        own = self.head(features)[:, stream.own(task)]
        return stream.loss(own, rows, task) + side


def l2p_pool(lab: Lab) -> L2P:
    """Make the pool of L2P++: 20 prompts of 8 vectors, three for an image, in block 1,
    so that block 0 is passed once.
    """
    return L2P(20, 8, 3, (1,), lab.width, 0.2, lab.seed)


class FineTunedAll(FineTuned):
    """Fine-tuning of all parameters; no class is ever a negative unless its task says
    so.

    The head starts from random rows: behind one of zeros the rest of the network, at
    the small rate that suits it, would not begin to learn for long.
    """

    def __init__(self, lab: Lab, stream: MultiLabelStream):
        super().__init__(lab.vit, stream)
        with seeded(lab.seed, "head"):
            head = nn.Linear(lab.width, stream.classes)
        self.vit.head = head.to(lab.vit.positions.device)

    def loss(self, rows: Int[Tensor, " batch"], task: int) -> Tensor:
        """Binary cross-entropy on the task's own classes."""
        logits = self.vit(self.stream.images[rows])
        return self.stream.loss(logits[:, self.stream.own(task)], rows, task)
