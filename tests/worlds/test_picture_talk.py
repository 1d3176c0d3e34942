"""What is asked and answered about pictures of two things."""

import pytest
import torch

from stages.worlds import picture_talk as talk
from stages.worlds.shapes import quads
from stages.worlds.vocabulary import PAD

SCENES = quads.sample(800, 3, 2)
KIND = talk.text_kinds(800)
WORDS = talk.vocabulary()
BRIEFLY = {*talk.SYSTEM_LINES, *talk.USER_LINES}


@pytest.fixture(scope="module")
def told():
    """Each conversation as system message, content, user's line and answer."""
    return [taken_apart(row) for row in talk.conversations(SCENES, 3).tokens]


def taken_apart(row):
    text = WORDS.decode(row)
    system, rest = text.removeprefix("<sys>").split("<user>")
    asked, answer = rest.split("<asst>")
    words = asked.split()
    size = talk.SLOTS if words[0] == "<patch>" else 5
    assert answer.endswith(" <end>")
    content, user = " ".join(words[:size]), " ".join(words[size:])
    return system.strip(), content, user, answer.removesuffix("<end>").strip()


def phrases(i):
    return [f"{quads.COLOURS[colour]} {quads.SHAPES[shape]}" for colour, shape in talk.things(SCENES)[i].tolist()]


def test_captions_tell_both_things_in_either_order():
    first = 0
    for i, row in enumerate(talk.captions(SCENES, 3)):
        said = WORDS.decode(row).split(" and ")
        assert sorted(said) == sorted(phrases(i))
        first += said == phrases(i)
        drawn = [quads.said(p).rsplit(" ", 1)[0] for p in quads.captions(SCENES)[i].tolist() if any(p)]
        assert phrases(i) == drawn
    assert 340 < first < 490, "half in each order, beside twins"
    assert not torch.equal(talk.captions(SCENES, 4), talk.captions(SCENES, 3))
    assert not torch.equal(talk.captions(SCENES, 3, ("other",)), talk.captions(SCENES, 3))


def test_scenes_have_one_number_exactly_if_they_show_the_same_things():
    numbers, seen = talk.scene_kinds(SCENES).tolist(), {}
    for i, number in enumerate(numbers):
        seen.setdefault(tuple(sorted(phrases(i))), set()).add(number)
    assert all(len(found) == 1 for found in seen.values())
    assert len(set.union(*seen.values())) == len(seen)
    assert len(talk.scene_kinds(quads.sample(20_000, 0, 2)).unique()) == 666
    with pytest.raises(ValueError, match="two things"):
        talk.things(quads.sample(5, 0, 3))


def test_every_conversation_asks_and_answers_what_its_kind_says(told):
    unasked, turned, first, colours = [], [], [], []
    for i, (system, content, user, answer) in enumerate(told):
        kind, things = KIND[i].item(), phrases(i)
        pairs = [thing.split() for thing in things]
        if kind in (talk.CAPTION, talk.ASK_PICTURE, talk.WORD_PICTURE):
            assert content == " ".join(["<patch>"] * 16)
        else:
            assert sorted(content.split(" and ")) == sorted(things)
        one = kind in (talk.WORD_PICTURE, talk.WORD_TEXT)
        assert one == (system in talk.SYSTEM_LINES or user in talk.USER_LINES)
        assert system in (*talk.SYSTEM_LINES, *talk.PLAIN_SYSTEM_LINES)
        if one:
            assert answer in {word for pair in pairs for word in pair}
            assert user in ("", *talk.USER_LINES)
        elif kind in (talk.ASK_PICTURE, talk.ASK_TEXT):
            word = user.split()[4]
            ((colour, shape),) = {tuple(pair) for pair in pairs if word in pair}
            first.append(word in pairs[0])
            colours.append(user.startswith("which colour"))
            if user.startswith("which colour"):
                assert (user, answer) == (f"which colour is the {shape}", f"the {shape} is {colour}")
            else:
                thing = f"the {colour} thing"
                assert (user, answer) == (f"which shape is {thing}", f"{thing} is a {shape}")
        else:
            assert user in talk.PLAIN_USER_LINES
            restated = [f"{shape} in {colour}" for colour, shape in pairs]
            assert sorted(answer.split(" and ")) in (sorted(things), sorted(restated))
            if user == talk.PLAIN_USER_LINES[-1]:
                assert " in " in answer
            else:
                unasked.append(" in " in answer)
                if kind == talk.RESTATE and " in " not in answer:
                    turned.append(answer != content)
    assert 0 < sum(unasked) < 0.06 * len(unasked), "other words now and then"
    for drawn in (turned, first, colours):
        assert sum(drawn) / len(drawn) == pytest.approx(0.5, abs=0.15)


def test_one_word_is_asked_for_by_either_or_both_in_six_texts_of_forty_and_never_in_the_controls(told):
    one = [each for each, kind in zip(told, KIND.tolist(), strict=True) if kind in (talk.WORD_PICTURE, talk.WORD_TEXT)]
    assert len(one) == 0.15 * len(told)
    assert sum(len(answer.split()) == 1 for *_, answer in told) == len(one)
    by_system = [system in talk.SYSTEM_LINES for system, *_ in one]
    by_user = [user in talk.USER_LINES for _, _, user, _ in one]
    ways = [sum(a and b for a, b in zip(by_system, by_user, strict=True)), sum(by_system), sum(by_user)]
    assert ways == pytest.approx([40, 80, 80], abs=15)
    assert all(a or b for a, b in zip(by_system, by_user, strict=True))
    assert {answer for *_, answer in one} == {*quads.COLOURS, *quads.SHAPES}, "any of the four words"
    assert {system for system, *_ in one} >= set(talk.SYSTEM_LINES)
    assert {user for _, _, user, _ in one} == {"", *talk.USER_LINES}
    plain = [taken_apart(row) for row in talk.conversations(SCENES, 3, one_word=False).tokens]
    assert all(len(answer.split()) >= 4 for *_, answer in plain)
    assert not {line for system, _, user, _ in plain for line in (system, user)} & BRIEFLY
    assert plain[:34] == told[:34], "the rest is the same"


def test_the_phrasing_of_the_tests_is_in_no_conversation_but_all_its_words_are(told):
    lines = {line for system, _, user, _ in told for line in (system, user)}
    assert talk.SYSTEM not in lines
    assert talk.USER not in lines
    for held_out in (talk.SYSTEM, talk.USER):
        assert not any(held_out in line or line in held_out for line in BRIEFLY)
    known = {word for each in told for part in each for word in part.split()}
    assert set((talk.SYSTEM + " " + talk.USER).split()) <= known
    assert known | {"<sys>", "<user>", "<asst>", "<end>"} == set(WORDS.tokens[1:]), "no word is left unlearnt"


def test_only_answers_count_and_pads_stand_on_the_right():
    drawn = talk.conversations(SCENES, 3)
    for row, counted in zip(drawn.tokens[::7], drawn.counted[::7], strict=True):
        answer = WORDS.decode(row).split("<asst> ")[1]
        assert WORDS.decode(row[counted]) == answer
        length = int((row != PAD).sum())
        assert (row[length:] == PAD).all()
    assert torch.equal(drawn.tokens, talk.conversations(SCENES, 3).tokens)
    assert not torch.equal(drawn.tokens, talk.conversations(SCENES, 4).tokens)


def test_prompts_have_the_lines_where_they_belong():
    caption = WORDS.encode("red ring and blue bar")[None]
    row = talk.prompts(caption, "answer in full", "which word is it")[0]
    assert WORDS.decode(row) == "<sys> answer in full <user> red ring and blue bar which word is it <asst>"
    assert WORDS.decode(talk.prompts(caption)[0]) == "<sys> <user> red ring and blue bar <asst>"
    assert talk.prompts(talk.pictures(3)).shape == (3, 19)
