"""Claims side by side with what was measured: the rows that the forest plot and the
verdict table share.
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
    live: Finding | None
    record: Finding | None

    @property
    def bounds(self) -> tuple[float, float]:
        """Where the whole interval has to lie for the claim to be reproduced."""
        if self.kind == "equivalence":
            return -self.margin, self.margin
        return (
            -self.margin if self.kind == "noninferiority" else self.margin
        ), math.inf

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
        record: a record, or its list of `claims`.

    Raises:
        ValueError: no claims, a key that comes twice, or a finding of no claim.
    """
    recorded = list(getattr(record, "claims", record) or ())
    claims = list(recorded if claims is None else claims)
    if not claims:
        raise ValueError(
            "there are no claims to show: pass claims, or a record of them"
        )
    live, recorded = _by_key(live or ()), _by_key(recorded)
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
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def span(finding: Finding) -> tuple[str, str]:
    """Print a finding's effect and its interval: "+4.5", "[+3.1, +5.9]"."""
    scale = (finding.high - finding.low) / 2
    effect, low, high = (
        number(value, scale) for value in (finding.effect, finding.low, finding.high)
    )
    return effect, f"[{low}, {high}]"


def _by_key(findings: Iterable) -> dict[str, Finding]:
    """Index findings by key; rows of a record become findings, and rows without a
    verdict (mere claims) drop out.
    """
    names = [field.name for field in fields(Finding)]
    measured = [row for row in findings if isinstance(row, Finding) or "verdict" in row]
    read = [
        (
            row
            if isinstance(row, Finding)
            else Finding(**{name: row[name] for name in names})
        )
        for row in measured
    ]
    return {finding.key: finding for finding in read}


def _get(claim: Claim | Finding | Mapping, name: str):
    return claim[name] if isinstance(claim, Mapping) else getattr(claim, name)
