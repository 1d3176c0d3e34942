"""The book's pages as text: cells, prose, sentences, words.

A page is read once, however many checks look at it.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

FENCED = re.compile(
    r"^(?P<fence>`{3,}|~{3,})(?P<kind>[^\n]*)\n(?P<body>.*?)^(?P=fence)[ \t]*$", re.DOTALL | re.MULTILINE
)
OPTION = re.compile(r"^:[\w-]+:.*$", re.MULTILINE)
LATEX = re.compile(r"\$\$.*?\$\$(?:[ \t]*\([\w-]+\))?|\$[^$]+\$", re.DOTALL)
ROLE = re.compile(r"\{[\w:-]+\}`[^`]*`")
LINK = re.compile(r"!?\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]*)\)")
PAGE_OF_PAPER = re.compile(r"⟦([^⟧]*)⟧")  # what `sentences` leaves of a link to another page
ABBREVIATION = re.compile(
    r"(?:\b(?:[A-Z]|al|e\.g|i\.e|etc|cf|vs|pp|no|eqs?|figs?|alg|sec|ref|approx))\.$", re.IGNORECASE
)
SENTENCE_END = re.compile(r"[.!?][\"'”’)*_]*(?=\s+[\"'“‘(*_]*[^\sa-z])")
NUMBER = r"[−+–-]?\d+(?:,\d{3})*(?:\.\d+)?"
UNIT = r"(?:\s?%|\s(?:percentage )?points?\b|\snats\b|\sbits\b)?"
INTERVAL = re.compile(
    rf"(?<![\w.])(?P<effect>{NUMBER}){UNIT}\s?\((?P<low>{NUMBER}){UNIT}\s+to\s+(?P<high>{NUMBER}){UNIT}\)"
)


@dataclass(frozen=True)
class Page:
    """A notebook of the book.

    Attributes:
        name: "continual/coda_prompt", its place below `chapters` without the suffix.
        cells: as they stand in the file, each source one text.
    """

    name: str
    cells: list[dict]

    @property
    def code(self) -> list[dict]:
        return [cell for cell in self.cells if cell["cell_type"] == "code"]

    @property
    def outputs(self) -> list[dict]:
        return [output for cell in self.code for output in cell["outputs"]]

    @property
    def markdown(self) -> str:
        return "\n\n".join(cell["source"] for cell in self.cells if cell["cell_type"] == "markdown")

    @property
    def sections(self) -> list[str]:
        """The titles of the sections in order."""
        return re.findall(r"^## (.+?)\s*$", FENCED.sub("", self.markdown), re.MULTILINE)

    @property
    def box(self) -> str:
        """The Markdown of the box "In one minute"."""
        boxes = (match for match in FENCED.finditer(self.markdown) if "{admonition} In one minute" in match["kind"])
        return next((OPTION.sub("", match["body"]) for match in boxes), "")

    @property
    def before_exercises(self) -> str:
        return re.split(r"^## Exercises", self.markdown, maxsplit=1, flags=re.MULTILINE)[0]


@cache
def page(path: Path, chapters: Path) -> Page:
    """Read a notebook below `chapters`."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    for cell in cells:
        cell["source"] = "".join(cell["source"])
    return Page(path.relative_to(chapters).with_suffix("").as_posix(), cells)


def notebooks(root: Path) -> list[Path]:
    """The files of the book's notebooks in alphabetical order."""
    return sorted(path for path in (root / "chapters").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)


def pages(root: Path) -> list[Page]:
    """The book's notebooks in alphabetical order."""
    return [page(path, root / "chapters") for path in notebooks(root)]


@cache
def records(root: Path) -> dict[str, dict]:
    """The book's full records by slug, in alphabetical order; not those of other profiles or of runs under way."""
    folder = root / "data/evidence"
    paths = sorted(path for path in folder.glob("[!.]*/[!.]*.json") if "." not in path.stem)
    return {path.relative_to(folder).with_suffix("").as_posix(): json.loads(path.read_text("utf-8")) for path in paths}


def paragraphs(markdown: str, place: str = "") -> Iterator[str]:
    """Yield the prose of Markdown, a paragraph, list item or row of a table a line.

    The line of metadata, code, options and comments are left out; a formula, a citation or a piece of code is one
    word, with a capital, since a sentence may begin with it. A link to a notebook leaves its page's name in ⟦⟧ behind,
    seen from the page `place`.
    """
    text = re.sub(r"^.*<!-- badges -->.*$|(?s:<!--.*?-->)", "", markdown, flags=re.MULTILINE)
    for _ in range(3):  # fences inside fences
        text = FENCED.sub(lambda match: f"\n\n{match['body']}\n\n" if match["kind"].startswith("{") else "\n\n", text)
    text = re.sub(r"`[^`]*`", "Code", ROLE.sub("Citation", OPTION.sub("", text)))
    text = LATEX.sub(lambda match: " Formula " if match[0].startswith("$$") else "Formula", text)
    text = LINK.sub(lambda match: linked(match, place), text)
    for block in re.split(r"\n\s*\n", text):
        lines = [line.strip() for line in block.splitlines()]
        paragraph = ""
        for line in [*lines, ""]:
            alone = not line or line.startswith(("|", "#")) or re.match(r"([-*+]|\d+\.)\s|>", line)
            if alone and paragraph:
                yield paragraph
                paragraph = ""
            if not line.startswith("#"):
                paragraph += " " * bool(paragraph) + re.sub(r"^([-*+]|\d+\.)\s+|^>\s*", "", line)
        if paragraph:
            yield paragraph


def linked(match: re.Match, place: str) -> str:
    target = match["target"].partition("#")[0]
    if match[0].startswith("!"):
        return ""
    if not target.endswith(".ipynb"):
        return match["text"]
    parts: list[str] = []
    for part in (PurePosixPath(place).parent / target.removesuffix(".ipynb")).parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    return f"{match['text']} ⟦{'/'.join(parts)}⟧"


def sentences(paragraph: str) -> Iterator[str]:
    """Cut a paragraph into sentences."""
    start = 0
    for match in SENTENCE_END.finditer(paragraph):
        if not ABBREVIATION.search(paragraph[start : match.start() + 1]):
            yield paragraph[start : match.end()].strip()
            start = match.end()
    if rest := paragraph[start:].strip():
        yield rest


def words(text: str) -> list[str]:
    """The words of prose; an interval "x (a to b)" is one."""
    bare = INTERVAL.sub(lambda match: match["effect"], PAGE_OF_PAPER.sub("", text))
    return [word for word in bare.split() if re.search(r"\w", word)]


def numbers(text: str) -> list[str]:
    """The words that are numbers: "5", "−0.3", "40,000", "97%"."""
    found = (re.fullmatch(rf"[^\w−+–-]*({NUMBER})\W*", word) for word in words(text))
    return [match[1] for match in found if match]


def value(number: str) -> tuple[float, int]:
    """A printed number, and how many decimals it has."""
    plain = number.replace("−", "-").replace("–", "-").replace(",", "")
    return float(plain), len(plain.partition(".")[2])
