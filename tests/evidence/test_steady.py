"""A number that depends on the order of sums is blank in a record, and not compared."""

import pytest

from stages.evidence.probe import ARITHMETICS, moved, probe, steady_probe


@pytest.fixture
def unsteady(toy, monkeypatch):
    """A paper that trains nothing and scores which arithmetic torch uses, beside what never changes."""
    import unsteady_paper

    return unsteady_paper.PAPER


def test_what_another_arithmetic_moves_by_a_tenth_of_the_tolerance_is_blank(unsteady):
    rows = {row["method"]: row["value"] for row in steady_probe(unsteady)}
    assert rows["threads"] is None
    assert rows["half the tolerance"] is None
    assert rows["a twentieth"] is not None
    assert rows["always"] == 1.5
    here = {row["method"]: row["value"] for row in probe(unsteady)}
    assert here["threads"] is not None


def test_the_first_of_the_others_is_as_plain_as_it_should_be(unsteady):
    from joblib.externals.loky import ProcessPoolExecutor

    with ProcessPoolExecutor(1, env=ARITHMETICS[0]) as pool:
        rows = {row["method"]: row["value"] for row in pool.submit(probe, unsteady).result()}
    assert rows["plain"] == 1.0
    assert rows["threads"] == 2.0


@pytest.mark.parametrize("value", [3.0, None])
def test_a_blank_is_measured_but_not_compared(value):
    blank = [{"method": "a", "metric": "m", "value": None}]
    there = [{"method": "a", "metric": "m", "value": value}]
    assert moved(blank, there) == moved(there, blank) == []
    assert moved(blank, []) == ["m of a: not measured any more"]
