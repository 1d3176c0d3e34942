"""GRAM: pseudo-tasks, prompts, the regulated step, meta-training, the rivals, and the wiring of the experiment."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from stages import zoo
from stages.evidence import tidy_scores
from stages.evidence.gates import measure_gates
from stages.evidence.verdicts import effects
from stages.models import seeded
from stages.models.clip import CLIP, ConvTower, TextTower
from stages.papers.vision_language.gram import arms, method, pseudo_tasks, rivals, scores
from stages.papers.vision_language.gram.arms import MetaLearnt
from stages.papers.vision_language.gram.experiment import ARMS, PAPER
from stages.papers.vision_language.gram.method import Regulator
from stages.papers.vision_language.gram.pseudo_tasks import Pairs, Tasks, Topic
from stages.papers.vision_language.gram.rivals import Affine, Raw
from stages.papers.vision_language.gram.scores import Accuracies
from stages.seeding import rng, torch_rng
from stages.worlds import album, captions
from stages.worlds.shapes import SHAPES


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.double, generator=chance(seed))


def unit(*shape, seed=0):
    return F.normalize(draw(*shape, seed=seed), dim=-1)


@pytest.fixture(scope="module")
def clip():
    """Eight numbers a word, six a picture."""
    with seeded(0):
        made = CLIP(ConvTower(8, 3, (8, 8), (2, 2), 6), TextTower(12, 8, length=7, heads=2, size=6), temperature=0.2)
        torch.nn.init.normal_(made.text.embedding.weight)
    return made.double().eval().requires_grad_(False)


NAMES = torch.tensor([[[1, 0], [2, 3], [4, 0]], [[5, 6], [7, 0], [8, 9]]])


@pytest.fixture
def tasks():
    return Tasks(NAMES, unit(2, 3, 4, 6, seed=1), unit(2, 3, 5, 6, seed=2))


def regulator(kept=0.6):
    with seeded(3):
        made = Regulator(width=8, size=6, rank=2, hidden=5, kept=kept).double()
        torch.nn.init.normal_(made.gate[2].weight, std=0.3)
    return made


# ---- step 1, tasks out of pairs


def planted_pairs():
    """Three topics by captions; pictures of the first two have three looks, the last of which is small."""
    topic = np.repeat([0, 1, 2], [23, 23, 6])
    look = np.concatenate([np.repeat([0, 1, 2], [10, 10, 3])] * 2 + [np.zeros(6, int)])
    mixed = np.random.default_rng(0).permutation(len(topic))
    topic, look = topic[mixed], look[mixed]
    texts = F.normalize(5 * torch.eye(6)[topic] + 0.1 * torch.randn(52, 6, generator=chance(1)), dim=1)
    images = F.normalize(5 * torch.eye(6)[look + 3] + 0.1 * torch.randn(52, 6, generator=chance(2)), dim=1)
    said = torch.tensor([[1, 2, 5], [1, 3, 5], [1, 4, 0]])[topic]
    said[:, 2] = torch.where(torch.arange(52) % 2 == 0, said[:, 2], 0)  # 5 is told by half of two topics
    return Pairs(images, texts, said), topic, look


def test_captions_become_topics_and_their_pictures_looks():
    pairs, topic, look = planted_pairs()
    found = {each.word: each.looks for each in pseudo_tasks.organise(pairs, {0}, 0, topics=3, looks=3, least=5)}
    assert set(found) == {2, 3}, "1 is told by all, 5 by half, and the third topic is too small"
    for word, number in ((2, 0), (3, 1)):
        wanted = [np.flatnonzero((topic == number) & (look == which)).tolist() for which in (0, 1)]
        assert sorted(rows.tolist() for rows in found[word]) == sorted(wanted), "the small look is dropped"
    silenced = pseudo_tasks.organise(pairs, {0, 2}, 0, topics=3, looks=3, least=5)
    assert {each.word for each in silenced} == {5, 3}
    for looks, least in ((3, 11), (3, 8), (2, 11)):  # no large look, too few pairs, one large look
        assert pseudo_tasks.organise(pairs, {0}, 0, topics=3, looks=looks, least=least) == []
    told = torch.tensor([[1, 3], [1, 0], [1, 2], [2, 2], [2, 3], [4, 3]])
    words = pseudo_tasks.telling_words(told, np.array([0, 0, 0, 1, 1, 1]), {0}, 2)
    shares = {1: (1.0, 0.0), 2: (1 / 3, 2 / 3), 3: (1 / 3, 2 / 3), 4: (0.0, 1 / 3)}
    rarity = {1: np.log(2), 2: np.log(2), 3: np.log(2), 4: np.log(6)}
    best = [max(shares, key=lambda w, g=g: shares[w][g] * rarity[w]) for g in (0, 1)]
    assert words == best == [1, 4]
    thrice = torch.tensor([[1, 0, 0], [1, 0, 0], [3, 3, 3], *[[4, 0, 0]] * 5])
    words = pseudo_tasks.telling_words(thrice, np.repeat([0, 1], [3, 5]), {0}, 2)
    assert words[0] == 1, "a caption that says a word three times counts once"
    parts = [pseudo_tasks.clustered(draw(40, 6), 5, seed).tolist() for seed in (0, 0, 1)]
    assert parts[0] == parts[1] != parts[2]


def test_support_and_query_are_of_one_topic_and_of_two_looks():
    rows = np.arange(48).reshape(4, 3, 4)
    topics = [Topic(word, list(parts)) for word, parts in zip((7, 8, 9, 7), rows, strict=True)]
    pairs = Pairs(torch.arange(48.0)[:, None], torch.zeros(48, 1), torch.zeros(48, 1))
    drawn = pseudo_tasks.draw_tasks(pairs, topics, np.random.default_rng(0), 200, 3, 4)
    assert drawn.names.shape == (200, 3, 1)
    assert drawn.support.shape == drawn.query.shape == (200, 3, 4, 1)
    seen = set()
    for names, support, query in zip(*drawn, strict=True):
        assert sorted(names[:, 0].tolist()) == [7, 8, 9], "no two classes of one name"
        for name, near, far in zip(names[:, 0].tolist(), support, query, strict=True):
            near, far = near.flatten().long(), far.flatten().long()
            assert len(near.unique()) == len(far.unique()) == 4, "no picture twice"
            (topic,), (other,) = (near // 12).unique().tolist(), (far // 12).unique().tolist()
            assert topic == other
            assert topics[topic].word == name
            (look,), (another,) = (near // 4).unique().tolist(), (far // 4).unique().tolist()
            assert look != another
            seen.add((topic, look % 3, another % 3))
    assert len(seen) == 24, "every topic of a name, and every pair of looks"
    again = [pseudo_tasks.draw_tasks(pairs, topics, np.random.default_rng(s), 9, 3, 2) for s in (0, 0, 1)]
    assert torch.equal(again[0].support, again[1].support)
    assert not torch.equal(again[0].support, again[2].support)


# ---- step 2


def test_all_tasks_are_read_at_once_each_after_its_own_prompt(clip, tasks):
    prompts = draw(2, 3, 8, seed=4)
    found = method.class_vectors(clip, NAMES, prompts)
    for names, prompt, vectors in zip(NAMES, prompts, found, strict=True):
        torch.testing.assert_close(vectors, clip.encode_texts(names, prompt))
    logits = method.logits(clip, NAMES, prompts, tasks.support)
    assert logits[1, 2, 3, 0].item() == pytest.approx(5 * (tasks.support[1, 2, 3] @ found[1, 0]).item())
    wrong = F.cross_entropy(logits[1].flatten(0, 1), torch.arange(3).repeat_interleave(4))
    assert method.losses(clip, NAMES, prompts, tasks.support)[1].item() == pytest.approx(wrong.item())
    leaf = prompts.clone().requires_grad_(True)
    both = method.gradient(clip, NAMES, leaf, tasks.support)
    assert not both.requires_grad
    assert leaf.grad is None
    for i in (0, 1):
        own = prompts[i : i + 1].clone().requires_grad_(True)
        loss = method.losses(clip, NAMES[i : i + 1], own, tasks.support[i : i + 1]).mean()
        torch.testing.assert_close(both[i], torch.autograd.grad(loss, own)[0][0])


def test_the_regulator_turns_each_row_and_keeps_its_length():
    raw, context, psi = draw(2, 3, 8, seed=5), unit(2, 6, seed=6), regulator()
    found = psi(raw, context).detach()
    kept = psi.gate(context).detach()[..., None]
    assert (kept.min(), kept.max()) != (kept.max(), kept.min())
    z = raw / raw.norm(dim=-1, keepdim=True) * 8**0.5
    w = {name: p.detach() for name, p in psi.named_parameters()}
    h = torch.relu(z @ w["first.0.weight"].T @ w["first.1.weight"].T + w["first.1.bias"])
    h = h @ w["second.0.weight"].T @ w["second.1.weight"].T + w["second.1.bias"]
    turned = h / h.norm(dim=-1, keepdim=True) * raw.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(found, (1 - kept) * turned + kept * raw)
    only = (found - kept * raw) / (1 - kept)
    torch.testing.assert_close(only.norm(dim=-1), raw.norm(dim=-1))
    assert (only < 0).any()
    assert (only > 0).any(), "either sign"
    torch.testing.assert_close(psi(3 * raw, context).detach(), 3 * found)
    fresh = Regulator()
    assert [each[0].out_features for each in (fresh.first, fresh.second)] == [16, 16]
    assert fresh.gate(draw(5, 64).float()).detach().flatten().tolist() == pytest.approx([0.88] * 5)
    alike = torch.tensor([0.3, 0.9], dtype=torch.double)
    wanted = ((alike - kept[:, 0, 0]) ** 2).mean().item()
    assert psi.miss(context, alike).item() == pytest.approx(wanted)


def test_a_step_has_its_length_and_likeness_is_the_mean_of_two_cosines(tasks):
    prompts, direction = draw(2, 3, 8, seed=7), draw(2, 3, 8, seed=8)
    moved = method.move(prompts, direction, 0.3) - prompts
    for i in (0, 1):
        torch.testing.assert_close(moved[i], -0.3 * direction[i] / direction[i].norm())
    assert torch.equal(method.move(prompts, 0 * direction, 0.3), prompts), "no gradient, no step"
    wanted = draw(2, 3, 8, seed=9)
    found = method.likeness(tasks, direction, wanted)
    for i in (0, 1):
        centres = [images[i].flatten(0, 1).mean(0).numpy() for images in (tasks.support, tasks.query)]
        both = [centres, [direction[i].flatten().numpy(), wanted[i].flatten().numpy()]]
        cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in both]
        assert found[i].item() == pytest.approx(np.mean([(1 + c) / 2 for c in cosines]))


def captured(monkeypatch, module):
    """Keep what `fit` is given instead of training."""
    calls = []
    monkeypatch.setattr(module, "fit", lambda loss, steps, adam, **how: calls.append((loss, steps, adam, how)))
    return calls


def test_the_prompt_is_learnt_to_first_order_and_the_regulator_exactly(clip, tasks, monkeypatch):
    calls = captured(monkeypatch, method)
    psi, prompt = regulator(), draw(3, 8, seed=10)
    drawn = []
    found = method.meta_train(clip, prompt, psi, lambda: drawn.append(1) or tasks, 17, (0.1, 0.2), inner=0.7)
    ((loss, steps, adam, how),) = calls
    assert steps == 17
    assert how == {"clip": 1.0}
    assert [group["lr"] for group in adam.param_groups] == [0.1, 0.2]
    assert type(adam) is torch.optim.Adam
    ((initial,), maps) = (group["params"] for group in adam.param_groups)
    assert torch.equal(initial, prompt)
    assert torch.equal(found, initial)
    assert initial is not prompt
    assert [id(p) for p in maps] == [id(p) for p in psi.parameters()]
    assert not any(p.requires_grad for p in maps), "frozen after training"
    assert drawn == []
    psi.requires_grad_(True)
    loss(0).backward()
    assert drawn == [1]
    start, context = prompt.expand(2, -1, -1), tasks.support.mean((1, 2))
    raw = method.gradient(clip, NAMES, start, tasks.support)
    tuned = method.move(start, psi(raw, context).detach(), 0.7)
    at_tuned = method.gradient(clip, NAMES, tuned, tasks.query).mean(0)
    torch.testing.assert_close(initial.grad, at_tuned, msg="the gradient at the tuned prompt")
    assert not torch.allclose(at_tuned, method.gradient(clip, NAMES, start, tasks.query).mean(0))
    likeness = method.likeness(tasks, psi(raw, context).detach(), method.gradient(clip, NAMES, start, tasks.query))

    @torch.no_grad()
    def value():
        there = method.losses(clip, NAMES, method.move(start, psi(raw, context), 0.7), tasks.query)
        return (there.mean() + psi.miss(context, likeness)).item()

    assert loss(0).item() == pytest.approx(value())
    assert drawn == [1, 1], "new tasks at each step"
    for part in (psi.second[1].weight, psi.first[0].weight, psi.gate[0].weight):
        place = part.grad.abs().argmax()
        row = part.data.view(-1)
        kept, ends = row[place].item(), []
        for change in (1e-6, -1e-6):
            row[place] = kept + change
            ends.append(value())
        row[place] = kept
        assert part.grad.view(-1)[place].item() == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4)
    for part in psi.parameters():
        assert part.grad.abs().sum() > 0


def test_adaptation_follows_the_frozen_map_on_the_few_pictures(clip, tasks):
    psi, prompts = regulator().requires_grad_(False), draw(2, 3, 8, seed=11)
    before = deepcopy(psi.state_dict())
    path = method.adapt(clip, prompts, psi, NAMES, tasks.support, 0.2, 3)
    assert path.shape == (4, 2, 3, 8)
    assert not path.requires_grad
    here = prompts
    for step in range(3):
        assert torch.equal(path[step], here)
        raw = method.gradient(clip, NAMES, here, tasks.support)
        here = method.move(here, psi(raw, tasks.support.mean((1, 2))), 0.2)
    assert torch.equal(path[3], here)
    assert all(torch.equal(value, before[name]) for name, value in psi.state_dict().items())
    plain = method.adapt(clip, prompts, Raw(), NAMES, tasks.support, 0.2, 1)[1]
    raw = method.gradient(clip, NAMES, prompts, tasks.support)
    torch.testing.assert_close(plain, prompts - 0.2 * raw / raw.flatten(1).norm(dim=1)[:, None, None])
    fallen = method.losses(clip, NAMES, plain, tasks.support)
    assert (fallen < method.losses(clip, NAMES, prompts, tasks.support)).all(), "downhill"


# ---- the rivals


def test_rivals_map_gradients_or_contrast_the_same_pairs(clip, monkeypatch):
    raw, context = draw(2, 3, 8, seed=12), unit(2, 6)
    assert Raw()(raw, context) is raw
    affine = Affine(3, 8).double()
    torch.testing.assert_close(affine(raw, context).detach(), raw)
    affine.scale.data, affine.shift.data = draw(3, 8, seed=13), draw(3, 8, seed=14)
    found = affine(raw, context).detach()
    torch.testing.assert_close(found.norm(dim=-1), raw.norm(dim=-1))
    row = affine.scale[1] * raw[0, 1] / raw[0, 1].norm() * 8**0.5 + affine.shift[1]
    torch.testing.assert_close(found[0, 1], (row / row.norm() * raw[0, 1].norm()).detach())
    assert Raw().miss(context, context[:, 0]) == affine.miss(context, context[:, 0]) == 0
    assert not list(Raw().parameters())
    calls = captured(monkeypatch, rivals)
    said, images = torch.tensor([[1, 2], [3, 0], [4, 5], [6, 7]]), unit(4, 6, seed=15)
    pairs, rows, prompt = Pairs(images, unit(4, 6), said), torch.tensor([3, 0, 2]), draw(3, 8, seed=16)
    drawn = []
    found = rivals.pretune(clip, prompt, pairs, lambda: drawn.append(1) or rows, 9, 0.3)
    ((loss, steps, adam, how),) = calls
    assert (steps, how) == (9, {"clip": 1.0})
    assert adam.param_groups[0]["lr"] == 0.3
    (initial,) = adam.param_groups[0]["params"]
    assert torch.equal(found, prompt)
    logits = 5 * images[rows] @ clip.encode_texts(said[rows], prompt).T
    own = torch.arange(3)
    wanted = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    assert drawn == []
    value = loss(0)
    assert drawn == [1], "new pairs at each step"
    assert value.item() == pytest.approx(wanted.item())
    value.backward()
    assert initial.grad.abs().max() > 0


# ---- the world

RATES = {  # of each arm: of its first stage, and of adaptation
    "CoOp, random": (None, 0.03),
    "CoOp": (None, 0.05),
    "CoOp, slow": (None, 0.02),
    "same pairs, no meta": (0.03, 0.12),
    "MAML": ((3.0, (1e-3, 3e-3)), 0.12),
    "MAML + affine map": ((3.0, (1e-3, 3e-3)), 0.12),
    "GRAM": ((1.0, (1e-3, 3e-3)), 0.08),
    "GRAM, raw gradient": ((1.0, (1e-3, 3e-3)), 0.08),
}


SEED = 4
TINY = replace(PAPER.settings("probe"), steps=28)


@pytest.fixture(scope="module")
def base():
    with seeded(0):
        made = CLIP(ConvTower(), TextTower(len(captions.vocabulary())))
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def lab(base):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo, "load", lambda name: {"tiny_clip": base}[name])
        return arms.make_lab(TINY, SEED)


def shapes_of(style, count, stream):
    drawn = []
    real = album.render
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(album, "render", lambda scenes: drawn.append(scenes) or real(scenes))
        features = arms.styled(zoo.load("tiny_clip"), style, count, SEED, stream)
    return features, drawn[0]


def test_tasks_have_new_looks_other_classes_and_pictures_of_their_own(base, lab, monkeypatch):
    monkeypatch.setattr(zoo, "load", lambda name: base)
    tasks, words = lab.tasks, captions.vocabulary()
    assert (arms.SOURCE, arms.TARGETS) == ("noisy", ("sketch", "neon", "thermal"))
    assert not {arms.SOURCE, *arms.TARGETS} & set(arms.KNOWN)
    assert tasks.names.shape == tasks.new_names.shape == (3, 6, 1)
    assert tasks.support.shape == (3, 6, 4, 64)
    assert tasks.targets.shape == (3, 3, 6, 2, 64)
    supply, scenes = shapes_of("noisy", TINY.supply, "support")
    assert (album.shapes.STYLES[scenes.style[0]], len(scenes.style.unique())) == ("noisy", 1)
    tests = {style: shapes_of(style, TINY.tests, "test")[0] for style in (arms.SOURCE, *arms.TARGETS)}
    one = album.render(
        album.one_large(
            12,
            SEED,
            classes=album.Classes.product(shape=SHAPES),
            labels=torch.arange(12),
            style="noisy",
            stream=("gram", "support"),
        )
    )
    torch.testing.assert_close(supply[:, 0], base.encode_images(one))
    orders = set()
    for i in range(3):
        own = [words.decode(name) for name in tasks.names[i]]
        new = [words.decode(name) for name in tasks.new_names[i]]
        assert sorted(own + new) == sorted(SHAPES), "half of the shapes, and the other half"
        for c, (mine, other) in enumerate(zip(own, new, strict=True)):
            mine, other = SHAPES.index(mine), SHAPES.index(other)
            assert torch.equal(tasks.source[i, c], tests["noisy"][mine])
            assert torch.equal(tasks.new[i, c], tests["noisy"][other])
            for style, found in zip(arms.TARGETS, tasks.targets, strict=True):
                assert torch.equal(found[i, c], tests[style][mine])
            near = torch.cdist(tasks.support[i, c], supply[mine])
            assert (near.min(1).values == 0).all()
            assert len(set(near.argmin(1).tolist())) == 4, "no picture twice"
            orders.add(tuple(near.argmin(1).tolist()))
            assert torch.cdist(tasks.support[i, c], tasks.source[i, c]).min() > 1e-4
    assert len(orders) > 6, "each class of each task has its own draw"
    assert len({tuple(names.flatten().tolist()) for names in tasks.names}) == 3
    assert torch.equal(lab.hand, base.text.embedding.weight[words.encode("see a picture of")])
    assert (len(lab.pairs.images), lab.seed) == (TINY.pairs, SEED)
    told = {words.tokens[topic.word] for topic in lab.topics}
    assert not told & {"<pad>", "see", "picture", "things", ",", "and", "in", "style", "somebody"}
    silent = {0, *words.encode(" ".join(captions.OPENINGS[1:]) + " things , and in style").tolist()}
    topics = pseudo_tasks.organise(lab.pairs, silent, SEED, topics=24, looks=4, least=8)
    sorted_out = [[(t.word, [rows.tolist() for rows in t.looks]) for t in each] for each in (lab.topics, topics)]
    assert sorted_out[0] == sorted_out[1]
    one = pseudo_tasks.organise(lab.pairs, silent, SEED, topics=4, looks=4, least=1)[0]
    rows = np.sort(np.concatenate(one.looks))
    looks = pseudo_tasks.clustered(lab.pairs.images[rows], 4, SEED)
    assert [rows[looks == which].tolist() for which in range(4)] == [part.tolist() for part in one.looks]
    asked = []
    real = album.scenes
    monkeypatch.setattr(album, "scenes", lambda *a, **how: asked.append(how) or real(*a, **how))
    again = arms.draw_pairs(base, TINY.pairs, SEED)
    assert asked[0]["styles"] == {"photo": 1, "flat": 1, "faint": 1, "negative": 1}
    assert torch.equal(again.captions, lab.pairs.captions)
    torch.testing.assert_close(again.images, lab.pairs.images)
    scenes = real(TINY.pairs, SEED, **asked[0])
    assert torch.equal(again.captions, captions.captions(scenes, SEED, stream=("gram", "pairs")))
    torch.testing.assert_close(again.images[:9], base.encode_images(album.render(scenes[:9])))
    torch.testing.assert_close(again.texts, base.encode_texts(again.captions))
    clustered = []
    monkeypatch.setattr(arms, "organise", lambda *given: clustered.append(given) or [])
    other = arms.make_lab(TINY, SEED + 1)
    ((pairs, silent, *how),) = clustered
    assert pairs is other.pairs
    assert 0 in silent
    assert how == [SEED + 1, 24, 4, 8]
    assert not torch.equal(other.pairs.captions, lab.pairs.captions)
    assert not torch.equal(other.tasks.names, tasks.names)
    assert not torch.allclose(other.tasks.source, tasks.source)


# ---- the wiring of the experiment

NAMES_OF_ARMS = ["CoOp, random", "CoOp", "CoOp, slow", "same pairs, no meta", "MAML", "MAML + affine map"]
NAMES_OF_ARMS += ["GRAM", "GRAM, raw gradient"]


def planted(tag):
    """Accuracies of the three tasks, for prompts with a tag."""
    task = torch.arange(3, dtype=torch.double)
    return Accuracies((7 * tag + 5 * task) % 41 + 30, (11 * tag + 3 * task) % 37 + 20, (5 * tag + task) % 31 + 25)


class Recorder:
    """Stands in for learning. A trained prompt is filled with the number of its training, tuned ones with
    100 times the number of the tuning plus the step.
    """

    def __init__(self):
        self.trained, self.tuned, self.compared, self.measured = [], [], [], []

    def meta_train(self, clip, prompt, regulator, draw, steps, rates, inner):
        drawn = [draw(), draw()]
        self.trained.append(("meta", prompt, regulator, drawn, steps, rates, inner))
        return torch.full_like(prompt, len(self.trained))

    def pretune(self, clip, prompt, pairs, draw, steps, rate):
        self.trained.append(("pairs", prompt, pairs, [draw(), draw()], steps, rate))
        return torch.full_like(prompt, len(self.trained))

    def adapt(self, clip, prompts, regulator, names, images, rate, steps):
        self.tuned.append((prompts, regulator, names, images, rate))
        tags = 100 * len(self.tuned) + torch.arange(steps + 1.0)
        return tags[:, None, None, None].expand(-1, *prompts.shape)

    def measure(self, clip, prompts, tasks):
        self.measured.append((prompts, tasks))
        return planted(prompts[0, 0, 0].double().round())

    def agreement(self, clip, path, tasks):
        self.compared.append(path)
        return path[1:, :, 0, 0] / 1000


def recorded(base, settings):
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo, "load", lambda name: {"tiny_clip": base}[name])
        patch.setattr(arms, "meta_train", recorder.meta_train)
        patch.setattr(arms, "pretune", recorder.pretune)
        patch.setattr(arms, "adapt", recorder.adapt)
        patch.setattr(scores, "agreement", recorder.agreement)
        patch.setattr(scores, "measure", recorder.measure)
        recorder.outcome = PAPER.run(settings, SEED)
    recorder.lab = recorder.outcome.exhibits["lab"]
    recorder.scores = {(row["method"], row["metric"]): row["value"] for row in recorder.outcome.scores}
    return recorder


@pytest.fixture(scope="module")
def wired(base):
    return recorded(base, TINY)


def test_first_stages_have_their_own_settings_and_the_same_pairs(wired):
    lab = wired.lab
    assert [how[0] for how in wired.trained] == ["pairs", "meta", "meta", "meta"], "GRAM is trained once"
    assert all(torch.equal(how[1], lab.hand) for how in wired.trained)
    assert all(how[4] == TINY.meta_steps for how in wired.trained)
    _, _, pairs, batches, _, rate = wired.trained[0]
    assert pairs is lab.pairs
    assert rate == RATES["same pairs, no meta"][0]
    assert [len(rows.unique()) for rows in batches] == [192, 192], "as many pictures as a meta-step"
    assert not torch.equal(*batches)
    wanted = torch.randperm(TINY.pairs, generator=torch_rng(SEED, "gram", "batches"))[:192]
    assert torch.equal(batches[0], wanted)
    kinds = [type(how[2]) for how in wired.trained[1:]]
    assert kinds == [Raw, Affine, Regulator]
    stream = rng(SEED, "gram", "pseudo-tasks")
    wanted = [pseudo_tasks.draw_tasks(lab.pairs, lab.topics, stream, 4, 6, 4) for _ in range(2)]
    for _, _, _, drawn, *_ in wired.trained[1:]:
        for found, expected in zip(drawn, wanted, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True)), "the same pseudo-tasks"
    found = [(how[6], how[5]) for how in wired.trained[1:]]
    assert found == [RATES[name][0] for name in ("MAML", "MAML + affine map", "GRAM")]
    with seeded(SEED, "gram"):
        fresh = Regulator()
    assert [each[0].out_features for each in (fresh.first, fresh.second)] == [16, 16]
    assert torch.equal(wired.trained[3][2].first[0].weight, fresh.first[0].weight)


def test_each_arm_is_tuned_from_its_own_start_at_its_own_rate(wired):
    lab = wired.lab
    assert list(ARMS) == NAMES_OF_ARMS
    assert len(wired.tuned) == 16
    starts = {"same pairs, no meta": 1, "MAML": 2, "MAML + affine map": 3, "GRAM": 4, "GRAM, raw gradient": 4}
    maps = {"MAML + affine map": Affine, "GRAM": Regulator}
    drawn = 0.05 * torch.randn(3, 4, 64, generator=torch_rng(SEED, "gram", "random words"))
    for place, (prompts, regulator, names, images, rate) in enumerate(wired.tuned):
        name, shots = NAMES_OF_ARMS[place // 2], (4, 1)[place % 2]
        assert rate == RATES[name][1], name
        assert type(regulator) is maps.get(name, Raw), name
        assert torch.equal(names, lab.tasks.names)
        assert torch.equal(images, lab.tasks.support[:, :, :shots])
        if name == "CoOp, random":
            assert torch.equal(prompts, drawn)
        else:
            wanted = torch.full_like(lab.hand, starts[name]) if name in starts else lab.hand
            assert torch.equal(prompts, wanted.expand(3, -1, -1)), name
    assert wired.tuned[12][1] is wired.trained[3][2], "the map that was learnt with GRAM's start"


def test_scores_are_what_the_planted_accuracies_say(wired, base):
    found, moments = wired.scores, [0, 1, 2, 3, 5, 7, 10, 14, 20, 28]
    curves = {(row["method"], row["name"]): (row["x"], row["y"]) for row in wired.outcome.curves}
    for place, name in enumerate(NAMES_OF_ARMS):
        for shots, ending in enumerate(("", ", 1 shot")):
            first = 100 * (2 * place + shots + 1)
            for step, word in ((1, "step"), (20, "steps")):
                there = planted(torch.tensor(float(first + step)))
                one = np.mean([2 * s * t / (s + t) for s, t in zip(there.source, there.target, strict=True)])
                told = {"source accuracy": there.source.mean(), "target accuracy": there.target.mean()}
                told |= {"accuracy on new classes": there.new.mean(), "harmonic mean": one}
                for metric, value in told.items():
                    assert found[name, f"{metric} after {step} {word}{ending}"] == pytest.approx(float(value)), name
            x, y = curves[name, "harmonic mean" + ending]
            assert x == moments
            wanted = [planted(torch.tensor(float(first + step))).harmonic.mean().item() for step in moments]
            assert y == pytest.approx(wanted)
            assert found[name, "best harmonic mean on the way" + ending] == pytest.approx(max(wanted))
            assert found[name, "harmonic mean at the end" + ending] == pytest.approx(wanted[-1])
        path = wired.compared[place]
        assert len(path) == 21
        assert path[0, 0, 0, 0] == 200 * place + 100, "of the first number of shots"
        tags = 200 * place + 100 + np.arange(1, 21)
        assert found[name, scores.COSINE] == pytest.approx(tags.mean() / 1000, rel=1e-5)
        assert curves[name, scores.COSINE][1] == pytest.approx(tags / 1000, rel=1e-5)
    assert all(tasks is wired.lab.tasks for _, tasks in wired.measured)
    for prompts, _ in wired.measured[-20:]:
        assert torch.equal(prompts, wired.lab.hand.expand(3, -1, -1)), "the untuned prompt stays as it is"
    hand = planted(wired.lab.hand[0, 0].double().round())
    for metric in ("source accuracy after 1 step", "source accuracy after 20 steps"):
        assert found["hand prompt, untuned", metric] == pytest.approx(hand.source.mean().item())
    assert found["hand prompt, untuned", "target accuracy after 20 steps"] == pytest.approx(hand.target.mean().item())
    assert scores.MOMENTS[-1] == PAPER.settings("full").steps == 60
    longer = recorded(base, replace(TINY, only=("CoOp", "GRAM"), shots=(4,), steps=60))
    assert {row["method"] for row in longer.outcome.scores} == {"CoOp", "GRAM", "hand prompt, untuned"}
    for place, name in enumerate(("CoOp", "GRAM")):
        for step, when in ((20, "after 20 steps"), (60, "at the end")):
            value = planted(torch.tensor(100.0 * (place + 1) + step)).harmonic.mean().item()
            assert longer.scores[name, f"harmonic mean {when}"] == pytest.approx(value), when
        assert len(longer.compared[place]) == 21, "the cosine is that of the steps that are judged"
    assert longer.outcome.curves[0]["x"] == list(scores.MOMENTS)


def test_accuracy_and_agreement_are_measured_on_the_right_pictures(clip):
    vectors = method.class_vectors(clip, NAMES, prompts := draw(2, 3, 8, seed=20))
    at = torch.tensor([[[0, 1], [1, 1], [2, 0]], [[0, 0], [0, 0], [2, 2]]])  # whose vector a picture is
    images = torch.stack([each[place] for each, place in zip(vectors, at, strict=True)])
    found = scores.accuracy(clip, NAMES, prompts, images)
    assert found.tolist() == pytest.approx([100 * 4 / 6, 100 * 4 / 6])
    right = vectors[:, :, None].expand(-1, -1, 2, -1)
    new = method.class_vectors(clip, NAMES.flip(1), prompts)[:, :, None].expand(-1, -1, 2, -1)
    wrong = right.roll(1, 1)
    tasks = arms.Shifted(NAMES, unit(2, 3, 4, 6), images, torch.stack([right, wrong, right]), NAMES.flip(1), new)
    told = scores.measure(clip, prompts, tasks)
    torch.testing.assert_close(told.source, found)
    assert told.target.tolist() == pytest.approx([200 / 3] * 2)
    assert told.new.tolist() == [100, 100]
    tasks = replace(tasks, targets=unit(3, 2, 3, 4, 6, seed=21))
    losses = [method.gradient(clip, NAMES, prompts, each) for each in tasks.targets]
    down = -torch.stack(losses).mean(0)
    path = torch.stack([prompts, prompts + 0.1 * down, prompts + 0.1 * down + draw(2, 3, 8, seed=22)])
    cosines = scores.agreement(clip, path, tasks)
    assert cosines.shape == (2, 2)
    torch.testing.assert_close(cosines[0], torch.ones(2, dtype=torch.double))
    later = -torch.stack([method.gradient(clip, NAMES, path[1], each) for each in tasks.targets]).mean(0)
    second = F.cosine_similarity((path[2] - path[1]).flatten(1), later.flatten(1))
    torch.testing.assert_close(cosines[1], second)
    torch.testing.assert_close(scores.agreement(clip, path.flip(0), tasks)[1] < 0, torch.tensor([True, True]))


def test_every_comparison_gate_and_profile_is_the_one_it_names(wired):
    assert {name: (own_settings(arm.first), arm.rate) for name, arm in ARMS.items()} == RATES
    assert [name for name, arm in ARMS.items() if arm.raw] == ["GRAM, raw gradient"]
    s, table, ours = wired.scores, tidy_scores({SEED: wired.outcome}), "GRAM"
    found = {claim.key: effects(claim, table).item() for claim in (*PAPER.claims, *PAPER.also)}
    now, hand = "{} after 20 steps".format, "hand prompt, untuned"
    harmonic, target, new = now("harmonic mean"), now("target accuracy"), now("accuracy on new classes")
    source, best, cosine = now("source accuracy"), scores.BEST, scores.COSINE
    pairs = {
        "C1": (harmonic, ours, "CoOp"),
        "C2": (new, ours, "CoOp"),
        "C3": ("source accuracy after 1 step", ours, "CoOp"),
        "C4": (target, ours, "GRAM, raw gradient"),
        "C5": (harmonic, ours, "same pairs, no meta"),
        "C1b": (harmonic, ours, "CoOp, slow"),
        "C1c": (best, ours, "CoOp"),
        "C1d": (target, ours, "CoOp"),
        "C1e": (source, ours, "CoOp"),
        "C1f": ("harmonic mean at the end", ours, "CoOp"),
        "C1g": (harmonic + ", 1 shot", ours, "CoOp"),
        "C1h": (harmonic, ours, hand),
        "C2b": (new, ours, "CoOp, slow"),
        "C2c": (new, "CoOp", hand),
        "C2d": ("accuracy on new classes at the end", ours, "CoOp"),
        "C3b": ("source accuracy after 1 step", ours, "CoOp, random"),
        "C4b": (harmonic, ours, "GRAM, raw gradient"),
        "C4c": (cosine, ours, "GRAM, raw gradient"),
        "C4d": (cosine, ours, "CoOp"),
        "C4e": (harmonic, ours, "MAML"),
        "C4f": (harmonic, ours, "MAML + affine map"),
        "C4g": (target, ours, "MAML + affine map"),
        "C4h": (best, ours, "GRAM, raw gradient"),
        "C4i": (source, ours, "GRAM, raw gradient"),
        "C4j": ("target accuracy at the end", ours, "GRAM, raw gradient"),
        "C5b": (new, ours, "same pairs, no meta"),
        "C5c": (best, ours, "same pairs, no meta"),
        "C5d": (harmonic, "same pairs, no meta", "CoOp"),
    }
    assert found == pytest.approx({key: s[better, m] - s[worse, m] for key, (m, better, worse) in pairs.items()})
    assert [claim.margin for claim in PAPER.claims] == [1, 0, 1, 0, 0]
    assert [claim.origin for claim in PAPER.claims] == ["paper"] * 4 + ["ours"]
    rows = measure_gates(PAPER.gates, table)
    wanted = [s[hand, source], s["CoOp", source] - s[hand, source], s[hand, target] - s["CoOp", target]]
    assert [row["value"] for row in rows] == pytest.approx(wanted)
    assert [row["bound"] for row in rows] == ["at least 40 and at most 75", "at least 3", "at least 2"]
    assert PAPER.settings("full") == arms.Settings(4_800, 300, 80, supply=30, tests=40, shots=(4, 1), steps=60, only=())
    assert set(PAPER.settings("quick").only) >= {"CoOp", "GRAM"}
    assert PAPER.settings("quick").shots == (4,)
    assert not PAPER.settings("probe").only
    assert PAPER.settings("probe").shots == PAPER.settings("full").shots == (4, 1)


def own_settings(first):
    if isinstance(first, MetaLearnt):
        return (first.inner, first.rates)
    return getattr(first, "rate", None)


def test_the_probe_goes_through_every_arm():
    """With a record, `check_probe` takes its place."""
    found = tidy_scores({0: PAPER.run(PAPER.settings("probe"), 0)})
    assert set(found["method"]) >= set(ARMS)
    for claim in (*PAPER.claims, *PAPER.also):
        assert np.isfinite(effects(claim, found)).all()
