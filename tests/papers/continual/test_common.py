"""The accuracy matrix's summaries on a worked example; EWC and SI against autograd and closed forms."""

import numpy as np
import pytest
import torch

from stages.papers.continual.common.metrics import final_average, forgetting, worst_task
from stages.papers.continual.common.stacked import EWC, SI, diagonal_fisher, learn, permuted_digits
from stages.training import StackedMLP
from stages.worlds import digits

MATRIX = torch.tensor([[90.0, 10, 10], [60, 80, 20], [50, 85, 70]])  # R[phase, task]


def random_stack(members=2, sizes=(5, 7, 4), seed=0):
    return StackedMLP(sizes, range(seed, seed + members)).double()


def inputs(n=6, pixels=5):
    return torch.randn(n, pixels, dtype=torch.double, generator=torch.Generator().manual_seed(1))


def test_the_summaries_of_an_accuracy_matrix():
    assert final_average(MATRIX) == pytest.approx((50 + 85 + 70) / 3)
    assert worst_task(MATRIX) == 50
    assert forgetting(MATRIX) == pytest.approx(((90 - 50) + (85 - 85)) / 2)


def test_the_summaries_keep_the_members_of_a_stack_apart():
    stack = torch.stack([MATRIX, MATRIX.flip(0)])
    for summary in (final_average, worst_task, forgetting):
        assert torch.equal(summary(stack), torch.stack([summary(MATRIX), summary(MATRIX.flip(0))]))


def test_the_fisher_equals_autograd_one_example_and_class_at_a_time():
    model, x = random_stack(), inputs()
    expected = [torch.zeros_like(p) for p in model.parameters()]
    for member in range(len(model)):
        for example in x:
            log_p = model(example.expand(len(model), 1, -1))[member, 0].log_softmax(-1)
            for c, p_c in enumerate(log_p.detach().exp()):
                gradient = torch.autograd.grad(log_p[c], list(model.parameters()), retain_graph=True)
                for total, g in zip(expected, gradient, strict=True):
                    total += p_c * g**2 / len(x)
    for fisher, total in zip(diagonal_fisher(model, x), expected, strict=True):
        torch.testing.assert_close(fisher, total)


def test_the_fisher_of_a_softmax_layer_has_its_closed_form():
    model, x = random_stack(1, (5, 4)), inputs()
    p = model(x[None])[0].softmax(-1)
    weights, biases = diagonal_fisher(model, x)  # F = E[a²] p (1 - p), averaged over examples
    torch.testing.assert_close(weights[0], (x**2).T @ (p * (1 - p)) / len(x))
    torch.testing.assert_close(biases[0, 0], (p * (1 - p)).mean(0))


def test_squared_batch_gradients_are_not_the_fisher():
    model, x = random_stack(1), inputs()
    log_p = model(x[None])[0].log_softmax(-1)
    batch = torch.autograd.grad(log_p[:, 0].mean(), model.weights[0])[0] ** 2
    assert not torch.allclose(batch, diagonal_fisher(model, x)[0], rtol=0.1)


def test_ewc_adds_the_gradient_of_one_quadratic_a_task():
    model, strength = random_stack(), torch.tensor([3.0, 0.0], dtype=torch.double)
    penalty, terms = EWC(model, strength), []
    for task in range(2):
        terms.append((diagonal_fisher(model, inputs(6 + task)), [p.detach().clone() for p in model.parameters()]))
        penalty.end_task(inputs(6 + task))
        with torch.no_grad():
            for p in model.parameters():
                p += 0.1 * (task + 1)
    energy = sum(
        (strength.view(-1, 1, 1) / 2 * f * (p - anchor) ** 2).sum()
        for fisher, anchors in terms
        for f, p, anchor in zip(fisher, model.parameters(), anchors, strict=True)
    )
    expected = torch.autograd.grad(energy, list(model.parameters()))
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    penalty.add_gradient()
    for p, g in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, g)
        assert (p.grad[1] == 0).all()  # no strength, no pull


def test_the_path_integral_on_a_quadratic_is_the_fall_of_the_loss():
    """With loss ½ Σ h θ² and small steps along its gradient, ω_j tends to ½ h_j (θ_j(0)² - θ_j(T)²)."""
    model = random_stack(1, (3, 2))
    h = [torch.linspace(0.5, 2, p.numel(), dtype=torch.double).view(p.shape) for p in model.parameters()]
    start = [p.detach().clone() for p in model.parameters()]
    penalty, rate = SI(model, torch.tensor([1.0], dtype=torch.double)), 1e-4
    for _ in range(2000):
        for p, c in zip(model.parameters(), h, strict=True):
            p.grad = c * p.detach()
        penalty.add_gradient()
        with torch.no_grad():
            for p in model.parameters():
                p -= rate * p.grad
        penalty.after_step()
    moved = list(zip(start, model.parameters(), h, strict=True))
    for path, (a, p, c) in zip(penalty.path, moved, strict=True):
        torch.testing.assert_close(path, 0.5 * c * (a**2 - p.detach() ** 2), rtol=1e-3, atol=1e-9)
    expected = [w / ((p.detach() - a) ** 2 + 0.1) for w, (a, p, _) in zip(penalty.path, moved, strict=True)]
    penalty.end_task()
    for importance, value in zip(penalty.importance, expected, strict=True):
        torch.testing.assert_close(importance, value)


def test_si_pulls_towards_the_last_task_and_leaves_its_own_pull_out_of_the_path():
    model = random_stack(2, (3, 2))
    strength = torch.tensor([2.0, 0.0], dtype=torch.double)
    penalty = SI(model, strength)
    for importance in penalty.importance:
        importance.fill_(0.5)
    anchors = [p.detach().clone() for p in model.parameters()]
    with torch.no_grad():
        for p in model.parameters():
            p += 1.0
            p.grad = torch.full_like(p, 0.25)
    penalty.add_gradient()
    for p, anchor in zip(model.parameters(), anchors, strict=True):
        torch.testing.assert_close(p.grad, 0.25 + 2 * strength.view(-1, 1, 1) * 0.5 * (p.detach() - anchor))
    with torch.no_grad():
        for p in model.parameters():
            p -= 0.1
    penalty.after_step()
    for path in penalty.path:
        torch.testing.assert_close(path, torch.full_like(path, 0.25 * 0.1))


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
