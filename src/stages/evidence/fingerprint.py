"""What results must have in common to stand in one record: the settings, and the code
that made the numbers.
"""

import ast
import hashlib
import inspect
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any


def key(slug: str, profile: str, settings: dict, code: str) -> str:
    """Hash what results must have in common; `code` is the `fingerprint` of the paper's
    run.
    """
    return _digest([slug, profile, json.dumps(settings, sort_keys=True), code])


def setting_values(settings: Any) -> dict:
    """Turn a dataclass of settings into plain JSON values. Raises ValueError when they
    are anything more.
    """
    try:
        return json.loads(json.dumps(asdict(settings), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the settings {type(settings).__name__} cannot be written as JSON: {error}"
        ) from None


def fingerprint(run: Callable) -> str:
    """Hash the code of an experiment: the module of `run`, and what it reaches of the
    code its chapter shares.

    Of `common.py`, or of the modules in `common/`, those definitions count that the
    module imports, those that these use, and so on; what only other papers use does
    not. Comments, docstrings, the wording of claims and the object `PAPER` do not count
    either; its settings are hashed by value.
    """
    path = Path(inspect.getfile(run))
    module, single = _Module(path, ""), path.with_name("common.py")
    shared = {
        file.stem: _Module(file, file.stem) for file in path.parent.glob("common/*.py")
    }
    if single.is_file():
        shared["__init__"] = _Module(single, "__init__")
    reached, ahead = set(), module.uses(module.tree)
    while ahead:
        place, name = found = ahead.pop()
        if found in reached or place not in shared:
            continue
        if name in shared[place].definitions:
            reached.add(found)
            ahead |= {
                use
                for part in shared[place].definitions[name]
                for use in shared[place].uses(part)
            }
        elif name in shared[place].imports:
            ahead.add(shared[place].imports[name])
    parts = [
        _code(part)
        for place, name in sorted(reached)
        for part in shared[place].definitions[name]
    ]
    return _digest([_code(module.tree), *parts])


class _Module:
    """A source file: what it defines at its top level, and what it imports of its
    chapter's common code.

    `imports` maps a name to the module in `common/` and the name there; the latter is
    empty for a whole module.
    """

    def __init__(self, path: Path, place: str):
        self.place, self.tree = place, ast.parse(path.read_text(encoding="utf-8"))
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.imports: dict[str, tuple[str, str]] = {}
        for statement in self.tree.body:
            if isinstance(statement, ast.ImportFrom):
                self._note(statement)
            targets = getattr(
                statement, "targets", [getattr(statement, "target", None)]
            )
            names = {
                node.id
                for target in targets
                if target
                for node in ast.walk(target)
                if isinstance(node, ast.Name)
            }
            for name in names | {getattr(statement, "name", None)} - {None}:
                self.definitions.setdefault(name, []).append(statement)

    def _note(self, statement: ast.ImportFrom) -> None:
        *_, last = before = (statement.module or "").split(".")
        for alias in statement.names:
            if "common" in before:
                self.imports[alias.asname or alias.name] = (
                    "__init__" if last == "common" else last,
                    alias.name,
                )
            elif alias.name == "common":
                self.imports[alias.asname or alias.name] = "__init__", ""

    def uses(self, tree: ast.AST) -> set[tuple[str, str]]:
        """Return what some code of this file uses of the common code: (module, name)
        pairs.
        """
        found = set()
        for node in ast.walk(tree):
            whole = (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and self.imports.get(node.value.id)
            )
            if whole and not whole[1]:
                found.add((whole[0], node.attr))
            elif isinstance(node, ast.Name) and node.id in self.definitions:
                found.add((self.place, node.id))
            elif isinstance(node, ast.Name) and node.id in self.imports:
                found.add(self.imports[node.id])
        return found


def _digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def _code(node: Any) -> Any:
    """Reduce a syntax tree to nested tuples, without what is empty: that differs
    between versions of Python.
    """
    if isinstance(
        node, ast.JoinedStr
    ):  # Python 3.12.0 and 3.12.1 end a nested format with an empty string
        parts = tuple(
            _code(part) for part in node.values if getattr(part, "value", None) != ""
        )
        return "JoinedStr", ("values", parts)
    if isinstance(node, list):
        return tuple(_code(item) for item in node if not _silent(item))
    if not isinstance(node, ast.AST):
        return node
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Claim":
        return "Claim"
    fields = [
        (name, value)
        for name, value in ast.iter_fields(node)
        if value is not None and value != []
    ]
    return type(node).__name__, *((name, _code(value)) for name, value in fields)


def _silent(node: Any) -> bool:
    """Tell whether a statement is a docstring, or the paper's `PAPER = ...`."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(
            node.value.value, str
        )
    return isinstance(node, ast.Assign) and [
        getattr(target, "id", "") for target in node.targets
    ] == ["PAPER"]
