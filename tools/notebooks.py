"""Execute the book's notebooks in place, those whose sources changed since they last ran.

    python tools/notebooks.py [--all] [--list-stale] [--jobs 2] [chapters/continual/power_law_rehearsal.ipynb ...]

A notebook that raises or writes to stderr is refused, and its file stays as it was. What a notebook was made from is
kept as a hash in its metadata (`stages.sources`); `dependencies` tells what counts.
"""

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import nbformat
import pages
import psutil
import typer
from dependencies import Sources
from joblib import Parallel, delayed
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from stages.files import write_whole

ROOT = Path(__file__).resolve().parents[1]
WIDGET = "application/vnd.jupyter.widget-view+json"
TIMEOUT = 600  # seconds a cell may take
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}


class Refused(Exception):
    """A notebook that may not be stored, and why."""


@dataclass(frozen=True)
class Run:
    seconds: float
    megabytes: float  # the kernel's largest resident set


def main(
    names: Annotated[list[Path] | None, typer.Argument(help="Notebooks; without any, those of the book.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Execute also what is up to date.")] = False,
    list_stale: Annotated[bool, typer.Option("--list-stale", help="Name what is out of date, no more.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Notebooks at a time.")] = 1,
) -> None:
    """Execute notebooks in place, those whose sources changed."""
    chosen = [name.resolve() for name in names or []] or pages.notebooks(ROOT)
    if missing := [path for path in chosen if not path.is_file()]:
        sys.exit(f"error: no notebook {missing[0]}")
    known = Sources(ROOT)
    stale = [path for path in chosen if everything or is_stale(path, known)]
    if list_stale:
        for path in stale:
            print(shown(path))
        return
    if not stale:
        print(f"all {len(chosen)} notebooks are up to date (ALL=1 executes them all the same)")
        return
    if failed := execute_all(stale, ROOT, jobs):
        sys.exit(f"{failed} of {len(stale)} notebooks were refused and left as they were")


def execute_all(paths: list[Path], root: Path, jobs: int) -> int:
    """Execute notebooks, `jobs` at a time, with a line on each; return how many were refused."""
    failed = 0
    attempts = Parallel(jobs, batch_size=1, return_as="generator_unordered")(
        delayed(attempt)(path, root) for path in paths
    )
    for done, (path, result) in enumerate(attempts, 1):
        place = f"[{done}/{len(paths)}] {shown(path)}"
        if isinstance(result, Run):
            print(f"{place}: {result.seconds:.1f} s, {result.megabytes:.0f} MB", flush=True)
        else:
            failed += 1
            print(f"{place}: refused\n{result}", flush=True)
    return failed


def attempt(path: Path, root: Path) -> tuple[Path, Run | str]:
    """Execute a notebook; return what the run took, or why it was refused."""
    try:
        return path, execute(path, root)
    except Refused as fault:
        return path, str(fault)


def execute(path: Path, root: Path) -> Run:
    """Execute the notebook at `path` and store it there.

    Raises:
        Refused: a cell raised, wrote to stderr, or took too long; the file is untouched.
    """
    made_from = Sources(root).of(path)
    notebook = nbformat.read(path, as_version=4)
    megabytes = 0.0

    def note_memory(**_) -> None:
        nonlocal megabytes
        megabytes = max(megabytes, largest_resident_set(client.km.provisioner.pid) / 2**20)

    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=TIMEOUT,
        store_widget_state=False,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        resources={"metadata": {"path": str(path.parent)}},
        on_cell_executed=note_memory,
    )
    start = time.perf_counter()
    try:
        client.execute(env=os.environ | ONE_THREAD | {"PYTHONWARNINGS": "default"})
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise Refused(f"{blamed(notebook)} failed:\n{error}") from None
    seconds = time.perf_counter() - start
    refuse_stderr(notebook)
    write_whole(path, nbformat.writes(tidy(notebook, made_from)) + "\n")
    return Run(seconds, megabytes)


def largest_resident_set(pid: int) -> int:
    """Return the most memory that a running process has held, in bytes; on macOS what it holds now."""
    status = Path(f"/proc/{pid}/status")
    if status.is_file():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) * 1024
    memory = psutil.Process(pid).memory_info()
    return getattr(memory, "peak_wset", memory.rss)


def blamed(notebook: NotebookNode) -> str:
    """Name the last cell that began to run."""
    begun = [number for number, cell in enumerate(notebook.cells) if cell.metadata.get("execution")]
    return named(notebook, begun[-1]) if begun else "the kernel"


def named(notebook: NotebookNode, number: int) -> str:
    first_line = notebook.cells[number].source.strip().partition("\n")[0]
    return f"cell {number} (`{first_line}`)"


def refuse_stderr(notebook: NotebookNode) -> None:
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                raise Refused(f"{named(notebook, number)} wrote to stderr:\n{output.text}")


def tidy(notebook: NotebookNode, made_from: str) -> NotebookNode:
    """Keep what any machine would store: no widget without its state, no version of Python."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in map(without_widget, cell.outputs) if output is not None]
    notebook.metadata.pop("widgets", None)
    notebook.metadata.update(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={
            "file_extension": ".py",
            "mimetype": "text/x-python",
            "name": "python",
            "pygments_lexer": "ipython3",
        },
        stages={"sources": made_from},
    )
    return notebook


def without_widget(output: NotebookNode) -> NotebookNode | None:
    """Drop the live widget from an output, and the whole output when nothing else can show it (a progress bar)."""
    if WIDGET in output.get("data", {}):
        del output.data[WIDGET]
        if set(output.data) <= {"text/plain"}:
            return None
    return output


def is_stale(path: Path, known: Sources) -> bool:
    """Tell whether the notebook was last executed on other sources than today's, or never."""
    made_from = json.loads(path.read_text("utf-8"))["metadata"].get("stages", {}).get("sources")
    return made_from != known.of(path)


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


if __name__ == "__main__":
    typer.run(main)
