"""Solutions that a generator writes, how they are graded, and where their steps end."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor
from torch.nn import functional as F

from stages.models import GPT, Cache
from stages.papers.post_training.common.responses import until
from stages.training.answers import token_log_probs
from stages.worlds import chain_prose, chains
from stages.worlds.chain_prose import Checked
from stages.worlds.chains import Chains
from stages.worlds.vocabulary import PAD, Answered, answered

WORDS = chain_prose.vocabulary()
CLOSE, ANSWER, END = WORDS.encode("> <answer> <end>").tolist()
OPERATIONS = 3  # of every problem that is asked
NEW = 7 * OPERATIONS + 3  # tokens of a whole solution; a longer one is cut
ROWS = 512  # that are written or read at a time


@dataclass(frozen=True)
class Solutions:
    """Solutions to problems, those to one prompt side by side, as tokens with the
    prompts in front and pads on the right.

    Attributes:
        counted: True at the tokens of solutions.
        ends: where each step's last token stands, -1 for a step that is not there. The
            answer is the last step.
        right: whether the answer is.
        answer: the number given; -1 where there is none.
        reference: log π_ref of the tokens of solutions, 0 elsewhere.
        labels: of the steps, 1 for good; as long as nobody labels steps, the answer's.
        samples: solutions to a prompt.
    """

    tokens: Int[Tensor, "n length"]
    counted: Bool[Tensor, "n length"]
    ends: Int[Tensor, "n most"]
    right: Bool[Tensor, " n"]
    answer: Int[Tensor, " n"]
    reference: Float[Tensor, "n length"]
    labels: Float[Tensor, "n most"]
    samples: int

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def prompts(self) -> int:
        """How many prompts there are."""
        return len(self) // self.samples

    def take(self, rows: Int[Tensor, " m"] | slice) -> "Solutions":
        """Return some rows."""
        parts = (getattr(self, field.name) for field in fields(self)[:-1])
        return Solutions(*(part[rows] for part in parts), self.samples)

    def of(self, prompts: Int[Tensor, " m"]) -> "Solutions":
        """Return all solutions to some prompts."""
        rows = prompts[:, None] * self.samples + torch.arange(self.samples)
        return self.take(rows.flatten())

    def split(self, rows: int) -> Iterator["Solutions"]:
        """Cut into parts of so many rows."""
        for start in range(0, len(self), rows):
            yield self.take(slice(start, start + rows))

    def mixed(self) -> Int[Tensor, " m"]:
        """Return the prompts that have right and wrong solutions."""
        right = self.right.view(-1, self.samples)
        return (right.any(1) & ~right.all(1)).nonzero()[:, 0]


def draw(n: int, seed: int, *stream: str | int) -> Chains:
    """Draw problems of three operations; as all prompts are equally long, none has
    pads.
    """
    return chain_prose.sample(n, seed, OPERATIONS, ("implicit prm", *stream))


def write(
    generator: GPT,
    prefixes: Int[Tensor, "n asked"],
    new: int,
    temperature: float,
    chance: Generator,
    times: int = 1,
) -> Int[Tensor, "rows new"]:
    """Let a generator go on from prefixes of one length, `times` from each, up to
    "<end>"; pads follow.
    """
    parts = []
    for part in prefixes.split(max(1, ROWS // times)):
        with torch.no_grad():  # what all of them begin with is read once
            _, cache = generator.extend(part[:, :-1])
        made = generator.generate(
            part[:, -1:].repeat_interleave(times, 0),
            new,
            stop=[END],
            temperature=temperature,
            generator=chance,
            cache=repeated(cache, times),
        )
        made = until(made, END)
        parts.append(F.pad(made, (0, new - made.shape[1])))
    return torch.cat(parts)


def repeated(cache: Cache, times: int) -> Cache:
    """Repeat what was read, row by row."""
    blocks = tuple(
        tuple(part.repeat_interleave(times, 0) for part in block)
        for block in cache.blocks
    )
    return Cache(blocks)


def solve(
    generator: GPT,
    problems: Chains,
    samples: int,
    temperature: float,
    chance: Generator,
) -> Solutions:
    """Let a generator solve each problem a few times, and grade the answers."""
    made = write(generator, problems.question, NEW, temperature, chance, samples)
    prompts = problems.question.repeat_interleave(samples, 0)
    return graded(generator, prompts, made, problems.answer, samples)


@torch.no_grad()
def graded(
    generator: GPT,
    prompts: Int[Tensor, "n asked"],
    made: Int[Tensor, "n new"],
    answers: Int[Tensor, " prompts"],
    samples: int,
) -> Solutions:
    """Put solutions behind their prompts, find their steps and grade their answers."""
    text = answered(prompts, made)
    answer = chains.read(made, chain_prose.WORLD["modulus"], plain=True)
    reference = torch.cat(
        [
            token_log_probs(generator, *part)
            for part in zip(
                text.tokens.split(ROWS), text.counted.split(ROWS), strict=True
            )
        ]
    )
    ends = step_ends(text)
    right = answer == answers.repeat_interleave(samples)
    labels = right[:, None].float().expand_as(ends)
    return Solutions(
        text.tokens, text.counted, ends, right, answer, reference, labels, samples
    )


def step_ends(text: Answered) -> Int[Tensor, "n most"]:
    """Find where steps end: at each ">", and at the last token."""
    place = torch.arange(text.tokens.shape[1]).expand_as(text.tokens)
    last = place.where(text.counted, -1).amax(1, keepdim=True)
    closes = (text.counted & (text.tokens == CLOSE)) | (place == last)
    count = closes.sum(1, keepdim=True)
    order = place.where(closes, len(place[0])).sort(1).values[:, : int(count.max())]
    return order.where(torch.arange(order.shape[1]) < count, -1)


def checked(solutions: Solutions, problems: Chains) -> Checked:
    """Judge every step of solutions against the problem's own."""
    asked = problems.question.shape[1]
    each = {
        name: part.repeat_interleave(solutions.samples, 0)
        for name, part in vars(problems).items()
        if isinstance(part, Tensor)
    }
    return chain_prose.check(replace(problems, **each), solutions.tokens[:, asked:])


def first_wrong(solutions: Solutions, problems: Chains) -> Int[Tensor, " n"]:
    """Return the first wrong step; the number of steps where all are right."""
    steps = (solutions.ends >= 0).sum(1)
    wrong = checked(solutions, problems).first_wrong
    return torch.where(wrong < 0, steps, wrong.minimum(steps - 1))


# ------------------------------------------------------------------------- completions


@dataclass(frozen=True)
class Completions:
    """What a generator makes of parts of solutions.

    Attributes:
        success: share of the completions that end in the right answer, by step; at the
            last, whether the solution itself does. 0 for a step that is not there.
        cost: tokens written for each step.
    """

    success: Float[Tensor, "n most"]
    cost: Int[Tensor, "n most"]


def complete(
    generator: GPT,
    solutions: Solutions,
    answers: Int[Tensor, " prompts"],
    times: int,
    temperature: float,
    chance: Generator,
) -> Completions:
    """Complete solutions several times after each step but the last. Solutions that
    have been alike so far share their completions, which count once.
    """
    ends = solutions.ends
    steps = (ends >= 0).sum(1)
    inner = torch.arange(ends.shape[1]) < steps[:, None] - 1
    last = torch.arange(ends.shape[1]) == steps[:, None] - 1
    success = solutions.right[:, None].float() * last
    cost = torch.zeros_like(ends)
    goal = answers.repeat_interleave(solutions.samples)
    total = solutions.counted[0].int().argmax().item() + NEW
    for end in ends[inner].unique().tolist():
        row, step = ((ends == end) & inner).nonzero().T
        prefixes, group = solutions.tokens[row, : end + 1].unique(
            dim=0, return_inverse=True
        )
        first = torch.full((len(prefixes),), len(row))
        first.scatter_reduce_(0, group, torch.arange(len(row)), "amin")
        new = total - end - 1
        made = write(generator, prefixes, new, temperature, chance, times)
        found = chains.read(made, chain_prose.WORLD["modulus"], plain=True)
        right = found.view(-1, times) == goal[row[first], None]
        success[row, step] = right.float().mean(1)[group]
        written = (made != PAD).sum(1).view(-1, times).sum(1)
        cost[row[first], step[first]] = written
    return Completions(success, cost)
