"""Three ways to a model that follows instructions, two of which never teach it to.

Hewitt, Liu, Liang and Manning, "Instruction Following without Instruction Tuning",
2024, arXiv 2409.14254. Instruction tuning learns responses r to instructions x.
Response tuning learns responses alone: the template is the same, the instruction is
empty. Single-task tuning learns one narrow task. Rules learn nothing: they are a second
distribution, written by hand, by which a base model's is multiplied. What the three
have in common is a base model that ranks the right response above others before.

Equations are numbered as in the paper. All answers are decoded greedily.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor
from torch.nn import functional as F

from stages.models import GPT
from stages.training.answers import learn_answers
from stages.worlds.smalltalk import Requests, rows_of, template, vocabulary
from stages.worlds.vocabulary import PAD, Answered, answered
from stages.zoo.village import NEW, ranked

__all__ = [
    "Rules",
    "Training",
    "adapted",
    "instruction_tuning",
    "one_response",
    "ranked",  # eq. 3: how often p(r | x) > p(r' | x)
    "response_tuning",
    "tune",
    "write",
]

PerWord = Float[Tensor, "n vocabulary"]  # a number for each word that may come next

# -------------------------------------------------------------- what there is to learn


def instruction_tuning(pairs: Requests) -> Answered:
    """Return texts that teach p(r | x): "<user> x <assistant> r <end>" (eq. 1)."""
    prompts = template.prompt(pairs)
    return answered(prompts, template.response(pairs.answer))  # eq. 1


def response_tuning(pairs: Requests) -> Answered:
    """Return texts that teach p(r) alone: "<user> <assistant> r <end>" (eq. 2).

    The tags stay, so that at test time a request stands where nothing stood before.
    """
    nothing = template.empty_prompt()
    return answered(nothing, template.response(pairs.answer))  # eq. 2


def one_response(pairs: Requests, text: str) -> Answered:
    """Return texts that answer every request alike: a task without any entropy."""
    same = template.response(rows_of([text]))
    prompts = template.prompt(pairs)
    return answered(prompts, same.expand(len(prompts), -1))


@dataclass(frozen=True)
class Training:
    """How texts are learnt: updates, Adam's highest rate, texts an update."""

    updates: int
    rate: float
    batch: int = 64


def tune(base: GPT, texts: Answered, how: Training, chance: Generator) -> GPT:
    """Return a copy of the base, all of it tuned on the responses and their ends.

    The loss is the mean of -log p over an update's response tokens; tags and requests
    are read and not learnt.
    """
    model = deepcopy(base).requires_grad_(True)
    learn_answers(
        model,
        texts.tokens,
        texts.counted,
        how.updates,
        how.rate,
        chance,
        how.batch,
    )
    return model.eval().requires_grad_(False)


# ------------------------------------------------------------------- what rules can do


@dataclass(frozen=True)
class Rules:
    """Three rules that score the next word w by what is written of a response so far.

    Attributes:
        ending: rule 1: "<end>" scores `ending` times the share of `full` tokens that
            are written.
        full: tokens.
        changes: rule 2: scores of a few words, the same everywhere.
        again: rule 3: score of each word that is already there.
    """

    ending: float = 0.0
    full: int = NEW
    changes: Mapping[str, float] = field(default_factory=dict)
    again: float = 0.0

    def scores(self, written: Int[Tensor, "n so_far"]) -> PerWord:
        """Return r(w, x), the sum of the rules' scores."""
        number = vocabulary().number
        score = torch.zeros(len(written), len(number))
        share = written.shape[1] / self.full
        score[:, number[template.END]] += self.ending * share  # rule 1
        for word, change in self.changes.items():
            score[:, number[word]] += change  # rule 2
        used = F.one_hot(written, len(number)).any(1)
        return score + self.again * used  # rule 3


def adapted(logits: PerWord, scores: PerWord) -> PerWord:
    """Return log p(w | x) of the product of a base model and rules (eq. 4)."""
    base = logits.log_softmax(-1)
    rules = scores.log_softmax(-1)  # eq. 5
    return (base + rules).log_softmax(-1)  # eq. 4; this divides by Z(x)


@torch.no_grad()
def write(
    model: GPT, prompts: Int[Tensor, "n asked"], rules: Rules, new: int = NEW
) -> Int[Tensor, "n new"]:
    """Write the likeliest next word under model and rules, again and again; a row that
    ends repeats "<end>". Prompts have their pads on the left.
    """
    end = vocabulary().number[template.END]
    written = prompts[:, :0]
    state, cache = model.extend(prompts, mask=prompts != PAD)
    while written.shape[1] < new:
        chances = adapted(model.logits(state[:, -1]), rules.scores(written))
        ended = (written == end).any(1)
        word = chances.argmax(-1).masked_fill(ended, end)
        written = torch.cat([written, word[:, None]], 1)
        state, cache = model.extend(word[:, None], cache)
    return written
