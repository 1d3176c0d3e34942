"""A source of tokens whose next-token law, entropies and "who predicts alike" operators
are known exactly.

Every token belongs to one class for the place just before the next token, to another
for the place before that. The next token depends on those classes alone, so that
contexts of different tokens may predict alike, and what a context looks like and what
it predicts come apart. A context is the last `order` tokens, the oldest first; mu is
its stationary law. With the symbols of "A Markov Categorical Framework for Language
Modeling" (Zhang 2025), a state that has read the context predicts W_t, and the surplus
is about W_{t+1} given W_t. Entropies are in nats, in float64.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from stages.seeding import rng

KERNELS = ("surface", "linear", "bhattacharyya", "log-ratio")


@dataclass(frozen=True)
class Process:
    """A stationary source: `law[w_{t-order}, ..., w_{t-1}]` is the law of W_t, one
    probability a token.
    """

    law: Float[Tensor, "*context tokens"]

    @property
    def tokens(self) -> int:
        """How many tokens there are."""
        return self.law.shape[-1]

    @property
    def order(self) -> int:
        """How many of the last tokens the next one depends on."""
        return self.law.ndim - 1

    @cached_property
    def mu(self) -> Float[Tensor, "*context"]:
        """The stationary law of the context, by power iteration."""
        mu = torch.full(
            self.law.shape[:-1], 1 / self.tokens**self.order, dtype=torch.float64
        )
        for _ in range(10_000):
            before, mu = mu, (mu[..., None] * self.law).sum(0)
            if (mu - before).abs().sum() < 1e-15 * self.tokens:
                return mu / mu.sum()
        raise ValueError(
            "the process mixes too slowly; give every token more probability (floor)"
        )

    def block(self, length: int) -> Float[Tensor, "*block"]:
        """The stationary law of `length` tokens in a row, order + 1 of them at most; of
        none it is 1.
        """
        if not 0 <= length <= self.order + 1:
            raise ValueError(
                f"a block of {length} tokens; this process of order {self.order} has 0"
                f" to {self.order + 1}"
            )
        law = self.mu[..., None] * self.law
        for _ in range(self.order + 1 - length):
            law = law.sum(0)
        return law

    def known(self, read: int) -> Float[Tensor, "*read tokens"]:
        """The law of W_t given no more than the last `read` tokens."""
        joint = self.block(read + 1)
        return joint / joint.sum(-1, keepdim=True)

    def entropy(self, read: int | None = None) -> float:
        """The entropy of W_t given the last `read` tokens: 0 for the unigrams', by
        default all that matter.
        """
        read = self.order if read is None else read
        return float(
            torch.special.entr(self.block(read + 1)).sum()
            - torch.special.entr(self.block(read)).sum()
        )

    def surplus(self, ahead: int = 2) -> float:
        """The information surplus I(context; W_{t+1:t+ahead-1} | W_t) (eq. 4.2)."""
        return sum(
            (
                self.entropy(min(read, self.order)) - self.entropy()
                for read in range(1, ahead)
            ),
            0.0,
        )

    def later(self, ahead: int) -> Float[Tensor, "*context tokens"]:
        """The law of W_{t+ahead-1} given the context: the law itself for 1, what a
        draft head can know for 2.
        """
        if ahead < 1:
            raise ValueError(f"{ahead} tokens ahead; the next token is 1 ahead")
        law, next_ = self.law, self.law.view(self.tokens, -1, self.tokens)
        for _ in range(
            ahead - 1
        ):  # the oldest token (o) leaves the context (r), W_t (w) joins it
            law = torch.einsum(
                "orw,rwv->orv", next_, law.view(-1, self.tokens, self.tokens)
            ).view_as(law)
        return law

    def sample(
        self, n: int, length: int, seed: int, stream: Sequence[str | int] = ()
    ) -> Int[Tensor, "n length"]:
        """Draw sequences that are stationary from their first token; sequence i is the
        same however many follow.
        """
        if n < 1 or length < self.order:
            raise ValueError(
                f"{n} sequences of {length} tokens; ask for 1 or more of {self.order}"
                " tokens or more"
            )
        uniform = torch.from_numpy(
            rng(seed, "process", *stream).random((n, length - self.order + 1))
        )
        first = torch.searchsorted(
            self.mu.flatten().cumsum(0), uniform[:, 0].contiguous(), right=True
        )
        context = first.clamp(max=self.mu.numel() - 1)
        drawn = list(torch.unravel_index(context, self.mu.shape))
        cumulative = self.law.flatten(0, -2).cumsum(-1)
        for chance in uniform[:, 1:].split(1, 1):
            token = torch.searchsorted(
                cumulative[context], chance.contiguous(), right=True
            )[:, 0]
            drawn.append(token.clamp(max=self.tokens - 1))
            context = (context * self.tokens + drawn[-1]) % self.mu.numel()
        return torch.stack(drawn, 1)

    def predict(
        self, sequences: Int[Tensor, "n length"]
    ) -> Float[Tensor, "n length tokens"]:
        """The exact law of the token after each position, from what was read until
        there.
        """
        if sequences.shape[1] < self.order:
            raise ValueError(
                f"{sequences.shape[1]} tokens read; the process is of order"
                f" {self.order}"
            )
        first = [
            self.known(read)[sequences[:, :read].unbind(1)][:, None]
            for read in range(1, self.order)
        ]
        return torch.cat(
            [*first, self.law[sequences.unfold(1, self.order, 1).unbind(-1)]], 1
        )

    def similarity(self, kernel: str) -> Float[Tensor, "contexts contexts"]:
        """How alike two contexts are, contexts in the order of `mu.flatten()`.

        "linear" is <p, p'> and "bhattacharyya" sum sqrt(p p') (def. 7.3); "log-ratio"
        is <clr p, clr p'> with clr p = log p - its mean; "surface" counts the tokens
        that two contexts share in the same place.
        """
        law = self.law.flatten(0, -2)
        if kernel == "surface":
            contexts = torch.cartesian_prod(
                *[torch.arange(self.tokens)] * self.order
            ).view(len(law), self.order)
            features = F.one_hot(contexts, self.tokens).flatten(1).double()
        elif kernel == "linear":
            features = law
        elif kernel == "bhattacharyya":
            features = law.sqrt()
        elif kernel == "log-ratio":
            features = law.log() - law.log().mean(-1, keepdim=True)
        else:
            raise ValueError(f"no kernel {kernel!r}; choose from {', '.join(KERNELS)}")
        return features @ features.T

    def spectrum(
        self, kernel: str
    ) -> tuple[Float[Tensor, " contexts"], Float[Tensor, "contexts contexts"]]:
        """Eigenvalues, largest first, and eigenfunctions of the similarity operator M,
        centred by mu (def. 7.5).

        Column i of the second, times sqrt(mu), is a unit vector: E_mu[psi_i psi_j] = 1
        if i = j else 0.
        """
        mu = self.mu.flatten()
        centred = self.similarity(kernel)
        centred = centred - mu @ centred
        centred = centred - (centred @ mu)[:, None]
        root = mu.sqrt()
        values, vectors = torch.linalg.eigh(root[:, None] * centred * root)
        return values.flip(0), vectors.flip(1) / root[:, None]


def draw(
    seed: int,
    *,
    tokens: int = 24,
    classes: Sequence[int] = (6, 8),
    prototypes: int = 12,
    concentration: float = 0.1,
    memory: float = 1.0,
    floor: float = 0.03,
) -> Process:
    """Draw a process at random.

    Args:
        seed: decides the classes of tokens, the prototypes and their mixtures, each by
            a stream of its own.
        tokens: how many there are.
        classes: how many classes tokens have one place back, two places back, ...; as
            many places, the order. Classes are as large as one another.
        prototypes: laws drawn from a flat Dirichlet of this `concentration`; each
            combination of classes mixes them with weights from a Dirichlet of 1, 1/2,
            1/3, ...
        memory: 1 leaves the dependence on tokens farther back than one as drawn, 0
            takes it away, and the surplus too.
        floor: the share of the even law in every law.

    Raises:
        ValueError: a number that leaves no process.
    """
    if (
        tokens < 2
        or prototypes < 1
        or not classes
        or not all(1 <= count <= tokens for count in classes)
    ):
        raise ValueError(
            f"no process of {tokens} tokens in {tuple(classes)} classes with"
            f" {prototypes} prototypes"
        )
    if not (concentration > 0 and 0 <= memory <= 1 and 0 < floor <= 1):
        raise ValueError(
            f"{concentration=} must be above 0, {memory=} within 0 to 1 and {floor=}"
            " above 0, 1 at most"
        )
    laws = rng(seed, "process", "prototypes").dirichlet(
        np.full(tokens, concentration), prototypes
    )
    weights = rng(seed, "process", "mixtures").dirichlet(
        1 / np.arange(1, prototypes + 1), math.prod(classes)
    )
    emission = torch.from_numpy(weights @ laws).view(
        *classes, tokens
    )  # one place back first
    if len(classes) > 1:
        emission = memory * emission + (1 - memory) * emission.mean(
            tuple(range(1, len(classes))), keepdim=True
        )
    emission = (1 - floor) * emission + floor / tokens
    of = [
        torch.from_numpy(
            rng(seed, "process", "classes", place).permutation(tokens) % count
        )
        for place, count in enumerate(classes, 1)
    ]
    law = emission[
        torch.meshgrid(*of, indexing="ij")
    ]  # (one back, two back, ..., tokens)
    return Process(
        law.permute(*range(len(classes) - 1, -1, -1), len(classes)).contiguous()
    )
