"""The scoreboard's menus in a real browser, and the chapters that the tools and the package know."""

import re

import check
import matplotlib.pyplot as plt
import pytest
from playwright.sync_api import expect

from stages import figures
from stages.evidence import Record
from stages.figures.style import contrast
from stages.papers import CHAPTERS

CLAIM = {"metric": "accuracy (%)", "comparison": "a > b", "kind": "superiority", "margin": 1, "reported": "+4"}
FOUND = {"effect": 4.0, "low": 3.0, "high": 5.0, "p": 0.01, "p_holm": 0.02, "seeds": 10, "setting": ""}
VERDICTS = ["reproduced", "inconclusive", "contradicted", "reproduced"]
WIDTHS = {"desktop": 1280, "phone": 380}


def record(slug, count):
    text = "A claim of an ordinary length, which takes up more than one line on the page of a phone."
    rows = [CLAIM | FOUND | {"key": f"C{i}", "text": text, "verdict": VERDICTS[i]} for i in range(count)]
    return Record(slug, f"Paper {slug}", "full", {}, [0, 1], [], [], rows, "cpu", 1, 1.0, {}, "x", "then")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A page with two boards: one of seven claims, one of two."""
    titles = {chapter: title for chapter, (title, _) in CHAPTERS.items()}
    one = figures.scoreboard([record("continual/one", 4), record("vision_language/two", 3)], titles)
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
    count = board.get_by_role("status")
    expect(count).to_have_text("7 of 7 claims")
    board.get_by_label("Verdict").select_option("reproduced")
    expect(count).to_have_text("3 of 7 claims")
    assert [row.get_attribute("data-verdict") for row in rows.all()] == ["reproduced"] * 3
    board.get_by_label("Chapter").select_option(label="Adapting vision-language models (3)")
    expect(count).to_have_text("1 of 7 claims")
    expect(rows).to_have_count(1)
    expect(papers).to_have_count(1)
    expect(papers).to_contain_text("Paper vision_language/two")
    board.get_by_label("Verdict").select_option("all")
    board.get_by_label("Chapter").select_option("all")
    expect(rows).to_have_count(7)
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
    claim, finding = (board.locator(f"tr[data-verdict] {cell}").first.bounding_box() for cell in ("th", "td"))
    assert finding["y"] >= claim["y"] + claim["height"]


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_menus_and_badges_are_readable(visit, theme):
    page = visit(WIDTHS["desktop"])
    page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    for element in page.locator(".stages-board").first.locator("select, .verdict").all():
        shades = element.evaluate("e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor]")
        one, other = (tuple(int(part) / 255 for part in re.findall(r"\d+", shade)[:3]) for shade in shades)
        assert contrast(one, other) >= 4.5


@pytest.mark.browser
def test_without_scripts_every_claim_is_there(visit):
    page = visit(WIDTHS["desktop"], java_script_enabled=False)
    expect(page.locator("tr[data-verdict]:visible")).to_have_count(9)
    expect(page.locator(".stages-board form:visible")).to_have_count(0)


def test_tools_and_package_know_the_same_chapters():
    assert list(CHAPTERS) == check.CHAPTERS
