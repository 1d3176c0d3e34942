from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from torch import nn
from torch.nn import functional as F

from stages.evidence import judge, tidy_scores
from stages.papers.mechanisms import markov_categories as paper
from stages.papers.mechanisms.common.process_lab import (
    KERNELS,
    LINEAR,
    SURFACE,
    Lab,
    UnitHead,
    Whiten,
    acceptance,
    canonical,
    categorical_entropy,
    dirichlet_energy,
    fit_readout,
    free_states,
    kl,
    moves,
    pasts,
    pullback_metric,
    surplus,
)
from stages.papers.mechanisms.markov_categories import NLL, OBJECTIVES, PAPER, SHUFFLED, UNIT, make_model, rows, train
from stages.training import leading_subspace, subspace_overlap
from stages.worlds.process import draw

COMPARISONS = [*PAPER.claims, *PAPER.also]

SMALL = {"tokens": 6, "classes": (2, 3), "prototypes": 4, "concentration": 0.3}
TINY = replace(
    PAPER.settings("full"),
    world={"tokens": 8, "classes": (2, 4)},
    steps=6,
    batch=8,
    length=4,
    pasts=2,
    watched=4,
    memories=(0.0, 0.5, 1.0),
)


def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def lab():
    return Lab(draw(0), 2, 4, 0)


@pytest.fixture(scope="module")
def small():
    return Lab(draw(0, **SMALL), 4, 5, 0)


def head(tokens=7, d=4, n=5):
    g = generator()
    return torch.randn(n, d, generator=g, dtype=torch.float64), torch.randn(tokens, d, generator=g, dtype=torch.float64)


# ---- identities of the theory, which are no claims


def test_categorical_entropy_is_the_divergence_of_copying_from_drawing_twice():
    """Def. 4.1 with D = KL is the entropy (prop. 4.2); with total variation it is 1 - sum p^2."""
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    copied, twice = p.diag(), p[:, None] * p
    assert categorical_entropy(p).item() == pytest.approx(kl(copied.flatten(), twice.flatten()).item())
    assert categorical_entropy(p).item() == pytest.approx(entropy(p.numpy()))
    assert (copied - twice).abs().sum() / 2 == pytest.approx(1 - p.square().sum())


def test_cross_entropy_is_the_divergence_above_the_floor(small):
    """Th. 5.1, over the exact law of contexts and tokens."""
    p = torch.rand(2, 36, 6, generator=generator(), dtype=torch.float64).softmax(-1)
    loss = -(small.mu[:, None] * small.law * p.log()).sum((1, 2)).mean()
    assert loss.item() == pytest.approx(small.divergence(p) + small.world.entropy())
    assert small.divergence(small.law[None]) == pytest.approx(0, abs=1e-12)
    assert small.entropy(small.law[None]) == pytest.approx(small.world.entropy())


def test_information_about_two_tokens_is_that_about_one_and_the_surplus(small):
    """The chain rule (eq. 4.1), with H_t the whole context."""
    law = small.law.view(6, 6, 6)
    joint = torch.einsum("ab,abw,bwv->abwv", small.world.mu, law, law).flatten(0, 1)
    pair = joint.sum(0).flatten()

    def information(joint):
        return entropy(joint.sum(1).numpy()) + entropy(joint.sum(0).numpy()) - entropy(joint.flatten().numpy())

    both, first = information(joint.flatten(1)), information(joint.sum(2))
    assert both == pytest.approx(first + small.world.surplus())
    assert entropy(pair.numpy()) <= 2 * np.log(6)
    assert 0 <= small.world.surplus() <= np.log(6)


def test_the_metric_is_the_expected_square_of_the_score_and_the_hessian_of_the_divergence():
    h, w = head()
    for state in h:
        p = (w @ state).softmax(-1)
        score = torch.autograd.functional.jacobian(lambda x: (w @ x).log_softmax(-1), state)
        metric = pullback_metric(p, w)
        torch.testing.assert_close(metric, torch.einsum("v,vi,vj->ij", p, score, score))
        hessian = torch.autograd.functional.hessian(lambda x, p=p: kl((w @ x).softmax(-1), p), state)
        torch.testing.assert_close(metric, hessian)


@pytest.mark.parametrize(("tokens", "d"), [(3, 8), (9, 4)])
def test_the_metrics_rank_is_bounded_by_the_width_and_by_the_tokens_less_one(tokens, d):
    h, w = head(tokens, d)
    assert torch.linalg.matrix_rank(pullback_metric((h @ w.T).softmax(-1), w), rtol=1e-9).max() == min(d, tokens - 1)


def test_a_norm_between_bottleneck_and_head_would_make_the_metric_wrong():
    """Without the norm's Jacobian, which the formula lacks; the networks here have none there."""
    h, w = head()

    def law(x):
        return (w @ F.layer_norm(x, x.shape)).softmax(-1)

    hessian = torch.autograd.functional.hessian(lambda x: kl(law(x), law(h[0])), h[0])
    assert not torch.allclose(hessian, pullback_metric(law(h[0]), w), rtol=0.1)
    jacobian = torch.autograd.functional.jacobian(lambda x: F.layer_norm(x, x.shape), h[0])
    torch.testing.assert_close(hessian, jacobian.T @ pullback_metric(law(h[0]), w) @ jacobian)
    kinds = [type(m) for m in make_model(NLL, 4, 24, TINY, 0).head.modules()]
    assert kinds == [nn.Sequential, nn.Linear, nn.Linear]


def test_the_theorems_objective_is_a_squared_norm_and_does_not_single_out_directions(small):
    """J = E <h, h'><g, g'> = |E h g'|^2; any whitened h whose span holds the centred g attains its maximum tr Cov g."""
    g = small.law @ torch.randn(6, 3, generator=generator(), dtype=torch.float64)
    mu, centred = small.mu, g - small.mu @ g
    z, _, _ = canonical(g, torch.zeros(6, 3, dtype=torch.float64), mu)
    turned = z @ torch.linalg.qr(torch.randn(3, 3, generator=generator(), dtype=torch.float64)).Q
    for h in (z, turned):
        plain = torch.einsum("n,m,nm,nm->", mu, mu, h @ h.T, g @ g.T)
        assert plain.item() == pytest.approx((h.T @ (mu[:, None] * g)).square().sum().item())
        assert plain.item() == pytest.approx((mu @ centred.square()).sum().item())


def test_energies_are_the_double_sum_and_know_no_scale(small):
    phi, mu = torch.randn(36, 2, generator=generator(), dtype=torch.float64), small.mu
    kernel = small.world.similarity(LINEAR)
    found = dirichlet_energy(phi, kernel, mu)
    pairs = mu[:, None] * mu
    for k in range(2):
        raw = (pairs * kernel * (phi[:, k, None] - phi[:, k]).square()).sum() / 2
        centred = phi[:, k] - mu @ phi[:, k]
        assert found[k].item() == pytest.approx((raw / ((mu @ centred**2) * (pairs * kernel).sum())).item())
    torch.testing.assert_close(found, dirichlet_energy(5 * phi - 3, kernel, mu))
    torch.testing.assert_close(dirichlet_energy(phi, torch.ones(36, 36).double(), mu), torch.ones(2).double())
    first = small.spectra[LINEAR][1][:, :1] / small.root
    assert dirichlet_energy(first, kernel, mu) < found.min()  # the leading eigenfunction varies least among the alike


# ---- objectives and layers


@pytest.mark.parametrize("name", [NLL, paper.BRIER])
def test_proper_scores_are_least_at_the_truth(name):
    p = torch.tensor([0.6, 0.3, 0.1])
    outputs = p.log().requires_grad_()
    loss = sum(p[w] * OBJECTIVES[name](outputs[None], torch.tensor([w])) for w in range(3))
    assert torch.autograd.grad(loss, outputs)[0].abs().max() < 1e-6


@pytest.mark.parametrize("name", [paper.SMOOTHED, paper.FOCAL])
def test_smoothing_and_focal_loss_ask_for_more_entropy_than_there_is(name):
    p = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    outputs = p.log().requires_grad_()
    search = torch.optim.LBFGS([outputs], max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        search.zero_grad()
        loss = sum(p[w] * OBJECTIVES[name](outputs[None], torch.tensor([w])) for w in range(3))
        loss.backward()
        return loss

    search.step(closure)
    best = outputs.detach().softmax(-1)
    assert categorical_entropy(best) > categorical_entropy(p) + 0.01
    if name == paper.SMOOTHED:
        torch.testing.assert_close(best, 0.9 * p + 0.1 / 3, atol=1e-5, rtol=0)


def test_focal_loss_without_focus_is_nll_and_squares_are_squares():
    z, y = torch.randn(6, 5, generator=generator()), torch.tensor([0, 1, 2, 3, 4, 0])
    torch.testing.assert_close(paper.focal(z, y, gamma=0.0), F.cross_entropy(z, y))
    assert paper.squared(5 * F.one_hot(y, 5).float(), y) == 0
    torch.testing.assert_close(paper.brier(z, y), F.mse_loss(z.softmax(-1), F.one_hot(y, 5).float()) * 5)


def test_spectral_contrast_pairs_states_of_one_next_token_and_never_a_state_with_itself():
    h = torch.randn(7, 3, generator=generator(), dtype=torch.float64)
    y = torch.tensor([0, 0, 0, 2, 2, 4, 2])
    c = h - h.mean(0)
    pulled = 0.0
    for i in range(7):
        alike = [j for j in range(7) if j != i and y[j] == y[i]]
        pulled += sum((c[i] @ c[j]).item() for j in alike) / max(1, len(alike)) / 7
    pushed = sum((c[i] @ c[j]).item() ** 2 for i in range(7) for j in range(7)) / 49
    lone = (c[5] @ c[5]).item() - (c[5] @ c[5]).item()  # the state that has no partner adds nothing
    assert paper.spectral_contrastive(h, y).item() == pytest.approx(-2 * pulled + pushed + lone)


def test_a_linear_map_with_squared_errors_finds_the_pca_of_p(small):
    """Reduced-rank least squares on one-hot contexts, every context as often as it comes."""
    root, d = small.root, 2
    left, values, right = torch.linalg.svd(root * (small.law - small.mu @ small.law), full_matrices=False)
    states = (left * values)[:, :d] / root
    best = small.mu @ small.law + states @ right[:d]

    def loss(outputs):
        return sum(small.mu @ (small.law[:, w] * ((outputs - torch.eye(6)[w]) ** 2).sum(1)) for w in range(6))

    assert small.overlap(states, LINEAR) == pytest.approx(1)
    for _ in range(20):
        other = torch.randn(36, d, generator=torch.Generator().manual_seed(_), dtype=torch.float64)
        basis = leading_subspace(other, d, small.mu)
        fitted = small.mu @ small.law + basis @ (basis.T @ (root * small.law)) / root
        assert loss(fitted) > loss(best)


def test_whitening_whitens_and_zca_spans_the_same():
    layer, x = (
        Whiten(3),
        torch.randn(400, 3, generator=generator()) @ torch.tensor([[2.0, 1, 0], [0, 1, 0], [0, 3, 0.5]]),
    )
    z = layer(x)
    torch.testing.assert_close(z.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.T @ z / 400, torch.eye(3), atol=1e-3, rtol=0)
    values, vectors = torch.linalg.eigh((x - x.mean(0)).T @ (x - x.mean(0)) / 400)
    zca = (x - x.mean(0)) @ vectors @ (values**-0.5).diag() @ vectors.T
    turn = torch.linalg.lstsq(z, zca).solution
    torch.testing.assert_close(turn.T @ turn, torch.eye(3), atol=1e-2, rtol=0)
    for _ in range(300):
        layer(x)
    torch.testing.assert_close(layer.eval()(x), z, atol=1e-3, rtol=1e-3)  # running statistics arrive at the batch's


def test_under_the_theorems_assumptions_rows_have_length_one_and_states_are_white(lab):
    model = train(UNIT, 4, lab, replace(TINY, steps=40), 0)
    assert isinstance(model.head[1], UnitHead)
    torch.testing.assert_close(rows(model).norm(dim=1), torch.ones(24, dtype=torch.float64), atol=1e-6, rtol=0)
    h, p = lab.read(model)
    torch.testing.assert_close((h @ rows(model).T).softmax(-1), p, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        rows(make_model(NLL, 4, 24, TINY, 0)), make_model(NLL, 4, 24, TINY, 0).head[1].weight.double()
    )


def test_all_methods_of_a_seed_start_from_one_encoder_and_see_the_same_tokens(lab):
    one, two, other = (make_model(m, d, 24, TINY, s) for m, d, s in ((NLL, 4, 0), (UNIT, 16, 0), (NLL, 4, 1)))
    assert torch.equal(one.embedding.weight, two.embedding.weight)
    assert not torch.equal(one.embedding.weight, other.embedding.weight)
    seen = {}
    for method in (NLL, SHUFFLED):
        model = train(
            method, 4, lab, replace(TINY, steps=2), 0, lambda step, m, name=method: seen.update({(name, step): m})
        )
        seen[method] = model
    assert set(seen) == {(m, step) for m in (NLL, SHUFFLED) for step in (0, 1, 2)} | {NLL, SHUFFLED}
    assert not torch.equal(seen[NLL].embedding.weight, seen[SHUFFLED].embedding.weight)  # targets differ


# ---- what is measured


def test_pasts_end_in_every_context_and_follow_the_exact_law(small):
    drawn = pasts(small.world, 4000, 4, 3)
    assert drawn.shape == (4000, 36, 4)
    assert torch.equal(drawn[:, :, -2:], torch.cartesian_prod(torch.arange(6), torch.arange(6)).expand(4000, -1, -1))
    before = small.world.block(3)  # (w, context)
    for context in (0, 17):
        a, b = divmod(context, 6)
        counts = torch.bincount(drawn[:, context, 1], minlength=6) / 4000
        torch.testing.assert_close(counts.double(), before[:, a, b] / before[:, a, b].sum(), atol=0.03, rtol=0)


def test_overlaps_are_weighted_by_mu_and_know_no_gauge(lab):
    law = lab.law @ torch.randn(24, 24, generator=generator(), dtype=torch.float64)[:, :4]
    turned = law @ torch.randn(4, 4, generator=generator(), dtype=torch.float64) + 3
    for kernel in KERNELS:
        assert lab.overlap(law, kernel) == pytest.approx(lab.overlap(turned, kernel))
    assert lab.aligned(law) == pytest.approx(lab.aligned(turned))
    top = lab.spectra[LINEAR][1][:, :4] / lab.root
    assert lab.overlap(top, LINEAR) == pytest.approx(1)
    even = subspace_overlap(leading_subspace(top, 4), lab.spectra[LINEAR][1][:, :4])
    assert even < 0.99  # had we weighted contexts evenly
    noise = torch.randn(576, 4, generator=generator(), dtype=torch.float64)
    assert lab.overlap(noise, LINEAR) < 5 * 4 / 576 + 0.02


def test_beyond_the_rank_every_kernel_holds_the_same_subspace():
    """With d at the rank of p or above, C1 would be true of any state that predicts."""
    one = Lab(draw(0, **SMALL | {"prototypes": 3}), 2, 3, 0)
    assert len(one.spectra[LINEAR][0]) == 2
    wide = torch.cat([one.law, one.law.sqrt()], 1) @ torch.randn(12, 5, generator=generator(), dtype=torch.float64)
    law = (one.law - one.mu @ one.law) @ torch.linalg.svd(one.law - one.mu @ one.law).Vh[:2].T
    assert one.overlap(law, LINEAR) == pytest.approx(1)
    assert one.overlap(wide, LINEAR) > 0.5


def test_the_partial_takes_out_what_contexts_look_like(lab):
    surface = lab.spectra[SURFACE][1][:, :4] / lab.root
    predictive = lab.spectra[LINEAR][1][:, :4] / lab.root
    assert lab.aligned(predictive)[1] > 0.9 * lab.aligned(predictive)[0] > 0.5
    assert abs(lab.aligned(surface)[1]) < lab.aligned(surface)[0] + 0.05
    # a mixture whose only link to prediction is by the surface has no partial: regress by hand
    gram = leading_subspace(surface, 4, lab.mu)
    gram = (gram @ gram.T / 2).flatten()
    x, y = (lab.operators[k].flatten() for k in (LINEAR, SURFACE))
    rest = [v - (v @ y) * y for v in (gram, x)]
    assert lab.aligned(surface)[1] == pytest.approx((rest[0] @ rest[1] / rest[0].norm() / rest[1].norm()).item())


def test_the_canonical_form_predicts_the_same_and_is_the_same_for_all_gauges(small):
    h, (_, w) = torch.randn(36, 4, generator=generator(), dtype=torch.float64), head(6)
    z, v, b = canonical(h, w, small.mu)
    torch.testing.assert_close(z @ v.T + b, h @ w.T)
    torch.testing.assert_close(z.T @ (small.mu[:, None] * z), torch.eye(4, dtype=torch.float64))
    change = torch.randn(4, 4, generator=generator(), dtype=torch.float64)
    _, other, _ = canonical(h @ change, w @ torch.linalg.inv(change).T, small.mu)
    p = (h @ w.T).softmax(-1)
    raw = [torch.linalg.eigvalsh(pullback_metric(p, x).mean(0)) for x in (w, w @ torch.linalg.inv(change).T)]
    free = [torch.linalg.eigvalsh(pullback_metric(p, x).mean(0)) for x in (v, other)]
    assert not torch.allclose(*raw, rtol=0.1)
    torch.testing.assert_close(*free)


def test_short_moves_follow_the_metric_and_long_ones_need_not(small):
    h, (_, w) = torch.randn(36, 4, generator=generator(), dtype=torch.float64), head(6)
    found = moves(*canonical(h, w, small.mu), small.mu, 0)
    for true, predicted in found.values():
        assert true.shape == predicted.shape == (len(paper.EPSILONS), 2000)
        kept = predicted[0] > 0
        ratio = (true[0] / predicted[0])[kept]
        assert ratio.median().item() == pytest.approx(1, abs=0.05)
        assert (true[-1] / predicted[-1])[kept].std() > 5 * ratio.std()


def test_readouts_find_the_laws_that_are_softmax_linear():
    x, w = head(5, 3, 200)
    law = (x @ w.T).softmax(-1)
    even = torch.full((200,), 1 / 200, dtype=torch.float64)
    assert kl(law, fit_readout(x, law, even)(x).exp()).max() < 1e-3
    two = fit_readout(x.expand(2, -1, -1), torch.stack([law, law.flip(1)]), even.expand(2, -1))(x)
    torch.testing.assert_close(two[0], two[1].flip(1), atol=0.05, rtol=0)


def context_states(lab, place, noise=0.0):
    """States that are the token at a place of the context."""
    tokens = lab.contexts[:, :, place]
    return F.one_hot(tokens, lab.world.tokens).double()


def test_the_surplus_is_all_in_the_last_token_read_and_none_in_nothing(small):
    """H_t has read w_{t-1} and predicts W_t. Given W_t, what else W_{t+1} depends on is w_{t-1}."""
    assert surplus(small, context_states(small, -1)) == pytest.approx(small.world.surplus(), abs=2e-3)
    assert surplus(small, context_states(small, -1)) <= small.world.surplus() + 1e-9
    nothing = torch.zeros(4, 36, 2, dtype=torch.float64)
    assert surplus(small, nothing) == pytest.approx(0, abs=1e-4)
    assert surplus(small, context_states(small, -2)) < 0.5 * small.world.surplus()  # off by one: little is left


def test_without_memory_there_is_no_surplus():
    one = Lab(draw(0, **SMALL, memory=0.0), 2, 4, 0)
    assert surplus(one, context_states(one, -1)) == pytest.approx(0, abs=1e-4)


def test_acceptance_is_that_of_speculative_sampling(small):
    """With the exact model, a draft that knows the context exactly, by enumeration; the bottom is a constant draft."""
    pair = F.one_hot(torch.arange(36), 36).double().expand(4, -1, -1)
    later, law = small.world.later(2).flatten(0, -2), small.law.view(6, 6, 6)
    expected = sum(
        small.mu[6 * a + b] * small.law[6 * a + b, w] * torch.minimum(law[b, w], later[6 * a + b]).sum()
        for a in range(6)
        for b in range(6)
        for w in range(6)
    )
    p = small.law.expand(4, -1, -1)
    found = acceptance(small, pair, p)
    assert found == pytest.approx(expected.item(), abs=3e-3)
    assert acceptance(small, torch.zeros(4, 36, 2, dtype=torch.float64), p) < found < 1


def test_free_states_are_exact_where_d_allows_it_and_better_than_spectral_ones_where_not(lab):
    _, p = free_states(lab.law, lab.mu, 24)
    assert lab.divergence(p[None]) < 5e-3
    _, free = free_states(lab.law, lab.mu, 4)
    for kernel in paper.PCA:
        states = lab.spectra[kernel][1][:, :3] / lab.root  # and a bias, the fourth
        spectral = fit_readout(states, lab.law, lab.mu)(states).exp()
        assert lab.divergence(free[None]) < lab.divergence(spectral[None])


def test_under_the_assumptions_free_states_are_white_and_far_from_the_truth(lab):
    """States of mean 0 and rows of length one leave no room for token frequencies, nor for sharp laws."""
    states, p = free_states(lab.law, lab.mu, 4, white=True)
    torch.testing.assert_close(lab.mu @ states, torch.zeros(4, dtype=torch.float64))
    torch.testing.assert_close(states.T @ (lab.mu[:, None] * states), torch.eye(4, dtype=torch.float64))
    assert lab.divergence(p[None]) > 3 * lab.divergence(free_states(lab.law, lab.mu, 4)[1][None])


# ---- the experiment


def test_a_run_measures_all_that_the_claims_speak_of():
    outcome = PAPER.run(TINY, 0)
    scores = tidy_scores({0: outcome, 1: outcome})
    assert [finding.key for finding in judge(COMPARISONS, scores)] == [claim.key for claim in COMPARISONS]
    names = {(row["method"], row["metric"]) for row in outcome.scores}
    for method in (paper.FREE, *paper.PCA.values(), paper.SQUARED, paper.CONTRASTIVE, paper.UNTRAINED):
        assert (method, "overlap, linear [d=4]") in names
    assert (paper.PROJECTED, "surplus [d=4]") in names
    assert {row["method"] for row in outcome.curves} >= {paper.EXACT, *paper.layers(TINY), NLL, UNIT, SHUFFLED}


def test_a_run_is_pure_and_processes_and_weights_are_drawn_by_seed():
    few = replace(TINY, arms={NLL: (4,)}, memories=())
    one, two, other = (PAPER.run(few, seed) for seed in (3, 3, 4))
    assert one.scores == two.scores
    assert one.curves == two.curves
    assert one.scores != other.scores


def test_checkpoints_begin_before_the_first_step_and_end_after_the_last():
    steps = paper.checkpoints(PAPER.settings("full"))
    assert steps[0] == 0
    assert steps[-1] == PAPER.settings("full").steps
    assert len(steps) == 12


def test_every_claim_and_control_of_the_dossier_is_there():
    assert {claim.key[:2] for claim in COMPARISONS} == {f"C{i}" for i in range(1, 7)}
    full = PAPER.settings("full")
    assert set(full.arms) == {*OBJECTIVES, paper.CONTRASTIVE}
    assert set(full.arms[NLL]) == set(full.arms[UNIT]) == {2, 4, 8, 16}
    assert len(full.memories) >= 8
