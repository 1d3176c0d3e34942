"""Title, year and arXiv number of a paper are the same in its record, `references.bib`, its page and other pages.

The year is that of the published paper where its entry names a venue ("ICLR 2024; arXiv:2307.03381"), and otherwise
that of the first version on arXiv.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from pages import PAGE_OF_PAPER, pages, paragraphs, records, sentences
from pybtex.database import Entry, parse_string

NEEDED = {
    "article": {"journal"},
    "inproceedings": {"booktitle"},
    "incollection": {"booktitle", "publisher"},
    "book": {"publisher"},
    "misc": {"note"},
}
METADATA = re.compile(r"^.+, (?P<year>\d{4}) · \[arXiv (?P<number>[\d.]+)\]\(https://arxiv\.org/abs/(?P<link>[\d.]+)\)")
ARXIV = re.compile(r"\d{4}\.\d{4,5}")
YEAR = re.compile(r"(?<![\w.,])(?:19|20)\d\d(?!\w|[.,]\d)")


def citations(root: Path) -> Iterator[str]:
    """The faults of the bibliography, of papers' pages, and of pages that name papers."""
    entries = dict(parse_string((root / "references.bib").read_text("utf-8"), "bibtex").entries.items())
    for key, entry in entries.items():
        yield from (f"references.bib, {key}: {fault}" for fault in of_entry(entry))
    whole = {}
    for slug, record in records(root).items():
        if absent := {"title", "arxiv", "year"} - set(record):
            yield f"{slug}: the record names no {', '.join(sorted(absent))}"
            continue
        whole[slug] = record
        yield from (f"{slug}: {fault}" for fault in of_record(record, entries))
    for page in pages(root):
        if page.name in whole:
            keys = [key for key, entry in entries.items() if arxiv_of(entry) == whole[page.name]["arxiv"]]
            faults = of_page(page.markdown, whole[page.name], keys)
            yield from (f"chapters/{page.name}.ipynb: {fault}" for fault in faults)
        else:
            faults = of_other_page(page.markdown, page.name, whole)
            yield from (f"chapters/{page.name}.ipynb: {fault}" for fault in faults)


def of_entry(entry: Entry) -> Iterator[str]:
    """An entry has the fields of its kind, and its note, address and year go together."""
    fields = entry.fields
    absent = {"title", "year"} | NEEDED.get(entry.type, set())
    absent = sorted(name for name in absent if not fields.get(name))
    if absent or not entry.persons.get("author"):
        yield f"it has no {', '.join([*absent, *(['author'] if not entry.persons.get('author') else [])])}"
    note, number = fields.get("note", ""), arxiv_of(entry)
    if f"arXiv:{number}" not in note if number else "arXiv:" in note:
        wanted = f"arXiv:{number}" if number else "an address https://arxiv.org/abs/..."
        yield f"note and url name different papers: {note!r}, {fields.get('url', '')!r}; expected {wanted}"
    venue = YEAR.search(ARXIV.sub("", note))
    if entry.type == "misc" and number:
        expected = venue[0] if venue else f"20{number[:2]}"
        if fields.get("year") != expected:
            source = f"its venue, {note.partition(';')[0]}" if venue else f"its first version, arXiv {number}"
            yield f"its year is {fields.get('year')}, that of {source} is {expected}"


def of_record(record: dict, entries: dict[str, Entry]) -> Iterator[str]:
    """A record's paper has one entry, of the same title and year."""
    found = {key: entry for key, entry in entries.items() if arxiv_of(entry) == record["arxiv"]}
    if len(found) != 1:
        yield f"references.bib has {len(found)} entries of arXiv {record['arxiv']}, the record's paper; expected one"
    for key, entry in found.items():
        if str(record["year"]) != entry.fields.get("year"):
            yield f"its year is {record['year']} in the record, {entry.fields.get('year')} in references.bib ({key})"
        if plain(record["title"]) != plain(entry.fields.get("title", "")):
            titles = f"{record['title']!r} in the record, {entry.fields.get('title')!r} in references.bib ({key})"
            yield f"its title is {titles}"


def of_page(markdown: str, record: dict, keys: list[str]) -> Iterator[str]:
    """A page's line of metadata has the record's year and number, and the page cites the paper."""
    line = next((line for line in markdown.splitlines() if METADATA.match(line)), None)
    if line is None:
        yield "no line of metadata; expected: Authors, year · [arXiv number](https://arxiv.org/abs/number) · ..."
    else:
        found = METADATA.match(line)
        if int(found["year"]) != record["year"]:
            yield f"its line of metadata says {found['year']}, the record {record['year']}"
        if {found["number"], found["link"]} != {record["arxiv"]}:
            yield f"its line of metadata names arXiv {found['number']} ({found['link']}), the record {record['arxiv']}"
    if not any(re.search(rf"\{{cite:[pt]+\}}`[^`]*\b{key}\b", markdown) for key in keys):
        yield f"it doesn't cite {' or '.join(keys) or 'the paper'} of references.bib"


def of_other_page(markdown: str, place: str, records: dict[str, dict]) -> Iterator[str]:
    """Where another page names a paper with its year or number, these are the record's."""
    for paragraph in paragraphs(markdown, place):
        for sentence in sentences(paragraph):
            slugs = [slug for slug in PAGE_OF_PAPER.findall(sentence) if slug in records]
            if len(slugs) != 1:
                continue
            record = records[slugs[0]]
            told = PAGE_OF_PAPER.sub("", sentence)
            for number in ARXIV.findall(told):
                if number != record["arxiv"]:
                    yield f"names {slugs[0]} as arXiv {number}, the record as {record['arxiv']}"
            for year in YEAR.findall(ARXIV.sub("", told)):
                if int(year) != record["year"]:
                    yield f"names {slugs[0]} with the year {year}, the record with {record['year']}"


def arxiv_of(entry: Entry) -> str:
    """The arXiv number in an entry's address, or nothing."""
    return entry.fields.get("url", "").partition("arxiv.org/abs/")[2]


def plain(title: str | None) -> str:
    """A title without the braces and accents of BibTeX, in small letters."""
    return " ".join(re.sub(r"[{}]|\\\W", "", title or "").split()).casefold()
