import copy

import pytest
import torch
from sklearn.metrics import accuracy_score
from torch import nn
from torch.nn import functional as F

from stages.training import StackedMLP, fit, optimiser, stacked_accuracy, stacked_cross_entropy

SIZES = (6, 8, 7, 3)


@pytest.fixture
def stack():
    return StackedMLP(SIZES, seeds=[0, 1, 0]).double()


@pytest.fixture
def batches():
    """A hundred batches for each of three members: images (100, 3, 5, 6) and labels (100, 3, 5)."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(100, 3, 5, 6, dtype=torch.float64, generator=generator)
    return images, torch.randint(3, (100, 3, 5), generator=generator)


def test_each_member_computes_as_ordinary_layers_do(stack, batches):
    logits = stack(batches[0][0])
    assert logits.shape == (3, 5, 3)
    for i in range(3):
        torch.testing.assert_close(logits[i], stack.member(i)(batches[0][0, i]))


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_a_stack_trains_as_its_members_would_alone(stack, batches, name):
    images, labels = batches
    alone = [stack.member(i) for i in range(3)]
    together = optimiser(stack.parameters(), name, lr=1e-2)
    losses = fit(lambda step: stacked_cross_entropy(stack(images[step]), labels[step]), 100, together)
    apart = [optimiser(model.parameters(), name, lr=1e-2) for model in alone]
    sums = torch.zeros(100, dtype=torch.float64)
    for i, (model, own) in enumerate(zip(alone, apart, strict=True)):
        loss = lambda step, i=i, model=model: F.cross_entropy(model(images[step, i]), labels[step, i])  # noqa: E731
        sums += torch.tensor(fit(loss, 100, own), dtype=torch.float64)
    torch.testing.assert_close(torch.tensor(losses, dtype=torch.float64), sums, atol=1e-6, rtol=0)
    for i, (model, own) in enumerate(zip(alone, apart, strict=True)):
        linears = [module for module in model if isinstance(module, nn.Linear)]
        for weight, bias, linear in zip(stack.weights, stack.biases, linears, strict=True):
            pairs = [(weight, linear.weight, lambda t: t.T), (bias, linear.bias, lambda t: t[None])]
            for stacked, single, laid in pairs:
                torch.testing.assert_close(stacked[i], laid(single), atol=1e-6, rtol=0)
                for key in ("exp_avg", "exp_avg_sq") if name == "adam" else ():
                    moment = together.state[stacked][key][i]
                    torch.testing.assert_close(moment, laid(own.state[single][key]), atol=1e-6, rtol=0)


def test_members_of_one_seed_start_alike_and_others_do_not(stack):
    for parameter in stack.parameters():
        assert torch.equal(parameter[0], parameter[2])
        assert not (parameter[0] == parameter[1]).any()


def test_a_member_is_the_same_in_any_company(stack):
    lone = StackedMLP(SIZES, seeds=[1]).double()
    for one, many in zip(lone.parameters(), stack.parameters(), strict=True):
        assert torch.equal(one[0], many[1])


def test_initial_weights_are_uniform_within_torchs_bounds():
    model = StackedMLP((400, 300, 10), seeds=[0])
    for weight, bias, inputs in zip(model.weights, model.biases, (400, 300), strict=True):
        assert max(weight.abs().max(), bias.abs().max()) <= inputs**-0.5
        assert weight.std().item() == pytest.approx((3 * inputs) ** -0.5, rel=0.03)


def test_layers_are_those_of_the_forward_pass(stack, batches):
    inputs, outputs = stack.layers(batches[0][0])
    assert [tuple(x.shape[1:]) for x in inputs] == [(5, 6), (5, 8), (5, 7)]
    assert torch.equal(outputs[-1], stack(batches[0][0]))
    assert torch.equal(inputs[0], batches[0][0])
    for before, after in zip(outputs[:-1], inputs[1:], strict=True):
        assert torch.equal(after, before.relu())
    single = stack.member(1)
    torch.testing.assert_close(outputs[0][1], single[0](batches[0][0, 1]))


def test_a_member_is_a_copy(stack):
    before = copy.deepcopy(stack.state_dict())
    with torch.no_grad():
        for parameter in stack.member(0).parameters():
            parameter.zero_()
    assert all(torch.equal(before[key], value) for key, value in stack.state_dict().items())


def test_one_members_batch_gives_the_others_no_gradient(stack, batches):
    F.cross_entropy(stack(batches[0][0])[1], batches[1][0, 1]).backward()
    assert all(p.grad[1].any() and not p.grad[[0, 2]].any() for p in stack.parameters())


def test_accuracy_is_sklearns_on_every_task():
    generator = torch.Generator().manual_seed(1)
    model = StackedMLP(SIZES, seeds=[0, 1, 2, 3])
    images = torch.randn(2, 50, 6, generator=generator)
    labels = torch.randint(3, (50,), generator=generator)
    accuracy = stacked_accuracy(model, images, labels)
    expected = [
        [100 * accuracy_score(labels, model.member(i)(task).argmax(-1)) for task in images] for i in range(len(model))
    ]
    torch.testing.assert_close(accuracy, torch.tensor(expected, dtype=torch.float32))
    assert not accuracy.requires_grad
