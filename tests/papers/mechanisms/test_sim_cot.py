from dataclasses import replace

import pytest

from stages.evidence import judge, tidy_scores
from stages.papers.mechanisms import sim_cot as paper
from stages.papers.mechanisms.sim_cot import ARMS, COCONUT, PAPER, SIM, STOP, Settings, World
from stages.zoo.chain_thinkers import Training

TINY = Settings(
    Training(
        steps=(2, 3), pool=120, width=16, heads=2, depth=1, batch=8, written=3, curriculum=(2, 2), between=1, further=2
    ),
    thoughts=3, sweep=(2, 3), test=6, probes=40, blind=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def outcome():
    return PAPER.run(TINY, 0)


def test_a_run_measures_all_that_the_claims_speak_of(outcome):
    scores = tidy_scores({0: outcome, 1: outcome})
    assert [finding.key for finding in judge(PAPER.claims, scores)] == [claim.key for claim in PAPER.claims]


def test_a_run_is_pure_and_arms_do_not_depend_on_which_others_there_are(outcome):
    few = replace(TINY, arms=(SIM, STOP), sweep=(3,))
    one, other = PAPER.run(few, 0), PAPER.run(few, 1)
    assert one.scores != other.scores
    before = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    again = [row for row in one.scores if row["method"] in (SIM, STOP, paper.BLIND)]
    assert len(again) > 30
    assert all(before[row["method"], row["metric"]] == row["value"] for row in again)


def test_every_claim_arm_and_control_of_the_dossier_is_there():
    assert {claim.key[:2] for claim in PAPER.claims} == {"C1", "C2", "C3", "C4", "C5", "C6"}
    full = PAPER.profiles["full"].methods()
    assert set(ARMS) < set(full)
    assert {f"{name}, K = {k}" for name in (COCONUT, SIM) for k in (2, 8)} < set(full)
    assert {arm.targets for arm in full.values()} == {"own", "shuffled", "foreign"}
    assert {arm.thinking for arm in full.values()} == {"thoughts", "pauses", "steps", "none"}
    assert any(arm.stop for arm in full.values())


def test_only_the_control_of_time_gets_other_updates(monkeypatch):
    seen = {}
    monkeypatch.setattr(paper, "learn_steps", lambda *_: None)
    monkeypatch.setattr(paper, "learn_first_thoughts", lambda *_: None)
    monkeypatch.setattr(paper, "make_thinker", lambda *_: None)
    monkeypatch.setattr(paper, "learn_on", lambda *args: seen.setdefault(str(args[3]), args[5]))
    full = PAPER.profiles["full"]
    assert len(list(paper.learn_all(full, World.of(TINY, 0), 0))) == len(full.methods())
    wall = str(replace(ARMS[paper.WALL], thoughts=full.thoughts))
    assert seen.pop(wall) == round(full.training.further * full.slower)
    assert set(seen.values()) == {full.training.further}


def test_the_ratio_of_times_can_be_measured():
    assert 0.5 < paper.time_updates(replace(TINY, training=replace(TINY.training, batch=64)), 0, 10) < 10
