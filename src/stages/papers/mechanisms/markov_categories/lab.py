"""A known process as a laboratory: read the states of networks that learn it, and ask
what these hold.

All expectations are over the exact laws of `stages.worlds.process`, in double
precision; only the tokens that stand before a context are drawn.
"""

from collections.abc import Callable
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stages.papers.mechanisms.markov_categories import method
from stages.papers.mechanisms.markov_categories.training import Network
from stages.seeding import torch_rng
from stages.training import leading_subspace
from stages.worlds.process import KERNELS, Process

SURFACE, LINEAR, BHATTACHARYYA, LOG_RATIO = KERNELS

Contexts = Int[Tensor, "pasts contexts length"]
States = Float[Tensor, "pasts contexts d"]
Laws = Float[Tensor, "pasts contexts tokens"]


class Lab:
    """A process, and what is asked of every network that learns it.

    Contexts are in the order of `mu.flatten()`, weighted by mu, and read after `count`
    pasts of their own.

    Attributes:
        law: the next token's, (contexts, tokens); `root`: sqrt(mu) as a column.
        contexts: what networks read.
    """

    def __init__(self, world: Process, count: int, length: int, seed: int):
        self.world = world
        self.mu = world.mu.flatten()
        self.law = world.law.flatten(0, -2)
        self.root = self.mu.sqrt()[:, None]
        self.contexts = pasts(world, count, length, seed)

    @cached_property
    def spectra(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Eigenvalues above 0 and unit eigenvectors sqrt(mu) psi of every kernel's
        operator (def. 7.5, eq. 4).
        """
        found = {}
        for kernel in KERNELS:
            values, functions = self.world.spectrum(kernel)
            rank = int((values > 1e-9 * values[0]).sum())
            found[kernel] = values[:rank], self.root * functions[:, :rank]
        return found

    @cached_property
    def operators(self) -> dict[str, Float[Tensor, "contexts contexts"]]:
        """Each kernel's centred operator in mu's inner product, as a symmetric matrix
        of norm 1.
        """
        found = {}
        for kernel, (values, vectors) in self.spectra.items():
            matrix = vectors * values @ vectors.T
            found[kernel] = matrix / matrix.norm()
        return found

    @torch.no_grad()
    def read(self, network: Network, count: int | None = None) -> tuple[States, Laws]:
        """Return the states h and predicted laws of all contexts, after the first
        `count` pasts or all.
        """
        contexts = self.contexts[:count]
        h = network.states(contexts.flatten(0, 1))[:, -1]
        p = network.head(h).double().softmax(-1)
        shape = contexts.shape[:2]
        return h.double().unflatten(0, shape), p.unflatten(0, shape)

    @torch.no_grad()
    def layers(self, network: Network) -> list[States]:
        """Return the states of all contexts before the first block, after every block,
        and at the bottleneck.
        """
        shape = self.contexts.shape[:2]
        found = network.layers(self.contexts.flatten(0, 1))
        return [h[:, -1].double().unflatten(0, shape) for h in found]

    def overlap(self, h: Float[Tensor, "contexts d"], kernel: str) -> float:
        """Return the overlap of the states' span with a kernel's leading eigenspace of
        as many dimensions, if it has.
        """
        return method.overlap(h, self.spectra[kernel][1], self.mu)

    def aligned(self, h: Float[Tensor, "contexts d"]) -> float:
        """Return the partial correlation of whitened states' Gram matrix with the
        linear kernel's operator, the surface kernel's held fixed.
        """
        span = leading_subspace(h, h.shape[1], self.mu)
        gram = span @ span.T / h.shape[1] ** 0.5
        linear = self.operators[LINEAR]
        surface = self.operators[SURFACE]
        own = float((gram * linear).sum())
        by_looks = float((gram * surface).sum())
        between = float((linear * surface).sum())
        rest = (1 - by_looks**2) * (1 - between**2)
        return (own - by_looks * between) / rest**0.5

    def divergence(self, p: Laws) -> float:
        """Return the mean KL of the true law from the predicted one: the loss above its
        floor (th. 5.1).
        """
        return float((method.kl(self.law, p) @ self.mu).mean())

    def entropy(self, p: Laws) -> float:
        """Return the mean categorical entropy of the predicted laws."""
        return float((method.categorical_entropy(p) @ self.mu).mean())

    def after(
        self, laws: Float[Tensor, "contexts tokens"]
    ) -> Float[Tensor, "contexts tokens tokens"]:
        """Return the laws of W_{t+1} that follow each context and each W_t."""
        v = self.world.tokens
        kept = v ** (self.world.order - 1)  # the oldest token leaves, W_t joins
        return laws.view(-1, v, v)[torch.arange(len(laws)) % kept]


def pasts(world: Process, count: int, length: int, seed: int) -> Contexts:
    """Put each context at the end of `count` sequences of `length` tokens; what came
    before has its exact law.
    """
    chance = torch_rng(seed, "pasts")
    v = world.tokens
    k = world.order
    every = torch.cartesian_prod(*[torch.arange(v)] * k).view(-1, k)
    tokens = every.repeat(count, 1)
    before = world.block(k + 1).movedim(0, -1).flatten(0, -2)  # the oldest token's law
    place = v ** torch.arange(k - 1, -1, -1)
    while tokens.shape[1] < length:
        drawn = torch.multinomial(before[tokens[:, :k] @ place], 1, generator=chance)
        tokens = torch.cat([drawn, tokens], 1)
    return tokens.view(count, -1, length)


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
    centre = features.mean(-2, keepdim=True)
    scale = features.std(-2, keepdim=True) + 1e-9

    def extend(x: Tensor) -> Tensor:
        x = ((x - centre) / scale).float()
        return torch.cat([x, torch.ones_like(x[..., :1])], -1)

    x = extend(features)
    goal = (weights[..., None] * targets).float()
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
        if not white:
            return h, w
        return method.canonical(h, w, mu)[0], torch.nn.functional.normalize(w, dim=-1)

    def closure() -> Tensor:
        search.zero_grad()
        states, head = model()
        loss = -(mu[:, None] * law * (states @ head.T).log_softmax(-1)).sum()
        loss.backward()
        return loss

    search.step(closure)
    states, head = (x.detach() for x in model())
    return states, (states @ head.T).softmax(-1)
