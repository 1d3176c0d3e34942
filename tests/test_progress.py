"""The bar shows in notebooks without a word on stderr, and in a log as lines, not as a smear."""

import subprocess
import sys

import nbclient
import notebooks
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from stages import progress
from stages.progress import bar

CELL = """
import time
from stages.progress import bar
for _ in bar(range(5), desc="slow"):
    time.sleep(0.1)
for _ in bar([1, 2]):
    pass
for _ in bar(range(9)):
    time.sleep(0.1)
    break
with bar(total=2, desc="by hand") as b:
    time.sleep(0.2)
    b.update(2)
print("done")
"""


@pytest.fixture(scope="module")
def executed():
    """A notebook with bars, run as the book's are."""
    notebook = new_notebook(cells=[new_code_cell(CELL)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONWARNINGS", "default")
        nbclient.NotebookClient(notebook, kernel_name="python3", timeout=60, store_widget_state=False).execute()
    return notebook


def test_in_a_notebook_it_is_a_widget_and_nothing_else(executed):
    outputs = executed.cells[0].outputs
    streams = [output for output in outputs if output.output_type == "stream"]
    assert [(stream.name, stream.text) for stream in streams] == [("stdout", "done\n")]
    assert [output for output in outputs if notebooks.WIDGET in output.get("data", {})]


def test_a_stored_notebook_keeps_nothing_of_it(executed):
    notebooks.refuse_stderr(executed)
    (left,) = notebooks.tidy(executed, "").cells[0].outputs
    assert left.text == "done\n"


def test_in_a_log_what_is_quick_leaves_nothing(capfd):
    assert list(bar(range(1000), desc="quick")) == list(range(1000))
    assert capfd.readouterr() == ("", "")


def test_in_a_log_it_prints_whole_lines_seldom(capfd, monkeypatch):
    clock = iter(range(0, 10**6, 7))  # seven seconds pass each time that tqdm looks
    monkeypatch.setattr("tqdm.std.time", lambda: next(clock))
    with bar(total=100, desc="toys/coin") as b:
        for _ in range(100):
            b.update()
    out, err = capfd.readouterr()
    assert out == ""
    assert "\r" not in err
    lines = err.splitlines()
    assert 3 < len(lines) < 40
    assert all(line.startswith("toys/coin: ") and " of 100 [" in line for line in lines)
    assert lines[-1].startswith("toys/coin: 100 of 100 [")


def test_in_a_terminal_it_is_one_line_that_goes(monkeypatch, capfd):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    list(bar(range(3), desc="seeds"))
    out, err = capfd.readouterr()
    assert out == ""
    assert "\n" not in err
    assert "seeds: 100%" in err or "seeds:   0%" in err
    assert err.endswith("\r")


def test_it_can_be_switched_off(monkeypatch, capfd):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    assert list(bar("abc", disable=True)) == ["a", "b", "c"]
    assert capfd.readouterr() == ("", "")


def test_importing_it_warns_of_nothing():
    done = subprocess.run([sys.executable, "-W", "error", "-c", "import stages.progress"], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
