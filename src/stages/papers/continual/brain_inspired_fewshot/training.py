"""The base network, the stream of few-shot tasks, and the three ways in which an arm
may learn it.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from stages import zoo
from stages.papers.continual.brain_inspired_fewshot.method import (
    Batch,
    Heads,
    Labels,
    Strengths,
    TwoSets,
    Weights,
    class_means,
    consolidate_fast,
    fisher,
    learn_task,
    per_layer,
)
from stages.seeding import rng
from stages.training import pick_device
from stages.worlds import glyphs

WAYS = 5
ALPHABETS = 5  # of a stream, and as many held out
BASE_ALPHABETS = 8  # 0 to 7, which nothing else uses
CHARACTERS = 8  # of an alphabet
UNSTEADY = 1.5
QUERIES = 15  # test images of a class
WRITTEN = 20  # images of a held-out class
SUPPORT = 5  # of those, examples in an episode
HEAD_LR = 0.05
FREE = Strengths()  # one set of weights, and nothing holds it

# --------------------------------------------------------------------- the base network


@dataclass(frozen=True)
class Base:
    """The network that all arms start from; its importance has mean 1 in each layer."""

    network: nn.Module
    weights: Weights
    importance: Weights


def load_base(tasks: int = 12) -> Base:
    """Load the embedding that has learnt 64 characters; its importance comes from
    `tasks` few-shot tasks among these.
    """
    device = pick_device()
    network = zoo.load("glyph_conv4").layers.to(device)
    weights = {name: p.detach() for name, p in network.named_parameters()}
    known = glyphs.characters(range(BASE_ALPHABETS), each=CHARACTERS)
    labels = torch.arange(WAYS * SUPPORT) % WAYS
    total = {name: torch.zeros_like(w) for name, w in weights.items()}
    for task in range(tasks):
        images = glyphs.write(
            known,
            WAYS * task + labels,
            0,
            unsteady=UNSTEADY,
            stream=("importance",),
            device=device,
        )
        head = class_means(network, weights, images, labels.to(device))
        for name, f in fisher(network, weights, images, head).items():
            total[name] += f
    return Base(network, weights, per_layer(total))


# ------------------------------------------------------------------ a stream of tasks


@dataclass(frozen=True)
class FewShotStream:
    """Tasks of five classes with support and query images, and episodes of held-out
    classes; all alphabets are disjoint from the base network's.

    Attributes:
        episodes: rows of `novel`, of which an episode's first five images a class are
            the support.
    """

    support: Float[Tensor, "tasks n 1 side side"]
    query: Float[Tensor, "tasks q 1 side side"]
    novel: Float[Tensor, "v 1 side side"]
    episodes: Int[Tensor, "episodes ways images"]

    @staticmethod
    def labels(images: Float[Tensor, "tasks n ..."]) -> Labels:
        """Return the classes, within a task, of each task's images."""
        return torch.arange(images.shape[1], device=images.device) % WAYS


def draw_stream(tasks: int, shots: int, episodes: int, seed: int) -> FewShotStream:
    """Draw a seed's tasks: 5 alphabets for the stream, 5 others held out, both its own.

    Raises:
        ValueError: more tasks than the characters of five alphabets allow.
    """
    if WAYS * tasks > ALPHABETS * CHARACTERS:
        raise ValueError(
            f"{tasks} tasks of {WAYS} classes; a stream has {ALPHABETS * CHARACTERS}"
            " characters"
        )
    first = BASE_ALPHABETS + 2 * ALPHABETS * seed
    learnt = glyphs.characters(range(first, first + ALPHABETS), each=CHARACTERS)
    after = first + ALPHABETS
    held_out = glyphs.characters(range(after, after + ALPHABETS), each=CHARACTERS)
    order = torch.from_numpy(rng(seed, "tasks").permutation(len(learnt)))

    def write(known: glyphs.Characters, rows: Tensor, name: str) -> Tensor:
        return glyphs.write(
            known, rows, seed, unsteady=UNSTEADY, stream=(name,), device=pick_device()
        )

    def drawn(name: str, each: int) -> Tensor:
        rows = order[: WAYS * tasks].repeat(each)  # by copies, then tasks, then classes
        images = write(learnt, rows, name)
        return rearrange(images, "(k t w) ... -> t (k w) ...", t=tasks, w=WAYS)

    chance = rng(seed, "episodes")
    chosen = [
        [
            c * WRITTEN + chance.permutation(WRITTEN)
            for c in chance.choice(len(held_out), WAYS, replace=False)
        ]
        for _ in range(episodes)
    ]
    rows = torch.arange(len(held_out)).repeat_interleave(WRITTEN)
    used, places = torch.tensor(np.array(chosen)).unique(return_inverse=True)
    return FewShotStream(
        drawn("support", shots),
        drawn("query", QUERIES),
        write(held_out, rows, "novel")[used],
        places,
    )


# ------------------------------------------------------------------------- the learners


@dataclass(frozen=True)
class Arm:
    """How a stream is learnt.

    Attributes:
        strengths: λ, μ, η and κ.
        lr: of the embedding.
        way: task by task, all tasks together, or not at all: heads are class means.
    """

    strengths: Strengths = FREE
    lr: float = 0.05
    way: Literal["in sequence", "together", "not at all"] = "in sequence"


@dataclass(frozen=True)
class Snapshot:
    """Both sets of weights after some tasks."""

    tasks: int
    fast: Weights
    slow: Weights


@dataclass(frozen=True)
class Learnt:
    """What an arm leaves: snapshots, from before the first task to after the last where
    tasks came in sequence, and one where they did not.
    """

    snapshots: tuple[Snapshot, ...]
    heads: Heads

    @property
    def last(self) -> Snapshot:
        """Both sets after all tasks."""
        return self.snapshots[-1]


def learn(base: Base, stream: FewShotStream, arm: Arm, steps: int, seed: int) -> Learnt:
    """Learn a stream in the way of an arm, with as many updates on as many images in
    sequence as together.
    """
    if arm.way == "in sequence":
        return in_sequence(base, stream, arm, steps)
    heads = first_heads(base, stream)
    weights = base.weights
    if arm.way == "together":
        weights, heads = together(base, stream, arm, steps, seed)
    return Learnt((Snapshot(len(stream.support), weights, weights),), heads)


def in_sequence(base: Base, stream: FewShotStream, arm: Arm, steps: int) -> Learnt:
    """Learn one task after the other, each for `steps` updates on all of its images."""
    sets = TwoSets.start(base.weights, base.importance)
    labels = stream.labels(stream.support)
    snapshots = [Snapshot(0, sets.fast, sets.slow)]
    heads = []
    for number, images in enumerate(stream.support, 1):
        sets, head = learn_task(
            base.network, sets, images, labels, arm.strengths, steps, arm.lr, HEAD_LR
        )
        snapshots.append(Snapshot(number, sets.fast, sets.slow))
        heads.append(head)
    return Learnt(tuple(snapshots), torch.stack(heads))


def together(
    base: Base, stream: FewShotStream, arm: Arm, steps: int, seed: int
) -> tuple[Weights, Heads]:
    """Learn all tasks at once; the pull is to the base network, and equally strong on
    all weights.
    """
    nothing = {name: torch.zeros_like(w) for name, w in base.weights.items()}
    sets = TwoSets.start(base.weights, nothing)
    batches = shuffled(stream, steps, seed)
    start = first_heads(base, stream)
    return consolidate_fast(
        base.network, sets, start, batches, arm.strengths, arm.lr, HEAD_LR
    )


def shuffled(stream: FewShotStream, steps: int, seed: int) -> list[Batch]:
    """Mix the support images of all tasks, each shown `steps` times, in batches as
    large as a task.
    """
    tasks, many = stream.support.shape[:2]
    images = stream.support.flatten(0, 1)
    labels = stream.labels(stream.support).repeat(tasks)
    task = torch.arange(tasks, device=labels.device).repeat_interleave(many)
    epochs = [rng(seed, "joint", i).permutation(len(images)) for i in range(steps)]
    order = torch.tensor(np.array(epochs, int).reshape(-1, many), device=labels.device)
    return [(images[rows], labels[rows], task[rows]) for rows in order]


def first_heads(base: Base, stream: FewShotStream) -> Heads:
    """Return the class means of every task's support images, by the base network."""
    labels = stream.labels(stream.support)
    means = [
        class_means(base.network, base.weights, images, labels)
        for images in stream.support
    ]
    return torch.stack(means)
