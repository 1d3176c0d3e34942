"""How an arm's model does on the test: adherence, form, and information."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from stages.evidence import Outcome
from stages.models import GPT
from stages.papers.post_training.sami.method import (
    Prompts,
    Samples,
    information,
    likelihoods,
)
from stages.papers.post_training.sami.queries import (
    HELD_OUT,
    LINKED,
    UNLINKED,
    WRONG,
    all_notes,
    cut,
    heeded,
    places,
    principles_of,
    things_of,
    written,
)
from stages.seeding import torch_rng
from stages.worlds.smalltalk import notes

GROUPS = {
    "adherence": LINKED,
    "adherence, held out": HELD_OUT,
    "adherence, unlinked": UNLINKED,
    "adherence, wrongly linked": WRONG,
}
LINKED_ADHERENCE, HELD_OUT_ADHERENCE, UNLINKED_ADHERENCE, WRONG_ADHERENCE = GROUPS
FORM, INFORMATION, KEPT = "exact form", "information", "pairs kept"
BY_PRINCIPLE, BY_ITERATION = "adherence by principle", "adherence by iteration"
BY_INFORMATION = "information by iteration"


class Exam:
    """The test of a seed: the same queries, and the same draws, for all arms.

    Args:
        pairs: of things that are asked about; all of the test's by default.
    """

    def __init__(self, seed: int, pairs: int | None = None):
        self.seed = seed
        things = notes.divided(seed)["test"][:pairs]
        self.prompts = all_notes(things)
        self.principle = principles_of(self.prompts)

    def responses(self, model: GPT) -> Prompts:
        """Draw a response to each note, at temperature 1."""
        chance = torch_rng(self.seed, "sami", "test")
        return written(model, self.prompts, chance, 1.0)

    def of(self, names: tuple[str, ...]) -> Tensor:
        """Tell which queries are about some principles."""
        return torch.isin(self.principle, places(names))


@dataclass(frozen=True)
class Look:
    """What a model does on an exam.

    Attributes:
        responses: as drawn.
        heeded: 100 for a response that shows the pole of its note, 0 for one that shows
            the other, 50 for one that has not the form.
        form: how many, in %, have exactly the form.
        information: a bound on what responses tell about which pole of a trained linked
            principle their note names, in nats.
    """

    responses: Prompts
    heeded: Float[Tensor, "queries constitutions"]
    form: float
    information: float


@torch.no_grad()
def look(model: GPT, exam: Exam) -> Look:
    """Let a model take an exam."""
    drawn = exam.responses(model)
    things = things_of(exam.prompts)
    formed = [notes.well_formed(each, things) for each in drawn.unbind(1)]
    here = exam.of(LINKED)
    summed = likelihoods(model, exam.prompts[here], cut(drawn[here]), mean=False)
    return Look(
        drawn,
        100 * heeded(exam.prompts, drawn),
        100 * torch.stack(formed).float().mean().item(),
        information(summed).item(),
    )


def score(outcome: Outcome, name: str, seen: Look, exam: Exam) -> None:
    """Score what was seen of an arm."""
    for metric, group in GROUPS.items():
        outcome.score(name, metric, seen.heeded[exam.of(group)].mean())
    outcome.score(name, FORM, seen.form)
    outcome.score(name, INFORMATION, seen.information)
    each = [seen.heeded[exam.of((one,))].mean() for one in notes.NAMES]
    outcome.curve(name, BY_PRINCIPLE, range(len(each)), each)


def score_course(outcome: Outcome, name: str, seen: list[Look], exam: Exam) -> None:
    """Draw what was seen of an arm after each iteration, the base in front."""
    turns = range(len(seen))
    linked = [one.heeded[exam.of(LINKED)].mean() for one in seen]
    outcome.curve(name, BY_ITERATION, turns, linked)
    outcome.curve(name, BY_INFORMATION, turns, [one.information for one in seen])


def score_kept(outcome: Outcome, name: str, drawn: list[Samples]) -> None:
    """Score how many of the queries that an arm asked were kept, in %."""
    kept = sum(len(one.prompts) for one in drawn)
    asked = sum(len(one.prompts) / one.kept for one in drawn)
    outcome.score(name, KEPT, 100 * kept / asked)
