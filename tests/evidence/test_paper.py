from dataclasses import replace

import pytest

from stages.evidence import Claim


def claims(count, first="C1"):
    keys = [first, *(f"C{number}" for number in range(2, count + 1))]
    return tuple(Claim(key, "A claim.", "accuracy", "new", "old") for key in keys)


def test_a_paper_knows_its_profiles_and_its_address(toy):
    assert toy.PAPER.settings("full") == toy.Settings(effect=3.0)
    assert toy.PAPER.url == "https://arxiv.org/abs/0000.00000"
    with pytest.raises(ValueError, match="toys/coin has no profile 'ful'; it has probe, quick, full"):
        toy.PAPER.settings("ful")


@pytest.mark.parametrize("count", [3, 6])
def test_three_to_six_claims_are_a_paper(toy, count):
    assert len(replace(toy.PAPER, claims=claims(count)).claims) == count


@pytest.mark.parametrize("count", [2, 7])
def test_fewer_claims_and_more_are_refused(toy, count):
    with pytest.raises(ValueError, match=f"toys/coin has {count} claims; a paper has 3 to 6, .* goes to `also`"):
        replace(toy.PAPER, claims=claims(count))


def test_the_first_claim_is_the_headline(toy):
    with pytest.raises(ValueError, match="toys/coin: the first claim is C0, not C1"):
        replace(toy.PAPER, claims=claims(3, first="C0"))
    with pytest.raises(ValueError, match="the first claim is C2, not C1"):
        replace(toy.PAPER, claims=toy.CLAIMS[::-1][1:] + claims(1, first="C5"))


def test_two_comparisons_of_one_key_are_refused(toy):
    with pytest.raises(ValueError, match="two claims have one key"):
        replace(toy.PAPER, claims=toy.CLAIMS[:1] * 3)
    with pytest.raises(ValueError, match="two claims have one key"):
        replace(toy.PAPER, also=toy.CLAIMS[1:2])


@pytest.mark.parametrize("profile", ["probe", "quick", "full"])
def test_all_three_profiles_are_needed(toy, profile):
    with pytest.raises(ValueError, match=f"toys/coin: no profile {profile}; a paper has probe, quick, full"):
        replace(toy.PAPER, profiles={k: v for k, v in toy.PAPER.profiles.items() if k != profile})
