"""Every notebook of the book has the shape that readers rely on, and outputs that came from one clean run."""

import ast
import json
import re
from datetime import datetime

import check
import nbformat
import pytest
from bs4 import BeautifulSoup
from IPython.core.inputtransformer2 import TransformerManager

ROOT = check.ROOT
NOTEBOOKS = [entry for entry in check.toc(ROOT) if (ROOT / f"{entry}.ipynb").is_file()]
PAPERS = [entry for entry in NOTEBOOKS if entry.removeprefix("chapters/") in check.known(ROOT)]
SECTIONS = [
    "The problem, seen",
    "The idea",
    "The code",
    "The experiment",
    "What we see",
    "Verdicts",
    "Turn the knob",
    "Exercises",
    "What we changed, and why it matters",
]
SECONDS, CELL_LINES, FUNCTION_LINES, OUTPUT_BYTES, SLIDER_BYTES = 90, 25, 10, 200_000, 600_000

every_notebook = pytest.mark.parametrize("entry", NOTEBOOKS)
every_paper = pytest.mark.parametrize("entry", PAPERS)


def read(entry):
    return nbformat.read(ROOT / f"{entry}.ipynb", as_version=4)


def code_cells(entry):
    return [cell for cell in read(entry).cells if cell.cell_type == "code"]


def outputs(entry):
    return [output for cell in code_cells(entry) for output in cell.outputs]


def markdown(entry):
    return "\n\n".join(cell.source for cell in read(entry).cells if cell.cell_type == "markdown")


def has(cell, tag):
    return tag in cell.metadata.get("tags", [])


@pytest.mark.parametrize("holds", [check.rooms, check.machine_paths, check.fetches], ids=lambda holds: holds.__name__)
def test_the_book_is_consistent(holds):
    assert list(holds(ROOT)) == []


def test_the_book_has_papers():
    assert PAPERS


@every_paper
def test_the_sections_stand_in_order(entry):
    text = markdown(entry)
    assert re.findall(r"^## (.+?)\s*$", text, re.MULTILINE) == SECTIONS
    opening = text.partition("\n## ")[0]
    assert opening.startswith("# ")
    assert "arxiv.org/abs/" in opening
    assert re.search(r"\{admonition\} In one minute", opening)


@every_paper
def test_the_opening_box_tells_the_recorded_verdict_of_the_headline(entry):
    box = markdown(entry).partition("{admonition} In one minute")[2].partition("```")[0]
    record = json.loads((ROOT / "data/evidence" / f"{entry.removeprefix('chapters/')}.json").read_text("utf-8"))
    told = re.search(r"\bC1\b[^*]*\*\*(reproduced|inconclusive|contradicted)\*\*", box)
    assert told, "the box says what became of C1: ... C1 ... **reproduced**"
    assert told[1] == record["claims"][0]["verdict"]


@every_paper
def test_there_are_three_exercises_with_folded_solutions(entry):
    text = markdown(entry)
    assert len(re.findall(r"\{exercise(?:-start)?\}", text)) == 3
    solutions = re.findall(r"\{solution(?:-start)?\}[^\n]*\n((?::[^\n]*\n)*)", text)
    assert len(solutions) == 3
    assert all("dropdown" in options for options in solutions)


@every_paper
def test_the_verdicts_are_compared_with_the_stored_ones(entry):
    compared = [cell for cell in code_cells(entry) if has(cell, "nbval-check-output")]
    assert compared
    assert all(cell.outputs for cell in compared)


@every_notebook
def test_the_first_cell_sets_up_the_package(entry):
    first = code_cells(entry)[0]
    assert has(first, "setup")
    assert has(first, "hide-input")


@every_notebook
def test_outputs_come_from_one_run_in_order(entry):
    counts = [cell.execution_count for cell in code_cells(entry)]
    assert counts == list(range(1, len(counts) + 1)), "run it with: make notebooks"


@every_notebook
def test_no_output_is_an_error_or_a_warning(entry):
    for output in outputs(entry):
        assert output.output_type != "error"
        assert output.get("name") != "stderr"


@every_notebook
def test_no_output_is_a_value_that_nobody_meant_to_show(entry):
    for output in outputs(entry):
        if output.output_type == "execute_result":  # the last expression of a cell: a picture or a page, not a repr
            assert output.data.keys() & {"text/html", "image/png", "image/svg+xml"}, output.data["text/plain"][:80]


@every_notebook
def test_it_ran_within_its_time(entry):
    seconds = 0.0
    for cell in code_cells(entry):
        times = cell.metadata.execution
        start, end = (datetime.fromisoformat(times[key]) for key in ("iopub.execute_input", "shell.execute_reply"))
        seconds += (end - start).total_seconds()
    assert seconds <= SECONDS


@every_notebook
def test_cells_and_functions_are_short(entry):
    for cell in code_cells(entry):
        assert len(cell.source.splitlines()) <= CELL_LINES, cell.source
        for node in ast.walk(ast.parse(TransformerManager().transform_cell(cell.source))):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < FUNCTION_LINES, node.name


@every_notebook
def test_outputs_are_small(entry):
    for output in outputs(entry):
        size = len(json.dumps(output))
        slider = 'type="range"' in "".join(output.get("data", {}).get("text/html", ""))
        assert size <= (SLIDER_BYTES if slider else OUTPUT_BYTES)


@every_notebook
def test_every_picture_is_described(entry):
    for cell in code_cells(entry):
        for output in cell.outputs:
            data = output.get("data", {})
            for image in BeautifulSoup("".join(data.get("text/html", "")), "html.parser").find_all("img"):
                assert image.get("alt"), cell.source
            if "text/html" not in data and any(mime.startswith("image/") for mime in data):
                described = cell.metadata.get("mystnb", {}).get("image", {}).get("alt")
                assert described, f"the cell's metadata has no mystnb.image.alt:\n{cell.source}"
