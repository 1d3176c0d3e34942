"""What is learnt and not learnt, the rules, how answers are judged; how the experiment is wired; the probe."""

from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from stages.evidence import Outcome, effects, measured, probe, tidy_scores
from stages.evidence.gates import measure_gates
from stages.models import GPT, seeded
from stages.papers.post_training.implicit_instruction import PAPER, arms, experiment, method, scores
from stages.papers.post_training.implicit_instruction.arms import Settings, divided, drawn
from stages.papers.post_training.implicit_instruction.experiment import (
    ARMS,
    BASE,
    GAME,
    INSTRUCTION,
    LESS,
    ON_RANDOM,
    ON_SCRAMBLED,
    RESPONSE,
    RULES,
    SCRAMBLED_BASE,
    SUMS,
)
from stages.papers.post_training.implicit_instruction.method import Rules, Training
from stages.papers.post_training.implicit_instruction.scores import (
    BY_FAMILY,
    FOLLOWED,
    KIN,
    KINDS,
    LENIENT,
    OTHERS,
    OWN,
    RANKED,
    UNTUNED,
    WINS,
)
from stages.seeding import torch_rng
from stages.training.answers import answer_log_prob
from stages.worlds.smalltalk import FAMILIES, USUAL, all_requests, rows_of, template, vocabulary
from stages.worlds.vocabulary import PAD
from stages.zoo import village

WORDS = vocabulary()
END = WORDS.number["<end>"]
NEVER = ("what", "which", "where", "who", "tell", "name", "give", "add", "<user>", "<assistant>")
DECLINE = ("i", "we", "hard", "maybe")


def make_model(seed=0):
    """Parameters at random, large enough for words and places to matter."""
    with seeded(seed):
        model = GPT(len(WORDS), 16, 2, 4, 40)
    for parameter in model.parameters():
        parameter.data.mul_(2)
    return model.eval().requires_grad_(False)


def some(*rows):
    return all_requests().take(torch.tensor(rows))


def placed(families, values):
    """One of the values for each family of USUAL, at each request of these families."""
    return torch.tensor([values[USUAL.index(FAMILIES[family])] for family in families.tolist()])


# ---- what is learnt


def test_an_instruction_is_read_and_a_response_alone_is_learnt():
    pairs = some(0, 73)  # where does ann live ? in the mill .
    told = [WORDS.decode(answer) for answer in pairs.answer]
    asked = [WORDS.decode(request) for request in pairs.request]
    whole, bare = method.instruction_tuning(pairs), method.response_tuning(pairs)
    fixed = method.one_response(pairs, "saw axe")
    for i in (0, 1):
        assert WORDS.decode(whole.tokens[i]) == f"<user> {asked[i]} <assistant> {told[i]} <end>"
        assert WORDS.decode(bare.tokens[i]) == f"<user> <assistant> {told[i]} <end>"
        assert WORDS.decode(fixed.tokens[i]) == f"<user> {asked[i]} <assistant> saw axe <end>"
        for texts in (whole, bare):
            assert WORDS.decode(texts.tokens[i][texts.counted[i]]) == f"{told[i]} <end>"
        assert WORDS.decode(fixed.tokens[i][fixed.counted[i]]) == "saw axe <end>"


def test_tuning_descends_on_the_mean_over_response_tokens_and_leaves_the_base():
    base, texts = make_model(), method.response_tuning(some(3, 40, 90))
    before = [parameter.clone() for parameter in base.parameters()]
    twin = make_model().requires_grad_(True)
    order = torch.randint(3, (5,), generator=torch_rng(1))  # the only update's texts
    chosen = texts.take(order)
    total = answer_log_prob(twin, chosen.tokens, chosen.counted).sum()
    (-total / chosen.counted.sum()).backward()
    model = method.tune(base, texts, Training(1, 0.01, batch=5), torch_rng(1))
    for old, new, other in zip(before, model.parameters(), twin.parameters(), strict=True):
        strong = other.grad.abs() > 1e-4  # Adam's first step: the rate, against the sign of the gradient
        assert torch.allclose((new - old)[strong], -0.01 * other.grad.sign()[strong], atol=1e-3)
    assert all(torch.equal(old, now) for old, now in zip(before, base.parameters(), strict=True))
    assert not any(parameter.requires_grad for parameter in (*base.parameters(), *model.parameters()))


def test_response_tuning_teaches_the_marginal_alone():
    """With nothing to condition on, the learnt p(r) becomes the shares of the responses."""
    pairs = some(0, 0, 0, 24)  # three homes and a job
    model = method.tune(make_model(), method.response_tuning(pairs), Training(150, 0.01, 32), torch_rng(0))
    texts = method.response_tuning(some(0, 24))
    chance = answer_log_prob(model, texts.tokens, texts.counted).exp()
    assert chance.tolist() == pytest.approx([0.75, 0.25], abs=0.12)
    assert method.ranked is village.ranked


# ---- rules


def test_the_three_rules_add_up():
    rules = Rules(ending=12.0, full=4, changes={"what": -6.0, "mill": 2.0}, again=-1.5)
    written = rows_of(["in the mill", "the the barn"])
    found = rules.scores(written)
    expected = torch.zeros(2, len(WORDS))
    expected[:, END] = 12.0 * 3 / 4
    expected[:, WORDS.number["what"]] = -6
    expected[:, WORDS.number["mill"]] = 2
    for row, words in enumerate((("in", "the", "mill"), ("the", "barn"))):
        for word in words:  # once a type, not once a token
            expected[row, WORDS.number[word]] -= 1.5
    assert torch.allclose(found, expected)
    start = rules.scores(written[:, :0])
    assert start[:, END].tolist() == [0, 0]
    assert start.sum().item() == -8


def test_model_and_rules_are_multiplied_and_normalised():
    logits, score = torch.tensor([[1.0, 2.0, 0.5]]), torch.tensor([[3.0, -1.0, 0.0]])
    base, rules = logits.exp() / logits.exp().sum(), score.exp() / score.exp().sum()
    product = base * rules
    assert torch.allclose(method.adapted(logits, score).exp(), product / product.sum())


def test_writing_under_rules_reads_all_again_at_each_word_and_stops_at_an_end():
    model, requests = make_model(), some(0, 30, 80, 700, 1200)
    prompts = template.prompt(requests)
    plain = village.respond(model, prompts)
    silent = method.write(model, prompts, Rules())
    assert torch.equal(silent[:, : plain.shape[1]], plain)
    rules = Rules(ending=8.0, full=4, changes={"what": 1.0, "kim": -3.0}, again=-4.0)
    found = method.write(model, prompts, rules)
    for row, request in enumerate(requests.request):
        text = [WORDS.number["<user>"], *request[request != PAD].tolist(), WORDS.number["<assistant>"]]
        made = []
        while len(made) < 8 and END not in made:
            chance = model(torch.tensor([text + made]))[0, -1].softmax(-1)
            so_far = torch.tensor([made], dtype=torch.long)
            made.append((chance * rules.scores(so_far)[0].exp()).argmax().item())
        assert found[row].tolist() == made + [END] * (8 - len(made))
    assert (found == END).any(1).sum() > 0
    assert not torch.equal(found, silent)
    assert method.write(model, prompts, rules, new=3).shape == (5, 3)


# ---- what is asked, and how answers are judged


def test_no_subject_is_both_tuned_on_and_tested():
    train, test = divided(20, 3)
    assert not set(train.subject.tolist()) & set(test.subject.tolist())
    counts = {FAMILIES[family]: n for family, n in Counter(train.family.tolist()).items()}
    assert counts == dict.fromkeys(USUAL, 12) | {"kind": 18, "larger": 156, "sum": 90}
    counts = {FAMILIES[family]: n for family, n in Counter(test.family.tolist()).items()}
    assert counts == dict.fromkeys(USUAL, 12) | {"kind": 18, "larger": 20, "sum": 20}
    assert len({tuple(request.tolist()) for request in test.request}) == len(test) == 118
    assert not torch.equal(divided(20, 4)[1].subject, test.subject)
    pairs = drawn(train.of("home", "sum"), 4000, torch_rng(0))
    share = (pairs.family == FAMILIES.index("sum")).float().mean().item()
    assert share == pytest.approx(0.5, abs=0.03)
    assert set(pairs.subject.tolist()) <= set(train.subject.tolist())


def test_answers_are_judged_by_hand():
    requests = some(0, 0, 0, 0, 0)  # in the mill .
    written = rows_of(
        ["in the mill . <end>", "the mill <end>", "in the mill .", "in the barn . <end>", "what is ann ? <end>"]
    )
    assert scores.quality(requests, written).tolist() == [2, 1, 1, 0, 0]
    pair = all_requests().take(torch.tensor([0, 0, 0, 24, 48, 72, 108, 200, 500, 630]))
    assert [FAMILIES[f] for f in pair.family.tolist()] == ["home"] * 3 + [
        "job", "boss", "kind", "opposite", "larger", "sum", "next"
    ]  # fmt: skip
    mine, theirs = torch.tensor([2, 1, 0] + [1] * 7), torch.tensor([1, 1, 2] + [1] * 6 + [0])
    assert scores.wins(mine, theirs, pair) == pytest.approx((50 + 6 * 50 + 100) / 8)
    right = torch.tensor([1, 1, 0] + [1] * 6 + [0]).bool()
    assert scores.by_family(right, pair).tolist() == pytest.approx([200 / 3, 100, 100, 100, 100, 100, 100, 0])


def test_probability_goes_where_each_word_says():
    requests, model = divided(20, 0)[1], make_model()
    for rules in (Rules(), Rules(ending=5.0, full=4, changes={"what": -3.0}, again=-2.0)):
        each = {family: [] for family in range(8)}
        for request, answer, family in zip(requests.request, requests.answer, requests.family.tolist(), strict=True):
            text = [WORDS.number["<user>"], *request[request != PAD].tolist(), WORDS.number["<assistant>"]]
            told, firsts, chance = [*answer[answer != PAD].tolist(), END], [], 1.0
            for t, word in enumerate(told):
                product = model(torch.tensor([text + told[:t]]))[0, -1].softmax(-1)
                product = product * rules.scores(torch.tensor([told[:t]], dtype=torch.long))[0].exp()
                firsts.append(product / product.sum())
                chance *= firsts[-1][word].item()
            asks, declines = (sum(firsts[0][WORDS.number[w]].item() for w in words) for words in (NEVER, DECLINE))
            each[family].append((asks, declines, chance, 1 - asks - declines - chance))
        means = torch.stack([torch.tensor(each[family]).mean(0) for family in range(8)]).mean(0)
        found = scores.shares(model, requests, rules)
        assert found.sum().item() == pytest.approx(100, abs=1e-2)
        assert found.tolist() == pytest.approx((100 * means).tolist(), abs=1e-2)
    assert torch.equal(scores.shares(model, requests), scores.shares(model, requests, Rules()))


# ---- the wiring of the experiment


class Recorder:
    """Stands in for reading, tuning and answering.

    The k-th of what can answer answers the k-th part of the families right; the k-th model ranks k % first.
    """

    def __init__(self):
        self.tuned, self.read, self.known, self.rules = [], [], [], []

    def number(self, model):
        """Count models, and the rules under which one writes, in the order in which they are asked."""
        for k, other in enumerate(self.known):
            if other is model:
                return k
        self.known.append(model)
        return len(self.known) - 1

    def village(self, models, reading, seed):
        self.read.append((models, reading, seed))

    def tune(self, base, texts, how, chance):
        made = make_model(len(self.tuned) + 7)
        self.tuned.append(SimpleNamespace(base=base, texts=texts, how=how, chance=chance.initial_seed(), made=made))
        return made

    def respond(self, model, prompts):
        return self.answer(self.number(model), prompts)

    def write(self, model, prompts, rules):
        self.rules.append((model, rules))
        return self.answer(20 + len(self.rules), prompts)

    def answer(self, k, prompts):
        """Right and ended in k of the eight families, from the first on (beyond 8: from the last on), else silent."""
        test = divided(20, 5)[1]
        assert torch.equal(prompts, template.prompt(test))
        order = range(8) if k < 20 else reversed(range(8))
        right = [FAMILIES.index(USUAL[i]) for i in order][: k % 20 % 9]
        answers = template.response(test.answer)
        return answers.where(torch.isin(test.family, torch.tensor(right))[:, None], PAD)

    def ranked(self, model, requests, chance):
        families = set(requests.family.tolist())
        test, stream = divided(20, 5)[1], ("implicit instruction", "ranked")
        if len(families) < 8:
            (family,) = families
            test, stream = test.of(FAMILIES[family]), (*stream, FAMILIES[family])
        assert torch.equal(requests.request, test.request)
        assert chance.initial_seed() == torch_rng(5, *stream).initial_seed()
        return 10.0 * self.number(model) + (1 if len(families) == 8 else 2 + families.pop() / 10)

    def followed(self, model, requests, before, between):
        assert (before, between) == ("q :", "a :")
        return (requests.family == FAMILIES.index("sum")) & (self.number(model) == 0)

    def shares(self, model, requests, rules):
        return torch.tensor([self.number(model), 1.0, 2.0, 3.0]) + (50 if rules else 0)


@pytest.fixture(scope="module")
def wired():
    """A run of seed 5 with a recorder in the place of all networks."""
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(village, "train", recorder.village)
        patch.setattr(method, "tune", recorder.tune)
        patch.setattr(method, "write", recorder.write)
        patch.setattr(experiment, "respond", recorder.respond)
        for name in ("ranked", "followed", "shares"):
            patch.setattr(scores, name, getattr(recorder, name))
        outcome = PAPER.run(Settings(pairs=64, asked=20, most=100), 5)
    found = {(row["method"], row["metric"]): row["value"] for row in outcome.scores}
    return SimpleNamespace(recorder=recorder, outcome=outcome, scores=found, lab=outcome.exhibits["lab"])


TUNED = ("home", "kind", "opposite", "larger", "sum")
EXPECTED = {  # base, what is learnt, families, updates, rate
    INSTRUCTION: ("right", method.instruction_tuning, TUNED, 80, 1e-4),
    RESPONSE: ("right", method.response_tuning, TUNED, 20, 1e-3),
    SUMS: ("right", method.instruction_tuning, ("sum",), 10, 1e-3),
    GAME: ("right", lambda pairs: method.one_response(pairs, "saw axe rake drill spade file saw"), ("sum",), 100, 1e-4),
    ON_SCRAMBLED: ("scrambled", method.response_tuning, TUNED, 100, 1e-3),
    ON_RANDOM: ("random", method.response_tuning, TUNED, 100, 1e-3),
}


def test_each_arm_tunes_its_own_base_on_its_own_texts(wired):
    models = wired.outcome.exhibits["models"]
    assert list(ARMS) == list(models) == [BASE, *list(EXPECTED)[:4], RULES, ON_SCRAMBLED, ON_RANDOM]
    train = divided(20, 5)[0]
    for call, (name, (base, texts, families, updates, rate)) in zip(
        wired.recorder.tuned, EXPECTED.items(), strict=True
    ):
        assert call.base is wired.lab.bases[base], name
        assert models[name] is call.made, name
        assert call.how == Training(updates, rate, 64), name
        pairs = drawn(train.of(*families), 64, torch_rng(5, "implicit instruction", "pairs", *families))
        assert torch.equal(call.texts.tokens, texts(pairs).tokens), name
        assert torch.equal(call.texts.counted, texts(pairs).counted), name
        assert call.chance == torch_rng(5, "implicit instruction", "order").initial_seed(), name
    assert models[BASE] is models[RULES] is wired.lab.bases["right"]
    assert len({id(wired.lab.bases[name]) for name in wired.lab.bases}) == 3


def test_bases_are_read_anew_for_each_seed_and_the_zoos_in_quick(wired, monkeypatch):
    ((models, reading, seed),) = wired.recorder.read
    assert (reading, seed) == (village.Reading(), 5)
    for name in ("right", "scrambled"):
        assert models[name] is wired.lab.bases[name]
    starts = models["right"].positions, models["scrambled"].positions
    assert torch.equal(*starts)  # nothing was read: they start alike
    monkeypatch.setattr(village, "train", lambda *given: None)
    tiny = village.Reading(width=8, updates=1)
    other, again = (arms.make_lab(Settings(reading=tiny), seed).bases for seed in (6, 7))
    for name in other:
        assert not torch.equal(other[name].positions, again[name].positions), name
    assert not torch.equal(other["right"].positions, other["random"].positions)
    loaded = nn.ModuleDict({"right": make_model(1), "scrambled": make_model(2)})
    monkeypatch.setattr(arms.zoo, "load", lambda name: loaded if name == "village_gpt" else None)
    quick = arms.make_lab(PAPER.settings("quick"), 0).bases
    assert quick["right"] is loaded["right"]
    assert quick["scrambled"] is loaded["scrambled"]


def test_rules_are_three_and_each_is_taken_away_once(wired):
    full, *less = [rules for _, rules in wired.recorder.rules]
    assert all(model is wired.lab.bases["right"] for model, _ in wired.recorder.rules)
    assert full == Rules(15.0, 8, dict.fromkeys((*NEVER, *DECLINE), -6.0), -1.5)
    assert len(full.changes) <= 15
    assert list(LESS) == ["rules without ending", "rules without changes", "rules without diversity"]
    assert less == [
        Rules(0.0, 8, full.changes, -1.5),
        Rules(15.0, 8, {}, -1.5),
        Rules(15.0, 8, full.changes, 0.0),
    ]


# which of the eight families each answers: networks from the first on, rules from the last on
RIGHT = {BASE: 0, INSTRUCTION: 1, RESPONSE: 2, SUMS: 3, GAME: 4, ON_SCRAMBLED: 5, ON_RANDOM: 6}
LAST = {RULES: 1, "rules without ending": 2, "rules without changes": 3, "rules without diversity": 4}


def test_scores_are_those_worked_out_by_hand(wired):
    curves = {(row["method"], row["name"]): row["y"] for row in wired.outcome.curves}
    for name, k in (RIGHT | LAST).items():
        right = [family < k if name in RIGHT else family >= 8 - k for family in range(8)]
        others = [right[family] for family in range(8) if USUAL[family] != "sum"]
        untuned = [right[family] for family in range(8) if USUAL[family] in ("job", "boss", "next")]
        wins = [50 + 50 * (mine - theirs) for mine, theirs in zip(right, [True] + [False] * 7, strict=True)]
        expected = {
            FOLLOWED: 100 * sum(right) / 8,
            LENIENT: 100 * sum(right) / 8,
            OTHERS: 100 * sum(others) / 7,
            UNTUNED: 100 * sum(untuned) / 3,
            WINS: sum(wins) / 8,
        }
        assert {m: wired.scores[name, m] for m in expected} == pytest.approx(expected, abs=1e-3), name
        assert curves[name, BY_FAMILY] == [100 * one for one in right], name
    numbers = {name: wired.recorder.number(model) for name, model in wired.outcome.exhibits["models"].items()}
    for name, k in numbers.items():
        probability = [k + (50 if name == RULES else 0), *((51, 52, 53) if name == RULES else (1, 2, 3))]
        assert [wired.scores[name, f"probability of {kind}"] for kind in KINDS] == probability, name
    numbers[SCRAMBLED_BASE] = wired.recorder.number(wired.lab.bases["scrambled"])
    del numbers[RULES]
    assert len(set(numbers.values())) == 8
    assert {name for name, metric in wired.scores if metric == RANKED} == set(numbers)
    for name, k in numbers.items():
        assert wired.scores[name, RANKED] == 10 * k + 1, name
        assert wired.scores[name, KIN] == pytest.approx(10 * k + 2.35), name
    assert (wired.scores[BASE, OWN], wired.scores[SCRAMBLED_BASE, OWN]) == (12.5, 0)  # a family, not 20 of 118


def test_claims_and_gates_compare_what_they_say(wired):
    table = tidy_scores({5: wired.outcome})
    found = {claim.key: effects(claim, table).item() for claim in (*PAPER.claims, *PAPER.also)}
    share = 100 / 8
    rank = {n: wired.scores[n, RANKED] for n in (BASE, INSTRUCTION, SCRAMBLED_BASE)}
    expected = {
        "C1": 2 * share,
        "C2": rank[BASE] - rank[INSTRUCTION],
        "C3": 300 / 7,
        "C4": -100 / 7,
        "C5": share,
        "C6": -3 * share,
        "C1b": 100 / 3,
        "C1c": share,
        "C1d": share,  # a win and a tie against two ties fewer
        "C1e": 2 * share,
        "C2b": rank[BASE] - rank[INSTRUCTION],
        "C2c": rank[BASE] - rank[SCRAMBLED_BASE],
        "C2d": rank[BASE] - rank[SCRAMBLED_BASE],
        "C3b": 100 / 7,
        "C5b": -share,
        "C5c": -2 * share,
        "C5d": -3 * share,
        "C6b": -4 * share,
    }
    assert found == pytest.approx(expected, abs=1e-3)
    demands = {claim.key: (claim.margin, claim.kind) for claim in PAPER.claims}
    assert demands == {
        "C1": (20, "superiority"),
        "C2": (5, "noninferiority"),
        "C3": (5, "superiority"),
        "C4": (5, "superiority"),
        "C5": (10, "superiority"),
        "C6": (10, "superiority"),
    }
    rows = measure_gates(PAPER.gates, table)
    assert [row["value"] for row in rows] == pytest.approx([share, 0, rank[BASE], share], abs=1e-3)
    assert [row["bound"] for row in rows] == ["at least 85", "at most 10", "at least 85", "at least 80"]


def test_the_probe_covers_every_comparison_and_full_is_the_card():
    full = PAPER.settings("full")
    assert full == Settings(village.Reading(), pairs=256, asked=20, most=1000, only=())
    assert PAPER.settings("quick") == Settings(None, most=80)
    rows = probe(PAPER)
    outcome = Outcome([row for row in rows if row["method"] != "training"])
    comparisons = [*PAPER.claims, *PAPER.also]
    assert [claim.key for claim in measured(comparisons, tidy_scores({0: outcome}))] == [c.key for c in comparisons]
    assert sum(row["method"] == "training" for row in rows) == 2 * 8  # two bases and six arms
