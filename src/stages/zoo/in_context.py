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
        sigma: the noise's standard deviation.
        ones: w is all ones in every sequence, so that there is nothing to learn from
            the context.
        start: the name of a network whose weights it goes on from; "" for new ones.
        steps, batch, lr, warmup: of AdamW under a cosine; the warm-up is a share of the
            steps.
    """

    depth: int = 4
    width: int = 32
    heads: int = 2
    d: int = 3
    pairs: int = 6
    sigma: float = 0.0
    ones: bool = False
    start: str = ""
    steps: int = 9000
    batch: int = 96
    lr: float = 3e-3
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
            None, task.width, task.depth, task.heads, 2 * task.pairs, head=head
        )

    def forward(self, tokens: Tokens) -> Predictions:
        """Predict y_i at the token of each x_i of `linreg.encode`'s tokens."""
        return self.gpt(self.embed(tokens))[:, ::2, 0]

    def states(self, tokens: Tokens) -> Float[Tensor, "stages batch tokens width"]:
        """Return the states that enter each block and those that leave the last."""
        return self.gpt.states(self.embed(tokens))


def batches(
    task: Task, seed: int, *names: str | int
) -> Iterator[tuple[Tokens, Predictions]]:
    """Yield a training's tokens and outputs, batch by batch; tasks that differ in their
    noise share all other draws.
    """
    generator = torch_rng(seed, "in context", *names)
    while True:
        shape = (CHUNK, task.batch)
        w = torch.randn(*shape, 1, task.d, generator=generator)
        x = torch.randn(*shape, task.pairs, task.d, generator=generator)
        noise = torch.randn(*shape, task.pairs, generator=generator)
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

    def loss(step: int) -> Tensor:
        tokens, y = next(data)
        return F.mse_loss(network(tokens.to(device)), y.to(device))  # eq. 8

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


# --------------------------------------------------------------------------- the recipe


@dataclass(frozen=True)
class Family:
    """Networks that share a task but for its depth and its noise.

    Attributes:
        task: what they share, and the training of those without noise.
        depths: of those without noise.
        noises: 1 / sigma² of those with noise, which have the task's depth, and go on
            from the one without.
        shallow, noisy, control: steps of the one of depth 1, which ends alike with
            more; of those with noise, from there on; of the one whose w is always ones.
        seeds: networks of each depth in the zoo; it has one of each of the others.
    """

    task: Task = Task()
    depths: tuple[int, ...] = (1, 2, 4)
    noises: tuple[int, ...] = (16, 4, 1)
    shallow: int = 3000
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
    found = {}
    for depth in settings.depths:
        steps = settings.shallow if depth == 1 else settings.task.steps
        found[depth_name(depth)] = replace(settings.task, depth=depth, steps=steps)
    for inverse in settings.noises:
        found[noise_name(inverse)] = replace(
            settings.task,
            sigma=inverse**-0.5,
            start=depth_name(settings.task.depth),
            steps=settings.noisy,
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
    kinds = tasks(settings)
    todo = [(i, name) for i, group in enumerate(networks) for name in group]
    for i, name in bar(todo, desc="networks"):
        go_on(networks[i], name, kinds[name])
        train(networks[i][name], kinds[name], seed, "zoo", i, name)


def go_on(networks: Mapping[str, nn.Module], name: str, task: Task) -> None:
    """Give a network that is to be trained the weights that it goes on from, if any."""
    if task.start:
        networks[name].load_state_dict(networks[task.start].state_dict())


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
