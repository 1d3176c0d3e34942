"""How well judges pick among solutions, and what their rewards say of single steps."""

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from stages.evidence import Outcome
from stages.models import GPT
from stages.papers.post_training.implicit_prm.arms import Lab, Scores
from stages.papers.post_training.implicit_prm.bank import (
    Solutions,
    complete,
    first_wrong,
    solve,
)
from stages.papers.post_training.implicit_prm.method import Steps, judge_steps
from stages.seeding import torch_rng

BEST = "accuracy, best of 16 (%)"
ANSWERS = "AUC of right answers"
WRONG_STEP = "AUC of the first wrong step"
TRACKS = "rank correlation of q and success"
POLICY = "accuracy as a policy (%)"
SPENT = "tokens written (thousands)"
MIXED = "prompts with both outcomes (%)"
BY_NUMBER = "accuracy by number of solutions"
NUMBERS = (1, 2, 4, 8, 16)
TRIES = 4  # of a policy, at each problem


def best_of(
    scores: Scores, right: Bool[Tensor, " n"], samples: int, n: int
) -> Float[Tensor, ""]:
    """Return the accuracy in % of the solution with the highest score among n, the mean
    over all choices of n from a prompt's solutions.
    """
    order = scores.view(-1, samples).argsort(dim=1, descending=True, stable=True)
    ranked = right.view(-1, samples).gather(1, order).float()
    ways = [math.comb(samples - 1 - rank, n - 1) for rank in range(samples)]
    chance = torch.tensor(ways, dtype=torch.float64) / math.comb(samples, n)
    return 100 * (ranked.double() @ chance).mean()


def oracle(solutions: Solutions) -> Float[Tensor, ""]:
    """Return for how many prompts, in %, some solution is right."""
    return 100 * solutions.right.view(-1, solutions.samples).any(1).float().mean()


def majority(solutions: Solutions) -> Float[Tensor, ""]:
    """Return the accuracy in % of the answer given most often; ties are drawn."""
    answer, right = (
        x.view(-1, solutions.samples) for x in (solutions.answer, solutions.right)
    )
    votes = (answer[:, :, None] == answer[:, None, :]).sum(2)
    votes = votes.masked_fill(answer < 0, 0)
    most = votes == votes.amax(1, keepdim=True)
    return 100 * ((most & right).sum(1) / most.sum(1)).mean()


def wrong_step_auc(
    steps: Steps, solutions: Solutions, wrong: Int[Tensor, " n"]
) -> float:
    """Return how often the first wrong step of a solution has a lower reward than a
    right step that nothing wrong stands before.
    """
    place = torch.arange(steps.shape[1])
    there = (solutions.ends >= 0) & (place <= wrong[:, None])
    bad = (place == wrong[:, None])[there]
    return roc_auc_score(bad.numpy(), -steps[there].numpy())


def score_world(
    outcome: Outcome, one: str, majority_name: str, oracle_name: str, lab: Lab
) -> None:
    """Score what the generator does alone, and what picking could reach."""
    test = lab.test
    numbers = [n for n in NUMBERS if n <= test.samples]
    chance = 100 * test.right.float().mean()
    outcome.score(one, BEST, chance)
    outcome.score(one, POLICY, chance)
    outcome.score(one, MIXED, 100 * len(test.mixed()) / test.prompts)
    outcome.curve(one, BY_NUMBER, numbers, [chance] * len(numbers))
    outcome.score(majority_name, BEST, majority(test))
    outcome.score(oracle_name, BEST, oracle(test))
    best = [best_of(test.right.float(), test.right, test.samples, n) for n in numbers]
    outcome.curve(oracle_name, BY_NUMBER, numbers, best)


def score(outcome: Outcome, name: str, steps: Steps, scores: Scores, lab: Lab) -> None:
    """Score a judge on the test: what it picks, what it says of answers and steps."""
    test = lab.test
    numbers = [n for n in NUMBERS if n <= test.samples]
    picked = [best_of(scores, test.right, test.samples, n) for n in numbers]
    outcome.score(name, BEST, picked[-1])
    outcome.curve(name, BY_NUMBER, numbers, picked)
    outcome.score(name, ANSWERS, roc_auc_score(test.right.numpy(), scores.numpy()))
    wrong = first_wrong(test, lab.problems)
    outcome.score(name, WRONG_STEP, wrong_step_auc(steps, test, wrong))


def score_weakest(outcome: Outcome, name: str, judges: tuple[str, ...]) -> None:
    """Score, under a name of its own, the judge that picks worst."""
    found = [
        row["value"]
        for row in outcome.scores
        if row["metric"] == BEST and row["method"] in judges
    ]
    outcome.score(name, BEST, min(found))


# ------------------------------------------------------------ what log-ratios also say


class Tracked(NamedTuple):
    """Some solutions, the q and the sampled success after each of their steps, and the
    rank correlation of the two over the steps before the last.
    """

    solutions: Solutions
    q: Steps
    success: Steps
    correlation: float


@torch.no_grad()
def policy_accuracy(policy: GPT, lab: Lab) -> Float[Tensor, ""]:
    """Return the accuracy in % of a judge that is asked to solve the test problems."""
    chance = torch_rng(lab.seed, "implicit prm", "policy")
    written = solve(policy, lab.problems, TRIES, lab.temperature, chance)
    return 100 * written.right.float().mean()


def without_reference(judge: nn.Module, solutions: Solutions) -> Steps:
    """Return step rewards of log π alone."""
    plain = replace(solutions, reference=torch.zeros_like(solutions.reference))
    return judge_steps(judge, plain, 1.0)


def tracked(steps: Steps, lab: Lab, prompts: int, times: int) -> Tracked:
    """Compare q after each step with how often the generator, sent on from there, ends
    right; on the first solutions of some test prompts.
    """
    rows = torch.arange(prompts) * lab.test.samples
    few = lab.test.take(rows)
    chance = torch_rng(lab.seed, "implicit prm", "tracked")
    alone = replace(few, samples=1)
    success = complete(
        lab.generator,
        alone,
        lab.problems.answer[:prompts],
        times,
        lab.temperature,
        chance,
    ).success
    q = steps[rows].cumsum(1)
    last = (few.ends >= 0).sum(1, keepdim=True) - 1
    inner = torch.arange(q.shape[1]) < last
    return Tracked(few, q, success, spearmanr(q[inner], success[inner]).statistic)
