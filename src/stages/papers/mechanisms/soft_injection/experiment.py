"""The claims about soft injection, and the experiment that judges them."""

from dataclasses import replace

from stages import zoo
from stages.evidence import Claim, Gate, Outcome, Paper
from stages.papers.mechanisms.soft_injection import arms
from stages.papers.mechanisms.soft_injection.arms import Arm, Lab, Settings
from stages.papers.mechanisms.soft_injection.scores import (
    ABOVE,
    ACCURACY,
    BEST,
    BINARY,
    BOTTOM,
    BY_HEADS,
    CHANGED,
    KIN,
    MEAN,
    OTHER,
    STRANGER,
    TOP,
    WORST,
    altered,
    best_reader,
    grown,
    score,
    score_alphas,
    told,
)
from stages.training import pick_device
from stages.worlds import ledgers

SITE, ZERO, TEN = "SITE", "0-shot", "10-shot"
FUNCTION, GAINS, LORA = "function vector", "gains only", "LoRA"
ON_NOISE, FROM_TEN = "SITE on noise", "SITE from ten pairs"
BASE = "base model"

# --------------------------------------------------------------------------- the claims

CLAIMS = (
    Claim(
        "C1",
        "A zero-shot prompt with a softly injected trace is answered more accurately"
        " than a 10-shot prompt.",
        ACCURACY,
        SITE,
        TEN,
        reported="+10.2 to +14.3 points over 12 models",
    ),
    Claim(
        "C2",
        "At equal labels soft selection beats a function vector.",
        ACCURACY,
        SITE,
        FUNCTION,
        reported="90.02 % for SITE (Llama-3.1-8B, FV suite); of this arm, not found",
    ),
    Claim(
        "C3",
        "The half of the heads with the largest α does as well as all of them.",
        ACCURACY,
        TOP,
        SITE,
        margin=3.0,
        kind="equivalence",
        reported="high-α heads alone 57.3, SITE 58.5 on average; the margin is ours",
    ),
    Claim(
        "C4",
        "After training over 70 % of the α lie outside (0.1, 0.9).",
        ABOVE,
        SITE,
        reported="80 to 90 % near 0 or 1 (quoted by a reviewer)",
    ),
    Claim(
        "C5",
        "The α of the most similar task serve a task better than those of others.",
        ACCURACY,
        KIN,
        STRANGER,
        reported="head sets transfer between similar tasks; numbers not found",
    ),
    Claim(
        "C6",
        "With t and α from the very ten pairs of a prompt, SITE beats that prompt.",
        ACCURACY,
        FROM_TEN,
        TEN,
        reported="not found; M = 1 gives 57.5 on average, α from more pairs",
        origin="ours",
    ),
)
ALSO = (
    Claim("C1b", "On changed entries.", CHANGED, SITE, TEN),
    Claim("C1c", "Against the best reader of ten pairs.", ACCURACY, SITE, BEST),
    Claim("C1d", "Against LoRA, at equal labels.", ACCURACY, SITE, LORA),
    Claim("C2b", "Against gains, which see no trace.", ACCURACY, SITE, GAINS),
    Claim("C2c", "The same, on changed entries.", CHANGED, SITE, GAINS),
    Claim("C2d", "What gains add to 0-shot.", ACCURACY, GAINS, ZERO),
    Claim("C3b", "What the other half loses.", ACCURACY, SITE, BOTTOM),
    Claim("C3c", "What all tasks' mean t loses.", ACCURACY, SITE, MEAN),
    Claim("C3d", "What its twin's t loses, on changed entries.", CHANGED, SITE, OTHER),
    Claim("C4b", "Near-binary α, against training on noise.", BINARY, SITE, ON_NOISE),
    Claim("C4c", "Accuracy, against training on noise.", ACCURACY, SITE, ON_NOISE),
)
GATES = (
    Gate("0-shot is ambiguous (accuracy)", ZERO, ACCURACY, most=30),
    Gate(
        "The base knows each task: told by ten changed entries, it answers another"
        " (worst task)",
        BASE,
        WORST,
        least=90,
    ),
    Gate("Ten pairs often do not tell (changed entries)", TEN, CHANGED, most=90),
    Gate("There is room: LoRA above 10-shot", LORA, ACCURACY, TEN, least=5),
)

# ----------------------------------------------------------------------------- the arms

ARMS: dict[str, Arm] = {
    ZERO: Arm(arms.zero_shot),
    TEN: Arm(arms.few_shot),
    SITE: Arm(arms.soft, rate=0.2),
    FUNCTION: Arm(arms.function_vector),
    GAINS: Arm(arms.gains, rate=0.6),
    LORA: Arm(arms.lora, rate=0.01),
    ON_NOISE: Arm(arms.soft_on_noise, rate=0.2),
    FROM_TEN: Arm(arms.soft_from_ten, rate=0.1),
}


def make_lab(settings: Settings, seed: int) -> Lab:
    """Load one of the base models, in turn, and divide the toys of a seed."""
    models = zoo.load("icl_gpt")
    world = seed % len(models)
    model = models[str(world)].to(pick_device())
    return Lab.of(model, ledgers.invent(world), settings, seed)


# ---------------------------------------------------------------------------------- run


def run(settings: Settings, seed: int) -> Outcome:
    """Run all arms of a seed on the same toys, then read SITE's α and its answers with
    other heads or another content.
    """
    outcome = Outcome()
    lab = make_lab(settings, seed)
    outcome.score(BASE, WORST, told(lab).min())
    score(outcome, BEST, best_reader(lab), lab)
    for name in settings.only or ARMS:
        arm = ARMS[name]
        found, learnt = arm.run(lab, settings, settings.training(arm.rate))
        score(outcome, name, found, lab)
        outcome.exhibits[name] = learnt
        if name in (SITE, ON_NOISE):
            score_alphas(outcome, name, learnt.last)
    share = outcome.exhibits[SITE].best
    for name, found in altered(lab, share).items():
        score(outcome, name, found, lab)
    for name, found in grown(lab, share).items():
        outcome.curve(name, BY_HEADS, range(len(found)), found.mean(1))
        outcome.exhibits[name] = found
    outcome.exhibits["lab"] = lab
    return outcome


FULL = Settings()

PAPER = Paper(
    slug="mechanisms/soft_injection",
    title=(
        "Soft Injection of Task Embeddings Outperforms Prompt-Based In-Context Learning"
    ),
    arxiv="2507.20906",
    year=2025,
    bibkey="park2025soft",
    claims=CLAIMS,
    also=ALSO,
    gates=GATES,
    deviations=(
        "An earlier version, with 28 arms, five seeds and base models that had not"
        " learnt most of their 17 tasks, had shown C1 -0.7 (-4.4 to 3.0), C2 36.9,"
        " C3 -15.4, C4 4.3, C5 10.3 and C6 -1.8.",
        "Before the claims were fixed, tuning seeds 1000 and 1001 had shown 100 and"
        " 100 % for SITE, 87.2 and 88.1 for 10-shot, 97.5 and 95.0 for LoRA, 80.0"
        " and 53.3 for gains, 79.2 and 55.0 for function vectors, 80.0 and 85.0 for"
        " the top half of heads, 74.7 and 71.6 % of near-binary α, 89.6 and 89.1 on"
        " noise, and 87.8 and 87.5 for SITE from ten pairs.",
        "On a first network, trained for 750 updates and tested on as many changed"
        " toys as others, LoRA was 4.2, 3.7 and 5.7 points above 10-shot, where a"
        " gate asks for 5. Since then seven of ten test toys have changed. The bound"
        " of the gate on changed entries was 85 and became 90, as the best reader is"
        " expected at 85.",
    ),
    profiles={
        "probe": replace(FULL, steps=4, every=2, prompts=3, draws=2, most=(1, 2)),
        "quick": replace(
            FULL, steps=40, every=10, prompts=20, draws=3, only=(ZERO, TEN, SITE, GAINS)
        ),
        "full": FULL,
    },
    run=run,
)
