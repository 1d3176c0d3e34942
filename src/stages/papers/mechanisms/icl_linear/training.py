"""The networks of a seed: from the zoo, or trained."""

from collections.abc import Callable, Mapping

import numpy as np
from torch import nn

from stages import zoo
from stages.evidence import Outcome
from stages.models import seeded
from stages.papers.mechanisms.icl_linear.estimators import textbook
from stages.papers.mechanisms.icl_linear.method import distance
from stages.papers.mechanisms.icl_linear.scores import prompts
from stages.training import pick_device
from stages.worlds import linreg
from stages.zoo.in_context import Regressor, Task, go_on, predictions, train

CURVE = "during training"


class Watch:
    """Keeps the distances of a network to three estimators while it trains.

    Args:
        task: of the network.
        contexts: prompts to compare on.
        looks: how often; the steps between two of them grow by a factor.
        seed: of the prompts.
    """

    def __init__(self, task: Task, contexts: int, looks: int, seed: int):
        self.d = task.d
        world = prompts(task, contexts, seed)
        self.tokens = linreg.encode(world.x, world.y)
        self.known = textbook(world)
        steps = np.geomspace(min(30, task.steps), task.steps, looks)
        self.at = sorted({round(step) for step in steps})
        self.lines = {name: [] for name in self.known}

    def look(self, network: nn.Module, step: int) -> None:
        """Compare a network after a step, if it is one to look at."""
        if step + 1 not in self.at:
            return
        said = predictions(network, self.tokens)
        for name, line in self.lines.items():
            line.append(distance(said, self.known[name], self.d))

    def record(self, outcome: Outcome) -> None:
        """Add the curves to an outcome."""
        for name, line in self.lines.items():
            outcome.curve(name, CURVE, self.at, line)


def load(seed: int) -> dict[str, nn.Module]:
    """Load the zoo's networks of a seed; of those with noise, and of the control, it
    has one each.
    """
    groups = zoo.load("icl_linear")
    found = dict(groups[0].items()) | dict(groups[seed % len(groups)].items())
    return {name: network.to(pick_device()) for name, network in found.items()}


def learn(
    tasks: Mapping[str, Task],
    seed: int,
    watches: Mapping[str, Callable[[nn.Module, int], None]],
) -> dict[str, nn.Module]:
    """Train a network for each task; those that start from nothing see the same
    sequences. What watches one is called after each of its steps.
    """
    found = {}
    for name, task in tasks.items():
        with seeded(seed, name):
            network = Regressor(task).to(pick_device())
        found[name] = network
        go_on(found, name, task)
        look = watches.get(name)
        after = look and (lambda step, n=network, look=look: look(n, step))
        train(network, task, seed, "sequences", task.start, watch=after)
        network.eval().requires_grad_(False)
    return found
