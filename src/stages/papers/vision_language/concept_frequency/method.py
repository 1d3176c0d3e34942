"""Concept frequency: how often a concept was seen, and how well it is recognised.

Udandarao, Prabhu, Ghosh, Sharma, Torr, Bibi, Albanie and Bethge, "No 'Zero-Shot'
Without Exponential Data: Pretraining Concept Frequency Determines Multimodal Model
Performance", NeurIPS 2024, arXiv 2404.04125. Count in how many pairs of the training
data a concept is in the caption, in the image, and in both; then set its zero-shot
accuracy against the logarithm of that count. Equations are numbered as on the page.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.optimize import least_squares
from scipy.special import expit

THRESHOLD = 0.7  # of a tag's probability
BINS = 12
FOLDS = 8
STEEPEST = 20.0  # of a logistic curve, a decade

Pairs = set[int]  # numbers of pairs of the training data
Index = Mapping[str, Pairs]
Numbers = Float[ndarray, " concepts"]

# ---------------------------------------------------------------- counting in captions


def lemma(word: str) -> str:
    """Strip a plural's s: what stands for a lemmatiser here."""
    plural = word.endswith("s") and not word.endswith("ss") and len(word) > 3
    return word[:-1] if plural else word


def unigrams(text: str) -> list[str]:
    """Split a text at spaces and underscores into lemmas in lower case."""
    return [lemma(word) for word in text.lower().replace("_", " ").split()]


def text_index(captions: Iterable[str]) -> Index:
    """List, for every unigram, the pairs whose caption has it: an inverted index."""
    index: dict[str, Pairs] = defaultdict(set)
    for pair, caption in enumerate(captions):
        for unigram in unigrams(caption):
            index[unigram].add(pair)
    return index


def text_hits(index: Index, concept: str) -> Pairs:
    """Return the pairs whose caption has all of a concept's unigrams, in any order and
    at any distance (eq. 1).
    """
    lists = [index.get(unigram, set()) for unigram in unigrams(concept)]
    return set.intersection(*lists)  # eq. 1


# ------------------------------------------------------------------ counting in images


def image_hits(
    tags: Float[ndarray, "pairs concepts"], threshold: float = THRESHOLD
) -> list[Pairs]:
    """Return, for every concept, the pairs whose image a tagger finds it in (eq. 2).

    Args:
        tags: the probability that the tagger gives each concept in each image.
    """
    found = tags > threshold  # eq. 2
    return [set(np.flatnonzero(column).tolist()) for column in found.T]


@dataclass(frozen=True)
class Hits:
    """The pairs that each concept is found in: in the caption, and in the image."""

    text: list[Pairs]
    image: list[Pairs]

    @classmethod
    def search(
        cls,
        captions: Sequence[str],
        tags: Float[ndarray, "pairs concepts"],
        concepts: Sequence[str],
    ) -> "Hits":
        """Search a data set for concepts."""
        index = text_index(captions)
        return cls([text_hits(index, one) for one in concepts], image_hits(tags))

    @property
    def matched(self) -> list[Pairs]:
        """The pairs that have a concept in both (eq. 3)."""
        both = zip(self.text, self.image, strict=True)
        return [text & image for text, image in both]  # eq. 3

    def misaligned(self, pairs: int) -> float:
        """Return the share of the pairs, in %, whose caption and image have no concept
        in common (eq. 4).
        """
        common = set().union(*self.matched)
        return 100 * (1 - len(common) / pairs)  # eq. 4


def frequencies(hits: Sequence[Pairs]) -> Numbers:
    """Count the pairs of each concept."""
    return np.array([len(pairs) for pairs in hits], float)


# --------------------------------------------------------------------------- the curve


def line(x: Numbers, y: Numbers) -> tuple[float, float]:
    """Return the intercept and the slope of the least-squares line (eq. 5). With
    x = log10 of counts the slope is in points a decade.
    """
    slope, intercept = np.polyfit(x, y, 1)  # eq. 5
    return float(intercept), float(slope)


def explained(x: Numbers, y: Numbers) -> float:
    """Return how much of the variance of y a line in x explains, in %."""
    return 100 * correlation(x, y) ** 2


def correlation(x: Numbers, y: Numbers) -> float:
    """Return Pearson's r (eq. 6)."""
    return float(np.corrcoef(x, y)[0, 1])  # eq. 6


def binned(
    x: Numbers, y: Numbers, bins: int = BINS
) -> tuple[Float[ndarray, " bins"], Float[ndarray, " bins"]]:
    """Return the means of x and y in bins of equal width in x, the empty ones left out.
    The paper's r is that of such means.
    """
    edges = np.linspace(x.min(), x.max(), bins + 1)
    place = np.digitize(x, edges[1:-1])
    filled = np.unique(place)
    means = [(x[place == i].mean(), y[place == i].mean()) for i in filled]
    return tuple(np.array(means).T)


# ---------------------------------------------------------------------------- the form

Curve = Callable[[Numbers], Numbers]


def fit_line(x: Numbers, y: Numbers) -> Curve:
    """Fit a + b x."""
    intercept, slope = line(x, y)
    return lambda new: intercept + slope * new


def fit_logistic(x: Numbers, y: Numbers) -> Curve:
    """Fit 100 / (1 + exp(-b (x - m))), which keeps between 0 and 100 %, by least
    squares.
    """

    def sigmoid(middle: float, steepness: float, x: Numbers) -> Numbers:
        return 100 * expit(steepness * (x - middle))

    bounds = ([x.min() - 3, 0], [x.max() + 3, STEEPEST])
    found = least_squares(lambda p: sigmoid(*p, x) - y, (x.mean(), 1.0), bounds=bounds)
    return lambda new: sigmoid(*found.x, new)


def held_out_error(
    fit: Callable[[Numbers, Numbers], Curve],
    x: Numbers,
    y: Numbers,
    part: Int[ndarray, " concepts"],
) -> float:
    """Return the root mean squared error on concepts that a curve was not fitted to.

    Args:
        part: which fold each concept is in; each is left out once.
    """
    wrong = np.empty_like(y)
    for fold in np.unique(part):
        out: Bool[ndarray, " concepts"] = part == fold
        wrong[out] = y[out] - fit(x[~out], y[~out])(x[out])
    return float(np.sqrt((wrong**2).mean()))


def within_slope(
    x: Float[ndarray, "times concepts"], y: Float[ndarray, "times concepts"]
) -> float:
    """Return the slope of y on x within concepts (eq. 7): each concept is compared with
    itself at another count, so what makes it easy or hard drops out.
    """
    x, y = (values - values.mean(0) for values in (x, y))
    return float((x * y).sum() / (x**2).sum())  # eq. 7
