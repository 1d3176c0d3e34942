"""A record comes back as it was saved; anything else is refused with the command that makes it anew."""

import json
import os
from dataclasses import fields, replace

import pytest

from stages import figures
from stages.evidence import Finding, RecordError, all_records, load_record, recorded, rejudge, save_record, sweep
from stages.evidence.records import plain


@pytest.fixture
def record(toy, tmp_path):
    return sweep(toy.PAPER, "full", range(3), tmp_path / "first", progress=False)


@pytest.fixture
def path(record, tmp_path):
    path = tmp_path / "evidence/toys/coin.json"
    save_record(record, path)
    return path


def test_a_record_comes_back_as_it_was_and_is_saved_alike(record, path):
    again = load_record(path, "toys/coin")
    assert again == record
    before = path.read_bytes()
    save_record(again, path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["coin.json"]


def test_the_file_is_small_and_has_a_row_a_line(path, record):
    lines = path.read_text().splitlines()
    rows = [line for line in lines if line.startswith("  {")]
    assert len(rows) == len(record.scores) + len(record.curves) + len(record.claims)
    assert len(lines) < len(rows) + 25


@pytest.mark.parametrize(
    ("value", "kept"),
    [(0.123456789, 0.123457), (1e-9 / 3, 3.33333e-10), (12.0, 12), (1234567.8, 1234570), (7, 7), (True, True)],
)
def test_numbers_keep_six_digits(value, kept):
    assert plain([{"x": value}]) == [{"x": kept}]


def test_tables_are_tidy(record):
    scores, curves = record.score_table(), record.curve_table()
    assert list(scores.columns) == ["seed", "method", "metric", "value"]
    assert len(scores) == 3 * 3
    assert list(curves.columns) == ["seed", "method", "name", "x", "y"]
    assert len(curves) == 3 * 3 * 3
    assert curves.x.dtype == curves.y.dtype == float


def test_the_verdicts_follow_from_the_scores_of_the_record_alone(record, toy):
    assert rejudge(record, toy.CLAIMS) == record
    findings = record.findings()
    assert [f.key for f in findings] == ["C1", "C2", "C3"]
    assert all(isinstance(f, Finding) for f in findings)
    assert [f.verdict for f in findings] == ["reproduced", "reproduced", "contradicted"]


def test_rejudging_takes_the_claims_that_it_is_given(record, toy):
    harder = replace(toy.CLAIMS[0], margin=50.0)
    (row,) = rejudge(record, [harder]).claims
    assert row["verdict"] == "inconclusive"
    assert row["margin"] == 50


def test_figures_take_a_record(record):
    assert "reproduced" in figures.verdict_table(record=record)._repr_html_()


def broken(change):
    def apply(document):
        change(document)
        return json.dumps(document)

    return apply


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda d: json.dumps(d)[:-200], "cannot be read"),
        (lambda d: "", "cannot be read"),
        (lambda d: json.dumps(d).replace('"threads": 1', '"threads": NaN'), "NaN"),
        (lambda d: json.dumps(d).replace('"seconds": ', '"seconds": 1e999, "x": '), "x"),
        (lambda d: "[]", "not of type 'object'"),
        (broken(lambda d: d.pop("seeds")), "'seeds' is a required property"),
        (broken(lambda d: d.update(extra=1)), "extra"),
        (broken(lambda d: d.update(seconds=float("inf"))), "Infinity"),
        (broken(lambda d: d["scores"][0].update(value="1")), r"scores\[0\]\.value: '1' is not of type 'number'"),
        (broken(lambda d: d["scores"][0].pop("metric")), "'metric' is a required property"),
        (broken(lambda d: d["curves"][1].update(colour="red")), "colour"),
        (broken(lambda d: d["claims"][0].update(verdict="true")), "'true' is not one of"),
        (broken(lambda d: d["claims"][0].pop("p")), "'p' is a required property"),
        (broken(lambda d: d["scores"].append(d["scores"][0])), "stands there twice"),
        (broken(lambda d: d["seeds"].append(9)), "its seeds are not those of its scores"),
        (broken(lambda d: d["seeds"].reverse()), "in rising order"),
        (broken(lambda d: d.update(paper="toys/dice")), "it is the record of toys/dice"),
    ],
)
def test_what_is_no_record_is_refused_with_the_remedy(path, spoil, said):
    path.write_text(spoil(json.loads(path.read_text())))
    with pytest.raises(RecordError, match=said) as caught:
        load_record(path, "toys/coin")
    assert str(path) in str(caught.value)
    assert "`stages run toys/coin --profile full --out" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_record_with_a_fault_is_not_written(record, path):
    before = path.read_bytes()
    with pytest.raises(RecordError, match="was not written"):
        save_record(replace(record, seconds=float("nan")), path)
    with pytest.raises(RecordError, match="was not written"):
        save_record(replace(record, device=7), path)
    assert path.read_bytes() == before


def test_a_failed_write_leaves_the_old_file(record, path, monkeypatch):
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_record(replace(record, seconds=1), path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["coin.json"]


def test_the_records_of_the_book_are_found_by_slug(record, path, monkeypatch, tmp_path):
    monkeypatch.setattr("stages.evidence.records.data_dir", lambda: tmp_path)
    save_record(replace(record, paper="toys/a"), tmp_path / "evidence/toys/a.json")
    for name in ("toys/a.quick.json", "toys/a.previous.json", ".partial/toys.json"):
        (tmp_path / "evidence" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "evidence" / name).write_text("{}")
    assert [r.paper for r in all_records()] == ["toys/a", "toys/coin"]
    assert recorded("toys/coin") == record
    with pytest.raises(RecordError, match=r"no record .*dice\.json; `stages run toys/dice --profile full"):
        recorded("toys/dice")


def test_the_remedy_of_another_profile_names_it(tmp_path):
    with pytest.raises(RecordError, match="--profile quick"):
        load_record(tmp_path / "toys/coin.quick.json")


def test_the_schema_knows_every_field(record, path):
    assert list(json.loads(path.read_text())) == [field.name for field in fields(record)]
