from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from stages.worlds import chains
from stages.zoo import chain_thinkers as zoo
from stages.zoo.chain_thinkers import TRAINING, Training
from stages.zoo.thoughts import Arm, Problems

TINY = Training(
    steps=(2, 3),
    pool=120,
    width=16,
    heads=2,
    depth=1,
    batch=8,
    written=3,
    curriculum=(2, 2),
    between=1,
    further=3,
    seeds=1,
)  # fmt: skip


@pytest.fixture
def pool():
    return Problems.of(TINY.draw(0, "train", TINY.pool))


def test_batches_are_of_like_length_and_longer_runs_only_add():
    pool = Problems.of(chains.sample(400, 0, steps=(2, 4), modulus=11, plain=True))
    few, many = (zoo.batches(pool, n, 16, 0, "x") for n in (10, 30))
    assert torch.equal(many[:10], few)
    length = (pool.question != 0).sum(1) + 7 * pool.count
    assert length[many].float().std(1).mean() < 0.4 * length.float().std()
    counts = torch.bincount(zoo.batches(pool, 800, 16, 0, "x").flatten(), minlength=400)
    assert counts.min() > 8
    assert not torch.equal(few, zoo.batches(pool, 10, 16, 1, "x"))


def test_marks_start_as_the_sign_they_stand_for_and_the_curriculum_moves_on(pool):
    written = zoo.learn_steps(TINY, pool, 0)
    number = TINY.words.number
    words = {name: written.embedding.weight[number[name]] for name in ("<", "<thought>", "</thought>", "<pause>")}
    assert all(torch.equal(weight, words["<"]) for weight in words.values())
    before = deepcopy(written.state_dict())
    start = zoo.learn_first_thoughts(TINY, pool, written, 3, 0)
    assert all(torch.equal(weight, before[name]) for name, weight in written.state_dict().items())
    assert not torch.equal(start.blocks[0].mlp[0].weight, written.blocks[0].mlp[0].weight)


@pytest.mark.parametrize(
    ("arm", "expected"),
    [
        (Arm(), {3: 300, 4: 700}),
        (Arm(thoughts=8, step=1.0), {3: 300, 4: 700}),
        (Arm(thoughts=2), {3: 1000}),
        (Arm("none"), {4: 2300}),
        (Arm(distil=True), {4: 2300}),
        (Arm("pauses"), {4: 2300}),
    ],
)
def test_all_arms_get_as_many_updates(arm, expected, monkeypatch):
    how, seen = replace(TRAINING, curriculum=(300, 1000), between=300, further=1000), []
    monkeypatch.setattr(zoo, "train", lambda *args: seen.append(args[5]))
    model = zoo.make_gpt(how)
    zoo.learn_on(how, None, model, arm, 0)
    assert seen == [expected]
    if arm.curriculum:
        zoo.learn_on(how, None, model, arm, 0, 1800)
        assert sum(seen[1].values()) == 1800


def test_each_stage_starts_its_optimiser_anew_and_arms_share_their_batches(pool, monkeypatch):
    made, seen = [], []
    monkeypatch.setattr(zoo, "optimiser", lambda *args, **_: made.append(args[2]))
    monkeypatch.setattr(zoo, "fit", lambda loss, updates, *_, **__: [loss(i) for i in range(updates)])
    for arm in (Arm(thoughts=3), Arm(thoughts=3, step=1.0)):
        thinker = zoo.make_thinker(TINY, zoo.make_gpt(TINY), arm, 0)
        monkeypatch.setattr(thinker, "loss", lambda problems, stage, _: seen.append((stage, problems.question)))
        zoo.train(thinker, pool, TINY, 0, "further", {2: 3, 3: 2}, 0.1)
    assert made == [0.1] * 4
    assert [stage for stage, _ in seen] == [2, 2, 2, 3, 3] * 2
    assert all(torch.equal(one[1], other[1]) for one, other in zip(seen[:5], seen[5:], strict=True))


def test_decoded_steps_are_right_only_if_every_word_is(pool, monkeypatch):
    thinker = zoo.make_thinker(TINY, zoo.make_gpt(TINY), Arm(thoughts=3, step=1.0), 0)
    truth = pool.slots(3)
    wrong = truth.clone()
    wrong[0, 1, 2] += 1
    monkeypatch.setattr(zoo, "decode", lambda *_: wrong)
    found = zoo.decoded(thinker.reader, thinker, pool, thinker.solve(pool)[2])
    assert (~found).nonzero().tolist() == [[0, 1]]


def test_problems_and_thoughts_fit_the_positions():
    """The longest test there is: a step and a sentence more than in training, all steps written after all thoughts."""
    longest = TRAINING.draw(0, "x", 50, steps=TRAINING.steps[1] + 1, distractors=1)
    problems = Problems.of(longest)
    tokens = problems.question.shape[1] + TRAINING.room + 2 + problems.text().shape[1]
    assert tokens <= TRAINING.length


def test_the_recipe_trains_what_the_paper_would_and_can_be_measured():
    how = replace(TINY, steps=(2, 4), seeds=2)
    networks = zoo.build(how)
    zoo.fit_all(networks, how, 0)
    pool = Problems.of(how.draw(1, "train", how.pool))
    written = zoo.learn_steps(how, pool, 1)
    start = zoo.learn_first_thoughts(how, pool, written, 4, 1)
    expected = zoo.learn_on(how, pool, start, zoo.SHIPPED[zoo.SIM], 1).state_dict()
    found = networks["1"][zoo.SIM].state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], value) for key, value in expected.items())
    measured = zoo.measure(networks, how, 0)
    assert set(measured) == {f"{name}: accuracy" for name in (zoo.COT, *zoo.SHIPPED)} | {
        f"{name}: decoded steps" for name in (zoo.SIM, zoo.STOP)
    }
    assert all(0 <= value <= 100 for value in measured.values())
