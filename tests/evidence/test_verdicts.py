"""Verdicts err as seldom as they promise, see what is there, and refuse what they cannot judge."""

import math
import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stages.evidence import RULE, Claim, Finding, by_luck, effects, estimate, interval, judge, measured
from stages.evidence.verdicts import verdict as what_it_says


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


def simulated(effect, seeds=10, trials=30, spread=1.0):
    """Draw tables in which seeds differ far more than the paired methods do."""
    chance = np.random.default_rng(0)
    for _ in range(trials):
        base = chance.normal(50, 20, seeds)
        yield paired(base + effect + chance.normal(0, spread, seeds), base)


def rate(wanted, claim, effect, **more):
    found = [verdict(claim, table) for table in simulated(effect, **more)]
    return found.count(wanted) / len(found)


# ---------------------------------------------------------------------------------------------------------- error rates


@pytest.mark.parametrize(("level", "tolerance"), [(0.95, 0.01), (0.99, 0.005)])
@pytest.mark.parametrize("seeds", [3, 10])
def test_the_interval_covers_the_truth_as_often_as_its_level_says(seeds, level, tolerance):
    draws = np.random.default_rng(1).normal(1.5, 2.0, (10_000, seeds))
    low, high = intervals(draws, level)
    assert np.mean((low < 1.5) & (high > 1.5)) == pytest.approx(level, abs=tolerance)


def intervals(draws, level):
    """Compute many intervals at once, in half a second less than `interval` takes for a thousand."""
    reach = stats.t.ppf(0.5 + level / 2, draws.shape[1] - 1) * stats.sem(draws, axis=1)
    low, high = draws.mean(1) - reach, draws.mean(1) + reach
    for number in range(20):
        assert interval(draws[number], level)[1:] == pytest.approx((low[number], high[number]))
    return low, high


def drawn(claim, effect, seeds=10, trials=10_000):
    """Draw a claim's effect many times and judge it by its interval; return how often each verdict comes."""
    draws = np.random.default_rng(5).normal(effect, 1.0, (trials, seeds))
    verdicts = [what_it_says(claim, *ends) for ends in zip(*intervals(draws, claim.level), strict=True)]
    return {word: count / trials for word, count in Counter(verdicts).items()}


EDGES = [
    ("superiority", 0.0, 0.0),
    ("superiority", 1.0, 1.0),
    ("noninferiority", 1.0, -1.0),
    ("equivalence", 5.0, 5.0),
    ("equivalence", 5.0, -5.0),
]


@pytest.mark.parametrize(("kind", "margin", "effect"), EDGES)
@pytest.mark.parametrize(("key", "tolerance"), [("C1", 0.005), ("C2", 0.003)])
def test_on_the_margin_itself_a_claim_is_reproduced_as_often_as_luck_is_said_to(kind, margin, effect, key, tolerance):
    edge = claim(kind, margin, key)
    assert drawn(edge, effect)["reproduced"] == pytest.approx(by_luck([edge]), abs=tolerance)


def test_a_claim_below_its_margin_is_reproduced_less_often_than_luck_is_said_to():
    assert drawn(claim(margin=1.0), 0.5).get("reproduced", 0) < 0.005
    assert drawn(claim("equivalence", 0.5), 0.5).get("reproduced", 0) < 0.01


@pytest.mark.parametrize(
    ("kind", "margin", "effect"), [("superiority", 1.0, 0.0), ("noninferiority", 1.0, -1.0), ("equivalence", 5.0, 5.0)]
)
def test_an_effect_that_does_not_refute_a_claim_contradicts_it_as_seldom(kind, margin, effect):
    assert drawn(claim(kind, margin), effect)["contradicted"] == pytest.approx(0.025, abs=0.005)


def test_six_claims_of_a_paper_have_one_chance_in_twenty_of_luck():
    six = [claim(key=f"C{number}") for number in range(1, 7)]
    assert by_luck(six) == pytest.approx(0.025 + 5 * 0.005)
    assert by_luck([]) == 0
    assert sum(drawn(one, 0.0)["reproduced"] for one in six) == pytest.approx(by_luck(six), abs=0.01)


# ------------------------------------------------------------------------------------------------------------- the rule


@pytest.mark.parametrize(
    ("kind", "margin", "low", "high", "said"),
    [
        ("superiority", 0.0, 0.01, 9.0, "reproduced"),
        ("superiority", 0.0, 0.0, 9.0, "inconclusive"),
        ("superiority", 0.0, -9.0, 0.0, "inconclusive"),
        ("superiority", 0.0, -9.0, -0.01, "contradicted"),
        ("superiority", 2.0, 2.01, 9.0, "reproduced"),
        ("superiority", 2.0, 2.0, 9.0, "inconclusive"),
        ("superiority", 2.0, 0.5, 1.5, "inconclusive"),
        ("superiority", 2.0, -0.5, -0.1, "contradicted"),
        ("noninferiority", 2.0, -1.99, -1.0, "reproduced"),
        ("noninferiority", 2.0, 3.0, 9.0, "reproduced"),
        ("noninferiority", 2.0, -2.0, 9.0, "inconclusive"),
        ("noninferiority", 2.0, -9.0, -2.0, "inconclusive"),
        ("noninferiority", 2.0, -9.0, -2.01, "contradicted"),
        ("equivalence", 2.0, -1.99, 1.99, "reproduced"),
        ("equivalence", 2.0, -2.0, 1.0, "inconclusive"),
        ("equivalence", 2.0, -1.0, 2.0, "inconclusive"),
        ("equivalence", 2.0, 2.0, 9.0, "inconclusive"),
        ("equivalence", 2.0, 2.01, 9.0, "contradicted"),
        ("equivalence", 2.0, -9.0, -2.01, "contradicted"),
    ],
)
def test_the_verdict_is_what_the_interval_says(kind, margin, low, high, said):
    assert what_it_says(claim(kind, margin), low, high) == said


def test_the_headline_is_judged_by_its_95_per_cent_interval_and_the_others_by_their_99():
    """Of 30 seeds, mean 2 and standard deviation 0.83: 95 % reach down to 1.69, and 99 % to 1.58."""
    effect = [1.0, 2.0, 3.0] * 10
    findings = judge([claim(margin=1.65), claim(margin=1.65, key="C2")], paired(effect, [0.0] * 30))
    assert [finding.verdict for finding in findings] == ["reproduced", "inconclusive"]
    assert [finding.level for finding in findings] == [0.95, 0.99]
    for finding in findings:
        assert (finding.effect, finding.low, finding.high) == interval(effect, finding.level)
    assert findings[0].low > 1.65 > findings[1].low


def test_coda_prompts_headline_reads_as_its_page_shows_it():
    """+2.9 [1.0, 4.8] against a margin of 0.5 lies beyond it."""
    assert what_it_says(claim(margin=0.5), 1.0, 4.8) == "reproduced"


def test_no_other_claim_changes_a_verdict():
    (table,) = simulated(1.0, trials=1)
    alone = judge([claim()], table)[0]
    among = judge([claim(), *(claim(key=f"C{number}") for number in range(2, 7))], table)
    assert among[0] == alone
    assert among[1:] == [judge([claim(key=f"C{number}")], table)[0] for number in range(2, 7)]


def test_the_rule_is_told_in_words_and_says_the_levels_that_judge():
    levels = {float(level) / 100 for level in re.findall(r"(\d+) %", RULE)}
    assert levels == {claim().level, claim(key="C2").level}
    assert all(f"**{word}**" in RULE for word in ("reproduced", "contradicted", "inconclusive"))


def test_what_is_only_measured_has_an_interval_and_no_verdict():
    (table,) = simulated(3.0, trials=1)
    (finding,) = estimate([claim(key="A1")], table)
    assert finding == Finding("A1", "", *interval(effects(claim(), table)), 0.95, 10)
    (wider,) = estimate([claim(key="A1")], table, level=0.99)
    assert wider.level == 0.99
    assert wider.low < finding.low < finding.high < wider.high


# -------------------------------------------------------------------------------------------------------- what is found


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


def test_an_effect_within_the_margin_is_neither():
    assert rate("inconclusive", claim(margin=2.0), 1.0, spread=0.3) == 1.0


# ------------------------------------------------------------------------------------------------------- the arithmetic


def test_the_interval_against_a_worked_example():
    """Mean 2, standard deviation 1, three seeds: the half-width is 4.3027 / sqrt(3)."""
    mean, low, high = interval([1.0, 2.0, 3.0])
    assert (mean, low, high) == pytest.approx((2.0, 2 - 2.48414, 2 + 2.48414), abs=1e-5)
    _, low, high = interval([1.0, 2.0, 3.0], 0.99)
    assert (low, high) == pytest.approx((2 - 5.73018, 2 + 5.73018), abs=1e-4)


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
    (only,) = estimate([everywhere], table(3.0, -2.0))
    assert (only.verdict, only.setting) == ("", "cold")


def test_a_claim_of_equivalence_everywhere_is_weakest_where_it_is_furthest_off():
    alike = claim("equivalence", 2.0, everywhere=("above", "below", "near"))
    shifts, noise = {"above": 0.5, "below": -1.5, "near": 0.0}, np.linspace(-0.1, 0.1, 10)
    table = pd.concat([paired(shift + noise, 0 * noise, f"accuracy [{name}]") for name, shift in shifts.items()])
    (finding,) = judge([alike], table)
    assert (finding.verdict, finding.setting) == ("reproduced", "below")
    assert finding.effect == pytest.approx(-1.5)


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
