"""Captions of scenes, and names in templates."""

import pytest
import torch

from stages.worlds import captions, shapes
from stages.worlds.vocabulary import PAD, Vocabulary

WORDS = captions.vocabulary()


def scenes(n=4_000, **how):
    return shapes.sample(n, 5, **({"objects": (1, 4), "texture": "plain", "style": ("photo", "neon")} | how))


def said(scenes, i):
    """What a full caption tells of scene i, from its words."""
    told = shapes.describe(scenes[i : i + 1])[0]
    things = " and ".join(f"{one['colour']} {one['shape']}" for one in told["objects"])
    return f"{captions.COUNTS[len(told['objects']) - 1]} things , {things} in {told['style']} style"


def test_a_full_caption_tells_all_and_agrees_with_the_worlds_own_words():
    some = scenes(300)
    told = captions.captions(some, 0, count=1, objects=1, colour=1, style=1)
    for i, row in enumerate(told):
        text = WORDS.decode(row)
        opening = text.removesuffix(said(some, i)).strip()
        assert opening in captions.OPENINGS
        present = (row != PAD).int()
        assert (present.diff() <= 0).all(), "pads are on the right"


def test_parts_are_left_out_as_often_as_asked_but_never_all():
    some = scenes()
    told = captions.captions(some, 0, count=0.5, objects=0.8, colour=0.7, style=0.25)
    texts = [f" {WORDS.decode(row)} " for row in told]
    share = {word: sum(f" {word} " in text for text in texts) / len(texts) for word in ("things", ",", "style")}
    assert share == pytest.approx({"things": 0.5, ",": 0.4, "style": 0.25}, abs=0.03)
    named = [any(f" {shape} " in text for shape in shapes.SHAPES) for text in texts]
    coloured = [any(f" {colour} " in text for colour in shapes.COLOURS) for text in texts]
    assert sum(named) / len(texts) == pytest.approx(0.9, abs=0.02)
    assert sum(coloured) / sum(named) == pytest.approx(0.7, abs=0.03)
    assert all(here or " things " in text for here, text in zip(named, texts, strict=True))
    shapes_alone = captions.captions(some, 0, count=0, objects=0, colour=0, style=0)
    assert WORDS.decode(shapes_alone[0]).endswith(
        " and ".join(one["shape"] for one in shapes.describe(some[:1])[0]["objects"])
    )


def test_openings_are_even():
    told = captions.captions(scenes(8_000), 1, style=0)
    first = [WORDS.decode(row[:3]) for row in told]
    for opening in captions.OPENINGS[1:]:
        share = sum(text.startswith(opening) for text in first) / len(first)
        assert share == pytest.approx(1 / 8, abs=0.012), opening


def test_a_caption_is_the_same_however_many_follow_and_streams_differ():
    some = scenes(50)
    few, many = captions.captions(some[:5], 3), captions.captions(some, 3)
    assert [WORDS.decode(row) for row in few] == [WORDS.decode(row) for row in many[:5]]
    for other in (captions.captions(some, 4), captions.captions(some, 3, stream=("test",))):
        assert [WORDS.decode(row) for row in other] != [WORDS.decode(row) for row in many]


def test_too_many_objects_are_refused():
    with pytest.raises(ValueError, match="up to 5 objects; captions count to four"):
        captions.captions(scenes(2, objects=5), 0)


def test_prompts_put_every_name_into_every_template():
    rows = captions.prompts(WORDS, ["red star", "ring"], closing="in neon style")
    assert rows.shape == (8, 2, 8)
    for opening, pair in zip(captions.OPENINGS, rows, strict=True):
        for name, row in zip(["red star", "ring"], pair, strict=True):
            assert WORDS.decode(row) == f"{opening} {name} in neon style".strip()
    own = Vocabulary(["a", "dax", "wug"])
    rows = captions.prompts(own, ["wug", "dax"], ["a", ""])
    assert torch.equal(rows, torch.tensor([[[1, 3], [1, 2]], [[3, 0], [2, 0]]]))
    with pytest.raises(ValueError, match="no token 'blick'"):
        captions.prompts(own, ["blick"], [""])


def test_words_are_few_and_each_is_one_thing():
    assert len(WORDS) == 53
    assert {*captions.COUNTS, *shapes.COLOURS, *shapes.SHAPES, *shapes.STYLES} <= set(WORDS.tokens)
    assert not set(" ".join(captions.OPENINGS).split()) & {*captions.COUNTS, *shapes.COLOURS, *shapes.SHAPES}
