"""What the arms of a seed share: base models, requests, and how each arm is made."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Generator, nn

from stages import zoo
from stages.models import GPT, seeded
from stages.papers.post_training.implicit_instruction import method
from stages.papers.post_training.implicit_instruction.method import Rules, Training
from stages.seeding import torch_rng
from stages.training import pick_device
from stages.worlds.smalltalk import FAMILIES, USUAL, Requests, all_requests
from stages.worlds.vocabulary import Answered
from stages.zoo import village
from stages.zoo.village import RIGHT, SCRAMBLED, Reading

RANDOM = "random"  # a network that has read nothing
TUNED = ("home", "kind", "opposite", "larger", "sum")  # the families that are tuned on


@dataclass(frozen=True)
class Settings:
    """What a profile fixes.

    Attributes:
        reading: how the base models of a seed are trained; None takes the zoo's.
        pairs: requests and responses that an arm is tuned on.
        asked: test requests a family, or fewer where there are not so many.
        most: updates that an arm may take.
        only: arms that are run; all where it is empty.
    """

    reading: Reading | None = field(default_factory=Reading)
    pairs: int = 256
    asked: int = 20
    most: int = 1000
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Arm:
    """How one arm is made.

    Attributes:
        base: the model that it starts from.
        texts: makes what is learnt from pairs; None: nothing is.
        families: whose pairs.
        how: training.
        rules: by which the model's distribution is multiplied.
    """

    base: str = RIGHT
    texts: Callable[[Requests], Answered] | None = None
    families: tuple[str, ...] = TUNED
    how: Training | None = None
    rules: Rules | None = None


@dataclass(frozen=True)
class Lab:
    """What all arms of a seed share.

    Attributes:
        bases: three models, of which one has read right answers, one scrambled ones,
            one nothing.
        train, test: requests of the eight usual families; no subject is in both.
    """

    bases: nn.ModuleDict
    train: Requests
    test: Requests
    settings: Settings
    seed: int

    def make(self, arm: Arm) -> GPT:
        """Make an arm's model; arms with the same families learn the same pairs, in the
        same order.
        """
        base = self.bases[arm.base]
        if arm.texts is None:
            return base
        chance = torch_rng(self.seed, "implicit instruction", "pairs", *arm.families)
        pairs = drawn(self.train.of(*arm.families), self.settings.pairs, chance)
        how = replace(arm.how, updates=min(arm.how.updates, self.settings.most))
        order = torch_rng(self.seed, "implicit instruction", "order")
        return method.tune(base, arm.texts(pairs), how, order)


def make_lab(settings: Settings, seed: int) -> Lab:
    """Train the base models of a seed, or take the zoo's, and divide the requests."""
    if settings.reading is None:
        models = zoo.load("village_gpt")
    else:
        with seeded(seed, "village"):
            models = village.build(settings.reading)
        models.to(pick_device())
        village.train(models, settings.reading, seed)
    with seeded(seed, "implicit instruction", RANDOM):
        unread = village.make(settings.reading or Reading())
    bases = nn.ModuleDict({name: models[name] for name in (RIGHT, SCRAMBLED)})
    bases[RANDOM] = unread
    bases = bases.to("cpu").eval().requires_grad_(False)
    return Lab(bases, *divided(settings.asked, seed), settings, seed)


def divided(asked: int, seed: int) -> tuple[Requests, Requests]:
    """Divide the subjects of each usual family into halves; return all requests of the
    first halves, to tune on, and up to `asked` a family of the others, to test.
    """
    known = all_requests()
    train, test = [], []
    for name in USUAL:
        chance = torch_rng(seed, "implicit instruction", "subjects", name)
        rows = (known.family == FAMILIES.index(name)).nonzero()[:, 0]
        subjects = known.subject[rows].unique()
        order = torch.randperm(len(subjects), generator=chance)
        kept = torch.isin(known.subject[rows], subjects[order[: len(order) // 2]])
        held = rows[~kept]
        train.append(rows[kept])
        test.append(held[torch.randperm(len(held), generator=chance)[:asked]])
    return known.take(torch.cat(train)), known.take(torch.cat(test))


def drawn(requests: Requests, n: int, chance: Generator) -> Requests:
    """Draw requests with replacement, each family as often as any other."""
    weight = 1 / torch.bincount(requests.family)[requests.family]
    return requests.take(torch.multinomial(weight, n, True, generator=chance))
