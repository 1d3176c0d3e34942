import math
from dataclasses import fields, replace
from itertools import combinations

import pytest
import torch
from scipy.stats import chi2_contingency, spearmanr

from stages.worlds import shapes
from stages.worlds.shapes import COLOURS, SHAPES, STYLES, TEXTURES, Classes, boxes, caption, masks, render, sample

FACTORS = ("shape", "texture", "colour", "background", "style")
NUISANCE = ("size", "rotation")


def same(one, two):
    return all(torch.equal(getattr(one, field.name), getattr(two, field.name)) for field in fields(one))


def crowded(n, seed=0, **options):
    """Scenes of two to four objects that hide one another."""
    return sample(n, seed, objects=(2, 4), size=(0.12, 0.25), **options)


@pytest.fixture(scope="module")
def everything():
    """Forty scenes of all styles."""
    return crowded(40, style=torch.arange(40) % len(STYLES))


def test_a_seed_and_a_stream_decide_everything():
    assert same(crowded(20), crowded(20))
    assert not torch.equal(crowded(20).shape, crowded(20, seed=1).shape)
    assert not torch.equal(crowded(20).shape, crowded(20, stream=("test",)).shape)


def test_a_scene_is_the_same_however_many_follow():
    assert same(crowded(7, style=None), crowded(500, style=None)[:7])


def test_fixing_one_factor_leaves_the_others():
    one, two = crowded(50), crowded(50, shape="star", style="neon")
    assert (two.shape == SHAPES.index("star")).all()
    for name in ("texture", "colour", "size", "position", "rotation", "depth", "present", "background", "seed"):
        assert torch.equal(getattr(one, name), getattr(two, name))


def test_factors_are_even_and_independent_of_each_other_and_of_the_nuisance():
    scenes = sample(20_000, 0, style=None)
    columns = {name: getattr(scenes, name).flatten() for name in FACTORS + NUISANCE}
    columns |= {"x": scenes.position[:, 0, 0], "y": scenes.position[:, 0, 1]}
    bins = {name: column.argsort().argsort() // 4000 for name, column in columns.items() if column.is_floating_point()}
    columns |= bins  # fifths
    p = []
    for a, b in combinations(columns, 2):
        table = torch.zeros(columns[a].max() + 1, columns[b].max() + 1)
        table.index_put_((columns[a], columns[b]), torch.ones(len(scenes)), accumulate=True)
        p.append(chi2_contingency(table.numpy()).pvalue)
    assert min(p) > 0.01 / len(p)  # Bonferroni
    for name in FACTORS:
        counts = columns[name].bincount() / len(scenes)
        assert (counts * len(counts)).sub(1).abs().max() < 0.1


def test_objects_of_one_scene_are_independent_and_depth_is_an_order():
    scenes = sample(4000, 0, objects=(1, 4))
    assert scenes.present.sum(1).bincount().tolist()[0] == 0
    assert (scenes.present.sum(1).bincount()[1:] / 1000 - 1).abs().max() < 0.1
    assert torch.equal(scenes.depth.sort(1).values, torch.arange(4).expand(4000, -1))
    for name in ("shape", "colour", "size"):
        assert abs(spearmanr(getattr(scenes, name)[:, 0], getattr(scenes, name)[:, 1]).statistic) < 0.05


def test_words_tensors_and_ranges_restrict_what_is_drawn():
    scenes = sample(300, 0, shape=("star", "ring"), colour="blue", texture=torch.arange(300) % 6, size=(0.2, 0.2))
    assert scenes.shape.unique().tolist() == [SHAPES.index("star"), SHAPES.index("ring")]
    assert scenes.colour.unique().tolist() == [COLOURS.index("blue")]
    assert torch.equal(scenes.texture[:, 0], torch.arange(300) % 6)
    assert (scenes.size == 0.2).all()


def test_classes_are_drawn_evenly_recognised_and_named():
    classes = Classes.product(shape=("star", "ring"), texture=("striped", "dotted"))
    assert classes.names == ["striped star", "dotted star", "striped ring", "dotted ring"]
    scenes = sample(2000, 0, classes=classes)
    assert (classes.of(scenes).flatten().bincount() / 500 - 1).abs().max() < 0.15
    labels = torch.arange(40) % 4
    assert torch.equal(classes.of(sample(40, 0, classes=classes, labels=labels))[:, 0], labels)
    assert classes[2:].names == ["striped ring", "dotted ring"]
    assert torch.equal(classes[2:].of(sample(40, 0, classes=classes, labels=labels))[:, 0], (labels - 2).clamp(min=-1))


def test_a_scene_shows_the_classes_of_its_present_objects():
    classes = Classes.product(shape=SHAPES[:6], colour=COLOURS[:4])
    scenes = sample(200, 0, objects=(1, 4), classes=classes)
    shown = classes.in_scene(scenes)
    for i, row in enumerate(classes.of(scenes).tolist()):
        assert shown[i].nonzero()[:, 0].tolist() == sorted({label for label in row if label >= 0})
        assert sum(label >= 0 for label in row) == scenes.present[i].sum()


def test_more_placements_hide_less():
    few, many = (crowded(300, placements=placements) for placements in (1, 16))

    def share_hidden(scenes):
        return 1 - masks(scenes).sum() / masks(scenes, hidden=True).sum()

    assert share_hidden(few) > 0.08 > 0.03 > share_hidden(many)
    assert torch.equal(few.shape, many.shape)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": "blob"}, "no shape 'blob'; choose from circle, square"),
        ({"style": torch.tensor([0, 1, 8])}, "style goes from 0 to 8; it must stay within 0 to 7"),
        ({"colour": torch.tensor([0, 1])}, r"colour has shape \(2,\); give 3, one a scene, or one an object"),
        ({"labels": torch.tensor([0, 1, 0])}, "labels need the classes"),
        ({"classes": Classes.product(shape=SHAPES), "labels": torch.tensor([0, 1, 12])}, "label goes from 0 to 12"),
        ({"objects": (3, 2)}, r"objects are \(3, 2\); give a number"),
        ({"objects": 0}, "objects are 0"),
        ({"size": (0.3, 0.2)}, r"the range \(0.3, 0.2\) is empty"),
    ],
)
def test_what_is_not_there_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        sample(3, 0, **options)


def test_classes_are_of_objects():
    with pytest.raises(ValueError, match="no class of objects by 'style'; choose from colour, texture, shape"):
        Classes.product(style=STYLES)


@pytest.mark.parametrize("side", [16, 32])
def test_pictures_have_colours_between_0_and_1(everything, side):
    pictures = render(everything, side)
    assert pictures.shape == (40, 3, side, side)
    assert pictures.dtype == torch.float32
    assert 0 <= pictures.min() < pictures.max() <= 1
    assert pictures.flatten(1).std(1).min() > 0.01


def test_a_picture_depends_on_its_scene_alone(everything, monkeypatch):
    whole = render(everything)
    one_by_one = torch.cat([render(everything[i : i + 1]) for i in range(40)])
    monkeypatch.setattr("stages.worlds.shapes.geometry.PIXELS_AT_ONCE", 3 * 4 * 32 * 32)
    for other in (one_by_one, render(everything), render(everything[torch.arange(39, -1, -1)]).flip(0)):
        torch.testing.assert_close(whole, other, atol=1e-5, rtol=0)
    assert len(render(everything[:0])) == 0


def test_absent_objects_are_not_drawn(everything):
    moved = torch.where(everything.present[..., None], everything.position, torch.rand(40, 4, 2))
    torch.testing.assert_close(render(everything), render(replace(everything, position=moved)))
    assert not masks(everything)[~everything.present].any()


def test_the_noise_comes_from_the_scene():
    scenes = sample(2, 0, style="noisy")
    torch.testing.assert_close(render(scenes), render(scenes))
    assert (render(scenes) - render(replace(scenes, seed=scenes.seed + 1))).abs().mean() > 0.05


def test_masks_share_out_the_pixels_as_depth_says():
    scenes = crowded(100)
    visible, whole = masks(scenes), masks(scenes, hidden=True)
    assert visible.sum(1).max() == 1
    assert torch.equal(visible.any(1), whole.any(1))
    assert (visible <= whole).all()
    nearest = scenes.depth.argmin(1)[:, None]
    rows = torch.arange(100)[:, None]
    assert torch.equal(visible[rows, nearest], whole[rows, nearest])
    other = replace(scenes, depth=3 - scenes.depth)
    both = whole.sum(1) > 1
    assert (masks(other).int().argmax(1) != visible.int().argmax(1))[both].all()


def test_masks_are_what_is_drawn():
    """Recolour one object: where the picture changes by more than half as much as the paint, its mask must be."""
    scenes = crowded(60, style="flat", texture="plain", colour="yellow")
    visible, before = masks(scenes), render(scenes)
    for j in range(4):
        colour = scenes.colour.clone()
        colour[:, j] = COLOURS.index("blue")
        changed = (render(replace(scenes, colour=colour)) - before).abs().amax(1)
        seen = visible[:, j].sum((1, 2)) > 40  # some pixels have nothing but this paint
        share, mask = changed[seen] / changed[seen].amax((1, 2), keepdim=True), visible[seen, j]
        assert len(share) > 10
        assert (mask >= (share > 0.501)).all()
        assert share[mask].min() > 0.1
        assert (share.sum((1, 2)) / mask.sum((1, 2)) - 1).abs().max() < 0.2
        assert not changed[~scenes.present[:, j]].any()


def test_styles_and_colours_leave_masks_alone(everything):
    other = replace(
        everything, style=everything.style.flip(0), colour=everything.colour.flip(0), seed=everything.seed + 1
    )
    assert torch.equal(masks(everything), masks(other))


def test_a_disc_has_its_area_and_place():
    scenes = sample(50, 0, shape="circle", size=(0.2, 0.3))
    disc = masks(scenes, 64)[:, 0].float()
    torch.testing.assert_close(disc.mean((1, 2)), math.pi * (0.86 * scenes.size[:, 0]) ** 2, atol=0.005, rtol=0)
    centres = (torch.arange(64) + 0.5) / 64
    x = (disc * centres).sum((1, 2)) / disc.sum((1, 2))
    torch.testing.assert_close(x, scenes.position[:, 0, 0], atol=0.005, rtol=0)


def test_rotation_is_clockwise():
    up = sample(1, 0, shape="triangle", rotation=(0.0, 0.0), size=(0.3, 0.3))
    up = replace(up, position=torch.full((1, 1, 2), 0.5))
    right = replace(up, rotation=torch.full((1, 1), math.pi / 2))
    assert torch.equal(masks(up)[0, 0].rot90(-1), masks(right)[0, 0])
    rows = masks(up)[0, 0].sum(1)
    assert rows[:16].sum() < rows[16:].sum()  # a triangle stands on its base


def test_every_shape_stays_within_its_radius_and_differs():
    scenes = sample(len(SHAPES), 0, shape=torch.arange(len(SHAPES)), rotation=(0.0, 0.0), size=(0.4, 0.4))
    drawn = masks(replace(scenes, position=torch.full((len(SHAPES), 1, 2), 0.5)))[:, 0]
    x = (torch.arange(32) + 0.5) / 32 - 0.5
    assert not drawn[:, torch.hypot(x[:, None], x) > 0.41].any()
    assert all((drawn[i] ^ drawn[j]).sum() > 20 for i, j in combinations(range(len(SHAPES)), 2))


def test_boxes_are_tight():
    scenes = crowded(100)
    visible = masks(scenes)
    for mask, box in zip(visible.flatten(0, 1), boxes(visible).flatten(0, 1).tolist(), strict=True):
        left, top, right, bottom = box
        inside = mask[top:bottom, left:right]
        assert inside.sum() == mask.sum()
        if mask.any():
            assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))
        else:
            assert box == [0, 0, 0, 0]


def test_captions_say_what_is_there():
    scenes = sample(3, 0, objects=(1, 3), texture="striped", style="sketch", background="plain")
    word = {"shape": torch.tensor([[0, 1, 2]] * 3), "colour": torch.tensor([[0, 1, 2]] * 3)}
    present = torch.tensor([[True, False, False], [True, True, False], [True, True, True]])
    texture, size = torch.tensor([[0, 1, 2]] * 3), torch.tensor([[0.1, 0.2, 0.3]] * 3)
    scenes = replace(scenes, **word, present=present, texture=texture, size=size)
    assert caption(scenes) == [
        "a small red circle",
        "a small red circle and a medium orange striped square",
        "a small red circle, a medium orange striped square and a large yellow dotted triangle",
    ]
    assert caption(scenes, ("colour",))[1] == "a red thing and an orange thing"
    assert caption(scenes, ("shape", "background", "style"))[0] == "a circle on a plain ground in sketch style"


def test_descriptions_match_the_attributes():
    scenes = crowded(50, style=None)
    for i, scene in enumerate(shapes.describe(scenes)):
        assert scene["style"] == STYLES[scenes.style[i]]
        slots = scenes.present[i].nonzero()[:, 0]
        for word, j in zip(scene["objects"], slots, strict=True):
            assert word["shape"] == SHAPES[scenes.shape[i, j]]
            assert word["texture"] == TEXTURES[scenes.texture[i, j]]
            assert word["colour"] == COLOURS[scenes.colour[i, j]]
            size = scenes.size[i, j]
            assert word["size"] == ("small" if size < 0.16 else "medium" if size < 0.25 else "large")


def test_a_raw_pixel_baseline_is_poor_and_the_classes_differ_when_aligned():
    """Nearest class mean fails under the nuisance, and is nearly perfect without it."""
    classes = Classes.product(shape=SHAPES[:10], texture=("plain", "striped"))
    labels = torch.arange(1000) % 20

    def accuracy(**options):
        train, test = (
            sample(1000, 0, classes=classes, labels=labels, stream=(s,), **options) for s in ("train", "test")
        )
        if options:
            train, test = (
                replace(s, position=torch.full_like(s.position, 0.5), seed=s.seed * 0) for s in (train, test)
            )
        train, test = (render(s).flatten(1) for s in (train, test))
        means = torch.stack([train[labels == k].mean(0) for k in range(20)])
        return (torch.cdist(test, means).argmin(1) == labels).float().mean()

    assert accuracy() < 0.2
    assert accuracy(colour="green", background="plain", rotation=(0.0, 0.0), size=(0.3, 0.34)) > 0.9


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_devices_draw_the_same(everything):
    torch.testing.assert_close(render(everything), render(everything.to("cuda")).cpu(), atol=1e-3, rtol=0)
