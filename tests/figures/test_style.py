import io
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from stages import figures
from stages.figures.style import COLOURS, SURFACE, balance, contrast

# What a reader without one of the three cones sees, in linear RGB (Machado, Oliveira and Fernandes 2009, severity 1).
SIGHT = {
    "full": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]


def lab(colour, sight):
    """Return a colour in CIELAB, as seen with `sight`."""
    rgb = np.asarray(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = np.asarray(TO_XYZ) @ np.clip(np.asarray(sight) @ linear, 0, 1) / [0.95047, 1, 1.08883]
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def closest(colours, sight):
    seen = [lab(colour, SIGHT[sight]) for colour in colours]
    return min(np.linalg.norm(one - other) for one, other in combinations(seen, 2))


def test_the_simulation_knows_that_red_and_green_look_alike_to_deuteranopes():
    assert closest(["#b05a5a", "#7d7d4d"], "deuteranopia") < 12 < closest(["#b05a5a", "#7d7d4d"], "full")


@pytest.mark.parametrize("sight", SIGHT)
def test_methods_are_told_apart_whatever_the_eye(sight):
    assert closest(COLOURS, sight) > 15


@pytest.mark.parametrize("sight", SIGHT)
def test_verdicts_are_told_apart_whatever_the_eye(sight):
    assert closest([look.colour for look in figures.VERDICTS.values()], sight) > 15


def test_verdicts_differ_in_symbol_and_marker_and_keep_their_colours_to_themselves():
    looks = figures.VERDICTS.values()
    assert len({look.symbol for look in looks}) == len({look.marker for look in looks}) == 3
    assert all(closest([look.colour, colour], "full") > 15 for look in looks for colour in COLOURS)


def test_text_in_any_colour_is_readable_on_the_page():
    looks = [*figures.palette("abcdefgh").values(), *figures.VERDICTS.values()]
    assert min(contrast(look.ink, SURFACE) for look in looks) >= 4.5
    assert min(contrast(colour, SURFACE) for colour in (figures.TEXT, figures.MUTED)) >= 4.5
    assert min(contrast("white", look.colour) for look in figures.VERDICTS.values()) >= 4.5


def test_contrast_is_that_of_the_web_guidelines():
    assert contrast("black", "white") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


def test_a_method_keeps_its_look_through_a_chapter():
    figures.use_style(["none", "uniform", "power law"])
    chapter = figures.palette(["none", "uniform", "power law"])
    assert figures.palette(["power law", "none"]) == {name: chapter[name] for name in ("power law", "none")}
    newcomer = figures.palette(["joint"])["joint"]
    assert newcomer not in chapter.values()
    assert figures.palette(["uniform", "joint"])["joint"] == newcomer


def test_use_style_deals_the_looks_out_afresh():
    figures.palette(["one", "two"])
    figures.use_style(["two", "one"])
    assert figures.palette(["two"])["two"].colour == COLOURS[0]


def test_eight_arms_differ_in_colour_and_in_marker_and_a_ninth_is_refused():
    looks = figures.palette("abcdefgh").values()
    assert len({look.colour for look in looks}) == len({look.marker for look in looks}) == 8
    with pytest.raises(ValueError, match="9 arms in one figure: a, b, c, d, e, f, g, h, i; a figure has at most 8"):
        figures.palette("abcdefghi")


def test_a_list_longer_than_a_figure_shares_no_look():
    names = [f"method {i}" for i in range(24)]
    figures.use_style(names)
    looks = [figures.palette([name])[name] for name in names]
    assert len({(look.colour, look.marker) for look in looks}) == 24
    with pytest.raises(ValueError, match="no look is left for 'more': a page can tell 24 methods apart"):
        figures.palette(["more"])
    with pytest.raises(ValueError, match="no look is left for 'more'"):
        figures.use_style([*names, "more"])


def test_a_newcomer_takes_a_colour_that_the_figure_does_not_have():
    names = [f"method {i}" for i in range(8)]
    figures.use_style(names)
    # the next look has the first one's colour
    looks = figures.palette([names[0], "new"])
    assert looks["new"].colour != looks[names[0]].colour
    assert figures.palette([names[1], "new"])["new"] == looks["new"]


def test_an_older_page_may_ask_for_more_until_the_next_page():
    figures.use_style(most=11)
    assert len({(look.colour, look.marker) for look in figures.palette("abcdefghijk").values()}) == 11
    figures.use_style()
    with pytest.raises(ValueError, match="at most 8"):
        figures.palette("abcdefghi")


def test_style_is_left_behind_when_its_context_ends():
    plt.rcdefaults()
    with figures.style():
        assert plt.rcParams["figure.figsize"] == [5.0, 3.1]
    assert plt.rcParams["figure.figsize"] != [5.0, 3.1]


@pytest.mark.parametrize("text", ["", "short", "one two three four five six seven", "unbreakably" * 9])
def test_headlines_break_into_few_and_even_lines(text):
    lines = balance(text, 20).splitlines()
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(len(line) <= 20 for line in lines)
    assert len(lines) < 2 or max(map(len, lines)) - min(map(len, lines)) < 10


def drawing():
    figure, ax = plt.subplots()
    ax.plot([1, 2], [3, 4])
    figures.headline(figure, "A line goes up")
    return figure


def test_a_figure_gives_the_same_bytes_every_time_and_says_nothing_about_its_making():
    once = figures.png(drawing())
    assert once == figures.png(drawing())
    assert not Image.open(io.BytesIO(once)).text
    assert once != figures.png(drawing(), colours=4)


def test_the_page_is_paper_and_five_inches_wide():
    image = Image.open(io.BytesIO(figures.png(drawing()))).convert("RGB")
    assert image.size == (900, 558)
    assert tuple(round(255 * c) for c in to_rgb(SURFACE)) == image.getpixel((2, 2))


def test_show_displays_once_and_closes_the_figure():
    ax = drawing().axes[0]
    picture = figures.show(ax)
    assert not plt.get_fignums()
    data, metadata = picture._repr_mimebundle_()
    assert data.keys() == {"image/png", "text/plain"}
    assert data["text/plain"] == repr(picture) == "Figure: A line goes up"
    assert metadata["image/png"]["width"] == 700
