"""The schedule, the stream and its fairness; EWC and SI in closed form; how the experiment is wired; the probe."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stages.evidence import check_probe, load_record, recorded
from stages.evidence.probe import moved, setting_values
from stages.evidence.store import record_path
from stages.papers.continual.common.stacked import History, free
from stages.papers.continual.power_law_rehearsal import (
    EXPONENTIAL,
    NONE,
    PAPER,
    POWER,
    RECENCY,
    UNIFORM,
    Budget,
    Environment,
    counts,
    environments,
    experiment,
    learners,
    matched_exponential,
    mean_lag,
    power_law,
    recency,
    rehearsals,
    shares,
    stream,
)
from stages.papers.continual.power_law_rehearsal.experiment import AVERAGE, BEST, FORGETTING, GRID, JOINT, WORST, knob
from stages.papers.continual.power_law_rehearsal.learners import EWC, SI, diagonal_fisher
from stages.paths import data_dir
from stages.seeding import rng
from stages.training import StackedMLP

BUDGET = Budget(examples=100, rehearsed=110, epochs=1, batch=10)
TINY = experiment.Settings(
    BUDGET, tasks=4, hidden=(8,), lr=0.1, watched=3, ewc=7.0, si=0.7, rate=0.05, grid=tuple(GRID), alphas=(0.0, 2.0)
)
SHAPES = [RECENCY, EXPONENTIAL, UNIFORM, POWER]
EVEN = (np.arange(5_000) + 0.5) / 5_000  # draws from U[0, 1), without the noise


# ---- the schedule


def test_a_power_law_has_one_slope_on_log_axes_and_runs_from_uniform_to_recency():
    share = shares(power_law(1.5), 9)
    assert share.sum() == pytest.approx(1)
    assert share[0] / share[-1] == pytest.approx(9**-1.5)  # the oldest task first
    assert shares(power_law(0), 7) == pytest.approx(np.full(7, 1 / 7))
    assert shares(power_law(60), 7) == pytest.approx(shares(recency, 7))


def test_the_first_task_comes_back_as_often_as_the_exercise_says():
    def exposures(weights):
        return sum(200 * shares(weights, older)[0] for older in range(1, 10))

    assert exposures(power_law(1)) == pytest.approx(386, abs=0.5)
    assert exposures(power_law(0)) == pytest.approx(566, abs=0.5)


def test_rounding_keeps_the_sum_and_is_right_on_average_below_one_example():
    expected = 5 * shares(power_law(2), 20)  # the oldest task expects 0.008 examples
    draws = np.array([rehearsals(expected, u) for u in EVEN])
    assert (draws.sum(1) == 5).all()
    assert (np.abs(draws - expected) < 1).all()
    assert draws.mean(0) == pytest.approx(expected, abs=3e-4)


def test_the_exponential_has_the_power_laws_mean_lag_and_a_lighter_tail():
    for law in (power_law(0.5), power_law(2.0)):
        match = matched_exponential(law, 9)
        assert mean_lag(match, 9) == pytest.approx(mean_lag(law, 9))
        assert np.diff(np.log(shares(match, 9)), 2) == pytest.approx(0, abs=1e-9)  # a straight line on one log axis
        assert shares(match, 9)[0] < shares(law, 9)[0]


# ---- the stream


def test_environments_differ_in_the_schedule_and_in_nothing_else():
    for arrangement in ("mixed", "sequential", "environment"):
        compared = environments(BUDGET, 10, arrangement)
        drawn = {name: stream(environment, BUDGET, 6, seed=2) for name, environment in compared.items()}
        assert len({batches.shape for batches in drawn.values()}) == 1
        assert len({(drawn[name] < 600).sum() for name in SHAPES}) == 1  # as many old examples
        assert (drawn[NONE] >= 600).all()
        power = drawn[POWER].ravel()
        last = drawn[RECENCY].ravel()
        new = power >= 600
        assert (new == (last >= 600)).all()  # new examples in the same places, and the same ones
        assert (power[new] == last[new]).all()
        assert (last[~new] >= 500).all()
        rounded = counts(compared[POWER], BUDGET, 6, rng(2, "rounding", 6).random())
        assert np.bincount(power // 100, minlength=7).tolist() == rounded.tolist()
        first = [stream(environment, BUDGET, 0, seed=2) for environment in compared.values()]
        assert all((batches == first[0]).all() for batches in first)


def test_arrangements_put_old_examples_where_they_say():
    late = stream(Environment(power_law(1), "sequential"), BUDGET, 5, seed=0).ravel()
    assert (late[:100] >= 500).all()
    assert (late[100:] < 500).all()
    law = environments(BUDGET, 10, "environment")[POWER]
    got = np.mean([counts(law, BUDGET, 9, u) for u in EVEN[::5]], axis=0)
    assert got == pytest.approx(100 * shares(power_law(1), 10), abs=0.4)  # p_i ∝ (n-i+1)^-1 of K examples
    joint = stream(Environment(power_law(0), "joint"), BUDGET, 3, 0)
    assert sorted(joint.ravel()) == list(range(400))


def test_a_task_is_drawn_without_repeats_and_a_buffer_stays_the_same():
    budget = replace(BUDGET, rehearsed=60)
    shown = [set(stream(Environment(recency), budget, 6, seed).ravel()) for seed in (0, 1)]
    assert [len(examples) for examples in shown] == [160, 160]
    assert shown[0] != shown[1]  # another seed draws other examples of the old task
    kept = []
    for phase in (4, 7):
        shown = stream(Environment(power_law(0), buffer=5), BUDGET, phase, 0).ravel()
        kept.append(set(shown[(shown >= 300) & (shown < 400)]))
    assert kept[0] == kept[1]
    assert len(kept[0]) == 5


# ---- EWC and SI


def random_stack(members, sizes):
    return StackedMLP(sizes, range(members)).double()


def test_ewc_adds_the_gradient_of_one_quadratic_a_task():
    model = random_stack(2, (4, 5, 3))
    images = torch.randn(4, 4, dtype=torch.double, generator=torch.Generator().manual_seed(1))
    by_hand = [torch.zeros_like(p) for p in model.parameters()]
    for member in range(2):
        for image in images:
            log_p = model(image.expand(2, 1, -1))[member, 0].log_softmax(-1)
            for c, p_c in enumerate(log_p.detach().exp()):
                gradient = torch.autograd.grad(log_p[c], list(model.parameters()), retain_graph=True)
                for total, g in zip(by_hand, gradient, strict=True):
                    total += p_c * g**2 / len(images)
    for fisher, total in zip(diagonal_fisher(model, images), by_hand, strict=True):
        torch.testing.assert_close(fisher, total)

    strength = torch.tensor([3.0, 0.0], dtype=torch.double)
    penalty, energy = EWC(model, strength), 0.0
    terms = []
    for seen in (images, images[:3]):
        terms.append((diagonal_fisher(model, seen), [p.detach().clone() for p in model.parameters()]))
        penalty.end_task(seen)
        with torch.no_grad():
            for p in model.parameters():
                p += 0.1
    for fisher, anchors in terms:
        for f, p, anchor in zip(fisher, model.parameters(), anchors, strict=True):
            energy = energy + (strength.view(-1, 1, 1) / 2 * f * (p - anchor) ** 2).sum()
    expected = torch.autograd.grad(energy, list(model.parameters()))
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    penalty.add_gradient()
    for p, g in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, g)
        assert (p.grad[1] == 0).all()  # no strength, no pull


def test_si_measures_the_fall_of_the_loss_and_pulls_back_by_it():
    """With loss ½ Σ h θ² and small steps along its gradient, ω_j tends to ½ h_j (θ_j(0)² - θ_j(T)²)."""
    model = random_stack(2, (3, 2))
    h = [torch.linspace(0.5, 2, p.numel(), dtype=torch.double).view(p.shape) for p in model.parameters()]
    start = [p.detach().clone() for p in model.parameters()]
    strength = torch.tensor([2.0, 0.0], dtype=torch.double)
    penalty = SI(model, strength)
    for _ in range(1000):
        for p, curve in zip(model.parameters(), h, strict=True):
            p.grad = curve * p.detach()
        penalty.add_gradient()
        with torch.no_grad():
            for p in model.parameters():
                p -= 2e-4 * p.grad
        penalty.after_step()
    penalty.end_task()
    for i, p in enumerate(model.parameters()):
        fall = 0.5 * h[i] * (start[i] ** 2 - p.detach() ** 2)
        omega = fall / ((p.detach() - start[i]) ** 2 + 0.1)
        torch.testing.assert_close(penalty.importance[i], omega, rtol=2e-3, atol=1e-9)
    end = [p.detach().clone() for p in model.parameters()]
    with torch.no_grad():
        for p in model.parameters():
            p += 1.0
            p.grad = torch.full_like(p, 0.25)
    penalty.add_gradient()
    for i, p in enumerate(model.parameters()):
        pull = 2 * strength.view(-1, 1, 1) * penalty.importance[i] * (p.detach() - end[i])
        torch.testing.assert_close(p.grad, 0.25 + pull)
    with torch.no_grad():
        for p in model.parameters():
            p -= 0.1
    penalty.after_step()
    for path in penalty.path:  # the penalty's own pull is no part of the path
        torch.testing.assert_close(path, torch.full_like(path, 0.25 * 0.1))


# ---- the wiring of the experiment


class Recorder:
    """Stands in for the learner: notes what it is given and returns planted numbers.

    After phase n a network has (80 - 5 (n - i)) s per cent on task i, and (40 + n²) s at the start of phase n; the
    factor s is another for each network. A network on one task alone starts at 45 per cent.
    """

    def __init__(self):
        self.calls = []
        self.networks = 0

    def __call__(self, tasks, batches, hidden, lr, seed, watched=0, penalties=free, reset=False):
        drawn = [batches(phase) for phase in range(min(4, len(tasks)))]
        members = drawn[0].shape[1]
        model = StackedMLP((tasks.images.shape[1], *hidden, 10), [seed] * members)
        held = {type(penalty): penalty.strength.flatten().tolist() for penalty in penalties(model)}
        alone = len(tasks) == 1
        factors = [1 + (self.networks + member) / 100 for member in range(members) if not alone]
        call = {"tasks": tasks, "batches": drawn, "hidden": hidden, "lr": lr, "seed": seed, "watched": watched}
        self.calls.append(SimpleNamespace(**call, reset=reset, held=held, factors=factors))
        if alone:
            return History(torch.full((members, 1, 1), 1.0), torch.full((members, 1, watched), 45.0))
        self.networks += members
        n = torch.arange(len(tasks), dtype=torch.float)
        lag = n[:, None] - n
        matrix = torch.where(lag >= 0, 80.0 - 5 * lag, 10.0)
        start = (40.0 + n**2)[:, None].expand(-1, watched)
        s = torch.tensor(factors)[:, None, None]
        return History(s * matrix, s * start)


@pytest.fixture(scope="module")
def wired():
    """A run of all arms and of the whole grid."""
    return record(TINY, seed=3)


def record(settings, seed):
    """Run the experiment with the learner replaced by a recorder."""
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learners, "learn", recorder)
        outcome = PAPER.run(settings, seed)
    scores = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    return SimpleNamespace(calls=recorder.calls, scores=scores, curves=outcome.curves)


def network(wired, score, of_one):
    """Find the network behind a score: its call, its place in the stack, and its factor."""
    factor = pytest.approx(wired.scores[score] / of_one, rel=1e-4)
    found = [(call, i) for call in wired.calls for i, other in enumerate(call.factors) if other == factor]
    assert len(found) == 1
    return *found[0], found[0][0].factors[found[0][1]]


def shown(call, member, phase):
    """Count how many examples of each task a network sees in a phase, the oldest task first."""
    return np.bincount(call.batches[phase][:, member].ravel() // BUDGET.examples, minlength=phase + 1)


LAST_PHASE = {  # examples of tasks 1 to 4: by hand, 110 old ones at lags 3, 2, 1
    NONE: [0, 0, 0, 210],
    RECENCY: [0, 0, 110, 100],
    UNIFORM: [36.7, 36.7, 36.7, 100],
    POWER: [20, 30, 60, 100],  # as 1/3 : 1/2 : 1
    EXPONENTIAL: [18.7, 32.7, 58.7, 100],  # as q² : q : 1 with the same mean lag, 18/11
    BEST: [34.9, 36.6, 38.5, 100],  # as exp(-0.1) : exp(-0.05) : 1
    knob(0.0): [36.7, 36.7, 36.7, 100],
    knob(2.0): [9, 20.2, 80.8, 100],  # as 1/9 : 1/4 : 1
    knob(0.0, "sequential"): [36.7, 36.7, 36.7, 100],
    knob(2.0, "sequential"): [9, 20.2, 80.8, 100],
    "EWC": [0, 0, 0, 210],
    "SI": [0, 0, 0, 210],
    JOINT: [100, 100, 100, 100],
}


def test_each_arm_learns_from_its_own_stream_with_its_own_strengths(wired):
    assert {method for method, metric in wired.scores if metric == AVERAGE} == set(LAST_PHASE)
    for name, expected in LAST_PHASE.items():
        call, member, _ = network(wired, (name, AVERAGE), 72.5)
        assert np.abs(shown(call, member, 3) - expected).max() <= 1, name
        ends_old = (call.batches[3][-11:, member] < 300).all()
        assert ends_old == ("sequential" in name), name
        strengths = {kind: values[member] for kind, values in call.held.items()}
        assert strengths == pytest.approx({"EWC": {EWC: 7, SI: 0}, "SI": {EWC: 0, SI: 0.7}}.get(name, {})), name


def test_all_arms_of_a_seed_are_paired_and_never_see_a_test_image(wired):
    for number, call in enumerate(wired.calls):  # 4 fresh networks, 3 stacks of the base setting, the grid
        assert (call.seed, call.lr, call.watched) == (3, 0.1, 3 if number < 7 else 0)
    alike = [call for call in wired.calls if len(call.tasks) == 4]
    for call in alike:
        assert torch.equal(call.tasks.images, alike[0].tasks.images)
        assert torch.equal(call.tasks.test_images, alike[0].tasks.test_images)
        for member in range(call.batches[0].shape[1]):
            assert (call.batches[0][:, member] == alike[0].batches[0][:, 0]).all()
    for task, test in enumerate(alike[0].tasks.test_images):
        learnt = {image.numpy().tobytes() for image in alike[0].tasks.only(task).images}
        assert not learnt & {image.numpy().tobytes() for image in test}
    other = record(replace(TINY, grid=()), seed=4).calls[-1]
    assert not torch.equal(other.tasks.images, alike[0].tasks.images)
    assert (other.batches[0][:, 0] != alike[0].batches[0][:, 0]).any()


def test_scores_are_those_worked_out_by_hand(wired):
    for name in LAST_PHASE:
        s = network(wired, (name, AVERAGE), 72.5)[2]  # after phase 4: 65, 70, 75 and 80 per cent
        joint = name == JOINT
        none = name in (NONE, "EWC", "SI")
        expected = {
            WORST: 65 * s,
            FORGETTING: 10 * s,  # tasks 1 to 3 fell by 15, 10 and 5 points from 80
            experiment.SLOPE: 4 * s,  # 41, 44, 49 in phases 2 to 4
            experiment.HEAD_START: 134 / 3 * s - 45,
            experiment.REHEARSED: 600 if joint else 0 if none else 330,
            experiment.UPDATES: 100 if joint else 73,
        }
        found = {metric: wired.scores[name, metric] for metric in expected}
        assert found == pytest.approx(expected, rel=1e-4), name
        if name in (NONE, *SHAPES):
            for metric in (AVERAGE, WORST, FORGETTING):
                assert wired.scores[name, f"{metric} [base]"] == wired.scores[name, metric]
    curves = {row["name"]: row["y"] for row in wired.curves if row["method"] == POWER}
    s = wired.scores[POWER, AVERAGE] / 72.5
    assert curves["accuracy by task"] == pytest.approx([65 * s, 70 * s, 75 * s, 80 * s], rel=1e-4)
    assert curves["first task"] == pytest.approx([80 * s, 75 * s, 70 * s, 65 * s], rel=1e-4)
    assert curves["accuracy so far"] == pytest.approx([80 * s, 77.5 * s, 75 * s, 72.5 * s], rel=1e-4)
    assert curves["learning-curve area"] == pytest.approx([40 * s, 41 * s, 44 * s, 49 * s], rel=1e-4)


CHANGED = {
    "5 tasks": {"tasks": 5},
    "20 tasks": {"tasks": 20},
    "50 tasks": {"tasks": 50},
    "width 32": {"width": 32},
    "width 300": {"width": 300},
    "m = 50": {"old": 50, "total": 150, "pool": 50},
    "m = 200": {"old": 200, "total": 300},
    "α = 0.5": {"oldest": 0.41},  # 1/√2 : 1
    "α = 2": {"oldest": 0.2},  # 1/4 : 1
    "sequential": {"ends old": True},
    "environment": {"old": 33, "total": 100, "pool": 33, "oldest": 0.4},  # 1/3 : 1/2, and 1/2 : 1 in phase 2
    "optimiser reset": {"reset": True},
    "buffer of 20": {"pool": 20},
}


def test_the_grid_changes_what_it_names_and_nothing_else(wired):
    assert set(CHANGED) == set(PAPER.settings("full").grid)
    base = {"tasks": 4, "width": 8, "reset": False, "old": 110, "total": 210, "pool": 100, "oldest": 0.33}
    for setting, change in CHANGED.items():
        expected = base | {"ends old": False} | change
        of_one = 80 - 2.5 * (expected["tasks"] - 1)
        networks = {name: network(wired, (name, f"{AVERAGE} [{setting}]"), of_one)[:2] for name in (NONE, *SHAPES)}
        call, member = networks[POWER]
        second = call.batches[1][:, member].ravel()
        old = second[second < 100]
        found = {
            "tasks": len(call.tasks),
            "width": call.hidden[-1],
            "reset": call.reset,
            "old": len(old),
            "total": len(second),
            "pool": len(set(old)),
            "oldest": oldest(call, member),
            "ends old": bool((second[-50:] < 100).all()),
        }
        assert found == pytest.approx(expected, abs=0.02), setting
        assert oldest(*networks[UNIFORM]) == pytest.approx(0.5, abs=0.02), setting
        assert oldest(*networks[RECENCY]) == 0, setting
        assert shown(*networks[NONE], 1)[0] == 0, setting


def oldest(call, member):
    """The share of the first task among what is rehearsed in phase 3."""
    first, second = shown(call, member, 2)[:2]
    return first / (first + second)


def test_tuning_tries_each_candidate_by_itself_and_the_choice_is_at_no_edge(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(learners, "learn", recorder)
    tasks = experiment.permuted_digits("digits", 4, BUDGET.examples, seed=1000)
    found = learners.tune(tasks, BUDGET, 1000, hidden=(8,), lr=0.1)
    tried = {"ewc": EWC, "si": SI}
    full = PAPER.settings("full")
    for name, value in found.items():
        kind, strength = name.split()
        call, member, _ = network(SimpleNamespace(calls=recorder.calls, scores={name: value}), name, 72.5)
        if kind in tried:
            assert call.held[tried[kind]][member] == pytest.approx(float(strength))
    for kind in ("ewc", "si", "rate"):
        values = [float(name.split()[1]) for name in found if name.startswith(kind)]
        assert min(values) < getattr(full, kind) < max(values)
        assert getattr(full, kind) in values


# ---- the records


def test_the_probe_holds_and_the_record_of_mnist5k_is_whole_and_of_the_same_code():
    record = recorded(PAPER.slug)
    check_probe(PAPER, record)
    larger = load_record(record_path(data_dir() / "evidence", PAPER.slug, "mnist5k"), PAPER.slug)
    assert larger.settings == setting_values(PAPER.settings("mnist5k"))
    assert not moved(record.probe, larger.probe)
    assert larger.seeds == list(range(10))
    arms = {row["method"] for row in larger.scores}
    assert arms == {NONE, *SHAPES, BEST, "EWC", "SI", JOINT}
    assert len([row for row in larger.scores if row["metric"] == AVERAGE]) == 10 * len(arms)
    assert [gate["name"] for gate in larger.gates if gate["met"]] == [gate.text for gate in PAPER.gates]
