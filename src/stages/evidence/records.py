"""The record of an experiment: one JSON file a paper, with every seed, every score and
the verdicts.
"""

import json
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from stages.evidence.claims import Claim
from stages.evidence.gates import measure_gates
from stages.evidence.outcomes import curve_points
from stages.evidence.paper import Paper
from stages.evidence.verdicts import Finding, estimate, judge, measured
from stages.files import write_whole
from stages.paths import PACKAGE, data_dir

DIGITS = 6  # significant ones of a stored number
ROWS = ("scores", "curves", "claims", "also", "gates", "probe")


class RecordError(Exception):
    """A record is absent or not what it should be; the message says how to make it."""


@dataclass(frozen=True)
class Record:
    """What an experiment gave.

    Attributes:
        paper, title, arxiv, year, profile: whose it is; `settings` are the profile's,
            as plain values.
        seeds: in rising order.
        scores: rows {seed, method, metric, value}.
        curves: rows {seed, method, name, x: [...], y: [...]}.
        claims: rows of the claim's own fields, its `comparison`, and the finding's.
        also: the same for what gets no verdict.
        gates: rows {name, value, bound, met}.
        deviations: what was changed after it had been fixed.
        probe: rows {method, metric, value}, the numbers by which a change of code is
            found harmless; `probe_settings` are those it ran with.
        device, threads: where it ran, and the most threads that a seed had.
        seconds: the sum over seeds.
        versions: of Python and the packages that numbers depend on.
        created: the time, in UTC.
    """

    paper: str
    title: str
    arxiv: str
    year: int
    profile: str
    settings: dict[str, Any]
    seeds: list[int]
    scores: list[dict]
    curves: list[dict]
    claims: list[dict]
    also: list[dict]
    gates: list[dict]
    deviations: list[str]
    probe: list[dict]
    probe_settings: dict[str, Any]
    device: str
    threads: int
    seconds: float
    versions: dict[str, str]
    created: str

    def score_table(self) -> pd.DataFrame:
        """The scores as a tidy table: columns seed, method, metric, value."""
        return pd.DataFrame(
            self.scores, columns=["seed", "method", "metric", "value"]
        ).astype({"value": float})

    def curve_table(self) -> pd.DataFrame:
        """The curves as a tidy table, one row a point: columns seed, method, name, x,
        y.
        """
        return curve_points(self.curves)

    def findings(self) -> list[Finding]:
        """The findings on the claims as they are recorded."""
        names = [field.name for field in fields(Finding)]
        return [Finding(**{name: row[name] for name in names}) for row in self.claims]

    def finding(self, key: str) -> Finding:
        """The finding of one claim, or of one comparison of `also`.

        Raises:
            KeyError: there is none of this key.
        """
        names = [field.name for field in fields(Finding)]
        rows = {row["key"]: row for row in (*self.claims, *self.also)}
        return Finding(**{name: rows[key][name] for name in names})


def rejudge(record: Record, paper: Paper, partly: bool = False) -> Record:
    """Judge a paper on a record's own scores; return the record with these verdicts,
    gates and facts about the paper instead of its own.

    Args:
        partly: leave out what the scores do not speak of; a small profile may.

    Raises:
        ValueError: the scores do not hold what a claim or a gate reads.
    """
    scores = record.score_table()
    claims = measured(paper.claims, scores) if partly else paper.claims
    also = measured(paper.also, scores) if partly else paper.also
    return replace(
        record,
        title=paper.title,
        arxiv=paper.arxiv,
        year=paper.year,
        claims=_claim_rows(claims, judge(claims, scores)),
        also=_claim_rows(also, estimate(also, scores)),
        gates=plain(_gate_rows(paper, scores, partly)),
        deviations=list(paper.deviations),
    )


def _claim_rows(claims: Iterable[Claim], findings: Iterable[Finding]) -> list[dict]:
    pairs = zip(claims, findings, strict=True)
    return plain(
        [
            asdict(claim) | {"comparison": claim.comparison} | finding.row()
            for claim, finding in pairs
        ]
    )


def _gate_rows(paper: Paper, scores: pd.DataFrame, partly: bool) -> list[dict]:
    there = set(zip(scores["method"], scores["metric"], strict=True))
    gates = [
        gate
        for gate in paper.gates
        if not partly
        or all(
            (m, gate.metric) in there for m in (gate.method, gate.minus or gate.method)
        )
    ]
    return measure_gates(gates, scores)


def plain(value: Any) -> Any:
    """Turn a value into what its JSON reads back as, its numbers rounded to six
    significant digits.
    """
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        rounded = float(f"{value:.{DIGITS}g}")
        return (
            int(rounded) if rounded.is_integer() and abs(rounded) < 2**53 else rounded
        )
    return value


# -------------------------------------------------------------------------------- files


def save_record(record: Record, path: str | Path) -> None:
    """Write a record, its numbers rounded, so that a crash leaves the old file or the
    new one.

    Raises:
        RecordError: the record doesn't follow the schema; nothing is written.
        OSError: the folder cannot be written to.
    """
    document = {field.name: getattr(record, field.name) for field in fields(record)}
    document |= {name: plain(document[name]) for name in (*ROWS, "seconds")}
    if fault := fault_of(document, "record"):
        raise RecordError(f"{path} was not written: {fault}")
    write_whole(Path(path), _layout(document))


def load_record(path: str | Path, slug: str | None = None) -> Record:
    """Read a record and check it.

    Args:
        slug: the paper it must be of.

    Raises:
        RecordError: it is absent, truncated, or not a record; the message says how to
            make it anew.
    """
    path = Path(path)
    if not path.is_file():
        raise RecordError(f"no record {path}; {_remedy(path)}")
    try:
        document = read_json(path)
    except (ValueError, OSError) as error:
        raise RecordError(
            f"the record {path} cannot be read: {error}; {_remedy(path)}"
        ) from None
    if fault := fault_of(document, "record") or _contradiction(document, slug):
        raise RecordError(f"the record {path} is not valid: {fault}; {_remedy(path)}")
    return Record(**document)


def recorded(slug: str) -> Record:
    """Load the full record of a paper that comes with the book.

    Raises:
        RecordError: it is absent or not valid.
    """
    return load_record(data_dir() / "evidence" / f"{slug}.json", slug)


def all_records() -> Iterator[Record]:
    """Load the full records that come with the book, in the order of their slugs.
    Raises RecordError.
    """
    folder = data_dir() / "evidence"
    paths = [
        path for path in folder.glob("[!.]*/[!.]*.json") if "." not in path.stem
    ]  # no x.quick.json
    return (
        recorded(path.relative_to(folder).with_suffix("").as_posix())
        for path in sorted(paths)
    )


def read_json(path: Path) -> Any:
    """Read strict JSON. Raises ValueError for anything else, NaN included."""

    def refuse(name: str):
        raise ValueError(f"it holds {name}, which is no number")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def fault_of(document: Any, kind: str) -> str:
    """Say what keeps a document from being a "record" or a "result" of one seed;
    nothing if it is one.
    """
    from jsonschema.exceptions import (
        best_match,
    )  # slow to import, and not always needed

    error = best_match(_validator(kind).iter_errors(document))
    return (
        f"{error.json_path[2:] or 'it'}: {error.message[:200]}"
        if error
        else _not_finite(document)
    )


@cache
def _validator(kind: str):
    from jsonschema import Draft202012Validator

    schema = json.loads(
        (PACKAGE / "evidence/record.schema.json").read_text(encoding="utf-8")
    )
    return Draft202012Validator(schema["$defs"][kind] | {"$defs": schema["$defs"]})


def _not_finite(document: dict) -> str:
    try:
        json.dumps(document, allow_nan=False)
    except ValueError as error:
        return str(error)
    return ""


def _contradiction(document: dict, slug: str | None) -> str:
    """Say where a record that follows the schema contradicts itself."""
    if slug and document["paper"] != slug:
        return f"it is the record of {document['paper']}, not of {slug}"
    scored = [(row["seed"], row["method"], row["metric"]) for row in document["scores"]]
    if len(set(scored)) < len(scored):
        return "a score stands there twice"
    if sorted({seed for seed, *_ in scored}) != document["seeds"]:
        return "its seeds are not those of its scores, in rising order"
    return ""


def _layout(document: dict) -> str:
    """Lay a record out as JSON, one row of a table a line, so that files stay small and
    differences readable.
    """
    entries = []
    for name, value in document.items():
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        if name in ROWS and value:
            rows = (
                json.dumps(row, ensure_ascii=False, allow_nan=False) for row in value
            )
            text = "[\n  " + ",\n  ".join(rows) + "\n ]"
        entries.append(f' "{name}": {text}')
    return "{\n" + ",\n".join(entries) + "\n}\n"


def _remedy(path: Path) -> str:
    """Give the command that makes the record of this path."""
    name, _, profile = path.stem.partition(".")
    out = shlex.quote(str(path.parents[1] if len(path.parents) > 1 else "."))
    return (
        f"`stages run {path.parent.name}/{name} --profile {profile or 'full'} --out"
        f" {out}` makes it anew"
    )
