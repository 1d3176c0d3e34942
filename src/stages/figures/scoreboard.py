"""What the book has found so far: every recorded claim in one table, and the count of
verdicts chapter by chapter.
"""

import base64
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.evidence import Record
from stages.figures.page import css
from stages.figures.rows import Row, match
from stages.figures.style import MUTED, VERDICTS, WIDTH, Picture, headline, show, style
from stages.figures.tables import Table, claim_cell, finding_cell, finding_words, wrap

TITLE, BAR, GAP = (
    0.22,
    0.24,
    0.1,
)  # inches: a chapter's name, its bar, and the room below either

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
.stages-board .stages-table .paper th{padding-top:1.6em;font-weight:600}
.stages-board .paper small{font-weight:400}
@container(max-width:560px){
.stages-board .stages-cards tbody .paper:nth-child(n){margin:1.2em 0 .6em;padding:0;
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

# The boards of a page find themselves, as sliders do: no ids that could clash.
_SCRIPT = """
document.querySelectorAll('.stages-board:not([data-ready])').forEach(root=>{
const form=root.querySelector('form'),{verdict,chapter}=form.elements,
out=form.querySelector('output'),
rows=[...root.querySelectorAll('tr[data-verdict]')],
papers=[...root.querySelectorAll('tbody')],
draw=()=>{rows.forEach(row=>{
row.hidden=Boolean(verdict.value&&verdict.value!==row.dataset.verdict
||chapter.value&&chapter.value!==row.parentNode.dataset.chapter)});
papers.forEach(paper=>{
paper.hidden=!paper.querySelector('tr[data-verdict]:not([hidden])')});
out.value=`${rows.filter(row=>!row.hidden).length} of ${rows.length} claims`};
root.dataset.ready='';form.hidden=false;form.addEventListener('change',draw);draw()});
"""


def scoreboard(
    records: Iterable[Record], titles: Mapping[str, str] | None = None
) -> Table:
    """Set every claim of every record in one table, paper by paper, with its verdict,
    effect, interval and seeds.

    On a page, two menus filter the claims by verdict and by chapter, and say how many
    are left; without scripts all of them stand there. Papers link to their pages from
    one in the folder `chapters`.

    Args:
        titles: the chapters' titles by their slugs, in the order of the book; by
            default the slugs as words.

    Raises:
        ValueError: there are no records.
    """
    records, titles = list(records), dict(titles or {})
    for record in records:
        titles.setdefault(
            _chapter(record), _chapter(record).replace("_", " ").capitalize()
        )
    order = list(titles)
    records.sort(
        key=lambda record: order.index(_chapter(record))
    )  # stable: papers of a chapter stay as they came
    caption, counts = summary(records), _verdicts(records)
    chapters = Counter(_chapter(record) for record in records for _ in record.claims)
    menus = _menu(
        "verdict",
        {v: (f"{look.symbol} {v}", counts[v]) for v, look in VERDICTS.items()},
    ) + _menu(
        "chapter",
        {
            chapter: (titles[chapter], chapters[chapter])
            for chapter in order
            if chapters[chapter]
        },
    )
    total = (
        f'<output aria-live="polite">{counts.total()} of {counts.total()}'
        " claims</output>"
    )
    head = (
        '<th scope="col">Claim</th><th scope="col">Verdict, effect,'
        " 95\N{NO-BREAK SPACE}% interval</th>"
    )
    body = "".join(_paper(record, titles[_chapter(record)]) for record in records)
    html = (
        '<div class="stages-board"><form class="stages" autocomplete="off" hidden><div'
        f' class="filter">{menus}{total}'
        f"</div></form>{wrap(caption, head, body, 'stages-cards', _RULES)}"
        f"<script>{_SCRIPT.strip()}</script></div>"
    )
    lines = [
        line
        for record in records
        for line in (
            f"{record.paper}: {record.title}",
            *_lines(match(None, None, record)),
        )
    ]
    return Table(html, "\n".join([caption, *lines]))


def summary(records: Iterable[Record]) -> str:
    """Say in a line how many claims were tested and what came out.

    Raises:
        ValueError: there are no records.
    """
    records = list(records)
    if not records:
        raise ValueError(
            "there are no records to show; `stages run SLUG --profile full --out"
            " data/evidence` makes one"
        )
    counts = _verdicts(records)
    return (
        f"{_many(counts.total(), 'claim')} of {_many(len(records), 'paper')} tested:"
        f" {_told(counts)}"
    )


def evidence_state(
    records: Iterable[Record], chapters: Mapping[str, tuple[str, int]]
) -> Figure:
    """Draw, for each chapter, how many claims came out how, and how many of its papers
    are there.

    The bars have one scale, so that a longer one means more claims.

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
    most = max(_verdicts(group).total() for group in groups.values())
    with style():
        figure = plt.figure(figsize=(WIDTH, sum(heights) + TITLE + 0.75))
        ax = figure.add_subplot()
        ax.set(xlim=(0, most), ylim=(sum(heights) + TITLE, 0))
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
        parts.append(
            f"{title}, {_progress(group, planned)}"
            + (f": {_told(_verdicts(group))}" if group else "")
        )
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
            f' class="dark-light" style="max-width:{self.width}px"'
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


def _paper(record: Record, chapter: str) -> str:
    """Return a paper's rows: its title, linked to its page, and its claims."""
    link = f'<a href="{escape(record.paper)}.html">{escape(record.title)}</a>'
    told = escape(f"{chapter} · {_told(_verdicts([record]))}")
    rows = "".join(
        f'<tr data-verdict="{row.record.verdict}"><th'
        f' scope="row">{claim_cell(row)}</th><td>{finding_cell(row.record)}</td></tr>'
        for row in match(None, None, record)
    )
    return (
        f'<tbody data-chapter="{escape(_chapter(record))}"><tr class="paper"><th'
        ' scope="rowgroup"'
        f' colspan="2">{link}<small>{told}</small></th></tr>{rows}</tbody>'
    )


def _lines(rows: list[Row]) -> list[str]:
    return [
        f"    {row.key:4} {finding_words(row.record)}  {row.comparison} on {row.metric}"
        for row in rows
    ]


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
    most, left = ax.get_xlim()[1], 0
    for verdict, count in _verdicts(group).items():
        look, middle = VERDICTS[verdict], top + TITLE + BAR / 2
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


def _verdicts(records: Iterable[Record]) -> Counter:
    """Count verdicts, in the order of `VERDICTS`; those that nothing got are absent."""
    found = Counter(row["verdict"] for record in records for row in record.claims)
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
