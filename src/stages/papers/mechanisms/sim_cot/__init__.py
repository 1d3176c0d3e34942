"""SIM-CoT (Wei et al. 2026): `method` is the paper's, `variants` what it is compared
with, `experiment` the test of its claims.
"""

from stages.papers.mechanisms.sim_cot.experiment import PAPER
from stages.papers.mechanisms.sim_cot.method import (
    SimCoT,
    StepDecoder,
    Thinker,
    step_loss,
)
from stages.papers.mechanisms.sim_cot.problems import Problems

__all__ = ["PAPER", "Problems", "SimCoT", "StepDecoder", "Thinker", "step_loss"]
