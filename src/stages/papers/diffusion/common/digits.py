"""The digits that two papers draw, and how their samples are judged."""

import math
from functools import cache

from jaxtyping import Float
from torch import Tensor

from stages import zoo
from stages.training.quality import (
    frechet_distance,
    nearest_neighbour_accuracy,
    precision_recall,
)
from stages.worlds import digits

Images = Float[Tensor, "n pixels"]


@cache
def train_images() -> Float[Tensor, "1297 64"]:
    """Return the training images, flat, in [-1, 1]."""
    return 2 * digits.load().train_images - 1


@cache
def test_images() -> Float[Tensor, "500 64"]:
    """Return the test images, unseen by models; samples are held against them."""
    return 2 * digits.load().test_images - 1


@cache
def reader():
    """Return the classifier whose features are compared."""
    return zoo.load("digits_clf")


def log_distance(samples: Images) -> float:
    """Return the natural logarithm of the Fréchet distance (FD) of samples to the test
    images, by the classifier's 32 features.
    """
    features = reader().features
    return math.log(frechet_distance(features(samples), features(test_images())))


@cache
def log_floor() -> float:
    """Return the log FD of the training images: what so many real ones have."""
    return log_distance(train_images())


def told_apart(samples: Images) -> float:
    """Return the accuracy of the nearest neighbour in pixels, in per cent, on the first
    500 samples and the test images; 50 is best.
    """
    return nearest_neighbour_accuracy(samples[: len(test_images())], test_images())


def coverage(samples: Images) -> tuple[float, float]:
    """Return precision and recall in the classifier's features, in per cent, by 3
    neighbours, of the first 500 samples and the test images.
    """
    features = reader().features
    real = features(test_images())
    precision, recall = precision_recall(features(samples[: len(real)]), real)
    return 100 * precision, 100 * recall
