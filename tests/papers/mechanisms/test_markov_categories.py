from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional as F

from stages.evidence import check_probe, recorded
from stages.papers.mechanisms.markov_categories import (
    PAPER,
    UnitHead,
    Whiten,
    canonical,
    categorical_entropy,
    dirichlet_energy,
    drafts,
    experiment,
    geometry,
    kl,
    lab,
    overlap,
    pullback_metric,
    surplus,
    training,
)
from stages.papers.mechanisms.markov_categories.experiment import FREE, FREE_UNIT, Settings
from stages.papers.mechanisms.markov_categories.lab import Lab, fit_readout, free_states
from stages.papers.mechanisms.markov_categories.training import (
    METHODS,
    NLL,
    SHUFFLED,
    SMOOTHED,
    SQUARED,
    UNIT,
    UNTRAINED,
    Recipe,
)
from stages.seeding import rng, torch_rng
from stages.worlds.process import KERNELS, draw

V = 9
N = V * V  # contexts
SMALL = {"tokens": V, "classes": (3, 4), "prototypes": 9, "concentration": 0.3}
RECIPE = Recipe(steps=3, batch=5, length=4, rate=0.02, width=12, watched=4)


def normal(*size, seed=0):
    return torch.randn(*size, generator=torch_rng(seed, *size), dtype=torch.float64)


@pytest.fixture(scope="module")
def small():
    return Lab(draw(0, **SMALL), 4, 5, 0)


def entropy(p):
    """Return the entropies of rows, as float64 tensors."""
    return torch.as_tensor(stats.entropy(np.asarray(p), axis=-1))


def close(one, other, **how):
    torch.testing.assert_close(torch.as_tensor(one), torch.as_tensor(other), **how)


# ---- the theory


def test_entropy_is_copying_from_drawing_twice_and_nll_is_the_divergence_above_it(small):
    """Def. 4.1 with KL is Shannon's entropy (prop. 4.2); th. 5.1."""
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    copied, twice = p.diag().flatten(), (p[:, None] * p).flatten()
    assert categorical_entropy(p).item() == pytest.approx(kl(copied, twice).item())
    assert categorical_entropy(p).item() == pytest.approx(stats.entropy(p.numpy()))
    q = normal(2, N, V).softmax(-1)
    loss = -(small.mu[:, None] * small.law * q.log()).sum((1, 2)).mean()
    assert loss.item() == pytest.approx(small.divergence(q) + small.world.entropy())
    assert small.entropy(small.law[None]) == pytest.approx(small.world.entropy())
    assert small.entropy(q) == pytest.approx((small.mu @ entropy(q).mean(0)).item())


def test_the_surplus_is_what_the_chain_rule_leaves(small):
    """I(H; W_t, W_{t+1}) = I(H; W_t) + surplus (eq. 4.1), with H_t the whole context."""
    law = small.law.view(V, V, V)
    whole = torch.einsum("ab,abw,bwv->abwv", small.world.mu, law, law).flatten(0, 1)  # (contexts, W_t, W_{t+1})

    def information(joint):
        return sum(stats.entropy(joint.sum(i)) for i in (0, 1)) - stats.entropy(joint.flatten())

    by_hand = information(whole.flatten(1).numpy()) - information(whole.sum(2).numpy())
    joint, later = whole.sum(2).T, (whole / whole.sum(2, keepdim=True)).transpose(0, 1)
    close(small.after(small.law).transpose(0, 1), later)
    assert surplus(joint, later, later.log()) == pytest.approx(by_hand)
    assert by_hand == pytest.approx(small.world.surplus())
    blind = (whole.sum(0) / whole.sum((0, 2))[:, None])[:, None].expand_as(later)
    assert surplus(joint, later, blind.log()) == pytest.approx(0, abs=1e-9)
    worse = 0.5 * later + 0.5 / V
    cost = (joint * kl(later, worse)).sum().item()
    assert surplus(joint, later, worse.log()) == pytest.approx(by_hand - cost)


def test_the_metric_is_the_square_of_the_score_and_the_hessian_of_the_divergence():
    for tokens, d in ((7, 4), (3, 8)):
        h, w = normal(3, d), normal(tokens, d, seed=1)
        for state in h:
            p = (w @ state).softmax(-1)
            score = torch.autograd.functional.jacobian(lambda x, w=w: (w @ x).log_softmax(-1), state)
            metric = pullback_metric(p, w)
            close(metric, torch.einsum("v,vi,vj->ij", p, score, score))
            close(metric, torch.autograd.functional.hessian(lambda x, p=p, w=w: kl((w @ x).softmax(-1), p), state))
            assert torch.linalg.matrix_rank(metric, rtol=1e-9) == min(d, tokens - 1)
        close(pullback_metric((h @ w.T).softmax(-1), w)[2], metric)
    plain = training.make(METHODS[NLL], 4, V, RECIPE, 0)  # a norm between the two would make it wrong
    assert [type(part) for part in (plain.bottleneck, plain.head)] == [nn.Linear, nn.Linear]
    assert plain.head.bias is None
    assert isinstance(plain.encoder.norm, nn.LayerNorm)


def test_whitened_states_and_energies_do_not_depend_on_how_the_model_is_written(small):
    h, w = normal(N, 4), normal(V, 4, seed=1)
    z, v, b = canonical(h, w, small.mu)
    close(z @ v.T + b, h @ w.T)
    close(small.mu @ z, torch.zeros(4, dtype=torch.float64))
    close(z.T @ (small.mu[:, None] * z), torch.eye(4, dtype=torch.float64))
    change = normal(4, 4, seed=2)
    _, other, _ = canonical(h @ change, w @ torch.linalg.inv(change).T, small.mu)
    p = (h @ w.T).softmax(-1)
    close(*(torch.linalg.eigvalsh(pullback_metric(p, x).mean(0)) for x in (v, other)))
    phi, mu, kernel = normal(N, 2), small.mu, small.world.similarity("linear")
    found = dirichlet_energy(phi, kernel, mu)
    pairs = mu[:, None] * mu
    for k in range(2):
        raw = (pairs * kernel * (phi[:, k, None] - phi[:, k]).square()).sum() / 2
        spread = mu @ phi[:, k].square() - (mu @ phi[:, k]).square()
        close(found[k], raw / (spread * (pairs * kernel).sum()))
    close(found, dirichlet_energy(5 * phi - 3, kernel, mu))
    close(dirichlet_energy(phi, torch.ones_like(kernel), mu), torch.ones(2).double())


def test_overlaps_are_weighted_by_mu_and_know_no_gauge(small):
    states = small.law @ normal(V, 3)
    turned = states @ normal(3, 3, seed=1) + 3
    for kernel in KERNELS:
        assert small.overlap(states, kernel) == pytest.approx(small.overlap(turned, kernel))
        found = overlap_by_hand(states, kernel, small)
        assert small.overlap(states, kernel) == pytest.approx(found)
        assert overlap(states, small.spectra[kernel][1], small.mu) == pytest.approx(found)
    even = replace_mu(small)
    assert abs(overlap_by_hand(states, "linear", even) - small.overlap(states, "linear")) > 1e-3
    assert small.aligned(states) == pytest.approx(partial_by_hand(states, small))
    assert small.aligned(states) == pytest.approx(small.aligned(turned))


def test_the_theorems_assumptions_hold_in_its_layers():
    layer, x = Whiten(3), (normal(400, 3) @ torch.tensor([[2.0, 1, 0], [0, 1, 0], [0, 3, 0.5]]).double()).float()
    x.requires_grad_()
    z = layer(x)
    close(layer.mean, 0.05 * x.detach().mean(0))
    close(z.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    close(z.T @ z / 400, torch.eye(3), atol=1e-3, rtol=0)
    assert torch.autograd.grad(z.square().sum(), x)[0].abs().max() < 0.05  # gradients through the covariance
    assert torch.autograd.grad(layer(x)[:, 0].sum(), x)[0].abs().max() < 1e-4  # and through the mean
    for _ in range(300):
        layer(x)
    close(layer.eval()(x), z, atol=1e-3, rtol=1e-3)  # running statistics arrive at the batch's
    head = UnitHead(3, 5, bias=False)
    close(head.rows.norm(dim=1), torch.ones(5))
    close(head(x), x @ head.rows.T)
    unit, plain = (training.make(METHODS[name], 3, V, RECIPE, 0) for name in (UNIT, NLL))
    assert isinstance(unit.head, UnitHead)
    assert isinstance(unit.bottleneck[1], Whiten)
    close(unit.rows(), F.normalize(plain.head.weight, dim=-1).double())
    close(plain.rows(), plain.head.weight.double())


# ---- training


def test_each_method_learns_what_it_says_from_the_lessons():
    """Two steps by hand, from the same start on the same tokens; shuffled targets are the true ones dealt out anew."""
    assert tuple(METHODS) == (NLL, SHUFFLED, UNIT, SQUARED, SMOOTHED)
    for name in METHODS:
        check_two_steps(name)


def check_two_steps(name):
    recipe = replace(RECIPE, steps=2)
    world = draw(3, **SMALL)
    lessons = recipe.lessons(world, 7)
    close(lessons.view(10, 5), world.sample(10, 5, 7))
    seen, done = {}, {}

    def watch(step, network):
        assert not network.training
        seen[step] = {key: value.clone() for key, value in network.state_dict().items()}

    learnt = training.learn(METHODS[name], 3, lessons, V, recipe, 7, watch)
    start = training.make(METHODS[name], 3, V, recipe, 7)
    assert not start.training
    network = start.train()
    adam = torch.optim.Adam(network.parameters(), lr=0.02)
    deal = torch_rng(7, "shuffle", 3)
    done[0] = {key: value.clone() for key, value in network.state_dict().items()}
    for step, share in ((0, 1.0), (1, 0.5 * (1 + np.cos(0)))):  # a warm-up of one step, then half a cosine from its top
        adam.param_groups[0]["lr"] = 0.02 * share
        x, y = lessons[step, :, :-1], lessons[step, :, 1:].flatten()
        if name == SHUFFLED:
            true = y
            y = y[torch.randperm(20, generator=deal)]
            assert not torch.equal(y, true)
        h = network.bottleneck(network.encoder.extend(x)[0])
        z = network.head(h).flatten(0, 1)
        if name == SQUARED:
            loss = ((z / 5 - F.one_hot(y, V)) ** 2).sum(1).mean()
        elif name == SMOOTHED:
            smooth = 0.9 * F.one_hot(y, V) + 0.1 / V
            loss = -(smooth * z.log_softmax(-1)).sum(1).mean()
        else:
            loss = -z.log_softmax(-1)[torch.arange(20), y].mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        done[step + 1] = {key: value.clone() for key, value in network.state_dict().items()}
    assert seen.keys() == done.keys()
    for step in done:
        for key, value in done[step].items():
            if value.dim() > 1 or key == "head.bias":  # other biases may have no gradient but noise, which Adam scales
                close(seen[step][key], value, atol=1e-4, rtol=1e-3)
    close(learnt.encoder.embedding.weight, done[2]["encoder.embedding.weight"], atol=1e-4, rtol=1e-3)
    assert not learnt.training
    assert (start.head.bias is not None) == (name == SQUARED)


def test_networks_of_a_seed_start_alike_and_checkpoints_reach_from_start_to_end(monkeypatch):
    tokens = draw(0, **SMALL).sample(3, 4, 0)
    one, wide, unit, other = (
        training.make(METHODS[name], d, V, RECIPE, seed)
        for name, d, seed in ((NLL, 3, 0), (NLL, 5, 0), (UNIT, 3, 0), (NLL, 3, 1))
    )
    close(one.encoder.embedding.weight, wide.encoder.embedding.weight)
    assert not torch.equal(one.encoder.embedding.weight, other.encoder.embedding.weight)
    assert not torch.equal(one.head.weight, other.head.weight)
    close(one.states(tokens), unit.states(tokens))  # before training the whitening does nothing
    layers = one.layers(tokens)
    close(layers[0], one.encoder.embedding(tokens) + one.encoder.positions[:4])
    close(layers[-2], one.encoder.states(tokens)[-1])
    close(layers[-1], one.states(tokens))
    assert len(layers) == 3
    full = PAPER.settings("full").recipe
    assert full.checkpoints()[:2] == [0, 1]
    assert (full.checkpoints()[-1], len(full.checkpoints())) == (full.steps, 12)
    rates = []

    def fit(loss, steps, adam, *, schedule, after_step):
        rates.append((steps, [schedule(step) for step in (0, 2, 40)]))

    monkeypatch.setattr(training, "fit", fit)
    training.learn(METHODS[NLL], 3, None, V, replace(RECIPE, steps=40), 0)
    assert rates == [(40, pytest.approx([0.5, 1, 0]))]  # a twentieth of the steps warms up


# ---- what is measured


def test_pasts_end_in_every_context_and_follow_the_exact_law(small):
    drawn = lab.pasts(small.world, 4000, 4, 3)
    assert drawn.shape == (4000, N, 4)
    assert torch.equal(drawn[:, :, -2:], torch.cartesian_prod(torch.arange(V), torch.arange(V)).expand(4000, -1, -1))
    before = small.world.block(3)  # (w, context)
    for context in (0, 17):
        a, b = divmod(context, V)
        counts = torch.bincount(drawn[:, context, 1], minlength=V) / 4000
        close(counts.double(), before[:, a, b] / before[:, a, b].sum(), atol=0.03, rtol=0)
    assert torch.equal(small.contexts, lab.pasts(small.world, 4, 5, 0))
    assert not torch.equal(small.contexts, lab.pasts(small.world, 4, 5, 1))


def told(here, place):
    """States that are the token at a place of the context."""
    return F.one_hot(here.contexts[:, :, place], V).double()


def test_surplus_and_drafts_are_read_from_states_as_closed_forms_say(small, monkeypatch):
    """H_t has read w_{t-1}. Given W_t, what else W_{t+1} depends on is w_{t-1}; a draft is accepted as in speculative
    sampling."""
    assert drafts.readable(small, told(small, -1)) == pytest.approx(small.world.surplus(), abs=2e-3)
    assert drafts.readable(small, torch.zeros(4, N, 2).double()) == pytest.approx(0, abs=1e-4)
    assert drafts.readable(small, told(small, -2)) < 0.5 * small.world.surplus()  # off by one: little is left
    pair = F.one_hot(torch.arange(N), N).double().expand(4, -1, -1)
    later, law = small.world.later(2).flatten(0, -2), small.law.view(V, V, V)
    other = normal(N, V).softmax(-1)
    for own in (law, other.view(V, V, V)):
        expected = sum(
            small.mu[V * a + b] * own[a, b, w] * torch.minimum(own[b, w], later[V * a + b]).sum()
            for a in range(V)
            for b in range(V)
            for w in range(V)
        )
        p = own.flatten(0, 1).expand(4, -1, -1)
        assert drafts.accepted(small, p[0], later) == pytest.approx(expected.item())
        assert drafts.acceptance(small, pair, p) == pytest.approx(expected.item(), abs=3e-3)
    fitted, weighed, asked = [], [], []

    def readout(x, targets, weights):
        fitted.append(x)
        weighed.append(weights)
        return lambda new: asked.append(new) or targets.log()

    monkeypatch.setattr(drafts, "fit_readout", readout)
    h = normal(4, N, 3)
    assert drafts.readable(small, h) == pytest.approx(small.world.surplus())
    drafts.acceptance(small, h, p)
    close(fitted[0], h[:2].mean(0).expand(V, -1, -1))
    close(fitted[1], h[:2].mean(0))
    close(weighed[0], (small.mu[:, None] * small.law).T)  # contexts by their law, in both
    close(weighed[1], small.mu)
    assert [any(x is y or torch.equal(x, y) for y in h[2:]) for x in asked] == [True] * 4
    mixed = torch.stack([pair[0][:, :V]] * 2 + [small.law] * 2)  # the network's own laws after the pasts not fitted
    assert drafts.acceptance(small, h, mixed) == pytest.approx(drafts.accepted(small, small.law, later))


def test_readouts_and_free_states_find_the_best_there_is(small):
    x, w = normal(200, 3), normal(5, 3, seed=1)
    law = (x @ w.T).softmax(-1)
    even = torch.full((200,), 1 / 200, dtype=torch.float64)
    fitted, far = fit_readout(x, law, even), 0.5 * x + 1
    assert kl(law, fitted(x).exp()).max() < 1e-3
    assert kl((far @ w.T).softmax(-1), fitted(far).exp()).max() < 1e-2  # centre and scale are those of what was fitted
    two = fit_readout(x.expand(2, -1, -1), torch.stack([law, law.flip(1)]), even.expand(2, -1))(x)
    close(two[0], two[1].flip(1), atol=0.05, rtol=0)
    assert small.divergence(free_states(small.law, small.mu, V)[1][None]) < 5e-3
    h, p = free_states(small.law, small.mu, 2)
    slope = (small.mu[:, None] * (p - small.law)).T @ h  # of the loss by the head
    assert slope.abs().max() < 2e-3
    white, held = free_states(small.law, small.mu, 2, white=True)
    close(small.mu @ white, torch.zeros(2, dtype=torch.float64))
    close(white.T @ (small.mu[:, None] * white), torch.eye(2, dtype=torch.float64))
    rows = torch.linalg.lstsq(white, held.log() - held.log().mean(1, keepdim=True)).solution.T
    differences = rows - rows.mean(0)  # of rows of length one
    assert differences.norm(dim=1).max() < 2
    assert small.divergence(held[None]) > small.divergence(p[None])


# ---- the wiring of the experiment

TINY = Settings(
    RECIPE,
    {NLL: (8, 2), SHUFFLED: (2,), UNIT: (2,), SQUARED: (2,), SMOOTHED: (8,)},
    free=(2, 3),
    memories=(0.0, 0.5, 1.0),
    pasts=4,
    world=SMALL,
)
ARMS = [
    *((NLL, 8, 1.0), (NLL, 2, 1.0), (SHUFFLED, 2, 1.0), (UNIT, 2, 1.0), (SQUARED, 2, 1.0), (SMOOTHED, 8, 1.0)),
    *((NLL, 8, 0.0), (NLL, 8, 0.5)),
]
SEED = 4


def last(h):
    """Put states at the last of two places."""
    return torch.stack([torch.zeros_like(h), h], 1)


class Planted:
    """A network with planted states: a table over contexts, and a little of the token that stands before."""

    def __init__(self, number, d):
        self.d = d
        self.table = normal(N, d, seed=number)
        self.before = 0.2 * normal(V, d, seed=number)
        self.early, self.wide = normal(N, 5, seed=number), normal(N, 4, seed=number)
        self.w = normal(V, d, seed=number)

    def states(self, tokens):
        return last(self.table[tokens[:, -2] * V + tokens[:, -1]] + self.before[tokens[:, -3]])

    def layers(self, tokens):
        context = tokens[:, -2] * V + tokens[:, -1]
        return [last(self.early[context]), last(self.wide[context]), self.states(tokens)]

    def head(self, h):
        return h @ self.w.T

    def rows(self):
        return self.w


def replace_mu(here):
    return SimpleNamespace(mu=torch.full_like(here.mu, 1 / len(here.mu)), law=here.law)


def features(kernel, law):
    if kernel == "surface":
        places = torch.cartesian_prod(torch.arange(V), torch.arange(V))
        return F.one_hot(places, V).flatten(1).double()
    return {"linear": law, "bhattacharyya": law.sqrt(), "log-ratio": law.log() - law.log().mean(1, keepdim=True)}[
        kernel
    ]


def span(x, mu):
    """Left singular vectors, weighted and centred by mu, and singular values."""
    left, values, _ = torch.linalg.svd(mu.sqrt()[:, None] * (x - mu @ x), full_matrices=False)
    rank = int((values > 1e-6 * values[0]).sum())
    return left[:, :rank], values[:rank]


def overlap_by_hand(h, kernel, here):
    d = h.shape[1]
    u, k = span(h, here.mu)[0], span(features(kernel, here.law), here.mu)[0][:, :d]
    return ((u.T @ k) ** 2).sum().item() / min(d, k.shape[1])


def partial_by_hand(h, here):
    """The correlation of what is left of two Gram matrices when the looks' is regressed out."""
    parts = []
    for x in (features("surface", here.law), features("linear", here.law)):
        u, s = span(x, here.mu)
        parts.append((u * s**2 @ u.T).flatten())
    u, _ = span(h, here.mu)
    looks, own = parts[0] / parts[0].norm(), (u @ u.T).flatten()
    one, two = (x - (x @ looks) * looks for x in (parts[1], own))
    return (one @ two / one.norm() / two.norm()).item()


def rank_correlation(x, y):
    return stats.spearmanr(x, y).statistic


@pytest.fixture(scope="module")
def wired():
    """A run with a recorder in the learner's place; readouts and free states are planted too."""
    calls, free = [], []

    def learn(method, d, lessons, tokens, recipe, seed, watch):
        number = len(calls) + 1
        calls.append(SimpleNamespace(method=method, d=d, lessons=lessons, tokens=tokens, recipe=recipe, seed=seed))
        for step in (0, 2, 5, 9):
            watch(step, Planted(100 * number + step, d))
        return Planted(number, d)

    def free_states(law, mu, d, white):
        free.append((law, mu, d, white))
        return normal(N, d, seed=50 + white), normal(N, V, seed=60 + white).softmax(-1)

    def readable(here, h):
        return h[0, 3, 0].item() + here.world.surplus()

    def acceptance(here, h, p):
        return h[1, 4, 0].item() + p[0, 5, 1].item() + here.world.surplus()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "learn", learn)
        patch.setattr(experiment, "free_states", free_states)
        patch.setattr(drafts, "readable", readable)
        patch.setattr(drafts, "acceptance", acceptance)
        outcome = PAPER.run(TINY, SEED)
    scores = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    curves = {(row["method"], row["name"]): row for row in outcome.curves}
    labs = {memory: Lab(draw(SEED, **SMALL, memory=memory), 4, 4, SEED) for memory in TINY.memories}
    return SimpleNamespace(
        calls=calls, free=free, scores=scores, curves=curves, labs=labs, exhibits=outcome.exhibits,
        readable=readable, acceptance=acceptance,
    )  # fmt: skip


def read(network, here):
    """States and laws of all contexts after all pasts."""
    with torch.no_grad():
        h = network.states(here.contexts.flatten(0, 1))[:, -1]
        p = network.head(h).softmax(-1).double()
    return h.double().view(4, N, -1), p.view(4, N, V)


def places_of(network, here):
    """States at each place of a network, in all contexts after all pasts."""
    return [h[:, -1].view(4, N, -1) for h in network.layers(here.contexts.flatten(0, 1))]


def test_each_arm_learns_its_own_way_from_its_own_source(wired):
    assert len(wired.calls) == len(ARMS)
    for call, (name, d, memory) in zip(wired.calls, ARMS, strict=True):
        assert call.method is METHODS[name]
        assert (call.d, call.tokens, call.recipe, call.seed) == (d, V, RECIPE, SEED)
        world = draw(SEED, **SMALL, memory=memory)
        assert torch.equal(call.lessons, world.sample(15, 5, SEED).view(3, 5, 5)), (name, memory)
    assert not torch.equal(wired.calls[0].lessons, wired.calls[-1].lessons)
    first = METHODS[NLL], METHODS[SHUFFLED], METHODS[UNIT], METHODS[SQUARED], METHODS[SMOOTHED]
    assert [(m.shuffled, m.unit, m.laws) for m in first] == [
        (False, False, True), (True, False, True), (False, True, True), (False, False, False), (False, False, True)
    ]  # fmt: skip
    here = wired.labs[1.0]
    assert [(d, white) for _, _, d, white in wired.free] == [(2, False), (3, False), (2, True), (3, True)]
    assert all(torch.equal(law, here.law) and torch.equal(mu, here.mu) for law, mu, _, _ in wired.free)
    assert torch.equal(wired.exhibits["lab"].contexts, here.contexts)
    assert set(wired.exhibits) == {"lab", *((name, d) for name, d, memory in ARMS if memory == 1)}
    full = PAPER.settings("full")
    assert full.widths == {NLL: (2, 4, 8, 16), SHUFFLED: (4,), UNIT: (4,), SQUARED: (4,), SMOOTHED: (16,)}
    assert full.memories == tuple(np.arange(8) / 7)
    assert (full.recipe, full.free, full.pasts) == (Recipe(1000, 64, 12, 1e-2, 32, 1, 12), (2, 4, 8), 4)


def test_states_and_predictions_are_scored_as_worked_out_by_hand(wired):
    """The untrained control is the start of the network, and not what it becomes."""
    scores, here, expected = wired.scores, wired.labs[1.0], {}
    truth = (here.mu @ entropy(here.law)).item()
    unigram = here.mu @ here.law
    expected["unigram", "entropy"] = entropy(unigram).item()
    expected["truth", "entropy"] = truth
    expected["truth", "surplus"] = here.world.surplus()
    networks = {(name, d): Planted(k, d) for k, (name, d, _) in enumerate(ARMS[:6], 1)}
    networks |= {(UNTRAINED, d): training.make(METHODS[NLL], d, V, RECIPE, SEED) for d in (2, 8)}
    planted = {}
    for (name, d), network in networks.items():
        h, p = read(network, here)
        planted[name, d] = h.mean(0), None if name == SQUARED else p
        expected[name, f"partial alignment [d={d}]"] = partial_by_hand(h.mean(0), here)
        if name != SQUARED:
            excess = (here.mu @ entropy(p).mean(0)).item() - truth
            expected[name, f"entropy excess [d={d}]"] = excess
    for name, white in ((FREE, 0), (FREE_UNIT, 1)):
        for d in (2, 3):
            planted[name, d] = normal(N, d, seed=50 + white), normal(N, V, seed=60 + white).softmax(-1)[None]
    for (name, d), (h, p) in planted.items():
        for kernel in KERNELS:
            expected[name, f"overlap, {kernel} [d={d}]"] = value = overlap_by_hand(h, kernel, here)
            if name == NLL:
                expected[kernel, f"overlap of {NLL} [d={d}]"] = value
        if p is not None:
            apart = (here.law * (here.law / p).log()).sum(-1)  # of the true law from the predicted one
            expected[name, f"KL to truth [d={d}]"] = (apart @ here.mu).mean().item()
    for d in (2, 8):
        for kernel in KERNELS:
            leading = span(features(kernel, here.law), here.mu)[0][:, :d] / here.mu.sqrt()[:, None]
            expected[kernel, f"overlap with linear [d={d}]"] = overlap_by_hand(leading, "linear", here)
    for number, (name, d, _) in enumerate(ARMS[:6], 1):
        lines = {"apart": [], "excess": [], **{kernel: [] for kernel in KERNELS}}
        for step in (0, 2, 5, 9):
            network = Planted(100 * number + step, d)
            h, p = (x[:2].mean(0) for x in read(network, here))  # after the first half of the pasts
            for kernel in KERNELS:
                lines[kernel].append(overlap_by_hand(h, kernel, here))
            lines["apart"].append((here.mu @ (here.law * (here.law / p).log()).sum(-1)).item())
            lines["excess"].append((here.mu @ entropy(p)).item() - truth)
            shown = wired.exhibits[name, d][step]
            close(shown.h, h)
            close(shown.p, p)
            close(shown.w, network.w)
        named = {f"overlap, {kernel} [d={d}]": lines[kernel] for kernel in KERNELS}
        expected[name, f"rise in training [d={d}]"] = rank_correlation((0, 2, 5, 9), lines["linear"])
        if name != SQUARED:
            named |= {f"KL to truth [d={d}]": lines["apart"], f"entropy excess [d={d}]": lines["excess"]}
            gap = np.abs(lines["excess"])
            expected[name, f"gap falls with KL [d={d}]"] = rank_correlation(lines["apart"], gap)
        for metric, line in named.items():
            assert wired.curves[name, metric]["x"] == [0, 2, 5, 9]
            assert wired.curves[name, metric]["y"] == pytest.approx(line, abs=1e-5), (name, metric)
    for key, value in expected.items():
        assert scores[key] == pytest.approx(value, abs=1e-5), key
    rest = {metric.partition(" [")[0] for _, metric in set(scores) - set(expected)}
    assert rest == {
        *("share of rank idle", "Dirichlet energy", "slope of short moves", "correlation at full length", "surplus"),
        *("rank correlation, acceptance", "rank correlation, gain"),
    }


def test_metrics_directions_and_drafts_are_scored_as_worked_out_by_hand(wired):
    scores, here, expected = wired.scores, wired.labs[1.0], {}
    for number, d in ((1, 8), (2, 2)):
        start = training.make(METHODS[NLL], d, V, RECIPE, SEED)
        for name, network, ends in (
            (NLL, Planted(number, d), ("top directions", "bottom directions")),
            (UNTRAINED, start, ("top, untrained", "bottom, untrained")),
        ):
            h = read(network, here)[0].mean(0)
            centred = h - here.mu @ h
            values, vectors = torch.linalg.eigh(centred.T @ (here.mu[:, None] * centred))
            z = centred @ vectors * values**-0.5  # whitened by the principal axes
            rows = (network.w if isinstance(network, Planted) else network.head.weight.detach().double()) @ vectors
            p = (h @ (rows @ vectors.T).T).softmax(-1)
            v = rows * values**0.5
            metric = sum(m * (v.T @ (q.diag() - q[:, None] * q) @ v) for m, q in zip(here.mu, p, strict=True))
            sharp, directions = torch.linalg.eigh(metric)
            share = sharp / sharp.sum()
            expected[name, f"share of rank idle [d={d}]"] = 1 - entropy(share).exp().item() / d
            phi = z @ directions  # the least sensitive first
            few = max(1, d // 4)
            for kernel in ("linear", "surface"):
                similar = features(kernel, here.law) @ features(kernel, here.law).T
                weight = here.mu[:, None] * here.mu * similar
                for quarter, end in ((phi[:, -few:], ends[0]), (phi[:, :few], ends[1])):
                    raw = [(weight * (x[:, None] - x).square()).sum() / 2 for x in quarter.T]  # their variance is 1
                    expected[end, f"Dirichlet energy [{kernel}] [d={d}]"] = np.mean(raw) / weight.sum().item()
        chance = rng(SEED, "moves")
        begin, end = chance.choice(N, (2, 2000), p=here.mu.numpy())
        h = read(Planted(number, d), here)[0].mean(0)
        w = Planted(number, d).w
        spread = torch.linalg.cholesky((here.mu[:, None] * (h - here.mu @ h)).T @ (h - here.mu @ h))
        random = 2**0.5 * torch.from_numpy(chance.standard_normal((2000, d))) @ spread.T
        for kind, move in (("random directions", random), ("differences of states", h[end] - h[begin])):
            p = (h[begin] @ w.T).softmax(-1)
            moved = move @ w.T
            square = (p * moved**2).sum(1) - (p * moved).sum(1) ** 2
            apart = [kl(((h[begin] + eps * move) @ w.T).softmax(-1), p) for eps in (0.02, 1.0)]
            short = 0.02**2 * square / 2
            expected[kind, f"slope of short moves [d={d}]"] = ((short * apart[0]).sum() / short.square().sum()).item()
            expected[kind, f"correlation at full length [d={d}]"] = np.corrcoef(square, apart[1])[0, 1]
        projection = torch.randn(4, d, generator=torch_rng(SEED, "projection", d), dtype=torch.float64)
        _, wide, narrow = places_of(Planted(number, d), here)
        places = {"state before the bottleneck": wide, "behind the bottleneck": narrow}
        for place, state in (places | {"random projection": wide @ projection}).items():
            expected[place, f"surplus [d={d}]"] = wired.readable(here, state)
    points = {}
    for memory, number in ((0.0, 7), (0.5, 8), (1.0, 1)):  # the last is the whole source's own network
        source, network = wired.labs[memory], Planted(number, 8)
        p = read(network, source)[1]
        blind = (source.mu @ source.law).expand(N, V)
        for place, h in zip(("embedding", "block 1", "bottleneck"), places_of(network, source), strict=True):
            share = wired.acceptance(source, h, p)
            gain = share - drafts.accepted(source, p.mean(0), blind)
            points.setdefault(place, []).append((wired.readable(source, h), share, gain))
        best = drafts.accepted(source, source.law, source.world.later(2).flatten(0, -2))
        nothing = drafts.accepted(source, source.law, blind)
        points.setdefault("exact laws", []).append((source.world.surplus(), best, best - nothing))
    for place, found in points.items():
        held, shares, gains = zip(*found, strict=True)
        expected[place, "rank correlation, acceptance"] = rank_correlation(held, shares)
        expected[place, "rank correlation, gain"] = rank_correlation(held, gains)
        for name, line in (("surplus", held), ("acceptance", shares), ("gain over a blind draft", gains)):
            assert wired.curves[place, name]["x"] == [0.0, 0.5, 1.0]
            assert wired.curves[place, name]["y"] == pytest.approx(line, abs=1e-5)
    for key, value in expected.items():
        assert scores[key] == pytest.approx(value, abs=1e-5), key
    assert len({value for key, value in expected.items() if "rank corr" in key[1]}) > 1
    assert geometry.MOVES == 2000


# ---- the record


def test_claims_and_gates_compare_what_they_say_and_the_probe_holds():
    below = ("d=2", "d=4", "d=8")
    four, energy = "overlap, linear [d=4]", "Dirichlet energy [linear] [d=8]"
    rows = {
        c.key: (c.metric, c.better, c.worse, c.margin, c.lower_is_better, c.everywhere)
        for c in (*PAPER.claims, *PAPER.also)
    }
    assert {c.kind for c in (*PAPER.claims, *PAPER.also)} == {"superiority"}
    assert [c.key for c in PAPER.claims] == ["C1", "C2", "C3", "C4", "C5", "C6"]
    assert rows == {
        "C1": (four, NLL, UNTRAINED, 0.1, False, ()),
        "C2": (f"overlap of {NLL}", "linear", "log-ratio", 0, False, below),
        "C3": ("gap falls with KL [d=16]", NLL, None, 0.5, False, ()),
        "C4": ("rank correlation, acceptance", "bottleneck", None, 0, False, ()),
        "C5": ("correlation at full length [d=16]", "differences of states", None, 0.5, False, ()),
        "C6": (energy, "top directions", "bottom directions", 0, True, ()),
        "C1b": (four, NLL, SHUFFLED, 0, False, ()),
        "C1c": ("rise in training [d=4]", NLL, None, 0, False, ()),
        "C1d": ("partial alignment [d=4]", NLL, UNTRAINED, 0, False, ()),
        "C1e": ("overlap, linear", NLL, UNTRAINED, 0, False, below),
        "C1f": (four, UNIT, UNTRAINED, 0, False, ()),
        "C2b": (f"overlap of {NLL}", "bhattacharyya", "log-ratio", 0, False, below),
        "C3b": ("entropy excess [d=16]", SMOOTHED, NLL, 0, False, ()),
        "C3c": ("gap falls with KL [d=16]", NLL, SMOOTHED, 0, False, ()),
        "C4b": ("rank correlation, gain", "bottleneck", None, 0, False, ()),
        "C4c": ("surplus [d=4]", "state before the bottleneck", "behind the bottleneck", 0, False, ()),
        "C5b": ("share of rank idle [d=16]", NLL, UNTRAINED, 0, False, ()),
        "C6b": (energy, "top directions", "top, untrained", 0, True, ()),
    }
    assert [(g.method, g.metric, g.least, g.most) for g in PAPER.gates] == [
        (NLL, "KL to truth [d=16]", None, 0.05),
        (UNTRAINED, four, None, 0.1),
        ("surface", "overlap with linear [d=4]", None, 0.2),
        ("log-ratio", "overlap with linear [d=8]", None, 0.9),
        ("differences of states", "slope of short moves [d=16]", 0.95, 1.05),
    ]
    check_probe(PAPER, recorded(PAPER.slug))
