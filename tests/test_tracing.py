import pytest

from stages.tracing import listening, note


def test_what_is_noted_inside_is_heard_and_nothing_else():
    note("loss", 1.0)
    with listening() as heard:
        note("loss", 2.0)
        note("norm", 3.0)
    note("loss", 4.0)
    assert heard == [("loss", 2.0), ("norm", 3.0)]


def test_a_listener_within_another_hears_its_own_part_and_both_hear_it():
    with listening() as outer:
        note("loss", 1.0)
        with listening() as inner:
            note("loss", 2.0)
        note("loss", 3.0)
    assert inner == [("loss", 2.0)]
    assert outer == [("loss", 1.0), ("loss", 2.0), ("loss", 3.0)]


def test_two_listeners_that_heard_the_same_are_not_taken_for_each_other():
    with listening() as outer:
        with listening() as inner:
            pass
        note("loss", 1.0)
    assert (outer, inner) == ([("loss", 1.0)], [])


def test_a_listener_that_is_broken_off_hears_no_more():
    with pytest.raises(ZeroDivisionError), listening() as heard:
        raise ZeroDivisionError
    note("loss", 1.0)
    assert heard == []
