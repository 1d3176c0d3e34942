import importlib
import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """The toy paper's module, importable here and in other processes, with a file that counts its runs."""
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "runs.log"))
    return importlib.import_module("toy_paper")


@pytest.fixture
def runs(toy, tmp_path):
    """Return the seeds that the toy has run so far, in order."""

    def read():
        log = tmp_path / "runs.log"
        return [int(line) for line in log.read_text().split()] if log.exists() else []

    return read
