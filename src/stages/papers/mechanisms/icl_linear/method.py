"""Akyürek, Schuurmans, Andreas, Ma & Zhou, "What learning algorithm is in-context
learning? Investigations with linear models", ICLR 2023, arXiv 2211.15661.

A transformer learns to continue x_1, y_1, x_2, y_2, ... where every sequence has a
linear function of its own (`stages.zoo.in_context`, eq. 8). Here is what the paper asks
of it: whether weights exist with which it would run an estimator (sec. 3), which
estimator it is closest to (sec. 4), and what can be read inside (sec. 5).
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from stages.papers.mechanisms.icl_linear.estimators import PENALTIES, Estimates
from stages.seeding import torch_rng
from stages.training import cosine, fit, optimiser, pick_device, r2
from stages.worlds import linreg
from stages.zoo.in_context import Predictions, Tokens

# ----------------------------------------------- a transformer written by hand (sec. 3)


class HandWritten(nn.Module):
    """A transformer whose weights are written down, not trained: attention without
    softmax, norms or perceptrons.

    A token's state is [r, x, k, p]: a residual, its input, a key and its position. The
    first layer moves x_i to the token of y_i, as its key. Each other one takes a step
    of gradient descent from w = 0, in which only tokens of y have keys. So r becomes
    y - w·x at those, and -w·x at those of x.

    Args:
        d, tokens: inputs of the function, and the most tokens to read.
        step: the step size.
        steps: how many. More than one need every pair to see all pairs of its prefix,
            so `causal` must be off.
        causal: whether a token sees only those up to itself. If not, what is read is
            one prefix and one query.

    Raises:
        ValueError: several steps under a causal mask.
    """

    def __init__(
        self, d: int, tokens: int, step: float, steps: int = 1, causal: bool = True
    ):
        super().__init__()
        if steps > 1 and causal:
            raise ValueError(
                f"{steps} steps under a causal mask would not be gradient descent on"
                " the whole prefix"
            )
        self.step = step
        self.steps = steps
        self.causal = causal
        eye = torch.eye(1 + 2 * d + tokens, dtype=torch.float64)
        self.parts = eye.split([1, d, d, tokens])  # each reads a part of a state

    def attend(
        self, state: Tensor, query: Tensor, key: Tensor, value: Tensor
    ) -> Float[Tensor, "batch tokens values"]:
        """Sum the values of all tokens, each times its key's product with the query."""
        scores = (state @ query.T) @ (state @ key.T).mT
        scores = scores.tril() if self.causal else scores
        return scores @ (state @ value.T)

    def forward(self, tokens: Tokens) -> Predictions:
        """Predict y_i at the token of each x_i of `linreg.encode`'s tokens."""
        r, x, k, p = (part.to(tokens) for part in self.parts)
        n = tokens.shape[1]
        places = torch.eye(len(p)).to(tokens)[:n].expand(len(tokens), -1, -1)
        empty = torch.zeros_like(tokens[..., 1:])
        state = torch.cat([tokens, empty, places], -1)
        before = F.pad(p[1:], (0, 0, 0, 1))  # at t it finds the key of t - 1
        state = state + self.attend(state, before, p, x) @ k
        for _ in range(self.steps):  # r_t <- r_t - 2 α Σ_s r_s k_s·(x_t + k_t)
            moved = self.attend(state, x + k, k, r)
            state = state - 2 * self.step * moved @ r
        return -state[:, ::2, 0]


# ------------------------------------------------------------- which estimator (sec. 4)


def distances(
    predicted: Predictions, family: Estimates, d: int
) -> Float[Tensor, "settings pairs"]:
    """Return the mean squared difference of predictions over d, by setting and number
    of pairs seen.
    """
    return (predicted.double() - family).square().mean(1) / d  # eq. 15


def distance(predicted: Predictions, family: Estimates, d: int) -> float:
    """Return the mean distance after 1 to d - 1 pairs, each number of pairs with the
    setting that is nearest.
    """
    return distances(predicted, family, d).amin(0)[1:d].mean().item()


def effective_penalty(predicted: Predictions, family: Estimates, d: int) -> float:
    """Return λ*: the penalty of the nearest ridge regression, one for all numbers of
    pairs below d. `family` has one setting for each of `PENALTIES`.
    """
    nearest = distances(predicted, family, d)[:, 1:d].mean(1).argmin()
    return float(PENALTIES[int(nearest)])


@torch.no_grad()
def implied(
    network: nn.Module,
    world: linreg.Regressions,
    n: int,
    queries: Float[Tensor, "contexts queries d"],
) -> tuple[Float[Tensor, "contexts d"], float]:
    """Fit linear weights, without intercept, to what a network says of new queries
    after n pairs.

    Returns:
        The weights of each context, and the share of all the predictions' squares that
        they account for (R²).
    """
    contexts, many = queries.shape[:2]
    x = world.x[:contexts, None, :n].expand(-1, many, -1, -1)
    y = world.y[:contexts, None, :n].expand(-1, many, -1)
    tokens = linreg.encode(torch.cat([x, queries[:, :, None]], 2), y).flatten(0, 1)
    said = network(tokens.to(pick_device()))[:, -1].cpu().double()
    said = said.view(contexts, many, 1)
    w = torch.linalg.solve(queries.mT @ queries, queries.mT @ said)  # eq. 16
    rest = (said - queries @ w).square().sum() / said.square().sum()
    return w[..., 0], 1 - rest.item()


# -------------------------------------------------------------- what is inside (sec. 5)


@dataclass(frozen=True)
class Probing:
    """How a frozen network is probed.

    Attributes:
        prefixes: numbers of pairs after which it is.
        train, test: prompts to learn from, and to test on.
        hidden: units of the MLP probe.
        steps, batch, lr: of Adam under a cosine.
    """

    prefixes: tuple[int, ...] = (2, 4)
    train: int = 4000
    test: int = 2000
    hidden: int = 64
    steps: int = 1500
    batch: int = 128
    lr: float = 1e-2


class Probes(nn.Module):
    """FF(αᵀ H) with α the softmax of free scores, one a token and the same for all
    prompts; a probe of its own for each target and stage.

    Args:
        targets, stages: how many there are.
        tokens: of a prompt.
        sizes: widths of FF's layers, input and output included; GELU between them.
        chance: draws the initial weights.
    """

    def __init__(
        self,
        targets: int,
        stages: int,
        tokens: int,
        sizes: tuple[int, ...],
        chance: Generator,
    ):
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(stages, targets, tokens))
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for inputs, outputs in pairwise(sizes):
            drawn = torch.randn(stages, targets, inputs, outputs, generator=chance)
            self.weights.append(drawn / inputs**0.5)
            self.biases.append(torch.zeros(stages, targets, 1, outputs))

    def forward(
        self, states: Float[Tensor, "stages tokens batch width"]
    ) -> Float[Tensor, "stages targets batch d"]:
        """Read all targets from all stages."""
        mix = self.scores.softmax(-1)  # α
        read = torch.bmm(mix, states.flatten(2)).unflatten(2, states.shape[2:])
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            read = (F.gelu(read) if i else read) @ weight + bias
        return read


def probe(
    states: Float[Tensor, "stages n tokens width"],
    targets: Float[Tensor, "targets n d"],
    how: Probing,
    seed: int,
    linear: bool = False,
) -> Float[Tensor, "targets stages"]:
    """Train probes of every target at every stage; return 1 - R² on the last `how.test`
    prompts, which they have not seen.
    """
    stages, _, tokens, width = states.shape
    chance = torch_rng(seed, "probe")
    sizes = (width, targets.shape[-1])
    sizes = sizes if linear else (width, how.hidden, sizes[1])
    probes = Probes(len(targets), stages, tokens, sizes, chance).to(states)
    states = states.transpose(1, 2).contiguous()  # (stages, tokens, n, width)
    known = targets[:, : how.train]
    aims = (targets - known.mean(1, keepdim=True)) / known.std(1, keepdim=True)
    aims = aims.expand(stages, -1, -1, -1)
    rows = torch.randint(how.train, (how.steps, how.batch), generator=chance)

    def loss(step: int) -> Tensor:
        error = probes(states[:, :, rows[step]]) - aims[:, :, rows[step]]
        return error.square().mean((-1, -2)).sum()

    adam = optimiser(probes.parameters(), "adam", how.lr)
    fit(loss, how.steps, adam, schedule=cosine(how.steps))
    with torch.no_grad():
        read = probes(states[:, :, -how.test :])
        return 1 - r2(read, aims[:, :, -how.test :]).mean(-1).T
