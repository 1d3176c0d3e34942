"""Prose says what happens and no more; solutions are parsed and judged piece by piece."""

import pytest
import torch

from stages.worlds import chain_prose as prose
from stages.worlds import chains
from stages.worlds.chain_prose import CALC, FORMAT, REASON, RIGHT, check, documents, drills, sample, worked
from stages.worlds.vocabulary import PAD

V = prose.vocabulary()
VERBS = {"adds": "+", "finds": "+", "gives": "-", "sells": "-", "multiplies": "*", "increases": "*"}
MARKS = set(chains.SPECIAL)


def retold(text):
    """The values that a text's own words lead to, and those that it tells, from the words alone."""
    *story, answer = [part.split() for part in text.replace(" ?", " .").split(" .") if part.split()]
    values, said = [], []
    for words in story[:-1]:
        name, verb, number = words[:3]
        if verb in VERBS:
            x = 1 + chains.SPELLED.index(number)
            change = {"+": values[-1] + x, "-": values[-1] - x, "*": values[-1] * x}
            values.append(change[VERBS[verb]] % 7)
        elif len(words) == 4:
            values.append(int(number))
        else:
            said.append((len(values) - 1, int(number)))
        assert name == story[0][0]
    assert story[-1][0] in ("what", "which")
    assert answer[:2] == [story[0][0], "has"]
    return values, said, int(answer[2])


def test_texts_tell_true_values_and_answers_in_words_alone():
    rows = documents(600, 3)
    assert not MARKS & {V.tokens[i] for i in rows.unique().tolist()}
    for row in rows:
        assert (row != PAD).long().diff().max() <= 0  # pads on the right
        values, said, answer = retold(V.decode(row))
        assert answer == values[-1]
        assert all(values[place] == value for place, value in said)
        assert [place for place, _ in said] in ([], list(range(1, len(values) - 1)))


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_texts_take_one_to_four_changes_and_a_share_tells_values_between(share):
    found = [retold(V.decode(row)) for row in documents(4000, 0, share)]
    steps = torch.tensor([len(values) - 1 for values, _, _ in found])
    assert steps.bincount(minlength=5).tolist() == [0, *[pytest.approx(1000, abs=100)] * 4]
    told = torch.tensor([bool(said) for _, said, _ in found])[steps > 1]
    assert told.float().mean().item() == pytest.approx(share, abs=0.02)


def test_drills_are_true_sums_cut_out_anywhere():
    rows = drills(400, 2, sums=4)
    assert rows.shape == (400, 24)
    shown = {V.tokens[i] for i in rows.unique().tolist()}
    assert not shown & (MARKS - {"=", *chains.SIGNS})
    starts, facts = [], set()
    for row in rows:
        text = V.decode(row).split()
        first = text.index(".")
        starts.append(first)
        assert text[first::6] == ["."] * len(text[first::6])
        for i in range(first + 1, 24 - 4, 6):
            before, sign, x, equals, after = text[i : i + 5]
            assert equals == "="
            x = 1 + chains.SPELLED.index(x)
            assert int(after) == {"+": int(before) + x, "-": int(before) - x, "*": int(before) * x}[sign] % 7
            facts.add((before, sign, x))
    assert set(starts) == set(range(6))
    assert len(facts) == 7 * (6 + 6 + 2)


def test_texts_are_drawn_anew_by_seed_and_stream():
    for write in (documents, drills):
        one = write(50, 1)
        assert torch.equal(one, write(50, 1))
        for other in (write(50, 2), write(50, 1, stream=("other",))):
            assert not torch.equal(one[:, :20], other[:, :20])


# ---- the judge


def judged(text):
    """Judge one solution of "3, add two, times three": 3, 5, 1."""
    problem = chains.Chains(
        question=torch.zeros(1, 1, dtype=torch.long),
        sign=torch.tensor([[0, 2, -1]]),
        operand=torch.tensor([[2, 3, -1]]),
        values=torch.tensor([[3, 5, 1, -1]]),
        steps=torch.tensor([2]),
        modulus=7,
        plain=True,
    )
    found = check(problem, V.encode(text)[None])
    pieces = [i for i in found.pieces[0].tolist() if i >= 0]
    return pieces, found.error.item(), found.first_wrong.item(), found.answer.item()


GOOD = "< 3 + two = 5 > < 5 * three = 1 >"


@pytest.mark.parametrize(
    ("text", "pieces", "error", "first", "answer"),
    [
        (f"{GOOD} <answer> 1 <end>", [0, 0, 0], RIGHT, -1, 1),
        (f"{GOOD} <answer> 1 <end> <end> <end> < 3", [0, 0, 0], RIGHT, -1, 1),
        # values: a wrong sum, a wrong start, a value not carried on, a wrong answer
        ("< 3 + two = 6 > < 6 * three = 4 > <answer> 4 <end>", [CALC, 0, 0], CALC, 0, 4),
        ("< 4 + two = 6 > < 6 * three = 4 > <answer> 4 <end>", [CALC, 0, 0], CALC, 0, 4),
        ("< 3 + two = 5 > < 4 * three = 5 > <answer> 5 <end>", [0, CALC, 0], CALC, 1, 5),
        (f"{GOOD} <answer> 2 <end>", [0, 0, CALC], CALC, 2, 2),
        # plans: another operation, operand, order, a step too few, one too many
        ("< 3 - two = 1 > < 1 * three = 3 > <answer> 3 <end>", [REASON, 0, 0], REASON, 0, 3),
        ("< 3 + four = 0 > < 0 * three = 0 > <answer> 0 <end>", [REASON, 0, 0], REASON, 0, 0),
        ("< 3 * three = 2 > < 2 + two = 4 > <answer> 4 <end>", [REASON, REASON, 0], REASON, 0, 4),
        ("< 3 + two = 5 > <answer> 5 <end>", [0, REASON], REASON, 1, 5),
        ("<answer> 1 <end>", [REASON], REASON, 0, 1),
        (f"{GOOD} < 1 + one = 2 > <answer> 2 <end>", [0, 0, REASON, REASON], REASON, 2, 2),
        # two faults: the first one names the solution, and a plan comes before its value
        ("< 3 + two = 6 > < 6 - three = 3 > <answer> 3 <end>", [CALC, REASON, 0], CALC, 0, 3),
        ("< 3 - two = 6 > < 6 * three = 4 > <answer> 4 <end>", [REASON, 0, 0], REASON, 0, 4),
        ("< 3 + two = 6 > < 6 * three", [CALC, FORMAT], CALC, 0, -1),
        # form: nothing, words, a step without a mark, spelled as a value, no answer, no end
        ("<pad>", [FORMAT], FORMAT, 0, -1),
        ("mia has 1 .", [FORMAT], FORMAT, 0, -1),
        ("< 3 + two 5 > < 5 * three = 1 > <answer> 1 <end>", [FORMAT], FORMAT, 0, -1),
        ("< 3 + 2 = 5 > < 5 * three = 1 > <answer> 1 <end>", [FORMAT], FORMAT, 0, -1),
        ("< 3 + two = five > < 5 * three = 1 > <answer> 1 <end>", [FORMAT], FORMAT, 0, -1),
        ("< 3 + two = 5 < < 5 * three = 1 > <answer> 1 <end>", [FORMAT], FORMAT, 0, -1),
        ("< 3 two + = 5 > < 5 * three = 1 > <answer> 1 <end>", [FORMAT], FORMAT, 0, -1),
        ("3 3 + two = 5 > < 5 * three = 1 > <answer> 1 <end>", [FORMAT], FORMAT, 0, -1),
        ("< 3 + two = 5 > 5 * three = 1 > <answer> 1 <end>", [0, FORMAT], FORMAT, 1, -1),
        (GOOD, [0, 0, FORMAT], FORMAT, 2, -1),
        (f"{GOOD} <answer> 1", [0, 0, FORMAT], FORMAT, 2, -1),
        (f"{GOOD} <answer> one <end>", [0, 0, FORMAT], FORMAT, 2, -1),
        (f"{GOOD} <answer> <end>", [0, 0, FORMAT], FORMAT, 2, -1),
        (f"{GOOD} 1 <end> <end>", [0, 0, FORMAT], FORMAT, 2, -1),
        (f"{GOOD} <answer> 1 1 <end>", [0, 0, FORMAT], FORMAT, 2, -1),
    ],
)  # fmt: skip
def test_a_solution_is_judged_by_its_first_fault(text, pieces, error, first, answer):
    assert judged(text) == (pieces, error, first, answer)


def test_worked_solutions_are_right_all_at_once():
    problems = sample(500, 4, (1, 4))
    texts = worked(problems)
    found = check(problems, texts)
    assert V.decode(texts[0]).count("<answer>") == 1
    assert (found.error == RIGHT).all()
    assert (found.first_wrong == -1).all()
    assert torch.equal(found.answer, problems.answer)
    assert torch.equal(found.written, problems.steps)
    width = problems.sign.shape[1]
    for name in ("sign", "operand"):
        assert torch.equal(getattr(found, name)[:, :width], getattr(problems, name))
    inner = problems.sign >= 0
    assert torch.equal(found.before[:, :width][inner], problems.values[:, :-1][inner])
    assert torch.equal(found.after[:, :width][inner], problems.values[:, 1:][inner])
    # among others, each row is judged by its own problem
    other = check(problems, texts.roll(1, 0))
    same = (texts == texts.roll(1, 0)).all(1)
    assert torch.equal(other.error == RIGHT, same)


def test_wrong_steps_are_counted_where_they_were_planted():
    problems = sample(300, 5, 3)
    texts = worked(problems)
    place = torch.randint(3, (300,), generator=torch.Generator().manual_seed(0))
    rows = torch.arange(300)
    value = texts.clone()
    spot = 7 * place + 5
    value[rows, spot] = 1 + texts[rows, spot] % 7  # the next number
    found = check(problems, value)
    assert (found.error == CALC).all()
    assert torch.equal(found.first_wrong, place)
    mark = texts.clone()
    mark[rows, 7 * place + 6] = V.number["="]
    found = check(problems, mark)
    assert (found.error == FORMAT).all()
    assert torch.equal(found.first_wrong, place)
    assert torch.equal(found.written, place)
    assert not found.parsable.any()
