"""A village small enough to know all of it, for language models to talk about.

Twelve people have a home, a job and a boss; things are of three kinds, and qualities
have opposites. `lexicon` has the words, `requests` all that can be asked, with checkers
of what is answered, `chat` text in which requests are answered or not, `template` the
form in which an assistant is asked.
"""

from stages.worlds.smalltalk.chat import FORMS, Mixture, chat
from stages.worlds.smalltalk.lexicon import vocabulary
from stages.worlds.smalltalk.requests import (
    FAMILIES,
    USUAL,
    Requests,
    all_requests,
    follows,
    means_right,
    rows_of,
    until_end,
    values_of,
)

__all__ = [
    "FAMILIES",
    "FORMS",
    "USUAL",
    "Mixture",
    "Requests",
    "all_requests",
    "chat",
    "follows",
    "means_right",
    "rows_of",
    "until_end",
    "values_of",
    "vocabulary",
]
