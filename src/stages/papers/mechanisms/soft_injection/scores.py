"""What SITE's test answers tell: scores, and the same answers with other heads, other
contents, or another task's α.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from stages.evidence import Outcome
from stages.papers.mechanisms.soft_injection.arms import (
    SHOTS,
    Lab,
    Right,
    demonstrated,
    injected,
)
from stages.papers.mechanisms.soft_injection.prompts import Shares, right
from stages.worlds.ledgers import CHANGED as CHANGED_TOYS
from stages.worlds.ledgers import TASKS, even, twin

ACCURACY, CHANGED = "accuracy", "accuracy, changed entries"
WORST = "worst task, told by changed entries"
BINARY, ABOVE = "near-binary share", "near-binary share above 70"
TOP, BOTTOM = "SITE, top half of heads", "SITE, bottom half of heads"
MEAN, OTHER = "SITE, all tasks' mean t", "SITE, its twin's t"
KIN, STRANGER = "SITE, its twin's α", "SITE, other tasks' α"
BEST = "best reader of ten pairs"
BY_TASK, BY_HEADS = "accuracy by task", "accuracy by heads"


def score(outcome: Outcome, method: str, found: Right, lab: Lab) -> None:
    """Score a method's answers: over tasks, all of them and those about toys whose
    entry changed.
    """
    outcome.score(method, ACCURACY, found.mean())
    outcome.score(method, CHANGED, found[changed(lab)].mean())
    outcome.curve(method, BY_TASK, range(len(found)), found.mean(1))


def changed(lab: Lab) -> Bool[Tensor, "tasks n"]:
    """Return which test questions a task and its twin answer differently."""
    return lab.facts.changed.gather(1, lab.toys["test"])


def told(lab: Lab) -> Float[Tensor, " tasks"]:
    """Return each task's accuracy on changed entries after ten other ones that changed:
    whether the model has the task at all.
    """
    toys = lab.facts.changed.nonzero()[:, 1].view(len(TASKS), -1)
    turns = torch.arange(CHANGED_TOYS)
    rounds = (turns[:, None] + torch.arange(SHOTS + 1)) % CHANGED_TOYS
    prompts = demonstrated(lab.model, lab.facts, toys[:, rounds])
    return right(prompts.logits(), prompts).mean(1)


def score_alphas(outcome: Outcome, method: str, share: Shares) -> None:
    """Score how many α, in %, lie outside (0.1, 0.9) after the last update."""
    near = 100 * ((share <= 0.1) | (share >= 0.9)).float().mean()
    outcome.score(method, BINARY, near)
    outcome.score(method, ABOVE, near - 70)


def ranks(share: Shares) -> Int[Tensor, "tasks layers heads"]:
    """Return each head's place in its task's order of falling α, from 0."""
    order = share.flatten(1).argsort(1, descending=True)
    return order.argsort(1).view_as(share)


def first(share: Shares, count: int) -> Shares:
    """Keep the α of the `count` heads with the largest, and 0 for the others."""
    return share * (ranks(share) < count)


def last(share: Shares, count: int) -> Shares:
    """Keep the α of the `count` heads with the smallest, and 0 for the others."""
    return share * (ranks(share) >= share[0].numel() - count)


def altered(lab: Lab, share: Shares) -> dict[str, Right]:
    """Answer the test under SITE's α for half of the heads; with another content; and
    with its own content but another task's α.
    """
    half = share[0].numel() // 2
    other = twin(torch.arange(len(TASKS)))
    mean = lab.trace.mean(0, keepdim=True).expand_as(lab.trace)
    found = {
        TOP: injected(lab, first(share, half), lab.trace),
        BOTTOM: injected(lab, last(share, half), lab.trace),
        MEAN: injected(lab, share, mean),
        OTHER: injected(lab, share, lab.trace[other]),
        KIN: injected(lab, share[other], lab.trace),
    }
    strangers = [
        injected(lab, share.roll(2 * columns, 0), lab.trace)
        for columns in range(1, len(TASKS) // 2)
    ]
    return found | {STRANGER: torch.stack(strangers).mean(0)}


def grown(lab: Lab, share: Shares) -> dict[str, Float[Tensor, "counts tasks"]]:
    """Return each task's accuracy with more and more heads, from both ends."""
    counts = range(share[0].numel() + 1)
    return {
        name: torch.stack(
            [injected(lab, keep(share, q), lab.trace).mean(1) for q in counts]
        )
        for name, keep in ((TOP, first), (BOTTOM, last))
    }


def best_reader(lab: Lab) -> Right:
    """Return the chance in % that the best reader of the ten pairs answers right: it
    knows both ledgers, and that all tasks are alike.
    """
    query = lab.toys["test"]
    found = []
    for shown in lab.ten[..., :-1]:
        rows = []
        for task, (toys, asked) in enumerate(zip(shown, query, strict=True)):
            answers = lab.facts.table[task]
            items = torch.cat([toys.expand(len(asked), -1), asked[:, None]], 1)
            chance = lab.facts.predict(items, answers[items[:, :-1]], even())
            most = chance == chance.amax(1, keepdim=True)
            mine = most.gather(1, answers[asked][:, None])[:, 0]
            rows.append(100 * mine / most.sum(1))
        found.append(torch.stack(rows))
    return torch.stack(found).mean(0)
