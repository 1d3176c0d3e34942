"""The claims about Geom-Erasing, and the experiment that judges them."""

from dataclasses import dataclass, replace

import torch

from stages import zoo
from stages.evidence import Claim, Gate, Outcome, Paper, in_setting
from stages.papers.diffusion.geom_erasing import method, overlays
from stages.papers.diffusion.geom_erasing.judging import (
    CALLED,
    DISTANCE,
    FALSE,
    ICR,
    JUDGE,
    QUESTIONS,
    RECALL,
    RIGHT,
    Drawing,
    Test,
    keep,
    one_phrase,
    score,
    score_called,
    score_judge,
)
from stages.papers.diffusion.geom_erasing.method import How, Lessons, Recipe
from stages.worlds.shapes import quads

KEPT = "share of plain's rate"
PLAIN, NP, NAME = "plain", "plain, negative word", "name"
GEOMETRY, FULL = "name + geometry", "full"
DROPPED, CLEAN = "drop-flagged", "clean data"
FULL_EMPTY, FULL_NAME = "full, empty negative", "full, name as negative"
GEOMETRY_EMPTY = "name + geometry, empty negative"
PICTURES = "pictures"
SHOWN = 0  # the seed whose pictures enter the record
MUCH, BASE = "80 % contaminated", "base model"

# --------------------------------------------------------------------------- the claims


def lower(key: str, text: str, better: str, worse: str, **how) -> Claim:
    """Make a claim about the concept rate, or another metric, where lower is better."""
    metric = how.pop("metric", ICR)
    return Claim(key, text, metric, better, worse, lower_is_better=True, **how)


CLAIMS = (
    lower(
        "C1",
        "Fine-tuned with name, geometry and weights, and steered away from both, a"
        " model draws watermarks far less often than one fine-tuned plainly and steered"
        " away from the word.",
        FULL,
        NP,
        margin=5.0,
        reported="5.0 % against 27.7 % (ICD-Watermark); the margin is ours",
    ),
    lower(
        "C2",
        "Geometry adds to the name, each with its own negative prompt.",
        GEOMETRY,
        NAME,
        reported="7.4 % against 17.0 %",
    ),
    lower(
        "C3",
        "Its pictures are also closer to clean ones than those of plain fine-tuning.",
        FULL,
        PLAIN,
        metric=DISTANCE,
        reported="FID 6.42 against 7.59",
    ),
    lower(
        "C4",
        "It draws fewer watermarks than a model fine-tuned on the pictures that the"
        " detector does not flag.",
        FULL,
        DROPPED,
        origin="ours",
    ),
)
ALSO = (
    lower("C1b", "Against plain fine-tuning.", FULL, PLAIN),
    lower("C1c", "What the negative word alone does.", NP, PLAIN),
    lower("C1d", "What new words as a negative prompt do.", FULL, FULL_EMPTY),
    lower("C1e", "What cells add to a negative name.", FULL, FULL_NAME),
    lower("C1f", "Full, with an empty negative prompt.", FULL_EMPTY, PLAIN),
    lower("C1g", "Beside clean training data.", FULL, CLEAN),
    lower("C2b", "The name alone, against plain.", NAME, PLAIN),
    lower("C2c", "What the weighted loss adds.", FULL, GEOMETRY),
    lower("C2d", "Geometry, without it in the prompt.", GEOMETRY_EMPTY, FULL_EMPTY),
    Claim("C2e", "Watermarks drawn where called for.", CALLED, GEOMETRY, FULL),
    lower("C3b", "Against dropping.", FULL, DROPPED, metric=DISTANCE),
    lower("C3c", "Beside clean training data.", FULL, CLEAN, metric=DISTANCE),
    lower(
        "C3d",
        "With an empty negative prompt, against plain.",
        FULL_EMPTY,
        PLAIN,
        metric=DISTANCE,
    ),
    lower("C3e", "Dropping, against plain.", DROPPED, PLAIN, metric=DISTANCE),
    Claim("C3f", "Questions answered right.", QUESTIONS, FULL, PLAIN),
    lower("C4b", "Dropping, against plain.", DROPPED, PLAIN),
    lower("C4c", "Full with an empty negative prompt.", FULL_EMPTY, DROPPED),
    lower("C4d", "At 80 %.", FULL, DROPPED, metric=in_setting(ICR, MUCH)),
    lower(
        "C4e", "Pictures, at 80 %.", FULL, DROPPED, metric=in_setting(DISTANCE, MUCH)
    ),
)
GATES = (
    Gate("The base model draws what is asked (all right)", BASE, RIGHT, least=80),
    Gate("It draws no watermarks", BASE, ICR, most=5),
    Gate("Plain fine-tuning draws them", PLAIN, ICR, least=25),
    Gate("The word says nothing (share of plain's rate kept)", NP, KEPT, least=80),
    Gate(
        "Nor does it harm (question score below plain's)", PLAIN, QUESTIONS, NP, most=5
    ),
    Gate("The evaluation detector finds watermarks", JUDGE, RECALL, least=95),
    Gate("It flags few clean pictures", JUDGE, FALSE, most=3),
)

# ------------------------------------------------------------ the settings and the arms


@dataclass(frozen=True)
class Settings:
    """What a profile fixes.

    Attributes:
        recipe: how every arm is fine-tuned.
        drawing: how it is made to draw.
        pictures: in the training set.
        recall, false: of the detector that training uses.
        alpha: of the weighted loss.
        shown: samples of an arm that are kept in the record, of one seed.
        shown_called: of those with a watermark called for, at each place.
        only: arms that are trained; all where it is empty.
    """

    recipe: Recipe
    drawing: Drawing
    pictures: int = 2_000
    recall: float = 0.9
    false: float = 0.02
    alpha: float = 4.0
    shown: int = 4
    shown_called: int = 2
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Arm:
    """One way to fine-tune, and how it is judged.

    Attributes:
        share: of training pictures with a watermark.
        caption: what flagged pictures' captions are told.
        alpha: of the weighted loss.
        dropped: whether flagged pictures are left out.
        judged: under which name its pictures are scored with which negative prompt.
        setting: added to the metrics' names.
    """

    judged: dict[str, How]
    caption: How = "nothing"
    alpha: float = 1.0
    dropped: bool = False
    share: float = 0.4
    setting: str = ""


def arms(settings: Settings) -> dict[str, Arm]:
    """Return the arms by name, all eight by default."""
    alpha = settings.alpha
    made = {
        PLAIN: Arm({PLAIN: "nothing", NP: "name"}),
        NAME: Arm({NAME: "name"}, "name"),
        GEOMETRY: Arm({GEOMETRY: "cells", GEOMETRY_EMPTY: "nothing"}, "cells"),
        FULL: Arm(
            {FULL: "cells", FULL_NAME: "name", FULL_EMPTY: "nothing"}, "cells", alpha
        ),
        DROPPED: Arm({DROPPED: "nothing"}, dropped=True),
        CLEAN: Arm({CLEAN: "nothing"}, share=0.0),
        f"{FULL} [{MUCH}]": Arm({FULL: "cells"}, "cells", alpha, False, 0.8, MUCH),
        f"{DROPPED} [{MUCH}]": Arm(
            {DROPPED: "nothing"}, dropped=True, share=0.8, setting=MUCH
        ),
    }
    chosen = settings.only or tuple(made)
    return {name: arm for name, arm in made.items() if name in chosen}


# ---------------------------------------------------------------------------------- run


def run(settings: Settings, seed: int) -> Outcome:
    """Fine-tune all arms of a seed from one base model; judge what each draws, after
    the same captions and from the same noise.
    """
    outcome = Outcome()
    base = zoo.load("quads_base")
    test = Test.of(settings.drawing, seed)
    score(outcome, BASE, test.drawn(base, "nothing"), test)
    score_judge(outcome, test, seed)
    for name, arm in arms(settings).items():
        lessons = taught(arm, settings, seed)
        model = method.fine_tune(base, lessons, settings.recipe, seed)
        for judged, how in arm.judged.items():
            pictures = test.drawn(model, how)
            score(outcome, judged, pictures, test, arm.setting)
            if seed == SHOWN and not arm.setting:
                keep(outcome, judged, pictures[: settings.shown], PICTURES)
        if name in (GEOMETRY, FULL):
            called = test.called_for(model)
            score_called(outcome, name, called, test)
            if seed == SHOWN:
                keep(outcome, name, called[:, : settings.shown_called], CALLED)
        outcome.exhibits[name] = model
    scores = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    kept = 100 * scores[NP, ICR] / max(scores[PLAIN, ICR], 1.0)
    outcome.score(NP, KEPT, kept)
    return outcome


def taught(arm: Arm, settings: Settings, seed: int) -> Lessons:
    """Make an arm's training set: one draw of pictures and detections a seed."""
    scenes = quads.sample(settings.pictures, seed, 1, ("fine-tuning",))
    clean = quads.render(scenes)
    marked = overlays.contaminated(clean, "watermark", arm.share, seed)
    found, boxes = overlays.detected(marked, settings.recall, settings.false, seed)
    cells = method.covered(boxes) & found[:, None, None]
    said = method.written(one_phrase(scenes), found, cells, arm.caption)
    weights = method.pixel_weights(method.cell_weights(cells, arm.alpha))
    rows = ~found if arm.dropped else torch.ones_like(found)
    return Lessons(marked.pictures[rows], said[rows], weights[rows])


FULL_SETTINGS = Settings(Recipe(batch=16, lr=4e-3), Drawing())

PAPER = Paper(
    slug="diffusion/geom_erasing",
    title="Implicit Concept Removal of Diffusion Models",
    arxiv="2310.05873",
    year=2024,
    bibkey="liu2024implicit",
    claims=CLAIMS,
    also=ALSO,
    gates=GATES,
    deviations=(
        "Before the claims were fixed, a prototype on seed 1000 had found watermarks"
        " in 22.7 % of pictures after plain fine-tuning, 18 % with the negative word,"
        " 8 to 10 % with name and geometry, and 2.7 % with all cells in the negative"
        " prompt. Two plain fine-tunings of this code had shown 19 to 26 %.",
        "On tuning seeds 400 updates on 32 pictures each became 300 on 16, rate 0.004."
        " A first record of ten seeds missed plain's gate by half a point, with a rate"
        " of 24.5 %. As the one redesign 400 updates were taken, on tuning seeds (26 %"
        " after 350; 28 % after 400, one seed), and all seeds recorded anew. The first"
        " record had shown C1 20.5, C2 -2.1, C3 0.0 and C4 -0.6.",
        "C2e was added to what else is measured after a look at tuning seeds. Blocks"
        " like QR codes, planned as well, are left to an exercise.",
    ),
    profiles={
        "probe": replace(
            FULL_SETTINGS,
            recipe=replace(FULL_SETTINGS.recipe, updates=2, batch=6, warmup=1),
            drawing=Drawing(samples=12, steps=2, real=100, called=1),
            pictures=100,
        ),
        "quick": replace(
            FULL_SETTINGS,
            recipe=replace(FULL_SETTINGS.recipe, updates=70),
            drawing=replace(FULL_SETTINGS.drawing, samples=50, called=2),
            only=(PLAIN, FULL),
        ),
        "full": FULL_SETTINGS,
    },
    run=run,
)
