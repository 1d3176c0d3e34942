"""What can be read inside the networks of a seed (sec. 5)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from stages.evidence import Outcome, in_setting
from stages.papers.mechanisms.icl_linear.method import Probing, probe
from stages.training import pick_device
from stages.worlds import linreg
from stages.zoo.in_context import Task

LINEAR = "linear probe"
PERCEPTRON = "MLP probe"
AT_CONTROL = "MLP probe of the control"
AT_INPUT = "MLP probe of the input"
MOMENT = "XᵀY"
WEIGHTS = "w"
PROBE = "probe error"
LAYER = "stage at which it is decodable"


def probe_all(
    network: nn.Module, how: Probing, task: Task, seed: int, linear: bool = False
) -> Float[Tensor, "targets stages"]:
    """Probe a network for XᵀY and least squares' w after each number of pairs, from the
    tokens up to the query; return the mean of 1 - R².
    """
    many = how.train + how.test
    world = linreg.sample(many, task.pairs, task.d, seed, stream=("probe",))
    with torch.no_grad():
        states = network.states(linreg.encode(world.x, world.y).to(pick_device()))
    moment = linreg.gradient_descent(world.x, world.y, 0.5)  # XᵀY
    weights = linreg.least_squares(world.x, world.y)
    targets = torch.stack([moment, weights]).to(states)
    found = [
        probe(states[:, :, : 2 * n + 1], targets[:, :, n], how, seed, linear)
        for n in how.prefixes
    ]
    return torch.stack(found).mean(0).cpu()


def score_probes(
    outcome: Outcome,
    deep: nn.Module,
    control: nn.Module,
    how: Probing,
    task: Task,
    seed: int,
) -> None:
    """Probe the deepest network and the control at every stage; score the best stage
    after the first block.
    """
    found = {
        LINEAR: probe_all(deep, how, task, seed, linear=True),
        PERCEPTRON: probe_all(deep, how, task, seed),
        AT_CONTROL: probe_all(control, how, task, seed),
    }
    for i, target in enumerate((MOMENT, WEIGHTS)):
        metric = in_setting(PROBE, target)
        for method, errors in found.items():
            outcome.score(method, metric, errors[i, 1:].min())
            outcome.curve(method, metric, range(len(errors[i])), errors[i])
        line = found[PERCEPTRON][i]
        outcome.score(AT_INPUT, metric, line[0])
        close = line <= line.min() + 0.1  # within 0.1 of the best R²
        outcome.score(target, LAYER, int(close.int().argmax()))
