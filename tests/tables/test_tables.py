"""Tables: what the header says may refuse, what cells hold never does."""

from __future__ import annotations

import gzip
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dpsynth.schema import Schema
from dpsynth.schema.cells import read_text
from dpsynth.tables import FrameTable, header_faults, open_table, table_at


def schema_of(*names: str, **file: str) -> Schema:
    columns = [{"name": n, "type": "categorical"} for n in names]
    return Schema.from_dict({"name": "t", "privacy_unit": {"unit": "row"}, "columns": columns, "file": file})


AB = schema_of("a", "b")


def faults(path: Path, schema: Schema = AB) -> str:
    return "\n".join(map(str, header_faults(open_table(path, schema), schema)))


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_csv_is_read_as_text(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", b'a,b\n007,NA\n"x,y",\nnan, 1 \n')
    assert faults(path) == ""
    assert open_table(path, AB).rows().to_numpy().tolist() == [["007", "NA"], ["x,y", ""], ["nan", " 1 "]]


def test_gz_bom_latin_1_semicolon_and_parquet(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": ["1"], "b": ["é"]})
    zipped = written(tmp_path / "t.csv.gz", gzip.compress("a,b\n1,é\n".encode(), mtime=0))
    marked = written(tmp_path / "b.csv", "\ufeffa,b\r\n1,é\r\n".encode())
    frame.to_parquet(tmp_path / "t.parquet")
    for path in (zipped, marked, tmp_path / "t.parquet"):
        assert faults(path) == ""
        assert open_table(path, AB).rows().to_numpy().tolist() == [["1", "é"]]
    old = schema_of("a", "b", encoding="latin-1", separator=";")
    path = written(tmp_path / "l.csv", "a;b\n1;é\n".encode("latin-1"))
    assert faults(path, old) == ""
    assert open_table(path, old).rows().to_numpy().tolist() == [["1", "é"]]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_a_wrong_separator_is_guessed(tmp_path: Path, separator: str) -> None:
    path = written(tmp_path / "t.csv", f"a{separator}b\n1{separator}2\n".encode())
    spelled = repr(separator).strip("'")
    assert f"one column found; is it `{spelled}`?" in faults(path)
    assert f'separator = "{spelled}"' in faults(path)


@pytest.mark.parametrize(("name", "content"), [
    ("t.csv", b""), ("t.csv", b"\n\n"), ("t.csv", b"\x89PNG\r\n\x1a\n\x00\x00"), ("t.csv", b"a\x00,b\n"), ("t.csv.gz", b"not gzip"),
    ("t.csv", b"\xff\xfea\x00,\x00b\x00"),
])  # fmt: skip
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = written(tmp_path / name, content)
    assert "not a table" in faults(path)


def test_other_files_and_none(tmp_path: Path) -> None:
    assert "no such file" in faults(tmp_path / "absent.csv")
    assert "no such file" in faults(tmp_path)
    assert "not a Parquet file" in faults(written(tmp_path / "t.parquet", b"PAR1junk"))
    assert "not a Parquet file" in faults(written(tmp_path / "e.parquet", b""))


def test_all_that_is_wrong_with_a_header_is_told_at_once(tmp_path: Path) -> None:
    told = faults(written(tmp_path / "t.csv", b"a,a,c\n1,2,3\n"))
    assert "column 'a': appears more than once; rename" in told
    assert "column 'b': in the schema but not in the table; add it" in told
    assert "column 'c': in the table but not in the schema; add [[columns]] name = \"c\"" in told
    assert "none of the schema's columns" in faults(written(tmp_path / "n.csv", b"1,2\n3,4\n"))


CELLS = {
    "header only": (b"a,b\n", 0),
    "header without newline": (b"a,b", 0),
    "long lines": (b"a,b\n1,2\n1,2,3,4\n5,6\n", None),
    "short lines": (b"a,b\n1\n5,6\n", 2),
    "unclosed quote": (b'a,b\n1,2\n"3,4\n5,6\n', None),
    "unclosed quote of much text": (b'a,b\n1,2\n"' + b"x,y\n" * 60_000, None),
    "stray quotes": (b'a,b\n1"2,"3"4\n5,6\n', None),
    "broken bytes": (b"a,b\n\xff\xfe,\xc3\n5,6\n", 2),
    "zero bytes": (b"a,b\n\x00,2\n5,\x006\n", 2),
    "zero bytes and an unclosed quote": (b'a,b\n\x00,2\n"5,\x006\n', None),
    "long cell": (b"a,b\n" + b"x" * 500_000 + b",1\n", 1),
    "blank lines": (b"a,b\n\n\n1,2\n\n", None),
    "carriage returns": (b"a,b\r1,2\r\n3,4\n", None),
}


@pytest.mark.parametrize("kind", CELLS)
def test_what_cells_hold_never_refuses(tmp_path: Path, kind: str) -> None:
    content, rows = CELLS[kind]
    path = written(tmp_path / "t.csv", content)
    if kind != "carriage returns":
        assert faults(path) == ""
    frame = open_table(path, AB).rows()
    assert list(frame.columns)[:2] == ["a", "b"]
    assert rows is None or len(frame) == rows


def test_no_line_decides_what_becomes_of_others(tmp_path: Path) -> None:
    """A line with a cell too many, the first or a later one, moves no other line in or out of the table."""
    lines = [b"1,2", b"3,4,5", b"5,6", b"7,8,9"]
    alone = open_table(written(tmp_path / "t.csv", b"\n".join([b"a,b", *lines])), AB).rows().to_numpy().tolist()
    for odd in (b"x,y,z", b'x,"y'):
        for place in (0, len(lines)) if odd == b"x,y,z" else (len(lines),):
            content = b"\n".join([b"a,b", *lines[:place], odd, *lines[place:]])
            found = open_table(written(tmp_path / "t.csv", content), AB).rows().to_numpy().tolist()
            assert [row for row in found if row[0] != "x"] == alone == [["1", "2"], ["3", "4"], ["5", "6"], ["7", "8"]]


@pytest.mark.parametrize(
    ("content", "longer"),
    [
        (b"a,b\n1,2\n\n3,4,5\n6\n7,8,\n", [2, 4]),
        (b'a,b\n"1,1",2\n"3,4",5,6\n', [2]),
        (b'a,b\n1,"2,3\n4,5\n', []),
        (b"a,b\n", []),
    ],
    ids=["plain", "quoted", "a quote that does not close", "no rows"],
)
def test_rows_with_a_cell_too_many_are_known(tmp_path: Path, content: bytes, longer: list[int]) -> None:
    for path, data in ((tmp_path / "t.csv", content), (tmp_path / "t.csv.gz", gzip.compress(content))):
        assert list(open_table(written(path, data), AB).longer_rows()) == longer


STORED: dict[str, tuple[pa.DataType, list[Any]]] = {
    "integers": (pa.int64(), [1, 0, -7]),
    "integers beyond what floats tell apart": (pa.int64(), [10**17, 10**17 + 1, 2**53 + 1]),
    "unsigned integers": (pa.uint64(), [2**64 - 1, 2**64 - 2, 3]),
    "floats": (pa.float64(), [1.0, 0.1, 1e300]),
    "short floats": (pa.float32(), [1.0, 0.1, -0.0]),
    "truths": (pa.bool_(), [True, False, True]),
    "texts": (pa.string(), ["1", "é", ""]),
    "texts of few kinds": (pa.dictionary(pa.int8(), pa.string()), ["a", "b", "a"]),
    "integers of few kinds": (pa.dictionary(pa.int8(), pa.int64()), [1, 10**17 + 1, 1]),
    "dates": (pa.date32(), [date(2020, 1, 1), date(1066, 10, 14), date(9999, 12, 31)]),
    "times": (pa.timestamp("us"), [datetime(2020, 1, 1), datetime(1, 1, 1), datetime(2020, 1, 1, 3, 4, 5, 6)]),
    "nanoseconds": (pa.timestamp("ns"), [0, 1, 10**18]),
    "decimals": (pa.decimal128(9, 2), [Decimal("1.00"), Decimal("2.50"), Decimal("-3")]),
    "lists": (pa.list_(pa.int64()), [[1, 2], [3, 4], []]),
    "bytes": (pa.binary(), [b"a", b"\xff", b""]),
}


@pytest.mark.parametrize("kind", STORED)
def test_no_row_of_a_parquet_file_decides_what_becomes_of_others(kind: str, tmp_path: Path) -> None:
    """A column of integers becomes one of floats where one is missing, in pandas' own reader; ids, categories and splits then change for all."""
    form, cells = STORED[kind]
    column, spelled = schema_of("a").column("a"), []
    for beside in ([], [None]):
        pq.write_table(pa.table({"a": pa.array([*cells, *beside], form)}), path := tmp_path / "t.parquet")
        rows = open_table(path, schema_of("a")).rows()
        assert len(rows) == len(cells) + len(beside)
        spelled.append(read_text(rows["a"], column).tolist()[: len(cells)])
    assert spelled[0] == spelled[1]
    assert len(set(spelled[0])) == len(set(map(str, cells)))


def test_a_cell_that_can_not_be_read_is_missing_and_moves_no_other(tmp_path: Path) -> None:
    broken = pa.array([0, 10**17], pa.int64()).cast(pa.timestamp("s"), safe=False)  # the second is in the year 3168808806
    text = pa.Array.from_buffers(pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"x\xff")])
    pq.write_table(pa.table({"a": broken.cast(pa.timestamp("ms"), safe=False), "b": text}), path := tmp_path / "t.parquet")
    assert [list(map(str, column)) for _, column in open_table(path, AB).rows().items()] == [["1970-01-01 00:00:00", "None"], ["x", "None"]]


@pytest.mark.parametrize("cells", [[1, 0, -7], [1.5, 2.0, -0.0], [True, False, True], [date(2020, 1, 1), None, date(2021, 1, 1)]])
@pytest.mark.parametrize("beside", [None, 0.5, "x", True, 7])
def test_no_row_of_a_frame_decides_what_becomes_of_others(cells: list[object], beside: object) -> None:
    """Whatever type pandas gives the whole column for one more cell."""
    column = schema_of("a").column("a")
    alone, together = (read_text(pd.DataFrame({"a": c})["a"], column).tolist() for c in (cells, [*cells, beside]))
    assert together[: len(cells)] == alone


def test_a_marker_is_found_whether_or_not_integers_became_floats() -> None:
    for marker in ("-9", "-9.0"):
        column = replace(schema_of("a").column("a"), missing=(marker,))
        assert read_text(pd.Series([1.0, -9.0]), column).tolist() == read_text(pd.Series([1, -9]), column).tolist() == ["1", None]


def test_parquet_has_no_longer_rows(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1], "b": [2]}).to_parquet(path := tmp_path / "t.parquet")
    assert list(open_table(path, AB).longer_rows()) == []


def test_the_header_is_known_without_the_rows(tmp_path: Path) -> None:
    class Closed(pd.DataFrame):
        @property
        def iloc(self):  # type: ignore[no-untyped-def]
            raise AssertionError("read")

    table = FrameTable(Closed({"a": [1], "b": [2]}))
    assert table.header() == ("a", "b")
    assert list(header_faults(table, AB)) == []


def test_the_survey_has_its_rows_and_no_export_artefact(survey: tuple[pd.DataFrame, Schema]) -> None:
    frame, schema = survey
    assert frame.shape == (8366, 15)
    assert list(frame.columns) == list(schema.names)
    assert not frame.apply(lambda c: c.str.contains("e-7")).to_numpy().any()
    assert list(header_faults(table_at("survey:nhanes", schema), schema)) == []
