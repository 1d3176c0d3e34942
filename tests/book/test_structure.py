"""Every notebook of the book has the shape that readers rely on, and outputs that came from one clean run.

What can be told from the text alone, such as the order of sections and all budgets, is in `make check`.
"""

import ast
import re
from datetime import datetime
from functools import cache

import check
import pytest
from bs4 import BeautifulSoup
from dependencies import Sources
from IPython.core.inputtransformer2 import TransformerManager
from notebooks import is_stale
from pages import page

from stages.evidence.sweep import default_seeds

ROOT = check.ROOT
NOTEBOOKS = [entry for entry in check.toc(ROOT) if (ROOT / f"{entry}.ipynb").is_file()]
PAPERS = [entry for entry in NOTEBOOKS if entry.removeprefix("chapters/") in check.known(ROOT)]
SECONDS = 45
SLOWER = 2.5  # the machine that stored the outputs, with a second notebook beside it, against a quiet one
LIVE_SEEDS = range(3)

every_notebook = pytest.mark.parametrize("entry", NOTEBOOKS)
every_paper = pytest.mark.parametrize("entry", PAPERS)


def read(entry):
    return page(ROOT / f"{entry}.ipynb", ROOT / "chapters")  # read once, whoever asks


def has(cell, tag):
    return tag in cell["metadata"].get("tags", [])


@cache
def known():
    return Sources(ROOT)


def test_the_book_has_papers():
    assert PAPERS


@every_notebook
def test_it_is_up_to_date(entry):
    path = ROOT / f"{entry}.ipynb"
    assert not is_stale(path, known()), "its sources changed since it ran: make notebooks"


@every_paper
def test_there_are_three_exercises_with_folded_solutions(entry):
    text = read(entry).markdown
    assert len(re.findall(r"\{exercise(?:-start)?\}", text)) == 3
    solutions = re.findall(r"\{solution(?:-start)?\}[^\n]*\n((?::[^\n]*\n)*)", text)
    assert len(solutions) == 3
    assert all("dropdown" in options for options in solutions)


@every_paper
def test_the_verdicts_are_compared_with_the_stored_ones(entry):
    compared = [cell for cell in read(entry).code if has(cell, "nbval-check-output")]
    assert compared
    assert all(cell["outputs"] for cell in compared)
    assert all(has(cell, "hide-input") or has(cell, "hide-cell") for cell in compared), "it is to be folded"


@every_paper
def test_three_seeds_run_live(entry):
    trees = [ast.parse(TransformerManager().transform_cell(cell["source"])) for cell in read(entry).code]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    live = [call for call in calls if "live" in (getattr(call.func, "id", ""), getattr(call.func, "attr", ""))]
    assert len(live) == 1
    seeds = {word.arg: word.value for word in live[0].keywords}.get("seeds") or next(iter(live[0].args[2:]), None)
    values = default_seeds("quick") if seeds is None else eval(ast.unparse(seeds), {"__builtins__": {"range": range}})
    assert list(values) == list(LIVE_SEEDS)


@every_notebook
def test_the_first_cell_sets_up_the_package(entry):
    first = read(entry).code[0]
    assert has(first, "setup")
    assert has(first, "hide-input")


@every_notebook
def test_outputs_come_from_one_run_in_order(entry):
    counts = [cell["execution_count"] for cell in read(entry).code]
    assert counts == list(range(1, len(counts) + 1)), "run it with: make notebooks"


@every_notebook
def test_no_output_is_an_error_or_a_warning(entry):
    for output in read(entry).outputs:
        assert output["output_type"] != "error"
        assert output.get("name") != "stderr"


@every_notebook
def test_no_output_is_a_value_that_nobody_meant_to_show(entry):
    for output in read(entry).outputs:
        if output["output_type"] == "execute_result":  # the last expression of a cell: a picture or a page, not a repr
            assert output["data"].keys() & {"text/html", "image/png", "image/svg+xml"}, output["data"]["text/plain"]


@every_notebook
def test_it_ran_within_its_time(entry):
    seconds = 0.0
    for cell in read(entry).code:
        times = cell["metadata"].get("execution")
        assert times, "run it with: make notebooks"
        start, end = (datetime.fromisoformat(times[key]) for key in ("iopub.execute_input", "shell.execute_reply"))
        seconds += (end - start).total_seconds()
    assert seconds <= SLOWER * SECONDS


@every_notebook
def test_every_picture_is_described(entry):
    for cell in read(entry).code:
        for output in cell["outputs"]:
            data = output.get("data", {})
            html = "".join(data.get("text/html", ""))
            for image in BeautifulSoup(html, "html.parser").find_all("img") if "<img" in html else ():
                assert image.get("alt"), cell["source"]
            if not html and any(mime.startswith("image/") for mime in data):
                described = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt")
                assert described, f"the cell's metadata has no mystnb.image.alt:\n{cell['source']}"
