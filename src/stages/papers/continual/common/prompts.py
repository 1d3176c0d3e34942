"""Prompts for a frozen vision transformer: what a prompt is, the one shared by all
tasks, and the learner of a prompt and a head.

A prompt gives some blocks a prefix, keys and values that join those of the image after
their projection. Half of its vectors are keys, half values. All but OnePrompt read the
query q(x), the feature of the frozen network without prompts: these need two forward
passes an image.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from stages.models import Prefix, ViT
from stages.papers.continual.common.loop import (
    AT_ONCE,
    Encoded,
    new_head,
    task_cross_entropy,
)
from stages.papers.continual.common.streams import Stream
from stages.seeding import torch_rng

Query = Float[Tensor, "batch width"]
Prefixes = dict[int, Prefix]


class Prompt(nn.Module):
    """What gives prefixes. In training mode it is told its task by `start`; in
    evaluation it must do without.
    """

    passes = 2  # forward passes an image

    def start(self, task: int) -> None:
        """Make ready for a task."""

    def forward(self, query: Query) -> tuple[Prefixes, Float[Tensor, ""]]:
        """Return the prefixes by block, and the side loss that trains the keys (zero
        where there is none).
        """
        raise NotImplementedError


def prefixes(
    blocks: Sequence[int], prompts: Sequence[Float[Tensor, "batch length width"]]
) -> Prefixes:
    """Split each block's prompt into keys, its first half, and values."""
    return {
        block: tuple(prompt.chunk(2, 1))
        for block, prompt in zip(blocks, prompts, strict=True)
    }


class OnePrompt(Prompt):
    """One prompt for all images and all tasks, never frozen nor reset (Huang et al.
    2024).

    Args:
        lengths: of the prompt in each block, by index; even numbers.
        scale: the initial entries are uniform within 0 and this.
    """

    passes = 1

    def __init__(self, lengths: Mapping[int, int], width: int, scale: float, seed: int):
        super().__init__()
        self.blocks = tuple(lengths)
        chance = torch_rng(seed, "one prompt")
        drawn = [
            scale * torch.rand(length, width, generator=chance)
            for length in lengths.values()
        ]
        self.prompts = nn.ParameterList(nn.Parameter(prompt) for prompt in drawn)

    def forward(self, query: Query) -> tuple[Prefixes, Float[Tensor, ""]]:
        """Return the same prefix for every image."""
        prompts = [prompt.expand(len(query), -1, -1) for prompt in self.prompts]
        return prefixes(self.blocks, prompts), query.new_zeros(())


class Prompted(nn.Module):
    """Learns a stream with a prompt and a linear head on a frozen transformer; without
    a prompt, with the head alone.

    The softmax is over the task's own classes, so that old rows of the head get no
    gradient.
    """

    def __init__(
        self, vit: ViT, prompt: Prompt | None, stream: Stream, encoded: Encoded
    ):
        super().__init__()
        self.prompt = prompt.to(vit.positions.device) if prompt else None
        self.head = new_head(vit, stream.classes)
        self.frozen = (vit, stream, encoded)  # a tuple: not among the parameters

    @property
    def trained(self) -> int:
        """How many parameters are trained, over all tasks."""
        return sum(p.numel() for p in self.parameters())

    @property
    def passes(self) -> int:
        """Forward passes an image."""
        return self.prompt.passes if self.prompt else 1

    def start(self, task: int) -> Sequence[nn.Parameter]:
        """Begin a task: draw the prompt's own rows before the optimiser is made."""
        if self.prompt:
            self.prompt.start(task)
        self.train()
        return list(self.parameters())

    def features(
        self, tokens: Float[Tensor, "batch tokens width"], query: Query
    ) -> tuple[Query, Float[Tensor, ""]]:
        """Return the features of images under the prompt, and the side loss."""
        if self.prompt is None:
            return query, query.new_zeros(())
        given, side = self.prompt(query)
        vit, _, encoded = self.frozen
        return vit.features_from(tokens, encoded.first, given), side

    def loss(self, rows: Int[Tensor, " batch"], task: int) -> Tensor:
        """Cross-entropy among the task's classes, and the side loss."""
        _, stream, encoded = self.frozen
        features, side = self.features(encoded.tokens[rows], encoded.query[rows])
        logits = self.head(features)
        return task_cross_entropy(logits, stream.labels[rows], stream.own(task)) + side

    def end(self, task: int) -> None:
        """Leave training mode: from here the task is not told."""
        self.eval()

    def test_features(self) -> Float[Tensor, "test width"]:
        """Return the features of all test images, as the prompt is now."""
        _, _, encoded = self.frozen
        return self._kept(encoded.test_tokens, encoded.test_query)

    def train_features(self, rows: Int[Tensor, " n"]) -> Float[Tensor, "n width"]:
        """Return the features of some training images, as the prompt is now."""
        _, _, encoded = self.frozen
        return self._kept(encoded.tokens[rows], encoded.query[rows])

    @torch.no_grad()
    def _kept(self, tokens: Tensor, query: Tensor) -> Tensor:
        parts = zip(tokens.split(AT_ONCE), query.split(AT_ONCE), strict=True)
        return torch.cat([self.features(*part)[0] for part in parts])

    def logits(self) -> Float[Tensor, "test classes"]:
        """Return the test logits."""
        return self.head(self.test_features())
