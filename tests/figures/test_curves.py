from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from stages import figures
from stages.evidence import interval
from stages.figures.labels import spread
from stages.figures.style import contrast

METHODS = ["none", "uniform", "power law"]


@pytest.fixture
def points():
    """Five seeds of three methods, ten points each, and another curve that must not be drawn."""
    random = np.random.default_rng(0)
    rows = [
        {"seed": seed, "method": method, "name": name, "x": x, "y": 10 * k + x + random.normal()}
        for seed in range(5) for k, method in enumerate(METHODS) for name in ("accuracy", "loss") for x in range(10)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def scores():
    random = np.random.default_rng(1)
    rows = [
        {"seed": seed, "method": method, "metric": "accuracy", "value": 80 + 3 * k + random.normal()}
        for seed in range(6) for k, method in enumerate(METHODS)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def lines(ax):
    return {line.get_label(): line for line in ax.get_lines()}


def named(ax, gid):
    return next(artist for artist in ax.get_children() if artist.get_gid() == gid)


@pytest.mark.parametrize("method", METHODS)
def test_a_curve_is_the_mean_and_its_band_the_interval_over_seeds(points, method):
    ax = figures.curves(points, "accuracy")
    vertices = named(ax, f"band:{method}").get_paths()[0].vertices
    own = points[(points["method"] == method) & (points["name"] == "accuracy")]
    for x, y in own.groupby("x")["y"]:
        mean, low, high = interval(y)
        assert lines(ax)[method].get_ydata()[x] == pytest.approx(mean)
        at = vertices[vertices[:, 0] == x, 1]
        assert [at.min(), at.max()] == pytest.approx([low, high])


def test_order_of_rows_does_not_matter(points):
    shuffled = points.sample(frac=1, random_state=0)
    one, other = (figures.png(figures.curves(frame, "accuracy", METHODS).figure) for frame in (points, shuffled))
    assert one == other


def test_curves_wear_the_looks_of_the_chapter(points):
    figures.use_style(["power law", "none", "uniform"])
    looks = figures.palette(METHODS)
    drawn = lines(figures.curves(points, "accuracy", ["uniform", "none"]))
    assert drawn.keys() == {"uniform", "none"}
    assert all(line.get_color() == looks[method].colour for method, line in drawn.items())


def test_a_ninth_method_is_told_by_its_dashes(points):
    figures.use_style([f"method {i}" for i in range(8)])
    drawn = lines(figures.curves(points, "accuracy"))
    assert drawn["none"].get_linestyle() == "--"
    assert figures.palette(["none"])["none"].dash != "-"


def test_a_figure_counts_the_arms_of_all_its_panels(points):
    more = pd.concat([points.assign(method=points["method"] + f" {i}") for i in range(3)])
    names = list(dict.fromkeys(more["method"]))
    _, (left, right) = plt.subplots(1, 2)
    figures.curves(more, "accuracy", names[:8], ax=left, labels=False)
    figures.curves(more, "accuracy", names[2:8], ax=right, labels=False)  # the same arms again
    with pytest.raises(ValueError, match=r"9 arms in one figure: .*; a figure has at most 8"):
        figures.curves(more, "accuracy", names[8:], ax=right, labels=False)
    figures.curves(more, "accuracy", names[8:], labels=False)  # a figure of its own
    figures.use_style(most=9)
    figures.curves(more, "accuracy", names, labels=False)


def test_one_seed_has_no_band(points):
    ax = figures.curves(points[points["seed"] == 0], "accuracy")
    assert not ax.collections
    assert len(ax.get_lines()) == 3


def test_curves_without_band_or_labels(points):
    ax = figures.curves(points, "accuracy", band=False, labels=False)
    assert not ax.collections
    assert not ax.texts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p[~((p["seed"] == 3) & (p["method"] == "none") & (p["x"] == 4))], "seed 3 has no value at x = 4"),
        (lambda p: pd.concat([p, p[:1]]), "two values at one x"),
        (lambda p: p.assign(y=p["y"].where(p.index != 0)), "seed 0 has no value at x = 0"),
        (lambda p: p[p["name"] != "accuracy"], "there is no curve 'accuracy'; there is 'loss'"),
    ],
)
def test_curves_refuse_holes_and_doubles(points, change, message):
    with pytest.raises(ValueError, match=message):
        figures.curves(change(points), "accuracy")


def test_unknown_methods_are_named(points, scores):
    with pytest.raises(ValueError, match="no method 'magic'; there is 'none', 'uniform', 'power law'"):
        figures.curves(points, "accuracy", ["none", "magic"])
    with pytest.raises(ValueError, match="no method 'magic'"):
        figures.scores(scores, "accuracy", ["magic"])


def test_labels_stand_beside_the_data_and_apart_from_each_other(points):
    close = points.assign(y=points["y"] * 0.01 + 5)
    ax = figures.curves(close, "accuracy")
    ax.set_ylim(0, 100)
    for text in ax.texts[:]:
        text.remove()
    figures.label_lines(ax)
    ax.figure.draw_without_rendering()
    boxes = sorted((Text.get_window_extent(text) for text in ax.texts), key=lambda box: box.y0)
    assert [text.get_text() for text in ax.texts] == METHODS
    assert all(box.x0 > ax.bbox.x1 and box.x1 <= ax.figure.bbox.x1 for box in boxes)
    assert all(one.y1 <= other.y0 + 1 for one, other in pairwise(boxes))


def test_labels_can_be_reworded_and_left_out(points):
    ax = figures.curves(points, "accuracy", labels=False)
    figures.label_lines(ax, {"none": "", "uniform": "all tasks alike, at once"})
    assert [text.get_text() for text in ax.texts] == ["all tasks\nalike, at once", "power law"]


def test_labels_far_apart_stay_where_they_are():
    assert spread([10, 90, 50], [8, 8, 8], 0, 100).tolist() == [10, 90, 50]


def test_crowded_labels_move_as_little_as_possible():
    assert spread([50, 50, 52], [10, 10, 10], 0, 100) == pytest.approx([40.667, 50.667, 60.667], abs=1e-3)
    assert spread([99, 99], [10, 10], 0, 100).tolist() == [85, 95]
    assert np.diff(spread([3, 1, 2], [40, 40, 40], 0, 100)[[1, 2, 0]]).tolist() == [40, 40]


@pytest.mark.parametrize("method", METHODS)
def test_scores_show_every_seed_the_mean_and_its_interval(scores, method):
    ax = figures.scores(scores, "accuracy", METHODS)
    values = scores[scores["method"] == method].sort_values("seed")["value"].to_numpy()
    mean, low, high = interval(values)
    assert lines(ax)[method].get_xdata() == pytest.approx([mean])
    assert named(ax, f"interval:{method}").get_xdata() == pytest.approx([low, high])
    row = METHODS.index(method)
    paired = [line for line in ax.get_lines() if len(line.get_xdata()) == 3]
    assert [line.get_xdata()[row] for line in paired] == pytest.approx(values)
    assert ax.get_yticklabels()[row].get_text() == method
    assert ax.texts[row].get_text() == f"{mean:.3g}"


def test_scores_refuse_an_unpaired_seed(scores):
    with pytest.raises(ValueError, match="seed 5 has no value at method = power law"):
        figures.scores(scores[:-1], "accuracy")


def test_a_heatmap_prints_its_values_and_leaves_gaps_empty():
    ax = figures.heatmap([[0.5, np.nan], [-0.25, 1.0]], ["a", "b"], ["1", "2"], form="{:+.2f}")
    assert [text.get_text() for text in ax.texts] == ["+0.50", "\N{MINUS SIGN}0.25", "+1.00"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]


@pytest.mark.parametrize("centre", [None, 0.5])
def test_numbers_in_a_heatmap_are_readable_on_their_cells(centre):
    matrix = np.linspace(0, 1, 30).reshape(5, 6)
    ax = figures.heatmap(matrix, "abcde", "123456", centre=centre)
    image = ax.get_images()[0]
    shades = image.cmap(image.norm(matrix.ravel()))
    assert min(contrast(text.get_color(), tuple(s)) for text, s in zip(ax.texts, shades, strict=True)) >= 4.5


def test_a_centred_heatmap_is_pale_at_its_centre():
    image = figures.heatmap([[-1.0, 4.0]], ["a"], ["1", "2"], centre=0).get_images()[0]
    assert image.get_clim() == (-4, 4)


def test_a_heatmap_without_numbers_has_a_colour_bar():
    ax = figures.heatmap(np.eye(3), "abc", "123", form=None)
    assert not ax.texts
    assert len(ax.figure.axes) == 2


def test_a_heatmap_refuses_names_that_do_not_fit():
    with pytest.raises(ValueError, match=r"shape \(2, 2\), with 3 row and 2 column names"):
        figures.heatmap(np.eye(2), "abc", "12")
    with pytest.raises(ValueError, match="no finite value"):
        figures.heatmap([[np.nan]], "a", "1")


def test_ticks_on_whole_numbers_are_whole(points):
    ax = figures.curves(points, "accuracy")
    assert all(tick % 1 == 0 for tick in ax.get_xticks())
    halves = figures.curves(points.assign(x=points["x"] / 4), "accuracy")
    assert any(tick % 1 for tick in halves.get_xticks())


def test_in_a_heatmap_of_many_columns_nothing_overlaps():
    matrix, names = np.full((6, 10), -1.2345), [f"task {i}" for i in range(1, 11)]
    ax = figures.heatmap(matrix, [f"EWC, λ={10**i}" for i in range(6)], names, form="{:+.3f}")
    ax.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert all(left.x1 < right.x0 for i in range(6) for left, right in pairwise(boxes[10 * i : 10 * i + 10]))
    assert {label.get_rotation() for label in ax.get_xticklabels()} == {40}
    few = figures.heatmap(matrix[:, :3], "abcdef", names[:3])
    assert {label.get_rotation() for label in few.get_xticklabels()} == {0}


def test_a_large_heatmap_without_numbers_stays_on_the_page():
    figure = figures.heatmap(np.eye(64), [""] * 64, [""] * 64, form=None).figure
    assert figure.get_figheight() <= figure.get_figwidth()
