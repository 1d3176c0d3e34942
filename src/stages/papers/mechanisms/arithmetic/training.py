"""How networks learn from lines, write answers, and have them marked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from stages.models import GPT, seeded
from stages.papers.mechanisms.arithmetic.arms import PLAIN, REVERSE, Arm
from stages.papers.mechanisms.arithmetic.method import FORMATS, answer_loss, write
from stages.seeding import rng
from stages.training import cosine, fit, optimiser, pick_device
from stages.worlds.arithmetic import Lines, Problems, read, vocabulary
from stages.worlds.vocabulary import PAD, join

SPARE = 2  # positions: a test line can be longer than all training lines
WARMUP = 20  # the learning rate rises for a twentieth of all updates,
FLOOR = 0.1  # and falls to a tenth along a cosine
CLIP = 1.0  # the largest norm of all gradients together
RATES = {"plain": 0.005, "reverse": 0.005, "simplified": 0.008, "detailed": 0.008}


@dataclass(frozen=True)
class Recipe:
    """What all networks share: updates, lines in each, sizes, AdamW's settings.

    Learning rates are tuned by form, from 0.003 to 0.02.
    """

    updates: int = 1000
    batch: int = 16
    width: int = 48
    depth: int = 2
    heads: int = 2
    ratio: int = 4
    decay: float = 0.1
    rates: Mapping[str, float] = field(default_factory=lambda: dict(RATES))


@dataclass(frozen=True)
class Marked:
    """What is right in the answers to n problems.

    Attributes:
        whole: whether the answer is the sum.
        digits: of the sum, the lowest first; all wrong where there is no answer.
    """

    whole: Bool[np.ndarray, " n"]
    digits: Bool[np.ndarray, "n digits"]

    @property
    def exact(self) -> float:
        """The share of sums that are right, in percent."""
        return 100 * float(self.whole.mean())


def batches(
    samples: int, updates: int, batch: int, seed: int
) -> Int[Tensor, "updates batch"]:
    """Draw every update's lines: pass after pass, each in random order."""
    passes = -(-updates * batch // samples)
    keys = rng(seed, "batches", samples).random((passes, samples))
    order = np.argsort(keys, 1).reshape(-1)[: updates * batch]
    return torch.from_numpy(order.reshape(updates, batch))


def learn(arm: Arm, lines: Lines, base: int, recipe: Recipe, seed: int) -> nn.Module:
    """Train a network on lines. Those of one size start from the same weights, and arms
    with as many samples see them in the same order.
    """
    device = pick_device()
    tokens = lines.tokens.to(device)
    answer = lines.answer.to(device)
    needed = (lines.tokens != PAD).sum(1)
    with seeded(seed, "arithmetic"):
        model = GPT(
            len(vocabulary(base)),
            recipe.width,
            recipe.depth,
            recipe.heads,
            tokens.shape[1] + SPARE,
            recipe.ratio,
        ).to(device)
    updates = recipe.updates * arm.longer
    order = batches(len(tokens), updates, recipe.batch, seed)

    def loss(update: int) -> Float[Tensor, ""]:
        rows = order[update]
        length = needed[rows].max()
        return answer_loss(model, tokens[rows, :length], answer[rows, :length])

    adam = optimiser(
        model.parameters(),
        "adamw",
        recipe.rates[arm.form],
        betas=(0.9, 0.99),
        weight_decay=recipe.decay,
    )
    schedule = cosine(updates, updates // WARMUP, FLOOR)
    fit(loss, updates, adam, schedule=schedule, clip=CLIP)
    return model.eval()


@torch.no_grad()
def ask(model: nn.Module, arm: Arm, problems: Problems) -> Marked:
    """Let a network write its answers, the likeliest character at a time, and mark what
    is read in them.
    """
    lines = write(problems, FORMATS[arm.form])
    given = torch.arange(lines.tokens.shape[1]) < lines.prompt[:, None]
    prompts = join(lines.tokens * given, pad="left").to(pick_device())
    stop = ()
    if arm.form in (PLAIN, REVERSE):
        stop = vocabulary(problems.base).encode("\n").tolist()
    mask = None if (prompts != PAD).all() else prompts != PAD
    made = model.generate(prompts, int(lines.answer.sum(1).max()), stop=stop, mask=mask)
    written = torch.cat([prompts, made], 1).cpu()
    return mark(read(written, arm.form, problems.base), problems)


def mark(found: Sequence[int | None], problems: Problems) -> Marked:
    """Compare answers, as numbers, with the sums."""
    digits = problems.solve()[0].numpy()
    powers = problems.base ** np.arange(digits.shape[1])
    true = (digits * powers).sum(1)
    value = np.array([-1 if x is None else x for x in found])
    right = (value[:, None] // powers % problems.base == digits) & (value[:, None] >= 0)
    return Marked(value == true, right)


@torch.no_grad()
def certainty(
    model: nn.Module, arm: Arm, problems: Problems
) -> Float[np.ndarray, "n digits"]:
    """Return how likely plain or reverse finds each right digit, the lowest first,
    those before it given.
    """
    lines = write(problems, FORMATS[arm.form])
    tokens = lines.tokens.to(pick_device())
    first = int(lines.prompt[0])
    places = problems.a.shape[1] + 1
    written = tokens[:, first : first + places, None]
    likely = model(tokens).softmax(-1)[:, first - 1 : first - 1 + places]
    sure = likely.gather(2, written)[..., 0].cpu().numpy()
    return sure if arm.form == REVERSE else sure[:, ::-1]
