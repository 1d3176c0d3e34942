"""A claim's interval as a small bar against its margin: inline SVG that follows the
page's theme and width.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape

from stages.evidence import CONTRADICTED, INCONCLUSIVE, REPRODUCED, Finding
from stages.figures.rows import Row, level_of, signed, span

PAD = 0.06  # of the scale's length, left free at either end
STEP = 13  # pixels from one interval to the next
FOOT = 14  # pixels below the intervals, for the numbers of the scale

TOKENS = {  # (on a light page, on a dark one)
    REPRODUCED: ("#00684A", "#4fbf95"),
    INCONCLUSIVE: ("#72757C", "#a9adb6"),
    CONTRADICTED: ("#B93A0B", "#f0885a"),
    "page": ("var(--pst-color-background,#fff)", "var(--pst-color-background,#14181e)"),
}
RULES = """
.stages .bar{display:block;width:100%;overflow:visible;margin:.1em 0 .5em}
.stages .bar .goal{fill:var(--st-reproduced);opacity:.16}
.stages .bar .margin{stroke:var(--st-reproduced);stroke-width:1.5;
stroke-dasharray:3 2}
.stages .bar .zero{stroke:var(--st-text);stroke-width:1}
.stages .bar text{fill:var(--st-muted);font-size:10px}
.stages .bar .span{stroke:var(--st-of);stroke-width:3}
.stages .bar .dot{fill:var(--st-of);stroke:var(--st-page);stroke-width:1}
.stages .bar .tip{fill:var(--st-of)}
.stages .bar .live{opacity:.85}
.stages .bar .live .span{stroke-width:1.5}
.stages .bar .live .dot{fill:var(--st-page);stroke:var(--st-of);stroke-width:1.5}
""" + "".join(
    f".stages .bar .{verdict}{{--st-of:var(--st-{verdict})}}"
    for verdict in (REPRODUCED, INCONCLUSIVE, CONTRADICTED)
)


@dataclass(frozen=True)
class Scale:
    """From effects to places: `low` stands at 0 % of a bar's width, `high` at 100 %."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Where a value stands, in percent; what lies beyond the ends stands there."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 2)


def scales(rows: Iterable[Row]) -> Mapping[str, Scale]:
    """Return each metric's scale: it holds zero, the margins, and what was recorded.

    A live interval of few seeds can be many times as wide as a recorded one. It gets
    half a recorded scale at either end and is cut off there.
    """
    by_metric: dict[str, list[Row]] = {}
    for row in rows:
        by_metric.setdefault(row.metric, []).append(row)
    return {metric: _scale(group) for metric, group in by_metric.items()}


def _scale(rows: list[Row]) -> Scale:
    marks = [0.0]
    live = []
    for row in rows:
        marks += [bound for bound in row.bounds if math.isfinite(bound)]
        if row.record:
            marks += [row.record.low, row.record.high]
        if row.live:
            live += [row.live.low, row.live.high]
            marks += [row.live.effect]
    if not any(row.record for row in rows):
        marks += live
    room = (max(marks) - min(marks)) or 1.0
    low = max(min(marks + live), min(marks) - room / 2)
    high = min(max(marks + live), max(marks) + room / 2)
    free = PAD * ((high - low) or 1.0)
    return Scale(low - free, high + free)


def bar(row: Row, scale: Scale) -> str:
    """Return a claim's bar as HTML: its recorded interval filled, its live one hollow.

    Tinted is where the whole interval has to lie for the claim to be reproduced. The
    bar describes itself to those who cannot see it.
    """
    found = [("record", row.record), ("live", row.live)]
    found = [(kind, finding) for kind, finding in found if finding]
    height = STEP * len(found) + 4
    low, high = row.bounds
    left = scale.place(low)
    right = scale.place(high)
    parts = [
        f'<rect class="goal" x="{left}%" width="{round(right - left, 2)}%"'
        f' height="{height}"/>'
    ]
    parts += [
        _upright("margin", scale.place(bound), height)
        for bound in (low, high)
        if math.isfinite(bound) and bound
    ]
    parts.append(_upright("zero", scale.place(0), height))
    for i, (kind, finding) in enumerate(found):
        parts.append(_interval(kind, finding, scale, 8.5 + STEP * i))
    parts += _numbers(row, scale, height + FOOT - 3)
    return (
        f'<svg class="bar" width="100%" height="{height + FOOT}" role="img"'
        f' aria-label="{escape(describe(row))}">{"".join(parts)}</svg>'
    )


def describe(row: Row) -> str:
    """Tell what the bar shows, for those who cannot see it."""
    told = []
    for kind, finding in (("recorded", row.record), ("live", row.live)):
        if finding:
            effect, interval = span(finding)
            told.append(
                f"{kind} effect {effect}, {level_of(finding)} interval {interval}"
            )
    return (
        f"{row.key}: {'; '.join(told)}. Reproduced where the whole interval is"
        f" {_goal(row)}."
    )


def _goal(row: Row) -> str:
    low, high = row.bounds
    if math.isinf(high):
        return f"above {signed(low)}"
    return f"between {signed(low)} and {signed(high)}"


def _upright(name: str, x: float, height: int) -> str:
    return f'<line class="{name}" x1="{x}%" x2="{x}%" y2="{height}"/>'


def _interval(kind: str, finding: Finding, scale: Scale, y: float) -> str:
    low, high = scale.place(finding.low), scale.place(finding.high)
    parts = [f'<line class="span" x1="{low}%" x2="{high}%" y1="{y}" y2="{y}"/>']
    # a tip says that an interval goes on beyond the scale
    if finding.low < scale.low:
        parts.append(_tip("0%", -1, y))
    if finding.high > scale.high:
        parts.append(_tip("100%", 1, y))
    middle = scale.place(finding.effect)
    parts.append(f'<circle class="dot" cx="{middle}%" cy="{y}" r="4.5"/>')
    return f'<g class="{kind} {finding.verdict}">{"".join(parts)}</g>'


def _tip(x: str, way: int, y: float) -> str:
    return (
        f'<svg x="{x}" y="{y}" overflow="visible">'
        f'<path class="tip" d="M{-5 * way} -4L{2 * way} 0L{-5 * way} 4Z"/></svg>'
    )


def _numbers(row: Row, scale: Scale, y: float) -> list[str]:
    """Write zero and the margins below the bar, away from each other."""
    low, high = row.bounds
    below = [bound for bound in (low,) if bound < 0]
    above = [bound for bound in (low, high) if 0 < bound < math.inf]
    anchors = [(bound, "end") for bound in below]
    anchors += [(bound, "start") for bound in above]
    if not (below and above):
        anchors.append((0.0, "start" if below else "end" if above else "middle"))
    return [
        f'<text x="{scale.place(value)}%" y="{y}" text-anchor="{anchor}">'
        f"{signed(value)}</text>"
        for value, anchor in anchors
    ]
