"""The verdicts on a paper's claims: one table with each interval drawn against its
margin, the gates, and the banner that stands where a gate failed.
"""

import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from stages.evidence import RULE, Finding
from stages.evidence.gates import failed
from stages.figures import bars
from stages.figures.page import css
from stages.figures.rows import Row, level_of, match, span
from stages.figures.style import VERDICTS
from stages.figures.tables import Table, wrap

OURS = "the book's own"
LEGEND = (
    "Right of zero favours the claim. Tinted: where the whole interval has to lie."
    " Filled: recorded; hollow: live."
)
KINDS = {"record": "recorded", "live": "live"}
MEASURED = "Measured here"

RULES = (
    """
.stages .key{font-weight:700;margin-right:.45em}
.stages .own{display:inline-block;padding:0 .5em;border:1px solid var(--st-muted);
border-radius:1em;color:var(--st-muted);font-size:.8em;white-space:nowrap}
.stages .found{display:flex;flex-wrap:wrap;align-items:baseline;gap:.1em .6em;
margin:0 0 .35em}
.stages .found>*{white-space:nowrap}
.stages .found small{display:inline}
.stages .found .where{white-space:normal}
.stages .effect{font-variant-numeric:tabular-nums}
.stages .verdict{display:inline-block;padding:.08em .6em;border-radius:1em;color:#fff;
border:1px solid transparent;font-size:.88em;font-weight:600;white-space:nowrap}
.stages .live .verdict{background:none!important;color:var(--st-text);
border-color:var(--st-muted)}
.stages-verdicts .stages-table{margin:0 0 .6em}
.stages-verdicts>:is(p,ul,details){margin:0 0 .6em;padding:0;border:0;background:none;
box-shadow:none;color:var(--st-text)}
.stages-verdicts>ul{padding-left:1.3em}
.stages-verdicts small{color:var(--st-muted);font-size:.88em}
.stages-verdicts summary{cursor:pointer;padding:.25em 0;font-weight:600;
color:var(--st-text);background:none;border:0}
.stages.stages-claims.stages-table table{table-layout:fixed}
.stages .reported{display:block;margin-top:.35em}
.stages .reported i{color:var(--st-muted);font-style:normal}
.stages-banner{margin:0 0 1em;padding:.6em .9em;border:1px solid var(--st-alarm);
border-left-width:.4em;border-radius:.3em;color:var(--st-text)}
.stages-banner b{color:var(--st-alarm)}
.stages-banner ul{margin:.3em 0 0;padding-left:1.3em}
.stages-banner li{margin:0}
"""
    + bars.RULES
)
TOKENS = bars.TOKENS | {"alarm": ("#A32A00", "#ff9d70")}


def verdict_table(
    claims: Any = None,
    live: Iterable | None = None,
    record: Any = None,
    *,
    caption: str = "Verdicts",
) -> Table:
    """Set each claim beside what the paper reports and what was measured here.

    An effect is followed by its interval, in the unit of the metric; positive favours
    the claim. The bar draws the interval against the claim's margin, on one scale for
    all claims on one metric. What gets no verdict (`also`) is folded below, and so is
    the rule. Failed gates stand above the table, deviations below it. On a narrow page
    every claim becomes a card.

    Args:
        claims: a `Paper`, or claims, each a `Claim` or a row of a record; the record's
            own by default.
        live: the findings of a run just made, on the claims and on what is measured
            also.
        record: a `Record`, its list of claims, or findings.

    Raises:
        ValueError: there are no claims, or findings of no claim.
    """
    source = claims if hasattr(claims, "claims") else record
    extra = list(getattr(source, "also", ()))
    extra_keys = {_key(row) for row in extra}
    live = list(live or ())
    rows = match(
        getattr(claims, "claims", claims),
        [found for found in live if _key(found) not in extra_keys],
        record,
    )
    also = []
    if extra:
        live_also = [found for found in live if _key(found) in extra_keys]
        also = match(extra, live_also, getattr(record, "also", ()))
        also = [row for row in also if row.live or row.record]
    gates = list(getattr(record, "gates", ()))
    deviations = list(getattr(source, "deviations", ()))
    html = (
        f'<div class="stages stages-verdicts">{css(RULES, TOKENS)}'
        f"{_banner_html(failed(gates))}{_claims_html(rows, caption)}{_also_html(also)}"
        f"{_deviations_html(deviations)}{_rule_html()}</div>"
    )
    text = [
        *_banner_lines(failed(gates)),
        caption,
        *(line for row in rows for line in _row_lines(row)),
    ]
    if also:
        text += ["Also measured, without a verdict"]
        text += [line for row in also for line in _row_lines(row, demand=False)]
    if deviations:
        text += ["Changed after it had been fixed", *(f"  - {d}" for d in deviations)]
    return Table(html, "\n".join(text))


def gate_table(record: Any, *, caption: str = "Gates") -> Table:
    """Show the conditions without which a paper's claims mean nothing.

    Args:
        record: a `Record`, or its rows {name, value, bound, met}.

    Raises:
        ValueError: there are no gates.
    """
    rows = list(getattr(record, "gates", record) or ())
    if not rows:
        raise ValueError("there are no gates to show; Paper.gates has them")
    names = ("Measured", "Wanted", "Met")
    head = '<th scope="col">Gate</th>' + "".join(
        f'<th scope="col"{_number(name == "Measured")}>{name}</th>' for name in names
    )
    body = ""
    lines = [caption]
    for row in rows:
        cells = (f"{row['value']:.3g}", row["bound"], _met(row["met"]))
        lines.append(f"{row['name']}: {cells[0]}, wanted {cells[1]}: {cells[2]}")
        body += f'<tr><th scope="row">{escape(row["name"])}</th>' + "".join(
            f"<td{_number(name == 'Measured')}>{escape(cell)}</td>"
            for name, cell in zip(names, cells, strict=True)
        )
        body += "</tr>"
    return Table(wrap(caption, head, f"<tbody>{body}</tbody>"), "\n".join(lines))


def banner(record: Any) -> Table | None:
    """Say which gates of a record failed, for the top of a page; None if all hold.

    Args:
        record: a `Record`, or its rows {name, value, bound, met}.
    """
    faults = failed(getattr(record, "gates", record))
    if not faults:
        return None
    html = f'<div class="stages">{css(RULES, TOKENS)}{_banner_html(faults)}</div>'
    return Table(html, "\n".join(_banner_lines(faults)))


def badge(verdict: str) -> str:
    """Return a verdict as an HTML badge: its symbol and its word in white on its
    colour.
    """
    look = VERDICTS[verdict]
    return (
        f'<span class="verdict" style="background:{look.colour}">'
        f"{look.symbol}\N{NO-BREAK SPACE}{verdict}</span>"
    )


def claim_cell(row: Row, demand: bool = True) -> str:
    """Return a claim as HTML: its key, its text, whose it is, and its terms.

    Args:
        demand: say what the claim asks of its effect, too.
    """
    terms = _terms(row, demand)
    mark = f' <span class="own">{OURS}</span>' if row.origin == "ours" else ""
    return (
        f'<span class="key">{escape(row.key)}</span>{escape(row.text)}{mark}'
        f"<small>{escape(terms)}</small>"
    )


def measured_cell(row: Row, scale: bars.Scale) -> str:
    """Return what was measured as HTML: the bar, and for the record and the live run
    its verdict, effect and interval.
    """
    drawn = bars.bar(row, scale) if row.record or row.live else ""
    return drawn + _found_html(row)


def finding_words(finding: Finding) -> str:
    """Return a finding as one line of text."""
    verdict = f"{finding.verdict:13} " if finding.verdict else ""
    return f"{verdict}{' '.join(span(finding))} ({_circumstances(finding)})"


def _claims_html(rows: list[Row], caption: str) -> str:
    scales = bars.scales(rows)
    head = (
        '<th scope="col">Claim, and what the paper reports</th>'
        f'<th scope="col">{MEASURED}</th>'
    )
    body = "".join(
        f'<tr><th scope="row">{claim_cell(row)}{_reported(row)}</th>'
        f'<td data-column="{MEASURED}">{measured_cell(row, scales[row.metric])}</td>'
        "</tr>"
        for row in rows
    )
    body = f"<tbody>{body}</tbody>"
    table = wrap(caption, head, body, "stages-cards stages-claims")
    return f"{table}<p><small>{LEGEND}</small></p>"


def _also_html(rows: list[Row]) -> str:
    if not rows:
        return ""
    body = "".join(
        f'<tr><th scope="row">{claim_cell(row, demand=False)}</th>'
        f'<td data-column="{MEASURED}">{_found_html(row)}</td></tr>'
        for row in rows
    )
    head = f'<th scope="col">Comparison</th><th scope="col">{MEASURED}</th>'
    title = f"Also measured ({len(rows)})"
    table = wrap(
        "Effects that explain the verdicts; they get none themselves",
        head,
        f"<tbody>{body}</tbody>",
        "stages-cards",
        styled=False,
    )
    return f"<details><summary>{title}</summary>{table}</details>"


def _found_html(row: Row) -> str:
    lines = []
    for kind, name in KINDS.items():
        finding = getattr(row, kind)
        if finding is None:
            continue
        effect, interval = span(finding)
        said = f"{badge(finding.verdict)} " if finding.verdict else ""
        lines.append(
            f'<span class="found {kind}">{said}<span class="effect"><b>{effect}</b>'
            f' {interval}</span> <small class="where">{name},'
            f" {escape(_circumstances(finding))}</small></span>"
        )
    return "".join(lines) or "<small>not measured</small>"


def _terms(row: Row, demand: bool) -> str:
    terms = f"{row.comparison} on {row.metric}"
    return f"{terms}, {row.demand}" if demand else terms


def _row_lines(row: Row, demand: bool = True) -> list[str]:
    mark = f" ({OURS})" if row.origin == "ours" else ""
    lines = [f"{row.key}: {_terms(row, demand)}{mark}"]
    for kind in KINDS:
        if finding := getattr(row, kind):
            lines.append(f"    {kind + ':':8}{finding_words(finding)}")
    return lines if len(lines) > 1 else [*lines, "    not measured"]


def _circumstances(finding: Finding) -> str:
    where = f", weakest: {finding.setting}" if finding.setting else ""
    return f"{level_of(finding)}, {finding.seeds} seeds{where}"


def _reported(row: Row) -> str:
    """Return what the paper reports as HTML; nothing for a claim that it lacks."""
    if row.origin == "ours" and row.reported == "not found":
        return ""
    return (
        f'<span class="reported"><i>The paper reports</i> {escape(row.reported)}</span>'
    )


def _banner_lines(faults: list[str]) -> list[str]:
    if not faults:
        return []
    return [f"⚠ {_alarm(faults)}", *(f"  - {fault}" for fault in faults)]


def _banner_html(faults: list[str]) -> str:
    if not faults:
        return ""
    items = "".join(f"<li>{escape(fault)}</li>" for fault in faults)
    return (
        f'<div class="stages-banner" role="note"><b>⚠ {_alarm(faults)}</b>'
        f"<ul>{items}</ul></div>"
    )


def _alarm(faults: list[str]) -> str:
    what = "A gate failed" if len(faults) == 1 else f"{len(faults)} gates failed"
    return f"{what}: the verdicts on this paper may mean little."


def _deviations_html(deviations: list[str]) -> str:
    if not deviations:
        return ""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in deviations)
    return f"<p><b>Changed after it had been fixed</b></p><ul>{items}</ul>"


def _rule_html() -> str:
    rule = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escape(" ".join(RULE.split())))
    return f"<details><summary>How a verdict is made</summary><p>{rule}</p></details>"


def _met(met: bool) -> str:
    return "✓ yes" if met else "✗ no"


def _number(is_one: bool) -> str:
    return ' class="number"' if is_one else ""


def _key(row: Any) -> str:
    return row["key"] if isinstance(row, Mapping) else row.key
