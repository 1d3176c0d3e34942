"""How initial weights are drawn."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from stages.seeding import torch_rng


@contextmanager
def seeded(seed: int, *names: str | int) -> Iterator[None]:
    """Let the weights of modules made inside depend on `seed` alone: `with seeded(0):
    model = ViT()`.

    torch's own stream of chance is put back afterwards. Further `names` give further
    streams of the same seed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(
            torch_rng(seed, "weights", *names).initial_seed()
        )
        yield
