import numpy as np
import pandas as pd
import pytest

from stages import figures


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
