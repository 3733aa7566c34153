"""Schema files: every fault is named with its column and the line to write, all at once; what loads comes back equal."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from dpsynth.errors import BadInput
from dpsynth.schema import Schema

GOOD: dict[str, Any] = {
    "name": "people",
    "privacy_unit": {"unit": "person", "columns": ["id"], "max_rows": 4, "null_ids": "one-unit"},
    "target": "sex",
    "n_public": {"value": 900, "source": "annual report"},
    "file": {"separator": ";", "encoding": "latin-1", "decimal": ","},
    "columns": [
        {"name": "id", "type": "id"},
        {"name": "sex", "type": "categorical", "categories": ["f", "m"], "categories_basis": "publisher", "missing": "?"},
        {"name": "ward", "type": "categorical", "categories": ["seen"], "categories_basis": "observed", "on_unknown": "other"},
        {"name": "stage", "type": "ordinal", "categories_basis": "measure"},
        {"name": "age", "type": "integer", "bounds": [0, 110], "bounds_basis": "judgement: no one is older", "special": [-1], "bins": 11},
        {"name": "weight", "type": "continuous", "bounds": [1, 2], "bounds_basis": "observed", "description": "kg"},
    ],
}


def changed(*path: Any, to: Any = None, drop: bool = False) -> dict[str, Any]:
    document: Any = copy.deepcopy(GOOD)
    held = document
    for step in path[:-1]:
        held = held[step]
    if drop:
        del held[path[-1]]
    else:
        held[path[-1]] = to
    return document  # type: ignore[no-any-return]


def col(position: int, key: str, to: Any = None, drop: bool = False) -> dict[str, Any]:
    return changed("columns", position, key, to=to, drop=drop)


PERSONS: dict[str, Any] = {"unit": "person", "columns": ["id"]}
MEASURED = PERSONS | {"max_rows": "measure"}
SEX, WARD, AGE, WEIGHT = "column 'sex'", "column 'ward'", "column 'age'", "column 'weight'"
FAULTS: list[tuple[dict[str, Any], str, str]] = [
    (col(1, "type", "datetime"), SEX, "is not served; write one of categorical"),
    (col(1, "type", drop=True), SEX, "is not served"),
    (col(1, "type", ["id"]), SEX, "is not served"),
    (col(1, "categories_basis", drop=True), SEX, 'without a basis; write categories_basis = "publisher"'),
    (col(1, "categories_basis", "hearsay"), SEX, "not a known basis; start the basis with one of publisher"),
    (col(1, "categories_basis", 7), SEX, "not a known basis"),
    (col(1, "categories", drop=True), SEX, 'there are no categories; write the categories, or categories_basis = "measure"'),
    (col(1, "categories", []), SEX, 'not a list of texts; write categories = \\["a", "b"\\]'),
    (col(1, "categories", [1, 2]), SEX, "not a list of texts"),
    (col(1, "categories", "f"), SEX, "not a list of texts"),
    (col(1, "categories", ["f", "f"]), SEX, "listed twice; keep one"),
    (col(1, "categories", [str(i) for i in range(10**6)]), SEX, "1,000,000 categories, more than 100,000"),
    (col(1, "missing", "f"), SEX, "also a missing marker; drop it"),
    (col(1, "missing", [7]), SEX, "marker is not text; write missing ="),
    (col(1, "missing", [["f"]]), SEX, "marker is not text"),
    (col(2, "on_unknown", "guess"), WARD, 'on_unknown is neither missing nor other; write on_unknown = "missing"'),
    (col(4, "bounds", [0]), AGE, "not two finite numbers; write bounds ="),
    (col(4, "bounds", [0, "9"]), AGE, "not two finite numbers"),
    (col(4, "bounds", [0, True]), AGE, "not two finite numbers"),
    (col(4, "bounds", [0, float("nan")]), AGE, "not two finite numbers"),
    (col(4, "bounds", [0, 10**400]), AGE, "not two finite numbers"),
    (col(4, "bounds", [9, 0]), AGE, "lower bound is not below the upper one; write bounds"),
    (col(4, "bounds", [5, 5]), AGE, "lower bound is not below"),
    (col(4, "bounds", [0.5, 9]), AGE, "fractional bounds; write whole numbers"),
    (col(4, "bounds", [0, 2**60]), AGE, "beyond 2\\^53"),
    (col(4, "bounds_basis", drop=True), AGE, "without a basis"),
    (col(4, "special", ["x"]), AGE, "special values are not finite numbers; write special = \\[-1\\]"),
    (col(4, "special", [-1.5]), AGE, "fractional special values; write whole numbers"),
    (col(4, "bins", 0), AGE, "bins is not a whole number from 1 to 10,000; write bins = 32"),
    (col(4, "bins", True), AGE, "bins is not"),
    (col(4, "bins", 10**6), AGE, "bins is not"),
    (col(5, "bounds", [1e300, 1.0000000000000002e300]), WEIGHT, "too near or too far apart"),
    (col(5, "bounds", [-1.7e308, 1.7e308]), WEIGHT, "too near or too far apart"),
    (col(5, "bounds", [0, 1e-310]), WEIGHT, "too near or too far apart"),
    (col(1, "name", drop=True), "", "column 2 " + 'has no name; write name = "..."'),
    (col(1, "name", ""), "", "column 2 " + "has no name"),
    (col(1, "name", "age"), AGE, "declared more than once; keep one"),
    (changed("columns", drop=True), "", "no columns; write one \\[\\[columns\\]\\]"),
    (changed("columns", to=[]), "", "no columns"),
    (changed("columns", to=["a"]), "", "no columns"),
    (changed("columns", to=[{"name": "id", "type": "id"}]), "", "every column is an id; declare a type"),
    (changed("name", drop=True), "", 'the table has no name; write name = "my_table"'),
    (changed("name", to=3), "", "the table has no name"),
    (changed("target", to="nobody"), "", "target 'nobody' is not a column; name one of"),
    (changed("target", to=["sex"]), "", "is not a column"),
    (changed("privacy_unit", drop=True), "", "no privacy unit; write privacy_unit = "),
    (changed("privacy_unit", to="row"), "", "no privacy unit"),
    (changed("privacy_unit", to={"unit": "row"}), "", "the unit is a row but 'id' is an id; write one_row_per_person"),
    (changed("privacy_unit", "columns", to=["nobody"]), "", 'not columns of the table; write columns = \\["patient_id"\\]'),
    (changed("privacy_unit", "columns", to="id"), "", "not columns of the table"),
    (changed("privacy_unit", "columns", to=[]), "", "not columns of the table"),
    (changed("privacy_unit", "max_rows", to=0), "", "max_rows is not a positive whole number; write max_rows = 5"),
    (changed("privacy_unit", "max_rows", to=1.5), "", "max_rows is not"),
    (changed("privacy_unit", "max_rows", to=True), "", "max_rows is not"),
    (changed("privacy_unit", "null_ids", to="keep"), "", 'null_ids is neither drop nor one-unit; write null_ids = "drop"'),
    (changed("privacy_unit", "row_weights", to=True), "", "unknown keys \\['row_weights'\\]; use columns, count"),
    (changed("privacy_unit", "count", to="persons"), "", 'count is neither rows nor units; write count = "rows"'),
    (changed("privacy_unit", "count", to=["units"]), "", "count is neither"),
    (changed("privacy_unit", "keep", to=0.9), "", 'keep but max_rows is not measured; write max_rows = "measure"'),
    (changed("privacy_unit", "most_rows", to=9), "", "most_rows but max_rows is not measured"),
    (changed("privacy_unit", to=PERSONS | {"count": "units"}), "", "max_rows is not a number up to 1,024; write max_rows = 40"),
    (changed("privacy_unit", to=PERSONS | {"count": "units", "max_rows": 1025}), "", "not a number up to 1,024"),
    (changed("privacy_unit", to=MEASURED | {"count": "units"}), "", "rows are not counted; write count = "),
    (changed("privacy_unit", to=MEASURED | {"keep": 0}), "", "keep is not a share above 0 and up to 1; write keep = 0.95"),
    (changed("privacy_unit", to=MEASURED | {"keep": 1.5}), "", "keep is not"),
    (changed("privacy_unit", to=MEASURED | {"keep": True}), "", "keep is not"),
    (changed("privacy_unit", to=MEASURED | {"most_rows": 0}), "", "most_rows is not a whole number from 1 to 1,024; write most_rows = 64"),
    (changed("privacy_unit", to=MEASURED | {"most_rows": 2000}), "", "most_rows is not"),
    (changed("privacy_unit", to=MEASURED | {"most_rows": 2.0}), "", "most_rows is not"),
    (changed("privacy_unit", to={"unit": "row", "columns": ["id"]}), "", "the unit is a row and has columns; name the unit"),
    (changed("n_public", to=900), "", "n_public has no value and source; write n_public ="),
    (changed("n_public", to={"value": 900}), "", "n_public has no"),
    (changed("n_public", "value", to=-5), "", "n_public has no"),
    (changed("n_public", "value", to=True), "", "n_public has no"),
    (changed("file", "sep", to=";"), "", "unknown keys \\['sep'\\]; use separator"),
    (changed("file", "separator", to="||"), "", 'separator is not one character; write separator = ";"'),
    (changed("file", "decimal", to="x"), "", "decimal is neither"),
    (changed("file", "encoding", to="klingon"), "", "encoding is unknown; write"),
]


@pytest.mark.parametrize(("document", "where", "words"), FAULTS)
def test_a_fault_names_its_place_and_what_to_write(document: dict[str, Any], where: str, words: str) -> None:
    with pytest.raises(BadInput) as raised:
        Schema.from_dict(document, "s.json")
    assert any(f.where.startswith("s.json") and where in f.where and re.search(words, str(f)) for f in raised.value.faults), str(raised.value)
    assert raised.value.exit_code == 2


def test_all_faults_are_told_at_once() -> None:
    document = col(1, "type", "datetime")
    document["columns"][4]["bounds"] = [9, 0]
    document["columns"][4]["bins"] = 0
    del document["name"]
    with pytest.raises(BadInput) as raised:
        Schema.from_dict(document)
    text = str(raised.value)
    assert all(w in text for w in ("'datetime'", "lower bound", "bins is not", "no name"))


def test_what_is_not_public_is_open_and_what_was_seen_is_not_used() -> None:
    schema = Schema.from_dict(GOOD)
    ward, weight = schema.column("ward"), schema.column("weight")
    assert ward.categories is None
    assert weight.bounds is None
    assert (ward.observed_categories, weight.observed_bounds) == (("seen",), (1, 2))
    assert [c.name for c in schema.columns if c.is_open] == ["ward", "stage", "weight"]
    assert "seen" not in repr(schema)
    assert [c.name for c in schema.synthesised] == ["sex", "ward", "stage", "age", "weight"]
    assert schema.unit.max_rows == 4


@pytest.mark.parametrize(
    ("entry", "max_rows", "count", "keep"),
    [
        (PERSONS, 1, "rows", None),
        (PERSONS | {"max_rows": 5, "count": "rows"}, 5, "rows", None),
        (PERSONS | {"max_rows": 1024, "count": "units"}, 1024, "units", None),
        (PERSONS | {"max_rows": 5, "max_rows_basis": "publisher", "note": "a study of five years"}, 5, "rows", None),
        (MEASURED, 64, "rows", 0.95),
        (MEASURED | {"most_rows": 12, "keep": 1, "null_ids": "one-unit"}, 12, "rows", 1.0),
    ],
)
def test_how_a_units_rows_count_is_as_declared_and_comes_back_equal(entry: dict[str, Any], max_rows: int, count: str, keep: float | None) -> None:
    schema = Schema.from_dict(changed("privacy_unit", to=entry))
    assert (schema.unit.max_rows, schema.unit.count, schema.unit.keep) == (max_rows, count, keep)
    assert Schema.from_dict(json.loads(schema.to_json())) == schema


def test_a_schema_comes_back_equal_from_json_and_toml(tmp_path: Path) -> None:
    schema = Schema.from_dict(GOOD)
    path = tmp_path / "s.json"
    path.write_text(schema.to_json(), encoding="utf-8")
    assert Schema.load(path) == schema
    lines = [
        'name = "p"',
        'privacy_unit = {unit = "row"}',
        "[[columns]]",
        'name = "a"',
        'type = "integer"',
        "bounds = [0, 9]",
        'bounds_basis = "publisher"',
    ]
    toml = tmp_path / "s.toml"
    toml.write_text("\n".join(lines))
    loaded = Schema.load(toml)
    path.write_text(loaded.to_json())
    assert Schema.load(path) == loaded


@pytest.mark.parametrize(("name", "text", "words"), [
    ("s.json", "{", "not valid JSON"), ("s.toml", "a = ", "not valid TOML"),
    ("s.json", "[1]", "not a schema"), ("s.json", "[" * 100_000, "not valid JSON"),
    ("s.json", "", "not valid JSON"),
])  # fmt: skip
def test_a_file_that_is_no_document_is_refused(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=words):
        Schema.load(tmp_path / name)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "no.json", "no such schema"), (tmp_path, "cannot be read")):
        with pytest.raises(BadInput, match=words):
            Schema.load(path)
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="cannot be read as text"):
        Schema.load(tmp_path / "b.json")


def test_the_schemas_of_the_real_tables_load_or_name_the_type_that_is_not_served(data: Path) -> None:
    loaded = 0
    for path in sorted(data.glob("*.schema.json")):
        kinds = {c["type"] for c in json.loads(path.read_text())["columns"]}
        if kinds <= {"categorical", "ordinal", "integer", "continuous", "id"}:
            schema = Schema.load(path)
            assert Schema.from_dict(schema.to_dict()) == schema
            loaded += 1
        else:
            with pytest.raises(BadInput, match="is not served"):
                Schema.load(path)
    assert loaded >= 5
