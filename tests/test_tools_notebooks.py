"""Notebooks are executed when their sources changed, and stored only when nothing went wrong."""

import nbformat
import notebooks
import pages
import pytest
from dependencies import Sources
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook


@pytest.fixture
def book(tmp_path):
    """A book of one paper and one other page, with a small package."""
    package = tmp_path / "src/stages"
    for folder in (package / "papers/continual", tmp_path / "chapters/continual", tmp_path / "data/evidence/continual"):
        folder.mkdir(parents=True)
    for paper in ("this", "other"):
        (package / f"papers/continual/{paper}.py").write_text(f"NAME = {paper!r}\n")
        (tmp_path / f"data/evidence/continual/{paper}.json").write_text("{}")
    write(tmp_path / "chapters/continual/this.ipynb", "1 + 1")
    write(tmp_path / "chapters/scoreboard.ipynb", "2 + 2")
    return tmp_path


def write(path, *sources):
    setup = new_code_cell("import sys", metadata={"tags": ["setup"]})
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Title"), setup, *map(new_code_cell, sources)]), path)


def is_stale(path, book):
    return notebooks.is_stale(path, Sources(book))


def test_a_notebook_is_stored_with_outputs_times_and_its_sources(book):
    path = book / "chapters/continual/this.ipynb"
    assert is_stale(path, book)
    run = notebooks.execute(path, book)
    stored = nbformat.read(path, as_version=4)
    assert not is_stale(path, book)
    assert stored.cells[2].outputs[0].data == {"text/plain": "2"}
    assert {"iopub.execute_input", "shell.execute_reply"} <= set(stored.cells[2].metadata.execution)
    assert stored.metadata.kernelspec == {"display_name": "Python 3", "language": "python", "name": "python3"}
    assert "version" not in stored.metadata.language_info
    assert not list(book.rglob("*.part"))
    assert 0 < run.seconds < 60
    assert run.megabytes > 10


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import warnings\nwarnings.warn('careful')", "careful"),
        ("import sys\nprint('note', file=sys.stderr)", "note"),
    ],
)
def test_an_error_or_a_word_on_stderr_is_refused(book, source, said):
    path = book / "chapters/continual/this.ipynb"
    write(path, "1 + 1", source)
    before = path.read_bytes()
    with pytest.raises(notebooks.Refused, match=rf"(?s)cell 3 \(`{source.splitlines()[0]}`\).*{said}"):
        notebooks.execute(path, book)
    assert path.read_bytes() == before


def test_the_others_are_stored_when_one_is_refused(book, capsys):
    write(book / "chapters/continual/this.ipynb", "1 / 0")
    assert notebooks.execute_all(pages.notebooks(book), book, jobs=2) == 1
    assert not is_stale(book / "chapters/scoreboard.ipynb", book)
    assert "refused" in capsys.readouterr().out


def test_widgets_are_stored_as_what_remains_without_them():
    slider = {notebooks.WIDGET: {"model_id": "1"}, "text/html": "<input>", "text/plain": "slider"}
    progress = {notebooks.WIDGET: {"model_id": "2"}, "text/plain": "100%"}
    outputs = [nbformat.v4.new_output("display_data", data=data) for data in (slider, progress)]
    tidied = notebooks.tidy(new_notebook(cells=[new_code_cell("", outputs=outputs)]), "")
    (kept,) = tidied.cells[0].outputs
    assert set(kept.data) == {"text/html", "text/plain"}
