"""What is scored of a source and of every network: what its states resemble, what it
predicts, and how both change in training (C1 to C3).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from jaxtyping import Float
from scipy.stats import spearmanr
from torch import Tensor

from stages.evidence import Outcome, in_setting
from stages.papers.mechanisms.markov_categories.lab import LINEAR, Lab
from stages.papers.mechanisms.markov_categories.training import NLL, Network
from stages.worlds.process import KERNELS

RISE, PARTIAL = "rise in training", "partial alignment"
DIVERGENCE, EXCESS = "KL to truth", "entropy excess"
TOGETHER = "gap falls with KL"
ENTROPY, SURPLUS = "entropy", "surplus"
WITH_LINEAR = "overlap with linear"
UNIGRAM, TRUTH = "unigram", "truth"


@dataclass(frozen=True)
class Seen:
    """A network at a checkpoint: states, predicted laws, and the head's matrix."""

    h: Float[Tensor, "contexts d"]
    p: Float[Tensor, "contexts tokens"]
    w: Float[Tensor, "tokens d"]

    @classmethod
    def of(cls, lab: Lab, network: Network, count: int) -> "Seen":
        """Read it after the first `count` pasts, and average over these."""
        h, p = lab.read(network, count)
        return cls(h.mean(0), p.mean(0), network.rows())


def at(d: int) -> str:
    """Name a bottleneck's width as a setting."""
    return f"d={d}"


def overlap_of(kernel: str) -> str:
    """Name the overlap with a kernel's eigenspace as a metric."""
    return f"overlap, {kernel}"


def ranked(x: Iterable[float], y: Iterable[float]) -> float:
    """Return Spearman's correlation, 0 where one of the two does not vary."""
    x = list(x)
    y = list(y)
    if min(len(set(x)), len(set(y))) < 2:
        return 0.0
    return float(spearmanr(x, y).statistic)


def score_source(outcome: Outcome, lab: Lab, dims: Iterable[int]) -> None:
    """Score what is known of a source: its entropies, its surplus, and the overlap of
    each kernel's leading eigenspace with the linear one's.
    """
    world = lab.world
    outcome.score(UNIGRAM, ENTROPY, world.entropy(0))
    outcome.score(TRUTH, ENTROPY, world.entropy())
    outcome.score(TRUTH, SURPLUS, world.surplus())
    for d in dims:
        for kernel in KERNELS:
            leading = lab.spectra[kernel][1][:, :d] / lab.root
            metric = in_setting(WITH_LINEAR, at(d))
            outcome.score(kernel, metric, lab.overlap(leading, LINEAR))


def score_states(
    outcome: Outcome, lab: Lab, name: str, d: int, h: Float[Tensor, "contexts d"]
) -> None:
    """Score the overlap of states' span with each kernel's leading eigenspace."""
    for kernel in KERNELS:
        value = lab.overlap(h, kernel)
        outcome.score(name, in_setting(overlap_of(kernel), at(d)), value)
        if name == NLL:  # once more, with the kernels as what is compared
            outcome.score(kernel, in_setting(f"overlap of {name}", at(d)), value)


def score_network(
    outcome: Outcome, lab: Lab, name: str, d: int, network: Network, laws: bool = True
) -> None:
    """Score what a network's states resemble and, if it does so in `laws`, predict."""
    h, p = lab.read(network)
    score_states(outcome, lab, name, d, h.mean(0))
    outcome.score(name, in_setting(PARTIAL, at(d)), lab.aligned(h.mean(0)))
    if laws:
        excess = lab.entropy(p) - lab.world.entropy()
        outcome.score(name, in_setting(DIVERGENCE, at(d)), lab.divergence(p))
        outcome.score(name, in_setting(EXCESS, at(d)), excess)


def score_course(
    outcome: Outcome,
    lab: Lab,
    name: str,
    d: int,
    seen: Mapping[int, Seen],
    laws: bool = True,
) -> None:
    """Keep the curves of a training, and score how they go together."""
    for kernel in KERNELS:
        line = [lab.overlap(now.h, kernel) for now in seen.values()]
        outcome.curve(name, in_setting(overlap_of(kernel), at(d)), seen, line)
        if kernel == LINEAR:
            outcome.score(name, in_setting(RISE, at(d)), ranked(seen, line))
    if laws:
        apart = [lab.divergence(now.p[None]) for now in seen.values()]
        excess = [
            lab.entropy(now.p[None]) - lab.world.entropy() for now in seen.values()
        ]
        outcome.curve(name, in_setting(DIVERGENCE, at(d)), seen, apart)
        outcome.curve(name, in_setting(EXCESS, at(d)), seen, excess)
        together = ranked(apart, map(abs, excess))
        outcome.score(name, in_setting(TOGETHER, at(d)), together)
