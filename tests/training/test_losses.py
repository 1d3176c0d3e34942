import pytest
import torch
from torch.func import grad, vmap

from stages.training import next_token_loss


@pytest.fixture
def tokens():
    return torch.randint(7, (3, 5), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def logits():
    return torch.randn(3, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()


COUNTED = torch.tensor([[1, 0, 0, 1, 1], [0, 0, 0, 0, 0], [0, 1, 0, 0, 1]]).bool()


@pytest.mark.parametrize("counted", [None, COUNTED])
def test_it_is_the_mean_surprise_of_the_tokens_that_count(logits, tokens, counted):
    surprises, reads = [], torch.zeros(3, 5, dtype=torch.bool)
    for b in range(3):
        for t in range(1, 5):  # the first token has nothing before it
            if counted is None or counted[b, t]:
                surprises.append(-logits[b, t - 1].softmax(0)[tokens[b, t]].log())
                reads[b, t - 1] = True
    loss = next_token_loss(logits, tokens, counted)
    torch.testing.assert_close(loss, torch.stack(surprises).mean())
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.equal(gradient.any(-1), reads)


def test_tokens_that_do_not_count_may_be_any_that_there_are(logits, tokens):
    other = tokens.where(COUNTED, (tokens + 3) % 7)
    assert torch.equal(next_token_loss(logits, tokens, COUNTED), next_token_loss(logits, other, COUNTED))


def test_none_that_counts_is_not_a_number(logits, tokens):
    assert next_token_loss(logits, tokens, torch.zeros(3, 5).bool()).isnan()


def test_it_can_be_stacked(logits, tokens):
    stacked = torch.stack([logits.detach(), 2 * logits.detach()])
    gradients = vmap(grad(next_token_loss), (0, None, None))(stacked, tokens, COUNTED)
    for one, gradient in zip(stacked, gradients, strict=True):
        torch.testing.assert_close(gradient, grad(next_token_loss)(one, tokens, COUNTED))


def test_shapes_that_differ_are_refused(logits, tokens):
    with pytest.raises(ValueError, match=r"logits \(3, 4, 7\), counted None for tokens \(3, 5\); the first two axes"):
        next_token_loss(logits[:, 1:], tokens)
    with pytest.raises(ValueError, match=r"counted \(3, 4\) for tokens \(3, 5\)"):
        next_token_loss(logits, tokens, COUNTED[:, 1:])
