"""The command `stages`: what it prints, what it leaves, and how it says what is wrong."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from stages import catalogue, cli, papers
from stages.evidence import load_record
from stages.evidence.probe import probe

TOYS = Path(__file__).parent / "evidence"
REAL = "continual/power_law_rehearsal"
COMMAND = """
import toy_paper
from stages import catalogue, cli, papers
catalogue.slugs = lambda: ["toys/coin"]
papers.load = lambda slug: toy_paper.PAPER
if __name__ == "__main__":
    cli.main()
"""


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """A book of two toy papers, in a folder of its own."""
    monkeypatch.syspath_prepend(TOYS)
    monkeypatch.setenv("PYTHONPATH", str(TOYS), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.modules["stages.evidence.sweep"], "steady_probe", probe)  # the toy needs no second process
    coin = importlib.import_module("toy_paper").PAPER
    book = {"toys/coin": coin, "toys/dice": replace(coin, slug="toys/dice", title="Another toy")}
    real = papers.load
    for module in (catalogue, papers):
        monkeypatch.setattr(module, "slugs", lambda: sorted(book))
    monkeypatch.setattr(papers, "load", lambda slug: book.get(slug) or real(slug))
    (tmp_path / "data/evidence").mkdir(parents=True)
    for module in ("evidence.records", "catalogue", "paths"):
        monkeypatch.setattr(f"stages.{module}.data_dir", lambda: tmp_path / "data")
    return coin


@pytest.fixture
def stages(monkeypatch, capfd):
    """Run the command here; return its exit status and what it printed on both streams."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["stages", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code, *capfd.readouterr()

    return run


# ------------------------------------------------------------------------------------------------------------------ run


def test_run_records_and_prints_the_verdicts(toy, stages):
    status, out, err = stages("run", "toys/coin", "--seeds", 6)
    assert (status, err) == (0, "")
    head, *claims = out.splitlines()
    assert head.startswith("toys/coin · quick · 6 seeds · ")
    assert head.endswith("evidence/toys/coin.quick.json")
    assert [line.split()[:2] for line in claims] == [
        ["C1", "reproduced"],
        ["C2", "reproduced"],
        ["C3", "contradicted"],
    ]
    assert load_record("evidence/toys/coin.quick.json").seeds == [0, 1, 2, 3, 4, 5]


def test_json_is_one_document(toy, stages):
    status, out, err = stages("run", "toys/*", "toys/coin", "--profile", "full", "--out", "here", "--json")
    assert (status, err) == (0, "")
    coin, dice = json.loads(out)
    assert set(coin) == {"slug", "profile", "seeds", "claims", "seconds", "record"}
    assert (coin["slug"], coin["seeds"], coin["record"]) == ("toys/coin", list(range(10)), "here/toys/coin.json")
    assert {"key", "verdict", "effect", "low", "high", "level"} <= set(dice["claims"][0])
    assert load_record(dice["record"]).claims == dice["claims"]


def test_the_quick_profile_has_three_seeds(toy, stages):
    _, out, _ = stages("run", "toys/coin", "--json")
    assert json.loads(out)[0]["seeds"] == [0, 1, 2]


def test_a_second_run_goes_on(toy, stages):
    stages("run", "toys/coin", "--seeds", "2")
    status, _, err = stages("run", "toys/coin", "--seeds", "100-101")
    assert (status, err) == (0, "")
    status, out, err = stages("run", "toys/coin", "--seeds", "3", "--json")
    assert status == 0
    assert json.loads(out)[0]["seeds"] == [0, 1, 2, 100, 101]
    assert err == "toys/coin: 2 of 3 seeds were computed before\n"


def test_a_broken_paper_does_not_keep_the_next_from_running(toy, stages, monkeypatch):
    broken = replace(papers.load("toys/coin"), run=divide_by_zero)
    dice = papers.load("toys/dice")
    monkeypatch.setattr(papers, "load", {"toys/coin": broken, "toys/dice": dice}.get)
    status, out, err = stages("run", "toys/*", "--json")
    assert status == 1
    assert [done["slug"] for done in json.loads(out)] == ["toys/dice"]
    assert err.startswith("error: toys/coin: its probe failed, so nothing was computed: ZeroDivisionError")
    assert err.count("\n") == 1


def divide_by_zero(settings, seed):
    return 1 / 0


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("3", [0, 1, 2]),
        ("100-102", [100, 101, 102]),
        ("7-7", [7]),
        ("5,3", [5, 3]),
        ("1000-1001,5", [1000, 1001, 5]),
    ],
)
def test_seeds_are_a_count_a_range_or_a_list(text, seeds):
    assert cli.parse_seeds(text) == seeds


# --------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "toys/coin", "--profile", "ful"], "toys/coin has no profile 'ful'; it has probe, quick, full"),
        (["run", "zoo/*"], "no paper matches 'zoo/*'; `stages list` shows all 2"),
        (["run", "toys/cone"], "no paper 'toys/cone'; did you mean toys/coin?"),
        (["run", "toys/coin", "--seeds", "0"], "there are no seeds"),
        (["run", "toys/coin", "--seeds", "5-3"], "5-3 runs backwards"),
        (["run", "toys/coin", "--seeds", "-3"], "--seeds -3: expected how many"),
        (["run", "toys/coin", "--seeds", "1.5"], "--seeds 1.5: expected how many"),
        (["run", "toys/coin", "--seeds", ""], "--seeds : expected how many"),
        (["run", "toys/coin", "--seeds", "3,1-4"], "a seed is named twice"),
        (["run", "toys/coin", "--seeds", "1"], "ask for two or more"),
        (["run", "toys/coin", "--jobs", "0"], "--jobs"),
        (["run", "toys/coin", "--jobs", "x"], "--jobs"),
        (["run", "toys/coin", "--jobs", "2", "--ray", "auto"], "--jobs and --ray exclude each other"),
        (["run"], "SLUG"),
        (["run", "toys/coin", "--sedes", "3"], "--sedes"),
        (["rnu"], "rnu"),
    ],
)
def test_bad_input_is_one_line_and_computes_nothing(toy, stages, arguments, said):
    status, out, err = stages(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err
    assert not list(Path("evidence").rglob("*.json"))


def test_ray_that_is_not_installed_is_bad_input(toy, stages, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    status, _, err = stages("run", "toys/coin", "--ray", "auto")
    assert (status, err) == (2, 'error: --ray needs Ray: pip install "learning-in-stages[ray]"\n')


def test_a_folder_that_cannot_be_written_is_a_failure(toy, stages):
    Path("file").write_text("")
    status, out, err = stages("run", "toys/coin", "--out", "file")
    assert (status, out) == (1, "")
    assert err.startswith("error: cannot write to file")
    assert err.count("\n") == 1


def test_a_defect_of_ours_keeps_its_traceback(toy, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["stages", "run", "toys/coin"])
    monkeypatch.setattr("stages.evidence.sweep", divide_by_zero_always)
    with pytest.raises(ZeroDivisionError):
        cli.main()


def divide_by_zero_always(*_):
    return 1 / 0


def test_ctrl_c_exits_130_with_one_line(tmp_path, toy):
    command = [sys.executable, "-c", COMMAND, "run", "toys/coin", "--seeds", "9"]
    environment = os.environ | {"TOY_SLEEP": "0.3"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment
    )
    end = time.monotonic() + 30
    while not list(tmp_path.glob("evidence/.partial/toys/coin/quick/seed-*.json")):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert err.count("\n") == 1
    assert "of these 9 seeds are kept, and the same command goes on from there" in err


# -------------------------------------------------------------------------------------------------- list and scoreboard


def test_list_and_scoreboard_show_the_book(toy, stages):
    stages("run", "toys/coin", "--profile", "full", "--out", "data/evidence")
    status, out, err = stages("list")
    assert (status, err) == (0, "")
    coin, dice = out.splitlines()
    assert coin.split() == ["toys/coin", "2024", "3", "claims", "A", "toy"]
    assert "no record" in dice
    assert json.loads(stages("list", "--json")[1])[1] == {
        "slug": "toys/dice",
        "recorded": False,
        "title": None,
        "year": None,
        "claims": None,
    }
    status, out, err = stages("scoreboard")
    assert (status, err) == (0, "")
    assert out.startswith("toys/coin · A toy · 10 seeds\n")
    assert out.splitlines()[-3:] == [
        "2 claims of the papers: 2 reproduced, 0 inconclusive, 0 contradicted",
        "1 claims of the book's own: 0 reproduced, 0 inconclusive, 1 contradicted",
        "by luck, if no claim were true: at most 0.0 reproduced",
    ]
    (paper,) = json.loads(stages("scoreboard", "--json")[1])
    assert [claim["verdict"] for claim in paper["claims"]] == ["reproduced", "reproduced", "contradicted"]


def test_a_record_is_renewed_while_its_probe_holds(toy, stages):
    stages("run", "toys/coin", "--profile", "full", "--out", "data/evidence")
    record = Path("data/evidence/toys/coin.json")
    before = record.read_text()
    assert stages("restamp", "toys/coin") == (0, "toys/coin: the probe holds; the record is renewed\n", "")
    assert record.read_text() == before
    facts = json.loads(before)
    facts["probe"][0]["value"] += 1
    record.write_text(json.dumps(facts))
    status, out, err = stages("restamp", "toys/coin")
    assert (status, out) == (1, "")
    assert "the probe moved" in err


def test_a_corrupt_record_of_the_book_is_named_and_left_alone(toy, stages):
    record = Path("data/evidence/toys/coin.json")
    record.parent.mkdir()
    record.write_text("{")
    status, out, err = stages("scoreboard")
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert "coin.json cannot be read" in err
    assert "stages run toys/coin --profile full" in err
    assert record.read_text() == "{"


# ------------------------------------------------------------------------------------------------------------------ zoo


@dataclass(frozen=True)
class Nothing:
    """Settings of a recipe that has none."""


@pytest.fixture
def small_zoo(monkeypatch, tmp_path):
    """A zoo of two base models that nobody has trained yet."""
    from torch import nn

    from stages import zoo

    for name in list(zoo.RECIPES):
        monkeypatch.delitem(zoo.RECIPES, name)
    for name in ("mouse", "moose"):
        steps = {"build": lambda _: nn.Linear(2, 1), "fit": lambda *_: None, "measure": lambda *_: {"accuracy": 50.0}}
        monkeypatch.setitem(zoo.RECIPES, name, zoo.Recipe(name, f"a {name}", "no data", Nothing(), **steps))
    monkeypatch.setattr("stages.zoo.store.data_dir", lambda: tmp_path / "data")
    return tmp_path / "data/zoo"


def test_base_models_are_trained_listed_and_checked(small_zoo, stages):
    status, out, err = stages("zoo", "train", "mouse", "moose", "mouse")
    assert (status, err) == (0, "")
    assert [line.split(" · ")[::3] for line in out.splitlines()] == [["mouse", "accuracy 50"], ["moose", "accuracy 50"]]
    assert stages("zoo", "check") == (0, "mouse is in order\nmoose is in order\n", "")
    status, out, err = stages("zoo", "list")
    assert (status, err) == (0, "")
    assert out.splitlines()[:2] == ["mouse  a mouse", "       3 parameters, 0 kB; accuracy 50"]
    mouse, moose = json.loads(stages("zoo", "list", "--json")[1])
    assert (mouse["name"], mouse["fault"], mouse["parameters"], mouse["metrics"]) == ("mouse", "", 3, {"accuracy": 50})
    assert set(mouse) == set(moose) == {"name", "summary", "fault", "parameters", "bytes", "metrics", "sha256"}


def test_base_models_that_are_not_in_order_are_named(small_zoo, stages):
    stages("zoo", "train", "mouse")
    status, out, err = stages("zoo", "check")
    assert (status, out) == (1, "mouse is in order\n")
    assert err == f"error: no file {small_zoo / 'moose.json'}; `stages zoo train moose` makes it anew\n"
    status, out, err = stages("zoo", "list")
    assert (status, err) == (0, "")
    assert "`stages zoo train moose` makes it anew" in out
    assert json.loads(stages("zoo", "list", "--json")[1])[1]["parameters"] is None


def test_a_base_model_can_go_elsewhere(small_zoo, stages, tmp_path):
    assert stages("zoo", "train", "mouse", "--out", tmp_path / "here")[0] == 0
    assert (tmp_path / "here/mouse.json").is_file()
    assert not small_zoo.exists()
    (tmp_path / "file").write_text("")
    status, out, err = stages("zoo", "train", "mouse", "--out", tmp_path / "file")
    assert (status, out) == (1, "")
    assert err.startswith(f"error: cannot write to {tmp_path / 'file'}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "mouse", "mooose"], "no base model 'mooose'; did you mean moose?"),
        (["train"], "NAME"),
        (["teach"], "teach"),
        ([], "Missing command"),
    ],
)
def test_asking_the_zoo_for_what_is_not_there_trains_nothing(small_zoo, stages, arguments, said):
    status, out, err = stages("zoo", *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err
    assert not small_zoo.exists()


# ----------------------------------------------------------------------------------------------------- the real command


def test_the_real_book_is_listed():
    done = subprocess.run([sys.executable, "-m", "stages", "list", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert REAL in [row["slug"] for row in json.loads(done.stdout)]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["run", "--help"], ["zoo", "--help"], ["list"], ["scoreboard"]])
def test_help_and_lists_are_quick_and_load_nothing_that_computes(arguments):
    code = "import sys; sys.argv[0] = 'stages'\nfrom stages import cli\ntry:\n cli.main()\nfinally:\n"
    code += " print(sorted({'torch', 'pandas', 'scipy', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert REAL in done.stdout if arguments in (["list"], ["scoreboard"]) else "Usage: stages" in done.stdout
    assert done.stdout.endswith("[]\n")
