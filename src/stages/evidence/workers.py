"""Where the seeds of a sweep are computed: in this process, in several, or on a Ray
cluster.

Each place is a generator of results in the order in which they are ready. A run that
raises gives a result with an `error`, so that one bad seed costs no other.
"""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from pickle import PicklingError

from joblib.externals.loky import BrokenProcessPool, ProcessPoolExecutor

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
        return {"seed": seed, "error": told(error)}
    device, threads = _device()
    return {
        "seed": seed,
        "scores": [{"seed": seed, **row} for row in plain(outcome.scores)],
        "curves": [{"seed": seed, **row} for row in plain(outcome.curves)],
        "device": device,
        "threads": threads,
        "seconds": plain(time.perf_counter() - start),
    }


def told(error: Exception) -> str:
    """Tell an error, and where it was raised, in one line."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    text = f"{type(error).__name__}: {error}".strip().replace("\n", " ")
    return f"{text} ({Path(where.filename).name}:{where.lineno})"


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
    if ray:
        return on_ray(paper, settings, seeds, ray)
    if jobs > 1:
        return in_processes(paper, settings, seeds, jobs)
    return (measure(paper.run, settings, seed) for seed in seeds)


def in_processes(
    paper: Paper, settings, seeds: Sequence[int], jobs: int
) -> Iterator[dict]:
    """Compute the seeds in `jobs` processes of one thread each.

    Raises:
        SweepError: a process died, or the run cannot be sent to one; what the others
            had computed by then was yielded before.
    """
    most = min(jobs, len(seeds))
    pool = ProcessPoolExecutor(most, env=ONE_THREAD, initializer=_ignore_ctrl_c)
    call = partial(pool.submit, _measure_on_one_thread, paper.run, settings)
    try:
        yield from _as_ready(call, seeds, most)
    except BrokenProcessPool:
        raise SweepError(
            f"{paper.slug}: a worker process died: it was killed, or ran out of memory;"
            " use fewer --jobs"
        ) from None
    except PicklingError as error:
        text = str(error.__cause__ or error)  # the cause's holds a traceback
        reason = text.strip('" \n').splitlines()[-1]
        raise SweepError(
            f"{paper.slug}: its run or settings cannot be sent to another process"
            f" ({reason}); define both at the top level of the paper's module"
        ) from None
    finally:  # what still computes is not wanted any more
        pool.shutdown(wait=True, kill_workers=True)


def _as_ready(
    call: Callable[[int], Future], seeds: Sequence[int], most: int
) -> Iterator[dict]:
    """Call for each seed, `most` at a time, and yield results as they get ready; raise
    the first error when nothing else is left to yield.
    """
    first, *waiting = seeds
    with _ctrl_c_not_passed_on():  # the first call starts all processes
        running, error = {call(first)}, None
    while waiting or running:
        try:
            while waiting and len(running) < most:
                running.add(call(waiting.pop(0)))
        except BrokenProcessPool as broken:
            waiting, error = [], broken
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            if fault := future.exception():
                waiting, error = [], fault
            else:
                yield future.result()
    if error:
        raise error


def _ignore_ctrl_c() -> None:
    """Leave Ctrl-C to the process that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _ctrl_c_not_passed_on() -> Iterator[None]:
    """Processes that are started meanwhile ignore Ctrl-C from their first moment."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set a handler
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
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
