"""GraPE (Goswami et al. 2024): generate, plan, edit.

`method` is the planner and the pipeline, `rivals` what it is compared with, `bench`
prompts, drawing and judging, `experiment` what is claimed and how it is judged.
"""

from stages.papers.diffusion.grape.experiment import PAPER
from stages.papers.diffusion.grape.method import (
    Contents,
    Trace,
    begin,
    edited,
    extreme,
    grape,
    lengths,
    mistakes,
    parsed,
    plan,
    worded,
    written,
)

__all__ = [
    "PAPER",
    "Contents",
    "Trace",
    "begin",
    "edited",
    "extreme",
    "grape",
    "lengths",
    "mistakes",
    "parsed",
    "plan",
    "worded",
    "written",
]
