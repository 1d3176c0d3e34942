"""Few-shot tasks on one small vocabulary: every task an exact mapping, and many of them
on the same inputs.

Sixty-four nouns have facts: some are everybody's (a plural, a kind, a first letter, a
place in the alphabet), some are a world's own, drawn by its seed (a colour, a home, a
partner, a size). A task asks for one of them, or picks a word out of a list. Nothing
says what is asked but the demonstrations, "Q crow A red ; Q pear A green ; Q moth A",
since all tasks about words have the same inputs, and so have all tasks about lists: an
animal, a fruit or vegetable, and things, in any order. Hence the chance of every
answer, given the demonstrations, is known. Such are the tasks of "Soft Injection of
Task Embeddings" (Park and Rhee 2025) and of function vectors; answers are one token
each.
"""

from stages.worlds.tasks.facts import (
    FAMILIES,
    OF_WORDS,
    SPLITS,
    TASKS,
    WORDS,
    Facts,
    invent,
    vocabulary,
)
from stages.worlds.tasks.prompts import Documents, Prompts, documents, prompts

__all__ = [
    "FAMILIES",
    "OF_WORDS",
    "SPLITS",
    "TASKS",
    "WORDS",
    "Documents",
    "Facts",
    "Prompts",
    "documents",
    "invent",
    "prompts",
    "vocabulary",
]
