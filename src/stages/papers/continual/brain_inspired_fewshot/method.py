"""TSC-style fast and slow weights for few-shot continual learning (our reconstruction).

Wang, Li, Zhong & Zhu, "Few-shot Continual Learning: a Brain-inspired Approach", arXiv
2104.09034 (2021). A network learns a row of tasks from a few examples each. It should
keep the old tasks, and get better at the next one. Two sets of weights share the work:
fast ones hold the tasks, slow ones what generalises; each is updated with the other.

Of the paper's text only the abstract was open to us. It fixes the setting, the two
sets, that they depend on each other, and that consolidation takes two steps. Every
equation below is our reconstruction, built to meet these constraints. Equations are
numbered as on the book's page.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from stages.models import cosine_logits
from stages.tracing import note

Weights = dict[str, Tensor]  # the parameters of an embedding, by name
Images = Float[Tensor, "n 1 side side"]
Labels = Int[Tensor, " n"]  # classes within a task, 0 to ways - 1
Heads = Float[Tensor, "tasks ways features"]  # one cosine head a task
Batch = tuple[Images, Labels, Int[Tensor, " n"]]  # the last: which task
Held = list[tuple[Tensor, Tensor]]  # strength and target, of each penalty on a weight

SCALE = 10.0  # of the cosine, in every head
MOMENTUM = 0.9
TINY = 1e-20

# ---------------------------------------------------------- an embedding and its heads


def embed(
    network: nn.Module, weights: Weights, images: Images
) -> Float[Tensor, "n features"]:
    """Embed images by a network that has these weights."""
    return functional_call(network, weights, (images,))


@torch.no_grad()
def class_means(
    network: nn.Module, weights: Weights, images: Images, labels: Labels
) -> Float[Tensor, "ways features"]:
    """Return the mean direction of each class: where every head of every arm starts."""
    z = F.normalize(embed(network, weights, images), dim=-1)
    member = F.one_hot(labels).to(z)  # (n, ways)
    return F.normalize(member.T @ z, dim=-1)


# -------------------------------------------------------------------------- importance


@torch.no_grad()
def fisher(
    network: nn.Module,
    weights: Weights,
    images: Images,
    head: Float[Tensor, "ways features"],
) -> Weights:
    """Compute the diagonal Fisher information, F_j = E_x E_{y~p(y|x)} [(∂_j log
    p(y|x))²].

    The expectation over y is exact. With the true labels instead it would vanish:
    after fitting, their likelihood is near its peak.
    """

    def log_p(weights: Weights, image: Tensor, label: int) -> Tensor:
        logits = cosine_logits(embed(network, weights, image[None]), head, SCALE)
        return logits[0].log_softmax(-1)[label]

    p = cosine_logits(embed(network, weights, images), head, SCALE).softmax(-1)
    total = {name: torch.zeros_like(w) for name, w in weights.items()}
    for label in range(len(head)):
        each = vmap(grad(log_p), (None, 0, None))(weights, images, label)
        for name, g in each.items():  # (n, *shape): one gradient an image
            total[name] += torch.einsum("n,n...->...", p[:, label], g.square())
    return {name: t / len(images) for name, t in total.items()}


def per_layer(weights: Weights) -> Weights:
    """Scale to mean 1 in every layer; else one layer would dominate the penalties."""
    return {name: w / w.mean().clamp(min=TINY) for name, w in weights.items()}


# ------------------------------------------------------------------ two sets of weights


@dataclass(frozen=True)
class Strengths:
    """How firmly the sets are held.

    Attributes:
        protect: λ, holds fast weights that old tasks need.
        pull: μ, pulls the other fast weights to the slow ones.
        slow: η, the rate at which slow weights follow. At 1, without a guard, they copy
            the fast ones, and there is one set.
        guard: κ, how much less a settled weight follows.
    """

    protect: float = 0.0
    pull: float = 0.0
    slow: float = 1.0
    guard: float = 0.0


@dataclass(frozen=True)
class TwoSets:
    """All that is kept from task to task.

    Attributes:
        fast, slow: f and s.
        omega: Ω, how much what was learnt so far depends on each weight.
        base: F_0, the importance for the base classes.
        way: how far each slow weight has gone in all, back and forth.
    """

    fast: Weights
    slow: Weights
    omega: Weights
    base: Weights
    way: Weights

    @classmethod
    def start(cls, weights: Weights, importance: Weights) -> "TwoSets":
        """Start both sets at the base network, whose importance has mean 1 a layer."""
        nothing = {name: torch.zeros_like(w) for name, w in weights.items()}
        return cls(weights, weights, importance, importance, nothing)


def ties(sets: TwoSets, strengths: Strengths) -> dict[str, Held]:
    """Return both penalties on each fast weight (eq. 1)."""
    held = {}
    for name, omega in sets.omega.items():
        free = 1 - omega / omega.max().clamp(min=TINY)  # eq. 2: 1 - Ω̃
        held[name] = [
            (strengths.protect * omega, sets.fast[name]),  # eq. 1, old tasks
            (strengths.pull * free, sets.slow[name]),  # eq. 1, the rest
        ]
    return held


def fast_step(
    weight: Tensor, velocity: Tensor, gradient: Tensor, lr: float, held: Held
) -> tuple[Tensor, Tensor]:
    """Take one step of SGD with momentum, then solve for the penalties exactly (a
    proximal step); return the weight and its velocity.

    However strong, a penalty cannot make the step overshoot. Momentum multiplies what
    a gradient does by 1/(1-m), so the penalties' rate is multiplied likewise.
    """
    velocity = MOMENTUM * velocity + gradient
    reach = lr / (1 - MOMENTUM)
    drawn = sum(reach * strength * target for strength, target in held)
    stiff = 1 + sum(reach * strength for strength, _ in held)
    return (weight - lr * velocity + drawn) / stiff, velocity


@torch.enable_grad()
def gradients(
    network: nn.Module, weights: Weights, heads: Heads, batch: Batch
) -> tuple[Weights, Heads]:
    """Differentiate the cross-entropy, in which each image meets the head of its own
    task.
    """
    images, labels, task = batch
    weights = {name: w.detach().requires_grad_() for name, w in weights.items()}
    heads = heads.detach().requires_grad_()
    z = embed(network, weights, images)[:, None]  # (n, 1, features)
    logits = cosine_logits(z, heads[task], SCALE)[:, 0]
    loss = F.cross_entropy(logits, labels)
    note("loss", loss.item())
    *found, to_heads = torch.autograd.grad(loss, [*weights.values(), heads])
    return dict(zip(weights, found, strict=True)), to_heads


def consolidate_fast(
    network: nn.Module,
    sets: TwoSets,
    heads: Heads,
    batches: Iterable[Batch],
    strengths: Strengths,
    lr: float,
    head_lr: float,
) -> tuple[Weights, Heads]:
    """Step 1: fit tasks with the fast weights, held in both ways (eq. 1)."""
    held = ties(sets, strengths)
    fast = sets.fast
    velocity = {name: torch.zeros_like(w) for name, w in fast.items()}
    head_velocity = torch.zeros_like(heads)
    for batch in batches:
        slopes, to_heads = gradients(network, fast, heads, batch)
        moved = {
            name: fast_step(w, velocity[name], slopes[name], lr, held[name])
            for name, w in fast.items()
        }
        fast = {name: w for name, (w, _) in moved.items()}
        velocity = {name: v for name, (_, v) in moved.items()}
        heads, head_velocity = fast_step(heads, head_velocity, to_heads, head_lr, [])
    return fast, heads


def consolidate_slow(
    fast: Weights,
    sets: TwoSets,
    strengths: Strengths,
) -> Weights:
    """Step 2: let the slow weights follow the fast ones a little, settled weights less
    (eq. 3 and 4).
    """
    way = per_layer(sets.way)
    slow = {}
    for name, s in sets.slow.items():
        settled = sets.base[name] + way[name]
        m = 1 / (1 + strengths.guard * settled)  # eq. 4
        slow[name] = s + strengths.slow * m * (fast[name] - s)  # eq. 3
    return slow


def learn_task(
    network: nn.Module,
    sets: TwoSets,
    images: Images,
    labels: Labels,
    strengths: Strengths,
    steps: int,
    lr: float,
    head_lr: float,
) -> tuple[TwoSets, Float[Tensor, "ways features"]]:
    """Learn one task: consolidate the fast weights, then the slow ones; return both
    sets and the task's head.
    """
    start = class_means(network, sets.fast, images, labels)[None]
    batches = [(images, labels, torch.zeros_like(labels))] * steps
    fast, heads = consolidate_fast(
        network, sets, start, batches, strengths, lr, head_lr
    )  # eq. 1
    new = per_layer(fisher(network, fast, images, heads[0]))
    omega = {name: old + new[name] for name, old in sets.omega.items()}  # eq. 2
    slow = consolidate_slow(fast, sets, strengths)  # eq. 3
    way = {
        name: gone + (slow[name] - sets.slow[name]).abs()
        for name, gone in sets.way.items()
    }
    return TwoSets(fast, slow, omega, sets.base, way), heads[0]
