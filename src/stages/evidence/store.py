"""The files of a sweep: the record, the results of single seeds until it stands, and
the lock on both.
"""

import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from stages.evidence.probe import in_short, moved
from stages.evidence.records import (
    Record,
    RecordError,
    fault_of,
    load_record,
    read_json,
    save_record,
)
from stages.evidence.workers import SweepError
from stages.files import write_whole

ROOM = 1 << 16  # bytes that a folder must have room for before anything is computed


def record_path(out: Path, slug: str, profile: str) -> Path:
    """Return where a sweep puts its record: `out/<slug>.json`, with the profile in the
    name unless it is "full".
    """
    return out / f"{slug}{'' if profile == 'full' else f'.{profile}'}.json"


class Store:
    """The files of one record under a folder `out`.

    Args:
        out, slug, profile: the record is at `record_path(out, slug, profile)`.
        settings: the profile's, as plain values; results of others are not used.
        probe: the numbers of the present code's probe; likewise.
    """

    def __init__(
        self, out: Path, slug: str, profile: str, settings: dict, probe: list[dict]
    ):
        self.record = record_path(out, slug, profile)
        self.results = out / ".partial" / slug / profile
        self.identity = {"paper": slug, "profile": profile, "settings": settings}
        self.probe = probe

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the record alone, in folders that can be written to; empty folders are
        gone afterwards.

        Raises:
            SweepError: another run holds it, or a folder cannot be written to.
        """
        lock = self.results.with_name(f"{self.results.name}.lock")
        with _writing(self.results):
            self.results.mkdir(parents=True, exist_ok=True)
            try:
                held = filelock.FileLock(lock, blocking=False).acquire()
            except filelock.Timeout:
                raise SweepError(
                    f"another run is writing {self.record}; wait for its end or use"
                    " another --out"
                ) from None
        with held:
            try:
                for place in (self.record, self.results / "room"):
                    _probe(place)
                yield
            # the lock's file goes while the lock is held: nobody can come in between
            finally:
                with suppress(OSError):
                    lock.unlink()
                    for folder in [self.results, *self.results.parents[:3]]:
                        folder.rmdir()

    def old_record(self) -> Record | None:
        """Load the record in place if it is of our settings and code. A file that is no
        record is set aside, and said to be.
        """
        if not self.record.exists():
            return None
        try:
            old = load_record(self.record)
        except RecordError as error:
            aside = _set_aside(self.record, f"{self.record.name}.corrupt")
            say(f"{error}. It was moved to {aside}, and this run makes a new one")
            return None
        if not self._has_our_settings(vars(old)):
            return None
        if lines := moved(old.probe, self.probe):
            say(
                f"{self.record} is of other code: {in_short(lines)}. All is computed"
                " anew; if only the profile probe changed, stop this run and use"
                f" `stages restamp {old.paper} --new-probe`"
            )
            return None
        return old

    def kept(self, seeds: Iterable[int]) -> dict[int, dict]:
        """Read what earlier runs left of these seeds; a file that is no result is set
        aside, and said to be.
        """
        found = {
            seed: self._read(seed) for seed in seeds if self._result(seed).is_file()
        }
        kept = {
            seed: result
            for seed, result in found.items()
            if result and self._is_ours(result)
        }
        if others := sum(result is not None for result in found.values()) - len(kept):
            say(
                f"{others} results in {self.results} are of other settings or code;"
                " these seeds are computed again"
            )
        return kept

    def keep(self, result: dict) -> None:
        """Write the result of one seed. Raises SweepError when the folder cannot be
        written to.
        """
        with _writing(self.results):
            write_whole(
                self._result(result["seed"]),
                json.dumps(self.identity | {"probe": self.probe} | result),
            )

    def count(self, seeds: Iterable[int]) -> int:
        """Count the results of these seeds that there are."""
        return sum(self._result(seed).is_file() for seed in seeds)

    def write(self, record: Record, replaces: bool) -> None:
        """Write the record.

        Args:
            replaces: it holds all that the record in its place holds, which otherwise
                is set aside.

        Raises:
            SweepError: the folder cannot be written to.
        """
        with _writing(self.record.parent):
            if not replaces and self.record.exists():
                aside = _set_aside(self.record, f"{self.record.stem}.previous.json")
                say(
                    f"the record of other settings or code in {self.record} was moved"
                    f" to {aside}"
                )
            save_record(record, self.record)

    def clear(self, seeds: Iterable[int]) -> None:
        """Remove the results of seeds that are in the record by now."""
        with _writing(self.results):
            for seed in seeds:
                self._result(seed).unlink(missing_ok=True)

    def _is_ours(self, found: dict) -> bool:
        ours = self._has_our_settings(found)
        return ours and not moved(found["probe"], self.probe)

    def _has_our_settings(self, found: dict) -> bool:
        return all(found[name] == value for name, value in self.identity.items())

    def _result(self, seed: int) -> Path:
        return self.results / f"seed-{seed}.json"

    def _read(self, seed: int) -> dict | None:
        path = self._result(seed)
        try:
            result = read_json(path)
            fault = fault_of(result, "result")
        except ValueError as error:
            fault = str(error)
        if not fault and result["seed"] == seed:
            return result
        aside = _set_aside(path, f"{path.name}.corrupt")
        say(
            f"{path} is not the result of seed {seed} ({fault or 'of another'}). It was"
            f" moved to {aside}, and the seed is computed again"
        )
        return None


def say(text: str) -> None:
    """Tell the user one thing, beside the results."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn a failure to write into one that names the folder."""
    try:
        yield
    except OSError as error:
        raise SweepError(
            f"cannot write to {folder}: {error.strerror or error}; results written so"
            " far are kept, and the same command goes on from there"
        ) from None


def _probe(path: Path) -> None:
    """Fail now rather than after hours if a file cannot be written beside `path`; clear
    away what a crash left.
    """
    probe = path.with_name(f".{path.name}.probe")
    with _writing(path.parent):
        write_whole(probe, " " * ROOM)
        probe.unlink()
        for stray in path.parent.glob(
            f".{path.name}.*.part" if path.suffix else ".*.part"
        ):
            stray.unlink()


def _set_aside(path: Path, name: str) -> Path:
    """Rename a file within its folder, to `name` or, where that is taken, to a numbered
    one.
    """
    stem, _, suffix = name.rpartition(".")
    targets = (
        path.with_name(name if n == 1 else f"{stem}-{n}.{suffix}")
        for n in itertools.count(1)
    )
    target = next(target for target in targets if not target.exists())
    os.rename(path, target)
    return target
