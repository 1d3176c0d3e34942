"""The model that reinforcement starts from: it has read text, and can think about
questions, but seldom thinks about a position of a text.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stages.models import GPT
from stages.papers.post_training.reinforcement_mid_training import prose
from stages.seeding import torch_rng
from stages.training import cosine
from stages.training.reading import Texts, read_texts
from stages.worlds.vocabulary import PAD, Answered, answered
from stages.zoo.recipe import Recipe

EMPTY = 0.5  # of the thoughts at positions
CUT = 0.25  # of those at computable ones: they stop early
CONFUSED = 0.4  # of the other positions: a number is answered


@dataclass(frozen=True)
class Start:
    """A network, and what it learns from before reinforcement.

    Attributes:
        width, depth, heads, length: of the network, and the most tokens it can take.
        pool: documents drawn of each sort.
        text, questions: shares of an update that are plain text, and questions with
            thoughts; the others are positions of a text with thoughts.
        updates, batch, rate, warmup: of AdamW under a cosine.
    """

    width: int = 64
    depth: int = 2
    heads: int = 4
    length: int = 64
    pool: int = 20_000
    text: float = 0.3
    questions: float = 0.3
    updates: int = 2400
    batch: int = 32
    rate: float = 4e-3
    warmup: int = 50


def make(settings: Start) -> GPT:
    """Make a network, from torch's own stream."""
    return GPT(
        len(prose.WORDS),
        settings.width,
        settings.depth,
        settings.heads,
        settings.length,
    )


def questions(n: int, seed: int, *stream: str | int) -> Answered:
    """Write questions, each with a whole thought and the right answer."""
    told = prose.draw(n, seed, "questions", *stream)
    thought = prose.thoughts(told, seed, "questions", *stream)
    return answered(*prose.think(told.question, thought, told.answer + 1))


def positions(n: int, seed: int, *stream: str | int) -> Answered:
    """Write positions of texts, each with a thought and an answer.

    At computable ones half of the thoughts are empty and the answer is any number; a
    quarter stop before the last step, with what came out so far; a quarter are whole.
    At others the thought goes as far as the text does, or is empty, and the answer is
    what the text says, but for four in ten: there it is what came out so far, as if a
    value had been asked for.
    """
    asked = prose.positions(n, seed, "positions", *stream)
    chance = torch_rng(seed, "start", *stream)
    computable = asked.kind == prose.KINDS.index("computable")
    lot = torch.rand(n, generator=chance)
    stop = (torch.rand(n, generator=chance) * asked.told.steps).long()
    anything = torch.randint(prose.MODULUS, (n,), generator=chance) + 1
    told = asked.place // prose.SENTENCE - 1  # steps before the position
    kept = torch.where(lot < EMPTY + CUT, stop, asked.told.steps)
    kept = torch.where(computable, kept, told.clamp(min=0))
    thought = prose.thoughts(asked.told, seed, "positions", *stream, kept=kept)
    reached = asked.told.values.gather(1, kept[:, None])[:, 0] + 1
    empty = (lot < EMPTY) | (told < 0)
    value = torch.where(empty, anything, reached)
    confused = computable | (torch.rand(n, generator=chance) < CONFUSED)
    answer = torch.where(confused, value, asked.target)
    thought = thought.masked_fill(empty[:, None], PAD)
    return answered(*prose.think(asked.prefix, thought, answer))


def learn(model: nn.Module, settings: Start, seed: int) -> list[float]:
    """Train a network in place on the three sorts of text; return the losses."""
    text = prose.documents(prose.draw(settings.pool, seed, "text"))
    sorts = (
        Answered(text, text != PAD),
        questions(settings.pool, seed),
        positions(settings.pool, seed),
    )
    first = round(settings.text * settings.batch)
    second = round(settings.questions * settings.batch)
    sizes = (first, second, settings.batch - first - second)
    chance = torch_rng(seed, "start", "batches")

    def draw(step: int) -> Texts:
        return together(
            [
                sort.take(torch.randint(len(sort), (size,), generator=chance))
                for sort, size in zip(sorts, sizes, strict=True)
            ]
        )

    schedule = cosine(settings.updates, settings.warmup)
    return read_texts(model, draw, settings.updates, settings.rate, schedule)


def together(texts: list[Answered]) -> Texts:
    """Put texts of several lengths into one batch."""
    width = max(part.tokens.shape[1] for part in texts)

    def wide(rows: Tensor) -> Tensor:
        return nn.functional.pad(rows, (0, width - rows.shape[1]))

    return (
        torch.cat([wide(part.tokens) for part in texts]),
        torch.cat([wide(part.counted) for part in texts]),
    )


# --------------------------------------------------------------------------- the recipe


def measure(model: nn.Module, settings: Start, seed: int) -> dict[str, float]:
    """Measure in % how many questions the model answers, and how many tokens of text at
    computable positions, with its likeliest thoughts.
    """
    told = prose.draw(500, seed, "zoo")
    asked = prose.positions(500, seed, "zoo", kind="computable")
    problems = {
        "questions": (told.question, told.answer + 1),
        "computable positions": (asked.prefix, asked.target),
    }
    found = {}
    for name, (prompts, answer) in problems.items():
        prompts, _ = prose.think(prompts, prompts[:, :0], answer)
        written = model.generate(prompts, 34, stop=[prose.END], mask=prompts != PAD)
        right = prose.read(written).answer == answer
        found[name] = 100 * right.float().mean().item()
    return found


RECIPE = Recipe(
    "reason_gpt",
    "a small language model that has read stories of sums, and thinks about questions",
    "20,000 stories of one to three operations modulo 7, as many questions with"
    " thoughts, and as many positions of texts with thoughts that are mostly bad",
    Start(),
    make,
    learn,
    measure,
)
