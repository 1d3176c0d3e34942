import pytest
from bs4 import BeautifulSoup
from matplotlib.colors import same_color

from stages import figures
from stages.evidence import Record

TITLES = {"diffusion": "Diffusion", "continual": "Continual <learning>"}
CHAPTERS = {"diffusion": ("Diffusion", 4), "scaling": ("Growing", 1), "continual": ("Continual <learning>", 2)}


@pytest.fixture
def make_record(claims, record):
    """Return a function that invents a paper's record: the first `count` claims with their findings."""
    names = ("key", "text", "metric", "comparison", "kind", "margin", "reported")
    rows = [{name: getattr(c, name) for name in names} | f.row() for c, f in zip(claims, record, strict=True)]

    def made(slug, title="A paper", count=4):
        return Record(slug, title, "full", {}, list(range(10)), [], [], rows[:count], "cpu", 1, 1.0, {}, "x", "then")

    return made


@pytest.fixture
def records(make_record):
    return [
        make_record("continual/one", "One & <b>only</b>"),
        make_record("continual/two", "Two", 2),
        make_record("diffusion/three", "Three", 1),
    ]


@pytest.fixture
def page(records):
    return BeautifulSoup(figures.scoreboard(records, TITLES).html, "html.parser")


def words(element):
    return " ".join(element.get_text(" ").split())


def test_every_claim_stands_under_its_paper_in_the_order_of_the_chapters(page, claims, record):
    papers = page.find_all("tbody")
    assert [paper["data-chapter"] for paper in papers] == ["diffusion", "continual", "continual"]
    assert [paper.a["href"] for paper in papers] == ["diffusion/three.html", "continual/one.html", "continual/two.html"]
    assert words(papers[1].tr).endswith("Continual <learning> · 2 reproduced, 1 inconclusive, 1 contradicted")
    rows = papers[1].find_all("tr", attrs={"data-verdict": True})
    for claim, finding, row in zip(claims, record, rows, strict=True):
        assert row["data-verdict"] == finding.verdict
        assert words(row.th).startswith(f"{claim.key} {claim.text}")
        assert f"{figures.VERDICTS[finding.verdict].symbol} {finding.verdict}" in words(row.td)
        assert "10 seeds" in words(row.td)
    assert "+7.1 [+6.1, +8.1]" in words(rows[0].td)


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


def test_without_scripts_all_claims_stand_there_and_the_menus_do_not(page):
    assert page.form.has_attr("hidden")
    assert not page.table.find_all(hidden=True)
    assert not page.find_all(id=True)


def test_the_table_is_semantic_and_well_formed(records, read_html):
    read = read_html(figures.scoreboard(records)._repr_html_())
    assert [cell["scope"] for cell in read.all("th")].count("rowgroup") == 3
    assert " ".join(read.caption.split()) == "7 claims of 3 papers tested: 4 reproduced, 2 inconclusive, 1 contradicted"


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
        "    C1   reproduced    +7.1 [+6.1, +8.1] (10 seeds)  power law > uniform on accuracy (%)",
    ]
    assert len(lines) == 1 + 3 + 7


def artists(figure):
    return {artist.get_gid(): artist for artist in figure.axes[0].get_children() if artist.get_gid()}


def test_a_chapter_has_a_bar_of_its_verdicts(records):
    figure = figures.evidence_state(records, CHAPTERS)
    texts = [text.get_text() for text in figure.axes[0].texts]
    for said in ("1 of 4 papers", "Growing", "1 paper to come", "2 of 2 papers", "● 3", "◆ 2", "✖ 1", "● 1"):
        assert said in texts
    bars = [(round(bar.get_x()), round(bar.get_width()), bar.get_facecolor()) for bar in figure.axes[0].patches]
    assert [bar[:2] for bar in bars] == [(0, 1), (0, 3), (3, 2), (5, 1)]
    colours = [look.colour for look in figures.VERDICTS.values()]
    assert all(same_color(bar[2], colour) for bar, colour in zip(bars[1:], colours, strict=True))
    title = " ".join(figure.get_suptitle().split())
    assert title == "7 claims of 3 papers tested: 4 reproduced, 2 inconclusive, 1 contradicted"


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
        "7 claims of 3 papers tested: 4 reproduced, 2 inconclusive, 1 contradicted. "
        "Diffusion, 1 of 4 papers: 1 reproduced, 0 inconclusive, 0 contradicted. Growing, 1 paper to come. "
        "Continual <learning>, 2 of 2 papers: 3 reproduced, 2 inconclusive, 1 contradicted."
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
