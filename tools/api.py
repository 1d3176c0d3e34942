"""The pages on the package: a Sphinx directive that lists what the modules of a package define.

    ```{eval-rst}
    .. package:: stages.models
    ```

It reads the sources and imports nothing, so the book is built without torch, and a module that comes or goes needs no
change to a page.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import griffe
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.ext.napoleon import GoogleDocstring
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import nested_parse_with_titles

SOURCES = Path(__file__).resolve().parents[1] / "src"


class Package(SphinxDirective):
    """List the public classes and functions of a module, or of each module in a package: those with a docstring."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return a section for each module, and for the named one itself what it defines."""
        self.env.note_reread()  # the sources may have changed by the next build
        place = self.arguments[0]
        content = nodes.Element(document=self.state.document)
        lines = StringList([line for module in modules(find(place)) for line in section(module, place)], source=place)
        nested_parse_with_titles(self.state, lines, content)
        return content.children


@cache
def package(name: str) -> griffe.Module:
    """Parse the sources of a whole package; a build does it once."""
    return griffe.load(name, search_paths=[SOURCES], allow_inspection=False)


def find(path: str) -> griffe.Object:
    """Look up a module, class or function of `stages` by its path.

    Raises:
        KeyError: there is none.
    """
    return package("stages").modules_collection[path]


def modules(module: griffe.Module) -> Iterator[griffe.Module]:
    """Yield a module and those below it, private ones left out."""
    yield module
    for _, below in sorted(module.modules.items()):
        if not below.name.startswith("_"):
            yield from modules(below)


def section(module: griffe.Module, place: str) -> Iterator[str]:
    """Yield the reStructuredText of a module: a title, unless it is the page's own, its docstring, what it defines."""
    members = list(public(module))
    if members and module.path != place:
        title = f"``{module.path}``"
        yield from (title, "-" * len(title), "")
    yield from (f".. py:module:: {module.path}", "")
    if members and module.has_docstring:
        yield from (*module.docstring.value.splitlines(), "")
    for member in members:
        yield from entry(member)


def public(parent: griffe.Object) -> Iterator[griffe.Object]:
    """Yield what a module or class defines itself, in the order of the source: public names that have a docstring."""
    for name, member in parent.members.items():
        if not (member.is_alias or member.is_module or name.startswith("_")) and member.has_docstring:
            yield member


def entry(member: griffe.Object) -> Iterator[str]:
    """Yield the reStructuredText of a class, function or constant, and of what a class holds."""
    yield from (f".. py:{kind(member)}:: {heading(member)}", "")
    below = list(GoogleDocstring(member.docstring.value).lines())
    if member.is_class:
        below += [line for part in public(member) for line in ("", *entry(part))]
    yield from indented([*below, ""])


def kind(member: griffe.Object) -> str:
    """Name the directive of Sphinx's Python domain that describes a member."""
    if member.is_attribute:
        return "property" if "property" in member.labels else "attribute"
    if member.is_class or not member.parent.is_class:
        return member.kind.value
    kinds = {"classmethod", "staticmethod"} & member.labels
    return kinds.pop() if kinds else "method"


def heading(member: griffe.Object) -> str:
    """Give a member's name with its signature."""
    if member.is_attribute:
        return member.name
    function = member.members.get("__init__", member)
    for parameter in getattr(function, "parameters", ()):
        parameter.annotation = in_full(parameter.annotation)
    if member.is_function:
        member.returns = in_full(member.returns)
    return member.signature() or member.name


def in_full(annotation: griffe.Expr | str | None) -> str | None:
    """Write a type with the full path of each class of ours in it; so Sphinx finds where it is described."""
    if not isinstance(annotation, griffe.Expr):
        return annotation
    return "".join(part if isinstance(part, str) else full_name(part) for part in annotation.iterate(flat=True))


def full_name(name: griffe.ExprName) -> str:
    """Give the path of a class of ours where it is defined; any other name as the source has it."""
    try:
        return find(name.canonical_path).canonical_path
    except (KeyError, griffe.AliasResolutionError):
        return name.name


def indented(lines: Iterable[str]) -> Iterator[str]:
    """Put lines below the directive before them."""
    return (f"   {line}" for line in lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Give Sphinx the directive."""
    app.add_directive("package", Package)
    return {"parallel_read_safe": True}
