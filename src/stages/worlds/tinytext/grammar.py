"""The laws of the small language: which word is how likely where, and what is true.

There is one grammar for the whole book, drawn once from a seed of its own; a corpus is
a sample from it.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, Int

from stages.seeding import rng
from stages.worlds.tinytext.lexicon import (
    ADJECTIVES,
    ADVERBS,
    NAMES,
    RELATIONS,
    TOPICS,
    VERBS,
    words,
)

PREFERRED = 3  # verbs and adjectives of a noun
SHARES = (0.5, 0.25, 0.15)  # of the preferred; the rest is spread evenly over all
LIKING = 8.0  # how much likelier a verb makes the objects it prefers


@dataclass(frozen=True)
class Grammar:
    """Probabilities by row, each row of which sums to 1, and the facts.

    Nouns are counted topic after topic, and a topic has as many as any other.

    Attributes:
        noun: how often a topic names each of its own nouns, by rank (Zipf's law).
        verb, adjective: of each noun, what it does and what it is like.
        object: of each verb in each topic, to which of its nouns it is done.
        adverb: of each verb.
        task: of each job, the verbs.
        facts: of each entity and relation, the value's place in `RELATIONS`.
        held_out: whether an entity is kept back by those who test on new ones.
    """

    noun: Float[np.ndarray, "topics own"]
    verb: Float[np.ndarray, "nouns verbs"]
    adjective: Float[np.ndarray, "nouns adjectives"]
    object: Float[np.ndarray, "topics verbs own"]
    adverb: Float[np.ndarray, "verbs adverbs"]
    task: Float[np.ndarray, "jobs verbs"]
    facts: Int[np.ndarray, "entities relations"]
    held_out: Bool[np.ndarray, " entities"]


@cache
def grammar(seed: int = 0) -> Grammar:
    """Draw a grammar; the book's own has seed 0."""
    topics = len(TOPICS)
    own = len(words(TOPICS["kitchen"]))
    verbs = len(words(VERBS))
    entities = len(words(NAMES))
    values = [len(words(text)) for text in RELATIONS.values()]
    noun = np.stack(
        [zipf(rng(seed, "tinytext", "nouns", topic), own) for topic in range(topics)]
    )
    liked = rng(seed, "tinytext", "objects").random((topics, verbs, own)).argsort(-1)
    weighted = noun[:, None] * np.where(liked < PREFERRED, LIKING, 1.0)
    facts = [
        rng(seed, "tinytext", relation).integers(count, size=entities)
        for relation, count in zip(RELATIONS, values, strict=True)
    ]
    return Grammar(
        noun=noun,
        verb=preferences(rng(seed, "tinytext", "verbs"), topics * own, verbs),
        adjective=preferences(
            rng(seed, "tinytext", "adjectives"), topics * own, len(words(ADJECTIVES))
        ),
        object=weighted / weighted.sum(-1, keepdims=True),
        adverb=preferences(
            rng(seed, "tinytext", "adverbs"), verbs, len(words(ADVERBS))
        ),
        task=preferences(rng(seed, "tinytext", "tasks"), values[1], verbs),
        facts=np.stack(facts, 1),
        held_out=rng(seed, "tinytext", "held out").permutation(entities) % 4 == 0,
    )


def zipf(chance: np.random.Generator, count: int) -> Float[np.ndarray, " count"]:
    """Return probabilities in proportion to 1 / rank, the ranks in random order."""
    weight = 1 / (1.0 + chance.permutation(count))
    return weight / weight.sum()


def preferences(
    chance: np.random.Generator, rows: int, columns: int
) -> Float[np.ndarray, "rows columns"]:
    """Draw rows of probabilities, each with a few columns that it prefers."""
    law = np.full((rows, columns), (1 - sum(SHARES)) / columns)
    best = chance.random((rows, columns)).argsort(1)[:, :PREFERRED]
    for place, share in enumerate(SHARES):
        law[np.arange(rows), best[:, place]] += share
    return law
