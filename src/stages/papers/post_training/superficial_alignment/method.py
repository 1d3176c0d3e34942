"""How much a model learns from n examples: the protocol, not a model.

Raghavendra, Nath and Hendryx, "Revisiting the Superficial Alignment Hypothesis", 2024,
arXiv 2410.03717. Fresh copies of one base model are fine-tuned on growing, nested sets
of examples of one task. Answers are judged by what can be checked, mistakes are divided
into those of form and those of reasoning, and laws are fitted to the curve over n.

Equations are numbered as on the page.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import curve_fit
from torch import Tensor

from stages.models import GPT
from stages.seeding import torch_rng
from stages.training import cosine, fit, next_token_loss, optimiser
from stages.worlds.vocabulary import PAD, Answered

# ------------------------------------------------------------------------- fine-tuning


@dataclass(frozen=True)
class Tuning:
    """How a copy of the base is fine-tuned; one for all numbers of examples.

    Attributes:
        updates, batch: an update draws so many examples, with replacement.
        rate: of Adam under a cosine.
        warmup: share of the updates in which the rate rises.
        every: updates between two looks at the validation set.
    """

    updates: int = 2400
    batch: int = 16
    rate: float = 3e-3
    warmup: float = 0.05
    every: int = 100


def nested(
    pool: Answered, sizes: Sequence[int], held_out: Sequence[Answered] = ()
) -> dict[int, Answered]:
    """Return the first n examples of one pool for each n: each set holds the smaller
    ones; no example comes twice, and none is among those that are held out.

    Raises:
        ValueError: the pool does not have so many such examples.
    """
    seen = {text for part in held_out for text in written(part)}
    first = []
    for i, text in enumerate(written(pool)):
        if text not in seen:
            seen.add(text)
            first.append(i)
    if len(first) < max(sizes):
        raise ValueError(
            f"{max(sizes)} examples are asked for; the pool has {len(first)} that"
            " differ and are not held out"
        )
    return {n: pool.take(torch.tensor(first[:n])) for n in sizes}


def written(texts: Answered) -> list[tuple[int, ...]]:
    """List texts without their pads."""
    return [
        tuple(token for token in row if token != PAD) for row in texts.tokens.tolist()
    ]


def answer_loss(model: GPT, texts: Answered) -> Float[Tensor, ""]:
    """Return -log p(answer | prompt), the mean over tokens of answers (eq. 1)."""
    tokens = texts.tokens[:, : int((texts.tokens != PAD).sum(1).max())]
    counted = texts.counted[:, : tokens.shape[1]]
    return next_token_loss(model(tokens), tokens, counted)  # eq. 1


def fine_tune(
    base: GPT,
    train: Answered,
    accuracy: Callable[[GPT], float],
    how: Tuning,
    seed: int,
) -> GPT:
    """Fine-tune a copy of the base, and return it as it was when its accuracy on the
    validation set was highest, first of all. The base stays as it is.

    Every n may take equally many updates, so that n counts examples and not training;
    they end once the accuracy is 100 %.

    Args:
        accuracy: measures a model on the validation set.
    """
    model = copy.deepcopy(base).requires_grad_(True)
    adam = optimiser(model.parameters(), "adamw", how.rate, weight_decay=0.0)
    chance = torch_rng(seed, "superficial alignment", "batches")
    best = copy.deepcopy(model.state_dict())
    highest = -1.0

    def loss(step: int) -> Tensor:
        rows = torch.randint(len(train), (how.batch,), generator=chance)
        return answer_loss(model, train.take(rows))

    def check(step: int) -> None:
        nonlocal best, highest
        if (step + 1) % how.every == 0 or step + 1 == how.updates:
            found = accuracy(model)
            if found > highest:
                best, highest = copy.deepcopy(model.state_dict()), found

    def steps() -> Iterator[int]:
        for step in range(how.updates):
            if highest == 100:  # nothing can be better
                return
            yield step

    schedule = cosine(how.updates, round(how.warmup * how.updates))
    fit(loss, steps(), adam, schedule=schedule, clip=1.0, after_step=check)
    model.load_state_dict(best)
    return model.eval().requires_grad_(False)


# ----------------------------------------------------------------- laws over examples

Law = Callable[..., Float[np.ndarray, " sizes"]]
Numbers = Sequence[float]


def power(n: Float[np.ndarray, " sizes"], a: float, k: float) -> np.ndarray:
    """Return a n^k, where k = 1/b is the paper's exponent (eq. 2)."""
    return a * n**k  # eq. 2


def saturating(
    n: Float[np.ndarray, " sizes"], most: float, c: float, alpha: float
) -> np.ndarray:
    """Return P_inf - c n^(-alpha), which comes to rest at P_inf (eq. 3)."""
    return most - c * n**-alpha  # eq. 3


def step(n: Float[np.ndarray, " sizes"], middle: float, width: float) -> np.ndarray:
    """Return a logistic curve of log n from 0 to 100 %, half way at `middle`."""
    return 100 / (1 + np.exp(-(np.log(n) - np.log(middle)) / width))


@dataclass(frozen=True)
class Form:
    """A law, and where its parameters are looked for: between bounds, from starts."""

    law: Law
    low: tuple[float, ...]
    high: tuple[float, ...]
    starts: tuple[tuple[float, ...], ...]


FORMS: Mapping[str, Form] = {
    "power law": Form(power, (0, 0), (100, 2), ((1, 0.5), (10, 0.2))),
    "saturating law": Form(
        saturating, (0, 0, 0.01), (100, 1e4, 3), ((90, 200, 0.3), (60, 300, 1.0))
    ),
    "logistic law": Form(step, (1, 0.05), (1e6, 5), ((100, 0.5), (1000, 1))),
}


def fit_law(form: Form, n: Numbers, accuracy: Numbers) -> np.ndarray:
    """Return a law's parameters by least squares on accuracy in %, the best of several
    starts.
    """
    x, y = np.asarray(n, float), np.asarray(accuracy, float)
    best, lowest = None, float("inf")
    for start in form.starts:
        found, _ = curve_fit(
            form.law, x, y, start, bounds=(form.low, form.high), max_nfev=20_000
        )
        rest = np.square(form.law(x, *found) - y).sum()
        if rest < lowest:
            best, lowest = found, rest
    return best


def extrapolated(form: Form, n: Numbers, accuracy: Numbers) -> float:
    """Fit a law to all but the largest n; return its error there, in points."""
    found = fit_law(form, n[:-1], accuracy[:-1])
    return abs(float(form.law(float(n[-1]), *found)) - accuracy[-1])


# ------------------------------------------------------------------- who improves when


def share_reached(start: float, here: float, whole: float) -> float:
    """Return how much of the whole improvement is reached, in % (eq. 4); 0 where
    nothing improves in the end.
    """
    if whole <= start:
        return 0.0
    return 100 * (here - start) / (whole - start)  # eq. 4
