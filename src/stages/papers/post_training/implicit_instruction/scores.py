"""How the answers of an arm are judged, and where its probability goes."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from stages.evidence import Outcome
from stages.models import GPT
from stages.papers.post_training.implicit_instruction.arms import TUNED, Lab
from stages.papers.post_training.implicit_instruction.method import (
    Rules,
    adapted,
    ranked,
)
from stages.seeding import torch_rng
from stages.worlds.smalltalk import (
    FAMILIES,
    USUAL,
    Requests,
    all_requests,
    follows,
    means_right,
    rows_of,
    template,
    vocabulary,
)
from stages.worlds.smalltalk.chat import FORMS, NO_ANSWERS
from stages.worlds.vocabulary import PAD, answered
from stages.zoo.village import followed

FOLLOWED = "requests followed"
OTHERS = "requests followed, other families than sums"
UNTUNED = "requests followed, untuned families"
LENIENT = "right values, whatever the wording"
WINS = "win rate against instruction tuning"
RANKED = "right response ranked first"
KIN = "right response ranked first within its family"
OWN = "requests followed in the text's form"
BY_FAMILY = "requests followed by family"
KINDS = ("another request", "no answer", "right response", "another response")

Written = Int[Tensor, "n length"]


def by_family(values: Tensor, requests: Requests) -> Float[Tensor, " families"]:
    """Return the mean of each usual family, in %."""
    rows = [values[requests.family == FAMILIES.index(name)] for name in USUAL]
    return torch.stack([100 * each.float().mean() for each in rows])


def quality(requests: Requests, written: Written) -> Int[Tensor, " n"]:
    """Return 2 for a right answer that ends, 1 for the right values in other words, or
    without an end, and 0 for anything else.
    """
    return follows(requests, written).long() + means_right(requests, written).long()


def wins(
    mine: Int[Tensor, " n"], theirs: Int[Tensor, " n"], requests: Requests
) -> float:
    """Return how often, in %, one answer is better than another; a tie is half."""
    better = (mine > theirs).float() + 0.5 * (mine == theirs).float()
    return by_family(better, requests).mean().item()


def score(
    outcome: Outcome, name: str, lab: Lab, written: Written, reference: Written
) -> None:
    """Score what an arm has written; all families count alike."""
    test = lab.test
    right = by_family(follows(test, written), test)
    sums, tuned = (
        torch.tensor([f in names for f in USUAL]) for names in ("sum", TUNED)
    )
    outcome.score(name, FOLLOWED, right.mean())
    outcome.score(name, OTHERS, right[~sums].mean())
    outcome.score(name, UNTUNED, right[~tuned].mean())
    outcome.score(name, LENIENT, by_family(means_right(test, written), test).mean())
    marks = quality(test, written), quality(test, reference)
    outcome.score(name, WINS, wins(*marks, test))
    outcome.curve(name, BY_FAMILY, range(len(USUAL)), right)


def score_ranking(outcome: Outcome, name: str, lab: Lab, model: GPT) -> None:
    """Score how often the right response is ranked above those to other requests, and
    above those to other requests of its family (eq. 3).
    """
    stream = ("implicit instruction", "ranked")
    outcome.score(name, RANKED, ranked(model, lab.test, torch_rng(lab.seed, *stream)))
    each = [
        ranked(model, lab.test.of(family), torch_rng(lab.seed, *stream, family))
        for family in USUAL
    ]
    outcome.score(name, KIN, sum(each) / len(each))


def score_own_form(outcome: Outcome, name: str, lab: Lab, model: GPT) -> None:
    """Score what a model answers in the first surface form of its text."""
    right = followed(model, lab.test, *FORMS[0])
    outcome.score(name, OWN, by_family(right, lab.test).mean())


def openers(texts: Int[Tensor, "n length"]) -> Bool[Tensor, " vocabulary"]:
    """Tell which words some of the texts begin with."""
    found = torch.zeros(len(vocabulary()), dtype=torch.bool)
    found[texts[:, 0]] = True
    return found


@torch.no_grad()
def shares_each(
    model: GPT,
    requests: Requests,
    rules: Rules | None = None,
    before: str = template.USER,
    between: str = template.ASSISTANT,
) -> Float[Tensor, "kinds n"]:
    """Return the probabilities of what may follow each request, by `KINDS`.

    They are those of what begins like another request, or as one is introduced; of what
    begins like no answer; of the right response and its end; and of all else.
    """
    prompts = template.prompt(requests, before, between, pad="right")
    told = template.response(requests.answer)
    logits = model(answered(prompts, told).tokens)
    rows, start = torch.arange(len(told)), (prompts != PAD).sum(1)
    log_right, first = torch.zeros(len(told)), None
    for t in range(told.shape[1]):
        place = (start + t - 1).clamp(max=logits.shape[1] - 1)  # beyond are pads alone
        chances = adapted(logits[rows, place], (rules or Rules()).scores(told[:, :t]))
        first = chances.exp() if t == 0 else first
        log_right += chances[rows, told[:, t]].where(told[:, t] != PAD, 0.0)
    asks = openers(all_requests().request)
    asks |= openers(rows_of([before, template.USER, template.ASSISTANT]))
    asking = first[:, asks].sum(1)
    silent = first[:, openers(rows_of(NO_ANSWERS))].sum(1)
    right = log_right.exp()
    return torch.stack([asking, silent, right, 1 - asking - silent - right])


def shares(model: GPT, requests: Requests, *how) -> Float[Tensor, " kinds"]:
    """Return the mean of `shares_each`, whose arguments it takes, in %; families count
    alike.
    """
    each = shares_each(model, requests, *how)
    return torch.stack([by_family(share, requests).mean() for share in each])


def score_shares(
    outcome: Outcome, name: str, lab: Lab, model: GPT, rules: Rules | None
) -> None:
    """Score where an arm's probability goes between tags."""
    found = shares(model, lab.test, rules)
    for kind, share in zip(KINDS, found, strict=True):
        outcome.score(name, f"probability of {kind}", share)
