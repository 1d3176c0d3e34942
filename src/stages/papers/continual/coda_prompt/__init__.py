"""CODA-Prompt (Smith et al. 2023): a prompt as a weighted sum of components, learnt
from the task's own loss.

`method` is the paper's prompt and its ablation, `experiment` what is claimed and how it
is judged.
"""

from stages.papers.continual.coda_prompt.experiment import PAPER
from stages.papers.continual.coda_prompt.method import (
    CodaPrompt,
    NoAttention,
    gram_schmidt,
)

__all__ = ["PAPER", "CodaPrompt", "NoAttention", "gram_schmidt"]
