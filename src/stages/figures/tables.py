"""Tables for the page: the verdicts on a paper's claims, and any small data frame in
the same dress.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from stages.evidence import Finding
from stages.figures.page import css
from stages.figures.rows import Row, match, span
from stages.figures.style import VERDICTS

_RULES = """
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
.stages-table .key{font-weight:700;margin-right:.45em}
.stages-table .effect{display:block;margin-top:.35em;font-variant-numeric:tabular-nums}
.stages-table .effect *{white-space:nowrap}
.stages-table .verdict{display:inline-block;padding:.08em .6em;border-radius:1em;
color:#fff;font-size:.88em;
font-weight:600;white-space:nowrap}
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
.stages-cards .effect{display:inline-block;margin:0 0 0 .6em}}
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


def verdict_table(
    claims: Iterable | None = None,
    live: Iterable | None = None,
    record: Any = None,
    *,
    caption: str = "Verdicts",
) -> Table:
    """Set each claim, in our words, beside what the paper reports and what was measured
    here.

    An effect is followed by its 95 % interval, in the unit of the metric; positive
    favours the claim. On a narrow page every claim becomes a card.

    Args:
        claims: each a `Claim` or a row of a record; the record's own by default.
        live: the findings of a run just made; without any, the table has no column for
            them.
        record: a record, or its list of claims; likewise.

    Raises:
        ValueError: there are no claims, or findings of no claim.
    """
    rows = match(claims, live, record)
    found = {"live": "Quick, live", "record": "Full, recorded"}
    found = {
        kind: name
        for kind, name in found.items()
        if any(getattr(row, kind) for row in rows)
    }
    head = "".join(
        f'<th scope="col">{name}</th>'
        for name in ("Claim", "The paper reports", *found.values())
    )
    body = "".join(
        f'<tr><th scope="row">{claim_cell(row)}</th><td data-column="The paper'
        f' reports">{escape(row.reported)}</td>'
        + "".join(
            f'<td data-column="{name}">{finding_cell(getattr(row, kind))}</td>'
            for kind, name in found.items()
        )
        + "</tr>"
        for row in rows
    )
    lines = [
        line
        for row in rows
        for line in (
            f"{row.key}: {row.comparison} on {row.metric}, {row.demand}",
            *(
                f"    {kind + ':':8}{finding_words(getattr(row, kind))}"
                for kind in found
            ),
        )
    ]
    return Table(
        wrap(caption, head, f"<tbody>{body}</tbody>", "stages-cards"),
        "\n".join([caption, *lines]),
    )


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


def badge(verdict: str) -> str:
    """Return a verdict as an HTML badge: its symbol and its word in white on its
    colour.
    """
    look = VERDICTS[verdict]
    return (
        '<span class="verdict"'
        f' style="background:{look.colour}">'
        f"{look.symbol}\N{NO-BREAK SPACE}{verdict}</span>"
    )


def claim_cell(row: Row) -> str:
    """Return a claim as HTML: its key, its text and its terms."""
    terms = f"{row.comparison} on {row.metric}, {row.demand}"
    return (
        "<span"
        f' class="key">{escape(row.key)}</span>{escape(row.text)}'
        f"<small>{escape(terms)}</small>"
    )


def finding_cell(finding: Finding | None) -> str:
    """Return a finding as HTML: the verdict's badge, the effect and its interval, the
    seeds.
    """
    if finding is None:
        return "<small>not measured</small>"
    effect, interval = span(finding)
    where = f", weakest: {finding.setting}" if finding.setting else ""
    return (
        f'{badge(finding.verdict)} <span class="effect"><b>{effect}</b>'
        f" <span>{interval}</span></span><small>{finding.seeds}"
        f" seeds{escape(where)}</small>"
    )


def finding_words(finding: Finding | None) -> str:
    """Return a finding as one line of text."""
    if finding is None:
        return "not measured"
    where = f", weakest: {finding.setting}" if finding.setting else ""
    return (
        f"{finding.verdict:13} {' '.join(span(finding))} ({finding.seeds} seeds{where})"
    )


def _format(value: Any, form: str | Callable[[Any], str] | None) -> str:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "–"
    if form is None:
        return f"{value:.3g}" if isinstance(value, float) else str(value)
    return form(value) if callable(form) else form.format(value)


def wrap(caption: str, head: str, body: str, kind: str = "", rules: str = "") -> str:
    """Return a whole table, in a box that scrolls.

    Args:
        body: one `tbody` or more.
        kind: "stages-cards" turns its rows into cards on a narrow page.
        rules: more CSS.
    """
    box = (
        f'class="stages stages-table {kind}" tabindex="0" role="region"'
        f' aria-label="{escape(caption)}"'
    )
    return (
        f"<div {box}>{css(_RULES + rules)}"
        f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>{body}</table></div>"
    )
