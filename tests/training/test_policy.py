"""Advantages, losses and choices, on bandits whose expectations and gradients can be written down."""

from itertools import product

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stages.seeding import torch_rng
from stages.training import next_token_loss
from stages.training.answers import token_log_probs
from stages.training.policy import (
    dead_groups,
    group_advantages,
    kl_to,
    leave_one_out,
    log_ratio,
    outcome_loss,
    pick_right,
    policy_loss,
    preference_loss,
    token_mean,
)

REWARDS = torch.tensor([[1.0, 0, 0, 1], [0, 0, 0, 1], [0.3, 0.3, 0.3, 0.3], [0, 0, 0, 0]])
BANDIT = torch.tensor([0.4, -0.3, 0.1])  # logits of three arms
PAID = torch.tensor([1.0, 0.2, 0.0])


def test_group_advantages_are_rewards_in_units_of_their_groups_deviation():
    found = group_advantages(REWARDS)
    half = 0.5 / (1 / 3) ** 0.5  # sum of squares 4 · 0.25, by n - 1
    assert found[0].tolist() == pytest.approx([half, -half, -half, half])
    assert found[1].tolist() == pytest.approx([-0.5, -0.5, -0.5, 1.5])  # deviation 0.5
    assert (found[2:] == 0).all()
    torch.testing.assert_close(found[:2].std(1), torch.ones(2))
    torch.testing.assert_close(group_advantages(3 * REWARDS + 5)[:2], found[:2])


def test_undivided_advantages_are_differences_from_the_groups_mean():
    found = group_advantages(REWARDS, divided=False)
    assert found[0].tolist() == pytest.approx([0.5, -0.5, -0.5, 0.5])
    assert found[1].tolist() == pytest.approx([-0.25, -0.25, -0.25, 0.75])
    assert (found[2:] == 0).all()
    assert dead_groups(REWARDS).tolist() == [False, False, True, True]


def test_leave_one_out_compares_with_the_mean_of_the_others():
    found = leave_one_out(REWARDS)
    assert found[1].tolist() == pytest.approx([-1 / 3, -1 / 3, -1 / 3, 1])
    torch.testing.assert_close(found, group_advantages(REWARDS, divided=False) * 4 / 3)
    assert (found[2:] == 0).all()


@pytest.mark.parametrize("advantages", [group_advantages, leave_one_out])
def test_a_group_of_one_is_no_group(advantages):
    with pytest.raises(ValueError, match="two"):
        advantages(torch.ones(3, 1))
    with pytest.raises(ValueError, match="two"):
        advantages(torch.ones(3))


def pulled(theta, pulls):
    """Log-probabilities of single-token responses, and which tokens count."""
    log_probs = theta.log_softmax(0)[pulls][:, None]
    return log_probs, torch.ones_like(log_probs, dtype=torch.bool)


def test_the_gradient_on_a_bandit_is_the_closed_form():
    theta = BANDIT.clone().requires_grad_()
    pulls, advantages = torch.tensor([0, 2, 2, 1]), torch.tensor([0.5, -1.0, 2.0, 0.0], requires_grad=True)
    policy_loss(*pulled(theta, pulls), advantages).backward()
    scores = F.one_hot(pulls, 3) - BANDIT.softmax(0)  # of log p: e_a - p
    torch.testing.assert_close(theta.grad, -(advantages.detach()[:, None] * scores).mean(0))
    assert advantages.grad is None


def test_leave_one_out_follows_the_expected_reward_and_the_group_mean_half_of_it():
    p = BANDIT.softmax(0)
    whole = BANDIT.clone().requires_grad_()
    (whole.softmax(0) @ PAID).backward()
    for advantages, share in ((leave_one_out, 1.0), (lambda r: group_advantages(r, divided=False), 0.5)):
        theta = BANDIT.clone().requires_grad_()
        for pulls in product(range(3), repeat=2):  # all groups of two, each with its chance
            pulls = torch.tensor(pulls)
            loss = policy_loss(*pulled(theta, pulls), advantages(PAID[pulls][None])[0])
            (p[pulls].prod() * loss).backward()
        torch.testing.assert_close(theta.grad, -share * whole.grad)


def test_the_loss_is_a_mean_over_tokens_and_with_advantage_one_supervised_fine_tuning():
    tokens = torch.randint(0, 5, (3, 6), generator=torch_rng(0))
    counted = torch.tensor([[0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 0, 0], [0, 1, 1, 0, 0, 0]]).bool()
    model = nn.Embedding(5, 5)
    log_probs = token_log_probs(model, tokens, counted)
    supervised = next_token_loss(model(tokens), tokens, counted)
    torch.testing.assert_close(policy_loss(log_probs, counted, torch.ones(3)), supervised)
    only = policy_loss(log_probs, counted, torch.tensor([0.0, 2.0, 0.0]))
    torch.testing.assert_close(only, -2 * log_probs[1, 3] / 7)  # of seven tokens
    assert token_mean(torch.full((2, 2), torch.inf), torch.zeros(2, 2).bool()) == 0


def test_the_estimated_kl_is_the_exact_one_on_average_and_never_negative():
    p, q = BANDIT.log_softmax(0), torch.tensor([-1.0, 0.5, 0.2]).log_softmax(0)
    exact = (p.exp() * (p - q)).sum()
    one = torch.ones(1, 1).bool()
    each = torch.stack([kl_to(q[i].view(1, 1), p[i].view(1, 1), one) for i in range(3)])
    torch.testing.assert_close((p.exp() * each).sum(), exact)
    assert (each >= 0).all()
    draws = torch.multinomial(p.exp(), 20_000, replacement=True, generator=torch_rng(0))
    counted = torch.arange(20_000)[:, None] < 10_000
    sampled = kl_to(q[draws][:, None], p[draws][:, None], counted)
    assert sampled.item() == pytest.approx(exact.item(), rel=0.05)
    assert kl_to(p[draws][:, None], p[draws][:, None], counted) == 0


def test_the_estimates_gradient_is_that_of_the_kl_the_other_way_round():
    theta = BANDIT.clone().requires_grad_()
    reference = torch.tensor([-1.0, 0.5, 0.2]).requires_grad_()
    p, q = theta.log_softmax(0), reference.log_softmax(0)
    one = torch.ones(1, 1).bool()
    terms = [p[i].detach().exp() * kl_to(q[i].view(1, 1), p[i].view(1, 1), one) for i in range(3)]
    torch.stack(terms).sum().backward()
    expected = BANDIT.softmax(0) - reference.detach().softmax(0)  # of KL(q, p): p - q
    torch.testing.assert_close(theta.grad, expected)
    assert reference.grad is None


def test_log_ratios_sum_over_a_responses_tokens_and_spare_the_reference():
    log_probs = torch.tensor([[9.0, -1.0, -2.0], [9.0, -0.5, 9.0]], requires_grad=True)
    reference = torch.tensor([[0.0, -2.0, -2.5], [0.0, -0.1, 0.0]], requires_grad=True)
    counted = torch.tensor([[0, 1, 1], [0, 1, 0]]).bool()
    found = log_ratio(log_probs, reference, counted)
    assert found.tolist() == pytest.approx([1.5, -0.4])
    found.sum().backward()
    assert torch.equal(log_probs.grad, counted.float())
    assert reference.grad is None


def test_outcome_and_preference_losses_have_their_closed_forms_and_gradients():
    ratios = torch.tensor([0.7, -1.2, 2.0], requires_grad=True)
    right = torch.tensor([True, False, False])
    loss = outcome_loss(ratios, right, 0.5)
    chance = (0.5 * ratios.detach()).sigmoid()
    torch.testing.assert_close(
        loss, -torch.stack([chance[0].log(), (1 - chance[1]).log(), (1 - chance[2]).log()]).mean()
    )
    loss.backward()
    torch.testing.assert_close(ratios.grad, 0.5 * (chance - right.float()) / 3)
    better, worse = (torch.tensor(x, requires_grad=True) for x in ([0.7, 0.1], [-0.3, 1.1]))
    loss = preference_loss(better, worse, 2.0)
    lost = (2 * (worse - better).detach()).sigmoid()
    torch.testing.assert_close(loss, -(1 - lost).log().mean())
    loss.backward()
    torch.testing.assert_close(better.grad, -2 * lost / 2)
    torch.testing.assert_close(worse.grad, 2 * lost / 2)


def test_right_responses_are_drawn_without_replacement_and_evenly():
    right = torch.tensor([[1, 1, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0], [1, 1, 1, 1]]).bool()
    generator, times = torch_rng(0), torch.zeros(16)
    for _ in range(2000):
        picked = pick_right(right, 2, generator)
        assert picked.tolist() == sorted(set(picked.tolist()))
        assert (picked // 4).bincount(minlength=4).tolist() == [2, 0, 1, 2]
        times[picked] += 1 / 2000
    expected = torch.tensor([2 / 3, 2 / 3, 0, 2 / 3, 0, 0, 0, 0, 0, 0, 1, 0, 0.5, 0.5, 0.5, 0.5])
    torch.testing.assert_close(times, expected, atol=0.04, rtol=0)
    assert pick_right(right, 9, generator).tolist() == right.flatten().nonzero()[:, 0].tolist()
    assert not len(pick_right(right[1:2], 3, generator))
    with pytest.raises(ValueError, match="0 right"):
        pick_right(right, 0, generator)
