"""Execute the book's notebooks in place, those whose sources changed since they last ran.

    python tools/notebooks.py [--all] [--list-stale] [--jobs 2] [chapters/continual/power_law_rehearsal.ipynb ...]

A notebook that raises or writes to stderr is refused, and its file stays as it was. What a notebook was made from is
kept as a hash in its metadata (`stages.sources`): prose, comments and the address of the repository do not count.
"""

import ast
import hashlib
import io
import os
import resource
import sys
import time
import tokenize
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import nbformat
import typer
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
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
    chosen = [name.resolve() for name in names or []] or book(ROOT)
    if missing := [path for path in chosen if not path.is_file()]:
        sys.exit(f"error: no notebook {missing[0]}")
    stale = [path for path in chosen if everything or is_stale(path, ROOT)]
    if list_stale:
        for path in stale:
            print(shown(path))
        return
    if not stale:
        print(f"all {len(chosen)} notebooks are up to date (ALL=1 executes them all the same)")
        return
    if failed := execute_all(stale, ROOT, jobs):
        sys.exit(f"{failed} of {len(stale)} notebooks were refused and left as they were")


def book(root: Path) -> list[Path]:
    """List the notebooks of the book."""
    return sorted(path for path in (root / "chapters").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)


def execute_all(paths: list[Path], root: Path, jobs: int) -> int:
    """Execute notebooks, `jobs` at a time, with a line on each; return how many were refused."""
    failed = 0
    # A fresh process a notebook: the largest resident set of its children is then that of this notebook's kernel.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        running = {pool.submit(execute, path, root): path for path in paths}
        for done, future in enumerate(as_completed(running), 1):
            place = f"[{done}/{len(paths)}] {shown(running[future])}"
            try:
                run = future.result()
                print(f"{place}: {run.seconds:.1f} s, {run.megabytes:.0f} MB", flush=True)
            except Refused as fault:
                failed += 1
                print(f"{place}: refused\n{fault}", flush=True)
    return failed


def execute(path: Path, root: Path) -> Run:
    """Execute the notebook at `path` and store it there.

    Raises:
        Refused: a cell raised, wrote to stderr, or took too long; the file is untouched.
    """
    os.environ.update(ONE_THREAD, PYTHONWARNINGS="default")
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=TIMEOUT,
        store_widget_state=False,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        resources={"metadata": {"path": str(path.parent)}},
    )
    start = time.perf_counter()
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise Refused(f"{blamed(notebook)} failed:\n{error}") from None
    seconds = time.perf_counter() - start
    refuse_stderr(notebook)
    store(tidy(notebook, sources(path, root)), path)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return Run(seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / unit)


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


def store(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook so that a crash leaves either the old file or the new one."""
    part = path.with_suffix(".ipynb.part")
    nbformat.write(notebook, part)
    os.replace(part, path)


def is_stale(path: Path, root: Path) -> bool:
    """Tell whether the notebook was last executed on other sources than today's, or never."""
    return nbformat.read(path, as_version=4).metadata.get("stages", {}).get("sources") != sources(path, root)


def sources(path: Path, root: Path) -> str:
    """Hash what a notebook's outputs follow from: its code, the package's code, and the recorded evidence.

    A paper's notebook depends on no other paper's module or record. Its own module and its chapter's common code count
    to the letter, since the notebook shows them; elsewhere comments and docstrings do not count.
    """
    chapters = root / "chapters"
    slug = path.relative_to(chapters).with_suffix("").as_posix() if path.is_relative_to(chapters) else ""
    papers, evidence = root / "src/stages/papers", root / "data/evidence"
    own = papers / f"{slug}.py"
    digest = hashlib.sha256()
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code" and "setup" not in cell.metadata.get("tags", []):
            digest.update(f"cell\n{cell.source}\n".encode())
    for module in sorted((root / "src/stages").rglob("*.py")):
        shared = module.name in ("__init__.py", "common.py") or module.parent.name == "common"
        another_paper = module.is_relative_to(papers) and not shared
        if own.is_file() and (module == own or (shared and own.parent in module.parents)):
            digest.update(module.read_bytes())
        elif not (own.is_file() and another_paper):
            digest.update(f"{module.relative_to(root).as_posix()}\n{code_of(module.read_text('utf-8'))}".encode())
    for record in [evidence / f"{slug}.json"] if own.is_file() else sorted(evidence.rglob("*.json")):
        if record.is_file():
            digest.update(f"{record.relative_to(root).as_posix()}\n".encode() + record.read_bytes())
    return digest.hexdigest()


def code_of(source: str) -> str:
    """Return Python source without its docstrings, comments and blank lines."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node):
            string = node.body[0]
            lines[string.lineno - 1 : string.end_lineno] = [""] * (string.end_lineno - string.lineno + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip())


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


if __name__ == "__main__":
    typer.run(main)
