"""The rendered book in a real browser, at the widths of a desktop and a phone, with every other network cut off.

BOOK_HTML names another folder than `_build/html`, with the rendered pages of a book whose `_toc.yml` lies two above.
"""

import os
import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import check
import pytest
from playwright.sync_api import expect

from stages.figures.style import contrast

BOOK = Path(os.environ.get("BOOK_HTML", check.ROOT / "_build/html")).resolve()
PAGES = check.toc(BOOK.parents[1])
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 380, "height": 780}
PAGE_BYTES = 3_000_000
# sphinx-thebe, which Jupyter Book always loads, declares its settings twice. Nothing in the book uses it.
HARMLESS = "Identifier 'THEBE_JS_URL' has already been declared"

pytestmark = pytest.mark.browser
every_page = pytest.mark.parametrize("name", PAGES)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Print nothing: pytest shows what went wrong."""


@pytest.fixture(scope="module")
def address():
    """The book's address on a server of its own."""
    if not (BOOK / "index.html").is_file():
        pytest.fail(f"there is no rendered book in {BOOK}: run `make book`")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(BOOK))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def visit(browser, address):
    """Return a function that opens a page; what goes wrong on it, a request elsewhere included, fails the test."""
    troubles, contexts = [], []

    def watch(route):
        if route.request.url.startswith((address, BOOK.as_uri())):
            route.continue_()
        else:
            troubles.append(f"asks for {route.request.url}")
            route.abort()

    def opened(name, base=address, query="", **options):
        contexts.append(browser.new_context(**({"viewport": DESKTOP} | options)))
        contexts[-1].route(re.compile("^(https?|file|wss?):"), watch)
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: error.message == HARMLESS or troubles.append(error.message))
        page.on("console", lambda said: said.type == "error" and troubles.append(said.text))
        page.on("requestfailed", lambda request: troubles.append(f"{request.url}: {request.failure}"))
        page.on("response", lambda answer: answer.ok or troubles.append(f"{answer.url}: {answer.status}"))
        page.goto(f"{base}/{name}.html{query}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not troubles


def source(name):
    return (BOOK / f"{name}.html").read_text("utf-8")


def with_element(pattern):
    """The pages whose HTML matches `pattern`; without any, the first page, on which the test then fails."""
    found = [name for name in PAGES if (BOOK / f"{name}.html").is_file() and re.search(pattern, source(name))]
    return pytest.mark.parametrize("name", found or PAGES[:1])


def colours(locator):
    """Return the text colour of each element and the colour behind it, both as triples in [0, 1]; each pair once."""
    found = locator.evaluate_all(  # at once: asked one by one, the elements of a long page take minutes
        """elements => elements.map(element => {
            const found = [getComputedStyle(element).color];
            for (let box = element; box; box = box.parentElement) found.push(getComputedStyle(box).backgroundColor);
            return found;
        })"""
    )
    pairs = set()
    for text, *layers in set(map(tuple, found)):
        behind = (1.0, 1.0, 1.0)
        for layer in reversed(layers):
            *shade, alpha = [*rgba(layer), 1.0][:4]
            behind = tuple(alpha * new + (1 - alpha) * old for new, old in zip(shade, behind, strict=True))
        pairs.add((rgba(text)[:3], behind))
    return pairs


def ground(page):
    """Return how light a page's ground is, from 0 to 3."""
    [(_, behind)] = colours(page.locator("body"))
    return sum(behind)


def rgba(colour):
    red, green, blue, *alpha = map(float, re.findall(r"[\d.]+", colour))
    return (red / 255, green / 255, blue / 255, *alpha)


@every_page
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_page_loads_fits_and_shows_all_its_pictures(visit, name, viewport):
    page = visit(name, viewport=viewport)
    expect(page.locator("article h1").first).to_be_visible()
    scrolls = "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)"
    assert page.evaluate(scrolls) <= viewport["width"]
    for image in page.locator("main img").all():
        what = image.evaluate("image => image.outerHTML.slice(0, 200)")
        image.evaluate("async image => { image.loading = 'eager'; await image.decode() }")
        assert image.evaluate("image => image.naturalWidth") > 0, what
        assert (image.get_attribute("alt") or "").strip(), what


@every_page
def test_a_page_and_its_pictures_are_light(visit, name):
    page = visit(name)
    sources = page.locator("main img").evaluate_all("images => images.map(image => image.src)")
    files = {BOOK / unquote(urlsplit(url).path).lstrip("/") for url in sources if url.startswith("http")}
    assert len(source(name).encode()) + sum(file.stat().st_size for file in files) <= PAGE_BYTES


@every_page
def test_text_is_readable_by_day_and_by_night(visit, name):
    page = visit(name, color_scheme="light")
    seen = {}
    for theme in ("light", "dark"):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        words = page.locator("main p, main li, main td, main th, main figcaption").locator("visible=true")
        shades = colours(words)
        assert shades
        assert not [pair for pair in shades if contrast(*pair) < 4.5]
        seen[theme] = ground(page)
        for image in page.locator("main .cell_output img").locator("visible=true").all():
            look = image.evaluate("image => getComputedStyle(image).filter")
            assert re.fullmatch(r"none|brightness\(0?\.[89]\d*\)|brightness\(1\)", look), look
    assert seen["light"] > 2.5 > 0.5 > seen["dark"]


def test_the_button_and_the_system_switch_to_dark(visit):
    page = visit("index", color_scheme="dark")
    assert ground(page) < 0.5
    button, seen = page.locator("button.theme-switch-button").locator("visible=true").first, set()
    for _ in range(3):
        button.click()
        seen.add((page.locator("html").get_attribute("data-theme"), ground(page) > 2.5))
    assert seen == {("light", True), ("dark", False)}


@with_element('type="range"')
@pytest.mark.parametrize("base", ["server", "file"])
def test_every_slider_moves_by_keyboard(visit, name, base):
    page = visit(name, **({"base": BOOK.as_uri()} if base == "file" else {}))
    sliders = page.locator(".stages-slider")
    assert 0 < sliders.count() == page.locator("main input[type=range]").count()
    for slider in sliders.all():
        control, picture = slider.locator("[type=range]"), slider.locator("img:visible")
        seen = []
        control.focus()
        page.keyboard.press("Home")
        for _ in range(int(control.get_attribute("max")) + 1):
            expect(picture).to_have_count(1)
            seen.append((slider.locator("output").inner_text(), picture.get_attribute("src")))
            page.keyboard.press("ArrowRight")
        assert len({label for label, _ in seen}) == len({src for _, src in seen}) == len(seen)


@with_element('class="[^"]*solution[^"]*dropdown')
def test_every_folded_solution_opens(visit, name):
    page = visit(name)
    solutions = page.locator(".solution.dropdown").all()
    assert solutions
    for solution in solutions:
        body = solution.locator("section, .section").first
        expect(body).not_to_be_visible()
        solution.locator("summary, button").first.click()
        expect(body).to_be_visible()


@with_element('class="math ')
def test_maths_is_set_without_a_network(visit, name):
    page = visit(name)
    expect(page.locator("main mjx-container").first).to_be_visible()
    expect(page.locator("main mjx-merror")).to_have_count(0)
    page.wait_for_function("[...document.querySelectorAll('main .math')].every(m => m.querySelector('mjx-container'))")


def test_the_search_finds_forgetting(visit):
    page = visit("search", query="?q=forgetting")
    expect(page.locator("#search-results li a").first).to_be_visible()
    assert page.locator("#search-results li").filter(has_text="orgetting").count()


@every_page
def test_every_link_within_the_book_leads_to_its_place(visit, name):
    page = visit(name)
    links = page.locator("main a[href]").evaluate_all("links => links.map(link => link.href)")
    for link in {link for link in links if link.startswith("http://127.0.0.1")}:
        parts = urlsplit(link)
        file = BOOK / unquote(parts.path).lstrip("/")
        assert file.is_file(), link
        if parts.fragment and file.suffix == ".html":
            assert f'id="{unquote(parts.fragment)}"' in file.read_text("utf-8"), link


def test_the_contents_list_every_page(visit):
    page = visit("index")
    links = page.locator("nav.bd-links a[href]").evaluate_all("links => links.map(link => link.href)")
    listed = {unquote(urlsplit(link).path).lstrip("/").removesuffix(".html") for link in links}
    assert set(PAGES) <= listed | {"index"}
