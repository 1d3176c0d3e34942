from pathlib import Path

import pytest

from stages import paths

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A source tree with nothing in it; its package folder."""
    folder = tmp_path / "src/stages"
    folder.mkdir(parents=True)
    monkeypatch.setattr(paths, "PACKAGE", folder)
    return folder


def test_in_this_repository_the_data_lie_at_its_root(monkeypatch):
    monkeypatch.setattr(paths, "PACKAGE", ROOT / "src/stages")
    monkeypatch.setattr(Path, "is_dir", lambda folder: folder == ROOT / "data")
    assert paths.data_dir() == ROOT / "data"


def test_a_wheel_carries_its_own_data(package):
    (package / "data").mkdir()
    package.parents[1].joinpath("data").mkdir()
    assert paths.data_dir() == package / "data"


def test_missing_data_are_an_error_that_says_what_to_do(package):
    with pytest.raises(FileNotFoundError, match=r"the installation is incomplete; run `pip install \.` again"):
        paths.data_dir()
