import ast
import inspect
import re
import textwrap
from functools import wraps
from html import unescape
from pathlib import Path

import pytest

from stages import figures
from stages.evidence import Claim, Outcome, by_luck, interval, verdicts
from stages.figures.listings import TOKENS
from stages.figures.style import contrast
from stages.sources import without_docstrings


def shown(listing):
    """Return file names and code, as a reader of the page sees them."""
    files = [unescape(file) for file in re.findall(r"<figcaption>(.*?)</figcaption>", listing.html)]
    blocks = re.findall(r"<pre.*?><code>(.*?)</code></pre>", listing.html, re.DOTALL)
    return files, [unescape(re.sub(r"<[^>]+>", "", block)).rstrip("\n") for block in blocks]


@pytest.mark.parametrize("obj", [interval, Claim, Outcome.score, Claim.comparison])
def test_a_listing_is_the_source(obj):
    source = textwrap.dedent(inspect.getsource(getattr(obj, "fget", obj))).rstrip()
    listing = figures.listing(obj, width=88)
    assert shown(listing)[1] == [source]
    assert repr(listing) == listing.code == source


def test_files_are_named_from_the_package_on():
    files, blocks = shown(figures.listing(verdicts.interval, by_luck, Claim, width=88))
    assert files == ["stages/evidence/verdicts.py", "stages/evidence/claims.py"]
    assert blocks[0].count("\ndef ") + blocks[0].startswith("def ") == 2


def test_no_path_of_this_machine_is_shown():
    html = figures.listing(interval, Claim, shown, Path.exists, width=120).html
    assert str(Path(verdicts.__file__).parents[2]) not in html
    assert not re.search(r"<figcaption>/", html)


def test_code_is_highlighted_for_light_and_dark_pages():
    html = figures.listing(interval).html
    assert '<span class="k">def</span>' in html
    assert "html[data-theme=dark]" in html
    assert "prefers-color-scheme:dark" in html
    for outside in ("http:", "https:", "url(", "<script", "<link", "@import"):
        assert outside not in html


@pytest.mark.parametrize("token", sorted(TOKENS.keys() - {"page"}))
@pytest.mark.parametrize("dark", [0, 1])
def test_every_token_is_readable_on_its_page(token, dark):
    assert contrast(TOKENS[token][dark], TOKENS["page"][dark]) >= 4.5


@pytest.mark.parametrize("obj", [interval, Claim, Outcome])
def test_docstrings_can_be_left_out(obj):
    code = figures.listing(obj, docstring=False, width=88).code
    tree = ast.parse(code)
    assert '"""' not in code
    whole = ast.parse(textwrap.dedent(inspect.getsource(obj)))
    for node in ast.walk(whole):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body.pop(0)
    assert ast.dump(tree) == ast.dump(whole)


def test_comments_and_layout_survive_without_the_docstring():
    def sample():
        """One line."""

        x = 1  # kept

        return x

    assert figures.listing(sample, docstring=False).code == "def sample():\n    x = 1  # kept\n\n    return x"


def test_a_body_that_is_only_a_docstring_stays_a_body():
    def sample():
        """Nothing
        else."""

    assert figures.listing(sample, docstring=False).code == "def sample():\n    ..."


def test_a_comment_beside_a_docstring_stays():
    def sample(x):
        """One line."""  # eq. 3

        return x**2  # eq. 4

    class Alone:
        """Nothing else."""  # eq. 5

    code = figures.listing(sample, Alone, docstring=False).code
    assert code.splitlines() == [
        "def sample(x):", "    # eq. 3", "", "    return x**2  # eq. 4", "", "",
        "class Alone:", "    # eq. 5", "    ...",
    ]  # fmt: skip
    ast.parse(code)


@pytest.mark.parametrize("docstring", [True, False])
def test_tags_of_equations_are_on_the_page(docstring):
    def sample(x):
        """Square `x`."""
        return x**2  # eq. 3

    listing = figures.listing(sample, docstring=docstring)
    assert "    return x**2  # eq. 3" in listing.code.splitlines()
    assert "    return x**2  # eq. 3" in shown(listing)[1][0].splitlines()


def test_a_module_loses_its_docstring_and_keeps_the_rest():
    assert without_docstrings('"""What it is."""\n\nx = 1  # kept\n') == "x = 1  # kept"
    assert without_docstrings('x = """no docstring"""') == 'x = """no docstring"""'


def fits():
    return 1  # ---------------------------------------------------------------


def too_long():
    return 1  # ----------------------------------------------------------------


def test_79_columns_fit_and_80_are_refused_by_name():
    assert max(map(len, figures.listing(fits).code.splitlines())) == 79
    told = r"at most 79 columns, and this line of .* has 80:\n    return 1  # -+\nbreak it"
    with pytest.raises(ValueError, match=told):
        figures.listing(fits, too_long)
    assert figures.listing(too_long, width=80).code


def test_what_is_cut_off_may_be_long():
    with pytest.raises(ValueError, match="at most 30 columns"):
        figures.listing(interval, width=30)
    assert figures.listing(interval, start="values = np", end="values = np", width=40).code


def test_a_part_runs_from_line_to_line():
    listing = figures.listing(verdicts.effects, start="def column", end="raise ValueError")
    assert (
        listing.code == "def column(method: str) -> pd.Series:\n    if method not in table:\n        raise ValueError("
    )


def test_a_part_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="no line contains 'nowhere'; the listing begins 'def interval"):
        figures.listing(interval, start="nowhere")
    with pytest.raises(ValueError, match="no line from there on contains 'def interval'"):
        figures.listing(interval, start="values =", end="def interval")


def test_a_decorated_function_shows_its_own_source():
    def decorate(function):
        @wraps(function)
        def wrapper(*args):
            return function(*args)

        return wrapper

    @decorate
    def inner():
        return 41 + 1

    assert "41 + 1" in figures.listing(inner).code


def test_what_has_no_source_is_refused():
    with pytest.raises(TypeError, match="has no Python source"):
        figures.listing(len)
    with pytest.raises(ValueError, match="at least one"):
        figures.listing()
