"""Scenes of up to four things, one a quarter."""

import pytest
import torch

from stages.worlds.shapes import quads


def contents(shape, colour):
    return (quads.SHAPES.index(shape)) * 6 + quads.COLOURS.index(colour) + 1


def test_scenes_are_the_same_however_many_follow_and_streams_differ():
    few, many = quads.sample(5, 3, (0, 4)), quads.sample(50, 3, (0, 4))
    for name in ("shape", "colour", "offset", "size", "tint"):
        assert torch.equal(getattr(few, name), getattr(many, name)[:5])
    other = quads.sample(50, 3, (0, 4), ("test",))
    assert not torch.equal(other.contents, many.contents)
    assert not torch.equal(quads.sample(50, 4, (0, 4)).contents, many.contents)


def test_numbers_of_things_places_shapes_and_colours_are_even():
    scenes = quads.sample(40_000, 0, (1, 3))
    present = scenes.shape > 0
    counts = present.sum(1).bincount(minlength=5) / 40_000
    torch.testing.assert_close(counts, torch.tensor([0, 1, 1, 1, 0]) / 3, rtol=0, atol=0.01)
    torch.testing.assert_close(present.float().mean(0), torch.full((4,), 0.5), rtol=0, atol=0.01)
    kinds = scenes.contents[present].bincount(minlength=37)[1:] / present.sum()
    torch.testing.assert_close(kinds, torch.full((36,), 1 / 36), rtol=0, atol=0.003)
    assert torch.equal(scenes.colour > 0, present)


def test_wrong_numbers_of_things_are_refused():
    with pytest.raises(ValueError, match="room for 0 to 4"):
        quads.sample(1, 0, 5)
    with pytest.raises(ValueError, match="room for 0 to 4"):
        quads.sample(1, 0, (3, 2))


def test_a_picture_shows_each_thing_in_its_quarter_and_colour():
    scenes = quads.sample(300, 0, (0, 4))
    pictures = quads.render(scenes)
    assert pictures.shape == (300, 3, 16, 16)
    assert pictures.min() >= -1
    assert pictures.max() <= 1
    parts = [pictures[:, :, r : r + 8, c : c + 8] for r in (0, 8) for c in (0, 8)]
    assert torch.equal(quads.quarters(pictures), torch.stack(parts, 1))
    assert torch.equal(quads.joined(quads.quarters(pictures)), pictures)
    empty = quads.quarters(pictures)[scenes.shape == 0]
    assert torch.allclose(empty, torch.tensor(2 * quads.GROUND - 1))
    red = quads.quarters(pictures)[scenes.colour == 1 + quads.COLOURS.index("red")]
    means = red.flatten(2).amax(2).mean(0)  # red, green, blue
    assert means[0] > means[1] + 0.5
    assert means[0] > means[2] + 0.5


def test_shapes_look_as_they_should():
    one = quads.sample(600, 1, 1)
    lit = (quads.quarters(quads.render(one)) - (2 * quads.GROUND - 1)).abs().sum(2) > 0.3
    middle = lit[:, :, 3:5, 3:5].float().mean((2, 3))
    area = lit.float().sum((2, 3))
    by_name = {name: one.shape == i for i, name in enumerate(quads.SHAPES, 1)}
    assert middle[by_name["ring"]].mean() < 0.2
    assert middle[by_name["circle"]].min() == 1
    areas = {name: area[here].mean() for name, here in by_name.items()}
    assert areas["square"] > areas["triangle"] > areas["bar"]
    tall = lit[by_name["bar"]].any(-1).sum(-1).float().mean()
    wide = lit[by_name["bar"]].any(-2).sum(-1).float().mean()
    assert tall > 2 * wide


def test_captions_name_colour_shape_and_place():
    scenes = quads.replaced(quads.sample(1, 0, 0), torch.tensor([1]), torch.tensor(3), torch.tensor(2))
    words = quads.captions(scenes)
    assert words.shape == (1, 4, 3)
    assert [quads.said(phrase) for phrase in words[0].tolist()] == ["", "yellow triangle upper-right", "", ""]
    many = quads.sample(200, 0, (0, 4))
    for row, present, found in zip(quads.captions(many), many.shape > 0, many.contents, strict=True):
        for place in range(4):
            said = quads.said(row[place].tolist()).split()
            if not present[place]:
                assert said == []
            else:
                assert said[2] == quads.PLACES[place]
                assert found[place] == contents(said[1], said[0])


def test_an_edit_changes_one_quarter_as_its_words_say():
    before = quads.sample(3_000, 0, (0, 4))
    after, words = quads.edits(before, 5)
    assert words.shape == (3_000, 1, 4)
    changed = before.contents != after.contents
    assert (changed.sum(1) == 1).all()
    same = ~changed[..., None, None, None].expand(-1, -1, 3, 8, 8)
    one, other = quads.quarters(quads.render(before)), quads.quarters(quads.render(after))
    assert torch.equal(one[same], other[same])
    verbs = set()
    for i in range(300):
        place = int(changed[i].nonzero())
        old = int(before.shape[i, place]), int(before.colour[i, place])
        new = int(after.shape[i, place]), int(after.colour[i, place])
        said = quads.said(words[i, 0].tolist()).split()
        verb = said[-1]
        verbs.add(verb)
        assert said[-2] == quads.PLACES[place]
        new_words = [quads.COLOURS[new[1] - 1], quads.SHAPES[new[0] - 1]] if new[0] else []
        if verb == "add":
            assert old == (0, 0)
            assert said[:2] == new_words
        elif verb == "remove":
            assert new == (0, 0)
            assert len(said) == 2
        elif verb == "recolour":
            assert old[0] == new[0]
            assert said[0] == new_words[0]
            assert len(said) == 3
        else:
            assert old[1] == new[1]
            assert said[0] == new_words[1]
            assert len(said) == 3
    assert verbs == set(quads.VERBS)
    assert not torch.equal(quads.edits(before, 6)[1], words)


def test_instructions_say_nothing_where_nothing_changes_and_both_words_where_both_do():
    pairs = torch.tensor([[2, 3], [2, 3], [0, 0]])
    words = quads.instruction(pairs, torch.tensor([[2, 3], [5, 1], [0, 0]]), torch.tensor([0, 2, 1]))
    assert [quads.said(row) for row in words.tolist()] == ["", "red ring lower-left reshape", ""]


def test_templates_read_renders_and_noisy_renders():
    scenes = quads.sample(500, 7, (0, 4))
    pictures = quads.render(scenes)
    assert torch.equal(quads.read(pictures), scenes.contents)
    noisy = pictures + 0.2 * torch.randn(pictures.shape)
    assert (quads.read(noisy) == scenes.contents).float().mean() > 0.98


def test_templates_hold_every_content():
    flat, found = quads.templates()
    assert flat.shape == (1 + 36 * 27, 192)
    assert set(found.tolist()) == set(range(37))
    assert len(flat.unique(dim=0)) == len(flat)


def test_questions_are_answered_by_hand():
    red_ring, red_bar, blue_bar = contents("ring", "red"), contents("bar", "red"), contents("bar", "blue")
    found = torch.tensor([[red_ring, red_bar, 0, 0]])
    asked = torch.tensor([[red_ring, blue_bar, red_bar, 0]])
    expected = [[[True, True], [True, False], [False, False], [True, True]]]
    assert quads.right(found, asked).tolist() == expected
