"""The claims about formats for arithmetic, and the experiment that judges them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch

from stages.evidence import Claim, Gate, Outcome, Paper, in_setting
from stages.papers.mechanisms.arithmetic import training
from stages.papers.mechanisms.arithmetic.arms import (
    ARMS,
    DETAILED,
    PLAIN,
    RANDOM_A,
    RANDOM_BOTH,
    RANDOM_C,
    REVERSE,
    SIMPLIFIED,
    Arm,
)
from stages.papers.mechanisms.arithmetic.completion import Table, make_table
from stages.papers.mechanisms.arithmetic.scores import (
    COMPLETION,
    FIXED,
    FROM_TABLE,
    HIGH,
    N50,
    NEW,
    OWN,
    SHARP,
    SLOPE,
    Trial,
    at,
    score_completion,
    score_order,
    score_samples,
)
from stages.papers.mechanisms.arithmetic.training import Recipe
from stages.worlds.arithmetic import Problems

ORDERS = (PLAIN, REVERSE)  # the two that differ in the order of digits alone
MIXED = "trained on 1 to 3 digits"
LEARNT = (1, 2, 3)
TRANSITION = "exact match, transition"
FEW = "exact match, few samples"
EQUAL = "exact match, equal characters"
TEN = "exact match, base 10"
LONGER = "exact match, one digit more"
KNOWN = "exact match, a known length"

# --------------------------------------------------------------------------- the claims

CLAIMS = (
    Claim(
        "C1",
        "With as many samples and updates, around the transition, reversed answers beat"
        " plain ones.",
        TRANSITION,
        REVERSE,
        PLAIN,
        margin=10,
        reported="28.7 / 79.1 / 99.8 / 100 % for plain, reverse, simplified, detailed"
        " at 3,000 samples, three digits, base 10",
    ),
    Claim(
        "C2",
        "Reversed answers are half right with fewer samples.",
        N50,
        REVERSE,
        PLAIN,
        margin=0.25,
        lower_is_better=True,
        reported="about 2,400 against 3,600 samples; the margin is our choice",
    ),
    Claim(
        "C3",
        "Plain answers fail more often, the more carries follow one another.",
        SLOPE,
        PLAIN,
        margin=2,
        reported="not found as such; the measure and the margin are our choice",
    ),
    Claim(
        "C4",
        "A scratchpad of random digits and carries still beats plain answers.",
        TRANSITION,
        RANDOM_BOTH,
        PLAIN,
        margin=5,
        reported="0.6, 78.9 and 98.8 % at 1,000, 2,000 and 20,000 samples, perhaps made"
        " by a faulty generator",
    ),
    Claim(
        "C5",
        "With as many characters to train on, reversed answers beat the detailed"
        " scratchpad: the order turns.",
        EQUAL,
        REVERSE,
        DETAILED,
        reported="100 against 92.8 % at about 142,000 characters",
    ),
    Claim(
        "C6",
        "In either order, accuracy on operands of one digit more than trained is zero,"
        " within 5 points.",
        LONGER,
        MIXED,
        margin=5,
        kind="equivalence",
        everywhere=ORDERS,
        reported="0 % on 8 digits after 1 to 7",
    ),
)
ALSO = (
    Claim("C1b", "In base 10, with two digits.", TEN, REVERSE, PLAIN),
    Claim("C1c", "The simplified scratchpad.", TRANSITION, SIMPLIFIED, REVERSE),
    Claim("C1d", "The detailed one, on few samples.", FEW, DETAILED, SIMPLIFIED),
    Claim("C2b", "The step of reverse.", SHARP, REVERSE),
    Claim("C3b", "Carries, beside reverse.", SLOPE, PLAIN, REVERSE),
    Claim("C3c", "Errors of plain sit in high digits.", HIGH, PLAIN),
    Claim("C4b", "What right labels give.", TRANSITION, SIMPLIFIED, RANDOM_BOTH),
    Claim("C4c", "Random digits, right carries.", TRANSITION, RANDOM_A, PLAIN),
    Claim("C4d", "Right digits, random carries.", TRANSITION, RANDOM_C, PLAIN),
    Claim("C5b", "The detailed scratchpad, against plain.", EQUAL, DETAILED, PLAIN),
    Claim("C7", "From completion to plain's half.", FROM_TABLE, PLAIN),
    Claim("C7b", "Numbers never seen.", NEW, PLAIN, COMPLETION),
)
GATES = (
    Gate("Reverse learns addition (400 lines)", REVERSE, at(400), least=95),
    Gate("Plain is on its way (120 lines)", PLAIN, at(120), least=20, most=60),
    Gate("Plain has learnt its own 120 lines", PLAIN, at(120, OWN), least=95),
    Gate("Detailed has learnt its own 50 lines", DETAILED, at(50, OWN), least=95),
    Gate("Reverse knows a length it learnt", MIXED, f"{KNOWN} [{REVERSE}]", least=90),
)

# ------------------------------------------------------------ the settings and the arms


@dataclass(frozen=True)
class Settings:
    """What a profile fixes.

    Attributes:
        samples: numbers of training samples of each arm that runs.
        few, transition: those at which arms are compared.
        equal: those that have as many characters, by arm.
        base_ten: samples of two digits in base 10; 0: no such test.
        mixed: lines of three digits in training on several lengths; 0: no such test.
        test: problems in each test set.
    """

    samples: Mapping[str, tuple[int, ...]]
    transition: int = 120
    few: int = 50
    equal: Mapping[str, int] = field(default_factory=dict)
    base_ten: int = 0
    mixed: int = 0
    test: int = 150
    recipe: Recipe = field(default_factory=Recipe)


# ---------------------------------------------------------------------------------- run


def run(settings: Settings, seed: int) -> Outcome:
    """Train all arms of a seed on the first cells of one table; score each alike."""
    outcome = Outcome()
    table = make_table(4, 3, settings.test, seed, FIXED)
    score_completion(outcome, table)
    for name, counts in settings.samples.items():
        trials = {n: examine(ARMS[name], table, n, settings, seed) for n in counts}
        score_samples(outcome, name, trials)
        compare(outcome, name, trials, settings)
        if name in ORDERS:
            score_order(outcome, name, trials, table)
        outcome.exhibits[name] = trials
    for name in ORDERS:
        if settings.base_ten:
            try_base_ten(outcome, name, settings, seed)
        if settings.mixed:
            try_lengths(outcome, name, settings, seed)
    return outcome


def examine(
    arm: Arm, table: Table, samples: int, settings: Settings, seed: int
) -> Trial:
    """Train a network on the first cells of a table and test it."""
    if samples > len(table.train):
        raise ValueError(
            f"{samples} samples asked for; there are {len(table.train)} cells to"
            " train on"
        )
    cells = table.train[:samples]
    lines = arm.write(table.problems(cells), seed)
    model = training.learn(arm, lines, table.base, settings.recipe, seed)
    sets = (cells[: settings.test], table.test, table.new)
    return Trial(model, *(training.ask(model, arm, table.problems(x)) for x in sets))


def compare(
    outcome: Outcome, name: str, trials: Mapping[int, Trial], settings: Settings
) -> None:
    """Score an arm under the names of the comparisons that it takes part in."""
    where = {
        FEW: settings.few,
        TRANSITION: settings.transition,
        EQUAL: settings.equal.get(name),
    }
    for metric, n in where.items():
        if n in trials:
            outcome.score(name, metric, trials[n].pairs.exact)


def try_base_ten(outcome: Outcome, name: str, settings: Settings, seed: int) -> None:
    """Do the same in base 10, with two digits and three times the updates."""
    table = make_table(10, 2, settings.test, seed)
    arm = replace(ARMS[name], longer=3)
    trial = examine(arm, table, settings.base_ten, settings, seed)
    outcome.score(name, TEN, trial.pairs.exact)


def try_lengths(outcome: Outcome, name: str, settings: Settings, seed: int) -> None:
    """Train on operands of one to three digits; test on four, and on three.

    All numbers have zeros in front, up to four places: every position is trained, and
    only a digit in the first place is new.
    """
    tables = {n: make_table(4, n, settings.test, seed) for n in (1, 2, 3, 4)}
    parts = [tables[n].problems(tables[n].train[: settings.mixed], 4) for n in LEARNT]
    a, b = (torch.cat([getattr(part, side) for part in parts]) for side in "ab")
    arm = ARMS[name]
    lines = arm.write(Problems(a, b, "+", 4), seed)
    model = training.learn(arm, lines, 4, settings.recipe, seed)
    for metric, digits in ((LONGER, LEARNT[-1] + 1), (KNOWN, LEARNT[-1])):
        problems = tables[digits].problems(tables[digits].test, 4)
        marked = training.ask(model, arm, problems)
        outcome.score(MIXED, in_setting(metric, name), marked.exact)


FULL = Settings(
    samples={
        PLAIN: (50, 120, 400, 1093),
        REVERSE: (50, 120, 400, 1093),
        SIMPLIFIED: (50, 120),
        DETAILED: (50,),
        RANDOM_A: (120,),
        RANDOM_C: (120,),
        RANDOM_BOTH: (120,),
    },
    equal={PLAIN: 1093, REVERSE: 1093, DETAILED: 50},
    base_ten=300,
    mixed=300,
)

PAPER = Paper(
    slug="mechanisms/arithmetic",
    title="Teaching Arithmetic to Small Transformers",
    arxiv="2307.03381",
    year=2024,
    bibkey="lee2024arithmetic",
    claims=CLAIMS,
    also=ALSO,
    gates=GATES,
    deviations=(
        "An earlier version was recorded with 25 arms on seven seeds, after the claims"
        " and before these gates. It had shown C1 40.2 (28.9 to 51.5), C2 1.14, C3 4.8"
        " (inconclusive), C4 -33.3 and C5 63.9. Its gate for plain, below 50 % at 400"
        " lines, had failed with 86 %. Plain and reverse tied in base 10 (88 %).",
        "C6 was then about all four formats without zeros in front. The positions of a"
        " longer line are never trained there, and nothing can be right; it is now"
        " about two formats with zeros. C1d was at 120 samples.",
        "A first record, before that one, was stopped after three seeds: many networks"
        " got stuck. Updates and width were raised on tuning seeds. Now perceptrons"
        " are half as wide, to save time: at 120 lines plain and reverse had 47 and"
        " 89 % on three tuning seeds, 50 and 85 % before. At 800 updates more got"
        " stuck than at 1,000. After the claims were committed, plain was tried with"
        " other rates and widths on six more tuning seeds; nothing was changed.",
    ),
    profiles={
        "probe": replace(
            FULL,
            samples={
                name: tuple(range(8, 8 + 4 * len(counts), 4))
                for name, counts in FULL.samples.items()
            },
            few=8,
            transition=8,
            equal={PLAIN: 20, REVERSE: 20, DETAILED: 8},
            base_ten=10,
            mixed=8,
            test=20,
            recipe=Recipe(updates=3, batch=4, width=16, ratio=2),
        ),
        "quick": Settings({PLAIN: (120,), REVERSE: (120,)}, recipe=Recipe(updates=700)),
        "full": FULL,
    },
    run=run,
)
