"""A first schema from what may be known without looking at values: column names, the file's declared types, a data dictionary.

What is not known becomes `measure`, so the draft runs as it is; a comment says what writing it down would save.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dpsynth.errors import BadInput, Fault, refuse

TYPE_WORDS = {
    **dict.fromkeys(("integer", "int", "count"), "integer"),
    **dict.fromkeys(("continuous", "float", "numeric", "numerical", "number", "decimal"), "continuous"),
    **dict.fromkeys(("categorical", "category", "string", "text", "boolean", "bool"), "categorical"),
    **dict.fromkeys(("id", "identifier"), "id"),
    "ordinal": "ordinal",
}
FIELDS = ("name", "label", "type", "min", "max", "values", "missing", "unit")


@dataclass(frozen=True)
class Entry:
    """What a dictionary or a file says of one column; an empty text where it says nothing."""

    type: str = ""
    label: str = ""
    low: str = ""
    high: str = ""
    values: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    basis: str = "publisher: data dictionary"


def read_dictionary(path: Path) -> dict[str, Entry]:
    """A data dictionary, CSV or XLSX with the columns name,label,type,min,max,values,missing,unit, or SDV metadata (JSON).

    Values are separated by `|` or `;` and may carry labels (`1=male`). Raises `BadInput` if it is none of these.
    """
    wrong = Fault(str(path), "not a data dictionary", f"give CSV or XLSX with the columns {','.join(FIELDS)}, or SDV metadata in JSON")
    if not path.is_file():
        raise BadInput(Fault(str(path), "no such dictionary", "check its path"))
    try:
        if path.suffix == ".json":
            return _from_sdv(json.loads(path.read_text(encoding="utf-8")))
        rows = _from_xlsx(path) if path.suffix == ".xlsx" else list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise BadInput(wrong) from None
    if not rows or "name" not in rows[0]:
        raise BadInput(wrong)
    return {row["name"]: _entry(row) for row in rows if row["name"]}


def _from_xlsx(path: Path) -> list[dict[str, str]]:
    from zipfile import BadZipFile

    from openpyxl import load_workbook

    try:
        sheet = load_workbook(path, read_only=True, data_only=True).worksheets[0]
    except BadZipFile:
        raise ValueError from None
    lines = [["" if cell is None else str(cell) for cell in row] for row in sheet.iter_rows(values_only=True)]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


def _from_sdv(metadata: dict[str, Any]) -> dict[str, Entry]:
    tables = metadata.get("tables")
    columns = next(iter(tables.values()))["columns"] if tables else metadata["columns"]
    return {name: Entry(type=TYPE_WORDS.get(str(facts.get("sdtype", "")), "")) for name, facts in columns.items()}


def _entry(row: Mapping[str, str]) -> Entry:
    def listed(field: str) -> tuple[str, ...]:
        parts = re.split(r"[|;]", row.get(field) or "")
        return tuple(dict.fromkeys(p.split("=")[0].strip() for p in parts if p.strip()))

    label = " ".join(filter(None, [row.get("label") or "", f"({row['unit']})" if row.get("unit") else ""]))
    kind = TYPE_WORDS.get((row.get("type") or "").strip().lower(), "")
    return Entry(kind, label, (row.get("min") or "").strip(), (row.get("max") or "").strip(), listed("values"), listed("missing"))


def file_types(path: Path) -> dict[str, Entry]:
    """What a Parquet file declares of its columns' types; nothing for a CSV."""
    if path.suffix not in (".parquet", ".pq"):
        return {}
    import pyarrow as pa
    import pyarrow.parquet as pq

    def declared(kind: Any) -> str:
        return "integer" if pa.types.is_integer(kind) else "continuous" if pa.types.is_floating(kind) or pa.types.is_decimal(kind) else "categorical"

    return {field.name: Entry(type=declared(field.type)) for field in pq.read_schema(path)}


def draft(name: str, header: Iterable[str], unit: tuple[str, ...], declared: Mapping[str, Entry], dictionary: Mapping[str, Entry]) -> str:
    """The text of a schema.toml. `unit` names the unit's columns; empty means one row per person.

    Raises:
        BadInput: the unit's columns are not in the header.
    """
    names = tuple(header)
    refuse(Fault("--unit", f"{u!r} is not a column of the table", "name one of its columns") for u in unit if u not in names)
    lines = [f"name = {_quoted(name)}", *_unit_lines(unit)]
    for column in names:
        entry = dictionary.get(column, Entry())
        entry = replace(entry, type=entry.type or declared.get(column, Entry()).type)
        lines += ["", "[[columns]]", f"name = {_quoted(column)}", *_column_lines(column, entry, column in unit)]
    return "\n".join(lines) + "\n"


def _unit_lines(unit: tuple[str, ...]) -> list[str]:
    if not unit:
        return ['privacy_unit = {unit = "row"}', 'one_row_per_person = {basis = "judgement: said at init"}']
    listed = ", ".join(map(_quoted, unit))
    return [
        "# max_rows: the most rows of one unit that count. Each further row makes the noise larger; rows beyond are left out.",
        '# With max_rows = 40, count = "units" each unit counts as one, shared over its rows: no larger noise, and figures weigh each unit alike.',
        f'privacy_unit = {{unit = "person", columns = [{listed}], max_rows = 1}}',
    ]


def _column_lines(name: str, entry: Entry, in_unit: bool) -> list[str]:
    if in_unit or entry.type == "id":
        return ['type = "id"']
    lines = [f"description = {_quoted(entry.label)}"] if entry.label else []
    if entry.missing:
        lines.append(f"missing = [{', '.join(map(_quoted, entry.missing))}]")
    if entry.type in ("integer", "continuous"):
        return [f'type = "{entry.type}"', *lines, *_bounds_lines(entry)]
    known = "" if entry.type or entry.values else "  # not known: integer, continuous, categorical, ordinal, or id to leave it out"
    return [f'type = "{entry.type or "categorical"}"{known}', *lines, *_category_lines(entry)]


def _bounds_lines(entry: Entry) -> list[str]:
    if _is_number(entry.low) and _is_number(entry.high) and float(entry.low) < float(entry.high):
        return [f"bounds = [{entry.low}, {entry.high}]", f"bounds_basis = {_quoted(entry.basis)}"]
    return ['bounds_basis = "measure"  # saves budget if public: bounds = [low, high] with bounds_basis = "publisher"']


def _category_lines(entry: Entry) -> list[str]:
    if entry.values:
        return [f"categories = [{', '.join(map(_quoted, entry.values))}]", f"categories_basis = {_quoted(entry.basis)}"]
    return ['categories_basis = "measure"  # saves budget if public: categories = ["a", "b"] with categories_basis = "publisher"']


def _quoted(text: str) -> str:
    """A TOML basic string."""
    return json.dumps(text, ensure_ascii=True)


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"[+-]?\d+(\.\d+)?", text))
