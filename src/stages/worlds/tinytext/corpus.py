"""Documents in the small language, all of a corpus drawn at once."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from stages.seeding import rng
from stages.worlds.tinytext.grammar import Grammar, grammar
from stages.worlds.tinytext.lexicon import (
    ADJECTIVES,
    ADVERBS,
    FACTS,
    NAMES,
    PROSE,
    RELATIONS,
    TOPICS,
    VERBS,
    numbers,
    vocabulary,
    words,
)
from stages.worlds.vocabulary import PAD

SENTENCES = 6  # of a document
TELLS_FACT = 0.4  # the share of sentences that tell a fact
SLOTS = (
    *("SUBJECT", "VERB", "OBJECT", "ADJECTIVE", "ADVERB", "REPLY"),
    *("PLACE", "NAME", "SHE", "TASK", "HOME", "JOB", "COLOUR", "PET"),
)
SHORTEST = 4  # tokens of a sentence


def corpus(
    tokens: int,
    seed: int,
    stream: Sequence[str | int] = ("train",),
    entities: Sequence[int] | None = None,
) -> Int[Tensor, " tokens"]:
    """Write documents one after the other, until there are so many tokens.

    A document has six sentences on one topic and one entity: prose about the nouns of
    the topic, and facts about the entity, which is named in the first sentence and is
    "she" or "he" now and then after that.

    Args:
        tokens: how many; the last document is cut.
        seed, stream: another seed, or another stream of names, draws other documents.
        entities: whom the documents are about, by place; all by default.

    Raises:
        ValueError: fewer tokens than one, or an entity that there is not.
    """
    everyone = range(len(words(NAMES)))
    whom = np.array(everyone if entities is None else entities)
    if tokens < 1 or not len(whom) or not set(whom.tolist()) <= set(everyone):
        raise ValueError(
            f"{tokens} tokens about {len(whom)} entities; ask for 1 or more tokens,"
            f" about entities from 0 to {len(everyone) - 1}"
        )
    documents = tokens // (SHORTEST * SENTENCES) + 1
    chance = rng(seed, "tinytext", *stream)
    topic = chance.integers(len(TOPICS), size=documents).repeat(SENTENCES)
    entity = whom[chance.integers(len(whom), size=documents)].repeat(SENTENCES)
    slots = fill_slots(grammar(), topic, entity, chance)
    rows = forms()[choose_forms(documents, chance)]
    inserted = np.take_along_axis(slots, (-rows - 1).clip(min=0), 1)
    filled = np.where(rows < 0, inserted, rows)
    return torch.from_numpy(filled[filled != PAD][:tokens])


@cache
def forms() -> Int[np.ndarray, "forms length"]:
    """Return the sentences, prose and then facts, as rows of tokens, padded; -1 stands
    for the first of `SLOTS`, -2 for the second, and so on.
    """
    texts = [*PROSE, *(text for texts in FACTS.values() for text in texts)]
    code = vocabulary().number | {slot: -1 - i for i, slot in enumerate(SLOTS)}
    length = max(len(words(text)) for text in texts)
    table = np.full((len(texts), length), PAD)
    for row, text in zip(table, texts, strict=True):
        row[: len(words(text))] = [code[word] for word in words(text)]
    return table


def choose_forms(
    documents: int, chance: np.random.Generator
) -> Int[np.ndarray, " sentences"]:
    """Choose a form for each sentence; a document's first one names the entity."""
    tables = forms()
    name = -1 - SLOTS.index("NAME")
    names = np.flatnonzero((tables == name).any(1))
    fact = chance.random((documents, SENTENCES)) < TELLS_FACT
    prose = chance.integers(len(PROSE), size=fact.shape)
    told = chance.integers(len(PROSE), len(tables), size=fact.shape)
    chosen = np.where(fact, told, prose)
    chosen[:, 0] = names[chance.integers(len(names), size=documents)]
    return chosen.ravel()


def fill_slots(
    laws: Grammar,
    topic: Int[np.ndarray, " sentences"],
    entity: Int[np.ndarray, " sentences"],
    chance: np.random.Generator,
) -> Int[np.ndarray, "sentences slots"]:
    """Draw, for each sentence, the token of every slot, whether its form has it or
    not.
    """

    def draw(law: Float[np.ndarray, "sentences options"]) -> np.ndarray:
        passed = law.cumsum(1) < chance.random((len(law), 1))
        return passed.sum(1).clip(max=law.shape[1] - 1)

    own = laws.noun.shape[1]
    subject = topic * own + draw(laws.noun[topic])
    verb = draw(laws.verb[subject])
    thing = topic * own + draw(laws.object[topic, verb])
    # nothing is done to itself: the topic's next noun takes its place
    thing = np.where(thing == subject, topic * own + (thing + 1) % own, thing)
    job = laws.facts[entity, list(RELATIONS).index("job")]
    homes = len(words(RELATIONS["home"]))
    nouns = np.array(numbers(" ".join(TOPICS.values())))
    verbs = np.array(numbers(VERBS))
    values = [np.array(numbers(text)) for text in RELATIONS.values()]
    columns = {
        "SUBJECT": nouns[subject],
        "VERB": verbs[verb],
        "OBJECT": nouns[thing],
        "ADJECTIVE": np.array(numbers(ADJECTIVES))[draw(laws.adjective[subject])],
        "ADVERB": np.array(numbers(ADVERBS))[draw(laws.adverb[verb])],
        "REPLY": verbs[draw(laws.verb[thing])],
        "PLACE": values[0][chance.integers(homes, size=len(topic))],
        "NAME": np.array(numbers(NAMES))[entity],
        "SHE": np.array(numbers("she he"))[entity % 2],
        "TASK": verbs[draw(laws.task[job])],
    }
    for place, relation in enumerate(RELATIONS):
        columns[relation.upper()] = values[place][laws.facts[entity, place]]
    return np.stack([columns[slot] for slot in SLOTS], 1)


def windows(
    text: Int[Tensor, " tokens"], n: int, length: int, seed: int, *names: str | int
) -> Int[Tensor, "n length"]:
    """Cut n windows out of a text, each at a random place.

    Raises:
        ValueError: the text is shorter than a window.
    """
    if len(text) < length:
        raise ValueError(f"a window of {length} tokens; the text has {len(text)}")
    starts = rng(seed, "windows", *names).integers(len(text) - length + 1, size=n)
    return text[torch.from_numpy(starts)[:, None] + torch.arange(length)]
