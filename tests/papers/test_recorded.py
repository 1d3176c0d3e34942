"""The evidence that ships with the book: whole, made by the present code, its verdicts following from its scores."""

import pytest

from stages.evidence import recorded, rejudge
from stages.evidence.fingerprint import fingerprint, setting_values
from stages.papers import load, slugs

every_paper = pytest.mark.parametrize("slug", slugs())


@every_paper
def test_the_verdicts_follow_from_the_scores(slug):
    record = recorded(slug)
    assert record.claims == rejudge(record, load(slug).claims).claims


@every_paper
def test_no_reported_seed_is_left_out(slug):
    record = recorded(slug)
    enough = 5 if record.seconds / len(record.seeds) > 300 else 10
    assert record.seeds == list(range(len(record.seeds)))
    assert len(record.seeds) >= enough
    per_seed = {seed: 0 for seed in record.seeds}
    for row in record.scores:
        per_seed[row["seed"]] += 1
    assert len(set(per_seed.values())) == 1


@every_paper
def test_the_record_is_of_the_present_code_and_settings(slug):
    paper, record = load(slug), recorded(slug)
    assert record.profile == "full"
    assert record.settings == setting_values(paper.settings("full"))
    assert record.code == fingerprint(paper.run), f"run: make evidence PAPER={slug}"
