"""MULTI-LANE (De Min et al. 2024): all lanes are open, and none is picked.

`method` is the paper's lane, `frozen` the stream of tokens it reads and how tasks learn
on it, `world` the images with several labels, `rivals` what lanes are compared with,
`scores` how answers are judged, `costs` what they take, `experiment` what is claimed.
"""

from stages.papers.continual.multi_lane.experiment import PAPER
from stages.papers.continual.multi_lane.frozen import Frozen, Heads, Lab, freeze
from stages.papers.continual.multi_lane.method import (
    Lane,
    Lanes,
    class_token,
    drop_and_replace,
    evolve,
    summarise,
)
from stages.papers.continual.multi_lane.world import MultiLabelStream, shapes_ml

__all__ = [
    "PAPER",
    "Frozen",
    "Heads",
    "Lab",
    "Lane",
    "Lanes",
    "MultiLabelStream",
    "class_token",
    "drop_and_replace",
    "evolve",
    "freeze",
    "shapes_ml",
    "summarise",
]
