"""Tables for the page: any small data frame in one dress."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from stages.figures.page import css

RULES = """
.stages-table{overflow-x:auto;margin:0 0 1em}
.stages-table table{border-collapse:collapse;width:100%;margin:0;border:0;
color:inherit;font-size:inherit;background:none}
.stages-table caption{caption-side:top;text-align:left;padding:0 0 .5em;
color:var(--st-text);font-weight:600}
.stages-table tr,.stages-table tbody tr:nth-child(n){background:none;border:0}
.stages-table th,.stages-table td{padding:.55em .7em;border:0;
border-bottom:1px solid var(--st-line);
text-align:left;vertical-align:top;font-weight:400;white-space:normal;min-width:5.5em}
.stages-table thead th{color:var(--st-muted);font-size:.9em;vertical-align:bottom;
border-bottom:2px solid var(--st-line)}
.stages-table :is(th,td):first-child{padding-left:0}.stages-table :is(th,
td):last-child{padding-right:0}
.stages-table :is(th,td).number{text-align:right;min-width:0;
font-variant-numeric:tabular-nums;white-space:nowrap}
.stages-table small{display:block;color:var(--st-muted);font-size:.88em}
@container(max-width:560px){
.stages-cards thead{position:absolute;width:1px;height:1px;overflow:hidden;
clip-path:inset(50%)}
.stages-cards :is(table,caption,tbody,tr,th,td){display:block}
.stages-cards tbody tr:nth-child(n){
margin:0 0 .8em;padding:.7em .9em;border:1px solid var(--st-line);border-radius:.5em}
.stages-cards tbody :is(th,td){border:0;padding:.25em 0;text-align:left!important}
.stages-cards td::before{content:attr(data-column);display:block;color:var(--st-muted);
font-size:.84em}
.stages-cards td.number::before{display:inline-block;margin-right:.6em}
}
"""


@dataclass(frozen=True)
class Table:
    """A table as HTML for pages and as text for everything else."""

    html: str
    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html


def table(
    frame: pd.DataFrame,
    *,
    caption: str,
    formats: Mapping[str, str | Callable[[Any], str]] | None = None,
) -> Table:
    """Dress a small data frame for the page.

    On a narrow page, a table with long texts becomes cards, one a row; any other
    scrolls sideways in its own box.

    Args:
        frame: its index becomes the row headers, unless it merely counts.
        caption: what the table shows; every table has one.
        formats: for some columns, a format ("{:.1f} s") or a function of a value.
            Others are printed as they are, floats with three digits, a missing value as
            a dash.

    Raises:
        ValueError: `formats` names a column that is not there.
    """
    formats = dict(formats or {})
    if missing := formats.keys() - set(frame.columns):
        raise ValueError(
            f"formats for no column: {', '.join(map(str, missing))}; there is"
            f" {', '.join(frame.columns)}"
        )
    counts = isinstance(frame.index, pd.RangeIndex) and frame.index.name is None
    cells = {
        column: [_format(value, formats.get(column)) for value in frame[column]]
        for column in frame
    }
    kind = {
        c: ' class="number"' if pd.api.types.is_numeric_dtype(frame[c]) else ""
        for c in frame
    }
    wordy = any(len(text) > 40 for texts in cells.values() for text in texts)
    head = "".join(
        f'<th scope="col"{kind[column]}>{escape(str(column))}</th>' for column in frame
    )
    rows = [
        "".join(
            f'<td{kind[c]} data-column="{escape(str(c))}">{escape(cells[c][i])}</td>'
            for c in frame
        )
        for i in range(len(frame))
    ]
    if not counts:
        head = f'<th scope="col">{escape(str(frame.index.name or ""))}</th>' + head
        rows = [
            f'<th scope="row">{escape(str(name))}</th>{row}'
            for name, row in zip(frame.index, rows, strict=True)
        ]
    text = pd.DataFrame(cells, index=frame.index).to_string(index=not counts)
    body = "<tbody>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</tbody>"
    return Table(
        wrap(caption, head, body, "stages-cards" if wordy else ""), f"{caption}\n{text}"
    )


def _format(value: Any, form: str | Callable[[Any], str] | None) -> str:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "–"
    if form is None:
        return f"{value:.3g}" if isinstance(value, float) else str(value)
    return form(value) if callable(form) else form.format(value)


def wrap(
    caption: str, head: str, body: str, kind: str = "", styled: bool = True
) -> str:
    """Return a whole table, in a box that scrolls.

    Args:
        body: one `tbody` or more.
        kind: "stages-cards" turns its rows into cards on a narrow page.
        styled: bring the style sheet along; one table of a page's part is enough.
    """
    sheet = css(RULES) if styled else ""
    box = (
        f'class="stages stages-table {kind}" tabindex="0" role="region"'
        f' aria-label="{escape(caption)}"'
    )
    return (
        f"<div {box}>{sheet}<table><caption>{escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead>{body}</table></div>"
    )
