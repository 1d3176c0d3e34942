"""The claims about SAMI, and the experiment that judges them."""

from dataclasses import dataclass, replace
from functools import partial

from stages import zoo
from stages.evidence import Claim, Gate, Outcome, Paper
from stages.models import GPT, seeded
from stages.papers.post_training.sami import arms, method
from stages.papers.post_training.sami.arms import Arm
from stages.papers.post_training.sami.method import Plan, Samples, align, learn
from stages.papers.post_training.sami.queries import ask, respond
from stages.papers.post_training.sami.scores import (
    FORM,
    HELD_OUT_ADHERENCE,
    INFORMATION,
    KEPT,
    LINKED_ADHERENCE,
    UNLINKED_ADHERENCE,
    WRONG_ADHERENCE,
    Exam,
    look,
    score,
    score_course,
    score_kept,
)
from stages.seeding import torch_rng
from stages.training import pick_device
from stages.zoo.notes import Reading, build, read

BASE, SAMI = "base", "SAMI"
RESPONSES, CONSTITUTIONS = "over responses only", "over constitutions only"
DISTILLED, PERMUTED = "self-distillation", "permuted"
CHECKED, SUMMED = "checked samples", "SAMI, summed"
EQUAL = "self-distillation, SAMI's rate"

# --------------------------------------------------------------------------- the claims

CLAIMS = (
    Claim(
        "C1",
        "After three iterations SAMI follows linked principles more often than its own"
        " base.",
        LINKED_ADHERENCE,
        SAMI,
        BASE,
        margin=5.0,
        reported="wins of 66 to 77 % over the base (dialogue), 60 to 71 % (summaries)",
    ),
    Claim(
        "C2",
        "SAMI follows them more often than self-distillation on the same samples.",
        LINKED_ADHERENCE,
        SAMI,
        DISTILLED,
        margin=1.0,
        origin="ours",
    ),
    Claim(
        "C3",
        "SAMI follows a principle that it was never trained on more often than its"
        " base.",
        HELD_OUT_ADHERENCE,
        SAMI,
        BASE,
        margin=1.0,
        reported="wins of 61 to 63 % on held-out principles",
    ),
    Claim(
        "C4",
        "Where the base is linked the wrong way round, SAMI follows the principle less"
        " often than its base.",
        WRONG_ADHERENCE,
        SAMI,
        BASE,
        margin=2.0,
        lower_is_better=True,
        origin="ours",
    ),
    Claim(
        "C5",
        "SAMI's responses have more information about their constitution than its"
        " base's.",
        INFORMATION,
        SAMI,
        BASE,
        margin=0.05,
        reported="the bound rises over iterations",
    ),
)
ALSO = (
    Claim("C1b", "On the unlinked principle.", UNLINKED_ADHERENCE, SAMI, BASE),
    Claim("C1c", "Exact form.", FORM, SAMI, BASE),
    Claim("C1d", "Against a permuted identity.", LINKED_ADHERENCE, SAMI, PERMUTED),
    Claim("C1e", "The ceiling against SAMI.", LINKED_ADHERENCE, CHECKED, SAMI),
    Claim("C1f", "Against responses only.", LINKED_ADHERENCE, SAMI, RESPONSES),
    Claim("C1g", "Against constitutions only.", LINKED_ADHERENCE, SAMI, CONSTITUTIONS),
    Claim("C1h", "Against summed log-probabilities.", LINKED_ADHERENCE, SAMI, SUMMED),
    Claim("C1i", "Queries that SAMI's filter keeps (%).", KEPT, SAMI),
    Claim(
        "C2b",
        "Against self-distillation at SAMI's rate.",
        LINKED_ADHERENCE,
        SAMI,
        EQUAL,
    ),
    Claim(
        "C3b",
        "Held out: against self-distillation.",
        HELD_OUT_ADHERENCE,
        SAMI,
        DISTILLED,
    ),
    Claim(
        "C4b",
        "The same, of self-distillation against its base.",
        WRONG_ADHERENCE,
        DISTILLED,
        BASE,
        lower_is_better=True,
    ),
    Claim(
        "C4c", "What checked samples do instead: up.", WRONG_ADHERENCE, CHECKED, BASE
    ),
)
GATES = (
    Gate("The base is linked weakly (%)", BASE, LINKED_ADHERENCE, least=65, most=82),
    Gate(
        "The held-out principle is linked as weakly (%)",
        BASE,
        HELD_OUT_ADHERENCE,
        least=65,
        most=82,
    ),
    Gate("One principle is unlinked (%)", BASE, UNLINKED_ADHERENCE, least=45, most=55),
    Gate("One is linked wrongly (%)", BASE, WRONG_ADHERENCE, least=20, most=38),
    Gate("The base keeps the form (%)", BASE, FORM, least=95),
    Gate("SAMI keeps the form (%)", SAMI, FORM, least=90),
)

# ----------------------------------------------------------------------------- the arms

ARMS: dict[str, Arm] = {
    BASE: Arm(),
    SAMI: Arm(method.sami, 7e-5),
    RESPONSES: Arm(arms.contrast(method.over_responses), 7e-5),
    CONSTITUTIONS: Arm(arms.contrast(method.over_constitutions), 7e-5),
    DISTILLED: Arm(arms.imitate, 1.6e-3, source=SAMI),
    PERMUTED: Arm(arms.contrast(arms.permuted), 7e-5),  # SAMI's: its own would be 0
    CHECKED: Arm(arms.imitate_checked, 1.6e-3),
    SUMMED: Arm(arms.contrast(method.two_sided, mean=False), 1e-4),
    EQUAL: Arm(arms.imitate, 7e-5, source=SAMI),
}
FOLLOWED = (SAMI, DISTILLED)  # over the iterations
READING = Reading()


@dataclass(frozen=True)
class Settings:
    """What a profile fixes.

    Attributes:
        shipped: whether all seeds start from the base model that comes with the book;
            otherwise each reads with a network of its own.
        reading: beforehand.
        steps, queries: of the iterations; see `Plan`.
        pairs: of things in the test; all where it is None.
        only: arms that are run; all where it is empty.
    """

    shipped: bool = False
    reading: Reading = READING
    steps: tuple[int, ...] = (8, 16, 24)
    queries: int = 48
    pairs: int | None = None
    only: tuple[str, ...] = ()


def make_base(settings: Settings, seed: int) -> GPT:
    """Load the book's base model, or build one; let it read."""
    if settings.shipped:
        model = zoo.load("notes_gpt").requires_grad_(True)
    else:
        with seeded(seed, "notes_gpt"):
            model = build(settings.reading)
    model = model.to(pick_device())
    if settings.reading.updates:
        read(model, settings.reading, seed)
    return model.eval().requires_grad_(False)


# ---------------------------------------------------------------------------------- run


def run(settings: Settings, seed: int) -> Outcome:
    """Let each arm learn from the base of a seed, and test what it has become."""
    outcome = Outcome()
    base = make_base(settings, seed)
    exam = Exam(seed, settings.pairs)
    start = look(base, exam)
    drawn: dict[str, list[Samples]] = {}
    for name in settings.only or ARMS:
        arm = ARMS[name]
        models = [base]
        if arm.source:
            models = imitators(base, drawn[arm.source], arm, settings)
        elif arm.objective:
            models, drawn[name] = align(
                base,
                partial(ask, seed),
                respond,
                arm.objective,
                Plan(arm.rate, settings.steps, settings.queries),
                partial(torch_rng, seed, "sami", "written"),
            )
            score_kept(outcome, name, drawn[name])
        seen = look(models[-1], exam)
        score(outcome, name, seen, exam)
        if name in FOLLOWED:
            between = [look(model, exam) for model in models[:-1]]
            score_course(outcome, name, [start, *between, seen], exam)
        outcome.exhibits[name] = (models[-1], seen)
    outcome.exhibits |= {"exam": exam, "drawn": drawn}
    return outcome


def imitators(
    base: GPT, drawn: list[Samples], arm: Arm, settings: Settings
) -> list[GPT]:
    """Let an arm learn from what another one drew, iteration by iteration."""
    return [
        learn(base, samples, arm.objective, arm.rate, steps)
        for samples, steps in zip(drawn, settings.steps, strict=True)
    ]


FULL = Settings()

PAPER = Paper(
    slug="post_training/sami",
    title=(
        "Self-Supervised Alignment with Mutual Information: Learning to Follow"
        " Principles without Preference Labels"
    ),
    arxiv="2404.14313",
    year=2024,
    bibkey="franken2024sami",
    claims=CLAIMS,
    also=ALSO,
    gates=GATES,
    deviations=(
        "Before the claims were fixed, a prototype on tuning seeds 1000 and 1001 had"
        " shown 74 and 77 % on linked principles for the base, 87 and 89 for SAMI, 82"
        " and 85 for self-distillation at SAMI's rate, 66 and 65 for the permuted"
        " control; 78 and 75 held out for the base, 79 and 77 for SAMI; 28 and 26 on"
        " the wrongly linked one, 18 and 13 for SAMI. At a higher rate"
        " self-distillation had reached 90 and 93, and SAMI had lost the form.",
        "Two texts before this one were given up, because the base had not learnt"
        " their links: one linked at 65 %, one with principles about word order.",
        "That a report without the form counts half was fixed when the scorers were"
        " written, after the claims.",
    ),
    profiles={
        "probe": replace(
            FULL,
            shipped=True,
            reading=Reading(updates=2, rate=4e-5, warmup=0),
            steps=(1, 2, 3),
            queries=4,
            pairs=3,
        ),
        "quick": replace(
            FULL,
            shipped=True,
            reading=Reading(updates=0),
            pairs=30,
            only=(BASE, SAMI, DISTILLED, PERMUTED, CHECKED),
        ),
        "full": FULL,
    },
    run=run,
)
