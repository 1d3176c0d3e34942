"""The pictures of the first page's cards are made from the notebooks' stored figures."""

import base64
import io
import random

import cards
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image


def png(size=(900, 540), colour="#fbfaf7"):
    image = Image.new("RGB", size, colour)
    image.putpixel((size[0] // 2, size[1] // 2), (0, 0, 0))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A book of one paper, whose notebook shows two figures after a line of text."""
    outputs = [new_output("stream", text="hello")]
    outputs += [
        new_output("display_data", {"image/png": base64.b64encode(png(colour=colour)).decode()})
        for colour in ("#fbfaf7", "#112233")
    ]
    path = tmp_path / "chapters/continual/one.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(new_notebook(cells=[new_code_cell("show()", outputs=outputs)]), path)
    monkeypatch.setattr(cards, "ROOT", tmp_path)
    monkeypatch.setattr(cards, "slugs", lambda: ["continual/one"])
    return tmp_path


def opened(path):
    return Image.open(path).convert("RGB")


def test_a_card_shows_the_first_figure(book, capsys):
    cards.main(None, check=False)
    card = book / "_static/cards/continual/one.png"
    image = opened(card)
    assert image.size == (480, 320)
    assert image.getpixel((0, 0)) == (0xFB, 0xFA, 0xF7)
    assert min(image.convert("L").tobytes()) < 200  # the figure's black point is there
    assert card.stat().st_size <= 30_000
    assert capsys.readouterr().out.startswith("_static/cards/continual/one.png: ")


def test_a_card_is_made_once(book, capsys):
    cards.main(None, check=False)
    capsys.readouterr()
    cards.main(None, check=True)
    cards.main(["continual/one"], check=False)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("change", ["absent", "other"])
def test_the_check_names_a_card_that_is_not_as_it_should_be(book, capsys, change):
    cards.main(None, check=False)
    card = book / "_static/cards/continual/one.png"
    if change == "absent":
        card.unlink()
    else:
        Image.new("RGB", (480, 320)).save(card)
    capsys.readouterr()
    with pytest.raises(SystemExit, match=r"cards\.py` makes them anew"):
        cards.main(None, check=True)
    assert capsys.readouterr().out == "_static/cards/continual/one.png: out of date\n"
    assert card.exists() == (change == "other")  # nothing was written


@pytest.mark.parametrize("size", [(900, 300), (900, 1500), (100, 60)])
def test_a_figure_of_any_shape_is_fitted_whole(size):
    image = Image.new("RGB", size, "white")
    image.paste("black", (1, 1, size[0] - 1, size[1] - 1))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    left, top, right, bottom = Image.eval(
        opened(io.BytesIO(cards.card(buffer.getvalue()))).convert("L"), lambda v: 255 * (v < 128)
    ).getbbox()
    assert (right - left) / (bottom - top) == pytest.approx((size[0] - 2) / (size[1] - 2), rel=0.05)
    assert right - left >= 470 or bottom - top >= 310
    assert abs(left + right - 480) <= 3
    assert abs(top + bottom - 320) <= 3


def test_a_picture_that_cannot_be_small_is_refused():
    noise = random.Random(0).randbytes(3 * 480 * 320)
    buffer = io.BytesIO()
    Image.frombytes("RGB", (480, 320), noise).save(buffer, "PNG")
    with pytest.raises(cards.NoPicture, match="more than 30000; choose a simpler one"):
        cards.card(buffer.getvalue())


def test_a_notebook_without_a_figure_is_named(book):
    path = book / "chapters/continual/one.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("1 + 1")]), path)
    with pytest.raises(SystemExit, match=r"one\.ipynb has stored no figure"):
        cards.main(None, check=False)
    with pytest.raises(SystemExit, match="no notebook"):
        cards.main(["continual/two"], check=False)
