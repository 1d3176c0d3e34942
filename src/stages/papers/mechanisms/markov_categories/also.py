"""What else is measured, to explain the verdicts, and the gates."""

from stages.evidence import Claim, Gate, in_setting
from stages.papers.mechanisms.markov_categories.drafts import (
    BOTTLENECK,
    NARROW,
    ORDERED_GAIN,
    STATE,
)
from stages.papers.mechanisms.markov_categories.geometry import (
    ENERGY,
    IDLE,
    REAL,
    SLOPE,
    TOP,
    TOP_UNTRAINED,
)
from stages.papers.mechanisms.markov_categories.lab import (
    BHATTACHARYYA,
    LINEAR,
    LOG_RATIO,
    SURFACE,
)
from stages.papers.mechanisms.markov_categories.scores import (
    DIVERGENCE,
    EXCESS,
    PARTIAL,
    RISE,
    SURPLUS,
    TOGETHER,
    WITH_LINEAR,
    at,
    overlap_of,
)
from stages.papers.mechanisms.markov_categories.training import (
    NLL,
    SHUFFLED,
    SMOOTHED,
    UNIT,
    UNTRAINED,
)

OVERLAP = overlap_of(LINEAR)
OVERLAP_4 = in_setting(OVERLAP, at(4))
BY_KERNEL = f"overlap of {NLL}"
ENERGY_8 = in_setting(in_setting(ENERGY, LINEAR), at(8))
BELOW_RANK = (at(2), at(4), at(8))  # of every kernel of interest

ALSO = (
    Claim("C1b", "Against shuffled targets.", OVERLAP_4, NLL, SHUFFLED),
    Claim("C1c", "It rises with the steps.", in_setting(RISE, at(4)), NLL),
    Claim("C1d", "The surface held fixed.", in_setting(PARTIAL, at(4)), NLL, UNTRAINED),
    Claim(
        "C1e",
        "At each d below the rank.",
        OVERLAP,
        NLL,
        UNTRAINED,
        everywhere=BELOW_RANK,
    ),
    Claim("C1f", "Under the theorem's assumptions.", OVERLAP_4, UNIT, UNTRAINED),
    Claim(
        "C2b",
        "Bhattacharyya's kernel against log-ratios.",
        BY_KERNEL,
        BHATTACHARYYA,
        LOG_RATIO,
        everywhere=BELOW_RANK,
    ),
    Claim(
        "C3b",
        "Entropy too high with label smoothing.",
        in_setting(EXCESS, at(16)),
        SMOOTHED,
        NLL,
    ),
    Claim(
        "C3c",
        "Do the two fall together less with label smoothing?",
        in_setting(TOGETHER, at(16)),
        NLL,
        SMOOTHED,
    ),
    Claim("C4b", "Gain over a blind draft.", ORDERED_GAIN, BOTTLENECK),
    Claim(
        "C4c",
        "Surplus that a narrow bottleneck discards.",
        in_setting(SURPLUS, at(4)),
        STATE,
        NARROW,
    ),
    Claim(
        "C5b",
        "Share of the metric's rank left idle, against the start.",
        in_setting(IDLE, at(16)),
        NLL,
        UNTRAINED,
    ),
    Claim(
        "C6b",
        "Top directions, against the start's.",
        ENERGY_8,
        TOP,
        TOP_UNTRAINED,
        lower_is_better=True,
    ),
)
GATES = (
    Gate(
        "Next-token NLL comes near the source's entropy (nats above, d = 16)",
        NLL,
        in_setting(DIVERGENCE, at(16)),
        most=0.05,
    ),
    Gate(
        "Untrained states leave room (overlap, d = 4)",
        UNTRAINED,
        OVERLAP_4,
        most=0.1,
    ),
    Gate(
        "Looks do not tell predictions (overlap of the kernels, d = 4)",
        SURFACE,
        in_setting(WITH_LINEAR, at(4)),
        most=0.2,
    ),
    Gate(
        "The two kernels of C2 differ (their overlap, d = 8)",
        LOG_RATIO,
        in_setting(WITH_LINEAR, at(8)),
        most=0.9,
    ),
    Gate(
        "For short moves the metric is exact (slope, d = 16)",
        REAL,
        in_setting(SLOPE, at(16)),
        least=0.95,
        most=1.05,
    ),
)
