"""The command `stages`: run papers, list them, show the verdicts, and train the base
models.
"""

import json
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

# What computes is imported inside the commands, so that `stages --help` and a mistyped
# option are answered at once.

app = typer.Typer(
    help="Learning in Stages: run the book's papers and see what holds.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
base_models = typer.Typer(
    help="The base models that papers start from.", rich_markup_mode=None
)
app.add_typer(base_models, name="zoo")
AsJson = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON document, and nothing else, on stdout."
    ),
]


class BadInput(Exception):
    """What the user typed makes no sense."""


def main() -> None:
    """Run the command; whatever goes wrong is one line on stderr. Exits 2 for bad
    input, 1 for a failure.
    """
    try:
        status = app(sys.argv[1:] or ["--help"], standalone_mode=False) or 0
        if status == 130:  # typer's answer to Ctrl-C
            raise KeyboardInterrupt
        sys.exit(status)
    except (KeyboardInterrupt, typer.Abort):
        _fail("stopped; there was nothing to lose", 130)
    except Exception as error:
        if hasattr(
            error, "format_message"
        ):  # typer's own: an unknown option, a value of the wrong kind
            _fail(error.format_message(), error.exit_code)
        if type(error) is BadInput:
            _fail(str(error), 2)
        if not _expected(error):
            raise
        _fail(str(error), 1)


@app.command()
def run(
    slugs: Annotated[
        list[str],
        typer.Argument(
            metavar="SLUG...", help="Papers, or patterns such as 'continual/*'."
        ),
    ],
    profile: Annotated[
        str,
        typer.Option(help="Settings to run: quick, full, or another the paper has."),
    ] = "quick",
    seeds: Annotated[
        str | None,
        typer.Option(
            help=(
                "How many (10), a range (100-104), or a list (3,5). [quick: 3,"
                " others: 10]"
            )
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where records go.")] = Path(
        "evidence"
    ),
    jobs: Annotated[
        int, typer.Option(min=1, help="Processes, of one thread each; 1 is this one.")
    ] = 1,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="A Ray cluster to run on, or 'auto'."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Run papers over seeds and record the results.

    Each seed is written when it is ready: a run that was stopped, started again, goes
    on where it was.
    """
    chosen_seeds = None if seeds is None else parse_seeds(seeds)
    if ray and jobs > 1:
        raise BadInput("--jobs and --ray exclude each other: Ray has its own processes")
    papers = [_load(slug) for slug in _matching(slugs)]

    from stages.evidence import SeedError, sweep
    from stages.evidence.store import record_path

    for paper in papers:
        _ask(paper.settings, profile)
    if ray:
        _ask_ray()
    done, failed = [], False
    for paper in papers:
        try:
            record = _ask(sweep, paper, profile, chosen_seeds, out, jobs, ray)
        except SeedError as error:  # the next paper has nothing to do with it
            print(f"error: {error}", file=sys.stderr, flush=True)
            failed = True
            continue
        except KeyboardInterrupt as stop:  # typer would lose the message
            _fail(
                str(stop)
                or f"{paper.slug} was stopped; what was computed before is kept",
                130,
            )
        done.append(_summary(record, record_path(out, paper.slug, profile)))
        if not as_json:
            print(_report(done[-1]), flush=True)
    if as_json:
        print(json.dumps(done, ensure_ascii=False, indent=1))
    return int(failed)


@app.command("list")
def list_papers(as_json: AsJson = False) -> None:
    """List the papers of the book."""
    from stages import catalogue

    records = catalogue.recorded_facts()
    rows = [_listed(slug, records.get(slug)) for slug in catalogue.slugs()]
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    width = max((len(row["slug"]) for row in rows), default=0)
    for row in rows:
        if row["recorded"]:
            what = f"{row['year']}  {row['claims']} claims  {row['title']}"
        else:
            what = "no record"
        print(f"{row['slug']:<{width}}  {what}")


def _listed(slug: str, record: dict | None) -> dict:
    facts = {"slug": slug, "recorded": record is not None}
    if record is None:
        return facts | {"title": None, "year": None, "claims": None}
    claims = len(record["claims"])
    return facts | {"title": record["title"], "year": record["year"], "claims": claims}


@app.command()
def scoreboard(as_json: AsJson = False) -> None:
    """Show the verdict on every recorded claim."""
    from stages import catalogue

    records = catalogue.recorded_facts()
    if as_json:
        facts = [
            {"slug": slug, "claims": record["claims"], "gates": record["gates"]}
            for slug, record in records.items()
        ]
        print(json.dumps(facts, ensure_ascii=False, indent=1))
        return
    for slug, record in records.items():
        print(f"{slug} · {record['title']} · {len(record['seeds'])} seeds")
        for gate in record["gates"]:
            if not gate["met"]:
                print(f"  GATE FAILED  {_gate_line(gate)}")
        print("\n".join(_claim_line(row) for row in record["claims"]))
    claims = [row for record in records.values() for row in record["claims"]]
    for origin, whose in (("paper", "of the papers"), ("ours", "of the book's own")):
        print(_counted([row for row in claims if row["origin"] == origin], whose))
    luck = sum((1 - row["level"]) / 2 for row in claims)
    print(f"by luck, if no claim were true: at most {luck:.1f} reproduced")


def _gate_line(gate: dict) -> str:
    return f"{gate['name']}: {gate['value']:.3g}, wanted {gate['bound']}"


def _counted(claims: list[dict], whose: str) -> str:
    verdicts = [row["verdict"] for row in claims]
    counts = ", ".join(
        f"{verdicts.count(verdict)} {verdict}"
        for verdict in ("reproduced", "inconclusive", "contradicted")
    )
    return f"{len(claims)} claims {whose}: {counts}"


@app.command()
def restamp(
    slugs: Annotated[
        list[str],
        typer.Argument(metavar="SLUG...", help="Papers, or patterns."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where records lie. [the book's]"),
    ] = None,
    new_probe: Annotated[
        bool,
        typer.Option(
            "--new-probe",
            help="The profile probe changed, and nothing else; take its new numbers.",
        ),
    ] = False,
) -> None:
    """Renew what records keep beside their scores, after a change of code.

    The paper's probe has to give the recorded numbers; if it does not, what moved is
    named and the record stays as it was.
    """
    papers = [_load(slug) for slug in _matching(slugs)]

    from stages import evidence
    from stages.paths import data_dir

    for paper in papers:
        evidence.restamp(paper, out or data_dir() / "evidence", new_probe)
        print(f"{paper.slug}: the probe holds; the record is renewed", flush=True)


@base_models.command("list")
def list_base_models(as_json: AsJson = False) -> None:
    """List the base models and what their cards say."""
    from stages import zoo

    faults, rows = zoo.check(), []
    for name in zoo.RECIPES:
        facts = {} if faults[name] else zoo.card(name)
        summary = zoo.find(name).summary
        row = {"name": name, "summary": summary, "fault": faults[name]}
        rows.append(
            row
            | {
                fact: facts.get(fact)
                for fact in ("parameters", "bytes", "metrics", "sha256")
            }
        )
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    width = max(map(len, zoo.RECIPES), default=0)
    for row in rows:
        print(f"{row['name']:<{width}}  {row['summary']}")
        size = (
            ""
            if row["fault"]
            else f"{row['parameters']:,} parameters, {row['bytes'] / 1000:,.0f} kB; "
        )
        metrics = ", ".join(
            f"{metric} {value:g}" for metric, value in (row["metrics"] or {}).items()
        )
        print(f"{'':<{width}}  {row['fault'] or size + metrics}")


@base_models.command("check")
def check_base_models() -> int:
    """Check that the files of all base models are in order."""
    from stages import zoo

    faults = zoo.check()
    for name, fault in faults.items():
        print(
            f"error: {fault}" if fault else f"{name} is in order",
            file=sys.stderr if fault else sys.stdout,
        )
    return int(any(faults.values()))


@base_models.command("train")
def train_base_models(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...", help="Base models; `stages zoo list` shows all."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where the files go. [where the package looks]"
        ),
    ] = None,
) -> None:
    """Train base models, minutes each on two cores.

    A file is replaced when its successor is ready, and not before.
    """
    from stages import zoo

    for name in names:
        _ask(zoo.find, name)
    for name in dict.fromkeys(names):
        card = zoo.train(name, out)
        metrics = ", ".join(
            f"{metric} {value:g}" for metric, value in card["metrics"].items()
        )
        print(
            f"{name} · {card['seconds']} s · {card['bytes'] / 1000:,.0f} kB ·"
            f" {metrics}",
            flush=True,
        )


def parse_seeds(text: str) -> list[int]:
    """Read "10" as seeds 0 to 9, "100-104" as those five, "3,5" as those two; lists may
    hold ranges.

    Raises:
        BadInput: it is none of these, is empty or reversed, or names a seed twice.
    """
    if not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", text):
        raise BadInput(
            f"--seeds {text}: expected how many (10), a range (100-104) or a list"
            " (3,5), none below zero"
        )
    if text.isdigit():
        seeds = list(range(int(text)))
    else:
        ends = [[int(end) for end in part.split("-")] for part in text.split(",")]
        if backwards := [part for part in ends if part[0] > part[-1]]:
            raise BadInput(
                f"--seeds {text}: {backwards[0][0]}-{backwards[0][1]} runs backwards"
            )
        seeds = [seed for part in ends for seed in range(part[0], part[-1] + 1)]
    if not seeds:
        raise BadInput(f"--seeds {text}: there are no seeds to run")
    if len(set(seeds)) < len(seeds):
        raise BadInput(f"--seeds {text}: a seed is named twice")
    return seeds


def _matching(slugs: list[str]) -> list[str]:
    """Replace patterns by the slugs they match, each once."""
    from fnmatch import fnmatchcase

    from stages import catalogue

    chosen = {}
    for slug in slugs:
        pattern = any(sign in slug for sign in "*?[")
        found = (
            [known for known in catalogue.slugs() if fnmatchcase(known, slug)]
            if pattern
            else [slug]
        )
        if not found:
            raise BadInput(
                f"no paper matches {slug!r}; `stages list` shows all"
                f" {len(catalogue.slugs())}"
            )
        chosen |= dict.fromkeys(found)
    return list(chosen)


def _load(slug: str):
    from stages import papers

    return _ask(papers.load, slug)


def _ask(function, *arguments):
    """Call a function whose ValueErrors are about what the user typed."""
    try:
        return function(*arguments)
    except ValueError as error:
        raise BadInput(str(error)) from None


def _ask_ray() -> None:
    from stages.evidence.workers import SweepError, load_ray

    try:
        load_ray()
    except SweepError as error:
        raise BadInput(str(error)) from None


def _summary(record, path: Path) -> dict:
    facts = {
        "slug": record.paper,
        "profile": record.profile,
        "seeds": record.seeds,
        "claims": record.claims,
    }
    return facts | {"seconds": record.seconds, "record": str(path)}


def _report(summary: dict) -> str:
    seeds, seconds = len(summary["seeds"]), summary["seconds"]
    head = (
        f"{summary['slug']} · {summary['profile']} · {seeds} seeds · {seconds:.0f} s ·"
        f" {summary['record']}"
    )
    return "\n".join([head, *map(_claim_line, summary["claims"])])


def _claim_line(row: dict) -> str:
    numbers = f"{row['effect']:+.3g} [{row['low']:+.3g}, {row['high']:+.3g}]"
    return (
        f"  {row['key']:<4} {row['verdict']:<13} {numbers:<28} {row['metric']}:"
        f" {row['comparison']}"
    )


def _expected(error: Exception) -> bool:
    """Tell whether an error is one that a user can meet; any other is a defect of ours
    and keeps its traceback.
    """
    from stages.catalogue import BrokenRecord

    if isinstance(error, BrokenRecord | FileNotFoundError):
        return True

    from stages.evidence import RecordError, RestampError, SweepError
    from stages.zoo import ZooError

    return isinstance(error, RecordError | RestampError | SweepError | ZooError)


def _fail(text: str, status: int) -> None:
    print(f"error: {text}" if status != 130 else text, file=sys.stderr)
    sys.exit(status)
