"""What a representation holds, in closed form: linear probes, and the subspaces and
dimensions it fills.

All take leading dimensions, so that one call does all layers of a network, and work in
double precision.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def ridge(
    x: Float[Tensor, "*batch n p"], y: Float[Tensor, "*batch n q"], strength: float
) -> tuple[Float[Tensor, "*batch p q"], Float[Tensor, "*batch 1 q"]]:
    """Fit the linear probe y ≈ x W + b that minimises ‖y - x W - b‖² + strength ‖W‖²;
    return W and b.

    The strength is on the scale of a sum over examples, as in scikit-learn, and b is
    free of it.

    Raises:
        ValueError: the strength is not above 0.
    """
    if strength <= 0:
        raise ValueError(
            f"strength {strength}: it must be above 0, or there may be more solutions"
            " than one"
        )
    x, y = x.double(), y.double()
    centre, level = x.mean(-2, keepdim=True), y.mean(-2, keepdim=True)
    gram = (x - centre).mT @ (x - centre) + strength * torch.eye(
        x.shape[-1], dtype=x.dtype, device=x.device
    )
    weight = torch.linalg.solve(gram, (x - centre).mT @ (y - level))
    return weight, level - centre @ weight


def r2(
    predicted: Float[Tensor, "*batch n q"], true: Float[Tensor, "*batch n q"]
) -> Float[Tensor, "*batch q"]:
    """Return the share of each output's variance that is predicted: 1 at best, 0 for
    its mean, below for worse.
    """
    predicted, true = predicted.double(), true.double()
    return 1 - (true - predicted).square().sum(-2) / (
        true - true.mean(-2, keepdim=True)
    ).square().sum(-2)


def leading_subspace(
    x: Float[Tensor, "*batch n p"],
    dimensions: int,
    weights: Float[Tensor, " n"] | None = None,
) -> Float[Tensor, "*batch n d"]:
    """Return the `dimensions` leading left singular vectors of x, its rows centred:
    along what the n rows vary most.

    With weights μ, equal ones by default, rows are centred by their weighted mean and
    scaled by sqrt(μ). If K = x xᵀ for centred x, these are sqrt(μ) ψ for the leading
    eigenfunctions ψ of (M ψ)(i) = Σ_j K(i, j) ψ(j) μ(j).

    Raises:
        ValueError: x varies in fewer dimensions.
    """
    x = x.double()
    share = (
        torch.ones(x.shape[-2], dtype=x.dtype, device=x.device)
        if weights is None
        else weights.to(x)
    )
    share = (share / share.sum())[:, None]
    left, values, _ = torch.linalg.svd(
        (x - (share * x).sum(-2, keepdim=True)) * share.sqrt(), full_matrices=False
    )
    fills = int(
        (values > values[..., :1] * max(x.shape[-2:]) * torch.finfo(x.dtype).eps)
        .sum(-1)
        .min()
    )
    if dimensions > fills:
        raise ValueError(f"{dimensions} dimensions asked for; the rows vary in {fills}")
    return left[..., :dimensions]


def subspace_overlap(
    one: Float[Tensor, "*batch n p"], other: Float[Tensor, "*batch n q"]
) -> Float[Tensor, "*batch"]:
    """Return the mean squared cosine of the principal angles between the column spaces
    of two matrices.

    With orthonormal bases U and V this is ‖Uᵀ V‖² / min(p, q): 1 if one holds the
    other, 0 if they are orthogonal, and max(p, q) / n for random ones. Columns must be
    independent.
    """
    u, v = (torch.linalg.qr(x.double()).Q for x in (one, other))
    return (u.mT @ v).square().sum((-2, -1)) / min(u.shape[-1], v.shape[-1])


def effective_rank(x: Float[Tensor, "*batch n p"]) -> Float[Tensor, "*batch"]:
    """Return exp(H(σ / Σσ)) of the singular values σ, from 1 to min(n, p) (Roy and
    Vetterli 2007); not centred.

    Of nothing but zeros the effective rank is 0.
    """
    values = torch.linalg.svdvals(x.double())
    total = values.sum(-1, keepdim=True)
    shares = values / total.where(total > 0, 1)
    return torch.special.entr(shares).sum(-1).exp() * (total[..., 0] > 0)


def cka(one: Float[Tensor, "n p"], other: Float[Tensor, "n q"]) -> Float[Tensor, ""]:
    """Compute the linear CKA of two representations of the same pictures: 1 if they
    differ by a rotation, a shift and a scale, 0 if no direction of one varies with any
    of the other (Kornblith et al. 2019).
    """
    one, other = (
        (x - x.mean(0)) @ (x - x.mean(0)).T for x in (one, other)
    )  # as wide as there are pictures
    return (one * other).sum() / (one.norm() * other.norm())
