"""What belongs to this paper alone: the penalty, equal weights and budgets, the claims."""

from dataclasses import replace

import pytest
import torch

from stages.evidence import tidy_scores
from stages.papers.continual import coda_prompt as paper
from stages.papers.continual.coda_prompt import PAPER, Penalised, not_orthogonal, open_stream, prompt_of
from stages.papers.continual.common.arms import CODA, DEEP, DUAL, FTPP, HEAD, L2PP, MEAN, ONE

COMPARISONS = [*PAPER.claims, *PAPER.also]

FULL = PAPER.profiles["full"]
TINY = replace(FULL, tasks=2, ways=2, train=4, test=5, steps=4, batch=4)


def weights(method, tasks=10, components=paper.COMPONENTS):
    return sum(p.numel() for p in prompt_of(method, tasks, 0, components).parameters())


@pytest.mark.parametrize("tasks", [5, 10, 20])
@pytest.mark.parametrize("method", [DUAL, L2PP, DEEP])
def test_pools_get_as_many_weights_as_the_components(method, tasks):
    assert weights(method, tasks) == pytest.approx(weights(CODA, tasks), rel=0.1)


@pytest.mark.parametrize("components", FULL.capacity)
@pytest.mark.parametrize("method", [DUAL, L2PP])
def test_they_do_at_every_size_of_the_capacity_curve(method, components):
    assert weights(method, 5, components) == pytest.approx(weights(CODA, 5, components), rel=0.1)


def test_one_prompt_is_a_small_part_of_them():
    assert weights(ONE) < weights(CODA) / 20


def test_the_penalty_is_zero_for_orthonormal_rows_and_counts_every_entry():
    basis = torch.linalg.qr(torch.randn(8, 8))[0]
    assert not_orthogonal(basis[None, :3]) == pytest.approx(0, abs=1e-6)
    bank = torch.tensor([[[1.0, 0], [2.0, 1]]])  # B Bᵀ - I = [[0, 2], [2, 4]]
    assert not_orthogonal(bank) == pytest.approx((0 + 4 + 4 + 16) / 4)


def test_new_components_start_without_penalty_and_old_ones_do_not_feel_it():
    prompt, query = Penalised(2, 4, 4, (1,), 16, 0.5, 0, penalty=1.0), torch.randn(3, 16)
    prompt.start(0)
    assert prompt(query)[1].item() == pytest.approx(0, abs=1e-5)
    prompt.start(1)
    with torch.no_grad():
        prompt.keys += 0.3
    (gradient,) = torch.autograd.grad(prompt(query)[1], prompt.keys)
    assert (gradient[:, :2] == 0).all()
    assert (gradient[:, 2:] != 0).any()


def test_ablations_change_one_thing_each():
    full = prompt_of(CODA, 10, 0)
    for name, change in paper.ABLATIONS.items():
        other = prompt_of(name, 10, 0)
        assert [
            key for key in ("attend", "freeze", "orthogonal", "hard") if getattr(full, key) != getattr(other, key)
        ] == [*change]
        assert weights(name) == weights(CODA)


@pytest.fixture(scope="module")
def scores():
    return tidy_scores({seed: PAPER.run(replace(TINY, lengths=(1, 2), capacity=(4, 6)), seed) for seed in (7, 8)})


def test_all_that_train_take_as_many_pictures(scores):
    table = scores[scores["metric"] == paper.PICTURES].pivot(index="method", columns="seed", values="value")
    assert (table.drop([MEAN, paper.shifted(MEAN), paper.JOINT]) == TINY.steps * TINY.batch).all(axis=None)
    assert (table.loc[paper.JOINT] == 2 * TINY.steps * TINY.batch).all()


def test_what_needs_a_query_takes_two_passes(scores):
    passes = scores[(scores["metric"] == paper.PASSES) & (scores["seed"] == 7)].set_index("method")["value"]
    assert {m for m in FULL.methods if passes[m] == 1} == {
        ONE, HEAD, MEAN, FTPP, paper.FT, paper.JOINT, paper.JOINT_ONE, paper.JOINT_HEAD,
    }  # fmt: skip


def test_a_run_is_a_pure_function_of_its_seed():
    small = replace(TINY, methods=(CODA, HEAD), shifted=())
    small = replace(small, lengths=(), capacity=())
    one, two = (PAPER.run(small, 7) for _ in range(2))
    assert one.scores == two.scores
    assert one.curves == two.curves
    assert PAPER.run(small, 8).scores != one.scores


def test_a_method_gets_the_same_numbers_whatever_runs_beside_it():
    alone = PAPER.run(replace(TINY, methods=(DUAL,), lengths=(), capacity=(), shifted=()), 7)
    beside = PAPER.run(replace(TINY, methods=(CODA, DUAL), lengths=(), capacity=(), shifted=()), 7)
    assert [row for row in beside.scores if row["method"] == DUAL] == alone.scores


def test_tuning_sees_two_tasks_only_and_tries_as_many_rates_for_each(monkeypatch):
    tasks = []
    monkeypatch.setattr(paper, "open_stream", lambda *a, **k: (o := open_stream(*a, **k), tasks.append(len(o[0])))[0])
    tried = paper.tune(replace(TINY, tasks=4, steps=8), 1000)
    assert tasks == [2]
    assert {len(pairs) for pairs in tried.values()} == {6}
    for method, pairs in tried.items():
        assert (paper.RATES[method], paper.SCALES.get(method, 1.0)) in pairs


def test_every_claim_of_the_dossier_is_there_and_can_be_measured():
    assert {claim.key[:2] for claim in COMPARISONS} == {"C1", "C2", "C3", "C4", "C5", "C6"}
    rows = {(m, metric) for m in names() for metric in (paper.AVERAGE, paper.NEW, paper.FELL)}
    for claim in COMPARISONS:
        for method in (claim.better, claim.worse, *(claim.over or ())):
            assert (method, claim.metric) in rows


def names():
    yield from FULL.methods
    yield from (paper.in_tasks(m, t) for m in (CODA, DUAL) for t in FULL.lengths)
    yield from (paper.sized(m, c) for m in (CODA, L2PP, DUAL) for c in FULL.capacity)
    yield from map(paper.shifted, FULL.shifted)
