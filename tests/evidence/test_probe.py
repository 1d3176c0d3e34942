"""A record stands while present code gives the numbers of its probe, and falls when it does not."""

import os
import random
from dataclasses import dataclass, replace

import pytest

from stages.evidence import Outcome, RecordError, RestampError, check_probe, load_record, probe, restamp, sweep
from stages.evidence.probe import in_short, moved, setting_values
from stages.tracing import note


def row(value, metric="loss", method="new"):
    return {"method": method, "metric": metric, "value": value}


# ---------------------------------------------------------------------------------------------------------- the numbers


def test_a_probe_is_every_score_of_seed_0_under_its_own_settings(toy):
    outcome = toy.run(toy.Settings(counts=False), 0)
    assert probe(toy.PAPER) == outcome.scores


def test_losses_are_numbered_by_their_name(toy):
    def run(settings, seed):
        for value in (3, 2, 1):
            note("first loss", value)
        note("last loss", 0.5)
        return toy.run(settings, seed)

    rows = probe(replace(toy.PAPER, run=run))[3:]
    assert rows == [
        row(3.0, "first loss 0", "training"),
        row(2.0, "first loss 1", "training"),
        row(1.0, "first loss 2", "training"),
        row(0.5, "last loss 0", "training"),
    ]
    assert all(type(each["value"]) is float for each in rows)


@pytest.mark.parametrize("device", [None, "cuda", "meta"])
def test_a_probe_runs_on_the_cpu_whatever_the_environment_says(toy, monkeypatch, device):
    monkeypatch.delenv("STAGES_DEVICE", raising=False)
    if device:
        monkeypatch.setenv("STAGES_DEVICE", device)
    seen = []

    def run(settings, seed):
        seen.append(os.environ["STAGES_DEVICE"])
        return toy.run(settings, seed)

    probe(replace(toy.PAPER, run=run))
    assert seen == ["cpu"]
    assert os.environ.get("STAGES_DEVICE") == device

    def broken(settings, seed):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        probe(replace(toy.PAPER, run=broken))
    assert os.environ.get("STAGES_DEVICE") == device


@pytest.mark.parametrize(
    ("before", "now", "holds"),
    [
        (0.0, 0.00009, True),
        (0.0, 0.00011, False),
        (-0.00004, 0.00004, True),
        (0.05, 0.0500999, True),
        (0.05, 0.0502, False),
        (1000.0, 1000.999, True),
        (1000.0, 1001.1, False),
        (-1000.0, -999.1, True),
        (1000.0, -1000.0, False),
        (5, 5.0, True),
        (5.0, float("nan"), False),
    ],
)
def test_the_tolerance_is_a_thousandth_or_a_ten_thousandth(before, now, holds):
    assert (moved([row(before)], [row(now)]) == []) == holds
    assert (moved([row(now)], [row(before)]) == []) == holds


def test_what_moved_is_named_with_both_numbers():
    old = [row(1.0), row(2.0, "accuracy"), row(3.0, method="old")]
    new = [row(1.5), row(2.0, "accuracy"), row(3.0, method="third")]
    assert moved(old, new) == [
        "loss of old: not measured any more",
        "loss of third: new",
        "loss of new: 1 before, 1.5 now",
    ]
    assert moved(old, old[::-1]) == []


def test_a_long_list_is_cut():
    assert in_short(["a", "b"]) == "a; b"
    assert in_short(list("abcde")) == "a; b; c; d; e"
    assert in_short(list("abcdefg")) == "a; b; c; d; e; and 2 more"


def test_settings_that_are_no_plain_values_are_refused(toy):
    assert setting_values(toy.Settings()) == {"effect": 2.0, "shape": [3, 4], "counts": True}
    for shape in (object(), (float("nan"),)):
        with pytest.raises(ValueError, match="the settings Settings cannot be written as JSON"):
            setting_values(toy.Settings(shape=shape))
    with pytest.raises(ValueError, match="the settings dict cannot"):
        setting_values({})


# ------------------------------------------------------------------------------------------------------------- restamp


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def record(toy, out):
    return sweep(toy.PAPER, "full", range(3), out, progress=False)


@pytest.fixture
def path(out):
    return out / "toys/coin.json"


def shifted(toy, by):
    """The toy with a fault in its code: the old method scores more."""

    def run(settings, seed):
        outcome = toy.run(settings, seed)
        outcome.scores[1]["value"] += by
        return outcome

    return replace(toy.PAPER, run=run)


def profile(paper, name, settings):
    return replace(paper, profiles=paper.profiles | {name: settings})


def test_while_the_probe_holds_the_words_beside_the_scores_are_renewed(toy, out, record, path, runs):
    reworded = replace(
        shifted(toy, 0.001),  # as another processor might
        title="Another title",
        claims=(replace(toy.CLAIMS[0], text="In other words.", margin=50.0), *toy.CLAIMS[1:]),
        gates=(),
        deviations=("A margin was raised.",),
    )
    check_probe(reworded, record)
    again = restamp(reworded, out)
    assert runs() == record.seeds, "no seed ran anew"
    assert load_record(path) == again
    assert (again.title, again.gates, again.deviations) == ("Another title", [], ["A margin was raised."])
    assert (again.claims[0]["text"], again.claims[0]["verdict"]) == ("In other words.", "inconclusive")
    same = ("scores", "curves", "seeds", "settings", "probe", "probe_settings", "created", "versions", "seconds")
    assert all(getattr(again, name) == getattr(record, name) for name in same)


def test_restamping_what_did_not_change_changes_no_byte(toy, out, record, path):
    before = path.read_bytes()
    restamp(toy.PAPER, out)
    assert path.read_bytes() == before


def test_a_probe_that_moved_is_an_error_that_names_the_numbers(toy, out, record, path):
    before = path.read_bytes()
    said = (
        r"toys/coin: the probe moved, .*: accuracy of old: \d+\.\d+ before, \d+\.\d+ now\. If the change was not meant"
        r" .*; if it was, make evidence PAPER=toys/coin records it anew"
    )
    for check in (lambda: check_probe(shifted(toy, 1.0), record), lambda: restamp(shifted(toy, 1.0), out)):
        with pytest.raises(RestampError, match=said) as caught:
            check()
        assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


def test_a_metric_more_or_less_is_named(toy, record):
    def run(settings, seed):
        outcome = toy.run(settings, seed)
        outcome.scores.pop()
        outcome.score("fourth", "accuracy", 1.0)
        return outcome

    with pytest.raises(RestampError, match="accuracy of twin: not measured any more; accuracy of fourth: new"):
        check_probe(replace(toy.PAPER, run=run), record)


@pytest.mark.parametrize("name", ["full", "probe"])
def test_other_settings_are_an_error_that_names_the_profile(toy, out, record, path, name):
    before = path.read_bytes()
    changed = profile(toy.PAPER, name, toy.Settings(effect=7.0, counts=False))
    with pytest.raises(RestampError, match=f"the settings of the profile {name} are not those of the record"):
        restamp(changed, out)
    assert path.read_bytes() == before


def test_a_new_probe_is_taken_where_its_settings_are_new(toy, out, record, path):
    changed = profile(toy.PAPER, "probe", toy.Settings(effect=7.0, counts=False))
    again = restamp(changed, out, new_probe=True)
    assert load_record(path) == again
    assert again.probe_settings["effect"] == 7
    assert [each["value"] for each in again.probe] == pytest.approx([each["value"] for each in probe(changed)])
    assert moved(record.probe, again.probe)
    assert (again.scores, again.claims, again.created) == (record.scores, record.claims, record.created)
    restamp(changed, out)


def test_a_new_probe_is_no_way_round_one_that_moved(toy, out, record, path):
    before = path.read_bytes()
    with pytest.raises(RestampError, match="the profile probe is the one of the record; leave --new-probe out"):
        restamp(shifted(toy, 1.0), out, new_probe=True)
    both = profile(profile(toy.PAPER, "probe", toy.Settings(counts=False, effect=7.0)), "full", toy.Settings())
    with pytest.raises(RestampError, match="the settings of the profile full"):
        restamp(both, out, new_probe=True)
    assert path.read_bytes() == before


def test_a_probe_that_differs_from_run_to_run_cannot_be_taken(toy, out, record):
    def run(settings, seed):
        outcome = toy.run(settings, seed)
        outcome.score("new", "luck", random.random())
        return outcome

    impure = replace(profile(toy.PAPER, "probe", toy.Settings(effect=7.0, counts=False)), run=run)
    with pytest.raises(RestampError, match="luck of new"):
        restamp(impure, out, new_probe=True)


def test_a_claim_that_the_scores_do_not_hold_is_an_error(toy, out, record, path):
    before = path.read_bytes()
    more = replace(toy.PAPER, also=(replace(toy.CLAIMS[0], key="A1", metric="loss"),))
    with pytest.raises(RestampError, match=r"claim A1: no loss of 'new'.*; make evidence PAPER=toys/coin records it"):
        restamp(more, out)
    assert path.read_bytes() == before


def test_without_a_record_there_is_nothing_to_restamp(toy, out):
    with pytest.raises(RecordError, match=r"no record .*`stages run toys/coin --profile full"):
        restamp(toy.PAPER, out)


# -------------------------------------------------------------------------------------------- what changes of code do


@dataclass(frozen=True)
class Small:
    steps: int = 30


def trained(activation="gelu", twice=False, draw=None):
    """Make a run that trains one small network; faults can be put into its code."""
    torch = pytest.importorskip("torch")

    def helper(seed):
        return torch.Generator().manual_seed(seed)

    def run(settings, seed):
        from stages.training import fit, optimiser

        chance = (draw or helper)(seed)
        first, second = (torch.nn.Parameter(torch.randn(8, 8, generator=chance) / 3) for _ in range(2))
        x, y = torch.randn(64, 8, generator=chance), torch.randn(64, 8, generator=chance)

        def loss(step):
            return (getattr(torch.nn.functional, activation)(x @ first) @ second - y).square().mean()

        made = optimiser([first, second], lr=1e-2)
        if twice:
            once = made.step
            made.step = lambda: (once(), once())
        fit(loss, settings.steps, made)
        outcome, correct = Outcome(), loss(0).item() < 0.9
        for method in ("new", "old", "twin"):
            outcome.score(method, "accuracy", 100.0 * correct)
        return outcome

    return run


def renamed(seed):
    """What `helper` does, under another name and in another way."""
    import torch

    chance = torch.Generator()
    chance.manual_seed(seed)
    return chance


@pytest.fixture
def networks(toy):
    """The toy with a run that trains, and the same with a change of its code."""

    def make(**change):
        return replace(toy.PAPER, run=trained(**change), profiles=dict.fromkeys(toy.PAPER.profiles, Small()))

    return make


def test_the_probe_holds_when_a_helper_is_renamed(networks):
    before = probe(networks())
    assert [each["metric"] for each in before[3:]] == ["first loss 0", "last loss 0"]
    assert probe(networks(draw=renamed)) == before


@pytest.mark.parametrize(
    ("fault", "caught"),
    [({"twice": True}, "last loss 0"), ({"activation": "relu"}, "first loss 0")],
)
def test_a_fault_in_training_is_caught_where_the_scores_are_the_same(networks, fault, caught):
    before, now = probe(networks()), probe(networks(**fault))
    assert now[:3] == before[:3]
    assert caught in [line.partition(" of training: ")[0] for line in moved(before, now)]
