import math
from dataclasses import replace
from itertools import pairwise

import pytest
from matplotlib.colors import same_color

from stages import figures
from stages.figures.rows import match, number


def artists(figure):
    """Index by gid what was drawn."""
    return {artist.get_gid(): artist for ax in figure.axes for artist in ax.get_children() if artist.get_gid()}


def test_each_claim_shows_its_effect_interval_and_verdict(claims, live, record):
    drawn = artists(figures.forest(claims, live, record))
    for kind, findings in (("live", live), ("record", record)):
        for finding in findings:
            look = figures.VERDICTS[finding.verdict]
            bar, mean = drawn[f"{kind}:{finding.key}"], drawn[f"{kind}:{finding.key}:mean"]
            assert list(bar.get_xdata()) == [finding.low, finding.high]
            assert same_color(bar.get_color(), look.colour)
            assert list(mean.get_xdata()) == [finding.effect]
            assert mean.get_marker() == look.marker
            filled = same_color(mean.get_markerfacecolor(), look.colour)
            assert filled == (kind == "record")
    assert "live:C4" not in drawn


def test_the_recorded_verdict_is_told_in_words(claims, live, record):
    drawn = artists(figures.forest(claims, live, record))
    for finding in record:
        look = figures.VERDICTS[finding.verdict]
        text = drawn[f"verdict:{finding.key}"]
        assert text.get_text() == f"{look.symbol} {finding.verdict}"
        assert text.get_color() == look.ink


def test_live_findings_alone_tell_their_verdict_and_name_what_is_missing(claims, live):
    drawn = artists(figures.forest(claims, live))
    assert drawn["verdict:C1"].get_text() == "◆ inconclusive"
    assert drawn["verdict:C4"].get_text() == "not measured"


@pytest.mark.parametrize(("key", "edges"), [("C1", [2.0]), ("C2", [-1.0]), ("C3", [-1.5, 1.5]), ("C4", [5.0])])
def test_margins_are_drawn_where_the_interval_has_to_lie(claims, record, key, edges):
    drawn = artists(figures.forest(claims, record=record))
    assert [segment[0][0] for segment in drawn[f"margin:{key}"].get_segments()] == edges
    strip = drawn[f"strip:{key}"]
    extent, right = strip.get_paths()[0].get_extents(), strip.axes.get_xlim()[1]
    assert [extent.x0, extent.x1] == pytest.approx([edges[0], edges[1] if len(edges) == 2 else right])


def test_metrics_have_axes_of_their_own_that_hold_all_there_is(claims, live, record):
    figure = figures.forest(claims, live, record)
    assert [ax.get_xlabel() for ax in figure.axes] == ["effect on accuracy (%)", "effect on steps"]
    for ax, shown in zip(figure.axes, [[*live, *record[:3]], record[3:]], strict=True):
        low, high = ax.get_xlim()
        assert low < min(0, *(finding.low for finding in shown))
        assert high > max(0, *(finding.high for finding in shown))
    assert sum(artist.get_gid() == "zero" for ax in figure.axes for artist in ax.get_lines()) == 2


def test_names_are_the_comparisons_and_the_weakest_setting(claims, record):
    drawn = artists(figures.forest(claims, record=record))
    assert drawn["name:C1"].get_text() == "C1  power law > uniform"
    assert drawn["name:C2"].get_text() == "C2  power law ≥ uniform [20 tasks]"
    assert drawn["name:C4"].get_text() == "C4  power law < uniform"


def test_a_record_is_enough(claims, record):
    names = ("key", "text", "metric", "comparison", "kind", "margin", "reported")
    rows = [{name: getattr(c, name) for name in names} | f.row() for c, f in zip(claims, record, strict=True)]
    holder = type("Record", (), {"claims": rows})
    alone, spelt = figures.forest(record=holder), figures.forest(claims, record=record)
    assert figures.png(alone) == figures.png(spelt)


def test_fifteen_claims_with_long_names_do_not_overlap(claims, record):
    names = ("text", "metric", "comparison", "kind", "margin", "reported")
    rows = [
        {name: getattr(claims[i % 3], name) for name in names} | record[i % 3].row() | {"key": f"Paper {i} C1"}
        for i in range(15)
    ]
    rows[4]["comparison"] = "(power law, twenty tasks > uniform, twenty tasks) against (power law, five tasks, uniform)"
    figure = figures.forest(record=rows, title="Fifteen claims")
    figure.draw_without_rendering()
    drawn = artists(figure)
    for above, below in pairwise(rows):
        name, strip = drawn[f"name:{below['key']}"], drawn[f"strip:{above['key']}"]
        assert name.get_window_extent().y1 <= strip.get_window_extent().y0 + 1
    for row in rows:
        name, verdict = (drawn[f"{what}:{row['key']}"].get_window_extent() for what in ("name", "verdict"))
        assert 0 <= name.x0 < name.x1 < verdict.x0 < verdict.x1 <= figure.bbox.x1


def test_a_part_of_the_claims_is_drawn_as_if_there_were_no_others(claims, live, record):
    parts = [replace(claim, key=key) for claim, key in zip(claims, ("C1", "C1b", "C10", "C2"), strict=True)]
    found = [
        [replace(f, key=parts[[c.key for c in claims].index(f.key)].key) for f in group] for group in (live, record)
    ]
    drawn = artists(figures.forest(parts, *found, only=["C1"]))
    alone = artists(figures.forest(parts[:2], *(group[:2] for group in found)))
    assert drawn.keys() == alone.keys() > {"record:C1", "record:C1b", "live:C1b"}
    with pytest.raises(ValueError, match="no claim C3; there is C1, C10, C2"):
        figures.forest(parts, *found, only=("C1", "C3"))


def test_wrong_rows_are_refused(claims, live, record):
    with pytest.raises(ValueError, match="no claims to show"):
        figures.forest()
    with pytest.raises(ValueError, match="none of the claims was measured"):
        figures.forest(claims)
    with pytest.raises(ValueError, match="findings of no claim: C4; the claims are C1, C2, C3"):
        figures.forest(claims[:3], live, record)
    with pytest.raises(ValueError, match="two claims have one key"):
        figures.forest([*claims, claims[0]], live)


def test_bounds_follow_the_kind_of_claim(claims):
    bounds = [row.bounds for row in match(claims, None, None)]
    assert bounds == [(2, math.inf), (-1, math.inf), (-1.5, 1.5), (5, math.inf)]


@pytest.mark.parametrize(
    ("value", "scale", "text"),
    [
        (4.5211, 1.4, "+4.5"),
        (-0.03124, 0.014, "−0.031"),
        (312.4, 25, "+312"),
        (0.5, 0.0, "+0.50"),
        (-1234.4, 400, "−1234"),
    ],
)
def test_numbers_keep_two_digits_of_their_uncertainty(value, scale, text):
    assert number(value, scale) == text
