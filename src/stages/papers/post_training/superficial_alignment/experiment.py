"""The claims about superficial alignment, and the experiment that judges them."""

from dataclasses import dataclass, replace

from stages import zoo
from stages.evidence import Claim, Gate, Outcome, Paper
from stages.models import GPT, seeded
from stages.papers.post_training.superficial_alignment import tasks
from stages.papers.post_training.superficial_alignment.method import (
    FORMS,
    Tuning,
    extrapolated,
    fine_tune,
    nested,
    share_reached,
)
from stages.papers.post_training.superficial_alignment.tasks import (
    ACCURACY,
    FAULTS,
    FORMAT,
    LENIENT,
    WHOLE,
)
from stages.training import pick_device
from stages.zoo import chain_prose as reading

CHAINS, STYLE = "chains", "style only"
SIZES = (16, 64, 128, 256, 512, 1024)
FEW, MANY, EARLY = 128, 1024, 64
BASE, EPOCHS = "base, n = 0", "n = 128, as many epochs"
REACHED = "share of the whole improvement at n = 64"
ERROR = "error at n = 1,024"
POWER, SATURATING, LOGISTIC = FORMS
RIGHT_ANSWERS, RIGHT_FORMAT = "right answers", "format"
ONE, FIVE = "one change, in words", "accuracy, five operations"
OVER_N, BY_LENGTH = "over n", "accuracy by operations"


def of(n: int, task: str = CHAINS) -> str:
    """Name an arm by its number of examples."""
    return f"n = {n:,}" if task == CHAINS else f"{task}, n = {n:,}"


# --------------------------------------------------------------------------- the claims

CLAIMS = (
    Claim(
        "C1",
        "More examples keep helping: 1,024 give more right answers than 128.",
        ACCURACY,
        of(MANY),
        of(FEW),
        margin=10.0,
        reported="accuracy rises with the number of examples on every task, as a power"
        " law does; the sizes and the margin are ours",
    ),
    Claim(
        "C2",
        "Format comes first: with 64 examples more of its improvement is reached than of"
        " that in right answers.",
        REACHED,
        RIGHT_FORMAT,
        RIGHT_ANSWERS,
        margin=20.0,
        reported="format mistakes are gone after about 100 examples, reasoning mistakes"
        " fall further; the measure and the margin are ours",
    ),
    Claim(
        "C3",
        "A power law foretells accuracy at n = 1,024 better than a law that saturates.",
        ERROR,
        POWER,
        SATURATING,
        lower_is_better=True,
        reported="performance follows a power law; a comparison with another law: not"
        " found",
    ),
    Claim(
        "C4",
        "Accuracy gains more from 128 to 1,024 examples where there is something to"
        " reason about than in a task of style alone.",
        ACCURACY,
        of(MANY),
        of(FEW),
        margin=5.0,
        over=(of(MANY, STYLE), of(FEW, STYLE)),
        reported="not measured there",
        origin="ours",
    ),
)
ALSO = (
    Claim("C1b", "Read leniently.", LENIENT, of(MANY), of(FEW)),
    Claim("C1c", "Every step right.", WHOLE, of(MANY), of(FEW)),
    Claim("C1d", "On five operations, which no example has.", FIVE, of(MANY), of(FEW)),
    Claim("C1e", "From 512 to 1,024.", ACCURACY, of(MANY), of(512)),
    Claim("C1f", "What equal updates add at 128.", ACCURACY, of(FEW), EPOCHS),
    Claim("C2b", "Format, from 128 to 1,024.", FORMAT, of(MANY), of(FEW)),
    Claim(
        "C2c", "Format errors.", FAULTS[0], of(MANY), of(FEW), lower_is_better=True
    ),
    Claim(
        "C2d", "Errors of plan.", FAULTS[1], of(MANY), of(FEW), lower_is_better=True
    ),
    Claim(
        "C2e",
        "Errors of calculation.",
        FAULTS[2],
        of(MANY),
        of(FEW),
        lower_is_better=True,
    ),
    Claim(
        "C3b",
        "A step against a power law.",
        ERROR,
        LOGISTIC,
        POWER,
        lower_is_better=True,
    ),
)
GATES = (
    Gate("The base knows one change, told in words", BASE, ONE, least=80),
    Gate("The base cannot be read (parsable answers)", BASE, FORMAT, most=5),
    Gate("16 examples leave room (accuracy)", of(16), ACCURACY, most=40),
    Gate("1,024 examples teach the task (accuracy)", of(MANY), ACCURACY, least=80),
)

# ----------------------------------------------------------------------------- the arms


@dataclass(frozen=True)
class Arm:
    """A copy of the base: its task, how many examples it has, and the share of all
    updates that it takes.
    """

    task: str
    n: int
    updates: float = 1.0


ARMS: dict[str, Arm] = {
    **{of(n): Arm(CHAINS, n) for n in SIZES},
    of(FEW, STYLE): Arm(STYLE, FEW),
    of(MANY, STYLE): Arm(STYLE, MANY),
    EPOCHS: Arm(CHAINS, FEW, updates=FEW / MANY),
}


@dataclass(frozen=True)
class Settings:
    """What a profile fixes.

    Attributes:
        base: how the base of a seed is trained; None loads the shipped one for all.
        tuning: how every arm is fine-tuned.
        validation, test: problems, of two to four operations; as many of five.
        only: arms that are run; all where it is empty.
    """

    base: reading.Reading | None = reading.Reading()
    tuning: Tuning = Tuning()
    validation: int = 100
    test: int = 400
    only: tuple[str, ...] = ()


def make_base(settings: Settings, seed: int) -> GPT:
    """Train the base of a seed, or load the shipped one."""
    if settings.base is None:
        return zoo.load("chain_gpt").to(pick_device())
    with seeded(seed, "chain_gpt"):
        model = reading.make(settings.base)
    model.to(pick_device())
    reading.read(model, settings.base, seed)
    return model.eval().requires_grad_(False)


# ---------------------------------------------------------------------------------- run


def run(settings: Settings, seed: int) -> Outcome:
    """Fine-tune copies of a seed's base on nested sets of examples, and judge what they
    write.
    """
    outcome = Outcome()
    base = make_base(settings, seed)
    test = tasks.draw(settings.test, seed, "test")
    longer = tasks.draw(settings.test, seed, "longer", steps=5)
    pools = {}
    for task in tasks.TASKS:
        train = tasks.examples(task, MANY + tasks.SPARE, seed, "train")
        pools[task] = nested(train, SIZES)
    outcome.score(BASE, ONE, reading.tells(base, 1, settings.test, seed))
    score(outcome, BASE, CHAINS, base, test, longer)
    for name in settings.only or ARMS:
        arm = ARMS[name]
        updates = max(1, round(arm.updates * settings.tuning.updates))
        how = replace(settings.tuning, updates=updates)
        validation = tasks.examples(arm.task, settings.validation, seed, "validation")
        model = fine_tune(base, pools[arm.task][arm.n], validation, how, seed)
        score(outcome, name, arm.task, model, test, longer)
    derive(outcome)
    return outcome
