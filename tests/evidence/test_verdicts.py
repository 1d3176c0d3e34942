"""Verdicts err as seldom as they promise, see what is there, and refuse what they cannot judge."""

import math

import numpy as np
import pandas as pd
import pytest

from stages.evidence import Claim, effects, interval, judge, measured
from stages.evidence.verdicts import holm


def scores(*rows):
    """Make a tidy table of (method, metric, values over seeds 0, 1, ...)."""
    table = [(seed, m, metric, value) for m, metric, values in rows for seed, value in enumerate(values)]
    return pd.DataFrame(table, columns=["seed", "method", "metric", "value"])


def paired(new, old, metric="accuracy"):
    return scores(("new", metric, new), ("old", metric, old))


def claim(kind="superiority", margin=0.0, key="C1", **more):
    return Claim(key, "A claim.", "accuracy", "new", "old", margin=margin, kind=kind, **more)


def verdict(claim, table):
    return judge([claim], table)[0].verdict


def simulated(effect, seeds=10, trials=200, spread=1.0):
    """Draw tables in which seeds differ far more than the paired methods do."""
    chance = np.random.default_rng(0)
    for _ in range(trials):
        base = chance.normal(50, 20, seeds)
        yield paired(base + effect + chance.normal(0, spread, seeds), base)


def rate(wanted, claim, effect, **more):
    found = [verdict(claim, table) for table in simulated(effect, **more)]
    return found.count(wanted) / len(found)


# ---------------------------------------------------------------------------------------------------------- error rates


@pytest.mark.parametrize("seeds", [3, 10])
def test_the_interval_covers_the_truth_95_times_in_100(seeds):
    draws = np.random.default_rng(1).normal(1.5, 2.0, (5000, seeds))
    ends = np.array([interval(draw)[1:] for draw in draws])
    assert 0.94 < np.mean((ends[:, 0] < 1.5) & (ends[:, 1] > 1.5)) < 0.96


def test_without_an_effect_a_verdict_is_wrong_at_most_5_times_in_100():
    assert 0.93 < rate("inconclusive", claim(), 0.0, trials=800) < 0.97


@pytest.mark.parametrize(
    ("kind", "margin", "effect"),
    [
        ("superiority", 0.0, 2.0),
        ("superiority", 1.0, 3.0),
        ("noninferiority", 2.0, 0.0),
        ("equivalence", 2.0, 0.0),
    ],
)
def test_what_is_there_is_found(kind, margin, effect):
    assert rate("reproduced", claim(kind, margin), effect) > 0.95


@pytest.mark.parametrize(
    ("kind", "margin", "effect"),
    [
        ("superiority", 0.0, -2.0),
        ("superiority", 1.0, -2.0),
        ("noninferiority", 1.0, -3.0),
        ("equivalence", 1.0, 3.0),
        ("equivalence", 1.0, -3.0),
    ],
)
def test_the_opposite_is_found_too(kind, margin, effect):
    assert rate("contradicted", claim(kind, margin), effect) > 0.95


@pytest.mark.parametrize(
    ("kind", "margin", "effect"),
    [("superiority", 1.0, 1.0), ("noninferiority", 1.0, -1.0), ("equivalence", 1.0, 1.0), ("equivalence", 1.0, -1.0)],
)
def test_on_the_margin_itself_a_claim_is_reproduced_at_most_5_times_in_100(kind, margin, effect):
    assert rate("reproduced", claim(kind, margin), effect) < 0.05


def test_an_effect_within_the_margin_is_neither():
    assert rate("inconclusive", claim(margin=2.0), 1.0, spread=0.3) == 1.0


def test_five_claims_together_are_wrong_at_most_5_times_in_100():
    chance, wrong = np.random.default_rng(2), 0
    claims = [Claim(f"C{i}", "A claim.", f"m{i}", "new", "old") for i in range(5)]
    for _ in range(120):
        table = pd.concat([paired(chance.normal(size=10), chance.normal(size=10), f"m{i}") for i in range(5)])
        wrong += any(finding.verdict != "inconclusive" for finding in judge(claims, table))
    assert wrong / 120 < 0.08


# ------------------------------------------------------------------------------------------------------- the arithmetic


def test_holm_against_a_worked_example():
    """Of 0.01, 0.04, 0.03, 0.005: 4 x 0.005, 3 x 0.01, 2 x 0.03, and 0.04, which must not fall below 0.06."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]).tolist() == [1.0, 1.0]


def test_one_claim_agrees_with_its_interval():
    for table in simulated(0.7, trials=100):
        (finding,) = judge([claim()], table)
        assert finding.p == finding.p_holm
        assert (finding.verdict == "reproduced") == (finding.low > 0)
        assert (finding.verdict == "contradicted") == (finding.high < 0)


def test_the_interval_against_a_worked_example():
    """Mean 2, standard deviation 1, three seeds: the half-width is 4.3027 / sqrt(3)."""
    mean, low, high = interval([1.0, 2.0, 3.0])
    assert (mean, low, high) == pytest.approx((2.0, 2 - 2.48414, 2 + 2.48414), abs=1e-5)


def test_the_sign_of_the_effect_favours_the_claim():
    table = paired([1.0, 2.0], [3.0, 5.0])
    assert effects(claim(), table).tolist() == [-2.0, -3.0]
    assert effects(claim(lower_is_better=True), table).tolist() == [2.0, 3.0]
    alone = Claim("C1", "A claim.", "accuracy", "new", lower_is_better=True)
    assert effects(alone, table).tolist() == [-1.0, -2.0]


def test_an_interaction_takes_the_other_difference_off():
    table = scores(*((m, "accuracy", v) for m, v in {"new": [9, 9], "old": [4, 5], "a": [3, 3], "b": [1, 2]}.items()))
    assert effects(claim(over=("a", "b")), table).tolist() == [5 - 2, 4 - 1]
    assert effects(claim(over=("a", "b"), lower_is_better=True), table).tolist() == [-3, -3]


def test_a_claim_everywhere_stands_or_falls_with_its_weakest_setting():
    chance = np.random.default_rng(3)
    everywhere = claim(everywhere=("hot", "cold"))

    def table(hot, cold):
        noise = lambda: chance.normal(0, 0.3, 10)  # noqa: E731
        parts = {"hot": hot, "cold": cold}
        return pd.concat([paired(effect + noise(), noise(), f"accuracy [{name}]") for name, effect in parts.items()])

    (both,) = judge([everywhere], table(3.0, 2.0))
    assert (both.verdict, both.setting) == ("reproduced", "cold")
    assert both.effect == pytest.approx(2.0, abs=0.5)
    (one,) = judge([everywhere], table(0.0, 2.0))
    assert (one.verdict, one.setting) == ("inconclusive", "hot")
    (wrong,) = judge([everywhere], table(3.0, -2.0))
    assert (wrong.verdict, wrong.setting) == ("contradicted", "cold")


def test_seeds_without_any_spread_still_get_a_verdict():
    same = [1.0, 1.0, 1.0]
    assert verdict(claim(), paired([3.0] * 3, same)) == "reproduced"
    assert verdict(claim(), paired([0.0] * 3, same)) == "contradicted"
    assert verdict(claim(), paired(same, same)) == "inconclusive"
    assert verdict(claim("equivalence", 1.0), paired(same, same)) == "reproduced"


def test_neither_the_order_of_seeds_nor_that_of_rows_matters():
    (table,) = simulated(1.0, trials=1)
    shuffled = table.sample(frac=1.0, random_state=0)
    assert judge([claim()], shuffled) == judge([claim()], table)


# ------------------------------------------------------------------------------------------------------ what is refused


def test_a_missing_seed_is_an_error():
    table = paired([1.0, 2.0, 3.0], [1.0, 2.0])
    with pytest.raises(ValueError, match=r"C1: the accuracy of old is missing or not finite for seeds \[2\]"):
        judge([claim()], table)


def test_a_seed_that_lacks_a_metric_wholly_is_an_error():
    table = pd.concat([paired([1.0, 2.0], [1.0, 2.0]), scores(("new", "loss", [1.0, 2.0, 3.0]))])
    with pytest.raises(ValueError, match=r"not finite for seeds \[2\]"):
        judge([claim()], table)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_an_error(value):
    with pytest.raises(ValueError, match=r"the accuracy of new is missing or not finite for seeds \[1\]"):
        judge([claim()], paired([1.0, value], [1.0, 2.0]))
    with pytest.raises(ValueError, match="not finite"):
        interval([1.0, value])


def test_an_unknown_method_names_those_there_are():
    with pytest.raises(ValueError, match=r"no accuracy of 'old' among the scores: \['new'\]"):
        judge([claim()], scores(("new", "accuracy", [1.0, 2.0])))


def test_a_doubled_score_is_an_error():
    table = paired([1.0, 2.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="two values of accuracy"):
        judge([claim()], pd.concat([table, table]))


def test_a_claim_that_one_setting_refutes_shows_that_setting():
    wide, narrow = [-3.0, 1.0, -2.0, 0.0, -1.0], [-0.5, -0.6, -0.4, -0.55, -0.45]
    rows = [
        {"seed": seed, "method": method, "metric": f"accuracy [{setting}]", "value": value if method == "new" else 0.0}
        for setting, values in (("wide", wide), ("narrow", narrow))
        for seed, value in enumerate(values)
        for method in ("new", "old")
    ]
    (finding,) = judge(
        [Claim("C1", "A claim.", "accuracy", "new", "old", everywhere=("wide", "narrow"))], pd.DataFrame(rows)
    )
    assert finding.verdict == "contradicted"
    assert finding.setting == "narrow"
    assert finding.high < 0


def test_one_seed_is_too_few():
    with pytest.raises(ValueError, match="at least two seeds; there is 1"):
        judge([claim()], paired([1.0], [0.0]))


def test_measured_limits_a_claim_about_all_settings_to_those_that_are_there():
    claim = Claim("C5", "A claim.", "accuracy", "new", "old", everywhere=("5 tasks", "20 tasks"))
    row = {"seed": 0, "value": 1.0}
    here = [row | {"method": m, "metric": "accuracy [5 tasks]"} for m in ("new", "old")]
    half = [row | {"method": "new", "metric": "accuracy [20 tasks]"}]
    (kept,) = measured([claim], pd.DataFrame(here + half))
    assert kept.everywhere == ("5 tasks",)
    assert measured([claim], pd.DataFrame(half)) == []


def test_measured_keeps_the_claims_that_the_scores_speak_of():
    table = paired([1.0, 2.0], [1.0, 2.0])
    claims = [claim(), claim(key="C2", everywhere=("hot",)), claim(key="C3", over=("new", "third"))]
    assert measured(claims, table) == claims[:1]
    assert measured([Claim("C4", "A claim.", "accuracy", "new")], table)
