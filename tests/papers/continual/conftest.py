"""A world that the chapter's tests share."""

import pytest

from stages.papers.continual.common.streams import signs_r


@pytest.fixture(scope="module")
def stream():
    """Three tasks of two classes of Signs-R, a few images each."""
    return signs_r(3, 2, 5, train=6, test=4)
