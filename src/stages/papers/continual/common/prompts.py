"""Prompts for a frozen vision transformer: L2P++, DualPrompt, CODA-Prompt, OnePrompt,
and their learner.

A prompt gives some blocks a prefix, keys and values that join those of the picture
after their projection. Half of its vectors are keys, half values. All but OnePrompt
read the query q(x), the feature of the frozen network without prompts: these need two
forward passes a picture.
"""

from collections.abc import Mapping, Sequence

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from stages.models import Prefix, ViT
from stages.papers.continual.common.loop import Encoded, new_head, task_cross_entropy
from stages.papers.continual.common.streams import Stream
from stages.seeding import torch_rng

Query = Float[Tensor, "batch width"]
Prefixes = dict[int, Prefix]


class Prompt(nn.Module):
    """What gives prefixes. In training mode it is told its task by `start`; in
    evaluation it must do without.
    """

    passes = 2  # forward passes a picture

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
    """One prompt for all pictures and all tasks, never frozen nor reset (Huang et al.
    2024).

    Args:
        lengths: of the prompt in each block, by index; even numbers.
        scale: the initial entries are uniform within 0 and this.
    """

    passes = 1

    def __init__(self, lengths: Mapping[int, int], width: int, scale: float, seed: int):
        super().__init__()
        self.blocks, chance = tuple(lengths), torch_rng(seed, "one prompt")
        drawn = [
            scale * torch.rand(length, width, generator=chance)
            for length in lengths.values()
        ]
        self.prompts = nn.ParameterList(nn.Parameter(prompt) for prompt in drawn)

    def forward(self, query: Query) -> tuple[Prefixes, Float[Tensor, ""]]:
        """Return the same prefix for every picture."""
        prompts = [prompt.expand(len(query), -1, -1) for prompt in self.prompts]
        return prefixes(self.blocks, prompts), query.new_zeros(())


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
        self.general_blocks, self.expert_blocks, chance = (
            general_blocks,
            expert_blocks,
            torch_rng(seed, "dual prompt"),
        )
        self.general = nn.Parameter(
            scale * torch.rand(len(general_blocks), general, width, generator=chance)
        )
        self.experts = nn.Parameter(
            scale
            * torch.rand(len(expert_blocks), tasks, expert, width, generator=chance)
        )
        self.keys = nn.Parameter(
            torch.rand(len(expert_blocks), tasks, width, generator=chance)
        )
        self.task = 0

    def start(self, task: int) -> None:
        """Turn to the task's expert."""
        self.task = task

    def chosen(self, query: Query) -> Int[Tensor, "blocks batch"]:
        """Return the expert each block takes for each picture: of those seen, the one
        with the nearest key.
        """
        seen = self.keys[:, : self.task + 1]
        return F.cosine_similarity(query[None, :, None], seen[:, None], dim=-1).argmax(
            -1
        )

    def forward(self, query: Query) -> tuple[Prefixes, Float[Tensor, ""]]:
        """Return general and expert prefixes, and in training Σ_blocks mean (1 - cos(q,
        own key)).
        """
        general = [prompt.expand(len(query), -1, -1) for prompt in self.general]
        if self.training:
            expert = [
                prompt[self.task].expand(len(query), -1, -1) for prompt in self.experts
            ]
            own = F.cosine_similarity(
                query[None], self.keys[:, self.task, None], dim=-1
            )
            side = (1 - own).mean(1).sum()
        else:
            expert = [
                prompt[index]
                for prompt, index in zip(self.experts, self.chosen(query), strict=True)
            ]
            side = query.new_zeros(())
        return (
            prefixes((*self.general_blocks, *self.expert_blocks), [*general, *expert]),
            side,
        )


class L2P(Prompt):
    """A pool of prompts shared by all tasks, of which each picture takes the few with
    the nearest keys.

    L2P++ is L2P (Wang et al. 2022) with prefixes, in one block; "Deep" has a pool in
    several (Smith et al. 2023). Choosing stops the gradient: keys are trained by the
    side loss mean Σ_chosen (1 - cos(q, k)) alone.

    Args:
        pool, length, top: prompts in the pool, their length (even), and how many a
            picture takes.
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
        self.blocks, self.top, chance = blocks, top, torch_rng(seed, "prompt pool")
        self.pool = nn.Parameter(
            scale * torch.rand(len(blocks), pool, length, width, generator=chance)
        )
        self.keys = nn.Parameter(torch.rand(len(blocks), pool, width, generator=chance))

    def forward(self, query: Query) -> tuple[Prefixes, Float[Tensor, ""]]:
        """Return each picture's own selection, its prompts one after another: all keys,
        then all values.
        """
        near = F.cosine_similarity(
            query[None, :, None], self.keys[:, None], dim=-1
        )  # (blocks, batch, pool)
        best = near.topk(self.top, dim=-1)
        chosen = [
            prompts[index]
            for prompts, index in zip(self.pool, best.indices, strict=True)
        ]
        prompts = [
            rearrange(c, "b k (half l) d -> b (half k l) d", half=2) for c in chosen
        ]
        return prefixes(self.blocks, prompts), (1 - best.values).sum(-1).mean(1).sum()


class CodaPrompt(Prompt):
    """A sum of prompt components, weighted by attention (Smith et al. 2023, eqs. 3 and
    5):

        α_m = cos(q(x) ⊙ A_m, K_m),   p(x) = Σ_m α_m P_m.

    The weights are signed and not normalised. Each task brings components of its own,
    made orthogonal to all before; older ones stay in the sum, frozen. All parts learn
    from the task's loss.

    Args:
        tasks, components: components are M in all; each task owns M/N of them.
        length: of a prompt, even.
        scale: the norm of a new component (1 in the released code); keys and attention
            vectors have norm 1.
        attend: False leaves A out (A = 1).
        freeze: False lets later tasks train the older components.
        orthogonal: False draws new rows at random, of the same norm.
        hard: True gives the nearest component all the weight, and trains keys by a side
            loss: a pool.

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
        *,
        attend: bool = True,
        freeze: bool = True,
        orthogonal: bool = True,
        hard: bool = False,
    ):
        super().__init__()
        if components % tasks or (orthogonal and components > width):
            raise ValueError(
                f"{components} components: give a multiple of {tasks} tasks, at most"
                f" the width {width}"
            )
        self.blocks, self.each, self.length, self.scale, self.seed = (
            blocks,
            components // tasks,
            length,
            scale,
            seed,
        )
        self.attend, self.freeze, self.orthogonal, self.hard = (
            attend,
            freeze,
            orthogonal,
            hard,
        )
        empty = torch.zeros(len(blocks), components, width)
        self.components = nn.Parameter(empty.repeat(1, 1, length))
        self.keys, self.attention = (
            nn.Parameter(empty.clone()),
            nn.Parameter(empty.clone()),
        )
        self.own = slice(0, 0)

    @torch.no_grad()
    def start(self, task: int) -> None:
        """Draw the task's rows: orthogonal to all earlier ones, of norm `scale`
        (components) or 1.
        """
        self.own = slice(task * self.each, (task + 1) * self.each)
        banks = {
            "components": self.components,
            "keys": self.keys,
            "attention": self.attention,
        }
        for name, bank in banks.items():
            chance = torch_rng(self.seed, "coda", name, task)
            drawn = torch.randn(
                len(self.blocks), self.each, bank.shape[-1], generator=chance
            ).to(bank)
            norm = self.scale if name == "components" else 1.0
            for rows, new in zip(bank, drawn, strict=True):
                rows[self.own] = norm * gram_schmidt(
                    new, rows[: self.own.start] if self.orthogonal else None
                )

    def rows(
        self, bank: Float[Tensor, "blocks all n"]
    ) -> Float[Tensor, "blocks seen n"]:
        """Return the rows of the tasks so far, the older ones cut off from the
        gradient.
        """
        old, own = bank[:, : self.own.start], bank[:, self.own]
        return torch.cat([old.detach() if self.freeze else old, own], 1)

    def weights(
        self, query: Query
    ) -> tuple[Float[Tensor, "blocks batch seen"], Float[Tensor, ""]]:
        """Return α, and the side loss where the choice is hard."""
        keys = self.rows(self.keys)
        attended = query[None, :, None] * (
            self.rows(self.attention)[:, None] if self.attend else 1
        )
        alpha = F.cosine_similarity(attended, keys[:, None], dim=-1)
        if not self.hard:
            return alpha, query.new_zeros(())
        candidates = alpha.clone()
        if self.training:
            candidates[
                ..., : self.own.start
            ] = -torch.inf  # the task's own, as in DualPrompt
        best = candidates.argmax(-1, keepdim=True)
        side = (
            (1 - alpha.gather(-1, best)).mean(1).sum()
            if self.training
            else query.new_zeros(())
        )
        return torch.zeros_like(alpha).scatter(-1, best, 1.0), side

    def forward(self, query: Query) -> tuple[Prefixes, Float[Tensor, ""]]:
        """Return p(x) for every block."""
        alpha, side = self.weights(query)
        prompts = torch.einsum("lbm,lmn->lbn", alpha, self.rows(self.components))
        prompts = rearrange(prompts, "l b (n d) -> l b n d", n=self.length)
        return prefixes(self.blocks, prompts), side


def gram_schmidt(
    new: Float[Tensor, "rows n"], old: Float[Tensor, "older n"] | None = None
) -> Float[Tensor, "rows n"]:
    """Make `new` rows orthogonal to the span of `old` ones and to each other, of norm
    1; with `old` None, only norm 1.

    After training the old rows are no longer orthogonal to one another, so all of their
    span is projected out.
    """
    if old is None:
        return F.normalize(new, dim=-1)
    basis = torch.linalg.qr(torch.cat([old, new]).T.double())[
        0
    ].T  # rows span old, then new
    made = basis[len(old) :].to(new)
    return made * torch.sign((made * new).sum(-1, keepdim=True))


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
        """How many weights are trained, over all tasks."""
        return sum(p.numel() for p in self.parameters())

    @property
    def passes(self) -> int:
        """Forward passes a picture."""
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
        """Return the features of pictures under the prompt, and the side loss."""
        if self.prompt is None:
            return query, query.new_zeros(())
        given, side = self.prompt(query)
        vit, _, encoded = self.frozen
        return vit.features_from(tokens, encoded.first, given), side

    def loss(self, rows: Int[Tensor, " batch"], task: int) -> Tensor:
        """Cross-entropy among the task's classes, and the side loss."""
        _, stream, encoded = self.frozen
        features, side = self.features(encoded.tokens[rows], encoded.query[rows])
        return (
            task_cross_entropy(
                self.head(features), stream.labels[rows], stream.own(task)
            )
            + side
        )

    def end(self, task: int) -> None:
        """Leave training mode: from here the task is not told."""
        self.eval()

    @torch.no_grad()
    def test_features(
        self, train: bool = False, size: int = 500
    ) -> Float[Tensor, "n width"]:
        """Return the features of all test pictures, or all training ones, as the prompt
        is now.
        """
        _, _, encoded = self.frozen
        tokens = encoded.tokens if train else encoded.test_tokens
        query = encoded.query if train else encoded.test_query
        parts = zip(tokens.split(size), query.split(size), strict=True)
        return torch.cat([self.features(*part)[0] for part in parts])

    def logits(self) -> Float[Tensor, "test classes"]:
        """Return the test logits."""
        return self.head(self.test_features())
