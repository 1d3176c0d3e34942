"""Write requirements.txt: what pip picks today, in an empty environment, for the ranges of pyproject.toml."""

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TORCH = "2.13.0"  # the release that the recorded evidence was made with
HEADER = """\
# Exactly what `make` and CI install, on Python 3.11 to 3.13. Written by `make pins` from the ranges in pyproject.toml.
"""


def main() -> None:
    """Resolve the runtime, `book`, `dev` and `ray` requirements together and freeze the result."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        pip = [Path(folder) / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "-q", f"torch=={TORCH}", f"{ROOT}[book,dev,ray]"], check=True)
        frozen = subprocess.run([*pip, "freeze", "--all"], check=True, capture_output=True, text=True).stdout
    (ROOT / "requirements.txt").write_text(HEADER + "\n".join(pins(frozen.splitlines())) + "\n", encoding="utf-8")
    print("requirements.txt is written; run `make test` before committing it")


def pins(frozen: list[str]) -> list[str]:
    """Keep `name==version` without local labels (`+cpu`); drop pip, the book itself and what one platform needs."""
    only_here = re.compile(r"pip==|learning-in-stages|nvidia|triton|cuda")
    lines = [re.sub(r"\+\S+", "", line) for line in frozen if not only_here.match(line)]
    if odd := [line for line in lines if "==" not in line]:
        sys.exit(f"these are not plain releases: {', '.join(odd)}")
    return sorted(lines, key=str.lower)


if __name__ == "__main__":
    main()
