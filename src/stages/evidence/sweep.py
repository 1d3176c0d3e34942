"""Run a paper's experiment over seeds so that nothing that was computed is lost, or
live in a notebook.
"""

import importlib.metadata
import platform
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from scipy import stats

from stages.evidence.claims import Claim
from stages.evidence.gates import measure_gates
from stages.evidence.outcomes import Outcome
from stages.evidence.paper import Paper
from stages.evidence.probe import probe, setting_values, steady_probe
from stages.evidence.records import Record, plain, rejudge
from stages.evidence.store import Store, say
from stages.evidence.verdicts import INCONCLUSIVE, Finding, effects, measured
from stages.evidence.workers import SweepError, compute, load_ray, told
from stages.progress import bar

PACKAGES = (
    "learning-in-stages",
    "numpy",
    "scikit-learn",
    "scipy",
    "torch",
)  # what the numbers depend on


class SeedError(SweepError):
    """A paper's run raised for some seed."""


def default_seeds(profile: str) -> list[int]:
    """Return the seeds of a run that names none: three for the profile "quick", ten for
    others.
    """
    return list(range(3 if profile == "quick" else 10))


def checked_seeds(seeds: Iterable[int]) -> list[int]:
    """Return the seeds in rising order. Raises ValueError if there are none, one comes
    twice, or one is negative.
    """
    seeds = list(seeds)
    if not seeds:
        raise ValueError("there are no seeds to run")
    if bad := [seed for seed in seeds if type(seed) is not int or seed < 0]:
        raise ValueError(f"{bad[0]!r} is no seed; seeds are whole numbers, 0 or more")
    if len(set(seeds)) < len(seeds):
        raise ValueError(
            f"seed {next(seed for seed in seeds if seeds.count(seed) > 1)} is asked for"
            " twice"
        )
    return sorted(seeds)


def sweep(
    paper: Paper,
    profile: str = "full",
    seeds: Iterable[int] | None = None,
    out: str | Path = "evidence",
    jobs: int = 1,
    ray: str | None = None,
    progress: bool = True,
) -> Record:
    """Run a paper's experiment for each seed and record it, going on from whatever was
    computed before.

    The record is `out/<slug>.json` for the profile "full", else
    `out/<slug>.<profile>.json`. Each seed's result is written under `out/.partial` when
    it is ready, and the record when all that were asked for are there. Seeds that the
    record in place has, under the same settings and code, are kept and not computed
    again; another record is set aside.

    The profile "full" has to measure every claim; another may leave claims out, which
    is said.

    Args:
        seeds: `default_seeds(profile)` by default.
        jobs: processes of one thread each; 1 is this process, with the threads it has.
        ray: the address of a Ray cluster to use instead.
        progress: show a bar.

    Raises:
        ValueError: the profile, the seeds or the settings make no sense.
        SeedError: the experiment raised for a seed, and all other seeds were run and
            are kept; or its probe raised, and nothing was run.
        SweepError: a folder cannot be written to, another run writes this record, or a
            worker was lost.
        KeyboardInterrupt: with a message that says what is kept.
    """
    settings = setting_values(paper.settings(profile))
    seeds = checked_seeds(default_seeds(profile) if seeds is None else seeds)
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}; expected 1 or more")
    if ray:
        load_ray()
    probed = {
        "probe": plain(_probe(paper, steady=profile == "full")),
        "probe_settings": setting_values(paper.settings("probe")),
    }
    store = Store(Path(out), paper.slug, profile, settings, probed["probe"])
    with store.locked():
        old = store.old_record()
        had = old.seeds if old else []
        if len({*had, *seeds}) < 2:
            raise ValueError(
                "one seed gives no interval, and so no verdict; ask for two or more"
            )
        kept = store.kept(seed for seed in seeds if seed not in had)
        missing = [seed for seed in seeds if seed not in had and seed not in kept]
        if len(missing) < len(seeds):
            say(
                f"{paper.slug}: {len(seeds) - len(missing)} of {len(seeds)} seeds were"
                " computed before"
            )
        if missing:
            kept |= _computed(store, paper, profile, missing, jobs, ray, progress)
        facts = {"profile": profile, "settings": settings} | probed
        record = _record(paper, facts, old, list(kept.values()))
        if record != old:
            store.write(record, replaces=old is not None)
        store.clear(seeds)
    return record


def _probe(paper: Paper, steady: bool) -> list[dict]:
    try:
        return steady_probe(paper) if steady else probe(paper)
    except Exception as error:
        raise SeedError(
            f"{paper.slug}: its probe failed, so nothing was computed: {told(error)}"
        ) from error


def _computed(
    store: Store, paper: Paper, profile: str, seeds: Sequence[int], jobs, ray, progress
) -> dict[int, dict]:
    """Compute seeds and keep each result when it is ready."""
    results, failed = {}, {}
    computed = compute(paper, paper.settings(profile), seeds, jobs, ray)
    shown = bar(total=len(seeds), desc=paper.slug, disable=not progress)
    try:
        with shown, closing(computed):  # no process outlives an error
            for result in computed:
                seed = result["seed"]
                if "error" in result:
                    failed[seed] = f"{paper.slug}, seed {seed}: {result['error']}"
                else:
                    _check_scores(paper, profile, result)
                    store.keep(result)
                    results[seed] = result
                shown.update()
    except KeyboardInterrupt:
        kept = f"{store.count(seeds)} of these {len(seeds)} seeds are kept"
        raise KeyboardInterrupt(
            f"{paper.slug} was stopped; {kept}, and the same command goes on from there"
        ) from None
    if failed:
        others = f"{len(failed)} of {len(seeds)} seeds failed, the others are kept"
        raise SeedError(f"{next(iter(failed.values()))}; {others}")
    return results


def _check_scores(paper: Paper, profile: str, result: dict) -> None:
    """Find out with the first seed, not after the last, that the scores don't hold what
    a claim compares.
    """
    table = pd.DataFrame(
        result["scores"], columns=["seed", "method", "metric", "value"]
    )
    comparisons = (*paper.claims, *paper.also)
    if profile != "full":
        comparisons = measured(comparisons, table)
    try:
        for claim in comparisons:
            for metric in claim.metrics:
                effects(claim, table, metric)
        if profile == "full":
            measure_gates(paper.gates, table)
    except ValueError as error:
        raise SeedError(f"{paper.slug}, seed {result['seed']}: {error}") from None


def _record(
    paper: Paper, facts: dict, old: Record | None, results: list[dict]
) -> Record:
    """Put old seeds and new results together, and judge the claims on them all."""
    parts = ([vars(old)] if old else []) + results
    seeds = sorted(
        [*(old.seeds if old else []), *(result["seed"] for result in results)]
    )
    devices = {name for part in parts for name in part["device"].split(" + ")}
    record = Record(
        paper=paper.slug,
        title=paper.title,
        arxiv=paper.arxiv,
        year=paper.year,
        **facts,
        seeds=seeds,
        scores=_by_seed(parts, "scores"),
        curves=_by_seed(parts, "curves"),
        claims=[],
        also=[],
        gates=[],
        deviations=[],
        device=" + ".join(sorted(devices)),
        threads=max(part["threads"] for part in parts),
        seconds=plain(sum(part["seconds"] for part in parts)),
        versions=_versions() if results else old.versions,
        created=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}" if results else old.created,
    )
    if old:  # its numbers are those that its seeds were made with
        record = replace(record, probe=old.probe, probe_settings=old.probe_settings)
    record = rejudge(record, paper, partly=facts["profile"] != "full")
    _say_what_is_absent(paper, record)
    return record


def _say_what_is_absent(paper: Paper, record: Record) -> None:
    judged = {row["key"]: row["everywhere"] for row in record.claims}
    if absent := [claim.key for claim in paper.claims if claim.key not in judged]:
        say(
            f"{paper.slug}: the profile {record.profile} does not measure"
            f" {', '.join(absent)}"
        )
    partly = [
        claim.key
        for claim in paper.claims
        if claim.key in judged and list(claim.everywhere) != judged[claim.key]
    ]
    if partly:
        say(
            f"{paper.slug}: the profile {record.profile} measures {', '.join(partly)}"
            " in some of their settings only"
        )


def _by_seed(parts: list[dict], table: str) -> list[dict]:
    return sorted(
        (row for part in parts for row in part[table]), key=lambda row: row["seed"]
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # a tree never installed
            continue
    return found


def live(
    paper: Paper, profile: str = "quick", seeds: Iterable[int] | None = None
) -> dict[int, Outcome]:
    """Run a paper's experiment here and now, with a progress bar; return each seed's
    outcome, exhibits included.

    Raises ValueError for a profile or seeds that make no sense, and whatever the
    experiment raises.
    """
    settings = paper.settings(profile)
    seeds = checked_seeds(default_seeds(profile) if seeds is None else seeds)
    return {seed: paper.run(settings, seed) for seed in bar(seeds, desc="seeds")}


def agreement(
    claims: Paper | Iterable[Claim], live: Iterable[Finding], record: Record
) -> str:
    """Tell for each claim its recorded verdict, and whether the live effect has the
    recorded one's sign.

    The text is the same on every machine. No sign is expected ("–") where so few seeds
    could show either: the recorded effect lies within 3.5 standard errors, of as many
    seeds as ran live, from zero. Nor is it where the verdict is inconclusive, or the
    claim is one of equivalence.
    """
    here, there = (
        {finding.key: finding for finding in some} for some in (live, record.findings())
    )
    claims = list(getattr(claims, "claims", claims))
    verdicts = {
        claim.key: there[claim.key].verdict if claim.key in there else "not recorded"
        for claim in claims
    }
    signs = {
        claim.key: _sign(claim, here.get(claim.key), there.get(claim.key))
        for claim in claims
    }
    return "\n".join(
        f"{claim.key:<4} {verdicts[claim.key]:<13} {signs[claim.key]}".rstrip()
        for claim in claims
    )


def _sign(claim: Claim, here: Finding | None, there: Finding | None) -> str:
    if there is None or here is None:
        return "" if there is None else "not measured live"
    reach = stats.t.ppf(0.5 + there.level / 2, there.seeds - 1)
    deviation = (there.high - there.low) / 2 / reach * there.seeds**0.5
    error = deviation / here.seeds**0.5
    if (
        claim.kind == "equivalence"
        or there.verdict == INCONCLUSIVE
        or abs(there.effect) <= 3.5 * error
    ):
        return "–"
    return "same sign" if here.effect * there.effect > 0 else "other sign"
