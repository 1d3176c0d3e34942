"""What is scored: how often the nearest candidate is right, how far pictures lie from
captions, and what negatives an arm was fine-tuned with.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from stages.evidence import Outcome
from stages.papers.vision_language.generator_to_embedder.method import (
    Clusters,
    Vectors,
)

RECALL, CENTRED = "Recall@1", "Recall@1, centred"
DIRECTIONS = ("Recall@1, picture to caption", "Recall@1, caption to picture")
GAP = "modality gap"
FALSE = "false negatives"
OF_ANCHORS = "false negatives of anchors"
HARDNESS = "hardness"
USED = "pairs in clusters"

Kinds = Int[Tensor, " n"]
Tasks = list[tuple[Vectors, Vectors]]


def recall(queries: Vectors, candidates: Vectors, kinds: Kinds) -> float:
    """Return how often the nearest candidate shows the query's scene, in %."""
    nearest = (queries @ candidates.T).argmax(1)
    return 100 * (kinds[nearest] == kinds).float().mean().item()


def centred(vectors: Vectors) -> Vectors:
    """Take the mean off, and bring vectors back to length 1."""
    return F.normalize(vectors - vectors.mean(0), dim=-1)


def gap(queries: Vectors, candidates: Vectors) -> float:
    """Return the distance between the means of both sides."""
    return (queries.mean(0) - candidates.mean(0)).norm().item()


def score(outcome: Outcome, arm: str, tasks: Tasks, kinds: Kinds) -> None:
    """Score an arm's embeddings of the test, both tasks apart and their means."""
    found = torch.tensor([recall(*each, kinds) for each in tasks])
    even = [recall(*map(centred, each), kinds) for each in tasks]
    outcome.score(arm, RECALL, found.mean())
    for name, value in zip(DIRECTIONS, found, strict=True):
        outcome.score(arm, name, value)
    outcome.score(arm, CENTRED, torch.tensor(even).mean())
    outcome.score(arm, GAP, torch.tensor([gap(*each) for each in tasks]).mean())


def equal_others(
    kinds: Int[Tensor, "batches members"],
) -> Float[Tensor, "batches members members"]:
    """Mark the ordered pairs of two members that show the same scene."""
    same = kinds[:, :, None] == kinds[:, None]
    return (same & ~torch.eye(kinds.shape[1], dtype=torch.bool)).float()


def false_share(rows: Int[Tensor, "batches members"], kinds: Kinds) -> float:
    """Return which share of the negatives of batches is false, in %: for each query,
    the candidates of all others of its batch are negatives.
    """
    members = rows.shape[1]
    return 100 * equal_others(kinds[rows]).mean().item() * members / (members - 1)


def anchors_share(clusters: Clusters, kinds: Kinds) -> float:
    """Return which share of what was mined for anchors is false, in %."""
    same = kinds[clusters[:, 1:]] == kinds[clusters[:, :1]]
    return 100 * same.float().mean().item()


def hardness(
    rows: Int[Tensor, "batches members"],
    vectors: tuple[Vectors, Vectors],
    kinds: Kinds,
) -> float:
    """Return the mean similarity of queries with their true negatives, before
    fine-tuning.
    """
    queries, candidates = (each[rows] for each in vectors)
    likeness = queries @ candidates.mT
    true = (kinds[rows][:, :, None] != kinds[rows][:, None]).float()
    return ((likeness * true).sum() / true.sum()).item()


def score_negatives(
    outcome: Outcome,
    arm: str,
    batches: Int[Tensor, "updates batch"],
    clusters: tuple[Clusters, ...],
    vectors: Tasks,
    kinds: Kinds,
) -> None:
    """Score the negatives that an arm was fine-tuned with, as means over both tasks.

    Args:
        batches: of both tasks in turn.
        clusters: of each task; none if they were drawn at random.
        vectors: of the pool, before fine-tuning.
    """
    count = len(vectors)
    each = [batches[task::count] for task in range(count)]
    false = [false_share(rows, kinds) for rows in each]
    hard = [hardness(rows, vectors[task], kinds) for task, rows in enumerate(each)]
    outcome.score(arm, FALSE, torch.tensor(false).mean())
    outcome.score(arm, HARDNESS, torch.tensor(hard).mean())
    if clusters:
        mined = [anchors_share(rows, kinds) for rows in clusters]
        used = [100 * len(rows.unique()) / len(kinds) for rows in clusters]
        outcome.score(arm, OF_ANCHORS, torch.tensor(mined).mean())
        outcome.score(arm, USED, torch.tensor(used).mean())
