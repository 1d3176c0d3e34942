"""How samples of digits are judged."""

import math

import pytest
import torch

from stages import zoo
from stages.papers.diffusion.common import digits
from stages.training import quality
from stages.worlds import digits as world


def test_training_and_test_images_are_the_worlds_in_the_models_range():
    scans = world.load()
    assert torch.equal(digits.train_images(), 2 * scans.train_images - 1)
    assert torch.equal(digits.test_images(), 2 * scans.test_images - 1)


def test_the_distance_is_to_the_test_images_in_the_classifiers_features():
    features = zoo.load("digits_clf").features
    samples = digits.train_images()[:300]
    expected = quality.frechet_distance(features(samples), features(digits.test_images()))
    assert digits.log_distance(samples) == pytest.approx(math.log(expected))
    assert digits.log_floor() == pytest.approx(digits.log_distance(digits.train_images()))
    assert digits.log_distance(torch.zeros(300, 64)) > digits.log_floor() + 2


def test_neighbours_are_sought_among_as_many_samples_as_test_images():
    real = digits.test_images()
    samples = torch.cat([real + 1e-4, torch.zeros(900, 64)])
    assert digits.told_apart(samples) < 5  # the zeros come after the first 500
    assert digits.told_apart(-real) > 90


def test_coverage_is_precision_and_then_recall_in_per_cent():
    real = digits.test_images()
    zeros = (world.load().test_labels == 0).nonzero()[:, 0]
    only_zeros = real[zeros.repeat(20)[:500]] + 1e-3
    precision, recall = digits.coverage(only_zeros)
    assert precision > 90
    assert recall < 40
    assert digits.coverage(real + 1e-4) == pytest.approx((100, 100), abs=3)
