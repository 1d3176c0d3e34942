"""Answers: how likely they are, and how they are learnt."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stages.models import GPT, seeded
from stages.seeding import torch_rng
from stages.training.answers import answer_log_prob, learn_answers, token_log_probs
from stages.worlds.vocabulary import answered

PROMPTS = torch.tensor([[0, 3, 4], [5, 6, 7]])
ANSWERS = torch.tensor([[8, 9, 0], [1, 2, 3]])


@pytest.fixture
def model():
    with seeded(0):
        return GPT(10, width=16, depth=1, heads=2, length=8)


@pytest.fixture
def texts():
    return answered(PROMPTS, ANSWERS)


def test_answers_stand_behind_prompts_and_are_marked(texts):
    assert texts.tokens.tolist() == [[3, 4, 8, 9, 0, 0], [5, 6, 7, 1, 2, 3]]
    marked = [[False, False, True, True, False, False], [False, False, False, True, True, True]]
    assert texts.counted.tolist() == marked
    assert len(texts) == 2
    assert texts.take(torch.tensor([1])).tokens.tolist() == [[5, 6, 7, 1, 2, 3]]
    assert answered(torch.tensor([7, 7]), ANSWERS).tokens[1].tolist() == [7, 7, 1, 2, 3]


def test_log_probs_are_those_of_the_tokens_written_one_by_one(model, texts):
    found = token_log_probs(model, texts.tokens, texts.counted)
    for row in range(2):
        for place in range(6):
            if texts.counted[row, place]:
                logits = model(texts.tokens[row : row + 1, :place])[0, -1]
                assert found[row, place].item() == pytest.approx(
                    logits.log_softmax(-1)[texts.tokens[row, place]].item(), abs=1e-5
                )
            else:
                assert found[row, place] == 0
    total = answer_log_prob(model, texts.tokens, texts.counted)
    torch.testing.assert_close(total, found.sum(1))
    mean = answer_log_prob(model, texts.tokens, texts.counted, mean=True)
    torch.testing.assert_close(mean, found.sum(1) / torch.tensor([2, 3]))


class Table(nn.Module):
    """Says the same whatever it reads, and keeps what it was given."""

    def __init__(self):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(10))
        self.given = []

    def forward(self, tokens):
        self.given.append(tokens)
        return self.logits.expand(*tokens.shape, 10)


def test_learning_follows_the_answers_alone(texts):
    model = Table()
    losses = learn_answers(model, texts.tokens, texts.counted, 300, 0.1, torch_rng(0, "test"), batch=64)
    assert losses[0] == pytest.approx(torch.tensor(10.0).log().item())
    learnt = model.logits.softmax(0)
    assert learnt[[1, 2, 3, 8, 9]].sum() > 0.97
    # each answer token of the second text is as frequent as the first's: 1/5 each
    assert learnt[[1, 2, 3, 8, 9]].tolist() == pytest.approx([0.2] * 5, abs=0.05)
    assert all(len(given) == 64 for given in model.given)


def test_learning_depends_on_the_generator_and_the_rate(model, texts):
    def learn(name, rate):
        with seeded(0):
            net = GPT(10, width=16, depth=1, heads=2, length=8)
        learn_answers(net, texts.tokens, texts.counted, 5, rate, torch_rng(0, name), batch=2)
        return torch.cat([p.flatten() for p in net.parameters()]).detach()

    assert torch.equal(learn("a", 1e-3), learn("a", 1e-3))
    assert not torch.equal(learn("a", 1e-3), learn("b", 1e-3))
    assert not torch.equal(learn("a", 1e-3), learn("a", 2e-3))


def test_the_loss_is_the_mean_over_answer_tokens(model, texts):
    both = token_log_probs(model, texts.tokens, texts.counted)
    expected = -both.sum() / 5
    logits = model(texts.tokens)[:, :-1]
    direct = F.cross_entropy(logits[texts.counted[:, 1:]], texts.tokens[:, 1:][texts.counted[:, 1:]])
    torch.testing.assert_close(expected, direct)
