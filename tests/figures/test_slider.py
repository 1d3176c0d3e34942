import base64
import importlib
import io
import json
import re
from types import SimpleNamespace

import ipywidgets
import matplotlib.pyplot as plt
import nbclient
import nbformat
import numpy as np
import pytest
from PIL import Image

from stages import figures

module = importlib.import_module("stages.figures.slider")  # `figures.slider` is the function
LABELS = ["α = 0", "α = 1", "α = 2"]
ALT = ["flat <bars>", "bars & a slope", "one tall bar"]


def frame(height, size=(4, 2)):
    figure, ax = plt.subplots(figsize=size)
    ax.bar([0, 1], [1, height])
    ax.set_ylim(0, 5)
    return figure


def frames(first=1):
    return [frame(first + i) for i in range(3)]


@pytest.fixture
def slider():
    return figures.slider(frames(), LABELS, title="Exponent <α>", alt=ALT, default=1, caption="Each frame is a run.")


@pytest.fixture
def switched():
    series = {"mixed": frames(), "sequential": frames(0.5)}
    alts = {name: [f"{name}: {text}" for text in ALT] for name in series}
    return figures.slider(series, LABELS, title="Exponent", alt=alts, switch="Rehearsal is")


def test_without_a_kernel_there_are_three_forms(slider):
    bundle = slider._repr_mimebundle_()
    assert bundle.keys() == {"text/html", "image/png", "text/plain"}
    assert bundle["text/plain"] == "Slider: Exponent <α> (α = 0, α = 1, α = 2). bars & a slope"
    assert not plt.get_fignums()


def test_a_kernel_whose_ipywidgets_cannot_stack_shows_the_html(slider, monkeypatch):
    """That is ipywidgets 7, as in Colab; tests/book/test_wheel.py runs the real one."""
    monkeypatch.setattr(module, "get_ipython", lambda: SimpleNamespace(kernel="running"))
    assert module.WIDGET in slider._repr_mimebundle_()
    monkeypatch.delattr(ipywidgets, "Stack")
    assert slider._repr_mimebundle_().keys() == {"text/html", "image/png", "text/plain"}


def test_the_pictures_are_the_same_in_every_form(slider, read_html):
    bundle = slider._repr_mimebundle_()
    pngs = read_html(bundle["text/html"]).pngs()
    assert len(set(pngs)) == 3
    assert pngs == slider.frames[""]
    assert base64.b64decode(bundle["image/png"]) == pngs[1]
    widget = slider.widget()
    assert [read_html(child.value).pngs() for child in widget.children[1].children] == [[png] for png in pngs]


def test_every_picture_has_its_alt_text_and_only_the_default_is_seen(slider, read_html):
    found = read_html(slider.html).all("img")
    assert [image["alt"] for image in found] == ALT
    assert ["hidden" in image for image in found] == [True, False, True]
    assert {(image["width"], image["height"]) for image in found} == {("528", "264")}


def test_the_page_has_a_named_range_and_nothing_from_elsewhere(slider, read_html):
    page = read_html(slider.html)
    (control,) = page.all("input")
    expected = {"type": "range", "min": "0", "max": "2", "step": "1", "value": "1"}
    assert control == expected | {"aria-label": "Exponent <α>", "aria-valuetext": "α = 1"}
    assert "hidden" in page.all("form")[0]  # shown by the script: where there is none, there are no dead controls
    assert json.loads(page.all("div")[0]["data-labels"]) == LABELS
    assert not re.search(r"https?:|//|@import|<link|url\(", re.sub(r"base64,[\w+/=]+", "", slider.html))


def test_sliders_on_one_page_share_no_id(slider, switched, read_html):
    ids = [attributes["id"] for _, attributes in read_html(slider.html + switched.html).elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_same_frames_give_the_same_bundle():
    one, other = (figures.slider(frames(), LABELS, title="t", alt=ALT)._repr_mimebundle_() for _ in range(2))
    assert one == other


def test_a_switch_has_a_radio_button_for_each_series(switched, read_html):
    page = read_html(switched.html)
    radios = [control for control in page.all("input") if control["type"] == "radio"]
    assert [(radio["name"], radio["value"]) for radio in radios] == [("set", "0"), ("set", "1")]
    assert ["checked" in radio for radio in radios] == [True, False]
    found = page.all("img")
    assert page.pngs() == switched.frames["mixed"] + switched.frames["sequential"]
    assert [image["alt"] for image in found[3:]] == [f"sequential: {text}" for text in ALT]
    assert ["hidden" not in image for image in found] == [True] + [False] * 5


def test_png_frames_are_taken_and_reduced():
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    made = figures.slider([buffer.getvalue()] * 2, ["a", "b"], title="t", alt=["a", "b"])
    image = Image.open(io.BytesIO(made.poster))
    assert image.size == (60, 40)
    assert len(image.convert("RGB").getcolors()) <= module.COLOURS


def test_nine_ordinary_frames_take_under_200_kb():
    x, pictures = np.arange(30), []
    for i in range(9):
        figure, ax = plt.subplots()
        for k in range(5):
            y = np.exp(-x / (3 + k + i))
            ax.plot(x, y)
            ax.fill_between(x, y - 0.05, y + 0.05, alpha=0.2)
        figures.headline(figure, "Five curves fall, each at its own pace")
        pictures.append(figure)
    positions = [str(i) for i in range(9)]
    bundle = figures.slider(pictures, positions, title="pace", alt=positions)._repr_mimebundle_()
    assert sum(map(len, bundle.values())) < 200_000


def test_too_much_is_refused_with_its_size(monkeypatch):
    monkeypatch.setattr(module, "LIMIT", 10_000)
    with pytest.raises(ValueError, match=r"the slider takes \d+ kB, over 10 kB: use fewer or smaller frames"):
        figures.slider(frames(), LABELS, title="t", alt=ALT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": LABELS[:2]}, "3 frames, 2 labels, 3 alt texts"),
        ({"alt": ALT[:2]}, "3 frames, 3 labels, 2 alt texts"),
        ({"alt": ["a", " ", "c"]}, "an alt text is empty"),
        ({"default": 3}, "default is 3; the positions are 0 to 2"),
        ({"labels": ["one"]}, "at least two positions"),
        ({"alt": {"mixed": ALT}}, r"frames are of the series \[''\], alt texts of \['mixed'\]"),
    ],
)
def test_wrong_input_is_refused(change, message):
    arguments = {"labels": LABELS, "title": "t", "alt": ALT} | change
    with pytest.raises(ValueError, match=message):
        figures.slider(frames(), **arguments)


def test_frames_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match=r"528 x 264, 660 x 264 pixels\): give all figures one figsize"):
        figures.slider([frame(1), frame(2, size=(5, 2))], ["a", "b"], title="t", alt=["a", "b"])


def test_in_a_kernel_the_bundle_gains_a_widget_that_needs_none_to_move():
    """Run a notebook; its widget's models are linked in the browser, not through the kernel."""
    cell = (
        "import matplotlib; matplotlib.use('agg')\nimport matplotlib.pyplot as plt\nfrom stages import figures\n"
        "series = {name: [plt.figure(figsize=(1, 1)) for _ in 'abc'] for name in ('mixed', 'sequential')}\n"
        "figures.slider(series, 'abc', title='turn', alt={n: list('xyz') for n in series}, default=2, switch='how')"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbclient.NotebookClient(notebook, timeout=60, store_widget_state=True).execute()
    outputs = [output for output in notebook.cells[0].outputs if output.output_type != "stream"]
    assert [output.output_type for output in outputs] == ["execute_result"]
    data = outputs[0].data
    assert data.keys() == {module.WIDGET, "text/html", "image/png", "text/plain"}

    models = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    states = {key: model["state"] for key, model in models.items()}
    shown = states[data[module.WIDGET]["model_id"]]["children"]
    choice, slide, sets = (key.removeprefix("IPY_MODEL_") for key in shown)
    stacks = [key.removeprefix("IPY_MODEL_") for key in states[sets]["children"]]
    assert states[slide]["index"] == 2
    assert states[sets]["selected_index"] == 0
    assert [states[stack]["selected_index"] for stack in stacks] == [2, 2]
    links = [model["state"] for model in models.values() if model["model_name"] == "LinkModel"]
    ends = {(link["source"][0][10:], link["source"][1], link["target"][0][10:], link["target"][1]) for link in links}
    pairs = [(choice, sets), *((slide, stack) for stack in stacks)]
    assert ends == {(source, "index", target, "selected_index") for source, target in pairs}
