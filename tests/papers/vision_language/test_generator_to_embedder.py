"""Generators as embedders: the prompt, the embedding, SaHa's mining, and the wiring of the experiment."""

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
from stages.papers.vision_language.generator_to_embedder import arms, experiment, method, scores
from stages.papers.vision_language.generator_to_embedder.arms import HardestFirst, Shown
from stages.papers.vision_language.generator_to_embedder.experiment import ARMS, ASIDE, PAPER
from stages.papers.vision_language.generator_to_embedder.method import HIERARCHICAL, Inputs, SaHa
from stages.worlds import picture_talk as talk
from stages.worlds.shapes import quads
from stages.zoo import picture_talk as talkers

WORDS = talk.vocabulary()
S, U = talk.SYSTEM, talk.USER


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def network(seed=0):
    with seeded(seed):
        made = talkers.build(replace(talkers.Talking(), width=16, depth=1, heads=2))
    return made.eval().requires_grad_(False)


# ---- the embedding


def test_the_embedding_is_the_state_at_asst_which_nothing_after_it_can_change(monkeypatch):
    model, shown = network(), Shown.draw(5, 3, "any")
    for pairs in shown.pairs(HIERARCHICAL):
        tokens, images = pairs.queries.tokens, pairs.queries.images
        assert (tokens[:, -1] == WORDS.number["<asst>"]).all()
        expected = model.final_states(tokens, images)[:, -1]
        found = method.embed(model, pairs.queries)
        torch.testing.assert_close(found, expected / expected.norm(dim=1, keepdim=True))
        padded = F.pad(tokens, (0, 4))
        torch.testing.assert_close(method.embed(model, Inputs(padded, images)), found)
        after = F.pad(tokens, (0, 4), value=WORDS.number["red"])
        there = model.final_states(after, images)[:, tokens.shape[1] - 1]
        torch.testing.assert_close(F.normalize(there, dim=1), found)
        changed = tokens.clone()
        changed[:, 1] = WORDS.number["red"]
        assert (method.embed(model, Inputs(changed, images)) - found).abs().max() > 1e-3, "what stands before does"
    mixed = torch.cat([padded, F.pad(talk.prompts(shown.captions), (0, padded.shape[1] - 8))])
    assert method.last_token(mixed).tolist() == [tokens.shape[1] - 1] * 5 + [7] * 5
    states = model.final_states(padded)[:, : tokens.shape[1]]
    mean = states.mean(1)
    torch.testing.assert_close(arms.embed_mean(model, Inputs(padded)), mean / mean.norm(dim=1, keepdim=True))
    monkeypatch.setattr(arms, "AT_ONCE", 2)
    for how in (method.embed, arms.embed_mean):
        for found, inputs in zip(arms.embed_pairs(model, [pairs], how)[0], vars(pairs).values(), strict=True):
            torch.testing.assert_close(found, how(model, inputs), msg="some at a time")


def test_the_system_speaks_on_both_sides_and_the_users_line_is_for_queries():
    shown = Shown.draw(3, 3, "any")
    caption, slots = WORDS.decode(shown.captions[0]), " ".join(["<patch>"] * 16)
    first, second = shown.pairs(HIERARCHICAL)
    assert WORDS.decode(first.queries.tokens[0]) == f"<sys> {S} <user> {slots} {U} <asst>"
    assert WORDS.decode(first.candidates.tokens[0]) == f"<sys> {S} <user> {caption} <asst>"
    assert WORDS.decode(second.queries.tokens[0]) == f"<sys> {S} <user> {caption} {U} <asst>"
    assert WORDS.decode(second.candidates.tokens[0]) == f"<sys> {S} <user> {slots} <asst>"
    for with_images, without in ((first.queries, first.candidates), (second.candidates, second.queries)):
        assert with_images.images is shown.images
        assert without.images is None
    few = first.queries.take(torch.tensor([2, 0]))
    assert torch.equal(few.images, shown.images[[2, 0]])
    assert torch.equal(few.tokens, first.queries.tokens[[2, 0]])


def test_the_loss_tells_candidates_of_a_query_apart_and_not_queries_of_a_candidate():
    q, c = unit(4, 5).requires_grad_(), unit(4, 5, seed=1).requires_grad_()
    total = 0.0
    for i in range(4):
        logits = [torch.dot(q[i], c[j]) / 0.02 for j in range(4)]
        total = total - logits[i] + torch.stack(logits).logsumexp(0)
    loss = method.info_nce(q, c)
    torch.testing.assert_close(loss, total / 4)
    assert abs(method.info_nce(c, q).item() - loss.item()) > 1e-2, "one direction"
    loss.backward()
    assert min(q.grad.abs().max(), c.grad.abs().max()) > 0, "both sides learn"
    torch.testing.assert_close(method.info_nce(q, c, 0.5), F.cross_entropy(q @ c.T / 0.5, torch.arange(4)))


# ---- mining


def by_the_book(queries, candidates, keys, k, m, safest=True):
    """The mining as its authors have it, with no data structure but lists."""
    n, keys = len(keys), keys.tolist()
    unique = list(dict.fromkeys(keys))
    vector = {key: candidates[keys.index(key)] for key in unique}
    uses, clusters = [0] * n, []
    for limit, first in ((1, k * m), (2, 2 * k * m)):
        for q in range(n):
            if uses[q]:
                continue
            order = sorted(unique, key=lambda key: -torch.dot(queries[q], vector[key]))
            owners = []
            for key in order[: 2 * k * m]:
                able = [o for o in range(n) if keys[o] == key and uses[o] < limit]
                if key != keys[q] and able and len(owners) < first:
                    owners.append(max(able, key=lambda o: torch.dot(queries[q], queries[o])))
            if safest:
                owners.sort(key=lambda o: torch.dot(queries[q], queries[o]))
            if len(owners) >= k:
                clusters.append([q, *owners[:k]])
                for member in clusters[-1]:
                    uses[member] += 1
    return clusters


def test_clusters_are_those_of_the_authors_rules():
    keys = torch.randint(30, (70,), generator=torch.Generator().manual_seed(2))
    candidates = unit(30, 6, seed=1)[keys]
    queries = unit(70, 6, seed=3)
    own = torch.arange(40)
    for kind, safest in ((SaHa, True), (HardestFirst, False)):
        found = kind(queries, candidates, keys, negatives=3, times=2).clusters()
        assert found.tolist() == by_the_book(queries, candidates, keys, 3, 2, safest)
        for cluster in found:
            assert len(cluster.unique()) == 4
            assert (keys[cluster[1:]] != keys[cluster[0]]).all(), "an own positive is no negative"
        assert torch.bincount(found.flatten()).max() == 2, "the second pass takes some again"
        other = kind(unit(40, 6), unit(40, 6, seed=1), own, 3, 2).clusters().tolist()
        assert other == by_the_book(unit(40, 6), unit(40, 6, seed=1), own, 3, 2, safest)


def test_six_candidates_by_hand():
    angle = torch.tensor([0.0, 1.0, 2.0, 90.0, 50.0, 60.0, 70.0]).deg2rad()
    queries = torch.stack([angle.cos(), angle.sin()], 1)
    angle = torch.tensor([0.0, 5.0, 10.0, 20.0, 30.0, 40.0, 180.0]).deg2rad()
    candidates = torch.stack([angle.cos(), angle.sin()], 1)
    # query 0's hard candidates are 1, 2, 3, 4, in this order; 1 and 2 belong to queries that are like it
    miner = SaHa(queries, candidates, torch.arange(7), negatives=2, times=2)
    every = set(range(7))
    assert miner.find_owners(0, 4, every) == [1, 2, 3, 4]
    assert miner.find_owners(0, 4, every - {2}) == [1, 3, 4, 5], "who is used up is passed over"
    assert miner.find_owners(0, 2, every) == [1, 2]
    assert miner.choose(0, [1, 2, 3, 4]) == [3, 4], "the least alike first"
    assert HardestFirst(queries, candidates, torch.arange(7), 2, 2).choose(0, [1, 2, 3, 4]) == [1, 2]
    # candidate 2 is owned by queries 2, 3 and 6, and who is most like query 0 stands for it
    owned = torch.tensor([0, 1, 2, 2, 4, 5, 2])
    shared = SaHa(queries, candidates[owned], owned, negatives=2, times=2)
    assert shared.find_owners(0, 3, every) == [1, 2, 4]
    assert shared.find_owners(0, 3, every - {2}) == [1, 6, 4]
    default = SaHa(queries, candidates, torch.arange(7))
    assert (default.negatives, default.times) == (15, 3), "K and m of the authors"


# ---- fine-tuning


def test_fine_tuning_takes_tasks_in_turn_and_changes_a_low_rank_alone(monkeypatch):
    shown, seen, rates = Shown.draw(12, 3, "any"), [], []
    tasks, model = shown.pairs(HIERARCHICAL), network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    embed = method.embed
    monkeypatch.setattr(method, "embed", lambda model, inputs: seen.append(inputs) or embed(model, inputs))
    real, learning = method.info_nce, []
    monkeypatch.setattr(
        method, "info_nce", lambda q, c, t: learning.append((q.requires_grad, c.requires_grad, t)) or real(q, c, t)
    )
    batches = torch.randint(12, (4, 6), generator=torch.Generator().manual_seed(0))
    with seeded(1):
        method.fine_tune(model, tasks, batches, 1e-2, temperature=0.5)
    for step, rows in enumerate(batches):
        queries, candidates = seen[2 * step : 2 * step + 2]
        assert torch.equal(queries.tokens, tasks[step % 2].queries.tokens[rows])
        assert torch.equal(candidates.tokens, tasks[step % 2].candidates.tokens[rows])
        pictures = (queries, candidates)[step % 2].images
        assert torch.equal(pictures, shown.images[rows])
    assert learning == [(True, True, 0.5)] * 4, "both sides learn"
    after = model.state_dict()
    originals = {name.replace("parametrizations.weight.original", "weight"): v for name, v in after.items()}
    assert all(torch.equal(originals[name], value) for name, value in before.items()), "all else stays"
    linear = [m for m in model.modules() if hasattr(m, "parametrizations")]
    assert len(linear) == 4, "attention's two and the perceptron's two"
    for layer in linear:
        (change,) = layer.parametrizations.weight
        assert (change.down.shape[0], change.factor) == (8, 8.0)
        assert change.up.abs().max() > 0
    monkeypatch.setattr(method, "fit", lambda *args, schedule, clip: rates.append(schedule) or (args, clip))
    (loss, _, adam), clip = method.fine_tune(network(), tasks, torch.zeros(40, 2, dtype=torch.long), 5e-3)
    assert (type(adam), adam.defaults["lr"], adam.defaults["weight_decay"], clip) == (torch.optim.AdamW, 5e-3, 0, 1)
    loss(0)
    assert learning[-1] == (True, True, 0.02), "the authors' temperature by default"
    assert [rates[0](step) for step in (0, 1, 2, 3, 39)] == pytest.approx([1 / 3, 2 / 3, 1, 37 / 38, 1 / 38])


def test_fine_tuning_lowers_its_loss_and_the_temperature_counts():
    shown = Shown.draw(16, 3, "any")
    batches = torch.arange(16).expand(36, 16)

    def losses(temperature):
        with seeded(1):
            return method.fine_tune(network(), shown.pairs(HIERARCHICAL), batches, 1e-2, temperature)

    found = losses(0.5)
    assert found[-2] < found[0] - 0.1
    q, c = (method.embed(network(), each) for each in vars(shown.pairs(HIERARCHICAL)[0]).values())
    assert found[0] == pytest.approx(method.info_nce(q, c, 0.5).item(), rel=1e-4)
    assert losses(0.02)[0] == pytest.approx(method.info_nce(q, c).item(), rel=1e-4)


# ---- the wiring of the experiment

SEED = 4
TINY = replace(PAPER.settings("probe"), updates=4)
TALKER, PLAIN = arms.TALKER, arms.PLAIN
PROMPTS = {  # system message, line of queries, line of candidates
    "no prompt": ("", "", ""),
    "user line on queries": ("", U, ""),
    "hierarchical": (S, U, ""),
    "user line on both sides": ("", U, U),
    "hierarchical, control model": (S, U, ""),
    "random batches": (S, U, ""),
    "SaHa without filter": (S, U, ""),
    "SaHa": (S, U, ""),
    "no prompt, control model": ("", "", ""),
    "system message only": (S, "", ""),
    "system words shuffled": (experiment.SHUFFLED_SYSTEM, U, ""),
    "hierarchical, mean of states": (S, U, ""),
}
TUNED = ("random batches", "SaHa without filter", "SaHa")


class Recorder:
    """Stands in for training and for embedding the test."""

    def __init__(self):
        self.trained, self.tuned, self.embedded, self.judged = [], [], [], []

    def train(self, model, settings, seed):
        weights = model.gpt.positions.detach().clone()
        self.trained.append((settings, seed, weights))
        model.tag = settings.one_word
        with torch.no_grad():
            model.gpt.positions += unit(*weights.shape, seed=len(self.trained))

    def tune(self, model, tasks, batches, rate):
        self.tuned.append((model.tag, tasks, batches, rate, torch.rand(1).item()))
        model.tag = f"tuned {len(self.tuned)}"

    def embed(self, model, tasks, how):
        place = len(self.embedded)
        self.embedded.append((model.tag, tasks, how))
        return [(unit(24, 3, seed=4 * place + k), unit(24, 3, seed=4 * place + k + 1)) for k in (0, 2)]

    def score(self, outcome, arm, tasks, kinds):
        self.judged.append(kinds)
        scores.score(outcome, arm, tasks, kinds)


@pytest.fixture(scope="module")
def wired():
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(talkers, "train", recorder.train)
        patch.setattr(arms, "fine_tune", recorder.tune)
        patch.setattr(experiment, "embed_pairs", recorder.embed)
        patch.setattr(experiment, "score", recorder.score)
        recorder.outcome = PAPER.run(TINY, SEED)
    recorder.lab = recorder.outcome.exhibits["lab"]
    recorder.scores = {(row["method"], row["metric"]): row["value"] for row in recorder.outcome.scores}
    return recorder


def test_both_base_models_start_alike_and_read_as_often_but_one_reads_no_one_word_answers(wired, monkeypatch):
    (first, *seed, weights), (second, *other, others) = wired.trained
    assert seed == other == [SEED]
    assert first == replace(talkers.Talking(), updates=TINY.reading, warmup=0)
    assert second == replace(first, one_word=False)
    assert torch.equal(weights, others)
    assert PAPER.settings("full").reading == talkers.Talking().updates
    assert talkers.Talking().warmup == 600 // arms.RISE
    assert not any(p.requires_grad for model in wired.lab.models.values() for p in model.parameters())
    assert {name: model.tag for name, model in wired.lab.models.items()} == {TALKER: True, PLAIN: False}
    monkeypatch.setattr(zoo, "load", lambda name: torch.nn.ParameterList([torch.tensor([float(len(name))])]))
    assert arms.base_model(PLAIN, 0, 1)[0].item() == len(PLAIN)
    assert arms.base_model(TALKER, 0, 1)[0].item() == len(TALKER)


def test_each_arm_embeds_the_test_with_its_own_model_and_prompt(wired):
    assert [*ARMS, *ASIDE] == list(PROMPTS)
    tests = wired.lab.tests
    slots = " ".join(["<patch>"] * 16)
    for (name, (system, asks, asked)), (tag, tasks, how) in zip(PROMPTS.items(), wired.embedded, strict=True):
        expected = f"tuned {TUNED.index(name) + 1}" if name in TUNED else "control" not in name
        assert tag == expected, name
        assert (how is arms.embed_mean) == ("mean" in name), name
        assert (how is method.embed) != ("mean" in name), name
        caption = WORDS.decode(tests.captions[7])
        for pairs, (query, candidate) in zip(tasks, ((slots, caption), (caption, slots)), strict=True):
            texts = [
                f"<sys> {system} <user> {query} {asks} <asst>",
                f"<sys> {system} <user> {candidate} {asked} <asst>",
            ]
            for inputs, text in zip((pairs.queries, pairs.candidates), texts, strict=True):
                assert WORDS.decode(inputs.tokens[7]).split() == text.split(), name
                assert len(inputs) == 24
                assert inputs.images is (tests.images if "<patch>" in text else None)
    assert all(kinds is tests.kinds for kinds in wired.judged)
    assert sorted(experiment.SHUFFLED_SYSTEM.split()) == sorted(S.split())
    assert experiment.SHUFFLED_SYSTEM != S


def test_tuned_arms_differ_in_their_batches_alone(wired):
    lab, (random, hardest, saha) = wired.lab, wired.tuned
    assert len({chance for *_, chance in wired.tuned}) == 1, "the same start of the low-rank change"
    for base, tasks, batches, rate, _ in wired.tuned:
        assert base is True
        assert rate == 1e-3
        assert batches.shape == (4, 16), "as many encoded texts and pictures"
        for pairs, expected in zip(tasks, lab.pool.pairs(HIERARCHICAL), strict=True):
            for side in ("queries", "candidates"):
                assert torch.equal(getattr(pairs, side).tokens, getattr(expected, side).tokens)
                assert getattr(pairs, side).images is getattr(expected, side).images
    assert lab.models[TALKER].tag is True, "the base model stays"
    for task in range(2):
        assert len(random[2][task::2].unique()) == 32, "no pair twice before all were seen"
        pairs = lab.pool.pairs(HIERARCHICAL)[task]
        model = lab.models[TALKER]
        vectors = [arms.embed_all(model, each) for each in (pairs.queries, pairs.candidates)]
        for (_, _, batches, *_), kind in ((hardest, HardestFirst), (saha, SaHa)):
            clusters = kind(*vectors, lab.pool.keys[task], 3).clusters().tolist()
            rows = batches[task::2].reshape(-1, 4).tolist()
            assert all(row in clusters for row in rows), "whole clusters of its task"
            drawn = [clusters.index(row) for row in rows]
            assert len(set(drawn)) == min(len(drawn), len(clusters))
    assert not torch.equal(random[2][::2], random[2][1::2]), "each task has an order of its own"
    whole = arms.at_random(replace(lab, settings=replace(TINY, updates=20))).batches
    assert whole[::2].flatten().sort()[0].tolist() == list(range(160)), "all pairs of the pool"
    again = arms.in_turns(replace(lab, seed=SEED + 1), (torch.arange(160)[:, None],) * 2)
    assert not torch.equal(again, random[2])
    some = torch.arange(16).view(8, 2)
    cycled = arms.in_turns(lab, (some, some))[::2].reshape(2, 8, 2)[..., 0].tolist()
    assert sorted(cycled[0]) == sorted(cycled[1]) == list(range(0, 16, 2))
    assert cycled[0] != cycled[1], "a new order each time"


def test_training_pool_and_test_are_not_the_same_and_follow_the_seed(wired):
    lab = wired.lab
    assert (len(lab.pool.images), len(lab.tests.images)) == (160, 24)
    read = quads.render(quads.sample(200, SEED, 2, ("picture talk", "train"))).flatten(1)
    pool, tests = lab.pool.images.flatten(1), lab.tests.images.flatten(1)
    for one, other in ((read, pool), (read, tests), (pool, tests)):
        assert torch.cdist(one, other).min() > 1e-2
    for shown, name in ((lab.pool, "pool"), (lab.tests, "tests")):
        same, other = Shown.draw(24, SEED, name), Shown.draw(24, SEED + 1, name)
        assert torch.equal(shown.images[:24], same.images)
        assert torch.equal(shown.captions[:24], same.captions)
        stream = ("generator to embedder", name)
        assert torch.equal(same.captions, talk.captions(quads.sample(24, SEED, 2, stream), SEED, stream))
        assert not torch.equal(shown.captions[:24], other.captions)
        contents = [tuple(sorted(x for x in row if x)) for row in quads.read(shown.images).tolist()]
        said = [frozenset_of(row) for row in shown.captions]
        for i in range(24):
            for j in range(24):
                equal = bool(shown.kinds[i] == shown.kinds[j])
                assert equal == (contents[i] == contents[j]) == (said[i] == said[j])
    captions, pictures = lab.pool.keys
    texts = [WORDS.decode(row) for row in lab.pool.captions]
    assert all((captions[0] == captions[i]).item() == (texts[0] == texts[i]) for i in range(160))
    assert len(captions.unique()) == len(set(texts)) < 160, "captions come twice"
    assert pictures.tolist() == list(range(160))


def frozenset_of(row):
    return tuple(sorted(WORDS.decode(row).split(" and ")))


def test_scores_are_what_the_planted_embeddings_say(wired):
    kinds, found = wired.lab.tests.kinds, wired.scores
    for place, name in enumerate(PROMPTS):
        recalls, evens, gaps = [], [], []
        for k in (0, 2):
            q, c = (unit(24, 3, seed=4 * place + k + side) for side in (0, 1))
            assert all(map(torch.equal, wired.outcome.exhibits[name][k // 2], (q, c))), "what the page shows"
            for values, (a, b) in ((recalls, (q, c)), (evens, (q - q.mean(0), c - c.mean(0)))):
                likeness = [[np.dot(x, y) / np.linalg.norm(y) for y in b.numpy()] for x in a.numpy()]
                best = [max(range(24), key=row.__getitem__) for row in likeness]
                values.append(100 * np.mean([kinds[i].item() == kinds[j].item() for i, j in enumerate(best)]))
            gaps.append(np.linalg.norm(q.mean(0) - c.mean(0)))
        assert found[name, "Recall@1"] == pytest.approx(np.mean(recalls))
        directions = ("Recall@1, picture to caption", "Recall@1, caption to picture")
        assert [found[name, metric] for metric in directions] == pytest.approx(recalls)
        assert found[name, scores.CENTRED] == pytest.approx(np.mean(evens))
        assert found[name, scores.GAP] == pytest.approx(np.mean(gaps))
    assert scores.recall(torch.eye(3), torch.eye(3)[[1, 0, 2]], torch.tensor([5, 5, 6])) == 100, "equal scenes count"
    assert scores.recall(torch.eye(3), torch.eye(3)[[1, 0, 2]], torch.tensor([5, 7, 6])) == pytest.approx(100 / 3)


def test_false_negatives_are_counted_among_all_pairs_of_a_batch_that_show_one_scene(wired):
    kinds, vectors = torch.tensor([0, 0, 1, 2, 2, 2]), (unit(6, 4), unit(6, 4, seed=1))
    rows = torch.tensor([[0, 1, 2], [3, 4, 5], [0, 2, 3]])
    assert scores.false_share(rows, kinds) == pytest.approx(100 * (2 + 6 + 0) / 18)
    assert scores.anchors_share(rows, kinds) == pytest.approx(100 * (1 + 2 + 0) / 6)
    likeness = [
        torch.dot(vectors[0][i], vectors[1][j]).item()
        for row in rows.tolist()
        for i in row
        for j in row
        if kinds[i] != kinds[j]
    ]
    assert scores.hardness(rows, vectors, kinds) == pytest.approx(np.mean(likeness))
    lab, found = wired.lab, wired.scores
    for name, (_, _, batches, *_) in zip(TUNED, wired.tuned, strict=True):
        each = [batches[task::2] for task in range(2)]
        false = [scores.false_share(part, lab.pool.kinds) for part in each]
        hard = [scores.hardness(part, lab.vectors[task], lab.pool.kinds) for task, part in enumerate(each)]
        assert found[name, "false negatives"] == pytest.approx(np.mean(false))
        assert found[name, "hardness"] == pytest.approx(np.mean(hard))
    for name, kind in zip(TUNED[1:], (HardestFirst, SaHa), strict=True):
        clusters = [kind(*v, k, 3).clusters() for v, k in zip(lab.vectors, lab.pool.keys, strict=True)]
        shares = [scores.anchors_share(each, lab.pool.kinds) for each in clusters]
        assert found[name, scores.OF_ANCHORS] == pytest.approx(np.mean(shares))
        assert found[name, scores.USED] == pytest.approx(np.mean([len(each.unique()) / 1.6 for each in clusters]))


def test_every_comparison_gate_and_profile_is_the_one_it_names(wired, monkeypatch):
    table, s = tidy_scores({SEED: wired.outcome}), wired.scores
    found = {claim.key: effects(claim, table).item() for claim in (*PAPER.claims, *PAPER.also)}
    r, h, none, both = "Recall@1", "hierarchical", "no prompt", "user line on both sides"
    random, hardest, saha = TUNED
    pairs = {
        "C1": (r, h, none),
        "C2": (r, h, "user line on queries"),
        "C3": (r, saha, random),
        "C5": (r, h, both),
        "C1b": ("Recall@1, picture to caption", h, none),
        "C1c": ("Recall@1, caption to picture", h, none),
        "C1d": (scores.CENTRED, h, none),
        "C1f": (r, h, "hierarchical, mean of states"),
        "C2b": (r, "user line on queries", none),
        "C2c": (r, "system message only", none),
        "C3b": (r, saha, hardest),
        "C3c": (r, hardest, random),
        "C3d": (r, random, h),
        "C4b": ("false negatives", saha, random),
        "C4d": ("hardness", saha, hardest),
        "C4e": ("hardness", saha, random),
        "C5b": (scores.CENTRED, h, both),
        "C5d": (r, h, "system words shuffled"),
        "C6b": (r, "hierarchical, control model", "no prompt, control model"),
    }
    expected = {key: s[one, metric] - s[other, metric] for key, (metric, one, other) in pairs.items()}
    expected["C4"] = s[hardest, "false negatives"] - s[saha, "false negatives"]
    expected["C4c"] = s[hardest, scores.OF_ANCHORS] - s[saha, scores.OF_ANCHORS]
    expected["C4f"] = s[saha, scores.USED]
    expected["C1e"] = s[none, scores.GAP] - s[h, scores.GAP]
    expected["C5c"] = s[both, scores.GAP] - s[h, scores.GAP]
    expected["C6"] = expected["C1"] - expected["C6b"]
    assert found == pytest.approx(expected)
    assert [claim.margin for claim in PAPER.claims] == [3, 0, 0, 0, 0, 0]
    assert [claim.origin for claim in PAPER.claims] == ["paper"] * 4 + ["ours"] * 2
    rows = measure_gates(PAPER.gates, table)
    assert [row["value"] for row in rows] == pytest.approx([s[none, r], s[h, r], s[random, r] - s[h, r]])
    assert [row["bound"] for row in rows] == ["at least 10 and at most 50", "at most 80", "at least 10"]
    assert PAPER.settings("full") == arms.Settings(600, 1_600, 400, 40, 64, 15)
    quick = PAPER.settings("quick")
    assert (quick.reading, {*quick.only}) == (0, {*ARMS, "no prompt, control model"} - {hardest})
    monkeypatch.setattr(experiment, "make_lab", lambda *_: wired.lab)
    monkeypatch.setattr(experiment, "embed_pairs", lambda *_: [(unit(24, 3), unit(24, 3))] * 2)
    some = PAPER.run(replace(TINY, only=(h, none)), SEED)
    assert [*some.exhibits] == [none, h, "lab"], "only those that are asked for"


def test_the_probe_goes_through_every_arm():
    """With a record, `check_probe` takes its place."""
    found = tidy_scores({0: PAPER.run(PAPER.settings("probe"), 0)})
    assert set(found["method"]) >= {*ARMS, *ASIDE}
    for claim in (*PAPER.claims, *PAPER.also):
        assert np.isfinite(effects(claim, found)).all()
