import itertools

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.stats import chisquare, entropy

from stages.worlds import process
from stages.worlds.process import KERNELS, draw

SMALL = {"tokens": 4, "classes": (2, 3), "prototypes": 3, "concentration": 0.5}


@pytest.fixture(scope="module")
def small():
    """Four tokens, of which the last two matter."""
    return draw(0, **SMALL)


@pytest.fixture(scope="module")
def world():
    """The process of the chapter."""
    return draw(0)


def walks(world, length):
    """Every sequence that follows a context, the context included, with its probability, one after another."""
    v, k = world.tokens, world.order
    for walk in itertools.product(range(v), repeat=k + length):
        p = world.mu[walk[:k]].item()
        for i in range(length):
            p *= world.law[walk[i : i + k + 1]].item()
        yield walk, p


def table(world, length):
    """The joint law of a context and what follows as an array."""
    return np.array([p for _, p in walks(world, length)]).reshape((world.tokens,) * (world.order + length))


def test_laws_are_probabilities_and_equal_classes_predict_alike(world):
    assert world.law.shape == (24, 24, 24)
    assert (world.tokens, world.order, world.law.dtype) == (24, 2, torch.float64)
    torch.testing.assert_close(world.law.sum(-1), torch.ones(24, 24, dtype=torch.float64))
    assert world.law.min() >= 0.03 / 24
    assert len(world.law.view(-1, 24).unique(dim=0)) == 6 * 8
    for place, classes in ((0, 8), (1, 6)):  # the last token has six classes, the one before it eight
        assert len(world.law.transpose(0, place).reshape(24, -1).unique(dim=0)) == classes


def test_a_seed_decides_the_process_and_settings_leave_the_other_draws(world):
    assert torch.equal(world.law, draw(0).law)
    assert not torch.isclose(world.law, draw(1).law).all()
    # what one token back does on average is the same without memory
    fewer = draw(0, memory=0.0)
    torch.testing.assert_close(fewer.law[0], fewer.law[17])
    torch.testing.assert_close(fewer.law[0], world.law.mean(0))  # classes are equally large


def test_the_law_of_contexts_is_the_chains_left_eigenvector(small):
    contexts = list(itertools.product(range(4), repeat=2))
    moves = np.array([[small.law[a, b, d] if b == c else 0 for c, d in contexts] for a, b in contexts])
    values, vectors = scipy.linalg.eig(moves, left=True, right=False)
    stationary = vectors[:, np.argmax(values.real)].real
    np.testing.assert_allclose(small.mu.flatten(), stationary / stationary.sum(), atol=1e-12)


def test_a_stationary_source_looks_the_same_at_every_place(world):
    torch.testing.assert_close(world.mu.sum(0), world.mu.sum(1))
    torch.testing.assert_close(world.block(2), world.mu)
    torch.testing.assert_close(world.block(1), world.mu.sum(0))
    torch.testing.assert_close(world.block(0), torch.tensor(1.0, dtype=torch.float64))


@pytest.mark.parametrize("classes", [(2,), (2, 3), (2, 3, 2)])
def test_entropies_and_surplus_are_those_of_the_joint_law(classes):
    """All from the joint law of a context and three tokens, enumerated; axis -3 is W_t."""
    world = draw(3, **SMALL | {"classes": classes})
    joint = table(world, 3)
    order = len(classes)

    def h(*axes):
        return entropy(joint.sum(tuple(i for i in range(joint.ndim) if i not in axes)).ravel())

    context, now, after, later = tuple(range(order)), order, order + 1, order + 2
    for read in range(order + 1):
        known = tuple(range(order - read, order))
        assert world.entropy(read) == pytest.approx(h(*known, now) - (h(*known) if known else 0), abs=1e-12)
    assert world.entropy() == world.entropy(order)

    def information(tokens):  # I(context; tokens | W_t)
        return h(*context, now) + h(now, *tokens) - h(*context, now, *tokens) - h(now)

    assert world.surplus(1) == 0
    assert world.surplus() == pytest.approx(information((after,)), abs=1e-12)
    assert world.surplus(3) == pytest.approx(information((after, later)), abs=1e-12)
    assert (world.surplus() > 1e-3) == (order > 1)


def test_laws_ahead_are_those_of_the_joint_law(small):
    joint = table(small, 3)
    for ahead, axes in ((1, (3, 4)), (2, (2, 4)), (3, (2, 3))):
        expected = joint.sum(axes) / small.mu.numpy()[..., None]
        np.testing.assert_allclose(small.later(ahead), expected, atol=1e-14)


def test_what_was_checked_before_is_so(world):
    """Entropies, surplus, and surface and predictive similarity apart, over three draws."""
    for seed in range(3):
        one = draw(seed)
        assert 2.4 < one.entropy(0) < 2.95
        assert one.entropy(0) > one.entropy(1) > one.entropy(2) > 1.9
        assert 0.2 < one.surplus() < 0.36
    root = world.mu.flatten().sqrt()[:, None]
    top = {kernel: root * world.spectrum(kernel)[1][:, :4] for kernel in KERNELS}

    def overlap(a, b):
        return (top[a].T @ top[b]).square().sum().item() / 4

    assert overlap("surface", "linear") < 0.2
    assert overlap("surface", "log-ratio") < 0.2
    assert 0.5 < overlap("linear", "log-ratio") < 0.9


def test_flat_prototypes_would_make_all_kernels_one():
    """The cosine between two operators, in mu's inner product."""

    def alignment(world):
        root = world.mu.flatten().sqrt()[:, None]
        operators = []
        for kernel in ("linear", "log-ratio"):
            values, functions = world.spectrum(kernel)
            operators.append(root * functions * values @ (root * functions).T)
        return (operators[0] * operators[1]).sum() / operators[0].norm() / operators[1].norm()

    assert alignment(draw(0)) < 0.9 < alignment(draw(0, concentration=1.0))


def test_memory_turns_the_surplus_up():
    surplus = [draw(0, memory=memory).surplus() for memory in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert surplus[0] == pytest.approx(0, abs=1e-12)
    assert (np.diff(surplus) > 0).all()


def test_sequences_follow_the_law_from_their_first_token(small):
    drawn = small.sample(40_000, 6, 0)
    assert drawn.shape == (40_000, 6)
    joint = table(small, 1)
    for start in range(4):
        counts = torch.zeros(4, 4, 4)
        counts.index_put_(drawn[:, start : start + 3].unbind(1), torch.ones(len(drawn)), accumulate=True)
        assert chisquare(counts.flatten(), joint.ravel() * len(drawn)).pvalue > 0.001


def test_the_exact_prediction_has_the_entropy_as_its_loss(world):
    drawn = world.sample(4000, 12, 0)
    laws = world.predict(drawn)
    assert laws.shape == (4000, 12, 24)
    torch.testing.assert_close(laws[:, 0], world.known(1)[drawn[:, 0]])
    torch.testing.assert_close(laws[7, 5], world.law[drawn[7, 4], drawn[7, 5]])
    loss = -laws[:, :-1].gather(-1, drawn[:, 1:, None]).log()[..., 0]
    for at, read in ((0, 1), (1, 2), (8, 2)):
        assert abs(loss[:, at].mean() - world.entropy(read)) < 4 * loss[:, at].std() / len(loss) ** 0.5


def test_a_seed_and_a_stream_decide_the_sequences(world):
    one = world.sample(20, 24, 0)
    assert torch.equal(one, world.sample(300, 24, 0)[:20])
    assert not torch.equal(one, world.sample(20, 24, 1))
    assert not torch.equal(one, world.sample(20, 24, 0, stream=("test",)))


def test_similarities_are_what_they_say(small):
    laws = [small.law[c] for c in itertools.product(range(4), repeat=2)]
    clr = [law.log() - law.log().mean() for law in laws]
    for i, j in itertools.product(range(16), repeat=2):
        assert small.similarity("linear")[i, j] == pytest.approx((laws[i] @ laws[j]).item())
        assert small.similarity("bhattacharyya")[i, j] == pytest.approx((laws[i] * laws[j]).sqrt().sum().item())
        assert small.similarity("log-ratio")[i, j] == pytest.approx((clr[i] @ clr[j]).item())
        assert small.similarity("surface")[i, j] == (i // 4 == j // 4) + (i % 4 == j % 4)


@pytest.mark.parametrize("kernel", KERNELS)
def test_spectra_solve_the_centred_operator(small, kernel):
    values, functions = small.spectrum(kernel)
    mu = small.mu.flatten()
    centre = torch.eye(16, dtype=torch.float64) - mu.expand(16, 16)  # psi less its mean
    operator = centre @ small.similarity(kernel) @ centre.T @ mu.diag()
    torch.testing.assert_close(operator @ functions, functions * values)
    torch.testing.assert_close(functions.T @ mu.diag() @ functions, torch.eye(16, dtype=torch.float64))
    expected = scipy.linalg.eigvals(operator).real
    np.testing.assert_allclose(values, np.sort(expected)[::-1], atol=1e-10)
    rank = {"surface": 6, "linear": 3, "bhattacharyya": 4, "log-ratio": 3}[kernel]
    assert (values[:rank] > 1e-6).sum() >= rank - 1
    assert (values[rank:].abs() < 1e-10).all()
    torch.testing.assert_close(mu @ functions[:, :2], torch.zeros(2, dtype=torch.float64))


def test_orders_and_alphabets_of_other_sizes():
    third = draw(0, tokens=12, classes=(4, 3, 2))
    assert third.order == 3
    assert third.sample(5, 9, 0).shape == (5, 9)
    assert third.predict(third.sample(5, 9, 0)).shape == (5, 9, 12)
    assert third.entropy(2) - third.entropy(3) > 1e-3
    first = draw(0, tokens=12, classes=(4,))
    assert first.surplus(5) == pytest.approx(0, abs=1e-12)


def test_what_makes_no_sense_is_refused(small):
    with pytest.raises(ValueError, match=r"no process of 4 tokens in \(5,\) classes with 12 prototypes"):
        draw(0, tokens=4, classes=(5,))
    with pytest.raises(ValueError, match=r"floor=0\.0 above 0"):
        draw(0, floor=0.0)
    with pytest.raises(ValueError, match=r"memory=2\.0 within 0 to 1"):
        draw(0, memory=2.0)
    with pytest.raises(ValueError, match=r"3 sequences of 1 tokens; ask for 1 or more of 2 tokens or more"):
        small.sample(3, 1, 0)
    with pytest.raises(ValueError, match="1 tokens read; the process is of order 2"):
        small.predict(torch.zeros(3, 1, dtype=torch.int64))
    with pytest.raises(ValueError, match="no kernel 'rbf'; choose from surface, linear"):
        small.similarity("rbf")
    with pytest.raises(ValueError, match="0 tokens ahead"):
        small.later(0)
    with pytest.raises(ValueError, match="this process of order 2 has 0 to 3"):
        small.entropy(3)
    periodic = process.Process(torch.eye(2, dtype=torch.float64).flip(0))
    assert periodic.mu.tolist() == [0.5, 0.5]  # the even start is stationary
    slow = torch.tensor([[1 - 1e-9, 1e-9], [2e-9, 1 - 2e-9]], dtype=torch.float64)
    with pytest.raises(ValueError, match="mixes too slowly"):
        _ = process.Process(slow).mu
