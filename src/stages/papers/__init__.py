"""The papers of the book, found by their slugs."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING

from stages.catalogue import slugs

if TYPE_CHECKING:
    from stages.evidence import Paper

__all__ = ["load", "slugs"]


def load(slug: str) -> Paper:
    """Import a paper by its slug, "continual/power_law_rehearsal".

    Raises:
        ValueError: there is no such paper; the message names the nearest one.
    """
    known = slugs()
    if slug not in known:
        names = [one.split("/")[1] for one in known]
        near = difflib.get_close_matches(slug, known, n=1, cutoff=0.3)
        near = near or difflib.get_close_matches(slug, names, n=1, cutoff=0.3)
        hint = f"; did you mean {near[0]}?" if near else ";"
        raise ValueError(
            f"no paper {slug!r}{hint} `stages list` shows all {len(known)}"
        )
    return importlib.import_module(f"stages.papers.{slug.replace('/', '.')}").PAPER
