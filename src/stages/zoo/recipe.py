"""What a recipe is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Recipe:
    """How a base model is made.

    Attributes:
        name: of the model and its files.
        summary, data: what it is, and what it was trained on, in a line each.
        settings: a frozen dataclass of plain values; the card holds them, and must.
        build: `build(settings)` makes the network, its weights drawn from torch's own
            stream.
        fit: `fit(network, settings, seed)` trains it in place, on the device it is on.
        measure: `measure(network, settings, seed)` gives numbers by name, accuracies in
            per cent.
    """

    name: str
    summary: str
    data: str
    settings: Any
    build: Callable[[Any], nn.Module]
    fit: Callable[[nn.Module, Any, int], None]
    measure: Callable[[nn.Module, Any, int], dict[str, float]]
