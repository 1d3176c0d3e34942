"""A paper whose scores tell how torch computes; other processes can import it."""

import torch
from toy_paper import PAPER as TOY

from stages.evidence import Outcome


def run(settings, seed):
    outcome = Outcome()
    outcome.score("threads", "count", torch.get_num_threads())
    outcome.score("plain", "share", float(torch.backends.cpu.get_cpu_capability() == "DEFAULT"))
    outcome.score("always", "number", 1.5)
    return outcome


PAPER = type(TOY)(**(vars(TOY) | {"run": run}))
