"""What results must have in common to stand in one record: the settings, and the code that made the numbers."""

import ast
import hashlib
import inspect
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any


def key(slug: str, profile: str, settings: dict, code: str) -> str:
    """Hash what results must have in common; `code` is the `fingerprint` of the paper's run."""
    return _digest([slug, profile, json.dumps(settings, sort_keys=True), code])


def setting_values(settings: Any) -> dict:
    """Turn a dataclass of settings into plain JSON values. Raises ValueError when they are anything more."""
    try:
        return json.loads(json.dumps(asdict(settings), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"the settings {type(settings).__name__} cannot be written as JSON: {error}") from None


def fingerprint(run: Callable) -> str:
    """Hash the code of an experiment: the module of `run`, and what it reaches of the code its chapter shares.

    Of `common.py`, or of the modules in `common/`, those definitions count that the module names, those that these
    name, and so on; what other papers share does not. Comments, docstrings, the wording of claims and the object
    `PAPER` do not count either; its settings are hashed by value.
    """
    module = Path(inspect.getfile(run))
    tree = ast.parse(module.read_text(encoding="utf-8"))
    shared, reached, ahead = _definitions(module.parent), set(), _names(tree)
    while ahead := {name for name in ahead if name in shared} - reached:
        reached |= ahead
        ahead = {used for name in ahead for statement in shared[name] for used in _names(statement)}
    return _digest([_code(tree), *(_code(shared[name]) for name in sorted(reached))])


def _definitions(chapter: Path) -> dict[str, list[ast.stmt]]:
    """Return what the chapter's common code defines at its top level, by name."""
    found: dict[str, list[ast.stmt]] = {}
    for path in sorted([*chapter.glob("common.py"), *chapter.glob("common/*.py")]):
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            targets = getattr(statement, "targets", [getattr(statement, "target", None)])
            names = {node.id for target in targets if target for node in ast.walk(target) if isinstance(node, ast.Name)}
            for name in names | {getattr(statement, "name", None)} - {None}:
                found.setdefault(name, []).append(statement)
    return found


def _names(tree: ast.AST) -> set[str]:
    """Return every name that some code uses, imports or looks up in an object."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute | ast.alias):
            names.add(getattr(node, "id", None) or getattr(node, "attr", None) or node.name)
    return names


def _digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def _code(node: Any) -> Any:
    """Reduce a syntax tree to nested tuples, without what is empty: that differs between versions of Python."""
    if isinstance(node, ast.JoinedStr):  # Python 3.12.0 and 3.12.1 end a nested format with an empty string
        parts = tuple(_code(part) for part in node.values if getattr(part, "value", None) != "")
        return "JoinedStr", ("values", parts)
    if isinstance(node, list):
        return tuple(_code(item) for item in node if not _silent(item))
    if not isinstance(node, ast.AST):
        return node
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Claim":
        return "Claim"
    fields = [(name, value) for name, value in ast.iter_fields(node) if value is not None and value != []]
    return type(node).__name__, *((name, _code(value)) for name, value in fields)


def _silent(node: Any) -> bool:
    """Tell whether a statement is a docstring, or the paper's `PAPER = ...`."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets] == ["PAPER"]
