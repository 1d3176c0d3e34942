"""The claims about generators as embedders and SaHa, and the experiment that judges
them.
"""

from dataclasses import replace

from stages.evidence import Claim, Gate, Outcome, Paper
from stages.papers.vision_language.generator_to_embedder.arms import (
    PLAIN,
    Arm,
    HardestFirst,
    Settings,
    at_random,
    embed_mean,
    embed_pairs,
    make_lab,
    mined,
    prepare,
)
from stages.papers.vision_language.generator_to_embedder.method import (
    HIERARCHICAL,
    Prompt,
    SaHa,
)
from stages.papers.vision_language.generator_to_embedder.scores import (
    CENTRED,
    DIRECTIONS,
    FALSE,
    GAP,
    HARDNESS,
    OF_ANCHORS,
    RECALL,
    USED,
    score,
    score_negatives,
)
from stages.worlds.picture_talk import SYSTEM, USER

NONE, QUERIES = "no prompt", "user line on queries"
HIERARCHY, BOTH = "hierarchical", "user line on both sides"
CONTROL = "hierarchical, control model"
RANDOM, HARDEST, SAHA = "random batches", "SaHa without filter", "SaHa"
NONE_CONTROL = "no prompt, control model"
SYSTEM_ONLY, SHUFFLED = "system message only", "system words shuffled"
MEAN = "hierarchical, mean of states"

# --------------------------------------------------------------------------- the claims

CLAIMS = (
    Claim(
        "C1",
        "Without training, the hierarchical prompt retrieves better than no prompt.",
        RECALL,
        HIERARCHY,
        NONE,
        margin=3.0,
        reported="43.3 against 13.9 on average (MMEB, Qwen2-VL-2B)",
    ),
    Claim(
        "C2",
        "It retrieves better than a user's line on queries alone.",
        RECALL,
        HIERARCHY,
        QUERIES,
        reported="no numbers; the variants we found are others",
    ),
    Claim(
        "C3",
        "After as many updates, SaHa retrieves better than random batches.",
        RECALL,
        SAHA,
        RANDOM,
        reported="67.1 against 59.3 of VLM2Vec, which differs in more (MMEB, 2B)",
    ),
    Claim(
        "C4",
        "SaHa's batches have a smaller share of false negatives than without its"
        " filter.",
        FALSE,
        SAHA,
        HARDEST,
        lower_is_better=True,
        reported="the filter's purpose; no numbers found",
    ),
    Claim(
        "C5",
        "The hierarchical prompt retrieves better than the user's line on both sides.",
        RECALL,
        HIERARCHY,
        BOTH,
        reported="no numbers, but the authors' notebooks have this variant",
        origin="ours",
    ),
    Claim(
        "C6",
        "The prompt gains more on a model that has answered in one word than on one"
        " that has not.",
        RECALL,
        HIERARCHY,
        NONE,
        over=(CONTROL, NONE_CONTROL),
        origin="ours",
    ),
)
ALSO = (
    Claim("C1b", "Picture to caption.", DIRECTIONS[0], HIERARCHY, NONE),
    Claim("C1c", "Caption to picture.", DIRECTIONS[1], HIERARCHY, NONE),
    Claim("C1d", "With means taken off.", CENTRED, HIERARCHY, NONE),
    Claim("C1e", "Modality gap.", GAP, HIERARCHY, NONE, lower_is_better=True),
    Claim("C1f", "The last state against the mean.", RECALL, HIERARCHY, MEAN),
    Claim("C2b", "The line on queries against none.", RECALL, QUERIES, NONE),
    Claim("C2c", "The system message alone against none.", RECALL, SYSTEM_ONLY, NONE),
    Claim("C3b", "SaHa against no filter.", RECALL, SAHA, HARDEST),
    Claim("C3c", "No filter against random.", RECALL, HARDEST, RANDOM),
    Claim("C3d", "Random batches against no training.", RECALL, RANDOM, HIERARCHY),
    Claim("C4b", "False negatives (%): SaHa against random.", FALSE, SAHA, RANDOM),
    Claim(
        "C4c",
        "False negatives of anchors (%).",
        OF_ANCHORS,
        SAHA,
        HARDEST,
        lower_is_better=True,
    ),
    Claim("C4d", "Hardness: SaHa against no filter.", HARDNESS, SAHA, HARDEST),
    Claim("C4e", "Hardness: SaHa against random.", HARDNESS, SAHA, RANDOM),
    Claim("C4f", "Pairs that are in clusters (%).", USED, SAHA),
    Claim("C5b", "With means taken off.", CENTRED, HIERARCHY, BOTH),
    Claim("C5c", "Modality gap.", GAP, HIERARCHY, BOTH, lower_is_better=True),
    Claim(
        "C5d", "System words in order against shuffled.", RECALL, HIERARCHY, SHUFFLED
    ),
    Claim("C6b", "On the control model, against none.", RECALL, CONTROL, NONE_CONTROL),
)
GATES = (
    Gate("No prompt finds some (%)", NONE, RECALL, least=10, most=50),
    Gate("Hierarchical leaves room (%)", HIERARCHY, RECALL, most=80),
    Gate(
        "Fine-tuning adds to it (points)",
        RANDOM,
        RECALL,
        minus=HIERARCHY,
        least=10,
    ),
)

# ----------------------------------------------------------------------------- the arms

RATE = 1e-3
ARMS: dict[str, Arm] = {
    NONE: Arm(),
    QUERIES: Arm(prompt=Prompt(query=USER)),
    HIERARCHY: Arm(prompt=HIERARCHICAL),
    BOTH: Arm(prompt=Prompt(query=USER, candidate=USER)),
    CONTROL: Arm(PLAIN, HIERARCHICAL),
    RANDOM: Arm(prompt=HIERARCHICAL, course=at_random, rate=RATE),
    HARDEST: Arm(prompt=HIERARCHICAL, course=mined(HardestFirst), rate=RATE),
    SAHA: Arm(prompt=HIERARCHICAL, course=mined(SaHa), rate=RATE),
}
SHUFFLED_SYSTEM = " ".join(sorted(SYSTEM.split()))  # by the alphabet
ASIDE: dict[str, Arm] = {
    NONE_CONTROL: Arm(PLAIN),
    SYSTEM_ONLY: Arm(prompt=Prompt(system=SYSTEM)),
    SHUFFLED: Arm(prompt=Prompt(SHUFFLED_SYSTEM, USER)),
    MEAN: Arm(prompt=HIERARCHICAL, how=embed_mean),
}

# ---------------------------------------------------------------------------------- run


def run(settings: Settings, seed: int) -> Outcome:
    """Let each arm of a seed embed the test; fine-tune those that are."""
    outcome = Outcome()
    lab = make_lab(settings, seed)
    for name, arm in (ARMS | ASIDE).items():
        if settings.only and name not in settings.only:
            continue
        model, course = prepare(arm, lab)
        tasks = embed_pairs(model, lab.tests.pairs(arm.prompt), arm.how)
        score(outcome, name, tasks, lab.tests.kinds)
        if course:
            negatives = (course.batches, course.clusters, lab.vectors, lab.pool.kinds)
            score_negatives(outcome, name, *negatives)
        outcome.exhibits[name] = tasks
    outcome.exhibits["lab"] = lab
    return outcome


FULL = Settings()

PAPER = Paper(
    slug="vision_language/generator_to_embedder",
    title=(
        "From Generator to Embedder: Harnessing Innate Abilities of Multimodal LLMs via"
        " Building Zero-Shot Discriminative Embedding Model"
    ),
    arxiv="2508.00955",
    year=2025,
    bibkey="ju2025generator",
    claims=CLAIMS,
    also=ALSO,
    gates=GATES,
    deviations=(
        "Before the claims were fixed, a prototype had shown Recall@1 on seed 1000:"
        " 24 % without a prompt, 16 with the user's line on queries, 39 hierarchical,"
        " 50 with the line on both sides; 16 and 18 on a control without and with the"
        " prompt. So C5 looked lost. Fine-tuning had not been tried.",
        "What is said in pre-training was changed eight times on seeds 1000 to 1002,"
        " to meet the gates. The hierarchical prompt was behind no prompt in one"
        " version, level in another, ahead in seven; the line on both sides led it in"
        " all nine. At first no prompt found about 11 %, as its state tells colours"
        " alone. Since then a plain answer begins with a shape now and then.",
        "The last version, in the order no prompt, hierarchical, line on both sides,"
        " showed 40, 80, 93 on seed 1000; 21, 49, 64 on 1001; 28, 65, 82 on 1002. The"
        " control had 14, 5, 18; then 20, 3, 16; then 15, 11, 26.",
        "The base models were to read for 1,000 updates; they read for 600, which takes"
        " less time. Fine-tuning was to take 200 updates of 3,200 pairs. On seed 1000"
        " all three arms then reached 99.9 % or more, so there was nothing to compare;"
        " it takes 40 updates of 1,600 pairs.",
        "Tuning tried rates of 3e-4, 1e-3, 3e-3 and 1e-2 on seeds 1000 and 1001, and"
        " 1e-3 and 3e-3 on 1002, for the three arms alike. At 1e-3, best for each, the"
        " means were 85.0 % for random batches, 87.4 without the filter, 87.3 for"
        " SaHa. A temperature of 0.05 was worse for all three.",
    ),
    profiles={
        "probe": replace(
            FULL,
            reading=2,
            pairs=160,
            candidates=24,
            updates=2,
            batch=16,
            negatives=3,
        ),
        "quick": replace(
            FULL,
            reading=0,
            pairs=480,
            updates=12,
            only=(
                *(NONE, QUERIES, HIERARCHY, BOTH, CONTROL, NONE_CONTROL),
                *(RANDOM, SAHA),
            ),
        ),
        "full": FULL,
    },
    run=run,
)
