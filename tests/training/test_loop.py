import math

import pytest
import torch
from torch import nn

from stages.tracing import listening
from stages.training import constant, cosine, fit, optimiser, pick_device


@pytest.fixture
def weight():
    return nn.Parameter(torch.tensor([2.0]))


def test_constant_keeps_the_rate():
    assert {constant()(step) for step in range(10)} == {1.0}


@pytest.mark.parametrize("step", range(0, 120, 7))
def test_cosine_without_warm_up_is_half_a_cosine(step):
    expected = 0.1 + 0.9 * (1 + math.cos(math.pi * min(step, 100) / 100)) / 2
    assert cosine(100, floor=0.1)(step) == pytest.approx(expected)


def test_cosine_rises_over_the_warm_up_then_falls_to_the_floor():
    factors = [cosine(30, warmup=10, floor=0.2)(step) for step in range(31)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10] == 1
    assert factors[20] == pytest.approx(0.6)
    assert factors[30] == pytest.approx(0.2)


@pytest.mark.parametrize("warmup", [-1, 5, 6])
def test_a_warm_up_as_long_as_the_whole_is_refused(warmup):
    with pytest.raises(ValueError, match=f"the warm-up takes {warmup} of 5 steps; it must be shorter"):
        cosine(5, warmup)


def test_fit_is_gradient_descent(weight):
    losses = fit(lambda step: (weight**2).sum(), 3, optimiser([weight], "sgd", lr=0.1))
    assert losses == pytest.approx([4.0, 4.0 * 0.8**2, 4.0 * 0.8**4])
    assert weight.item() == pytest.approx(2 * 0.8**3)


def test_fit_notes_its_first_loss_and_its_last_for_whoever_listens(weight):
    made = optimiser([weight], "sgd", lr=0.1)
    with listening() as heard:
        losses = fit(lambda step: (weight**2).sum(), 3, made)
        fit(lambda step: weight.sum(), 0, made)
        once = fit(lambda step: (weight**2).sum(), 1, made)
    assert heard == [
        ("first loss", losses[0]),
        ("last loss", losses[-1]),
        ("first loss", once[0]),
        ("last loss", once[0]),
    ]
    fit(lambda step: weight.sum(), 1, made)
    assert len(heard) == 4


def test_a_loss_that_is_not_finite_is_not_noted(weight):
    with listening() as heard, pytest.raises(FloatingPointError):
        fit(lambda step: weight.sum() * math.nan, 1, optimiser([weight], "sgd"))
    assert heard == []


def test_steps_may_be_any_numbers(weight):
    seen = []
    fit(lambda step: (seen.append(step), weight.sum())[1], iter([4, 7, 9]), optimiser([weight], "sgd", lr=0.1))
    assert seen == [4, 7, 9]
    assert fit(lambda step: weight.sum(), 0, optimiser([weight])) == []


def test_the_schedule_multiplies_every_rate_and_is_undone(weight):
    other = nn.Parameter(torch.zeros(1))
    groups = [{"params": [weight], "lr": 0.1}, {"params": [other], "lr": 0.01}]
    made, seen = optimiser(groups, "sgd"), []

    def note(step):
        seen.append([group["lr"] for group in made.param_groups])

    fit(lambda step: weight.sum() + other.sum(), 3, made, schedule=lambda step: 1 / (step + 1), after_step=note)
    assert seen == [pytest.approx([0.1 / (step + 1), 0.01 / (step + 1)]) for step in range(3)]
    assert [group["lr"] for group in made.param_groups] == [0.1, 0.01]
    assert weight.item() == pytest.approx(2 - 0.1 * (1 + 1 / 2 + 1 / 3))


def test_after_backward_sees_gradients_and_may_change_them(weight):
    seen = []

    def halve(step):
        seen.append((step, weight.item(), weight.grad.item()))
        weight.grad /= 2

    fit(lambda step: (3 * weight).sum(), 2, optimiser([weight], "sgd", lr=1.0), after_backward=halve)
    assert seen == [(0, 2.0, 3.0), (1, 0.5, 3.0)]
    assert weight.item() == -1.0


def test_after_step_sees_the_new_weights(weight):
    seen = []
    made = optimiser([weight], "sgd", lr=1.0)
    fit(lambda step: weight.sum(), 2, made, after_step=lambda step: seen.append((step, weight.item())))
    assert seen == [(0, 1.0), (1, 0.0)]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_an_error_and_the_rates_come_back(weight, bad):
    made = optimiser([weight], "sgd", lr=0.1)
    with pytest.raises(FloatingPointError, match="not finite from step 2 of 5 on"):
        fit(lambda step: weight.sum() * (bad if step == 2 else 1), 5, made, schedule=lambda step: 0.5)
    assert made.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)]
)
def test_optimisers_are_torchs_own(weight, name, kind):
    made = optimiser([weight], name, lr=0.3, weight_decay=0.2)
    assert type(made) is kind
    assert (made.defaults["lr"], made.defaults["weight_decay"]) == (0.3, 0.2)


def test_another_optimiser_is_refused(weight):
    with pytest.raises(ValueError, match="no optimiser 'lion'; choose adam, adamw, sgd"):
        optimiser([weight], "lion")


def test_the_device_is_the_argument_then_the_environment(monkeypatch):
    monkeypatch.setenv("STAGES_DEVICE", "meta")
    assert pick_device() == torch.device("meta")
    assert pick_device("cpu") == torch.device("cpu")
    monkeypatch.delenv("STAGES_DEVICE")
    assert pick_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["cuda:99", "toaster"])
def test_a_device_that_is_not_there_is_an_error(monkeypatch, name):
    monkeypatch.setenv("STAGES_DEVICE", name)
    with pytest.raises(ValueError, match=f"no device '{name}' here; unset STAGES_DEVICE or use 'cpu'"):
        pick_device()


def test_clipping_is_torchs_own_over_all_parameters_after_what_is_added_to_gradients():
    def trained(how):
        a, b = nn.Parameter(torch.tensor([3.0, -4.0])), nn.Parameter(torch.tensor([12.0]))
        groups = [{"params": [a]}, {"params": [b]}]
        adds = {"after_backward": lambda step: b.grad.add_(1.0)}
        fit(
            lambda step: (a.square().sum() + b.square().sum()) / 2, 3, optimiser(groups, "sgd", 0.1), **adds | how(a, b)
        )
        return torch.cat([a, b]).detach()

    def by_hand(a, b):
        return {"after_backward": lambda step: (b.grad.add_(1.0), nn.utils.clip_grad_norm_([a, b], 1.0))}

    assert torch.equal(trained(how=lambda a, b: {"clip": 1.0}), trained(how=by_hand))
    assert not torch.equal(trained(how=lambda a, b: {"clip": 1.0}), trained(how=lambda a, b: {}))
