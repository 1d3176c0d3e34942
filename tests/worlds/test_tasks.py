from collections import Counter
from dataclasses import fields

import pytest
import torch
from scipy.stats import chisquare

from stages.worlds.tasks import FAMILIES, OF_WORDS, SPLITS, TASKS, WORDS, documents, invent, prompts, vocabulary
from stages.worlds.tasks.facts import COLOURS, GROUPS, HOMES, KINDS

V = vocabulary()


@pytest.fixture(scope="module")
def facts():
    """A world."""
    return invent(0)


def group(word):
    kind = next(kind for kind, words in KINDS.items() if word in words)
    return next(name for name, kinds in GROUPS.items() if kind in kinds)


def expected(facts, task, words):
    """A task's answer to words, in words."""
    word, i = words[0], sorted(WORDS).index(words[0])
    if task in GROUPS:
        return next(word for word in words if group(word) == task)
    partner = WORDS[facts.partner[i]]
    return {
        "plural": lambda: word + "s",
        "partner": lambda: partner,
        "colour": lambda: COLOURS[facts.colour[i]],
        "home": lambda: HOMES[facts.home[i]],
        "kind": lambda: next(kind for kind, members in KINDS.items() if word in members),
        "letter": lambda: word[0],
        "larger": lambda: "yes" if facts.size[i] > facts.size[WORDS.index(partner)] else "no",
        "next": lambda: sorted(WORDS)[(i + 1) % 64],
        "previous": lambda: sorted(WORDS)[(i + 63) % 64],
        "second next": lambda: sorted(WORDS)[(i + 2) % 64],
        "first": lambda: words[0],
        "middle": lambda: words[len(words) // 2],
        "last": lambda: words[-1],
        "earliest": lambda: sorted(words)[0],
        "latest": lambda: sorted(words)[-1],
    }[task]()


def parse(row):
    """A row's questions and answers, in words."""
    pairs = [pair.split(" A ") for pair in V.decode(row).removesuffix(" ;").split(" ; ")]
    return [(question.removeprefix("Q ").split(), answer) for question, answer in pairs]


def test_facts_are_balanced_and_partners_mutual(facts):
    place = torch.arange(64)
    assert torch.equal(facts.partner[facts.partner], place)
    assert (facts.partner != place).all()
    assert facts.colour.bincount().tolist() == facts.home.bincount().tolist() == [8] * 8
    assert torch.equal(facts.size.sort().values, place)
    assert Counter(facts.answer("larger", place[:, None]).tolist()) == {V.number["yes"]: 32, V.number["no"]: 32}
    assert len(facts.answer("plural", place[:, None]).unique()) == 64


def test_a_seed_decides_the_facts(facts):
    same, other = invent(0), invent(1)
    for field in fields(facts):
        assert torch.equal(getattr(facts, field.name), getattr(same, field.name))
        assert not torch.equal(getattr(facts, field.name), getattr(other, field.name))


def test_there_are_64_nouns_in_two_families_of_inputs_and_four_of_tasks():
    assert len(set(WORDS)) == 64
    assert list(WORDS) == sorted(WORDS)
    assert len(set(TASKS)) == 17
    assert list(FAMILIES) == ["lookup", "order", "position", "choice"]
    assert len(V) < 200
    assert V.tokens[1:65] == WORDS


def test_splits_are_40_10_and_14_nouns_with_some_of_each_group(facts):
    assert facts.split.bincount().tolist() == [40, 10, 14]
    for i, sizes in enumerate(SPLITS.values()):
        counts = Counter(group(WORDS[j]) for j in (facts.split == i).nonzero()[:, 0])
        assert tuple(counts[name] for name in GROUPS) == sizes


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("width", [3, 5])
def test_every_answer_is_the_tasks(facts, task, width):
    drawn = prompts(facts, task, 30, 0, shots=4, query="test", width=width)
    for row, answers in zip(drawn.tokens, drawn.answers, strict=True):
        pairs = parse(row)
        assert len(pairs) == 5
        assert [V.number[answer] for _, answer in pairs] == answers.tolist()
        for question, answer in pairs:
            assert len(question) == (1 if task in OF_WORDS else width)
            assert answer == expected(facts, task, question)


def test_tasks_have_no_answer_to_the_other_kind_of_input(facts):
    word, animals = torch.tensor([[5]]), torch.tensor([[WORDS.index(w) for w in ("cat", "dog", "axe")]])
    for task in TASKS:
        assert (facts.answer(task, word) == 0) == (task not in OF_WORDS)
        assert (facts.answer(task, animals) == 0) == (task in (*OF_WORDS, "animal", "plant"))


def test_tasks_of_one_kind_of_input_share_their_inputs(facts):
    """A question alone tells nothing of the task, and tasks of one stream are asked the same."""
    for names in (OF_WORDS, FAMILIES["position"] + FAMILIES["choice"]):
        items = [prompts(facts, task, 40, 0).items for task in names]
        assert all(torch.equal(items[0], other) for other in items)


def test_nouns_come_from_their_splits_and_differ_within_a_prompt(facts):
    names = list(SPLITS)
    for task in ("colour", "animal"):
        for split, query in (("train", "train"), ("train", "validation"), ("train", "test")):
            drawn = prompts(facts, task, 200, 0, split=split, query=query)
            where = facts.split[drawn.items]
            assert (where[:, :-1] == names.index(split)).all()
            assert (where[:, -1] == names.index(query)).all()
    words = prompts(facts, "colour", 200, 0).items[..., 0].sort(1).values
    assert (words.diff(dim=1) > 0).all()
    lists = prompts(facts, "animal", 200, 0, width=5).items.sort(2).values
    assert (lists.diff(dim=2) > 0).all()
    everything = prompts(facts, "colour", 400, 0, split=None, query=None, shots=0)
    assert len(everything.items.unique()) == 64


def test_nouns_and_places_in_lists_are_even(facts):
    drawn = prompts(facts, "animal", 3000, 0, shots=1, width=3)
    place = (drawn.items + 1 == drawn.answers[..., None]).int().argmax(-1)
    assert chisquare(place.flatten().bincount()).pvalue > 0.001
    animals = drawn.answers.flatten().bincount()
    assert chisquare(animals[animals > 0]).pvalue > 0.001
    words = prompts(facts, "colour", 4000, 0, shots=0).items.flatten().bincount()
    assert chisquare(words[words > 0]).pvalue > 0.001


def test_uneven_nouns_follow_their_ranks(facts):
    drawn = prompts(facts, "colour", 20_000, 0, shots=0, split=None, query=None, zipf=1.0)
    weights = 1 / (64 - facts.size.double())
    counts = drawn.items.flatten().bincount(minlength=64)
    assert chisquare(counts, weights / weights.sum() * 20_000).pvalue > 0.001


def test_a_seed_and_a_stream_decide_the_prompts(facts):
    for task in ("partner", "latest"):
        one = prompts(facts, task, 20, 0, query="test").tokens
        assert torch.equal(one, prompts(facts, task, 300, 0, query="test").tokens[:20])
        assert not torch.equal(one, prompts(facts, task, 20, 1, query="test").tokens)
        assert not torch.equal(one, prompts(facts, task, 20, 0, query="test", stream=("other",)).tokens)


def test_open_prompts_end_before_the_querys_answer(facts):
    drawn = prompts(facts, "home", 5, 0, shots=2)
    assert torch.equal(drawn.open, drawn.tokens[:, :-2])
    assert V.decode(drawn.open[0]).endswith(f"Q {WORDS[drawn.items[0, -1, 0]]} A")
    assert drawn.answers[0, -1] not in drawn.open[0, -3:]
    assert prompts(facts, "home", 5, 0, shots=0).open.shape == (5, 3)


def test_shuffled_answers_are_those_of_the_prompt_in_another_order(facts):
    true, shuffled = (prompts(facts, "partner", 200, 0, shuffled=flag) for flag in (False, True))
    assert torch.equal(true.items, shuffled.items)
    assert torch.equal(true.answers, shuffled.answers)
    shown = [[V.number[answer] for _, answer in parse(row)] for row in shuffled.tokens]
    shown = torch.tensor(shown)
    assert torch.equal(shown[:, -1], true.answers[:, -1])
    assert torch.equal(shown.sort(1).values, true.answers.sort(1).values)
    right = (shown[:, :-1] == true.answers[:, :-1]).double()
    assert abs(right.sum(1).mean() - 1) < 4 / 200**0.5  # one fixed point a permutation, on average


@pytest.mark.parametrize("shots", [0, 1, 3])
def test_predictions_count_the_tasks_that_explain_the_demonstrations(facts, shots):
    prior = torch.arange(1.0, 1 + len(TASKS))
    for task in ("letter", "middle"):
        drawn = prompts(facts, task, 20, 0, shots=shots, query="test")
        predicted = facts.predict(drawn.items, drawn.answers[:, :-1], prior)
        for row, chances in zip(drawn.tokens, predicted, strict=True):
            *demonstrations, (question, _) = parse(row)
            weight = Counter()
            asked = [other for other in TASKS if (other in OF_WORDS) == (task in OF_WORDS)]
            for other in asked:
                if all(expected(facts, other, words) == answer for words, answer in demonstrations):
                    weight[V.number[expected(facts, other, question)]] += prior[TASKS.index(other)].item()
            for token, chance in enumerate(chances.tolist()):
                assert chance == pytest.approx(weight[token] / weight.total())


def test_a_question_alone_is_ambiguous_and_ten_demonstrations_settle_the_task(facts):
    def chance(task, shots, shuffled=False):
        drawn = prompts(facts, task, 200, 0, shots=shots, query="test")
        return facts.predict(drawn.items, drawn.answers[:, :-1])[torch.arange(200), drawn.answers[:, -1]].mean()

    assert all(chance(task, 0) < 0.45 for task in TASKS)
    assert all(chance(task, 1) > chance(task, 0) for task in TASKS)
    assert all(chance(task, 10) > 0.999 for task in TASKS)
    drawn = prompts(facts, "colour", 200, 0)
    wrong = drawn.answers.roll(1, 0)[:, :-1]
    assert facts.predict(drawn.items, wrong).isnan().any(1).sum() > 190


def test_documents_show_their_task_from_its_first_answer_on(facts):
    drawn = documents(facts, 300, 0, pairs=6, widths=(3, 5))
    assert drawn.answer.sum(1).unique().tolist() == [6]
    assert not drawn.answer[drawn.tokens == 0].any()
    for row, answer, task in zip(drawn.tokens, drawn.answer, drawn.task, strict=True):
        pairs = parse(row)
        assert V.decode(row[answer]).split() == [given for _, given in pairs]
        assert all(given == expected(facts, TASKS[task], question) for question, given in pairs)
    assert set(drawn.task.tolist()) == set(range(17))
    assert {len(question) for row in drawn.tokens for question, _ in parse(row)} == {1, 3, 5}


def test_documents_follow_their_prior_and_a_model_of_them_is_calibrated(facts):
    prior = 1 / torch.arange(1.0, 18)
    drawn = documents(facts, 6000, 0, pairs=1, prior=prior)
    shares = prior.double() / prior.double().sum() * len(drawn.task)
    assert chisquare(drawn.task.bincount(minlength=17), shares).pvalue > 0.001
    words = drawn.task < len(OF_WORDS)
    items, answers = drawn.tokens[words, 1].sub(1)[:, None, None], drawn.tokens[words, 3]
    predicted = facts.predict(items, answers[:, None][:, :0], prior)
    given = predicted[torch.arange(len(items)), answers]
    assert (given > 0).all()
    expected_chance, deviation = predicted.square().sum(1).mean(), given.std() / len(given) ** 0.5
    assert abs(given.mean() - expected_chance) < 4 * deviation


def test_a_seed_and_a_stream_decide_the_documents(facts):
    one, many = documents(facts, 20, 0), documents(facts, 200, 0)
    assert torch.equal(one.task, many.task[:20])
    assert [parse(row) for row in one.tokens] == [parse(row) for row in many.tokens[:20]]
    for other in (documents(facts, 20, 1), documents(facts, 20, 0, stream=("test",))):
        assert not torch.equal(one.task, other.task)
    only = documents(facts, 20, 0, prior=torch.eye(17)[3])
    assert only.tokens.shape == (20, 13 * 5)
    assert (only.task == 3).all()


def test_what_makes_no_sense_is_refused(facts):
    with pytest.raises(ValueError, match="no task 'smell'; choose from plural, partner"):
        prompts(facts, "smell", 5, 0)
    with pytest.raises(ValueError, match="no task 'smell'"):
        facts.answer("smell", torch.tensor([[1]]))
    with pytest.raises(ValueError, match="no split='dev' with query='train'; choose from train, validation, test"):
        prompts(facts, "home", 5, 0, split="dev")
    with pytest.raises(ValueError, match="no split='train' with query=None"):
        prompts(facts, "home", 5, 0, query=None)
    with pytest.raises(ValueError, match="41 different nouns asked for; train has 40 of them"):
        prompts(facts, "home", 5, 0, shots=40)
    with pytest.raises(ValueError, match="width=2"):
        prompts(facts, "first", 5, 0, width=2)
    with pytest.raises(ValueError, match="give 1 or more, and a prior of 17 frequencies"):
        documents(facts, 5, 0, prior=torch.ones(3))
    with pytest.raises(ValueError, match="pairs=0"):
        documents(facts, 5, 0, pairs=0)
