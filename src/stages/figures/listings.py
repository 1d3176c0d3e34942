"""The live source of the package on the page, so that the code in the book cannot drift
from the code that runs.
"""

import inspect
import sys
import textwrap
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from stages.figures.page import css
from stages.sources import without_docstrings

COLUMNS = 79  # what a page shows without scrolling sideways

TOKENS = {  # (on a light page, on a dark one)
    "keyword": ("#0b5c94", "#7cc0ee"),
    "string": ("#3d6b1f", "#a9cf8a"),
    "comment": ("#63666e", "#a0a5ae"),
    "number": ("#9a3d0a", "#efab7d"),
    "name": ("#7a1f52", "#e59cc4"),
    "code": ("#26262b", "#dcdee2"),
    "page": ("#f7f5ef", "#1f2329"),
}
_TOKEN_RULES = {  # pygments' short names: k... for keywords, s... for strings
    "keyword": ".stages-listing :is([class^=k],.ow)",
    "string": ".stages-listing [class^=s]",
    "comment": ".stages-listing [class^=c]",
    "number": ".stages-listing :is([class^=m],.kc)",
    "name": ".stages-listing :is(.nf,.nc,.nd,.fm)",
}
_RULES = """
.stages-listing{margin:0 0 1em}
.stages-listing figure{margin:0;padding:0;width:auto;border:1px solid var(--st-line);
border-radius:.4em;overflow:hidden}
.stages-listing figure+figure{margin-top:.8em}
.stages-listing figcaption{margin:0;padding:.3em .9em;color:var(--st-muted);
font:.84em ui-monospace,monospace;
border-bottom:1px solid var(--st-line);background:var(--st-wash);text-align:left}
.stages-listing figure pre{margin:0;width:auto;padding:.8em .9em;border:0;
border-radius:0;overflow-x:auto;
background:var(--st-page);color:var(--st-code);font:.86em/1.5 ui-monospace,
SFMono-Regular,Menlo,Consolas,monospace}
.stages-listing pre span{background:none}
"""


@dataclass(frozen=True)
class Listing:
    """Source code: highlighted HTML, or the code itself where there is no HTML. `code`
    is what both show.
    """

    html: str
    code: str

    def __repr__(self) -> str:
        return self.code

    def _repr_html_(self) -> str:
        return self.html


def listing(
    *objects: Any,
    start: str | None = None,
    end: str | None = None,
    docstring: bool = True,
    width: int = COLUMNS,
) -> Listing:
    """Show the source of functions, methods or classes, as it stands in the package at
    this moment.

    Comments stay, the tags of equations (`# eq. 3`) among them.

    Args:
        objects: neighbours from one file share a box under the file's name.
        start, end: show only a part: from the first line that contains `start` to the
            first one after it that contains `end`, both included.
        docstring: False leaves out the docstrings, of methods too.
        width: the most columns a line may have.

    Raises:
        ValueError: no object, no line contains `start` or `end`, or a line is too long.
        TypeError: an object has no Python source.
    """
    if not objects:
        raise ValueError("name at least one function or class to list")
    bare = [
        inspect.unwrap(obj.fget if isinstance(obj, property) else obj)
        for obj in objects
    ]
    parts = [(_where(obj), _cut(_source(obj, docstring), start, end)) for obj in bare]
    for file, code in parts:
        _refuse_long(file, code, width)
    boxes = [
        (file, "\n\n\n".join(code for _, code in group))
        for file, group in groupby(parts, lambda part: part[0])
    ]
    html = "".join(
        f'<figure><figcaption>{escape(file)}</figcaption><pre tabindex="0"><code>'
        f"{highlight(code, PythonLexer(stripnl=False), HtmlFormatter(nowrap=True))}"
        "</code></pre></figure>"
        for file, code in boxes
    )
    colours = "".join(
        f"{where}{{color:var(--st-{token})}}" for token, where in _TOKEN_RULES.items()
    )
    sheet = css(_RULES + colours, TOKENS)
    code = "\n\n\n".join(code for _, code in boxes)
    return Listing(f'<div class="stages stages-listing">{sheet}{html}</div>', code)


def _source(obj: Any, docstring: bool) -> str:
    try:
        code = textwrap.dedent(inspect.getsource(obj)).rstrip()
    except (OSError, TypeError) as error:
        raise TypeError(
            f"{obj!r} has no Python source to list; pass a function or a class"
        ) from error
    return code if docstring else without_docstrings(code)


def _refuse_long(file: str, code: str, width: int) -> None:
    long = [line for line in code.splitlines() if len(line) > width]
    if not long:
        return
    others = f"; so are {len(long) - 1} more" if len(long) > 1 else ""
    raise ValueError(
        f"a listing has at most {width} columns, and this line of {file} has"
        f" {len(long[0])}{others}:\n{long[0]}\nbreak it in its file, or list a part"
        " without it (start, end, docstring=False)"
    )


def _cut(code: str, start: str | None, end: str | None) -> str:
    lines = code.splitlines()
    first = _find(lines, start, 0) if start is not None else 0
    last = _find(lines, end, first) if end is not None else len(lines) - 1
    return textwrap.dedent("\n".join(lines[first : last + 1]))


def _find(lines: list[str], text: str, first: int) -> int:
    for i in range(first, len(lines)):
        if text in lines[i]:
            return i
    raise ValueError(
        f"no line{' from there on' if first else ''} contains {text!r}; the listing"
        f" begins {lines[0]!r}"
    )


def _where(obj: Any) -> str:
    """Name the file from its package on: "stages/training/stacked.py"."""
    module = sys.modules.get(
        getattr(obj, "__module__", None) or getattr(obj, "__name__", "")
    )
    file = getattr(module, "__file__", None)
    top = module and sys.modules.get(module.__name__.partition(".")[0])
    if file is None or not getattr(top, "__file__", None):
        return "this notebook"
    root = Path(top.__file__).parent
    return (
        Path(file)
        .relative_to(root.parent if hasattr(top, "__path__") else root)
        .as_posix()
    )
