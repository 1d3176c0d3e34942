"""SAMI: make a model's responses tell under which constitution they were written.

Fränken, Zelikman, Rafailov, Gandhi, Gerstenberg and Goodman, "Self-Supervised Alignment
with Mutual Information: Learning to Follow Principles without Preference Labels",
NeurIPS 2024, arXiv 2404.14313. For each query x the model answers under C constitutions
c. Each response y is then scored under each constitution, which gives a C by C matrix
of log-probabilities, and the model learns to put the weight of each row, and of each
column, on the diagonal. No label enters. Equations are numbered as on the page.
"""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import NamedTuple

from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from stages.models import GPT
from stages.training import fit, optimiser
from stages.training.answers import answer_log_prob
from stages.worlds.vocabulary import answered

Prompts = Int[Tensor, "queries constitutions asked"]
Responses = Int[Tensor, "queries constitutions told"]
Matrix = Float[Tensor, "queries constitutions responses"]
Loss = Float[Tensor, ""]

# ---------------------------------------------------------------------- the objective


def likelihoods(
    model: GPT, prompts: Prompts, responses: Responses, mean: bool = True
) -> Matrix:
    """Return log p(response j | x, constitution k) in row k and column j (eq. 1).

    Args:
        responses: cut before their closing token, which is not scored; pads on the
            right.
        mean: over the tokens of a response, as the paper's code has it, or their sum.
    """
    count = prompts.shape[1]
    asked = repeat(prompts, "n k t -> (n k j) t", j=count)
    told = repeat(responses, "n j t -> (n k j) t", k=count)
    found = log_probs(model, asked, told, mean)  # eq. 1
    return rearrange(found, "(n k j) -> n k j", k=count, j=count)


def log_probs(
    model: GPT, asked: Int[Tensor, "n _"], told: Int[Tensor, "n _"], mean: bool = True
) -> Float[Tensor, " n"]:
    """Return log p(response | prompt), a mean over its tokens or a sum."""
    texts = answered(asked, told)
    device = model.positions.device
    tokens, counted = texts.tokens.to(device), texts.counted.to(device)
    return answer_log_prob(model, tokens, counted, mean)


def over_responses(scores: Matrix) -> Loss:
    """Contrast the responses of each row: which one is this constitution's? (eq. 2)"""
    rows = scores.log_softmax(2)
    return -rows.diagonal(dim1=1, dim2=2).mean()  # eq. 2


def over_constitutions(scores: Matrix) -> Loss:
    """Contrast the rows of each column: which constitution is this response's? (eq. 3)

    This is InfoNCE with the best possible critic, the likelihood itself.
    """
    columns = scores.log_softmax(1)
    return -columns.diagonal(dim1=1, dim2=2).mean()  # eq. 3


def two_sided(scores: Matrix) -> Loss:
    """Return SAMI's loss (eq. 4)."""
    return (over_responses(scores) + over_constitutions(scores)) / 2  # eq. 4


def information(scores: Matrix) -> Float[Tensor, ""]:
    """Return a lower bound on the information, in nats, that a response has about its
    constitution, given the query (eq. 5).

    It is at most log C. Scores have to be summed log-probabilities.
    """
    return math.log(scores.shape[1]) - over_constitutions(scores)  # eq. 5


# ----------------------------------------------------------------------- the iterations


class Samples(NamedTuple):
    """What an iteration learns from: queries that were kept, and their responses.

    Attributes:
        kept: the share of the queries that were asked.
    """

    prompts: Prompts
    responses: Responses
    kept: float

    def part(self, number: int, parts: int) -> "Samples":
        """Return one of so many parts, about equally large."""
        both = (x.tensor_split(parts)[number] for x in (self.prompts, self.responses))
        return Samples(*both, self.kept)


@dataclass(frozen=True)
class Plan:
    """How a model is aligned.

    Attributes:
        rate: of Adam, constant.
        steps: of each iteration; they grow, and each iteration starts from the base.
        queries: asked for each step.
    """

    rate: float
    steps: tuple[int, ...] = (8, 16, 24)
    queries: int = 48


Objective = Callable[[GPT, Samples], Loss]
Ask = Callable[[int, int], Prompts]
Respond = Callable[
    [GPT, Prompts, Generator], tuple[Responses, Bool[Tensor, " queries"]]
]


def sami(model: GPT, samples: Samples) -> Loss:
    """Return the loss on samples. The responses are constants: no gradient flows
    through how they were drawn.
    """
    return two_sided(likelihoods(model, samples.prompts, samples.responses))


def learn(
    base: GPT, samples: Samples, objective: Objective, rate: float, steps: int
) -> GPT:
    """Return a copy of the base after so many steps, each on its own part of the
    samples.
    """
    model = deepcopy(base).train().requires_grad_(True)
    adam = optimiser(model.parameters(), "adamw", rate, weight_decay=0.0)
    fit(lambda step: objective(model, samples.part(step, steps)), steps, adam)
    return model.eval().requires_grad_(False)


def align(
    base: GPT,
    ask: Ask,
    respond: Respond,
    objective: Objective,
    plan: Plan,
    chances: Callable[[int], Generator],
) -> tuple[list[GPT], list[Samples]]:
    """Align a model in a few iterations (the paper's Algorithm 1); return the model of
    each, and what it learnt from.

    Args:
        ask: `ask(iteration, n)` gives n queries, each under all constitutions.
        respond: draws responses; and tells which queries are kept.
        chances: the stream of an iteration's draws.
    """
    writer = base
    models, drawn = [], []
    for iteration, steps in enumerate(plan.steps):
        prompts = ask(iteration, steps * plan.queries)
        responses, kept = respond(writer, prompts, chances(iteration))
        if kept.sum() < steps:
            raise ValueError(
                f"{kept.sum()} of {len(kept)} queries are kept, fewer than the {steps}"
                " steps of the iteration; ask more, or read more beforehand"
            )
        share = kept.float().mean().item()
        samples = Samples(prompts[kept], responses[kept], share)
        writer = learn(base, samples, objective, plan.rate, steps)  # from the base
        models.append(writer)
        drawn.append(samples)
    return models, drawn
