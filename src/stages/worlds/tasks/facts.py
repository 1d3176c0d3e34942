"""The nouns, what is true of them in a world, and what each task answers."""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from stages.seeding import rng
from stages.worlds.vocabulary import PAD, Vocabulary

KINDS = {
    "mammal": ("bear", "cat", "dog", "goat", "horse", "lion", "pig", "rabbit"),
    "bird": ("crow", "duck", "eagle", "hen", "owl", "robin", "stork", "swan"),
    "insect": ("ant", "bee", "beetle", "cricket", "flea", "gnat", "moth", "wasp"),
    "fruit": ("apple", "banana", "fig", "lemon", "melon", "olive", "pear", "plum"),
    "vegetable": ("bean", "carrot", "leek", "onion", "pea", "pumpkin", "turnip", "yam"),
    "tool": ("axe", "chisel", "drill", "hammer", "rake", "saw", "spade", "spanner"),
    "garment": ("belt", "boot", "coat", "glove", "hat", "shirt", "skirt", "sock"),
    "vehicle": ("bike", "boat", "car", "plane", "ship", "train", "tram", "van"),
}
GROUPS = {
    "animal": ("mammal", "bird", "insect"),
    "plant": ("fruit", "vegetable"),
    "thing": ("tool", "garment", "vehicle"),
}
SPLITS = {
    "train": (15, 10, 15),
    "validation": (4, 2, 4),
    "test": (5, 4, 5),
}  # nouns of each group
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "black", "white")
HOMES = ("attic", "cellar", "garden", "harbour", "kitchen", "market", "stable", "tower")
FAMILIES = {
    "lookup": ("plural", "partner", "colour", "home", "kind", "letter", "larger"),
    "order": ("next", "previous", "second next"),
    "position": ("first", "middle", "last"),
    "choice": ("animal", "plant", "earliest", "latest"),
}
TASKS = tuple(task for tasks in FAMILIES.values() for task in tasks)
OF_WORDS = FAMILIES["lookup"] + FAMILIES["order"]  # the others are about lists
KIND_OF = {word: kind for kind, words in KINDS.items() for word in words}
WORDS = tuple(sorted(KIND_OF))
GROUP = torch.tensor(
    [
        [KIND_OF[word] in kinds for kinds in GROUPS.values()].index(True)
        for word in WORDS
    ]
)


@cache
def vocabulary() -> Vocabulary:
    """Return the words: a noun's number is its place in WORDS plus 1, then all else
    that is an answer, then "Q A ;".
    """
    letters = sorted({word[0] for word in WORDS})
    return Vocabulary(
        [
            *WORDS,
            *(word + "s" for word in WORDS),
            *COLOURS,
            *HOMES,
            *KINDS,
            *letters,
            "yes",
            "no",
            *"QA;",
        ]
    )


@dataclass(frozen=True)
class Facts:
    """What is true in one world, and whose the nouns are; nouns are counted as in
    WORDS, the alphabet's order.

    `split` counts SPLITS; one noun has one place for all tasks.
    """

    partner: Int[Tensor, " nouns"]
    colour: Int[Tensor, " nouns"]
    home: Int[Tensor, " nouns"]
    size: Int[Tensor, " nouns"]
    split: Int[Tensor, " nouns"]

    @cached_property
    def table(self) -> Int[Tensor, "tasks nouns"]:
        """The answers, as tokens, of the tasks about words, in OF_WORDS' order."""
        columns = {
            "plural": [word + "s" for word in WORDS],
            "partner": [WORDS[i] for i in self.partner],
            "colour": [COLOURS[i] for i in self.colour],
            "home": [HOMES[i] for i in self.home],
            "kind": [KIND_OF[word] for word in WORDS],
            "letter": [word[0] for word in WORDS],
            "larger": [
                "yes" if larger else "no"
                for larger in self.size > self.size[self.partner]
            ],
            "next": [*WORDS[1:], *WORDS[:1]],
            "previous": [*WORDS[-1:], *WORDS[:-1]],
            "second next": [*WORDS[2:], *WORDS[:2]],
        }
        return torch.stack(
            [vocabulary().encode(" ".join(columns[task])) for task in OF_WORDS]
        )

    def answer(self, task: str, items: Int[Tensor, "*n width"]) -> Int[Tensor, "*n"]:
        """Return the token that answers each item, a noun or a list of nouns; PAD where
        the task has no answer.
        """
        check(task)
        if (items.shape[-1] == 1) != (task in OF_WORDS):
            return torch.full(items.shape[:-1], PAD)
        if task in OF_WORDS:
            return self.table[OF_WORDS.index(task)][items[..., 0]]
        if task in FAMILIES["position"]:
            return (
                items[
                    ..., {"first": 0, "middle": items.shape[-1] // 2, "last": -1}[task]
                ]
                + 1
            )
        if task in ("earliest", "latest"):
            return (items.amin(-1) if task == "earliest" else items.amax(-1)) + 1
        fits = GROUP[items] == list(GROUPS).index(task)
        chosen = items.gather(-1, fits.int().argmax(-1, keepdim=True))[..., 0] + 1
        return torch.where(fits.sum(-1) == 1, chosen, PAD)

    def consistent(
        self, items: Int[Tensor, "n pairs width"], answers: Int[Tensor, "n pairs"]
    ) -> Bool[Tensor, "n tasks"]:
        """Return which of TASKS have given all of these answers."""
        return torch.stack(
            [(self.answer(task, items) == answers).all(-1) for task in TASKS], -1
        )

    def predict(
        self,
        items: Int[Tensor, "n pairs width"],
        answers: Int[Tensor, "n shots"],
        prior: Float[Tensor, " tasks"] | None = None,
    ) -> Float[Tensor, "n vocabulary"]:
        """Return the chance of every token to answer the last item, given the answers
        to all items before it.

        It is the best that anybody can say who knows the facts and how frequent each of
        TASKS is, `prior` (evenly by default). A row that no task explains is NaN.
        """
        prior = torch.ones(len(TASKS)) if prior is None else prior
        query = torch.stack([self.answer(task, items[:, -1]) for task in TASKS], -1)
        weight = (
            prior.double() * self.consistent(items[:, :-1], answers) * (query != PAD)
        )
        chance = weight.new_zeros(len(items), len(vocabulary())).scatter_add_(
            1, query, weight
        )
        return chance / weight.sum(-1, keepdim=True)


def invent(seed: int) -> Facts:
    """Draw a world's facts, colours and homes as frequent as one another, and the split
    of its nouns.
    """
    count = len(WORDS)
    couples = rng(seed, "tasks", "partner").permutation(count).reshape(-1, 2)
    partner, split = np.empty(count, np.int64), np.empty(count, np.int64)
    partner[couples] = couples[:, ::-1]
    for group, sizes in enumerate(zip(*SPLITS.values(), strict=True)):
        nouns = rng(seed, "tasks", "split", group).permutation(
            (GROUP.numpy() == group).nonzero()[0]
        )
        split[nouns] = np.repeat(np.arange(len(SPLITS)), sizes)
    colour, home, size = (
        rng(seed, "tasks", name).permutation(count)
        for name in ("colour", "home", "size")
    )
    return Facts(
        *map(
            torch.from_numpy,
            (partner, colour % len(COLOURS), home % len(HOMES), size, split),
        )
    )


def check(task: str) -> None:
    """Refuse a task that there is not."""
    if task not in TASKS:
        raise ValueError(f"no task {task!r}; choose from {', '.join(TASKS)}")
