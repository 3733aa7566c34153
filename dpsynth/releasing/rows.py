"""The released rows: one table, spelled the same in Parquet and in CSV, and checked against the schema.

A missing cell is null in Parquet and the schema's marker in CSV. A category is text, an integer is int64, any other number float64.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dpsynth.schema import Basis, Column, Schema
from dpsynth.schema.impossible import impossible_rows

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

MARK, ID = b"synthetic", b"certificate"
UNKNOWN = Basis("measure")
DICTIONARY = ("name", "label", "type", "min", "max", "values", "missing", "unit")


def released_schema(schema: Schema, certificate_id: str) -> Schema:
    """The schema as the public may see it: measured domains by their certificate, nothing that was merely observed."""
    basis = Basis(f"publisher: measured with noise, certificate {certificate_id}")
    return replace(schema, file=type(schema.file)(), columns=tuple(_released_column(c, basis) for c in schema.columns))


def _released_column(column: Column, measured: Basis) -> Column:
    bare = replace(column, observed_categories=None, observed_bounds=None, categories=column.categories or None)
    if bare.categories is not None and not (bare.categories_basis and bare.categories_basis.public):
        return replace(bare, categories_basis=measured)
    if bare.bounds is not None and not (bare.bounds_basis and bare.bounds_basis.public):
        return replace(bare, bounds_basis=measured)
    if not bare.is_open:
        return bare
    return replace(bare, bounds_basis=UNKNOWN) if bare.is_number else replace(bare, categories_basis=UNKNOWN)


def dictionary_of(schema: Schema) -> tuple[dict[str, str], ...]:
    """A data dictionary of the released columns, as `dpsynth init --dictionary` reads it."""
    return tuple(
        {
            "name": c.name,
            "label": c.description,
            "type": c.type,
            "min": "" if c.bounds is None else _figure(c.bounds[0]),
            "max": "" if c.bounds is None else _figure(c.bounds[1]),
            "values": "|".join(c.categories or ()),
            "missing": "|".join(c.missing),
            "unit": "",
        }
        for c in schema.synthesised
    )


def _figure(value: float) -> str:
    """The shortest spelling that reads back to the same number."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def to_arrow(frame: pd.DataFrame, schema: Schema, certificate_id: str) -> pa.Table:
    """The table as it is released. Raises `ValueError` naming a column whose cells are not of its type."""
    import pyarrow as pa

    names = [c.name for c in schema.synthesised]
    if list(frame.columns) != names:
        raise ValueError("the columns are not the schema's, in the schema's order")
    kinds = [(c.name, pa.int64() if c.type == "integer" else pa.float64() if c.is_number else pa.string()) for c in schema.synthesised]
    arrays = [pa.array(_cells(frame[c.name], c), type=kind) for c, (_, kind) in zip(schema.synthesised, kinds, strict=True)]
    return pa.table(arrays, schema=pa.schema(kinds, metadata={MARK: b"true", ID: certificate_id.encode()}))


def parquet_bytes(table: pa.Table) -> bytes:
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()


def csv_bytes(table: pa.Table, schema: Schema) -> bytes:
    """UTF-8, comma, one line feed a row; numbers in the shortest spelling that reads back to the same number."""
    columns = [_spelled(table.column(c.name).to_pylist(), c) for c in schema.synthesised]
    return lines_bytes(list(table.column_names), zip(*columns, strict=True))


def lines_bytes(header: list[str], lines: Any) -> bytes:
    """Any lines of text as the CSV of this project."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return text.getvalue().encode()


def row_faults(table: pa.Table, schema: Schema, certificate_id: str) -> Iterator[str]:
    """Where a table read from a bundle is not one of `schema`; names columns, never a cell."""
    import pyarrow as pa

    if table.column_names != [c.name for c in schema.synthesised]:
        yield "the columns are not the schema's, in the schema's order"
        return
    metadata = table.schema.metadata or {}
    if metadata.get(MARK) != b"true" or metadata.get(ID) != certificate_id.encode():
        yield "the Parquet metadata do not say synthetic=true and the certificate's id"
    for column in schema.synthesised:
        cells = table.column(column.name)
        kind = pa.int64() if column.type == "integer" else pa.float64() if column.is_number else pa.string()
        if cells.type != kind:
            yield f"column {column.name!r} is {cells.type}, not {kind}"
        elif not (_numbers_fit(cells, column) if column.is_number else _categories_fit(cells, column)):
            yield f"column {column.name!r} holds a value outside its released {'bounds' if column.is_number else 'categories'}"
    if schema.impossible and impossible_rows(schema.impossible, table.to_pandas(), {c.name: c for c in schema.columns}).any():
        yield "a row holds cells that the schema says are impossible together"


def _numbers_fit(cells: Any, column: Column) -> bool:
    import numpy as np

    values = cells.drop_null().to_numpy().astype(np.float64)
    if not np.isfinite(values).all():
        return False
    low, high = column.bounds or (-np.inf, np.inf)
    return bool((((values >= low) & (values <= high)) | np.isin(values, column.special)).all())


def _categories_fit(cells: Any, column: Column) -> bool:
    if column.categories is None:
        return bool(cells.null_count == len(cells))
    allowed = {*column.categories, *(("other",) if column.on_unknown == "other" else ())}
    return set(cells.drop_null().unique().to_pylist()) <= allowed


def _cells(cells: pd.Series, column: Column) -> list[Any]:
    """Python values, None where missing."""
    gone = cells.isna().to_numpy()
    if not column.is_number:
        return [None if g or str(v) in column.missing else str(v) for v, g in zip(cells.astype(object), gone, strict=True)]
    values = [None if g or (isinstance(v, str) and v in column.missing) else v for v, g in zip(cells.astype(object), gone, strict=True)]
    if column.type == "integer" and any(v is not None and int(v) != v for v in values):
        raise ValueError(f"column {column.name!r} holds a number that is not whole")
    return [None if v is None else int(v) if column.type == "integer" else float(v) for v in values]


def _spelled(values: list[Any], column: Column) -> list[str]:
    return [column.marker if v is None else repr(v) if isinstance(v, float) else str(v) for v in values]
