"""What soft injection is compared with: function vectors (Todd et al. 2024), learned
gains without any trace, LoRA on W_O, and noise in the trace's place.
"""

from collections.abc import Sequence
from functools import partial
from itertools import product

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from stages.models import GPT
from stages.papers.mechanisms.soft_injection.method import (
    Learnt,
    Training,
    inject,
    learn,
    mixed,
)
from stages.papers.mechanisms.soft_injection.prompts import (
    Hooks,
    Logits,
    Prompts,
    Shares,
    Trace,
    losses,
)
from stages.seeding import torch_rng


def noise_like(trace: Trace, seed: int) -> Trace:
    """Draw directions at random, each as long as the head's trace."""
    drawn = torch.randn(trace.shape, generator=torch_rng(seed, "site", "noise"))
    return F.normalize(drawn.to(trace), dim=-1) * trace.norm(dim=-1, keepdim=True)


# ------------------------------------------------------------- gains, without the trace


def scaled(gain: Shares, trace: Trace) -> Hooks:
    """Make the hooks o <- g o; of the trace, only its shape is used."""
    return mixed(gain, torch.zeros_like(gain), trace)


def learn_gains(
    trace: Trace, train: Prompts, validation: Prompts, how: Training
) -> Learnt:
    """Learn a factor for each head's output, from 1: as many numbers as SITE's α."""

    def answer(gain: Shares, prompts: Prompts) -> Logits:
        return prompts.logits(scaled(gain, trace))

    start = torch.ones(trace.shape[:-1], device=trace.device)
    return learn(start, answer, train, validation, how)


# --------------------------------------------------------------------------------- LoRA

LowRank = Float[Tensor, "problems 2 layers rank width"]


def low_rank(numbers: LowRank) -> Hooks:
    """Make the hooks o <- o + Bᵀ A o over all heads together: W_O becomes
    W_O (I + Bᵀ A), which is LoRA of this rank on W_O.
    """

    def hook(
        layer: int, heads: Float[Tensor, "rows tokens heads size"]
    ) -> Float[Tensor, "rows tokens heads size"]:
        down, up = numbers[:, :, layer].unbind(1)
        o = rearrange(heads, "(p n) t h d -> p (n t) (h d)", p=len(numbers))
        return heads + (o @ down.mT @ up).view_as(heads)

    return {layer: partial(hook, layer) for layer in range(numbers.shape[2])}


def learn_lora(
    trace: Trace,
    train: Prompts,
    validation: Prompts,
    how: Training,
    rank: int,
    seed: int,
) -> Learnt:
    """Train LoRA on W_O of all blocks, which acts on every token; at first it changes
    nothing. Of the trace, only its shape is used.
    """
    problems, layers, heads, size = trace.shape
    width = heads * size
    start = torch.randn(2, layers, rank, width, generator=torch_rng(seed, "site", "A"))
    start = start.to(trace) / width**0.5
    start[1] = 0

    def answer(numbers: LowRank, prompts: Prompts) -> Logits:
        return prompts.logits(low_rank(numbers), everywhere=True)

    return learn(start.expand(problems, *start.shape), answer, train, validation, how)


# --------------------------------------------------------------------- function vectors


@torch.no_grad()
def indirect_effects(shuffled: Prompts, trace: Trace) -> Float[Tensor, "layers heads"]:
    """Return by how much t in a head's place raises p(answer) on average, in prompts
    whose labels are shuffled.
    """

    def chance(hooks: Hooks | None) -> Tensor:
        p = shuffled.logits(hooks).softmax(-1)
        return p.gather(-1, shuffled.answers[..., None]).mean()

    found = trace.new_zeros(trace.shape[1:3])
    before = chance(None)
    for layer, head in product(*map(range, found.shape)):
        alone = torch.zeros(trace.shape[:-1], device=trace.device)
        alone[:, layer, head] = 1
        found[layer, head] = chance(inject(alone, trace)) - before
    return found


def function_vector(
    model: GPT, trace: Trace, heads: Sequence[int]
) -> Float[Tensor, "problems width"]:
    """Sum what some heads, counted through all blocks, write into the residual stream
    if they say t.
    """
    chosen = torch.zeros_like(trace[0, :, :, 0]).flatten()
    chosen[list(heads)] = 1
    said = (trace * chosen.view(trace.shape[1:3])[..., None]).flatten(2)
    return sum(
        said[:, layer] @ block.attention.project.weight.mT
        for layer, block in enumerate(model.blocks)
    )


@torch.no_grad()
def function_vectors(
    trace: Trace,
    effects: Float[Tensor, "layers heads"],
    validation: Prompts,
    test: Prompts,
    most: Sequence[int],
) -> Logits:
    """Add the function vector of the k heads with the largest effects after one block;
    k and block by each problem's validation loss. Return the test's logits.
    """
    model = validation.model
    ranked = effects.flatten().argsort(descending=True).tolist()
    stages = range(1, len(model.blocks) + 1)
    tried = [
        (stage, function_vector(model, trace, ranked[:k]))
        for stage, k in product(stages, most)
    ]
    loss = torch.stack([losses(validation.steered(*one), validation) for one in tried])
    logits = torch.stack([test.steered(*one) for one in tried])
    return logits[loss.argmin(0), torch.arange(len(trace))]
