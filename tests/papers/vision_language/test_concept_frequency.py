"""Concept frequency: counting, the curve and its form; the corpora; how the experiment is wired; the probe."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from stages.evidence import Outcome, effects, tidy_scores
from stages.evidence.gates import measure_gates
from stages.models import seeded
from stages.models.clip import CLIP, ConvTower, TextTower
from stages.papers.vision_language.concept_frequency import PAPER, corpora, experiment, method, scores
from stages.papers.vision_language.concept_frequency.corpora import GLYPHS, NAMES, World, collect
from stages.papers.vision_language.concept_frequency.experiment import (
    ARMS,
    CAPPED,
    FIFTH,
    PRUNED,
    REVERSED,
    TWO_FIFTHS,
    UNIFORM,
    ZIPF,
    Settings,
)
from stages.papers.vision_language.concept_frequency.method import Hits
from stages.papers.vision_language.concept_frequency.scores import Curve
from stages.seeding import rng, torch_rng
from stages.worlds import captions, glyphs

# ---- counting


def test_concepts_are_counted_in_captions_in_images_and_in_both():
    told = ["Two cats in the glass", "a hot dog", "my dog is hot_today", "dogs", "a cat and a dog"]
    index = method.text_index(told)
    assert index["cat"] == {0, 4}
    assert index["glass"] == {0}, "no plural"
    assert method.text_hits(index, "Cats") == {0, 4}
    assert method.text_hits(index, "hot dog") == {1, 2}, "in any order, at any distance"
    assert method.text_hits(index, "hot_dog") == {1, 2}
    assert method.text_hits(index, "cat") & method.text_hits(index, "dog") == {4}
    assert method.text_hits(index, "bird") == method.text_hits(index, "hot bird") == set()
    tags = np.array([[0.9, 0.1], [0.2, 0.7], [0.0, 0.71], [0.69, 0.8], [0.8, 0.9]])  # cat, dog
    hits = Hits.search(told, tags, ["cat", "dog"])
    assert hits.text == [{0, 4}, {1, 2, 3, 4}]
    assert hits.image == [{0, 4}, {2, 3, 4}]
    assert hits.matched == [{0, 4}, {2, 3, 4}]
    assert method.frequencies(hits.matched).tolist() == [2, 3]
    assert hits.misaligned(5) == pytest.approx(20)  # pair 1 alone has nothing in common
    assert [len(h) for h in method.image_hits(tags, 0.5)] == [3, 4]


# ---- the curve


def test_the_line_its_share_and_the_correlation_against_scipy():
    x, noise = np.random.default_rng(0).normal(size=(2, 50))
    y = 3 + 20 * x + 15 * noise
    found = stats.linregress(x, y)
    assert method.line(x, y) == pytest.approx((found.intercept, found.slope))
    assert method.correlation(x, y) == pytest.approx(found.rvalue)
    intercept, slope = method.line(x, y)
    left = ((y - intercept - slope * x) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    assert method.explained(x, y) == pytest.approx(100 * (1 - left))
    counts = np.geomspace(3, 900, GLYPHS).round()
    x, y = np.log10(counts), 40 + 9 * np.log10(counts) + 8 * np.random.default_rng(3).normal(size=GLYPHS)
    outcome = Outcome()
    scores.score_form(outcome, Curve(counts, y), 6)
    told = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    r = stats.pearsonr(x, y).statistic
    means = [stats.binned_statistic(x, values, "mean", 12).statistic for values in (x, y)]
    assert told["glyphs", scores.CORRELATION] == pytest.approx(r)
    assert told["12 bins", scores.CORRELATION] == pytest.approx(stats.pearsonr(*means).statistic)
    assert told["12 bins", scores.CORRELATION] > r + 0.05
    assert told["in log count", scores.EXPLAINED] == pytest.approx(100 * r**2)
    part = rng(6, "concepts", "folds").permutation(GLYPHS) % 8
    for name, fit in (("line", method.fit_line), ("logistic", method.fit_logistic)):
        assert told[name, scores.ERROR] == pytest.approx(method.held_out_error(fit, x, y, part)), name


def test_bins_are_of_equal_width_and_empty_ones_are_left_out():
    x = np.array([0.0, 0.9, 1.0, 3.5, 4.0])
    y = np.array([1.0, 3.0, 5.0, 7.0, 9.0])
    middle, mean = method.binned(x, y, bins=4)  # [0, 1), [1, 2), [2, 3) empty, [3, 4]
    assert middle == pytest.approx([0.45, 1.0, 3.75])
    assert mean == pytest.approx([2, 5, 8])
    x = np.linspace(0, 1, 600)
    y = x + np.random.default_rng(1).normal(size=600)
    assert len(method.binned(x, y)[0]) == 12
    assert method.correlation(*method.binned(x, y)) > 0.9 > 0.5 > method.correlation(x, y), "what binning does"


def test_the_logistic_curve_wins_on_a_sigmoid_and_the_line_on_a_line():
    x = np.linspace(0, 3, 60)
    sigmoid = 100 / (1 + np.exp(-3 * (x - 1.2)))
    assert method.fit_logistic(x, sigmoid)(np.array([1.2, 5.0])) == pytest.approx([50, 100], abs=0.01)
    part = np.arange(60) % 5
    wrong = {fit: method.held_out_error(fit, x, sigmoid, part) for fit in (method.fit_line, method.fit_logistic)}
    assert wrong[method.fit_logistic] < 0.1 < 5 < wrong[method.fit_line]
    straight = 30 + 10 * x
    assert method.held_out_error(method.fit_line, x, straight, part) == pytest.approx(0, abs=1e-9)
    seen = []

    def fit(x, y):
        seen.append(set(x.tolist()))
        return lambda new: np.zeros_like(new)

    assert method.held_out_error(fit, x, straight, part) == pytest.approx(math.sqrt((straight**2).mean()))
    assert [len(s) for s in seen] == [48] * 5
    assert set.intersection(*seen) == set()


def test_within_glyphs_what_makes_one_hard_drops_out():
    chance = np.random.default_rng(2)
    x = chance.normal(size=(2, 40))
    ease = 30 * x.sum(0)  # easy glyphs are frequent ones: across glyphs this would bias
    y = ease + 7 * x
    assert method.within_slope(x, y) == pytest.approx(7)
    assert method.line(x[0], y[0])[1] > 20
    other = chance.normal(size=(3, 40))
    dummies = np.kron(np.ones((3, 1)), np.eye(40))
    table = np.column_stack([other.flatten(), dummies])
    values = chance.normal(size=(3, 40))
    (expected, *_), *_ = np.linalg.lstsq(table, values.flatten(), rcond=None)
    assert method.within_slope(other, values) == pytest.approx(expected)
    once = Curve(np.array([1.0, 0, 10, 10]), np.arange(4.0))
    again, outcome = Curve(np.array([10.0, 1, 0, 1]), np.array([9.0, 7, 1, 0])), Outcome()
    scores.score_within(outcome, "again", again, once)
    # a decade more gives the first glyph 9 points and the last one 3; those that are absent once do not count
    assert outcome.scores[0]["value"] == pytest.approx((9 + 3) / 2)


# ---- the corpora


def test_names_are_no_words_of_a_template_and_ranks_have_their_counts():
    assert len(set(NAMES)) == GLYPHS == 96
    assert not {method.lemma(name) for name in NAMES} & set(" ".join(captions.OPENINGS).split())
    assert [method.lemma(name) for name in NAMES] == list(NAMES)
    assert len(corpora.vocabulary()) == 1 + 15 + 96
    zipf = corpora.zipf(4_500)
    assert zipf.sum() == 4_500
    assert (zipf[0], zipf[-1]) == (874, 9)
    assert (np.diff(zipf) <= 0).all()
    assert abs(zipf[:10] * np.arange(1, 11) - 874).max() < 10
    assert set(corpora.uniform(4_500)) == {46, 47}
    capped = corpora.capped(4_500)
    assert capped.sum() == 4_500
    assert capped[0] == capped[20] == 70
    assert 19 <= capped[-1] <= 24
    assert corpora.shared(np.array([1.0, 1.0, 2.0]), 10).tolist() == [3, 2, 5]


@pytest.fixture(scope="module")
def world():
    return World.of(7, 3)


def test_ranks_are_drawn_anew_by_each_seed_and_reversed_in_the_control(world):
    other = World.of(8, 1)
    assert sorted(world.rank) == list(range(GLYPHS))
    assert (world.rank != other.rank).mean() > 0.9
    forth = collect(world, 1_000, corpora.zipf)
    back = collect(world, 1_000, corpora.zipf, backwards=True)
    counts = [np.bincount(one.pictures.label, minlength=GLYPHS) for one in (forth, back)]
    assert (counts[0] == corpora.zipf(1_000)[world.rank]).all()
    assert (counts[1] == corpora.zipf(1_000)[95 - world.rank]).all()
    assert torch.equal(forth.named, forth.pictures.label)
    again = collect(world, 1_000, corpora.zipf)
    assert torch.equal(again.pictures.images(), forth.pictures.images())
    assert not torch.equal(collect(other, 1_000, corpora.zipf).opening, forth.opening)
    assert set(forth.opening.tolist()) == set(range(len(captions.OPENINGS)))
    order = [collect(one, GLYPHS, corpora.uniform).pictures.label for one in (world, other)]
    assert not torch.equal(*order)


def test_pictures_are_ink_on_paper_of_other_colours_and_tests_are_new(world):
    corpus = collect(world, 500, corpora.uniform)
    images, pictures = corpus.pictures.images(), corpus.pictures
    assert images.shape == (500, 3, 16, 16)
    assert images.min() >= 0
    assert images.max() <= 1
    paper, ink = pictures.colours.unbind(1)
    assert (paper - ink).abs().min() >= 0.349
    corner = pictures.ink[:, 0, 0, 0] == 0
    assert torch.equal(images[corner][:, :, 0, 0], paper[corner])
    assert torch.equal(world.test.label.bincount(), torch.full((GLYPHS,), 3))
    assert corpora.likeness(world.test.ink, pictures.ink).max() < 0.9999
    assert (world.test.colours != pictures.colours[: len(world.test)]).all(), "another stream of chance"
    other = World.of(8, 3)
    assert (other.test.colours != world.test.colours).all()
    assert not torch.equal(other.test.ink, world.test.ink)
    written = glyphs.write(world.characters, pictures.label[:5], 7, 16, unsteady=0.9, stream=("concepts", "train"))
    torch.testing.assert_close(pictures.ink[:5], written)
    assert corpora.likeness(pictures.ink[:5], pictures.ink) == pytest.approx(torch.ones(5), abs=1e-5)


def test_captions_name_the_glyph_or_another_one(world):
    corpus = collect(world, 2_000, corpora.zipf, misaligned=0.2)
    wrong = corpus.named != corpus.pictures.label
    assert wrong.sum() == 400
    words = corpora.vocabulary()
    for i in (0, 399, 400, 1_999):
        text = f"{captions.OPENINGS[corpus.opening[i]]} {NAMES[corpus.named[i]]}".strip()
        assert corpus.captions[i] == text == words.decode(corpus.tokens[i])
    hits = Hits.search(corpus.captions, corpus.shown, NAMES)
    assert hits.misaligned(2_000) == pytest.approx(20)
    right = np.bincount(corpus.pictures.label[~wrong], minlength=GLYPHS)
    assert method.frequencies(experiment.true_hits(corpus).matched).tolist() == right.tolist()
    exchanged = np.bincount(corpus.named[wrong], minlength=GLYPHS)
    assert not torch.equal(corpora.renamed(corpus.pictures.label, 0.2, 8), corpus.named)
    label, often = corpus.pictures.label, np.bincount(corpus.pictures.label, minlength=GLYPHS)
    for glyph in np.flatnonzero(often > 90):
        assert 0.05 < wrong[label == glyph].float().mean() < 0.4, "captions of all glyphs are wrong as often"
    common = world.rank < 20
    assert 0.4 < exchanged[common].sum() / 400 < 0.85, "common names are given away as often"


def test_pruning_leaves_out_the_pictures_most_like_test_pictures(world):
    corpus = collect(world, 600, corpora.zipf, pruned=0.25)
    whole = collect(world, 800, corpora.zipf)
    assert len(corpus.named) == len(corpus.opening) == len(corpus.pictures) == 600
    near = corpora.likeness(whole.pictures.ink, world.test.ink)
    kept = corpora.likeness(corpus.pictures.ink, world.test.ink)
    assert torch.equal(kept.sort().values, near.sort().values[:600])
    rows = near.argsort(stable=True)[:600].sort().values
    assert torch.equal(corpus.pictures.label, whole.pictures.label[rows])
    assert torch.equal(corpus.named, corpus.pictures.label), "captions go with the pictures that are left"
    assert torch.equal(corpus.pictures.images(), whole.pictures.images()[rows])


# ---- the wiring of the experiment

SEED = 4
TINY = Settings(pairs=600, tests=2, updates=2, batch=8)
BASE = {ZIPF: 40.0, UNIFORM: 70.0, CAPPED: 50.0, FIFTH: 30.0, TWO_FIFTHS: 20.0, PRUNED: 35.0, REVERSED: 45.0}
STEEP = {ZIPF: 20.0, UNIFORM: 0.0, CAPPED: 6.0, FIFTH: 12.0, TWO_FIFTHS: 9.0, PRUNED: 15.0, REVERSED: 11.0}


class Recorder:
    """Stands in for learning and naming: an arm's accuracy is BASE + STEEP log10 (count / 10), for each glyph."""

    def __init__(self):
        self.collected, self.learnt, self.tested, self.tagged, self.worlds = [], [], [], [], []
        self.labels = []

    def collect(self, world, pairs, by_rank, **how):
        corpus = collect(world, pairs, by_rank, **how)
        self.worlds.append(world)
        self.collected.append((pairs, by_rank, how))
        return corpus

    def learn(self, corpus, settings, seed):
        self.learnt.append((corpus, settings, seed))
        return list(BASE)[len(self.learnt) - 1]

    def named(self, model, pictures):
        self.tested.append((model, pictures))
        return model

    def accuracy(self, model, label):
        self.labels.append(label)
        counts = method.frequencies(experiment.true_hits(self.learnt[-1][0]).matched)
        logs = np.log10(np.maximum(counts, 1) / 10)
        return torch.from_numpy(BASE[model] + STEEP[model] * logs)

    def tags(self, model, pictures):
        self.tagged.append((model, pictures))
        found = F.one_hot(pictures.label, GLYPHS).double().numpy()
        told = self.learnt[3][0].named
        found[::7] = F.one_hot(told, GLYPHS)[::7].numpy()  # finds what the caption says
        found[::4] = 0.3  # finds nothing in each fourth picture
        return found


def record(settings):
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "collect", recorder.collect)
        patch.setattr(experiment, "learn", recorder.learn)
        patch.setattr(experiment, "named", recorder.named)
        patch.setattr(experiment, "accuracy_by_class", recorder.accuracy)
        patch.setattr(experiment, "tagged", recorder.tags)
        recorder.outcome = PAPER.run(settings, SEED)
    recorder.scores = {(row["method"], row["metric"]): row["value"] for row in recorder.outcome.scores}
    recorder.by_rank = {
        row["method"]: (row["x"], row["y"]) for row in recorder.outcome.curves if row["name"] == scores.BY_RANK
    }
    recorder.curves = {name: recorder.outcome.exhibits[name][2] for name in settings.only or ARMS}
    return recorder


@pytest.fixture(scope="module")
def wired():
    return record(TINY)


def test_each_arm_learns_its_own_corpus_and_all_take_one_test(wired):
    assert list(ARMS) == list(BASE)
    zipf = corpora.zipf
    assert wired.collected == [
        (600, zipf, {}),
        (600, corpora.uniform, {}),
        (600, corpora.capped, {}),
        (600, zipf, {"misaligned": 0.2}),
        (600, zipf, {"misaligned": 0.4}),
        (600, zipf, {"pruned": 0.25}),
        (600, zipf, {"backwards": True}),
    ]
    world = wired.outcome.exhibits["world"]
    assert all(one is world for one in wired.worlds)
    assert world.seed == SEED
    assert (world.rank == World.of(SEED, 2).rank).all()
    assert [(settings, seed) for _, settings, seed in wired.learnt] == [(TINY, SEED)] * 7
    assert [model for model, _ in wired.tested] == list(BASE)
    assert all(pictures is world.test for _, pictures in wired.tested)
    assert len(world.test) == 2 * GLYPHS
    assert all(torch.equal(label, world.test.label) for label in wired.labels)
    ((model, pictures),) = wired.tagged
    assert model == UNIFORM
    assert pictures is wired.learnt[3][0].pictures
    few = record(replace(TINY, only=(ZIPF, PRUNED)))
    assert [how for *_, how in few.collected] == [{}, {"pruned": 0.25}], "no other arm is run"


def test_scores_are_what_the_planted_curves_say(wired):
    rank, found = wired.outcome.exhibits["world"].rank, wired.scores
    for name, curve in wired.curves.items():
        assert found[name, scores.MEAN] == pytest.approx(curve.accuracy.mean())
        assert found[name, scores.RAREST] == pytest.approx(curve.accuracy[rank >= 76].mean()), name
        assert found[name, scores.COMMONEST] == pytest.approx(curve.accuracy[rank < 20].mean()), name
        assert found[name, scores.SPREAD] == pytest.approx(curve.accuracy.std(ddof=1)), name
        x, y = wired.by_rank[name]
        assert (x[0], x[-1], len(x)) == (4.5, 92.5, 12)
        assert y[0] == pytest.approx(curve.accuracy[rank < 8].mean()), name
        assert y[-1] == pytest.approx(curve.accuracy[rank >= 88].mean()), name
    for name in (ZIPF, FIFTH, TWO_FIFTHS, PRUNED, REVERSED):
        assert found[name, scores.SLOPE] == pytest.approx(STEEP[name])
    assert found[ZIPF, scores.RAREST] < found[ZIPF, scores.COMMONEST]
    assert found[REVERSED, scores.RAREST] > found[REVERSED, scores.COMMONEST]
    forth, back = wired.curves[ZIPF], wired.curves[REVERSED]
    change = back.log_counts - forth.log_counts
    slope = (change * (back.accuracy - forth.accuracy)).sum() / (change**2).sum()
    assert found[REVERSED, scores.WITHIN] == pytest.approx(slope)
    assert slope > 0
    drawn = {(row["method"], row["name"]): (row["x"], row["y"]) for row in wired.outcome.curves}
    assert drawn[REVERSED, scores.CHANGE][0] == pytest.approx(change)
    assert drawn[REVERSED, scores.CHANGE][1] == pytest.approx(back.accuracy - forth.accuracy)
    for name in (ZIPF, FIFTH, TWO_FIFTHS, PRUNED, REVERSED):
        seen = wired.curves[name].seen
        order = seen.counts.argsort(kind="stable")
        points = np.array([seen.log_counts, seen.accuracy])[:, order]
        assert np.array(drawn[name, scores.BY_COUNT]) == pytest.approx(points)
        means = method.binned(seen.log_counts, seen.accuracy)
        assert np.array(drawn[name, scores.BY_BIN]) == pytest.approx(np.array(means))
    assert found["in log count", scores.EXPLAINED] == pytest.approx(100)
    share = 100 * np.corrcoef(forth.counts, forth.accuracy)[0, 1] ** 2
    assert found["in count", scores.EXPLAINED] == pytest.approx(share)
    assert found["glyphs", scores.CORRELATION] == pytest.approx(1)
    assert found["line", scores.ERROR] == pytest.approx(0, abs=1e-6)
    part = rng(SEED, "concepts", "folds").permutation(GLYPHS) % 8
    wrong = method.held_out_error(method.fit_logistic, forth.log_counts, forth.accuracy, part)
    assert found["logistic", scores.ERROR] == pytest.approx(wrong)
    assert wrong > 0
    for name in (FIFTH, TWO_FIFTHS, PRUNED):
        seen = wired.curves[name].seen
        level = seen.accuracy - 40 - 20 * (seen.log_counts - 1)
        assert found[name, scores.LEVEL] == pytest.approx(level.mean()), name
    fifth = wired.learnt[3][0]
    right = fifth.named == fifth.pictures.label
    untagged, fooled = (torch.arange(600) % n == 0 for n in (4, 7))
    assert (fooled & ~untagged & ~right).sum() > 5
    assert found[FIFTH, scores.FOUND] == pytest.approx(100 * (untagged | ~(right | fooled)).sum() / 600)
    assert found[FIFTH, scores.RECALL] == pytest.approx(100 * (right & ~untagged).sum() / right.sum())
    curve = Curve(np.array([0.0, 10.0, 100.0]), np.array([50.0, 1.0, 3.0]))
    assert curve.seen.log_counts.tolist() == [1, 2], "a count of zero has no logarithm"
    absent, outcome = Curve(np.where(rank >= 90, 0, forth.counts), forth.accuracy), Outcome()
    scores.score(outcome, "absent", absent, rank)
    told = {row["metric"]: row["value"] for row in outcome.scores}
    for metric in (scores.MEAN, scores.SPREAD, scores.RAREST, scores.COMMONEST):
        assert told[metric] == pytest.approx(found[ZIPF, metric]), "what never occurs is tested, too"


def test_every_comparison_gate_and_profile_is_the_one_it_names(wired):
    table = tidy_scores({SEED: wired.outcome})
    found = {claim.key: effects(claim, table).item() for claim in (*PAPER.claims, *PAPER.also)}
    s = wired.scores
    assert found == pytest.approx(
        {
            "C1": STEEP[ZIPF],
            "C2": s["in log count", scores.EXPLAINED] - s["in count", scores.EXPLAINED],
            "C3": STEEP[PRUNED],
            "C4": s[REVERSED, scores.WITHIN],
            "C5": s["12 bins", scores.CORRELATION] - s["glyphs", scores.CORRELATION],
            "C1b": STEEP[FIFTH],
            "C1c": STEEP[TWO_FIFTHS],
            "C2b": s["line", scores.ERROR] - s["logistic", scores.ERROR],
            "C3b": s[PRUNED, scores.MEAN] - s[ZIPF, scores.MEAN],
            "C3c": s[PRUNED, scores.LEVEL],
            "C5b": s["glyphs", scores.CORRELATION],
            "C6a": s[FIFTH, scores.LEVEL],
            "C6b": s[TWO_FIFTHS, scores.LEVEL],
            "C6c": s[TWO_FIFTHS, scores.MEAN] - s[ZIPF, scores.MEAN],
            "C6d": s[FIFTH, scores.FOUND],
            "C6e": s[FIFTH, scores.RECALL],
            "C7a": s[CAPPED, scores.RAREST] - s[ZIPF, scores.RAREST],
            "C7b": s[ZIPF, scores.COMMONEST] - s[CAPPED, scores.COMMONEST],
            "C7c": s[CAPPED, scores.MEAN] - s[ZIPF, scores.MEAN],
        }
    )
    assert [claim.margin for claim in PAPER.claims] == [5, 0, 5, 5, 0.05]
    rows = measure_gates(PAPER.gates, table)
    assert [row["value"] for row in rows] == pytest.approx(
        [
            s[ZIPF, scores.RAREST],
            s[ZIPF, scores.COMMONEST],
            s[UNIFORM, scores.MEAN],
            s[UNIFORM, scores.SPREAD],
        ]
    )
    assert [row["bound"] for row in rows] == ["at most 45", "at least 70", "at least 60", "at most 15"]
    assert PAPER.settings("full") == Settings(pairs=4_000, tests=60, updates=400, batch=256, rate=2e-3, only=())
    assert PAPER.settings("quick").only == (ZIPF,)
    assert PAPER.settings("probe").only == ()


def test_a_network_learns_its_corpus_with_a_seeds_weights_and_batches(world, monkeypatch):
    calls = []

    def learn_pairs(model, images, texts, rows, rate):
        calls.append(SimpleNamespace(weight=model.text.embedding.weight.clone(), **locals()))

    monkeypatch.setattr(experiment, "learn_pairs", learn_pairs)
    corpus = collect(world, 200, corpora.zipf, misaligned=0.4)
    settings = replace(TINY, rate=0.5)
    model = experiment.learn(corpus, settings, 3)
    experiment.learn(collect(world, 200, corpora.uniform), settings, 3)
    experiment.learn(corpus, settings, 4)
    first, other, later = calls
    assert torch.equal(first.images, corpus.pictures.images())
    assert torch.equal(first.texts, corpus.tokens)
    assert first.rate == 0.5
    rows = torch.randint(200, (2, 8), generator=torch_rng(3, "concepts", "batches"))
    assert torch.equal(first.rows, rows)
    assert torch.equal(other.rows, rows), "arms are paired"
    assert torch.equal(first.weight, other.weight)
    assert not torch.equal(first.weight, later.weight)
    assert not torch.equal(first.rows, later.rows)
    assert not any(p.requires_grad for p in model.parameters())
    with seeded(3, "concepts"):
        start = CLIP(ConvTower(), TextTower(len(corpora.vocabulary()), depth=0)).state_dict()
    torch.testing.assert_close(model.cpu().state_dict(), start, rtol=0, atol=0)
    logits = experiment.named(model, world.test)
    assert logits.shape == (3 * GLYPHS, GLYPHS)
    alone = model(world.test.images()[:4], captions.prompts(corpora.vocabulary(), NAMES, [""])[0])
    assert not torch.allclose(logits[:4], alone), "eight templates, not one"
    names = captions.prompts(corpora.vocabulary(), NAMES)
    classes = F.normalize(torch.stack([model.encode_texts(each) for each in names]).mean(0), dim=1)
    expected = model.compare(model.encode_images(world.test.images()[:4]), classes)
    torch.testing.assert_close(logits[:4], expected, atol=1e-4, rtol=1e-3)
    tags = experiment.tagged(model, world.test)
    assert tags[:4] == pytest.approx(expected.softmax(1).numpy(), abs=1e-4)
    assert tags.sum(1) == pytest.approx(np.ones(len(tags)), abs=1e-4)


def test_the_probe_goes_through_every_arm():
    """With a record, `check_probe` takes its place."""
    found = tidy_scores({0: PAPER.run(PAPER.settings("probe"), 0)})
    assert set(found["method"]) >= set(ARMS)
    for claim in (*PAPER.claims, *PAPER.also):
        assert np.isfinite(effects(claim, found)).all()
