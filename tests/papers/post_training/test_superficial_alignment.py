"""The protocol (nested sets, the loss, the best checkpoint, laws), the tasks, how the experiment is wired."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from stages import zoo
from stages.evidence import Outcome, check_probe, recorded
from stages.models import GPT, seeded
from stages.papers.post_training.superficial_alignment import (
    FORMS,
    PAPER,
    Tuning,
    answer_loss,
    experiment,
    extrapolated,
    fine_tune,
    fit_law,
    nested,
    share_reached,
    tasks,
)
from stages.papers.post_training.superficial_alignment.experiment import (
    ARMS,
    BASE,
    BY_LENGTH,
    EPOCHS,
    ERROR,
    LONGER,
    REACHED,
    SIZES,
    SUMS,
)
from stages.papers.post_training.superficial_alignment.tasks import (
    ACCURACY,
    CHAINS,
    FAULTS,
    FORMAT,
    LENIENT,
    STYLE,
    WHOLE,
)
from stages.seeding import torch_rng
from stages.worlds import chain_prose
from stages.worlds.chain_prose import check, worked
from stages.worlds.vocabulary import PAD, Answered
from stages.zoo import chain_prose as reading

V = chain_prose.vocabulary()
CPU = torch.device("cpu")
SEED = 3


def make_model():
    with seeded(0):
        return GPT(len(V), 16, 2, 4, 96).eval().requires_grad_(False)


def problems(n=12, split="train", seed=SEED):
    return tasks.draw(n, seed, split)


# ---- the protocol


def test_sets_are_nested_and_no_example_comes_twice():
    pool = tasks.examples(problems(60), CHAINS, CPU)
    doubled = Answered(pool.tokens.repeat_interleave(2, 0), pool.counted.repeat_interleave(2, 0))
    sets = nested(doubled, (4, 16, 50))
    for n, some in sets.items():
        assert len(some) == n
        assert torch.equal(some.tokens, pool.tokens[:n])
        assert torch.equal(some.counted, pool.counted[:n])
    longer = nn.functional.pad(pool.tokens[1:3], (0, 4))
    apart = nested(doubled, (50,), [Answered(longer, longer > 0)])[50]
    assert torch.equal(apart.tokens, torch.cat([pool.tokens[:1], pool.tokens[3:52]]))
    with pytest.raises(ValueError, match="100 examples are asked for; the pool has 60"):
        nested(doubled, (4, 100))


def test_the_loss_is_of_the_answers_tokens_alone():
    model = make_model()
    texts = tasks.examples(problems(), CHAINS, CPU)
    chances = model(texts.tokens).log_softmax(-1)
    found = []
    for row, (tokens, problem) in enumerate(zip(texts.tokens.tolist(), problems().question, strict=True)):
        asked, length = int((problem != PAD).sum()), sum(token != PAD for token in tokens)
        found += [-chances[row, i - 1, tokens[i]].item() for i in range(asked, length)]
    assert answer_loss(model, texts).item() == pytest.approx(np.mean(found), rel=1e-4)


def test_the_best_checkpoint_by_validation_is_returned_and_the_base_stays():
    base = make_model()
    before = [p.clone() for p in base.parameters()]
    texts = tasks.examples(problems(), CHAINS, CPU)
    planted, seen = iter((10.0, 40.0, 40.0, 20.0)), []

    def accuracy(model):
        seen.append([p.detach().clone() for p in model.parameters()])
        return next(planted)

    found = fine_tune(base, texts, accuracy, Tuning(updates=7, batch=4, rate=1e-2, every=2), SEED)
    assert len(seen) == 4  # after 2, 4, 6 and, last of all, 7 updates
    for kept, second, third in zip(found.parameters(), seen[1], seen[2], strict=True):
        assert torch.equal(kept, second)
        assert not torch.equal(kept, third) or kept.abs().max() == 0
        assert not kept.requires_grad
    assert all(torch.equal(a, b) for a, b in zip(before, base.parameters(), strict=True))
    planted, seen = iter((10.0, 100.0)), []  # nothing can be better: training ends
    found = fine_tune(base, texts, accuracy, Tuning(updates=7, batch=4, rate=1e-2, every=2), SEED)
    assert len(seen) == 2
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), seen[1], strict=True))


def test_fine_tuning_is_adam_on_drawn_examples_at_its_rate():
    """One update moves each parameter by its rate against the sign of the gradient on the drawn batch."""
    base, texts = make_model(), tasks.examples(problems(), CHAINS, CPU)
    how = Tuning(updates=1, batch=4, rate=1e-3, warmup=0.0, every=1)
    found = fine_tune(base, texts, lambda model: 1.0, how, SEED)
    other = fine_tune(base, texts, lambda model: 1.0, how, SEED + 1)
    rows = torch.randint(12, (4,), generator=torch_rng(SEED, "superficial alignment", "batches"))
    model = make_model().requires_grad_(True)
    answer_loss(model, texts.take(rows)).backward()
    for p, q, r in zip(model.parameters(), found.parameters(), other.parameters(), strict=True):
        large = p.grad.abs() > 1e-4
        torch.testing.assert_close((q - p)[large], -1e-3 * p.grad.sign()[large], rtol=0.05, atol=1e-5)
        assert p.grad.abs().max() < 1e-4 or not torch.equal(q, r)
    how = replace(how, updates=4, every=4, rate=1e-2, warmup=0.5)  # two rising, then a cosine
    found, model = fine_tune(base, texts, lambda model: 1.0, how, SEED), make_model().requires_grad_(True)
    adam = torch.optim.AdamW(model.parameters(), weight_decay=0.0, fused=True)
    chance, norms = torch_rng(SEED, "superficial alignment", "batches"), []
    for share in (0.5, 1.0, 1.0, 0.5):
        adam.zero_grad()
        answer_loss(model, texts.take(torch.randint(12, (4,), generator=chance))).backward()
        norms.append(nn.utils.clip_grad_norm_(model.parameters(), 1.0).item())
        adam.param_groups[0]["lr"] = 1e-2 * share
        adam.step()
    assert max(norms) > 1
    for p, q in zip(model.parameters(), found.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0.05, atol=2e-3)  # gradients that vanish are noise to Adam


LAWS = {
    "power law": (lambda n: 3.0 * n**0.4, (3.0, 0.4)),
    "saturating law": (lambda n: 80.0 - 300.0 * n**-0.7, (80.0, 300.0, 0.7)),
    "logistic law": (lambda n: 100 / (1 + (200 / n) ** (1 / 0.6)), (200.0, 0.6)),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_law_is_found_again_from_its_points_and_foretells_the_last(name):
    law, parameters = LAWS[name]
    accuracy = [law(float(n)) for n in SIZES]
    assert fit_law(FORMS[name], SIZES, accuracy) == pytest.approx(parameters, rel=2e-2)
    assert extrapolated(FORMS[name], SIZES, accuracy) < 0.2
    # the last point is not fitted
    accuracy[-1] -= 20
    assert extrapolated(FORMS[name], SIZES, accuracy) == pytest.approx(20, abs=0.2)
    # of several starts the best counts, wherever it stands
    for starts in (((1.9,), (5.0,)), ((5.0,), (1.9,))):
        wave = replace(FORMS[name], law=lambda n, a: np.sin(a * np.log(n)), low=(0.1,), high=(9.0,), starts=starts)
        assert fit_law(wave, SIZES, np.sin(2 * np.log(SIZES))) == pytest.approx([2], rel=1e-3)


def test_the_share_of_an_improvement_is_counted_from_the_start():
    assert share_reached(10, 40, 90) == pytest.approx(37.5)
    assert share_reached(0, 0, 50) == 0
    assert share_reached(5, 9, 5) == 0


# ---- the tasks


def test_examples_are_of_two_or_three_operations_and_close_with_an_end():
    parts = {split: tasks.draw(1500, SEED, split) for split in ("train", "validation")}
    assert not torch.equal(parts["train"].steps, parts["validation"].steps)
    for part in parts.values():
        assert part.steps.unique().tolist() == [2, 3]
    told = tasks.examples(parts["train"], CHAINS, CPU)
    asked = V.decode(told.tokens[0][~told.counted[0]])
    answer = V.decode(told.tokens[0][told.counted[0]])
    assert asked.endswith("?")
    assert answer.startswith("<")
    assert answer.endswith("<end>")
    # answers are the likeliest tokens, pads of questions are hidden, and there is room for a step too many
    some, asked = problems(), []

    def generate(prompts, new, **options):
        asked.append((prompts, new, options))
        return prompts

    model = SimpleNamespace(parameters=lambda: iter([torch.zeros(1)]), generate=generate)
    assert torch.equal(tasks.write(model, some), some.question)
    ((prompts, new, options),) = asked
    assert torch.equal(prompts, some.question)
    assert new == 3 * 7 + 3 + 7
    assert options.keys() == {"stop", "mask"}
    assert options["stop"] == [V.number["<end>"]]
    assert torch.equal(options["mask"], some.question != PAD)
    assert not options["mask"].all()


def test_style_only_repeats_the_first_sentence_between_the_marks():
    for text, question in zip(tasks.repeated(problems(40)), problems(40).question, strict=True):
        first = V.decode(question).split(" .")[0]
        number = first.split()[2]
        assert V.decode(text) == f"< {first} > <answer> {number} <end>"
    right = tasks.repeated(problems(40))
    assert tasks.judge_style(problems(40), right) == {ACCURACY: 100}
    right[:10, 4] = V.number["first"] + V.number["before"] - right[:10, 4]  # the other ending
    assert tasks.judge_style(problems(40), right)[ACCURACY] <= 100 * 30 / 40
    longer = torch.cat([tasks.repeated(problems(40)), torch.full((40, 3), V.number["<end>"])], 1)
    assert tasks.judge_style(problems(40), longer) == {ACCURACY: 100}
    assert tasks.judge_style(problems(40), longer[:, :6]) == {ACCURACY: 0}


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("< 3 + two = 5 > <answer> 4 <end>", 4),
        ("mia has 6 . tom has 2", 6),
        ("4 mia has 6 <end> 2", 6),
        ("< 3 + two = 5 > <answer> <end> 2", 5),  # no number after the mark: the last one before the end
        ("mia has five .", -1),
        ("5 + <answer> 0", 0),
    ],
)
def test_a_lenient_reader_takes_what_number_there_is(text, answer):
    assert tasks.lenient(V.encode(text)[None]).item() == answer


def test_scores_of_chains_are_counted_by_hand():
    some = tasks.draw(8, SEED, "test", 2)
    texts = worked(some)
    texts[0, -1] = V.number["<answer>"]  # no end
    texts[1, 2] = V.number["+"] + V.number["-"] - texts[1, 2] if texts[1, 2] != V.number["*"] else V.number["+"]
    texts[2, 5] = 1 + texts[2, 5] % 7  # a wrong value
    texts[3, -2] = 1 + texts[3, -2] % 7  # a wrong answer
    found = tasks.judge(some, texts)
    assert found[WHOLE] == 50
    assert [found[name] for name in FAULTS] == [12.5, 12.5, 25]
    assert found[FORMAT] == 87.5
    assert found[ACCURACY] == 75  # 1 and 2 end well all the same
    assert found[LENIENT] == 87.5


# ---- the wiring of the experiment


class Recorder:
    """Stands in for fine-tuning: notes what it is given; its k-th model answers so many problems of each split right
    that no two arms score alike.
    """

    def __init__(self):
        self.calls, self.bases, self.asked, self.held_out = [], [], {}, []

    def load(self, name):
        self.bases.append(name)
        return zoo.load(name)

    def nested(self, pool, sizes, held_out):
        self.held_out.append(held_out)
        return nested(pool, sizes, held_out)

    def fine_tune(self, base, train, accuracy, how, seed):
        model = nn.Linear(1, 1)
        model.number = len(self.calls) + 1
        model.task = None
        call = SimpleNamespace(base=base, train=train, how=how, seed=seed, model=model)
        self.calls.append(call)
        call.accuracy = [accuracy(replace_number(model, k)) for k in (0, -3)]
        call.validated = self.asked.pop(-3)
        return model

    def write(self, model, some):
        """The base answers nothing. The k-th model writes no end to 2k problems, a wrong answer to k more."""
        self.asked.setdefault(BASE if isinstance(model, GPT) else model.number, []).append(some.question)
        if isinstance(model, GPT):
            return V.encode("mia has 3 .").expand(len(some), -1)
        k = abs(model.number)
        text = worked(some)
        end = (text == V.number["<end>"]).int().argmax(1)
        rows = torch.arange(len(text))
        text[rows[: 2 * k], end[: 2 * k]] = V.number["="]
        text[rows[2 * k : 3 * k], end[2 * k : 3 * k] - 1] %= 7
        text[rows[2 * k : 3 * k], end[2 * k : 3 * k] - 1] += 1
        return text


def replace_number(model, k):
    copied = nn.Linear(1, 1)
    copied.number = k
    return copied


TINY = replace(PAPER.settings("probe"), validation=30, test=40, tuning=Tuning(updates=80, every=4, batch=8))


@pytest.fixture(scope="module")
def wired():
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "fine_tune", recorder.fine_tune)
        patch.setattr(experiment, "nested", recorder.nested)
        patch.setattr(tasks, "write", recorder.write)
        patch.setattr(experiment, "zoo", SimpleNamespace(load=recorder.load))
        judged = []
        judge = tasks.judge_style

        def style(some, written):
            judged.append(some)
            return {ACCURACY: tasks.percent(check(some, written).answer == some.answer)}

        patch.setattr(experiment, "TASKS", {
            CHAINS: tasks.TASKS[CHAINS], STYLE: replace(tasks.TASKS[STYLE], judge=style),
        })  # fmt: skip
        assert tasks.TASKS[STYLE].judge is judge
        outcome = PAPER.run(TINY, SEED)
    found = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    curves = {(row["method"], row["name"]): (row["x"], row["y"]) for row in outcome.curves}
    return SimpleNamespace(
        calls=dict(zip(ARMS, recorder.calls, strict=True)),
        bases=recorder.bases,
        asked=recorder.asked,
        held_out=recorder.held_out,
        scores=found,
        curves=curves,
    )


EXPECTED = {  # task, examples, updates
    **{f"n = {n:,}": (CHAINS, n, 80) for n in (16, 64, 128, 256, 512, 1024)},
    "style only, n = 128": (STYLE, 128, 80),
    "style only, n = 1,024": (STYLE, 1024, 80),
    "n = 128, as many epochs": (CHAINS, 128, 10),
}


def test_every_arm_has_its_own_task_and_size_and_one_base_for_all(wired):
    assert list(wired.calls) == list(EXPECTED)
    assert wired.bases == ["chain_gpt"]
    train = tasks.draw(1200, SEED, "train")
    pools = {task: tasks.examples(train, task, CPU) for task in (CHAINS, STYLE)}
    apart = [("validation", 30, (2, 3)), *(("test", 40, k) for k in (2, 3, 4))]
    apart = [tasks.draw(count, SEED, split, steps) for split, count, steps in apart]
    # what is trained on holds nothing of the validation and test sets, in either task
    for task, held_out in zip((CHAINS, STYLE), wired.held_out, strict=True):
        for problem, part in zip(apart, held_out, strict=True):
            assert torch.equal(part.tokens, tasks.examples(problem, task, CPU).tokens)
    # the best checkpoint is chosen on validation problems; the base and all arms are tested on the same problems
    for call in wired.calls.values():
        (asked,) = call.validated
        assert torch.equal(asked, apart[0].question)
    for model in (BASE, *range(1, 10)):
        for found, problem in zip(wired.asked[model], apart[1:], strict=True):
            assert torch.equal(found, problem.question)
    base = wired.calls["n = 16"].base
    fresh = zoo.load("chain_gpt")
    assert all(torch.equal(p, q) for p, q in zip(fresh.parameters(), base.parameters(), strict=True))
    assert not any(p.requires_grad for p in base.parameters())
    assert wired.scores[BASE, SUMS] == reading.sums(base, 40, SEED)
    for name, (task, n, updates) in EXPECTED.items():
        call = wired.calls[name]
        width = call.train.tokens.shape[1]
        assert torch.equal(call.train.tokens, pools[task].tokens[:n, :width]), name
        assert not pools[task].tokens[:n, width:].any()
        assert call.how == Tuning(updates=updates, every=4, batch=8), name
        assert call.seed == SEED
        assert call.base is wired.calls["n = 16"].base
        learnt = {tuple(row[row > 0].tolist()) for row in call.train.tokens}
        assert len(learnt) == n
        for problem in apart:
            asked = tasks.examples(problem, task, CPU).tokens
            assert not learnt & {tuple(row[row > 0].tolist()) for row in asked}
        # the validation set has 30 problems, of which a model called 3 answers 9 wrong
        assert call.accuracy == pytest.approx([100, 70]), name


def test_scores_are_those_of_the_test_worked_out_by_hand(wired):
    for k, (name, (task, _, _)) in enumerate(EXPECTED.items(), 1):
        assert wired.scores[name, ACCURACY] == pytest.approx(100 - 7.5 * k), name
        assert wired.scores[name, LONGER] == pytest.approx(100 - 7.5 * k), name
        assert wired.curves[name, BY_LENGTH][0] == [2, 3]
        if task == STYLE:
            assert (name, FORMAT) not in wired.scores
            continue
        assert wired.scores[name, FORMAT] == pytest.approx(100 - 5 * k), name
        assert wired.scores[name, LENIENT] == pytest.approx(100 - 2.5 * k), name
        assert wired.scores[name, WHOLE] == pytest.approx(100 - 7.5 * k), name
        assert [wired.scores[name, fault] for fault in FAULTS] == pytest.approx([5 * k, 0, 2.5 * k]), name
    assert [wired.scores[BASE, metric] for metric in (ACCURACY, FORMAT, LONGER)] == [0, 0, 0]
    assert wired.scores[BASE, SUMS] > 90
    assert wired.curves[CHAINS, ACCURACY] == (list(SIZES), pytest.approx([92.5, 85, 77.5, 70, 62.5, 55]))
    assert wired.curves[CHAINS, FORMAT] == (list(SIZES), pytest.approx([95, 90, 85, 80, 75, 70]))
    # 64 is the second arm, 1,024 the sixth
    assert wired.scores["format", REACHED] == pytest.approx(100 * 90 / 70)
    assert wired.scores["right answers", REACHED] == pytest.approx(100 * 85 / 55)
    for name, form in FORMS.items():
        expected = extrapolated(form, SIZES, [92.5, 85, 77.5, 70, 62.5, 55])
        assert wired.scores[name, ERROR] == pytest.approx(expected, rel=1e-3)


def test_four_operations_are_asked_apart(monkeypatch):
    planted = {2: 10.0, 3: 40.0, 4: 90.0}
    task = tasks.Task(worked, lambda some, written: {ACCURACY: planted[int(some.steps[0])]})
    monkeypatch.setattr(tasks, "write", lambda model, some: None)
    outcome = Outcome()
    experiment.score(outcome, "x", None, task, {k: tasks.draw(4, 0, "test", k) for k in planted})
    assert [row["value"] for row in outcome.scores] == [25, 90]
    assert outcome.curves[0]["y"] == [10, 40]


# ---- the record


def test_claims_and_gates_compare_what_they_say():
    few, many = "n = 128", "n = 1,024"
    claims = {c.key: (c.metric, c.better, c.worse, c.margin, c.over) for c in PAPER.claims}
    assert claims == {
        "C1": (ACCURACY, many, few, 10, None),
        "C2": (REACHED, "format", "right answers", 20, None),
        "C3": (ERROR, "power law", "saturating law", 0, None),
        "C4": (ACCURACY, many, few, 5, ("style only, n = 1,024", "style only, n = 128")),
    }
    assert {c.key: c.origin for c in PAPER.claims} == {"C1": "paper", "C2": "paper", "C3": "paper", "C4": "ours"}
    also = {c.key: (c.metric, c.better, c.worse) for c in PAPER.also}
    assert also == {
        "C1b": (LENIENT, many, few),
        "C1c": (WHOLE, many, few),
        "C1d": (LONGER, many, few),
        "C1e": (ACCURACY, many, "n = 512"),
        "C1f": (ACCURACY, few, EPOCHS),
        "C2b": (FORMAT, many, few),
        "C2c": (FAULTS[0], many, few),
        "C2d": (FAULTS[1], many, few),
        "C2e": (FAULTS[2], many, few),
        "C3b": (ERROR, "logistic law", "power law"),
    }
    lower = {c.key for c in (*PAPER.claims, *PAPER.also) if c.lower_is_better}
    assert lower == {"C3", "C2c", "C2d", "C2e", "C3b"}
    gates = [(g.method, g.metric, g.minus, g.least, g.most) for g in PAPER.gates]
    assert gates == [
        (BASE, SUMS, None, 80, None),
        (BASE, FORMAT, None, None, 5),
        ("n = 16", ACCURACY, None, None, 40),
        (many, ACCURACY, None, 80, None),
    ]
    full = PAPER.settings("full")
    assert (full.tuning, full.validation, full.test, full.only) == (Tuning(), 150, 150, ())


def test_the_probe_covers_every_comparison_and_gate():
    outcome = PAPER.run(PAPER.settings("probe"), 0)
    there = {(row["method"], row["metric"]) for row in outcome.scores}
    assert {method for method, _ in there} >= {BASE, *ARMS, *FORMS}
    for claim in (*PAPER.claims, *PAPER.also):
        assert {(method, claim.metric) for method in claim.methods} <= there, claim.key
    for gate in PAPER.gates:
        assert (gate.method, gate.metric) in there, gate.text
    check_probe(PAPER, recorded(PAPER.slug))
