"""The probe: a few numbers that tell whether a change of code changed the experiment.

A record keeps the numbers of `run(profiles["probe"], 0)`: every score, and the first
and last loss of every network that is trained on the way. While present code gives the
same numbers the record stands; a comment, a name or a faster loop void nothing.

Processors and threads sum in different orders, which moves last digits and, now and
then, an accuracy by an example. A number that this processor's arithmetic and others
that it can imitate do not agree on is therefore blank in a record, and not compared.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from joblib.externals.loky import ProcessPoolExecutor

from stages.evidence.paper import Paper
from stages.tracing import listening

RELATIVE, ABSOLUTE = 1e-3, 1e-4
STEADY = 0.1  # the share of the tolerance by which a steady number moves at most
ARITHMETICS = (  # no vector instructions and two threads; AVX2; plain libraries
    {"ATEN_CPU_CAPABILITY": "default", "MKL_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"},
    {"ATEN_CPU_CAPABILITY": "avx2"},
    {"MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "SSE41"},
)
SHOWN = 5  # of the numbers that moved, in a message
SEED = 0


def setting_values(settings: Any) -> dict:
    """Turn a dataclass of settings into plain JSON values. Raises ValueError when they
    are anything more.
    """
    try:
        return json.loads(json.dumps(asdict(settings), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the settings {type(settings).__name__} cannot be written as JSON: {error}"
        ) from None


def probe(paper: Paper) -> list[dict[str, Any]]:
    """Run a paper's probe on the CPU; return rows {method, metric, value}.

    Losses are rows of the method "training", numbered in the order of the trainings.
    """
    with _on_the_cpu(), listening() as heard:
        outcome = paper.run(paper.settings("probe"), SEED)
    rows = [
        {"method": row["method"], "metric": row["metric"], "value": float(row["value"])}
        for row in outcome.scores
    ]
    times = Counter()
    for name, value in heard:
        metric = f"{name} {times[name]}"
        rows.append({"method": "training", "metric": metric, "value": float(value)})
        times[name] += 1
    return rows


def steady_probe(paper: Paper) -> list[dict[str, Any]]:
    """Run a paper's probe here and once in each of `ARITHMETICS`; the value is None
    where one of them moves it by more than a tenth of the tolerance.

    Raises:
        ValueError: two runs here differ, so `run` is not pure.
    """
    rows = probe(paper)
    if lines := moved(rows, probe(paper)):
        raise ValueError(f"run is not pure, its numbers differ: {in_short(lines)}")
    if "torch" not in sys.modules:
        return rows
    others = []
    for arithmetic in ARITHMETICS:
        with ProcessPoolExecutor(1, env=arithmetic) as pool:
            others.append(_by_name(pool.submit(probe, paper).result()))
    for row in rows:
        name = _name(row)
        if not all(_agree(row["value"], other[name], STEADY) for other in others):
            row["value"] = None
    return rows


def moved(old: Sequence[Mapping], new: Sequence[Mapping]) -> list[str]:
    """Say which numbers of two probes differ, a line each; none if the probe holds.

    Two values agree when they differ by no more than `ABSOLUTE` or by no more than
    `RELATIVE` of the larger, or when one of them is blank.
    """
    before, after = _by_name(old), _by_name(new)
    lines = [f"{name}: not measured any more" for name in before if name not in after]
    lines += [f"{name}: new" for name in after if name not in before]
    for name in before:
        known = None not in (before[name], after.get(name))
        if known and not _agree(before[name], after[name]):
            lines.append(f"{name}: {before[name]:.6g} before, {after[name]:.6g} now")
    return lines


def in_short(lines: Sequence[str]) -> str:
    """Join the first of the lines that `moved` gives."""
    more = len(lines) - SHOWN
    return "; ".join(lines[:SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _by_name(rows: Sequence[Mapping]) -> dict[str, float | None]:
    return {_name(row): row["value"] for row in rows}


def _name(row: Mapping) -> str:
    return f"{row['metric']} of {row['method']}"


def _agree(one: float, other: float, share: float = 1.0) -> bool:
    gap = abs(one - other)
    return gap <= share * max(ABSOLUTE, RELATIVE * abs(one), RELATIVE * abs(other))


@contextmanager
def _on_the_cpu() -> Iterator[None]:
    before = os.environ.get("STAGES_DEVICE")
    os.environ["STAGES_DEVICE"] = "cpu"
    try:
        yield
    finally:
        if before is None:
            del os.environ["STAGES_DEVICE"]
        else:
            os.environ["STAGES_DEVICE"] = before
