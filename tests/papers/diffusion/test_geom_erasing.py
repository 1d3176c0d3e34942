"""Overlays and their detectors, words for cells, the weighted loss; how the experiment is wired; the probe."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from stages import zoo
from stages.evidence import Outcome, check_probe, recorded
from stages.papers.diffusion.geom_erasing import PAPER, experiment, judging, method, overlays, recipe
from stages.papers.diffusion.geom_erasing.experiment import (
    BASE,
    CLEAN,
    DROPPED,
    FULL,
    FULL_EMPTY,
    FULL_NAME,
    GEOMETRY,
    GEOMETRY_EMPTY,
    KEPT,
    MUCH,
    NAME,
    NP,
    PLAIN,
)
from stages.papers.diffusion.geom_erasing.judging import CALLED, DISTANCE, FALSE, ICR, JUDGE, QUESTIONS, RECALL, RIGHT
from stages.papers.diffusion.geom_erasing.method import Lessons, Recipe
from stages.seeding import torch_rng
from stages.training import diffusion
from stages.training.quality import frechet_distance
from stages.worlds.shapes import quads
from stages.zoo.quads import sampling_times, training_times

NAME_WORD = len(quads.WORDS)


def scenes(n, seed=3, stream=("some",)):
    return quads.sample(n, seed, 1, stream)


def at(metric):
    return f"{metric} [{MUCH}]"


# ---- overlays and who finds them


def test_overlays_change_their_box_alone_as_opaque_as_they_should_be():
    dark = torch.full((400, 3, 16, 16), -0.5)
    for concept, places in (("watermark", 9), ("qr", 144)):
        made, boxes = overlays.overlaid(dark, concept, torch_rng(0, concept))
        assert torch.equal(dark, torch.full_like(dark, -0.5))
        assert ((boxes[:, 2:] - boxes[:, :2]) == 4).all()
        assert boxes.min() == 0
        assert boxes.max() == 15
        corners = {tuple(corner) for corner in boxes[:, :2].tolist()}
        assert len(corners) == 9 if places == 9 else len(corners) > 120
        for picture, (left, top, right, bottom) in zip(made[:50], boxes[:50].tolist(), strict=True):
            inside = torch.zeros(16, 16, dtype=torch.bool)
            inside[top : bottom + 1, left : right + 1] = True
            assert (picture[:, ~inside] == -0.5).all()
            patch = picture[0, top : bottom + 1, left : right + 1]
            if concept == "watermark":
                assert torch.allclose(patch, torch.where(overlays.GLYPH > 0, 0.6 - 0.4 * 0.5, torch.tensor(-0.5)))
            else:
                assert (patch.abs() == 1).all()
        assert torch.equal(made[:, 0], made[:, 2])
    blocks = torch.stack([made[i, 0, t : t + 5, x : x + 5] for i, (x, t) in enumerate(boxes[:, :2].tolist())])
    assert abs(blocks.mean()) < 0.05
    with pytest.raises(ValueError, match="watermark, qr"):
        overlays.overlaid(dark, "text", torch_rng(0))


def test_contamination_is_its_share_and_independent_of_what_the_picture_shows():
    asked = scenes(6000)
    clean = quads.render(asked)
    marked = overlays.contaminated(clean, "watermark", 0.4, 3)
    assert torch.equal((marked.pictures != clean).any(3).any(2).any(1), marked.present)
    assert marked.present.float().mean() == pytest.approx(0.4, abs=0.02)
    assert (marked.boxes[~marked.present] == 0).all()
    place = (asked.shape > 0).float().argmax(1)
    for words, kinds in ((place, 4), (asked.shape.sum(1) - 1, 6), (asked.colour.sum(1) - 1, 6)):
        for kind in range(kinds):
            here = words == kind
            assert marked.present[here].float().mean() == pytest.approx(0.4, abs=0.06)
            left = marked.boxes[here & marked.present][:, 0]
            assert (left == 5).float().mean() == pytest.approx(1 / 3, abs=0.1)
    more = overlays.contaminated(clean, "watermark", 0.8, 3)
    assert more.present[marked.present].all()  # a higher share adds to a lower one
    assert torch.equal(more.pictures[marked.present], marked.pictures[marked.present])
    assert not torch.equal(overlays.contaminated(clean, "watermark", 0.4, 4).present, marked.present)
    one, other = (overlays.contaminated(clean[:50], "watermark", 1.0, seed).boxes for seed in (3, 4))
    assert not torch.equal(one, other)  # each seed has its own places


def test_the_training_detector_misses_invents_and_is_off_by_a_pixel():
    marked = overlays.contaminated(quads.render(scenes(8000)), "watermark", 0.5, 3)
    found, boxes = overlays.detected(marked, 0.9, 0.02, 3)
    assert found[marked.present].float().mean() == pytest.approx(0.9, abs=0.02)
    assert found[~marked.present].float().mean() == pytest.approx(0.02, abs=0.01)
    assert (boxes[~found] == 0).all()
    true = found & marked.present
    off = boxes[true] - marked.boxes[true]
    assert set(off.unique().tolist()) == {-1, 0, 1}
    assert off.float().mean(0).abs().max() < 0.3  # less at the border, where boxes are cut
    inner = (marked.boxes[true][:, :2] == 5).all(1)  # here no edge is cut
    assert (torch.corrcoef(off[inner].T.float()) - torch.eye(4)).abs().max() < 0.25  # each edge has its own error
    iou = overlays.overlap(boxes[true], marked.boxes[true])
    assert 0.6 < iou.mean() < 0.75
    one, other = torch.tensor([[0, 0, 4, 4]]), torch.tensor([[1, 0, 5, 4]])
    assert float(overlays.overlap(one, other)) == pytest.approx(20 / 30)
    assert float(overlays.overlap(one, torch.tensor([[8, 8, 12, 12]]))) == 0
    wrong = boxes[found & ~marked.present]
    assert len(wrong[:, 0].unique()) > 6
    assert torch.corrcoef(wrong[:, :2].T.float())[0, 1].abs() < 0.4
    again, _ = overlays.detected(marked, 0.9, 0.02, 4)
    assert not torch.equal(again, found)
    assert overlays.detected(marked, 1.0, 0.0, 3)[0].equal(marked.present)


def test_the_evaluation_detector_is_another_one_and_keeps_its_threshold():
    detector = zoo.load("overlay_detector")
    assert isinstance(detector, recipe.OverlayDetector)
    clean = quads.render(scenes(600, 11))
    for concept, other in (("watermark", "qr"), ("qr", "watermark")):
        marked = overlays.contaminated(clean, concept, 1.0, 11).pictures
        assert detector.finds(marked, concept).float().mean() > 0.97
        assert detector.finds(clean, concept).float().mean() < 0.04
        assert detector.finds(marked, other).float().mean() < 0.5
    settings = recipe.DetectorSettings(steps=4, batch=9, lr=0.002, held_out=400)
    small = recipe.build(settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "bar", lambda steps, desc: steps)
        patch.setattr(recipe, "cosine", lambda *given: None)
        shown, wanted, made = [], [], []
        small.register_forward_pre_hook(lambda _, given: shown.append(given[0]))
        adam = recipe.optimiser
        patch.setattr(recipe, "optimiser", lambda *given: (made.append(given[1:]), adam(*given))[1])
        plain = recipe.F.binary_cross_entropy_with_logits
        patch.setattr(
            recipe.F, "binary_cross_entropy_with_logits", lambda y, want: (wanted.append(want), plain(y, want))[1]
        )
        recipe.fit_detector(small, settings, 5)
    assert made == [("adamw", 0.002)]
    chance = torch_rng(5, "detector", "train")
    each = torch.arange(9) % 3
    for step in range(4):
        pictures = quads.render(quads.sample(9, 5, (0, 2), ("detector", "train", step)))
        for number, concept in enumerate(("watermark", "qr")):
            here = each == number
            pictures[here] = overlays.overlaid(pictures, concept, chance)[0][here]
        assert torch.equal(shown[step], recipe.spoilt(pictures, 0.15, chance))
        assert torch.equal(wanted[step], torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]).repeat(3, 1))
    held_out = recipe.held_out(400, 5, "threshold", settings)
    for concept in overlays.CONCEPTS:
        assert small.finds(held_out, concept).float().mean() == pytest.approx(0.02, abs=0.003)
    test = recipe.held_out(400, 5, "test", settings)
    assert not torch.equal(test, held_out)
    clean = quads.render(quads.sample(400, 5, (0, 2), ("detector", "test")))
    worse = recipe.spoilt(clean, 0.15, torch_rng(5, "detector", "test", "spoilt"))
    assert torch.equal(test[::3], worse[::3])  # a third is spoilt
    assert torch.equal(test[1::3], clean[1::3])
    assert torch.equal(test[2::3], clean[2::3])
    grey = torch.zeros(200, 3, 16, 16)
    assert torch.equal(recipe.spoilt(grey, 0.0, torch_rng(0)), grey)
    doses = recipe.spoilt(grey, 0.2, torch_rng(0)).std((1, 2, 3))  # each its own
    assert doses.min() < 0.01
    assert 0.15 < doses.max() < 0.25

    def finds(pictures, concept):
        return torch.arange(400) < (20 if torch.equal(pictures, test) else 380 if concept == "qr" else 300)

    measured = recipe.measure(SimpleNamespace(threshold=torch.zeros(2), finds=finds), settings, 5)
    assert measured == pytest.approx(
        {"recall, watermark": 75, "false positives, watermark": 5, "recall, qr": 95, "false positives, qr": 5}
    )


# ---- words, weights, learning


def test_a_box_covers_the_cells_that_its_edges_reach_and_they_are_written_row_by_row():
    cells = method.covered(torch.tensor([[0, 5, 4, 9], [11, 0, 15, 4], [4, 4, 7, 7]]))
    assert cells[0].nonzero().tolist() == [[1, 0], [1, 1], [2, 0], [2, 1]]  # rows 1-2, columns 0-1
    assert cells[1].nonzero().tolist() == [[0, 2], [0, 3], [1, 2], [1, 3]]
    assert cells[2].nonzero().tolist() == [[1, 1]]
    phrases = torch.tensor([[[1, 7, 13]], [[2, 8, 14]], [[3, 9, 15]]])
    found = torch.tensor([True, False, True])
    said = method.written(phrases, found, cells, "cells")
    first = NAME_WORD + 1

    def words(row):
        return [phrase for phrase in row.tolist() if any(phrase)]

    expected = [[1, 7, 13], [NAME_WORD, 0, 0], *([first + c, 0, 0] for c in (4, 5, 8, 9))]
    assert words(said[0]) == expected
    assert words(said[1]) == [[2, 8, 14]]  # not flagged: as it was
    assert words(said[2])[2:] == [[first + 5, 0, 0]]
    named = method.written(phrases, found, cells, "name")
    assert words(named[0]) == expected[:2]
    assert words(named[1]) == [[2, 8, 14]]
    nothing = method.written(phrases, found, cells, "nothing")
    assert [words(row) for row in nothing] == [words(row) for row in phrases]
    everywhere = method.negative(2, "cells")
    assert words(everywhere[1]) == [[NAME_WORD, 0, 0], *([first + c, 0, 0] for c in range(16))]
    assert words(method.negative(1, "name")[0]) == [[NAME_WORD, 0, 0]]
    assert words(method.negative(1, "nothing")[0]) == []


def test_weights_sum_to_the_number_of_cells_and_are_lower_inside():
    cells = torch.zeros(3, 4, 4, dtype=torch.bool)
    cells[1, 1:3, :2] = True
    cells[2] = True
    weights = method.cell_weights(cells, 4.0)
    assert torch.allclose(weights.sum((1, 2)), torch.full((3,), 16.0))
    assert (weights[0] == 1).all()
    assert weights[1, 1, 0].item() == pytest.approx(16 / (4 + 4 * 12))
    assert weights[1, 0, 3].item() == pytest.approx(4 * 16 / (4 + 4 * 12))
    assert torch.allclose(weights[2], torch.ones(4, 4))
    assert torch.equal(method.cell_weights(cells, 1.0), torch.ones(3, 4, 4))
    pixels = method.pixel_weights(weights)
    assert pixels.shape == (3, 1, 16, 16)
    assert torch.equal(pixels[1, 0, 4:8, 0:4], weights[1, 1, 0].expand(4, 4))
    assert torch.equal(pixels[1, 0, 12:, 4:8], weights[1, 3, 1].expand(4, 4))


def test_new_words_are_small_and_leave_the_old_model_as_it_was():
    base = zoo.load("quads_base")
    model = method.extended(base, 5)
    old, new = (m.captions.embedding.weight for m in (base, model))
    assert len(new) == len(old) + 17 == len(quads.WORDS) + 17
    assert torch.equal(new[: len(old)], old)
    assert new[len(old) :].std().item() == pytest.approx(0.1, abs=0.01)
    assert not torch.equal(method.extended(base, 6).captions.embedding.weight[-1], new[-1])
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([0.2, 0.9])
    said = judging.one_phrase(scenes(2))
    assert torch.equal(model(x, t, said), base(x, t, said))
    added = method.written(said, torch.tensor([True, True]), torch.ones(2, 4, 4) > 0, "cells")
    assert not torch.equal(model(x, t, added), base(x, t, said))


def lessons_of(n, seed=3, alpha=4.0):
    asked = scenes(n, seed)
    marked = overlays.contaminated(quads.render(asked), "watermark", 0.5, seed)
    found, boxes = overlays.detected(marked, 0.9, 0.02, seed)
    cells = method.covered(boxes) & found[:, None, None]
    said = method.written(judging.one_phrase(asked), found, cells, "cells")
    return Lessons(marked.pictures, said, method.pixel_weights(method.cell_weights(cells, alpha)))


def test_fine_tuning_steps_down_the_weighted_loss_with_whole_captions_dropped(monkeypatch):
    base = zoo.load("quads_base")
    before = {name: value.clone() for name, value in base.state_dict().items()}
    lessons = lessons_of(40)
    recipe_ = Recipe(updates=3, batch=8, lr=0.01, warmup=1, dropped=0.4)
    made = []

    def watch(name):
        plain = getattr(method, name)

        def spy(*given, **how):
            made.append((name, *[value for value in given if isinstance(value, int | float | str)], how))
            return plain(*given, **how)

        monkeypatch.setattr(method, name, spy)

    watch("optimiser")
    watch("cosine")
    told = []
    plain_fit = method.fit

    def spy(loss, updates, adam, **how):
        assert how["schedule"] is not None
        told.append((updates, how["clip"], sum(p.numel() for g in adam.param_groups for p in g["params"])))
        return plain_fit(loss, updates, adam, **how)

    monkeypatch.setattr(method, "fit", spy)
    seen, losses = [], []
    plain_loss = diffusion.velocity_loss

    def watched(network, x, t, noise):
        errors = plain_loss(network, x, t, noise)
        seen.append(SimpleNamespace(x=x, t=t, noise=noise, errors=errors))
        return errors

    monkeypatch.setattr(method.diffusion, "velocity_loss", watched)
    read = []
    plain_read = method.UNet.forward.__globals__["PhraseEncoder"].forward
    monkeypatch.setattr(
        method.UNet.forward.__globals__["PhraseEncoder"],
        "forward",
        lambda self, said: (read.append(said), plain_read(self, said))[1],
    )
    clocks = []
    plain_after = method.UNet.after
    monkeypatch.setattr(method.UNet, "after", lambda self, x, t, c: (clocks.append(t), plain_after(self, x, t, c))[1])
    backward = torch.Tensor.backward
    monkeypatch.setattr(
        torch.Tensor, "backward", lambda self, *a, **k: (losses.append(self), backward(self, *a, **k))[1]
    )
    model = method.fine_tune(base, lessons, recipe_, seed=7)
    assert made == [("optimiser", "adamw", 0.01, {}), ("cosine", 3, 1, {})]
    assert told == [(3, 1.0, sum(p.numel() for p in model.parameters()))]
    chance = torch_rng(7, "fine-tuning")
    for call, said, loss, clock in zip(seen, read, losses, clocks, strict=True):
        rows = (torch.rand(8, generator=chance) * 40).long()
        kept = torch.rand(8, generator=chance) >= 0.4
        times = training_times(8, chance)
        noise = torch.randn(8, 3, 16, 16, generator=chance)
        assert torch.equal(call.x, lessons.pictures[rows])
        assert torch.equal(call.t, times)
        assert torch.equal(clock, times)
        assert torch.equal(call.noise, noise)
        assert torch.equal(said, lessons.captions[rows] * kept[:, None, None])  # all words or none
        assert torch.allclose(loss, (lessons.weights[rows] * call.errors).mean())
    assert any((said == 0).all(2).all(1).any() for said in read)
    for name, value in base.state_dict().items():
        assert torch.equal(value, before[name])  # a copy learns
    moved = [
        not torch.equal(p, q) for p, q in zip(model.parameters(), method.extended(base, 7).parameters(), strict=True)
    ]
    assert all(moved)
    words = [m.captions.embedding.weight[NAME_WORD:] for m in (model, method.extended(base, 7))]
    assert (words[0] - words[1]).abs().max() < 0.05  # three short steps from its own seed's new words
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())


def test_samples_are_guided_away_from_the_negative_prompt():
    asked = []

    class Planted(nn.Module):
        """Answers the sum of its caption's words, whatever the picture."""

        def captions(self, said):
            return said.sum((1, 2)).float()

        def after(self, x, t, read):
            asked.append((x, t))
            return read[:, None, None, None].expand_as(x) / 100

    noise = torch.randn(2, 3, 16, 16) / 10
    prompts = torch.tensor([[[30, 0, 0]], [[20, 0, 0]]])
    away = torch.tensor([[[10, 0, 0]], [[0, 0, 0]]])
    made = method.drawn(Planted(), prompts, away, noise, 1.5, 4)
    velocity = torch.tensor([10 + 1.5 * 20, 1.5 * 20])[:, None, None, None] / 100
    assert torch.allclose(made, (noise - velocity).clamp(-1, 1), atol=1e-5)
    assert len(asked) == 2 * 4  # two calls a step
    now = sampling_times(4)
    for k, (one, other) in enumerate(zip(asked[::2], asked[1::2], strict=True)):
        for x, t in (one, other):  # both prompts are read beside the same picture at the same time
            assert torch.equal(t, now[k].expand(2))
            assert torch.allclose(x, noise - (1 - now[k]) * velocity, atol=1e-6)
    alone = method.drawn(Planted(), prompts, away, noise, 1.0, 4)
    assert torch.allclose(alone[0], (noise[0] - 0.3).clamp(-1, 1), atol=1e-5)
    far = method.drawn(Planted(), 20 * prompts, away, noise, 1.0, 4)
    assert far.min() == -1


# ---- the wiring of the experiment

RECIPE = Recipe(updates=3, batch=4, lr=0.1)
TINY = experiment.Settings(
    RECIPE,
    judging.Drawing(samples=20, steps=3, scale=1.7, real=70, called=5),
    pictures=60,
    recall=0.8,
    false=0.1,
    alpha=3.0,
    shown=2,
    shown_called=3,
)
HOWS = ("nothing", "name", "cells")
TRAINED = (PLAIN, NAME, GEOMETRY, FULL, DROPPED, CLEAN)  # in this order; then those at 80 %
MORE = (FULL, DROPPED)


class Recorder:
    """Stands in for the learner and the sampler. What the n-th model draws with the k-th negative prompt has
    n + k watermarks and 3 k things of another scene.
    """

    def __init__(self, seed):
        self.seed, self.learnt, self.drawn = seed, [], []

    def fine_tune(self, base, lessons, recipe_, seed):
        self.learnt.append(SimpleNamespace(base=base, lessons=lessons, recipe=recipe_, seed=seed))
        return len(self.learnt)

    def draw(self, model, prompts, away, noise, scale, steps):
        number = model if isinstance(model, int) else 0
        how = next(h for h in HOWS if torch.equal(away, method.negative(len(away), h)))
        self.drawn.append(SimpleNamespace(model=model, prompts=prompts, how=how, noise=noise, scale=scale, steps=steps))
        pictures = planted(number, HOWS.index(how), self.seed)
        return pictures if len(prompts) == 20 else planted_called(number, self.seed)


def planted(number, kind, seed):
    """Return the pictures, by hand: of 20, the last 3 * `kind` show another scene."""
    asked = quads.sample(20, seed, 1, ("test",))
    wrong = quads.sample(20, 103, 1, ("wrong",))
    pictures = quads.render(asked)
    pictures[20 - 3 * kind :] = quads.render(wrong)[20 - 3 * kind :]
    marked, _ = overlays.overlaid(pictures, "watermark", torch_rng(1))
    few = (torch.arange(20) < number + kind)[:, None, None, None]
    return torch.where(few, marked, pictures)


def planted_called(number, seed):
    """Return five pictures for each of nine places, with one watermark more from place to place."""
    return torch.cat([planted(number - 4 + place, 0, seed)[:5] for place in range(9)])


@pytest.fixture(scope="module")
def wired():
    """Runs with a recorder in the learner's and the sampler's place: seed 6 and, for what is kept, seed 0."""
    runs = {}
    for seed, settings in ((6, TINY), (0, replace(TINY, only=(PLAIN, FULL, at(FULL))))):
        recorder = Recorder(seed)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(method, "fine_tune", recorder.fine_tune)
            patch.setattr(method, "drawn", recorder.draw)
            outcome = PAPER.run(settings, seed)
        scores = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
        runs[seed] = SimpleNamespace(
            learnt=recorder.learnt,
            drawn=recorder.drawn,
            scores=scores,
            curves={(row["method"], row["name"]): row for row in outcome.curves},
            rows=outcome.curves,
            exhibits=outcome.exhibits,
        )
    return runs


def test_each_arm_learns_from_its_own_pictures_captions_and_weights(wired):
    asked = quads.sample(60, 6, 1, ("fine-tuning",))
    clean = quads.render(asked)
    phrase = judging.one_phrase(asked)
    calls = wired[6].learnt
    assert len(calls) == len(TRAINED) + len(MORE)
    base = zoo.load("quads_base").state_dict()
    expected = [(name, 0.0 if name == CLEAN else 0.4) for name in TRAINED] + [(name, 0.8) for name in MORE]
    for call, (name, share) in zip(calls, expected, strict=True):
        assert call.recipe == RECIPE
        assert call.seed == 6
        assert all(torch.equal(value, base[key]) for key, value in call.base.state_dict().items())
        marked = overlays.contaminated(clean, "watermark", share, 6)
        found, boxes = overlays.detected(marked, 0.8, 0.1, 6)
        cells = method.covered(boxes) & found[:, None, None]
        how = {NAME: "name", GEOMETRY: "cells", FULL: "cells"}.get(name, "nothing")
        said = method.written(phrase, found, cells, how)
        alpha = 3.0 if name == FULL else 1.0
        weights = method.pixel_weights(method.cell_weights(cells, alpha))
        rows = ~found if name == DROPPED else torch.ones(60, dtype=torch.bool)
        assert torch.equal(call.lessons.pictures, marked.pictures[rows]), name
        assert torch.equal(call.lessons.captions, said[rows]), name
        assert torch.equal(call.lessons.weights, weights[rows]), name
    assert len(calls[4].lessons) < 60
    assert (calls[3].lessons.weights < 0.9).any()
    assert torch.equal(calls[5].lessons.pictures, clean)
    assert (phrase > 0).all()
    quick = wired[0].learnt
    assert len(quick) == 3
    assert not torch.equal(quick[0].lessons.pictures, calls[0].lessons.pictures)


def test_all_models_draw_the_same_captions_from_the_same_noise_away_from_their_own_prompts(wired):
    asked = quads.sample(20, 6, 1, ("test",))
    noise = torch.randn(20, 3, 16, 16, generator=torch_rng(6, "samples"))
    calls = [call for call in wired[6].drawn if len(call.prompts) == 20]
    got = [(call.model if isinstance(call.model, int) else 0, call.how) for call in calls]
    assert got == [
        (0, "nothing"),
        (1, "nothing"),
        (1, "name"),
        (2, "name"),
        (3, "cells"),
        (3, "nothing"),
        (4, "cells"),
        (4, "name"),
        (4, "nothing"),
        (5, "nothing"),
        (6, "nothing"),
        (7, "cells"),
        (8, "nothing"),
    ]
    for call in calls:
        assert torch.equal(call.prompts, judging.one_phrase(asked))
        assert torch.equal(call.noise, noise)
        assert (call.scale, call.steps) == (1.7, 3)
    assert calls[0].model.state_dict().keys() == zoo.load("quads_base").state_dict().keys()
    train = quads.render(quads.sample(60, 6, 1, ("fine-tuning",)))
    test, real = (quads.render(quads.sample(60, 6, 1, (name,))) for name in ("test", "real"))
    rows = [{picture.numpy().tobytes() for picture in part} for part in (train, test, real)]
    assert len(set.union(*rows)) == 180  # no picture is in two of them


def test_scores_are_those_worked_out_by_hand(wired, monkeypatch):
    scores = wired[6].scores
    reader, detector = zoo.load("quads_reader"), zoo.load("overlay_detector")
    asked = quads.sample(20, 6, 1, ("test",))
    real = quads.render(quads.sample(70, 6, 1, ("real",)))
    judged = {
        BASE: (0, 0),
        PLAIN: (1, 0),
        NP: (1, 1),
        NAME: (2, 1),
        GEOMETRY: (3, 2),
        GEOMETRY_EMPTY: (3, 0),
        FULL: (4, 2),
        FULL_NAME: (4, 1),
        FULL_EMPTY: (4, 0),
        DROPPED: (5, 0),
        CLEAN: (6, 0),
        at(FULL): (7, 2),
        at(DROPPED): (8, 0),
    }
    for name, (number, kind) in judged.items():
        arm, _, more = name.partition(" [")
        label = at if more else str
        pictures = planted(number, kind, 6)
        assert scores[arm, label(ICR)] == pytest.approx(5 * (number + kind)), name
        distance = frechet_distance(reader.features(pictures), reader.features(real))
        assert scores[arm, label(DISTANCE)] == pytest.approx(distance, rel=1e-4), name
        found = quads.read(pictures)
        place = (asked.shape > 0).float().argmax(1)
        here = torch.arange(20)
        right = quads.right(found, asked.contents)[here, place].float()
        assert scores[arm, label(QUESTIONS)] == pytest.approx(100 * right.mean().item()), name
        assert scores[arm, label(RIGHT)] == pytest.approx(100 * right.prod(1).mean().item()), name
    assert scores[NP, KEPT] == pytest.approx(100 * 10 / 5)
    false = detector.finds(real, "watermark").float().mean().item()
    recall = detector.finds(overlays.contaminated(real, "watermark", 1.0, 6).pictures, "watermark").float().mean()
    assert scores[JUDGE, FALSE] == pytest.approx(100 * false)
    assert scores[JUDGE, RECALL] == pytest.approx(100 * recall.item())
    assert scores[FULL, RIGHT] < scores[FULL, QUESTIONS] < scores[PLAIN, QUESTIONS]  # some are half right
    assert scores[GEOMETRY, CALLED] == pytest.approx(100 * (1 + 2 + 3 + 4 + 3 * 5) / 45)  # the third model's
    assert scores[FULL, CALLED] == pytest.approx(100 * (1 + 2 + 3 + 4 + 4 * 5) / 45)
    assert len(scores) == 4 * len(judged) + 5
    monkeypatch.setattr(method, "fine_tune", lambda *_: 0)
    monkeypatch.setattr(method, "drawn", Recorder(6).draw)
    rare = PAPER.run(replace(TINY, only=(PLAIN,)), 6).scores  # plain draws none, and the negative word 5 %
    assert [row["value"] for row in rare if row["metric"] == KEPT] == [pytest.approx(100 * 5 / 1)]


def test_the_judge_is_measured_on_all_clean_pictures_without_and_with_watermarks():
    shown = []

    def finds(pictures, concept):
        assert concept == "watermark"
        shown.append(pictures)
        return torch.arange(len(pictures)) < (7, 56)[len(shown) - 1]

    real = quads.render(scenes(70))
    outcome = Outcome()
    judging.score_judge(outcome, SimpleNamespace(real=real, detector=SimpleNamespace(finds=finds)), 6)
    scores = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    assert scores == {(JUDGE, FALSE): pytest.approx(10), (JUDGE, RECALL): pytest.approx(80)}
    assert torch.equal(shown[0], real)
    assert torch.equal(shown[1], overlays.overlaid(real, "watermark", torch_rng(6, "overlays", "watermark"))[0])


def test_the_first_seed_keeps_pictures_and_those_called_for_place_by_place(wired):
    assert not wired[6].curves
    kept = wired[0].curves
    assert set(kept) == {
        *((name, experiment.PICTURES) for name in (PLAIN, NP, FULL, FULL_NAME, FULL_EMPTY)),
        (FULL, CALLED),
    }
    for name, number, kind in ((NP, 1, 1), (FULL, 2, 2)):
        shown = judging.restored(kept[name, experiment.PICTURES]["y"])
        assert shown.shape == (2, 3, 16, 16)
        assert torch.allclose(2 * shown - 1, planted(number, kind, 0)[:2], atol=0.01)
    called = judging.restored(kept[FULL, CALLED]["y"])
    assert torch.allclose(2 * called - 1, planted_called(2, 0).view(9, 5, 3, 16, 16)[:, :3].flatten(0, 1), atol=0.01)
    (call,) = [call for call in wired[0].drawn if len(call.prompts) == 45]
    asked = judging.one_phrase(quads.sample(20, 0, 1, ("test",)))
    assert (call.model, call.how, call.scale, call.steps) == (2, "nothing", 1.7, 3)
    for place in range(9):
        mine = slice(5 * place, 5 * place + 5)
        assert torch.equal(call.noise[mine], wired[0].drawn[0].noise[:5])
        assert torch.equal(call.prompts[mine, :1], asked[:5])
        corner = 4 * (place // 3) + place % 3
        cells = [NAME_WORD + 1 + cell for cell in (corner, corner + 1, corner + 4, corner + 5)]
        for prompt in call.prompts[mine]:
            said = [phrase for phrase in prompt[1:].tolist() if any(phrase)]
            assert said == [[NAME_WORD, 0, 0], *([cell, 0, 0] for cell in cells)]
    assert [call.model for call in wired[6].drawn if len(call.prompts) == 45] == [3, 4]
    assert wired[0].exhibits == {PLAIN: 1, FULL: 2, at(FULL): 3}
    assert len(wired[0].rows) == len(kept)  # nothing is kept twice


# ---- the record


def test_claims_and_gates_compare_what_they_say_and_the_probe_holds():
    claims = {c.key: (c.metric, c.better, c.worse, c.margin, c.kind) for c in PAPER.claims}
    assert claims == {
        "C1": (ICR, FULL, NP, 5.0, "superiority"),
        "C2": (ICR, GEOMETRY, NAME, 0.0, "superiority"),
        "C3": (DISTANCE, FULL, PLAIN, 0.0, "superiority"),
        "C4": (ICR, FULL, DROPPED, 0.0, "superiority"),
    }
    assert {c.key for c in (*PAPER.claims, *PAPER.also) if not c.lower_is_better} == {"C2e", "C3f"}
    also = {c.key: (c.metric, c.better, c.worse) for c in PAPER.also}
    assert also == {
        "C1b": (ICR, FULL, PLAIN),
        "C1c": (ICR, NP, PLAIN),
        "C1d": (ICR, FULL, FULL_EMPTY),
        "C1e": (ICR, FULL, FULL_NAME),
        "C1f": (ICR, FULL_EMPTY, PLAIN),
        "C1g": (ICR, FULL, CLEAN),
        "C2b": (ICR, NAME, PLAIN),
        "C2c": (ICR, FULL, GEOMETRY),
        "C2d": (ICR, GEOMETRY_EMPTY, FULL_EMPTY),
        "C2e": (CALLED, GEOMETRY, FULL),
        "C3b": (DISTANCE, FULL, DROPPED),
        "C3c": (DISTANCE, FULL, CLEAN),
        "C3d": (DISTANCE, FULL_EMPTY, PLAIN),
        "C3e": (DISTANCE, DROPPED, PLAIN),
        "C3f": (QUESTIONS, FULL, PLAIN),
        "C4b": (ICR, DROPPED, PLAIN),
        "C4c": (ICR, FULL_EMPTY, DROPPED),
        "C4d": (at(ICR), FULL, DROPPED),
        "C4e": (at(DISTANCE), FULL, DROPPED),
    }
    gates = [(g.method, g.metric, g.minus, g.least, g.most) for g in PAPER.gates]
    assert gates == [
        (BASE, RIGHT, None, 80, None),
        (BASE, ICR, None, None, 5),
        (PLAIN, ICR, None, 25, None),
        (NP, KEPT, None, 80, None),
        (PLAIN, QUESTIONS, NP, None, 5),
        (JUDGE, RECALL, None, 95, None),
        (JUDGE, FALSE, None, None, 3),
    ]
    full = PAPER.settings("full")
    assert (full.recall, full.false, full.alpha, full.pictures) == (0.9, 0.02, 4.0, 2000)
    assert (full.recipe.dropped, full.recipe.batch, full.recipe.lr) == (0.1, 16, 4e-3)
    assert [PAPER.settings(profile).only for profile in ("full", "probe", "quick")] == [(), (), (PLAIN, FULL)]
    check_probe(PAPER, recorded(PAPER.slug))
