"""A stack of Conv-4 embeddings, one a member, embedded and differentiated together.

The weights of a stack are a plain list: kernel, gain and bias of each block, with the
members in front.
"""

from collections.abc import Iterable

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from stages.models.conv4 import cosine_logits

Weights = list[Tensor]


def embed(
    weights: Weights, images: Float[Tensor, "n 1 side side"], tape: list | None = None
) -> Tensor:
    """Embed the same images by every member of a stack of Conv-4: (members, n,
    features).

    The convolutions of all members are one grouped convolution. `tape` receives what
    enters each block's convolution, what leaves it, and what leaves the norm.
    """
    x, members = images, len(weights[0])
    for i in range(0, len(weights), 3):
        kernel, gain, bias = weights[i : i + 3]
        out = F.conv2d(x, kernel.flatten(0, 1), padding=1, groups=members if i else 1)
        normed = F.group_norm(out, 4 * members, gain.flatten(), bias.flatten())
        if tape is not None:
            tape.append((x, out, normed))
        x = F.max_pool2d(normed.relu(), 2) if i < 9 else normed.relu()
    return rearrange(x, "n (m c) h w -> m n (c h w)", m=members)


@torch.no_grad()
def features(
    weights: Weights, images: Float[Tensor, "n 1 side side"]
) -> Float[Tensor, "members n features"]:
    """Embed many images, some at a time so that they stay in the processor's cache; on
    the unit sphere.
    """
    return F.normalize(
        torch.cat([embed(weights, part) for part in images.split(32)], 1), dim=-1
    )


def class_means(
    z: Float[Tensor, "members n features"], labels: Int[Tensor, " n"]
) -> Float[Tensor, "members c f"]:
    """Return the mean direction of each class 0, 1, ...: where every head of every
    method starts.
    """
    member = F.one_hot(labels).to(z)
    return F.normalize(torch.einsum("nc,mnf->mcf", member, z), dim=-1)


def stack(weights: Iterable[Tensor], members: int) -> Weights:
    """Copy one embedding for every member."""
    return [p.expand(members, *p.shape).clone() for p in weights]


def few_shot(
    z: Float[Tensor, "members v features"],
    episodes: Int[Tensor, "e ways images"],
    shots: int = 5,
) -> Tensor:
    """Return each member's accuracy over all episodes by nearest class mean, in per
    cent.
    """
    right = []
    for member in z:
        picked = member[episodes.to(z.device)]  # (episodes, ways, images, features)
        means, asked = picked[:, :, :shots].mean(2), picked[:, :, shots:]
        guess = (
            cosine_logits(asked.flatten(1, 2), means)
            .argmax(-1)
            .unflatten(1, asked.shape[1:3])
        )
        right.append(
            (guess == torch.arange(len(guess[0]), device=z.device)[:, None])
            .float()
            .mean()
        )
    return 100 * torch.stack(right)


@torch.enable_grad()
def importance(
    weights: Weights,
    images: Tensor,
    heads: Float[Tensor, "m ways f"],
    kind: str = "fisher",
    scale: float = 10.0,
) -> Weights:
    """Compute how much the answers to these images depend on each weight, one gradient
    an image.

    "fisher": F_j = E_x E_{y~p(y|x)} [(∂_j log p(y|x))²], the expectation over y exact;
    true labels would do badly, for their likelihood is near its peak after fitting.
    "mas": E_x [(∂_j ‖logits‖²)²]. An image's gradient for a kernel is the product of
    its patches and the δ at the convolution's output, so one backward pass serves all
    images.
    """
    weights, tape = [w.detach().requires_grad_() for w in weights], []
    logits = cosine_logits(embed(weights, images, tape), heads, scale)
    log_p, members, total = (
        logits.log_softmax(-1),
        len(logits),
        [torch.zeros_like(w) for w in weights],
    )
    terms = [
        (log_p[..., c], log_p[..., c].detach().exp()) for c in range(log_p.shape[-1])
    ]
    if kind == "mas":
        terms = [(logits.square().sum(-1), torch.ones_like(logits[..., 0]))]
    for value, chance in terms:
        deltas = torch.autograd.grad(
            value.sum(), [t for _, *outs in tape for t in outs], retain_graph=True
        )
        for block, (x, out, _) in enumerate(tape):
            unit = F.group_norm(out.detach(), 4 * members)
            parts = (
                rearrange(d, "n (m c) h w -> m n c (h w)", m=members)
                for d in (*deltas[2 * block :][:2], unit)
            )
            d_out, d_norm, unit = parts
            patches = rearrange(
                F.unfold(x.detach(), 3, padding=1),
                "n (m k) s -> m n s k",
                m=members if block else 1,
            )
            kernels = (d_out @ patches).unflatten(
                -1, (-1, 3, 3)
            )  # (members, n, out, in, 3, 3)
            for j, gradient in enumerate(
                (kernels, (d_norm * unit).sum(-1), d_norm.sum(-1))
            ):
                total[3 * block + j] += torch.einsum(
                    "mn,mn...->m...", chance, gradient.square()
                ) / len(images)
    return [t.detach() for t in total]


def per_layer(weights: Weights) -> Weights:
    """Scale to mean 1 in every layer of every member; else one layer would dominate the
    penalties.
    """
    return [w / column(w.flatten(1).mean(1).clamp(min=1e-20), w) for w in weights]


def column(values: Float[Tensor, " members"], like: Tensor) -> Tensor:
    """Shape one value a member so that it multiplies a weight."""
    return values.view(-1, *[1] * (like.ndim - 1))
