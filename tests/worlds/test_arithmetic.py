from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, chi2_contingency, chisquare

from stages.worlds.arithmetic import FORMS, OPERATIONS, Problems, lengths, read, sample, vocabulary, write

EXAMPLE = Problems(torch.tensor([[8, 2, 1]]), torch.tensor([[7, 6, 3]]))  # 128 and 367
TEXTS = {
    "plain": "128+367=495\n",
    "reverse": "128+367=594\n",
    "simplified": "Input:\n128+367\nTarget:\nA->5 , C->1\nA->9 , C->0\nA->4 , C->0.\n495\n",
    "detailed": """Input:
128+367
Target:
<scratch>
[1,2,8] has 3 digits.
[3,6,7] has 3 digits.
[1,2,8] + [3,6,7] , A=[] , C=0 , 8+7+0=15 , A->5 , C->1
[1,2] + [3,6] , A=[5] , C=1 , 2+6+1=9 , A->9 , C->0
[1] + [3] , A=[9,5] , C=0 , 1+3+0=4 , A->4 , C->0
[] + [] , A=[4,9,5] C=0 , END
</scratch>
4 9 5
""",
}


def value(digits, base):
    """The numbers as Python's own, of any size."""
    return [sum(d * base**i for i, d in enumerate(row)) for row in digits.tolist()]


def texts(lines, base=10):
    return [vocabulary(base).decode(row) for row in lines.tokens]


def spell(number, base):
    """A number in a base, by Python."""
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    return (spell(number // base, base) if number >= base else "") + digits[number % base]


def scratchpad(x, y, base, detailed):
    """The scratchpads line by line, as the paper's code writes them where it works."""
    xs, ys = (list(spell(number, base)) for number in (x, y))
    out, a, c = f"Input:\n{spell(x, base)}+{spell(y, base)}\nTarget:\n", [], 0

    def listed(digits):
        return "[" + ",".join(digits) + "]"

    if detailed:
        out += "<scratch>\n"
        out += "".join(f"{listed(digits)} has {spell(len(digits), base)} digits.\n" for digits in (xs, ys))
    steps = max(len(xs), len(ys))
    for i in range(steps):
        u, v = (digits[-1] if digits else "0" for digits in (xs, ys))
        total = int(u, base) + int(v, base) + c
        if detailed:
            out += f"{listed(xs)} + {listed(ys)} , A={listed(a)} , C={c} , {u}+{v}+{c}={spell(total, base)} , "
        a, c = [spell(total % base, base), *a], total // base
        out += f"A->{a[0]} , C->{c}" + ("\n" if detailed or i < steps - 1 else ".\n")
        xs, ys = xs[:-1], ys[:-1]
    if detailed:
        return out + f"[] + [] , A={listed(a)} C={c} , END\n</scratch>\n" + " ".join(spell(x + y, base)) + "\n"
    return out + spell(x + y, base) + "\n"


@pytest.mark.parametrize("base", [2, 3, 4, 10, 16, 36])
@pytest.mark.parametrize("digits", [1, 3, 25])
def test_problems_are_solved_as_by_pythons_integers(base, digits):
    compute = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}
    for operation in OPERATIONS:
        problems = sample(200, digits, 0, base=base, operation=operation)
        result, negative = problems.solve()
        assert 0 <= result.min() <= result.max() < base
        signed = [-v if minus else v for v, minus in zip(value(result, base), negative, strict=True)]
        pairs = zip(value(problems.a, base), value(problems.b, base), strict=True)
        assert signed == [compute[operation](a, b) for a, b in pairs]


def test_carries_are_those_that_digit_sums_tell():
    for base in (2, 10):
        problems = sample(500, 6, 0, base=base)
        total = problems.a.sum(1) + problems.b.sum(1) - problems.solve()[0].sum(1)
        assert torch.equal(problems.carries.sum(1), total // (base - 1))
        for carries, chain in zip(problems.carries.int().tolist(), problems.chain.tolist(), strict=True):
            assert chain == max(map(len, "".join(map(str, carries)).split("0")))
    nines = Problems(torch.tensor([[9, 9, 9, 9]]), torch.tensor([[1, 0, 0, 0]]))
    assert nines.chain.tolist() == [4]


def test_operands_are_even_and_independent():
    problems = sample(20_000, 3, 0, base=4)
    pairs = torch.tensor(value(problems.a, 4)) * 64 + torch.tensor(value(problems.b, 4))
    assert chisquare(pairs.bincount(minlength=4096)).pvalue > 0.001
    assert lengths(torch.tensor([[0, 0, 0], [5, 0, 0], [0, 5, 0], [1, 0, 1]])).tolist() == [1, 1, 2, 3]


def test_a_seed_and_a_stream_decide_the_problems():
    one = sample(50, 4, 0)
    for name in ("a", "b"):
        assert torch.equal(getattr(one, name), getattr(sample(500, 4, 0), name)[:50])
        assert not torch.equal(getattr(one, name), getattr(sample(50, 4, 1), name))
        assert not torch.equal(getattr(one, name), getattr(sample(50, 4, 0, stream=("test",)), name))
        assert torch.equal(getattr(one, name), getattr(sample(50, 4, 0, operation="*"), name))
    assert torch.equal(sample(500, 3, 0, balance="carries").a, sample(500, 3, 0, balance="carries").a)
    assert len(one[:7]) == 7
    assert torch.equal(one[one.chain > 1].a, one.a[one.chain > 1])


@pytest.mark.parametrize(("n", "digits", "base"), [(10_000, 3, 10), (4000, 4, 4), (900, 2, 10), (2000, 5, 2)])
def test_balanced_carries_are_equally_frequent(n, digits, base):
    problems = sample(n, digits, 0, base=base, balance="carries")
    assert len(problems) == n
    counts = problems.carries.sum(1).bincount(minlength=digits + 1)
    assert counts.max() - counts.min() <= digits + 1
    a, b = (np.array(value(x, base)) for x in (problems.a, problems.b))
    small = {(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True) if max(x, y) < base}
    assert len(small) == base**2  # every sum of one digit
    if digits == 3:  # 100 of one digit, 900 below 100; of the rest hardly any
        assert 1000 <= ((a < 100) & (b < 100)).sum() < 1100
    # all else is as random as the number of carries leaves it: among those with none, either operand as large
    none = problems.carries.sum(1).numpy() == 0
    assert binomtest(int((a > b)[none].sum()), int((a != b)[none].sum())).pvalue > 0.001


def test_balanced_carries_are_in_random_order_and_small_sets_as_balanced_as_can_be():
    problems = sample(10_000, 3, 0, balance="carries")
    first = (lengths(torch.maximum(problems.a, problems.b)) == 1).nonzero()[:, 0].double()
    assert abs(first.mean() - 5000) < 4 * 2900 / 10
    few = sample(250, 3, 0, balance="carries")  # the paper has 92, 82, 39 and 37 of the four numbers of carries
    assert few.carries.sum(1).bincount().tolist() == [63, 63, 62, 62] or few.carries.sum(1).bincount().max() <= 63


def test_lengths_are_balanced_as_in_the_paper():
    problems = sample(10_000, 3, 0, balance="lengths")
    of_a, of_b = lengths(problems.a), lengths(problems.b)
    longer, shorter = torch.maximum(of_a, of_b), torch.minimum(of_a, of_b)
    assert longer.bincount().tolist() == [0, 100, 3960, 5940]
    for length, count in ((2, 1980), (3, 1980)):
        assert shorter[longer == length].bincount().tolist() == [0] + [count] * length
    assert binomtest(int((of_a > of_b).sum()), int((of_a != of_b).sum())).pvalue > 0.001
    assert sample(1000, 6, 0, balance="lengths").a.shape == (1000, 6)


def test_what_is_excluded_is_not_drawn():
    train = sample(300, 2, 0, base=4)
    test = sample(500, 2, 0, base=4, exclude=train, stream=("test",))
    seen, new = ({*zip(value(p.a, 4), value(p.b, 4), strict=True)} for p in (train, test))
    assert len(test) == 500
    assert not seen & new
    assert len(new) > 0.9 * (256 - len(seen))
    with pytest.raises(ValueError, match="hardly any problem of 1 digits in base 2 is left"):
        sample(5, 1, 0, base=2, exclude=sample(100, 1, 0, base=2))


@pytest.mark.parametrize("form", FORMS)
def test_the_papers_example_is_written_as_in_the_paper(form):
    assert texts(write(EXAMPLE, form)) == [TEXTS[form]]


@pytest.mark.parametrize("base", [2, 4, 10, 16])
def test_scratchpads_are_those_of_the_procedure(base):
    problems = sample(300, 4, 0, base=base)
    shorter = sample(300, 4, 1, base=base).b * (torch.arange(4) < torch.randint(1, 5, (300, 1)))
    problems = replace(problems, b=shorter)
    pairs = list(zip(value(problems.a, base), value(problems.b, base), strict=True))
    for form in ("simplified", "detailed"):
        assert texts(write(problems, form), base) == [scratchpad(x, y, base, form == "detailed") for x, y in pairs]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("base", [2, 10, 16])
def test_plain_and_reverse_are_the_numbers_and_their_mirror_image(operation, base):
    problems = sample(100, 3, 0, base=base, operation=operation)
    plain, reverse = (texts(write(problems, form, delimiter="$"), base) for form in ("plain", "reverse"))
    for one, two, a, b in zip(plain, reverse, value(problems.a, base), value(problems.b, base), strict=True):
        c = {"+": a + b, "-": a - b, "*": a * b}[operation]
        answer = "-" * (c < 0) + spell(abs(c), base)
        prompt = f"${spell(a, base)}{operation}{spell(b, base)}="
        assert one == f"{prompt}{answer}$\n"
        assert two == f"{prompt}{answer[::-1]}$\n"


def test_zeros_align_all_problems_and_operands_can_be_reversed():
    problems = sample(200, 3, 0)
    lines = write(problems, "reverse", zeros=True)
    assert (lines.tokens != 0).all()
    assert lines.prompt.unique().tolist() == [8]
    assert texts(write(EXAMPLE, "plain", zeros=True, reverse_operands=True)) == ["821+763=0495\n"]
    assert read(lines.tokens, "reverse") == value(problems.solve()[0], 10)


def test_every_label_of_a_scratchpad_is_the_true_one():
    """In the released generator labels turn random after the first digit that is not zero."""
    problems = sample(3000, 3, 0)
    result, _ = problems.solve()
    wrong = 0
    for i, text in enumerate(texts(write(problems, "simplified"))):
        steps = [line.rstrip(".") for line in text.split("\n")[3:-2]]
        expected = zip(result[i].tolist(), problems.carries[i].int().tolist(), strict=False)
        wrong += sum(step != f"A->{a} , C->{c}" for step, (a, c) in zip(steps, expected, strict=False))
    assert wrong == 0


def test_random_labels_are_independent_of_the_true_ones_and_nothing_else_changes():
    """In the released generator true labels come back after a random zero."""
    problems = replace(sample(6000, 3, 0), a=sample(6000, 3, 0).a.clamp(min=1))  # three steps each
    true = write(problems, "simplified")
    digits, carries = (write(problems, "simplified", **{f"random_{name}": True}) for name in ("digits", "carries"))
    both = write(problems, "simplified", random_digits=True, random_carries=True)
    place = {"A": [i * 12 + 3 for i in range(3)], "C": [i * 12 + 10 for i in range(3)]}
    start = true.prompt[:, None]

    def labels(lines, kind):
        return lines.tokens.gather(1, start + torch.tensor(place[kind])) - 1

    assert torch.equal(labels(true, "A"), problems.solve()[0][:, :3])
    assert torch.equal(labels(true, "C"), problems.carries.long())
    assert torch.equal(labels(digits, "C"), labels(true, "C"))
    assert torch.equal(labels(carries, "A"), labels(true, "A"))
    assert torch.equal(labels(both, "A"), labels(digits, "A"))
    assert torch.equal(labels(both, "C"), labels(carries, "C"))
    for kind, lines, chance in (("A", digits, 0.1), ("C", carries, 0.5)):
        right = labels(lines, kind) == labels(true, kind)
        for step in range(3):
            assert binomtest(int(right[:, step].sum()), len(right), chance).pvalue > 0.001
        after_zero = right[:, 1:][labels(lines, kind)[:, :-1] == 0]
        assert binomtest(int(after_zero.sum()), len(after_zero), chance).pvalue > 0.001
    table = torch.zeros(10, 2)
    table.index_put_((labels(both, "A").flatten(), labels(both, "C").flatten()), torch.ones(18_000), accumulate=True)
    assert chi2_contingency(table.numpy()).pvalue > 0.001
    spots = start + torch.tensor(place["A"] + place["C"])
    assert torch.equal(true.tokens.scatter(1, spots, 0), both.tokens.scatter(1, spots, 0))
    assert read(both.tokens, "simplified") == read(true.tokens, "simplified")
    assert not torch.equal(both.tokens, write(problems, "simplified", random_digits=True, seed=1).tokens)


def test_lines_cost_what_they_cost():
    """Characters a problem of three digits: detailed scratchpads take more than 20 times plain ones."""
    problems = sample(2000, 3, 0)
    problems = problems[(lengths(problems.a) == 3) & (lengths(problems.b) == 3)]
    mean = {form: (write(problems, form).tokens != 0).sum(1).double().mean() for form in FORMS}
    assert mean["plain"] == mean["reverse"]
    assert 12 < mean["plain"] < 13
    assert abs(mean["simplified"] - 65.5) < 1
    assert abs(mean["detailed"] - 284) < 3


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("base", [2, 10, 36])
def test_results_are_read_back(form, base):
    for operation in OPERATIONS if form in FORMS[:2] else "+":
        problems = sample(100, 3, 0, base=base, operation=operation)
        result, negative = problems.solve()
        expected = [-v if minus else v for v, minus in zip(value(result, base), negative, strict=True)]
        lines = write(problems, form)
        assert read(lines.tokens, form, base) == expected
        cut = lines.tokens.masked_fill(lines.answer, 0)
        assert read(cut, form, base) == [None] * 100
        # without its end a result may go on
        ends = lines.tokens.scatter(1, (lines.tokens != 0).sum(1, keepdim=True) - 1, 0)
        assert read(ends, form, base) == [None] * 100


def test_a_wrong_result_is_read_as_it_is_written():
    rows = [vocabulary().encode(text) for text in ("1+1=3\n", "1+1=\n", "1+1=-\n", "1+1=+2\n")]
    assert [read(row[None])[0] for row in rows] == [3, None, None, None]


@pytest.mark.parametrize("form", FORMS)
def test_the_answer_is_all_that_follows_the_prompt(form):
    lines = write(sample(50, 3, 0), form)
    for text, row, prompt, answer in zip(texts(lines), lines.tokens, lines.prompt, lines.answer, strict=True):
        mark = "=" if form in FORMS[:2] else "Target:\n"
        assert text[:prompt] == text[: text.index(mark)] + mark
        assert vocabulary().decode(row[answer]) == text[prompt:]


def test_vocabularies_hold_what_is_written_and_no_digit_too_many():
    for base in (2, 10, 36):
        words = vocabulary(base)
        assert words.tokens[1 : base + 1] == tuple("0123456789abcdefghijklmnopqrstuvwxyz"[:base])
    assert "7" not in vocabulary(4).number


def test_what_makes_no_sense_is_refused():
    for wrong in ({"operation": "/"}, {"balance": "digits"}, {"base": 1}, {"base": 37}):
        with pytest.raises(
            ValueError, match=r"choose from \+, -, \*, from None, 'carries', 'lengths' and from 2 to 36"
        ):
            sample(10, 3, 0, **wrong)
    with pytest.raises(ValueError, match="asked for 0 problems of 3 digits"):
        sample(0, 3, 0)
    for n, digits in ((99, 3), (1000, 1)):
        with pytest.raises(ValueError, match=f"{n} problems of {digits} digits cannot be balanced: .* all 100 sums"):
            sample(n, digits, 0, balance="carries")
    with pytest.raises(ValueError, match="the problems to exclude have 2 digits in base 10; those to draw have 3"):
        sample(10, 3, 0, exclude=sample(10, 2, 0))
    with pytest.raises(ValueError, match=r"no form 'detailed' of '\*'"):
        write(sample(10, 3, 0, operation="*"), "detailed")
    with pytest.raises(ValueError, match=r"no form 'mirror' of '\+'"):
        write(EXAMPLE, "mirror")
    with pytest.raises(ValueError, match="are for plain and reverse, not for 'simplified'"):
        write(EXAMPLE, "simplified", zeros=True)
    with pytest.raises(ValueError, match=r"the delimiter is '\$' or nothing, not '%'"):
        write(EXAMPLE, delimiter="%")
    with pytest.raises(
        ValueError, match="random digits and carries are for the simplified scratchpad, not for 'plain'"
    ):
        write(EXAMPLE, "plain", random_digits=True)
    with pytest.raises(ValueError, match="no form 'mirror'"):
        read(torch.ones(1, 3, dtype=torch.int64), "mirror")
    with pytest.raises(ValueError, match="the base is 99"):
        vocabulary(99)
