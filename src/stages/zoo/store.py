"""The files of base models: `NAME.safetensors`, weights in half precision, and
`NAME.json`, the card.

A card says what the network is, how it was made and how good it is, and holds the
weights' SHA-256.
"""

import hashlib
import json
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import nn

from stages.files import write_whole
from stages.models import seeded
from stages.paths import data_dir
from stages.training import pick_device
from stages.zoo.recipe import Recipe
from stages.zoo.recipes import RECIPES, find

THREADS = (
    2  # at most, of a training on the CPU; the last digits of a sum depend on them
)
FACTS = (
    "name",
    "settings",
    "seed",
    "data",
    "metrics",
    "parameters",
    "sha256",
    "bytes",
    "seconds",
    "versions",
)


class ZooError(Exception):
    """A base model is absent, is not what its card says, or cannot be written; the
    message says what to do.
    """


def load(name: str, folder: Path | None = None) -> nn.Module:
    """Load a base model as it was measured: in single precision, on the CPU, frozen, in
    evaluation mode.

    Args:
        folder: where its files lie; those that come with the package by default.

    Raises:
        ValueError: no recipe has this name.
        ZooError: a file is absent, or not what it should be; the message says how to
            make it anew.
    """
    return _read(find(name), folder)[0]


def card(name: str, folder: Path | None = None) -> dict:
    """Return the card of a base model, once its weights are verified. Raises what
    `load` raises.
    """
    return _read(find(name), folder)[1]


def check(folder: Path | None = None) -> dict[str, str]:
    """Verify all base models; return the fault of each, empty where there is none."""
    faults = dict.fromkeys(RECIPES, "")
    for name in RECIPES:
        try:
            load(name, folder)
        except ZooError as error:
            faults[name] = str(error)
    place = folder or data_dir() / "zoo"
    strays = [
        path for path in sorted(place.glob("[!.]*")) if path.name not in _names(RECIPES)
    ]
    return faults | {
        path.name: f"{path} belongs to no recipe; remove it" for path in strays
    }


def train(name: str, folder: Path | None = None, seed: int = 0) -> dict:
    """Train a base model by its recipe, with a progress bar; write both files, and
    return the card.

    The device is `stages.training.pick_device()`. The same recipe and seed give the
    same weights on the same device.

    Args:
        folder: where the files go; to where `load` looks by default.

    Raises:
        ValueError: no recipe has this name.
        ZooError: the folder cannot be written to, which is found out first.
    """
    recipe, place, device = find(name), folder or data_dir() / "zoo", pick_device()
    weights, facts = (place / file for file in _names([name]))
    _write(place / f".{name}.probe", b"")
    (place / f".{name}.probe").unlink()
    start, busy = time.perf_counter(), time.process_time()
    with _threads(min(THREADS, torch.get_num_threads())) as threads, seeded(seed, name):
        model = recipe.build(recipe.settings).to(device)
        recipe.fit(model, recipe.settings, seed)
        state = {
            key: value.half().cpu().contiguous()
            for key, value in model.state_dict().items()
        }
        model.load_state_dict(state)  # what is measured is what is kept
        with torch.no_grad():
            metrics = recipe.measure(model.eval(), recipe.settings, seed)
    content = safetensors.torch.save(state)
    document = {
        "name": name,
        "summary": recipe.summary,
        "data": recipe.data,
        "settings": _settings(recipe),
        "seed": seed,
        "metrics": {metric: round(value, 2) for metric, value in metrics.items()},
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "device": (
            torch.cuda.get_device_name() if device.type == "cuda" else device.type
        ),
        "threads": threads,
        "seconds": round(time.perf_counter() - start),
        "cpu_seconds": round(
            time.process_time() - busy
        ),  # of all threads: what it takes on a machine left alone
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    }
    # killed between the two, it is a hash that does not match
    _write(weights, content)
    _write(facts, json.dumps(document, ensure_ascii=False, indent=1) + "\n")
    return document


def _read(recipe: Recipe, folder: Path | None) -> tuple[nn.Module, dict]:
    """Return the verified network and card."""
    place = folder or data_dir() / "zoo"
    weights, facts = (place / file for file in _names([recipe.name]))
    remedy = (
        f"`stages zoo train {recipe.name}{f' --out {folder}' if folder else ''}` makes"
        " it anew"
    )
    for path in (facts, weights):
        if not path.is_file():
            raise ZooError(f"no file {path}; {remedy}")
    try:
        document, content = json.loads(facts.read_bytes()), weights.read_bytes()
    except (ValueError, OSError) as error:
        raise ZooError(f"{facts} cannot be read: {error}; {remedy}") from None
    if fault := _fault(document, recipe):
        raise ZooError(f"{facts} is not the card of {recipe.name}: {fault}; {remedy}")
    if (found := hashlib.sha256(content).hexdigest()) != document["sha256"]:
        raise ZooError(
            f"{weights} is damaged or another's: its SHA-256 is {found[:12]}..., the"
            f" card says {str(document['sha256'])[:12]}...; {remedy}"
        )
    model = recipe.build(recipe.settings)
    try:
        model.load_state_dict(safetensors.torch.load(content))
    except (RuntimeError, safetensors.SafetensorError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise ZooError(
            f"{weights} does not hold the network of its recipe: {reason}; {remedy}"
        ) from None
    return model.eval().requires_grad_(False), document


def _fault(document: object, recipe: Recipe) -> str:
    """Say what keeps a document from being the card of a recipe's network; nothing if
    it is.
    """
    if not isinstance(document, dict) or not set(FACTS) <= set(document):
        return f"it must have {', '.join(FACTS)}"
    if document["name"] != recipe.name:
        return f"it is that of {document['name']}"
    if document["settings"] != _settings(recipe):
        return (
            f"its settings are {json.dumps(document['settings'])}, the recipe's are"
            f" {json.dumps(_settings(recipe))}"
        )
    return ""


def _settings(recipe: Recipe) -> dict:
    """The settings as JSON reads them back."""
    return json.loads(json.dumps(asdict(recipe.settings)))


def _names(recipes: list[str] | dict) -> list[str]:
    """The files of base models: weights and card of each."""
    return [
        f"{name}{suffix}" for name in recipes for suffix in (".safetensors", ".json")
    ]


@contextmanager
def _threads(count: int) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield count
    finally:
        torch.set_num_threads(before)


def _write(path: Path, content: str | bytes) -> None:
    """Write a file so that a crash leaves the old or the new one. Raises ZooError."""
    try:
        write_whole(path, content)
    except OSError as error:
        raise ZooError(
            f"cannot write to {path.parent}: {error.strerror or error}; give another"
            " folder"
        ) from None
