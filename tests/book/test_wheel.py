"""The package works without its repository: built, installed in an empty environment, and run from another folder.

So it does in Colab, whose own packages must stay as they are.
"""

import json
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
# Colab's releases of what its own notebooks and widgets need; an upgrade of them breaks it, and a newer mlxtend asks
# for one.
COLAB = {
    "ipython": "7.34.0",
    "ipywidgets": "7.7.1",
    "matplotlib": "3.10.0",
    "mlxtend": "0.23.4",
    "numpy": "2.0.2",
    "pandas": "2.2.2",
    "scikit-learn": "1.6.1",
}
VERSIONS = f"import json, importlib.metadata as m; print(json.dumps({{name: m.version(name) for name in {[*COLAB]}}}))"
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
    return lent(tmp_path_factory.mktemp("environment"), wheel)


@pytest.fixture(scope="module")
def colab(wheel, tmp_path_factory):
    """Such an environment with Colab's releases; then the package is asked for, and nothing can be fetched."""
    folder = lent(tmp_path_factory.mktemp("colab"), wheel)
    try:
        pip(folder, "--only-binary=:all:", *(f"{name}=={version}" for name, version in COLAB.items()))
    except AssertionError as failed:
        if "No matching distribution found" in str(failed):
            pytest.skip("Colab's releases cannot be had here: no package index, or none that has them for this Python")
        raise
    pip(folder, "--no-index", "learning-in-stages")
    return folder


def lent(folder, wheel):
    """Make an environment that holds the wheel, and sees the packages of this one behind its own."""
    venv.create(folder)
    pip(folder, "--no-index", "--no-deps", wheel)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def pip(folder, *wanted):
    """Install into the environment in `folder` with this one's pip."""
    options = ["--python", folder, "--disable-pip-version-check", "--retries=1", "install", "--quiet"]
    run(sys.executable, "-m", "pip", *options, *wanted, cwd=folder)


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


def test_a_notebook_runs_alone(environment, tmp_path):
    """In an empty folder, from its first cell on, it finds the package and the record in the wheel."""
    _, printed = executed(
        environment,
        tmp_path,
        "import stages; from stages.paths import data_dir; print(stages.__file__, data_dir())",
    )
    for place in printed.split():
        assert Path(place).is_relative_to(environment), place


def test_a_notebook_runs_in_colab_and_upgrades_nothing(colab, tmp_path):
    assert json.loads(run(colab / "bin/python", "-c", VERSIONS, cwd=tmp_path)) == COLAB
    outputs, printed = executed(colab, tmp_path, VERSIONS)
    assert json.loads(printed) == COLAB
    assert not [output for output in outputs if output.get("name") == "stderr"]
    shown = [output.data for output in outputs if 'type="range"' in output.get("data", {}).get("text/html", "")]
    assert shown, "a slider is shown by its HTML: ipywidgets 7 cannot"
    assert not [data for data in shown if "application/vnd.jupyter.widget-view+json" in data]


def executed(environment, folder, question):
    """Run a paper's notebook alone in a folder; return its outputs, and what a cell behind its last one prints."""
    notebook = folder / "notebook.ipynb"
    shutil.copy(ROOT / f"chapters/{PAPER}.ipynb", notebook)
    asked = nbformat.read(notebook, as_version=4)
    asked.cells.append(new_code_cell(question))
    nbformat.write(asked, notebook)
    run(environment / "bin/python", "-c", EXECUTE, notebook, cwd=folder)
    *cells, last = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    return outputs, last.outputs[0].text
