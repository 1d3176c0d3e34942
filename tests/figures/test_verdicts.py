import math
from dataclasses import replace

import pytest
from bs4 import BeautifulSoup

from stages import figures
from stages.evidence import RULE, Finding, Paper
from stages.figures.bars import TOKENS, Scale, bar, describe, scales
from stages.figures.rows import match, number
from stages.figures.style import contrast


def words(element):
    return " ".join(element.get_text(" ").split())


def read(table):
    return BeautifulSoup(table.html, "html.parser")


def rows_of(table):
    return read(table).find(class_="stages-claims").tbody.find_all("tr")


def places(element, *names):
    return [float(element[name].removesuffix("%")) for name in names]


@pytest.fixture
def paper(claims):
    also = (replace(claims[0], key="A1", text="Also this."), replace(claims[3], key="A2", text="And that."))
    return Paper(
        slug="continual/one",
        title="One",
        arxiv="2000.00001",
        year=2020,
        bibkey="one",
        claims=claims,
        also=also,
        deviations=("The margin of C2 was 2 & is 1.",),
        profiles={"probe": 0, "quick": 0, "full": 0},
        run=min,
    )


def test_every_claim_is_there_with_report_bar_numbers_and_verdicts(claims, live, record):
    page = read(figures.verdict_table(claims, live, record))
    assert [words(head) for head in page.thead.find_all("th")] == [
        "Claim, and what the paper reports",
        "Measured here",
    ]
    rows = rows_of(figures.verdict_table(claims, live, record))
    for claim, finding, row in zip(claims, record, rows, strict=True):
        measured = row.td
        assert words(row.th).startswith(f"{claim.key} {claim.text}")
        assert claim.comparison in words(row.th)
        assert words(row.th).endswith(f"The paper reports {claim.reported}")
        said = measured.find(class_="found record")
        assert f"{figures.VERDICTS[finding.verdict].symbol} {finding.verdict}" in words(said)
        assert f"{finding.seeds} seeds" in words(said)
        assert measured.svg["role"] == "img"
    assert "+7.1 [6.1, 8.1] recorded, 95 %, 10 seeds" in words(rows[0])
    assert "−0.90 [−1.70, −0.10] recorded, 99 %, 10 seeds, weakest: 20 tasks" in words(rows[1])
    lives = [row.find(class_="found live") for row in rows]
    assert ["inconclusive" in words(cell) for cell in lives[:3]] == [True] * 3
    assert lives[3] is None


def test_a_claim_without_any_finding_is_not_measured(claims, live):
    row = rows_of(figures.verdict_table(claims, live))[3]
    assert words(row.td) == "not measured"
    assert row.svg is None


def test_demands_are_in_words(claims, live):
    told = figures.verdict_table(claims, live).text
    for demand in ("by more than 2", "at most 1 worse", "within ±1.5", "by more than 5"):
        assert demand in told


def test_the_books_own_claims_are_marked(claims, record):
    own = [replace(claims[0], origin="ours", reported="not found"), *claims[1:]]
    table = figures.verdict_table(own, record=record)
    rows = rows_of(table)
    assert [mark and words(mark) for mark in (row.find(class_="own") for row in rows)] == [
        "the book's own",
        *[None] * 3,
    ]
    # there is nothing to look for
    assert [bool(row.find(class_="reported")) for row in rows] == [False, True, True, True]
    assert table.text.splitlines()[1].endswith("by more than 2 (the book's own)")


# ------------------------------------------------------------------------------------------------------------ the bars


def test_bars_of_one_metric_share_a_scale_that_holds_all_there_is(claims, live, record):
    rows = match(claims, live, record)
    by_metric = scales(rows)
    assert list(by_metric) == ["accuracy (%)", "steps"]
    scale = by_metric["accuracy (%)"]
    assert scale.low < -1.7
    assert scale.high > 8.1
    assert by_metric["steps"].low < -20.2
    assert by_metric["steps"].high > 5
    shared = {bar(row, scale).count(f'x1="{scale.place(0)}%"') for row in rows[:3]}
    assert shared == {1}


@pytest.mark.parametrize(("key", "edges"), [("C1", (2, math.inf)), ("C2", (-1, math.inf)), ("C3", (-1.5, 1.5))])
def test_the_tint_is_where_the_whole_interval_has_to_lie(claims, record, key, edges):
    rows = {row.key: row for row in match(claims, None, record)}
    scale = Scale(-10, 10)
    svg = BeautifulSoup(bar(rows[key], scale), "html.parser").svg
    left, width = places(svg.rect, "x", "width")
    assert left == pytest.approx(50 + 5 * edges[0])
    assert left + width == pytest.approx(100 if math.isinf(edges[1]) else 50 + 5 * edges[1])
    margins = [places(line, "x1")[0] for line in svg.find_all("line", class_="margin")]
    assert margins == pytest.approx([50 + 5 * edge for edge in edges if math.isfinite(edge)])
    assert places(svg.find("line", class_="zero"), "x1", "x2") == [50, 50]


def test_intervals_stand_where_they_belong_in_the_colour_of_their_verdict(claims, live, record):
    row = match(claims, live, record)[0]
    svg = BeautifulSoup(bar(row, Scale(-20, 20)), "html.parser").svg
    for kind, finding in (("record", record[0]), ("live", live[0])):
        group = svg.find("g", class_=kind)
        assert group["class"] == [kind, finding.verdict]
        ends = [50 + 2.5 * value for value in (finding.low, finding.high)]
        assert places(group.line, "x1", "x2") == pytest.approx(ends)
        assert places(group.circle, "cx") == pytest.approx([50 + 2.5 * finding.effect])


def test_a_wide_live_interval_is_cut_off_and_says_so(claims, record):
    wild = Finding("C1", "inconclusive", 7.0, -300.0, 314.0, 0.95, 3)
    row = match(claims[:1], [wild], record[:1])[0]
    scale = scales([row])["accuracy (%)"]
    assert scale.high - scale.low < 2.5 * 8.1
    svg = BeautifulSoup(bar(row, scale), "html.parser").svg
    assert len(svg.find("g", class_="live").find_all("path", class_="tip")) == 2
    assert not svg.find("g", class_="record").find_all("path")


def test_live_findings_alone_set_the_scale(claims, live):
    scale = scales(match(claims, live, None))["accuracy (%)"]
    assert scale.low < -2.6
    assert scale.high > 14.3


def test_a_single_point_at_zero_is_still_drawn(claims):
    point = Finding("C1", "inconclusive", 0.0, 0.0, 0.0, 0.95, 3)
    row = match([replace(claims[0], margin=0)], None, [point])[0]
    svg = BeautifulSoup(bar(row, scales([row])["accuracy (%)"]), "html.parser").svg
    assert places(svg.circle, "cx") == [50.0]


def test_the_bar_describes_itself(claims, live, record):
    rows = match(claims, live, record)
    assert " ".join(describe(rows[0]).split()) == (
        "C1: recorded effect +7.1, 95 % interval [6.1, 8.1]; live effect +7.9, 95 % interval [1.5, 14.3]."
        " Reproduced where the whole interval is above +2."
    )
    assert describe(rows[2]).endswith("between −1.5 and +1.5.")
    assert [
        label["aria-label"] for label in read(figures.verdict_table(claims, live, record)).find_all("svg", class_="bar")
    ] == [describe(row) for row in rows]


@pytest.mark.parametrize("verdict", figures.VERDICTS)
@pytest.mark.parametrize(("page", "theme"), [("#ffffff", 0), ("#121212", 1)])
def test_bars_are_seen_on_a_light_page_and_on_a_dark_one(verdict, page, theme):
    assert contrast(TOKENS[verdict][theme], page) >= 3


# ---------------------------------------------------------------------------------------- what stands around the table


def test_a_failed_gate_stands_above_the_table(claims, make_record, gates):
    page = read(figures.verdict_table(claims, record=make_record(gates=gates)))
    banner = page.find(class_="stages-banner")
    assert banner["role"] == "note"
    assert words(banner) == (
        "⚠ A gate failed: the verdicts on this paper may mean little. the baseline & its failure: 61, wanted at most 50"
    )
    assert str(page).index('stages-banner"') < str(page).index("<table>")
    assert read(figures.verdict_table(claims, record=make_record(gates=gates[:1]))).find(class_="stages-banner") is None


def test_also_is_folded_below_without_a_verdict(paper, live, make_record):
    seen = [*live, Finding("A1", "", 3.0, 1.0, 5.0, 0.95, 3)]
    record = make_record()
    record = replace(record, also=[row | {"key": key} for key, row in zip(("A1", "A2"), record.also, strict=True)])
    page = read(figures.verdict_table(paper, seen, record))
    details = page.find_all("details")[0]
    assert not details.has_attr("open")
    assert words(details.summary) == "Also measured (2)"
    rows = details.tbody.find_all("tr")
    assert "+7.1 [6.1, 8.1] recorded, 95 %, 10 seeds +3.0 [1.0, 5.0] live, 95 %, 3 seeds" in words(rows[0])
    assert words(rows[0].th).startswith("A1 Also this.")
    assert not details.find_all(class_="verdict")
    assert str(page).index('stages-claims"') < str(page).index("Also measured")


def test_what_was_measured_nowhere_is_not_listed_as_also_measured(paper, live):
    assert "Also measured" not in figures.verdict_table(paper, live).html


def test_a_record_is_enough_and_a_paper_comes_before_it(paper, make_record):
    record = make_record(deviations=["Of the record."])
    assert "Of the record." in words(read(figures.verdict_table(record=record)))
    assert len(rows_of(figures.verdict_table(record=record))) == 4
    record = replace(record, also=[])
    told = words(read(figures.verdict_table(paper, record=record)))
    assert "Changed after it had been fixed The margin of C2 was 2 & is 1." in told
    assert "Of the record." not in told


def test_the_rule_is_folded_below_in_its_one_text(claims, record):
    page = read(figures.verdict_table(claims, record=record))
    details = page.find_all("details")[-1]
    assert words(details.summary) == "How a verdict is made"
    assert " ".join(details.p.get_text().split()) == " ".join(RULE.replace("**", "").split())
    assert [bold.text for bold in details.p.find_all("b")] == ["reproduced", "contradicted", "inconclusive"]


def test_the_table_is_semantic_and_well_formed(claims, live, make_record, gates, read_html):
    page = read_html(figures.verdict_table(claims, live, make_record(gates=gates), caption="Does it <hold>?").html)
    assert page.caption.startswith("Does it <hold>?")
    assert [cell["scope"] for cell in page.all("th")][:6] == ["col"] * 2 + ["row"] * 4
    box = next(box for box in page.all("div") if "stages-claims" in box["class"])
    assert box["aria-label"] == "Does it <hold>?"
    assert box["tabindex"] == "0"  # a box that scrolls can be reached by keyboard


def test_text_is_escaped_and_nothing_is_fetched(claims, live, make_record, gates):
    html = figures.verdict_table(claims, live, make_record(gates=gates, deviations=["<i>so</i>"])).html
    for unescaped in ("<b>nothing</b>", "<i>so</i>", "baseline & its"):
        assert unescaped not in html
    assert "&lt;b&gt;nothing&lt;/b&gt; &amp; more" in html
    for outside in ("http:", "https:", "//", "url(", "<script", "<link", "@import"):
        assert outside not in html


def test_the_plain_form_has_it_all(claims, live, make_record, gates):
    record = make_record(count=2, gates=gates, deviations=["A margin moved."])
    told = repr(figures.verdict_table(claims[:2], live[:2], replace(record, also=record.also[:1])))
    assert told.replace("\N{NO-BREAK SPACE}", " ").splitlines() == [
        "⚠ A gate failed: the verdicts on this paper may mean little.",
        "  - the baseline & its failure: 61, wanted at most 50",
        "Verdicts",
        "C1: power law > uniform on accuracy (%), by more than 2",
        "    record: reproduced    +7.1 [6.1, 8.1] (95 %, 10 seeds)",
        "    live:   inconclusive  +7.9 [1.5, 14.3] (95 %, 3 seeds)",
        "C2: power law ≥ uniform on accuracy (%), at most 1 worse",
        "    record: inconclusive  −0.90 [−1.70, −0.10] (99 %, 10 seeds, weakest: 20 tasks)",
        "    live:   inconclusive  −0.2 [−2.6, 2.2] (99 %, 3 seeds, weakest: 20 tasks)",
        "Also measured, without a verdict",
        "A0: power law > uniform on accuracy (%)",
        "    record: +7.1 [6.1, 8.1] (95 %, 10 seeds)",
        "Changed after it had been fixed",
        "  - A margin moved.",
    ]


def test_wrong_rows_are_refused(claims, live, record):
    with pytest.raises(ValueError, match="no claims to show"):
        figures.verdict_table()
    with pytest.raises(ValueError, match="findings of no claim: C4; the claims are C1, C2, C3"):
        figures.verdict_table(claims[:3], live, record)
    with pytest.raises(ValueError, match="two claims have one key"):
        figures.verdict_table([*claims, claims[0]], live)


# --------------------------------------------------------------------------------------------------------------- gates


def test_gates_are_a_table_of_value_bound_and_answer(make_record, gates):
    table = figures.gate_table(make_record(gates=gates))
    page = read(table)
    assert [words(head) for head in page.thead.find_all("th")] == ["Gate", "Measured", "Wanted", "Met"]
    assert [[words(cell) for cell in row.find_all(["th", "td"])] for row in page.tbody.find_all("tr")] == [
        ["the net <learns>", "92.4", "at least 90", "✓ yes"],
        ["the baseline & its failure", "61", "at most 50", "✗ no"],
    ]
    assert repr(table).splitlines()[1:] == [
        "the net <learns>: 92.4, wanted at least 90: ✓ yes",
        "the baseline & its failure: 61, wanted at most 50: ✗ no",
    ]
    assert figures.gate_table(gates).html == table.html
    with pytest.raises(ValueError, match="there are no gates to show"):
        figures.gate_table(make_record())


def test_a_banner_is_there_only_where_a_gate_failed(make_record, gates):
    shown = figures.banner(make_record(gates=gates))
    assert "the baseline & its failure: 61, wanted at most 50" in words(read(shown))
    assert repr(shown).splitlines()[0] == "⚠ A gate failed: the verdicts on this paper may mean little."
    assert figures.banner(make_record(gates=gates[:1])) is None
    assert figures.banner(make_record()) is None
    two = figures.banner([gate | {"met": False} for gate in gates])
    assert repr(two).startswith("⚠ 2 gates failed:")


# ---------------------------------------------------------------------------------------------------------------- rows


def test_bounds_follow_the_kind_of_claim(claims):
    rows = match(claims, None, None)
    assert [row.bounds for row in rows] == [(2, math.inf), (-1, math.inf), (-1.5, 1.5), (5, math.inf)]
    assert [row.bounds for row in rows] == [claim.bounds for claim in claims]


@pytest.mark.parametrize(
    ("value", "scale", "text"),
    [
        (4.5211, 1.4, "+4.5"),
        (-0.03124, 0.014, "−0.031"),
        (312.4, 25, "+312"),
        (0.5, 0.0, "+0.50"),
        (-1234.4, 400, "−1234"),
        (-0.2, 23, "0"),
        (0.0, 0.3, "0.00"),
    ],
)
def test_numbers_keep_two_digits_of_their_uncertainty(value, scale, text):
    assert number(value, scale) == text
