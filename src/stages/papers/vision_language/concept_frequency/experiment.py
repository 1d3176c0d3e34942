"""The claims about concept frequency, and the experiment that judges them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from stages.evidence import Claim, Gate, Outcome, Paper
from stages.models import seeded
from stages.models.clip import (
    CLIP,
    ConvTower,
    TextTower,
    accuracy_by_class,
    zero_shot,
)
from stages.papers.vision_language.concept_frequency import corpora
from stages.papers.vision_language.concept_frequency.corpora import (
    NAMES,
    Corpus,
    Pictures,
    World,
    collect,
    vocabulary,
)
from stages.papers.vision_language.concept_frequency.method import Hits, frequencies
from stages.papers.vision_language.concept_frequency.scores import (
    COMMONEST,
    CORRELATION,
    ERROR,
    EXPLAINED,
    FOUND,
    IN_BINS,
    IN_COUNT,
    IN_GLYPHS,
    IN_LOG,
    LEVEL,
    LINE,
    LOGISTIC,
    MEAN,
    RAREST,
    RECALL,
    SLOPE,
    SPREAD,
    WITHIN,
    Curve,
    score,
    score_form,
    score_level,
    score_slope,
    score_tagger,
    score_within,
)
from stages.seeding import torch_rng
from stages.training import pick_device
from stages.training.contrastive import learn_pairs
from stages.worlds import captions

ZIPF, UNIFORM, CAPPED = "Zipf", "uniform", "capped"
FIFTH, TWO_FIFTHS = "20 % misaligned", "40 % misaligned"
PRUNED, REVERSED = "pruned", "reversed"

# --------------------------------------------------------------------------- the claims

CLAIMS = (
    Claim(
        "C1",
        "Zero-shot accuracy of a concept rises with the logarithm of its count.",
        SLOPE,
        ZIPF,
        margin=5.0,
        reported="log-linear in all 16 plots; 5 to 10 points a decade (our reading of"
        " the released results)",
    ),
    Claim(
        "C2",
        "The logarithm of the count explains more of the variance than the count.",
        EXPLAINED,
        IN_LOG,
        IN_COUNT,
        reported="a linear trend in log count; 0.18 against 0.02 for one model (our"
        " reading of the released results)",
    ),
    Claim(
        "C3",
        "It rises just so without the training pictures that are most like test"
        " pictures.",
        SLOPE,
        PRUNED,
        margin=5.0,
        reported="the trend persists without the most similar quarter",
    ),
    Claim(
        "C4",
        "The same glyph is recognised better where its name is more frequent.",
        WITHIN,
        REVERSED,
        margin=5.0,
        origin="ours",
    ),
    Claim(
        "C5",
        "Means over bins correlate with log count more closely than concepts do.",
        CORRELATION,
        IN_BINS,
        IN_GLYPHS,
        margin=0.05,
        origin="ours",
    ),
)
ALSO = (
    Claim("C1b", "With 20 % misaligned.", SLOPE, FIFTH),
    Claim("C1c", "With 40 % misaligned.", SLOPE, TWO_FIFTHS),
    Claim(
        "C2b",
        "A logistic curve against a line, on held-out glyphs.",
        ERROR,
        LOGISTIC,
        LINE,
        lower_is_better=True,
    ),
    Claim("C3b", "All glyphs: pruned against Zipf.", MEAN, PRUNED, ZIPF),
    Claim("C3c", "Pruned, at equal count.", LEVEL, PRUNED),
    Claim("C5b", "The correlation over glyphs.", CORRELATION, IN_GLYPHS),
    Claim("C6a", "20 % misaligned, at equal matched count.", LEVEL, FIFTH),
    Claim("C6b", "40 % misaligned, at equal matched count.", LEVEL, TWO_FIFTHS),
    Claim("C6c", "40 % misaligned, all glyphs.", MEAN, TWO_FIFTHS, ZIPF),
    Claim("C6d", "Of 20 %, what a tagger finds misaligned (%).", FOUND, FIFTH),
    Claim("C6e", "Of the true matches, what it finds (%).", RECALL, FIFTH),
    Claim("C7a", "What the cap gives the 20 rarest.", RAREST, CAPPED, ZIPF),
    Claim("C7b", "What it takes from the 20 commonest.", COMMONEST, ZIPF, CAPPED),
    Claim("C7c", "What it changes over all glyphs.", MEAN, CAPPED, ZIPF),
)
GATES = (
    Gate("The 20 rarest names are hardly learnt (%)", ZIPF, RAREST, most=45),
    Gate("The 20 commonest are (%)", ZIPF, COMMONEST, least=70),
    Gate("All glyphs can be learnt from as many pairs (%)", UNIFORM, MEAN, least=60),
    Gate("Glyphs are about equally hard (points)", UNIFORM, SPREAD, most=15),
)

# ------------------------------------------------------------ the settings and the arms


@dataclass(frozen=True)
class Settings:
    """What a profile fixes.

    Attributes:
        pairs: of a corpus.
        tests: pictures a glyph.
        updates, batch, rate: of training.
        only: arms that are run; all where it is empty.
    """

    pairs: int = 4_000
    tests: int = 60
    updates: int = 400
    batch: int = 256
    rate: float = 2e-3
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Arm:
    """A corpus: how many pairs each rank has, and what else `collect` is told."""

    by_rank: Callable[[int], corpora.Counts] = corpora.zipf
    how: dict = field(default_factory=dict)


ARMS: dict[str, Arm] = {
    ZIPF: Arm(),
    UNIFORM: Arm(corpora.uniform),
    CAPPED: Arm(corpora.capped),
    FIFTH: Arm(how={"misaligned": 0.2}),
    TWO_FIFTHS: Arm(how={"misaligned": 0.4}),
    PRUNED: Arm(how={"pruned": 0.25}),
    REVERSED: Arm(how={"backwards": True}),
}
SLOPED = (ZIPF, FIFTH, TWO_FIFTHS, PRUNED, REVERSED)  # counts differ enough for a line
TAGGER = UNIFORM  # the arm whose model tags pictures

# ---------------------------------------------------------------------------------- run


def learn(corpus: Corpus, settings: Settings, seed: int) -> CLIP:
    """Train a CLIP of a seed on a corpus. All arms start from the same weights."""
    with seeded(seed, "concepts"):
        model = CLIP(ConvTower(), TextTower(len(vocabulary()), depth=0))
    model = model.to(pick_device())
    device = model.log_scale.device
    rows = torch.randint(
        len(corpus.named),
        (settings.updates, settings.batch),
        generator=torch_rng(seed, "concepts", "batches"),
    )
    pairs = (corpus.pictures.images().to(device), corpus.tokens.to(device))
    learn_pairs(model, *pairs, rows.to(device), settings.rate)
    return model.eval().requires_grad_(False)


def named(model: CLIP, pictures: Pictures) -> Float[Tensor, "n glyphs"]:
    """Return the logits of all names, each the mean of eight templates."""
    return zero_shot(model, pictures.images(), captions.prompts(vocabulary(), NAMES))


def tagged(model: CLIP, pictures: Pictures) -> Float[ndarray, "n glyphs"]:
    """Return the probability that a model gives each name."""
    return named(model, pictures).softmax(1).numpy()


def run(settings: Settings, seed: int) -> Outcome:
    """Train and test the arms of a seed; then lay their curves side by side."""
    outcome = Outcome()
    world = World.of(seed, settings.tests)
    curves: dict[str, Curve] = {}
    for name in settings.only or ARMS:
        arm = ARMS[name]
        corpus = collect(world, settings.pairs, arm.by_rank, **arm.how)
        model = learn(corpus, settings, seed)
        accuracy = accuracy_by_class(named(model, world.test), world.test.label)
        counts = frequencies(true_hits(corpus).matched)
        curves[name] = Curve(counts, accuracy.numpy())
        score(outcome, name, curves[name], world.rank)
        if name in SLOPED:
            score_slope(outcome, name, curves[name])
        outcome.exhibits[name] = (model, corpus, curves[name])
    score_form(outcome, curves[ZIPF], seed)
    compare(outcome, curves)
    outcome.exhibits["world"] = world
    return outcome


def true_hits(corpus: Corpus) -> Hits:
    """Search a corpus with a tagger that knows what is in the pictures."""
    return Hits.search(corpus.captions, corpus.shown, NAMES)


def compare(outcome: Outcome, curves: dict[str, Curve]) -> None:
    """Score what takes two arms, of those that were run."""
    zipf = curves[ZIPF]
    if REVERSED in curves:
        score_within(outcome, REVERSED, curves[REVERSED], zipf)
    for name in (FIFTH, TWO_FIFTHS, PRUNED):
        if name in curves:
            score_level(outcome, name, curves[name], zipf)
    if TAGGER in curves and FIFTH in curves:
        model, corpus = outcome.exhibits[TAGGER][0], outcome.exhibits[FIFTH][1]
        tags = tagged(model, corpus.pictures)
        hits = Hits.search(corpus.captions, tags, NAMES)
        score_tagger(outcome, FIFTH, hits, true_hits(corpus))


FULL = Settings()

PAPER = Paper(
    slug="vision_language/concept_frequency",
    title=(
        'No "Zero-Shot" Without Exponential Data: Pretraining Concept Frequency'
        " Determines Multimodal Model Performance"
    ),
    arxiv="2404.04125",
    year=2024,
    bibkey="udandarao2024zeroshot",
    claims=CLAIMS,
    also=ALSO,
    gates=GATES,
    deviations=(
        "Before the claims were fixed, a prototype had shown slopes of 15 to 45 points"
        " a decade on tuning seeds 1000 and 1001, with larger and smaller corpora, and"
        " correlations of 0.48 to 0.73 over glyphs, 0.88 to 0.95 over bins.",
        "After they were written, and before any tuning, a cheaper image tower (strides"
        " 2, 2, 1, 2) had shown 31 points a decade on seed 1000, with 35 % on the 20"
        " rarest and 70 % on the 20 commonest names.",
        "On seed 1001 that tower had 69.7 % on the commonest, 61.2 % on a uniform"
        " corpus. So writing varies by 0.9 of what was planned, and a corpus has 4,000"
        " pairs instead of 4,500; all arms were then seen on seed 1000.",
    ),
    profiles={
        "probe": replace(FULL, pairs=400, tests=5, updates=8, batch=64),
        "quick": replace(FULL, updates=150, only=(ZIPF,)),
        "full": FULL,
    },
    run=run,
)
