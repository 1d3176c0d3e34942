"""How a stream of tasks is scored by its test logits."""

from jaxtyping import Float
from torch import Tensor

from stages.evidence import Outcome
from stages.papers.continual.common import metrics
from stages.papers.continual.common.metrics import accuracy_matrix
from stages.papers.continual.common.streams import Stream

AVERAGE = "final average accuracy"
NAMED = "final average, task named"
NEW = "new-task accuracy"
NEW_NAMED = "new-task accuracy, task named"
FORGETTING = "forgetting"
GLOBAL = "global forgetting"
LOCAL = "local forgetting"
CROSS = "cross-task errors"
WITHIN = "within-task errors"
SO_FAR = "accuracy so far"
WHEN_LEARNT = "task named, when learnt"
AT_THE_END = "task named, at the end"


def score_stream(
    outcome: Outcome,
    method: str,
    stream: Stream,
    logits: Float[Tensor, "phases test classes"],
) -> None:
    """Score a method by its test logits after each task, or once after all of them.

    Once: the logits of a learner that saw all tasks together. It is judged on the tasks
    of `stream` all the same, but has no curve, no new task and no forgetting.
    """
    sequential = len(logits) == len(stream) > 1
    every = logits.expand(len(stream), -1, -1)
    seen = accuracy_matrix(every, stream.test_labels, stream.ways, "seen")
    then = accuracy_matrix(every, stream.test_labels, stream.ways, "then")
    own = accuracy_matrix(every, stream.test_labels, stream.ways, "own")
    wrong = metrics.mistakes(every[-1], stream.test_labels, stream.ways)
    outcome.score(method, AVERAGE, metrics.final_average(seen))
    outcome.score(method, NAMED, metrics.final_average(own))
    outcome.score(method, CROSS, wrong.cross_task)
    outcome.score(method, WITHIN, wrong.within_task)
    if not sequential:
        return
    outcome.score(method, NEW, metrics.new_task(then))
    outcome.score(method, NEW_NAMED, metrics.new_task(own))
    outcome.score(method, FORGETTING, metrics.forgetting(seen))
    outcome.score(method, GLOBAL, metrics.global_forgetting(then))
    outcome.score(method, LOCAL, metrics.local_forgetting(own))
    tasks = range(1, len(stream) + 1)
    outcome.curve(method, SO_FAR, tasks, metrics.average_so_far(seen).tolist())
    outcome.curve(method, WHEN_LEARNT, tasks, own.diagonal().tolist())
    outcome.curve(method, AT_THE_END, tasks, own[-1].tolist())
