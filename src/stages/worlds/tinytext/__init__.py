"""A small language with a grammar, topics, entities and facts, for models to learn.

Nouns come in topics and follow Zipf's law, each prefers some verbs and adjectives, and
each verb some objects; 48 entities have a home, a job, a colour and a pet. `lexicon`
has the words and the sentences, `grammar` the laws and the facts, `corpus` writes.
"""

from stages.worlds.tinytext.corpus import corpus, windows
from stages.worlds.tinytext.grammar import Grammar, grammar
from stages.worlds.tinytext.lexicon import NAMES, RELATIONS, TOPICS, vocabulary

__all__ = [
    "NAMES",
    "RELATIONS",
    "TOPICS",
    "Grammar",
    "corpus",
    "grammar",
    "vocabulary",
    "windows",
]
