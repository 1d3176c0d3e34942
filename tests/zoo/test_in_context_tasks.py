"""Small transformers that answer by demonstration: what they read, how they are trained and examined."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from stages.models import seeded
from stages.training import next_token_loss
from stages.worlds import ledgers
from stages.zoo import in_context_tasks
from stages.zoo.in_context_tasks import InContextSettings, build, build_gpt, examine, fit_all, measure, train_gpt

SMALL = InContextSettings(width=16, depth=1, heads=2, pairs=4, batch=3, steps=3, warmup=2, lr=0.01, networks=2)


def test_training_reads_documents_of_its_world_and_stream_and_counts_answers_alone(monkeypatch):
    seen, made = [], []
    optimiser, fit = in_context_tasks.optimiser, in_context_tasks.fit

    def loss(logits, tokens, answer):
        seen.append((tokens, answer))
        return next_token_loss(logits, tokens, answer)

    monkeypatch.setattr(in_context_tasks, "next_token_loss", loss)
    monkeypatch.setattr(in_context_tasks, "optimiser", lambda *a, **k: (made.append((a[1:], k)), optimiser(*a, **k))[1])
    monkeypatch.setattr(in_context_tasks, "fit", lambda *a, **k: (made.append((a[1], k)), fit(*a, **k))[1])
    with seeded(0):
        model = build_gpt(SMALL)
    train_gpt(model, SMALL, 1, "zoo", 5)
    adam, (steps, how) = made
    assert adam == (("adamw", 0.01), {"betas": (0.9, 0.98), "weight_decay": 0.01})
    assert (steps, how["clip"]) == (3, 1.0)
    assert [how["schedule"](step) for step in (0, 2, 3)] == pytest.approx([0.5, 1, 0.05])
    facts, even = ledgers.invent(1), torch.full((12,), 1 / 12)
    for step, (tokens, answer) in enumerate(seen):
        stream = ("in context", "zoo", 5, step)
        assert torch.equal(tokens, ledgers.documents(facts, 3, 1, pairs=4, prior=even, stream=stream))
        assert answer.nonzero()[:, 1].tolist() == [3, 8, 13, 18] * 3
    assert len(seen) == 3
    assert model.positions.shape == (20, 16)
    assert [block.attention.heads for block in model.blocks] == [2]


def test_each_network_of_the_zoo_is_trained_in_its_own_world(monkeypatch):
    seen, networks = [], build(SMALL)
    monkeypatch.setattr(in_context_tasks, "train_gpt", lambda *given: seen.append(given))
    fit_all(networks, SMALL, 5)
    assert seen == [(networks["0"], SMALL, 0, "zoo", 5), (networks["1"], SMALL, 1, "zoo", 5)]


class Reader(nn.Module):
    """Knows the best answer to everything, and answers like a task's twin where that is as likely."""

    def __init__(self, facts):
        super().__init__()
        self.facts, self.positions, self.toys = facts, torch.zeros(60, 1), []

    def forward(self, tokens):
        rows = torch.nn.functional.pad(tokens, (0, 2)).view(len(tokens), -1, 5)
        toys, answers = rows[:, :, 1] - 1, rows[:, :-1, 3]
        self.toys.append(toys)
        best = self.facts.predict(toys, answers, torch.full((12,), 1 / 12))
        return best[:, None].float().expand(-1, tokens.shape[1], -1)


def test_the_examination_asks_after_so_many_demonstrations():
    found = examine(Reader(ledgers.invent(2)), replace(SMALL, pairs=12), 2)
    assert list(found) == [f"{k}-shot accuracy" for k in (0, 1, 3, 10)]
    assert found["0-shot accuracy"] < 20
    assert 80 < found["1-shot accuracy"] < found["3-shot accuracy"] < found["10-shot accuracy"] < 100
    readers = [Reader(ledgers.invent(world)) for world in (2, 3)]
    examine(readers[1], SMALL, 3, n=3)
    assert list(examine(readers[0], SMALL, 2, n=3)) == [
        "0-shot accuracy",
        "1-shot accuracy",
        "3-shot accuracy",
    ]
    assert not torch.equal(readers[0].toys[0], readers[1].toys[0])  # each world has questions of its own


def test_a_zoo_of_worlds_is_measured_by_its_mean(monkeypatch):
    asked = []
    networks = build(SMALL)

    def planted(model, settings, world):
        asked.append((model, world))
        return {"0-shot accuracy": 10.0 + world}

    monkeypatch.setattr(in_context_tasks, "examine", planted)
    assert measure(networks, SMALL, 0) == {"0-shot accuracy": pytest.approx(10.5)}
    assert asked == [(networks["0"], 0), (networks["1"], 1)]
