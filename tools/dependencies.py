"""What the stored outputs of a notebook follow from, as one hash.

The rule: its code cells; the modules of `stages` whose names they use, and what these use in turn; the package of its
paper to the letter, and elsewhere the functions that it lists; the cards of the base models it names; and the records
it shows. Prose, docstrings, comments and layout do not count.

A name that a package's `__init__` passes on is followed to the module that defines it, so a package may grow without
making every page stale. A dictionary from names to module paths, such as the zoo's, counts only for the names in use.
"""

import ast
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

from stages.catalogue import slugs
from stages.sources import without_docstrings

TOP = "stages"
WHOLE = "*"
NOT_SHOWN = ("probe", "probe_settings")  # parts of a record that no page shows
OVER_PAPERS = {"slugs", "all_records", "recorded_facts"}  # a page that uses one of them reads many records
MODULE_PATH = re.compile(rf"({TOP}(?:\.\w+)+)(?::\w+)?")
WITHOUT_MEANING = {"ctx", "kind", "type_comment", "type_ignores"}  # fields of ast


@dataclass(frozen=True)
class Import:
    """One imported thing: `from source import name as alias`, or `import source as alias` without a name."""

    source: str
    name: str
    alias: str
    attributes: frozenset[str]  # what the code takes from it, if it is a module


class Module:
    """A module of the package, parsed when it is needed."""

    def __init__(self, name: str, path: Path):
        self.name, self.path = name, path
        self.is_package = path.name == "__init__.py"

    @cached_property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    @cached_property
    def whole(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(without_docstrings(self.text))

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @cached_property
    def imports(self) -> list[Import]:
        return list(imports_of(self.nodes, self.package))

    @cached_property
    def passed_on(self) -> dict[str, Import]:
        """The names that this module imports."""
        return {one.alias: one for one in self.imports if one.name}

    @property
    def package(self) -> str:
        """The package that relative imports start from."""
        return self.name if self.is_package else self.name.rpartition(".")[0]

    @cached_property
    def registries(self) -> dict[str, dict[str, str]]:
        """The dictionaries at the top that lead from names to paths of modules, with their entries."""
        return dict(registries_of(self.tree))

    @cached_property
    def constants(self) -> set[str]:
        """The strings of the module, its registries left out."""
        registered = [node for node in self.tree.body if assigned(node) in self.registries]
        left_out = {id(inner) for node in registered for inner in ast.walk(node)}
        return set(strings(node for node in self.nodes if id(node) not in left_out))

    @cached_property
    def statements(self) -> list[tuple[str, str]]:
        """The module's statements in normal form, each with the name of its registry, if it is one."""
        names = [name if name in self.registries else "" for name in map(assigned, self.tree.body)]
        return [(name, normal(node)) for name, node in zip(names, self.tree.body, strict=True)]

    def code(self, used: set[str]) -> str:
        """The module's code in normal form, of its registries only the entries in use."""
        lines = []
        for registry, text in self.statements:
            entries = [entry for entry in self.registries.get(registry, {}).items() if entry[0] in used]
            lines.append(f"{registry}={sorted(entries)}" if registry else text)
        return "\n".join(lines)


class Sources:
    """The package, the records and the base models below `root`, read once."""

    def __init__(self, root: Path):
        self.root, self.folder = root, root / "src/stages"
        self.modules = {name: Module(name, path) for name, path in named(self.folder)}
        self.papers = slugs(self.folder / "papers")
        self.cards = {path.stem: path for path in (root / "data/zoo").glob("*.json")}
        others = (path for path in self.folder.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc"))
        self.others = {path.relative_to(self.folder).as_posix(): path for path in others}

    def of(self, path: Path) -> str:
        """Hash what the outputs of the notebook at `path` follow from."""
        digest = hashlib.sha256()
        for name, content in sorted(Reach(self, path).parts()):
            digest.update(f"{name}\n{len(content)}\n".encode() + content)
        return digest.hexdigest()


class Reach:
    """How far a notebook reaches into the package."""

    def __init__(self, sources: Sources, path: Path):
        chapters = sources.root / "chapters"
        self.sources, self.modules = sources, sources.modules
        self.page = path.relative_to(chapters).with_suffix("").as_posix() if path.is_relative_to(chapters) else ""
        cells = json.loads(path.read_text("utf-8"))["cells"]
        self.cells = [parsed("".join(cell["source"])) for cell in cells if counts(cell)]
        self.tree = ast.Module([node for cell in self.cells for node in cell.body], [])
        self.nodes = list(ast.walk(self.tree))
        self.named = set(strings(self.nodes))
        self.constants = set(self.named)
        self.asked: set[tuple[str, str]] = set()  # names that the cells themselves take from a module
        self.visited: set[str] = set()
        self.models: set[str] = set()  # the names in use of all registries
        self.own = self._of_paper(self.page) if self.page in sources.papers else []
        for one in imports_of(self.nodes, ""):
            self._take(one, by_a_cell=True)
        for name in self.own:
            self._visit(name)
        if (f"{TOP}.papers", "load") in self.asked:
            for slug in self.slugs():
                self._want(f"{TOP}.papers.{slug.replace('/', '.')}", {WHOLE})
        self._follow_registries()

    def parts(self) -> Iterator[tuple[str, bytes]]:
        """Yield what counts: a name and the content of each part."""
        for number, cell in enumerate(self.cells):
            yield f"cell {number:04}", normal(cell).encode()
        for name in self.visited - set(self.own):
            module = self.modules[name]
            yield name, module.code(self._used(module)).encode()
            yield f"{name}, listed", "\n".join(listed(module, self._listed)).encode()
        for name in self.own:
            yield name, self.modules[name].text.encode()
        for name in self.models & set(self.sources.cards):
            yield f"card {name}", self.sources.cards[name].read_bytes()
        for name in self.constants & set(self.sources.others):
            yield f"file {name}", self.sources.others[name].read_bytes()
        for slug in self.slugs():
            record = self.sources.root / "data/evidence" / f"{slug}.json"
            yield f"record {slug}", shown_of(record) if record.is_file() else b""
        for slug in {self.page} & set(self.slugs()):  # a page may show its paper in other profiles as well
            for record in (self.sources.root / "data/evidence").glob(f"{slug}.*.json"):
                yield f"record {slug}, {record.stem.partition('.')[2]}", shown_of(record)

    def slugs(self) -> list[str]:
        """The papers whose records the page shows: its own, those its cells name, or all of its chapter or book."""
        papers = self.sources.papers
        if any(name in OVER_PAPERS for _, name in self.asked):
            chapter = self.page.partition("/")[0] + "/"
            return [slug for slug in papers if slug.startswith(chapter)] or papers
        return [slug for slug in papers if slug == self.page or slug in self.named]

    @cached_property
    def _listed(self) -> set[str]:
        """The names that cells hand to `listing`."""
        calls = [node for node in self.nodes if isinstance(node, ast.Call)]
        arguments = [argument for call in calls if last_name(call.func) == "listing" for argument in call.args]
        return {last_name(node) for argument in arguments for node in ast.walk(argument)} - {""}

    def _of_paper(self, slug: str) -> list[str]:
        """The modules of a paper."""
        top = f"{TOP}.papers.{slug.replace('/', '.')}"
        return [name for name in self.modules if name == top or name.startswith(f"{top}.")]

    def _take(self, one: Import, by_a_cell: bool = False) -> None:
        """Take in what an import reaches."""
        inner = f"{one.source}.{one.name}" if one.name else one.source
        wanted = (inner, one.attributes) if inner in self.modules else (one.source, {one.name})
        if by_a_cell:
            self.asked |= {(wanted[0], name) for name in wanted[1]}
        self._want(*wanted)

    def _want(self, name: str, names: Iterable[str]) -> None:
        """Take in some names of a module; through a package, the modules that define them."""
        module = self.modules.get(name)
        if module is None:  # not ours
            return
        for wanted in names:
            if not module.is_package or wanted == WHOLE:
                self._visit(name)
            elif f"{name}.{wanted}" in self.modules:
                self._want(f"{name}.{wanted}", {WHOLE})
            elif wanted in module.passed_on:
                self._take(module.passed_on[wanted])
            else:
                self._visit(name)

    def _visit(self, name: str) -> None:
        """Take in a whole module and all that it imports."""
        if name in self.visited:
            return
        self.visited.add(name)
        self.constants |= self.modules[name].constants
        for one in self.modules[name].imports:
            self._take(one)

    def _follow_registries(self) -> None:
        """Take in the modules that registries have under the names in use, until nothing is added."""
        before = -1
        while before != len(self.visited):
            before = len(self.visited)
            for module in [self.modules[name] for name in self.visited]:
                used = self._used(module)
                for entries in module.registries.values():
                    for key in used & set(entries):
                        self._want(entries[key], {WHOLE})
                self.models |= used

    def _used(self, module: Module) -> set[str]:
        """The names in use of a module's registries: those that code names, or all if a cell takes the registry."""
        taken = {name for _, name in self.asked}
        keys = [(name, key) for name, entries in module.registries.items() for key in entries]
        return {key for name, key in keys if name in taken or key in self.constants}


def named(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the dotted name and the path of each module of the package in `folder`."""
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        yield ".".join((TOP, *(part for part in parts if part != "__init__"))), path


def counts(cell: dict) -> bool:
    """Tell whether outputs follow from a cell; the setup cell holds the book's address, which may change."""
    return cell["cell_type"] == "code" and "setup" not in cell["metadata"].get("tags", [])


def parsed(source: str) -> ast.Module:
    """Parse a cell. A semicolon at its end hides its value, so it is part of what the cell says."""
    tree = ast.parse(TransformerManager().transform_cell(source))
    if source.rstrip().endswith(";"):
        tree.body.append(ast.Expr(ast.Constant(";")))
    return tree


def imports_of(nodes: list[ast.AST], package: str) -> Iterator[Import]:
    """Yield what some code imports, wherever in it; relative imports start from `package`."""
    used = attributes_of(nodes)
    for node in nodes:
        for alias in node.names if isinstance(node, ast.Import) else ():
            yield Import(alias.name, "", alias.asname or "", used(alias.asname))
        for alias in node.names if isinstance(node, ast.ImportFrom) else ():
            called = alias.asname or alias.name
            yield Import(absolute(node, package), alias.name, called, used(called))


def absolute(node: ast.ImportFrom, package: str) -> str:
    """Name the module that an import takes from."""
    if not node.level:
        return node.module or ""
    base = package.split(".")
    base = base[: len(base) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def attributes_of(nodes: list[ast.AST]) -> Callable[[str | None], frozenset[str]]:
    """Return a function that tells which attributes code takes from a name; all, if it hands on the thing itself."""
    taken: dict[str, set[str]] = {}
    bases = set()
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            taken.setdefault(node.value.id, set()).add(node.attr)
            bases.add(id(node.value))
    bare = {node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in bases}
    everything = frozenset({WHOLE})
    return lambda name: everything if name is None or name in bare else frozenset(taken.get(name, ()))


def normal(node: object) -> str:
    """Return code as a text in which only its meaning counts, the same for each version of Python."""
    if isinstance(node, ast.JoinedStr):
        return f"JoinedStr({pieces(node)})"
    if isinstance(node, ast.AST):
        fields = [(name, getattr(node, name, None)) for name in node._fields if name not in WITHOUT_MEANING]
        kept = [f"{name}={normal(value)}" for name, value in fields if value is not None and value != []]
        return f"{type(node).__name__}({', '.join(kept)})"
    if isinstance(node, list):
        return f"[{', '.join(map(normal, node))}]"
    return ascii(node)


def pieces(node: ast.JoinedStr) -> str:
    """The parts of a formatted string; versions of Python cut its plain text differently."""
    parts, text = [], ""
    for value in node.values:
        if isinstance(value, ast.Constant):
            text += value.value
        else:
            parts += [ascii(text), normal(value)]
            text = ""
    return ", ".join([*parts, ascii(text)])


def assigned(node: ast.stmt) -> str:
    """The name that a statement assigns to, if it is one plain name."""
    target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
    target = node.target if isinstance(node, ast.AnnAssign) else target
    return target.id if isinstance(target, ast.Name) else ""


def registries_of(tree: ast.Module) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the name and the entries of each dictionary that leads from names to paths of modules."""
    for node in tree.body:
        table = getattr(node, "value", None)
        if assigned(node) and isinstance(table, ast.Dict) and table.keys:
            pairs = [(constant(key), constant(value)) for key, value in zip(table.keys, table.values, strict=True)]
            if all(key and MODULE_PATH.fullmatch(value) for key, value in pairs):
                yield assigned(node), {key: value.partition(":")[0] for key, value in pairs}


def constant(node: ast.AST | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def strings(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yield the string constants among the nodes of some code."""
    return filter(None, map(constant, nodes))


def last_name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")


def listed(module: Module, names: set[str]) -> Iterator[str]:
    """Yield the text of the module's functions and classes of these names, as a listing shows it."""
    if not any(f"def {name}" in module.text or f"class {name}" in module.text for name in names):
        return
    lines = module.text.splitlines()
    for node in module.whole.body:
        if getattr(node, "name", None) in names:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            yield "\n".join(lines[first - 1 : node.end_lineno])


def shown_of(record: Path) -> bytes:
    """What pages can show of a record, however it is laid out."""
    document = json.loads(record.read_text("utf-8"))
    kept = {name: value for name, value in document.items() if name not in NOT_SHOWN}
    return json.dumps(kept, sort_keys=True).encode()
