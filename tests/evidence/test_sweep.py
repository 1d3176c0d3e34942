"""A sweep computes every seed once, and whatever happens to it loses none."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from threading import Lock

import psutil
import pytest
from joblib.externals.loky import BrokenProcessPool

from stages.evidence import (
    SeedError,
    SweepError,
    agreement,
    judge,
    live,
    load_record,
    probe,
    store,
    sweep,
    tidy_scores,
    workers,
)
from stages.evidence.workers import compute
from stages.files import write_whole

# A test may itself run where Ctrl-C is ignored, as in a job that a script started in the background; children of
# such a process ignore it too unless they say otherwise.
SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
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


def wait_for(condition, process, seconds=120):
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
    assert record.settings == {"effect": 3.0, "shape": [3, 4], "counts": True}
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


def test_a_reworded_claim_is_judged_anew_without_computing(run, toy, runs, out):
    run()
    reworded = replace(toy.PAPER, claims=(replace(toy.CLAIMS[0], text="Anew.", margin=50.0), *toy.CLAIMS[1:]))
    reworded = replace(reworded, also=(), gates=(), deviations=("Reworded.",))
    record = run(paper=reworded)
    assert runs() == [0, 1, 2]
    assert load_record(out / "toys/coin.json") == record
    assert record.claims[0]["text"] == "Anew."
    assert record.claims[0]["verdict"] == "inconclusive"
    assert (record.also, record.gates, record.deviations) == ([], [], ["Reworded."])


def test_only_the_full_profile_must_measure_every_claim(run, toy, capsys, runs):
    more = replace(toy.PAPER, claims=(*toy.CLAIMS, replace(toy.CLAIMS[0], key="C4", everywhere=("hot", "cold"))))
    assert len(run("quick", paper=more).claims) == 3
    assert "does not measure C4" in capsys.readouterr().err
    before = len(runs())
    with pytest.raises(SeedError, match=r"toys/coin, seed 0: claim C4"):
        run("full", paper=more)
    assert len(runs()) == before + 1, "found out after the first seed"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda toy: {"also": (replace(toy.CLAIMS[0], key="A1", metric="loss"),)}, "claim A1: no loss of 'new'"),
        (lambda toy: {"gates": (replace(toy.PAPER.gates[0], metric="loss"),)}, "gate 'the old method works': no loss"),
    ],
)
def test_nor_may_it_leave_out_what_explains_a_claim(run, toy, runs, change, said):
    paper = replace(toy.PAPER, **change(toy))
    run("quick", paper=paper)
    before = len(runs())
    with pytest.raises(SeedError, match=f"toys/coin, seed 0: {said}"):
        run("full", paper=paper)
    assert len(runs()) == before + 1


def test_a_probe_that_raises_is_found_before_computing(run, toy, runs, out):
    def broken(settings, seed):
        if not settings.counts:
            raise ZeroDivisionError("the probe is broken\nin two lines")
        return toy.run(settings, seed)

    said = r"toys/coin: its probe failed, so nothing was computed: ZeroDivisionError: the probe is broken in two lines"
    with pytest.raises(SeedError, match=rf"^{said} \(test_sweep\.py:\d+\)$"):
        run(paper=replace(toy.PAPER, run=broken))
    assert runs() == []
    assert not out.exists()


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


@pytest.mark.parametrize(("to", "jobs"), [("one", 1), ("one", 2), ("all", 2)])
def test_ctrl_c_says_in_one_line_what_is_kept(run, out, to, jobs):
    """A terminal sends it to every process of the run, `kill` to one."""
    process = start(out, jobs, TOY_SLEEP="1")
    wait_for(lambda: results(out), process)
    kept = stopped(process, to)
    assert f"KeyboardInterrupt: toys/coin was stopped; {len(results(out))} of these 6 seeds are kept" in kept
    assert run(seeds=6).seeds == list(range(6))


def test_processes_ignore_ctrl_c_from_their_first_moment(toy, out):
    process = start(out, jobs=2)
    wait_for(lambda: len(children(process)) >= 3, process)  # a helper of joblib's, and two that still import
    for child in children(process):
        child.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert (process.returncode, said) == (0, "")
    assert files(out) == ["toys/coin.json"]


def children(process):
    return psutil.Process(process.pid).children(recursive=True)


# A race in joblib's own thread, while the run takes its work back: nothing is lost by it, but it tells of itself.
LOKY_LOOKS_FOR_DROPPED_WORK = re.compile(r"Exception in thread ExecutorManagerThread:\n.*?\nKeyError: \d+\n", re.DOTALL)


def stopped(process, to):
    """Send Ctrl-C; return the one line that is said when nothing is left of the run."""
    family = children(process)
    {"all": os.killpg, "one": os.kill}[to](process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    said = LOKY_LOOKS_FOR_DROPPED_WORK.sub("", said)
    assert said.count("\n") == 1, said
    _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == []
    return said


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


def test_two_runs_of_one_record_exclude_each_other(run, out):
    process = start(out, TOY_SLEEP="1")
    wait_for(lambda: results(out), process)
    with pytest.raises(SweepError, match=r"another run is writing .*coin\.json"):
        run(seeds=6)
    run("quick")  # another record of the same paper is free
    assert process.wait(120) == 0, process.stderr.read()
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


# ------------------------------------------------------------------------------------------------------------ processes


def test_workers_have_one_thread_the_environment_of_now_and_no_ear_for_ctrl_c(toy, monkeypatch):
    monkeypatch.setenv("TOY_VARIABLE", "7")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    found = list(compute(replace(toy.PAPER, run=toy.look), toy.Settings(), [0, 1], jobs=2))
    assert sorted(result["seed"] for result in found) == [0, 1]
    for result in found:
        seen = {row["metric"]: row["value"] for row in result["scores"]}
        assert result["threads"] == seen["threads"] == 1
        assert seen["variable"] == 7
        assert seen["ignores Ctrl-C"] == 1
        assert seen["process"] != os.getpid()
        assert not psutil.pid_exists(int(seen["process"])), "no process outlives the last result"


def test_processes_give_the_same_numbers_and_a_seed_that_raises_in_one_costs_no_other(run, out, runs, monkeypatch):
    alone = run(seeds=4)
    (out / "toys/coin.json").unlink()
    monkeypatch.setenv("TOY_RAISES", "1")
    with pytest.raises(SeedError, match=r"toys/coin, seed 1: ZeroDivisionError: .* \(toy_paper.py:\d+\); 1 of 4 seeds"):
        run(seeds=4, jobs=2)
    monkeypatch.delenv("TOY_RAISES")
    assert sorted(path.name for path in results(out)) == ["seed-0.json", "seed-2.json", "seed-3.json"]
    together = run(seeds=4)
    assert runs()[8:] == [1]
    assert (together.scores, together.curves, together.claims) == (alone.scores, alone.curves, alone.claims)


def test_a_dead_worker_is_one_clear_error(run, out, monkeypatch):
    monkeypatch.setenv("TOY_DIES", "1 2 3")
    with pytest.raises(SweepError, match=r"^toys/coin: a worker process died: .*; use fewer --jobs$"):
        run(seeds=4, jobs=2)
    monkeypatch.delenv("TOY_DIES")
    assert run(seeds=4).seeds == [0, 1, 2, 3]
    assert files(out) == ["toys/coin.json"]


@pytest.mark.parametrize("dead", [0, 1, 2, 3])
def test_what_was_ready_when_a_worker_died_is_not_lost(dead):
    called = []

    def call(seed):
        called.append(seed)
        future = Future()
        if seed == dead:
            future.set_exception(BrokenProcessPool())
        else:
            future.set_result(seed)
        return future

    ready = workers._as_ready(call, [0, 1, 2, 3], most=4)
    assert {next(ready) for _ in range(3)} == {0, 1, 2, 3} - {dead}
    with pytest.raises(BrokenProcessPool):
        next(ready)
    assert called == [0, 1, 2, 3]


def test_what_was_ready_when_no_more_could_start_is_not_lost():
    futures = [Future() for _ in range(2)]

    def call(seed):
        if seed == 2:
            futures[1].set_result(1)
            raise BrokenProcessPool()
        return futures[seed]

    futures[0].set_result(0)
    ready = workers._as_ready(call, [0, 1, 2, 3], most=2)
    assert [next(ready), next(ready)] == [0, 1]
    with pytest.raises(BrokenProcessPool):
        next(ready)


def test_no_more_than_there_are_processes_wait_for_one():
    """What is handed over and not begun could not be taken back."""
    futures = {}

    def call(seed):
        futures[seed] = Future()
        return futures[seed]

    ready = workers._as_ready(call, range(5), most=2)
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(next, ready)
        while len(futures) < 2:
            time.sleep(0.01)
        assert set(futures) == {0, 1}
        futures[1].set_result(1)
        assert first.result(timeout=10) == 1


def test_a_run_that_cannot_be_sent_away_is_refused(toy):
    """A function of any place can be sent, but not a lock."""
    locked = replace(toy.PAPER, run=partial(toy.run, lock=Lock()))
    with pytest.raises(
        SweepError, match=r"toys/coin: its run .* \(TypeError: cannot pickle '_thread.lock' object\); define both"
    ):
        list(compute(locked, toy.Settings(), [0, 1], jobs=2))


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


def shifted(toy, by):
    """The toy with code that gives other numbers."""

    def run(settings, seed):
        outcome = toy.run(settings, seed)
        outcome.scores[0]["value"] += by
        return outcome

    return replace(toy.PAPER, run=run)


def test_a_record_whose_probe_moved_is_set_aside(run, toy, out, runs, capsys):
    first = run()
    second = run(paper=shifted(toy, 1.0))
    assert runs() == [0, 1, 2] * 2
    assert load_record(out / "toys/coin.json") == second
    assert second.probe != first.probe
    assert load_record(out / "toys/coin.previous.json") == first
    assert "the record of other settings or code in " in capsys.readouterr().err


def test_a_record_whose_probe_holds_goes_on_and_keeps_its_numbers(run, toy, runs):
    first = run()
    nearly = shifted(toy, 0.002)  # of 50: as another processor might
    second = run(seeds=4, paper=nearly)
    assert runs() == [0, 1, 2, 3]
    assert (second.probe, second.probe_settings) == (first.probe, first.probe_settings)
    assert second.probe != probe(nearly)


def test_results_of_a_probe_that_moved_are_computed_again(run, toy, out, runs, monkeypatch, capsys):
    monkeypatch.setenv("TOY_RAISES", "2")
    with pytest.raises(SeedError):
        run()
    monkeypatch.delenv("TOY_RAISES")
    capsys.readouterr()
    run(paper=shifted(toy, 1.0))
    assert runs() == [0, 1, 2, 0, 1, 2]
    assert capsys.readouterr().err == (
        f"2 results in {out}/.partial/toys/coin/full are of other settings or code; these seeds are computed again\n"
    )
    assert files(out) == ["toys/coin.json"]


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
        ({"profile": "fast"}, "it has probe, quick, full"),
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


def test_what_is_no_outcome_is_refused(toy):
    (result,) = compute(replace(toy.PAPER, run=len_of_two), toy.Settings(), [0])
    assert "run returned int; expected an Outcome" in result["error"]


def len_of_two(*both):
    return len(both)


# ------------------------------------------------------------------------------------------------------------ notebooks


def test_live_gives_the_outcomes_and_writes_nothing(toy, tmp_path):
    outcomes = live(toy.PAPER, seeds=range(3))
    assert list(outcomes) == [0, 1, 2]
    assert len(outcomes[0].scores) == 3
    assert list(live(toy.PAPER)) == [0, 1, 2]
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
