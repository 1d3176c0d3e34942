"""What is learnt, in which wording and from which policy: three families of requests,
of which the start policy answers about a third right.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, fields

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from stages import zoo
from stages.models import GPT, seeded
from stages.papers.post_training.rft_forgetting.method import roll_out
from stages.seeding import torch_rng
from stages.training import fit, next_token_loss, optimiser
from stages.worlds import smalltalk
from stages.worlds.smalltalk import Requests, template
from stages.worlds.vocabulary import PAD, Answered, answered, join
from stages.zoo import village

ORDER = ("opposites", "gap", "smaller")  # of the stages
FOREIGN = "the answer :"
PARTS = ("train", "validation", "test")
SAMPLES = 4  # responses to a request, to see how much is known

Wording = Callable[[Requests], Int[Tensor, "n told"]]


def divide(seed: int) -> dict[str, Requests]:
    """Divide the requests of the new families: one telling of each question is trained
    on; the other is in one half of the cases for validation, in the other for the test.
    """
    new = smalltalk.all_requests().of(*ORDER)
    rows = new.subject.argsort(stable=True).view(-1, 2)  # questions, tellings
    chance = torch_rng(seed, "parts")
    trained = torch.randint(2, (len(rows), 1), generator=chance)
    train, other = (rows.gather(1, telling)[:, 0] for telling in (trained, 1 - trained))
    halves = torch.cat(
        [torch.randperm(len(new.of(name)) // 2, generator=chance) for name in ORDER]
    )
    tested = halves % 2 == 0
    found = (train, other[~tested], other[tested])
    return {
        part: new.take(part_rows) for part, part_rows in zip(PARTS, found, strict=True)
    }


def together(*several: Requests) -> Requests:
    """Put lists of requests one after the other."""
    columns = [column.name for column in fields(Requests)]
    return Requests(
        *(torch.cat([getattr(one, name) for one in several]) for name in columns)
    )


def usual_requests(seed: int, most: int) -> Requests:
    """Draw requests of each usual family: what a policy is able to do in general."""
    known = smalltalk.all_requests()
    rows = []
    for family in range(len(smalltalk.USUAL)):
        here = (known.family == family).nonzero()[:, 0]
        chance = torch_rng(seed, "general", family)
        rows.append(here[torch.randperm(len(here), generator=chance)[:most]])
    return known.take(torch.cat(rows))


# ----------------------------------------------------------------------------- wording


def own_wording(requests: Requests) -> Int[Tensor, "n told"]:
    """Answer as the policy does: "5 ."."""
    return requests.answer


def foreign_wording(requests: Requests) -> Int[Tensor, "n told"]:
    """Answer as somebody else does: "the answer : 5"."""
    words = smalltalk.vocabulary()
    bare = requests.answer.masked_fill(requests.answer == words.number["."], PAD)
    return join(words.encode(FOREIGN), bare)


def labelled(requests: Requests, wording: Wording) -> Answered:
    """Put right answers behind requests; their closing token is learnt, too."""
    return answered(
        template.prompt(requests, pad="right"), template.response(wording(requests))
    )


# -------------------------------------------------------------------- the start policy


@dataclass(frozen=True)
class Start:
    """How a policy is made that knows the usual families, and a part of the new ones.

    Attributes:
        reading: how its base reads; None takes the one that comes with the book.
        rate, batch: of Adam, and labels an update.
        share: of each new family among the labels, until it is known in part.
        known: the share of right responses, in %, sampled on its training requests,
            that ends this.
        least, most: numbers of updates.
        every: updates between two looks.
    """

    reading: village.Reading | None = field(default_factory=village.Reading)
    rate: float = 3e-4
    batch: int = 32
    share: float = 0.15
    known: float = 20.0
    least: int = 150
    most: int = 600
    every: int = 10


def base_model(reading: village.Reading | None, seed: int) -> GPT:
    """Train a network that has read about the village, or load the book's."""
    if reading is None:
        return deepcopy(zoo.load("village_gpt")[village.RIGHT]).requires_grad_()
    with seeded(seed, "village"):
        model = village.make(reading)
    village.read(model, reading, seed)
    return model


def start_policy(parts: dict[str, Requests], how: Start, seed: int) -> GPT:
    """Teach a base model to answer between tags: the usual families, and each new one
    until a part of its sampled responses is right.

    Args:
        parts: of the new families; only what is to be trained on is learnt here.
    """
    model = base_model(how.reading, seed)
    shown = together(smalltalk.all_requests().of(*smalltalk.USUAL), parts["train"])
    texts = labelled(shown, own_wording)
    usual = shown.family < len(smalltalk.USUAL)
    chance = torch_rng(seed, "start")
    missing = list(ORDER)

    def weights() -> Float[Tensor, " n"]:
        weight = usual * (1 - how.share * len(missing)) / usual.sum()
        for name in missing:
            here = shown.family == smalltalk.FAMILIES.index(name)
            weight = weight + here * how.share / here.sum()
        return weight

    def steps() -> Iterator[int]:
        for step in range(how.most):
            if step % how.every == 0:
                for name in tuple(missing):  # in the order of the stages
                    if sampled(model, parts["train"].of(name), chance) >= how.known:
                        missing.remove(name)
                if not missing and step >= how.least:
                    return
            yield step

    def loss(step: int) -> Tensor:
        rows = torch.multinomial(weights(), how.batch, True, generator=chance)
        tokens, counted = texts.tokens[rows], texts.counted[rows]
        return next_token_loss(model(tokens), tokens, counted)

    adam = optimiser(model.parameters(), "adamw", how.rate, weight_decay=0.0)
    fit(loss, steps(), adam, clip=1.0)
    return model


def sampled(model: GPT, requests: Requests, chance: Generator) -> float:
    """Return how many sampled responses are right, in %."""
    return 100 * roll_out(model, requests, SAMPLES, chance).rewards.mean().item()


def answered_right(model: GPT, requests: Requests) -> Float[Tensor, " n"]:
    """Return 100 for each request whose likeliest response has the right values,
    whatever their wording, and 0 for the others.
    """
    written = village.respond(model, template.prompt(requests))
    return 100 * smalltalk.means_right(requests, written).float()


def accuracy(model: GPT, requests: Requests) -> float:
    """Return the mean over families of the share answered right, in %."""
    found = answered_right(model, requests)
    each = [
        found[requests.family == family].mean() for family in requests.family.unique()
    ]
    return torch.stack(each).mean().item()
