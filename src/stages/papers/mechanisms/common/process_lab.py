"""A known process as a laboratory: read the states of networks that learn it, and ask
what these hold.

For "A Markov Categorical Framework for Language Modeling" (Zhang, arXiv 2507.19247);
equations are numbered as in v2. All expectations are over the exact laws of
`stages.worlds.process`, in double precision; only the tokens that stand before a
context are drawn.
"""

from collections.abc import Callable
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from stages.models import GPT
from stages.seeding import rng, torch_rng
from stages.training import leading_subspace, subspace_overlap
from stages.worlds.process import KERNELS, Process

SURFACE, LINEAR, BHATTACHARYYA, LOG_RATIO = KERNELS
RANDOM, REAL = "random directions", "differences of states"
EPSILONS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)

# ------------------------------------------------------------- the theory, as functions


def categorical_entropy(p: Float[Tensor, "*batch tokens"]) -> Float[Tensor, "*batch"]:
    """Return the categorical entropy of a kernel's rows, KL(diag(p) || p p') = H(p)
    (def. 4.1, prop. 4.2), in nats.
    """
    return torch.special.entr(p).sum(-1)


def pullback_metric(
    p: Float[Tensor, "*batch tokens"], w: Float[Tensor, "tokens d"]
) -> Float[Tensor, "*batch d d"]:
    """Return the Fisher-Rao metric pulled back to the states of a softmax-linear head:
    W' (diag(p) - p p') W (sec. 6).

    Its rank is at most min(d, tokens - 1).
    """
    mean = p @ w
    return (
        torch.einsum("...v,vi,vj->...ij", p, w, w)
        - mean[..., :, None] * mean[..., None, :]
    )


def dirichlet_energy(
    phi: Float[Tensor, "n k"], kernel: Float[Tensor, "n n"], mu: Float[Tensor, " n"]
) -> Tensor:
    """Return each column's Dirichlet energy (prop. 7.4) as a share of what it is if phi
    has nothing to do with K.

    That is 1/2 E K(x, x') (phi(x) - phi(x'))^2 over Var(phi) E K(x, x'), x and x'
    independent of law mu.
    """
    phi = phi - mu @ phi
    degree = kernel @ mu
    energy = (mu * degree) @ phi.square() - torch.einsum(
        "n,nk,nm,m,mk->k", mu, phi, kernel, mu, phi
    )
    return energy / ((mu @ phi.square()) * (mu @ degree))


def kl(
    p: Float[Tensor, "*batch tokens"], q: Float[Tensor, "*batch tokens"]
) -> Float[Tensor, "*batch"]:
    """Return KL(p || q) in nats; q is above 0."""
    return (torch.special.xlogy(p, p) - torch.special.xlogy(p, q)).sum(-1)


# -------------------------------------------------- layers of the theorem's assumptions


class Whiten(nn.Module):
    """Give states mean 0 and covariance I: a batch's own in training, running ones
    afterwards.

    By Cholesky's factor. ZCA's result is this one rotated, and a head that is free to
    rotate cannot tell them apart.
    """

    def __init__(self, d: int, momentum: float = 0.05):
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(d))
        self.register_buffer("covariance", torch.eye(d))

    def forward(self, h: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """Return the whitened states; in training, gradients flow through the batch's
        statistics.
        """
        mean, covariance = self.mean, self.covariance
        if self.training:
            flat = h.flatten(0, -2)
            mean = flat.mean(0)
            covariance = (flat - mean).T @ (flat - mean) / len(flat) + 1e-5 * torch.eye(
                len(mean)
            ).to(h)
            self.mean.lerp_(mean.detach(), self.momentum)
            self.covariance.lerp_(covariance.detach(), self.momentum)
        factor = torch.linalg.cholesky(covariance)
        return torch.linalg.solve_triangular(
            factor, (h - mean).flatten(0, -2).T, upper=False
        ).T.view_as(h)


class UnitHead(nn.Linear):
    """A head without bias whose rows g(w) have length one."""

    def forward(self, h: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch tokens"]:
        """Return <g(w), h> for every token."""
        return F.linear(h, F.normalize(self.weight, dim=-1))


# --------------------------------------------------------------------- what is measured


class Lab:
    """A process, and what is asked of every network that learns it.

    Contexts are in the order of `mu.flatten()`, weighted by mu, and read after `count`
    pasts of their own.

    Attributes:
        law: the next token's, (contexts, tokens); `root`: sqrt(mu) as a column.
        contexts: what networks read, (pasts, contexts, length).
    """

    def __init__(self, world: Process, count: int, length: int, seed: int):
        self.world, self.mu, self.law = (
            world,
            world.mu.flatten(),
            world.law.flatten(0, -2),
        )
        self.root, self.contexts = (
            self.mu.sqrt()[:, None],
            pasts(world, count, length, seed),
        )

    @cached_property
    def spectra(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Eigenvalues above 0 and unit eigenvectors sqrt(mu) psi of every kernel's
        operator (def. 7.5).
        """
        found = {}
        for kernel in KERNELS:
            values, functions = self.world.spectrum(kernel)
            rank = int((values > 1e-9 * values[0]).sum())
            found[kernel] = values[:rank], self.root * functions[:, :rank]
        return found

    @cached_property
    def operators(self) -> dict[str, Tensor]:
        """Each kernel's centred operator in mu's inner product, as a symmetric matrix
        of norm 1.
        """
        found = {
            kernel: vectors * values @ vectors.T
            for kernel, (values, vectors) in self.spectra.items()
        }
        return {kernel: matrix / matrix.norm() for kernel, matrix in found.items()}

    @torch.no_grad()
    def read(
        self, model: GPT, count: int | None = None
    ) -> tuple[
        Float[Tensor, "pasts contexts d"], Float[Tensor, "pasts contexts tokens"]
    ]:
        """Return states h = head[0](.) and predicted laws of all contexts, after the
        first `count` pasts or all.
        """
        x = self.contexts[:count]
        h = model.head[0](model.extend(x.flatten(0, 1))[0][:, -1])
        p = model.head[1](h).double().softmax(-1)
        return h.double().unflatten(0, x.shape[:2]), p.unflatten(0, x.shape[:2])

    @torch.no_grad()
    def layers(self, model: GPT) -> list[Float[Tensor, "pasts contexts _"]]:
        """Return the states of all contexts before the first block, after every block,
        and at the bottleneck.
        """
        stages = model.states(self.contexts.flatten(0, 1))[:, :, -1]
        found = [*stages, model.head[0](model.norm(stages[-1]))]
        return [h.double().unflatten(0, self.contexts.shape[:2]) for h in found]

    def overlap(self, h: Float[Tensor, "contexts d"], kernel: str) -> float:
        """Return the overlap of the states' subspace with the kernel's leading one of
        as many dimensions, if it has.
        """
        subspace = leading_subspace(h, h.shape[1], self.mu)
        return float(
            subspace_overlap(subspace, self.spectra[kernel][1][:, : h.shape[1]])
        )

    def aligned(self, h: Float[Tensor, "contexts d"]) -> tuple[float, float]:
        """Return the CKA of whitened states with the linear kernel, and its partial,
        the surface kernel held fixed.
        """
        subspace = leading_subspace(h, h.shape[1], self.mu)
        gram = subspace @ subspace.T / h.shape[1] ** 0.5
        linear, surface = self.operators[LINEAR], self.operators[SURFACE]
        one, two, three = (
            float((a * b).sum())
            for a, b in ((gram, linear), (gram, surface), (linear, surface))
        )
        return one, (one - two * three) / ((1 - two**2) * (1 - three**2)) ** 0.5

    def divergence(self, p: Float[Tensor, "pasts contexts tokens"]) -> float:
        """Return the mean KL of the true law from the predicted one: the loss above its
        floor (th. 5.1).
        """
        return float((kl(self.law, p) @ self.mu).mean())

    def entropy(self, p: Float[Tensor, "pasts contexts tokens"]) -> float:
        """Return the mean categorical entropy of the predicted laws."""
        return float((categorical_entropy(p) @ self.mu).mean())


def pasts(
    world: Process, count: int, length: int, seed: int
) -> Int[Tensor, "count contexts length"]:
    """Put each context at the end of `count` sequences of `length` tokens; what came
    before has its exact law.
    """
    generator, v, k = torch_rng(seed, "pasts"), world.tokens, world.order
    tokens = torch.cartesian_prod(*[torch.arange(v)] * k).view(-1, k).repeat(count, 1)
    before = (
        world.block(k + 1).movedim(0, -1).flatten(0, -2)
    )  # of the oldest token, given those after it
    place = v ** torch.arange(k - 1, -1, -1)
    while tokens.shape[1] < length:
        drawn = torch.multinomial(before[tokens[:, :k] @ place], 1, generator=generator)
        tokens = torch.cat([drawn, tokens], 1)
    return tokens.view(count, -1, length)


def canonical(
    h: Float[Tensor, "n d"], w: Float[Tensor, "tokens d"], mu: Float[Tensor, " n"]
) -> tuple[Tensor, ...]:
    """Return whitened states z and the head V, b that reads them as W reads h.

    (h, W) and (A h, W A^-1) are one model; what depends on the choice of A is a matter
    of taste. z and V do not.
    """
    mean = mu @ h
    factor = torch.linalg.cholesky((mu[:, None] * (h - mean)).T @ (h - mean))
    return (
        torch.linalg.solve_triangular(factor, (h - mean).T, upper=False).T,
        w @ factor,
        w @ mean,
    )


def fit_readout(
    features: Float[Tensor, "*groups n d"],
    targets: Float[Tensor, "*groups n tokens"],
    weights: Float[Tensor, "*groups n"],
) -> Callable[[Tensor], Tensor]:
    """Fit softmax-linear heads, one a group, to laws; return the function from features
    to log-probabilities.

    The loss is the exact expectation under the laws given, so that there is no sampling
    in it.
    """
    centre, scale = (
        features.mean(-2, keepdim=True),
        features.std(-2, keepdim=True) + 1e-9,
    )

    def extend(x: Tensor) -> Tensor:
        x = ((x - centre) / scale).float()
        return torch.cat([x, torch.ones_like(x[..., :1])], -1)

    x, goal = extend(features), (weights[..., None] * targets).float()
    w = torch.zeros(
        *targets.shape[:-2], x.shape[-1], targets.shape[-1], requires_grad=True
    )
    search = torch.optim.LBFGS(
        [w], max_iter=80, history_size=10, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        search.zero_grad()
        loss = -(goal * (x @ w).log_softmax(-1)).sum() + 1e-6 * w.square().sum()
        loss.backward()
        return loss

    search.step(closure)
    return lambda new: (extend(new) @ w.detach()).double().log_softmax(-1)


def surplus(lab: Lab, states: Float[Tensor, "pasts contexts d"]) -> float:
    """Measure the information surplus Surplus_2 that linear heads can read from states,
    in nats (eq. 4.2).

    Two heads predict W_{t+1}: from W_t alone, the best of which is known exactly, and
    from W_t and H_t, one linear head of H_t for each W_t. The gain is measured after
    other pasts than those fitted. It is a lower bound.
    """
    v, half = lab.world.tokens, len(states) // 2
    later = lab.law.view(-1, v, v)[
        torch.arange(len(lab.law)) % v ** (lab.world.order - 1)
    ].transpose(0, 1)
    joint = (lab.mu[:, None] * lab.law).T  # (W_t, contexts)
    heads = fit_readout(states[:half].mean(0).expand(v, -1, -1), later, joint)
    held = sum(-(joint[..., None] * later * heads(h)).sum() for h in states[half:]) / (
        len(states) - half
    )
    return lab.world.entropy(1) - float(held)


def acceptance(
    lab: Lab,
    states: Float[Tensor, "pasts contexts d"],
    p: Float[Tensor, "pasts contexts tokens"],
) -> float:
    """Return the share of draft tokens W_{t+1}, drafted by a linear head on H_t, that
    the network itself accepts.
    """
    half = len(states) // 2
    drafts = fit_readout(
        states[:half].mean(0), lab.world.later(2).flatten(0, -2), lab.mu
    )(states[half:]).exp()
    return sum(accepted(lab, p[half:].mean(0), draft) for draft in drafts) / len(drafts)


def accepted(
    lab: Lab,
    target: Float[Tensor, "contexts tokens"],
    draft: Float[Tensor, "contexts tokens"],
) -> float:
    """Return how often a draft of W_{t+1} survives: E sum_w min(target, draft), the
    target's W_t in between.
    """
    v = lab.world.tokens
    after = target.view(-1, v, v)[
        torch.arange(len(target)) % v ** (lab.world.order - 1)
    ]  # (contexts, W_t, W_{t+1})
    return float(
        (lab.mu[:, None] * target * torch.minimum(after, draft[:, None]).sum(-1)).sum()
    )


def free_states(
    law: Float[Tensor, "n tokens"],
    mu: Float[Tensor, " n"],
    d: int,
    white: bool = False,
    seed: int = 0,
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n tokens"]]:
    """Minimise the exact NLL over a table of states and a head, with no encoder; return
    states and predicted laws.

    `white` holds them to the assumptions of th. 7.6: states of mean 0 and covariance I,
    rows of the head of length one.
    """
    start = torch_rng(seed, "free states", d)
    h, w = (
        torch.randn(len(x), d, generator=start).mul(0.3).double().requires_grad_()
        for x in (law, law.T)
    )
    search = torch.optim.LBFGS(
        [h, w], max_iter=300, history_size=20, line_search_fn="strong_wolfe"
    )

    def model() -> tuple[Tensor, Tensor]:
        return (canonical(h, w, mu)[0], F.normalize(w, dim=-1)) if white else (h, w)

    def closure() -> Tensor:
        search.zero_grad()
        states, head = model()
        loss = -(mu[:, None] * law * (states @ head.T).log_softmax(-1)).sum()
        loss.backward()
        return loss

    search.step(closure)
    states, head = (x.detach() for x in model())
    return states, (states @ head.T).softmax(-1)


def moves(
    z: Float[Tensor, "n d"],
    v: Float[Tensor, "tokens d"],
    b: Float[Tensor, " tokens"],
    mu: Tensor,
    seed: int,
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return KL(p_{h + eps v} || p_h) and eps^2 g*(v, v) / 2 for 2000 moves of either
    kind, (epsilons, moves) each.

    States have the law mu. Moves go to another state's place, or as far on the average,
    in a random direction.
    """
    chance = rng(seed, "moves")
    start, end = torch.from_numpy(chance.choice(len(z), (2, 2000), p=mu.numpy()))
    random = 2**0.5 * torch.from_numpy(chance.standard_normal((2000, z.shape[1])))
    p = (z[start] @ v.T + b).softmax(-1)
    metric, found = pullback_metric(p, v), {}
    for kind, move in ((RANDOM, random), (REAL, z[end] - z[start])):
        square = torch.einsum("ni,nij,nj->n", move, metric, move)
        true = [
            kl(((z[start] + eps * move) @ v.T + b).softmax(-1), p) for eps in EPSILONS
        ]
        found[kind] = (
            torch.stack(true),
            torch.stack([eps**2 * square / 2 for eps in EPSILONS]),
        )
    return found
