"""How answers with several labels are scored, and the names of the measures."""

import math

import torch
from jaxtyping import Bool, Float
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

from stages.evidence import Outcome, in_setting
from stages.papers.continual.multi_lane.world import MultiLabelStream

MAP = "mAP"
LAST = in_setting(MAP, "last")
AVERAGE_MAP = in_setting(MAP, "average")
F1 = "F1 at threshold 0.8"
OF1 = in_setting(F1, "OF1")
CF1 = in_setting(F1, "CF1")
THRESHOLD = math.log(4)  # the logit of a probability of 0.8
STRATUM = "mAP by tasks present"
AREA = "AUC by tasks present"
STRATA = (1, 2, 3)

Scores = Float[Tensor, "n classes"]
Answers = Bool[Tensor, "n classes"]


def present(name: str, tasks: int) -> str:
    """Name an arm as scored on test images that show classes of so many tasks (3: of
    three or more).
    """
    return f"{name}, {tasks}{'+' if tasks == STRATA[-1] else ''} present"


def mean_average_precision(scores: Scores, answers: Answers) -> float:
    """Return mAP in per cent: the average precision of each class over all images,
    averaged over classes.

    A class that no image shows has none, and is left out. mAP looks at each class by
    itself: how one class's scores compare with another's does not count. Raises
    ValueError when there is no class left.
    """
    there = answers.any(0)
    if not there.any():
        raise ValueError("no image shows any class: mAP is undefined")
    return 100 * float(
        average_precision_score(
            answers[:, there].cpu().numpy(), scores[:, there].cpu().numpy()
        )
    )


def mean_auc(scores: Scores, answers: Answers) -> float:
    """Return the mean over classes of the area under the ROC curve in per cent: unlike
    average precision, what chance reaches does not depend on how common a class is.
    Classes that all or no images show are left out.
    """
    both = answers.any(0) & ~answers.all(0)
    return 100 * float(
        roc_auc_score(answers[:, both].cpu().numpy(), scores[:, both].cpu().numpy())
    )


def f1(
    scores: Scores, answers: Answers, threshold: float = THRESHOLD
) -> tuple[float, float]:
    """Return OF1 and CF1 in per cent, when classes with logits above one threshold for
    all are said to be there.

    OF1 counts over all classes together. CF1 is the mean of the classes' own F1, as
    released; a class that is never said to be there has 0.
    """
    said = scores > threshold
    hits = (said & answers).sum(0).double()
    told = said.sum(0).double() + answers.sum(0)
    overall = 2 * hits.sum() / told.sum()
    by_class = (2 * hits / told.clamp(min=1)).mean()
    return 100 * overall.item(), 100 * by_class.item()


def so_far(
    logits: Float[Tensor, "phases test classes"], stream: MultiLabelStream
) -> list[float]:
    """Return mAP after each task, over the classes seen by then and the test images
    that show one of them.
    """
    found = []
    for task, phase in enumerate(logits):
        end = stream.own(task).stop
        answers = stream.test_answers[:, :end]
        some = answers.any(1)
        found.append(mean_average_precision(phase[some, :end], answers[some]))
    return found


def score(
    outcome: Outcome,
    name: str,
    logits: Float[Tensor, "phases test classes"],
    stream: MultiLabelStream,
) -> None:
    """Score an arm by its test logits after each task, or once after all of them (the
    joint bound, which has no average over tasks and no curve).
    """
    answers = stream.test_answers
    last = logits[-1]
    outcome.score(name, LAST, mean_average_precision(last, answers))
    overall, by_class = f1(last, answers)
    outcome.score(name, OF1, overall)
    outcome.score(name, CF1, by_class)
    tasks = stream.tasks_in(answers).sum(1).clamp(max=STRATA[-1])
    precisions = []
    areas = []
    for count in STRATA:
        some = tasks == count
        precisions.append(mean_average_precision(last[some], answers[some]))
        areas.append(mean_auc(last[some], answers[some]))
        outcome.score(present(name, count), STRATUM, precisions[-1])
    outcome.curve(name, STRATUM, STRATA, precisions)
    outcome.curve(name, AREA, STRATA, areas)
    if len(logits) == len(stream):
        each = so_far(logits, stream)
        outcome.score(name, AVERAGE_MAP, sum(each) / len(each))
        outcome.curve(name, MAP, range(1, len(each) + 1), each)


def share_present(chosen: torch.Tensor, stream: MultiLabelStream) -> Float[Tensor, ""]:
    """Return for how many test images, in per cent, the chosen task is one whose
    objects are there.
    """
    there = stream.tasks_in(stream.test_answers)
    return 100 * there.gather(1, chosen[:, None]).float().mean()
