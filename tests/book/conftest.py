import shutil

import pytest
from playwright.sync_api import sync_playwright

CUT_OFF = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"  # no network but this machine's own servers


@pytest.fixture(scope="module")
def browser():
    """A browser for the tests of a module: Playwright's event loop must not outlive them."""
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        pytest.fail(f"no {', '.join(names)} here; on Debian and Ubuntu: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", CUT_OFF])
        yield browser
        browser.close()


@pytest.fixture
def visit_alone(browser):
    """Return a function that opens a file that stands by itself: nothing may be fetched, no script may complain."""
    troubles, contexts = [], []

    def opened(address, **options):
        context = browser.new_context(**({"viewport": {"width": 1200, "height": 900}, "offline": True} | options))
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda message: troubles.append(message.text))
        page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else troubles.append(r.url))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not troubles
