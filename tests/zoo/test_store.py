"""Base models: made, kept, loaded, and refused when they are not what they should be."""

import json
import re
from dataclasses import dataclass, replace

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional as F

from stages import zoo
from stages.seeding import torch_rng
from stages.training import fit, optimiser
from stages.zoo import Recipe, ZooError, store


@dataclass(frozen=True)
class Settings:
    steps: int = 3
    sizes: tuple[int, ...] = (5, 4)


def build(settings):
    return nn.Sequential(nn.Linear(*settings.sizes), nn.Dropout())


def batch(seed, *names):
    x = torch.randn(64, 5, generator=torch_rng(seed, *names))
    return x, x[:, :4].argmax(1)


def learn(model, settings, seed):
    loss = lambda step: F.cross_entropy(model(batch(seed, step)[0]), batch(seed, step)[1])  # noqa: E731
    fit(loss, settings.steps, optimiser(model.parameters(), lr=0.01))


def measure(model, settings, seed):
    x, y = batch(seed, "test")
    return {"accuracy": 100 * (model(x).argmax(1) == y).float().mean().item()}


RECIPE = Recipe("tiny", "a network of one layer", "numbers", Settings(), build, learn, measure)


@pytest.fixture
def tiny(monkeypatch):
    """A zoo of one recipe."""
    for name in list(zoo.RECIPES):
        monkeypatch.delitem(zoo.RECIPES, name)
    monkeypatch.setitem(zoo.RECIPES, "tiny", RECIPE)


@pytest.fixture
def made(tiny, tmp_path):
    """A folder with the trained network and its card."""
    zoo.train("tiny", tmp_path)
    return tmp_path


def rewrite(folder, **facts):
    card = folder / "tiny.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | facts))


def test_what_is_loaded_is_what_was_measured(made):
    model, card = zoo.load("tiny", made), zoo.card("tiny", made)
    assert sorted(path.name for path in made.iterdir()) == ["tiny.json", "tiny.safetensors"]
    assert card["metrics"] == {"accuracy": round(measure(model, RECIPE.settings, 0)["accuracy"], 2)}
    assert not model.training
    stored = safetensors.torch.load_file(made / "tiny.safetensors")
    for name, parameter in model.named_parameters():
        assert (parameter.dtype, parameter.requires_grad) == (torch.float32, False)
        assert stored[name].dtype == torch.float16
        assert torch.equal(parameter, stored[name].float())


def test_the_card_tells_how_it_was_made(tiny, tmp_path):
    returned = zoo.train("tiny", tmp_path, seed=3)
    card = json.loads((tmp_path / "tiny.json").read_text())
    assert json.loads(json.dumps(returned)) == card
    assert card["settings"] == {"steps": 3, "sizes": [5, 4]}
    assert (card["name"], card["seed"], card["parameters"], card["data"]) == ("tiny", 3, 24, "numbers")
    assert card["bytes"] == (tmp_path / "tiny.safetensors").stat().st_size
    assert re.fullmatch("[0-9a-f]{64}", card["sha256"])
    assert card["versions"]["torch"] == torch.__version__
    assert card["seconds"] >= 0


def test_a_seed_gives_the_same_file_whatever_else_draws_and_another_seed_another(tiny, tmp_path):
    torch.manual_seed(1)
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    one = zoo.train("tiny", tmp_path / "one")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    torch.manual_seed(2)
    assert zoo.train("tiny", tmp_path / "two")["sha256"] == one["sha256"]
    assert zoo.train("tiny", tmp_path / "one", seed=1)["sha256"] != one["sha256"]
    assert zoo.load("tiny", tmp_path / "one")


def test_unknown_names_are_told_the_nearest(tiny):
    for ask in (zoo.find, zoo.load, zoo.card, zoo.train):
        with pytest.raises(
            ValueError, match="no base model 'tinny'; did you mean tiny\\? `stages zoo list` shows all 1"
        ):
            ask("tinny")


# ---------------------------------------------------------------------------------------------------- what is refused


def remove_card(folder):
    (folder / "tiny.json").unlink()


def remove_weights(folder):
    (folder / "tiny.safetensors").unlink()


def cut_short(folder):
    weights = folder / "tiny.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])


def flip_a_bit(folder):
    weights = folder / "tiny.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)


def take_anothers_weights(folder):
    content = safetensors.torch.save({"0.weight": torch.zeros(4, 5)})
    (folder / "tiny.safetensors").write_bytes(content)
    rewrite(folder, sha256=store.hashlib.sha256(content).hexdigest())


def take_what_is_no_weights(folder):
    (folder / "tiny.safetensors").write_bytes(b"no")
    rewrite(folder, sha256=store.hashlib.sha256(b"no").hexdigest())


@pytest.mark.parametrize(
    ("damage", "file", "said"),
    [
        (remove_card, "tiny.json", "no file"),
        (remove_weights, "tiny.safetensors", "no file"),
        (cut_short, "tiny.safetensors", "is damaged or another's: its SHA-256 is"),
        (flip_a_bit, "tiny.safetensors", "is damaged or another's: its SHA-256 is"),
        (take_anothers_weights, "tiny.safetensors", "does not hold the network of its recipe: Missing key"),
        (take_what_is_no_weights, "tiny.safetensors", "does not hold the network of its recipe: "),
        (lambda folder: (folder / "tiny.json").write_text("{"), "tiny.json", "cannot be read"),
        (lambda folder: (folder / "tiny.json").write_bytes(b"\xff"), "tiny.json", "cannot be read"),
        (lambda folder: (folder / "tiny.json").write_text("[]"), "tiny.json", "it must have name, settings"),
        (lambda folder: rewrite(folder, name="vit"), "tiny.json", "is not the card of tiny: it is that of vit"),
        (lambda folder: rewrite(folder, settings={"steps": 4}), "tiny.json", 'its settings are {"steps": 4}, the rec'),
        (lambda folder: rewrite(folder, sha256=None), "tiny.safetensors", "the card says None"),
    ],
)
def test_what_is_missing_or_wrong_is_one_error_with_the_command_that_helps(made, damage, file, said):
    damage(made)
    with pytest.raises(ZooError) as error:
        zoo.load("tiny", made)
    text = str(error.value)
    assert str(made / file) in text
    assert said in text
    assert text.endswith(f"; `stages zoo train tiny --out {made}` makes it anew")
    assert "\n" not in text
    assert zoo.check(made) == {"tiny": text}
    zoo.train("tiny", made)
    assert zoo.check(made) == {"tiny": ""}


def test_a_recipe_that_changed_disowns_the_old_file(made, monkeypatch):
    monkeypatch.setitem(zoo.RECIPES, "tiny", replace(RECIPE, settings=Settings(steps=4)))
    with pytest.raises(ZooError, match=r'its settings are .*"steps": 3.*the recipe\'s are .*"steps": 4'):
        zoo.load("tiny", made)


def test_the_command_for_the_packages_own_files_needs_no_folder(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "data_dir", lambda: tmp_path)
    with pytest.raises(ZooError, match=r"no file .*zoo.tiny\.json; `stages zoo train tiny` makes it anew"):
        zoo.load("tiny")
    zoo.train("tiny")
    assert isinstance(zoo.load("tiny"), nn.Module)


def test_a_file_of_no_recipe_is_reported(made):
    (made / "vit_p9.safetensors").write_bytes(b"")
    assert zoo.check(made) == {
        "tiny": "",
        "vit_p9.safetensors": f"{made / 'vit_p9.safetensors'} belongs to no recipe; remove it",
    }


# ------------------------------------------------------------------------------------------- whole or not at all


@pytest.mark.parametrize("stage", ["fit", "measure"])
def test_a_training_that_fails_leaves_the_old_files(made, monkeypatch, stage):
    before = {path: path.read_bytes() for path in made.iterdir()}

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setitem(zoo.RECIPES, "tiny", replace(RECIPE, **{stage: stop}))
    with pytest.raises(KeyboardInterrupt):
        zoo.train("tiny", made)
    assert {path: path.read_bytes() for path in made.iterdir()} == before


def test_a_crash_between_the_two_files_is_noticed(made, monkeypatch):
    write = store._write

    def crash(path, content):
        if path.suffix == ".json":
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(store, "_write", crash)
    with pytest.raises(KeyboardInterrupt):
        zoo.train("tiny", made, seed=1)
    with pytest.raises(ZooError, match="damaged or another's"):
        zoo.load("tiny", made)
    assert sorted(path.name for path in made.iterdir()) == ["tiny.json", "tiny.safetensors"]


def test_a_folder_that_cannot_be_written_is_noticed_before_training(tiny, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setitem(zoo.RECIPES, "tiny", replace(RECIPE, fit=pytest.fail))
    with pytest.raises(ZooError, match=r"cannot write to .*file: .*; give another folder"):
        zoo.train("tiny", tmp_path / "file")
