"""A small language model that has read notes and reports (`stages.worlds.smalltalk.
notes`), and heeds a note as often as what it read did.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Generator, Tensor, nn

from stages.models import GPT
from stages.seeding import rng, torch_rng
from stages.training import cosine
from stages.training.reading import Texts, read_texts
from stages.worlds.smalltalk import notes
from stages.zoo.recipe import Recipe

NEW = len(notes.REPORT.split()) + 1  # tokens of a report that ends
DRAWS = 2000  # reports that are measured


@dataclass(frozen=True)
class Reading:
    """A network, and how it reads.

    Attributes:
        width, depth, heads: of the network.
        updates, batch: of how many documents each; all of them are new.
        rate, warmup: of AdamW under a cosine.
    """

    width: int = 64
    depth: int = 2
    heads: int = 4
    updates: int = 1100
    batch: int = 64
    rate: float = 4e-3
    warmup: int = 50


def build(settings: Reading) -> GPT:
    """Make a network, from torch's own stream."""
    return GPT(
        len(notes.vocabulary()),
        settings.width,
        settings.depth,
        settings.heads,
        notes.LENGTH,
    )


def read(model: nn.Module, settings: Reading, seed: int) -> list[float]:
    """Train a network in place to predict the next token; return the losses."""
    chance = rng(seed, "notes", "documents")

    def draw(step: int) -> Texts:
        return notes.documents(settings.batch, chance), None

    schedule = cosine(settings.updates, settings.warmup)
    return read_texts(model, draw, settings.updates, settings.rate, schedule)


def write(
    model: GPT,
    prompts: Int[Tensor, "n 6"],
    chance: Generator,
    temperature: float = 1.0,
) -> Int[Tensor, "n length"]:
    """Draw a report for each prompt; a row that ends repeats "<end>"."""
    end = notes.vocabulary().number["<end>"]
    asked = prompts.to(model.positions.device)
    how = {"stop": [end], "temperature": temperature, "generator": chance}
    return model.generate(asked, NEW, **how).to(prompts.device)


def measure(model: GPT, settings: Reading, seed: int) -> dict[str, float]:
    """Measure how often, in %, drawn reports heed a note, by principle, and have
    exactly the form.
    """
    chance = rng(seed, "notes", "measured")
    count = len(notes.NAMES)
    principle = torch.from_numpy(chance.integers(count, size=DRAWS))
    pole = torch.from_numpy(chance.integers(2, size=DRAWS))
    verb = torch.from_numpy(chance.integers(len(notes.VERBS), size=DRAWS))
    pairs = notes.all_pairs()
    things = pairs[chance.integers(len(pairs), size=DRAWS)]
    asked = notes.prompts(principle, pole, verb, things)
    written = write(model, asked, torch_rng(seed, "notes", "written"))
    heeded = 100 * notes.heeds(written, things, principle, pole)
    found = {
        f"heeded: {name}": heeded[principle == place].mean().item()
        for place, name in enumerate(notes.NAMES)
    }
    exact = notes.well_formed(written, things).float().mean()
    return found | {"exact form": 100 * exact.item()}


RECIPE = Recipe(
    "notes_gpt",
    "a small language model that heeds notes as weakly as what it read",
    "notes that name one way of doing one of five things, and reports that do all five",
    Reading(),
    build,
    read,
    measure,
)
