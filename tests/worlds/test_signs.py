"""Signs: forty classes that share nothing, drawn in the styles of shapes."""

import math
from dataclasses import replace

import pytest
import torch

from stages.worlds import glyphs, shapes, signs


def test_signs_are_forty_and_far_apart():
    chosen = signs.characters()
    assert len(chosen) == signs.COUNT == 40
    ink = glyphs.write(chosen, torch.arange(40), 0, unsteady=0.0)
    apart = torch.cdist(ink.flatten(1), ink.flatten(1)) + torch.eye(40) * 99
    every = glyphs.characters(signs.ALPHABETS, signs.EACH)
    ink = glyphs.write(every, torch.arange(160), 0, unsteady=0.0)
    among_all = torch.cdist(ink.flatten(1), ink.flatten(1)) + torch.eye(160) * 99
    assert apart.amin(1).median() > among_all.amin(1).median()


def test_the_distance_to_a_stroke_is_that_to_its_pen():
    """By hand for every sign: the node of a curve nearest to a place, less half of the pen."""
    scenes = signs.sample(torch.arange(40), 0)
    still = replace(scenes, rotation=torch.zeros(40, 1), size=torch.full((40, 1), 0.5))
    u, v = (torch.rand(40, 1, 6, 6, generator=torch.Generator().manual_seed(i)) - 0.5 for i in (0, 1))
    found = signs.distances(still, u, v)[:, 0]
    time = torch.linspace(0, 1, 400)
    for sign in range(40):
        character = signs.characters()[sign : sign + 1]
        nodes = glyphs.curves(character.points, time)[0][character.drawn[0]].flatten(0, 1)
        coarse = glyphs.curves(character.points, torch.linspace(0, 1, 9))[0][character.drawn[0]].flatten(0, 1)
        middle = (coarse.amin(0) + coarse.amax(0)) / 2
        nodes = (nodes - middle) / (coarse - middle).norm(dim=-1).amax() * (1 - signs.PEN)
        places = torch.stack([u[sign, 0], v[sign, 0]], -1).flatten(0, 1) / 0.5
        expected = torch.cdist(places, nodes).amin(1) - signs.PEN
        assert torch.allclose(found[sign].flatten() / 0.5, expected, atol=0.03)


def test_a_sign_stays_inside_its_circle_and_upright_within_twenty_degrees():
    scenes = signs.sample(torch.arange(40), 0)
    angle = torch.linspace(0, 2 * math.pi, 90)
    u, v = (scenes.size[:, :, None, None] * 1.02 * f(angle)[None, None, None] for f in (torch.cos, torch.sin))
    assert (signs.distances(scenes, u, v) > -0.01).all()
    assert scenes.rotation.abs().max() <= signs.TURN
    assert signs.SIZE[0] <= scenes.size.min() <= scenes.size.max() <= signs.SIZE[1]


def test_the_label_decides_the_sign_and_nothing_else():
    one, two = (signs.sample(torch.full((20,), sign), 3, stream=("a",)) for sign in (4, 9))
    assert (one.shape == 4).all()
    for name in ("colour", "size", "position", "rotation", "background", "seed"):
        assert torch.equal(getattr(one, name), getattr(two, name))
    assert not torch.equal(signs.render(one), signs.render(two))
    assert torch.equal(signs.render(one), signs.render(signs.sample(torch.full((30,), 4), 3, stream=("a",)))[:20])


def test_every_style_draws_a_sign():
    pictures = [signs.render(signs.sample(torch.arange(40), 0, style=style)) for style in shapes.STYLES]
    for picture in pictures:
        assert picture.shape == (40, 3, 32, 32)
        assert 0 <= picture.min() <= picture.max() <= 1
    assert not any(torch.equal(pictures[0], other) for other in pictures[1:])


def test_other_outlines_leave_shapes_as_they_were():
    scenes = shapes.sample(10, 0)
    assert torch.equal(shapes.render(scenes), shapes.render(scenes, 32, shapes.geometry.distances))


def test_a_label_that_no_sign_has_is_refused():
    with pytest.raises(ValueError, match="signs from 0 to 39"):
        signs.sample(torch.tensor([40]), 0)
