import importlib
import os
import sys
from pathlib import Path

import pytest

from stages.evidence.probe import probe

HERE = Path(__file__).parent


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """The toy paper's module, importable here and in other processes, with a file that counts its runs."""
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "runs.log"))
    # Its numbers depend on no arithmetic: a second process to find that out would import torch for nothing.
    monkeypatch.setattr(sys.modules["stages.evidence.sweep"], "steady_probe", probe)
    return importlib.import_module("toy_paper")


@pytest.fixture
def runs(toy, tmp_path):
    """Return the seeds that the toy has run so far, in order."""

    def read():
        log = tmp_path / "runs.log"
        return [int(line) for line in log.read_text().split()] if log.exists() else []

    return read
