"""The losses, the penalties and the Fisher information, what each arm trains and keeps, CKA, and a fair comparison."""

import copy
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stages import zoo
from stages.evidence import measured, tidy_scores
from stages.models import ViT
from stages.papers.continual import rehearsal_free as paper
from stages.papers.continual.common import regularised
from stages.papers.continual.common.arms import WIDTH
from stages.papers.continual.common.loop import Budget, FineTuned, learn_stream, new_head
from stages.papers.continual.common.metrics import accuracy_matrix
from stages.papers.continual.common.regularised import (
    LOSSES,
    Arm,
    Penalty,
    Regularised,
    bce_current,
    bce_kd,
    masked_softmax,
    sampled_fisher,
    softmax_kd,
)
from stages.papers.continual.power_law_rehearsal.learners import EWC, diagonal_fisher
from stages.papers.continual.rehearsal_free import PAPER, first_tasks, learn, run, split_digits
from stages.seeding import rng, torch_rng
from stages.training import StackedMLP

COMPARISONS = [*PAPER.claims, *PAPER.also]

SMALL = Budget(2, 4)
FULL = PAPER.profiles["full"]
OWN, LABELS = slice(2, 4), torch.tensor([2, 3, 3, 2, 3])


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """A handful of pictures for the Fisher information: one gradient each takes its time."""
    monkeypatch.setattr(regularised, "FISHER", 4)


@pytest.fixture(scope="module")
def vit():
    torch.manual_seed(0)
    body = ViT(width=16, depth=2, heads=2).requires_grad_(False)
    body.head = nn.Identity()
    return body


def random_logits(classes=6, seed=0):
    return torch.randn(5, classes, generator=torch.Generator().manual_seed(seed)).requires_grad_(True)


def scribbles(classes, labels, seed, *, stream, **drawing):
    """Noise in the place of written characters, which take long to draw."""
    return torch.from_numpy(rng(seed, *stream).random((len(labels), 1, 20, 20), dtype=np.float32))


def body_of(learner):
    return {name: w.detach().clone() for name, w in learner.body.named_parameters()}


def value(penalty):
    return penalty.item() if isinstance(penalty, torch.Tensor) else penalty


# ---- losses


def test_bce_with_distillation_is_a_sum_over_classes_and_a_mean_over_pictures():
    logits, teacher = random_logits(), random_logits(seed=1)
    total = 0.0
    for b, label in enumerate(LABELS):
        for k in range(4):
            target = teacher[b, k].sigmoid() if k < 2 else (label == k).float()
            p = logits[b, k].sigmoid()
            total -= target * p.log() + (1 - target) * (1 - p).log()
    assert bce_kd(logits, LABELS, OWN, teacher).item() == pytest.approx(total.item() / 5, rel=1e-5)


def test_each_sigmoid_gets_its_own_gradient_however_many_classes_there_are():
    """(σ(z) - target) / B: a mean over classes would shrink it as classes are added."""
    logits, teacher = random_logits(), random_logits(seed=1)
    (gradient,) = torch.autograd.grad(bce_kd(logits, LABELS, OWN, teacher), logits)
    target = F.one_hot(LABELS, 6).float()
    target[:, :2] = teacher[:, :2].sigmoid()
    expected = (logits.sigmoid() - target) / 5
    assert torch.allclose(gradient[:, :4], expected[:, :4], atol=1e-6)
    assert (gradient[:, 4:] == 0).all()  # classes to come


def test_a_network_like_its_teacher_is_left_alone_on_old_classes_and_without_teacher_pushed_down():
    logits = random_logits()
    (held,) = torch.autograd.grad(bce_kd(logits, LABELS, OWN, logits.detach()), logits)
    assert held[:, :2].abs().max() < 1e-7
    (free,) = torch.autograd.grad(bce_kd(logits, LABELS, OWN), logits)
    assert (free[:, :2] > 0).all()  # a step against it lowers every old logit


def test_the_softmax_form_has_its_closed_gradient_on_the_old_classes():
    """∂/∂z_old = (softmax(z)_old + T (p_student - p_teacher)) / B, p at temperature T: T² keeps the size of PredKD."""
    logits, teacher, heat = random_logits(), random_logits(seed=1), 2.0
    (gradient,) = torch.autograd.grad(softmax_kd(logits, LABELS, OWN, teacher, heat), logits)
    pulled = heat * ((logits[:, :2] / heat).softmax(-1) - (teacher[:, :2] / heat).softmax(-1))
    assert torch.allclose(gradient[:, :2], (logits[:, :4].softmax(-1)[:, :2] + pulled) / 5, atol=1e-6)
    shifted = softmax_kd(logits, LABELS, OWN, teacher + 3.0, heat)
    assert shifted.item() == pytest.approx(softmax_kd(logits, LABELS, OWN, teacher, heat).item(), rel=1e-5)


def test_the_sigmoid_form_holds_the_level_of_old_logits_and_the_softmax_form_does_not():
    """Why C3c: a teacher's softmax among old classes says nothing about old against new."""
    teacher = random_logits(seed=1).detach()
    lowered = teacher - torch.tensor([4.0, 4, 0, 0, 0, 0])
    for loss, blind in ((softmax_kd, True), (bce_kd, False)):
        own = slice(2, 2)  # no new class: only the distillation is left
        labels = torch.zeros(5, dtype=torch.long)
        kept, lost = (loss(z, labels, own, teacher) - loss(z, labels, own) for z in (teacher, lowered))
        if blind:
            assert lost.item() == pytest.approx(kept.item(), abs=1e-4)
        else:
            assert loss(lowered, labels, own, teacher) > loss(teacher, labels, own, teacher) + 0.5


@pytest.mark.parametrize("loss", [bce_kd, softmax_kd])
def test_no_gradient_reaches_the_teacher(loss):
    logits, teacher = random_logits(), random_logits(seed=1)
    loss(logits, LABELS, OWN, teacher).backward()
    assert teacher.grad is None


@pytest.mark.parametrize("loss", [bce_current, masked_softmax])
def test_losses_on_current_classes_leave_old_rows_alone(loss):
    logits = random_logits()
    (gradient,) = torch.autograd.grad(loss(logits, LABELS, OWN), logits)
    assert (gradient[:, [0, 1, 4, 5]] == 0).all()
    assert (gradient[:, 2:4] != 0).all()


def test_bce_on_current_classes_is_bce_in_the_first_task():
    logits, labels = random_logits(), LABELS - 2
    assert torch.equal(bce_current(logits, labels, slice(0, 2)), bce_kd(logits, labels, slice(0, 2)))


# ---- penalties


def test_the_penalty_is_a_sum_over_weights_with_a_closed_gradient():
    torch.manual_seed(0)
    weights = [nn.Parameter(torch.randn(3, 4)), nn.Parameter(torch.randn(5))]
    penalty, importance = Penalty(weights), [torch.rand(3, 4), torch.rand(5)]
    assert penalty() == 0.0
    penalty.move(importance)
    assert penalty().item() == 0.0  # at its anchor
    with torch.no_grad():
        for w in weights:
            w += torch.randn_like(w)
    moved = [w.detach() - a for w, a in zip(weights, penalty.anchor, strict=True)]
    assert penalty().item() == pytest.approx(
        sum((f * m**2).sum().item() for f, m in zip(importance, moved, strict=True)), rel=1e-5
    )
    gradients = torch.autograd.grad(penalty(), weights)
    for g, f, m in zip(gradients, importance, moved, strict=True):
        assert torch.allclose(g, 2 * f * m)


def test_for_one_past_task_it_is_the_chapters_ewc_with_half_the_strength():
    torch.manual_seed(0)
    model, images = StackedMLP((6, 8, 4), [0]), torch.rand(10, 6)
    other = EWC(model, torch.tensor([3.0]))
    penalty = Penalty(list(model.parameters()))
    other.end_task(images)
    penalty.move([1.5 * f for f in diagonal_fisher(model, images)])
    with torch.no_grad():
        for w in model.parameters():
            w += 0.1 * torch.randn_like(w)
    expected = torch.autograd.grad(penalty(), list(model.parameters()))
    for w in model.parameters():
        w.grad = torch.zeros_like(w)
    other.add_gradient()
    assert all(torch.allclose(w.grad, e, atol=1e-6) for w, e in zip(model.parameters(), expected, strict=True))


def test_ewc_has_one_anchor_and_a_running_sum_of_fisher_information(vit, stream, monkeypatch):
    learner = Regularised(vit, stream, Arm(0.01, distil=True, penalty="EWC", strength=2.0), 0)
    known = [[torch.full_like(w, 10.0**task) for w in learner.weights.values()] for task in range(3)]
    monkeypatch.setattr(learner, "information", lambda task: known[task])
    sums = []
    end = learner.end
    learner.end = lambda task: (end(task), sums.append(learner.penalty.importance[0].unique().item()))
    learn_stream(learner, stream, SMALL, 0.01, 0)
    assert sums == [2, 22, 222]
    assert all(
        torch.equal(a, w.detach()) for a, w in zip(learner.penalty.anchor, learner.weights.values(), strict=True)
    )


def test_l2_acts_in_task_one_from_a_pretrained_start_only_and_ewc_only_with_an_anchor_of_its_own(vit, stream):
    plain = Arm(0.01, distil=True)
    held = paper.held(replace(plain, penalty="L2"), 0.5)
    free = paper.held(replace(plain, penalty="L2", random=True), 0.5)
    ewc = replace(plain, penalty="EWC", strength=7.0)
    for arm, first, later in (
        (held, 0.5, 0.5),
        (free, 0.0, 0.5),
        (ewc, 0.0, None),
        (replace(ewc, first=0.5), 0.5, None),
    ):
        learner = Regularised(vit, stream, arm, 0)
        nn.init.normal_(learner.head.weight)
        start = body_of(learner)
        with torch.no_grad():
            for w in learner.weights.values():
                w += 0.1
        expected = first * sum(0.01 * w.numel() for w in start.values())
        assert value(learner.penalty()) == pytest.approx(expected, rel=1e-3)
        learner.end(0)
        if later is None:  # the pull to the start is over: what is left is Fisher information alone
            fisher = learner.information(0)
            assert all(torch.allclose(i, 7 * f) for i, f in zip(learner.penalty.importance, fisher, strict=True))
        else:
            assert all((i == later).all() for i in learner.penalty.importance)
        assert value(learner.penalty()) == 0.0


def test_the_head_is_not_penalised(vit, stream):
    learner = Regularised(vit, stream, paper.held(Arm(0.01, penalty="L2"), 1.0), 0)
    with torch.no_grad():
        learner.head.weight += 1
    assert value(learner.penalty()) == 0.0


# ---- Fisher information


@pytest.mark.parametrize("loss", ["bce", "softmax", "masked"])
def test_fisher_information_is_the_mean_square_of_single_pictures_gradients(vit, stream, loss, monkeypatch):
    learner = Regularised(vit, stream, Arm(0.01, loss, trained="qkv"), 0)
    nn.init.normal_(learner.head.weight)  # a head of zeros has no gradient to pass on
    got, asked = learner.information(1), slice(2, 4) if loss == "masked" else slice(0, 4)
    rows = learner._some(stream.rows(1), 4, "fisher", 1)
    chance = torch_rng(0, "answers", 1)
    logits = learner.head(learner.body(stream.images[rows]))[:, asked].detach()
    if loss == "bce":
        drawn = torch.bernoulli(logits.sigmoid(), generator=chance)
    else:
        drawn = F.one_hot(torch.multinomial(logits.softmax(-1), 1, generator=chance)[:, 0], logits.shape[1])
    expected = [torch.zeros_like(w) for w in learner.weights.values()]
    for image, y in zip(stream.images[rows], drawn, strict=True):
        z = learner.head(learner.body(image[None]))[0, asked]
        p = z.sigmoid()
        log_p = (y * p.log() + (1 - y) * (1 - p).log()).sum() if loss == "bce" else (y * z.log_softmax(-1)).sum()
        for e, g in zip(expected, torch.autograd.grad(log_p, list(learner.weights.values())), strict=True):
            e += g**2 / 4
    assert all(torch.allclose(g, e, rtol=1e-3, atol=1e-9) for g, e in zip(got, expected, strict=True))
    assert any(g.max() > 0 for g in got)


def test_drawn_answers_estimate_the_chapters_exact_fisher_information():
    torch.manual_seed(0)
    model = StackedMLP((6, 8, 3), [0])
    alone, image = model.member(0), torch.rand(1, 6)
    exact = diagonal_fisher(model, image)[0][0].T  # the first layer's weights, as `nn.Linear` has them

    def answer(weights, images):
        return torch.func.functional_call(alone, weights, (images,))

    chance = torch.Generator().manual_seed(0)
    drawn = sampled_fisher(answer, {"0.weight": alone[0].weight.detach()}, image.expand(6000, -1), False, chance)[0]
    assert torch.allclose(drawn, exact, rtol=0.1, atol=exact.max().item() / 100)


# ---- the learner


def test_learners_of_a_seed_start_alike_from_a_copy_of_the_body(vit, stream):
    arms = Arm(0.1), Arm(0.2, "softmax", distil=True), Arm(0.1, "masked", trained="qkv")
    learners = [Regularised(vit, stream, arm, 4) for arm in arms]
    assert all(torch.equal(w, body_of(learner)[name]) for learner in learners for name, w in vit.named_parameters())
    assert torch.equal(learners[0].head.weight, learners[1].head.weight)
    assert not torch.equal(learners[0].head.weight, Regularised(vit, stream, arms[0], 5).head.weight)
    chapter = new_head(ViT(width=16, depth=2, heads=2), stream.classes)  # under the masked softmax, that of the prompts
    assert torch.equal(learners[2].head.weight, chapter.weight)
    assert torch.equal(learners[2].head.bias, chapter.bias)
    with torch.no_grad():
        next(learners[0].body.parameters()).add_(1)
    assert not torch.equal(next(vit.parameters()), next(learners[0].body.parameters()))


def test_without_penalty_and_teacher_it_is_the_chapters_fine_tuning(stream):
    torch.manual_seed(1)
    whole = ViT(width=16, depth=2, heads=2)
    body = ViT(width=16, depth=2, heads=2)
    body.load_state_dict(whole.state_dict())
    body.head = nn.Identity()
    learner = Regularised(body, stream, Arm(0.01, "masked"), 0)
    mine = learn_stream(learner, stream, SMALL, 0.01, 0)
    theirs = learn_stream(FineTuned(whole, stream, hide=True), stream, SMALL, 0.01, 0)
    assert torch.allclose(mine, theirs, atol=1e-5)


def test_qkv_alone_trains_the_projections_of_every_block_and_the_head(vit, stream):
    learner = Regularised(vit, stream, replace(FULL.shapes[paper.QKV_L2], lr=0.01), 0)
    before, head = body_of(learner), learner.head.weight.detach().clone()
    assert sorted(learner.weights) == sorted(n for n in before if ".attention.qkv." in n)
    assert len(learner.weights) == 2 * len(vit.blocks)
    learn_stream(learner, stream, SMALL, 0.01, 0)
    after = body_of(learner)
    assert {n for n in before if not torch.equal(before[n], after[n])} == set(learner.weights)
    assert not torch.equal(head, learner.head.weight)


def test_a_head_alone_leaves_no_weight_to_penalise():
    assert Regularised(nn.Identity(), split_digits(0), Arm(0.1, trained="head"), 0).weights == {}


def test_the_teacher_is_the_network_of_the_last_task_and_stays_as_it_was(vit, stream):
    learner = Regularised(vit, stream, Arm(0.05, distil=True), 0)
    first = learn_stream(learner, first_tasks(stream, 1), SMALL, 0.05, 0)[0]
    body, head = learner.teacher
    at_first = head(body(stream.test_images[:4])).detach().clone()
    assert torch.allclose(at_first, first[:4], atol=1e-6)
    learner.start(1)
    learner.loss(stream.rows(1)[:4], 1).backward()
    with torch.no_grad():
        for w in learner.start(1):
            w -= 0.1 * w.grad
    assert torch.equal(head(body(stream.test_images[:4])), at_first)
    assert all(w.grad is None for w in (*body.parameters(), *head.parameters()))


def test_distillation_pulls_nothing_before_the_new_task_has_moved_the_network(vit, stream):
    learner = Regularised(vit, stream, Arm(0.05, distil=True), 0)
    learn_stream(learner, first_tasks(stream, 1), SMALL, 0.05, 0)
    (gradient,) = torch.autograd.grad(learner.loss(stream.rows(1)[:4], 1), learner.head.weight)
    assert gradient[:2].abs().max() < 1e-6
    assert gradient[2:4].abs().max() > 1e-3
    assert (gradient[4:] == 0).all()


def test_feature_distillation_is_the_squared_distance_to_the_last_tasks_features(vit, stream):
    arm = Arm(0.05, penalty="FeatKD", strength=3.0)
    learner, rows = Regularised(vit, stream, arm, 0), stream.rows(1)[:4]
    plain = Regularised(vit, stream, replace(arm, penalty=""), 0)
    assert torch.equal(learner.loss(stream.rows(0)[:4], 0), plain.loss(stream.rows(0)[:4], 0))  # none in task 1
    learner.end(0)
    assert torch.allclose(learner.loss(rows, 1), plain.loss(rows, 1))
    before = vit(stream.images[rows])
    with torch.no_grad():
        for one, other in zip(learner.weights.values(), plain.weights.values(), strict=True):
            one += 0.01
            other += 0.01
    distance = (learner.body(stream.images[rows]) - before).square().sum() / 4
    assert (learner.loss(rows, 1) - plain.loss(rows, 1)).item() == pytest.approx(3 * distance.item(), rel=1e-3)


def test_replay_shows_kept_pictures_of_old_classes_and_only_from_task_two_on(vit, stream):
    learner = Regularised(vit, stream, Arm(0.05, replay=2), 0)
    assert [len(rows) for rows in learner.kept] == [2] * 6
    assert all((stream.labels[rows] == c).all() for c, rows in enumerate(learner.kept))
    shown = learner._with_old(stream.rows(2)[:8], 2)
    assert len(shown) == 8
    assert (stream.labels[shown[:4]] >= 4).all()
    assert set(shown[4:].tolist()) <= set(torch.cat(learner.kept[:4]).tolist())
    other = Regularised(vit, stream, Arm(0.05), 0)
    assert torch.equal(learner.loss(stream.rows(0)[:4], 0), other.loss(stream.rows(0)[:4], 0))


def test_joint_training_takes_as_many_updates_on_all_classes_at_once(vit, stream):
    taken = []

    class Counted(nn.Identity):
        def forward(self, x):
            if torch.is_grad_enabled():
                taken.append(len(x))
            return x.flatten(1)

    for joint in (True, False):
        taken.clear()
        logits = learn(Arm(0.01, joint=joint), Counted(), stream, SMALL, 0)[1]
        assert taken == [4] * 6
        assert len(logits) == (1 if joint else 3)


def test_what_is_kept_beside_the_network_is_counted(vit, stream):
    size = sum(w.numel() for w in vit.parameters())
    head = 16 * 6 + 6
    qkv = sum(w.numel() for n, w in vit.named_parameters() if "attention.qkv" in n)

    def of(**arm):
        learner = Regularised(vit, stream, Arm(0.1, **arm), 0)
        return learner.trained, learner.copies

    assert of() == (size + head, 0)
    assert of(distil=True, penalty="L2") == (size + head, 2 * size + head)
    assert of(loss="masked", penalty="L2", trained="qkv") == (qkv + head, qkv)
    assert of(loss="masked", penalty="EWC", trained="qkv") == (qkv + head, 2 * qkv)
    assert of(replay=2) == (size + head, 6 * 2 * 3 * 32 * 32)


# ---- CKA


def test_representations_are_those_after_each_relu_and_the_logits_of_the_first_classes():
    stream = split_digits(0)
    learner = Regularised(paper.perceptron(0), stream, Arm(0.1), 0)
    nn.init.normal_(learner.head.weight)
    first, second, logits = learner.representations()
    shown = stream.test_images[stream.test_labels < 2]
    assert torch.allclose(first, learner.body[0](shown).relu())
    assert torch.allclose(second, learner.body(shown))
    assert torch.allclose(logits, learner.head(learner.body(shown))[:, :2])


# ---- the experiment


def test_split_digits_are_two_new_digits_a_task_in_an_order_of_the_seed():
    stream = split_digits(3)
    assert len(stream) == 5
    assert sorted(stream.names) == list("0123456789")
    assert stream.names != split_digits(4).names
    assert torch.equal(stream.images, split_digits(4).images)  # the same split for every seed
    world = paper.digits.load()
    assert [stream.names[label] for label in stream.labels[:50]] == [str(d) for d in world.train_labels[:50].tolist()]


def test_a_prefix_of_a_stream_shows_nothing_of_later_tasks(stream):
    cut = first_tasks(stream, 2)
    assert len(cut) == 2
    assert cut.names == stream.names[:4]
    assert len(cut.labels) == 24
    assert cut.labels.max() == cut.test_labels.max() == 3


def test_compared_arms_differ_in_what_their_names_say_alone():
    def differ(one, other):
        a, b = asdict(one), asdict(other)
        return {name for name in a if a[name] != b[name]}

    shapes, digits, glyphs = FULL.shapes, FULL.digits, FULL.glyphs
    penal = {"penalty", "strength", "first"}
    for start in (str, paper.at_random):
        plain = glyphs[start(paper.KD)]
        for name in (paper.L2, paper.EWC, paper.FEAT):
            assert differ(plain, glyphs[start(name)]) <= penal
    assert differ(glyphs[paper.KD], glyphs[paper.at_random(paper.KD)]) <= {"random", "lr"}
    assert differ(glyphs[paper.EWC], glyphs[paper.ANCHORED]) == {"first"}
    assert glyphs[paper.ANCHORED].first == glyphs[paper.L2].strength
    for name in (paper.QKV_L2, paper.QKV_EWC):
        assert differ(shapes[paper.QKV], shapes[name]) <= penal
        assert shapes[name].loss == "masked"
    for penalty in paper.PENALTIES:
        alone, both = digits[f"{penalty} alone"], digits[f"{paper.KD}+{penalty}"]
        assert differ(alone, both) <= {"distil", "strength"}
        assert alone.strength > 0
        assert both.strength > 0
    assert differ(digits[paper.KD], digits[f"{paper.SOFT}, {paper.KD}"]) == {"loss"}
    assert all(arm.loss in LOSSES for arms in (shapes, digits, glyphs) for arm in arms.values())
    assert all(arm.random for arm in digits.values())


def test_strengths_lie_on_the_grid_of_their_penalty():
    for arm in (*FULL.digits.values(), *FULL.glyphs.values(), *FULL.shapes.values()):
        assert not arm.penalty or arm.strength in paper.GRIDS[arm.penalty]
    assert len({len(grid) for grid in paper.GRIDS.values()}) == 1


@pytest.fixture
def tiny(monkeypatch):
    """Random weights as base models: what is tested holds for any."""
    torch.manual_seed(0)
    vit = ViT(width=WIDTH, depth=4, heads=2, stem="convolution").requires_grad_(False)
    recipe = zoo.find("glyph_conv4")
    base = {"vit_p8": vit, "glyph_conv4": recipe.build(recipe.settings).requires_grad_(False)}
    monkeypatch.setattr(zoo, "load", lambda name: copy.deepcopy(base[name]))
    monkeypatch.setattr(paper.glyphs, "write", scribbles)
    one = Budget(1, 4)
    return replace(
        FULL,
        ways=2,
        train=5,
        test=5,
        budget=one,
        digits_budget=one,
        glyph_budget=one,
        lambdas=(0.5,),
        glyph_train=2,
        glyph_test=1,
    )


def found(outcome):
    return {(row["method"], row["metric"]): row["value"] for row in outcome.scores}


def test_a_whole_run_measures_every_claim_and_is_pure(tiny):
    outcome = run(tiny, 0)
    assert measured(COMPARISONS, tidy_scores({0: outcome})) == COMPARISONS
    again, kept = found(run(replace(tiny, digits={}, prompts=(), lambdas=()), 0)), found(outcome)
    assert again
    assert all(kept[name] == value for name, value in again.items())


def test_an_arms_numbers_do_not_depend_on_the_other_arms(tiny):
    every = found(run(replace(tiny, digits={}, shapes={}, prompts=(), lambdas=()), 0))
    alone = {paper.EWC: FULL.glyphs[paper.EWC]}
    few = found(run(replace(tiny, digits={}, shapes={}, prompts=(), lambdas=(), glyphs=alone), 0))
    assert (paper.EWC, paper.ACCURACY) in few
    assert all(every[name] == value for name, value in few.items())


def test_claims_over_several_methods_read_the_scores_they_name(tiny):
    scores = found(run(replace(tiny, shapes={}, prompts=(), lambdas=()), 0))
    assert scores[paper.WITHOUT, f"{paper.ACCURACY} [EWC]"] == scores["EWC alone, digits", paper.ACCURACY]
    assert scores[paper.WITH, f"{paper.ACCURACY} [L2]"] == scores["PredKD+L2, digits", paper.ACCURACY]
    assert scores[paper.WITHOUT, f"{paper.BEYOND} [L2]"] == scores["L2 alone, digits", paper.ACCURACY] - 20
    both = scores["PredKD, random start", paper.NEW] + scores["PredKD, random start", paper.FELL]
    assert scores[paper.RANDOM, f"{paper.PLASTIC} [PredKD]"] == both


def test_the_recorded_matrix_is_the_one_the_scores_come_from(tiny):
    alone = {paper.KD: FULL.glyphs[paper.KD]}
    outcome = run(replace(tiny, digits={}, shapes={}, prompts=(), lambdas=(), glyphs=alone), 0)
    curves = {c["name"]: c["y"] for c in outcome.curves if c["method"] == paper.KD}
    matrix, scores = torch.tensor(curves["accuracy matrix"]).view(5, 5), found(outcome)
    assert scores[paper.KD, paper.ACCURACY] == pytest.approx(matrix[-1].mean().item())
    assert scores[paper.KD, paper.NEW] == pytest.approx(matrix.diagonal().mean().item())
    assert len(curves["CKA by depth"]) == 5  # four convolutions and the logits
    assert min(curves["CKA by depth"]) >= 0
    assert max(curves["CKA by depth"]) <= 1 + 1e-5


def test_both_starts_have_one_shape_and_the_random_one_is_the_seeds_own(tiny):
    pre, random, other = (paper.convolutions(*which) for which in ((0, False), (0, True), (1, True)))
    assert [w.shape for w in pre.parameters()] == [w.shape for w in random.parameters()]
    assert torch.equal(random[0].weight, paper.convolutions(0, True)[0].weight)
    assert not torch.equal(random[0].weight, other[0].weight)
    assert not torch.equal(pre[0].weight, random[0].weight)
    assert torch.equal(pre[0].weight, paper.convolutions(1, False)[0].weight)


def test_the_characters_of_a_stream_are_new_to_the_base_model_and_to_other_seeds():
    known, asked = zoo.find("glyph_conv4").settings, []
    original = paper.glyphs.characters
    for seed in (0, 1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(paper.glyphs, "characters", lambda a, each: asked.append(set(a)) or original(a, each))
            stream = paper.characters(seed, train=6, test=4)
    assert not asked[0] & asked[1]
    assert not (asked[0] | asked[1]) & set(range(known.alphabets))
    assert len(stream) == 5
    assert stream.labels.bincount().tolist() == [6] * 20
    assert stream.test_labels.bincount().tolist() == [4] * 20


def test_a_head_alone_reads_frozen_features_made_once(tiny):
    stream = paper.characters(0, train=3, test=2)
    body, seen = paper.glyph_body(FULL.glyphs[paper.FROZEN], stream, 0)
    assert isinstance(body, nn.Identity)
    with torch.no_grad():
        assert torch.allclose(seen.images, paper.convolutions(0, False)(stream.images), atol=1e-5)
    matrix = accuracy_matrix(learn(FULL.glyphs[paper.FROZEN], body, seen, SMALL, 0)[1], seen.test_labels, 4)
    assert matrix.shape == (5, 5)
