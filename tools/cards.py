"""Make the pictures of the first page's cards: for each paper, the first figure that its notebook has stored.

python tools/cards.py [--check] [continual/power_law_rehearsal ...]
"""

import base64
import io
import sys
from pathlib import Path
from typing import Annotated

import nbformat
import typer
from PIL import Image, ImageChops

from stages.catalogue import slugs
from stages.files import write_whole

ROOT = Path(__file__).resolve().parents[1]
SIZE = (480, 320)  # pixels; every card has the same
BYTES = 30_000
COLOURS = (128, 64, 32, 16, 8)  # as many as the bytes allow


class NoPicture(Exception):
    """A notebook from which no card can be made, and why."""


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Papers; without any, all of the book.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Name the cards that are not as they should be.")] = False,
) -> None:
    """Make the cards in _static/cards from the notebooks' stored figures."""
    wrong = 0
    for slug in names or slugs():
        try:
            made = card(first_picture(ROOT / f"chapters/{slug}.ipynb"))
        except NoPicture as fault:
            sys.exit(f"error: {fault}")
        path = ROOT / f"_static/cards/{slug}.png"
        if same(path, made):
            continue
        wrong += 1
        if not check:
            write_whole(path, made)
        print(f"{path.relative_to(ROOT)}: {'out of date' if check else f'{len(made) / 1000:.0f} kB'}")
    if check and wrong:
        sys.exit("error: `python tools/cards.py` makes them anew")


def first_picture(notebook: Path) -> bytes:
    """Return the first PNG among a notebook's stored outputs.

    Raises:
        NoPicture: there is no notebook, or no picture in it.
    """
    if not notebook.is_file():
        raise NoPicture(f"no notebook {notebook}")
    for cell in nbformat.read(notebook, as_version=4).cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                return base64.b64decode(output.data["image/png"])
    raise NoPicture(f"{notebook} has stored no figure; `python tools/notebooks.py {notebook}` executes it")


def card(picture: bytes) -> bytes:
    """Fit a picture onto a card, on the colour of its own corner, as a PNG of at most 30 kB.

    Raises:
        NoPicture: even eight colours take more than that.
    """
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    sheet = Image.new("RGB", SIZE, image.getpixel((0, 0)))
    scale = min(SIZE[0] / image.width, SIZE[1] / image.height)
    image = image.resize((round(scale * image.width), round(scale * image.height)), Image.Resampling.LANCZOS)
    sheet.paste(image, ((SIZE[0] - image.width) // 2, (SIZE[1] - image.height) // 2))
    for colours in COLOURS:
        buffer = io.BytesIO()
        reduced = sheet.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        reduced.save(buffer, "PNG", optimize=True)
        if buffer.tell() <= BYTES:
            return buffer.getvalue()
    raise NoPicture(
        f"a picture takes {buffer.tell()} bytes in {colours} colours, more than {BYTES}; choose a simpler one"
    )


def same(path: Path, made: bytes) -> bool:
    """Tell whether a file shows what was made, pixel by pixel."""
    if not path.is_file():
        return False
    one, other = (Image.open(source).convert("RGB") for source in (path, io.BytesIO(made)))
    return one.size == other.size and ImageChops.difference(one, other).getbbox() is None


if __name__ == "__main__":
    typer.run(main)
