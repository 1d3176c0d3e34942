"""The two tasks that copies of the base are fine-tuned on, and how answers are judged.

Both have the same prompts, stories about changes with a question. *Chains* answers them
on a scratch pad. *Style only* repeats the first sentence between the same marks: there
is nothing to learn but the form.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn import functional as F

from stages.models import GPT
from stages.worlds import chain_prose, chains
from stages.worlds.chain_prose import RIGHT, SENTENCE, STEP
from stages.worlds.chains import Chains
from stages.worlds.vocabulary import PAD, Answered, answered

CHAINS, STYLE = "chains", "style only"
FEWEST, MOST = 2, 3  # operations
SLACK = STEP  # tokens that an answer may be too long
ACCURACY, FORMAT = "accuracy", "parsable answers"
LENIENT, WHOLE = "accuracy, lenient", "whole solutions right"
FAULTS = ("format errors", "reasoning errors", "calculation errors")

Texts = Int[Tensor, "n length"]
Scores = dict[str, float]


def repeated(problems: Chains) -> Texts:
    """Repeat the first sentence in the form of a step and an answer, "< mia has 3 first
    > <answer> 3 <end>".
    """
    words = chain_prose.vocabulary()
    left, right, answer, end = words.encode("< > <answer> <end>")
    first = problems.question[:, : -chain_prose.ASK].unflatten(1, (-1, SENTENCE))
    spot = first.shape[1] - 1 - problems.steps
    said = first[torch.arange(len(first)), spot][:, :-1]  # without the full stop
    number = problems.values[:, 0] + 1
    columns = [left, *said.unbind(1), right, answer, number, end]
    return torch.stack(torch.broadcast_tensors(*columns), -1)


def draw(
    n: int, seed: int, split: str, steps: int | tuple[int, int] = (FEWEST, MOST)
) -> Chains:
    """Draw the problems of a split; those of a larger n begin with those of a smaller.

    Problem i of one split is drawn apart from problem i of another.
    """
    return chain_prose.sample(n, seed, steps, ("superficial alignment", split))


def examples(problems: Chains, task: str, device: torch.device) -> Answered:
    """Write problems with their answers in a task, on a device."""
    answers = TASKS[task].write(problems).to(device)
    return answered(problems.question.to(device), answers)


def write(model: GPT, problems: Chains) -> Texts:
    """Answer problems with the likeliest tokens, up to "<end>"."""
    device = next(model.parameters()).device
    prompts = problems.question.to(device)
    longest = chain_prose.worked(problems).shape[1]
    end = chain_prose.vocabulary().number["<end>"]
    mask = prompts != PAD
    return model.generate(prompts, longest + SLACK, stop=[end], mask=mask).cpu()


def lenient(written: Texts) -> Int[Tensor, " n"]:
    """Read an answer wherever it may be: the number after "<answer>"; without that, the
    last number before the first full stop or "<end>"; -1 where there is none.
    """
    words = chain_prose.vocabulary()
    modulus = chain_prose.WORLD["modulus"]
    marked = chains.read(written, modulus, chain_prose.WORLD["plain"])
    stops = torch.isin(written, words.encode(". <end>"))
    before = stops.cumsum(1) == 0
    number = (written >= 1) & (written <= modulus) & before
    place = torch.arange(written.shape[1]) * number
    last = written.gather(1, place.argmax(1, keepdim=True))[:, 0] - 1
    said = torch.where(number.any(1), last, -1)
    return torch.where(marked >= 0, marked, said)


def judge(problems: Chains, written: Texts) -> Scores:
    """Score written chains, all in %: the strict and the lenient reading, and the class
    of the first fault of each solution.
    """
    found = chain_prose.check(problems, written)
    scores: dict[str, Bool[Tensor, " n"]] = {
        ACCURACY: found.answer == problems.answer,
        FORMAT: found.parsable,
        LENIENT: lenient(written) == problems.answer,
        WHOLE: found.error == RIGHT,
    }
    for place, name in enumerate(FAULTS, RIGHT + 1):
        scores[name] = found.error == place
    return {name: percent(right) for name, right in scores.items()}


def judge_style(problems: Chains, written: Texts) -> Scores:
    """Score repeated sentences, in %: word for word, and no more."""
    wanted = repeated(problems)
    short = wanted.shape[1] - written.shape[1]
    same = F.pad(written, (0, max(short, 0)))[:, : wanted.shape[1]] == wanted
    return {ACCURACY: percent(same.all(1))}


def percent(right: Bool[Tensor, " n"]) -> float:
    """Return the share of True, in %."""
    return 100 * right.float().mean().item()


@dataclass(frozen=True)
class Task:
    """How a task's answers are written, and how they are judged."""

    write: Callable[[Chains], Texts]
    judge: Callable[[Chains, Texts], Scores]


TASKS = {
    CHAINS: Task(chain_prose.worked, judge),
    STYLE: Task(repeated, judge_style),
}
