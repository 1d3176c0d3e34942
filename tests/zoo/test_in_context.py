"""Networks that regress in context: their data, their training, and the recipe."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from stages.models import seeded
from stages.worlds import linreg
from stages.zoo import in_context
from stages.zoo.in_context import Family, Regressor, Task

D, PAIRS = 3, 6
TINY = Task(depth=2, width=8, heads=2, steps=3, batch=5)


@pytest.fixture(scope="module")
def world():
    """Noisy sequences that float32 holds exactly, so that tokens and estimators see the same numbers."""
    drawn = linreg.sample(20, PAIRS, D, 0, sigma=0.5)
    return replace(drawn, x=drawn.x.float().double(), y=drawn.y.float().double())


@pytest.fixture(scope="module")
def tokens(world):
    return linreg.encode(world.x, world.y)


@pytest.fixture
def network():
    with seeded(0):
        return Regressor(TINY).eval()


# ---- trained


def test_a_prediction_stands_at_its_input_and_sees_nothing_after_it(network, tokens):
    model, other = network, tokens.clone()
    other[:, 7:] = 9.0  # y_4 and all that follows; x_4 is token 6
    one, two = model(tokens), model(other)
    assert one.shape == (20, PAIRS)
    torch.testing.assert_close(one[:, :4], two[:, :4])
    assert not torch.allclose(one[:, 4], two[:, 4], atol=1e-4)
    query = tokens.clone()
    query[:, 6] += 1.0
    assert not torch.allclose(model(query)[:, 3], one[:, 3], atol=1e-4)


def test_the_states_end_in_what_the_head_reads(network, tokens):
    states = network.states(tokens)
    assert states.shape == (TINY.depth + 1, 20, 2 * PAIRS, TINY.width)
    torch.testing.assert_close(network.gpt.logits(network.gpt.norm(states[-1]))[:, ::2, 0], network(tokens))


def test_batches_follow_the_task_and_noise_changes_no_other_draw(monkeypatch):
    monkeypatch.setattr(in_context, "CHUNK", 1)
    (plain, y), (noisy, z), (ones, v) = (
        next(in_context.batches(task, 0, "a"))
        for task in (Task(batch=4000), Task(batch=4000, sigma=0.5), Task(batch=4000, ones=True))
    )
    x = plain[:, ::2, 1:]
    assert torch.equal(x, noisy[:, ::2, 1:])
    assert torch.equal(x, ones[:, ::2, 1:])
    assert (z - y).std().item() == pytest.approx(0.5, rel=0.02)
    torch.testing.assert_close(v, x.sum(-1))
    assert torch.equal(plain[:, 1::2, 0], y)
    solved = torch.linalg.lstsq(x, y[..., None]).solution[..., 0]  # one w serves a sequence, another the next
    torch.testing.assert_close((x * solved[:, None]).sum(-1), y, atol=2e-2, rtol=0)
    assert solved.std().item() == pytest.approx(1.0, rel=0.1)


def test_the_loss_counts_every_output(network):
    loss = in_context.train(network, replace(TINY, lr=0.0), 0, "a")[0]
    tokens, y = next(in_context.batches(TINY, 0, "a"))
    assert loss == pytest.approx((network(tokens) - y).square().mean().item(), rel=1e-5)


def test_training_takes_its_own_data_rate_and_schedule(network, monkeypatch):
    made, adam, task = [], in_context.optimiser, replace(TINY, steps=40, lr=0.02)

    def fit(loss, steps, adam, *, schedule, clip, after_step):
        made.append((steps, [schedule(step) for step in (0, 2, 40)], clip, after_step))
        return [loss(0).item()]

    monkeypatch.setattr(in_context, "optimiser", lambda *a, **how: (made.append((*a[1:], how)), adam(*a, **how))[1])
    monkeypatch.setattr(in_context, "fit", fit)
    (loss,) = in_context.train(network, task, 3, "a", watch=print)
    assert made == [
        ("adamw", 0.02, {"betas": (0.9, 0.98), "weight_decay": 0.0}),
        (40, pytest.approx([0.5, 1, 0]), 1.0, print),  # a twentieth of the updates warm up
    ]
    tokens, y = next(in_context.batches(task, 3, "a"))
    assert loss == pytest.approx((network(tokens) - y).square().mean().item(), rel=1e-5)
    for seed, name in ((4, "a"), (3, "b")):
        assert not torch.equal(tokens, next(in_context.batches(task, seed, name))[0])


# ---- the recipe


def test_the_family_trains_each_network_on_its_task_and_on_data_of_its_own(monkeypatch):
    seen = []
    monkeypatch.setattr(in_context, "train", lambda network, task, *names: seen.append((task, names)))
    family = Family(TINY, seeds=2)
    networks = in_context.build(family)
    in_context.fit_all(networks, family, 6)
    assert len({names for _, names in seen}) == len(seen) == 7 + 3  # noise and the control once
    assert {names[0] for _, names in seen} == {6}
    assert {(task.depth, task.sigma) for task, _ in seen if not task.ones} == {
        (1, 0.0), (2, 0.0), (4, 0.0), (2, 0.25), (2, 0.5), (2, 1.0),
    }  # fmt: skip
    assert [len(networks[0][f"depth {depth}"].gpt.blocks) for depth in family.depths] == [1, 2, 4]
    assert {task.start for task, _ in seen if task.sigma} == {"depth 2"}


def test_noise_comes_to_a_network_that_was_trained_without_it(monkeypatch):
    family = Family(TINY, depths=(1, 2), noises=(4,), seeds=1)
    networks, before = in_context.build(family), {}

    def train(network, task, *_):
        before[task.sigma, task.depth, task.ones] = [p.detach().clone() for p in network.parameters()]
        nn.init.constant_(network.gpt.positions, task.depth)

    monkeypatch.setattr(in_context, "train", train)
    in_context.fit_all(networks, family, 0)
    clean = list(networks[0]["depth 2"].parameters())
    assert all(torch.equal(a, b) for a, b in zip(before[0.5, 2, False], clean, strict=True))
    assert not torch.equal(before[0.0, 2, True][0], clean[0])  # the control starts anew


def test_the_measures_of_the_recipe_are_distances_to_bayes():
    family = Family(TINY, depths=(1,), noises=(4,), seeds=1)
    found = in_context.measure(in_context.build(family).requires_grad_(False), family, 0)
    assert list(found) == ["depth 1: 1000 x distance to Bayes", "noise 1/4: 1000 x distance to Bayes"]
    zero = nn.ModuleList([nn.ModuleDict({name: Regressor(TINY) for name in ("depth 1", "noise 1/4")})])
    for model in zero[0].values():
        nn.init.zeros_(model.gpt.head.weight)
        nn.init.zeros_(model.gpt.head.bias)
    found = in_context.measure(zero.requires_grad_(False), family, 0)
    assert found["depth 1: 1000 x distance to Bayes"] == pytest.approx(500, rel=0.1)  # (1 + 2) / 2 of 3 thirds
    noisy = linreg.sample(2000, PAIRS, D, 0, sigma=0.5, stream=("zoo", "test"))
    best = (linreg.ridge(noisy.x, noisy.y, 0.25) * noisy.x).sum(-1)[:, 1:3].square().mean().item()
    assert found["noise 1/4: 1000 x distance to Bayes"] == pytest.approx(1000 * best / 3, rel=1e-3)
