"""The scoreboard's menus in a real browser, and the chapters that the tools and the package know."""

import re

import check
import matplotlib.pyplot as plt
import pytest
from playwright.sync_api import expect

from stages import figures
from stages.catalogue import CHAPTERS
from stages.evidence import Record
from stages.figures.style import contrast

CLAIM = {"metric": "accuracy (%)", "comparison": "a > b", "kind": "superiority", "margin": 1, "reported": "+4"}
FOUND = {"effect": 4.0, "low": 3.0, "high": 5.0, "level": 0.99, "seeds": 10, "setting": ""}
VERDICTS = ["reproduced", "inconclusive", "contradicted", "reproduced"]
GATE = {"name": "the base model works", "value": 61.0, "bound": "at least 90", "met": False}
WIDTHS = {"desktop": 1200, "phone": 390}


def record(slug, count, gates=()):
    text = "A claim of an ordinary length, which takes up more than one line on the page of a phone."
    rows = [
        CLAIM | FOUND | {"key": f"C{i}", "text": text, "verdict": VERDICTS[i], "origin": "ours" if i == 3 else "paper"}
        for i in range(count)
    ]
    return Record(
        paper=slug, title=f"Paper {slug}", arxiv="2000.00001", year=2020, profile="full", settings={}, seeds=[0, 1],
        scores=[], curves=[], claims=rows, also=[], gates=list(gates), deviations=[], probe=[], probe_settings={},
        device="cpu", threads=1, seconds=1.0, versions={}, created="then",
    )  # fmt: skip


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A page with two boards: one of seven claims, one of two."""
    titles = {chapter: title for chapter, (title, _) in CHAPTERS.items()}
    one = figures.scoreboard([record("continual/one", 4, [GATE]), record("vision_language/two", 3)], titles)
    two = figures.scoreboard([record("diffusion/three", 2)], titles)
    plt.close("all")
    page = tmp_path_factory.mktemp("scoreboard") / "page.html"
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    dark = "<style>html[data-theme=dark]{background:#121212}</style>"
    page.write_text(f"{head}<title>t</title>{dark}<body>{one.html}{two.html}", encoding="utf-8")
    return page.as_uri()


@pytest.fixture
def visit(visit_alone, address):
    """Return a function that opens the page by itself, so many pixels wide."""
    return lambda width, **options: visit_alone(address, viewport={"width": width, "height": 800}, **options)


every_width = pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)


@pytest.mark.browser
@every_width
def test_choosing_hides_the_other_claims_and_counts_the_rest(visit, width):
    page = visit(width)
    board, other = page.locator(".stages-board").all()
    rows, papers = board.locator("tr[data-verdict]:visible"), board.locator("tr.paper:visible")
    chapters, count = board.locator("details.chapter:visible"), board.get_by_role("status")
    expect(count).to_have_text("7 of 7 claims")
    expect(chapters).to_have_count(2)
    expect(rows).to_have_count(0)  # folded
    board.get_by_label("Verdict").select_option("reproduced")
    expect(count).to_have_text("3 of 7 claims")
    assert [row.get_attribute("data-verdict") for row in rows.all()] == ["reproduced"] * 3
    board.get_by_label("Chapter").select_option(label="Adapting vision-language models (3)")
    expect(count).to_have_text("1 of 7 claims")
    expect(rows).to_have_count(1)
    expect(chapters).to_have_count(1)
    expect(papers).to_have_count(1)
    expect(papers).to_contain_text("Paper vision_language/two")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    board.get_by_label("Verdict").select_option("all")
    expect(rows).to_have_count(3)
    board.get_by_label("Chapter").select_option("all")
    expect(count).to_have_text("7 of 7 claims")
    expect(chapters).to_have_count(2)
    expect(rows).to_have_count(0)
    chapters.first.locator("summary").click()
    expect(rows).to_have_count(4)
    expect(other.get_by_role("status")).to_have_text("2 of 2 claims")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.browser
def test_the_keyboard_chooses(visit):
    board = visit(WIDTHS["desktop"]).locator(".stages-board").first
    board.get_by_label("Verdict").focus()
    board.page.keyboard.press("ArrowDown")
    board.page.keyboard.press("ArrowDown")
    expect(board.get_by_role("status")).to_have_text("2 of 7 claims")


@pytest.mark.browser
def test_on_a_phone_rows_are_cards_and_menus_are_large_enough_for_a_finger(visit):
    board = visit(WIDTHS["phone"]).locator(".stages-board").first
    menus = [board.get_by_label(name).bounding_box() for name in ("Verdict", "Chapter")]
    assert all(menu["height"] >= 32 for menu in menus)
    board.locator("summary").first.click()
    claim, finding = (board.locator(f"tr[data-verdict] {cell}").first.bounding_box() for cell in ("th", "td"))
    assert finding["y"] >= claim["y"] + claim["height"]


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_is_readable(visit, theme):
    page = visit(WIDTHS["desktop"])
    page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    board = page.locator(".stages-board").first
    board.locator("summary").first.click()
    ground = {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 18, 18)"}[theme]
    seen = board.locator("select, .verdict, .told, summary, summary small, .alarm, .own, th small, td small, .effect")
    assert {"verdict", "own", "alarm"} <= {element.get_attribute("class") for element in seen.all()}
    for element in seen.all():
        shades = element.evaluate("e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor]")
        shades = [ground if shade == "rgba(0, 0, 0, 0)" else shade for shade in shades]
        one, other = (tuple(int(part) / 255 for part in re.findall(r"\d+", shade)[:3]) for shade in shades)
        assert contrast(one, other) >= 4.5


@pytest.mark.browser
@every_width
def test_a_bar_is_drawn_in_its_cell(visit, width):
    board = visit(width).locator(".stages-board").first
    board.locator("summary").first.click()
    cell, goal, dot = (
        board.locator(f"tr[data-verdict] {part}").first.bounding_box() for part in ("td", ".goal", ".dot")
    )
    assert goal["width"] > 0.4 * cell["width"]  # the scale runs from 0 to 5, and the goal begins at 1
    assert goal["x"] < dot["x"] < dot["x"] + dot["width"] < goal["x"] + goal["width"] <= cell["x"] + cell["width"] + 1


@pytest.mark.browser
def test_without_scripts_every_claim_is_there(visit):
    page = visit(WIDTHS["desktop"], java_script_enabled=False)
    expect(page.locator(".stages-board form:visible")).to_have_count(0)
    for summary in page.locator("summary").all():
        summary.click()
    expect(page.locator("tr[data-verdict]:visible")).to_have_count(9)


def test_tools_and_package_know_the_same_chapters():
    assert list(CHAPTERS) == list(check.CHAPTERS)
