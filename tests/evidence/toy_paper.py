"""A paper that takes no time, and does what the environment says; other processes can import it."""

import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from stages.evidence import Claim, Gate, Outcome, Paper


@dataclass(frozen=True)
class Settings:
    """`counts`: whether a run is noted in TOY_LOG and follows the environment; the probe does neither."""

    effect: float = 2.0
    shape: tuple[int, ...] = (3, 4)
    counts: bool = True


def run(settings, seed):
    """Answer; where runs count, first note the call, then sleep, raise or die."""
    if settings.counts:
        follow_the_environment(seed)
    chance, outcome = random.Random(seed), Outcome()
    base = chance.gauss(50, 10)
    for method, gain in {"new": settings.effect, "old": 0.0, "twin": 0.0}.items():
        outcome.score(method, "accuracy", base + gain + chance.gauss(0, 0.1))
        outcome.curve(method, "loss", range(3), [chance.random() / 3 for _ in range(3)])
    return outcome


def follow_the_environment(seed):
    if log := os.environ.get("TOY_LOG"):
        with Path(log).open("a") as file:
            file.write(f"{seed}\n")
    time.sleep(float(os.environ.get("TOY_SLEEP", 0)))
    if str(seed) in os.environ.get("TOY_RAISES", "").split():
        raise ZeroDivisionError("the toy is broken\nin two lines")
    if str(seed) in os.environ.get("TOY_DIES", "").split():
        os._exit(9)


def look(settings, seed):
    """Score what a process sees of itself."""
    import torch

    outcome = Outcome()
    seen = {
        "threads": torch.get_num_threads(),
        "process": os.getpid(),
        "variable": float(os.environ["TOY_VARIABLE"]),
        "ignores Ctrl-C": signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
    }
    for metric, value in seen.items():
        outcome.score("new", metric, value)
    return outcome


CLAIMS = (
    Claim("C1", "The new method is better.", "accuracy", "new", "old", margin=0.5, reported="+3 points"),
    Claim("C2", "The twin is as good.", "accuracy", "twin", "old", margin=2.0, kind="equivalence"),
    Claim("C3", "The old method is better.", "accuracy", "old", "new", origin="ours"),
)

PAPER = Paper(
    slug="toys/coin",
    title="A toy",
    arxiv="0000.00000",
    year=2024,
    bibkey="toy",
    claims=CLAIMS,
    also=(Claim("A1", "The new method against the twin.", "accuracy", "new", "twin"),),
    gates=(
        Gate("the old method works", "old", "accuracy", least=10.0),
        Gate("the twin is the old method", "twin", "accuracy", minus="old", least=-1.0, most=1.0),
    ),
    deviations=("The effect was 2 before it was 3.",),
    profiles={"probe": Settings(counts=False), "quick": Settings(), "full": Settings(effect=3.0)},
    run=run,
)
