"""What a page may take of a reader's time: words, cells, figures, sentences, sizes, and the sections in their order.

A paper's page has all of the budgets. On other pages cells and functions are counted in statements.
"""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager
from pages import Page, numbers, pages, paragraphs, sentences, words

from stages.catalogue import slugs

SECTIONS = (
    "The problem, seen",
    "The idea",
    "The code",
    "The experiment",
    "What we see",
    "Verdicts",
    "Turn the knob",
    "Exercises",
    "What we changed, and what that costs",
)
WORDS, CELLS, FIGURES = 1800, 14, 4
BOX_WORDS, BOX_SENTENCES = 110, 4
SENTENCE_WORDS, SENTENCE_NUMBERS = 25, 2
CELL_LINES = 25
CELL_STATEMENTS, FUNCTION_STATEMENTS = 25, 10
OUTPUT_BYTES, OTHER_SLIDER_BYTES = 200_000, 600_000  # the latter also for the board of all claims


def budgets(root: Path) -> Iterator[str]:
    """The faults of all pages."""
    papers = slugs(root / "src/stages/papers")
    for page in pages(root):
        checks = [sizes(page, page.name in papers)]
        if page.name in papers:
            checks += [sections(page), length(page), box(page), plainness(page), cells(page)]
        else:
            checks.append(statements_of_cells(page))
        for check in checks:
            yield from (f"chapters/{page.name}.ipynb: {fault}" for fault in check)


def sections(page: Page) -> Iterator[str]:
    """The sections of a paper's page stand in one order."""
    if page.sections != [*SECTIONS]:
        yield f"its sections are {page.sections}; expected {[*SECTIONS]}, in this order"


def length(page: Page) -> Iterator[str]:
    """A page has few words, cells and figures, and one slider."""
    count = len(words(" ".join(paragraphs(page.before_exercises))))
    if count > WORDS:
        yield f"{count} words before the exercises, at most {WORDS}; cut what explains no verdict"
    if len(page.code) > CELLS:
        yield f"{len(page.code)} code cells, at most {CELLS}; move code to the package"
    sliders = [output for output in page.outputs if is_slider(output)]
    figures = [output for output in page.outputs if has_picture(output) and not is_slider(output)]
    if len(figures) > FIGURES:
        yield f"{len(figures)} figures, at most {FIGURES} beside the slider; drop those that no sentence needs"
    if len(sliders) != 1:
        yield f"{len(sliders)} sliders; a page has one"


def box(page: Page) -> Iterator[str]:
    """The box tells the problem, the trick, C1 and the strongest caveat."""
    found = [sentence for paragraph in paragraphs(page.box) for sentence in sentences(paragraph)]
    count = len(words(" ".join(found)))
    if len(found) != BOX_SENTENCES:
        parts = "the problem, the trick, C1 with interval and verdict, the strongest caveat"
        yield f"In one minute has {len(found)} sentences; it has {BOX_SENTENCES}: {parts}"
    if count > BOX_WORDS:
        yield f"In one minute has {count} words, at most {BOX_WORDS}"


def plainness(page: Page) -> Iterator[str]:
    """Sentences before the exercises are short and have few numbers; rows of tables are no sentences."""
    for paragraph in paragraphs(page.before_exercises):
        for sentence in sentences(paragraph) if not paragraph.startswith("|") else ():
            count, found = len(words(sentence)), numbers(sentence)
            begins = f"“{' '.join(sentence.split()[:7])} ...”"
            if count > SENTENCE_WORDS:
                yield f"a sentence of {count} words, at most {SENTENCE_WORDS}; make two of it: {begins}"
            if len(found) > SENTENCE_NUMBERS:
                said = ", ".join(found)
                yield f"a sentence with {len(found)} numbers ({said}), at most {SENTENCE_NUMBERS}: {begins}"


def cells(page: Page) -> Iterator[str]:
    """Cells of a paper's page are short."""
    for cell in page.code:
        if (count := len(cell["source"].splitlines())) > CELL_LINES:
            yield f"a cell of {count} lines, at most {CELL_LINES}; move code to the package: {begin(cell)}"


def statements_of_cells(page: Page) -> Iterator[str]:
    """Cells and functions of other pages have few statements."""
    for cell in page.code:
        tree = ast.parse(TransformerManager().transform_cell(cell["source"]))
        if (count := statements(tree)) > CELL_STATEMENTS:
            yield f"a cell of {count} statements, at most {CELL_STATEMENTS}; move code to the package: {begin(cell)}"
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and (count := statements(node)) > FUNCTION_STATEMENTS:
                yield f"the function {node.name} has {count} statements, at most {FUNCTION_STATEMENTS}; move it"


def sizes(page: Page, of_paper: bool) -> Iterator[str]:
    """No output is large; a slider, and the board of all claims, may be larger on a page that is no paper's."""
    for cell in page.code:
        for output in cell["outputs"]:
            may_be_larger = not of_paper and (is_slider(output) or is_board(output))
            most = OTHER_SLIDER_BYTES if may_be_larger else OUTPUT_BYTES
            if (size := len(json.dumps(output))) > most:
                less = "fewer frames, or smaller ones" if is_slider(output) else "draw less, or smaller"
                yield f"an output of {size:,} bytes, at most {most:,}; {less}: {begin(cell)}"


def statements(tree: ast.AST) -> int:
    return sum(isinstance(node, ast.stmt) for node in ast.walk(tree))


def html_of(output: dict) -> str:
    return "".join(output.get("data", {}).get("text/html", ""))


def is_slider(output: dict) -> bool:
    return 'type="range"' in html_of(output)


def is_board(output: dict) -> bool:
    return 'class="stages stages-board"' in html_of(output)


def has_picture(output: dict) -> bool:
    """Tell whether an output is a figure; bars in the rows of a table are none."""
    return any(mime.startswith("image/") for mime in output.get("data", {})) or "<img" in html_of(output)


def begin(cell: dict) -> str:
    return f"`{cell['source'].strip().splitlines()[0] if cell['source'].strip() else ''}`"
