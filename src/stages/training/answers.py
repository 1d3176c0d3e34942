"""Language models that answer prompts: how likely an answer is, and how answers are
learnt (supervised fine-tuning).
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from stages.training.loop import cosine, fit, optimiser
from stages.training.losses import next_token_loss

Tokens = Int[Tensor, "n length"]
Counted = Bool[Tensor, "n length"]

WARMUP = 0.05  # of the updates of fine-tuning


def token_log_probs(
    model: nn.Module, tokens: Tokens, counted: Counted
) -> Float[Tensor, "n length"]:
    """Return log p(token | those before it) at the tokens of the answers, 0 elsewhere,
    all in one pass. Gradients flow.

    Args:
        tokens: texts, pads on the right.
        counted: True at the tokens of answers; the first token of a text is none.
    """
    chances = model(tokens).log_softmax(-1)[:, :-1]
    chosen = chances.gather(-1, tokens[:, 1:, None])[..., 0]
    return F.pad(chosen.where(counted[:, 1:], 0.0), (1, 0))


def answer_log_prob(
    model: nn.Module, tokens: Tokens, counted: Counted, mean: bool = False
) -> Float[Tensor, " n"]:
    """Return log p(answer | prompt): summed over the answer's tokens, or their mean."""
    total = token_log_probs(model, tokens, counted).sum(1)
    return total / counted.sum(1) if mean else total


def learn_answers(
    model: nn.Module,
    tokens: Tokens,
    counted: Counted,
    updates: int,
    rate: float,
    generator: Generator,
    batch: int = 32,
) -> list[float]:
    """Fine-tune a network in place on answers alone, prompts being read and not learnt.

    The loss is the mean over an update's answer tokens; Adam without weight decay, a
    short warm-up, then a cosine to 0. An update draws its texts with replacement.
    Return the losses.
    """
    adam = optimiser(model.parameters(), "adamw", rate, weight_decay=0.0)

    def loss(step: int) -> Tensor:
        rows = torch.randint(len(tokens), (batch,), generator=generator)
        return next_token_loss(model(tokens[rows]), tokens[rows], counted[rows])

    schedule = cosine(updates, round(WARMUP * updates))
    return fit(loss, updates, adam, schedule=schedule, clip=1.0)
