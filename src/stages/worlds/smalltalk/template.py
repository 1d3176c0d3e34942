"""The form in which a request is put to an assistant, and others that text has."""

from jaxtyping import Int
from torch import Tensor

from stages.worlds.smalltalk.lexicon import vocabulary
from stages.worlds.smalltalk.requests import Requests
from stages.worlds.vocabulary import join

USER, ASSISTANT, END = "<user>", "<assistant>", "<end>"


def prompt(
    requests: Requests, before: str = USER, between: str = ASSISTANT, pad: str = "left"
) -> Int[Tensor, "n length"]:
    """Return "<user> what is 3 plus 4 ? <assistant>" for each request, as tokens.

    Args:
        before, between: what stands before and after the request; by default the tags
            of a chat.
        pad: where the pads go; left, where something is to be written on.
    """
    words = vocabulary()
    return join(words.encode(before), requests.request, words.encode(between), pad=pad)


def empty_prompt() -> Int[Tensor, " 2"]:
    """Return the prompt without a request: "<user> <assistant>"."""
    return vocabulary().encode(f"{USER} {ASSISTANT}")


def response(answers: Int[Tensor, "n told"]) -> Int[Tensor, "n length"]:
    """Close answers with "<end>"."""
    return join(answers, vocabulary().encode(END))
