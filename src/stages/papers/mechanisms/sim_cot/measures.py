"""What networks that think are tested on, and what is measured: answers, what thoughts
hold, and what a decoder writes from them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional as F

from stages.evidence import Outcome, in_setting
from stages.papers.mechanisms.sim_cot.method import StepDecoder, Thinker, Thoughts
from stages.papers.mechanisms.sim_cot.problems import Problems
from stages.papers.mechanisms.sim_cot.training import Training
from stages.training import effective_rank, ridge
from stages.worlds import chains

ACCURACY = "accuracy"
OUT_OF_DISTRIBUTION = "accuracy, out of distribution"
TOKENS = "tokens generated"
DISTANCE = "distance of thoughts / norm"
COSINE = "cosine of thoughts"
RANK = "effective rank of thoughts"
CENTRE = "distance to the mean embedding"
CENTRE_NORMED = "distance to the mean embedding / norm"
VALUE = "value probe"
OPERATOR = "operator probe"
DECODED = "decoded steps, exact match"
GAP = "accuracy gap, step decoded right - wrong"

SLOPE = "accuracy gained by doubling K"
WORST = "accuracy at the worst K"
CORRELATION = "rank correlation of distance and accuracy"
RUNS = "all runs"

SHIFTS = ("one step fewer", "one step more", "new tellings", "one distractor")
LABELS: Mapping[str, Callable[[chains.Chains], Int[Tensor, "n steps"]]] = {
    VALUE: lambda world: world.values[:, 1:],
    OPERATOR: lambda world: world.sign,
}


@dataclass(frozen=True)
class World:
    """What all arms of a seed share.

    Attributes:
        pool: problems to train on.
        tests: others, for each number of steps in training, "2 steps", and for each of
            `SHIFTS`.
        to_fit, to_test: problems of the most steps, for probes.
    """

    pool: Problems
    tests: Mapping[str, Problems]
    to_fit: chains.Chains
    to_test: chains.Chains

    @classmethod
    def of(cls, how: Training, seed: int, test: int, probes: int) -> "World":
        """Draw it, with `test` problems in each test and `probes` for each part of a
        probe.
        """
        fewest, most = how.steps
        kinds = {f"{k} steps": {"steps": k} for k in range(fewest, most + 1)}
        shifts = (
            {"steps": fewest - 1},
            {"steps": most + 1},
            {"tellings": "new"},
            {"distractors": 1},
        )
        kinds |= dict(zip(SHIFTS, shifts, strict=True))
        tests = {
            name: Problems.of(how.draw(seed, name, test, **kind))
            for name, kind in kinds.items()
        }
        return cls(
            Problems.of(how.draw(seed, "train", how.pool)),
            tests,
            how.draw(seed, "to fit", probes, steps=most),
            how.draw(seed, "to test", probes, steps=most),
        )


# ------------------------------------------------------------------------ the answers


def accuracy(answers: Int[Tensor, " n"], problems: Problems) -> float:
    """Return in % how often answers, as a `Thinker` gives them, are right."""
    return 100 * (answers == problems.answer[:, 1]).double().mean().item()


def score_answers(
    outcome: Outcome, name: str, thinker: Thinker, tests: Mapping[str, Problems]
) -> None:
    """Score an arm by its answers: on each test, on those like the training problems
    together, and on the shifted ones together.
    """
    right = {}
    tokens = {}
    for kind, problems in tests.items():
        answers, tokens[kind], _ = thinker.solve(problems)
        right[kind] = accuracy(answers, problems)
        outcome.score(name, in_setting(ACCURACY, kind), right[kind])
    usual = [kind for kind in tests if kind not in SHIFTS]
    outcome.score(name, ACCURACY, np.mean([right[kind] for kind in usual]))
    shifted = np.mean([right[kind] for kind in SHIFTS])
    outcome.score(name, OUT_OF_DISTRIBUTION, shifted)
    used = torch.cat([tokens[kind] for kind in usual])
    outcome.score(name, TOKENS, used.double().mean())


# ----------------------------------------------------------------------- the thoughts


def score_thoughts(
    outcome: Outcome,
    name: str,
    thinker: Thinker,
    to_fit: chains.Chains,
    to_test: chains.Chains,
) -> None:
    """Score what thoughts about problems of the most steps hold, a slot's last thought
    for the probes.
    """
    fitted = thinker.solve(Problems.of(to_fit))[2].cpu()
    tested = thinker.solve(Problems.of(to_test))[2].cpu()
    embedding = thinker.model.embedding.weight.detach().cpu()
    for metric, value in geometry(tested, embedding).items():
        outcome.score(name, metric, value)
    last = slice(thinker.per_slot - 1, None, thinker.per_slot)
    slots = thinker.slots
    for metric, labels in LABELS.items():
        shares = read_off(
            fitted[:, last],
            labels(to_fit)[:, :slots],
            tested[:, last],
            labels(to_test)[:, :slots],
        )
        outcome.score(name, metric, shares.mean())
        outcome.curve(name, metric, range(1, slots + 1), shares)


def geometry(
    thoughts: Thoughts, embedding: Float[Tensor, "words width"]
) -> dict[str, float]:
    """Measure how thoughts about one problem lie: pairwise distance over their mean
    norm, pairwise cosine, effective rank, and the distance to the mean token embedding,
    plain and over the norm; all averaged over problems.
    """
    k = thoughts.shape[1]
    norm = thoughts.norm(dim=-1).mean(1)
    first, second = torch.triu_indices(k, k, 1, device=thoughts.device)
    one = thoughts[:, first]
    other = thoughts[:, second]
    apart = (one - other).norm(dim=-1).mean(1)
    centre = (thoughts - embedding.mean(0)).norm(dim=-1).mean(1)
    found = {
        DISTANCE: apart / norm,
        COSINE: F.cosine_similarity(one, other, dim=-1),
        RANK: effective_rank(thoughts),
        CENTRE: centre,
        CENTRE_NORMED: centre / norm,
    }
    return {name: float(values.mean()) for name, values in found.items()}


def read_off(
    fit_on: Float[Tensor, "n slots width"],
    fit_to: Int[Tensor, "n slots"],
    test_on: Float[Tensor, "m slots width"],
    test_to: Int[Tensor, "m slots"],
) -> Float[Tensor, " slots"]:
    """Return in % how often a ridge probe, one a slot, is right about problems that it
    was not fit to.
    """
    classes = int(max(fit_to.max(), test_to.max())) + 1
    target = F.one_hot(fit_to, classes).transpose(0, 1).double()
    weight, level = ridge(fit_on.transpose(0, 1), target, 1.0)
    guess = (test_on.transpose(0, 1).double() @ weight + level).argmax(-1)
    return 100 * (guess == test_to.T).double().mean(1)


# ------------------------------------------------------------------------ the decoder


def decoded(
    decoder: StepDecoder, thinker: Thinker, problems: Problems, thoughts: Thoughts
) -> Bool[Tensor, "n slots"]:
    """Return which steps a decoder writes exactly as they should be, from what it is
    given as a model's thoughts.
    """
    truth = problems.slots(thinker.slots)
    end = thinker.words["<end>"]
    made = decoder.write(thoughts, thinker.slots, truth.shape[2], end)
    return (made == truth).all(2)


def score_decoded(
    outcome: Outcome,
    name: str,
    thinker: Thinker,
    tests: Mapping[str, Problems],
    decoder: StepDecoder,
    blind: bool = False,
) -> None:
    """Score a decoder by the steps it writes, exactly as they should be, and by what
    they tell of the answer.

    A blind one is given zeros in the thoughts' place. Only problems like the training
    problems count, and of these the steps that there are.
    """
    parts = []
    for kind, problems in tests.items():
        if kind in SHIFTS:
            continue
        answers, _, thoughts = thinker.solve(problems)
        given = torch.zeros_like(thoughts) if blind else thoughts
        slot = torch.arange(thinker.slots, device=problems.count.device)
        right = decoded(decoder, thinker, problems, given)
        answered = answers == problems.answer[:, 1]
        parts.append((right, answered, slot < problems.count[:, None]))
    right, answered, there = (
        torch.cat(part).double() for part in zip(*parts, strict=True)
    )
    outcome.score(name, DECODED, 100 * (right * there).sum() / there.sum())
    outcome.score(name, GAP, gap(right, answered, there))


def gap(
    right: Float[Tensor, "n slots"],
    answered: Float[Tensor, " n"],
    there: Float[Tensor, "n slots"],
) -> float:
    """Return the accuracy, in points, where a step was decoded right less that where it
    was decoded wrong.

    Every (problem, step) counts once. Two more of the accuracy of all are added to
    either side, so that the gap is defined, and near 0, where a side has few.
    """
    usual = (there * answered[:, None]).sum() / there.sum()
    shares = []
    for side in (there * right, there * (1 - right)):
        hits = (side * answered[:, None]).sum()
        shares.append((hits + 2 * usual) / (side.sum() + 2))
    return 100 * float(shares[0] - shares[1])


# ------------------------------------------------------------------------- the runs


def compare(outcome: Outcome, sweeps: Mapping[str, Mapping[int, str]]) -> None:
    """Score what only several runs tell: what more thoughts do, and whether distance
    goes with accuracy.

    Args:
        outcome: holds the scores of all arms, and is added to.
        sweeps: for each method, the names of its arms by K.
    """
    found = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    for method, names in sweeps.items():
        shares = [found.get((name, ACCURACY)) for name in names.values()]
        if None in shares or len(shares) < 2:
            continue
        slope, _ = np.polyfit(np.log2(list(names)), shares, 1)
        outcome.curve(method, "accuracy by K", names, shares)
        outcome.score(method, SLOPE, slope)
        outcome.score(method, WORST, min(shares))
    thinking = [method for method, metric in found if metric == DISTANCE]
    distances = [found[method, DISTANCE] for method in thinking]
    shares = [found[method, ACCURACY] for method in thinking]
    varied = len(set(distances)) > 1 and len(set(shares)) > 1
    together = spearmanr(distances, shares).statistic if varied else 0.0
    outcome.score(RUNS, CORRELATION, together)
