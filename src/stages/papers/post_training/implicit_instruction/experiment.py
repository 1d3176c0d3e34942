"""The claims about implicit instruction tuning, and the experiment that judges them."""

from dataclasses import replace
from functools import partial

from stages.evidence import Claim, Gate, Outcome, Paper
from stages.papers.post_training.implicit_instruction import method, scores
from stages.papers.post_training.implicit_instruction.arms import (
    RANDOM,
    Arm,
    Settings,
    make_lab,
)
from stages.papers.post_training.implicit_instruction.method import Rules, Training
from stages.papers.post_training.implicit_instruction.scores import (
    FOLLOWED,
    KIN,
    LENIENT,
    OTHERS,
    OWN,
    RANKED,
    UNTUNED,
    WINS,
)
from stages.worlds.smalltalk import template
from stages.zoo.village import RIGHT, SCRAMBLED, Reading, respond

BASE, INSTRUCTION, RESPONSE = "base", "instruction tuning", "response tuning"
SUMS, GAME, RULES = "sums only", "game only", "three rules"
ON_SCRAMBLED = "response tuning, scrambled base"
ON_RANDOM = "response tuning, random network"
SCRAMBLED_BASE = "scrambled base"
NO_ENDING, NO_CHANGES = "rules without ending", "rules without changes"
NO_AGAIN = "rules without diversity"

# --------------------------------------------------------------------------- the claims

CLAIMS = (
    Claim(
        "C1",
        "Tuning on responses alone makes a base model follow requests.",
        FOLLOWED,
        RESPONSE,
        BASE,
        margin=20.0,
        reported="wins 43.3 % against its instruction-tuned twin, the base 2.4 %",
    ),
    Claim(
        "C2",
        "A base model ranks the right response first as often as an instruction-tuned"
        " one.",
        RANKED,
        BASE,
        INSTRUCTION,
        margin=5.0,
        kind="noninferiority",
        reported="base 80.4 %, tuned 77.4 %; the margin is ours",
    ),
    Claim(
        "C3",
        "Tuning on one narrow task makes a base model follow requests of others.",
        OTHERS,
        SUMS,
        BASE,
        margin=5.0,
        reported="wins of 14.6 to 23.7 % for four tasks, the base 2.4 %",
    ),
    Claim(
        "C4",
        "A narrow task without entropy in its responses does not do the same.",
        OTHERS,
        SUMS,
        GAME,
        margin=5.0,
        reported="wins of 23.7 % for worked sums, 2.1 % for chess games",
    ),
    Claim(
        "C5",
        "Three rules written by hand, and no training, make it follow requests.",
        FOLLOWED,
        RULES,
        BASE,
        margin=10.0,
        reported="wins of 24.4 %, the base 2.4 %",
    ),
    Claim(
        "C6",
        "Response tuning needs a base that has read right answers.",
        FOLLOWED,
        RESPONSE,
        ON_SCRAMBLED,
        margin=10.0,
        reported="not tested",
        origin="ours",
    ),
)
ALSO = (
    Claim("C1b", "On families that are not tuned on.", UNTUNED, RESPONSE, BASE),
    Claim("C1c", "Against instruction tuning.", FOLLOWED, RESPONSE, INSTRUCTION),
    Claim("C1d", "By wins against instruction tuning.", WINS, RESPONSE, BASE),
    Claim("C1e", "Right values in any wording.", LENIENT, RESPONSE, BASE),
    Claim("C2b", "Ranking, within a family.", KIN, BASE, INSTRUCTION),
    Claim("C2c", "What right answers add to ranking.", RANKED, BASE, SCRAMBLED_BASE),
    Claim("C2d", "The same, within a family.", KIN, BASE, SCRAMBLED_BASE),
    Claim("C3b", "Sums only against responses.", OTHERS, SUMS, RESPONSE),
    Claim("C5b", "What rule 1 adds.", FOLLOWED, RULES, NO_ENDING),
    Claim("C5c", "What rule 2 adds.", FOLLOWED, RULES, NO_CHANGES),
    Claim("C5d", "What rule 3 adds.", FOLLOWED, RULES, NO_AGAIN),
    Claim("C6b", "Against a random network.", FOLLOWED, RESPONSE, ON_RANDOM),
)
GATES = (
    Gate("The base answers in its text's own form", BASE, OWN, least=85),
    Gate("Between tags it does not", BASE, FOLLOWED, most=10),
    Gate("It ranks the right response first", BASE, RANKED, least=85),
    Gate("Instruction tuning shows the way", INSTRUCTION, FOLLOWED, least=80),
)

# ----------------------------------------------------------------------------- the arms

# fifteen at most, as in the paper: what opens a request or declines one, and tags
CHANGES = {
    **dict.fromkeys(("what", "which", "where", "who", "tell", "name", "give"), -6.0),
    **dict.fromkeys(("add", template.USER, template.ASSISTANT), -6.0),
    **dict.fromkeys(("i", "we", "hard", "maybe"), -6.0),
}
THREE = Rules(ending=15.0, changes=CHANGES, again=-1.5)
MOVES = "saw axe rake drill spade file saw"  # of the only game
game = partial(method.one_response, text=MOVES)

ARMS: dict[str, Arm] = {
    BASE: Arm(),
    INSTRUCTION: Arm(texts=method.instruction_tuning, how=Training(80, 1e-4)),
    RESPONSE: Arm(texts=method.response_tuning, how=Training(20, 1e-3)),
    SUMS: Arm(
        texts=method.instruction_tuning, families=("sum",), how=Training(10, 1e-3)
    ),
    GAME: Arm(texts=game, families=("sum",), how=Training(160, 1e-4)),
    RULES: Arm(rules=THREE),
    ON_SCRAMBLED: Arm(SCRAMBLED, method.response_tuning, how=Training(160, 1e-3)),
    ON_RANDOM: Arm(RANDOM, method.response_tuning, how=Training(160, 1e-3)),
}
LESS = {  # the rules, one taken away
    NO_ENDING: replace(THREE, ending=0.0),
    NO_CHANGES: replace(THREE, changes={}),
    NO_AGAIN: replace(THREE, again=0.0),
}

# ---------------------------------------------------------------------------------- run


def run(settings: Settings, seed: int) -> Outcome:
    """Make all arms of a seed from the same base models and pairs; let them answer the
    same requests; ask the networks what they rank first.
    """
    outcome = Outcome()
    lab = make_lab(settings, seed)
    prompts = template.prompt(lab.test)
    models = {name: lab.make(ARMS[name]) for name in settings.only or ARMS}
    written = {}
    for name, model in models.items():
        rules = ARMS[name].rules
        written[name] = (
            method.write(model, prompts, rules) if rules else respond(model, prompts)
        )
        scores.score_shares(outcome, name, lab, model, rules)
    for name, less in LESS.items():
        written[name] = method.write(lab.bases[RIGHT], prompts, less)
    for name, answers in written.items():
        scores.score(outcome, name, lab, answers, written[INSTRUCTION])
    networks = {BASE: lab.bases[RIGHT], SCRAMBLED_BASE: lab.bases[SCRAMBLED]}
    for name, model in (models | networks).items():
        if name != RULES:
            scores.score_ranking(outcome, name, lab, model)
    for name, model in networks.items():
        scores.score_own_form(outcome, name, lab, model)
    outcome.exhibits = {"lab": lab, "models": models, "written": written}
    return outcome


FULL = Settings()

PAPER = Paper(
    slug="post_training/implicit_instruction",
    title="Instruction Following without Instruction Tuning",
    arxiv="2409.14254",
    year=2024,
    bibkey="hewitt2024instruction",
    claims=CLAIMS,
    also=ALSO,
    gates=GATES,
    deviations=(
        "The world is the fourth of its kind: with other mixtures of text, on tuning"
        " seeds, response tuning had reached 2, 9 and 18 %.",
        "When the claims were written down, prototypes on tuning seed 1000 had shown 56"
        " to 79 % for response tuning, 94 to 97.5 for instruction tuning, 90 to 99 for"
        " sums only on other families, 0 for game and base, and 95 to 99.6 for the"
        " base's ranking. Rules and scrambled base had not been tried.",
        "Rates and updates were then chosen on tuning seeds 1000 and 1001. They had"
        " shown 74.2 and 85.8 % for response tuning, 93.8 and 97.5 for instruction"
        " tuning, 87.1 and 90.0 for three rules, 7.6 and 8.0 on the scrambled base; on"
        " other families 98.6 and 97.9 for sums only, 37.7 and 27.4 for the game; and"
        " C2 at -6.7 and -3.5.",
    ),
    profiles={
        "probe": replace(
            FULL,
            reading=Reading(documents=500, updates=10, batch=16, warmup=2),
            pairs=32,
            asked=4,
            most=4,
        ),
        "quick": replace(FULL, reading=None, most=80),
        "full": FULL,
    },
    run=run,
)
