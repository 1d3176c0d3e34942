"""The same tasks give the same record on a Ray cluster."""

import importlib
import sys

import pytest

from stages.evidence import SeedError, SweepError, load_record, sweep


def test_without_ray_the_error_says_how_to_install_it(toy, tmp_path, monkeypatch, runs):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SweepError, match=r'pip install "learning-in-stages\[ray\]"'):
        sweep(toy.PAPER, "full", range(3), tmp_path / "out", ray="auto", progress=False)
    assert runs() == []


@pytest.fixture
def cluster(toy):
    """A Ray cluster on this machine."""
    ray = pytest.importorskip("ray")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield ray
    ray.shutdown()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Ray's own warnings are no concern of the book's
def test_a_cluster_gives_the_same_record(cluster, toy, tmp_path, monkeypatch, runs):
    there = sweep(toy.PAPER, "full", range(4), tmp_path / "ray", ray="auto", progress=False)
    assert cluster.is_initialized(), "a connection that was open stays open"
    assert sorted(runs()) == [0, 1, 2, 3]
    here = sweep(toy.PAPER, "full", range(4), tmp_path / "here", progress=False)
    assert (there.scores, there.curves, there.claims) == (here.scores, here.curves, here.claims)
    assert there.threads == 1
    assert load_record(tmp_path / "ray/toys/coin.json") == there
    assert importlib.import_module("toy_paper") is toy


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_seed_that_raises_on_a_cluster_costs_no_other(toy, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("TOY_RAISES", "1")  # workers inherit the environment of the cluster's start
    with pytest.raises(SeedError, match="seed 1: ZeroDivisionError"):
        sweep(toy.PAPER, "full", range(3), tmp_path, ray="local", progress=False)
    assert not ray.is_initialized(), "a connection that the sweep opened is closed"
    assert len(list(tmp_path.glob(".partial/toys/coin/full/seed-*.json"))) == 2


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_no_cluster_is_one_clear_error(toy, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(SweepError, match="Ray at 'auto' failed: Could not find any running Ray") as caught:
        sweep(toy.PAPER, "full", range(3), tmp_path, ray="auto", progress=False)
    assert "\n" not in str(caught.value)
