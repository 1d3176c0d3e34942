"""Check what no other tool sees: the five rooms of a paper, links, slugs, spelling in notebooks, machine paths, pages
that fetch from elsewhere; what pages tell of the evidence, of their papers, and how long they are.

    python tools/check.py

Prints a line a fault and exits 1 when there is one.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml
from budgets import budgets
from citations import citations
from told import told

from stages.catalogue import CHAPTERS
from stages.catalogue import slugs as slugs_in

ROOT = Path(__file__).resolve().parents[1]
NOT_OURS = {"_build", "__pycache__", "dist"}
TEXT = {".md", ".ipynb", ".py", ".toml", ".yml", ".yaml", ".cff", ".bib", ".json", ".css", ".js", ".txt"}
PARTS = ("__init__.py", "method.py", "experiment.py")  # of a paper

CODE = re.compile(r"^(```|~~~).*?^\1|(`+)[^`]*\2", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)|\b(?:href|src)=[\"']([^\"']+)")
SLUG = re.compile(rf"(?<![\w.-])({'|'.join(CHAPTERS)})/(\w+)")
MACHINE_PATH = re.compile(r"(?<![\w.+/=~-])(?:/(?:home|root|Users|tmp|work|private|var/folders)/|[A-Z]:\\Users\\)\w\S*")
FETCH = re.compile(
    r"""<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=\\?["']?(?:https?:)?//[^\s"'>]+"""
    r"""|<link\b[^>]*\bhref=\\?["']?(?:https?:)?//[^\s"'>]+"""
    r"""|url\(\\?["']?(?:https?:)?//[^\s)]+|@import\s+["']https?:[^"']+""",
    re.IGNORECASE,
)


def main() -> int:
    """Print the faults; the exit status is 1 when there are any."""
    checks = (rooms, links, slugs, machine_paths, fetches, spelling, told, budgets, citations)
    faults = [fault for check in checks for fault in check(ROOT)]
    for fault in faults:
        print(fault)
    print(f"{len(faults)} faults" if faults else "links, slugs, paths, spelling, evidence and budgets are in order")
    return int(bool(faults))


def rooms(root: Path) -> Iterator[str]:
    """Every paper has its five rooms, and no room belongs to a paper that does not exist."""
    papers = known(root)
    for slug in sorted(papers):
        chapter, _, paper = slug.partition("/")
        needed = [f"chapters/{slug}.ipynb", f"tests/papers/{chapter}/test_{paper}.py", f"data/evidence/{slug}.json"]
        needed += [f"src/stages/papers/{slug}/{part}" for part in PARTS]
        for room in needed:
            if not (root / room).is_file():
                yield f"{slug}: {room} is missing"
        if f"chapters/{slug}" not in toc(root):
            yield f"{slug}: _toc.yml has no entry chapters/{slug}"
    for entry in toc(root):
        if not any((root / f"{entry}{suffix}").is_file() for suffix in (".md", ".ipynb")):
            yield f"_toc.yml: there is no page {entry}"
    for record in (root / "data/evidence").rglob("*.json"):
        name = record.relative_to(root / "data/evidence").with_suffix("").as_posix()
        if name.startswith("."):  # seeds of a run under way
            continue
        slug, _, profile = name.partition(".")
        facts = json.loads(record.read_text("utf-8"))
        if slug not in papers:
            yield f"data/evidence/{name}.json: there is no paper {slug}"
        elif facts.get("paper") != slug:
            yield f"data/evidence/{name}.json: its paper is {facts.get('paper')!r}"
        elif profile and facts.get("profile") != profile:
            yield f"data/evidence/{name}.json: its profile is {facts.get('profile')!r}"
    for chapter in CHAPTERS:
        notebooks = (root / "chapters" / chapter).glob("*.ipynb")
        tests = (root / "tests/papers" / chapter).glob("test_*.py")
        named = {f"{chapter}/{path.stem.removeprefix('test_')}" for path in (*notebooks, *tests)}
        for slug in sorted(named - papers - {f"{chapter}/common", f"{chapter}/index"}):
            yield f"{slug}: has a notebook or a test, but src/stages/papers/{slug}/ is missing"


def links(root: Path) -> Iterator[str]:
    """Relative links in prose lead to a file."""
    for path, text in prose(root):
        for match in LINK.finditer(CODE.sub("", text)):
            target = (match[1] or match[2]).partition("#")[0].partition("?")[0]
            if not target or re.match(r"[a-z][a-z+.-]*:|\{", target, re.IGNORECASE):
                continue
            place = root / target.lstrip("/") if target.startswith("/") else path.parent / target
            if not any(Path(f"{place}{suffix}").exists() for suffix in ("", ".md", ".ipynb")):
                yield f"{path.relative_to(root)}: the link to {target} leads nowhere"


def slugs(root: Path) -> Iterator[str]:
    """Slugs in prose are spelled like those of the package."""
    papers = known(root)
    for path, text in prose(root):
        for match in SLUG.finditer(text):
            if match[0] not in papers and match[2] not in ("index", "common", "__init__"):
                yield f"{path.relative_to(root)}: there is no paper {match[0]}"


def machine_paths(root: Path) -> Iterator[str]:
    """No file names a place on the machine it was made on."""
    for path in files(root):
        for match in MACHINE_PATH.finditer(shown(path)):
            yield f"{path.relative_to(root)}: names the machine path {match[0][:60]}"


def fetches(root: Path) -> Iterator[str]:
    """Pages of the book load nothing from elsewhere."""
    for path in files(root):
        if path.parts[len(root.parts)] in ("chapters", "_static", "index.md"):
            for match in FETCH.finditer(shown(path)):
                yield f"{path.relative_to(root)}: fetches from elsewhere: {match[0][:80]}"


def spelling(root: Path) -> Iterator[str]:
    """codespell's common slips, in the prose of notebooks (`make check` runs it on the other files itself)."""
    notebooks = [(path, CODE.sub("", text)) for path, text in prose(root) if path.suffix == ".ipynb"]
    lines = [(path, line) for path, text in notebooks for line in text.splitlines()]
    command = [sys.executable, "-m", "codespell_lib", "-"]
    text = "\n".join(line for _, line in lines)
    found = subprocess.run(command, input=text, cwd=root, capture_output=True, text=True).stdout
    for number, slip in re.findall(r"^(\d+):.*\n\s*(.* ==> .*)$", found, re.MULTILINE):
        yield f"{lines[int(number) - 1][0].relative_to(root)}: {slip}"


@cache
def known(root: Path) -> set[str]:
    """The slugs of the package."""
    return set(slugs_in(root / "src/stages/papers"))


@cache
def toc(root: Path) -> list[str]:
    """The pages of `_toc.yml`, in order."""

    def walk(node: object) -> Iterator[str]:
        if isinstance(node, dict):
            yield from (node[key] for key in ("root", "file") if key in node)
            node = [value for value in node.values() if isinstance(value, list)]
        if isinstance(node, list):
            for item in node:
                yield from walk(item)

    return list(walk(yaml.safe_load((root / "_toc.yml").read_text("utf-8"))))


@cache
def files(root: Path) -> list[Path]:
    """List the project's text files; of the hidden folders only those of CI count."""
    found = []
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if name in (".ci", ".github") or (name[0] != "." and name not in NOT_OURS)]
        found += [Path(folder, name) for name in names if Path(name).suffix in TEXT]
    return sorted(found)


def prose(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield each Markdown file with its text, and each notebook with the text of its Markdown cells."""
    for path in files(root):
        if path.suffix == ".md":
            yield path, path.read_text("utf-8")
        elif path.suffix == ".ipynb":
            cells = json.loads(path.read_text("utf-8"))["cells"]
            yield path, "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def shown(path: Path) -> str:
    """Return a file's text; of a notebook what a reader sees, pictures left out."""
    text = path.read_text("utf-8")
    if path.suffix != ".ipynb":
        return text
    seen = []
    for cell in json.loads(text)["cells"]:
        seen += cell["source"]
        for output in cell.get("outputs", []):
            seen += output.get("text", []) + output.get("traceback", [])
            for mime, data in output.get("data", {}).items():
                if not mime.startswith("image/") or mime == "image/svg+xml":
                    seen += data if isinstance(data, list) else [json.dumps(data)]
    return "\n".join(seen)


if __name__ == "__main__":
    sys.exit(main())
