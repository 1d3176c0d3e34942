from dataclasses import replace

import pytest
from bs4 import BeautifulSoup
from matplotlib.colors import same_color

from stages import figures

TITLES = {"diffusion": "Diffusion", "continual": "Continual <learning>"}
CHAPTERS = {"diffusion": ("Diffusion", 4), "scaling": ("Growing", 1), "continual": ("Continual <learning>", 2)}


@pytest.fixture
def records(make_record, gates):
    return [
        make_record("continual/one", "One & <b>only</b>", ours=("C3",), gates=gates),
        make_record("continual/two", "Two", 2),
        make_record("diffusion/three", "Three", 1),
    ]


SUMMARY = (
    "6 claims of 3 papers: 3 reproduced, 2 inconclusive, 1 contradicted;"
    " 1 of our own: 1 reproduced, 0 inconclusive, 0 contradicted"
)


@pytest.fixture
def page(records):
    return BeautifulSoup(figures.scoreboard(records, TITLES).html, "html.parser")


def words(element):
    return " ".join(element.get_text(" ").split())


def test_every_claim_stands_under_its_paper_in_folded_chapters(page, claims, record):
    chapters = page.find_all("details", class_="chapter")
    assert [chapter["data-chapter"] for chapter in chapters] == ["diffusion", "continual"]
    assert not page.find_all("details", open=True)
    told = "Continual <learning> 2 papers · 3 reproduced, 2 inconclusive, 1 contradicted · ⚠ 1 paper with a failed gate"
    assert words(chapters[1].summary) == told
    papers = chapters[1].find_all("tbody")
    assert [paper.a["href"] for paper in papers] == ["continual/one.html", "continual/two.html"]
    rows = papers[0].find_all("tr", attrs={"data-verdict": True})
    for claim, finding, row in zip(claims, record, rows, strict=True):
        assert row["data-verdict"] == finding.verdict
        assert words(row.th).startswith(f"{claim.key} {claim.text}")
        assert f"{figures.VERDICTS[finding.verdict].symbol} {finding.verdict}" in words(row.td)
        assert "10 seeds" in words(row.td)
        assert row.td.svg["aria-label"].startswith(f"{claim.key}: recorded effect")
    assert "+7.1 [6.1, 8.1]" in words(rows[0].td)
    assert [bool(row.find(class_="own")) for row in rows] == [False, False, True, False]


def test_what_is_only_measured_is_neither_shown_nor_counted(page):
    assert "A0" not in words(page)
    assert len(page.find_all("tr", attrs={"data-verdict": True})) == 7


def test_a_paper_with_a_failed_gate_is_marked(page):
    alarms = page.find_all(class_="alarm")
    assert [words(alarm) for alarm in alarms] == ["⚠ A gate failed: the baseline & its failure: 61, wanted at most 50"]
    assert alarms[0].find_parent("tbody").a["href"] == "continual/one.html"


def test_the_papers_claims_and_our_own_are_counted_apart_and_so_is_luck(page, records):
    assert " ".join(figures.summary(records).split()) == SUMMARY
    assert " ".join(figures.summary(records[1:]).split()).endswith(
        "papers: 2 reproduced, 1 inconclusive, 0 contradicted"
    )
    # three headlines at 95 %, four others at 99 %: 3 * 0.025 + 4 * 0.005
    luck = "Were none of these 7 claims true, 0.1 would come out reproduced by luck"
    assert words(page.find(class_="told")) == f"{SUMMARY}. {luck}."


def test_the_menus_offer_what_there_is_and_count_it(page):
    verdict, chapter = page.form.find_all("select")
    assert [option.text for option in verdict.find_all("option")] == [
        "all", "● reproduced (4)", "◆ inconclusive (2)", "✖ contradicted (1)",
    ]  # fmt: skip
    assert [(option["value"], option.text) for option in chapter.find_all("option")[1:]] == [
        ("diffusion", "Diffusion (1)"),
        ("continual", "Continual <learning> (6)"),
    ]
    assert [words(label).split()[0] for label in page.form.find_all("label")] == ["Verdict", "Chapter"]
    assert page.output.text == "7 of 7 claims"
    assert page.output["aria-live"] == "polite"


def test_without_scripts_all_claims_are_there_and_the_menus_are_not(page):
    assert page.form.has_attr("hidden")
    assert not [table for table in page.find_all("table") if table.find_all(hidden=True)]
    assert not page.find_all(id=True)


def test_the_tables_are_semantic_and_well_formed(records, read_html):
    read = read_html(figures.scoreboard(records, TITLES)._repr_html_())
    assert [cell["scope"] for cell in read.all("th")].count("rowgroup") == 3
    assert read.caption == "DiffusionContinual <learning>"


def test_text_is_escaped_and_nothing_is_fetched(records):
    html = figures.scoreboard(records, TITLES).html
    assert "<b>only</b>" not in html
    assert "One &amp; &lt;b&gt;only&lt;/b&gt;" in html
    assert "Continual <learning>" not in html
    for outside in ("http:", "https:", "//", "url(", "src=", "<link", "@import"):
        assert outside not in html


def test_a_chapter_without_a_title_is_named_by_its_slug(make_record):
    html = figures.scoreboard([make_record("physical_world/one")]).html
    assert "Physical world (4)" in html


def test_the_plain_form_has_it_all(records):
    lines = repr(figures.scoreboard(records, TITLES)).splitlines()
    assert lines[1:3] == [
        "diffusion/three: Three",
        "    C1   reproduced    +7.1 [6.1, 8.1] (95\N{NO-BREAK SPACE}%, 10 seeds)  power law > uniform on accuracy (%)",
    ]
    assert "    ⚠ a gate failed: the baseline & its failure: 61, wanted at most 50" in lines
    assert sum(line.endswith("(the book's own)") for line in lines) == 1
    assert len(lines) == 1 + 3 + 7 + 1


def test_forty_papers_fit_a_page(make_record, claims):
    """With the longest texts that claims of the book have, six of them a paper."""
    text = "A claim of a good length, " * 12
    records = []
    for i in range(40):
        made = make_record(f"chapter_{i % 9}/paper_{i}", f"A paper with a title as long as papers have them, {i}")
        rows = [*made.claims, *made.claims[:2]]
        rows = [row | {"key": f"C{n}", "text": text} for n, row in enumerate(rows, 1)]
        records.append(replace(made, claims=rows))
    html = figures.scoreboard(records).html
    assert html.count("<svg class=") == 240
    assert len(html.encode()) < 1_000_000  # of 3 MB for the page; its picture takes up to 100 kB


def artists(figure):
    return {artist.get_gid(): artist for artist in figure.axes[0].get_children() if artist.get_gid()}


def test_a_chapter_has_a_bar_of_its_verdicts(records):
    figure = figures.evidence_state(records, CHAPTERS)
    texts = [text.get_text() for text in figure.axes[0].texts]
    for said in ("1 of 4 papers", "Growing", "1 paper to come", "2 of 2 papers", "● 2", "◆ 2", "✖ 1", "● 1"):
        assert said in texts
    bars = [(round(bar.get_x()), round(bar.get_width()), bar.get_facecolor()) for bar in figure.axes[0].patches]
    assert [bar[:2] for bar in bars] == [(0, 1), (0, 2), (2, 2), (4, 1)]  # our own claim has no bar
    colours = [look.colour for look in figures.VERDICTS.values()]
    assert all(same_color(bar[2], colour) for bar, colour in zip(bars[1:], colours, strict=True))
    title = " ".join(figure.get_suptitle().split())
    assert title == SUMMARY


def test_nothing_in_the_figure_overlaps_or_leaves_it(make_record):
    slugs = [f"{chapter}/{i}" for chapter in CHAPTERS for i in range(3)]
    figure = figures.evidence_state([make_record(slug) for slug in slugs], CHAPTERS)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    for i, box in enumerate(boxes):
        assert 0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert 0 <= box.y0 < box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_the_figure_in_words(records):
    assert " ".join(figures.state_in_words(records, CHAPTERS).split()) == (
        f"{SUMMARY}. "
        "Diffusion, 1 of 4 papers: 1 reproduced, 0 inconclusive, 0 contradicted. Growing, 1 paper to come. "
        "Continual <learning>, 2 of 2 papers: 2 reproduced, 2 inconclusive, 1 contradicted."
    )


def test_a_glued_picture_keeps_its_description(records):
    picture = figures.glued(figures.evidence_state(records, CHAPTERS), "state", 'three "<bars>"')
    data, metadata = picture._repr_mimebundle_()
    assert metadata["scrapbook"] == {"name": "state", "mime_prefix": ""}
    assert "image/png" not in data  # another page would paste it in place of the HTML, without the description
    image = BeautifulSoup(data["text/html"], "html.parser").img
    assert image["alt"] == 'three "<bars>"'
    assert image["src"].startswith("data:image/png;base64,")


def test_no_records_and_strange_chapters_are_refused(records):
    for draw in (figures.scoreboard, lambda none: figures.evidence_state(none, CHAPTERS)):
        with pytest.raises(ValueError, match="there are no records to show; `stages run SLUG"):
            draw([])
    with pytest.raises(ValueError, match="continual/one is of no chapter; the chapters are diffusion"):
        figures.evidence_state(records, {"diffusion": ("Diffusion", 4)})
