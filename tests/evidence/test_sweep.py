"""A sweep computes every seed once, and whatever happens to it loses none."""

import errno
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from stages.evidence import SeedError, SweepError, agreement, judge, live, load_record, store, sweep, tidy_scores
from stages.evidence.fingerprint import fingerprint
from stages.evidence.records import write_whole
from stages.evidence.workers import compute

SCRIPT = """
import sys
from toy_paper import PAPER
from stages.evidence import SweepError, sweep
if __name__ == "__main__":
    try:
        sweep(PAPER, "full", range(6), sys.argv[1], jobs=int(sys.argv[2]))
    except (SweepError, KeyboardInterrupt) as stop:
        sys.exit(f"{type(stop).__name__}: {stop}")
"""


@pytest.fixture
def run(toy, tmp_path):
    """Sweep the toy into a folder of its own."""

    def run(profile="full", seeds=3, paper=toy.PAPER, **options):
        chosen = range(seeds) if isinstance(seeds, int) else seeds
        return sweep(paper, profile, chosen, tmp_path / "out", progress=False, **options)

    return run


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def files(out):
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def start(out, jobs=1, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(out), str(jobs)],
        env=os.environ | environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(condition, process, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.02)


def results(out):
    return list(out.glob(".partial/toys/coin/full/seed-*.json"))


# ------------------------------------------------------------------------------------------------------- what it writes


def test_the_record_stands_alone_when_all_is_done(run, out, runs):
    record = run()
    assert files(out) == ["toys/coin.json"]
    assert not (out / ".partial").exists()
    assert load_record(out / "toys/coin.json") == record
    assert record.seeds == runs() == [0, 1, 2]
    assert record.settings == {"effect": 3.0, "shape": [3, 4]}
    assert record.versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {row["seed"] for row in record.scores} == {row["seed"] for row in record.curves} == {0, 1, 2}


def test_another_profile_has_a_record_of_its_own(run, out):
    run("quick")
    run("full")
    assert files(out) == ["toys/coin.json", "toys/coin.quick.json"]


def test_running_again_computes_and_changes_nothing(run, out, runs):
    run()
    before = (out / "toys/coin.json").read_bytes()
    run()
    run(seeds=2)
    assert (out / "toys/coin.json").read_bytes() == before
    assert runs() == [0, 1, 2]


def test_more_seeds_join_the_record(run, runs, out):
    run(seeds=[4, 2])
    record = run(seeds=[0, 2, 5])
    assert record.seeds == [0, 2, 4, 5]
    assert sorted(runs()) == [0, 2, 4, 5]
    assert record.claims[0]["seeds"] == 4
    (out / "toys/coin.json").unlink()
    assert record.scores == run(seeds=[0, 2, 4, 5]).scores


def test_processes_give_the_same_numbers(run, out):
    alone = run()
    (out / "toys/coin.json").unlink()
    together = run(jobs=2)
    assert (together.scores, together.curves, together.claims) == (alone.scores, alone.curves, alone.claims)
    assert together.threads == 1


def test_a_reworded_claim_is_judged_anew_without_computing(run, toy, runs, out):
    run()
    reworded = replace(toy.PAPER, claims=(replace(toy.CLAIMS[0], text="Anew.", margin=50.0), *toy.CLAIMS[1:]))
    record = run(paper=reworded)
    assert runs() == [0, 1, 2]
    assert load_record(out / "toys/coin.json") == record
    assert record.claims[0]["text"] == "Anew."
    assert record.claims[0]["verdict"] == "inconclusive"


def test_only_the_full_profile_must_measure_every_claim(run, toy, capsys, runs):
    more = replace(toy.PAPER, claims=(*toy.CLAIMS, replace(toy.CLAIMS[0], key="C4", everywhere=("hot", "cold"))))
    assert len(run("quick", paper=more).claims) == 3
    assert "does not measure C4" in capsys.readouterr().err
    before = len(runs())
    with pytest.raises(SeedError, match=r"toys/coin, seed 0: claim C4"):
        run("full", paper=more)
    assert len(runs()) == before + 1, "found out after the first seed"


# ------------------------------------------------------------------------------------------ what stops it, and resuming


def test_killed_and_started_again_it_goes_on_where_it_was(run, out, runs):
    process = start(out, TOY_SLEEP="0.15")
    wait_for(lambda: len(results(out)) >= 2, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    kept = {int(path.stem.removeprefix("seed-")) for path in results(out)}
    assert len(kept) in (2, 3, 4)
    assert not (out / "toys/coin.json").exists()
    begun = runs()
    record = run(seeds=6)
    assert record.seeds == list(range(6))
    assert sorted(runs()[len(begun) :]) == sorted(set(range(6)) - kept)
    assert files(out) == ["toys/coin.json"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_says_in_one_line_what_is_kept(run, out, jobs):
    process = start(out, jobs, TOY_SLEEP="0.2")
    wait_for(lambda: results(out), process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the run
    _, said = process.communicate(timeout=20)
    assert said.count("\n") == 1, said
    kept = len(results(out))
    assert f"KeyboardInterrupt: toys/coin was stopped; {kept} of these 6 seeds are kept" in said
    assert run(seeds=6).seeds == list(range(6))


def test_a_seed_that_raises_is_named_and_costs_no_other(run, runs, out, monkeypatch):
    monkeypatch.setenv("TOY_RAISES", "1")
    said = (
        r"toys/coin, seed 1: ZeroDivisionError: the toy is broken in two lines \(toy_paper.py:\d+\); 1 of 3 seeds fai"
    )
    with pytest.raises(SeedError, match=said):
        run()
    assert len(results(out)) == 2
    monkeypatch.delenv("TOY_RAISES")
    assert run().seeds == [0, 1, 2]
    assert runs() == [0, 1, 2, 1]


def test_a_dead_worker_is_one_clear_error(run, out, monkeypatch):
    monkeypatch.setenv("TOY_DIES", "1 2 3")
    with pytest.raises(SweepError, match=r"a worker process died.*--jobs"):
        run(seeds=4, jobs=2)
    monkeypatch.delenv("TOY_DIES")
    assert run(seeds=4).seeds == [0, 1, 2, 3]


def test_two_runs_of_one_record_exclude_each_other(run, out):
    process = start(out, TOY_SLEEP="0.15")
    wait_for(lambda: results(out), process)
    with pytest.raises(SweepError, match=r"another run is writing .*coin\.json"):
        run(seeds=6)
    run("quick")  # another record of the same paper is free
    assert process.wait(20) == 0, process.stderr.read()
    process.communicate()
    assert files(out) == ["toys/coin.json", "toys/coin.quick.json"]


def test_a_full_disk_is_found_before_computing(run, out, runs, monkeypatch):
    monkeypatch.setattr(store, "write_whole", full_disk)
    with pytest.raises(SweepError, match=rf"cannot write to {out}.*: No space left on device"):
        run()
    assert runs() == []


def full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_fills_up_costs_one_seed(run, out, runs, monkeypatch):
    def fills_up(path, text):
        if path.name == "seed-2.json":
            full_disk()
        write_whole(path, text)

    monkeypatch.setattr(store, "write_whole", fills_up)
    with pytest.raises(
        SweepError, match=r"cannot write to .*: No space left on device; results written so far are kept"
    ):
        run(seeds=4)
    monkeypatch.undo()
    assert len(results(out)) == 2


def test_a_folder_that_cannot_be_written_is_named(run, out, runs):
    out.write_text("a file")
    with pytest.raises(SweepError, match=f"cannot write to {out}"):
        run()
    assert runs() == []
    assert out.read_text() == "a file"


# ------------------------------------------------------------------------------------------------ what was there before


def test_a_record_of_other_settings_is_set_aside(run, toy, out, capsys):
    first = run()
    changed = replace(toy.PAPER, profiles=toy.PAPER.profiles | {"full": toy.Settings(effect=-1.0)})
    second = run(paper=changed)
    assert load_record(out / "toys/coin.json") == second
    assert load_record(out / "toys/coin.previous.json") == first
    assert "was moved to" in capsys.readouterr().err
    run()
    assert files(out) == ["toys/coin.json", "toys/coin.previous-2.json", "toys/coin.previous.json"]
    assert load_record(out / "toys/coin.previous-2.json") == second


def test_results_of_other_settings_are_computed_again(run, toy, out, runs, monkeypatch, capsys):
    monkeypatch.setenv("TOY_RAISES", "2")
    with pytest.raises(SeedError):
        run()
    monkeypatch.delenv("TOY_RAISES")
    changed = replace(toy.PAPER, profiles=toy.PAPER.profiles | {"full": toy.Settings(effect=-1.0)})
    run(paper=changed)
    assert runs() == [0, 1, 2, 0, 1, 2]
    assert capsys.readouterr().err.count("2 results in ") == 1


@pytest.mark.parametrize("text", ["", '{"paper": "toys/coin", ', "[]"])
def test_a_corrupt_record_is_set_aside_and_said(run, out, capsys, text):
    record = run()
    (out / "toys/coin.json").write_text(text)
    again = run()
    assert replace(again, created="", seconds=0) == replace(record, created="", seconds=0)
    assert (out / "toys/coin.json.corrupt").read_text() == text
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "coin.json.corrupt" in said
    assert "stages run toys/coin --profile full" in said


def test_a_corrupt_result_is_set_aside_and_computed_again(run, out, runs, monkeypatch, capsys):
    monkeypatch.setenv("TOY_RAISES", "2")
    with pytest.raises(SeedError):
        run()
    monkeypatch.delenv("TOY_RAISES")
    zero, one = sorted(results(out))
    zero.write_text(zero.read_text()[:50])
    one.write_text(json.dumps(json.loads(one.read_text()) | {"seed": 7}))
    capsys.readouterr()
    run()
    assert runs() == [0, 1, 2, 0, 1, 2]
    assert len(files(out)) == 3
    assert capsys.readouterr().err.count("is computed again") == 2


# ------------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seeds": []}, "no seeds"),
        ({"seeds": [0, -1]}, "-1 is no seed"),
        ({"seeds": [0, 1.0]}, "1.0 is no seed"),
        ({"seeds": [3, 1, 3]}, "seed 3 is asked for twice"),
        ({"seeds": [3]}, "two or more"),
        ({"jobs": 0}, "jobs is 0"),
        ({"profile": "fast"}, "it has quick, full"),
    ],
)
def test_bad_input_is_refused_before_computing(run, runs, out, options, said):
    with pytest.raises(ValueError, match=said):
        run(**options)
    assert runs() == []
    assert not out.exists() or files(out) == []


def test_one_more_seed_is_fine_when_the_record_has_others(run):
    run(seeds=2)
    assert run(seeds=[5]).seeds == [0, 1, 5]


def test_a_run_that_cannot_be_sent_away_is_refused(toy):
    local = replace(toy.PAPER, run=lambda settings, seed: None)
    with pytest.raises(SweepError, match="top level"):
        compute(local, toy.Settings(), [0, 1], jobs=2)


def test_what_is_no_outcome_is_refused(toy):
    (result,) = compute(replace(toy.PAPER, run=len_of_two), toy.Settings(), [0])
    assert "run returned int; expected an Outcome" in result["error"]


def len_of_two(*both):
    return len(both)


# ----------------------------------------------------------------------------------------------- the code's fingerprint


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ('"""Note the call, then sleep, raise, die or answer."""', '"""Another docstring."""', True),
        ("The new method is better.", "Reworded.", True),
        ('title="A toy"', 'title="Another"', True),
        ("chance.gauss(50, 10)", "chance.gauss(50, 10)  # a comment", True),
        ("chance.gauss(50, 10)", "chance.gauss(50, 11)", False),
        ('method, "accuracy"', 'method, "accuracies"', False),
    ],
)
def test_the_fingerprint_follows_what_makes_the_numbers(toy, tmp_path, old, new, same):
    source = Path(toy.__file__).read_text()
    assert source.count(old) == 1
    changed = tmp_path / "changed.py"
    changed.write_text(source.replace(old, new))
    module = load_module(changed)
    assert (fingerprint(module.run) == fingerprint(toy.run)) == same


@pytest.mark.parametrize(
    "way", ["from common import gauss", "from chapter import common", "from chapter.common.loop import gauss as g"]
)
def test_the_fingerprint_reaches_into_shared_code_as_far_as_it_is_used(tmp_path, way):
    """`gauss` calls `halve`; nobody calls `unused`, and a variable of that name is another's."""
    call = {"chapter import": "common.gauss", "as g": "g"}
    call = next((name for words, name in call.items() if words in way), "gauss")
    paper, shared, front = (tmp_path / name for name in ("toy.py", "common/loop.py", "common/__init__.py"))
    shared.parent.mkdir()
    paper.write_text(f"{way}\n\ndef run(settings, seed):\n    unused = 3\n    return {call}(seed) + unused\n")
    front.write_text("from chapter.common.loop import gauss, unused\n")
    parts = {
        "gauss": "def gauss(x):\n    return halve(x)",
        "halve": "def halve(x):\n    return x / 2",
        "unused": "unused = 1",
    }
    run, seen = lambda: None, {}
    run.__code__ = compile("0", str(paper), "eval")
    for changed in ("", *parts):
        text = [body.replace("return ", "return -").replace("1", "2") if name == changed else body
                for name, body in parts.items()]  # fmt: skip
        shared.write_text("\n\n".join(text))
        seen[changed] = fingerprint(run)
    assert seen["unused"] == seen[""]
    assert len({seen[""], seen["gauss"], seen["halve"]}) == 3


def test_a_single_file_of_shared_code_is_read_like_a_package(tmp_path):
    (tmp_path / "toy.py").write_text("from chapter.common import gauss\n\ndef run():\n    return gauss()\n")
    run, seen = lambda: None, []
    run.__code__ = compile("0", str(tmp_path / "toy.py"), "eval")
    for text in ("def gauss():\n    return 1", "def gauss():\n    return 2"):
        (tmp_path / "common.py").write_text(text)
        seen.append(fingerprint(run))
    assert seen[0] != seen[1]


def load_module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


# ------------------------------------------------------------------------------------------------------------ notebooks


def test_live_gives_the_outcomes_and_writes_nothing(toy, tmp_path):
    outcomes = live(toy.PAPER, seeds=range(3))
    assert list(outcomes) == [0, 1, 2]
    assert len(outcomes[0].scores) == 3
    assert list(live(toy.PAPER)) == [0, 1, 2, 3, 4]
    assert files(tmp_path) == ["runs.log"]


def test_agreement_expects_a_sign_only_where_the_record_has_one(run, toy):
    more = (*toy.CLAIMS, replace(toy.CLAIMS[0], key="C4", margin=50.0), replace(toy.CLAIMS[0], key="C5"))
    record = run(seeds=6, paper=replace(toy.PAPER, claims=more[:4]))
    findings = judge(more[:4], tidy_scores(live(toy.PAPER, seeds=range(3))))
    assert agreement(more, findings, record).splitlines() == [
        "C1   reproduced    same sign",
        "C2   reproduced    –",
        "C3   contradicted  same sign",
        "C4   inconclusive  –",
        "C5   not recorded",
    ]
    turned = [replace(finding, effect=-finding.effect) for finding in findings[:1]]
    assert agreement(more[:2], turned, record).splitlines() == [
        "C1   reproduced    other sign",
        "C2   reproduced    not measured live",
    ]


def test_agreement_expects_no_sign_where_few_seeds_could_show_either(run, toy):
    record = run(seeds=20)
    (first, *others) = record.claims
    effect = first["effect"]
    few = judge(toy.CLAIMS, tidy_scores(live(toy.PAPER, seeds=range(3))))
    for times, said in ((1.2, "–"), (6.0, "same sign")):  # 6 times the reach is about 4.9 errors of three seeds
        wide = first | {"low": effect - abs(effect) / times, "high": effect + abs(effect) / times}
        text = agreement(toy.CLAIMS, few, replace(record, claims=[wide, *others])).splitlines()[0]
        assert text == f"C1   reproduced    {said}"
