"""Tasks as text: prompts of demonstrations and a query, documents to pre-train on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from stages.seeding import rng
from stages.worlds.tasks.facts import (
    GROUP,
    OF_WORDS,
    SPLITS,
    TASKS,
    WORDS,
    Facts,
    check,
    vocabulary,
)
from stages.worlds.vocabulary import PAD


@dataclass(frozen=True)
class Prompts:
    """Rows "Q x A y ; ... Q x A y ;" of one task: demonstrations, then a query and its
    answer.

    `items` are nouns as WORDS counts them, `answers` the true answers as tokens; the
    query's come last.
    """

    tokens: Int[Tensor, "n length"]
    items: Int[Tensor, "n pairs width"]
    answers: Int[Tensor, "n pairs"]

    @property
    def open(self) -> Int[Tensor, "n prompt"]:
        """The rows up to the "A" of the query, its answer to come."""
        return self.tokens[:, :-2]


@dataclass(frozen=True)
class Documents:
    """Rows of demonstrations, padded on the right, each row of one task; where in them
    the answers are.
    """

    tokens: Int[Tensor, "n length"]
    answer: Bool[Tensor, "n length"]
    task: Int[Tensor, " n"]


def prompts(
    facts: Facts,
    task: str,
    n: int,
    seed: int,
    *,
    shots: int = 10,
    split: str | None = "train",
    query: str | None = "train",
    width: int = 3,
    shuffled: bool = False,
    zipf: float = 0.0,
    stream: Sequence[str | int] = (),
) -> Prompts:
    """Draw prompts of one task; prompt i is the same however many follow.

    Args:
        facts: the world.
        task: one of TASKS.
        n: how many prompts.
        seed: with `stream`, decides everything.
        shots: demonstrations before the query. In tasks about words, the nouns of a
            prompt are all different.
        split, query: where the nouns of the demonstrations and of the query come from:
            "train", "validation" or "test", or None for all nouns in both.
        width: nouns in a list, one animal, one plant and the rest things; 3 or more.
        shuffled: permute the answers among the demonstrations of a prompt, so that they
            hardly tell the task.
        zipf: how uneven nouns are: the r-th largest has the weight r**-zipf.

    Raises:
        ValueError: an unknown word, splits that may overlap, or more nouns asked for
            than a split has.
    """
    check(task)
    if {split, query} - {None, *SPLITS} or (split is None) != (query is None):
        raise ValueError(
            f"no {split=} with {query=}; choose from {', '.join(SPLITS)}, or None for"
            " both"
        )
    if n < 1 or shots < 0 or width < 3:
        raise ValueError(
            f"{n=}, {shots=}, {width=}: 1 prompt of 0 shots and lists of 3 are the"
            " least"
        )

    def draw(where: str | None, pairs: int, name: str) -> Int[Tensor, "n pairs width"]:
        there = (
            facts.split.numpy() == list(SPLITS).index(where)
            if where
            else np.ones(len(WORDS), bool)
        )
        weight = -zipf * np.log(len(WORDS) - facts.size.numpy())

        def choose(allowed: np.ndarray, count: int, *shape: str | int) -> np.ndarray:
            """Take `count` different nouns in each place, by Gumbel's trick."""
            nouns = np.flatnonzero(there & allowed)
            if count > len(nouns):
                raise ValueError(
                    f"{count} different nouns asked for; {where or 'all'} has"
                    f" {len(nouns)} of them"
                )
            chance = rng(seed, "tasks", *stream, name, *shape).gumbel(
                size=(n, *shape[1:], len(nouns))
            )
            return nouns[np.argsort(-chance - weight[nouns], -1)[..., :count]]

        if task in OF_WORDS:
            return torch.from_numpy(choose(np.array(True), pairs)[..., None])
        lists = [
            choose(GROUP.numpy() == g, size, g, pairs)
            for g, size in enumerate((1, 1, width - 2))
        ]
        mixed = (
            rng(seed, "tasks", *stream, name, "order")
            .random((n, pairs, width))
            .argsort(-1)
        )
        return torch.from_numpy(
            np.take_along_axis(np.concatenate(lists, -1), mixed, -1)
        )

    if split == query:
        items = draw(split, shots + 1, "nouns")
    else:
        items = torch.cat([draw(split, shots, "nouns"), draw(query, 1, "query")], 1)
    answers = facts.answer(task, items)
    shown = answers.clone()
    if shuffled:
        order = rng(seed, "tasks", *stream, "shuffle").random((n, shots)).argsort(1)
        shown[:, :-1] = answers[:, :-1].gather(1, torch.from_numpy(order))
    q, a, end = (mark.expand(n, shots + 1, 1) for mark in vocabulary().encode("Q A ;"))
    return Prompts(
        torch.cat([q, items + 1, a, shown[..., None], end], -1).flatten(1),
        items,
        answers,
    )


def documents(
    facts: Facts,
    n: int,
    seed: int,
    *,
    pairs: int = 13,
    prior: Float[Tensor, " tasks"] | None = None,
    widths: Sequence[int] = (3,),
    zipf: float = 0.0,
    stream: Sequence[str | int] = (),
) -> Documents:
    """Draw documents to pre-train on, each so many questions and answers of one task
    about any nouns.

    The k-th answer of a document is one after k - 1 demonstrations: all numbers of
    shots are in it.

    Args:
        facts: the world.
        n: how many documents; document i says the same however many follow.
        seed: with `stream`, decides everything.
        pairs: questions and answers in a document.
        prior: how frequent each of TASKS is, evenly by default.
        widths: how long lists are, one length a document.
        zipf: how uneven nouns are, as in `prompts`.

    Raises:
        ValueError: a prior of another shape or without a task, no widths, or what
            `prompts` refuses.
    """
    prior = torch.ones(len(TASKS)) if prior is None else prior
    if (
        prior.shape != (len(TASKS),)
        or prior.min() < 0
        or prior.sum() == 0
        or not widths
        or n < 1
        or pairs < 1
    ):
        raise ValueError(
            f"{n=}, {pairs=}, {widths=}: give 1 or more, and a prior of {len(TASKS)}"
            " frequencies"
        )
    chance, second = torch.from_numpy(
        rng(seed, "tasks", *stream, "documents").random((n, 2))
    ).T.contiguous()
    task = torch.searchsorted(
        prior.double().cumsum(0) / prior.double().sum(), chance, right=True
    )
    wide = torch.tensor(widths)[(second * len(widths)).long()]
    longest = max(1, max(widths) if (task >= len(OF_WORDS)).any() else 1)
    tokens = torch.full((n, pairs * (longest + 4)), PAD)
    answer = torch.zeros_like(tokens, dtype=torch.bool)
    for i, name in enumerate(TASKS):
        for width in (1,) if name in OF_WORDS else widths:
            rows = ((task == i) & ((wide == width) | (name in OF_WORDS))).nonzero()[
                :, 0
            ]
            if len(rows):
                options = {
                    "shots": pairs - 1,
                    "split": None,
                    "query": None,
                    "width": max(width, 3),
                    "zipf": zipf,
                }
                drawn = prompts(
                    facts,
                    name,
                    len(rows),
                    seed,
                    **options,
                    stream=(*stream, name, width),
                )
                tokens[rows, : drawn.tokens.shape[1]] = drawn.tokens
                answer[rows, width + 2 : drawn.tokens.shape[1] : width + 4] = True
    return Documents(tokens, answer, task)
