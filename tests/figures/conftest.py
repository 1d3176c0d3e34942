import base64
from dataclasses import asdict
from html.parser import HTMLParser

import matplotlib
import matplotlib.pyplot as plt
import pytest

from stages import figures
from stages.evidence import Claim, Finding, Record

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def fresh_style():
    """Every test begins with the book's style, no method known and no figure open, and leaves matplotlib as it was."""
    with matplotlib.rc_context():
        figures.use_style()
        yield
    plt.close("all")


@pytest.fixture
def claims():
    """One claim of each kind, two metrics, and text that HTML has to escape."""

    def claim(key, text, kind, margin, **more):
        fields = {"metric": "accuracy (%)", "better": "power law", "worse": "uniform", "reported": "+4 points"}
        return Claim(key, text, margin=margin, kind=kind, **(fields | more))

    return (
        claim("C1", "It beats <b>nothing</b> & more.", "superiority", 2.0, reported="“62 % < 90 %” & rising"),
        claim("C2", "It is as good as uniform.", "noninferiority", 1.0),
        claim("C3", "Both come out alike.", "equivalence", 1.5),
        claim("C4", "It is faster.", "superiority", 5.0, metric="steps", lower_is_better=True),
    )


@pytest.fixture
def record():
    """A finding for each claim; every verdict occurs."""
    return [
        Finding("C1", "reproduced", 7.1, 6.1, 8.1, 0.95, 10),
        Finding("C2", "inconclusive", -0.9, -1.7, -0.1, 0.99, 10, "20 tasks"),
        Finding("C3", "reproduced", 0.3, -0.4, 1.0, 0.99, 10),
        Finding("C4", "contradicted", -14.0, -20.2, -7.8, 0.99, 10),
    ]


@pytest.fixture
def live():
    """The same claims after three seeds; the last one was not measured."""
    return [
        Finding("C1", "inconclusive", 7.9, 1.5, 14.3, 0.95, 3),
        Finding("C2", "inconclusive", -0.2, -2.6, 2.2, 0.99, 3, "20 tasks"),
        Finding("C3", "inconclusive", 0.6, -2.4, 3.6, 0.99, 3),
    ]


GATES = (
    {"name": "the net <learns>", "value": 92.4321, "bound": "at least 90", "met": True},
    {"name": "the baseline & its failure", "value": 61.0, "bound": "at most 50", "met": False},
)


@pytest.fixture
def gates():
    """One gate that is met, and one that is not."""
    return list(GATES)


@pytest.fixture
def make_record(claims, record):
    """Return a function that invents a paper's record: the first `count` claims with their findings."""
    rows = [asdict(claim) | {"comparison": claim.comparison} | f.row() for claim, f in zip(claims, record, strict=True)]
    also = [row | {"key": f"A{i}", "verdict": "", "level": 0.95} for i, row in enumerate(rows[:2])]

    def made(slug="continual/one", title="A paper", count=4, ours=(), gates=(), deviations=()):
        own = [row | {"origin": "ours" if row["key"] in ours else "paper"} for row in rows[:count]]
        return Record(
            paper=slug, title=title, arxiv="2000.00001", year=2020, profile="full", settings={}, seeds=list(range(10)),
            scores=[], curves=[], claims=own, also=also, gates=list(gates), deviations=list(deviations), probe=[],
            probe_settings={}, device="cpu", threads=1, seconds=1.0, versions={}, created="then",
        )  # fmt: skip

    return made


VOID = {"img", "input", "br", "meta"}


class Reader(HTMLParser):
    """Read HTML strictly: every element is closed in order; keeps the elements, and the text of each cell."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements, self.cells, self.caption = [], [], [], ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        if {"td", "th"} & set(self.open):
            self.cells[-1] += data
        if "caption" in self.open:
            self.caption += data

    def all(self, tag):
        """Return the attributes of every element of one kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    def pngs(self):
        """Return the pictures that the page carries."""
        sources = [image["src"].removeprefix("data:image/png;base64,") for image in self.all("img")]
        return [base64.b64decode(source, validate=True) for source in sources]


@pytest.fixture
def read_html():
    """Return the strict reader of HTML."""
    return Reader
