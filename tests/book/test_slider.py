"""The slider's HTML in a real browser, from a file: URL, with the network cut off."""

from functools import partial

import matplotlib.pyplot as plt
import pytest
from playwright.sync_api import expect

from stages import figures

pytestmark = pytest.mark.browser
LABELS = ["none", "some", "most", "all"]


def coloured(shade):
    return plt.figure(figsize=(4, 2), facecolor=shade)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A page with a plain slider and one with a switch."""
    with figures.style():
        plain = figures.slider(
            [coloured(c) for c in ("red", "green", "blue", "black")],
            LABELS, title="Share", alt=["a red page", "a green page", "a blue page", "a black page"], default=1,
        )  # fmt: skip
        series = {name: [coloured(c) for c in shades.split()] for name, shades in
                  {"warm": "red orange gold pink", "cool": "blue navy teal cyan"}.items()}  # fmt: skip
        alts = {"warm": ["red", "orange", "gold", "pink"], "cool": ["blue", "navy", "teal", "cyan"]}
        switched = figures.slider(series, LABELS, title="Depth", alt=alts, switch="Colours are")
    page = tmp_path_factory.mktemp("slider") / "page.html"
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    page.write_text(f"{head}<title>t</title><body>{plain.html}{switched.html}{plain.html}", encoding="utf-8")
    return page.as_uri()


@pytest.fixture
def visit(visit_alone, address):
    """Return a function that opens the page by itself."""
    return partial(visit_alone, address)


def picture(page, slider=0):
    """Return the alt text of the one picture that is seen, and make sure that its pixels are there."""
    seen = page.locator(".stages-slider").nth(slider).locator("img:visible")
    expect(seen).to_have_count(1)
    assert seen.evaluate("image => image.complete && image.naturalWidth") == 528
    return seen.get_attribute("alt")


def label(page, slider=0):
    return page.locator(".stages-slider output").nth(slider).inner_text()


def test_the_mouse_moves_the_picture(visit):
    page = visit()
    assert (picture(page), label(page)) == ("a green page", "some")
    box = page.get_by_role("slider", name="Share").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 3, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 3, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    assert (picture(page), label(page)) == ("a black page", "all")
    assert picture(page, 1) == "red"
    assert picture(page, 2) == "a green page"


def test_the_keyboard_moves_the_picture_and_says_so(visit):
    page = visit()
    control = page.get_by_role("slider", name="Share").first
    control.focus()
    page.keyboard.press("ArrowRight")
    assert (picture(page), label(page)) == ("a blue page", "most")
    expect(control).to_have_attribute("aria-valuetext", "most")
    page.keyboard.press("Home")
    assert (picture(page), label(page)) == ("a red page", "none")
    page.keyboard.press("Enter")  # must not submit the form, which would load the page again
    assert picture(page) == "a red page"


def test_a_finger_moves_the_picture_on_a_phone(visit):
    page = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    box = page.get_by_role("slider", name="Share").first.bounding_box()
    assert box["height"] >= 32
    page.touchscreen.tap(box["x"] + box["width"] - 4, box["y"] + box["height"] / 2)
    assert (picture(page), label(page)) == ("a black page", "all")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_switch_changes_the_series_and_keeps_the_position(visit):
    page = visit()
    page.get_by_role("slider", name="Depth").focus()
    page.keyboard.press("End")
    assert picture(page, 1) == "pink"
    page.get_by_label("cool").check()
    assert (picture(page, 1), label(page, 1)) == ("cyan", "all")
    page.get_by_label("warm").focus()
    page.keyboard.press("ArrowDown")
    assert page.get_by_label("warm").is_checked() != page.get_by_label("cool").is_checked()
    page.get_by_label("warm").check()
    assert picture(page, 1) == "pink"


def test_without_scripts_the_default_frame_stands_alone(visit):
    page = visit(java_script_enabled=False)
    assert page.locator("img:visible").count() == 3
    assert page.locator("img:visible").first.get_attribute("alt") == "a green page"
    assert page.locator("input:visible").count() == 0


def test_html_put_in_by_a_script_works_too(visit):
    """As JupyterLab does it: the markup first, its scripts revived afterwards."""
    page = visit()
    page.evaluate(
        """() => {
            const old = document.querySelector('.stages-slider'), box = document.createElement('div');
            box.innerHTML = old.outerHTML.replace('data-ready=""', '');
            document.body.replaceChildren(box);
            for (const script of box.querySelectorAll('script')) {
                const copy = document.createElement('script');
                copy.textContent = script.textContent;
                script.replaceWith(copy);
            }
        }"""
    )
    page.get_by_role("slider", name="Share").focus()
    page.keyboard.press("End")
    assert picture(page) == "a black page"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_are_readable_by_day_and_night(visit, scheme):
    page = visit(color_scheme=scheme)
    shade = page.locator("output").first.evaluate("element => getComputedStyle(element).color")
    red = int(shade.partition("(")[2].partition(",")[0])
    assert red < 80 if scheme == "light" else red > 180
