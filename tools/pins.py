"""Write requirements.txt: what pip picks today, in an empty environment, for the ranges of pyproject.toml; and with the
same releases requirements-book.txt, the few that render the book.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TORCH = "2.13.0"  # the release that the recorded evidence was made with
WHOLE = """\
# Exactly what `make` and CI install, on Python 3.11 to 3.13. Written by `make pins` from the ranges in pyproject.toml.
"""
BOOK = """\
# What `make book` installs where there is no .venv: releases of requirements.txt, by `make pins`. No torch among them.
"""


def main() -> None:
    """Resolve the runtime and all extras together, then the extra `book` within that, and freeze either result."""
    whole, book = ROOT / "requirements.txt", ROOT / "requirements-book.txt"
    write(whole, WHOLE, resolved(f"torch=={TORCH}", f"{ROOT}[book,lab,dev,ray]"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    write(book, BOOK, resolved("--constraint", str(whole), *project["optional-dependencies"]["book"]))
    print(f"{whole.name} and {book.name} are written; run `make test` before committing them")


def resolved(*wanted: str) -> list[str]:
    """Let pip install what is wanted in an empty environment; return the lines of `pip freeze`."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        pip = [Path(folder) / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "-q", *wanted], check=True)
        frozen = subprocess.run([*pip, "freeze", "--all"], check=True, capture_output=True, text=True).stdout
    return frozen.splitlines()


def write(path: Path, header: str, frozen: list[str]) -> None:
    """Write the pins below a line that says what they are."""
    path.write_text(header + "\n".join(pins(frozen)) + "\n", encoding="utf-8")


def pins(frozen: list[str]) -> list[str]:
    """Keep `name==version` without local labels (`+cpu`); drop pip, the book itself and what one platform needs."""
    only_here = re.compile(r"pip==|learning-in-stages|nvidia|triton|cuda")
    lines = [re.sub(r"\+\S+", "", line) for line in frozen if not only_here.match(line)]
    if odd := [line for line in lines if "==" not in line]:
        sys.exit(f"these are not plain releases: {', '.join(odd)}")
    return sorted(lines, key=str.lower)


if __name__ == "__main__":
    main()
