"""Precomputed pictures under one slider, which moves wherever the notebook or the page
is read.

The slider is one output in three forms: ipywidgets in a live notebook, HTML with a
native range input on a page, a PNG where no script runs. None of them calls the kernel
or fetches anything. Where ipywidgets is older than 8, as in Colab, a live notebook
shows the HTML as well.
"""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import matplotlib.pyplot as plt
from IPython import get_ipython
from matplotlib.figure import Figure
from PIL import Image

from stages.figures.page import css
from stages.figures.style import png, quantise

DPI, COLOURS, LIMIT = 132, 48, 600_000
_DIM = {
    "dim": ("none", "brightness(.9)")
}  # a bright page in a dark room is dimmed a little
WIDGET = "application/vnd.jupyter.widget-view+json"

_RULES = """
.stages-slider{margin:0 0 1em}
.stages-slider form{margin:0}
.stages-slider fieldset{border:0;margin:0 0 .3em;padding:0;display:flex;flex-wrap:wrap;
gap:.2em 1.2em;min-width:0}
.stages-slider legend{float:left;padding:0;margin:0 1em 0 0;width:auto;font-size:1em;
line-height:2.2em;
color:var(--st-muted)}
.stages-slider .choice{display:inline-flex;align-items:center;gap:.4em;
min-height:2.2em;cursor:pointer}
.stages-slider .turn{display:block;width:100%;margin:0}
.stages-slider .top{display:flex;justify-content:space-between;align-items:baseline;
gap:1em}
.stages-slider .title{color:var(--st-muted)}
.stages-slider output{font-weight:700;font-variant-numeric:tabular-nums;
text-align:right}
.stages-slider input[type=range]{width:100%;height:2.4em;margin:0;
accent-color:var(--st-accent);cursor:pointer;
touch-action:pan-y}
.stages-slider input{accent-color:var(--st-accent)}
.stages-slider .stages-frames img{display:block;width:100%;height:auto;margin:0;
padding:0!important;border-radius:.3em;
background:none!important;filter:var(--st-dim)!important}
.stages-slider .under{color:var(--st-muted);font-size:.95em;margin:.5em 0 0}
"""

# The sliders of a page find themselves: no ids that could clash, and any way of
# inserting the HTML will do.
_SCRIPT = """
document.querySelectorAll('.stages-slider:not([data-ready])').forEach(root=>{
const form=root.querySelector('form'),range=form.querySelector('[type=range]'),
out=form.querySelector('output'),
labels=JSON.parse(root.dataset.labels),
frames=[...root.querySelectorAll('.stages-frames img')],
draw=()=>{const at=+range.value,set=form.elements.set?+form.elements.set.value:0;
frames.forEach((img,i)=>{img.hidden=i!==set*labels.length+at});
out.value=labels[at];range.setAttribute('aria-valuetext',labels[at])};
root.dataset.ready='';form.hidden=false;form.addEventListener('input',draw);
form.addEventListener('submit',event=>event.preventDefault());draw()});
"""


@dataclass(frozen=True)
class Slider:
    """A slider over `frames[name][position]`, PNGs of one size; `slider` makes it, a
    notebook shows it.
    """

    frames: dict[str, list[bytes]]
    labels: list[str]
    title: str
    alt: dict[str, list[str]]
    default: int
    caption: str | None
    switch: str

    def __repr__(self) -> str:
        return (
            f"Slider: {self.title} ({', '.join(self.labels)})."
            f" {next(iter(self.alt.values()))[self.default]}"
        )

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        bundle = {"text/html": self.html, "text/plain": repr(self)}
        bundle["image/png"] = _base64(self.poster)
        if getattr(get_ipython(), "kernel", None) is not None and _can_stack():
            bundle[WIDGET] = self.widget()._repr_mimebundle_()[WIDGET]
        return bundle

    @property
    def poster(self) -> bytes:
        """The PNG of the default frame."""
        return next(iter(self.frames.values()))[self.default]

    @property
    def html(self) -> str:
        """The page's form. Without scripts it is the default frame alone."""
        images = "".join(
            self._image(name, i, shown=k == 0 and i == self.default)
            for k, name in enumerate(self.frames)
            for i in range(len(self.labels))
        )
        return (
            '<div class="stages stages-slider"'
            f' data-labels="{escape(json.dumps(self.labels))}">{css(_RULES, _DIM)}<form'
            f' autocomplete="off" hidden>{self._choices()}<label class="turn"><span'
            ' class="top"><span'
            f' class="title">{escape(self.title)}</span>'
            f"<output>{escape(self.labels[self.default])}</output></span><input"
            f' type="range" min="0" max="{len(self.labels) - 1}" step="1"'
            f' value="{self.default}" aria-label="{escape(self.title)}"'
            f' aria-valuetext="{escape(self.labels[self.default])}"></label></form><div'
            f' class="stages-frames">{images}</div>'
            + (f'<p class="under">{escape(self.caption)}</p>' if self.caption else "")
            + f"<script>{_SCRIPT.strip()}</script></div>"
        )

    def widget(self):
        """The live form: browser-side links move the pictures, so it works while the
        kernel is busy, or gone.
        """
        import ipywidgets as widgets

        slide = widgets.SelectionSlider(
            options=[(label, i) for i, label in enumerate(self.labels)],
            index=self.default,
            description=self.title,
            style={"description_width": "initial"},
            layout={"width": "100%"},
        )
        stacks = []
        for name in self.frames:
            pictures = [
                widgets.HTML(self._image(name, i, shown=True))
                for i in range(len(self.labels))
            ]
            stacks.append(widgets.Stack(pictures, selected_index=self.default))
            widgets.jslink((slide, "index"), (stacks[-1], "selected_index"))
        caption = (
            [widgets.HTML(f"<p>{escape(self.caption)}</p>")] if self.caption else []
        )
        if len(stacks) == 1:
            return widgets.VBox([slide, *stacks, *caption])
        choice = widgets.RadioButtons(
            options=list(self.frames), index=0, description=self.switch
        )
        sets = widgets.Stack(stacks, selected_index=0)
        widgets.jslink((choice, "index"), (sets, "selected_index"))
        return widgets.VBox([choice, slide, sets, *caption])

    def _image(self, name: str, position: int, shown: bool) -> str:
        frame = self.frames[name][position]
        width, height = Image.open(io.BytesIO(frame)).size
        return (
            f'<img class="dark-light" src="data:image/png;base64,{_base64(frame)}"'
            f' width="{width}" height="{height}" '
            'style="width:100%;height:auto"'
            f' alt="{escape(self.alt[name][position])}"'
            f"{'' if shown else ' hidden'}>"
        )

    def _choices(self) -> str:
        if len(self.frames) == 1:
            return ""
        choices = "".join(
            '<label class="choice"><input type="radio" name="set"'
            f' value="{k}"{" checked" if k == 0 else ""}>{escape(name)}</label>'
            for k, name in enumerate(self.frames)
        )
        return f"<fieldset><legend>{escape(self.switch)}</legend>{choices}</fieldset>"


Frames = Sequence[Figure | bytes]


def slider(
    frames: Frames | Mapping[str, Frames],
    labels: Sequence[str],
    *,
    title: str,
    alt: Sequence[str] | Mapping[str, Sequence[str]],
    default: int = 0,
    caption: str | None = None,
    switch: str = "",
) -> Slider:
    """Put precomputed pictures under a slider; make it the last line of a notebook
    cell.

    Args:
        frames: one picture a position, as figures (rendered, then closed) or PNGs, all
            of one size in pixels. To switch between several series of pictures with
            radio buttons, a mapping from a name to each series: the slider keeps its
            position when the series changes.
        labels: what the slider says at each position, units included.
        title: what the slider turns.
        alt: what each picture shows, in the form of `frames`.
        default: the position at which it opens, in the first series.
        caption: a line below the picture.
        switch: what the radio buttons choose.

    Raises:
        ValueError: frames, labels and alt texts differ in number; an alt text is empty;
            the pictures differ in size; `default` is not a position; or all of it
            passes 600 kB, when fewer or smaller frames will do.
    """
    series = dict(frames) if isinstance(frames, Mapping) else {"": frames}
    texts = dict(alt) if isinstance(alt, Mapping) else {"": alt}
    labels = [str(label) for label in labels]
    if len(labels) < 2:
        raise ValueError(
            f"a slider needs at least two positions; there is {len(labels)}"
        )
    if series.keys() != texts.keys():
        raise ValueError(
            f"frames are of the series {list(series)}, alt texts of {list(texts)}"
        )
    for name in series:
        counts = {
            "frames": len(series[name]),
            "labels": len(labels),
            "alt texts": len(texts[name]),
        }
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{count} {what}" for what, count in counts.items())
            raise ValueError(
                f"{name or 'slider'}: {told}; every position needs one of each"
            )
        if not all(text.strip() for text in texts[name]):
            raise ValueError(
                f"{name or 'slider'}: an alt text is empty; say what each frame shows"
            )
    if not 0 <= default < len(labels):
        raise ValueError(
            f"default is {default}; the positions are 0 to {len(labels) - 1}"
        )
    pictures = {
        name: [_render(frame) for frame in group] for name, group in series.items()
    }
    sizes = {
        Image.open(io.BytesIO(picture)).size
        for group in pictures.values()
        for picture in group
    }
    if len(sizes) > 1:
        told = ", ".join(f"{width} x {height}" for width, height in sorted(sizes))
        raise ValueError(
            f"the frames differ in size ({told} pixels): give all figures one figsize"
        )
    made = Slider(
        pictures,
        labels,
        title,
        {k: list(v) for k, v in texts.items()},
        default,
        caption,
        switch,
    )
    if (size := len(made.html.encode()) + len(_base64(made.poster))) > LIMIT:
        limit = f"{LIMIT / 1000:.0f} kB"
        raise ValueError(
            f"the slider takes {size / 1000:.0f} kB, over {limit}: use fewer or smaller"
            " frames"
        )
    return made


def _render(frame: Figure | bytes) -> bytes:
    if isinstance(frame, bytes):
        return quantise(frame, COLOURS)
    picture = png(frame, DPI, COLOURS)
    plt.close(frame)
    return picture


def _can_stack() -> bool:
    """Whether ipywidgets has a widget that shows one of its children, as from 8 on."""
    import ipywidgets as widgets

    return hasattr(widgets, "Stack")


def _base64(picture: bytes) -> str:
    return base64.b64encode(picture).decode()
