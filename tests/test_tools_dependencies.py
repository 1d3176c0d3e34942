"""A notebook is stale by what it uses: its code, the helpers it reaches, its paper, its base models and its records."""

import ast
import json

import dependencies
import nbformat
import pytest
from dependencies import Sources
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

FILES = {
    "__init__": "",
    "loop": """STEPS = 3\n\n\ndef fit(x):\n    return x * STEPS\n""",
    "figures/__init__": "from stages.figures.bars import bars\nfrom stages.figures.lines import lines\n",
    "figures/bars": "def bars():\n    return 1\n",
    "figures/lines": "def lines():\n    return 2\n\n\ndef listing(*objects):\n    return objects\n",
    "evidence/__init__": "from stages.evidence.records import all_records, recorded\n",
    "evidence/records": "def recorded(slug): ...\n\n\ndef all_records(): ...\n",
    "zoo/__init__": "from stages.zoo.store import RECIPES, load\n",
    "zoo/store": 'RECIPES = {\n    "small": "stages.zoo.small",\n    "large": "stages.zoo.large:RECIPE",\n}\n\n\n'
    "def load(name):\n    return RECIPES[name]\n",
    "zoo/small": "from stages.loop import fit\n",
    "zoo/large": "WIDTH = 64\n",
    "papers/__init__": "from stages.catalogue import slugs\n\n\ndef load(slug): ...\n",
    "catalogue": "def slugs(): ...\n",
    "papers/continual/__init__": "",
    "papers/continual/common/__init__": "",
    "papers/continual/common/streams": "from stages.loop import fit\n\n\ndef stream():\n    return fit(1)\n",
    "papers/continual/common/penalty": "# of weights\ndef penalty(x):\n    return x**2  # squared\n",
    "papers/continual/this/__init__": "from stages.papers.continual.this.method import train\n",
    "papers/continual/this/method": "from ..common.streams import stream\n\n\ndef train():\n    return stream()\n",
    "papers/continual/other/__init__": 'NAME = "other"\n',
    "papers/diffusion/__init__": "",
    "papers/diffusion/third/__init__": 'NAME = "third"\n',
}
PAGES = {
    "continual/this": ["from stages import figures\nfrom stages.papers.continual.this import train", "figures.bars()"],
    "continual/other": ["from stages import zoo\nfrom stages.papers.continual import other", "zoo.load('small')"],
    "continual/index": ["from stages.evidence import recorded\nfrom stages.papers import load, slugs"],
    "scoreboard": ["from stages.evidence import all_records"],
    "models": ["from stages import zoo", "list(zoo.RECIPES)"],
    "plain": ["'third'\nx = {'a': 1}\nf'{x[\"a\"]:.{1}f} is {x!r}'"],
}


@pytest.fixture
def book(tmp_path):
    """A book with a small package, six pages, three papers with records, and two base models."""
    for name, text in FILES.items():
        write(tmp_path / f"src/stages/{name}.py", text)
    for slug in ("continual/this", "continual/other", "diffusion/third"):
        write(tmp_path / f"data/evidence/{slug}.json", json.dumps({"paper": slug, "claims": [1], "probe": [2]}))
    for name in ("small", "large"):
        write(tmp_path / f"data/zoo/{name}.json", "{}")
    for page, cells in PAGES.items():
        write_page(tmp_path, page, cells)
    return tmp_path


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_page(book, page, cells, title="# Title"):
    setup = new_code_cell("import sys", metadata={"tags": ["setup"]})
    (book / f"chapters/{page}.ipynb").parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(
        new_notebook(cells=[new_markdown_cell(title), setup, *map(new_code_cell, cells)]),
        book / f"chapters/{page}.ipynb",
    )


@pytest.fixture
def changed(book):
    """A function that tells which pages' sources are others than when it was called last."""
    before = {}

    def pages():
        sources = Sources(book)
        now = {page: sources.of(book / f"chapters/{page}.ipynb") for page in PAGES}
        found = {page for page in PAGES if now[page] != before.get(page)}
        before.update(now)
        return found

    assert pages() == set(PAGES)
    assert pages() == set()
    return pages


def edit(book, name, old, new):
    path = book / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_helper_makes_all_its_users_stale_and_nobody_else(book, changed):
    edit(book, "src/stages/loop.py", "STEPS = 3", "STEPS = 4")
    assert changed() == {"continual/this", "continual/other", "continual/index", "models"}
    edit(book, "src/stages/figures/bars.py", "return 1", "return 3")
    assert changed() == {"continual/this"}
    edit(book, "src/stages/figures/lines.py", "return 2", "return 3")
    assert changed() == set(), "figures.lines is used by no page"


def test_prose_comments_docstrings_and_layout_do_not_count(book, changed):
    reformatted = '"""Doc."""\n# a comment\nSTEPS = (\n    3)\n\ndef fit(x):\n  "Doc."\n  return x*STEPS'
    write(book / "src/stages/loop.py", reformatted)
    write_page(book, "plain", ["x = dict(a=1)\n"])
    assert changed() == {"plain"}
    write_page(book, "plain", ["x  =  dict( a=1, )  # why"], "# Another title")
    path = book / "chapters/plain.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].source = "import os"  # the first cell holds the address of the book
    nbformat.write(notebook, path)
    assert changed() == set()
    write_page(book, "plain", ["x = dict(a=1);"])
    assert changed() == {"plain"}, "a semicolon hides the value"


def test_a_paper_counts_to_the_letter_on_its_own_page_alone(book, changed):
    edit(book, "src/stages/papers/continual/this/method.py", "def train", "# eq. 3\ndef train")
    assert changed() == {"continual/this"}
    edit(book, "src/stages/papers/continual/other/__init__.py", "other", "another")
    assert changed() == {"continual/other", "continual/index"}


def test_a_listed_function_counts_to_the_letter(book, changed):
    cells = ["from stages import figures\nfrom stages.papers.continual.common.penalty import penalty"]
    write_page(book, "continual/this", [*cells, "penalty(2)"])
    assert changed() == {"continual/this"}
    edit(book, "src/stages/papers/continual/common/penalty.py", "squared", "the square")
    assert changed() == set()
    write_page(book, "continual/this", [*cells, "figures.listing(penalty)"])
    assert changed() == {"continual/this"}
    edit(book, "src/stages/papers/continual/common/penalty.py", "the square", "squared")
    assert changed() == {"continual/this"}
    edit(book, "src/stages/papers/continual/common/penalty.py", "of weights", "of all weights")
    assert changed() == set(), "the listing doesn't show what stands above the function"


def test_a_new_paper_leaves_the_other_papers_alone(book, changed):
    write(book / "src/stages/papers/continual/new/__init__.py", "X = 1\n")
    write(book / "data/evidence/continual/new.json", "{}")
    assert changed() == {"continual/index", "scoreboard"}


def test_a_new_base_model_leaves_the_others_alone(book, changed):
    write(book / "src/stages/zoo/third.py", "X = 1\n")
    write(book / "data/zoo/third.json", "{}")
    edit(book, "src/stages/zoo/store.py", '"large"', '"third": "stages.zoo.third",\n    "large"')
    assert changed() == {"models"}, "this page goes through all of them"


def test_a_base_model_makes_stale_who_names_it(book, changed):
    edit(book, "data/zoo/small.json", "{}", '{"seed": 1}')
    assert changed() == {"continual/other", "models"}
    edit(book, "data/zoo/large.json", "{}", '{"seed": 1}')
    assert changed() == {"models"}
    edit(book, "src/stages/zoo/large.py", "64", "65")
    assert changed() == {"models"}
    edit(
        book,
        "src/stages/papers/continual/this/method.py",
        "def train",
        "from stages import zoo\n\nBASE = zoo.load('large')\n\n\ndef train",
    )
    changed()
    edit(book, "data/zoo/large.json", "1", "2")
    assert changed() == {"continual/this", "continual/index", "models"}, "a paper's module names it"


def test_a_record_makes_stale_who_shows_it(book, changed):
    edit(book, "data/evidence/continual/this.json", "[1]", "[3]")
    assert changed() == {"continual/this", "continual/index", "scoreboard"}
    edit(book, "data/evidence/continual/this.json", "[2]", "[3]")
    assert changed() == set(), "no page shows the probe"
    edit(book, "data/evidence/diffusion/third.json", "[1]", "[3]")
    assert changed() == {"scoreboard"}
    write_page(book, "plain", ["from stages.evidence import recorded", "recorded('diffusion/third')"])
    changed()
    edit(book, "data/evidence/diffusion/third.json", "[3]", "[4]")
    assert changed() == {"plain", "scoreboard"}
    write(book / "data/evidence/continual/this.larger.json", json.dumps({"paper": "continual/this", "claims": [1]}))
    assert changed() == {"continual/this"}, "a record of another profile is shown on its paper's page alone"
    edit(book, "data/evidence/continual/this.larger.json", "[1]", "[2]")
    assert changed() == {"continual/this"}


def test_the_normal_form_does_not_depend_on_how_python_cuts_formatted_strings():
    (one,) = ast.parse("f'a{b!r:>{c}}d'").body
    (two,) = ast.parse("f'a{b!r:>{c}}d'").body
    two.value.values[0:1] = [ast.Constant("a"), ast.Constant("")]
    two.value.values[-1:] = [ast.Constant(""), ast.Constant("d")]
    two.value.type_params = []
    assert dependencies.normal(one) == dependencies.normal(two)
    (three,) = ast.parse("f'a{b!r:>{c}}e'").body
    assert dependencies.normal(one) != dependencies.normal(three)


@pytest.mark.parametrize(
    ("one", "other"),
    [("f(1)", "f(2)"), ("x = 1", "y = 1"), ("a + b", "a - b"), ("f(*a)", "f(a)"), ("{**a}", "{None: a}"), ("1", "1.0")],
)
def test_the_normal_form_tells_code_apart(one, other):
    assert dependencies.normal(ast.parse(one)) != dependencies.normal(ast.parse(other))
