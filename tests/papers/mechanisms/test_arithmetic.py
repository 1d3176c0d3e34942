"""What an arm trains on, how answers are marked, and that all claims are measured."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from stages.evidence import judge, tidy_scores
from stages.models import GPT
from stages.papers.mechanisms import arithmetic as paper
from stages.papers.mechanisms.arithmetic import (
    ARMS,
    DETAILED,
    FIXED,
    LSTM,
    PAPER,
    PLAIN,
    REVERSE,
    SIMPLIFIED,
    Arm,
    Budget,
    ask,
    balance,
    batches,
    certainty,
    logistic_fit,
    make_table,
    mark,
    train,
    word_problems,
)
from stages.worlds.arithmetic import FORMS, Lines, Problems, vocabulary
from stages.worlds.vocabulary import PAD

COMPARISONS = [*PAPER.claims, *PAPER.also]

TINY = Budget(steps=3, batch=4, width=16, lstm=16, ratio=2)


def value(digits, base=4):
    return (digits * base ** torch.arange(digits.shape[1])).sum(1)


@pytest.fixture(scope="module")
def table():
    return make_table(4, 3, 150, 0, FIXED)


# ---- arms


def test_plain_and_reverse_differ_in_the_order_of_the_result_alone(table):
    problems = table.problems(table.train[:200])
    plain, reverse = (ARMS[form].write(problems) for form in (PLAIN, REVERSE))
    assert torch.equal(plain.tokens[:, :8], reverse.tokens[:, :8])
    assert torch.equal(plain.tokens[:, 8:12].flip(1), reverse.tokens[:, 8:12])
    assert torch.equal(plain.answer, reverse.answer)
    assert (plain.tokens != PAD).all()  # zeros align all lines
    assert "$" not in vocabulary(4).decode(plain.tokens.flatten())  # the same delimiters: none


def test_the_correct_scratchpad_is_correct_and_the_random_one_random(table):
    """In the released generator, labels of correct scratchpads turn random, and true ones leak into random ones."""
    problems = table.problems(table.train)
    digits, carries = problems.solve()[0][:, :3], problems.carries.long()
    for name in (SIMPLIFIED, DETAILED, paper.RANDOM_A, paper.RANDOM_C, paper.RANDOM_BOTH):
        texts = [vocabulary(4).decode(row) for row in ARMS[name].write(problems, seed=1).tokens]
        a, c = (torch.tensor([[int(x) for x in re.findall(rf"{k}->(\d)", t)] for t in texts]) for k in "AC")
        for labels, true, kind, chance in ((a, digits, "random_digits", 0.25), (c, carries, "random_carries", 0.5)):
            share = (labels == true).double().mean().item()
            random = ARMS[name].options.get(kind)
            assert share == (pytest.approx(chance, abs=0.03) if random else 1)
        result = [t.rstrip("\n").split("\n")[-1].replace(" ", "") for t in texts]
        assert [int(x, 4) for x in result] == value(problems.solve()[0]).tolist()


def test_every_pass_shows_each_line_once_and_fewer_updates_are_the_first_of_more():
    order = batches(100, 50, 8, 0)
    assert torch.equal(order.flatten()[:100].sort().values, torch.arange(100))  # a pass shows each line once
    assert torch.equal(order, batches(100, 50, 8, 0))
    assert torch.equal(batches(100, 60, 8, 0)[:37], order[:37])


def test_random_labels_are_drawn_once_a_seed(table):
    problems, arm = table.problems(table.train[:50]), ARMS[paper.RANDOM_BOTH]
    assert torch.equal(arm.write(problems, 1).tokens, arm.write(problems, 1).tokens)
    assert not torch.equal(arm.write(problems, 1).tokens, arm.write(problems, 2).tokens)


def test_a_balanced_set_has_as_many_of_each_number_of_carries(table):
    cells = balance(table, 200)
    counts = table.problems(cells).carries.sum(1).bincount()
    assert counts.tolist() == [50] * 4
    assert {tuple(c) for c in cells.tolist()} <= {tuple(c) for c in table.train.tolist()}


def test_the_loss_is_on_the_answer_and_prompts_are_not_learnt(table):
    """An operand that is never to be predicted gets no gradient through the output, whatever stands there."""
    lines = ARMS[PLAIN].write(table.problems(table.train[:8]))
    torch.manual_seed(0)
    logits = torch.randn(8, 13, len(vocabulary(4)), requires_grad=True)
    paper.next_token_loss(logits, lines.tokens, lines.answer).backward()
    predicts = logits.grad.abs().sum(2) > 0
    assert predicts.tolist() == [[7 <= i < 12 for i in range(13)]] * 8  # from "=" to the last digit
    expected = F.cross_entropy(logits[:, 7:12].flatten(0, 1), lines.tokens[:, 8:].flatten())
    assert torch.allclose(paper.next_token_loss(logits, lines.tokens, lines.answer), expected)


def test_padding_on_the_right_changes_nothing(table):
    problems = table.problems(table.train[:20])
    lines = ARMS[SIMPLIFIED].write(problems)
    padded = Lines(F.pad(lines.tokens, (0, 9)), lines.prompt)
    one, two = (train(ARMS[SIMPLIFIED], x, TINY, 0, room=9 - i) for i, x in ((0, lines), (9, padded)))
    assert all(torch.allclose(p, q, atol=1e-6) for p, q in zip(one.parameters(), two.parameters(), strict=True))


def test_arms_of_a_seed_start_alike_and_training_is_pure(table):
    still = replace(TINY, rates=dict.fromkeys(FORMS, 0.0))
    lines = {form: ARMS[form].write(table.problems(table.train[:10])) for form in (PLAIN, REVERSE)}
    plain, reverse = (train(ARMS[form], lines[form], still, 0) for form in lines)
    assert all(torch.equal(p, q) for p, q in zip(plain.parameters(), reverse.parameters(), strict=True))
    again = [train(ARMS[PLAIN], lines[PLAIN], TINY, 0) for _ in range(2)]
    assert all(torch.equal(p, q) for p, q in zip(*(m.parameters() for m in again), strict=True))


def test_an_lstm_has_as_many_weights():
    budget, words = Budget(), len(vocabulary(4))
    count = [sum(p.numel() for p in m.parameters()) for m in (
        GPT(words, budget.width, budget.depth, budget.heads, 15, budget.ratio), LSTM(words, budget.lstm, budget.depth)
    )]  # fmt: skip
    assert count[1] == pytest.approx(count[0], rel=0.05)


def test_word_problems_share_no_token_with_sums_but_the_padding():
    words = len(vocabulary(4))
    tokens = word_problems(50, words, 0)
    assert tokens[tokens != PAD].min() >= words
    assert not torch.equal(tokens, word_problems(50, words, 1))


# ---- answers


class Oracle(torch.nn.Module):
    """Writes the true answers, or those of other problems."""

    def __init__(self, lines):
        super().__init__()
        self.lines = lines

    def generate(self, prompts, new, **_):
        answers = self.lines.tokens * self.lines.answer
        return paper.join(answers, torch.zeros(len(answers), new, dtype=torch.int64))[:, :new]


@pytest.mark.parametrize("name", [*FORMS, "plain, no zeros", "plain, $", "reverse, subtraction", "plain, base 10"])
def test_true_answers_are_all_right_and_others_are_not(name):
    arm = ARMS[name]
    table = make_table(arm.base, paper.DIGITS[arm.base], 40, 0)
    problems, others = (table.problems(cells, arm.operation) for cells in (table.test, table.train[:40]))
    marked = ask(Oracle(arm.write(problems)), arm, problems)
    assert marked.whole.all()
    assert marked.digits.all()
    wrong = ask(Oracle(arm.write(others)), arm, problems)
    same = value(others.solve()[0], arm.base) == value(problems.solve()[0], arm.base)
    assert wrong.whole.sum() <= same.sum()


def test_digits_are_marked_by_their_place_and_no_answer_has_none_right():
    problems = Problems(torch.tensor([[3, 3, 1]] * 3), torch.tensor([[1, 0, 2]] * 3), base=4)  # 133 + 201 = 1000
    marked = mark([64, 65, None], problems)
    assert marked.whole.tolist() == [True, False, False]
    assert marked.digits.tolist() == [[True] * 4, [False, True, True, True], [False] * 4]


def test_what_a_network_is_sure_of_is_the_chance_of_the_right_digit_by_place(table):
    class Known(torch.nn.Module):
        def forward(self, tokens):
            following = F.pad(tokens[:, 1:], (0, 1))
            logits = 9.0 * F.one_hot(following, 41)
            logits[:, 8] = 0  # no idea what comes after the first character of the answer
            return logits

    problems = table.problems(table.test[:5])
    for form, unsure in ((PLAIN, 2), (REVERSE, 1)):  # the second character: place 2 of 3..0, or place 1 of 0..3
        sure = certainty(Known(), ARMS[form], problems)
        assert sure.shape == (5, 4)
        assert (sure[:, unsure] < 0.03).all()
        assert (np.delete(sure, unsure, 1) > 0.9).all()


@pytest.mark.parametrize(("n50", "width"), [(150, 1.5), (90, 4.0)])
def test_a_logistic_curve_is_fitted_exactly(n50, width):
    samples = np.array([50, 100, 200, 400, 800])
    accuracy = 100 / (1 + (n50 / samples) ** (np.log(81) / np.log(2) / width))
    found = logistic_fit(samples, accuracy)
    assert found == pytest.approx((np.log2(n50), width), rel=1e-3)
    at = 100 / (1 + (n50 / (n50 * 2 ** (np.array([-0.5, 0.5]) * width))) ** (np.log2(81) / width))
    assert at == pytest.approx([10, 90])


def test_a_curve_that_never_rises_is_kept_within_reach():
    middle, width = logistic_fit([50, 100, 200], [0.0, 0.0, 0.0])
    assert middle <= np.log2(200) + 2
    assert 0.25 <= width <= 12


# ---- the experiment


@pytest.fixture(scope="module")
def outcome():
    full = PAPER.settings("full")
    few = {name: tuple(4 * (i + 2) for i in range(len(counts))) for name, counts in full.samples.items()}
    tiny = replace(full, samples=few, zone=(8,), budget=TINY, matched=8, mixed=18, test=20)
    return [PAPER.run(tiny, seed) for seed in (0, 1)]


def test_a_run_measures_all_that_the_claims_speak_of(outcome):
    scores = tidy_scores(dict(enumerate(outcome)))
    assert [finding.key for finding in judge(COMPARISONS, scores)] == [claim.key for claim in COMPARISONS]


def test_forms_of_equal_characters_have_them(outcome):
    scores = tidy_scores({0: outcome[0]}).pivot(index="method", columns="metric", values="value").loc[list(FORMS)]
    total = scores["characters in a line"] * scores["samples, equal tokens"]
    assert (total - total[DETAILED]).abs().max() <= scores["characters in a line"].max() / 2
    assert scores.loc[PLAIN, "characters in a line"] == scores.loc[REVERSE, "characters in a line"] == 13
    assert scores.loc[DETAILED, "characters in a line"] > 20 * 13


def test_every_claim_and_control_of_the_dossier_is_there():
    assert {claim.key[:2] for claim in COMPARISONS} == {f"C{i}" for i in range(1, 8)}
    full = PAPER.settings("full")
    assert set(full.samples) == set(ARMS)
    assert set(full.zone) <= set.intersection(*(set(full.samples[name]) for name in (*FORMS, paper.RANDOM_BOTH)))
    assert full.lengths == FORMS
    assert Arm(PLAIN, {"zeros": True}) == ARMS[PLAIN]


def test_too_many_samples_are_refused(table):
    with pytest.raises(ValueError, match=r"9999 samples asked for; there are 1\d{3} cells"):
        paper.examine(ARMS[PLAIN], table, 9999, PAPER.settings("quick"), 0)
