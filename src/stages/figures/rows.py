"""Claims side by side with what was measured: the rows of the verdict table and of the
scoreboard.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from stages.evidence import Claim, Finding


@dataclass(frozen=True)
class Row:
    """A claim, with its live and its recorded finding where they exist."""

    key: str
    text: str
    metric: str
    comparison: str
    kind: str
    margin: float
    reported: str
    origin: str
    live: Finding | None
    record: Finding | None

    @property
    def bounds(self) -> tuple[float, float]:
        """Where the whole interval has to lie for the claim to be reproduced."""
        if self.kind == "equivalence":
            return -self.margin, self.margin
        if self.kind == "noninferiority":
            return -self.margin, math.inf
        return self.margin, math.inf

    @property
    def demand(self) -> str:
        """What the claim asks of its effect, in words: "by more than 0.5"."""
        size = f"{self.margin:g}"
        if self.kind == "superiority":
            return f"by more than {size}" if self.margin else "by any amount"
        return (
            f"within ±{size}" if self.kind == "equivalence" else f"at most {size} worse"
        )


def match(claims: Iterable | None, live: Iterable | None, record: Any) -> list[Row]:
    """Pair claims with findings by their keys.

    Args:
        claims: each a `Claim` or a row of a record; the record's own by default.
        live: findings, or rows of them.
        record: a record, its list of `claims`, or findings.

    Raises:
        ValueError: no claims, a key that comes twice, or a finding of no claim.
    """
    recorded = list(getattr(record, "claims", record) or ())
    claims = list(recorded if claims is None else claims)
    if not claims:
        raise ValueError(
            "there are no claims to show: pass claims, or a record of them"
        )
    live = _by_key(live or ())
    recorded = _by_key(recorded)
    keys = [_get(claim, "key") for claim in claims]
    if len(set(keys)) < len(keys):
        raise ValueError(f"two claims have one key among {keys}")
    if strangers := (live.keys() | recorded.keys()) - set(keys):
        raise ValueError(
            f"findings of no claim: {', '.join(sorted(strangers))}; the claims are"
            f" {', '.join(keys)}"
        )
    names = [
        field.name for field in fields(Row) if field.name not in ("live", "record")
    ]
    return [
        Row(
            **{name: _get(claim, name) for name in names},
            live=live.get(key),
            record=recorded.get(key),
        )
        for key, claim in zip(keys, claims, strict=True)
    ]


def number(value: float, scale: float) -> str:
    """Print a signed number with two digits of `scale`, the half-width of its interval:
    "+4.52", "−0.031".
    """
    digits = min(6, max(0, 1 - math.floor(math.log10(scale)))) if scale > 0 else 2
    text = f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")
    return text if text.strip("+\N{MINUS SIGN}0.") else text[1:]


def span(finding: Finding) -> tuple[str, str]:
    """Print a finding's effect and its interval: "+4.5", "[3.1, 5.9]"."""
    scale = (finding.high - finding.low) / 2
    low = number(finding.low, scale).removeprefix("+")
    high = number(finding.high, scale).removeprefix("+")
    return number(finding.effect, scale), f"[{low}, {high}]"


def signed(value: float) -> str:
    """Print a margin: "+2", "−0.5", "0"."""
    return f"{value:+g}".replace("-", "\N{MINUS SIGN}") if value else "0"


def level_of(finding: Finding) -> str:
    """Print the level of a finding's interval: "95 %"."""
    return f"{100 * finding.level:g}\N{NO-BREAK SPACE}%"


def _by_key(findings: Iterable) -> dict[str, Finding]:
    """Index findings by key; rows of a record become findings, and rows without a
    verdict (mere claims) drop out.
    """
    measured = [row for row in findings if isinstance(row, Finding) or "verdict" in row]
    return {_get(row, "key"): _finding(row) for row in measured}


def _finding(row: Finding | Mapping) -> Finding:
    if isinstance(row, Finding):
        return row
    return Finding(**{field.name: row[field.name] for field in fields(Finding)})


def _get(claim: Claim | Finding | Mapping, name: str):
    return claim[name] if isinstance(claim, Mapping) else getattr(claim, name)
