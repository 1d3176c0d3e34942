"""The rendered book: its files, and each page in a real browser with every other network cut off.

A desktop and a phone visit each page once, and all that can be seen on it is checked in that visit; a page with sliders
is opened from its file as well. Links, weights and the contents are read from the files. BOOK_HTML names another folder
than `_build/html`, with the rendered pages of a book whose `_toc.yml` lies two above.
"""

import os
import re
import threading
from functools import cache, partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import check
import pytest
from playwright.sync_api import expect

from stages.figures.style import contrast

BOOK = Path(os.environ.get("BOOK_HTML", check.ROOT / "_build/html")).resolve()
PAGES = check.toc(BOOK.parents[1])
DESKTOP, PHONE = (1200, 900), (390, 844)
PAGE_BYTES = 3_000_000
WATCHED = ("http:", "https:", "ws:", "wss:", "file:")
# sphinx-thebe, which Jupyter Book always loads, declares its settings twice. Nothing in the book uses it.
HARMLESS = "Identifier 'THEBE_JS_URL' has already been declared"

every_page = pytest.mark.parametrize("name", PAGES)


# ------------------------------------------------------------------------------------------------- without a browser


class Source(HTMLParser):
    """What a page's HTML says: its links and pictures, those of the contents apart, and the places to link to."""

    def __init__(self, text):
        super().__init__()
        self.places, self.links, self.pictures, self.contents, self.within = set(), [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.places.add(found.get("id"))
        if tag == "main":
            self.within = "main"
        elif tag == "nav" and "bd-links" in found.get("class", ""):
            self.within = "contents"
        elif tag == "a" and found.get("href") and self.within:
            (self.links if self.within == "main" else self.contents).append(found["href"])
        elif tag == "img" and self.within == "main":
            self.pictures.append(found.get("src") or "")

    def handle_endtag(self, tag):
        if (tag, self.within) in {("main", "main"), ("nav", "contents")}:
            self.within = ""


@cache
def read(path):
    if not path.is_file():
        pytest.fail(f"there is no {path}: run `make book`")
    return Source(path.read_text("utf-8"))


def page_file(name):
    return BOOK / f"{name}.html"


def target(name, link):
    """Return the file and the place in it that a page's link leads to; no file when it leaves the book."""
    parts = urlsplit(urljoin(f"/{name}.html", link))
    return (None if parts.scheme or parts.netloc else BOOK / unquote(parts.path).lstrip("/")), unquote(parts.fragment)


@every_page
def test_every_link_within_the_book_leads_to_its_place(name):
    lost = []
    for link in set(read(page_file(name)).links):
        file, place = target(name, link)
        if file and not (file.is_file() and (not place or file.suffix != ".html" or place in read(file).places)):
            lost.append(link)
    assert not lost, f"{name}: these links lead nowhere: {lost}"


@every_page
def test_a_page_and_its_pictures_are_light(name):
    files = {file for file, _ in (target(name, picture) for picture in read(page_file(name)).pictures) if file}
    weight = sum(file.stat().st_size for file in {page_file(name), *files})
    assert weight <= PAGE_BYTES, f"{name}: {weight} bytes with its {len(files)} files of pictures"


def test_the_contents_list_every_page():
    index = read(BOOK / "index.html")
    listed = {target("index", link)[0] for link in index.contents} | {BOOK / "index.html"}
    assert not [name for name in PAGES if page_file(name) not in listed]


def with_element(pattern):
    """The pages whose HTML matches `pattern`; without any, the first page, on which the test then fails."""
    written = [name for name in PAGES if page_file(name).is_file()]
    found = [name for name in written if re.search(pattern, page_file(name).read_text("utf-8"))]
    return pytest.mark.parametrize("name", found or PAGES[:1])


@pytest.mark.parametrize(
    "pattern", ['type="range"', 'class="[^"]*solution[^"]*dropdown', 'class="math ', "cell_output"]
)
def test_what_a_visit_looks_at_is_somewhere_in_the_book(pattern):
    assert any(re.search(pattern, page_file(name).read_text("utf-8")) for name in PAGES)


@every_page
def test_equations_count_from_one_as_the_listings_do(name):
    numbers = re.findall(r'class="eqno">\((\d+)\)', page_file(name).read_text("utf-8"))
    assert [int(number) for number in numbers] == list(range(1, len(numbers) + 1))


# ----------------------------------------------------------------------------------------------------------- visits


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Print nothing: pytest shows what went wrong."""

    def end_headers(self):
        """Let the browser keep what it has fetched."""
        self.send_header("Cache-Control", "max-age=3600")
        super().end_headers()


@pytest.fixture(scope="module")
def address():
    """The book's address on a server of its own."""
    if not (BOOK / "index.html").is_file():
        pytest.fail(f"there is no rendered book in {BOOK}: run `make book`")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(BOOK))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def troubles():
    """What went wrong during the present visit."""
    return []


@pytest.fixture(scope="module")
def screens(browser, address, troubles):
    """Return a function that gives a screen of a size and a colour scheme.

    It goes from page to page as a reader's does, so that what the pages share is fetched and compiled once.
    """
    opened = {}

    def asked(request):
        if request.url.startswith(WATCHED) and not request.url.startswith((address, BOOK.as_uri())):
            troubles.append(f"asks for {request.url}")

    def failed(request):
        if request.failure != "net::ERR_ABORTED":  # the page before was still asking when this one came
            troubles.append(f"{request.url}: {request.failure}")

    def screen(size, scheme, base):
        if (size, scheme, base) not in opened:
            width, height = size
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
            page = opened[size, scheme, base] = context.new_page()
            page.on("pageerror", lambda error: error.message == HARMLESS or troubles.append(error.message))
            page.on("console", lambda said: said.type == "error" and troubles.append(said.text))
            page.on("request", asked)
            page.on("websocket", asked)
            page.on("requestfailed", failed)
            page.on("response", lambda answer: answer.status < 400 or troubles.append(f"{answer.url}: {answer.status}"))
        return opened[size, scheme, base]

    yield screen
    for page in opened.values():
        page.context.close()


@pytest.fixture
def visit(screens, address, troubles):
    """Return a function that opens a page; what goes wrong on it, a request elsewhere included, fails the test."""
    troubles.clear()

    def opened(name, size=DESKTOP, scheme="light", base=address, query=""):
        page = screens(size, scheme, base)
        page.goto(f"{base}/{name}.html{query}")
        return page

    yield opened
    assert not troubles


@pytest.mark.browser
@every_page
def test_on_a_desktop_a_page_shows_all_it_has_and_reads_by_day_and_night(visit, name):
    page = visit(name)
    faults = [*heading(page), *width(page, DESKTOP), *sliders(page), *solutions(page)]
    unfold(page)
    faults += [*pictures(page), *maths(page), *width(page, DESKTOP), *words(page)]
    assert not faults, f"{name} on a desktop: {faults}"


@pytest.mark.browser
@every_page
def test_on_a_phone_a_page_fits_and_shows_all_it_has(visit, name):
    page = visit(name, PHONE)
    faults = [*heading(page), *width(page, PHONE)]
    unfold(page)
    faults += [*pictures(page), *maths(page), *width(page, PHONE)]
    assert not faults, f"{name} on a phone: {faults}"


@pytest.mark.browser
@with_element('type="range"')
def test_sliders_move_without_a_server(visit, name):
    page = visit(name, base=BOOK.as_uri())
    assert page.locator(".stages-slider").count(), f"{name} has no slider"
    faults = list(sliders(page))
    assert not faults, f"{name} as a file: {faults}"


@pytest.mark.browser
def test_the_button_and_the_system_switch_to_dark(visit):
    page = visit("index", scheme="dark")
    assert ground(page) < 0.5
    button, seen = page.locator("button.theme-switch-button").locator("visible=true").first, set()
    for _ in range(3):
        button.click()
        seen.add((page.locator("html").get_attribute("data-theme"), ground(page) > 2.5))
    assert seen == {("light", True), ("dark", False)}


@pytest.mark.browser
def test_the_search_finds_forgetting(visit):
    page = visit("search", query="?q=forgetting")
    expect(page.locator("#search-results li a").first).to_be_visible()
    assert page.locator("#search-results li").filter(has_text="orgetting").count()


# ----------------------------------------------------- what is looked at in a visit: each yields the faults it finds


def heading(page):
    title = page.locator("article h1").first
    if not title.is_visible():
        yield "no heading is seen"


def width(page, size):
    """What makes a page wider than its screen, and boxes that cut off a part of what is in them."""
    wide = page.evaluate("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)")
    if wide > size[0]:
        yield f"{wide} pixels wide on a screen of {size[0]}"
    cut = page.locator("main .admonition").evaluate_all(
        """boxes => boxes.filter(b => getComputedStyle(b).overflowX === 'hidden' && b.scrollWidth > b.clientWidth)
            .map(b => b.textContent.trim().replace(/\\s+/g, ' ').slice(0, 80))"""
    )
    yield from (f"a box that cuts off what is in it: {said}" for said in cut)


def unfold(page):
    """Open whatever is folded, without a click."""
    page.evaluate(
        """() => {
            for (const folded of document.querySelectorAll('main details')) folded.open = true;
            for (const button of document.querySelectorAll('main .toggle-button-hidden')) button.click();
        }"""
    )


def pictures(page):
    found = page.locator("main img").evaluate_all(
        """images => Promise.all(images.map(async image => {
            image.loading = 'eager';
            const seen = await image.decode().then(() => image.naturalWidth > 0, () => false);
            return [image.outerHTML.slice(0, 200), seen, (image.alt || '').trim() !== ''];
        }))"""
    )
    for what, seen, described in found:
        if not seen:
            yield f"a picture that does not show: {what}"
        if not described:
            yield f"a picture without a description: {what}"


def maths(page):
    """Formulas that MathJax, which comes with the book, has not set, or not without an error."""
    raw = page.evaluate(
        """async () => {
            const formulas = [...document.querySelectorAll('main .math')];
            if (formulas.length && window.MathJax?.startup) await MathJax.startup.promise;
            const fine = set => set && set.getBoundingClientRect().width > 0 && !set.querySelector('mjx-merror');
            return formulas.filter(one => !fine(one.querySelector('mjx-container'))).map(one => one.textContent);
        }"""
    )
    yield from (f"a formula that is not set: {text.strip()[:100]}" for text in raw)


def sliders(page):
    """Move every slider through all its positions: each has one picture and one label of its own."""
    found = page.locator(".stages-slider")
    ranges = page.locator("main input[type=range]").count()
    if found.count() != ranges:
        yield f"{found.count()} sliders, {ranges} ranges"
    look = """slider => [slider.querySelector('output').innerText,
                         ...[...slider.querySelectorAll('img')].filter(i => i.checkVisibility()).map(i => i.src)]"""
    for slider in found.all():
        control, seen = slider.locator("[type=range]"), []
        control.focus()
        page.keyboard.press("Home")
        for _ in range(int(control.get_attribute("max")) + 1):
            seen.append(slider.evaluate(look))
            page.keyboard.press("ArrowRight")
        labels, frames = ({moment[i] for moment in seen if len(moment) == 2} for i in (0, 1))
        if not len(labels) == len(frames) == len(seen):
            name = control.get_attribute("aria-label") or control.get_attribute("id")
            yield f"the slider {name} has {len(labels)} labels and {len(frames)} pictures at {len(seen)} positions"


def solutions(page):
    """Every folded solution opens with a click."""
    for number, solution in enumerate(page.locator(".solution.dropdown").all(), 1):
        body = solution.locator("section, .section").first
        if body.is_visible():
            yield f"solution {number} is open from the start"
        solution.locator("summary, button").first.click()
        if not body.is_visible():
            yield f"solution {number} does not open"


def words(page):
    """Words that are hard to read by day or at night, and pictures that the night changes too much."""
    grounds = {}
    for theme in ("light", "dark"):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        grounds[theme] = ground(page)
        shades = colours(page.locator("main p, main li, main td, main th, main figcaption"))
        if not shades:
            yield "no words are seen"
        for (text, behind), said in shades.items():
            if (found := contrast(text, behind)) < 4.5:
                yield f"a contrast of {found:.1f} in the {theme} theme: {said}"
        looks = page.locator("main .cell_output img").evaluate_all(
            "images => images.filter(i => i.checkVisibility()).map(i => getComputedStyle(i).filter)"
        )
        for look in set(looks):
            if not re.fullmatch(r"none|brightness\(0?\.[89]\d*\)|brightness\(1\)", look):
                yield f"a picture's filter in the {theme} theme: {look}"
    if not grounds["light"] > 2.5 > 0.5 > grounds["dark"]:
        yield f"grounds of lightness {grounds}, from 0 to 3"


def colours(locator):
    """Return pairs of a text's colour and the colour behind it, triples in [0, 1], each with words that are so."""
    found = locator.evaluate_all(  # at once: asked one by one, the elements of a long page take minutes
        """elements => elements.filter(e => e.checkVisibility({visibilityProperty: true})).map(element => {
            const found = [element.textContent.trim().slice(0, 80), getComputedStyle(element).color];
            for (let box = element; box; box = box.parentElement) found.push(getComputedStyle(box).backgroundColor);
            return found;
        })"""
    )
    pairs = {}
    for said, text, *layers in found:
        behind = (1.0, 1.0, 1.0)
        for layer in reversed(layers):
            *shade, alpha = [*rgba(layer), 1.0][:4]
            behind = tuple(alpha * new + (1 - alpha) * old for new, old in zip(shade, behind, strict=True))
        pairs.setdefault((rgba(text)[:3], behind), said)
    return pairs


def ground(page):
    """Return how light a page's ground is, from 0 to 3."""
    [(_, behind)] = colours(page.locator("body"))
    return sum(behind)


@cache
def rgba(colour):
    red, green, blue, *alpha = map(float, re.findall(r"[\d.]+", colour))
    return (red / 255, green / 255, blue / 255, *alpha)
