"""What is measured of networks: how often they are right, and where they go wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import curve_fit
from torch import nn

from stages.evidence import Outcome, in_setting
from stages.papers.mechanisms.arithmetic import training
from stages.papers.mechanisms.arithmetic.arms import ARMS
from stages.papers.mechanisms.arithmetic.completion import Table, recovered, threshold
from stages.papers.mechanisms.arithmetic.training import Marked

COMPLETION = "matrix completion"
EXACT = "exact match"
OWN = "exact match, own lines"
NEW = "exact match, numbers never seen"
N50 = "log2 N50"
SHARP = "octaves short of two"
FROM_TABLE = "octaves from the whole table"
NEAREST = "samples nearest to half right"
SLOPE = "errors per carry in a chain"
HIGH = "errors of high digits minus low ones"
CELLS = "cells for the whole table"
FIXED = (  # sums for the figure, in no set
    ("102", "231"),
    ("123", "112"),
    ("203", "113"),
    ("133", "121"),
    ("231", "103"),
    ("333", "111"),
)


@dataclass(frozen=True)
class Trial:
    """One network, and what is right on its own lines, on new pairs of numbers, and on
    numbers never seen.
    """

    model: nn.Module
    own: Marked
    pairs: Marked
    new: Marked


def at(samples: int, metric: str = EXACT) -> str:
    """Name a metric at a number of training samples."""
    return in_setting(metric, f"{samples} samples")


def logistic_fit(
    samples: Sequence[int], accuracy: Sequence[float]
) -> tuple[float, float]:
    """Fit 100 / (1 + (N50 / N)^k) to accuracies in percent; return log2 N50, and log2
    (N90 / N10) = log2(81) / k.

    Both are kept where the samples can tell: N50 within two octaves around them, the
    step between 1/4 and 12 octaves.
    """
    x = np.log2(samples)
    first = np.interp(50, np.maximum.accumulate(accuracy), x), 2.0
    bounds = (x.min() - 2, 0.25), (x.max() + 2, 12.0)

    def curve(x, n50, width):
        return 100 / (1 + 81 ** ((n50 - x) / width))

    return tuple(curve_fit(curve, x, accuracy, first, bounds=bounds)[0])


def score_samples(outcome: Outcome, name: str, trials: Mapping[int, Trial]) -> None:
    """Score an arm at each number of samples, and on new numbers at the largest."""
    right = {n: trial.pairs.exact for n, trial in trials.items()}
    for n, trial in trials.items():
        outcome.score(name, at(n), right[n])
        outcome.score(name, at(n, OWN), trial.own.exact)
    outcome.score(name, NEW, trials[max(trials)].new.exact)
    outcome.curve(name, EXACT, right, right.values())


def score_order(
    outcome: Outcome, name: str, trials: Mapping[int, Trial], table: Table
) -> None:
    """Score plain or reverse further; how steeply they rise, of three networks or
    more.
    """
    score_errors(outcome, name, trials, table)
    keep_certainty(outcome, name, trials, table)
    if len(trials) > 2:
        score_step(outcome, name, trials, table)


def score_errors(
    outcome: Outcome, name: str, trials: Mapping[int, Trial], table: Table
) -> None:
    """Score where the errors lie: by carries in a row, and by place. The network is
    the one that is nearest to half right.
    """
    near = min(trials, key=lambda n: abs(trials[n].pairs.exact - 50))
    pairs = trials[near].pairs
    chain = table.problems(table.test).chain.numpy()
    errors = 100.0 * ~pairs.whole
    wrong = 100 * (~pairs.digits).mean(0)  # by place, the lowest first
    low, high = wrong[:2].mean(), wrong[2:].mean()
    outcome.score(name, NEAREST, near)
    outcome.score(name, SLOPE, np.polyfit(chain, errors, 1)[0])
    outcome.score(name, HIGH, high - low)
    there = np.unique(chain)
    by_chain = [errors[chain == c].mean() for c in there]
    outcome.curve(name, "errors by chain", there, by_chain)
    outcome.curve(name, "errors by digit", range(len(wrong)), wrong)


def score_step(
    outcome: Outcome, name: str, trials: Mapping[int, Trial], table: Table
) -> None:
    """Score where accuracy over samples is one half, how steep it is there, and how far
    from where the table of sums is complete.
    """
    middle, width = logistic_fit(
        list(trials), [trial.pairs.exact for trial in trials.values()]
    )
    outcome.score(name, N50, middle)
    outcome.score(name, SHARP, 2 - width)
    outcome.score(name, FROM_TABLE, middle - np.log2(threshold(table)))


def keep_certainty(
    outcome: Outcome, name: str, trials: Mapping[int, Trial], table: Table
) -> None:
    """Keep how sure networks are of the right digits of six fixed sums."""
    low = table.base ** (table.digits - 1)
    cells = [[int(x, table.base) - low for x in pair] for pair in FIXED]
    fixed = table.problems(torch.tensor(cells))
    for n, trial in trials.items():
        found = training.certainty(trial.model, ARMS[name], fixed)
        for pair, sure in zip(FIXED, found, strict=True):
            outcome.curve(name, at(n, "+".join(pair)), range(len(sure)), sure)


def score_completion(outcome: Outcome, table: Table) -> None:
    """Score what completing the table from its revealed cells would get."""
    counts = np.unique(np.geomspace(20, len(table.train), 30).round().astype(int))
    right = [100 * recovered(table, n, table.test).mean() for n in counts]
    never = recovered(table, len(table.train), table.new)
    outcome.curve(COMPLETION, EXACT, counts, right)
    outcome.score(COMPLETION, CELLS, threshold(table))
    outcome.score(COMPLETION, NEW, 100 * never.mean())
