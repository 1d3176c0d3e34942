"""How networks are trained and what it costs: one account of FLOPs for each arm."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Int
from torch import Tensor

from stages.models import GPT
from stages.papers.scaling.multilevel.method import sizes_of
from stages.training import fit, next_token_loss, optimiser, pick_device
from stages.worlds import tinytext

CLIP = 1.0  # the largest norm of all gradients together
DECAY = 0.01


@dataclass(frozen=True)
class Schedule:
    """What all arms of an experiment share.

    Attributes:
        budget: FLOPs, per token of a batch, that are 100 %.
        whole: updates of the large network that cost as much.
        warmup: the first updates of every arm, over which the rate rises.
        tail: the last share of a budget, over which the rate falls to 0. The stage of
            a smaller network ends in the same way.
        rates: of AdamW, by width and depth of the network.
        watched: after how many updates the loss is measured again.
        shown: windows on which it is measured then.
    """

    budget: int
    whole: int
    warmup: int
    tail: float
    rates: dict[tuple[int, int], float]
    watched: int
    shown: int


@dataclass(frozen=True)
class World:
    """Text of a seed: batches in the order in which every arm reads them, and windows
    of other documents to measure the loss on.
    """

    batches: Int[Tensor, "updates batch length"]
    tests: Int[Tensor, "n length"]

    @classmethod
    def of(
        cls, seed: int, tokens: int, updates: int, batch: int, length: int, test: int
    ) -> "World":
        """Write the text of a seed.

        Args:
            tokens: of the training text; the test text has a quarter of them.
            updates, batch, length: how many batches are cut out of it, of how many
                windows, of how many tokens.
            test: windows to measure the loss on.
        """
        text = tinytext.corpus(tokens, seed)
        held_out = tinytext.corpus(max(tokens // 4, length), seed, ("held out",))
        device = pick_device()
        batches = tinytext.windows(text, updates * batch, length, seed, "batches")
        tests = tinytext.windows(held_out, test, length, seed, "tests")
        return cls(batches.view(updates, batch, length).to(device), tests.to(device))


def training_flops(model: GPT) -> int:
    """Count the floating-point operations of one update on one token.

    With L blocks of width d, V words and T tokens that are read at once, forward takes
    24 L d² + 4 L T d + 2 V d: the layers, the attention's two products, the tied head.
    Backward takes twice as many (eq. 6). Norms, biases and activations are left out.
    """
    sizes = sizes_of(model)
    width = sizes["width"]
    layers = 24 * sizes["depth"] * width**2
    attention = 4 * sizes["depth"] * len(model.positions) * width
    head = 2 * len(model.embedding.weight) * width
    return 3 * (layers + attention + head)  # eq. 6


@torch.no_grad()
def held_out_loss(model: GPT, tests: Int[Tensor, "n length"]) -> float:
    """Return the mean of -log p(word | those before it in its window), in nats."""
    return float(next_token_loss(model(tests), tests))


@dataclass
class Account:
    """Trains the networks of one arm and charges it for each update, of any size.

    Attributes:
        seen: updates so far; update n reads batch n of the world, whatever the network.
        spent: FLOPs so far, per token of a batch.
        curve: (width of the network, FLOPs spent, held-out loss), as training went.
    """

    world: World
    schedule: Schedule
    seen: int = 0
    spent: int = 0
    curve: list[tuple[int, int, float]] = field(default_factory=list)

    def train(self, model: GPT, updates: int) -> None:
        """Train a network in place, with a new optimiser, in a stage that is not the
        arm's last. The rate rises while the arm warms up, and falls in a tail at the
        end of the stage, unless the stage is all warm-up.
        """
        rising = max(0, self.schedule.warmup - self.seen)
        tail = min(round(self.schedule.tail * updates), max(0, updates - rising))
        self.advance(model, self.new_optimiser(model), updates, tail)

    def finish(self, model: GPT, budgets: Sequence[float]) -> list["Ending"]:
        """Train the large network on, in place, and end at each of the budgets.

        There is one trunk at the full rate. For each budget a copy leaves it and goes
        through a tail, so that every budget has a whole schedule of its own.

        Args:
            budgets: shares of the whole, rising.

        Raises:
            ValueError: so much is spent, or budgets rise so little, that one of them
                has no room for its tail.
        """
        adam = self.new_optimiser(model)
        endings = []
        for budget in budgets:
            tail = round(self.schedule.tail * budget * self.schedule.whole)
            left = budget * self.schedule.budget - self.spent
            trunk = round(left / training_flops(model)) - tail
            if trunk < 0:
                raise ValueError(
                    f"{self.spent / self.schedule.budget:.0%} of the FLOPs are spent;"
                    f" {budget:.0%} leave no room for a tail of {tail} updates"
                )
            self.advance(model, adam, trunk)
            end = deepcopy(model)
            branch = replace(self, curve=[*self.curve])
            copied = branch.new_optimiser(end)
            copied.load_state_dict(deepcopy(adam.state_dict()))
            branch.advance(end, copied, tail, tail)
            loss = held_out_loss(end, self.world.tests)
            endings.append(Ending(budget, loss, end, branch.curve))
        return endings

    def new_optimiser(self, model: GPT) -> torch.optim.Optimizer:
        """Make AdamW with the rate that belongs to a network's size."""
        sizes = sizes_of(model)
        rate = self.schedule.rates[sizes["width"], sizes["depth"]]
        return optimiser(model.parameters(), "adamw", rate, weight_decay=DECAY)

    def advance(
        self, model: GPT, adam: torch.optim.Optimizer, updates: int, tail: int = 0
    ) -> None:
        """Take updates, the last `tail` of them at a falling rate."""
        cost = training_flops(model)
        end = self.seen + updates

        def factor(step: int) -> float:
            rise = (step + 1) / self.schedule.warmup
            fall = (end - step) / (tail + 1)
            return min(rise, fall if step >= end - tail else 1.0, 1.0)

        def loss(step: int) -> Tensor:
            tokens = self.world.batches[step]
            return next_token_loss(model(tokens), tokens)

        def watch(step: int) -> None:
            self.seen += 1
            self.spent += cost
            if self.seen % self.schedule.watched == 0 or self.seen == end:
                shown = self.world.tests[: self.schedule.shown]
                point = (sizes_of(model)["width"], self.spent)
                self.curve.append((*point, held_out_loss(model, shown)))

        steps = range(self.seen, end)
        fit(loss, steps, adam, schedule=factor, clip=CLIP, after_step=watch)


@dataclass(frozen=True)
class Ending:
    """An arm at the end of one of its budgets: its loss on all test windows, its large
    network, and its curve until there.
    """

    budget: float
    loss: float
    network: GPT
    curve: list[tuple[int, int, float]]
