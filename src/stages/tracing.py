"""Numbers noted while code runs, for whoever listens.

A training loop notes its losses; the evidence's probe listens to them, and so compares
continuous numbers of every network that a paper trains, without the paper's help.
"""

from collections.abc import Iterator
from contextlib import contextmanager

_listeners: list[list[tuple[str, float]]] = []


@contextmanager
def listening() -> Iterator[list[tuple[str, float]]]:
    """Collect, as pairs of name and value, all that is noted inside."""
    heard: list[tuple[str, float]] = []
    _listeners.append(heard)
    try:
        yield heard
    finally:
        _listeners[:] = [other for other in _listeners if other is not heard]


def note(name: str, value: float) -> None:
    """Tell a number to whoever listens; without a listener nothing happens."""
    for heard in _listeners:
        heard.append((name, value))
