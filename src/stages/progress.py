"""One progress bar for notebooks, terminals and logs."""

import sys

from tqdm.auto import tqdm

EVERY = 30.0  # seconds between two lines of a log


class _Log:
    """A stream for tqdm that turns each redrawing of the bar into a line of its own."""

    def __init__(self, stream):
        self.stream = stream

    def write(self, text: str) -> None:
        if text := text.strip():
            print(text, file=self.stream)

    def flush(self) -> None:
        self.stream.flush()


def bar(
    iterable=None, total: float | None = None, desc: str = "", *, disable: bool = False
) -> tqdm:
    """Show how far a loop has come: `for step in bar(range(1000))`, or `with
    bar(total=9) as b: b.update()`.

    In a notebook it is a widget that goes when the loop ends; in a terminal, a line on
    stderr that goes likewise. In a log it is a line on stderr every half minute, and
    none at all for what takes less.

    Args:
        iterable: what to loop over; without one, call `update`.
        total: the number of steps, if `iterable` doesn't know it.
        desc: what is going on, in a few words.
        disable: show nothing.
    """
    if _in_notebook():
        # Shown after a tenth of a second, so that what is done at once doesn't flicker.
        return tqdm(
            iterable, total=total, desc=desc, leave=False, delay=0.1, disable=disable
        )
    if sys.stderr.isatty():
        return tqdm(
            iterable,
            total=total,
            desc=desc,
            leave=False,
            dynamic_ncols=True,
            disable=disable,
        )
    return tqdm(
        iterable,
        total=total,
        desc=desc or "done",
        file=_Log(sys.stderr),
        mininterval=EVERY,
        maxinterval=2 * EVERY,
        delay=EVERY,
        bar_format="{desc}: {n_fmt} of {total_fmt} [{elapsed}<{remaining}]",
        disable=disable,
    )


def _in_notebook() -> bool:
    return any(parent.__name__ == "tqdm_notebook" for parent in tqdm.__mro__)
