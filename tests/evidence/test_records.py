"""A record comes back as it was saved; anything else is refused with the command that makes it anew."""

import json
import os
from dataclasses import fields, replace

import pytest

from stages.evidence import Finding, Gate, RecordError, all_records, load_record, recorded, rejudge, save_record, sweep
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
    tables = (record.scores, record.curves, record.claims, record.also, record.gates, record.probe)
    assert all(tables)
    assert len(rows) == sum(map(len, tables))
    assert len(lines) < len(rows) + 30


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
    assert rejudge(record, toy.PAPER) == record
    findings = record.findings()
    assert [f.key for f in findings] == ["C1", "C2", "C3"]
    assert all(isinstance(f, Finding) for f in findings)
    assert [f.verdict for f in findings] == ["reproduced", "reproduced", "contradicted"]
    assert [f.level for f in findings] == [0.95, 0.99, 0.99]
    assert [row["origin"] for row in record.claims] == ["paper", "paper", "ours"]


def test_a_record_holds_what_explains_the_verdicts(record, toy):
    (also,) = record.also
    assert (also["key"], also["verdict"], also["level"]) == ("A1", "", 0.95)
    assert record.finding("A1").effect == also["effect"] == pytest.approx(3, abs=0.5)
    assert record.finding("C1") == record.findings()[0]
    with pytest.raises(KeyError):
        record.finding("C9")
    table = record.score_table()
    old = table[table.method == "old"]["value"].mean()
    works, same = record.gates
    assert works == {
        "name": "the old method works",
        "value": pytest.approx(old, rel=1e-5),
        "bound": "at least 10",
        "met": True,
    }
    assert (same["bound"], same["met"]) == ("at least -1 and at most 1", True)
    assert record.deviations == ["The effect was 2 before it was 3."]
    assert (record.title, record.arxiv, record.year) == ("A toy", "0000.00000", 2024)
    assert record.probe_settings == {"effect": 2.0, "shape": [3, 4], "counts": False}
    assert [(row["method"], row["metric"]) for row in record.probe] == [
        (method, "accuracy") for method in ("new", "old", "twin")
    ]


def test_rejudging_takes_claims_gates_and_facts_from_the_paper_and_nothing_else(record, toy):
    harder = replace(
        toy.PAPER,
        title="Another",
        year=2025,
        claims=(replace(toy.CLAIMS[0], margin=50.0), *toy.CLAIMS[1:]),
        also=(),
        gates=(replace(toy.PAPER.gates[0], least=99.0),),
        deviations=(),
    )
    again = rejudge(record, harder)
    assert (again.title, again.year, again.also, again.deviations) == ("Another", 2025, [], [])
    assert (again.claims[0]["verdict"], again.claims[0]["margin"]) == ("inconclusive", 50)
    assert again.claims[1:] == record.claims[1:]
    assert [gate["met"] for gate in again.gates] == [False]
    renewed = {"title", "arxiv", "year", "claims", "also", "gates", "deviations"}
    kept = [field.name for field in fields(record) if field.name not in renewed]
    assert all(getattr(again, name) == getattr(record, name) for name in kept)


def test_a_small_profile_may_leave_out_what_it_does_not_measure(record, toy):
    everywhere = replace(toy.CLAIMS[1], everywhere=("hot", "cold"))
    new = Gate("the fourth works", "fourth", "accuracy", least=1.0)
    difference = Gate("the fourth is no better", "old", "accuracy", minus="fourth", least=1.0)
    more = replace(
        toy.PAPER,
        claims=(toy.CLAIMS[0], everywhere, toy.CLAIMS[2]),
        also=(replace(toy.CLAIMS[0], key="A1", worse="fourth"),),
        gates=(*toy.PAPER.gates, new, difference),
    )
    again = rejudge(record, more, partly=True)
    assert [row["key"] for row in again.claims] == ["C1", "C3"]
    assert (again.also, again.gates) == ([], record.gates)
    with pytest.raises(ValueError, match=r"claim C2: no accuracy \[hot\]"):
        rejudge(record, more)
    with pytest.raises(ValueError, match="claim A1: no accuracy of 'fourth'"):
        rejudge(record, replace(more, claims=toy.CLAIMS))
    with pytest.raises(ValueError, match="gate 'the fourth works': no accuracy of 'fourth'"):
        rejudge(record, replace(more, claims=toy.CLAIMS, also=()))


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
        (broken(lambda d: d["claims"][0].pop("level")), "'level' is a required property"),
        (broken(lambda d: d["claims"][0].update(p=0.01)), "'p' was unexpected"),
        (broken(lambda d: d["claims"][0].update(level=95)), "95 is greater than or equal to the maximum of 1"),
        (broken(lambda d: d["also"][0].update(origin="theirs")), r"also\[0\]\.origin: 'theirs' is not one of"),
        (broken(lambda d: d["gates"][0].update(met="yes")), r"gates\[0\]\.met: 'yes' is not of type 'boolean'"),
        (broken(lambda d: d["gates"][0].update(bound="")), r"gates\[0\]\.bound: '' should be non-empty"),
        (broken(lambda d: d.update(probe=[])), r"probe: \[\] should be non-empty"),
        (broken(lambda d: d["probe"][0].update(seed=0)), "'seed' was unexpected"),
        (broken(lambda d: d.pop("probe_settings")), "'probe_settings' is a required property"),
        (broken(lambda d: d.update(code="0f" * 8)), "'code' was unexpected"),
        (broken(lambda d: d.update(deviations=[""])), r"deviations\[0\]: '' should be non-empty"),
        (broken(lambda d: d.update(year="2024")), "year: '2024' is not of type 'integer'"),
        (broken(lambda d: d.update(arxiv="24.1")), "arxiv: '24.1' does not match"),
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
