"""Which build of torch `make` installs: only where the CPU's is the right one, and to be had, is anything done."""

import socket
import subprocess
import sys
import time

import pytest
import torch_build


@pytest.fixture
def linux(monkeypatch):
    """A Linux machine without a GPU whose index answers; the fixture is the list of what was installed."""
    installed = []
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(torch_build, "has_gpu", lambda: False)
    monkeypatch.setattr(torch_build, "answers", lambda: True)
    monkeypatch.setattr(torch_build, "install", lambda: installed.append("cpu") or 0)
    return installed


def test_without_a_gpu_the_build_for_the_cpu_is_taken(linux):
    assert torch_build.main("auto") == 0
    assert linux == ["cpu"]


@pytest.mark.parametrize(("what", "value"), [("has_gpu", True), ("answers", False)])
def test_with_a_gpu_or_without_the_index_torch_is_left_to_pip_unless_one_insists(linux, monkeypatch, what, value):
    monkeypatch.setattr(torch_build, what, lambda: value)
    assert torch_build.main("auto") == 0
    assert linux == []
    assert torch_build.main("cpu") == 0
    assert linux == ["cpu"]


def test_cuda_and_other_systems_are_left_to_pip(linux, monkeypatch):
    assert torch_build.main("cuda") == 0
    monkeypatch.setattr(sys, "platform", "darwin")
    assert torch_build.main("auto") == torch_build.main("cpu") == 0
    assert linux == []


def test_a_failed_download_stops_only_one_who_insists(linux, monkeypatch, capsys):
    monkeypatch.setattr(torch_build, "install", lambda: 1)
    assert torch_build.main("auto") == 0
    assert "taking the usual one" in capsys.readouterr().err
    assert torch_build.main("cpu") == 1


def test_another_word_is_refused(linux, capsys):
    assert torch_build.main("gpu") == 2
    assert "TORCH is auto, cpu or cuda, not gpu" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/nobody", "no address"])
def test_an_index_that_refuses_costs_no_time(monkeypatch, address):
    monkeypatch.setattr(torch_build, "INDEX", address)
    assert not torch_build.answers()


def test_an_index_that_is_silent_is_given_up(monkeypatch):
    monkeypatch.setattr(torch_build, "SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the system accepts, nobody answers
        monkeypatch.setattr(torch_build, "INDEX", f"http://127.0.0.1:{silent.getsockname()[1]}")
        before = time.monotonic()
        assert not torch_build.answers()
        assert 0.5 <= time.monotonic() - before < 5


def test_only_torch_comes_from_its_index(monkeypatch):
    called = []
    monkeypatch.setattr(subprocess, "run", lambda command: called.append(command) or subprocess.CompletedProcess([], 0))
    assert torch_build.install() == 0
    assert called[0][-4:-1] == ["--no-deps", "--index-url", torch_build.INDEX]
    assert called[0][-1].startswith("torch==")
