"""The village: what can be asked, who has answered right, and what its text does with a request."""

from itertools import pairwise

import pytest
import torch

from stages.seeding import rng
from stages.worlds import smalltalk
from stages.worlds.smalltalk import FAMILIES, Mixture, all_requests, chat, follows, means_right, template
from stages.worlds.smalltalk.chat import FORMS, NO_ANSWERS, draw_requests
from stages.worlds.smalltalk.requests import facts, until_end, values_of
from stages.worlds.vocabulary import PAD, join

V = smalltalk.vocabulary()
KNOWN = all_requests()
END = V.encode("<end>")


def written(*texts):
    return smalltalk.rows_of(texts)


def row_of(text):
    """The one request that reads so."""
    asked = written(text)
    found = [i for i in range(len(KNOWN)) if V.decode(KNOWN.request[i]) == V.decode(asked[0])]
    assert len(found) == 1
    return KNOWN.take(torch.tensor(found))


def test_each_question_is_asked_in_two_ways_and_has_one_answer():
    assert (
        len({V.decode(row) for row in KNOWN.request}) == len(KNOWN) == 2 * (3 * 12 + 18 + 12 + 3 * 156 + 91 + 12 + 120)
    )
    assert torch.equal(KNOWN.subject.bincount(), torch.full((len(KNOWN) // 2,), 2))
    for one, other in KNOWN.subject.argsort().view(-1, 2).tolist():
        assert torch.equal(KNOWN.answer[one], KNOWN.answer[other])
    assert KNOWN.family.bincount().tolist() == [24, 24, 24, 36, 24, 312, 182, 24, 240, 312, 312]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("which is larger , 9 or 12 ?", "12 ."),
        ("give the smaller of 9 and 12 .", "9 ."),
        ("what is the gap between 3 and 11 ?", "8 ."),
        ("add 5 and 7 .", "12 ."),
        ("what comes after 11 ?", "12 ."),
        ("what is the opposite of dry ?", "wet ."),
        ("give the opposites of hot and small .", "cold and big ."),
        ("what is axe ?", "a kind of tool ."),
    ],
)
def test_answers_are_right(asked, told):
    assert V.decode(row_of(asked).answer[0]) == told


def test_everybody_has_a_home_a_job_and_a_boss_who_is_not_themselves():
    known = facts()
    for family in ("home", "job", "boss"):
        assert len(known[family]) == 12
    boss = {person: other for (person,), (other,) in known["boss"].items()}
    assert set(boss) == set(boss.values())
    assert all(person != other for person, other in boss.items())


def test_an_answer_never_repeats_what_it_answers():
    for request, answer in zip(KNOWN.request, KNOWN.answer, strict=True):
        values = values_of(answer[None])[0]
        if V.decode(values) not in ("0", *map(str, range(1, 13))):  # 3 plus 0 is 3; the larger of two is one of them
            assert not set(values[values != PAD].tolist()) & set(request.tolist())


def test_right_wrong_and_malformed_answers_are_told_apart():
    request = row_of("what is 3 plus 4 ?")
    cases = {  # strictly, leniently
        "7 . <end>": (True, True),
        "7 . <end> 7 <end>": (True, True),  # nobody reads on after the end
        "7 .": (False, True),  # does not end
        "7 <end>": (False, True),
        "answer : 7 <end>": (False, True),
        "8 . <end>": (False, False),
        "7 8 <end>": (False, False),
        "<end> 7 .": (False, False),
        "i do not know . <end>": (False, False),
    }
    for text, (strict, lenient) in cases.items():
        row = written(text)
        assert follows(request, row).tolist() == [strict], text
        assert means_right(request, row).tolist() == [lenient], text
    pair = row_of("give the opposites of hot and small .")
    assert means_right(pair, written("cold , big . <end>")).tolist() == [True]
    assert means_right(pair, written("big and cold . <end>")).tolist() == [False]  # in the order asked


def test_every_right_answer_passes_and_another_ones_does_not():
    assert follows(KNOWN, template.response(KNOWN.answer)).all()
    other = KNOWN.answer.roll(1, 0)
    unlike = (other != KNOWN.answer).any(1)
    assert not follows(KNOWN, template.response(other))[unlike].any()
    assert until_end(written("7 . <end> 8")).tolist() == [[*V.encode("7 .").tolist(), PAD, PAD]]


def test_families_are_chosen_by_name():
    assert set(KNOWN.of("gap", "next").family.tolist()) == {FAMILIES.index("gap"), FAMILIES.index("next")}
    with pytest.raises(ValueError, match="no family 'weather'"):
        KNOWN.of("weather")


def test_a_chat_is_the_same_for_the_same_seed_alone():
    text = chat(200, 3)
    assert torch.equal(text, chat(200, 3))
    assert not torch.equal(text[:500], chat(200, 4)[:500])
    assert not torch.equal(text[:500], chat(200, 3, stream=("other",))[:500])


def documents(text):
    """What a text says, document by document."""
    return V.decode(text).removesuffix("<end>").split("<end>")


def what_happens(document):
    """How a document is separated, and whether it answers, lists or knows no answer; what is asked and told."""
    words = f" {document.strip()} "
    tagged = "<user>" in words or "<assistant>" in words
    if tagged:
        words = words.replace("<assistant>", "<user>")
    pairs = [("<user>", "<user>")] if tagged else FORMS
    (ask, reply) = next(pair for pair in pairs if words.startswith(f" {pair[0]} "))
    first, *rest = (part.strip() for part in words[len(ask) + 1 :].split(f" {reply} "))
    if not rest or len(rest) > 1:
        return tagged, 1, None, None
    if rest[0] in NO_ANSWERS:
        return tagged, 2, first, rest[0]
    return tagged, 0, first, rest[0]


@pytest.mark.parametrize("scrambled", [False, True])
def test_text_answers_lists_or_does_not_know_in_the_given_shares(scrambled):
    mixture = Mixture(tagged=0.3, forms=(0.5, 0.3, 0.2), tags=(0.2, 0.5, 0.3))
    said = [what_happens(document) for document in documents(chat(4000, 0, mixture=mixture, scrambled=scrambled))]
    assert len(said) == 4000
    for tagged, shares in ((False, mixture.forms), (True, mixture.tags)):
        happened = torch.tensor([what for within, what, _, _ in said if within == tagged])
        assert len(happened) / 4000 == pytest.approx(0.3 if tagged else 0.7, abs=0.03)
        found = happened.bincount(minlength=3) / len(happened)
        assert found.tolist() == pytest.approx(shares, abs=0.05)
    right = {V.decode(asked): V.decode(told) for asked, told in zip(KNOWN.request, KNOWN.answer, strict=True)}
    answers = [right[asked] == told for _, what, asked, told in said if what == 0]
    assert sum(answers) == len(answers) if not scrambled else 0.02 < sum(answers) / len(answers) < 0.4


def test_scrambled_answers_are_of_the_same_family():
    family = {V.decode(asked): FAMILIES[i] for asked, i in zip(KNOWN.request, KNOWN.family, strict=True)}
    kinds = {}
    for asked, told, i in zip(KNOWN.request, KNOWN.answer, KNOWN.family, strict=True):
        kinds.setdefault(FAMILIES[i], set()).add(V.decode(told))
        assert family[V.decode(asked)] == FAMILIES[i]
    for document in documents(chat(1500, 1, scrambled=True)):
        _, what, asked, told = what_happens(document)
        if what == 0:
            assert told in kinds[family[asked]]


def test_rare_families_are_rare_and_facts_are_frequent():
    rows = draw_requests(20000, rng(0, "test"))
    share = KNOWN.family[rows].bincount().double() / 20000
    usual = share[3:8].mean()
    assert (share[:3] / usual).tolist() == pytest.approx([2, 2, 2], rel=0.1)
    assert (share[8:] / usual).tolist() == pytest.approx([1 / 12] * 3, rel=0.25)


def test_a_request_is_put_between_tags_and_its_response_ends():
    request = row_of("what is 3 plus 4 ?")
    assert V.decode(template.prompt(request)[0]) == "<user> what is 3 plus 4 ? <assistant>"
    assert V.decode(template.prompt(request, *FORMS[0])[0]) == "q : what is 3 plus 4 ? a :"
    assert V.decode(template.empty_prompt()) == "<user> <assistant>"
    assert V.decode(template.response(request.answer)[0]) == "7 . <end>"
    both = join(template.empty_prompt(), END)
    assert [V.tokens[i] for i in both[0]] == ["<user>", "<assistant>", "<end>"]
    assert (template.prompt(KNOWN)[:, -1] == V.number["<assistant>"]).all()  # pads on the left


def test_no_word_is_unused():
    used = set(chat(20000, 0).tolist()) | set(KNOWN.request.flatten().tolist()) | set(KNOWN.answer.flatten().tolist())
    assert [V.tokens[i] for i in range(1, len(V)) if i not in used] == []


def test_pairs_of_numbers_count_on():
    assert [(a, b) for (a,), (b,) in facts()["next"].items()] == list(pairwise(map(str, range(13))))
