"""The networks of all arms, and how they are trained.

A network is a transformer of one block, a linear map down to the states h of the
theory, and a head that is linear in h. No norm stands between the last two, so that
`pullback_metric` is exact.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from stages.models import GPT, seeded
from stages.papers.mechanisms.markov_categories.method import UnitHead, Whiten
from stages.seeding import torch_rng
from stages.training import cosine, fit, optimiser
from stages.worlds.process import Process

NLL = "next-token NLL"
UNTRAINED = "untrained"
SHUFFLED = "shuffled targets"
UNIT = "theorem's assumptions"
SQUARED = "squared error"
SMOOTHED = "label smoothing"

Tokens = Int[Tensor, "n length"]
Loss = Callable[[Float[Tensor, "n tokens"], Int[Tensor, " n"]], Tensor]


def squared(outputs: Float[Tensor, "n tokens"], targets: Int[Tensor, " n"]) -> Tensor:
    """Return the mean squared distance of the outputs, a fifth of them, from the token
    that came.

    Probabilities of 24 tokens are small. Outputs as large as a head's at the start
    would first be pushed to zero, and head and states with them; that is a saddle.
    """
    return (outputs / 5 - F.one_hot(targets, outputs.shape[-1])).square().sum(-1).mean()


@dataclass(frozen=True)
class Method:
    """One way to train.

    Attributes:
        loss: of outputs and the tokens that came.
        shuffled: whether the tokens that came are dealt out anew among all places.
        unit: whether theorem 7.6's assumptions hold: whitened states, rows of the head
            of length one.
        laws: whether the softmax of the outputs predicts the next token.
    """

    loss: Loss = F.cross_entropy
    shuffled: bool = False
    unit: bool = False
    laws: bool = True


METHODS = {
    NLL: Method(),
    SHUFFLED: Method(shuffled=True),
    UNIT: Method(unit=True),
    SQUARED: Method(squared, laws=False),
    SMOOTHED: Method(partial(F.cross_entropy, label_smoothing=0.1)),
}


@dataclass(frozen=True)
class Recipe:
    """How every network is made and trained.

    Attributes:
        steps, batch, length: updates, sequences in each, tokens that a sequence
            predicts. No sequence is seen twice.
        rate: Adam's. There is no weight decay, which would shrink directions.
        width, depth: of the encoder.
        watched: checkpoints, the start included.
    """

    steps: int = 1000
    batch: int = 64
    length: int = 12
    rate: float = 1e-2
    width: int = 32
    depth: int = 1
    watched: int = 12

    def checkpoints(self) -> list[int]:
        """Return the steps taken at the checkpoints, none to all, denser at the start.

        Early ones that fall together count once.
        """
        places = np.geomspace(1, self.steps + 1, self.watched)
        return sorted({round(place) - 1 for place in places})

    def lessons(
        self, world: Process, seed: int
    ) -> Int[Tensor, "steps batch length_and_one"]:
        """Draw what all networks of a seed learn from."""
        drawn = world.sample(self.steps * self.batch, self.length + 1, seed)
        return drawn.view(self.steps, self.batch, -1)


class Network(nn.Module):
    """An encoder, a bottleneck that gives states h, and a head that reads them."""

    def __init__(self, encoder: GPT, bottleneck: nn.Module, head: nn.Module):
        super().__init__()
        self.encoder = encoder
        self.bottleneck = bottleneck
        self.head = head

    def states(self, tokens: Tokens) -> Float[Tensor, "n length d"]:
        """Return the states h after each token."""
        return self.bottleneck(self.encoder.extend(tokens)[0])

    def layers(self, tokens: Tokens) -> list[Float[Tensor, "n length _"]]:
        """Return the states before the first block, after every block, and h."""
        stages = self.encoder.states(tokens)
        return [*stages, self.bottleneck(self.encoder.norm(stages[-1]))]

    def rows(self) -> Float[Tensor, "tokens d"]:
        """Return the head's matrix W in double precision."""
        unit = isinstance(self.head, UnitHead)
        return (self.head.rows if unit else self.head.weight).detach().double()


def make(method: Method, d: int, tokens: int, recipe: Recipe, seed: int) -> Network:
    """Make a network as it is before training.

    All methods and widths d of a seed have the same encoder, and all methods of one d
    the same bottleneck and head.
    """
    with seeded(seed, "encoder"):
        encoder = GPT(
            tokens,
            recipe.width,
            recipe.depth,
            4,
            recipe.length,
            head=nn.Identity(),
            norm=True,
        )
    with seeded(seed, "head", d):
        bottleneck = nn.Linear(recipe.width, d)
        head = nn.Linear(d, tokens, bias=False)
    if not method.laws:  # logits have no zero; with a bias, the optimum is centred
        head.bias = nn.Parameter(torch.zeros(tokens))
    if method.unit:
        unit = UnitHead(d, tokens, bias=False)
        unit.weight = head.weight
        return Network(encoder, nn.Sequential(bottleneck, Whiten(d)), unit).eval()
    return Network(encoder, bottleneck, head).eval()


def learn(
    method: Method,
    d: int,
    lessons: Int[Tensor, "steps batch length_and_one"],
    tokens: int,
    recipe: Recipe,
    seed: int,
    watch: Callable[[int, Network], None] = lambda step, network: None,
) -> Network:
    """Train a network from its start; call `watch` at checkpoints with the steps taken
    and the network.
    """
    network = make(method, d, tokens, recipe, seed).train()
    deal = torch_rng(seed, "shuffle", d)
    watched = recipe.checkpoints()

    def loss(step: int) -> Tensor:
        targets = lessons[step, :, 1:].flatten()
        if method.shuffled:
            targets = targets[torch.randperm(len(targets), generator=deal)]
        outputs = network.head(network.states(lessons[step, :, :-1]))
        return method.loss(outputs.flatten(0, 1), targets)

    def look(step: int) -> None:
        if step + 1 in watched:
            watch(step + 1, network.eval())
            network.train()

    look(-1)
    fit(
        loss,
        recipe.steps,
        optimiser(network.parameters(), "adam", recipe.rate),
        schedule=cosine(recipe.steps, warmup=max(1, recipe.steps // 20)),
        after_step=look,
    )
    return network.eval()
