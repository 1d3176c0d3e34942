from dataclasses import replace

import torch

from stages.models import seeded
from stages.worlds.vocabulary import PAD
from stages.zoo import chain_prose
from stages.zoo.chain_prose import LOOK, Reading

WORDS = chain_prose.chain_prose.vocabulary()
TINY = Reading(width=16, depth=1, rows=40, drilled=250, updates=240, cooling=6, batch=4, drills=3, warmup=2)


def test_updates_go_on_until_it_is_known():
    answers = iter([False, False, True])
    assert list(chain_prose.until(lambda: next(answers), 1000)) == list(range(3 * LOOK - 1))
    assert list(chain_prose.until(lambda: False, 7)) == list(range(7))


def test_drills_come_first_then_prose_with_drills_then_the_rate_falls(monkeypatch):
    """Sums are known at the second look, a change in prose at the first."""
    known = iter([94.0, 95.0])
    monkeypatch.setattr(chain_prose, "sums", lambda model, n, seed: next(known))
    monkeypatch.setattr(chain_prose, "tells", lambda model, changes, n, seed: 95.0 if changes == 1 else 0.0)
    phases = []

    def read_texts(model, draw, steps, rate, schedule):
        steps = list(range(steps)) if isinstance(steps, int) else list(steps)
        texts = [draw(step) for step in steps]
        for tokens, counted in texts:
            assert torch.equal(counted, tokens != PAD)
        asked = [bool((tokens == WORDS.number["?"]).any()) for tokens, _ in texts]
        phases.append((len(steps), rate, asked, [schedule(step) for step in steps]))
        return [0.0] * len(steps)

    monkeypatch.setattr(chain_prose, "read_texts", read_texts)
    losses = chain_prose.read(chain_prose.make(TINY), TINY, 0)
    drills, prose, cooling = phases
    assert len(losses) == 2 * LOOK - 1 + LOOK - 1 + 6
    assert drills[0] == 2 * LOOK - 1
    assert not any(drills[2])
    assert prose[0] == LOOK - 1
    for _, rate, asked, _ in (prose, cooling):
        assert rate == TINY.rate
        assert asked == [step % 4 > 0 for step in range(len(asked))]
    assert drills[3][:3] == [0.5, 1.0, 1.0]
    assert set(prose[3][1:]) == {1.0}
    assert cooling[3][2] > cooling[3][-1] > 0


def test_reading_follows_its_seed_and_share_of_values_between():
    some = replace(TINY, drilled=2, updates=2, cooling=3)

    def read(settings, seed):
        with seeded(0, "test"):
            model = chain_prose.make(settings)
        return chain_prose.read(model, settings, seed)

    assert read(some, 1) == read(some, 1) != read(some, 2)
    assert read(replace(some, between=0.0), 1) != read(replace(some, between=1.0), 1)
