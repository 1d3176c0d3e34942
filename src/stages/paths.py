"""Where the files that ship with the package lie."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def data_dir() -> Path:
    """Return the folder of shipped data: `stages/data` in a wheel, `data/` at the root
    of a source tree.

    Raises:
        FileNotFoundError: neither exists, so the installation is incomplete.
    """
    for folder in (PACKAGE / "data", PACKAGE.parents[1] / "data"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"no data folder beside the package {PACKAGE}: the installation is incomplete;"
        " run `pip install .` again"
    )
