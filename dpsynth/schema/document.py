"""From a schema document (JSON or TOML) to a `Schema`, with every fault at once."""

from __future__ import annotations

import codecs
import json
import math
import sys
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from dpsynth.errors import BadInput, Fault, refuse
from dpsynth.schema.column import DEFAULT_BINS, MAX_CATEGORIES, PRIVATE_WORDS, PUBLIC_WORDS, SERVED_TYPES, Basis, Column, ColumnType
from dpsynth.schema.impossible import Impossible, entry_faults, impossible_from
from dpsynth.schema.schema import PARTS, FileFormat, PrivacyUnit, Schema

BASIS_HELP = "start the basis with one of " + ", ".join(PUBLIC_WORDS) + " (public) or " + ", ".join(PRIVATE_WORDS) + " (measured)"
NULL_IDS = ("drop", "one-unit")
COUNTS = ("rows", "units")
UNIT_KEYS = {"unit", "columns", "max_rows", "null_ids", "count", "most_rows", "keep"}
FOR_PEOPLE = {"basis", "max_rows_basis", "note"}
MEASURE = "measure"
MOST_ROWS, KEEP = 64, 0.95
MAX_BINS = 10_000
MOST_EXACT = 2**53
LARGEST = sys.float_info.max
LEAST_WIDTH = 1e-280


def read_document(path: Path) -> dict[str, Any]:
    """Parse the file at `path`. Raises `BadInput` if it is missing or is neither JSON nor TOML."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BadInput(Fault(str(path), "no such schema file", "check the path, or draft one with `dpsynth init TABLE`")) from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(Fault(str(path), f"cannot be read as text ({type(error).__name__})", "give a JSON or TOML schema")) from None
    try:
        document = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (ValueError, RecursionError) as error:
        kind = "TOML" if path.suffix == ".toml" else "JSON"
        raise BadInput(Fault(str(path), f"not valid {kind} ({error})", "mend the file at that place")) from None
    if not isinstance(document, dict):
        raise BadInput(Fault(str(path), "not a schema", 'write an object with "name", "privacy_unit" and "columns"'))
    return document


def schema_from_document(document: dict[str, Any], where: str) -> Schema:
    """Build the schema. Raises `BadInput` naming each column at fault and the line to write."""
    faults: list[Fault] = []
    columns = _columns(document, where, faults)
    unit = _unit(document, columns, where, faults)
    n_public, source = _n_public(document, where, faults)
    name = document.get("name")
    if not isinstance(name, str) or not name:
        faults.append(Fault(where, "the table has no name", 'write name = "my_table"'))
    target = document.get("target")
    if target is not None and target not in _names(document):
        faults.append(Fault(where, f"target {target!r} is not a column", "name one of the columns"))
    file = _file(document, where, faults)
    refuse(faults)
    impossible = _impossible(document, columns, where)
    return Schema(str(name), columns, unit, file, str(document.get("title", "")), target, n_public, source, impossible)


def _names(document: dict[str, Any]) -> list[str]:
    """The columns' names, those of faulty columns too."""
    entries = document.get("columns")
    return [str(e.get("name")) for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []


def _columns(document: dict[str, Any], where: str, faults: list[Fault]) -> tuple[Column, ...]:
    entries = document.get("columns")
    if not isinstance(entries, list) or not entries or not all(isinstance(e, dict) for e in entries):
        faults.append(Fault(where, "no columns", 'write one [[columns]] table with "name" and "type" for each column'))
        return ()
    columns = []
    for position, entry in enumerate(entries, 1):
        name = entry.get("name")
        if not isinstance(name, str) or not name:
            faults.append(Fault(where, f"column {position} has no name", 'write name = "..."'))
            continue
        found = list(_column_faults(entry, f"{where}, column {name!r}"))
        faults.extend(found)
        if not found:
            columns.append(_column(entry))
    names = [e.get("name") for e in entries]
    faults.extend(
        Fault(f"{where}, column {name!r}", "declared more than once", "keep one of them")
        for name in sorted({str(n) for n in names if names.count(n) > 1})
    )
    if columns and not faults and not any(c.is_synthesised for c in columns):
        faults.append(Fault(where, "every column is an id", "declare a type other than id for what is to be synthesised"))
    return tuple(columns)


def _column_faults(entry: dict[str, Any], where: str) -> Iterator[Fault]:
    kind = entry.get("type")
    if kind not in SERVED_TYPES:
        served = ", ".join(SERVED_TYPES)
        yield Fault(where, f"type {kind!r} is not served", f"write one of {served} (id leaves the column out)")
        return
    if kind in ("categorical", "ordinal"):
        yield from _basis_faults(entry, "categories", where)
        yield from _categories_faults(entry, where)
    if kind in ("integer", "continuous"):
        yield from _basis_faults(entry, "bounds", where)
        yield from _bounds_faults(entry, where)
        yield from _bins_faults(entry, where)
        yield from _basis_faults(entry, "cuts", where)
        yield from _cuts_faults(entry, where)
    if entry.get("on_unknown", "missing") not in ("missing", "other"):
        yield Fault(where, "on_unknown is neither missing nor other", 'write on_unknown = "missing"')
    if not all(isinstance(m, str) for m in _listed(entry.get("missing"))):
        yield Fault(where, "a missing marker is not text", 'write missing = "?" or missing = ["?", "N"]')


def _basis_faults(entry: dict[str, Any], fact: str, where: str) -> Iterator[Fault]:
    basis = entry.get(f"{fact}_basis")
    if basis is None:
        if entry.get(fact) is not None:
            yield Fault(where, f"{fact} without a basis", f'write {fact}_basis = "publisher" or where else they are known from')
    elif not isinstance(basis, str) or not Basis(basis).known:
        yield Fault(where, f"{fact}_basis {basis!r} is not a known basis", BASIS_HELP)
    elif Basis(basis).public and entry.get(fact) is None:
        yield Fault(where, f"{fact}_basis is public but there are no {fact}", f'write the {fact}, or {fact}_basis = "measure"')


def _categories_faults(entry: dict[str, Any], where: str) -> Iterator[Fault]:
    categories = entry.get("categories")
    if categories is None:
        return
    found_none = categories == [] and Basis(str(entry.get("categories_basis"))).word == "released"
    if not isinstance(categories, list) or not (categories or found_none) or not all(isinstance(c, str) for c in categories):
        yield Fault(where, "categories is not a list of texts", 'write categories = ["a", "b"]')
    elif len(set(categories)) < len(categories):
        yield Fault(where, "a category is listed twice", "keep one of them")
    elif len(categories) > MAX_CATEGORIES:
        yield Fault(where, f"{len(categories):,} categories, more than {MAX_CATEGORIES:,}", 'write type = "id", or group them')
    elif any(m in categories for m in _listed(entry.get("missing"))):
        yield Fault(where, "a category is also a missing marker", "drop it from one of the two lists")


def _bounds_faults(entry: dict[str, Any], where: str) -> Iterator[Fault]:
    bounds = entry.get("bounds")
    if bounds is not None:
        if not isinstance(bounds, list) or len(bounds) != 2 or not all(map(_is_number, bounds)):
            yield Fault(where, "bounds are not two finite numbers", "write bounds = [0, 100]")
        elif bounds[0] >= bounds[1]:
            yield Fault(where, "the lower bound is not below the upper one", "write bounds = [low, high] with low < high")
        elif entry["type"] == "integer" and any(b != int(b) for b in bounds):
            yield Fault(where, "an integer column has fractional bounds", "write whole numbers")
        elif entry["type"] == "integer" and max(map(abs, bounds)) > MOST_EXACT:
            yield Fault(where, "an integer column has bounds beyond 2^53, where numbers lose digits", 'write nearer bounds, or type = "id"')
        elif not _is_cut(float(bounds[0]), float(bounds[1])):
            yield Fault(where, "the bounds are too near or too far apart to cut into bins", "write bounds that differ by a usual amount")
    special = _listed(entry.get("special"))
    if not all(map(_is_number, special)):
        yield Fault(where, "special values are not finite numbers", "write special = [-1]")
    elif entry["type"] == "integer" and any(s != int(s) or abs(s) > MOST_EXACT for s in special):
        yield Fault(where, "an integer column has fractional special values", "write whole numbers up to 2^53")


def _is_cut(low: float, high: float) -> bool:
    """Whether the widest cut, into MAX_BINS, has edges apart from each other."""
    width = (high - low) / MAX_BINS
    return math.isfinite(width) and width > LEAST_WIDTH and width > 4 * math.ulp(max(abs(low), abs(high)))


def _bins_faults(entry: dict[str, Any], where: str) -> Iterator[Fault]:
    bins = entry.get("bins", DEFAULT_BINS)
    if not isinstance(bins, int) or isinstance(bins, bool) or not 1 <= bins <= MAX_BINS:
        yield Fault(where, f"bins is not a whole number from 1 to {MAX_BINS:,}", f"write bins = {DEFAULT_BINS}")


def _cuts_faults(entry: dict[str, Any], where: str) -> Iterator[Fault]:
    cuts, bounds = entry.get("cuts"), entry.get("bounds")
    if cuts is None:
        return
    if not isinstance(cuts, list) or not all(map(_is_number, cuts)) or any(a >= b for a, b in pairwise(cuts)):
        yield Fault(where, "cuts are not finite numbers, each above the one before", "write cuts = [18, 40, 65]")
    elif len(cuts) >= MAX_BINS:
        yield Fault(where, f"{len(cuts):,} cuts make more than {MAX_BINS:,} bins", "leave some out")
    elif entry["type"] == "integer" and any(c != int(c) for c in cuts):
        yield Fault(where, "an integer column has fractional cuts", "write whole numbers")
    elif bounds is None or not Basis(str(entry.get("bounds_basis"))).public:
        yield Fault(where, "cuts without public bounds", 'write bounds = [0, 100] and bounds_basis = "publisher"')
    elif not list(_bounds_faults(entry, where)):
        edges = [bounds[0], *cuts, bounds[1] + (entry["type"] == "integer")]
        if any(b - a < LEAST_WIDTH for a, b in pairwise(edges)):
            yield Fault(where, "a cut is not inside the bounds, or too near another", "write each above the lower bound and not above the upper one")


def _column(entry: dict[str, Any]) -> Column:
    """A column from an entry without faults."""
    kind: ColumnType = next(t for t in get_args(ColumnType) if t == entry["type"])
    categories, categories_basis = _declared(entry, "categories")
    bounds, bounds_basis = _declared(entry, "bounds")
    cuts, cuts_basis = _declared(entry, "cuts")
    return Column(
        name=entry["name"],
        type=kind,
        categories=categories if categories_basis.public else None,
        observed_categories=None if categories_basis.public else categories,
        categories_basis=categories_basis if kind in ("categorical", "ordinal") else None,
        bounds=_pair(bounds) if bounds_basis.public else None,
        observed_bounds=None if bounds_basis.public else _pair(bounds),
        bounds_basis=bounds_basis if kind in ("integer", "continuous") else None,
        cuts=tuple(map(float, cuts)) if cuts is not None and cuts_basis.public else None,
        cuts_basis=cuts_basis if cuts is not None and cuts_basis.public else None,
        missing=tuple(_listed(entry.get("missing"))),
        special=tuple(float(v) for v in _listed(entry.get("special"))),
        bins=entry.get("bins", DEFAULT_BINS),
        on_unknown=entry.get("on_unknown", "missing"),
        description=str(entry.get("description", "")),
    )


def _declared(entry: dict[str, Any], fact: str) -> tuple[tuple[Any, ...] | None, Basis]:
    value = entry.get(fact)
    return (None if value is None else tuple(value)), Basis(entry.get(f"{fact}_basis", "measure"))


def _pair(bounds: tuple[Any, ...] | None) -> tuple[float, float] | None:
    return None if bounds is None else (float(bounds[0]), float(bounds[1]))


def _unit(document: dict[str, Any], columns: tuple[Column, ...], where: str, faults: list[Fault]) -> PrivacyUnit:
    nobody = PrivacyUnit("row")
    entry = document.get("privacy_unit")
    if not isinstance(entry, dict) or not isinstance(entry.get("unit"), str):
        faults.append(Fault(where, "no privacy unit", 'write privacy_unit = {unit = "row"} or {unit = "person", columns = ["id"], max_rows = 5}'))
        return nobody
    is_row = entry["unit"] == "row"
    found = list(_row_faults(document, columns, where) if is_row else _unit_faults(entry, set(_names(document)), where))
    faults.extend(found)
    return nobody if is_row or found else _privacy_unit(entry)


def _row_faults(document: dict[str, Any], columns: tuple[Column, ...], where: str) -> Iterator[Fault]:
    ids = [c.name for c in columns if c.type == "id"]
    declared = document.get("one_row_per_person")
    if ids and not (isinstance(declared, dict) and Basis(str(declared.get("basis", ""))).public):
        said = 'write one_row_per_person = {basis = "publisher"}, or name it as the unit'
        yield Fault(where, f"the unit is a row but {ids[0]!r} is an id", said)
    more = sorted(set(document["privacy_unit"]) - FOR_PEOPLE - {"unit"})
    if more:
        yield Fault(where, f"the unit is a row and has {', '.join(more)}", 'name the unit, unit = "person", or leave the rest out')


def _unit_faults(entry: dict[str, Any], known: set[str], where: str) -> Iterator[Fault]:
    unknown = sorted(set(entry) - FOR_PEOPLE - UNIT_KEYS)
    if unknown:
        yield Fault(where, f"privacy_unit has unknown keys {unknown}", f"use {', '.join(sorted(UNIT_KEYS))}")
    names = entry.get("columns")
    if not isinstance(names, list) or not names or not set(map(str, names)) <= known:
        yield Fault(where, "the unit's columns are not columns of the table", 'write columns = ["patient_id"]')
    if entry.get("null_ids", "drop") not in NULL_IDS:
        yield Fault(where, "null_ids is neither drop nor one-unit", 'write null_ids = "drop"')
    if entry.get("max_rows") == MEASURE:
        yield from _measured_rows_faults(entry, where)
    else:
        yield from _max_rows_faults(entry, where)


def _max_rows_faults(entry: dict[str, Any], where: str) -> Iterator[Fault]:
    max_rows, count = entry.get("max_rows", 1), entry.get("count", "rows")
    if not _is_whole(max_rows) or max_rows < 1:
        yield Fault(where, "max_rows is not a positive whole number", f'write max_rows = 5, or max_rows = "{MEASURE}"')
    elif count == "units" and ("max_rows" not in entry or max_rows > PARTS):
        yield Fault(where, f"units are counted and max_rows is not a number up to {PARTS:,}", "write max_rows = 40: more rows make no more noise")
    if count not in COUNTS:
        yield Fault(where, "count is neither rows nor units", 'write count = "rows"')
    for key in ("most_rows", "keep"):
        if key in entry:
            yield Fault(where, f"{key} but max_rows is not measured", f'write max_rows = "{MEASURE}", or leave {key} out')


def _measured_rows_faults(entry: dict[str, Any], where: str) -> Iterator[Fault]:
    most, keep = entry.get("most_rows", MOST_ROWS), entry.get("keep", KEEP)
    if entry.get("count", "rows") != "rows":
        yield Fault(where, "max_rows is measured but rows are not counted", 'write count = "rows"; where units are, more rows make no more noise')
    if not _is_whole(most) or not 1 <= most <= PARTS:
        yield Fault(where, f"most_rows is not a whole number from 1 to {PARTS:,}", f"write most_rows = {MOST_ROWS}")
    if not _is_number(keep) or not 0 < keep <= 1:
        yield Fault(where, "keep is not a share above 0 and up to 1", f"write keep = {KEEP}")


def _privacy_unit(entry: dict[str, Any]) -> PrivacyUnit:
    """A unit of columns from an entry without faults."""
    measured = entry.get("max_rows") == MEASURE
    return PrivacyUnit(
        name=entry["unit"],
        columns=tuple(entry["columns"]),
        max_rows=entry.get("most_rows", MOST_ROWS) if measured else entry.get("max_rows", 1),
        null_ids=entry.get("null_ids", "drop"),
        count=entry.get("count", "rows"),
        keep=float(entry.get("keep", KEEP)) if measured else None,
    )


def _n_public(document: dict[str, Any], where: str, faults: list[Fault]) -> tuple[int | None, str]:
    entry = document.get("n_public")
    if entry is None:
        return None, ""
    value = entry.get("value") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(value, int) or isinstance(value, bool) or value < 1 or not entry.get("source"):
        faults.append(Fault(where, "n_public has no value and source", 'write n_public = {value = 10000, source = "annual report"}'))
        return None, ""
    return entry["value"], str(entry["source"])


def _impossible(document: dict[str, Any], columns: tuple[Column, ...], where: str) -> tuple[Impossible, ...]:
    """The rules; read once all columns are known to be well declared. Raises `BadInput` with their faults."""
    entries, known = document.get("impossible", []), {c.name: c for c in columns}
    if not isinstance(entries, list):
        raise BadInput(Fault(f"{where}, impossible", "not a list of rules", "write one [[impossible]] table for each"))
    refuse(fault for i, entry in enumerate(entries, 1) for fault in entry_faults(entry, known, f"{where}, impossible rule {i}"))
    return tuple(impossible_from(entry, known) for entry in entries)


def _file(document: dict[str, Any], where: str, faults: list[Fault]) -> FileFormat:
    entry = document.get("file")
    if not isinstance(entry, dict):
        return FileFormat()
    unknown = set(entry) - {"separator", "encoding", "decimal"}
    if unknown:
        faults.append(Fault(where, f"[file] has unknown keys {sorted(unknown)}", "use separator, encoding, decimal"))
        return FileFormat()
    file = FileFormat(**{k: str(v) for k, v in entry.items()})
    faults.extend(_file_faults(file, where))
    return file


def _file_faults(file: FileFormat, where: str) -> Iterator[Fault]:
    if len(file.separator) != 1 or file.separator in '\r\n"':
        yield Fault(where, "[file] separator is not one character", 'write separator = ";"')
    if file.decimal not in (".", ",") or file.decimal == file.separator:
        yield Fault(where, "[file] decimal is neither . nor , or is the separator", 'write decimal = "," with separator = ";"')
    try:
        codecs.lookup(file.encoding)
    except (LookupError, ValueError):
        yield Fault(where, "[file] encoding is unknown", 'write encoding = "latin-1"')


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST
