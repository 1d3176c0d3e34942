"""What the book has found so far: every recorded claim, chapter by chapter, and the
count of verdicts.
"""

import base64
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.evidence import Record, by_luck
from stages.evidence.gates import failed
from stages.figures import tables, verdicts
from stages.figures.bars import scales
from stages.figures.page import css
from stages.figures.rows import Row, match
from stages.figures.style import MUTED, VERDICTS, WIDTH, Picture, headline, show, style
from stages.figures.tables import Table, wrap

# inches: a chapter's name, its bar, and the room below either
TITLE = 0.22
BAR = 0.24
GAP = 0.1

_RULES = """
.stages-board form{margin:0 0 1em}
.stages-board .filter{display:flex;flex-wrap:wrap;align-items:end;gap:.6em 1.2em}
.stages-board .filter label{display:block;margin:0;color:var(--st-muted);max-width:100%}
.stages-board select{display:block;min-height:2.6em;max-width:100%;margin:.15em 0 0;
padding:.3em .6em;font:inherit;
color:var(--st-text);background:var(--st-wash);border:1px solid var(--st-muted);
border-radius:.4em;cursor:pointer}
.stages-board option{color:var(--st-text);background:var(--st-wash)}
.stages-board output{padding:.55em 0;color:var(--st-text);font-weight:600;
font-variant-numeric:tabular-nums}
.stages-board .told{margin:0 0 .8em;color:var(--st-text)}
.stages-board details.chapter{margin:0 0 .6em;padding:0;border:1px solid var(--st-line);
border-radius:.4em;background:none;box-shadow:none}
.stages-board .chapter>summary{margin:0;padding:.6em .9em;cursor:pointer;border:0;
color:var(--st-text);background:none;font-weight:600}
.stages-board .chapter>summary small{display:block;color:var(--st-muted);
font-size:.88em;font-weight:400}
.stages-board .chapter .stages-table{margin:0;padding:0 .9em .4em}
.stages-board .chapter caption{position:absolute;width:1px;height:1px;overflow:hidden;
clip-path:inset(50%)}
.stages-board .stages-table .paper th{padding-top:1.3em;font-weight:600}
.stages-board .paper small{font-weight:400}
.stages-board .paper .alarm{color:var(--st-alarm);font-weight:600}
.stages.stages-board .stages-table table{table-layout:fixed}
.stages-board thead th:first-child{width:46%}
@container(max-width:560px){
.stages-board .stages-cards tbody .paper:nth-child(n){margin:1em 0 .6em;padding:0;
border:0}
.stages-board .stages-table .paper th{padding-top:0}
.stages-board td::before{content:none}
.stages-board .filter label{flex:1 1 8em;min-width:0}.stages-board select{width:100%}}
"""
_PICTURE = """
.stages-picture{margin:0 0 1em}
.stages-picture img{display:block;width:100%;height:auto;margin:0;padding:0!important;
border-radius:.3em;
background:none!important;filter:var(--st-dim)!important}
"""
_DIM = {
    "dim": ("none", "brightness(.9)")
}  # a bright page in a dark room is dimmed a little

# The boards of a page find themselves, as sliders do: no ids that could clash. A choice
# opens the chapters that have what was chosen, and "all" folds them again.
_SCRIPT = """
document.querySelectorAll('.stages-board:not([data-ready])').forEach(root=>{
const form=root.querySelector('form'),{verdict,chapter}=form.elements,
out=form.querySelector('output'),
rows=[...root.querySelectorAll('tr[data-verdict]')],
groups=[...root.querySelectorAll('tbody'),...root.querySelectorAll('details.chapter')],
draw=()=>{rows.forEach(row=>{
row.hidden=Boolean(verdict.value&&verdict.value!==row.dataset.verdict
||chapter.value&&chapter.value!==row.closest('.chapter').dataset.chapter)});
groups.forEach(group=>{
group.hidden=!group.querySelector('tr[data-verdict]:not([hidden])');
if(group.matches('details'))group.open=!group.hidden&&Boolean(verdict.value
||chapter.value)});
out.value=`${rows.filter(row=>!row.hidden).length} of ${rows.length} claims`};
root.dataset.ready='';form.hidden=false;form.addEventListener('change',draw);draw()});
"""


def scoreboard(
    records: Iterable[Record], titles: Mapping[str, str] | None = None
) -> Table:
    """Set every claim of every record, paper by paper in folded chapters, with its
    verdict, its interval drawn against its margin, and its seeds.

    On a page, two menus filter the claims by verdict and by chapter, open the chapters
    that have some, and say how many are left; without scripts all of them are there, in
    chapters that still open. Papers link to their pages from one in the folder
    `chapters`. A paper with a failed gate says so.

    Args:
        titles: the chapters' titles by their slugs, in the order of the book; by
            default the slugs as words.

    Raises:
        ValueError: there are no records.
    """
    records = list(records)
    told = f"{summary(records)}. {luck(records)}."
    titles = dict(titles or {})
    for record in records:
        chapter = _chapter(record)
        titles.setdefault(chapter, chapter.replace("_", " ").capitalize())
    groups = {
        chapter: [record for record in records if _chapter(record) == chapter]
        for chapter in titles
    }
    groups = {chapter: group for chapter, group in groups.items() if group}
    found = _verdicts(records)
    by_verdict = {
        verdict: (f"{look.symbol} {verdict}", found[verdict])
        for verdict, look in VERDICTS.items()
    }
    by_chapter = {
        chapter: (titles[chapter], _verdicts(group).total())
        for chapter, group in groups.items()
    }
    total = found.total()
    form = (
        '<form autocomplete="off" hidden><div class="filter">'
        f"{_menu('verdict', by_verdict)}{_menu('chapter', by_chapter)}"
        f'<output aria-live="polite">{total} of {total} claims</output></div></form>'
    )
    chapters = "".join(
        _chapter_html(chapter, titles[chapter], group)
        for chapter, group in groups.items()
    )
    sheet = css(tables.RULES + verdicts.RULES + _RULES, verdicts.TOKENS)
    html = (
        f'<div class="stages stages-board">{sheet}<p class="told">{escape(told)}</p>'
        f"{form}{chapters}<script>{_SCRIPT.strip()}</script></div>"
    )
    lines = [line for group in groups.values() for line in _text(group)]
    return Table(html, "\n".join([told, *lines]))


def summary(records: Iterable[Record]) -> str:
    """Say in a line how many claims were tested and what came out: those of the papers,
    and apart from them the book's own.

    Raises:
        ValueError: there are no records.
    """
    records = list(records)
    if not records:
        raise ValueError(
            "there are no records to show; `stages run SLUG --profile full --out"
            " data/evidence` makes one"
        )
    papers = _verdicts(records, "paper")
    ours = _verdicts(records, "ours")
    text = (
        f"{_many(papers.total(), 'claim')} of {_many(len(records), 'paper')}:"
        f" {_told(papers)}"
    )
    return f"{text}; {ours.total()} of our own: {_told(ours)}" if ours else text


def luck(records: Iterable[Record]) -> str:
    """Say how many of the claims would come out reproduced if none were true."""
    claims = [finding for record in records for finding in record.findings()]
    return (
        f"Were none of these {len(claims)} claims true, {by_luck(claims):.1f} would"
        " come out reproduced by luck"
    )


def evidence_state(
    records: Iterable[Record], chapters: Mapping[str, tuple[str, int]]
) -> Figure:
    """Draw, for each chapter, how many claims of its papers came out how, and how many
    of its papers are there.

    The bars have one scale, so that a longer one means more claims. The book's own
    claims are counted in the headline.

    Args:
        chapters: by slug and in order, each chapter's title and the number of papers
            planned.

    Raises:
        ValueError: there are no records, or one of a chapter that is not among
            `chapters`.
    """
    groups = _grouped(records, chapters)
    heights = [
        TITLE + GAP + (BAR + GAP / 2 if group else 0) for group in groups.values()
    ]
    most = max(_verdicts(group, "paper").total() for group in groups.values())
    with style():
        figure = plt.figure(figsize=(WIDTH, sum(heights) + TITLE + 0.75))
        ax = figure.add_subplot()
        ax.set(xlim=(0, max(most, 1)), ylim=(sum(heights) + TITLE, 0))
        ax.axis("off")
        top = 0.0
        for (title, planned), group, height in zip(
            chapters.values(), groups.values(), heights, strict=True
        ):
            _row(ax, title, planned, group, top)
            top += height
        for x, (verdict, look) in zip((0, 0.28, 0.58), VERDICTS.items(), strict=True):
            words = {
                "color": look.ink,
                "weight": "bold",
                "size": 9,
                "va": "top",
                "transform": ax.get_yaxis_transform(),
            }
            ax.text(x, top, f"{look.symbol} {verdict}", gid=f"key:{verdict}", **words)
        headline(
            figure, summary(record for group in groups.values() for record in group)
        )
    return figure


def state_in_words(
    records: Iterable[Record], chapters: Mapping[str, tuple[str, int]]
) -> str:
    """Tell what `evidence_state` draws, for those who cannot see it; arguments and
    errors are the same.
    """
    groups = _grouped(records, chapters)
    parts = [summary(record for group in groups.values() for record in group)]
    for (title, planned), group in zip(chapters.values(), groups.values(), strict=True):
        told = f": {_told(_verdicts(group, 'paper'))}" if group else ""
        parts.append(f"{title}, {_progress(group, planned)}{told}")
    return ". ".join(parts) + "."


@dataclass(frozen=True)
class Glued(Picture):
    """A picture with its description, under a key by which other pages paste it."""

    key: str
    alt: str

    def _repr_mimebundle_(self, include=None, exclude=None):
        # Pasted as a PNG on another page, a picture would lose its description there;
        # in HTML it keeps it.
        html = (
            f'<div class="stages stages-picture">{css(_PICTURE, _DIM)}<img'
            ' class="dark-light"'
            f' src="data:image/png;base64,{base64.b64encode(self.png).decode()}"'
            f' alt="{escape(self.alt)}"></div>'
        )
        return {"text/html": html, "text/plain": self.text}, {
            "scrapbook": {"name": self.key, "mime_prefix": ""}
        }


def glued(figure: Figure, key: str, alt: str) -> Glued:
    """Render a figure for the last line of a notebook cell, and so that MyST's `{glue}`
    pastes it on other pages.

    It is what `myst_nb.glue` does, without a need for that package in the notebook.
    """
    picture = show(figure)
    return Glued(picture.png, picture.text, picture.width, key, alt)


def _menu(name: str, choices: dict[str, tuple[str, int]]) -> str:
    options = "".join(
        f'<option value="{escape(k)}">{escape(text)} ({n})</option>'
        for k, (text, n) in choices.items()
    )
    return (
        f'<label>{name.capitalize()} <select name="{name}"><option'
        f' value="">all</option>{options}</select></label>'
    )


def _chapter_html(chapter: str, title: str, records: list[Record]) -> str:
    """Return a chapter, folded: its count, and its papers' claims in one table."""
    told = f"{_many(len(records), 'paper')} · {_told(_verdicts(records))}"
    if alarmed := sum(bool(failed(record.gates)) for record in records):
        told += f" · ⚠ {_many(alarmed, 'paper')} with a failed gate"
    head = f'<th scope="col">Claim</th><th scope="col">{verdicts.MEASURED}</th>'
    body = "".join(_paper(record) for record in records)
    return (
        f'<details class="chapter" data-chapter="{escape(chapter)}">'
        f"<summary>{escape(title)}<small>{escape(told)}</small></summary>"
        f"{wrap(title, head, body, 'stages-cards', styled=False)}</details>"
    )


def _paper(record: Record) -> str:
    """Return a paper's rows: its title, linked to its page, and its claims."""
    link = f'<a href="{escape(record.paper)}.html">{escape(record.title)}</a>'
    told = escape(_told(_verdicts([record])))
    alarm = "".join(
        f'<small class="alarm">⚠ A gate failed: {escape(fault)}</small>'
        for fault in failed(record.gates)
    )
    claims = match(None, None, record)
    on = scales(claims)
    rows = "".join(
        f'<tr data-verdict="{row.record.verdict}">'
        f'<th scope="row">{verdicts.claim_cell(row)}</th>'
        f"<td>{verdicts.measured_cell(row, on[row.metric])}</td></tr>"
        for row in claims
    )
    return (
        '<tbody><tr class="paper"><th scope="rowgroup" colspan="2">'
        f"{link}<small>{told}</small>{alarm}</th></tr>{rows}</tbody>"
    )


def _text(records: list[Record]) -> list[str]:
    lines = []
    for record in records:
        lines.append(f"{record.paper}: {record.title}")
        lines += [f"    ⚠ a gate failed: {fault}" for fault in failed(record.gates)]
        lines += [_line(row) for row in match(None, None, record)]
    return lines


def _line(row: Row) -> str:
    mark = f" ({verdicts.OURS})" if row.origin == "ours" else ""
    return (
        f"    {row.key:4} {verdicts.finding_words(row.record)}  {row.comparison} on"
        f" {row.metric}{mark}"
    )


def _row(ax: Axes, title: str, planned: int, group: list[Record], top: float) -> None:
    """Draw one chapter, from `top` inches down: its title, how many papers it has, and
    its bar.
    """
    words = {
        "transform": ax.get_yaxis_transform(),
        "va": "top",
        "color": None if group else MUTED,
    }
    words = {name: value for name, value in words.items() if value}
    ax.text(0, top, title, size=10, **words)
    ax.text(1, top, _progress(group, planned), ha="right", size=9, **words)
    most = ax.get_xlim()[1]
    left = 0
    middle = top + TITLE + BAR / 2
    for verdict, count in _verdicts(group, "paper").items():
        look = VERDICTS[verdict]
        ax.barh(
            middle,
            count,
            BAR,
            left,
            color=look.colour,
            edgecolor="white",
            linewidth=0.8,
            gid=f"bar:{verdict}",
        )
        text = f"{look.symbol} {count}" if count / most > 0.1 else f"{count}"
        ax.text(
            left + count / 2,
            middle,
            text,
            color="white",
            size=9,
            weight="bold",
            ha="center",
            va="center_baseline",
        )
        left += count


def _grouped(
    records: Iterable[Record], chapters: Mapping[str, tuple[str, int]]
) -> dict[str, list[Record]]:
    groups = {chapter: [] for chapter in chapters}
    for record in records:
        if _chapter(record) not in groups:
            raise ValueError(
                f"{record.paper} is of no chapter; the chapters are {', '.join(groups)}"
            )
        groups[_chapter(record)].append(record)
    if not any(groups.values()):
        summary([])
    return groups


def _verdicts(records: Iterable[Record], origin: str | None = None) -> Counter:
    """Count verdicts, in the order of `VERDICTS`; those that nothing got are absent.

    Args:
        origin: count the papers' claims ("paper") or the book's own ("ours") alone.
    """
    found = Counter(
        row["verdict"]
        for record in records
        for row in record.claims
        if origin in (None, row["origin"])
    )
    return Counter({verdict: found[verdict] for verdict in VERDICTS if found[verdict]})


def _told(counts: Counter) -> str:
    return ", ".join(
        f"{counts[verdict]}\N{NO-BREAK SPACE}{verdict}" for verdict in VERDICTS
    )


def _progress(group: list[Record], planned: int) -> str:
    return (
        f"{len(group)} of {_many(planned, 'paper')}"
        if group
        else f"{_many(planned, 'paper')} to come"
    )


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _chapter(record: Record) -> str:
    return record.paper.partition("/")[0]
