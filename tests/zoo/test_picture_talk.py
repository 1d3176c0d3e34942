"""Small language models that see: how they are trained, and how they are measured."""

from dataclasses import replace

import pytest
import torch

from stages.models import seeded
from stages.worlds import picture_talk as talk
from stages.worlds.shapes import quads
from stages.zoo import picture_talk as zoo
from stages.zoo.picture_talk import PLAIN, RECIPE

TINY = replace(RECIPE.settings, width=16, depth=1, heads=2, updates=4, batch=40, warmup=1, tests=80)


def made(settings=TINY):
    with seeded(0):
        return zoo.build(settings)


def test_each_update_answers_new_texts_about_their_own_pictures(monkeypatch):
    seen, model = [], made()

    def watch(logits, tokens, counted):
        seen.append((tokens, counted))
        return logits.sum() * 0

    forward, shown = model.forward, []
    monkeypatch.setattr(model, "forward", lambda tokens, images: shown.append(images) or forward(tokens, images))
    monkeypatch.setattr(zoo, "next_token_loss", watch)
    fit, used = zoo.fit, []
    monkeypatch.setattr(zoo, "fit", lambda *args, **how: used.append((args, how)) or fit(*args, **how))
    zoo.train(model, TINY, 5)
    (((_, updates, adam), how),) = used
    assert (updates, adam.defaults["lr"], how["clip"]) == (4, 4e-3, 1)
    assert [how["schedule"](step) for step in range(4)] == pytest.approx([1, 1, 0.75, 0.25])
    scenes = quads.sample(160, 5, 2, ("picture talk", "train"))
    drawn = talk.conversations(scenes, 5)
    assert torch.equal(torch.cat([tokens for tokens, _ in seen]), drawn.tokens)
    assert torch.equal(torch.cat([counted for _, counted in seen]), drawn.counted)
    pictured = (drawn.tokens == talk.pictures(1)[0, 0]).any(1)
    assert torch.equal(torch.cat(shown), quads.render(scenes[pictured]))


def test_the_control_differs_in_one_word_answers_alone():
    assert replace(PLAIN.settings, one_word=True) == RECIPE.settings
    assert (PLAIN.build, PLAIN.fit, PLAIN.measure) == (RECIPE.build, RECIPE.fit, RECIPE.measure)
    losses = [zoo.train(made(), replace(TINY, one_word=one), 0) for one in (True, False, True)]
    assert losses[0] == losses[2] != losses[1]
    assert zoo.train(made(), TINY, 1) != losses[0]


class Knows(torch.nn.Module):
    """Answers about pictures as it was told, and about texts with the end; or the other way round."""

    def __init__(self, scenes, talked, right):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.scenes, self.talked, self.right = scenes, talked, right

    def generate(self, tokens, images, new, stop):
        assert (tokens[:, -3] == talk.vocabulary().number["the"]).all()
        assert torch.equal(images, quads.render(self.scenes))
        said = talk.captions(self.scenes, 77)
        return torch.cat([said, torch.full((len(said), 1), stop[0])], 1) if self.right else said[:, :1]

    def forward(self, tokens, images):
        assert torch.equal(tokens, self.talked.tokens)
        pictured = (tokens == talk.pictures(1)[0, 0]).any(1, keepdim=True)
        following = torch.where(pictured == self.right, tokens.roll(-1, 1), talk.vocabulary().number["<end>"])
        return torch.nn.functional.one_hot(following, len(talk.vocabulary())).float()


@pytest.mark.parametrize(("right", "expected"), [(True, 100), (False, 0)])
def test_who_answers_right_is_measured_right(right, expected):
    scenes = quads.sample(80, 5, 2, ("picture talk", "measured"))
    talked = talk.conversations(scenes, 5, stream=("picture talk", "measured"))
    found = zoo.measure(Knows(scenes, talked, right), TINY, 5)
    assert found == dict.fromkeys(("captions of pictures", "sentences about pictures", "one word"), expected)
