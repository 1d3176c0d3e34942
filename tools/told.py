"""What pages tell of the evidence: every interval "x (a to b)" and every verdict word is that of the record.

An interval belongs to the claim that stands in brackets right after it, "2.9 (1.0 to 4.8) points (C1, ...)", or else to
the claim named last before it, in its sentence or in its paragraph. A verdict word belongs to the claim named last
before it in its sentence, or else to the one that comes after it.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from pages import INTERVAL, PAGE_OF_PAPER, Page, pages, paragraphs, records, sentences, value

KEY = re.compile(r"(?<![\w+-])C[1-9][a-z]?(?![\w+-])")
VERDICT = re.compile(r"(?<![\w])(reproduced|inconclusive|contradicted)(?!\w)", re.IGNORECASE)
IN_BRACKETS = re.compile(r"(?:\s[\w%]+){0,3}\s?\(\W*(C[1-9][a-z]?)(?![\w+-])")
NOT_SAID = re.compile(r"(?:\bto be|\bwould be|\bwould have been|\bcould be|\bcannot be|\bif)\W*$", re.IGNORECASE)
DENIED = re.compile(r"\bnot\W*$", re.IGNORECASE)
CARD = re.compile(r"\{grid-item-card\}.*?^:link: chapters/(?P<slug>[\w/]+)$(?P<text>.*?)^:::", re.DOTALL | re.MULTILINE)
JOINED = re.compile(r"[\s,*()]*(?:and|or|,)?[\s,*()]*")


class Evidence:
    """A record, asked about what is said of it."""

    def __init__(self, record: dict):
        self.record = record
        self.rows = {row["key"]: row for row in (*record["claims"], *record.get("also", []))}

    def of(self, key: str) -> list[dict]:
        """The row of a claim; where there is none, those of its parts: "C4" is C4a, C4b, ..."""
        parts = [row for name, row in self.rows.items() if re.fullmatch(rf"{key}[a-z]", name)]
        return [self.rows[key]] if key in self.rows else parts


def told(root: Path) -> Iterator[str]:
    """The faults of all pages."""
    evidence = {slug: Evidence(record) for slug, record in records(root).items()}
    first_page = (root / "index.md").read_text("utf-8")
    yield from (f"index.md: {fault}" for fault in of_cards(first_page, evidence))
    for page in pages(root):
        own = evidence.get(page.name)
        for paragraph in paragraphs(page.markdown, page.name):
            for fault in of_paragraph(paragraph, page, own, evidence):
                yield f"chapters/{page.name}.ipynb: {fault}"
        if own:
            yield from (f"chapters/{page.name}.ipynb: {fault}" for fault in of_box(page, own))


def of_cards(first_page: str, evidence: dict[str, Evidence]) -> Iterator[str]:
    """The first page has a card for each recorded paper, which ends in the verdict of C1."""
    cards = {match["slug"]: match["text"] for match in CARD.finditer(first_page)}
    for slug, own in evidence.items():
        verdict = own.rows["C1"]["verdict"]
        if slug not in cards:
            yield f"there is no card with `:link: chapters/{slug}`"
        elif (said := VERDICT.findall(cards[slug])) != [verdict]:
            yield f"the card of {slug} says {' and '.join(said) or 'no verdict'}; C1 is {verdict}"


def of_box(page: Page, own: Evidence) -> Iterator[str]:
    """The opening box tells the verdict of C1 in bold, and its interval."""
    text = " ".join(paragraphs(page.box))
    first = own.rows["C1"]
    said = re.search(r"\bC1\b[^*]*\*\*(reproduced|inconclusive|contradicted)\*\*", text)
    if not said or said[1] != first["verdict"]:
        yield f"the box In one minute must say what became of C1: ... C1 ... **{first['verdict']}**"
    if not any(agrees(match, first) for match in INTERVAL.finditer(text)):
        yield f"the box In one minute must give the interval of C1: {shown(first)}"


def of_paragraph(paragraph: str, page: Page, own: Evidence | None, evidence: dict[str, Evidence]) -> Iterator[str]:
    """What a paragraph tells otherwise than the records."""
    before = ""
    for sentence in sentences(paragraph):
        others = [evidence[slug] for slug in PAGE_OF_PAPER.findall(sentence) if slug in evidence and slug != page.name]
        keys = list(KEY.finditer(sentence))
        if own or (others and keys):
            known = [own, *others] if own else others
            for match in INTERVAL.finditer(sentence):
                yield from of_interval(match, sentence, before, known)
            for match in VERDICT.finditer(sentence):
                yield from of_verdict(match, sentence, keys, known)
        before += " " + sentence


def of_interval(match: re.Match, sentence: str, before: str, known: list[Evidence]) -> Iterator[str]:
    """Compare an interval with the rows of its claim in the first record, or with any row of another's."""
    first, *others = known
    keys = keys_of_interval(match, sentence, before)
    rows = [row for key in keys for row in first.of(key)] or list(first.rows.values())
    candidates = [*rows, *(row for other in others for row in other.rows.values())]
    if any(agrees(match, row) for row in candidates):
        return
    printed = " ".join(match[0].split())
    if keys and (unknown := [key for key in keys if not first.of(key)]):
        yield f"{printed} is told of {', '.join(unknown)}, and the record has no such claim"
    elif keys:
        yield f"{printed} is told of {' or '.join(keys)}; recorded: {'; '.join(map(shown, rows))}"
    else:
        yield f"{printed} is no interval of the record; name its claim before it, and print it as recorded"


def keys_of_interval(match: re.Match, sentence: str, before: str) -> list[str]:
    """The claim that an interval belongs to, if one is named."""
    if in_brackets := IN_BRACKETS.match(sentence, match.end()):
        return [in_brackets[1]]
    earlier, later = KEY.findall(sentence[: match.start()]), KEY.findall(sentence[match.end() :])
    return earlier[-1:] or later[:1] or KEY.findall(before)[-1:]


def of_verdict(match: re.Match, sentence: str, keys: list[re.Match], known: list[Evidence]) -> Iterator[str]:
    """Compare a verdict word with the verdicts of the claims it belongs to."""
    said, lead = match[1].lower(), sentence[: match.start()]
    if not keys or NOT_SAID.search(lead):
        return
    for key in keys_of_verdict(match, sentence, keys):
        rows = [row for evidence in known for row in evidence.of(key)]
        verdicts = {row["verdict"] for row in rows}
        if not rows:
            yield f"“{said}” is told of {key}, and the record has no such claim"
        elif verdicts == {""}:
            yield f"“{said}” is told of {key}, which is only measured and has no verdict"
        elif DENIED.search(lead):
            if verdicts == {said}:
                yield f"“not {said}” is told of {key}, which is {said}"
        elif said not in verdicts:
            recorded = "; ".join(f"{shown(row)} {row['verdict'] or 'without a verdict'}" for row in rows)
            yield f"“{said}” is told of {key}; recorded: {recorded}"


def keys_of_verdict(match: re.Match, sentence: str, keys: list[re.Match]) -> list[str]:
    """The claims that a verdict word belongs to: "C4a, C4b and C4c are inconclusive" tells of three."""
    if in_brackets := IN_BRACKETS.match(sentence, match.end()):
        return [in_brackets[1]]
    earlier = [key for key in keys if key.end() <= match.start()]
    if not earlier:
        return [next(key for key in keys if key.start() >= match.end())[0]]
    found = [earlier.pop()]
    while earlier and JOINED.fullmatch(sentence[earlier[-1].end() : found[0].start()]):
        found.insert(0, earlier.pop())
    return [key[0] for key in found]


def agrees(match: re.Match, row: dict) -> bool:
    """Tell whether a row has the printed effect and bounds, to the decimals printed; a loss may be told as a gain."""
    effect, low, high = (row[name] for name in ("effect", "low", "high"))
    return any(
        all(near(printed, number) for printed, number in zip(match.group("effect", "low", "high"), triple, strict=True))
        for triple in ((effect, low, high), (-effect, -high, -low))
    )


def near(printed: str, number: float) -> bool:
    said, decimals = value(printed)
    return abs(said - number) <= 0.5 * 10**-decimals * (1 + 1e-6) + 1e-9


def shown(row: dict) -> str:
    """A row as pages print it."""
    numbers = [f"{row[name]:.3g}".replace("-", "−") for name in ("effect", "low", "high")]
    return "{} {} ({} to {})".format(row.get("key", ""), *numbers).strip()
