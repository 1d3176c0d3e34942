"""Linear regression in context: sequences of pairs from one random linear function
each, and the estimators to compare.

A sequence is x_1, y_1, x_2, y_2, ... with y_i = w·x_i + noise and a w of its own, as in
"What learning algorithm is in-context learning?" (Akyürek et al. 2023, sec. 2). Every
estimator here is given all sequences at once and answers for every prefix: entry i of
what it returns has seen the first i pairs, so that (weights * x).sum(-1) predicts y,
the first from nothing. All arithmetic is in float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from stages.seeding import rng

Inputs = Float[Tensor, "n pairs d"]
Outputs = Float[Tensor, "n pairs"]
Weights = Float[Tensor, "n pairs d"]


@dataclass(frozen=True)
class Regressions:
    """Sequences of pairs and the weights behind them, in float64."""

    x: Inputs
    y: Outputs
    w: Float[Tensor, "n d"]


def sample(
    n: int,
    pairs: int,
    d: int,
    seed: int,
    *,
    sigma: float = 0.0,
    tau: float = 1.0,
    scale: float = 1.0,
    weights: Float[Tensor, " d"] | Float[Tensor, "n d"] | None = None,
    stream: Sequence[str | int] = (),
) -> Regressions:
    """Draw w ~ N(0, tau² I), x ~ N(0, scale² I) and y = w·x + N(0, sigma²); sequence i
    is the same however many follow.

    Args:
        n, pairs, d: sequences, pairs in each, inputs of the function.
        seed: with `stream`, decides everything; give training and test sequences
            streams of their own.
        sigma, tau, scale: standard deviations of the noise, of each weight and of each
            input. Each draw keeps its place when one of them changes.
        weights: take these, the same for all sequences or one row a sequence, instead
            of drawing them.

    Raises:
        ValueError: a size below 1, a negative deviation, weights of another shape.
    """
    if min(n, pairs, d) < 1 or min(sigma, tau, scale) < 0:
        raise ValueError(
            f"{n=}, {pairs=}, {d=} must be 1 or more, and {sigma=}, {tau=}, {scale=}"
            " not negative"
        )
    if weights is not None and tuple(weights.shape) not in ((d,), (n, d)):
        raise ValueError(
            f"weights have shape {tuple(weights.shape)}; give ({d},) or ({n}, {d})"
        )

    def normal(name: str, *shape: int) -> Float[Tensor, "n ..."]:
        return torch.from_numpy(
            rng(seed, "linreg", *stream, name).standard_normal((n, *shape))
        )

    w = tau * normal("weights", d) if weights is None else weights.double().expand(n, d)
    x = scale * normal("inputs", pairs, d)
    return Regressions(
        x, torch.einsum("npd,nd->np", x, w) + sigma * normal("noise", pairs), w
    )


def encode(
    x: Float[Tensor, "... pairs d"], y: Float[Tensor, "... answers"]
) -> Float[Tensor, "... tokens width"]:
    """Write pairs as float32 tokens of width d + 1: [0, x_i], then [y_i, 0, ..., 0].

    What a model says at the token of x_i, every other one from the first on, is its
    prediction of y_i (eq. 8).

    Args:
        x: the inputs.
        y: as many outputs, or one fewer: the last input is then a query, and its token
            the last.

    Raises:
        ValueError: another number of outputs.
    """
    if x.shape[-2] - y.shape[-1] not in (0, 1):
        raise ValueError(
            f"{y.shape[-1]} outputs for {x.shape[-2]} inputs; give as many, or one"
            " fewer"
        )
    both = torch.stack(
        [
            F.pad(x, (1, 0)),
            F.pad(
                F.pad(y, (0, x.shape[-2] - y.shape[-1]))[..., None], (0, x.shape[-1])
            ),
        ]
    )
    tokens = rearrange(both, "kind ... pairs d -> ... (pairs kind) d")
    return tokens[..., : x.shape[-2] + y.shape[-1], :].float()


def decode(
    tokens: Float[Tensor, "... tokens width"],
) -> tuple[Float[Tensor, "... pairs d"], Float[Tensor, "... answers"]]:
    """Read the inputs and outputs back from `encode`'s tokens."""
    return tokens[..., ::2, 1:], tokens[..., 1::2, 0]


def least_squares(x: Inputs, y: Outputs) -> Weights:
    """Ordinary least squares, of minimal norm where there are fewer pairs than inputs:
    w = X⁺Y.
    """
    return torch.einsum("npds,ns->npd", torch.linalg.pinv(_prefixes(x)), y.double())


def ridge(x: Inputs, y: Outputs, penalty: float) -> Weights:
    """Ridge regression, w = (XᵀX + penalty I)⁻¹ XᵀY; the penalty is on the sum of
    squares, as scikit-learn's alpha.
    """
    if penalty <= 0:
        raise ValueError(
            f"the penalty is {penalty}; it must be above 0 (least_squares is the limit)"
        )
    gram, moment = _moments(x, y)
    return torch.linalg.solve(
        gram + penalty * torch.eye(x.shape[2], dtype=gram.dtype, device=x.device),
        moment,
    )


def bayes(x: Inputs, y: Outputs, sigma: float, tau: float) -> Weights:
    """The posterior mean of w, which is ridge at sigma²/tau², least squares without
    noise (eq. 18-19).
    """
    return ridge(x, y, sigma**2 / tau**2) if sigma else least_squares(x, y)


def bayes_risk(x: Inputs, sigma: float, tau: float) -> Outputs:
    """The squared error that no predictor of y can undercut on average: sigma² + xᵀ
    Cov(w | prefix) x.
    """
    x = x.double()
    if sigma:
        gram, _ = _moments(x, torch.zeros_like(x[..., 0]))
        eye = torch.eye(x.shape[2], dtype=gram.dtype, device=x.device)
        unknown = torch.linalg.solve(gram / sigma**2 + eye / tau**2, x)
    else:  # what is left of x outside the span of the prefix
        prefixes = _prefixes(x)
        inside = torch.linalg.pinv(prefixes) @ (prefixes @ x[..., None])
        unknown = tau**2 * (x - inside[..., 0])
    return sigma**2 + (x * unknown).sum(-1)


def gradient_descent(
    x: Inputs, y: Outputs, step: float | Float[Tensor, " pairs"], steps: int = 1
) -> Weights:
    """Full-batch gradient descent on the sum of squared errors from w = 0; one step is
    w = 2·step·XᵀY.

    Args:
        x, y: the sequences.
        step: the step size, or one for each prefix.
        steps: how many steps, the same pairs in each.
    """
    if steps < 1:
        raise ValueError(f"{steps} steps of gradient descent; take 1 or more")
    gram, moment = _moments(x, y)
    step = torch.as_tensor(step, dtype=gram.dtype, device=x.device)[..., None]
    w = torch.zeros_like(moment)
    for _ in range(steps):
        w = w - 2 * step * (torch.einsum("npde,npe->npd", gram, w) - moment)
    return w


def sgd(x: Inputs, y: Outputs, step: float, penalty: float = 0.0) -> Weights:
    """One pass of stochastic gradient descent over the prefix, one pair a step, with an
    optional ridge penalty.
    """
    x, y = x.double(), y.double()
    path = [torch.zeros_like(x[:, 0])]
    for x_i, y_i in zip(x.unbind(1)[:-1], y.unbind(1), strict=False):
        w = path[-1]
        residual = (x_i * w).sum(-1, keepdim=True) - y_i[:, None]
        path.append(w - 2 * step * (x_i * residual + penalty * w))
    return torch.stack(path, 1)


def nearest(
    x: Inputs, y: Outputs, neighbours: int = 3, weighted: bool = False
) -> Outputs:
    """Predict y by the mean output of the nearest earlier inputs, as many of them as
    there are up to `neighbours`.

    Args:
        x, y: the sequences; the first prediction, from nothing, is 0.
        neighbours: how many to average.
        weighted: by the inverse squared distance instead of evenly.
    """
    if neighbours < 1:
        raise ValueError(f"{neighbours} neighbours; take 1 or more")
    x, y = x.double(), y.double()
    pairs = x.shape[1]
    later = torch.ones(pairs, pairs, dtype=torch.bool, device=x.device).triu()
    squared = (
        (x[:, :, None] - x[:, None]).square().sum(-1).masked_fill(later, torch.inf)
    )
    distance, index = squared.topk(
        min(neighbours, pairs), largest=False
    )  # n pairs neighbours
    share = (distance < torch.inf).double() / (
        distance.clamp(min=1e-300) if weighted else 1
    )
    answers = y[:, None].expand(-1, pairs, -1).gather(2, index)
    return (share * answers).sum(-1) / share.sum(-1).clamp(min=1e-300)


def _prefixes(x: Inputs) -> Float[Tensor, "n prefixes pairs d"]:
    """Return X of every prefix; rows of zeros stand for later pairs and change no
    solution of minimal norm.
    """
    seen = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril(
        -1
    )
    return x.double()[:, None] * seen[..., None]


def _moments(
    x: Inputs, y: Outputs
) -> tuple[Float[Tensor, "n pairs d d"], Float[Tensor, "n pairs d"]]:
    """Return XᵀX and XᵀY of every prefix."""
    x, y = x.double(), y.double()
    gram, moment = (
        (x[..., :, None] * x[..., None, :]).cumsum(1),
        (x * y[..., None]).cumsum(1),
    )
    return F.pad(gram, (0, 0, 0, 0, 1, 0))[:, :-1], F.pad(moment, (0, 0, 1, 0))[:, :-1]
