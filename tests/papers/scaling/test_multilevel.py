"""The maps between sizes, the V-cycle, the account of FLOPs; how the experiment is wired; the probe."""

from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from stages.evidence import Outcome, check_probe, recorded
from stages.models import GPT, seeded
from stages.papers.scaling.multilevel import (
    PAPER,
    coalesce,
    coalescing,
    decoalesce,
    decoalescing,
    double_depth,
    experiment,
    halve_depth,
    interpolate,
    resize_layer,
    resize_width,
    training,
    v_cycle,
)
from stages.papers.scaling.multilevel import arms as starts
from stages.papers.scaling.multilevel.arms import CONTROL, SCRATCH, STACKED, cycle
from stages.papers.scaling.multilevel.experiment import (
    GAP,
    GROWN,
    LAST_FIFTH,
    LOSS,
    RANK,
    SAVED,
    SAVED_EARLY,
    SMALL,
    saved,
)
from stages.papers.scaling.multilevel.method import build, sizes_of
from stages.papers.scaling.multilevel.training import Account, Ending, Schedule, World, training_flops
from stages.training import effective_rank, fit, next_token_loss, optimiser
from stages.worlds import tinytext

TOKENS = torch.arange(60).view(5, 12) * 7 % 20


def network(width=16, depth=4, heads=4, seed=0):
    """A network whose biases and norms are random too, so that a map that forgets one shows."""
    with seeded(seed):
        model = GPT(20, width=width, depth=depth, heads=heads, length=12)
        with torch.no_grad():
            for values in model.parameters():
                values += 0.1 * torch.randn_like(values)
    return model


def parameters(model):
    return torch.cat([values.flatten() for values in model.state_dict().values()])


# ---- the maps


def test_the_widths_maps_are_those_of_the_paper():
    assert coalescing(4).tolist() == [[0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5]]
    assert decoalescing(2).tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]
    weight = torch.arange(8.0).view(2, 4)
    halved = resize_layer(weight, coalescing)  # outputs averaged, inputs summed
    assert halved.tolist() == [[(0 + 2 + 4 + 6) / 2, (1 + 3 + 5 + 7) / 2]]
    doubled = resize_layer(halved, decoalescing)  # outputs copied, inputs halved
    assert doubled.tolist() == [[3, 4, 3, 4], [3, 4, 3, 4]]


def test_coalescing_undoes_decoalescing():
    small = network(width=8, depth=2, heads=2)
    grown = decoalesce(small)
    assert sizes_of(grown) == {"width": 16, "depth": 4, "heads": 4}
    torch.testing.assert_close(parameters(coalesce(grown)), parameters(small))
    assert not torch.allclose(parameters(decoalesce(coalesce(network()))), parameters(network()))


def test_a_network_of_copied_neurons_computes_the_same():
    small = network(width=8, depth=2, heads=2)
    wide = build(resize_width(small.state_dict(), decoalescing), {"width": 16, "depth": 2, "heads": 4}, small)
    torch.testing.assert_close(wide(TOKENS), small(TOKENS), rtol=1e-4, atol=1e-5)
    halved = deepcopy(wide)  # what the paper's code does: it halves the embeddings and leaves the norm
    with torch.no_grad():
        for values in (halved.norm.weight, halved.norm.bias):
            values *= 2
        for values in (halved.embedding.weight, halved.positions):
            values /= 2
    assert (halved(TOKENS) - small(TOKENS)).abs().mean() > 0.05
    assert (decoalesce(small)(TOKENS) - small(TOKENS)).abs().mean() > 0.05  # copied blocks change the function


def test_blocks_are_paired_across_the_halves_and_heads_stay_whole():
    large = network()
    small = coalesce(large)
    first, second = (block.attention.qkv for block in (large.blocks[1], large.blocks[3]))
    got = small.blocks[1].attention.qkv
    for part in range(3):  # q, k, v
        rows = slice(16 * part, 16 * (part + 1))
        mean = (first.weight[rows] + second.weight[rows]) / 2
        mean = (mean[:8] + mean[8:]) / 2  # head 1 with head 3, head 2 with head 4
        torch.testing.assert_close(got.weight[8 * part : 8 * (part + 1)], mean[:, :8] + mean[:, 8:])
        bias = (first.bias[rows] + second.bias[rows]) / 2
        torch.testing.assert_close(got.bias[8 * part : 8 * (part + 1)], (bias[:8] + bias[8:]) / 2)
    halved = halve_depth(large.state_dict())
    for block in (0, 1):
        name = "mlp.0.bias"
        pair = [large.state_dict()[f"blocks.{i}.{name}"] for i in (block, block + 2)]
        torch.testing.assert_close(halved[f"blocks.{block}.{name}"], (pair[0] + pair[1]) / 2)
    doubled = double_depth(halved)
    for name, values in doubled.items():
        if name.startswith("blocks."):
            _, block, rest = name.split(".", 2)
            assert torch.equal(values, halved[f"blocks.{int(block) % 2}.{rest}"])
    again = halve_depth(doubled)
    assert all(torch.equal(again[name], values) for name, values in halved.items())
    with pytest.raises(ValueError, match="even numbers"):
        coalesce(network(depth=3))


def test_the_cycle_mixes_with_the_network_as_it_was_before_coalescing():
    before, grown = network(seed=1), network(seed=2)
    kept = parameters(before).clone()
    assert torch.equal(parameters(interpolate(before, grown, 0)), kept)
    assert torch.equal(parameters(interpolate(before, grown, 1)), parameters(grown))
    mixed = interpolate(before, grown, 0.25)
    torch.testing.assert_close(parameters(mixed), 0.75 * kept + 0.25 * parameters(grown))
    with torch.no_grad():
        mixed.positions += 1
    assert torch.equal(parameters(before), kept)

    large = network(width=16)
    start = parameters(large).clone()
    calls = []

    def train(model, updates):
        calls.append((sizes_of(model)["width"], updates))
        with torch.no_grad():
            for values in model.parameters():
                values += updates
        trained.append(deepcopy(model))

    trained = []
    made = v_cycle(large, train, initial=3, small=5, alpha=0.5)
    assert calls == [(16, 3), (8, 5)]
    assert torch.equal(parameters(large), start)
    torch.testing.assert_close(parameters(trained[0]), start + 3)
    torch.testing.assert_close(parameters(trained[1]), parameters(coalesce(trained[0])) + 5)
    expected = (start + 3) / 2 + parameters(decoalesce(trained[1])) / 2
    torch.testing.assert_close(parameters(made), expected)
    calls.clear()
    v_cycle(large, train, initial=3, small=5, alpha=0.5, levels=3)
    assert calls == [(16, 3), (8, 3), (4, 5), (8, 5)]


def test_twin_neurons_stay_twins_unless_interpolation_parts_them():
    def after_training(alpha):
        model = interpolate(network(seed=1), decoalesce(network(width=8, depth=2, heads=2)), alpha)
        adam = optimiser(model.parameters(), "adamw", 1e-2)
        fit(lambda step: next_token_loss(model(TOKENS), TOKENS), 5, adam)
        return model.blocks[0].mlp[0].weight.detach()

    twins, parted = after_training(1.0), after_training(0.5)
    torch.testing.assert_close(twins[:32], twins[32:], rtol=1e-3, atol=1e-4)
    assert (parted[:32] - parted[32:]).abs().mean() > 0.01
    assert effective_rank(twins) < 8.1 < effective_rank(parted)


# ---- the account


def account(whole=20, tail=0.2, warmup=4, watched=1000):
    """An account of a tiny world; the network of 16 x 4 is the large one."""
    batches = torch.randint(20, (60, 5, 12), generator=torch.Generator().manual_seed(0))
    world = World(batches, TOKENS)
    rates = {(16, 4): 1e-2, (8, 2): 2e-2, (16, 2): 3e-2}
    cost = training_flops(network())
    return Account(world, Schedule(whole * cost, whole, warmup, tail, rates, watched, 2))


def test_an_ending_is_one_uninterrupted_training_with_its_own_tail():
    """A budget's branch has the trunk's parameters and optimiser, and leaves the trunk as it is."""
    both = account().finish(network(), (0.5, 1.0))
    for ending in both:
        alone = account().finish(network(), (ending.budget,))[0]
        assert alone.loss == ending.loss
        steps = round(20 * ending.budget)
        tail = steps // 5
        model, book = network(), account()
        book.advance(model, book.new_optimiser(model), steps, tail)
        torch.testing.assert_close(parameters(model), parameters(ending.network))
        assert ending.curve[-1][:2] == (16, steps * training_flops(model))
    spent = account()
    spent.spent = 19 * training_flops(network())
    with pytest.raises(ValueError, match="no room for a tail"):
        spent.finish(network(), (1.0,))


def test_flops_are_what_torch_counts_and_losses_are_measured_on_test_windows():
    for sizes in ({"width": 16, "depth": 4, "heads": 4}, {"width": 8, "depth": 2, "heads": 2}):
        model = network(**sizes)
        tokens = torch.zeros(3, 12, dtype=torch.int64)
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model(tokens).sum().backward()
        assert training_flops(model) == counter.get_total_flops() / tokens.numel()
    model, book = network(), account(watched=3)
    book.train(model, 7)
    cost = training_flops(model)
    assert [(width, spent) for width, spent, _ in book.curve] == [(16, 3 * cost), (16, 6 * cost), (16, 7 * cost)]
    assert book.curve[-1][2] == training.held_out_loss(model, TOKENS[:2])
    guesses = model(TOKENS).detach().log_softmax(-1)[:, :-1]
    right = guesses.gather(-1, TOKENS[:, 1:, None])
    assert training.held_out_loss(model, TOKENS) == pytest.approx(-float(right.mean()), rel=1e-5)


def test_rates_rise_once_and_fall_before_each_ending_and_update_n_reads_batch_n(monkeypatch):
    factors = []

    def recorder(loss, steps, adam, *, schedule, clip, after_step):
        assert clip == 1.0
        assert adam.param_groups[0]["weight_decay"] == 0.01
        for step in steps:
            factors.append((step, adam.param_groups[0]["lr"], schedule(step)))
            loss(step)
            assert torch.equal(read[-1], book.world.batches[step])
            after_step(step)

    read = []
    monkeypatch.setattr(training, "fit", recorder)
    monkeypatch.setattr(training, "next_token_loss", lambda logits, tokens: read.append(tokens) or torch.tensor(0.0))
    book = account()
    book.train(network(), 4)  # no longer than the warm-up: no tail
    book.train(network(width=8, depth=2, heads=2), 10)
    assert [step for step, _, _ in factors] == list(range(14))
    assert [rate for _, rate, _ in factors] == [1e-2] * 4 + [2e-2] * 10
    assert [factor for _, _, factor in factors] == pytest.approx([0.25, 0.5, 0.75, 1] + [1] * 8 + [2 / 3, 1 / 3])
    small = training_flops(network(width=8, depth=2, heads=2))
    assert book.spent == 4 * training_flops(network()) + 10 * small
    factors.clear()
    book.finish(network(), (1.0,))
    left = round(16 - 10 * small / training_flops(network()))
    assert [factor for _, _, factor in factors] == pytest.approx([1] * (left - 4) + [0.8, 0.6, 0.4, 0.2])
    factors.clear()
    account().train(network(width=8, depth=2, heads=2), 10)
    assert [factor for _, _, factor in factors] == pytest.approx([0.25, 0.5, 0.75, 1] + [1] * 4 + [2 / 3, 1 / 3])


# ---- the wiring of the experiment

SETTINGS = experiment.Settings(
    width=16,
    length=12,
    batch=2,
    tokens=500,
    test=30,
    updates=100,
    initial=5,
    small=50,
    stacked=20,
    rate=0.1,
    small_rate=0.2,
    stacked_rate=0.3,
    scratch_ends=(0.6, 0.8, 1.0, 1.2),
    cycle_ends=(0.4, 0.6, 0.8, 0.9, 1.0),
    alphas=(0.0, 0.25, 0.5, 0.75, 1.0),
    watched=7,
    shown=10,
)


@pytest.fixture(scope="module")
def wired():
    """A run in which an update adds 1 to all biases of the last norm, and the loss is 100 less their mean.

    Coalescing doubles those biases and de-coalescing halves them, so they tell how often which network was updated.
    """
    stages, worlds = [], []

    def advance(self, model, adam, updates, tail=0):
        if self.seen == 0 and all(self.world is not world for world in worlds):
            worlds.append(self.world)
        sizes = sizes_of(model)
        stages.append(
            SimpleNamespace(
                book=self.schedule,
                sizes=(sizes["width"], sizes["depth"], sizes["heads"]),
                rate=adam.param_groups[0]["lr"],
                first=self.seen,
                updates=updates,
                tail=tail,
                start=parameters(model).clone(),
            )
        )
        self.seen += updates
        self.spent += updates * training_flops(model)
        self.curve.append((sizes["width"], self.spent, planted(model, self.world.tests[: self.schedule.shown])))
        with torch.no_grad():
            model.norm.bias += updates

    def planted(model, tests):
        return 100 - float(model.norm.bias.detach().mean()) + len(tests) / 1000

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.Account, "advance", advance)
        for module in (training, starts, experiment):
            patch.setattr(module, "held_out_loss", planted)
        outcome = PAPER.run(SETTINGS, 3)
        PAPER.run(replace(SETTINGS, alphas=(0.5,)), 4)
    scores = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    return SimpleNamespace(
        scores=scores, stages=stages, worlds=worlds, curves=outcome.curves, exhibits=outcome.exhibits
    )


SHARE = training_flops(GPT(231, 8, 2, 2, 12)) / training_flops(GPT(231, 16, 4, 4, 12))  # a small update's cost
HALF = training_flops(GPT(231, 16, 2, 4, 12)) / training_flops(GPT(231, 16, 4, 4, 12))
BEFORE = round(5 / SHARE)  # small updates that cost as much as five large ones
CYCLE_LEFT = round(100 - 5 - 50 * SHARE)
FINAL = {  # updates that the final biases tell
    SCRATCH: 100,
    **{cycle(a): (1 - a) * 5 + a * (5 * 2 + 50) / 2 + CYCLE_LEFT for a in (0, 0.25, 0.5, 0.75, 1)},
    CONTROL: 0.5 * (50 + BEFORE) / 2 + round(100 - (50 + BEFORE) * SHARE),
    STACKED: 20 + round(100 - 20 * HALF),
}


def test_each_arm_trains_the_networks_it_names_for_as_long_as_it_says(wired):
    found = {name: 100.03 - wired.scores[name, LOSS] for name, metric in wired.scores if metric == LOSS}
    assert found == pytest.approx(FINAL, abs=1e-3)
    stages = [(s.sizes, s.rate, s.first, s.updates, s.tail) for s in wired.stages]
    large, small, half = (16, 4, 4), (8, 2, 2), (16, 2, 4)
    scratch = [(large, 0.1, first, count, tail) for first, count, tail in LADDER]
    assert stages[: len(scratch)] == scratch
    down = stages[len(scratch) : len(scratch) + 2]
    assert down == [(large, 0.1, 0, 5, 0), (small, 0.2, 5, 50, 10)]
    assert stages.count(down[1]) == 6  # five interpolation weights, and the run of seed 4
    before = 50 + BEFORE
    assert (small, 0.2, 0, before, round(before / 5)) in stages
    assert (half, 0.3, 0, 20, 4) in stages
    assert {s.book.budget for s in wired.stages} == {100 * training_flops(GPT(231, 16, 4, 4, 12))}


LADDER = [  # of the large network from scratch: trunk and tail of each budget
    *((0, 48, 0), (48, 12, 12)),
    *((48, 16, 0), (64, 16, 16)),
    *((64, 16, 0), (80, 20, 20)),
    *((80, 16, 0), (96, 24, 24)),
]


def test_arms_of_a_seed_start_alike_and_read_the_same_text(wired):
    first = [s.start for s in wired.stages if s.first == 0 and s.sizes == (16, 4, 4)]
    assert all(torch.equal(start, first[0]) for start in first[:6])
    assert not torch.equal(first[-1], first[0])  # the other seed
    new = SETTINGS.new(3, width=16, depth=4, heads=4)
    assert torch.equal(first[0], parameters(new))
    at = next(i for i, s in enumerate(wired.stages) if s.sizes == (8, 2, 2) and s.first == 0)
    small = SETTINGS.new(3, width=8, depth=2, heads=2)
    assert torch.equal(wired.stages[at].start, parameters(small))
    with torch.no_grad():
        small.norm.bias += wired.stages[at].updates
    grown = parameters(interpolate(new, decoalesce(small), 0.5))
    torch.testing.assert_close(wired.stages[at + 1].start, grown)
    one, other = wired.worlds  # one for each seed
    text, held_out = tinytext.corpus(500, 3), tinytext.corpus(125, 3, ("held out",))
    assert torch.equal(one.batches.view(-1, 12), tinytext.windows(text, 400, 12, 3, "batches"))
    assert torch.equal(one.tests, tinytext.windows(held_out, 30, 12, 3, "tests"))
    assert not torch.equal(one.batches, other.batches)
    assert not torch.equal(one.tests, other.tests)
    text = World.of(3, tokens=4000, updates=100, batch=8, length=24, test=100)
    trained = {window.numpy().tobytes() for window in text.batches.view(-1, 24)}
    assert not trained & {window.numpy().tobytes() for window in text.tests}


def test_scores_are_those_worked_out_by_hand(wired):
    scores = wired.scores
    target = 0.03  # of 100 updates
    for name in FINAL:
        if name not in (SCRATCH, CONTROL, STACKED):
            alpha = 1.0 if name == "growth only" else float(name.split("= ")[1])
            assert scores[name, SMALL] == pytest.approx(100.03 - 60)
            assert scores[name, GROWN] == pytest.approx(100.03 - ((1 - alpha) * 5 + alpha * 30), abs=1e-4)
        assert float(wired.exhibits[name].norm.bias.detach().mean()) == pytest.approx(FINAL[name], abs=1e-3)
    assert scores[CONTROL, SMALL] == pytest.approx(100.03 - 50 - BEFORE)
    assert scores[CONTROL, GROWN] == pytest.approx(100.03 - (50 + BEFORE) / 4, abs=1e-4)
    assert scores[STACKED, SMALL] == scores[STACKED, GROWN] == pytest.approx(80.03)
    assert scores[SCRATCH, LAST_FIFTH] == pytest.approx(20)
    assert scores[CONTROL, GAP] == pytest.approx(100.03 - 50 - BEFORE - target)
    ahead = FINAL[cycle(0.5)] - 100  # in large updates; it falls by one an update
    assert scores[cycle(0.5), SAVED] == pytest.approx(ahead, abs=1)
    ends = {row["name"]: row for row in wired.curves if row["method"] == cycle(0.5)}["endings"]
    needed = np.interp(40.03, ends["y"][::-1], ends["x"][::-1])  # from scratch at 60 %
    assert scores[cycle(0.5), SAVED_EARLY] == pytest.approx(100 - needed / 0.6, abs=1e-3)
    small = next(row for row in wired.curves if (row["method"], row["name"]) == (CONTROL, "small"))
    assert small["x"] == pytest.approx([(50 + BEFORE) * SHARE])
    assert small["y"] == pytest.approx([100.01])  # before the update, on ten windows
    endings = next(row for row in wired.curves if (row["method"], row["name"]) == (SCRATCH, "endings"))
    assert endings["x"] == pytest.approx([60, 80, 100, 120])
    assert endings["y"] == pytest.approx([40.03, 20.03, 0.03, -19.97], abs=1e-3)


def test_readings_of_an_ending_are_exact():
    """FLOPs saved, between endings and never beyond them; effective rank and spectrum of the network at 100 %."""
    pairs = ((0.4, 2.0), (0.8, 1.6), (1.0, 1.7), (1.2, 1.2))
    endings = [Ending(budget, loss, None, []) for budget, loss in pairs]
    for loss, budget, expected in (
        (1.8, 1.0, 40),  # half-way between 40 and 80 %
        (1.8, 0.5, -20),  # 60 % where the rival took 50 %
        (1.4, 1.0, -10),  # half-way between 100 and 120 %, past a bump at 100 %
        (3.0, 1.0, 60),
        (1.0, 1.0, -20),
    ):
        assert saved(endings, Ending(budget, loss, None, [])) == pytest.approx(expected)
    model = network(width=8, depth=2, heads=2)
    with torch.no_grad():
        for block, size in zip(model.blocks, (1.0, 3.0), strict=True):
            block.mlp[0].weight.zero_()
            block.mlp[0].weight[:2, :2] = size * torch.tensor([[0.0, 2.0], [2.0, 0.0]])
    outcome = Outcome()
    schedule = account().schedule
    experiment.describe(outcome, "arm", [Ending(0.6, 9.0, network(), []), Ending(1.0, 5.0, model, [])], schedule)
    scores = {row["metric"]: row["value"] for row in outcome.scores}
    assert scores == pytest.approx({LOSS: 5.0, RANK: 2.0})
    spectrum = next(row for row in outcome.curves if row["name"] == "spectrum")
    assert spectrum["y"] == pytest.approx([4, 4, 0, 0, 0, 0, 0, 0], abs=1e-5)


def test_claims_and_gates_compare_what_they_say():
    half = cycle(0.5)
    expected = {
        "C1": (SAVED, half, None, 5.0, "superiority", False),
        "C2": (LOSS, half, "growth only", 0.01, "superiority", True),
        "C3": (LOSS, half, CONTROL, 0.01, "superiority", True),
        "C4": (LOSS, half, STACKED, 0.01, "noninferiority", True),
        "C1b": (LOSS, half, SCRATCH, 0.01, "superiority", True),
        "C1c": (SAVED_EARLY, half, None, 0.0, "superiority", False),
        "C2b": (LOSS, half, cycle(0.25), 0.01, "superiority", True),
        "C2c": (RANK, half, "growth only", 0.0, "superiority", False),
        "C2d": (GROWN, "growth only", half, 0.0, "superiority", True),
        "C3b": (SMALL, half, CONTROL, 0.0, "superiority", True),
        "C3c": (LOSS, CONTROL, SCRATCH, 0.01, "superiority", True),
    }
    found = {
        c.key: (c.metric, c.better, c.worse, c.margin, c.kind, c.lower_is_better) for c in (*PAPER.claims, *PAPER.also)
    }
    assert found == expected
    gates = [(gate.method, gate.metric, gate.minus, gate.least, gate.most) for gate in PAPER.gates]
    assert gates == [(SCRATCH, LAST_FIFTH, None, 0.03, None), (CONTROL, GAP, None, 0.05, None)]


# ---- the record


def test_the_probe_holds():
    check_probe(PAPER, recorded(PAPER.slug))
