"""What the package asks for, what `make` installs, and what the code imports are the same."""

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pins
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

BOOK = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((BOOK / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pinned(name):
    return [line for line in (BOOK / name).read_text(encoding="utf-8").splitlines() if line[0] != "#"]


def versions(lines):
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


PINNED, RENDERING = pinned("requirements.txt"), pinned("requirements-book.txt")
VERSIONS = versions(PINNED)
ASKED = [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]


@pytest.mark.parametrize("asked", ASKED)
def test_every_dependency_is_pinned_within_its_range(asked):
    wanted = Requirement(asked)
    assert VERSIONS.get(canonicalize_name(wanted.name), "not pinned") in wanted.specifier


def test_the_book_is_rendered_by_the_same_releases_and_without_torch():
    assert set(RENDERING) <= set(PINNED)
    assert pins.pins(RENDERING) == RENDERING
    wanted = map(Requirement, PROJECT["optional-dependencies"]["book"])
    assert {canonicalize_name(requirement.name) for requirement in wanted} <= versions(RENDERING).keys()
    assert not versions(RENDERING).keys() & {"torch", "numpy", "learning-in-stages"}


def test_the_pins_serve_every_platform():
    assert pins.pins(PINNED) == PINNED
    assert all(Requirement(line).marker is None for line in PINNED)
    assert VERSIONS["torch"] == pins.TORCH


def test_the_package_imports_only_what_it_declares():
    """`stages` needs nothing that `pip install learning-in-stages` would not bring; ray is an extra."""
    declared = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]} | {"ray"}
    providers, undeclared = packages_distributions(), {}
    for module in (BOOK / "src/stages").rglob("*.py"):
        for name in imported(ast.parse(module.read_text(encoding="utf-8"))):
            if name not in sys.stdlib_module_names and name != "stages":
                distributions = {canonicalize_name(found) for found in providers.get(name, [name])}
                if not distributions & declared:
                    undeclared[name] = module.relative_to(BOOK).as_posix()
    assert not undeclared


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]
