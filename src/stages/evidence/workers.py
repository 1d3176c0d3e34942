"""Where the seeds of a sweep are computed: in this process, in several, or on a Ray
cluster.

Each place is a generator of results in the order in which they are ready. A run that
raises gives a result with an `error`, so that one bad seed costs no other.
"""

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from stages.evidence.outcomes import Outcome
from stages.evidence.paper import Paper
from stages.evidence.records import plain

ONE_THREAD = {
    name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
}


class SweepError(Exception):
    """A sweep cannot start or go on; the message says why, what is kept, and what to
    do.
    """


def measure(run, settings, seed: int) -> dict:
    """Run one seed; return its scores, curves, device, threads and seconds, or the
    error that it raised.
    """
    start = time.perf_counter()
    try:
        outcome = run(settings, seed)
        if not isinstance(outcome, Outcome):
            raise TypeError(
                f"run returned {type(outcome).__name__}; expected an Outcome"
            )
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error}".strip().replace("\n", " ")
        return {
            "seed": seed,
            "error": f"{text} ({Path(where.filename).name}:{where.lineno})",
        }
    device, threads = _device()
    return {
        "seed": seed,
        "scores": [{"seed": seed, **row} for row in plain(outcome.scores)],
        "curves": [{"seed": seed, **row} for row in plain(outcome.curves)],
        "device": device,
        "threads": threads,
        "seconds": plain(time.perf_counter() - start),
    }


def _device() -> tuple[str, int]:
    """Name the device and count the threads of torch, without loading it for a run that
    didn't.
    """
    if (torch := sys.modules.get("torch")) is None:
        return "cpu", 1
    from stages.training import pick_device

    device = pick_device()
    name = (
        f"{device.type} ({torch.cuda.get_device_name(device)})"
        if device.type == "cuda"
        else str(device)
    )
    return name, torch.get_num_threads()


def _measure_on_one_thread(run, settings, seed: int) -> dict:
    if torch := sys.modules.get(
        "torch"
    ):  # unpickling `run` has imported it, if it is needed at all
        torch.set_num_threads(1)
    return measure(run, settings, seed)


def compute(
    paper: Paper, settings, seeds: Sequence[int], jobs: int = 1, ray: str | None = None
) -> Iterator[dict]:
    """Compute the seeds in this process, in `jobs` processes of one thread each, or on
    the Ray cluster at `ray`.

    Raises:
        SweepError: a worker died, the cluster cannot be reached, or the run cannot be
            sent to another process.
    """
    if jobs == 1 and not ray:
        return (measure(paper.run, settings, seed) for seed in seeds)
    try:
        pickle.dumps((paper.run, settings))
    except Exception as error:
        raise SweepError(
            f"{paper.slug}: its run or settings cannot be sent to another process"
            f" ({error}); define both at the top level of the paper's module"
        ) from None
    return (
        on_ray(paper, settings, seeds, ray)
        if ray
        else in_processes(paper, settings, seeds, jobs)
    )


def in_processes(
    paper: Paper, settings, seeds: Sequence[int], jobs: int
) -> Iterator[dict]:
    """Compute the seeds in `jobs` processes of one thread each. Raises SweepError when
    one of them dies.
    """
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        min(jobs, len(seeds)), multiprocessing.get_context("spawn")
    )
    try:
        with _for_children():
            futures = [
                pool.submit(_measure_on_one_thread, paper.run, settings, seed)
                for seed in seeds
            ]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool:
        raise SweepError(
            f"{paper.slug}: a worker process died: it was killed, or ran out of memory;"
            " use fewer --jobs"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in (
            set(multiprocessing.active_children()) - before
        ):  # what still computes is not wanted any more
            child.terminate()
        pool.shutdown(wait=True)


@contextmanager
def _for_children():
    """While processes are started: one thread each, and Ctrl-C is for this process to
    answer, not for them.
    """
    old = {name: os.environ.get(name) for name in ONE_THREAD}
    main = (
        threading.current_thread() is threading.main_thread()
    )  # no other may set a signal's handler
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in old.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        if main:
            signal.signal(signal.SIGINT, handler)


def load_ray():
    """Import Ray. Raises SweepError with the command that installs it."""
    try:
        import ray
    except ImportError:
        raise SweepError(
            '--ray needs Ray: pip install "learning-in-stages[ray]"'
        ) from None
    return ray


def on_ray(
    paper: Paper, settings, seeds: Sequence[int], address: str
) -> Iterator[dict]:
    """Compute the seeds on a Ray cluster, one CPU a seed, and one GPU where the cluster
    has any.

    Args:
        address: as `ray.init` takes it; "auto" is the cluster of this machine, "local"
            a new one here. A connection that is already open is used, and left open.

    Raises:
        SweepError: Ray is not installed, the cluster cannot be reached, or it loses a
            task for good.
    """
    ray = load_ray()
    ours = not ray.is_initialized()
    try:
        if ours:
            ray.init(address=address, log_to_driver=False, logging_level="error")
        gpus = (
            1
            if ray.cluster_resources().get("GPU")
            and os.environ.get("STAGES_DEVICE") != "cpu"
            else 0
        )
        task = ray.remote(
            num_cpus=1, num_gpus=gpus, runtime_env={"env_vars": ONE_THREAD}
        )(_measure_on_one_thread)
        pending = [task.remote(paper.run, settings, seed) for seed in seeds]
        while pending:
            (done, *_), pending = ray.wait(pending)
            yield ray.get(done)
    except (
        ray.exceptions.RayError,
        ConnectionError,
        RuntimeError,
        ValueError,
    ) as error:
        reason = str(error).strip().partition("\n")[0]
        raise SweepError(f"{paper.slug}: Ray at {address!r} failed: {reason}") from None
    finally:
        if ours and ray.is_initialized():
            ray.shutdown()
