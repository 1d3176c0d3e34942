"""The pages on the package: what a module defines is read from its source, and every part of the package has a page."""

import re
import textwrap
from pathlib import Path

import api
import pytest

BOOK = Path(__file__).resolve().parents[1]


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A package `stages` that could never be imported, read in place of the real one."""
    files = {
        "__init__.py": '"""The whole."""\nfrom stages.deep.nets import Net\n',
        "deep/__init__.py": '"""Deep things."""\nfrom stages.deep.nets import Net\n\n__all__ = ["Net"]\n',
        "deep/_hidden.py": '"""Not for readers."""\n\ndef f():\n    """Do."""\n',
        "deep/bare.py": "def undescribed(): ...\n",
        "deep/nets.py": '''
            """Networks."""

            import missing
            from stages.sizes import Size

            raise SystemExit("nobody may run this")

            class Net(missing.Module):
                """Layers.

                Args:
                    width: of each layer.
                """

                def __init__(self, width: int = 4): ...

                @property
                def half(self) -> int:
                    """Half the width."""

                @classmethod
                def tiny(cls) -> "Net":
                    """Make the smallest."""

                def grow(self, by: Size, *, names: Names["batch n"] = free) -> list[Size]:
                    """Return the sizes."""

                def _inner(self):
                    """Not for readers."""
        ''',
        "sizes.py": '''
            """Sizes."""

            from dataclasses import dataclass, field

            @dataclass(frozen=True)
            class Size:
                """One size."""

                side: int
                names: list[str] = field(default_factory=list)
        ''',
    }
    for name, text in files.items():
        (tmp_path / "stages" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "stages" / name).write_text(textwrap.dedent(text), encoding="utf-8")
    monkeypatch.setattr(api, "SOURCES", tmp_path)
    api.package.cache_clear()
    yield
    api.package.cache_clear()


def lines(place):
    """What the page on a package has, without its empty lines."""
    found = [line for module in api.modules(api.find(place)) for line in api.section(module, place)]
    return [line for line in found if line.strip()]


def test_a_package_is_listed_module_by_module_as_the_source_has_it(toy):
    assert lines("stages.deep") == [
        ".. py:module:: stages.deep",
        ".. py:module:: stages.deep.bare",
        "``stages.deep.nets``",
        "--------------------",
        ".. py:module:: stages.deep.nets",
        "Networks.",
        ".. py:class:: Net(width: int = 4)",
        "   Layers.",
        "   :param width: of each layer.",
        "   .. py:property:: half",
        "      Half the width.",
        "   .. py:classmethod:: tiny() -> stages.deep.nets.Net",
        "      Make the smallest.",
        "   .. py:method:: grow(by: stages.sizes.Size, *, names: Names['batch n'] = free) -> list[stages.sizes.Size]",
        "      Return the sizes.",
    ]


def test_a_module_has_its_page_without_a_title_and_a_dataclass_its_fields(toy):
    assert lines("stages.sizes") == [
        ".. py:module:: stages.sizes",
        "Sizes.",
        ".. py:class:: Size(side: int, names: list[str] = list())",
        "   One size.",
    ]


def test_every_part_of_the_package_and_every_chapter_of_papers_has_a_page():
    pages = "".join(page.read_text("utf-8") for page in (BOOK / "chapters/api").glob("*.md"))
    parts = {f"stages.{name}" for name in ("worlds", "models", "training", "zoo", "evidence", "figures", "seeding")}
    chapters = {f"stages.papers.{file.parent.name}" for file in (BOOK / "src/stages/papers").glob("*/__init__.py")}
    assert set(re.findall(r"^\.\. package:: (\S+)$", pages, re.MULTILINE)) == parts | chapters
