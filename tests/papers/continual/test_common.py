"""The accuracy matrix's summaries on a worked example; tasks of digits and the loop over them."""

import numpy as np
import pytest
import torch

from stages.papers.continual.common.metrics import final_average, forgetting, worst_task
from stages.papers.continual.common.stacked import learn, permuted_digits
from stages.papers.continual.power_law_rehearsal.learners import EWC, SI
from stages.worlds import digits

MATRIX = torch.tensor([[90.0, 10, 10], [60, 80, 20], [50, 85, 70]])  # R[phase, task]


def test_the_summaries_of_an_accuracy_matrix():
    assert final_average(MATRIX) == pytest.approx((50 + 85 + 70) / 3)
    assert worst_task(MATRIX) == 50
    assert forgetting(MATRIX) == pytest.approx(((90 - 50) + (85 - 85)) / 2)


def test_the_summaries_keep_the_members_of_a_stack_apart():
    stack = torch.stack([MATRIX, MATRIX.flip(0)])
    for summary in (final_average, worst_task, forgetting):
        assert torch.equal(summary(stack), torch.stack([summary(MATRIX), summary(MATRIX.flip(0))]))


def test_all_tasks_test_on_the_same_images_in_other_orders():
    tasks, world = permuted_digits("digits", 3, 100, seed=5), digits.load()
    assert torch.equal(tasks.test_images[0], world.test_images)  # the first task is the identity
    for test in tasks.test_images:
        assert torch.equal(test.sort(-1).values, world.test_images.sort(-1).values)
    assert not torch.equal(tasks.test_images[1], tasks.test_images[2])


def test_no_test_image_is_in_any_training_set():
    tasks = permuted_digits("digits", 3, 1297, seed=5)
    seen = {image.sort().values.numpy().tobytes() for image in tasks.images}  # whatever the order of its pixels
    world = digits.load()
    twins = [t for t in world.test_images if t.sort().values.numpy().tobytes() in seen]
    assert not any((world.train_images == twin).all(-1).any() for twin in twins)
    assert len(tasks.images) == 3 * 1297


def test_one_task_alone_is_a_slice():
    tasks = permuted_digits("digits", 3, 50, seed=5)
    alone = tasks.only(1)
    assert torch.equal(alone.images, tasks.images[50:100])
    assert torch.equal(alone.labels, tasks.labels[50:100])
    assert torch.equal(alone.test_images, tasks.test_images[1:2])


def test_a_network_learns_the_same_alone_and_in_company():
    tasks = permuted_digits("digits", 2, 64, seed=0)
    rng = np.random.default_rng(0)
    batches = rng.integers(0, 64, (5, 2, 8))
    both = learn(tasks, lambda phase: batches + 64 * phase, (16,), 1e-2, seed=0, watched=3)
    for member in range(2):
        alone = learn(tasks, lambda phase, m=member: batches[:, [m]] + 64 * phase, (16,), 1e-2, seed=0, watched=3)
        assert torch.equal(both.accuracy[member], alone.accuracy[0])
        assert torch.equal(both.start[member], alone.start[0])


def test_regularisers_act_inside_the_loop_on_their_own_member():
    tasks = permuted_digits("digits", 3, 64, seed=0)
    batches = np.random.default_rng(0).integers(0, 64, (30, 1, 16)).repeat(3, axis=1)

    def hold(model):
        one, zero = torch.tensor([0.0, 1e6, 0.0]), torch.tensor([0.0, 0.0, 1e6])
        return EWC(model, one), SI(model, zero)

    history = learn(tasks, lambda phase: batches + 64 * phase, (16,), 1e-2, seed=0, penalties=hold)
    free = learn(tasks, lambda phase: batches + 64 * phase, (16,), 1e-2, seed=0)
    assert torch.equal(history.accuracy[0], free.accuracy[0])  # strength zero changes nothing
    held, loose = history.accuracy[1:, -1, -1], history.accuracy[0, -1, -1]
    assert (held < loose - 10).all()  # a huge strength freezes: the last task is not learnt


def test_a_reset_optimiser_forgets_its_moments():
    tasks = permuted_digits("digits", 2, 64, seed=0)
    batches = np.random.default_rng(0).integers(0, 64, (10, 1, 16))
    runs = [
        learn(tasks, lambda phase: batches + 64 * phase, (16,), 1e-2, seed=0, watched=5, reset=reset)
        for reset in (False, True)
    ]
    assert torch.equal(runs[0].start[:, 0], runs[1].start[:, 0])
    assert not torch.equal(runs[0].start[:, 1], runs[1].start[:, 1])
