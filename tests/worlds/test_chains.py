import itertools

import pytest
import torch
from scipy.stats import chi2_contingency, chisquare

from stages.worlds import chains
from stages.worlds.chains import PEOPLE, PLAIN, SIGNS, SPELLED, TELLINGS, read, sample, vocabulary
from stages.worlds.vocabulary import join


def sentences(question):
    """Who a question asks about, and what every sentence says: (who, what, number)."""
    *told, asked = [part.split() for part in question.replace("?", "? .").split(" .") if part.split()]
    kinds = {}
    for kind, ways in (*TELLINGS.items(), *PLAIN.items()):
        for way in ways:
            kinds[way.replace(" .", "")] = kind
    read = []
    for words in told:
        who, number = next(w for w in words if w in PEOPLE), next(w for w in words if w.isdigit() or w in SPELLED)
        pattern = " ".join("N" if w == who else "#" if w == number else w for w in words)
        read.append((who, kinds[pattern], int(number) if number.isdigit() else 1 + SPELLED.index(number)))
    return next(w for w in asked if w in PEOPLE), read


def solve(question, modulus):
    """The values of whoever is asked about, from the words alone."""
    asked, told = sentences(question)
    values = []
    for who, kind, number in told:
        if who == asked:
            start = values[-1] if values else 0
            change = {"start": number, "+": start + number, "-": start - number, "*": start * number}
            values.append(change[kind] % modulus)
    return values


SMALL = {"plain": True, "modulus": 5, "largest": 2}
OPTIONS = (
    {}, {"tellings": "new", "distractors": (1, 3)}, {"steps": 8, "modulus": 29}, SMALL, SMALL | {"tellings": "new"},
)  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS)
def test_the_words_alone_lead_to_every_value(options):
    world = sample(300, 0, **options)
    words = vocabulary(world.modulus, world.plain)
    for i, question in enumerate(world.question):
        values = solve(words.decode(question), world.modulus)
        assert values == world.values[i, : world.steps[i] + 1].tolist()
        assert values[-1] == world.answer[i]
        told = sentences(words.decode(question))[1]
        of_main = [kind for who, kind, _ in told if who == sentences(words.decode(question))[0]]
        assert of_main == ["start", *(SIGNS[s] for s in world.sign[i, : world.steps[i]])]


def test_written_steps_are_true_and_follow_one_another():
    world, words = sample(300, 0), vocabulary()
    assert world.written.shape == (300, 6, 7)
    for i, written in enumerate(world.written):
        before = world.values[i, 0].item()
        for k, step in enumerate(words.decode(row) for row in written):
            if k >= world.steps[i]:
                assert step == ""
                continue
            left, a, sign, b, equals, c, right = step.split()
            assert (left, equals, right) == ("<", "=", ">")
            assert int(a) == before
            assert {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[sign] % 19 == int(c)
            before = int(c)
        assert before == world.answer[i]


def test_places_beyond_the_last_step_are_minus_one():
    world = sample(300, 0)
    beyond = torch.arange(6) >= world.steps[:, None]
    for name in ("sign", "operand"):
        assert torch.equal(getattr(world, name) == -1, beyond)
    assert torch.equal(world.values[:, 1:] == -1, beyond)
    assert (world.values[:, 0] >= 0).all()
    assert len(world) == 300


def test_every_value_is_equally_likely_whatever_the_changes():
    world = sample(40_000, 0, steps=3)
    for k in range(4):
        assert chisquare(world.values[:, k].bincount(minlength=19)).pvalue > 0.001
    kinds = (world.sign * torch.tensor([9, 3, 1])).sum(1)
    halves = (world.operand > 4).long().sum(1)
    for what in (kinds, halves, world.sign[:, 2], world.operand[:, 2]):
        counts = torch.zeros(int(what.max()) + 1, 19)
        counts.index_put_((what, world.answer), torch.ones(len(world)), accumulate=True)
        assert chi2_contingency(counts[counts.sum(1) > 0].numpy()).pvalue > 0.001


def test_what_is_drawn_is_even():
    world = sample(20_000, 0)
    assert chisquare(world.steps.bincount()[2:]).pvalue > 0.001
    assert chisquare(world.sign[:, 0].bincount()).pvalue > 0.001
    for sign, (low, high) in enumerate(((1, 9), (1, 9), chains.FACTORS)):
        counts = world.operand[:, 1][world.sign[:, 1] == sign].bincount()
        assert len(counts) == high + 1
        assert counts[:low].sum() == 0
        assert chisquare(counts[low:]).pvalue > 0.001


def test_what_is_drawn_is_independent():
    world = sample(30_000, 0)
    first = vocabulary().number[PEOPLE[0]]
    asked = world.question[:, -6:]  # the words of the question, and no name but the one
    who = asked.where((asked >= first) & (asked < first + len(PEOPLE)), first).amax(1) - first
    plus = (world.sign[:, :2] == 0).all(1)
    everything = (world.values[:, 0], world.sign[:, 0], world.sign[:, 1], world.steps, who)
    of_plus = tuple(column[plus] for column in (*everything[::3], who, world.operand[:, 0], world.operand[:, 1]))
    for a, b in (*itertools.combinations(everything, 2), *itertools.combinations(of_plus, 2)):
        counts = torch.zeros(int(a.max()) + 1, int(b.max()) + 1)
        counts.index_put_((a, b), torch.ones(len(a)), accumulate=True)
        counts = counts[counts.sum(1) > 0][:, counts.sum(0) > 0]
        assert chi2_contingency(counts.numpy()).pvalue > 0.001 / 20


def test_distractors_are_about_others_and_stand_anywhere():
    words = vocabulary()
    assert all(
        len({who for who, _, _ in sentences(words.decode(q))[1]}) == 1 for q in sample(50, 0, distractors=0).question
    )
    world = sample(400, 0, steps=4, distractors=2)
    places = torch.zeros(7)
    for question in world.question:
        asked, told = sentences(words.decode(question))
        others = [i for i, (who, _, _) in enumerate(told) if who != asked]
        assert len(told) == 7
        assert len(others) == 2
        places[others] += 1
    assert chisquare(places).pvalue > 0.001
    number = [len(sentences(words.decode(q))[1]) - 5 for q in sample(400, 0, steps=4, distractors=(1, 3)).question]
    assert set(number) == {1, 2, 3}


def test_questions_end_in_one_place():
    world = sample(100, 0)
    assert (world.question[:, -1] == vocabulary().number["?"]).all()
    pads = world.question == 0
    assert (pads.long().diff(dim=1) <= 0).all()
    assert not pads.all(0).any()
    whole = join(world.question, world.written[:, :1].flatten(1), pad="left")  # the curriculum's first stage
    assert (whole[:, -1] == vocabulary().number[">"]).all()


def test_new_tellings_are_new_and_have_no_new_word():
    familiar = {word for ways in TELLINGS.values() for way in ways[:-1] for word in way.split()}
    assert all(set(ways[-1].split()) <= familiar for ways in TELLINGS.values())
    assert all(len(set(ways)) == 4 for ways in TELLINGS.values())
    all_ways = [way for ways in TELLINGS.values() for way in ways]
    assert len(set(all_ways)) == len(all_ways)
    assert max(len(way.split()) for way in all_ways) == chains.WIDTH
    words, text = vocabulary(), {}
    for tellings in ("familiar", "new"):
        world = sample(200, 0, tellings=tellings)
        text[tellings] = " ".join(words.decode(q) for q in world.question)
    assert ("at first" in text["new"]) == ("at first" in text["familiar"])
    assert "adds" in text["new"]
    assert "goes" not in text["new"]
    world, other = sample(50, 0), sample(50, 0, tellings="new")
    assert torch.equal(world.values, other.values)


def test_a_seed_and_a_stream_decide_everything():
    one, words = sample(20, 0), vocabulary()
    many = sample(300, 0)
    for name in ("sign", "operand", "values", "steps"):
        assert torch.equal(getattr(one, name), getattr(many, name)[:20])
    decoded = [words.decode(q) for q in one.question]
    assert decoded == [words.decode(q) for q in many.question[:20]]
    for other in (sample(20, 1), sample(20, 0, stream=("test",))):
        assert not torch.equal(one.values, other.values)
        assert not set(decoded) & {words.decode(q) for q in other.question}
    fewer = sample(20, 0, distractors=0)
    assert torch.equal(one.values, fewer.values)


def test_in_plain_problems_a_place_tells_which_sentence_it_is_of_and_no_word_is_both_value_and_change():
    world, words = sample(500, 0, distractors=(0, 1), **SMALL), vocabulary(5, plain=True)
    values, changes = (
        set(words.encode(" ".join(map(str, range(5)))).tolist()),
        set(words.encode("one two three").tolist()),
    )
    assert not values & changes
    for question, count in zip(world.question, world.steps, strict=True):
        told = question[question != 0][:-4].view(-1, 5)
        assert len(told) in (count + 1, count + 2)
        assert (told[:, 4] == words.number["."]).all()
        starts = sum(told[:, 1] == words.number[verb] for verb in ("has", "owns")) == 1
        assert set(told[starts, 2].tolist()) <= values
        assert set(told[~starts, 2].tolist()) <= changes
        rest = told[:, [0, 1, 3]].flatten().tolist()
        assert not (values | changes) & set(rest)
    for sign, written in zip(world.sign.flatten(), world.written.flatten(0, 1), strict=True):
        if sign >= 0:
            assert {written[1].item(), written[5].item()} <= values
            assert written[3].item() in changes
    for ways in PLAIN.values():
        known = {word for way in ways[:-1] for word in way.split()}
        assert set(ways[-1].split()) <= known
        assert ways[-1] not in ways[:-1]


def test_the_largest_number_to_add_bounds_all_but_factors():
    world = sample(2000, 0, **SMALL)
    assert (
        world.operand[world.sign == 0].unique().tolist() == world.operand[world.sign == 1].unique().tolist() == [1, 2]
    )
    assert world.operand[world.sign == 2].unique().tolist() == [2, 3]


def test_the_vocabulary_is_small_and_a_numbers_token_is_its_value_plus_one():
    words = vocabulary()
    assert len(words) < 80
    assert [words.number[str(i)] for i in range(19)] == list(range(1, 20))
    assert words.decode([words.number[w] for w in chains.SPECIAL]) == " ".join(chains.SPECIAL)


def test_answers_are_read_after_their_mark():
    words = vocabulary()
    texts = [
        "< 7 + 3 = 10 > <answer> 10 <end>",
        "<answer> 0",
        "<answer> mia",
        "10 <end>",
        "7 <answer>",
        "<answer> 3 <answer> 4",
    ]
    rows = torch.nn.utils.rnn.pad_sequence([words.encode(text) for text in texts], batch_first=True)
    assert read(rows).tolist() == [10, 0, -1, -1, -1, 3]


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match=r"steps=\(3, 2\)"):
        sample(5, 0, steps=(3, 2))
    with pytest.raises(ValueError, match="n=0"):
        sample(0, 0)
    with pytest.raises(ValueError, match="tellings are 'familiar' or 'new', not 'odd'"):
        sample(5, 0, tellings="odd")
    for modulus in (20, 21, 7):
        with pytest.raises(ValueError, match=f"the modulus is {modulus}; choose one above 9 that neither 2 nor 3"):
            sample(5, 0, modulus=modulus)
    with pytest.raises(ValueError, match="the modulus is 5; choose one above 6"):
        sample(5, 0, modulus=5, largest=6)
    with pytest.raises(ValueError, match="largest=10: numbers to add are at most 1 to 9"):
        sample(5, 0, largest=10)


def test_with_a_modulus_of_twenty_the_last_change_would_tell_of_the_answer():
    """Why such a modulus is refused: twice anything is even."""
    doubled = {2 * value % 20 for value in range(20)}
    assert len(doubled) == 10
    for sign, modulus in itertools.product((2, 3), (19, 25, 35)):
        assert len({sign * value % modulus for value in range(modulus)}) == modulus
