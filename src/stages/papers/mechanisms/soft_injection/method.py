"""SITE: what ten demonstrations leave in the heads, for a prompt that has none.

Park and Rhee, "Soft Injection of Task Embeddings Outperforms Prompt-Based In-Context
Learning", 2025, arXiv 2507.20906 (later "SITE: Soft Head Selection for Injecting
ICL-Derived Task Embeddings"). Stage 1: what each attention head says at the last token
of 10-shot prompts, on average, is the task's trace t. Stage 2: in a zero-shot prompt, a
head says (1 - α) o + α t in place of its output o; one number α in [0, 1] a head is
learned, and nothing else. Stage 3: answer under these α.

Equations are numbered as on the page. A problem is a task with its own t and α; all
problems are worked on side by side, each as it would be alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from stages.papers.mechanisms.soft_injection.prompts import (
    Hooks,
    Logits,
    Prompts,
    Shares,
    Trace,
    losses,
)
from stages.training import fit, optimiser

# ---------------------------------------------------------- stage 1: a task's trace


@torch.no_grad()
def embed(prompts: Prompts) -> Trace:
    """Average over few-shot prompts what each head says at the last token (eq. 1)."""
    return prompts.heads().mean(1)  # eq. 1


# ------------------------------------------------------------------------- an injection


def mixed(keep: Shares, share: Shares, trace: Trace) -> Hooks:
    """Make the hooks that turn each head's output o into keep · o + share · t, problem
    by problem, in all blocks of one forward pass.
    """

    def hook(
        layer: int, heads: Float[Tensor, "rows tokens heads size"]
    ) -> Float[Tensor, "rows tokens heads size"]:
        o = heads.unflatten(0, (len(trace), -1))
        kept = keep[:, None, None, layer, :, None] * o
        added = (share[..., None] * trace)[:, None, None, layer]
        return (kept + added).flatten(0, 1)

    return {layer: partial(hook, layer) for layer in range(trace.shape[1])}


def inject(share: Shares, trace: Trace) -> Hooks:
    """Make the hooks o <- (1 - α) o + α t, where α is `share` (eq. 2)."""
    return mixed(1 - share, share, trace)  # eq. 2


# ----------------------------------------------------------- stage 2: how much of which


@dataclass(frozen=True)
class Training:
    """How numbers are learned on top of a frozen model.

    Attributes:
        lr, steps: of Adam; each step sees all training prompts.
        every: steps between two looks at the validation prompts.
    """

    lr: float
    steps: int = 200
    every: int = 25


class Learnt(NamedTuple):
    """Numbers after training: each problem's own checkpoint with the lowest validation
    loss, and the last.
    """

    best: Tensor
    last: Tensor


def learn(
    start: Float[Tensor, "problems ..."],
    answer: Callable[[Tensor, Prompts], Logits],
    train: Prompts,
    validation: Prompts | None,
    how: Training,
) -> Learnt:
    """Train numbers with Adam on -log p(answer) (eq. 3).

    Args:
        answer: gives the logits under some numbers.
        validation: without it the last numbers are the best. The released code never
            updates its lowest loss, so that the last checkpoint always wins; here the
            best does, as meant.
    """
    numbers = nn.Parameter(start.clone())
    best = start.clone()
    lowest = torch.full((len(start),), torch.inf, device=start.device)

    @torch.no_grad()
    def check(step: int) -> None:
        if validation is not None and (step + 1) % how.every == 0:
            loss = losses(answer(numbers, validation), validation)
            better = loss < lowest
            best[better] = numbers[better]
            lowest[better] = loss[better]

    def loss(step: int) -> Tensor:
        return losses(answer(numbers, train), train).sum()  # eq. 3

    fit(loss, how.steps, optimiser([numbers], "adam", how.lr), after_step=check)
    last = numbers.detach()
    return Learnt(last if validation is None else best, last)


def select(
    trace: Trace, train: Prompts, validation: Prompts | None, how: Training
) -> Learnt:
    """Learn each head's α = σ(a) on zero-shot prompts, from a = 0; return the α."""

    def answer(a: Shares, prompts: Prompts) -> Logits:
        return prompts.logits(inject(a.sigmoid(), trace))

    start = torch.zeros(trace.shape[:-1], device=trace.device)
    found = learn(start, answer, train, validation, how)
    return Learnt(found.best.sigmoid(), found.last.sigmoid())
