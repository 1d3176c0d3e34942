from dataclasses import replace

import pytest


def test_a_paper_knows_its_profiles_and_its_address(toy):
    assert toy.PAPER.settings("full") == toy.Settings(effect=3.0)
    assert toy.PAPER.url == "https://arxiv.org/abs/0000.00000"
    with pytest.raises(ValueError, match="toys/coin has no profile 'ful'; it has quick, full"):
        toy.PAPER.settings("ful")


def test_two_claims_of_one_key_are_refused(toy):
    with pytest.raises(ValueError, match="two claims have one key"):
        replace(toy.PAPER, claims=toy.CLAIMS[:1] * 2)


@pytest.mark.parametrize("profile", ["quick", "full"])
def test_both_profiles_are_needed(toy, profile):
    with pytest.raises(ValueError, match=f"toys/coin: no profile {profile}"):
        replace(toy.PAPER, profiles={k: v for k, v in toy.PAPER.profiles.items() if k != profile})
