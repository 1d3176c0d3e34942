"""What the book holds, read from its files: chapters, papers and recorded verdicts.

Nothing here imports a paper, torch or pandas, so that lists are printed at once.
"""

import json
from pathlib import Path

from stages.paths import PACKAGE, data_dir

CHAPTERS = {  # in the order of the book: (title, papers planned)
    "continual": ("Continual learning", 6),
    "vision_language": ("Adapting vision-language models", 4),
    "mechanisms": ("Inside language models", 5),
    "post_training": ("Post-training", 6),
    "domains": ("Crossing domains", 4),
    "scaling": ("Growing and shrinking networks", 2),
    "diffusion": ("Diffusion", 4),
    "multimodal": ("Multimodal models", 5),
    "physical_world": ("The physical world", 4),
}
SHARED = ("common", "__init__", "__pycache__")  # in a chapter's folder, but no papers


def slugs(papers: Path = PACKAGE / "papers") -> list[str]:
    """List the slugs of all papers in alphabetical order.

    A paper is a folder in a chapter's folder. A name that begins with an underscore is
    in preparation and not yet a paper of the book.
    """
    found = set()
    for path in papers.glob("*/*"):
        is_paper = (path / "__init__.py").is_file() and path.name not in SHARED
        if is_paper and not path.name.startswith("_"):
            found.add(f"{path.parent.name}/{path.name}")
    return sorted(found)


def record_file(slug: str) -> Path:
    """Return where the full record of a paper lies in the book, or would lie."""
    return data_dir() / "evidence" / f"{slug}.json"


class BrokenRecord(Exception):
    """A record is no JSON; the message says how to make it anew."""


def recorded_facts() -> dict[str, dict]:
    """Read the book's records as plain values, by slug in alphabetical order.

    Their content is not checked; `stages.evidence.recorded` does that.

    Raises:
        BrokenRecord: a file is not JSON.
    """
    files = {slug: record_file(slug) for slug in slugs()}
    return {slug: _read(slug, file) for slug, file in files.items() if file.is_file()}


def _read(slug: str, file: Path) -> dict:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BrokenRecord(
            f"the record {file} cannot be read: {error}; `stages run {slug} --profile"
            " full --out data/evidence` makes it anew"
        ) from None
