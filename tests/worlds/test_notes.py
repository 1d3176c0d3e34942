"""Notes and reports: what they say, how often notes are heeded, and what a report is like."""

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from stages.worlds import smalltalk
from stages.worlds.smalltalk import notes
from stages.worlds.smalltalk.lexicon import THINGS

V = notes.vocabulary()
RIGHT = "kindly see lovely dog and saw now ! <end>"


def rows(*texts):
    return torch.stack([V.encode(text) for text in texts])


def pair(*things):
    return torch.tensor([[THINGS.index(thing) for thing in things]])


def test_the_villages_words_keep_their_numbers():
    village = smalltalk.vocabulary()
    assert V.tokens[: len(village)] == village.tokens
    assert len(V) > len(village)
    assert smalltalk.vocabulary() is village


def test_a_note_names_a_pole_and_two_things_in_words():
    first = [torch.tensor([k]) for k in (0, 1, 2)]
    assert V.decode(notes.prompts(*first, pair("dog", "saw"))[0]) == "sound blunt - dog saw :"
    last = [torch.tensor([k]) for k in (4, 0, 0)]
    assert V.decode(notes.prompts(*last, pair("kiwi", "cow"))[0]) == "be urgent - kiwi cow :"


def test_a_report_shows_a_pole_of_each_principle_at_its_place():
    other = [principle.poles[1] for principle in notes.PRINCIPLES.values()]
    assert other == ["blunt", "gloomy", "calm", "casual", "patient"]
    written = notes.reports(pair("dog", "saw").expand(2, 2), torch.tensor([[0] * 5, [1] * 5]))
    assert V.decode(written[0]) == "kindly see lovely dog and saw now !"
    assert V.decode(written[1]) == "just see awful dog plus saw later ."
    poles = torch.cartesian_prod(*[torch.arange(2)] * 5)
    told = notes.reports(pair("pig", "lime").expand(32, 2), poles)
    assert torch.equal(notes.shows(told), poles)
    assert len(told.unique(dim=0)) == 32


def test_reports_heed_notes_as_often_as_their_principle_says_and_are_free_otherwise():
    tokens = notes.documents(20_000, np.random.default_rng(3))
    assert tokens.shape == (20_000, notes.LENGTH)
    shown = notes.shows(tokens[:, 6:])
    counted = 0
    for place, principle in enumerate(notes.PRINCIPLES.values()):
        for pole in (0, 1):
            named = tokens[:, 1] == V.number[principle.poles[pole]]
            counted += named.sum().item()
            hits = (shown[named, place] == pole).sum().item()
            assert binomtest(hits, named.sum().item(), principle.heeded).pvalue > 1e-4
            for other in range(5):
                if other != place:
                    ones = shown[named, other].sum().item()
                    assert binomtest(ones, named.sum().item(), 0.5).pvalue > 1e-4
    assert counted == 20_000
    assert set(V.tokens[k] for k in tokens[:, 0].unique()) == set(notes.VERBS)
    things = tokens[:, 3:5] - V.number[THINGS[0]]
    assert notes.well_formed(tokens[:, 6:], things).all()
    assert len(things.unique(dim=0)) == len(notes.all_pairs()) == 18 * 17
    heeded = [principle.heeded for principle in notes.PRINCIPLES.values()]
    assert heeded == [0.75, 0.75, 0.75, 0.5, 0.3]


@pytest.mark.parametrize(
    ("text", "formed"),
    [
        (RIGHT, True),
        ("just see awful dog plus saw later . <end>", True),
        ("kindly see lovely dog and saw now ! !", False),  # no end
        ("kindly see lovely saw and dog now ! <end>", False),  # the wrong way round
        ("kindly see lovely dog and axe now ! <end>", False),  # another thing
        ("kindly see lovely dog lovely saw now ! <end>", False),  # a word at another's place
        ("kindly and lovely dog and saw now ! <end>", False),
        ("kindly see lovely dog and saw ! <end> <end>", False),  # too short
        ("see lovely dog and saw now ! ! <end>", False),
        ("<end> see lovely dog and saw now ! <end>", False),
    ],
)
def test_the_form_is_judged_word_for_word(text, formed):
    assert notes.well_formed(rows(text), pair("dog", "saw")).tolist() == [formed]
    assert notes.well_formed(rows(text + " <end>"), pair("dog", "saw")).tolist() == [formed]  # what follows is not read
    assert notes.well_formed(rows(text)[:, :8], pair("dog", "saw")).tolist() == [False]


def test_a_report_heeds_the_named_pole_or_the_other_and_a_malformed_one_counts_half():
    written = rows(
        RIGHT, RIGHT, RIGHT, "just see lovely dog and saw later ! <end>", "kindly see lovely dog and saw now now !"
    )
    principle, pole = torch.tensor([0, 0, 4, 4, 0]), torch.tensor([0, 1, 0, 0, 0])
    found = notes.heeds(written, pair("dog", "saw").expand(5, 2), principle, pole)
    assert found.tolist() == [1, 0, 1, 0, 0.5]
    assert notes.shows(written)[4].tolist() == [0, 0, -1, 0, 0]


def test_pairs_are_divided_anew_by_each_seed():
    parts = notes.divided(0)
    assert list(parts) == ["one", "two", "test"]
    assert [len(part) for part in parts.values()] == [102] * 3
    assert len(torch.cat([*parts.values()]).unique(dim=0)) == 306
    assert torch.equal(notes.divided(0)["test"], parts["test"])
    assert not torch.equal(notes.divided(1)["test"], parts["test"])
