"""`make check` finds what pages tell otherwise than the records, what is too long, and papers cited in two ways."""

import json

import check
import pytest
from budgets import SECTIONS, budgets
from citations import citations
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, writes
from pages import numbers, paragraphs, sentences, words
from told import told

LEAN, OLDER = "continual/lean", "continual/older"
INDEX = "continual/index"
SCORES = {"A": [3.0, 5.0, 4.0, 6.0], "B": [1.0, 2.0, 1.5, 3.5], "C": [0.0, 1.0, 5.0, 1.0]}
BIB = """@misc{lean2024,
  author = {Lean, Ada},
  title = {The {Lean} Method},
  year = {2024},
  note = {ICLR 2024; arXiv:2306.00001},
  url = {https://arxiv.org/abs/2306.00001},
}
@misc{older2023,
  author = {Older, Bob},
  title = {The Older Method},
  year = {2023},
  note = {arXiv:2301.00002},
  url = {https://arxiv.org/abs/2301.00002},
}
"""
BOX = """# Title

{author}, {year} · [arXiv {arxiv}](https://arxiv.org/abs/{arxiv}) · 10 minutes <!-- badges --><!-- /badges -->

```{{admonition}} In one minute
:class: tip
{{cite:t}}`{key}` have a problem. They have a trick.
It gains 2.5 (2.1 to 2.9) points (C1: **reproduced**). It costs time.
```
"""


def row(key, effect, low, high, verdict, better="A", worse="B"):
    claim = {"better": better, "worse": worse, "metric": "accuracy", "over": None, "everywhere": []}
    return claim | {"key": key, "effect": effect, "low": low, "high": high, "verdict": verdict}


def record(title, arxiv, year):
    return {
        "title": title,
        "arxiv": arxiv,
        "year": year,
        "seeds": [0, 1, 2, 3],
        "scores": [
            {"seed": seed, "method": method, "metric": "accuracy", "value": value}
            for method, values in SCORES.items()
            for seed, value in enumerate(values)
        ],
        "claims": [
            row("C1", 2.5, 2.0886, 2.9, "reproduced"),
            row("C2a", 2.75, -4.93, 10.43, "inconclusive", "A", "C"),
            row("C3", -9.04, -12.0, -6.05, "contradicted"),
        ],
        "also": [row("C2b", 0.6, -1.2, 2.4, ""), row("C1b", 1.25, -0.5, 3.0, "")],
    }


class Book:
    """A book of two papers and an index, whose pages can be altered before they are checked."""

    def __init__(self, root):
        self.root = root
        self.records = {
            LEAN: record("The Lean method", "2306.00001", 2024),
            OLDER: record("The Older Method", "2301.00002", 2023),
        }
        self.box = {
            LEAN: BOX.format(author="Lean", year=2024, arxiv="2306.00001", key="lean2024"),
            OLDER: BOX.format(author="Older", year=2023, arxiv="2301.00002", key="older2023"),
        }
        self.sections = {LEAN: [*SECTIONS], OLDER: [*SECTIONS]}
        self.prose = {LEAN: "", OLDER: "", "continual/index": ""}
        self.code = {LEAN: [], OLDER: [], "continual/index": []}
        self.bib = BIB
        self.cards = dict.fromkeys(self.records, "Better: *reproduced*")

    def write(self):
        papers = self.root / "src/stages/papers/continual"
        for paper in ("lean", "older"):
            (papers / paper).mkdir(parents=True)
            for part in check.PARTS:
                (papers / paper / part).touch()
        (self.root / "references.bib").write_text(self.bib)
        cards = [f":::{{grid-item-card}} A\n:link: chapters/{slug}\n\n{text}\n:::" for slug, text in self.cards.items()]
        (self.root / "index.md").write_text("\n\n".join(cards))
        slider = new_code_cell("turn()", outputs=[output("text/html", '<input type="range">')])
        for page, prose in self.prose.items():
            path = self.root / f"chapters/{page}.ipynb"
            path.parent.mkdir(parents=True, exist_ok=True)
            cells = [new_markdown_cell(prose)]
            if page in self.records:
                titles = [f"## {title}\n\n{prose * (title == 'Verdicts')}" for title in self.sections[page]]
                cells = [new_markdown_cell(text) for text in (self.box[page], *titles)]
            path.write_text(writes(new_notebook(cells=[*cells, *self.code[page], slider])))
        for slug, document in self.records.items():
            path = self.root / f"data/evidence/{slug}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(document))
        return self.root

    def faults(self, holds):
        return list(holds(self.write()))


def output(mime, data):
    return new_output("display_data", data={mime: data})


@pytest.fixture
def book(tmp_path):
    return Book(tmp_path)


@pytest.mark.parametrize("holds", [told, budgets, citations], ids=lambda holds: holds.__name__)
def test_a_book_in_order_has_no_faults(book, holds):
    assert book.faults(holds) == []


@pytest.mark.parametrize("holds", [told, citations], ids=lambda holds: holds.__name__)
def test_only_a_full_record_is_compared_with_what_pages_tell(book, holds):
    book.records[f"{LEAN}.larger"] = {}
    assert book.faults(holds) == []


# ------------------------------------------------------------------------------------------------- the evidence


@pytest.mark.parametrize("page", [LEAN, OLDER])
@pytest.mark.parametrize(
    "prose",
    [
        "**C1** gains 2.5 (2.1 to 2.9) points.",
        "**C1** gains 2.50 (2.09 to 2.90) points and is **reproduced**.",
        "It gains 2.5 (2.1 to 2.9) points (**C1**, reproduced), and C3 is contradicted: −9.0 (−12.0 to −6.0).",
        "C3: the method loses 9.04 (6.05 to 12.00) points.",
        "C1 is what it is about. The gain is 2.5 % (2.1 to 2.9).",
        "Against C it is 2.8 (−4.9 to 10.4) (**C2a**, inconclusive), and 0.6 (−1.2 to 2.4) (**C2b**).",
        "**C2** is inconclusive. C1 is not inconclusive. C3 would have to be higher to be reproduced.",
        "Nothing is *reproduced* by a sentence without a key, nor 61 % (42 to 100 by seed).",
    ],
)
def test_what_the_record_says_may_be_told(book, page, prose):
    book.prose[page] = prose
    assert book.faults(told) == []


@pytest.mark.parametrize("page", [LEAN, OLDER])
@pytest.mark.parametrize(
    ("prose", "fault"),
    [
        ("**C1** gains 2.6 (2.1 to 2.9).", "2.6 (2.1 to 2.9) is told of C1; recorded: C1 2.5 (2.09 to 2.9)"),
        ("**C1** gains 2.5 (2.1\nto 3.9).", "2.5 (2.1 to 3.9) is told of C1"),
        ("It gains 2.5 (−2.1 to 2.9).", "2.5 (−2.1 to 2.9) is no interval of the record"),
        ("It gains 2.5 (2.1 to 2.8) points (**C1**).", "2.5 (2.1 to 2.8) is told of C1"),
        ("C9 gains 7.5 (2.1 to 2.9).", "7.5 (2.1 to 2.9) is told of C9, and the record has no such claim"),
        ("C1 is **inconclusive**.", "“inconclusive” is told of C1; recorded: C1 2.5 (2.09 to 2.9) reproduced"),
        ("It fails (contradicted: C2a).", "“contradicted” is told of C2a"),
        ("C1 and C3 are reproduced.", "“reproduced” is told of C3; recorded: C3 −9.04 (−12 to −6.05) contradicted"),
        ("**C2b** is reproduced.", "“reproduced” is told of C2b, which is only measured and has no verdict"),
        ("C1 is not reproduced.", "“not reproduced” is told of C1"),
        ("C1 is 1.25 (−0.50 to 3.00).", "1.25 (−0.50 to 3.00) is told of C1; recorded: C1 2.5 (2.09 to 2.9)"),
        ("C7a is reproduced.", "“reproduced” is told of C7a, and the record has no such claim"),
        ("| C1 | contradicted |", "“contradicted” is told of C1"),
        ("```{solution} x\n:class: dropdown\nC1 gains 2.4 (2.1 to 2.9).\n```", "2.4 (2.1 to 2.9) is told of C1"),
    ],
)
def test_what_the_record_does_not_say_is_a_fault(book, page, prose, fault):
    book.prose[page] = prose
    (found,) = book.faults(told)
    assert found.startswith(f"chapters/{page}.ipynb: {fault}")


def test_a_page_is_held_to_the_recorded_level_and_the_claim_it_names(book):
    another_level = "Against C (C2a) it is 2.8 (−1.4 to 6.9)."  # 95 %, by hand: 2.75 ± 3.182 * 2.630 / 2
    nearby = "It gains 2.5 (2.1 to 2.9), and C3 is of another sort, as C1 is."
    no_claim = "B and C differ by 0.3 (−3.9 to 4.4) points."  # by hand: 0.25 ± 3.182 * 2.598 / 2
    book.prose[LEAN] = "\n\n".join((another_level, nearby, no_claim))
    one, two, three = book.faults(told)
    assert "2.8 (−1.4 to 6.9) is told of C2a" in one
    assert "2.5 (2.1 to 2.9) is told of C3" in two
    assert "0.3 (−3.9 to 4.4) is no interval" in three


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("**reproduced**", "**contradicted**", "must say what became of C1: ... C1 ... **reproduced**"),
        ("**reproduced**", "reproduced", "must say what became of C1: ... C1 ... **reproduced**"),
        ("2.5 (2.1 to 2.9) points", "much", "must give the interval of C1: C1 2.5 (2.09 to 2.9)"),
    ],
)
def test_the_box_tells_what_became_of_the_headline(book, old, new, fault):
    book.box[LEAN] = book.box[LEAN].replace(old, new)
    assert any(fault in found for found in book.faults(told))


def test_the_first_page_has_a_card_of_each_paper_that_ends_in_the_verdict_of_the_headline(book):
    book.cards = {LEAN: "Better: *inconclusive*"}
    assert book.faults(told) == [
        f"index.md: the card of {LEAN} says inconclusive; C1 is reproduced",
        f"index.md: there is no card with `:link: chapters/{OLDER}`",
    ]


def test_other_pages_are_held_to_the_record_of_the_paper_that_a_sentence_names(book):
    book.prose["continual/index"] = (
        "In [the one](lean.ipynb) C1 is contradicted. [It](older.ipynb#top) gains 2.5 (2.1 to 2.9) in C1, reproduced. "
        "C1 of [it](lean.ipynb) is 2.5 (2.1 to 9.9). A claim may be contradicted, C1 too; 1 (0 to 2)."
    )
    one, two = book.faults(told)
    assert "“contradicted” is told of C1" in one
    assert "2.5 (2.1 to 9.9) is told of C1" in two
    assert one.startswith("chapters/continual/index.ipynb")


def test_a_page_may_quote_another_paper_of_the_book(book):
    book.records[OLDER]["claims"][0] |= {"effect": 7.0, "low": 6.0, "high": 8.0, "verdict": "inconclusive"}
    book.cards[OLDER] = "Not better: *inconclusive*"
    book.box[OLDER] = (
        book.box[OLDER].replace("2.5 (2.1 to 2.9)", "7.0 (6.0 to 8.0)").replace("reproduced", "inconclusive")
    )
    book.prose[LEAN] = "[The older one](older.ipynb) has 7.0 (6.0 to 8.0) in its C1. Here C1 has 7.0 (6.0 to 8.0)."
    (fault,) = book.faults(told)
    assert "told of C1; recorded: C1 2.5" in fault


# --------------------------------------------------------------------------------------------------- the budgets


@pytest.mark.parametrize(
    ("prose", "fault"),
    [
        ("A thing. " * 900, "words before the exercises, at most 1800"),
        (f"It is {'very ' * 25}long.", "a sentence of 28 words, at most 25; make two of it: “It is very"),
        ("There are 3, 4 and 5.", "a sentence with 3 numbers (3, 4, 5), at most 2"),
    ],
)
def test_long_prose_is_a_fault_on_the_page_of_a_paper_alone(book, prose, fault):
    book.prose |= {LEAN: prose, INDEX: prose}
    (found,) = book.faults(budgets)
    assert found.startswith(f"chapters/{LEAN}.ipynb: ")
    assert fault in found


@pytest.mark.parametrize(
    "prose",
    [
        f"It is {'very ' * 22}long.",
        f"It is {'very ' * 21}long $a + b = {'c + ' * 9} d$.",
        "C1 gains 2.5 (2.1 to 2.9) and C2a 2.8 (−4.9 to 10.4), $1+1=2$, `3 + 4`.",
        "| 1 | 2 | 3 | 4 |",
        "- One of 1 and 2\n- Two of 3 and 4",
        "As Du et al. 2022 say, e.g. Fig. 3, it works.",
        "```python\n1, 2, 3, 4, 5\n```",
    ],
)
def test_maths_code_intervals_and_tables_count_sensibly(book, prose):
    book.prose[LEAN] = prose
    assert book.faults(budgets) == []


@pytest.mark.parametrize(
    ("cells", "fault"),
    [
        ([new_code_cell("x = 1") for _ in range(14)], "15 code cells, at most 14"),
        ([new_code_cell("", outputs=[output("image/png", "0")] * 5)], "5 figures, at most 4"),
        ([new_code_cell("", outputs=[output("text/html", '<input type="range">')])], "2 sliders; a page has one"),
        ([new_code_cell("x = 1\n" * 26)], "a cell of 26 lines, at most 25; move code to the package: `x = 1`"),
        ([new_code_cell("", outputs=[output("text/html", "x" * 200_000)])], "an output of 200,"),
    ],
)
def test_what_a_papers_page_shows_is_little(book, cells, fault):
    book.code[LEAN] = cells
    assert any(fault in found for found in book.faults(budgets))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("It costs time. It is hard.", "In one minute has 5 sentences; it has 4: the problem"),
        (f"It costs {'much ' * 100}time.", "In one minute has 117 words, at most 110"),
    ],
)
def test_the_box_has_four_short_sentences(book, text, fault):
    book.box[LEAN] = book.box[LEAN].replace("It costs time.", text)
    assert any(fault in found for found in book.faults(budgets))


@pytest.mark.parametrize("page", [LEAN, OLDER])
def test_the_sections_stand_in_order(book, page):
    first, second, *others = book.sections[page]
    book.sections[page] = [second, first, *others]
    (fault,) = book.faults(budgets)
    assert fault.startswith(f"chapters/{page}.ipynb: its sections are ['The idea', 'The problem, seen'")


def test_cells_of_other_pages_are_counted_in_statements(book):
    book.code[INDEX] = [new_code_cell("x = [\n" + "1,\n" * 40 + "]"), new_code_cell("x = 1\n" * 26)]
    book.code[INDEX] += [new_code_cell("def f():\n" + "    x = 1\n" * 10)]
    one, two = book.faults(budgets)
    assert "a cell of 26 statements, at most 25" in one
    assert "the function f has 11 statements, at most 10" in two


@pytest.mark.parametrize("page", [INDEX, LEAN])
@pytest.mark.parametrize("size", [250_000, 650_000])
@pytest.mark.parametrize("begin", ['<input type="range">', '<div class="stages stages-board">', "<p>"])
def test_sliders_and_the_board_of_all_claims_may_be_larger_on_pages_that_are_no_papers(book, page, size, begin):
    book.code[page] = [new_code_cell("", outputs=[output("text/html", begin + "x" * size)])]
    found = any("an output of" in fault for fault in book.faults(budgets))
    assert found != (page == INDEX and size == 250_000 and begin != "<p>")


def test_prose_is_cut_into_sentences_and_words():
    prose = (
        "**It** is so\n(see `a b`, $x y$ and {cite:p}`a,b`). {cite:t}`a` say so. Is *that* it? Yes, 2.9 (1.0 to 4.8)."
    )
    (text,) = paragraphs(f"<!-- not\nread -->{prose}")
    assert list(sentences(text)) == [
        "**It** is so (see Code, Formula and Citation).",
        "Citation say so.",
        "Is *that* it?",
        "Yes, 2.9 (1.0 to 4.8).",
    ]
    assert len(words(text)) == 16
    assert numbers("Of 40,000 at 97 % and −0.3, C1, 2x.") == ["40,000", "97", "−0.3"]


# ------------------------------------------------------------------------------------------------- the citations


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("year = {2024}", "year = {2023}", "lean2024: its year is 2023, that of its venue, ICLR 2024 is 2024"),
        ("year = {2023}", "year = {2022}", "older2023: its year is 2022, that of its first version, arXiv 2301"),
        (
            "{Lean} Method",
            "{Lean} Way",
            "its title is 'The Lean method' in the record, 'The {Lean} Way'",
        ),
        ("arXiv:2306.00001", "arXiv:2306.00009", "note and url name different papers"),
        ("author = {Older, Bob},", "", "older2023: it has no author"),
        ("  note = {arXiv:2301.00002},\n", "", "older2023: it has no note"),
        ("2306.00001", "2306.00009", "references.bib has 0 entries of arXiv 2306.00001"),
    ],
)
def test_the_bibliography_agrees_with_itself_and_the_records(book, old, new, fault):
    book.bib = book.bib.replace(old, new)
    assert any(fault in found for found in book.faults(citations))


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("Lean, 2024", "Lean, 2023", "its line of metadata says 2023, the record 2024"),
        ("[arXiv 2306.00001]", "[arXiv 2306.00002]", "names arXiv 2306.00002 (2306.00001), the record 2306.00001"),
        ("abs/2306.00001", "abs/2306.00002", "names arXiv 2306.00001 (2306.00002), the record 2306.00001"),
        ("`lean2024`", "`older2023`", "it doesn't cite lean2024"),
        ("Lean, 2024 ·", "Lean ·", "no line of metadata"),
    ],
)
def test_a_page_cites_its_paper_as_the_record_does(book, old, new, fault):
    assert old in book.box[LEAN]
    book.box[LEAN] = book.box[LEAN].replace(old, new)
    (found,) = book.faults(citations)
    assert found.startswith(f"chapters/{LEAN}.ipynb")
    assert fault in found


def test_a_chapter_names_its_papers_with_the_year_of_the_record(book):
    book.prose["continual/index"] = "- [One](lean.ipynb), 2024, of 1989 words\n- [Two](older.ipynb), arXiv 2301.00003"
    one, two = book.faults(citations)
    assert "names continual/lean with the year 1989, the record with 2024" in one
    assert "names continual/older as arXiv 2301.00003" in two


# ----------------------------------------------------------------------------------------------------- the rooms


def test_a_paper_is_a_folder_of_three_modules(book):
    root = book.write()
    (root / "_toc.yml").write_text("root: index\nchapters:\n- file: chapters/continual/lean\n")
    (root / "src/stages/papers/continual/lean/experiment.py").unlink()
    for slug in (LEAN, OLDER):
        path = root / f"data/evidence/{slug}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"paper": slug}))
    for name in ("larger", "previous"):  # a record of another profile, and a full one that was set aside
        facts = {"paper": LEAN, "profile": "larger" if name == "larger" else "full"}
        (root / f"data/evidence/{LEAN}.{name}.json").write_text(json.dumps(facts))
    (root / "tests/papers/continual").mkdir(parents=True)
    for name in ("lean", "older", "gone"):
        (root / f"tests/papers/continual/test_{name}.py").touch()
    assert check.known(root) == {LEAN, OLDER}
    assert list(check.rooms(root)) == [
        f"{LEAN}: src/stages/papers/{LEAN}/experiment.py is missing",
        f"{OLDER}: _toc.yml has no entry chapters/{OLDER}",
        f"data/evidence/{LEAN}.previous.json: its profile is 'full'",
        "continual/gone: has a notebook or a test, but src/stages/papers/continual/gone/ is missing",
    ]
