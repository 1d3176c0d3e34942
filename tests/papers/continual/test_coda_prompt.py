"""What belongs to this paper alone: the prompt without attention, how the experiment is wired, the probe."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from stages import zoo
from stages.evidence import check_probe, effects, recorded, tidy_scores
from stages.evidence.gates import measure_gates
from stages.papers.continual.coda_prompt import PAPER, CodaPrompt, NoAttention, gram_schmidt
from stages.papers.continual.coda_prompt.experiment import ARMS, Settings
from stages.papers.continual.common import arms
from stages.papers.continual.common.loop import Budget, FineTuned, encode
from stages.papers.continual.common.pools import L2P, DualPrompt
from stages.papers.continual.common.scores import AVERAGE, CROSS, FORGETTING, GLOBAL, NAMED, NEW_NAMED
from stages.papers.continual.common.streams import signs_r

TINY = Settings(train=3, test=5, steps=40, batch=4)
SEED = 3
# Planted, another for each method: no arm can hide behind the rate or scale of another.
RATES = {"CODA-Prompt": 0.11, "DualPrompt": 0.12, "L2P++": 0.13, "head only": 0.14, "FT++": 0.15}
SCALES = {"CODA-Prompt": 2.0, "DualPrompt": 0.5, "L2P++": 0.25}


# ---- the method


def started(kind, task=0, components=6, tasks=3):
    prompt = kind(tasks, components, 4, (1, 2), 16, 2.0, 0)
    for i in range(task + 1):
        prompt.start(i)
    return prompt


def queries(n=5):
    return torch.randn(n, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", [CodaPrompt, NoAttention])
def test_a_prompt_is_the_sum_of_components_by_their_signed_cosines(kind):
    prompt = started(kind, task=1)
    query = queries()
    given, side = prompt(query)
    assert side == 0
    for i, block in enumerate((1, 2)):
        for b, q in enumerate(query):
            total = torch.zeros(4, 16)
            for m in range(4):  # tasks 1 and 2 own two each; the third's are not there yet
                attended = q * prompt.attention[i, m] if kind is CodaPrompt else q
                alpha = attended @ prompt.keys[i, m] / (attended.norm() * prompt.keys[i, m].norm())
                total += alpha * prompt.components[i, m].view(4, 16)
            keys, values = given[block]
            torch.testing.assert_close(keys[b], total[:2])
            torch.testing.assert_close(values[b], total[2:])
    assert (prompt.weights(query) < 0).any()


def test_without_attention_is_attention_of_ones_and_starts_like_the_whole_method():
    whole, plain = started(CodaPrompt, 2), started(NoAttention, 2)
    for name in ("components", "keys", "attention"):
        assert torch.equal(getattr(whole, name), getattr(plain, name))
    query = queries()
    assert not torch.allclose(whole.weights(query), plain.weights(query), atol=0.05)
    with torch.no_grad():
        whole.attention.fill_(1)
    torch.testing.assert_close(whole.weights(query), plain.weights(query))
    assert plain.attended(query).shape == whole.attended(query).shape


@pytest.mark.parametrize("kind", [CodaPrompt, NoAttention])
def test_the_tasks_own_rows_learn_and_older_ones_do_not(kind):
    prompt = started(kind, task=1)
    given, _ = prompt(queries())
    sum(part.square().sum() for pair in given.values() for part in pair).backward()
    learning = [prompt.components, prompt.keys, *([prompt.attention] if kind is CodaPrompt else [])]
    for bank in learning:
        assert (bank.grad[:, :2] == 0).all()
        assert (bank.grad[:, 2:4] != 0).any(-1).all()
    if kind is NoAttention:
        assert prompt.attention.grad is None


def test_new_components_are_orthogonal_to_trained_ones_and_leave_them_alone():
    prompt = started(CodaPrompt, task=0)
    with torch.no_grad():
        for bank in (prompt.components, prompt.keys, prompt.attention):
            bank[:, :2] += 0.3  # as if trained
    old = prompt.keys[:, :2].clone()
    prompt.start(1)
    assert torch.equal(prompt.keys[:, :2], old)
    for bank, norm in ((prompt.components, 2.0), (prompt.keys, 1.0), (prompt.attention, 1.0)):
        across = bank[:, 2:4] @ bank[:, :4].mT
        expected = torch.cat([torch.zeros(2, 2), norm**2 * torch.eye(2)], 1).expand(2, -1, -1)
        torch.testing.assert_close(across, expected, atol=1e-4, rtol=0)
    made = gram_schmidt(torch.eye(16)[:2], torch.eye(16)[4:6])
    torch.testing.assert_close(made, torch.eye(16)[:2])


# ---- the wiring of the experiment


class Recorder:
    """Stands in for the learning: notes what it is given, and plants logits.

    The k-th answers wrongly to k test images after the first task, and to 2k of 200 later: for the other class of a
    pair, within the first task, or for one of the second task where all classes are learnt at once.
    """

    def __init__(self):
        self.calls = []

    def note(self, learner, stream, budget=None, lr=None, seed=None, encoded=None):
        self.calls.append(
            SimpleNamespace(learner=learner, stream=stream, budget=budget, lr=lr, seed=seed, encoded=encoded)
        )
        k = len(self.calls)
        logits = []
        for phase in range(len(stream)):
            wrong = 2 * k if phase or len(stream) == 1 else k
            answer = stream.test_labels.clone()
            if len(stream) == 1:
                answer[:wrong] += 8
            else:
                answer[:wrong] ^= 1
            first, second = (F.one_hot(guess, stream.classes) for guess in (answer, stream.test_labels))
            logits.append(2.0 * first + second)
        return torch.stack(logits)


def record(settings, seed):
    """Run the experiment with the learning replaced by a recorder."""
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arms, "learn_stream", recorder.note)
        patch.setattr(arms, "nearest_mean", lambda encoded, stream: recorder.note("mean", stream, encoded=encoded))
        patch.setattr(arms, "RATES", RATES)
        patch.setattr(arms, "SCALES", SCALES)
        outcome = PAPER.run(settings, seed)
    scores = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    return SimpleNamespace(calls=recorder.calls, scores=scores, outcome=outcome)


@pytest.fixture(scope="module")
def wired():
    """A run of all arms."""
    return record(TINY, SEED)


def planted(wired, name):
    """The k behind an arm's score."""
    k = 100 - wired.scores[name, AVERAGE]
    assert k == pytest.approx(round(k), abs=1e-3)
    return round(k)


def call(wired, name):
    """What the arm behind a score was given."""
    return wired.calls[planted(wired, name) - 1]


# prompt (None: no prompt), method whose rate it has, tasks, size, styles that change with the tasks
EXPECTED = {
    "CODA-Prompt": (CodaPrompt, "CODA-Prompt", 5, 40, False),
    "DualPrompt": (DualPrompt, "DualPrompt", 5, 40, False),
    "L2P++": (L2P, "L2P++", 5, 40, False),
    "no attention": (NoAttention, "CODA-Prompt", 5, 40, False),
    "head only": (None, "head only", 5, None, False),
    "FT++": (FineTuned, "FT++", 5, None, False),
    "FT++, rate of the prompts": (FineTuned, "CODA-Prompt, tuned", 5, None, False),
    "nearest mean": ("mean", None, 5, None, False),
    "CODA-Prompt, all at once": (CodaPrompt, "CODA-Prompt, all at once", 1, 40, False),
    "head only, all at once": (None, "head only, all at once", 1, None, False),
    "CODA-Prompt, 20 tasks": (CodaPrompt, "CODA-Prompt", 20, 40, False),
    "DualPrompt, 20 tasks": (DualPrompt, "DualPrompt", 20, 40, False),
    "CODA-Prompt, size 5": (CodaPrompt, "CODA-Prompt", 5, 5, False),
    "CODA-Prompt, size 60": (CodaPrompt, "CODA-Prompt", 5, 60, False),
    "L2P++, size 5": (L2P, "L2P++", 5, 5, False),
    "L2P++, size 60": (L2P, "L2P++", 5, 60, False),
    "DualPrompt, size 5": (DualPrompt, "DualPrompt", 5, 5, False),
    "DualPrompt, size 60": (DualPrompt, "DualPrompt", 5, 60, False),
    "CODA-Prompt, dual shift": (CodaPrompt, "CODA-Prompt", 5, 40, True),
    "DualPrompt, dual shift": (DualPrompt, "DualPrompt", 5, 40, True),
}


def prompt_of(learner):
    return None if isinstance(learner, FineTuned) or learner == "mean" else learner.prompt


def test_every_arm_is_its_own_method_at_its_own_rate_and_scale(wired):
    assert set(EXPECTED) == set(ARMS)
    assert len(wired.calls) == len(ARMS)
    fixed = {
        "CODA-Prompt, tuned": arms.RATES["CODA-Prompt"],
        "CODA-Prompt, all at once": arms.JOINT_RATES["CODA-Prompt"],
        "head only, all at once": arms.JOINT_RATES["head only"],
    }
    assert not {*fixed.values()} & {*RATES.values()}
    assert len({*fixed.values()}) == 3
    for name, (kind, rate, *_) in EXPECTED.items():
        found = call(wired, name)
        assert found.lr == (RATES | fixed).get(rate), name
        prompt = prompt_of(found.learner)
        if kind is FineTuned:
            assert type(found.learner) is FineTuned
        elif kind == "mean":
            assert found.learner == "mean"
        elif kind is None:
            assert prompt is None, name
        else:
            assert type(prompt) is kind, name
        if isinstance(prompt, CodaPrompt):
            assert prompt.scale == SCALES["CODA-Prompt"], name
        elif prompt is not None:
            entries = prompt.pool if kind is L2P else prompt.experts
            assert 0.9 * SCALES[rate] < entries.max() <= SCALES[rate], name


def test_every_prompt_has_the_size_and_the_tasks_that_its_arm_names(wired):
    for name, (_, _, tasks, components, _) in EXPECTED.items():
        prompt = prompt_of(call(wired, name).learner)
        if prompt is None:
            continue
        size = sum(p.numel() for p in prompt.parameters())
        assert size == pytest.approx(3 * components * (8 + 2) * 64, rel=0.1), name
        if isinstance(prompt, CodaPrompt):
            assert prompt.components.shape == (3, components, 8 * 64), name
            assert prompt.each == components // tasks, name
        elif isinstance(prompt, DualPrompt):
            assert prompt.experts.shape[1] == tasks, name
        else:
            assert prompt.pool.shape[1] == components, name


def test_every_arm_learns_its_own_stream_on_one_budget_in_all(wired):
    streams = {shift: signs_r(5, 8, SEED, train=3, test=5, dual_shift=shift) for shift in (False, True)}
    vit = zoo.load("vit_signs")
    queries = {shift: encode(vit, stream, 1).query for shift, stream in streams.items()}
    for name, (_, _, tasks, _, shift) in EXPECTED.items():
        found = call(wired, name)
        assert len(found.stream) == tasks, name
        assert found.stream.classes == 40, name
        assert torch.equal(found.stream.images, streams[shift].images), name
        assert torch.equal(found.stream.test_images, streams[shift].test_images), name
        if found.learner == "mean":
            torch.testing.assert_close(found.encoded.query, queries[shift])
            continue
        assert found.budget == Budget(40 // tasks, 4), name
        if isinstance(found.learner, FineTuned):
            assert found.learner.stream is found.stream
        else:
            _, stream, encoded = found.learner.frozen
            assert stream is found.stream, name
            torch.testing.assert_close(encoded.query, queries[shift])


def test_a_seed_decides_the_stream_the_prompts_and_the_batches(wired):
    for name in EXPECTED:
        found = call(wired, name)
        assert found.seed in (SEED, None), name
        assert getattr(prompt_of(found.learner), "seed", SEED) == SEED, name
    other = record(replace(TINY, only=("CODA-Prompt", "DualPrompt")), SEED + 1)
    assert [one.seed for one in other.calls] == [SEED + 1] * 2
    assert not torch.equal(other.calls[0].stream.images, wired.calls[0].stream.images)
    mine, theirs = (call(run, "DualPrompt").learner.prompt.experts for run in (wired, other))
    assert not torch.equal(mine, theirs)
    prompts = [CodaPrompt(5, 5, 4, (1,), 16, 1.0, seed) for seed in (SEED, SEED, SEED + 1)]
    for prompt in prompts:
        prompt.start(0)
    starts = [tuple(bank[0, 0].tolist()) for prompt in prompts for bank in (prompt.keys, prompt.attention)]
    assert starts[:2] == starts[2:4]
    assert len({*starts}) == 4  # keys, attention vectors and seeds have draws of their own


def test_no_test_image_is_learnt_from(wired):
    for name in ("CODA-Prompt", "CODA-Prompt, dual shift"):
        stream = call(wired, name).stream
        learnt = {image.numpy().tobytes() for image in stream.images}
        assert len(learnt) == 120
        assert not learnt & {image.numpy().tobytes() for image in stream.test_images}


def test_scores_are_those_worked_out_by_hand(wired):
    for name, (_, _, tasks, _, _) in EXPECTED.items():
        k = planted(wired, name)
        if tasks == 1:
            assert (name, NEW_NAMED) not in wired.scores
            assert wired.scores[name, NAMED] == pytest.approx(100)  # judged on the five tasks
            assert wired.scores[name, CROSS] == pytest.approx(k, abs=1e-3)
            continue
        images = 200 / tasks  # of the first task: k are wrong when it is learnt, 2k later
        expected = {
            NEW_NAMED: 100 - 100 * k / images / tasks,
            FORGETTING: 100 * k / images / (tasks - 1),
            GLOBAL: 100 * k / images * sum(1 / i for i in range(2, tasks + 1)) / (tasks - 1),
        }
        if tasks == 5:  # in twenty tasks the wrong answers are to several of them
            found = {metric: wired.scores[name, metric] for metric in expected}
            assert found == pytest.approx(expected, rel=1e-4), name
    card = zoo.card("vit_signs")["metrics"]
    assert wired.scores["base model", "photo accuracy"] == card["photo accuracy"]


SIDES = {  # the first is claimed to be above the second
    "C1": ("CODA-Prompt", "DualPrompt"),
    "C3": ("CODA-Prompt", "DualPrompt"),
    "C4": ("CODA-Prompt", "no attention"),
    "C5": ("CODA-Prompt, size 60", "CODA-Prompt, size 5"),
    "C6": ("CODA-Prompt, dual shift", "DualPrompt, dual shift"),
    "C1b": ("CODA-Prompt", "L2P++"),
    "C1c": ("CODA-Prompt", "head only"),
    "C1d": ("CODA-Prompt", "nearest mean"),
    "C1e": ("CODA-Prompt", "FT++"),
    "C5b": ("L2P++, size 60", "L2P++, size 5"),
    "C5c": ("DualPrompt, size 60", "DualPrompt, size 5"),
}


def test_every_comparison_is_the_one_it_names(wired):
    scores = tidy_scores({SEED: wired.outcome})
    found = {claim.key: effects(claim, scores).item() for claim in (*PAPER.claims, *PAPER.also)}
    k = {name: planted(wired, name) for name in EXPECTED}
    expected = {key: k[worse] - k[better] for key, (better, worse) in SIDES.items()}
    expected["C3"] *= 0.5  # of five tasks with 40 images, k are wrong: 100 k / 40 / 5
    expected["C2"] = k["DualPrompt, 20 tasks"] - k["CODA-Prompt, 20 tasks"] - expected["C1"]
    expected["C3b"] = 2.5 * (1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 4 * expected["C1"]  # less forgetting is better
    assert found == pytest.approx(expected, abs=1e-3)
    assert {claim.key for claim in PAPER.claims if claim.margin} == {"C1"}
    assert {claim.key: claim.over for claim in PAPER.claims if claim.over} == {"C2": SIDES["C1"]}  # planted gaps agree


def test_every_gate_is_the_difference_it_names(wired):
    k = {name: planted(wired, name) for name in EXPECTED}
    rows = measure_gates(PAPER.gates, tidy_scores({SEED: wired.outcome}))
    joint = k["CODA-Prompt, all at once"]
    assert [row["value"] for row in rows] == pytest.approx(
        [
            wired.scores["base model", "photo accuracy"],
            k["head only, all at once"] - joint,
            k["CODA-Prompt"] - joint,
            k["nearest mean"] - k["CODA-Prompt"],
            k["FT++, rate of the prompts"] - k["CODA-Prompt"],
        ],
        abs=1e-3,
    )
    assert [row["bound"] for row in rows] == [f"at least {bound}" for bound in (95, 5, 10, 0, 10)]


# ---- real learning, and the record


def test_an_arm_gives_the_same_numbers_whatever_runs_beside_it():
    small = replace(PAPER.settings("probe"), steps=5)
    alone = PAPER.run(replace(small, only=("no attention",)), 7)
    beside = PAPER.run(replace(small, only=("CODA-Prompt", "no attention")), 7)
    rows = [[row for row in run.scores if row["method"] == "no attention"] for run in (alone, beside)]
    assert rows[0] == rows[1]
    assert len(rows[0]) > 5


def test_the_full_profile_is_the_paper_of_record_and_quick_measures_the_headline():
    full, quick = PAPER.settings("full"), PAPER.settings("quick")
    assert full == Settings(tasks=5, ways=8, train=200, test=100, steps=1000, batch=32, only=())
    assert {"CODA-Prompt", "DualPrompt"} <= set(quick.only) <= set(ARMS)


def test_the_probe_holds_and_covers_every_comparison_and_gate():
    record = recorded(PAPER.slug)
    check_probe(PAPER, record)
    assert any(row["method"] == "training" for row in record.probe)
    there = {(row["method"], row["metric"]) for row in record.probe}
    for claim in (*PAPER.claims, *PAPER.also):
        assert {(method, claim.metric) for method in claim.methods} <= there, claim.key
    for gate in PAPER.gates:
        assert {(method, gate.metric) for method in (gate.method, gate.minus or gate.method)} <= there, gate.text
