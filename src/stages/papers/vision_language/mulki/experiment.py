"""The claims about MulKI, and the experiment that judges them."""

from dataclasses import replace

import torch

from stages.evidence import Claim, Gate, Outcome, Paper
from stages.models.clip import CLIP
from stages.papers.vision_language.mulki.arms import (
    BEFORE,
    FIRST,
    Arm,
    Lab,
    Settings,
    all_together,
    alone,
    course,
    each_alone,
    make_lab,
    referred,
    taught,
)
from stages.papers.vision_language.mulki.method import Teacher, relations, trust
from stages.papers.vision_language.mulki.rivals import FixedWeights, WithoutRelations
from stages.papers.vision_language.mulki.scores import (
    AVERAGE,
    BOTH,
    HIGHEST,
    LAST,
    LOWEST,
    NEW,
    TRANSFER,
    TRUST,
    score,
    score_start,
)

ZERO_SHOT, FINE_TUNE, AVERAGING = "zero-shot", "fine-tuning", "averaging only"
PREVIOUS, ORIGINAL = "previous model only", "original model only"
REFERRED, MULKI = "ZSCL", "MulKI"
PLAIN, FIXED = "MulKI, no relations", "MulKI, fixed weights"
JOINT, ALONE = "all together", "each alone"

# --------------------------------------------------------------------------- the claims

CLAIMS = (
    Claim(
        "C1",
        "On tasks that are still to come, MulKI is more accurate than fine-tuning.",
        TRANSFER,
        MULKI,
        FINE_TUNE,
        margin=3.0,
        reported="zero-shot ability kept far better than by others; no numbers found",
    ),
    Claim(
        "C2",
        "There it is about as accurate as ZSCL, which learns from reference data.",
        TRANSFER,
        MULKI,
        REFERRED,
        margin=2.0,
        kind="noninferiority",
        reported="better than methods with reference data; no numbers found",
    ),
    Claim(
        "C3",
        "After the last task it is more accurate on all tasks than with the original"
        " model as its only teacher.",
        LAST,
        MULKI,
        ORIGINAL,
        reported="two teachers are better than one; no numbers found",
    ),
    Claim(
        "C4",
        "On tasks still to come it is more accurate than with the previous model as its"
        " only teacher.",
        TRANSFER,
        MULKI,
        PREVIOUS,
        reported="two teachers are better than one; no numbers found",
    ),
    Claim(
        "C5",
        "Over tasks to come and tasks learnt it is more accurate than fine-tuning whose"
        " weights are averaged just so.",
        BOTH,
        MULKI,
        AVERAGING,
        origin="ours",
    ),
)
ALSO = (
    Claim("C1b", "Averaging only against fine-tuning.", TRANSFER, AVERAGING, FINE_TUNE),
    Claim("C1c", "Last: MulKI against fine-tuning.", LAST, MULKI, FINE_TUNE),
    Claim("C1d", "Avg: MulKI against fine-tuning.", AVERAGE, MULKI, FINE_TUNE),
    Claim("C1e", "What MulKI keeps of zero-shot.", TRANSFER, MULKI, ZERO_SHOT),
    Claim("C1f", "The task just learnt, against fine-tuning.", NEW, MULKI, FINE_TUNE),
    Claim("C2b", "Last: MulKI against ZSCL.", LAST, MULKI, REFERRED),
    Claim("C2c", "Avg: MulKI against ZSCL.", AVERAGE, MULKI, REFERRED),
    Claim("C3b", "Transfer: against the original only.", TRANSFER, MULKI, ORIGINAL),
    Claim("C3c", "Both: against the original only.", BOTH, MULKI, ORIGINAL),
    Claim("C4b", "Last: against the previous only.", LAST, MULKI, PREVIOUS),
    Claim("C5b", "Transfer: against averaging only.", TRANSFER, MULKI, AVERAGING),
    Claim("C5c", "Last: against averaging only.", LAST, MULKI, AVERAGING),
    Claim("C5d", "The task just learnt: the same.", NEW, MULKI, AVERAGING),
    Claim("C5e", "Both: against no relations.", BOTH, MULKI, PLAIN),
    Claim("C5f", "Both: against fixed weights.", BOTH, MULKI, FIXED),
    Claim("C5g", "Weight of the previous model (%).", TRUST, MULKI),
    Claim("C5h", "Last: all together against MulKI.", LAST, JOINT, MULKI),
)
GATES = (
    Gate("The weakest task, zero-shot (%)", ZERO_SHOT, LOWEST, least=35),
    Gate("The best task, zero-shot (%)", ZERO_SHOT, HIGHEST, most=80),
    Gate("Each task learnt alone (%)", ALONE, NEW, least=85),
    Gate(
        "Fine-tuning loses Transfer (points)",
        ZERO_SHOT,
        TRANSFER,
        minus=FINE_TUNE,
        least=8,
    ),
)

# ----------------------------------------------------------------------------- the arms

RATE = 7e-4  # of all arms, as the paper's benchmark has one rate for all
ARMS: dict[str, Arm] = {
    FINE_TUNE: Arm(alone, RATE, connected=False),
    AVERAGING: Arm(alone, RATE),
    PREVIOUS: Arm(taught(BEFORE), RATE, 3.0),
    ORIGINAL: Arm(taught(FIRST), RATE, 1.0),
    REFERRED: Arm(referred, RATE, 0.1),
    MULKI: Arm(taught(FIRST, BEFORE), RATE, 1.0),
    PLAIN: Arm(taught(FIRST, BEFORE, objective=WithoutRelations), RATE, 1.0),
    FIXED: Arm(taught(FIRST, BEFORE, objective=FixedWeights), RATE, 1.0),
}

# ---------------------------------------------------------------------------------- run


def run(settings: Settings, seed: int) -> Outcome:
    """Let each arm of a seed learn the tasks one after the other, and test it."""
    outcome = Outcome()
    lab = make_lab(settings, seed)
    start = lab.accuracy(lab.original)
    score_start(outcome, ZERO_SHOT, start)
    for name in settings.only or ARMS:
        models = course(ARMS[name], lab)
        matrix = torch.stack([lab.accuracy(model) for model in models])
        score(outcome, name, start, matrix)
        outcome.exhibits[name] = (models, matrix)
    if not settings.only:
        own = [lab.accuracy(model) for model in each_alone(lab, RATE)]
        outcome.score(ALONE, NEW, torch.stack(own).diagonal().mean())
        outcome.score(JOINT, LAST, lab.accuracy(all_together(lab, RATE)).mean())
    outcome.score(MULKI, TRUST, previous_share(lab, outcome.exhibits[MULKI][0]))
    outcome.exhibits |= {"lab": lab, "zero-shot": start}
    return outcome


def previous_share(lab: Lab, models: list[CLIP]) -> float:
    """Return how much the previous model counted as a teacher, in %, over the pictures
    of each task but the first.
    """
    shares = []
    for task in lab.tasks[1:]:
        lesson = lab.lessons[task]
        every = torch.arange(len(lesson.labels), device=lesson.labels.device)
        teachers = [Teacher(m, lesson) for m in (lab.original, models[task - 1])]
        taught = [relations(t.view(every), lesson.labels, t.scale) for t in teachers]
        shares.append(trust(taught, lesson.labels)[1].mean())
    return 100 * torch.stack(shares).mean().item()


FULL = Settings()

PAPER = Paper(
    slug="vision_language/mulki",
    title=(
        "Multi-Stage Knowledge Integration of Vision-Language Models for Continual"
        " Learning"
    ),
    arxiv="2411.06764",
    year=2024,
    bibkey="zhang2024mulki",
    claims=CLAIMS,
    also=ALSO,
    gates=GATES,
    deviations=(
        "Before the claims were fixed, a prototype with 240 pictures a task had shown"
        " on tuning seeds 1001 and 1000: Transfer 33 and 37 for fine-tuning, 34 and 43"
        " for averaging only, 51 and 48 for the original model only, 50 and 50 for"
        " MulKI; 60 for ZSCL on seed 1000. A first base of this code, weaker, had"
        " shown 25, 32, 39 and 38 on seed 1000.",
        "After the claims were written, a better base showed Transfer 51 for"
        " fine-tuning, 54 for averaging only, 56 for MulKI and for either teacher"
        " alone, 59 for ZSCL; but tasks learnt alone reached only 80 %. So turns are"
        " limited to 30 degrees, small things are smaller and hide less, noisy shapes"
        " differ more, and a task has 960 pictures. Neon and noisy style each take"
        " one in a hundred pictures of the album, sketch two, so that zero-shot"
        " accuracy stays below 80 %.",
        "The learning rate was to be 2e-3. At that rate single tasks are learnt best,"
        " but all arms lose more than at lower ones: on seed 1000 the best mean of"
        " Transfer and Last was 60 for averaging only, 64 for MulKI, 66 for the"
        " original model only. At 5e-4 averaging only had 69 and 70 on seeds 1000 and"
        " 1001, but fine-tuning lost 8 and 6 points of Transfer, fewer than its gate"
        " asks. So all arms have 7e-4, where it lost 8 and 10.",
        "Weights of agreement are those with the best mean of Transfer and Last on"
        " seeds 1000 and 1001, of 0.1, 0.3, 1 and 3, and further where the best lay at"
        " the edge. The mean was 63.7 for fine-tuning, 68.7 for averaging only, 68.3"
        " for MulKI, 69.1 for the original model only, 67.2 for the previous one only,"
        " 74.6 for ZSCL, 68.0 without relations. With MulKI's weight the previous model"
        " only had 66.4.",
    ),
    profiles={
        "probe": replace(
            FULL, pictures=32, tests=16, updates=2, batch=8, reference=(20, 10)
        ),
        "quick": replace(
            FULL,
            pictures=480,
            tests=240,
            updates=40,
            batch=16,
            reference=(20, 10),  # no live arm takes it
            only=(FINE_TUNE, AVERAGING, MULKI),
        ),
        "full": FULL,
    },
    run=run,
)
