"""Random streams that do not disturb one another.

Every use of chance asks for its own stream by name, so that adding a method to an
experiment, or drawing one number more in one place, changes nothing elsewhere, and two
methods of one seed can share the draws that pair them.
"""

import zlib

import numpy as np
import torch


def rng(seed: int, *names: str | int) -> np.random.Generator:
    """Return numpy's generator for the stream `names` of `seed`: `rng(0, "permutation",
    3)`.
    """
    return np.random.default_rng(_entropy(seed, names))


def torch_rng(
    seed: int, *names: str | int, device: str | torch.device = "cpu"
) -> torch.Generator:
    """Return torch's generator for the stream `names` of `seed`, on `device`."""
    state = np.random.SeedSequence(_entropy(seed, names)).generate_state(1, np.uint64)[
        0
    ]
    return torch.Generator(device).manual_seed(int(state >> 1))


def _entropy(seed: int, names: tuple[str | int, ...]) -> list[int]:
    if seed < 0:
        raise ValueError(f"the seed is {seed}; seeds are 0 or more")
    return [seed, *(zlib.crc32(str(name).encode()) for name in names)]
