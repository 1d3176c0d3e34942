"""SAMI: its objective and iterations, what is asked and how it is judged, how the experiment is wired; the probe."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from stages.evidence import check_probe, effects, recorded, tidy_scores
from stages.evidence.gates import measure_gates
from stages.models import GPT, seeded
from stages.papers.post_training.sami import PAPER, arms, experiment, method, queries, scores
from stages.papers.post_training.sami.experiment import (
    ARMS,
    BASE,
    CHECKED,
    CONSTITUTIONS,
    DISTILLED,
    EQUAL,
    PERMUTED,
    RESPONSES,
    SAMI,
    SUMMED,
    Settings,
)
from stages.papers.post_training.sami.method import Plan, Samples
from stages.papers.post_training.sami.scores import (
    BY_INFORMATION,
    BY_ITERATION,
    BY_PRINCIPLE,
    FORM,
    GROUPS,
    HELD_OUT_ADHERENCE,
    INFORMATION,
    KEPT,
    LINKED_ADHERENCE,
    UNLINKED_ADHERENCE,
    WRONG_ADHERENCE,
    Exam,
    Look,
)
from stages.seeding import torch_rng
from stages.worlds.smalltalk import notes
from stages.zoo import notes as base_model

V = notes.vocabulary()
END = V.number["<end>"]


def make_model(seed=0):
    """Parameters at random, large enough for every token to matter."""
    with seeded(seed):
        model = GPT(len(V), 16, 2, 2, notes.LENGTH)
    for parameter in model.parameters():
        parameter.data.mul_(2)
    return model.eval().requires_grad_(False)


def samples(n=6, seed=0, kept=1.0):
    """Queries with reports of the right form, each of its own making."""
    prompts = queries.ask(seed, 0, n)
    chance = torch_rng(seed, "test")
    things = queries.things_of(prompts).repeat_interleave(2, 0)
    told = notes.reports(things, torch.randint(2, (2 * n, 5), generator=chance))
    return Samples(prompts, told.view(n, 2, -1), kept)


def naive(model, prompt, response):
    """The log-probabilities of a response's tokens, one by one."""
    told = response[response > 0].tolist()
    text = prompt.tolist() + told
    chances = model(torch.tensor([text]))[0].log_softmax(-1)
    return torch.stack([chances[len(prompt) - 1 + i, token] for i, token in enumerate(told)])


# ---- the objective


def test_rows_are_constitutions_and_columns_responses():
    model, one = make_model(), samples(3)
    responses = one.responses.clone()
    responses[1, 1, 5:] = 0  # shorter: its mean is over five tokens
    found = method.likelihoods(model, one.prompts, responses)
    summed = method.likelihoods(model, one.prompts, responses, mean=False)
    for i in range(3):
        for k in range(2):
            for j in range(2):
                expected = naive(model, one.prompts[i, k], responses[i, j])
                assert found[i, k, j].item() == pytest.approx(expected.mean().item(), abs=1e-4)
                assert summed[i, k, j].item() == pytest.approx(expected.sum().item(), abs=1e-4)
    assert (found[:, 0, 1] - found[:, 1, 0]).abs().min() > 1e-3
    own = arms.own_likelihoods(model, Samples(one.prompts, responses, 1.0))
    assert torch.allclose(own, found.diagonal(dim1=1, dim2=2), atol=1e-5)


def test_the_loss_worked_out_by_hand():
    even = torch.tensor([[[-1.0, -2.0], [-2.0, -1.0]]])
    assert method.two_sided(even).item() == pytest.approx(math.log(1 + math.exp(-1)), abs=1e-6)  # 0.313
    assert method.two_sided(torch.full((2, 3, 3), -0.7)).item() == pytest.approx(math.log(3))
    skew = torch.tensor([[[-1.0, -1.0], [-4.0, -1.0]]])  # response 1 is as likely under both constitutions
    rows = (math.log(2) + math.log(1 + math.exp(-3))) / 2
    columns = (math.log(1 + math.exp(-3)) + math.log(2)) / 2
    assert method.over_responses(skew).item() == pytest.approx(rows)
    assert method.over_constitutions(skew).item() == pytest.approx(columns)
    tilted = torch.tensor([[[-1.0, 2.0], [-1.0, 2.0]]])  # response 1 is always likelier: no row tells, each column even
    assert method.over_constitutions(tilted).item() == pytest.approx(math.log(2))
    assert method.over_responses(tilted).item() == pytest.approx(
        (math.log(1 + math.exp(3)) + math.log1p(math.exp(-3))) / 2
    )
    assert method.information(tilted).item() == pytest.approx(0, abs=1e-6)
    assert method.information(100 * even).item() == pytest.approx(math.log(2))


def test_it_is_a_cross_entropy_both_ways_and_all_entries_learn():
    matrix = torch.randn(4, 3, 3, generator=torch_rng(0), dtype=torch.double).requires_grad_()
    targets = torch.arange(3).expand(4, 3)
    both = [F.cross_entropy(m.flatten(0, 1), targets.flatten()) for m in (matrix, matrix.mT)]
    loss = method.two_sided(matrix)
    assert loss.item() == pytest.approx(sum(both).item() / 2)
    (gradient,) = torch.autograd.grad(loss, matrix)
    expected = (matrix.softmax(2) + matrix.softmax(1) - 2 * torch.eye(3)) / (2 * 3 * 4)
    assert torch.allclose(gradient, expected)
    assert (gradient.diagonal(dim1=1, dim2=2) < 0).all()
    assert (gradient + torch.eye(3) > 0).all()


def test_each_arms_objective_is_what_its_name_says():
    model, one = make_model(), samples(5)
    table = method.likelihoods(model, one.prompts, one.responses)
    summed = 8 * table
    identity, swapped = torch.tensor([0, 1]).repeat(5), torch.tensor([1, 0]).repeat(5)

    def contrast(matrix, target):
        return F.cross_entropy(matrix.flatten(0, 1), target)

    def both(matrix, target):
        return (contrast(matrix, target) + contrast(matrix.mT, target)) / 2

    shown = notes.shows(one.responses.flatten(0, 1)).view(5, 2, 5)
    principle = queries.principles_of(one.prompts)
    follows = torch.tensor([[shown[i, k, principle[i]] == k for k in (0, 1)] for i in range(5)])
    assert 0 < follows.sum() < 10
    expected = {
        SAMI: both(table, identity),
        RESPONSES: contrast(table, identity),
        CONSTITUTIONS: contrast(table.mT, identity),
        PERMUTED: both(table, swapped),
        SUMMED: both(summed, identity),
        DISTILLED: -table.diagonal(dim1=1, dim2=2).mean(),
        EQUAL: -table.diagonal(dim1=1, dim2=2).mean(),
        CHECKED: -table.diagonal(dim1=1, dim2=2)[follows].mean(),
    }
    found = {name: arm.objective(model, one).item() for name, arm in ARMS.items() if arm.objective}
    assert found == pytest.approx({name: value.item() for name, value in expected.items()}, rel=1e-4)
    assert set(ARMS) - set(found) == {BASE}
    assert torch.equal(arms.follows(one), follows)


# ---- the iterations


def test_learning_starts_from_the_base_and_takes_each_part_once():
    base, one, seen = make_model(), samples(7), []

    def objective(model, part):
        seen.append(part)
        return -arms.own_likelihoods(model, part).mean()

    before = [p.clone() for p in base.parameters()]
    model = method.learn(base, one, objective, 0.01, 3)
    assert all(torch.equal(a, b) for a, b in zip(before, base.parameters(), strict=True))
    assert [len(part.prompts) for part in seen] == [3, 2, 2]
    for name in ("prompts", "responses"):
        assert torch.equal(torch.cat([getattr(part, name) for part in seen]), getattr(one, name))
    moved = max((a - b).abs().max() for a, b in zip(before, model.parameters(), strict=True))
    assert 0.01 < moved < 0.05  # three steps of Adam
    still = method.learn(base, one, lambda model, part: 0 * arms.own_likelihoods(model, part).sum(), 0.01, 1)
    assert torch.equal(still.embedding.weight, base.embedding.weight)  # nothing decays
    assert not any(p.requires_grad for p in model.parameters())


def test_every_iteration_starts_from_the_base_and_is_written_by_the_one_before(monkeypatch):
    calls = []

    def learn(base, drawn, objective, rate, steps):
        calls.append((base, drawn, objective, rate, steps))
        return f"model {len(calls)}"

    def ask(iteration, n):
        return torch.full((n, 2, 6), iteration)

    def respond(writer, prompts, chance):
        told = torch.full((len(prompts), 2, 8), chance)
        wrote.append((writer, len(prompts)))
        return told, torch.arange(len(prompts)) % 4 > 0

    wrote = []
    monkeypatch.setattr(method, "learn", learn)
    plan = Plan(0.3, (2, 4, 6), queries=10)
    models, drawn = method.align("base", ask, respond, "loss", plan, lambda iteration: 7 + iteration)
    assert models == ["model 1", "model 2", "model 3"]
    assert wrote == [("base", 20), ("model 1", 40), ("model 2", 60)]
    for i, (base, given, objective, rate, steps) in enumerate(calls):
        assert (base, objective, rate, steps) == ("base", "loss", 0.3, 2 * (i + 1))
        assert given is drawn[i]
        assert given.prompts.unique().tolist() == [i]
        assert given.responses.unique().tolist() == [7 + i]
        assert len(given.prompts) == len(given.responses) == 15 * (i + 1)
        assert given.kept == pytest.approx(0.75)
    few = replace(plan, queries=1)
    with pytest.raises(ValueError, match="1 of 2 queries are kept, fewer than the 2 steps"):
        method.align("base", ask, respond, "loss", few, lambda iteration: 0)


# ---- what is asked, and how it is judged


def test_queries_are_about_trained_principles_and_iterations_take_turns_with_the_pairs():
    parts = [queries.ask(3, iteration, 400) for iteration in range(3)]
    split = notes.divided(3)
    for prompts, name in zip(parts, ("one", "two", "one"), strict=True):
        things = queries.things_of(prompts)
        assert (things[:, None] == split[name]).all(2).any(1).all()
        principle = queries.principles_of(prompts)
        assert {notes.NAMES[k] for k in principle.tolist()} == {"manners", "mood", "style", "pace"}
        for k in (0, 1):
            poles = [notes.PRINCIPLES[notes.NAMES[p]].poles[k] for p in principle.tolist()]
            assert [V.tokens[t] for t in prompts[:, k, 1].tolist()] == poles
        assert torch.equal(prompts[:, 0, 2:], prompts[:, 1, 2:])
        assert len(prompts[:, :, 0].unique(dim=0)) == 9  # all words for one, with all for the other
    assert not torch.equal(parts[0], parts[2])
    other = queries.ask(4, 0, 400)
    assert not torch.equal(queries.principles_of(parts[0]), queries.principles_of(other))
    assert torch.equal(parts[0], queries.ask(3, 0, 400))
    exam = Exam(3)
    assert exam.prompts.shape == (5 * 3 * 102, 2, 6)
    assert torch.equal(queries.things_of(exam.prompts).unique(dim=0), split["test"].unique(dim=0))
    assert len(exam.prompts.unique(dim=0)) == len(exam.prompts)
    assert exam.of(("voice", "pace")).sum() == 2 * 3 * 102
    assert len(Exam(3, pairs=2).prompts) == 30


def planted(prompts, kinds):
    """Reports: "heeds" and "spurns" its note, is "same" for all, or has "no form"."""
    things, principle = queries.things_of(prompts), queries.principles_of(prompts)
    rows = []
    for i, pair in enumerate(kinds):
        for k, kind in enumerate(pair):
            poles = torch.tensor([[i % 2, 0, k, 1, k]])
            poles[0, principle[i]] = k if kind == "heeds" else 1 - k
            if kind == "same":
                poles[:] = 0
            row = torch.cat([notes.reports(things[i : i + 1], poles)[0], torch.tensor([END])])
            if kind == "no form":
                row[4] = V.number["dog"]
            rows.append(row)
    return torch.stack(rows).view(len(kinds), 2, -1)


def test_queries_are_kept_if_both_responses_have_the_form_and_differ(monkeypatch):
    prompts = queries.ask(0, 0, 5)
    kinds = [("heeds", "spurns"), ("same", "same"), ("no form", "heeds"), ("heeds", "no form"), ("spurns", "spurns")]
    told = planted(prompts, kinds)
    asked = []

    def write(model, flat, chance, temperature):
        asked.append((model, flat, chance, temperature))
        return told.flatten(0, 1)

    monkeypatch.setattr(queries, "write", write)
    responses, kept = queries.respond("model", prompts, "chance")
    assert kept.tolist() == [True, False, False, False, True]
    assert torch.equal(responses, told.masked_fill(told == END, 0))
    ((model, flat, chance, temperature),) = asked
    assert (model, chance, temperature) == ("model", "chance", 0.5)
    assert torch.equal(flat.view(5, 2, 6), prompts)


def test_a_look_is_what_can_be_counted_by_hand(monkeypatch):
    """Two pairs of things, so that each principle has six queries under two constitutions."""
    exam, model = Exam(1, pairs=2), make_model()
    kinds = [("heeds", "heeds")] * 6 + [("heeds", "spurns")] * 6 + [("spurns", "spurns")] * 6
    kinds += [("no form", "heeds")] * 6 + [("heeds", "heeds")] * 3 + [("spurns", "no form")] * 3
    told = planted(exam.prompts, kinds)
    asked = []

    def write(model, flat, chance, temperature):
        asked.append((flat, chance.initial_seed(), temperature))
        return told.flatten(0, 1)

    monkeypatch.setattr(queries, "write", write)
    seen = scores.look(model, exam)
    assert seen.form == pytest.approx(100 * 51 / 60)
    outcome = SimpleNamespace(score=lambda *row: rows.append(row), curve=lambda *row: rows.append(row))
    rows = []
    scores.score(outcome, "arm", seen, exam)
    found = {row[1]: float(row[2]) for row in rows if len(row) == 3}
    assert found[LINKED_ADHERENCE] == pytest.approx(75)
    assert found[HELD_OUT_ADHERENCE] == pytest.approx(0)
    assert found[UNLINKED_ADHERENCE] == pytest.approx(75)
    assert found[WRONG_ADHERENCE] == pytest.approx(62.5)
    (name, what, x, y) = rows[-1]
    assert (name, what, list(x)) == ("arm", BY_PRINCIPLE, [0, 1, 2, 3, 4])
    assert [float(value) for value in y] == [100, 50, 0, 75, 62.5]
    bounds = []
    for i in range(12):  # of the two linked principles
        table = torch.tensor([[naive(model, exam.prompts[i, k], told[i, j, :8]).sum() for j in (0, 1)] for k in (0, 1)])
        bounds.append(math.log(2) + table.log_softmax(0).diagonal().mean().item())
    assert seen.information == pytest.approx(sum(bounds) / 12, abs=1e-4)
    ((flat, drawn, temperature),) = asked
    assert torch.equal(flat, exam.prompts.flatten(0, 1))
    assert (drawn, temperature) == (torch_rng(1, "sami", "test").initial_seed(), 1.0)


def test_the_base_model_is_measured_by_what_it_writes(monkeypatch):
    """One that always writes of the first pole heeds half of the notes, whatever they are about."""

    def write(model, prompts, chance, temperature=1.0):
        things = prompts[:, 3:5] - V.number[notes.THINGS[0]]
        told = notes.reports(things, torch.zeros(len(prompts), 5, dtype=torch.long))
        return torch.cat([told, torch.full((len(told), 1), END)], 1)

    monkeypatch.setattr(base_model, "write", write)
    found = base_model.measure(None, base_model.Reading(), 0)
    assert found.pop("exact form") == 100
    assert found == pytest.approx({f"heeded: {name}": 50 for name in notes.NAMES}, abs=8)
    monkeypatch.undo()
    model = make_model()
    drawn = base_model.write(model, queries.ask(0, 0, 4).flatten(0, 1), torch_rng(0))
    again = base_model.write(model, queries.ask(0, 0, 4).flatten(0, 1), torch_rng(0), 1e-3)
    assert drawn.shape[1] <= 9
    assert not torch.equal(drawn, again)


# ---- the wiring of the experiment

SEED = 5
PLANTED = {name: 10 * (1 + i) for i, name in enumerate(ARMS)}  # the arm's number, of its last model
RATES = {name: 0.01 * (1 + i) for i, name in enumerate(ARMS)}
TINY = Settings(shipped=True, reading=base_model.Reading(updates=0), steps=(2, 3, 4), queries=5, pairs=2)


class Recorder:
    """Stands in for learning and looking: models are numbers, and a look at one shows its number.

    The model of iteration 1, 2, 3 of the k-th arm is 10 k - 2, - 1, - 0; the base is 10.
    """

    def __init__(self):
        self.aligned, self.learnt, self.looked, self.exams = {}, {}, [], []

    def align(self, base, ask, respond, objective, plan, chances):
        name = next(name for name, arm in experiment.ARMS.items() if arm.rate == plan.rate)
        drawn = [SimpleNamespace(prompts=[0] * n, kept=kept, of=name) for n, kept in ((8, 0.8), (8, 0.8), (8, 0.4))]
        self.aligned[name] = SimpleNamespace(
            base=base, ask=ask, respond=respond, objective=objective, plan=plan, chances=chances, drawn=drawn
        )
        return [PLANTED[name] - 2 + i for i in range(3)], drawn

    def learn(self, base, drawn, objective, rate, steps):
        name = next(name for name, arm in experiment.ARMS.items() if arm.rate == rate)
        self.learnt.setdefault(name, []).append(
            SimpleNamespace(base=base, drawn=drawn, objective=objective, steps=steps)
        )
        return PLANTED[name] - 3 + len(self.learnt[name])

    def look(self, model, exam):
        self.looked.append(model)
        self.exams.append(exam)
        heeded = torch.zeros(len(exam.prompts), 2)
        for place, names in enumerate(GROUPS.values()):
            heeded[exam.of(names)] = float(model + 0.1 * place)
        return Look(None, heeded, model / 2, model / 1000)


@pytest.fixture(scope="module")
def wired():
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "ARMS", {name: replace(arm, rate=RATES[name]) for name, arm in ARMS.items()})
        patch.setattr(experiment, "make_base", lambda settings, seed: PLANTED[BASE])
        for name in ("align", "learn", "look"):
            patch.setattr(experiment, name, getattr(recorder, name))
        outcome = PAPER.run(TINY, SEED)
    recorder.outcome = outcome
    recorder.scores = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    recorder.curves = {(row["method"], row["name"]): row["y"] for row in outcome.curves}
    return recorder


def test_each_arm_learns_in_its_own_way_at_its_own_rate_from_the_base(wired):
    assert set(wired.aligned) == {SAMI, RESPONSES, CONSTITUTIONS, PERMUTED, CHECKED, SUMMED}
    for name, call in wired.aligned.items():
        assert call.base == PLANTED[BASE], name
        assert call.objective is ARMS[name].objective, name
        assert call.plan == Plan(RATES[name], (2, 3, 4), 5), name
        assert call.respond is queries.respond, name
        for iteration in range(3):
            assert torch.equal(call.ask(iteration, 9), queries.ask(SEED, iteration, 9)), name
            stream = torch_rng(SEED, "sami", "written", iteration)
            assert call.chances(iteration).initial_seed() == stream.initial_seed(), name
    assert set(wired.learnt) == {DISTILLED, EQUAL}
    for name, calls in wired.learnt.items():
        assert [call.steps for call in calls] == [2, 3, 4]
        assert [call.base for call in calls] == [PLANTED[BASE]] * 3
        assert [call.drawn for call in calls] == wired.aligned[SAMI].drawn, name
        assert {call.objective for call in calls} == {arms.imitate}


def test_scores_are_of_the_last_models_on_one_exam(wired):
    assert len({id(exam) for exam in wired.exams}) == 1
    assert wired.exams[0].seed == SEED
    assert torch.equal(wired.exams[0].prompts, Exam(SEED, 2).prompts)
    for name, number in PLANTED.items():
        for place, metric in enumerate(GROUPS):
            assert wired.scores[name, metric] == pytest.approx(number + 0.1 * place), name
        assert wired.scores[name, FORM] == number / 2
        assert wired.scores[name, INFORMATION] == number / 1000
        expected = [number, number, number + 0.1, number + 0.2, number + 0.3]
        assert wired.curves[name, BY_PRINCIPLE] == pytest.approx(expected), name
        assert wired.outcome.exhibits[name][0] == number
    for name in (SAMI, DISTILLED):
        number = PLANTED[name]
        expected = [PLANTED[BASE], number - 2, number - 1, number]
        assert wired.curves[name, BY_ITERATION] == pytest.approx(expected)
        assert wired.curves[name, BY_INFORMATION] == pytest.approx([value / 1000 for value in expected])
    kept = {method for method, metric in wired.scores if metric == KEPT}
    assert kept == set(wired.aligned)
    assert wired.scores[SAMI, KEPT] == pytest.approx(60)  # 24 of 10 + 10 + 20


def test_every_comparison_and_gate_is_the_one_it_names(wired):
    table = tidy_scores({SEED: wired.outcome})
    found = {claim.key: effects(claim, table).item() for claim in (*PAPER.claims, *PAPER.also)}
    gap = {name: PLANTED[SAMI] - number for name, number in PLANTED.items()}
    assert found == pytest.approx(
        {
            "C1": gap[BASE],
            "C2": gap[DISTILLED],
            "C3": gap[BASE],
            "C4": -gap[BASE],
            "C5": gap[BASE] / 1000,
            "C1b": gap[BASE],
            "C1c": gap[BASE] / 2,
            "C1d": gap[PERMUTED],
            "C1e": -gap[CHECKED],
            "C1f": gap[RESPONSES],
            "C1g": gap[CONSTITUTIONS],
            "C1h": gap[SUMMED],
            "C1i": 60,
            "C2b": gap[EQUAL],
            "C3b": gap[DISTILLED],
            "C4b": PLANTED[BASE] - PLANTED[DISTILLED],
            "C4c": PLANTED[CHECKED] - PLANTED[BASE],
        }
    )
    metrics = {claim.key: claim.metric for claim in (*PAPER.claims, *PAPER.also)}
    assert [metrics[key] for key in ("C1", "C2", "C3", "C4", "C5")] == [
        LINKED_ADHERENCE,
        LINKED_ADHERENCE,
        HELD_OUT_ADHERENCE,
        WRONG_ADHERENCE,
        INFORMATION,
    ]
    assert [metrics[key] for key in ("C1b", "C3b", "C4b", "C4c")] == [
        UNLINKED_ADHERENCE,
        HELD_OUT_ADHERENCE,
        WRONG_ADHERENCE,
        WRONG_ADHERENCE,
    ]
    assert [claim.margin for claim in PAPER.claims] == [5, 1, 1, 2, 0.05]
    rows = measure_gates(PAPER.gates, table)
    base, sami = PLANTED[BASE], PLANTED[SAMI]
    assert [row["value"] for row in rows] == pytest.approx(
        [base, base + 0.1, base + 0.2, base + 0.3, base / 2, sami / 2]
    )
    linked = "at least 65 and at most 82"
    assert [row["bound"] for row in rows] == [
        linked,
        linked,
        "at least 45 and at most 55",
        "at least 20 and at most 38",
        "at least 95",
        "at least 90",
    ]
    assert GROUPS == {
        LINKED_ADHERENCE: ("manners", "mood"),
        HELD_OUT_ADHERENCE: ("voice",),
        UNLINKED_ADHERENCE: ("style",),
        WRONG_ADHERENCE: ("pace",),
    }


def test_a_seed_reads_with_a_network_of_its_own_or_goes_on_from_the_books(monkeypatch):
    read = []
    monkeypatch.setattr(experiment, "read", lambda model, how, seed: read.append((how, seed)))
    small = base_model.Reading(width=16, depth=1, heads=2)
    own = [experiment.make_base(Settings(reading=small), seed) for seed in (0, 1, 0)]
    assert read == [(small, 0), (small, 1), (small, 0)]
    assert torch.equal(own[0].embedding.weight, own[2].embedding.weight)
    assert not torch.equal(own[0].embedding.weight, own[1].embedding.weight)
    assert not any(p.requires_grad for p in own[0].parameters())
    loaded = make_model()
    monkeypatch.setattr(experiment.zoo, "load", lambda name: loaded if name == "notes_gpt" else None)
    assert experiment.make_base(TINY, 3) is loaded
    assert len(read) == 3


def test_the_profiles_are_as_planned_and_the_probe_holds():
    full, quick = PAPER.settings("full"), PAPER.settings("quick")
    assert full == Settings(
        shipped=False, reading=base_model.Reading(updates=1100), steps=(8, 16, 24), queries=48, pairs=None, only=()
    )
    assert quick.only == (BASE, SAMI, DISTILLED, PERMUTED, CHECKED)
    assert quick.shipped
    assert quick.reading.updates == 0
    assert PAPER.settings("probe").only == ()
    rates = {name: arm.rate for name, arm in ARMS.items() if arm.rate}
    assert rates == dict.fromkeys((SAMI, RESPONSES, CONSTITUTIONS, PERMUTED, EQUAL), 7e-5) | {
        DISTILLED: 1.6e-3,
        CHECKED: 1.6e-3,
        SUMMED: 1e-4,
    }
    check_probe(PAPER, recorded(PAPER.slug))
