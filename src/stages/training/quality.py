"""How good a set of samples is, beside a set of real examples.

All take features, one row an example: those of a classifier, or plain pixels. The
numbers depend on how many examples there are, so compare equal numbers.
"""

import torch
from jaxtyping import Float
from torch import Tensor

Features = Float[Tensor, "n features"]


def distances(
    a: Float[Tensor, "n features"], b: Float[Tensor, "m features"]
) -> Float[Tensor, "n m"]:
    """Return all distances, exactly 0 between equal points."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def frechet_distance(samples: Features, real: Float[Tensor, "m features"]) -> float:
    """Return the Fréchet distance between Gaussians of the same mean and covariance as
    both sets (Heusel et al. 2017):

        ‖μ - ν‖² + Tr(Σ + Γ - 2 (Σ Γ)^½).

    It is 0 for equal sets, and above it for two finite sets of one law: measure that
    noise floor too.
    """
    samples, real = samples.double(), real.double()
    apart = (samples.mean(0) - real.mean(0)).square().sum()
    sigma, gamma = samples.T.cov(), real.T.cov()
    values, vectors = torch.linalg.eigh(sigma)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    # Σ Γ has the eigenvalues of Σ^½ Γ Σ^½, which is symmetric
    products = torch.linalg.eigvalsh(root @ gamma @ root).clamp(min=0)
    total = apart + sigma.trace() + gamma.trace() - 2 * products.sqrt().sum()
    return total.item()


def precision_recall(
    samples: Features, real: Float[Tensor, "m features"], neighbours: int = 3
) -> tuple[float, float]:
    """Return the share of samples that lie where real examples are, and of real
    examples that lie where samples are (Kynkäänniemi et al. 2019).

    "Where a set is" means within the distance of one of its points to that point's k-th
    nearest neighbour in the set.
    """

    def inside(points: Tensor, manifold: Tensor) -> float:
        within = distances(manifold, manifold)
        radius = within.kthvalue(
            neighbours + 1, dim=1
        ).values  # the point itself is one
        return (distances(points, manifold) <= radius).any(1).float().mean().item()

    samples, real = samples.double(), real.double()
    return inside(samples, real), inside(real, samples)


def nearest_neighbour_accuracy(samples: Features, real: Features) -> float:
    """Return how often the nearest other example tells whether one is real, in per
    cent: 50 where the sets cannot be told apart, 100 where they are far apart, less
    than 50 for copies (Lopez-Paz and Oquab 2017).

    Raises:
        ValueError: the sets are not of one size; then 50 would mean nothing.
    """
    if len(samples) != len(real):
        raise ValueError(
            f"{len(samples)} samples against {len(real)} real examples; give equal"
            " numbers"
        )
    both = torch.cat([samples, real]).double()
    distance = distances(both, both).fill_diagonal_(torch.inf)
    is_real = torch.arange(len(both)) >= len(samples)
    same = is_real[distance.argmin(1)] == is_real
    return 100 * same.float().mean().item()
