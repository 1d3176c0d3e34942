"""What the chapter's papers on frozen transformers share: streams, measures, prompts and the loop over tasks."""

import pytest
import torch
from torch.nn import functional as F

from stages.evidence import Outcome
from stages.models import ViT, masked_logits
from stages.papers.continual.common import arms, scores
from stages.papers.continual.common.coda import CodaPrompt, gram_schmidt
from stages.papers.continual.common.loop import (
    Budget,
    FineTuned,
    batches,
    encode,
    learn_stream,
    nearest_mean,
    task_cross_entropy,
)
from stages.papers.continual.common.metrics import (
    accuracy_matrix,
    average_so_far,
    forgetting,
    global_forgetting,
    local_forgetting,
    mistakes,
    new_task,
)
from stages.papers.continual.common.pools import L2P, DualPrompt
from stages.papers.continual.common.prompts import OnePrompt, Prompted, prefixes
from stages.papers.continual.common.streams import RENDITIONS, SHIFTS, signs_r
from stages.worlds import signs
from stages.worlds.shapes import STYLES

WIDTH, BLOCKS = 16, (1, 2)


@pytest.fixture(scope="module")
def vit():
    torch.manual_seed(0)
    return ViT(width=WIDTH, depth=3, heads=2).requires_grad_(False)


@pytest.fixture(scope="module")
def encoded(vit, stream):
    return encode(vit, stream, first=1)


def coda(tasks=3, components=6, scale=1.0):
    return CodaPrompt(tasks, components, 4, BLOCKS, WIDTH, scale, 0)


def queries(n=5):
    return torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(1))


# ---- streams


def test_tasks_share_no_class_and_classes_are_numbered_as_they_come(stream):
    assert len(stream) == 3
    assert stream.classes == 6
    for task in range(3):
        assert stream.labels[stream.rows(task)].unique().tolist() == [2 * task, 2 * task + 1]
        assert stream.own(task) == slice(2 * task, 2 * task + 2)


def test_the_same_images_come_in_any_number_of_tasks(stream):
    for tasks in (1, 2, 6):
        cut = stream.in_tasks(tasks)
        assert len(cut) == tasks
        assert sum(len(cut.rows(task)) for task in range(tasks)) == len(stream.labels)
        assert cut.images is stream.images
    assert len(stream.joint()) == 1


@pytest.fixture
def drawn(monkeypatch):
    """What is asked of the world of signs, by stream: signs and styles."""
    asked, sample = {}, signs.sample

    def record(labels, seed, *, style, turn, stream):
        asked[stream[-1]] = labels, style, seed
        return sample(labels, seed, style=style, turn=turn, stream=stream)

    monkeypatch.setattr(signs, "sample", record)
    return asked


@pytest.mark.parametrize("dual_shift", [False, True])
def test_every_class_has_every_style_as_often_but_where_tasks_have_their_own(drawn, dual_shift):
    styles = [STYLES.index(style) for style in (SHIFTS if dual_shift else RENDITIONS)]
    stream = signs_r(2, 3, 0, train=10, test=10, dual_shift=dual_shift)
    for part, labels in (("train", stream.labels), ("test", stream.test_labels)):
        shown, style, _ = drawn[part]
        assert len(set(zip(labels.tolist(), shown.tolist(), strict=True))) == 6  # a class is one sign
        for c in range(6):
            found = style[labels == c].tolist()
            if dual_shift and part == "train":
                assert found == [styles[c // 3]] * 10
            else:
                assert sorted(found) == sorted(styles * (10 // len(styles)))


def test_a_seed_decides_which_signs_come_in_which_order(drawn):
    orders = []
    for seed in (0, 0, 1):
        signs_r(5, 8, seed, train=1, test=1)
        orders.append(drawn["train"][0].tolist())
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2]) == list(range(40))


def test_too_many_classes_are_refused():
    with pytest.raises(ValueError, match="has 40 classes"):
        signs_r(11, 4, 0)


def test_batches_are_passes_over_the_task_alone_and_the_same_for_all(stream):
    drawn = batches(stream, 1, Budget(steps=6, batch=4), seed=3)
    assert drawn.shape == (6, 4)
    assert sorted(drawn.flatten()[:12].tolist()) == stream.rows(1).tolist()
    assert torch.equal(drawn, batches(stream, 1, Budget(steps=6, batch=4), seed=3))


# ---- measures


def logits_of(answers, classes):
    return F.one_hot(torch.tensor(answers), classes).float()


def test_where_the_answer_is_sought_changes_the_matrix():
    labels = torch.tensor([0, 1, 2, 3])  # two tasks of two classes
    first = torch.tensor([[5.0, 1, 9, 0], [1, 5, 0, 9], [0, 0, 5, 1], [0, 0, 5, 1]])
    last = torch.tensor([[5.0, 1, 9, 0], [6, 5, 0, 1], [0, 9, 5, 1], [0, 0, 1, 5]])
    logits = torch.stack([first, last])
    assert accuracy_matrix(logits, labels, 2, "seen").tolist() == [[100, 0], [0, 50]]
    assert accuracy_matrix(logits, labels, 2, "then").tolist() == [[100, 50], [50, 50]]
    assert accuracy_matrix(logits, labels, 2, "own").tolist() == [[100, 50], [50, 100]]


def test_both_definitions_of_forgetting_on_a_worked_example():
    matrix = torch.tensor([[90.0, 0, 0], [60, 80, 0], [50, 85, 70]])
    assert forgetting(matrix) == pytest.approx(((90 - 50) + 0) / 2)
    # i = 2: 1/2 (90 - 60); i = 3: 1/3 ((90 - 50) + (80 - 85))
    assert global_forgetting(matrix) == pytest.approx((30 / 2 + (40 - 5) / 3) / 2)
    assert local_forgetting(matrix) == pytest.approx(((50 - 90) + (85 - 80)) / 2)
    assert new_task(matrix) == pytest.approx((90 + 80 + 70) / 3)
    assert average_so_far(matrix).tolist() == pytest.approx([90, 70, (50 + 85 + 70) / 3])


def test_mistakes_are_split_by_task():
    wrong = mistakes(logits_of([0, 0, 0, 3], 4), torch.tensor([0, 1, 2, 3]), 2)
    assert (wrong.cross_task, wrong.within_task, wrong.recency) == (25, 25, -0.25)


def test_a_stream_is_scored_by_its_own_matrices_and_a_joint_learner_at_the_end_alone():
    stream = signs_r(2, 2, 0, train=1, test=1)
    first = torch.tensor([[5.0, 1, 9, 0], [1, 5, 0, 9], [0, 0, 5, 1], [0, 0, 5, 1]])
    last = torch.tensor([[5.0, 1, 9, 0], [6, 5, 0, 1], [0, 9, 5, 1], [0, 0, 1, 5]])
    outcome = Outcome()
    scores.score_stream(outcome, "ours", stream, torch.stack([first, last]))
    scores.score_stream(outcome, "joint", stream, last[None])
    found = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    ours = {metric: value for (method, metric), value in found.items() if method == "ours"}
    assert ours == {
        scores.AVERAGE: 25, scores.NAMED: 75, scores.CROSS: 50, scores.WITHIN: 25, scores.NEW: 75,
        scores.NEW_NAMED: 100, scores.FORGETTING: 100, scores.GLOBAL: 25, scores.LOCAL: -50,
    }  # fmt: skip
    joint = {metric: value for (method, metric), value in found.items() if method == "joint"}
    assert joint == {metric: ours[metric] for metric in (scores.AVERAGE, scores.NAMED, scores.CROSS, scores.WITHIN)}
    curves = {row["name"]: row["y"] for row in outcome.curves if row["method"] == "ours"}
    assert curves == {scores.SO_FAR: [100, 25], scores.WHEN_LEARNT: [100, 100], scores.AT_THE_END: [50, 100]}


def test_a_growing_label_space_is_no_forgetting():
    """A learner whose logits never change has none under "then", whatever new classes attract."""
    logits = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)).expand(3, -1, -1)
    labels = torch.arange(40) % 6
    assert global_forgetting(accuracy_matrix(logits, labels, 2, "then")) == pytest.approx(0, abs=1e-5)
    assert local_forgetting(accuracy_matrix(logits, labels, 2, "own")) == pytest.approx(0, abs=1e-5)
    assert forgetting(accuracy_matrix(logits, labels, 2, "seen")) > 0


# ---- the loss and the head


def test_the_loss_is_the_softmax_with_all_other_classes_at_minus_infinity():
    logits = torch.randn(5, 6, requires_grad=True)
    labels, own = torch.tensor([2, 3, 2, 2, 3]), slice(2, 4)
    loss = task_cross_entropy(logits, labels, own)
    allowed = torch.zeros(6, dtype=torch.bool)
    allowed[own] = True
    assert loss.item() == pytest.approx(F.cross_entropy(masked_logits(logits, allowed), labels).item(), rel=1e-6)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient[:, ~allowed] == 0).all()


@pytest.mark.parametrize("method", ["head", "one", "dual", "l2p", "coda"])
def test_old_rows_of_the_head_stay_bit_for_bit(method, vit, stream, encoded):
    prompt = {
        "head": None,
        "one": OnePrompt({1: 2, 2: 4}, WIDTH, 0.5, 0),
        "dual": DualPrompt(3, 2, 4, (1,), (2,), WIDTH, 0.5, 0),
        "l2p": L2P(4, 2, 2, BLOCKS, WIDTH, 0.5, 0),
        "coda": coda(),
    }[method]
    learner = Prompted(vit, prompt, stream, encoded)
    kept = []
    end = learner.end
    learner.end = lambda task: (kept.append(learner.head.weight.detach().clone()), end(task))
    before = {name: weight.clone() for name, weight in vit.state_dict().items()}
    learn_stream(learner, stream, Budget(2, 4), 0.1, 0)
    assert torch.equal(kept[0][:2], kept[2][:2])
    assert not torch.equal(kept[0][2:4], kept[1][2:4])
    assert all(torch.equal(before[name], weight) for name, weight in vit.state_dict().items())


def test_tokens_kept_at_a_block_give_the_features_of_the_whole_network(vit, stream, encoded):
    prompt = OnePrompt({1: 2, 2: 4}, WIDTH, 0.5, 0)
    learner = Prompted(vit, prompt, stream, encoded)
    given, _ = prompt(encoded.test_query)
    assert torch.allclose(learner.test_features(), vit.features(stream.test_images, given), atol=1e-5)
    assert torch.allclose(encoded.query, vit.features(stream.images), atol=1e-5)


def test_nearest_means_are_never_trained_and_never_forget(stream, encoded):
    logits = nearest_mean(encoded, stream)
    assert logits.shape == (3, len(stream.test_labels), 6)
    own = accuracy_matrix(logits, stream.test_labels, 2, "own")
    assert local_forgetting(own) == 0
    mean = encoded.query[stream.labels == 4].mean(0)
    assert logits[1, 3, 4] == pytest.approx(-(encoded.test_query[3] - mean).norm().item(), rel=1e-4)


def test_fine_tuning_leaves_the_base_model_alone_and_hides_all_other_classes(vit, stream):
    learner = FineTuned(vit, stream)
    learner.start(1)
    gradient = torch.autograd.grad(learner.loss(stream.rows(1)[:4], 1), learner.vit.head.weight)[0]
    assert (gradient[:2] == 0).all()
    assert (gradient[4:] == 0).all()
    assert not any(p.requires_grad for p in vit.parameters())


# ---- prompts


def test_a_prefix_is_half_keys_half_values():
    prompt = torch.arange(2 * 4 * 3.0).view(2, 4, 3)
    keys, values = prefixes((7,), [prompt])[7]
    assert torch.equal(keys, prompt[:, :2])
    assert torch.equal(values, prompt[:, 2:])


def test_components_are_weighted_by_the_attended_cosine():
    prompt, q = coda(), queries()
    prompt.start(0)
    prompt.start(1)
    given, side = prompt(q)
    alpha = torch.empty(5, 4)
    for b in range(5):
        for m in range(4):
            alpha[b, m] = F.cosine_similarity(q[b] * prompt.attention[1, m], prompt.keys[1, m], dim=0)
    expected = torch.einsum("bm,mn->bn", alpha, prompt.components[1, :4]).view(5, 4, WIDTH)
    assert torch.allclose(torch.cat(given[2], 1), expected, atol=1e-6)
    assert side == 0
    assert (alpha < 0).any()  # signed, and no softmax


def test_new_components_are_orthonormal_and_orthogonal_to_trained_old_ones():
    prompt = coda()
    prompt.start(0)
    with torch.no_grad():  # as training leaves them: neither orthogonal nor of norm 1
        for bank in (prompt.components, prompt.keys, prompt.attention):
            bank[:, :2] += torch.randn_like(bank[:, :2])
    prompt.start(1)
    for bank in (prompt.components, prompt.keys, prompt.attention):
        old, new = bank[:, :2], bank[:, 2:4]
        assert torch.allclose(new @ new.mT, torch.eye(2).expand(2, 2, 2), atol=1e-5)
        assert torch.allclose(new @ old.mT, torch.zeros(2, 2, 2), atol=1e-5)
        assert (bank[:, 4:] == 0).all()


def test_gram_schmidt_keeps_what_is_orthogonal_already():
    new = torch.tensor([[0.0, 0, 3], [0, 2, 5]])
    made = gram_schmidt(new, torch.tensor([[2.0, 0, 0]]))
    assert torch.allclose(made, torch.tensor([[0.0, 0, 1], [0, 1, 0]]), atol=1e-6)


def test_old_components_act_but_do_not_learn(vit, stream, encoded):
    prompt = coda()
    learner = Prompted(vit, prompt, stream, encoded)
    kept = {}
    end = learner.end
    banks = ("components", "keys", "attention")
    learner.end = lambda task: (kept.update({(task, n): getattr(prompt, n).detach().clone() for n in banks}), end(task))
    learn_stream(learner, stream, Budget(2, 4), 0.05, 0)
    for name in banks:
        assert torch.equal(kept[0, name][:, :2], kept[2, name][:, :2])
        assert not torch.equal(kept[1, name][:, 2:4], torch.zeros_like(kept[1, name][:, 2:4]))
    prompt.eval()
    full, _ = prompt(queries())
    with torch.no_grad():
        prompt.components[:, :2] = 0
    assert not torch.allclose(full[1][0], prompt(queries())[0][1][0])


def test_the_loss_reaches_keys_and_attention_of_coda_and_no_key_of_a_pool(vit, stream, encoded):
    def gradients(prompt):
        learner = Prompted(vit, prompt, stream, encoded)
        learner.start(0)
        torch.nn.init.normal_(learner.head.weight)  # a head of zeros passes nothing on
        rows = stream.rows(0)[:4]
        features, _ = learner.features(encoded.tokens[rows], encoded.query[rows])
        loss = task_cross_entropy(learner.head(features), stream.labels[rows], stream.own(0))
        return dict(
            zip(
                [n for n, _ in prompt.named_parameters()],
                torch.autograd.grad(loss, list(prompt.parameters()), allow_unused=True),
                strict=True,
            )
        )

    found = gradients(coda())
    assert all(found[name].abs().sum() > 0 for name in ("components", "keys", "attention"))
    for pool in (DualPrompt(3, 2, 4, (1,), (2,), WIDTH, 0.5, 0), L2P(4, 2, 2, BLOCKS, WIDTH, 0.5, 0)):
        assert gradients(pool)["keys"] is None or gradients(pool)["keys"].abs().sum() == 0


def test_dual_prompt_takes_the_task_in_training_and_the_nearest_key_afterwards():
    prompt, q = DualPrompt(3, 2, 4, (1,), (2,), WIDTH, 0.5, 0), queries()
    prompt.start(2)
    given, side = prompt.train()(q)
    assert torch.equal(torch.cat(given[2], 1), prompt.experts[0, 2].expand(5, -1, -1))
    assert side.item() == pytest.approx(
        (1 - F.cosine_similarity(q, prompt.keys[0, 2, None], dim=-1)).mean().item(), abs=1e-6
    )
    nearest = F.cosine_similarity(q[:, None], prompt.keys[0][None], dim=-1).argmax(1)
    given, side = prompt.eval()(q)
    assert torch.equal(torch.cat(given[2], 1), prompt.experts[0, nearest])
    assert torch.equal(torch.cat(given[1], 1), prompt.general[0].expand(5, -1, -1))
    assert side == 0
    prompt.start(0)
    assert (prompt.chosen(q) == 0).all()  # experts of tasks to come are not there yet


def test_l2p_takes_each_pictures_own_nearest_keys():
    prompt, q = L2P(5, 4, 2, (1,), WIDTH, 0.5, 0), queries()
    (keys, values), side = prompt(q)[0][1], prompt(q)[1]
    cosines, total = F.cosine_similarity(q[:, None], prompt.keys[0][None], dim=-1), 0.0
    for b in range(5):
        best = cosines[b].argsort(descending=True)[:2]
        assert torch.equal(keys[b], torch.cat([prompt.pool[0, i, :2] for i in best]))
        assert torch.equal(values[b], torch.cat([prompt.pool[0, i, 2:] for i in best]))
        total += (1 - cosines[b, best]).sum() / 5
    assert side.item() == pytest.approx(total.item(), abs=1e-5)
    assert L2P(5, 4, 2, (1,), WIDTH, 0.5, 0)(q[:1])[0][1][0].shape == (1, 4, WIDTH)  # not mixed with other pictures


def test_one_prompt_is_the_same_for_all_pictures_and_needs_no_query(vit, stream, encoded):
    prompt = OnePrompt({1: 2, 2: 4}, WIDTH, 0.5, 0)
    given, _ = prompt(queries())
    assert prompt.passes == 1
    for keys, values in given.values():
        assert (keys == keys[:1]).all()
        assert (values == values[:1]).all()
    other, _ = prompt(-queries())
    assert torch.equal(given[2][0], other[2][0])


def test_components_must_fit_the_tasks_and_the_width():
    with pytest.raises(ValueError, match="multiple of 4 tasks"):
        coda(tasks=4)
    with pytest.raises(ValueError, match="at most the width 16"):
        coda(components=18)


def test_every_learner_starts_with_a_head_of_zeros(vit, stream, encoded):
    for learner in (Prompted(vit, None, stream, encoded), Prompted(vit, coda(), stream, encoded)):
        assert not any(p.any() for p in learner.head.parameters())
    assert not any(p.any() for p in FineTuned(vit, stream).vit.head.parameters())


# ---- the methods at one size


def test_pools_get_as_many_parameters_as_components():
    def parameters(method, tasks, components):
        return sum(p.numel() for p in arms.make_prompt(method, tasks, 0, components).parameters())

    for tasks, components in ((5, 40), (20, 40), (5, 5), (5, 60)):
        wanted = pytest.approx(parameters(arms.CODA, tasks, components), rel=0.1)
        assert parameters(arms.DUAL, tasks, components) == wanted
        assert parameters(arms.L2PP, tasks, components) == wanted
    assert parameters(arms.ONE, 5, 40) < parameters(arms.CODA, 5, 40) / 20


def test_each_method_learns_the_worlds_stream_at_its_own_rate(monkeypatch):
    asked = []

    def record(learner, stream, budget, lr, seed):
        asked.append((type(getattr(learner, "prompt", learner)).__name__, len(stream), budget, lr, seed))
        return torch.zeros(1)

    monkeypatch.setattr(arms, "learn_stream", record)
    world = arms.open_world(3, tasks=2, ways=2, train=2, test=2)
    budget = Budget(3, 4)
    kinds = {
        arms.CODA: "CodaPrompt", arms.DUAL: "DualPrompt", arms.L2PP: "L2P", arms.ONE: "OnePrompt",
        arms.HEAD: "NoneType", arms.FTPP: "FineTuned",
    }  # fmt: skip
    for method, kind in kinds.items():
        arms.learn(method, world, budget, 3)
        assert asked.pop() == (kind, 2, budget, arms.RATES[method], 3)
    arms.learn(arms.CODA, world.joint(), budget, 3, rate=0.5)
    assert asked.pop() == ("CodaPrompt", 1, budget, 0.5, 3)
    arms.learn(arms.MEAN, world, budget, 3)
    assert not asked
