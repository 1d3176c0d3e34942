"""The recipes of base models that read and draw digits and quarters."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from stages import zoo
from stages.models import seeded
from stages.training import diffusion
from stages.worlds import digits as scans
from stages.worlds.shapes import quads as world
from stages.zoo import digits, quads


def short(name, **how):
    recipe = zoo.find(name)
    return replace(recipe.settings, **how), recipe


def test_the_reader_of_digits_learns_and_its_floor_is_that_of_real_images():
    settings, recipe = short("digits_clf", steps=150)
    with seeded(0):
        model = recipe.build(settings)
    with torch.no_grad():
        before = recipe.measure(model, settings, 0)["test accuracy"]
    recipe.fit(model, settings, 0)
    after = recipe.measure(model.eval().requires_grad_(False), settings, 0)
    assert after["test accuracy"] > max(80, before)
    assert 0 < after["Fréchet distance of training to test images"] < 1
    images = digits.scaled(scans.load().test_images)
    assert images.min() == -1
    assert images.max() == 1
    torch.testing.assert_close(model(images), model.head(model.features(images)))


def test_the_denoiser_of_digits_learns_and_keeps_its_average():
    settings, recipe = short("digits_edm", steps=60, width=32, blocks=1, keep=0.9)
    with seeded(0):
        model = recipe.build(settings)
    images = digits.scaled(scans.load().train_images)[:256]
    sigma, noise = torch.full((256,), 0.5), torch.randn(256, 64)
    before = diffusion.edm_loss(model, images, sigma, noise, settings.data).mean()
    heard = []
    step = torch.optim.AdamW.step

    def listen(self, *args, **kwargs):
        result = step(self, *args, **kwargs)
        heard.append(model.network.enter.weight.detach().clone())
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", listen)
        recipe.fit(model, settings, 0)
    assert diffusion.edm_loss(model, images, sigma, noise, settings.data).mean() < before
    expected = heard[0]
    for weights in heard[1:]:
        expected = 0.9 * expected + 0.1 * weights
    torch.testing.assert_close(model.network.enter.weight.data, expected, rtol=1e-3, atol=1e-5)


def test_digits_are_drawn_from_the_recipes_levels():
    settings, _ = short("digits_edm")
    seen = []

    def denoiser(x, sigma):
        seen.append(float(sigma[0]))
        return 0 * x

    digits.draw(denoiser, torch.randn(2, 64), 4, settings)
    assert seen[0] == pytest.approx(20, rel=1e-4)
    assert seen[-1] == pytest.approx(0.02, rel=1e-3)
    assert len(seen) == 7


def test_the_shipped_digits_reader_and_drawer_are_good():
    assert zoo.card("digits_clf")["metrics"]["test accuracy"] > 97
    floor = zoo.card("digits_clf")["metrics"]["Fréchet distance of training to test images"]
    found = zoo.card("digits_edm")["metrics"]
    assert found["Fréchet distance at 35 calls"] < 4 * floor
    assert found["Fréchet distance at 5 calls"] > 3 * found["Fréchet distance at 35 calls"]


# -------------------------------------------------------------------------- quarters


def test_the_reader_of_quarters_learns():
    settings, recipe = short("quads_reader", steps=60, width=8, test=200)
    with seeded(0):
        model = recipe.build(settings)
    before = recipe.measure(model, settings, 0)
    recipe.fit(model, settings, 0)
    after = recipe.measure(model.eval(), settings, 0)
    assert after["quarters read right"] > before["quarters read right"] + 10
    assert after["quarters read right by templates"] == 100


def test_nothing_has_no_colour():
    model = quads.QuadsReader()
    for layer in (model.shape, model.colour):
        nn.init.zeros_(layer.weight)
    model.shape.bias.data = torch.arange(7.0).flip(0).repeat(4)  # nothing is likeliest
    shape, colour = model.read(torch.randn(3, 3, 16, 16))
    assert not shape.any()
    assert not colour.any()
    model.shape.bias.data = torch.arange(7.0).repeat(4)
    model.colour.bias.data = torch.arange(7.0).flip(0).repeat(4)
    shape, colour = model.read(torch.randn(3, 3, 16, 16))
    assert (shape == 6).all()
    assert (colour == 1).all()  # the likeliest but nothing


TINY = {"steps": 4, "horizon": 4, "warmup": 1, "batch": 4, "test": 6, "test_steps": 2}


@pytest.mark.parametrize("name", ["quads_base", "quads_weak", "quads_strong", "quads_editor"])
def test_a_drawer_trains_on_what_its_recipe_says(name, monkeypatch):
    settings, recipe = short(name, **TINY)
    with seeded(0):
        model = recipe.build(settings)
    assert model.captions.unit == (name in ("quads_weak", "quads_strong"))
    assert (model.source is not None) == (name == "quads_editor")
    asked, seen = [], []
    sample, forward = world.sample, model.after

    def recorded(n, seed, things, stream):
        asked.append((n, things))
        return sample(n, seed, things, stream)

    def heard(x, t, caption, source=None):
        seen.append((x, source))
        return forward(x, t, caption, source)

    monkeypatch.setattr(world, "sample", recorded)
    monkeypatch.setattr(model, "after", heard)
    recipe.fit(model, settings, 0)
    things = (1, 4) if name == "quads_editor" else (1, 3)
    assert asked == [(4, things)] * 4
    assert len(seen) == 4
    assert all((source is not None) == (name == "quads_editor") for _, source in seen)
    numbers = recipe.measure(model.eval().requires_grad_(False), settings, 0)
    assert all(0 <= value <= 100 for value in numbers.values())


def test_weak_and_strong_differ_by_their_captions_and_both_editors_by_their_length():
    weak, strong = (zoo.find(name).settings for name in ("quads_weak", "quads_strong"))
    assert replace(weak, caption=strong.caption) == strong
    assert weak.caption < strong.caption
    short_editor, long_editor = (zoo.find(name).settings for name in ("quads_editor", "quads_editor_long"))
    assert replace(short_editor, steps=long_editor.steps) == long_editor
    assert short_editor.steps < long_editor.steps


def test_the_shipped_drawers_fail_where_they_should():
    weak, strong, base = (zoo.card(f"quads_{name}")["metrics"] for name in ("weak", "strong", "base"))
    assert base["score, 4 things"] > 98
    for card in (weak, strong):
        assert card["score, 1 things"] > 90
        assert 40 < card["score, 4 things"] < 85
    assert weak["score, 4 things"] < strong["score, 4 things"] - 10
    for name in ("quads_editor", "quads_editor_long"):
        found = zoo.card(name)["metrics"]
        assert found["edits obeyed"] > 85
        assert found["other quarters kept"] > 95


def test_an_editor_sets_out_from_its_start(monkeypatch):
    settings, recipe = short("quads_editor", **TINY | {"steps": 1})
    with seeded(1):
        start = quads.build_drawer(zoo.find("quads_base").settings)
    for parameter in start.parameters():
        parameter.data.fill_(0.01)
    monkeypatch.setattr("stages.zoo.store.load", lambda name: start if name == "quads_base" else None)
    model = recipe.build(settings)
    recipe.fit(model, replace(settings, lr=0.0), 0)
    torch.testing.assert_close(model.stem.weight, start.stem.weight)
    assert not model.source.weight.any()


def test_captions_are_dropped_as_often_as_the_recipe_says(monkeypatch):
    settings, recipe = short("quads_weak", **TINY | {"steps": 40, "batch": 16})
    model = recipe.build(settings)
    read, shares = model.captions.forward, []

    def heard(captions):
        shares.append((captions == 0).all((1, 2)).float().mean().item())
        return read(captions)

    monkeypatch.setattr(model.captions, "forward", heard)
    recipe.fit(model, settings, 0)
    assert sum(shares) / len(shares) == pytest.approx(0.1, abs=0.04)


def test_times_are_shifted_to_the_noise():
    times = quads.training_times(20_000, torch.Generator().manual_seed(0))
    assert float(times.median()) == pytest.approx(0.75, abs=0.01)  # 3 · 0.5 / (1 + 2 · 0.5)
    falling = quads.sampling_times(4)
    torch.testing.assert_close(falling, torch.tensor([1, 0.9, 0.75, 0.5, 0]))


def test_a_score_counts_only_what_was_asked_for():
    scenes = world.sample(50, 0, 2)
    other = world.sample(50, 0, 4)  # the same two things, and two more
    assert torch.equal(quads.score(world.render(scenes), scenes), torch.ones(50))
    wrong = replace(scenes, colour=torch.where(scenes.colour > 0, scenes.colour % 6 + 1, 0))
    torch.testing.assert_close(quads.score(world.render(wrong), scenes), torch.full((50,), 0.5))
    kept = (other.contents == scenes.contents)[scenes.shape > 0]
    if kept.all():
        assert torch.equal(quads.score(world.render(other), scenes), torch.ones(50))


def test_drawing_is_euler_at_shifted_times_within_the_range():
    model = quads.build_drawer(zoo.find("quads_weak").settings)
    for parameter in model.parameters():
        parameter.data = 0.05 * torch.randn(parameter.shape)
    captions = world.captions(world.sample(3, 0, 2))
    noise = torch.randn(3, 3, 16, 16)
    with torch.no_grad():
        expected = noise
        times = [3 * t / (1 + 2 * t) for t in (1, 0.75, 0.5, 0.25, 0)]
        for now, following in pairwise(times):
            expected = expected + (following - now) * model(expected, torch.full((3,), now), captions)
        found = quads.drawn(model, captions, noise, 4)
    torch.testing.assert_close(found, expected.clamp(-1, 1), rtol=1e-3, atol=1e-3)
    assert math.isfinite(float(found.sum()))
