"""The package works without its repository: built, installed in an empty environment, and run from another folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell

ROOT = Path(__file__).resolve().parents[2]
PAPER = "continual/power_law_rehearsal"
EXECUTE = """
import sys, nbformat, nbclient
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, kernel_name="python3", timeout=600, store_widget_state=False).execute()
nbformat.write(notebook, sys.argv[1])
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from the source distribution as an index would."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """An empty environment with the wheel in it; this one lends it all other packages, to save the downloads."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    run(folder / "bin/python", "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def run(*command, cwd):
    """Run a command as someone would who has nothing of ours set; return what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "JUPYTER", "VIRTUAL"))}
    alone = kept | {"HOME": str(cwd), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=alone, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_the_code_and_the_data(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    code = {f"stages/{path.relative_to(ROOT / 'src/stages')}" for path in (ROOT / "src/stages").rglob("*.py")}
    data = {f"stages/data/{path.relative_to(ROOT / 'data')}" for path in (ROOT / "data").rglob("*.json")}
    assert data
    assert code | data <= names


def test_the_command_works_from_any_folder(environment, tmp_path):
    assert PAPER in run(environment / "bin/stages", "list", cwd=tmp_path)
    assert PAPER.split("/")[1] in run(environment / "bin/stages", "scoreboard", cwd=tmp_path)


def test_a_notebook_runs_as_in_colab(environment, tmp_path):
    """The notebook alone in an empty folder, from its first cell on, finds the package and the record in the wheel."""
    notebook = tmp_path / "notebook.ipynb"
    shutil.copy(ROOT / f"chapters/{PAPER}.ipynb", notebook)
    asked = nbformat.read(notebook, as_version=4)
    asked.cells.append(
        new_code_cell("import stages; from stages.paths import data_dir; print(stages.__file__, data_dir())")
    )
    nbformat.write(asked, notebook)
    run(environment / "bin/python", "-c", EXECUTE, notebook, cwd=tmp_path)
    *cells, last = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    for place in last.outputs[0].text.split():
        assert Path(place).is_relative_to(environment), place
