"""A paper whose scores tell how torch computes; other processes can import it."""

import torch
from toy_paper import PAPER as TOY

from stages.evidence import Outcome


def run(settings, seed):
    outcome = Outcome()
    plain = float(torch.backends.cpu.get_cpu_capability() == "DEFAULT")
    outcome.score("threads", "count", torch.get_num_threads())
    outcome.score("plain", "share", plain)
    outcome.score("half the tolerance", "number", 1 + 5e-4 * plain)
    outcome.score("a twentieth", "number", 1 + 5e-5 * plain)
    outcome.score("always", "number", 1.5)
    return outcome


PAPER = type(TOY)(**(vars(TOY) | {"run": run}))
