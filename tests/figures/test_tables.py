import numpy as np
import pandas as pd
import pytest

from stages import figures


def test_every_claim_is_there_with_report_effects_and_verdicts(claims, live, record, read_html):
    page = read_html(figures.verdict_table(claims, live, record)._repr_html_())
    head, rows = page.cells[:4], np.reshape(page.cells[4:], (4, 4))
    assert head == ["Claim", "The paper reports", "Quick, live", "Full, recorded"]
    for claim, finding, row in zip(claims, record, rows, strict=True):
        assert row[0].startswith(claim.key + claim.text)
        assert claim.comparison in row[0]
        assert row[1] == claim.reported
        assert finding.verdict in row[3]
        assert figures.VERDICTS[finding.verdict].symbol in row[3]
        assert f"{finding.seeds} seeds" in row[3]
    assert "+7.1 [+6.1, +8.1]" in rows[0, 3]
    assert "−0.90 [−1.70, −0.10]" in rows[1, 3]
    assert "weakest: 20 tasks" in rows[1, 3]
    assert ["inconclusive" in cell for cell in rows[:3, 2]] == [True] * 3
    assert rows[3, 2] == "not measured"


def test_demands_are_in_words(claims, live):
    rows = figures.verdict_table(claims, live).text
    for words in ("by more than 2", "at most 1 worse", "within ±1.5", "by more than 5"):
        assert words in rows


def test_columns_without_findings_are_left_out(claims, record, read_html):
    page = read_html(figures.verdict_table(claims, record=record)._repr_html_())
    assert page.cells[:3] == ["Claim", "The paper reports", "Full, recorded"]
    assert len(page.cells) == 3 * 5


def test_the_table_is_semantic(claims, live, record, read_html):
    page = read_html(figures.verdict_table(claims, live, record, caption="Does it <hold>?")._repr_html_())
    assert page.caption == "Does it <hold>?"
    assert [cell["scope"] for cell in page.all("th")] == ["col"] * 4 + ["row"] * 4
    assert page.all("div")[0]["aria-label"] == "Does it <hold>?"
    assert page.all("div")[0]["tabindex"] == "0"  # a box that scrolls can be reached by keyboard


def test_text_is_escaped_and_nothing_is_fetched(claims, live, record):
    html = figures.verdict_table(claims, live, record)._repr_html_()
    assert "<b>nothing</b>" not in html
    assert "&lt;b&gt;nothing&lt;/b&gt; &amp; more" in html
    for outside in ("http:", "https:", "//", "url(", "<script", "<link", "@import"):
        assert outside not in html


def test_the_plain_form_has_it_all(claims, live, record):
    assert repr(figures.verdict_table(claims[:2], live[:2], record[:2])).splitlines() == [
        "Verdicts",
        "C1: power law > uniform on accuracy (%), by more than 2",
        "    live:   inconclusive  +7.9 [+1.5, +14.3] (3 seeds)",
        "    record: reproduced    +7.1 [+6.1, +8.1] (10 seeds)",
        "C2: power law ≥ uniform on accuracy (%), at most 1 worse",
        "    live:   inconclusive  −0.2 [−2.6, +2.2] (3 seeds, weakest: 20 tasks)",
        "    record: inconclusive  −0.90 [−1.70, −0.10] (10 seeds, weakest: 20 tasks)",
    ]


@pytest.fixture
def budget():
    arms = pd.Index(["none", "<power> law"], name="arm")
    return pd.DataFrame({"updates": [600, 600], "seconds": [3.14159, np.nan], "note": ["a & b", None]}, index=arms)


def test_a_frame_becomes_a_table(budget, read_html):
    page = read_html(figures.table(budget, caption="Equal budgets", formats={"updates": "{:,} steps"})._repr_html_())
    assert page.caption == "Equal budgets"
    assert page.cells[:4] == ["arm", "updates", "seconds", "note"]
    assert page.cells[4:] == ["none", "600 steps", "3.14", "a & b", "<power> law", "600 steps", "–", "–"]
    assert [cell.get("class") for cell in page.all("td")[:3]] == ["number", "number", None]
    assert [cell["scope"] for cell in page.all("th")] == ["col"] * 4 + ["row"] * 2


def test_a_counting_index_is_no_header(budget, read_html):
    plain = budget.reset_index(drop=True)
    page = read_html(figures.table(plain, caption="x", formats={"seconds": lambda seconds: f"{seconds:.0f}s"}).html)
    assert page.cells == ["updates", "seconds", "note", "600", "3s", "a & b", "600", "–", "–"]


def test_the_plain_form_of_a_frame_is_formatted_too(budget):
    text = repr(figures.table(budget, caption="Equal budgets", formats={"seconds": "{:.1f} s"}))
    assert text.splitlines()[0] == "Equal budgets"
    assert "3.1 s" in text
    assert "none" in text


def test_formats_for_no_column_are_refused(budget):
    with pytest.raises(ValueError, match="formats for no column: second; there is updates, seconds, note"):
        figures.table(budget, caption="x", formats={"second": "{}"})


def test_a_table_with_long_texts_can_become_cards(budget, read_html):
    wordy = budget.assign(note="a text that takes far more room than a phone has to give")
    cards, plain = (read_html(figures.table(frame, caption="x").html) for frame in (wordy, budget))
    assert "stages-cards" in cards.all("div")[0]["class"]
    assert "stages-cards" not in plain.all("div")[0]["class"]
    assert [cell["data-column"] for cell in cards.all("td")[:3]] == ["updates", "seconds", "note"]
