"""The evidence that ships with the book: whole, made by the present code, its verdicts following from its scores.

One test of each kind holds for every paper, so that a paper's own tests need not repeat it.
"""

from functools import cache

import pandas as pd
import pytest

from stages.evidence import check_probe, measured, recorded, rejudge
from stages.papers import load, slugs

recorded = cache(recorded)  # each is read once
every_paper = pytest.mark.parametrize("slug", slugs())


@every_paper
def test_verdicts_gates_and_facts_follow_from_the_scores_and_the_paper(slug):
    record = recorded(slug)
    again = rejudge(record, load(slug))
    for part in ("claims", "also", "gates", "deviations", "title", "arxiv", "year"):
        assert getattr(record, part) == getattr(again, part), f"{part}; run: stages restamp {slug}"


@every_paper
def test_no_reported_seed_is_left_out(slug):
    record = recorded(slug)
    enough = 5 if record.seconds / len(record.seeds) > 300 else 10
    assert record.profile == "full"
    assert record.seeds == list(range(len(record.seeds)))
    assert len(record.seeds) >= enough
    per_seed = {seed: 0 for seed in record.seeds}
    for row in record.scores:
        per_seed[row["seed"]] += 1
    assert len(set(per_seed.values())) == 1


@every_paper
def test_the_probe_goes_through_every_arm_and_metric(slug):
    paper, record = load(slug), recorded(slug)
    scores = pd.DataFrame(record.probe).assign(seed=0)
    comparisons = [*paper.claims, *paper.also]
    assert [claim.key for claim in measured(comparisons, scores)] == [claim.key for claim in comparisons]
    arms = {row["method"] for row in record.scores}
    small = {row["method"] for row in record.probe}
    named = {method for claim in comparisons for method in claim.methods} | {gate.method for gate in paper.gates}
    assert named & arms <= small
    assert "training" in small, "no network was trained by `training.fit`, so no loss is compared"


@every_paper
def test_the_probe_still_gives_the_recorded_numbers(slug):
    check_probe(load(slug), recorded(slug))
