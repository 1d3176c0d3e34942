"""What the experiment measures beside the scores of every stream: the share of errors
across tasks, task 1, and what the energy tells about real images.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from sklearn.metrics import roc_auc_score
from torch import Tensor

from stages.evidence import Outcome
from stages.models import ViT
from stages.papers.continual.common.metrics import accuracy_matrix, mistakes
from stages.papers.continual.common.streams import Stream
from stages.papers.continual.ovor.first_stage import Learnt, Rows
from stages.papers.continual.ovor.method import Stage, energy, outliers_of
from stages.worlds import signs
from stages.zoo.signs import named

SHARE = "errors across tasks, share of all"
FIRST = "change of task 1, task named"
APART = "AUROC of the energy"
PHOTO = "photo accuracy"
OWN = "energy, own task"
OTHERS = "energy, other tasks"
VIRTUAL = "energy, virtual outliers"
BEFORE = "own features above t_id, before"
AFTER = "own features above t_id, after"


def photo_accuracy(vit: ViT, each: int, seed: int) -> float:
    """Return the base model's accuracy in % on new photo-style scenes, `each` a sign,
    by the head it came with.
    """
    labels = torch.arange(signs.COUNT).repeat_interleave(each)
    scenes = signs.sample(labels, seed, stream=("ovor", "photo"))
    with torch.no_grad():
        answers, _ = named(vit, scenes)
    return 100 * (answers == labels).float().mean().item()


def score_answers(
    outcome: Outcome,
    method: str,
    stream: Stream,
    logits: Float[Tensor, "phases test classes"],
) -> None:
    """Score what `score_stream` leaves out: the share of the errors that name another
    task, how well energies tell tasks apart, and task 1's change.
    """
    wrong = mistakes(logits[-1], stream.test_labels, stream.ways)
    errors = wrong.cross_task + wrong.within_task
    outcome.score(method, SHARE, 100 * wrong.cross_task / errors if errors else 0)
    outcome.score(method, APART, apart(logits[-1], stream.test_labels, stream.ways))
    if len(logits) == len(stream):
        own = accuracy_matrix(logits, stream.test_labels, stream.ways, "own")
        outcome.score(method, FIRST, own[-1, 0] - own[0, 0])


def apart(
    logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"], ways: int
) -> float:
    """Return how surely (AUROC in %) a task's energy tells its own images from all
    others, averaged over tasks.

    Only the order counts: no shift of a task's level can raise it.
    """
    task = (labels // ways).cpu()
    claim = -energy(logits.unflatten(-1, (-1, ways))).cpu()  # (n, tasks)
    found = [roc_auc_score(task == t, claim[:, t]) for t in range(claim.shape[1])]
    return 100 * sum(found) / len(found)


def score_energies(
    outcome: Outcome,
    method: str,
    rows: Rows,
    learnt: Sequence[Learnt],
    stage: Stage,
    stream: Stream,
    seed: int,
) -> None:
    """Score, averaged over tasks as each was learnt, the mean energy of its own test
    images, of all others and of virtual outliers; and the share in % of its training
    features above t_id, before and after the second stage.
    """
    found = {metric: [] for metric in (OWN, OTHERS, VIRTUAL, BEFORE, AFTER)}
    for task, part in enumerate(learnt):
        own = stream.own(task)
        final = Rows(rows.weight[own], rows.bias[own])
        mine = stream.test_labels // stream.ways == task
        t_id = energy(torch.zeros(stream.ways)).item() - stage.gap
        outliers = outliers_of(part, stage.noise, seed, task)
        early = energy(part.rows.logits(part.own)) > t_id
        late = energy(final.logits(part.own)) > t_id
        found[OWN].append(energy(final.logits(part.test[mine])).mean())
        found[OTHERS].append(energy(final.logits(part.test[~mine])).mean())
        found[VIRTUAL].append(energy(final.logits(outliers)).mean())
        found[BEFORE].append(100 * early.float().mean())
        found[AFTER].append(100 * late.float().mean())
    for metric, values in found.items():
        outcome.score(method, metric, torch.stack(values).mean())
