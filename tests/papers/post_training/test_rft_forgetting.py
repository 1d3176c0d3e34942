"""Losses and stages, what is forgotten and at what risk; the tasks; how the experiment is wired; the probe."""

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stages.evidence import check_probe, recorded, tidy_scores
from stages.evidence.gates import measure_gates
from stages.evidence.verdicts import effects
from stages.models import GPT, seeded
from stages.papers.post_training.rft_forgetting import PAPER, arms, experiment, method, scores, tasks
from stages.papers.post_training.rft_forgetting.arms import Settings
from stages.papers.post_training.rft_forgetting.experiment import (
    ARMS,
    GRPO,
    JOINT,
    OWN,
    SAMPLES,
    SFT,
    START,
    UNDIVIDED,
    WITH_KL,
)
from stages.papers.post_training.rft_forgetting.method import Task
from stages.papers.post_training.rft_forgetting.tasks import ORDER, Start, foreign_wording, labelled, own_wording
from stages.seeding import torch_rng
from stages.training import next_token_loss
from stages.training.answers import token_log_probs
from stages.worlds import smalltalk
from stages.worlds.smalltalk import template

V = smalltalk.vocabulary()
KNOWN = smalltalk.all_requests()
END = V.number["<end>"]


class Bigram(nn.Module):
    """A policy whose next token depends on the last one alone, and that writes what it is told to."""

    def __init__(self, written=None, seed=0):
        super().__init__()
        self.table = nn.Embedding.from_pretrained(torch.randn(len(V), len(V), generator=torch_rng(seed)), freeze=False)
        self.written, self.calls = written, []

    def forward(self, tokens):
        return self.table(tokens)

    def generate(self, asked, new, **options):
        self.calls.append((asked, new, options))
        rows = [V.encode(text) for text in self.written]
        return torch.stack([F.pad(row, (0, new - len(row)), value=END) for row in rows]).repeat(
            len(asked) // len(rows), 1
        )


def gap(n=2):
    """Requests for the gaps 0 and 1, 0 and 2, ...: first tellings."""
    return KNOWN.of("gap").take(torch.arange(n) * 2)


def gradient(loss, policy):
    policy.zero_grad()
    loss.backward()
    return policy.table.weight.grad.clone()


# ---- the two ways to learn


def test_sft_learns_the_answers_of_labels_and_their_end():
    policy, task = Bigram(), Task(gap(8), labelled(gap(8), foreign_wording), None)
    loss = method.imitate(5)(policy, task, torch_rng(3))
    rows = torch.randint(8, (5,), generator=torch_rng(3))
    texts = [
        f"<user> {V.decode(r)} <assistant> the answer : {i + 1} <end>".split() for i, r in enumerate(gap(8).request)
    ]
    total = []
    for row in rows.tolist():
        numbers = V.encode(" ".join(texts[row]))
        chance = policy.table(numbers).log_softmax(-1)
        start = texts[row].index("<assistant>")
        total += [-chance[i, numbers[i + 1]] for i in range(start, len(numbers) - 1)]
    assert len(total) == 25
    assert loss.item() == pytest.approx(torch.stack(total).mean().item(), rel=1e-5)


def test_rollouts_are_the_prompts_with_what_was_sampled_and_checked():
    policy = Bigram(["1 . <end>", "that is 2 . <end> 7", "3", "2 <end> 1"])
    found = method.roll_out(policy, gap(2), 4, torch_rng(0))
    assert found.rewards.tolist() == [[1, 0, 0, 0], [0, 1, 0, 1]]  # a wording is free, what follows an end is not read
    (asked, new, options) = policy.calls[0]
    assert (asked.shape[0], new, options["temperature"], options["stop"]) == (8, 8, 1.0, [END])
    assert torch.equal(options["mask"], asked != 0)
    assert options["generator"] is not None
    texts = [V.decode(row) for row in found.texts.tokens]
    assert texts[0] == "<user> what is the gap between 0 and 1 ? <assistant> 1 . <end>"
    assert texts[5] == "<user> what is the gap between 0 and 2 ? <assistant> that is 2 . <end>"
    assert texts[7] == "<user> what is the gap between 0 and 2 ? <assistant> 2 <end>"
    counted = [V.decode(row[c]) for row, c in zip(found.texts.tokens, found.texts.counted, strict=True)]
    assert counted[:3] == ["1 . <end>", "that is 2 . <end>", "3 <end>"]


def grpo_by_hand(policy, advantages, penalty=0.0, start=None):
    """The loss on four responses of two tokens to one request, each token with its response's advantage."""
    texts = [f"{V.decode(gap(1).request[0])} <assistant> {text}" for text in policy.written]
    total = 0.0
    for text, advantage in zip(texts, advantages, strict=True):
        numbers = V.encode(text)[-3:]
        for now, then in pairwise(numbers):
            p = policy.table(now).log_softmax(-1)[then]
            total = total - advantage * p / 8
            if penalty:
                q = start.table(now).log_softmax(-1)[then].detach()
                total = total + penalty * ((q - p).exp() - (q - p) - 1) / 8
    return total


def test_grpo_makes_what_is_better_than_its_group_likelier():
    policy, start = Bigram(["1 <end>", "5 <end>", "1 <end>", "2 <end>"]), Bigram(seed=1)
    task = Task(gap(1), None, start)
    for divided, unit, penalty in ((True, 3**0.5 / 2, 0.0), (True, 3**0.5 / 2, 0.7), (False, 0.5, 0.0)):
        advantages = [unit, -unit, unit, -unit]
        loss = method.grpo(1, 4, divided, penalty)(policy, task, torch_rng(0))
        expected = grpo_by_hand(policy, advantages, penalty, start)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
        torch.testing.assert_close(gradient(loss, policy), gradient(expected, policy))
    assert start.table.weight.grad is None
    dead = Bigram(["1 <end>"] * 4)
    assert not gradient(method.grpo(1, 4)(dead, task, torch_rng(0)), dead).any()


def test_sft_on_own_samples_learns_all_right_ones_and_nothing_from_wrong_ones():
    policy, task = Bigram(["1 <end>", "5 <end>", "1 . <end>", "2 <end>"]), Task(gap(1), None, None)
    loss = method.imitate_own(1, 4)(policy, task, torch_rng(0))
    right = smalltalk.rows_of([f"<assistant> {text}" for text in (policy.written[0], policy.written[2])])
    counted = (right != 0) & (torch.arange(right.shape[1]) > 0)
    torch.testing.assert_close(loss, next_token_loss(policy(right), right, counted))
    wrong = Bigram(["5 <end>", "6 <end>"])
    assert not gradient(method.imitate_own(1, 2)(wrong, task, torch_rng(0)), wrong).any()


# ---- stages


def test_a_stage_ends_at_its_target_or_after_the_most_updates():
    seen = []

    def update(policy, task, chance):
        seen.append((task, chance))
        return policy.table.weight[0, 0]

    def stage(said, target, most):
        policy, answers = Bigram(), iter(said)
        others, before = policy.table.weight[1:].clone(), policy.table.weight[0, 0].item()
        found = method.learn_stage(
            policy, update, "task", 0.01, lambda _: next(answers), "chance", target=target, most=most, every=2
        )
        assert torch.equal(policy.table.weight[1:], others)  # no weight decay
        return found, (before - policy.table.weight[0, 0].item()) / 0.01

    found, moved = stage([10.0, 40.0, 80.0, 99.0], 80, 10)
    assert found == [10, 40, 80]
    assert moved == pytest.approx(4, rel=1e-2)  # Adam moves by its rate, four times
    assert seen == [("task", "chance")] * 4
    found, moved = stage([10.0, 20.0, 30.0, 40.0], 80, 6)
    assert found == [10, 20, 30, 40]
    assert moved == pytest.approx(6, rel=1e-2)
    assert stage([90.0], 80, 6)[0] == [90]


def test_forgetting_is_the_change_from_a_tasks_best_and_risks_are_quadratic_forms():
    accuracy = torch.tensor([[80.0, 99, 10], [90, 70, 99], [50, 60, 85]])
    assert method.forgetting_measure(accuracy).item() == pytest.approx(((50 - 90) + (60 - 70)) / 2)
    accuracy[2] = torch.tensor([95.0, 60, 85])
    assert method.forgetting_measure(accuracy).item() == pytest.approx((5 - 10) / 2)
    # the Fisher information is the mean square gradient
    policy, texts = Bigram(), labelled(gap(3), own_wording)
    grads = []
    for tokens, counted in zip(texts.tokens, texts.counted, strict=True):
        grads.append(gradient(token_log_probs(policy, tokens[None], counted[None]).sum(), policy))
    expected = torch.stack(grads).square().mean(0)
    information = method.fisher(policy, texts)
    torch.testing.assert_close(information[0], expected)
    found = method.risks(policy, texts, information)
    for risk, grad in zip(found, grads, strict=True):
        torch.testing.assert_close(risk, (grad**2 * expected).sum())
    assert not found.requires_grad


# ---- the tasks and the start


def test_one_telling_is_trained_on_the_other_validates_or_tests_and_wordings_mean_the_same(monkeypatch):
    parts = tasks.divide(3)
    asked = {name: {V.decode(row) for row in part.request} for name, part in parts.items()}
    assert len(set().union(*asked.values())) == sum(map(len, parts.values())) == len(KNOWN.of(*ORDER))
    subjects = {name: part.subject.tolist() for name, part in parts.items()}
    assert sorted(subjects["train"]) == sorted(subjects["validation"] + subjects["test"])
    assert len(set(subjects["train"])) == len(subjects["train"])
    for family in ORDER:
        halves = [len(parts[name].of(family)) for name in ("validation", "test")]
        assert sum(halves) == len(parts["train"].of(family))
        assert abs(halves[0] - halves[1]) <= 1
        first = [V.decode(row).startswith("wh") for row in parts["train"].of(family).request]
        assert 0.35 < sum(first) / len(first) < 0.65
    assert asked["test"] != {V.decode(row) for row in tasks.divide(4)["test"].request}
    usual = tasks.usual_requests(3, 20)
    assert usual.family.bincount().tolist() == [20] * 8
    assert not torch.equal(usual.request, tasks.usual_requests(4, 20).request)
    requests = KNOWN.of("opposites").take(torch.arange(2))
    foreign = foreign_wording(requests)
    assert V.decode(foreign[0]) == "the answer : " + V.decode(requests.answer[0]).removesuffix(" .")
    everything = KNOWN.of(*ORDER)
    for wording in (own_wording, foreign_wording):
        closed = template.response(wording(everything))
        assert closed.shape[1] <= method.NEW
        assert smalltalk.means_right(everything, closed).all()
    assert not smalltalk.follows(everything, template.response(foreign_wording(everything))).any()
    # accuracy is the mean over families of what is answered right, in any wording
    some, asked = tasks.together(requests.take(torch.arange(1)), gap(3)), []
    written = [f"{V.decode(foreign[0])} <end>", "1 . <end>", "that is 2 <end>", "5 . <end>"]

    def respond(model, prompts):
        asked.append((model, prompts))
        return nn.utils.rnn.pad_sequence([V.encode(text) for text in written], True, END)

    monkeypatch.setattr(tasks.village, "respond", respond)
    assert tasks.accuracy("model", some) == pytest.approx((100 + 200 / 3) / 2)
    ((model, prompts),) = asked
    assert model == "model"
    assert torch.equal(prompts, template.prompt(some))


def test_the_start_policy_sees_a_new_family_until_it_knows_a_part(monkeypatch):
    parts, looks, batches, seeds = tasks.divide(0), {name: 0 for name in ORDER}, [], []

    def sampled(model, requests, chance):
        assert chance.initial_seed() == torch_rng(7, "start").initial_seed()
        (family,) = requests.family.unique()
        assert torch.equal(requests.request, parts["train"].of(smalltalk.FAMILIES[family]).request)
        name = smalltalk.FAMILIES[family]
        looks[name] += 1
        return {"opposites": 20.0, "gap": 19.0, "smaller": 19.0}[name] + (looks[name] > 2) * (name == "gap")

    def loss(logits, tokens, counted):
        batches.append([V.decode(row) for row in tokens])
        learnt = [V.decode(row[c]) for row, c in zip(tokens, counted, strict=True)]
        assert learnt == [row.partition("<assistant> ")[2] for row in batches[-1]]
        return logits.mean()

    monkeypatch.setattr(tasks, "sampled", sampled)
    monkeypatch.setattr(tasks, "next_token_loss", loss)
    monkeypatch.setattr(tasks.village, "read", lambda model, reading, seed: seeds.append((reading, seed)))
    reading = tasks.village.Reading(width=8, depth=1, heads=2)
    read = tasks.base_model(reading, 7)
    with seeded(7, "village"):
        fresh = tasks.village.make(reading)
    assert all(torch.equal(p, q) for p, q in zip(read.parameters(), fresh.parameters(), strict=True))
    model = tasks.start_policy(parts, Start(reading, rate=0.0, share=0.2, least=6, most=20, every=5), 7)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), fresh.parameters(), strict=True))
    assert seeds == [(reading, 7)] * 2
    assert looks == {"opposites": 1, "gap": 3, "smaller": 4}
    assert len(batches) == 20
    train = {V.decode(row) for row in parts["train"].request}
    new = {V.decode(row) for row in KNOWN.of(*ORDER).request}

    def share(rows, word):
        return sum(word in row for batch in rows for row in batch) / sum(map(len, rows))

    asked = {row.removeprefix("<user> ").partition(" <assistant>")[0] for batch in batches for row in batch}
    assert asked & new <= train
    assert len(asked & new) > 50
    assert share(batches, "opposites") == 0
    assert share(batches[:10], " gap ") == pytest.approx(0.2, abs=0.08)
    assert share(batches[10:], " gap ") == 0
    assert share(batches, "smaller") == pytest.approx(0.2, abs=0.06)


# ---- the wiring of the experiment

TINY = Settings(start=Start(None), batch=12, prompts=3, samples=4, target=70.0, most=9, every=3, general=2, probed=6)
SEED = 5
NAMES = list(ARMS)


def planted(k, marks, family):
    """The accuracy of arm k after so many stages, in %."""
    if family < 8:
        return 99.0 - k * marks
    return 20.0 + 30 * (marks > family - 8) - 2 * k * marks + family


def record(settings=TINY, seed=SEED):
    """Run the experiment with the learning and the answers replaced by planted ones."""
    calls, asked, known, rolled = [], [], [], []
    roll_out = method.roll_out

    def learn_stage(policy, update, task, rate, check, chance, **options):
        arm = calls[-1].arm if calls and policy is calls[-1].policy else len(asked_arms(calls))
        policy.k = arm
        check(policy)
        calls.append(
            SimpleNamespace(
                policy=policy,
                arm=arm,
                update=update,
                task=task,
                rate=rate,
                checked=asked.pop(),
                chance=chance.initial_seed(),
                marks=(getattr(task.start, "marks", 0), getattr(policy, "marks", 0)),
                **options,
            )
        )
        policy.marks = getattr(policy, "marks", 0) + 1
        return [0.0] * (arm + 2)

    def asked_arms(calls):
        return {id(call.policy) for call in calls}

    def accuracy(policy, requests):
        asked.append(requests)
        marks, k = getattr(policy, "marks", 0), getattr(policy, "k", 0)
        return sum(planted(k, marks, f) for f in requests.family.unique().tolist()) / len(requests.family.unique())

    def start(parts, how, number):
        with seeded(number):
            return GPT(len(V), 8, 1, 2, 40)

    def sampled(model, requests, chance):
        known.append(requests)
        return 3.0 * requests.family[0].item()

    def rolls(policy, requests, samples, chance):
        rolled.append((policy, getattr(policy, "marks", 0), requests, samples, chance.initial_seed()))
        return roll_out(policy, requests, samples, chance)

    risks = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arms, "start_policy", start)
        for module in (arms, experiment):
            patch.setattr(module, "accuracy", accuracy)
        patch.setattr(experiment, "sampled", sampled)
        patch.setattr(method, "roll_out", rolls)
        patch.setattr(experiment, "drift", lambda policy, start, old: policy.k + 0.5)
        patch.setattr(experiment, "dead_share", lambda rollouts: float(rollouts.rewards.numel()))
        patch.setattr(experiment, "score_risks", lambda outcome, *given: risks.append(given))
        patch.setattr(method, "learn_stage", learn_stage)
        patch.setattr(method, "imitate", lambda *given: ("imitate", *given))
        patch.setattr(method, "imitate_own", lambda *given: ("own", *given))
        patch.setattr(method, "grpo", lambda *given: ("grpo", *given))
        outcome = PAPER.run(settings, seed)
    found = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    return SimpleNamespace(
        calls=calls,
        scores=found,
        outcome=outcome,
        risks=risks,
        parts=tasks.divide(seed),
        asked=asked,
        known=known,
        rolled=rolled,
    )


@pytest.fixture(scope="module")
def wired():
    """A run of all arms."""
    return record()


def stages(wired, name):
    return [call for call in wired.calls if call.arm == NAMES.index(name)]


EXPECTED = {  # update, wording, stages
    SFT: (("imitate", 12), foreign_wording, 3),
    OWN: (("imitate", 12), own_wording, 3),
    SAMPLES: (("own", 3, 4), own_wording, 3),
    GRPO: (("grpo", 3, 4, True, 0.0), own_wording, 3),
    WITH_KL: (("grpo", 3, 4, True, 0.01), own_wording, 3),
    UNDIVIDED: (("grpo", 3, 4, False, 0.0), own_wording, 3),
    JOINT: (("imitate", 12), foreign_wording, 1),
}


def test_every_arm_learns_its_own_way_at_its_own_rate(wired):
    assert list(EXPECTED) == NAMES
    for name, (update, wording, count) in EXPECTED.items():
        found = stages(wired, name)
        assert len(found) == count, name
        for k, call in enumerate(found):
            families = ORDER if count == 1 else (ORDER[k],)
            train = wired.parts["train"].of(*families)
            assert call.update == update, name
            assert call.rate == ARMS[name].rate, name
            assert torch.equal(call.task.requests.request, train.request), name
            assert torch.equal(call.task.labels.tokens, labelled(train, wording).tokens), name
            assert torch.equal(call.checked.request, wired.parts["validation"].of(*families).request), name
            assert (call.target, call.most, call.every) == (70.0, 9 * len(families), 3), name


def test_stages_follow_each_other_and_a_seed_pairs_all_arms(wired):
    other = record(replace(TINY, only=(SFT, GRPO)), SEED + 1)
    for name in EXPECTED:
        found = stages(wired, name)
        assert [call.marks for call in found] == [(k, k) for k in range(len(found))]
        assert len({id(call.policy) for call in found}) == 1
        assert all(call.task.start is not call.policy for call in found)
        assert [call.chance for call in found] == [call.chance for call in stages(wired, SFT)][: len(found)], name
    assert len({id(call.policy) for call in wired.calls}) == len(EXPECTED)
    assert len({call.chance for call in (*stages(wired, SFT), *other.calls)}) == 6
    weights = [next(call.policy.parameters()) for call in (wired.calls[0], wired.calls[-1], other.calls[0])]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert {row["method"] for row in other.outcome.scores} == {START, SFT, GRPO}


def test_what_is_measured_is_asked_of_the_right_policy_in_the_right_part(wired):
    def same(one, other):
        return torch.equal(one.request, other.request)

    test, usual = wired.parts["test"], tasks.usual_requests(SEED, 2)
    assert all(same(one, test.of(name)) for one, name in zip(wired.known, ORDER, strict=True))
    general = [one for one in wired.asked if one.family.max() < 8]
    assert len(general) == 1 + 6 * 4 + 2  # the start; each arm before its first stage and after each
    assert all(same(one, usual) for one in general)
    new = [one for one in wired.asked if one.family.max() >= 8]
    assert len(new) == 3 * (6 * 4 + 2)
    assert all(same(one, test.of(ORDER[i % 3])) for i, one in enumerate(new))
    # own responses to usual requests, then what groups teach after each stage
    (start, marks, asked, samples, chance), *after = wired.rolled
    lab = wired.outcome.exhibits["lab"]
    assert start is lab.start
    assert (marks, samples, chance) == (0, 1, torch_rng(SEED, "old").initial_seed())
    assert {tuple(row) for row in asked.request.tolist()} <= {tuple(row) for row in usual.request.tolist()}
    assert len(asked) == len(lab.old) == 6
    for call, (policy, marks, asked, samples, chance) in zip(wired.calls, after, strict=True):
        assert policy is call.policy
        assert (marks, samples) == (call.marks[1] + 1, 4)
        assert chance == torch_rng(SEED, "dead", call.marks[1]).initial_seed()
        assert same(asked, call.task.requests.take(torch.arange(6)))
    assert wired.risks[0][0] is lab.start
    assert wired.risks[0][1] is lab.old


def test_scores_are_those_worked_out_by_hand(wired):
    for k, name in enumerate(NAMES):
        count = EXPECTED[name][2]
        rows = [[planted(k, m, f) for f in (8, 9, 10)] for m in range(count + 1)]
        found = {metric: value for (method, metric), value in wired.scores.items() if method == name}
        expected = {
            scores.NEW: sum(rows[-1]) / 3,
            scores.GENERAL: 99 - k * count,
            scores.UPDATES: 3 * (k + 1) * count,
            scores.DRIFT: k + 0.5,
            scores.DEAD: 24,
        }
        if count == 3:  # 30 points up when it is learnt, 2 k down in every stage
            expected |= {scores.FM: -(4 * k + 2 * k) / 2, scores.GAIN: 30 - 2 * k}
        assert found == pytest.approx(expected), name
    assert wired.scores[START, scores.GENERAL] == 99
    assert (wired.scores[START, scores.LEAST], wired.scores[START, scores.MOST]) == (24, 30)
    ((_, old, new, names, samples, seed),) = wired.risks
    assert names == (SFT, OWN, GRPO, UNDIVIDED)
    assert (samples, seed) == (4, SEED)
    assert {tuple(row) for row in new.request.tolist()} <= {tuple(r) for r in wired.parts["train"].request.tolist()}
    assert new.family.unique().tolist() == [8, 9, 10]
    assert old.tokens[:, 0].eq(V.number["<user>"]).all()


def test_risks_and_drift_by_hand():
    policy = Bigram(["1 <end>", "5 <end>", "1 <end>", "1 . <end>"])
    old = labelled(KNOWN.of("next").take(torch.arange(3)), own_wording)
    outcome = experiment.Outcome()
    scores.score_risks(outcome, policy, old, gap(1), ("a", "b", "c", "d"), 4, 0)
    found = {row["method"]: 10 ** row["value"] for row in outcome.scores}
    information = method.fisher(policy, old)
    foreign, own = (method.risks(policy, labelled(gap(1), w), information) for w in (foreign_wording, own_wording))
    texts = method.roll_out(policy, gap(1), 4, torch_rng(0)).texts
    each = method.risks(policy, texts, information)
    advantages = torch.tensor([0.25, -0.75, 0.25, 0.25])  # three of four right; deviation 1/2
    assert found == pytest.approx(
        {
            "a": foreign.item(),
            "b": own.item(),
            "c": ((2 * advantages).square() * each).mean().item(),
            "d": (advantages.square() * each).mean().item(),
            scores.PREDICTED: 3 / 16 * own.item(),
        },
        rel=1e-3,
    )
    other = Bigram(seed=1)
    assert scores.drift(policy, policy, old).item() == pytest.approx(0, abs=1e-6)
    p, q = (m.table.weight.detach().log_softmax(-1) for m in (policy, other))
    apart = (p.exp() * (p - q)).sum(-1)  # from each token to the next
    before = [row[i - 1] for row, c in zip(old.tokens, old.counted, strict=True) for i in c.nonzero()[:, 0]]
    assert scores.drift(other, policy, old).item() == pytest.approx(apart[torch.stack(before)].mean().item(), rel=1e-4)


# ---- what is compared


def test_claims_and_gates_compare_what_they_say(wired):
    table = tidy_scores({SEED: wired.outcome})
    k = {name: i for i, name in enumerate(NAMES)}
    claims = {c.key: (c.margin, c.kind, effects(c, table).item()) for c in PAPER.claims}
    new = {name: wired.scores[name, scores.NEW] for name in NAMES}
    assert claims == {
        "C1": (3, "superiority", pytest.approx(-3 * (k[GRPO] - k[SFT]))),
        "C2": (3, "superiority", pytest.approx(-3 * (k[GRPO] - k[SFT]))),
        "C3": (10, "noninferiority", pytest.approx(new[GRPO] - new[JOINT])),
        "C4": (3, "equivalence", pytest.approx(-3 * (k[GRPO] - k[WITH_KL]))),
        "C5": (1, "superiority", pytest.approx(-3 * (k[GRPO] - k[OWN]))),
    }
    metrics = [(c.metric, c.better, c.worse) for c in PAPER.claims]
    assert metrics == [
        (scores.FM, GRPO, SFT),
        (scores.GENERAL, GRPO, SFT),
        (scores.NEW, GRPO, JOINT),
        (scores.FM, GRPO, WITH_KL),
        (scores.FM, GRPO, OWN),
    ]
    assert {c.key for c in PAPER.also if c.lower_is_better} == {c.key for c in PAPER.also if c.metric == scores.DRIFT}
    rows = measure_gates(PAPER.gates, table)
    assert [row["value"] for row in rows] == pytest.approx([99, 24, 30, 30, 28, 24])
    bounds = ["at least 90", "at least 10", "at most 60", *["at least 15"] * 3]
    assert [row["bound"] for row in rows] == bounds


def test_the_probe_goes_through_every_arm_and_comparison():
    probe, full = PAPER.settings("probe"), PAPER.settings("full")
    assert full == Settings(target=80, most=400, every=5, prompts=8, samples=8, batch=64)
    assert full.start == Start(rate=3e-4, known=20, share=0.15, batch=32)
    assert {name: arm.rate for name, arm in ARMS.items()} == {
        SFT: 1.25e-5,
        OWN: 1.25e-5,
        SAMPLES: 5e-5,
        GRPO: 5e-5,
        WITH_KL: 5e-5,
        UNDIVIDED: 5e-5,
        JOINT: 5e-5,
    }
    assert (probe.only, full.only, PAPER.settings("quick").only) == ((), (), (SFT, OWN, GRPO))
    record = recorded(PAPER.slug)
    check_probe(PAPER, record)
    there = {(row["method"], row["metric"]) for row in record.probe}
    for claim in (*PAPER.claims, *PAPER.also):
        assert {(method, claim.metric) for method in claim.methods} <= there, claim.key
    for gate in PAPER.gates:
        assert (gate.method, gate.metric) in there, gate.text
