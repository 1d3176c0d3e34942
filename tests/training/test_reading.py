import copy

import pytest
import torch

from stages.models import GPT, seeded
from stages.training import constant, cosine
from stages.training.reading import DECAY, read_texts
from stages.worlds.vocabulary import PAD

TEXT = torch.tensor([[1, 2, 3, 4, PAD], [5, 6, 7, 8, 9]])


def make_model():
    with seeded(0, "reading"):
        return GPT(10, width=16, depth=1, heads=2, length=5)


@pytest.mark.parametrize("counted", [None, TEXT != PAD])
def test_an_update_is_a_step_of_adamw_on_what_was_drawn(counted):
    model = make_model()
    expected = copy.deepcopy(model)
    steps = []

    def draw(step):
        steps.append(step)
        return TEXT, counted

    losses = read_texts(model, draw, 1, 1e-2, constant())
    assert steps == [0]
    chances = expected(TEXT).log_softmax(-1)[:, :-1].gather(-1, TEXT[:, 1:, None])[..., 0]
    loss = -(chances if counted is None else chances[counted[:, 1:]]).mean()
    assert losses == [pytest.approx(loss.item(), rel=1e-5)]
    adam = torch.optim.AdamW(expected.parameters(), 1e-2, weight_decay=DECAY)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(expected.parameters(), 1.0)
    adam.step()
    for found, wanted in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5)


def test_a_text_is_learnt_by_heart():
    losses = read_texts(make_model(), lambda step: (TEXT, TEXT != PAD), 80, 1e-2, cosine(80, 5))
    assert len(losses) == 80
    # nothing tells which of the two texts it is before its second token
    assert losses[-1] < 0.1 < losses[0]
