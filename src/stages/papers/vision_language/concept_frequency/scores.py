"""What is scored: an arm's curve of accuracy against counts, and what curves tell when
they are laid side by side.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from stages.evidence import Outcome
from stages.papers.vision_language.concept_frequency import method
from stages.papers.vision_language.concept_frequency.method import Numbers
from stages.seeding import rng

SLOPE, WITHIN = "points a decade", "points a decade, within glyphs"
MEAN, SPREAD = "accuracy", "deviation between glyphs"
RAREST, COMMONEST = "accuracy, 20 rarest", "accuracy, 20 commonest"
EXPLAINED, CORRELATION = "explained variance", "correlation"
ERROR, LEVEL = "error on held-out glyphs", "accuracy above Zipf's line"
FOUND, RECALL = "misaligned pairs, by a tagger", "matched pairs, by a tagger"
IN_LOG, IN_COUNT = "in log count", "in count"
IN_BINS, IN_GLYPHS = "12 bins", "glyphs"
LINE, LOGISTIC = "line", "logistic"
BY_COUNT, BY_BIN = "accuracy by count", "accuracy by bin"
BY_RANK = "accuracy by rank"
CHANGE = "change of accuracy by change of count"
ENDS = 20  # glyphs at either end of Zipf's ranks
TOGETHER = 8  # ranks that are one point of a figure


@dataclass(frozen=True)
class Curve:
    """Accuracy, in %, and matched count of every glyph in one arm."""

    counts: Numbers
    accuracy: Numbers

    @property
    def seen(self) -> "Curve":
        """The glyphs that occur at all: a count of 0 has no logarithm."""
        there = self.counts > 0
        return Curve(self.counts[there], self.accuracy[there])

    @property
    def log_counts(self) -> Numbers:
        """The logarithms, to the base of ten."""
        return np.log10(self.counts)


def score(
    outcome: Outcome, arm: str, curve: Curve, rank: Int[ndarray, " glyphs"]
) -> None:
    """Score an arm over all glyphs, and over the ends of Zipf's ranks."""
    outcome.score(arm, MEAN, curve.accuracy.mean())
    outcome.score(arm, SPREAD, curve.accuracy.std(ddof=1))
    outcome.score(arm, COMMONEST, curve.accuracy[rank < ENDS].mean())
    outcome.score(arm, RAREST, curve.accuracy[rank >= len(rank) - ENDS].mean())
    seen = curve.seen
    order = seen.counts.argsort(kind="stable")
    outcome.curve(arm, BY_COUNT, seen.log_counts[order], seen.accuracy[order])
    groups = curve.accuracy[rank.argsort()].reshape(-1, TOGETHER)
    middle = np.arange(len(groups)) * TOGETHER + (TOGETHER + 1) / 2
    outcome.curve(arm, BY_RANK, middle, groups.mean(1))


def score_slope(outcome: Outcome, arm: str, curve: Curve) -> None:
    """Score the slope of an arm's line."""
    seen = curve.seen
    _, slope = method.line(seen.log_counts, seen.accuracy)
    outcome.score(arm, SLOPE, slope)
    outcome.curve(arm, BY_BIN, *method.binned(seen.log_counts, seen.accuracy))


def score_form(outcome: Outcome, curve: Curve, seed: int) -> None:
    """Score what a line in log counts explains, how it correlates, over concepts and
    over bins, and how it does against a logistic curve on held-out glyphs.
    """
    seen = curve.seen
    x, y = seen.log_counts, seen.accuracy
    outcome.score(IN_LOG, EXPLAINED, method.explained(x, y))
    outcome.score(IN_COUNT, EXPLAINED, method.explained(seen.counts, y))
    outcome.score(IN_GLYPHS, CORRELATION, method.correlation(x, y))
    outcome.score(IN_BINS, CORRELATION, method.correlation(*method.binned(x, y)))
    part = rng(seed, "concepts", "folds").permutation(len(x)) % method.FOLDS
    outcome.score(LINE, ERROR, method.held_out_error(method.fit_line, x, y, part))
    wrong = method.held_out_error(method.fit_logistic, x, y, part)
    outcome.score(LOGISTIC, ERROR, wrong)


def score_within(outcome: Outcome, arm: str, curve: Curve, other: Curve) -> None:
    """Score the slope between the same glyphs at two counts."""
    both = (curve.counts > 0) & (other.counts > 0)
    pair = [Curve(each.counts[both], each.accuracy[both]) for each in (other, curve)]
    x = np.stack([each.log_counts for each in pair])
    y = np.stack([each.accuracy for each in pair])
    outcome.score(arm, WITHIN, method.within_slope(x, y))
    outcome.curve(arm, CHANGE, x[1] - x[0], y[1] - y[0])


def score_level(outcome: Outcome, arm: str, curve: Curve, zipf: Curve) -> None:
    """Score how far, on average, an arm lies above Zipf's line at equal counts."""
    expected = method.fit_line(zipf.seen.log_counts, zipf.seen.accuracy)
    seen = curve.seen
    outcome.score(arm, LEVEL, (seen.accuracy - expected(seen.log_counts)).mean())


def score_tagger(
    outcome: Outcome, arm: str, hits: method.Hits, truth: method.Hits
) -> None:
    """Score what an imperfect tagger finds: pairs that match in nothing, and which of
    those that truly match it finds, both in %.
    """
    pairs = len(set().union(*truth.text))
    outcome.score(arm, FOUND, hits.misaligned(pairs))
    both = zip(hits.matched, truth.matched, strict=True)
    right = sum(len(found & true) for found, true in both)
    outcome.score(arm, RECALL, 100 * right / sum(map(len, truth.matched)))
