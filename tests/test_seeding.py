import subprocess
import sys

import numpy as np
import pytest
import torch

from stages.seeding import rng, torch_rng

ASK = """
from stages.seeding import rng, torch_rng
print(rng(3, 'a', 1).integers(10**9), torch_rng(3, 'a', 1).initial_seed())
"""


def test_a_stream_is_the_same_in_every_process():
    told = subprocess.check_output([sys.executable, "-c", ASK], text=True).split()
    here = [rng(3, "a", 1).integers(10**9), torch_rng(3, "a", 1).initial_seed()]
    assert told == [str(number) for number in here]


def test_the_numbers_never_change():
    """Every record rests on these; a change of the scheme must be meant."""
    assert rng(0, "permutation", 3).integers(1000, size=5).tolist() == [67, 849, 820, 403, 820]
    assert torch_rng(0, "weights").initial_seed() == 3699729803252847382


@pytest.mark.parametrize("other", [(1, "a"), (0, "b"), (0,), (0, "a", 0), (0, "a", 1)])
def test_other_seeds_and_names_are_other_streams(other):
    one, two = (np.stack([rng(*stream).normal(size=4000)]) for stream in ((0, "a"), other))
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.06
    first, second = (torch.randn(4000, generator=torch_rng(*stream)) for stream in ((0, "a"), other))
    assert torch.corrcoef(torch.stack([first, second]))[0, 1].abs() < 0.06


def test_drawing_from_one_stream_leaves_the_others_alone():
    untouched = rng(0, "b").normal(size=3)
    busy, quiet = rng(0, "a"), rng(0, "b")
    busy.normal(size=100)
    assert (quiet.normal(size=3) == untouched).all()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    torch.rand(3, generator=torch_rng(0, "a"))
    assert torch.equal(torch.get_rng_state(), state)


def test_equal_names_pair_two_methods():
    assert (rng(7, "batches").permutation(50) == rng(7, "batches").permutation(50)).all()


@pytest.mark.parametrize("make", [rng, torch_rng])
def test_a_negative_seed_is_refused(make):
    with pytest.raises(ValueError, match="the seed is -1; seeds are 0 or more"):
        make(-1, "a")
