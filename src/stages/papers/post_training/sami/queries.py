"""What is asked: notes for a principle and for its antithesis, about two things."""

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from stages.models import GPT
from stages.papers.post_training.sami.method import Prompts, Responses
from stages.seeding import rng
from stages.worlds import smalltalk
from stages.worlds.smalltalk import notes
from stages.zoo.notes import write

LINKED = ("manners", "mood")
UNLINKED, WRONG = ("style",), ("pace",)
TRAINED = (*LINKED, *UNLINKED, *WRONG)
HELD_OUT = ("voice",)
POLES = 2  # constitutions of a query: a principle, and its antithesis
TEMPERATURE = 0.5  # at which the responses to learn from are drawn


def places(names: tuple[str, ...]) -> Int[Tensor, " names"]:
    """Return the places of principles among all."""
    return torch.tensor([notes.NAMES.index(name) for name in names])


def asked(
    principle: Int[Tensor, " n"],
    things: Int[Tensor, "n 2"],
    verb: Int[Tensor, "n poles"],
) -> Prompts:
    """Write each query under both poles of its principle, each in its own words."""
    columns = [
        notes.prompts(
            principle, torch.full_like(principle, pole), verb[:, pole], things
        )
        for pole in range(POLES)
    ]
    return torch.stack(columns, 1)


def ask(seed: int, iteration: int, n: int) -> Prompts:
    """Draw queries about trained principles. Iterations take turns with two parts of
    the pairs of things, so that no model writes about what it has learnt from.
    """
    chance = rng(seed, "sami", "queries", iteration)
    pairs = notes.divided(seed)[notes.SPLITS[iteration % 2]]
    principle = places(TRAINED)[chance.integers(len(TRAINED), size=n)]
    things = pairs[chance.integers(len(pairs), size=n)]
    verb = torch.from_numpy(chance.integers(len(notes.VERBS), size=(n, POLES)))
    return asked(principle, things, verb)


def all_notes(things: Int[Tensor, "pairs 2"]) -> Prompts:
    """List all notes about all principles for pairs of things, principle by
    principle.
    """
    count = len(things)
    principle = torch.arange(len(notes.NAMES)).repeat_interleave(len(notes.VERBS))
    verb = torch.arange(len(notes.VERBS)).repeat(len(notes.NAMES))
    return asked(
        principle.repeat_interleave(count),
        things.repeat(len(principle), 1),
        verb.repeat_interleave(count)[:, None].expand(-1, POLES),
    )


def things_of(prompts: Prompts) -> Int[Tensor, "queries 2"]:
    """Return what queries are about, as places in THINGS."""
    template = notes.NOTE.split()
    here = prompts[:, 0, [template.index("FIRST"), template.index("SECOND")]]
    return here - notes.vocabulary().number[notes.THINGS[0]]


def principles_of(prompts: Prompts) -> Int[Tensor, " queries"]:
    """Return what the notes of queries are about, as places in `notes.NAMES`."""
    named = prompts[:, 0, notes.NOTE.split().index("POLE")]
    first = notes.numbers(tuple(each.poles[0] for each in notes.PRINCIPLES.values()))
    return (named[:, None] == first).int().argmax(1)


def written(
    model: GPT, prompts: Prompts, chance: Generator, temperature: float
) -> Responses:
    """Draw a response under each constitution."""
    flat = write(model, prompts.flatten(0, 1), chance, temperature)
    return rearrange(flat, "(n k) t -> n k t", k=prompts.shape[1])


def respond(
    model: GPT, prompts: Prompts, chance: Generator
) -> tuple[Responses, Bool[Tensor, " queries"]]:
    """Draw responses, cut before their closing token. Queries are kept if all responses
    have exactly the form, and differ.
    """
    drawn = written(model, prompts, chance, TEMPERATURE)
    things = things_of(prompts)
    formed = [notes.well_formed(each, things) for each in drawn.unbind(1)]
    differ = (drawn[:, 0] != drawn[:, 1]).any(1)
    return cut(drawn), torch.stack(formed).all(0) & differ


def cut(responses: Responses) -> Responses:
    """Blank the closing tokens of responses, and what comes after."""
    return smalltalk.until_end(responses.flatten(0, 1)).view_as(responses)


def heeded(
    prompts: Prompts, responses: Responses
) -> Float[Tensor, "queries constitutions"]:
    """Return 1 for a response that shows the pole of its note, 0 for one that shows the
    other, 1/2 for one that has not the form. Responses are as drawn, not cut.
    """
    things = things_of(prompts)
    principle = principles_of(prompts)
    columns = [
        notes.heeds(each, things, principle, torch.full_like(principle, pole))
        for pole, each in enumerate(responses.unbind(1))
    ]
    return torch.stack(columns, 1)
