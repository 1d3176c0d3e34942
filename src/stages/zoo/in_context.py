"""Small transformers that were trained to regress in context, and the code that trains
them.

Each reads x_1, y_1, x_2, y_2, ... and says at every x_i what y_i will be, after "What
learning algorithm is in-context learning?" (Akyürek et al. 2023, sec. 2 and 4). The
paper `mechanisms/icl_linear` trains its networks here too, with seeds of its own.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from stages.models import GPT
from stages.progress import bar
from stages.seeding import torch_rng
from stages.training import cosine, fit, optimiser, pick_device
from stages.worlds import linreg
from stages.zoo.recipe import Recipe

CHUNK = 100  # steps whose data are drawn at once

Tokens = Float[Tensor, "batch tokens width"]
Predictions = Float[Tensor, "batch pairs"]


@dataclass(frozen=True)
class Task:
    """A network and what it is trained on: y = w·x + noise, w and x standard normal,
    always drawn afresh.

    Attributes:
        depth, width, heads: of the transformer.
        d, pairs: inputs of the function, and pairs in a sequence.
        longest: pairs that there are positions for; those beyond `pairs` are never
            trained.
        sigma: the noise's standard deviation.
        ones: w is all ones in every sequence, so that there is nothing to learn from
            the context.
        last: the loss counts the last y alone, instead of all.
        steps, batch, lr, warmup: of AdamW under a cosine; the warm-up is a share of the
            steps.
    """

    depth: int = 4
    width: int = 32
    heads: int = 2
    d: int = 3
    pairs: int = 6
    longest: int = 10
    sigma: float = 0.0
    ones: bool = False
    last: bool = False
    steps: int = 3000
    batch: int = 128
    lr: float = 4e-3
    warmup: float = 0.05


class Regressor(nn.Module):
    """A `GPT` that reads pairs in the place of words, and answers with a number at each
    input x.
    """

    def __init__(self, task: Task):
        super().__init__()
        self.embed = nn.Linear(task.d + 1, task.width)
        head = nn.Linear(task.width, 1)
        self.gpt = GPT(
            None, task.width, task.depth, task.heads, 2 * task.longest, head=head
        )

    def forward(self, tokens: Tokens) -> Predictions:
        """Predict y_i at the token of each x_i of `linreg.encode`'s tokens."""
        return self.gpt(self.embed(tokens))[:, ::2, 0]

    def states(self, tokens: Tokens) -> Float[Tensor, "stages batch tokens width"]:
        """Return the states that enter each block and those that leave the last."""
        return self.gpt.states(self.embed(tokens))


class Recurrent(nn.Module):
    """A one-layer LSTM of about as many weights, which reads and answers as a
    `Regressor` does.
    """

    def __init__(self, task: Task):
        super().__init__()
        self.lstm = nn.LSTM(task.d + 1, task.width, batch_first=True)
        self.head = nn.Linear(task.width, 1)

    def forward(self, tokens: Tokens) -> Predictions:
        """Predict y_i at the token of each x_i."""
        return self.head(self.lstm(tokens)[0])[:, ::2, 0]


def batches(
    task: Task, seed: int, *names: str | int
) -> Iterator[tuple[Tokens, Predictions]]:
    """Yield a training's tokens and outputs, batch by batch; tasks that differ in their
    noise share all other draws.
    """
    generator = torch_rng(seed, "in context", *names)
    while True:
        w, x, noise = (
            torch.randn(CHUNK, task.batch, *shape, generator=generator)
            for shape in ((1, task.d), (task.pairs, task.d), (task.pairs,))
        )
        y = ((1.0 if task.ones else w) * x).sum(-1) + task.sigma * noise
        yield from zip(linreg.encode(x, y), y, strict=True)


def train(
    network: nn.Module,
    task: Task,
    seed: int,
    *names: str | int,
    watch: Callable[[int], None] | None = None,
) -> list[float]:
    """Train a network in place on squared errors at all y, the first from nothing
    included (eq. 8); return the losses.

    Args:
        names: the stream of its data.
        watch: called after each step.
    """
    device = next(network.parameters()).device
    data = batches(task, seed, *names)
    adam = optimiser(
        network.parameters(), "adamw", task.lr, betas=(0.9, 0.98), weight_decay=0.0
    )
    counted = slice(-1 if task.last else 0, None)

    def loss(step: int) -> Tensor:
        tokens, y = (part.to(device) for part in next(data))
        return F.mse_loss(network(tokens)[:, counted], y[:, counted])

    return fit(
        loss,
        task.steps,
        adam,
        schedule=cosine(task.steps, round(task.warmup * task.steps)),
        clip=1.0,
        after_step=watch,
    )


@torch.no_grad()
def predictions(
    network: nn.Module, tokens: Float[Tensor, "n tokens width"]
) -> Predictions:
    """Return a network's predictions in double precision, on the CPU."""
    return torch.cat(
        [network(part.to(pick_device())).cpu() for part in tokens.split(1000)]
    ).double()


@torch.no_grad()
def implied(
    network: nn.Module,
    world: linreg.Regressions,
    n: int,
    queries: Float[Tensor, "contexts queries d"],
) -> tuple[Float[Tensor, "contexts d"], float]:
    """Fit linear weights, without intercept, to what a network says of new queries
    after n pairs (eq. 16).

    Returns:
        The weights of each context, and the share of all the predictions' squares that
        they account for (R²).
    """
    contexts, many = queries.shape[:2]
    x = torch.cat(
        [world.x[:contexts, None, :n].expand(-1, many, -1, -1), queries[:, :, None]], 2
    )
    tokens = linreg.encode(
        x, world.y[:contexts, None, :n].expand(-1, many, -1)
    ).flatten(0, 1)
    said = (
        network(tokens.to(pick_device()))[:, -1].cpu().double().view(contexts, many, 1)
    )
    w = torch.linalg.solve(queries.mT @ queries, queries.mT @ said)
    rest = (said - queries @ w).square().sum() / said.square().sum()
    return w[..., 0], 1 - rest.item()


# -------------------------------------------------------- a transformer written by hand


class HandWritten(nn.Module):
    """A transformer whose weights are written down, not trained: attention without
    softmax, norms or perceptrons.

    A token's state is [r, x, k, p]: a residual, its input, a key and its position. The
    first layer moves x_i to the token of y_i, as its key; each of the others takes one
    step of gradient descent from w = 0,

        r_t <- r_t - 2 step Σ_s r_s k_s·(x_t + k_t),

    in which only tokens of y have keys, so that r becomes y - w·x at those and -w·x at
    those of x.

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
        self.tokens, self.steps, self.causal = tokens, steps, causal
        eye = torch.eye(1 + 2 * d + tokens, dtype=torch.float64)
        r, x, k, p = eye.split([1, d, d, tokens])  # rows that read a part of a state
        self.register_buffer(
            "move", torch.stack([_pad(p[1:], p), p, _pad(x, p)])
        )  # q_t = k_{t-1}
        self.register_buffer("moved", _pad(k, p).T)
        self.register_buffer(
            "descend", torch.stack([_pad(x + k, p), _pad(k, p), _pad(r, p)])
        )
        self.register_buffer("descended", -2 * step * _pad(r, p).T)

    def forward(
        self, tokens: Float[Tensor, "batch tokens width"]
    ) -> Float[Tensor, "batch pairs"]:
        """Predict y_i at the token of each x_i of `linreg.encode`'s tokens."""
        n, d = tokens.shape[1], tokens.shape[2] - 1
        places = torch.eye(self.tokens, dtype=tokens.dtype)[:n].expand(
            len(tokens), -1, -1
        )
        state = torch.cat([tokens, torch.zeros_like(tokens[..., :d]), places], -1)
        for weights, out in [(self.move, self.moved)] + self.steps * [
            (self.descend, self.descended)
        ]:
            q, key, value = torch.einsum("bnw,kvw->kbnv", state, weights.to(tokens))
            scores = q @ key.mT
            state = (
                state
                + (scores.tril() if self.causal else scores) @ value @ out.to(tokens).T
            )
        return -state[:, ::2, 0]


def _pad(rows: Tensor, like: Tensor) -> Tensor:
    """Fill rows of weights up with zeros, so that a layer's fit into one tensor."""
    return F.pad(rows, (0, 0, 0, max(0, len(like) - len(rows))))


# --------------------------------------------------------------------------- the recipe


@dataclass(frozen=True)
class Family:
    """Networks that share a task but for its depth and its noise; of those without
    noise, `seeds` of each.

    Attributes:
        task: what they share, and the training of those without noise.
        depths: of those without noise.
        noises: 1 / sigma² of those with noise, which have the task's depth, and go on
            from the one without.
        noisy, control: steps of those with noise, from there on, and of the one whose w
            is always ones.
    """

    task: Task = Task()
    depths: tuple[int, ...] = (1, 2, 4)
    noises: tuple[int, ...] = (16, 4, 1)
    noisy: int = 500
    control: int = 200
    seeds: int = 3


CONTROL = "control"


def depth_name(depth: int) -> str:
    """Name the network of a depth that is trained without noise."""
    return f"depth {depth}"


def noise_name(inverse: int) -> str:
    """Name the network that is trained with noise of variance 1 / `inverse`."""
    return f"noise 1/{inverse}"


def tasks(settings: Family) -> dict[str, Task]:
    """Return the tasks of a family by name."""
    found = {
        depth_name(depth): replace(settings.task, depth=depth)
        for depth in settings.depths
    }
    for inverse in settings.noises:
        found[noise_name(inverse)] = replace(
            settings.task, sigma=inverse**-0.5, steps=settings.noisy
        )
    found[CONTROL] = replace(settings.task, ones=True, steps=settings.control)
    return found


def build(settings: Family) -> nn.ModuleList:
    """Make the networks, a dictionary for each seed: all of them for the first, those
    without noise for the others.
    """
    first = tasks(settings)
    clean = {depth_name(depth): first[depth_name(depth)] for depth in settings.depths}
    groups = [first] + (settings.seeds - 1) * [clean]
    return nn.ModuleList(
        nn.ModuleDict({name: Regressor(task) for name, task in group.items()})
        for group in groups
    )


def fit_all(networks: nn.ModuleList, settings: Family, seed: int) -> None:
    """Train all networks, one after another."""
    kinds, todo = (
        tasks(settings),
        [(i, name) for i, group in enumerate(networks) for name in group],
    )
    for i, name in bar(todo, desc="networks"):
        start(networks[i], name, kinds[name])
        train(networks[i][name], kinds[name], seed, "zoo", i, name)


def start(networks: Mapping[str, nn.Module], name: str, task: Task) -> None:
    """Let a network that is to be trained with noise go on from the one of its depth
    that was trained without.
    """
    if task.sigma:
        networks[name].load_state_dict(networks[depth_name(task.depth)].state_dict())


def measure(networks: nn.ModuleList, settings: Family, seed: int) -> dict[str, float]:
    """Measure how far networks are from Bayes' prediction for their noise: 1000 times
    MSPD / d, mean over seeds.
    """
    found = {}
    for name, task in tasks(settings).items():
        if not task.ones:
            world = linreg.sample(
                2000, task.pairs, task.d, seed, sigma=task.sigma, stream=("zoo", "test")
            )
            best = (linreg.bayes(world.x, world.y, task.sigma, 1.0) * world.x).sum(-1)
            tokens = linreg.encode(world.x, world.y)
            said = torch.stack(
                [
                    predictions(group[name], tokens)
                    for group in networks
                    if name in group
                ]
            )
            gap = (said - best).square()[..., 1 : task.d].mean() / task.d
            found[f"{name}: 1000 x distance to Bayes"] = 1000 * gap.item()
    return found


RECIPE = Recipe(
    "icl_linear",
    "small transformers that regress in context: depths 1, 2 and 4, three of each;"
    " three noises; and a control",
    "sequences of 6 pairs (x, w·x + noise), 3 inputs, a w of its own in each, always"
    " drawn afresh",
    Family(),
    build,
    fit_all,
    measure,
)
