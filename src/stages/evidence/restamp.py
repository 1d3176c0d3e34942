"""Keep a record when the code behind it changed and the experiment did not."""

from dataclasses import replace
from pathlib import Path

from stages.evidence.paper import Paper
from stages.evidence.probe import (
    in_short,
    moved,
    probe,
    setting_values,
    steady_probe,
)
from stages.evidence.records import Record, load_record, plain, rejudge, save_record
from stages.evidence.store import record_path


class RestampError(Exception):
    """The code gives other numbers than those of the record; the message says which."""


def check_probe(paper: Paper, record: Record) -> None:
    """Run a paper's probe and compare it with what the record keeps.

    Raises:
        RestampError: settings or numbers differ; the message names what moved, and the
            command that records the paper anew.
    """
    anew = f"make evidence PAPER={paper.slug} records it anew"
    for profile, kept in (
        ("full", record.settings),
        ("probe", record.probe_settings),
    ):
        if setting_values(paper.settings(profile)) != kept:
            raise RestampError(
                f"{paper.slug}: the settings of the profile {profile} are not those of"
                f" the record; put them back, or {anew}"
            )
    if lines := moved(record.probe, plain(probe(paper))):
        raise RestampError(
            f"{paper.slug}: the probe moved, so the record is not of this code:"
            f" {in_short(lines)}. If the change was not meant to touch the experiment,"
            f" it has a fault; if it was, {anew}"
        )


def restamp(paper: Paper, out: Path, new_probe: bool = False) -> Record:
    """Renew what a full record keeps beside its scores: claims, gates and facts.

    The scores stay, and so does the probe, which has to hold first.

    Args:
        out: the folder of records.
        new_probe: the profile "probe" has other settings than the record's; take the
            present code's numbers for it. Only sound where nothing else changed.

    Raises:
        RestampError: the probe does not hold, or the scores do not hold what a claim
            or a gate reads.
        RecordError: there is no record, or it is not valid.
    """
    path = record_path(out, paper.slug, "full")
    record = load_record(path, paper.slug)
    if new_probe:
        settings = setting_values(paper.settings("probe"))
        if settings == record.probe_settings:
            raise RestampError(
                f"{paper.slug}: the profile probe is the one of the record; leave"
                " --new-probe out"
            )
        try:
            numbers = plain(steady_probe(paper))
        except ValueError as error:
            raise RestampError(f"{paper.slug}: {error}") from None
        record = replace(record, probe=numbers, probe_settings=settings)
    check_probe(paper, record)
    try:
        record = rejudge(record, paper)
    except ValueError as error:
        raise RestampError(
            f"{paper.slug}: {error}; make evidence PAPER={paper.slug} records it anew"
        ) from None
    save_record(record, path)
    return record
