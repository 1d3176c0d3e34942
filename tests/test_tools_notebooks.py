"""Notebooks are executed when their sources changed, and stored only when nothing went wrong."""

import nbformat
import notebooks
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook


@pytest.fixture
def book(tmp_path):
    """A book of one paper and one other page, with a small package."""
    package = tmp_path / "src/stages"
    for folder in (package / "papers/continual", tmp_path / "chapters/continual", tmp_path / "data/evidence/continual"):
        folder.mkdir(parents=True)
    (package / "loop.py").write_text('"""Doc."""\n\nSTEPS = 3  # few\n')
    for paper in ("this", "other"):
        (package / f"papers/continual/{paper}.py").write_text(f"NAME = {paper!r}\n")
        (tmp_path / f"data/evidence/continual/{paper}.json").write_text("{}")
    write(tmp_path / "chapters/continual/this.ipynb", "1 + 1")
    write(tmp_path / "chapters/scoreboard.ipynb", "2 + 2")
    return tmp_path


def write(path, *sources):
    setup = new_code_cell("import sys", metadata={"tags": ["setup"]})
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Title"), setup, *map(new_code_cell, sources)]), path)


def edit(path, text):
    path.write_text(path.read_text() + text)


def test_a_notebook_is_stored_with_outputs_times_and_its_sources(book):
    path = book / "chapters/continual/this.ipynb"
    assert notebooks.is_stale(path, book)
    run = notebooks.execute(path, book)
    stored = nbformat.read(path, as_version=4)
    assert not notebooks.is_stale(path, book)
    assert stored.cells[2].outputs[0].data == {"text/plain": "2"}
    assert {"iopub.execute_input", "shell.execute_reply"} <= set(stored.cells[2].metadata.execution)
    assert stored.metadata.kernelspec == {"display_name": "Python 3", "language": "python", "name": "python3"}
    assert "version" not in stored.metadata.language_info
    assert not list(book.rglob("*.part"))
    assert 0 < run.seconds < 60
    assert run.megabytes > 10


def test_what_makes_a_notebook_stale(book):
    path, package = book / "chapters/continual/this.ipynb", book / "src/stages"
    made_from = notebooks.sources(path, book)

    def changed():
        nonlocal made_from
        before, made_from = made_from, notebooks.sources(path, book)
        return made_from != before

    edit(package / "loop.py", "\n# a comment\n")
    assert not changed()
    edit(package / "papers/continual/other.py", "X = 1\n")
    edit(book / "data/evidence/continual/other.json", " ")
    assert not changed(), "another paper does not matter"
    edit(package / "loop.py", "MORE = 1\n")
    assert changed()
    edit(package / "papers/continual/this.py", "# shown by the notebook\n")
    assert changed()
    edit(book / "data/evidence/continual/this.json", " ")
    assert changed()
    write(path, "1 + 2")
    assert changed()
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].source = "# Another title"
    notebook.cells[1].source = "import os"
    nbformat.write(notebook, path)
    assert not changed(), "prose and the first cell, which holds the address, do not matter"


def test_a_page_on_the_whole_book_follows_every_record(book):
    path = book / "chapters/scoreboard.ipynb"
    before = notebooks.sources(path, book)
    edit(book / "data/evidence/continual/other.json", " ")
    assert notebooks.sources(path, book) != before


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
    assert notebooks.execute_all(notebooks.book(book), book, jobs=2) == 1
    assert not notebooks.is_stale(book / "chapters/scoreboard.ipynb", book)
    assert "refused" in capsys.readouterr().out


def test_widgets_are_stored_as_what_remains_without_them():
    slider = {notebooks.WIDGET: {"model_id": "1"}, "text/html": "<input>", "text/plain": "slider"}
    progress = {notebooks.WIDGET: {"model_id": "2"}, "text/plain": "100%"}
    outputs = [nbformat.v4.new_output("display_data", data=data) for data in (slider, progress)]
    tidied = notebooks.tidy(new_notebook(cells=[new_code_cell("", outputs=outputs)]), "")
    (kept,) = tidied.cells[0].outputs
    assert set(kept.data) == {"text/html", "text/plain"}


def test_code_is_compared_without_comments_and_docstrings():
    source = '"""Doc\n\nmore."""\n\ndef f(x):  # why\n    """Doc."""\n\n    return "# not a comment"\n'
    assert notebooks.code_of(source) == 'def f(x):\n    return "# not a comment"'
