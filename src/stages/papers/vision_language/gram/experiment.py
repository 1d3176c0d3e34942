"""The claims about GRAM, and the experiment that judges them."""

from dataclasses import replace

from stages.evidence import Claim, Gate, Outcome, Paper
from stages.papers.vision_language.gram.arms import (
    Arm,
    Contrastive,
    First,
    MetaLearnt,
    Settings,
    Start,
    hand_words,
    make_lab,
    random_words,
    tune,
)
from stages.papers.vision_language.gram.method import Regulator
from stages.papers.vision_language.gram.rivals import Affine, Raw
from stages.papers.vision_language.gram.scores import (
    BEST,
    COSINE,
    END,
    HARMONIC,
    JUDGED,
    NEW,
    SOURCE,
    TARGET,
    after,
    score,
    score_agreement,
)

ZERO_SHOT, RANDOM, COOP = "hand prompt, untuned", "CoOp, random", "CoOp"
SAME_PAIRS, MAML, AFFINE = "same pairs, no meta", "MAML", "MAML + affine map"
GRAM, GRAM_RAW = "GRAM", "GRAM, raw gradient"
SLOW = "CoOp, slow"  # at the rate that the harmonic mean prefers

# --------------------------------------------------------------------------- the claims

CLAIMS = (
    Claim(
        "C1",
        "After 20 steps, GRAM has a higher harmonic mean of source and target accuracy"
        " than CoOp, which starts from hand-written words.",
        after(HARMONIC, JUDGED),
        GRAM,
        COOP,
        margin=1.0,
        reported="better across domains than the prompt methods it is added to; no"
        " numbers found",
    ),
    Claim(
        "C2",
        "After 20 steps, GRAM is more accurate than CoOp on new classes.",
        after(NEW, JUDGED),
        GRAM,
        COOP,
        reported="generalises better to unseen classes; no numbers found",
    ),
    Claim(
        "C3",
        "After one step, GRAM is more accurate than CoOp on the source.",
        after(SOURCE, 1),
        GRAM,
        COOP,
        margin=1.0,
        reported="its start adapts faster; no numbers found",
    ),
    Claim(
        "C4",
        "After 20 steps, GRAM is more accurate on the targets than its own start tuned"
        " with raw gradients.",
        after(TARGET, JUDGED),
        GRAM,
        GRAM_RAW,
        reported="regulated gradients keep generality; no numbers found",
    ),
    Claim(
        "C5",
        "After 20 steps, GRAM has a higher harmonic mean than CoOp whose start was"
        " trained on the same pairs by CLIP's own loss.",
        after(HARMONIC, JUDGED),
        GRAM,
        SAME_PAIRS,
        origin="ours",
    ),
)
HARMONIC_END, HARMONIC_NOW = f"{HARMONIC} {END}", after(HARMONIC, JUDGED)
NEW_NOW, SOURCE_NOW = after(NEW, JUDGED), after(SOURCE, JUDGED)
TARGET_NOW, ONE_SHOT = after(TARGET, JUDGED), after(HARMONIC, JUDGED, 1)
ALSO = (
    Claim("C1b", "The same, against a slower CoOp.", HARMONIC_NOW, GRAM, SLOW),
    Claim("C1c", "The best harmonic mean on the way.", BEST, GRAM, COOP),
    Claim("C1d", "Target: GRAM against CoOp.", TARGET_NOW, GRAM, COOP),
    Claim("C1e", "Source: GRAM against CoOp.", SOURCE_NOW, GRAM, COOP),
    Claim("C1f", "Harmonic mean after 60 steps.", HARMONIC_END, GRAM, COOP),
    Claim("C1g", "Harmonic mean, one shot.", ONE_SHOT, GRAM, COOP),
    Claim("C1h", "Against an untuned prompt.", HARMONIC_NOW, GRAM, ZERO_SHOT),
    Claim("C2b", "New classes: against a slower CoOp.", NEW_NOW, GRAM, SLOW),
    Claim("C2c", "New classes: CoOp against no tuning.", NEW_NOW, COOP, ZERO_SHOT),
    Claim("C2d", "New classes after 60 steps.", f"{NEW} {END}", GRAM, COOP),
    Claim("C3b", "One step from random words.", after(SOURCE, 1), GRAM, RANDOM),
    Claim("C4b", "Harmonic mean: the same pair.", HARMONIC_NOW, GRAM, GRAM_RAW),
    Claim("C4c", "Cosine: the same pair.", COSINE, GRAM, GRAM_RAW),
    Claim("C4d", "Cosine: GRAM against CoOp.", COSINE, GRAM, COOP),
    Claim("C4e", "Harmonic mean: against MAML.", HARMONIC_NOW, GRAM, MAML),
    Claim("C4f", "Harmonic mean: affine map.", HARMONIC_NOW, GRAM, AFFINE),
    Claim("C4g", "Target: against the affine map.", TARGET_NOW, GRAM, AFFINE),
    Claim("C4h", "Best on the way: against raw.", BEST, GRAM, GRAM_RAW),
    Claim("C4i", "Source: against raw.", SOURCE_NOW, GRAM, GRAM_RAW),
    Claim("C4j", "Target after 60 steps.", f"{TARGET} {END}", GRAM, GRAM_RAW),
    Claim("C5b", "New classes: the same pair.", NEW_NOW, GRAM, SAME_PAIRS),
    Claim("C5c", "Best on the way: the same pair.", BEST, GRAM, SAME_PAIRS),
    Claim("C5d", "Same pairs against CoOp.", HARMONIC_NOW, SAME_PAIRS, COOP),
)
GATES = (
    Gate(
        "The hand prompt on the source, untuned (%)",
        ZERO_SHOT,
        SOURCE_NOW,
        least=40,
        most=75,
    ),
    Gate("CoOp gains on the source (points)", COOP, SOURCE_NOW, ZERO_SHOT, least=3),
    Gate("CoOp loses on the targets (points)", ZERO_SHOT, TARGET_NOW, COOP, least=2),
)

# ----------------------------------------------------------------------------- the arms

MAP_RATE = 3e-3  # of Adam, for whatever map of gradients is learnt
LEARNT = MetaLearnt(Regulator, inner=1.0, rates=(1e-3, MAP_RATE))
ARMS: dict[str, Arm] = {
    RANDOM: Arm(random_words, 0.03),
    COOP: Arm(hand_words, 0.05),
    SLOW: Arm(hand_words, 0.02),
    SAME_PAIRS: Arm(Contrastive(3e-2), 0.12),
    MAML: Arm(MetaLearnt(Raw, inner=3.0, rates=(1e-3, MAP_RATE)), 0.12),
    AFFINE: Arm(MetaLearnt(Affine, inner=3.0, rates=(1e-3, MAP_RATE)), 0.12),
    GRAM: Arm(LEARNT, 0.08),
    GRAM_RAW: Arm(LEARNT, 0.08, raw=True),
}

# ---------------------------------------------------------------------------------- run


def run(settings: Settings, seed: int) -> Outcome:
    """Let each arm of a seed adapt to all tasks, and test it on the way."""
    outcome, lab = Outcome(), make_lab(settings, seed)
    starts: dict[First, Start] = {}  # arms with one first stage share it
    for name in settings.only or ARMS:
        arm = ARMS[name]
        if arm.first not in starts:
            starts[arm.first] = arm.first(lab)
        paths = [tune(arm, starts[arm.first], lab, shots) for shots in settings.shots]
        for shots, path in zip(settings.shots, paths, strict=True):
            score(outcome, name, lab, path, shots)
        score_agreement(outcome, name, lab, paths[0])
        outcome.exhibits[name] = (starts[arm.first], paths[0])
    still = hand_words(lab).prompts.expand(settings.steps + 1, -1, -1, -1)
    for shots in settings.shots:
        score(outcome, ZERO_SHOT, lab, still, shots)
    outcome.exhibits["lab"] = lab
    return outcome


FULL = Settings()

PAPER = Paper(
    slug="vision_language/gram",
    title=(
        "Gradient-Regulated Meta-Prompt Learning for Generalizable Vision-Language"
        " Models"
    ),
    arxiv="2303.06571",
    year=2023,
    bibkey="li2023gram",
    claims=CLAIMS,
    also=ALSO,
    gates=GATES,
    deviations=(
        "Before the claims were fixed, a prototype on tuning seeds 1000 and 1001 had"
        " shown harmonic means after 20 steps of 63, 63 and 63 for CoOp, the same pairs"
        " without meta-learning and GRAM with four shots, and of 62, 63 and 64 with one"
        " shot. Tuning hardly lowered target accuracy there.",
        "The source was to be neon, with one shot. There CoOp gained at most 3 points"
        " on seed 1000; with four shots it gained 4, and lost 1 to 3 on the targets. In"
        " noisy style with four shots it gained 7 and lost 6. So noisy is the source,"
        " and one shot is measured beside. Unlabelled pairs have their four styles"
        " equally often.",
        "The criterion for lengths and rates, source accuracy after 20 steps, was"
        " chosen after a first look at seed 1000, with lengths of 0.03, 0.1 and 0.3."
        " The best GRAM led CoOp by 3 points of the harmonic mean under this criterion,"
        " and by 1 if the harmonic mean itself was the criterion. With finer lengths"
        " the lead was gone. CoOp, slow was added to show what the other one gives.",
        "Each arm had 20 trials on seeds 1000 and 1001: lengths of 0.03, 0.05, 0.08,"
        " 0.12 and 0.2, with four wordings (CoOp), random vectors of four sizes, outer"
        " rates of 3e-3 to 0.1 (same pairs), or inner lengths of 1 and 3 with outer"
        " rates of 1e-3 and 3e-3 (the others). Earlier rounds of 16 trials, with inner"
        " lengths of 0.3 and 1 and outer rates of 3e-3 and 1e-2, were no better.",
        "In these trials the harmonic mean was 53.8 for CoOp, 53.6 for GRAM, 53.2 with"
        " raw gradients, for MAML and for the same pairs, 53.1 with the affine map,"
        " 55.1 for CoOp, slow. Other rates for the regulator, a gate that starts at one"
        " half, and 900 steps moved GRAM by less than 1 point.",
        "CoOp, slow had nine lengths, from 0.005 to 0.06; it takes the one with the"
        " best harmonic mean. No other arm was chosen so. Among the lengths tried,"
        " that choice would have given 54.7 for GRAM, 54.8 with raw gradients, 54.9 for"
        " MAML. The smallest length tried is that of CoOp, random; the smallest outer"
        " rate is that of all meta-learned arms.",
        "C2d and C4h to C4j, which are measured beside, were added after the record.",
    ),
    profiles={
        "probe": replace(
            FULL, pairs=1_200, meta_steps=2, tasks=3, supply=4, tests=2, steps=20
        ),
        "quick": replace(
            FULL,
            pairs=1_600,
            meta_steps=60,
            tasks=16,
            tests=20,
            shots=(4,),
            only=(COOP, SLOW, GRAM, GRAM_RAW),
        ),
        "full": FULL,
    },
    run=run,
)
