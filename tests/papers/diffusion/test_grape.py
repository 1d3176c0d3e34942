"""The planner, the pipeline, its rivals; how the experiment is wired; the probe."""

from functools import cache
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stages.evidence import Outcome, check_probe, recorded
from stages.papers.diffusion.grape import (
    PAPER,
    Contents,
    Trace,
    begin,
    bench,
    edited,
    experiment,
    extreme,
    grape,
    lengths,
    mistakes,
    parsed,
    plan,
    rivals,
    scores,
    worded,
    written,
)
from stages.papers.diffusion.grape.scores import (
    AGREED,
    ALL_RIGHT,
    BASE,
    BEST,
    CALLS,
    COMPOUND,
    DAMAGED,
    FIXED,
    GAIN,
    GRAPE,
    JUDGE,
    KEPT,
    LONG,
    MOST,
    NOISE_1,
    NOISE_3,
    OBEYED,
    ORIGIN,
    READ,
    REDUCTION,
    REGENERATED,
    SCORE,
    SHUFFLED,
    STRONG,
    WEAK,
)
from stages.seeding import torch_rng
from stages.worlds.shapes import quads


@pytest.fixture(scope="module", autouse=True)
def templates_drawn_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quads, "templates", cache(quads.templates))
        yield


WORD = {word: number for number, word in enumerate(quads.WORDS)}
KINDS = [(0, 0), *product(range(1, 7), range(1, 7))]  # (shape, colour), as contents count them


def contents(*pictures):
    """Each picture is four pairs (shape, colour)."""
    table = torch.tensor(pictures)
    return Contents(table[..., 0], table[..., 1])


def rendered(found):
    """Draw contents without any variation."""
    n = len(found.shape)
    scenes = quads.Quads(*found, torch.zeros(n, 4, 2), torch.ones(n, 4), torch.zeros(n, 4, 3))
    return quads.render(scenes)


def obeyed(quarter, words):
    """Change one (shape, colour) as the words say; a recolouring of nothing is an error."""
    shape, colour = quarter
    hue, form, _, verb = (quads.WORDS[w] for w in words)
    new_shape = quads.SHAPES.index(form) + 1 if form else shape
    new_colour = quads.COLOURS.index(hue) + 1 if hue else colour
    if verb == "remove":
        assert (hue, form) == ("", "")
        return 0, 0
    assert (verb == "add") == (shape == 0)
    return new_shape, new_colour


def planned(found, asked):
    """The plan of one picture, quarter by quarter, as (verb, shape?, colour?) in plain Python."""
    steps = []
    for place in range(4):
        (shape, colour), (form, hue) = found[place], asked[place]
        where = WORD[quads.PLACES[place]]
        says_colour = WORD[quads.COLOURS[hue - 1]] if hue else 0
        says_shape = WORD[quads.SHAPES[form - 1]] if form else 0
        if (shape, colour) == (form, hue):
            continue
        if form == 0:
            steps.append((0, 0, where, WORD["remove"]))
        elif shape == 0:
            steps.append((says_colour, says_shape, where, WORD["add"]))
        else:
            if shape != form:
                steps.append((0, says_shape, where, WORD["reshape"]))
            if colour != hue:
                steps.append((says_colour, 0, where, WORD["recolour"]))
    return steps


# ---- the planner


def test_a_prompt_is_parsed_whatever_the_order_of_its_phrases():
    scenes = quads.sample(300, 0, (1, 4))
    captions = quads.captions(scenes)
    for order in ([0, 1, 2, 3], [2, 0, 3, 1]):
        asked = parsed(captions[:, order])
        assert torch.equal(asked.shape, scenes.shape)
        assert torch.equal(asked.colour, scenes.colour)
    rows = torch.tensor([4, 1])
    assert torch.equal(asked.at(rows).shape, scenes.shape[[4, 1]])
    assert torch.equal(asked.at(rows).colour, scenes.colour[[4, 1]])


def test_every_plan_is_atomic_and_leads_to_what_is_asked_shape_before_colour():
    pairs = list(product(KINDS, KINDS))
    found = contents(*[[before, (0, 0), (2, 3), (1, 1)] for before, _ in pairs])
    asked = contents(*[[after, (0, 0), (2, 3), (1, 1)] for _, after in pairs])
    plans = plan(found, asked)
    assert plans.shape == (len(pairs), 8, 4)
    for (before, after), words, length in zip(pairs, plans.tolist(), lengths(plans).tolist(), strict=True):
        quarter = before
        for step in words[:length]:
            quarter = obeyed(quarter, step)
        assert quarter == after
        assert not any(map(any, words[length:]))
        assert [tuple(w) for w in words[:length]] == planned([before] + [(0, 0)] * 3, [after] + [(0, 0)] * 3)
    both = plan(contents([(1, 1)] * 4), contents([(2, 2)] * 4))[0].tolist()
    assert [quads.WORDS[step[3]] for step in both] == ["reshape", "recolour"] * 4
    chance = np.random.default_rng(0)
    for _ in range(50):  # several quarters at once, places in order, no gaps
        before, after = ([KINDS[i] for i in chance.integers(37, size=4)] for _ in range(2))
        made = plan(contents(before), contents(after))[0].tolist()
        steps = planned(before, after)
        assert [tuple(w) for w in made] == steps + [(0,) * 4] * (8 - len(steps))


def test_mistakes_are_counted_by_question_and_more_than_half_is_extreme():
    asked = contents([(1, 1), (2, 2), (0, 0), (0, 0)])  # four concepts
    cases = {
        ((1, 1), (2, 2), (0, 0), (0, 0)): (0, False),
        ((3, 1), (2, 4), (0, 0), (0, 0)): (2, False),  # half is not more than half
        ((0, 0), (2, 2), (0, 0), (0, 0)): (2, False),
        ((0, 0), (2, 4), (0, 0), (0, 0)): (3, True),
        ((1, 1), (2, 2), (3, 3), (4, 4)): (4, False),  # what is too much is no concept
        ((3, 1), (2, 4), (3, 3), (0, 0)): (4, False),
    }
    for seen, (wrong, again) in cases.items():
        found = contents(seen)
        assert int(mistakes(found, asked).sum()) == wrong
        assert bool(extreme(found, asked)) == again
    found = contents([(3, 1), (2, 4), (0, 5), (0, 0)])
    assert mistakes(found, asked)[0].tolist() == [[True, False], [False, True], [False, True], [False, False]]


def test_the_plan_is_written_out_in_five_steps():
    asked = contents([(1, 1), (2, 2), (0, 0), (0, 0)])
    text = written(contents([(1, 4), (0, 0), (6, 6), (0, 0)]), asked)
    assert text.splitlines()[0].startswith("1. Elements of the text: red circle upper-left; yellow square upper-right")
    assert text.splitlines()[4] == "5. Feedback: <REGENERATE>"
    text = written(contents([(3, 4), (2, 2), (6, 6), (0, 0)]), asked)
    assert text.splitlines()[1:] == [
        "2. Elements of the image: cyan triangle (mistake) upper-left; yellow square (correct) upper-right;"
        " pink bar (mistake) lower-left; nothing (correct) lower-right",
        "3. Comparison: upper-left: asked red circle, found cyan triangle; lower-left: asked nothing, found pink bar",
        "4. Mistakes: upper-left, lower-left",
        "5. Feedback: reshape upper-left: circle; recolour upper-left: red; remove lower-left",
    ]
    text = written(asked, asked)
    assert text.splitlines()[2:] == [
        "3. Comparison: all as asked",
        "4. Mistakes: none",
        "5. Feedback: no further feedback is necessary",
    ]
    words = [WORD["pink"], WORD["ring"], WORD["lower-right"], WORD["add"]]
    assert worded(words) == "add lower-right: pink ring"


# ---- the pipeline


class Canvas:
    """Pictures are numbers here: attempt `a` of prompt `i` is a + i / 10, an edit adds a hundred times itself."""

    def __init__(self, seen, again):
        self.seen = {0: seen, 1: again}
        self.log = []

    def picture(self, values):
        return values.view(-1, 1, 1, 1).expand(-1, 3, 16, 16).clone()

    def generate(self, number, rows):
        self.log.append(("generate", number, rows.tolist()))
        return self.picture(number + rows / 10)

    def look(self, pictures):
        values = pictures[:, 0, 0, 0]
        pairs = [(int(v), round(float(v) % 1 * 10)) for v in values]
        found = [self.seen[attempt][row] for attempt, row in pairs]
        self.log.append(("look", pairs))
        return contents(*found)

    def edit(self, number, rows, words, source):
        self.log.append(("edit", number, rows.tolist(), tuple(words.shape[1:]), words[:, 0, 3].tolist()))
        return source + 100 * (number + 1)


def test_the_pipeline_regenerates_once_and_edits_the_last_picture_without_looking_again():
    asked = contents(*[[(1, 1)] * 4] * 4)
    right, one, two = [(1, 1)] * 4, [(1, 1)] * 3 + [(1, 2)], [(2, 2)] + [(1, 1)] * 3
    bad = [(2, 2)] * 3 + [(1, 1)]
    canvas = Canvas([right, two, bad, bad], [None, None, one, bad])
    trace = grape(asked, canvas.generate, canvas.look, canvas.edit)
    recolour, reshape = WORD["recolour"], WORD["reshape"]
    assert canvas.log == [
        ("generate", 0, [0, 1, 2, 3]),
        ("look", [(0, 0), (0, 1), (0, 2), (0, 3)]),
        ("generate", 1, [2, 3]),
        ("look", [(1, 2), (1, 3)]),
        ("edit", 0, [1, 2, 3], (1, 4), [reshape, recolour, reshape]),
        ("edit", 1, [1, 3], (1, 4), [recolour, recolour]),
        *(("edit", number, [3], (1, 4), [verb]) for number, verb in ((2, reshape), (3, recolour))),
        *(("edit", number, [3], (1, 4), [verb]) for number, verb in ((4, reshape), (5, recolour))),
    ]
    shown = [stage[:, 0, 0, 0] for stage in trace.stages]
    assert len(shown) == 7
    assert torch.allclose(shown[0], torch.tensor([0.0, 0.1, 1.2, 1.3]))
    assert torch.allclose(shown[1], torch.tensor([0.0, 100.1, 101.2, 101.3]))
    assert torch.allclose(shown[2], torch.tensor([0.0, 300.1, 101.2, 301.3]))
    assert torch.equal(trace.output, trace.stages[-1])
    assert torch.equal(trace.start, trace.stages[0])
    assert trace.again.tolist() == [False, False, True, True]
    assert trace.drawn.tolist() == [1, 3, 3, 8]
    assert lengths(trace.edits).tolist() == [0, 2, 1, 6]
    first = begin(asked, canvas.generate, canvas.look)
    assert first.drawn.tolist() == [1, 1, 2, 2]
    assert torch.equal(first.output, trace.start)


def test_a_compound_instruction_is_one_call_with_all_phrases_and_a_shuffled_plan_is_the_neighbours():
    asked = contents(*[[(1, 1)] * 4] * 3)
    canvas = Canvas([[(1, 1)] * 4, [(2, 2)] + [(1, 1)] * 3, [(1, 1)] * 3 + [(0, 0)]], [])
    trace = begin(asked, canvas.generate, canvas.look)
    canvas.log.clear()
    once = rivals.compound(trace, canvas.edit)
    assert canvas.log == [("edit", 0, [1, 2], (8, 4), [WORD["reshape"], WORD["add"]])]
    assert torch.allclose(once.output[:, 0, 0, 0], torch.tensor([0.0, 100.1, 100.2]))
    assert once.drawn.tolist() == [1, 2, 2]
    assert torch.equal(once.start, trace.start)
    other = rivals.shuffled(trace)
    assert torch.equal(other.edits, trace.edits[[2, 0, 1]])
    assert torch.equal(other.start, trace.start)
    assert edited(other, canvas.edit).drawn.tolist() == [2, 1, 3]
    canvas.log.clear()
    empty = Trace(trace.start, [trace.start], 0 * trace.edits, trace.again, trace.drawn)
    for made in (rivals.compound(empty, canvas.edit), edited(empty, canvas.edit)):
        assert torch.equal(made.output, trace.start)
        assert made.drawn.tolist() == [1, 1, 1]
    assert canvas.log == []


def test_best_of_n_takes_the_fewest_mistakes_among_the_allowed_and_the_first_of_equals():
    wrong = torch.tensor([[3, 1, 5, 2], [1, 1, 4, 2], [1, 0, 0, 2], [0, 0, 0, 1]])
    candidates = torch.arange(16.0).view(4, 4, 1, 1, 1).expand(4, 4, 3, 16, 16)
    for allowed, rows in (([4, 4, 4, 4], [3, 2, 2, 3]), ([3, 2, 1, 3], [1, 0, 0, 0]), ([1, 1, 2, 1], [0, 0, 1, 0])):
        best = rivals.best_of(candidates, wrong, torch.tensor(allowed))
        assert best[:, 0, 0, 0].tolist() == [4 * row + i for i, row in enumerate(rows)]


def test_other_eyes_see_as_the_judge_or_something_else_as_often_as_asked():
    kinds = torch.arange(37).repeat(40)[:, None].expand(-1, 4)
    found = rivals.from_kinds(kinds)
    pairs = torch.stack(found, -1)
    assert [tuple(pair) for pair in pairs[:37, 0].tolist()] == KINDS
    scenes = quads.sample(50, 0, (0, 4))
    seen = rivals.as_judge(quads.render(scenes))
    assert torch.equal(seen.shape, scenes.shape)
    assert torch.equal(seen.colour, scenes.colour)

    def shares(rate):
        see = rivals.mistaken(lambda _: found, rate, torch_rng(0, "eyes"))
        other = torch.stack(see(None), -1)
        assert ((other[..., 0] > 0) == (other[..., 1] > 0)).all()
        moved = (other != pairs).any(-1)
        nothing = (other[..., 0] == 0)[moved & (kinds > 0)].float().mean()
        return float(moved.float().mean()), float(nothing)

    assert shares(0.0)[0] == 0
    assert shares(1.0)[0] == 1  # never the same thing
    assert shares(1.0)[1] == pytest.approx(1 / 36, abs=0.01)
    assert shares(0.3)[0] == pytest.approx(0.3, abs=0.02)

    def steps(rate):
        """How far each quarter is moved along the kinds, round and round."""
        seen = rivals.mistaken(lambda _: found, rate, torch_rng(1, "eyes"))(None)
        return (torch.where(seen.shape > 0, (seen.shape - 1) * 6 + seen.colour, 0) - kinds) % 37

    often = steps(1.0).flatten().bincount(minlength=37)[1:] / kinds.numel()
    assert often.tolist() == pytest.approx([1 / 36] * 36, abs=0.01)  # every other thing alike
    moved, rarely = steps(1.0), steps(0.3) > 0
    for one, other in ((0, 1), (1, 3), (2, 3)):  # and each quarter by itself
        assert float((moved[:, one] == moved[:, other]).float().mean()) == pytest.approx(1 / 36, abs=0.02)
        assert float((rarely[:, one] & rarely[:, other]).float().mean()) == pytest.approx(0.09, abs=0.03)


# ---- the bench and the wiring of the experiment

SEED, PROMPTS = 3, 12
TINY = experiment.Settings(prompts=PROMPTS, renders=40, steps=5, sizes=(1, 4), most=3, shown=7)


def planted(model, attempt, row, asked):
    """What a generator draws: its own mistakes for each attempt of each prompt."""
    chance = np.random.default_rng([model == "quads_weak", attempt, row, len(asked)])
    rate = {"quads_weak": 0.55, "quads_strong": 0.3, "quads_base": 0.1}[model]
    made = []
    for shape, colour in asked:
        wrong = chance.random(3) < (rate, rate, rate / 3)
        if shape and wrong[0]:
            shape = shape % 6 + 1
        if shape and wrong[1]:
            colour = colour % 6 + 1
        made.append((0, 0) if wrong[2] else (shape, colour))
    return made


def changed(model, found, phrases, noise=0):
    """What an editor makes of a picture: the long one obeys one or two phrases, the other spoils a quarter as well
    where the noise is to its dislike.
    """
    made = list(found)
    for words in phrases[:2]:
        place = words[2] - WORD["upper-left"]
        shape, colour = made[place]
        verb = quads.WORDS[words[3]]
        if verb == "remove":
            made[place] = (0, 0)
        else:
            shape = words[1] - WORD["circle"] + 1 if words[1] else shape
            colour = words[0] - WORD["red"] + 1 if words[0] else colour
            made[place] = (shape or 1, colour or 1)
        if model == "quads_editor" and place == noise % 2 and made[3][0]:
            made[3] = (made[3][0], made[3][1] % 6 + 1)
    return made


def seen_by_the_reader(found):
    """The reader takes pink for red in the lower right."""
    return [*found[:3], (found[3][0], 1 if found[3][1] == 6 else found[3][1])]


class Studio:
    """Stands in for the networks: generators and editors with planted mistakes; notes what they are given."""

    def __init__(self, sizes):
        self.calls = []
        self.looked = 0
        self.noise = {}
        for k, what, number in product(sizes, ("attempt", "edit"), range(12)):
            noise = torch.randn((PROMPTS, 3, 16, 16), generator=torch_rng(SEED, "grape", what, k, number))
            self.noise |= {noise[i].numpy().tobytes(): (what, k, number, i) for i in range(PROMPTS)}

    def network(self, name):
        return SimpleNamespace(read=self.read) if name == "quads_reader" else name

    def read(self, pictures):
        self.looked += 1
        return contents(*[seen_by_the_reader(p) for p in pairs_of(quads.read(pictures))])

    def drawn(self, model, captions, noise, steps, source=None):
        keys = [self.noise.get(row.numpy().tobytes()) for row in noise]
        self.calls.append(
            SimpleNamespace(
                model=model,
                words=captions,
                keys=keys,
                steps=steps,
                edits=source is not None,
                noise=noise,
                source=source,
            )
        )
        if source is None:
            asked = zip(*(part.tolist() for part in parsed(captions)), strict=True)
            scenes = [list(zip(shape, colour, strict=True)) for shape, colour in asked]
            made = [planted(model, key[2], key[3], scene) for key, scene in zip(keys, scenes, strict=True)]
        else:
            phrases = [[w for w in row if any(w)] for row in captions.tolist()]
            dislike = [key[2] + key[3] if key else 0 for key in keys]  # the edit and the row of the prompt
            found = pairs_of(quads.read(source))
            made = [changed(model, *each) for each in zip(found, phrases, dislike, strict=True)]
        return rendered(contents(*made))


def pairs_of(kinds):
    return [[KINDS[kind] for kind in row] for row in kinds.tolist()]


def by_hand(name, model, k, asked):
    """Carry out an arm in plain Python, on contents; return start, stages and drawn pictures of each prompt."""
    look = seen_by_the_reader if name != JUDGE else list
    see = lambda found: [look(p) for p in found]  # noqa: E731
    if name in (NOISE_1, NOISE_3):
        rate = 0.1 if name == NOISE_1 else 0.3
        eyes = rivals.mistaken(lambda found: contents(*found), rate, torch_rng(SEED, "grape", "percepts", k))

        def see(found):
            percepts = eyes([look(p) for p in found])
            return [list(zip(s, c, strict=True)) for s, c in zip(*(p.tolist() for p in percepts), strict=True)]

    attempt = lambda number, i: planted(model, number, i, asked[i])  # noqa: E731
    everything = range(len(asked))
    pictures = [attempt(0, i) for i in everything]
    if name == BASE:
        return pictures, [pictures], [1] * len(asked)
    if name == BEST:
        drawn = by_hand(GRAPE, model, k, asked)[2]
        chosen = [best(model, i, asked[i], drawn[i]) for i in everything]
        return pictures, [pictures, chosen], drawn
    found = see(pictures)
    again = [i for i in everything if concepts(found[i], asked[i]) > sum(2 for s, _ in asked[i] if s) / 2]
    plans = [planned(found[i], asked[i]) for i in everything]
    fresh = see([attempt(1, i) for i in again]) if again else []
    for i, seen in zip(again, fresh, strict=True):
        pictures[i] = attempt(1, i)
        plans[i] = planned(seen, asked[i])
    drawn = [1 + (i in again) for i in everything]
    if name == REGENERATED:
        return pictures, [pictures], drawn
    if name == SHUFFLED:
        plans = [plans[i - 1] for i in everything]
    editor = "quads_editor_long" if name == LONG else "quads_editor"
    atomic = [[[step] for step in p] for p in plans]
    plans = [[p] if p else [] for p in plans] if name == COMPOUND else atomic
    stages = [pictures]
    for number in range(max(map(len, plans))):
        last = stages[-1]
        step = [
            changed(editor, last[i], p[number], number + i) if len(p) > number else last[i] for i, p in enumerate(plans)
        ]
        stages.append(step)
    return pictures, stages, [d + len(p) for d, p in zip(drawn, plans, strict=True)]


def concepts(found, asked):
    """Count wrong answers about what is asked for."""
    return sum((f[0] != a[0]) + (f[1] != a[1]) for f, a in zip(found, asked, strict=True) if a[0])


def best(model, i, asked, n):
    """Choose among the first n attempts by what the reader sees, all four quarters counted."""
    made = [planted(model, number, i, asked) for number in range(n)]
    faults = [sum(map(sum, zip(*wrong(seen_by_the_reader(p), asked), strict=True))) for p in made]
    return made[faults.index(min(faults))]


def wrong(found, asked):
    return [(f[0] != a[0], f[1] != a[1]) for f, a in zip(found, asked, strict=True)]


def questions(found, asked):
    """Tell for each question about a thing asked for whether it is answered right."""
    return [
        [not w for pair, a in zip(wrong(f, s), s, strict=True) if a[0] for w in pair]
        for f, s in zip(found, asked, strict=True)
    ]


@pytest.fixture(scope="module")
def wired():
    """A run with planted networks."""
    studio = Studio(TINY.sizes)
    seeds, judged = [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "network", studio.network)
        patch.setattr(bench, "drawn", studio.drawn)
        for module in (bench, experiment, quads):
            plain = module.torch_rng
            patch.setattr(module, "torch_rng", lambda s, *n, of=plain: (seeds.append(s), of(s, *n))[1])
        judge = bench.judge_on_renders
        patch.setattr(bench, "judge_on_renders", lambda *given: (judged.append(given), judge(*given))[1])
        outcome = PAPER.run(TINY, SEED)
    table = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    curves = {(row["method"], row["name"]): (row["x"], row["y"]) for row in outcome.curves}
    asked = {}
    for k in TINY.sizes:
        scenes = quads.sample(PROMPTS, SEED, k, ("prompts", k))
        asked[k] = pairs_of(scenes.contents)
    return SimpleNamespace(
        calls=studio.calls,
        scores=table,
        curves=curves,
        exhibits=outcome.exhibits,
        asked=asked,
        seeds=seeds,
        judged=judged,
    )


EDITORS = ["quads_editor", "quads_editor_long"]
MODELS = {WEAK: "quads_weak", STRONG: "quads_strong"}
ALL = (BASE, REGENERATED, GRAPE, COMPOUND, SHUFFLED, JUDGE, LONG, NOISE_1, NOISE_3, BEST)


def where(generator, k):
    return f"[{generator}, k = {k}]"


def test_every_score_of_every_arm_is_that_of_a_plain_reference(wired):
    for (generator, model), k in product(MODELS.items(), TINY.sizes):
        asked = wired.asked[k]
        for name in ALL if k == 4 else (BASE, GRAPE):
            first, stages, drawn = by_hand(name, model, k, asked)
            start = np.array(questions(first, asked))
            right = np.array(questions(stages[-1], asked))
            expected = {
                SCORE: right.mean(),
                ALL_RIGHT: right.all(1).mean(),
                CALLS: 5 * np.mean(drawn),
                FIXED: right[~start].mean() if (~start).any() else 0,
                DAMAGED: (~right)[start].mean(),
            }
            for metric, value in expected.items():
                found = wired.scores[name, f"{metric} {where(generator, k)}"]
                assert found == pytest.approx(value, abs=1e-5), (name, metric, generator, k)
    hard = [wired.scores[name, f"{SCORE} {where(WEAK, 4)}"] for name in ALL]
    assert len({round(value, 6) for value in hard}) > 8  # the planted arms can be told apart
    assert ("GraPE", f"score {where(WEAK, 1)}") in wired.scores
    assert ("best-of-n", f"score {where(WEAK, 1)}") not in wired.scores


def test_gains_reductions_and_curves_are_those_worked_out_by_hand(wired):
    for generator, model in MODELS.items():
        ys = {name: [wired.scores[name, f"{SCORE} {where(generator, k)}"] for k in (1, 4)] for name in (BASE, GRAPE)}
        for place, k in enumerate((1, 4)):
            gain = ys[GRAPE][place] - ys[BASE][place]
            assert wired.scores[f"k = {k}", f"{GAIN} [{generator}]"] == pytest.approx(gain)
            assert wired.scores[generator, f"{GAIN} [k = {k}]"] == pytest.approx(gain)
            part = gain / (1 - ys[BASE][place])
            assert wired.scores[generator, f"{REDUCTION} [k = {k}]"] == pytest.approx(part)
        for name in (BASE, GRAPE):
            assert wired.curves[name, f"score by k [{generator}]"] == ([1, 4], pytest.approx(ys[name]))
        asked = wired.asked[4]
        x, y = wired.curves[BEST, f"{SCORE} {where(generator, 4)}"]
        assert x == [5, 10, 15]
        chosen = [[best(model, i, asked[i], n) for i in range(PROMPTS)] for n in (1, 2, 3)]
        assert y == pytest.approx([np.mean(questions(c, asked)) for c in chosen])
        assert wired.scores[MOST, f"{SCORE} {where(generator, 4)}"] == pytest.approx(y[-1])
        _, stages, drawn = by_hand(GRAPE, model, 4, asked)
        x, y = wired.curves[GRAPE, f"{SCORE} {where(generator, 4)}"]
        assert y == pytest.approx([np.mean(questions(stage, asked)) for stage in stages])
        start = by_hand(REGENERATED, model, 4, asked)[2]
        pairs = list(zip(start, drawn, strict=True))
        assert x == pytest.approx([5 * np.mean([min(d, s + n) for s, d in pairs]) for n in range(len(stages))])
        better = [planted("quads_base", 0, i, asked[i]) for i in range(PROMPTS)]
        assert wired.scores[ORIGIN, f"{SCORE} {where(generator, 4)}"] == pytest.approx(
            np.mean(questions(better, asked))
        )
        first = [planted(model, 0, i, asked[i]) for i in range(PROMPTS)]
        same = [w for p in first for pair in wrong(seen_by_the_reader(p), p) for w in pair]
        assert wired.scores[BASE, f"{AGREED} {where(generator, 4)}"] == pytest.approx(1 - np.mean(same))
    outcome = Outcome()
    scores.gains(outcome, WEAK, {1: {BASE: 1.0, GRAPE: 1.0}})  # nothing was wrong
    assert [row["value"] for row in outcome.scores] == [0, 0, 0]


def test_noise_is_shared_by_arms_and_generators_and_every_stream_has_the_seed(wired):
    known = [call for call in wired.calls if None not in call.keys]
    assert all(call.steps == 5 for call in wired.calls)
    attempts = {}
    for call in known:
        kinds = {(what, k, number) for what, k, number, _ in call.keys}
        assert len(kinds) == 1
        what, k, number = kinds.pop()
        assert (what == "edit") == call.edits
        if not call.edits:
            assert [key[3] for key in call.keys] == list(range(PROMPTS))
            captions = quads.captions(quads.sample(PROMPTS, SEED, k, ("prompts", k)))
            assert torch.equal(call.words, captions)
            attempts.setdefault((call.model, k), []).append(number)
        assert call.model in (EDITORS if call.edits else ("quads_weak", "quads_strong", "quads_base"))
    assert attempts.pop(("quads_base", 4)) == [0, 0]
    assert set(attempts) == {(model, k) for model in MODELS.values() for k in (1, 4)}
    for numbers in attempts.values():
        assert sorted(numbers) == list(range(len(numbers)))  # each drawn once, and kept
    assert [call.model for call in wired.calls if None in call.keys] == EDITORS
    assert set(wired.seeds) == {SEED}
    for call in known:
        if call.edits and call.keys[0][2] == 0 and call.words.shape[1] == 1:
            assert [key[3] for key in call.keys] == sorted({key[3] for key in call.keys})
    rows = [[key[3] for key in call.keys] for call in known if call.edits]
    assert any(row != list(range(len(row))) for row in rows)  # noise belongs to prompts, not to places in a batch
    streams = {(what, k, number) for call in known for what, k, number, _ in call.keys if call.edits}
    assert {(k, number) for _, k, number in streams} >= {(4, 0), (4, 1), (4, 2)}


def test_judge_and_editors_are_tested_on_renders(wired, monkeypatch):
    assert wired.scores[JUDGE, READ] == 1
    assert wired.judged == [(40, SEED)]
    plain = quads.read
    with monkeypatch.context() as patch:

        def misread(pictures):
            renders = quads.render(quads.sample(10, SEED, (0, 4), ("grape", "renders")))
            assert torch.equal(pictures, renders)
            found = plain(pictures)
            filled = found.nonzero()[0]
            found[tuple(filled)] = found[tuple(filled)] % 36 + 1  # something, but something else
            return found

        patch.setattr(quads, "read", misread)
        assert bench.judge_on_renders(10, SEED) == pytest.approx(1 - 1 / 40)
    before = quads.sample(40, SEED, (1, 4), ("grape", "edited"))
    after, words = quads.edits(before, SEED, ("grape", "edited"))
    for model in EDITORS:
        call = next(c for c in wired.calls if None in c.keys and c.model == model)
        assert torch.equal(call.words, words)
        noise = torch.randn((40, 3, 16, 16), generator=torch_rng(SEED, "grape", "edited", "noise"))
        assert torch.equal(call.noise, noise)
        assert torch.equal(call.source, quads.render(before))
        source, goal = pairs_of(before.contents), pairs_of(after.contents)
        made = [changed(model, s, w) for s, w in zip(source, words.tolist(), strict=True)]
        hits, rest = [], []
        for m, g, s in zip(made, goal, source, strict=True):
            for place in range(4):
                (rest if g[place] == s[place] else hits).append(m[place] == g[place])
        assert wired.scores[model, OBEYED] == pytest.approx(np.mean(hits))
        assert wired.scores[model, KEPT] == pytest.approx(np.mean(rest))
    assert wired.scores["quads_editor", KEPT] < 1
    scenes = quads.sample(4, 0, 2)
    assert bench.answers(quads.render(scenes), scenes).all()
    blank = torch.full((4, 3, 16, 16), 2 * quads.GROUND - 1)
    assert bench.answers(blank, scenes).shape == (4, 4)
    assert not bench.answers(blank, scenes).any()
    monkeypatch.setattr(bench.zoo, "load", lambda name: ["loaded", name])
    assert [bench.network.__wrapped__(name)[1] for name in MODELS.values()] == list(MODELS.values())


def test_exhibits_hold_the_first_prompts_of_every_arm(wired):
    for generator, model in MODELS.items():
        kept = wired.exhibits[generator]
        assert len(kept["scenes"]) == 7
        assert pairs_of(kept["scenes"].contents) == wired.asked[4][:7]
        assert set(kept["traces"]) == set(ALL)
        for name, trace in kept["traces"].items():
            _, stages, drawn = by_hand(name, model, 4, wired.asked[4])
            assert pairs_of(quads.read(trace.output)) == stages[-1][:7]
            assert pairs_of(quads.read(trace.start)) == stages[0][:7]
            assert trace.drawn.tolist() == drawn[:7]
            assert len(trace.edits) == len(trace.again) == 7
            assert [pairs_of(quads.read(stage)) for stage in trace.stages] == [stage[:7] for stage in stages]
            if name in (REGENERATED, GRAPE, COMPOUND, LONG):
                seen = [seen_by_the_reader(p) for p in pairs_of(quads.read(trace.start))]
                assert torch.equal(trace.edits, plan(contents(*seen), contents(*wired.asked[4][:7])))
                twice = by_hand(REGENERATED, model, 4, wired.asked[4])[2]
                assert trace.again.tolist() == [times == 2 for times in twice[:7]]
    without = experiment.Settings(without=(LONG, NOISE_3))
    assert set(experiment.arms(without, 4)) == set(ALL) - {LONG, NOISE_3}
    assert list(experiment.arms(without, 2)) == [BASE, GRAPE]


# ---- the record


def test_claims_and_gates_compare_what_they_say_and_the_probe_holds():
    hard = ("weak, k = 4", "strong, k = 4")
    claims = {c.key: (c.metric, c.better, c.worse, c.margin, c.everywhere) for c in PAPER.claims}
    assert claims == {
        "C1": ("score", GRAPE, BASE, 0.02, hard),
        "C2": ("gain", "k = 4", "k = 1", 0.0, ("weak", "strong")),
        "C3": ("relative error reduction [k = 4]", WEAK, STRONG, 0.0, ()),
        "C4": ("score", GRAPE, COMPOUND, 0.0, hard),
        "C5": ("score", GRAPE, BEST, 0.0, hard),
    }
    assert {c.kind for c in PAPER.claims} == {"superiority"}
    assert {c.key for c in (*PAPER.claims, *PAPER.also) if c.lower_is_better} == {"C4b"}
    also = {c.key: (c.metric, c.better, c.worse, c.everywhere) for c in PAPER.also}
    assert also == {
        "C1b": ("all right", GRAPE, BASE, hard),
        "C1c": ("score", REGENERATED, BASE, hard),
        "C1d": ("score", GRAPE, SHUFFLED, hard),
        "C1e": ("score", JUDGE, GRAPE, hard),
        "C1f": ("score", LONG, GRAPE, hard),
        "C1g": ("score", NOISE_1, BASE, hard),
        "C1h": ("score", NOISE_3, BASE, hard),
        "C2b": ("gain", "k = 4", "k = 3", ("weak", "strong")),
        "C3b": ("gain [k = 4]", WEAK, STRONG, ()),
        "C4b": ("damaged", GRAPE, COMPOUND, hard),
        "C4c": ("mistakes fixed", GRAPE, COMPOUND, hard),
        "C5b": ("all right", GRAPE, BEST, hard),
        "C5c": ("score", BEST, BASE, hard),
        "C5d": ("score", GRAPE, MOST, hard),
        "C5e": ("score", LONG, BEST, hard),
        "C5f": ("score", GRAPE, ORIGIN, hard),
    }
    gates = [(g.method, g.metric, g.least, g.most) for g in PAPER.gates]
    assert gates == [
        (JUDGE, READ, 0.98, None),
        (BASE, "score [strong, k = 1]", 0.85, None),
        (BASE, "score [strong, k = 4]", 0.4, 0.85),
        ("quads_editor", OBEYED, 0.85, None),
        ("quads_editor", KEPT, 0.95, None),
    ]
    full, quick = PAPER.settings("full"), PAPER.settings("quick")
    assert (full.steps, full.sizes, full.most, full.without) == (16, (1, 2, 3, 4), 8, ())
    assert (full.prompts, full.renders) == (120, 300)
    assert (quick.prompts, quick.renders, full.shown, quick.shown) == (12, 24, 48, 48)
    assert (quick.steps, quick.sizes, quick.without) == (16, (1, 4), (NOISE_1, NOISE_3))
    assert scores.GENERATORS == MODELS
    check_probe(PAPER, recorded(PAPER.slug))
