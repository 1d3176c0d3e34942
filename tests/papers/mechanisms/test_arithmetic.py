"""What formats write, the table of sums, how answers are marked, how the experiment is wired; the probe."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from stages.evidence import check_probe, recorded
from stages.papers.mechanisms.arithmetic import (
    FORMATS,
    PAPER,
    add,
    answer_loss,
    experiment,
    seen_carry,
    training,
    write,
)
from stages.papers.mechanisms.arithmetic.arms import (
    ARMS,
    DETAILED,
    PLAIN,
    RANDOM_A,
    RANDOM_BOTH,
    RANDOM_C,
    REVERSE,
    SIMPLIFIED,
)
from stages.papers.mechanisms.arithmetic.completion import make_table, parts, recovered, threshold
from stages.papers.mechanisms.arithmetic.experiment import (
    EQUAL,
    FEW,
    KNOWN,
    LONGER,
    MIXED,
    ORDERS,
    TEN,
    TRANSITION,
)
from stages.papers.mechanisms.arithmetic.scores import (
    CELLS,
    COMPLETION,
    EXACT,
    FIXED,
    FROM_TABLE,
    HIGH,
    N50,
    NEAREST,
    NEW,
    OWN,
    SHARP,
    SLOPE,
    at,
    logistic_fit,
)
from stages.papers.mechanisms.arithmetic.training import Marked, Recipe, ask, batches, certainty, learn, mark
from stages.worlds import arithmetic as world
from stages.worlds.arithmetic import Lines, Problems, vocabulary
from stages.worlds.vocabulary import PAD, join

TINY = Recipe(updates=3, batch=4, width=16, ratio=2)


def value(digits, base=4):
    return (digits * base ** torch.arange(digits.shape[1])).sum(1)


def pairs(problems):
    """Both numbers of each problem, as Python's own."""
    return list(zip(*(value(x, problems.base).tolist() for x in (problems.a, problems.b)), strict=True))


def texts(lines, base=4):
    return [vocabulary(base).decode(row) for row in lines.tokens]


@pytest.fixture(scope="module")
def table():
    return make_table(4, 3, 150, 0, FIXED)


# ---- the method

EXAMPLE = Problems(torch.tensor([[8, 2, 1]]), torch.tensor([[7, 6, 3]]))  # 128 and 367
WRITTEN = {
    PLAIN: ("128+367=", "0495\n"),
    REVERSE: ("128+367=", "5940\n"),
    SIMPLIFIED: ("Input:\n128+367\nTarget:\n", "A->5 , C->1\nA->9 , C->0\nA->4 , C->0.\n495\n"),
    DETAILED: (
        "Input:\n128+367\nTarget:\n",
        """<scratch>
[1,2,8] has 3 digits.
[3,6,7] has 3 digits.
[1,2,8] + [3,6,7] , A=[] , C=0 , 8+7+0=15 , A->5 , C->1
[1,2] + [3,6] , A=[5] , C=1 , 2+6+1=9 , A->9 , C->0
[1] + [3] , A=[9,5] , C=0 , 1+3+0=4 , A->4 , C->0
[] + [] , A=[4,9,5] C=0 , END
</scratch>
4 9 5
""",
    ),
}


def test_a_sum_is_written_as_in_the_paper_and_as_the_world_writes_it():
    for form, (given, answer) in WRITTEN.items():
        lines = write(EXAMPLE, FORMATS[form])
        assert texts(lines, 10) == [given + answer]
        assert lines.prompt.tolist() == [len(given)]
    for base in (2, 4, 10):
        problems = world.sample(200, 4, 0, base=base)
        keep = torch.arange(4) < torch.randint(1, 5, (200, 1), generator=torch.Generator().manual_seed(0))
        problems = replace(problems, b=problems.b * keep)  # shorter ones, too
        for form, writer in FORMATS.items():
            other = world.write(problems, form, zeros=form in ORDERS)
            assert torch.equal(write(problems, writer).tokens, other.tokens), (base, form)
            assert torch.equal(write(problems, writer).prompt, other.prompt)
    for wrong in (replace(EXAMPLE, operation="-"), replace(EXAMPLE, base=11)):
        with pytest.raises(ValueError, match=r"formats write sums, in bases up to 10"):
            write(wrong, FORMATS[PLAIN])


def test_addition_by_hand_is_addition_and_its_carries_can_be_seen():
    for base in (2, 4, 10):
        problems = world.sample(300, 3, 1, base=base)
        for (x, y), a, b in zip(pairs(problems), problems.a.tolist(), problems.b.tolist(), strict=True):
            s, c = add(a, b, base)
            assert sum(digit * base**i for i, digit in enumerate(s)) == x + y
            assert [seen_carry(*digits, base) for digits in zip(a, b, s[:-1], strict=True)] == c
            for i in range(3):  # a carry is what the lower places do not hold
                low = base ** (i + 1)
                assert c[i] == (x % low + y % low >= low)


def test_the_loss_is_on_the_answer_alone_and_padding_changes_nothing(table):
    lines = write(table.problems(table.train[:8]), FORMATS[PLAIN])
    logits = torch.randn(8, 13, len(vocabulary(4)), generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = answer_loss(lambda tokens: logits, lines.tokens, lines.answer)
    loss.backward()
    predicts = logits.grad.abs().sum(2) > 0
    assert predicts.tolist() == [[7 <= i < 12 for i in range(13)]] * 8  # from "=" to the last digit
    expected = F.cross_entropy(logits[:, 7:12].flatten(0, 1), lines.tokens[:, 8:].flatten())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    short = write(table.problems(table.train[:20]), FORMATS[SIMPLIFIED])
    long = Lines(F.pad(short.tokens, (0, 9)), short.prompt)
    model = training.GPT(len(vocabulary(4)), 16, 1, 1, 80)
    one, two = (answer_loss(model, x.tokens, x.answer).item() for x in (short, long))
    assert one == pytest.approx(two, rel=1e-5)


def test_right_scratchpads_are_right_and_random_labels_random(table):
    """In the released generator, labels of right scratchpads turn random, and true ones leak into random ones."""
    problems = table.problems(table.train)
    digits, carries = problems.solve()[0][:, :3], problems.carries.long()
    found = {}
    for name in (SIMPLIFIED, DETAILED, RANDOM_A, RANDOM_C, RANDOM_BOTH):
        lines = ARMS[name].write(problems, 1)
        a, c = (torch.tensor([[int(x) for x in re.findall(rf"{k}->(\d)", t)] for t in texts(lines)]) for k in "AC")
        random = {RANDOM_A: "A", RANDOM_C: "C", RANDOM_BOTH: "AC"}.get(name, "")
        for kind, labels, true, chance in (("A", a, digits, 0.25), ("C", c, carries, 0.5)):
            share = (labels == true).double().mean(0).tolist()
            assert share == (pytest.approx([chance] * 3, abs=0.04) if kind in random else [1] * 3)
        sums = [t.rstrip("\n").split("\n")[-1].replace(" ", "") for t in texts(lines)]
        assert [int(x, 4) for x in sums] == value(problems.solve()[0]).tolist()
        assert torch.equal(ARMS[name].write(problems, 1).tokens, lines.tokens)
        found[name] = a, c, lines.tokens
    for name in (RANDOM_A, RANDOM_C, RANDOM_BOTH):
        assert not torch.equal(ARMS[name].write(problems, 2).tokens, found[name][2])
    assert torch.equal(found[RANDOM_A][0], found[RANDOM_BOTH][0])  # one draw a seed
    assert torch.equal(found[RANDOM_C][1], found[RANDOM_BOTH][1])
    both = torch.cat([found[RANDOM_BOTH][0] % 2, found[RANDOM_BOTH][1]], 1).double()
    assert torch.corrcoef(both.T).fill_diagonal_(0).abs().max() < 0.1


# ---- the table of sums


def test_cells_are_sums_of_full_length_and_no_test_cell_is_ever_in_training(table):
    sets = [{tuple(cell) for cell in cells.tolist()} for cells in table[:3]]
    assert [len(cells) for cells in sets] == [1608, 150, 150]
    assert len(table.train) == 1608  # none twice
    assert not sets[0] & sets[1]
    numbers = set(table.train.flatten().tolist())
    assert len(numbers) == 48 - 6
    assert not {i for i, _ in sets[2]} & numbers
    assert {j for _, j in sets[2]} <= numbers
    fixed = {tuple(int(x, 4) - 16 for x in pair) for pair in FIXED}
    assert not fixed & set.union(*sets)
    assert {x for pair in fixed for x in pair} <= numbers
    for cells in table[:3]:
        assert pairs(table.problems(cells)) == [(i + 16, j + 16) for i, j in cells.tolist()]
    assert table.problems(cells, 5).a.shape[1] == 5
    assert pairs(table.problems(cells, 5)) == pairs(table.problems(cells))
    ten = make_table(10, 2, 50, 0)
    assert pairs(ten.problems(torch.tensor([[0, 89]]))) == [(10, 99)]
    again, other = make_table(4, 3, 150, 0, FIXED), make_table(4, 3, 150, 1, FIXED)
    assert all(torch.equal(x, y) for x, y in zip(table[:3], again[:3], strict=True))
    assert not any(torch.equal(x, y) for x, y in zip(table[:3], other[:3], strict=True))
    assert set(other.train.flatten().tolist()) != numbers  # nor are the same numbers hidden
    assert not torch.equal(*(make_table(6, 1, 5, seed).train for seed in (0, 1)))  # of five numbers none is hidden
    assert not torch.equal(*(make_table(10, 1, 8, seed).new[:, 1].argsort() for seed in (0, 1)))  # one row of eight


def test_a_cell_follows_exactly_if_linear_algebra_says_so(table):
    """M = r 1' + 1 c' is linear in r and c: a cell is known iff its row lies in the span of the revealed ones."""
    small = make_table(4, 2, 40, 3)

    def equations(cells):
        return np.concatenate([np.eye(12)[cells[:, 0]], np.eye(12)[cells[:, 1]]], 1)

    for samples in (8, 15, 25, 60):
        known = equations(small.train[:samples])
        rank = np.linalg.matrix_rank(known)
        span = [np.linalg.matrix_rank(np.vstack([known, row])) == rank for row in equations(small.test)]
        assert recovered(small, samples, small.test).tolist() == span
    assert 0 < recovered(small, 15, small.test).mean() < 1
    whole, shown = threshold(table), torch.unique(table.train)
    everything = torch.cartesian_prod(shown, shown)
    assert recovered(table, whole, everything).all()
    assert not recovered(table, whole - 1, everything).all()
    assert not recovered(table, len(table.train), table.new).any()  # no cell of a row, no path to it
    assert len(np.unique(parts(table, 1))) == 2 * 48 - 1


# ---- training and marking


def test_arms_start_alike_see_the_same_lines_and_learn_at_their_own_rate(table, monkeypatch):
    heard = []
    fit, optimiser = training.fit, training.optimiser
    monkeypatch.setattr(training, "fit", lambda *a, **k: heard.append((a[1], k)) or fit(*a, **k))
    monkeypatch.setattr(training, "optimiser", lambda *a, **k: heard.append((a[2], k)) or optimiser(*a, **k))
    drawn, read = [], []
    monkeypatch.setattr(training, "answer_loss", lambda *a: read.append(a[1:]) or answer_loss(*a))
    monkeypatch.setattr(training, "batches", lambda *a: drawn.append(a) or batches(*a))
    rates = {PLAIN: 0.01, REVERSE: 0.02, SIMPLIFIED: 0.03, DETAILED: 0.04}
    problems = table.problems(table.train[:10])
    for name, arm in ARMS.items():
        learn(arm, arm.write(problems, 0), 4, replace(TINY, rates=rates, decay=0.3), 0)
        assert heard[-2] == (
            rates[name if name in FORMATS else SIMPLIFIED],
            {"betas": (0.9, 0.99), "weight_decay": 0.3},
        )
        assert heard[-1][0] == 3
        assert heard[-1][1]["clip"] == 1
        lines, rows = arm.write(problems, 0), batches(10, 3, 4, 0)
        for (tokens, answer), row in zip(read[-3:], rows, strict=True):  # cut to the longest line of the batch
            length = tokens.shape[1]
            assert (tokens != PAD).any(0).all()
            assert not lines.tokens[row, length:].any()
            assert torch.equal(tokens, lines.tokens[row, :length])
            assert torch.equal(answer, lines.answer[row, :length])
    learn(replace(ARMS[PLAIN], longer=3), ARMS[PLAIN].write(problems, 0), 4, replace(TINY, updates=20), 0)
    assert heard[-1][0] == 60
    assert [heard[-1][1]["schedule"](i) for i in (0, 2, 60)] == pytest.approx([1 / 3, 1, 0.1])

    still = replace(TINY, rates=dict.fromkeys(FORMATS, 0.0))
    starts = [learn(ARMS[form], ARMS[form].write(problems, 0), 4, still, seed) for form, seed in
              ((PLAIN, 0), (REVERSE, 0), (PLAIN, 1))]  # fmt: skip
    assert drawn[-3:] == [(10, 3, 4, 0), (10, 3, 4, 0), (10, 3, 4, 1)]
    first, second, other = (list(model.parameters()) for model in starts)
    assert all(torch.equal(p, q) for p, q in zip(first, second, strict=True))
    assert not torch.equal(first[0], other[0])
    assert not starts[0].training
    shapes = {name: tuple(p.shape) for name, p in starts[0].named_parameters()}
    assert (shapes["embedding.weight"], shapes["positions"]) == ((len(vocabulary(4)), 16), (15, 16))
    assert (shapes["blocks.1.mlp.0.weight"], "blocks.2.mlp.0.weight" in shapes) == ((32, 16), False)
    assert starts[0].blocks[0].attention.heads == 2
    once, twice = (learn(ARMS[PLAIN], ARMS[PLAIN].write(problems, 0), 4, TINY, 0) for _ in range(2))
    assert all(torch.equal(p, q) for p, q in zip(once.parameters(), twice.parameters(), strict=True))

    order = batches(100, 50, 8, 0)
    assert torch.equal(order.flatten()[:100].sort().values, torch.arange(100))  # a pass shows each line once
    assert torch.equal(order.flatten()[100:200].sort().values, torch.arange(100))
    assert not torch.equal(order.flatten()[:100], order.flatten()[100:200])
    assert torch.equal(batches(100, 60, 8, 0)[:50], order)
    assert not torch.equal(batches(100, 50, 8, 1), order)


class Says(torch.nn.Module):
    """Writes the answers of given lines, whatever it is asked."""

    def __init__(self, lines):
        super().__init__()
        self.lines, self.asked = lines, []

    def generate(self, prompts, new, *, stop, mask):
        self.asked += [vocabulary(4).decode(row) for row in prompts]
        self.stop, self.mask, self.ends = [*stop], mask, prompts[:, -1]
        answers = self.lines.tokens * self.lines.answer
        return join(answers, torch.zeros(len(answers), new, dtype=torch.int64))[:, :new]


def test_true_answers_are_right_others_are_not_and_digits_have_places(table):
    problems = table.problems(table.test[:40])
    others = replace(problems, a=problems.a.roll(1, 0), b=problems.b.roll(1, 0))
    true, said = (value(x.solve()[0]) for x in (problems, others))
    for form, writer in FORMATS.items():
        right, wrong = Says(write(problems, writer)), Says(write(others, writer))
        marked = ask(right, ARMS[form], problems)
        assert marked.whole.all()
        assert marked.digits.all()
        assert ask(wrong, ARMS[form], problems).whole.tolist() == (true == said).tolist()
        rows = [text[:n] for text, n in zip(texts(right.lines), right.lines.prompt, strict=True)]
        assert right.asked == rows  # it reads the prompts, and nothing of the answers
        assert right.stop == (vocabulary(4).encode("\n").tolist() if form in ORDERS else [])  # scratchpads have lines
    short = Problems(torch.tensor([[1, 0, 0], [3, 3, 1]]), torch.tensor([[2, 0, 0], [1, 0, 2]]), base=4)
    padded = Says(write(short, FORMATS[SIMPLIFIED]))  # 1 + 2 is four characters shorter than 133 + 201
    assert ask(padded, ARMS[SIMPLIFIED], short).whole.all()
    assert padded.mask.tolist() == [[False] * 4 + [True] * 19, [True] * 23]
    assert (padded.ends != PAD).all()
    three = Problems(torch.tensor([[3, 3, 1]] * 4), torch.tensor([[1, 0, 2]] * 4), base=4)  # 133 + 201 = 1000
    marked = mark([64, 65, None, 48], three)
    assert marked.whole.tolist() == [True, False, False, False]
    assert marked.digits.tolist() == [[True] * 4, [False, True, True, True], [False] * 4, [True, True, False, False]]
    assert marked.exact == 25
    threes = Problems(torch.tensor([[1, 1, 1]]), torch.tensor([[2, 2, 2]]), base=4)  # 111 + 222 = 333
    assert not mark([None], threes).digits.any()


def test_what_a_network_is_sure_of_is_the_chance_of_the_right_digit_by_place(table):
    class Known(torch.nn.Module):
        def forward(self, tokens):
            following = F.pad(tokens[:, 1:], (0, 1))
            logits = 9.0 * F.one_hot(following, len(vocabulary(4)))
            logits[:, 8] = 0  # no idea what comes after the first character of the answer
            return logits

    problems = table.problems(table.test[:5])
    for form, unsure in ((PLAIN, 2), (REVERSE, 1)):  # the second character: place 2 of 3..0, or place 1 of 0..3
        sure = certainty(Known(), ARMS[form], problems)
        assert sure.shape == (5, 4)
        assert (sure[:, unsure] < 0.03).all()
        assert (np.delete(sure, unsure, 1) > 0.9).all()


def test_a_logistic_curve_is_fitted_exactly_and_a_flat_one_kept_within_reach():
    samples = np.array([50, 100, 200, 400, 800])
    for n50, width in ((150, 1.5), (90, 4.0)):
        accuracy = 100 / (1 + (n50 / samples) ** (np.log(81) / np.log(2) / width))
        assert logistic_fit(samples, accuracy) == pytest.approx((np.log2(n50), width), rel=1e-3)
    middle, width = logistic_fit([50, 100, 200], [0.0, 0.0, 0.0])
    assert middle <= np.log2(200) + 2
    assert 0.25 <= width <= 12


# ---- the wiring of the experiment

SMALL = replace(
    PAPER.settings("full"),
    samples={
        PLAIN: (8, 14, 30, 40),
        REVERSE: (8, 14, 30, 40),
        SIMPLIFIED: (8, 14),
        DETAILED: (8,),
        RANDOM_A: (14,),
        RANDOM_C: (14,),
        RANDOM_BOTH: (14,),
    },
    few=8,
    transition=14,
    equal={PLAIN: 30, REVERSE: 40, DETAILED: 8},
    base_ten=17,
    mixed=12,
    test=20,
    recipe=TINY,
)
TRAINED = [(name, n) for name, counts in SMALL.samples.items() for n in counts]
LAST = [(PLAIN, "ten"), (PLAIN, "lengths"), (REVERSE, "ten"), (REVERSE, "lengths")]
RIGHT = [3, 7, 13, 18, 4, 11, 17, 19, 5, 15, 8, 12, 6, 2, 14, 9, 16, 10]  # of 20, network by network


class Recorder:
    """Stands in for training and asking. Asked for the first time, network n is wrong in the last n % 4 rows; then the
    first RIGHT[n] are right, then one less. Each digit is right in two rows more than the one below it.
    """

    def __init__(self):
        self.learnt, self.asked, self.sure = [], [], []

    def learn(self, arm, lines, base, recipe, seed):
        self.learnt.append(SimpleNamespace(arm=arm, lines=lines, base=base, recipe=recipe, seed=seed))
        return len(self.learnt) - 1

    def ask(self, model, arm, problems):
        times = sum(call.model == model for call in self.asked)
        self.asked.append(SimpleNamespace(model=model, arm=arm, problems=problems))
        right = (len(problems) - model % 4, RIGHT[model], RIGHT[model] - 1)[times]
        row = np.arange(len(problems))[:, None]
        return Marked(row[:, 0] < right, row < right - 3 + 2 * np.arange(problems.a.shape[1] + 1))

    def certainty(self, model, arm, problems):
        self.sure.append(SimpleNamespace(model=model, arm=arm, problems=problems))
        return model + np.arange(6)[:, None] / 10 + np.arange(4) / 100


@pytest.fixture(scope="module")
def wired():
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("learn", "ask", "certainty"):
            patch.setattr(training, name, getattr(recorder, name))
        outcome = PAPER.run(SMALL, 6)
    recorder.scores = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    recorder.curves = {(row["method"], row["name"]): (row["x"], row["y"]) for row in outcome.curves}
    recorder.exhibits, recorder.rows = outcome.exhibits, outcome.curves
    return recorder


def labels(lines, kind):
    found = [[int(x) for x in re.findall(rf"{kind}->(\d)", text)] for text in texts(lines)]
    return torch.tensor(found)


def test_each_arm_learns_its_own_lines_in_its_own_way(wired):
    table = make_table(4, 3, 20, 6, FIXED)
    assert [len(call.lines.tokens) for call in wired.learnt[:14]] == [n for _, n in TRAINED]
    for call, (name, n) in zip(wired.learnt, TRAINED, strict=False):
        assert (call.arm.form, call.arm.longer) == (name if name in FORMATS else SIMPLIFIED, 1), name
        assert (call.base, call.recipe, call.seed) == (4, TINY, 6)
        problems = table.problems(table.train[:n])  # the first cells, the same for all arms
        if name in FORMATS:
            lines = world.write(problems, name, zeros=name in ORDERS)
            assert torch.equal(call.lines.tokens, lines.tokens), name
            assert torch.equal(call.lines.prompt, lines.prompt), name
            continue
        result, carries = problems.solve()[0], problems.carries.long()
        right = [torch.equal(labels(call.lines, k), x) for k, x in (("A", result[:, :3]), ("C", carries))]
        assert right == {RANDOM_A: [False, True], RANDOM_C: [True, False], RANDOM_BOTH: [False, False]}[name]
        sums = [int(text.split(".\n")[1], 4) for text in texts(call.lines)]
        assert sums == value(result).tolist()
        asked = [text.split("\n")[1] for text in texts(call.lines)]
        assert asked == [text.split("\n")[1] for text in texts(world.write(problems, SIMPLIFIED))]
        assert torch.equal(call.lines.tokens, ARMS[name].write(problems, 6).tokens)  # the seed's labels
    assert len(wired.learnt) == len(TRAINED) + len(LAST)
    for call, (form, what) in zip(wired.learnt[len(TRAINED) :], LAST, strict=True):
        assert (call.arm.form, call.recipe, call.seed) == (form, TINY, 6)
        assert (call.arm.random_digits, call.arm.random_carries) == (False, False)
        if what == "ten":
            ten = make_table(10, 2, 20, 6)
            expected = world.write(ten.problems(ten.train[:17]), form, zeros=True)
            assert (call.base, call.arm.longer) == (10, 3)
            assert torch.equal(call.lines.tokens, expected.tokens)
            continue
        assert (call.base, call.arm.longer) == (4, 1)
        learnt = [(n, make_table(4, n, 20, 6).train[:12] + 4 ** (n - 1)) for n in (1, 2, 3)]
        expected = [tuple(pair) for _, numbers in learnt for pair in numbers.tolist()]
        assert len(expected) == 7 + 12 + 12  # there are no more sums of one digit
        spelt = [re.match(r"(\d{4})\+(\d{4})=(\d{5})\n", text).groups() for text in texts(call.lines)]
        assert [(int(a, 4), int(b, 4)) for a, b, _ in spelt] == expected
        assert [int(s[:: -1 if form == REVERSE else 1], 4) for *_, s in spelt] == [a + b for a, b in expected]


def test_each_network_is_asked_in_its_own_form_for_what_it_never_saw(wired):
    table, ten = make_table(4, 3, 20, 6, FIXED), make_table(10, 2, 20, 6)
    asked = iter(wired.asked)
    for model, (name, n) in enumerate(TRAINED):
        for cells in (table.train[: min(n, 20)], table.test, table.new):
            call = next(asked)
            assert (call.model, call.arm) == (model, ARMS[name])
            assert pairs(call.problems) == pairs(table.problems(cells))
    for model, (form, what) in enumerate(LAST, len(TRAINED)):
        if what == "ten":
            for cells in (ten.train[:17], ten.test, ten.new):
                call = next(asked)
                assert (call.model, call.arm.form, call.problems.base) == (model, form, 10)
                assert pairs(call.problems) == pairs(ten.problems(cells))
            continue
        seen = set(re.findall(r"(\d{4}\+\d{4})=", "".join(texts(wired.learnt[model].lines))))
        for digits in (4, 3):  # first one digit more, then the longest that was learnt
            call = next(asked)
            assert (call.model, call.arm.form, call.problems.base) == (model, form, 4)
            cells = make_table(4, digits, 20, 6).test
            low = 4 ** (digits - 1)
            assert pairs(call.problems) == [(a + low, b + low) for a, b in cells.tolist()]
            assert call.problems.a.shape[1] == call.problems.b.shape[1] == 4
            assert all(low <= x < 4 * low for pair in pairs(call.problems) for x in pair)
            assert not seen & set(re.findall(r"(\d{4}\+\d{4})=", "".join(texts(write(call.problems, FORMATS[form])))))
    assert next(asked, None) is None
    sixes = [(int(a, 4), int(b, 4)) for a, b in FIXED]
    kept = [(call.model, call.arm) for call in wired.sure]
    assert kept == [(i, ARMS[name]) for i, (name, _) in enumerate(TRAINED) if name in ORDERS]
    assert all(pairs(call.problems) == sixes for call in wired.sure)


def test_scores_are_those_worked_out_by_hand(wired):
    found, table = dict(wired.scores), make_table(4, 3, 20, 6, FIXED)

    def take(method, metric):
        return pytest.approx(found.pop((method, metric)), abs=1e-6)

    for model, (name, n) in enumerate(TRAINED):
        own = min(n, 20)
        assert take(name, at(n)) == 5 * RIGHT[model]
        assert take(name, at(n, OWN)) == 100 * (own - model % 4) / own
        trial = wired.exhibits[name][n]
        assert trial.model == model
        assert [part.whole.sum() for part in (trial.own, trial.pairs, trial.new)] == [
            own - model % 4, RIGHT[model], RIGHT[model] - 1]  # fmt: skip
    for name, last in ((PLAIN, 3), (REVERSE, 7), (SIMPLIFIED, 9), (DETAILED, 10), (RANDOM_A, 11), (RANDOM_C, 12),
                       (RANDOM_BOTH, 13)):  # fmt: skip
        assert take(name, NEW) == 5 * (RIGHT[last] - 1)
    for metric, rows in {
        FEW: {PLAIN: 3, REVERSE: 4, SIMPLIFIED: 5, DETAILED: 8},
        TRANSITION: {PLAIN: 7, REVERSE: 11, SIMPLIFIED: 15, RANDOM_A: 12, RANDOM_C: 6, RANDOM_BOTH: 2},
        EQUAL: {PLAIN: 13, REVERSE: 19, DETAILED: 8},
        TEN: {PLAIN: 14, REVERSE: 16},
    }.items():
        for name, right in rows.items():
            assert take(name, metric) == 5 * right, (name, metric)

    sums = pairs(table.problems(table.test))
    chain = []
    for a, b in sums:
        carries = "".join(str(int(a % 4**i + b % 4**i >= 4**i)) for i in (1, 2, 3))
        chain.append(max(map(len, carries.split("0"))))
    assert len(set(chain)) > 2
    for name, first, near, right in ((PLAIN, 0, 14, 7), (REVERSE, 4, 14, 11)):
        assert take(name, NEAREST) == near
        wrong = 100.0 * (np.arange(20) >= right)
        assert take(name, SLOPE) == np.cov(chain, wrong)[0, 1] / np.var(chain, ddof=1)
        places = [100 - 5 * (right - 3 + 2 * place) for place in range(4)]
        assert places[0] > places[3]  # planted: the low digits are wrong more often
        assert take(name, HIGH) == (places[2] + places[3] - places[0] - places[1]) / 2 == pytest.approx(-20)
        assert wired.curves[name, "errors by digit"] == ([0, 1, 2, 3], pytest.approx(places))
        x, y = wired.curves[name, "errors by chain"]
        assert x == sorted(set(chain))
        assert y == pytest.approx([wrong[np.array(chain) == c].mean() for c in x])
        accuracy = [5 * RIGHT[first + i] for i in range(4)]
        middle, width = logistic_fit((8, 14, 30, 40), accuracy)
        assert take(name, N50) == middle
        assert take(name, SHARP) == 2 - width
        assert take(name, FROM_TABLE) == middle - np.log2(threshold(table))
        assert wired.curves[name, EXACT] == ([8, 14, 30, 40], pytest.approx(accuracy))
        for i, n in enumerate((8, 14, 30, 40)):
            for k, pair in enumerate(FIXED):
                sure = [first + i + k / 10 + place / 100 for place in range(4)]
                assert wired.curves[name, at(n, "+".join(pair))] == ([0, 1, 2, 3], pytest.approx(sure))
    for name, model in ((PLAIN, 15), (REVERSE, 17)):
        assert take(MIXED, f"{LONGER} [{name}]") == 100 * (20 - (model % 4)) / 20
        assert take(MIXED, f"{KNOWN} [{name}]") == 5 * RIGHT[model]
    assert take(COMPLETION, CELLS) == threshold(table)
    assert take(COMPLETION, NEW) == 0
    assert found == {}
    x, y = wired.curves[COMPLETION, EXACT]
    assert (x[0], x[-1]) == (20, len(table.train))
    assert y == pytest.approx([100 * recovered(table, int(n), table.test).mean() for n in x])
    assert y[0] < y[-1] == 100
    assert len(wired.rows) == len(wired.curves)  # nothing is kept twice


def test_a_profile_that_asks_for_less_trains_no_more_and_a_step_takes_three_networks(monkeypatch):
    quick = replace(PAPER.settings("quick"), test=20)
    three = replace(quick, samples={REVERSE: (8, 14, 30)})
    found = []
    for settings in (quick, three):
        recorder = Recorder()
        for name in ("learn", "ask", "certainty"):
            monkeypatch.setattr(training, name, getattr(recorder, name))
        scored = {(row["method"], row["metric"]) for row in PAPER.run(settings, 0).scores}
        found.append(([(call.arm, len(call.lines.tokens)) for call in recorder.learnt], scored))
    (ran, scored), (ran_three, scored_three) = found
    assert ran == [(ARMS[PLAIN], 120), (ARMS[REVERSE], 120)]
    assert {(PLAIN, TRANSITION), (REVERSE, TRANSITION)} <= scored  # the first claim can be seen live
    assert not {metric for _, metric in scored} & {N50, SHARP, FROM_TABLE, TEN}
    assert ran_three == [(ARMS[REVERSE], n) for n in (8, 14, 30)]
    assert {(REVERSE, N50), (REVERSE, SHARP), (REVERSE, FROM_TABLE)} <= scored_three


def test_claims_and_gates_compare_what_they_say_and_the_probe_holds():
    claims = {c.key: (c.metric, c.better, c.worse, c.margin, c.kind) for c in PAPER.claims}
    assert claims == {
        "C1": (TRANSITION, REVERSE, PLAIN, 10, "superiority"),
        "C2": (N50, REVERSE, PLAIN, 0.25, "superiority"),
        "C3": (SLOPE, PLAIN, None, 2, "superiority"),
        "C4": (TRANSITION, RANDOM_BOTH, PLAIN, 5, "superiority"),
        "C5": (EQUAL, REVERSE, DETAILED, 0, "superiority"),
        "C6": (LONGER, MIXED, None, 5, "equivalence"),
    }
    assert {c.key: c.everywhere for c in PAPER.claims if c.everywhere} == {"C6": (PLAIN, REVERSE)}
    assert {c.key for c in (*PAPER.claims, *PAPER.also) if c.lower_is_better} == {"C2"}
    also = {c.key: (c.metric, c.better, c.worse) for c in PAPER.also}
    assert also == {
        "C1b": (TEN, REVERSE, PLAIN),
        "C1c": (TRANSITION, SIMPLIFIED, REVERSE),
        "C1d": (FEW, DETAILED, SIMPLIFIED),
        "C2b": (SHARP, REVERSE, None),
        "C3b": (SLOPE, PLAIN, REVERSE),
        "C3c": (HIGH, PLAIN, None),
        "C4b": (TRANSITION, SIMPLIFIED, RANDOM_BOTH),
        "C4c": (TRANSITION, RANDOM_A, PLAIN),
        "C4d": (TRANSITION, RANDOM_C, PLAIN),
        "C5b": (EQUAL, DETAILED, PLAIN),
        "C7": (FROM_TABLE, PLAIN, None),
        "C7b": (NEW, PLAIN, COMPLETION),
    }
    gates = [(g.method, g.metric, g.minus, g.least, g.most) for g in PAPER.gates]
    assert gates == [
        (REVERSE, "exact match [400 samples]", None, 95, None),
        (PLAIN, "exact match [120 samples]", None, 20, 60),
        (PLAIN, "exact match, own lines [120 samples]", None, 95, None),
        (DETAILED, "exact match, own lines [50 samples]", None, 95, None),
        (MIXED, "exact match, a known length [reverse]", None, 90, None),
    ]
    full = PAPER.settings("full")
    assert {name: list(counts) for name, counts in full.samples.items()} == {
        PLAIN: [50, 120, 400, 1093],
        REVERSE: [50, 120, 400, 1093],
        SIMPLIFIED: [50, 120],
        DETAILED: [50],
        RANDOM_A: [120],
        RANDOM_C: [120],
        RANDOM_BOTH: [120],
    }
    assert (full.few, full.transition, full.test, full.base_ten, full.mixed) == (50, 120, 150, 300, 300)
    table = make_table(4, 3, 150, 0, FIXED)
    characters = {
        name: (write(table.problems(table.train[:n]), FORMATS[name]).tokens != PAD).sum().item()
        for name, n in full.equal.items()
    }
    assert list(characters) == [PLAIN, REVERSE, DETAILED]
    assert max(characters.values()) < 1.01 * min(characters.values())
    rates = {PLAIN: 0.005, REVERSE: 0.005, SIMPLIFIED: 0.008, DETAILED: 0.008}
    assert full.recipe == Recipe(1000, 16, 48, 2, 2, 4, 0.1, rates)
    with pytest.raises(ValueError, match=r"9999 samples asked for; there are 1608 cells"):
        experiment.examine(ARMS[PLAIN], table, 9999, full, 0)
    check_probe(PAPER, recorded(PAPER.slug))
