"""The papers of the book, found by their slugs."""

import difflib
import importlib
from pathlib import Path

from stages.evidence import Paper

_HERE = Path(__file__).parent

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


def slugs() -> list[str]:
    """List the slugs of all papers in the book, in alphabetical order."""
    modules = (path.relative_to(_HERE).with_suffix("") for path in _HERE.glob("*/*.py"))
    return sorted(
        m.as_posix()
        for m in modules
        if m.name != "common" and not m.name.startswith("_")
    )


def load(slug: str) -> Paper:
    """Import a paper by its slug, "continual/power_law_rehearsal".

    Raises:
        ValueError: there is no such paper; the message names the nearest one.
    """
    known = slugs()
    if slug not in known:
        near = difflib.get_close_matches(slug, known, n=1, cutoff=0.3)
        near = near or difflib.get_close_matches(
            slug, [s.split("/")[1] for s in known], n=1, cutoff=0.3
        )
        hint = f"; did you mean {near[0]}?" if near else ";"
        raise ValueError(
            f"no paper {slug!r}{hint} `stages list` shows all {len(known)}"
        )
    return importlib.import_module(f"stages.papers.{slug.replace('/', '.')}").PAPER
