import pytest
import torch

from stages.worlds import glyphs
from stages.worlds.glyphs import characters, write


@pytest.fixture(scope="module")
def world():
    """Five alphabets of eight."""
    return characters(range(5), 8)


def test_a_character_is_the_same_whatever_else_is_asked_for(world):
    some = characters([3, 1], 4)
    assert torch.equal(some.points, torch.cat([world.points[24:28], world.points[8:12]]))
    assert torch.equal(some.drawn, torch.cat([world.drawn[24:28], world.drawn[8:12]]))
    assert some.alphabet.tolist() == [3] * 4 + [1] * 4
    assert torch.equal(world[8:12].points, some.points[4:])


def test_other_seeds_and_alphabets_have_other_characters(world):
    assert not torch.equal(world.points, characters(range(5), 8, seed=1).points)
    steady = write(characters(range(40), 8), torch.arange(320), 0, unsteady=0.0).flatten(1)
    apart = torch.cdist(steady, steady).fill_diagonal_(torch.inf)
    assert apart.min() > 2
    assert apart.amin(1).median() > 4


def test_alphabets_differ_in_manner():
    world = characters(range(20), 8)
    strokes = world.drawn.sum(1).float().view(20, 8)
    assert set(strokes.flatten().tolist()) == {2, 3, 4}
    assert strokes.mean(1).std() > 2 * strokes.std(1).mean() / 8**0.5


def test_a_seed_and_a_stream_decide_the_hand(world):
    labels = torch.arange(40)
    one = write(world, labels, 0)
    assert torch.equal(one, write(world, labels, 0))
    assert not torch.equal(one, write(world, labels, 1))
    assert not torch.equal(one, write(world, labels, 0, stream=("test",)))
    again = write(world, labels.repeat(3), 0)
    assert torch.equal(one, again[:40])
    assert (again[:40] - again[40:80]).abs().flatten(1).mean(1).min() > 0.01


def test_pictures_are_ink_on_paper(world):
    for side in (20, 28):
        pictures = write(world, torch.arange(40), 0, side)
        assert pictures.shape == (40, 1, side, side)
        assert (pictures.min(), pictures.max()) == (0, 1)
        share = pictures.mean((1, 2, 3))
        assert 0.02 < share.min() < share.max() < 0.4
        edge = (pictures > 0) & (pictures < 1)
        assert edge.float().mean() > 0.02  # anti-aliased


def test_a_steady_hand_repeats_itself(world):
    first, second = write(world, torch.tensor([4, 4]), 0, unsteady=0.0)
    assert torch.equal(first, second)


def test_a_straight_stroke_is_drawn_where_it_says(world):
    line = torch.tensor([[0.2, 0.5], [0.5, 0.5], [0.8, 0.5]])
    one = glyphs.Characters(line.expand(1, 4, 3, 2), torch.tensor([[True, False, False, False]]), torch.tensor([0]))
    picture = write(one, torch.tensor([0]), 0, 40, unsteady=0.0)[0, 0]
    rows, columns = (picture > 0.6).nonzero().T
    assert (rows.min(), rows.max()) == (19, 20)
    # the pen is 3/40 wide: two whole pixels and two halves
    torch.testing.assert_close(picture[17:23, 20], torch.tensor([0, 0.5, 1, 1, 0.5, 0]))
    assert (columns.min(), columns.max()) in [(7, 32), (6, 33)]


def test_chunks_change_nothing(world, monkeypatch):
    whole = write(world, torch.arange(40), 0)
    monkeypatch.setattr(glyphs, "DISTANCES_AT_ONCE", 7 * glyphs.STROKES * glyphs.PIECES * 400)
    torch.testing.assert_close(whole, write(world, torch.arange(40), 0), atol=1e-5, rtol=0)
    assert len(write(world, torch.arange(0), 0)) == 0


def test_classes_can_be_told_apart_but_not_by_pixels_alone(world):
    """Nearest mean of 20 examples among 40 classes: far above chance, far from solved."""
    labels = torch.arange(800) % 40
    train, test = (write(world, labels, 0, stream=(s,)).flatten(1) for s in ("train", "test"))
    means = torch.stack([train[labels == k].mean(0) for k in range(40)])
    assert 0.5 < (torch.cdist(test, means).argmin(1) == labels).float().mean() < 0.85


def test_what_is_not_there_is_refused(world):
    with pytest.raises(ValueError, match="labels go from 0 to 40; there are 40 classes"):
        write(world, torch.tensor([0, 40]), 0)
    with pytest.raises(ValueError, match="asked for 0 characters of 1 alphabets"):
        characters([0], 0)
    with pytest.raises(ValueError, match="asked for 8 characters of 0 alphabets"):
        characters([])
