"""One step of a language model as composed Markov kernels: what its states must know,
may forget, and come to look like.

Zhang, "A Markov Categorical Framework for Language Modeling", arXiv 2507.19247 (v2,
2025). On finite sets a kernel is a matrix whose rows are laws p; the head's is
softmax(W h). Equations are numbered as on the book's page; definitions, propositions
and theorems as in v2. The main theorem (7.6) was weakened in later versions.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from stages.training import leading_subspace, subspace_overlap

Laws = Float[Tensor, "*batch tokens"]

# ----------------------------------------------------------- uncertainty and knowledge


def kl(p: Laws, q: Laws) -> Float[Tensor, "*batch"]:
    """Return the KL divergence of p from q in nats; q is above 0."""
    return (torch.special.xlogy(p, p) - torch.special.xlogy(p, q)).sum(-1)


def categorical_entropy(p: Laws) -> Float[Tensor, "*batch"]:
    """Return the categorical entropy of a kernel's rows in nats: how far copying an
    outcome is from drawing twice (def. 4.1), which is Shannon's entropy (prop. 4.2).
    """
    return torch.special.entr(p).sum(-1)  # eq. 1


def surplus(
    joint: Float[Tensor, "tokens contexts"],
    later: Float[Tensor, "tokens contexts tokens"],
    log_q: Float[Tensor, "tokens contexts tokens"],
) -> float:
    """Return the part of the information surplus I(H_t; W_{t+1} | W_t) (eq. 4.2 of the
    paper) that predictions show, in nats; with log q of the true laws it is all.

    Args:
        joint: the law of W_t and the context that H_t has read.
        later: the law of W_{t+1} given both.
        log_q: its prediction from W_t and H_t.
    """
    pairs = joint[..., None] * later
    alone = pairs.sum(1)  # the law of (W_t, W_{t+1})
    known = alone / alone.sum(-1, keepdim=True)
    entropy = -torch.special.xlogy(alone, known).sum()
    return float(entropy + (pairs * log_q).sum())  # eq. 2


# ------------------------------------------------------------- the geometry of the head


def pullback_metric(
    p: Laws, w: Float[Tensor, "tokens d"]
) -> Float[Tensor, "*batch d d"]:
    """Return the Fisher-Rao metric pulled back to the states of a softmax-linear head:
    Wᵀ (diag(p) - p pᵀ) W (sec. 6), of rank min(d, tokens - 1) at most.
    """
    mean = p @ w
    square = torch.einsum("...v,vi,vj->...ij", p, w, w)
    return square - mean[..., :, None] * mean[..., None, :]  # eq. 3


def canonical(
    h: Float[Tensor, "n d"], w: Float[Tensor, "tokens d"], mu: Float[Tensor, " n"]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return whitened states z, and V and b with z Vᵀ + b = h Wᵀ.

    (h, W) and (A h, W A⁻¹) are one model: what depends on A is a matter of taste. What
    is computed from z and V does not, but for a rotation.
    """
    mean = mu @ h
    covariance = (mu[:, None] * (h - mean)).T @ (h - mean)
    factor = torch.linalg.cholesky(covariance)
    z = torch.linalg.solve_triangular(factor, (h - mean).T, upper=False).T
    return z, w @ factor, w @ mean


# --------------------------------------------------------------- predictive similarity


def overlap(
    h: Float[Tensor, "n d"],
    leading: Float[Tensor, "n k"],
    mu: Float[Tensor, " n"],
) -> float:
    """Return how much of the leading eigenspace of a similarity operator (def. 7.5)
    states span: 1 if all of it, d / n by chance.

    `leading` holds unit vectors sqrt(mu) psi, for eigenfunctions psi of
    (M psi)(x) = sum K(x, x') psi(x') mu(x'), the largest eigenvalue first.
    """
    d = h.shape[1]
    spanned = leading_subspace(h, d, mu)
    return float(subspace_overlap(spanned, leading[:, :d]))  # eq. 5


def dirichlet_energy(
    phi: Float[Tensor, "n k"],
    kernel: Float[Tensor, "n n"],
    mu: Float[Tensor, " n"],
) -> Float[Tensor, " k"]:
    """Return each column's Dirichlet energy (prop. 7.4) as a share of what it is if phi
    has nothing to do with K.

    That is ½ E K(x, x') (phi(x) - phi(x'))² over Var(phi) E K(x, x'), x and x'
    independent, of law mu.
    """
    phi = phi - mu @ phi
    weighted = mu[:, None] * phi
    degree = kernel @ mu
    alone = (mu * degree) @ phi.square()
    across = (weighted * (kernel @ weighted)).sum(0)
    chance = (mu @ phi.square()) * (mu @ degree)
    return (alone - across) / chance  # eq. 6


# ------------------------------------------------------- the main theorem's assumptions


class Whiten(nn.Module):
    """Give states mean 0 and covariance I, as theorem 7.6 assumes: a batch's own in
    training, running ones afterwards.

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
        mean = self.mean
        covariance = self.covariance
        if self.training:
            flat = h.flatten(0, -2)
            mean = flat.mean(0)
            square = (flat - mean).T @ (flat - mean) / len(flat)
            covariance = square + 1e-5 * torch.eye(len(mean)).to(h)
            self.mean.lerp_(mean.detach(), self.momentum)
            self.covariance.lerp_(covariance.detach(), self.momentum)
        factor = torch.linalg.cholesky(covariance)
        centred = (h - mean).flatten(0, -2).T
        return torch.linalg.solve_triangular(factor, centred, upper=False).T.view_as(h)


class UnitHead(nn.Linear):
    """A head without bias whose rows g(w) have length one, as theorem 7.6 assumes."""

    @property
    def rows(self) -> Float[Tensor, "tokens d"]:
        """The vectors g(w)."""
        return F.normalize(self.weight, dim=-1)

    def forward(self, h: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch tokens"]:
        """Return <g(w), h> for every token."""
        return F.linear(h, self.rows)
