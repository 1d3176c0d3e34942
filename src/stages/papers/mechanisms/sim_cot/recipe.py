"""The base models `chain_thinkers`: networks of the paper's first seeds, shipped so
that a notebook need not train them.
"""

from torch import nn

from stages.papers.mechanisms.sim_cot.experiment import ARMS
from stages.papers.mechanisms.sim_cot.measures import accuracy, decoded
from stages.papers.mechanisms.sim_cot.problems import Problems
from stages.papers.mechanisms.sim_cot.training import (
    TRAINING,
    Training,
    learn_first_thoughts,
    learn_on,
    learn_steps,
    make_gpt,
)
from stages.papers.mechanisms.sim_cot.variants import COCONUT, COT, SIM, STOP
from stages.progress import bar
from stages.zoo.recipe import Recipe

SHIPPED = (COT, COCONUT, SIM, STOP)


def build(how: Training) -> nn.ModuleDict:
    """Make the networks of the zoo: for each seed, which is their key, one of each arm
    that is shipped.
    """
    networks = nn.ModuleDict()
    for seed in range(how.seeds):
        networks[str(seed)] = nn.ModuleDict(
            {name: ARMS[name].make(how, make_gpt(how)) for name in SHIPPED}
        )
    return networks


def fit_all(networks: nn.ModuleDict, how: Training, seed: int) -> None:
    """Train all networks, one after another."""
    for key, group in bar(networks.items(), desc="seeds"):
        own = seed + int(key)
        pool = Problems.of(how.draw(own, "train", how.pool))
        written = learn_steps(how, pool, own)
        group[COT].model.load_state_dict(written.state_dict())
        thoughts = group[SIM].thoughts
        start = learn_first_thoughts(how, pool, written, thoughts, own)
        for name in (COCONUT, SIM, STOP):
            thinker = learn_on(how, pool, start, ARMS[name], own)
            group[name].load_state_dict(thinker.state_dict())


def measure(networks: nn.ModuleDict, how: Training, seed: int) -> dict[str, float]:
    """Measure in % how often answers are right, and the steps that are decoded from
    thoughts; mean over networks.
    """
    problems = Problems.of(how.draw(seed, "zoo", 500))
    found: dict[str, list[float]] = {}
    for group in networks.values():
        for name, thinker in group.items():
            answers, _, thoughts = thinker.solve(problems)
            right = accuracy(answers, problems)
            found.setdefault(f"{name}: accuracy", []).append(right)
            if thinker.reader is not None:
                steps = decoded(thinker.reader, thinker, problems, thoughts)
                share = 100 * steps.double().mean().item()
                found.setdefault(f"{name}: decoded steps", []).append(share)
    return {name: sum(values) / len(values) for name, values in found.items()}


RECIPE = Recipe(
    "chain_thinkers",
    "transformers of 2 blocks and width 64 that solve word problems in written steps,"
    " or in vectors; three of each",
    "30,000 word problems of 2 to 4 sums modulo 5, told in sentences of five words",
    TRAINING,
    build,
    fit_all,
    measure,
)
