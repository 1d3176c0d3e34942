import math

import numpy as np
import pytest

from stages.evidence import Outcome, tidy_curves, tidy_scores


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match=r"the accuracy of new is .*: the run diverged"):
        Outcome().score("new", "accuracy", value)


def test_a_score_counts_once():
    outcome = Outcome()
    outcome.score("new", "accuracy", np.float32(0.5))
    outcome.score("new", "loss", 1)
    outcome.score("old", "accuracy", 1)
    with pytest.raises(ValueError, match="scored twice"):
        outcome.score("new", "accuracy", 0.5)
    assert all(type(row["value"]) is float for row in outcome.scores)


def test_a_curve_has_as_many_x_as_y_and_only_numbers():
    outcome = Outcome()
    with pytest.raises(ValueError, match=r"x has shape \(2,\) and y \(3,\)"):
        outcome.curve("new", "loss", [1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="expected one length"):
        outcome.curve("new", "loss", [[1, 2]], [[1, 2]])
    with pytest.raises(ValueError, match="not finite"):
        outcome.curve("new", "loss", [1, 2], [1, math.nan])
    assert outcome.curves == []


def test_seeds_stack_into_tidy_tables():
    outcomes = {}
    for seed in (3, 1):
        outcomes[seed] = Outcome()
        outcomes[seed].score("new", "accuracy", seed)
        outcomes[seed].curve("new", "loss", range(2), iter([0.5, seed]))
    scores, curves = tidy_scores(outcomes), tidy_curves(outcomes)
    assert scores.to_dict("list") == {
        "seed": [3, 1],
        "method": ["new"] * 2,
        "metric": ["accuracy"] * 2,
        "value": [3, 1],
    }
    assert curves[["seed", "x", "y"]].values.tolist() == [[3, 0, 0.5], [3, 1, 3], [1, 0, 0.5], [1, 1, 1]]


def test_no_seeds_make_empty_tables():
    assert list(tidy_scores({}).columns) == ["seed", "method", "metric", "value"]
    assert list(tidy_curves({}).columns) == ["seed", "method", "name", "x", "y"]
