"""A table before it is read: its column names are known, its cells are not touched until `rows()`.

What the header and the format say may refuse (`BadInput`); what cells hold never does.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dpsynth.errors import BadInput, Fault
from dpsynth.schema import FileFormat, Schema

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SEPARATORS = ";\t|,"
LONGEST_HEADER = 1 << 20


class Table(Protocol):
    """Rows of people, not read yet. `address` is where a later process finds them again, if it can."""

    @property
    def where(self) -> str: ...

    @property
    def address(self) -> str | None: ...

    def header(self) -> tuple[str, ...]: ...

    def rows(self) -> pd.DataFrame: ...


@dataclass(frozen=True, eq=False)
class FrameTable:
    """A frame in memory."""

    frame: pd.DataFrame
    where: str = "the frame"
    address: str | None = None

    def header(self) -> tuple[str, ...]:
        return tuple(map(str, self.frame.columns))

    def rows(self) -> pd.DataFrame:
        return self.frame


@dataclass(frozen=True)
class FileTable:
    """A CSV (plain or .gz), read as text, or a Parquet file."""

    path: Path
    format: FileFormat = field(default_factory=FileFormat)

    @property
    def where(self) -> str:
        return str(self.path)

    @property
    def address(self) -> str:
        return str(self.path.absolute())

    @property
    def is_parquet(self) -> bool:
        return self.path.suffix in (".parquet", ".pq")

    def header(self) -> tuple[str, ...]:
        """Column names, from the first line or the Parquet footer. Raises `BadInput` if it is no table."""
        if not self.path.is_file():
            raise BadInput(Fault(self.where, "no such file", "check the path of the table"))
        return self._parquet_header() if self.is_parquet else self._csv_header()

    def _parquet_header(self) -> tuple[str, ...]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return tuple(pq.read_schema(self.path).names)
        except (pa.ArrowException, OSError):
            raise BadInput(Fault(self.where, "not a Parquet file", "give a Parquet, CSV or CSV.gz file")) from None

    def _csv_header(self) -> tuple[str, ...]:
        not_a_table = Fault(self.where, "not a table", "give a CSV, CSV.gz or Parquet file whose first line names the columns")
        try:
            with (gzip.open if self.path.suffix == ".gz" else open)(self.path, "rb") as file:
                line = file.readline(LONGEST_HEADER)
            text = line.decode("utf-8-sig" if self.format.encoding.lower() in ("utf-8", "utf8") else self.format.encoding)
            names = next(csv.reader([text.rstrip("\r\n")], delimiter=self.format.separator))
        except (OSError, EOFError, UnicodeDecodeError, LookupError, csv.Error, StopIteration, TypeError, ValueError, zlib.error):
            raise BadInput(not_a_table) from None
        if not text.strip() or "\x00" in text:
            raise BadInput(not_a_table)
        return tuple(names)

    def rows(self) -> pd.DataFrame:
        """All rows, as text (CSV, a line a record) or as stored (Parquet). Total on cells: a broken byte is replaced."""
        import numpy as np
        import pandas as pd

        if self.is_parquet:
            return self._stored()
        lines = self._lines()
        names = next(lines)
        records = [_record(cells, len(names)) for cells in lines]
        columns = zip(*records, strict=True) if records else ((),) * len(names)
        return pd.DataFrame({name: np.array(cells, dtype=object) for name, cells in zip(names, columns, strict=True)})

    def _stored(self) -> pd.DataFrame:
        """The cells of a Parquet file, each as stored: pandas' own reader makes floats of a column of integers for one that is missing."""
        import pandas as pd
        import pyarrow.parquet as pq

        table = pq.read_table(self.path)
        frame = pd.DataFrame(dict(enumerate(map(_objects, table.columns))), index=range(table.num_rows))
        return frame.set_axis(table.column_names, axis=1)

    def longer_rows(self) -> Iterator[int]:
        """Which rows of a CSV, from 1, have more cells than the header has names. `rows()` reads none of what is beyond."""
        if not self.is_parquet:
            lines = self._lines()
            width = len(next(lines))
            yield from (row for row, cells in enumerate(lines, 1) if len(cells) > width)

    def _lines(self) -> Iterator[list[str]]:
        """The cells of the header and of each row. A line is a row whatever the lines around it hold: a quote that does not close ends
        with its line, so that no person's row can swallow or move another's."""
        encoding = "utf-8-sig" if self.format.encoding.lower() in ("utf-8", "utf8") else self.format.encoding
        opened = gzip.open if self.path.suffix == ".gz" else open
        with opened(self.path, "rt", encoding=encoding, errors="replace") as file:
            names = _cells(next(file, ""), self.format.separator)
            yield names
            yield from (_cells(line, self.format.separator) for line in file if line.strip() or len(names) == 1)


def _objects(column: pa.ChunkedArray) -> pd.Series:
    """The cells of a column. Numbers all at once, which gives each what it gives by itself; else one by one, None where there is no such object."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        numbers: pd.Series = column.to_pandas(integer_object_nulls=True)
        return numbers
    return pd.Series(np.fromiter(map(_object, column), dtype=object, count=len(column)), dtype=object)


def _object(cell: pa.Scalar) -> object:
    try:
        return cell.as_py()
    except Exception:  # a date of the year 10000, or broken text: it must not refuse, and what it says must not get out
        return None


def _record(cells: list[str], width: int) -> list[str]:
    """A row's cells, filled up or cut to `width`."""
    return cells[:width] + [""] * (width - len(cells))


def _cells(line: str, separator: str) -> list[str]:
    line = line.rstrip("\r\n")
    if '"' in line:
        try:
            return next(csv.reader([line], delimiter=separator))
        except (csv.Error, StopIteration):
            pass
    return line.split(separator)


def open_table(path: str | Path, schema: Schema) -> FileTable:
    """The file behind `path`, in the schema's format. Nothing is read yet."""
    return FileTable(Path(path), schema.file)


def header_faults(table: Table, schema: Schema) -> Iterator[Fault]:
    """What in the header disagrees with the schema, all at once."""
    try:
        names = table.header()
    except BadInput as error:
        yield from error.faults
        return
    if len(names) == 1 and len(schema.columns) > 1:
        guess = max(SEPARATORS, key=names[0].count)
        spelled = repr(guess).strip("'") if names[0].count(guess) else "another separator"
        yield Fault(table.where, f"one column found; is it `{spelled}`?", f'write [file] separator = "{spelled}" in the schema')
        return
    if not set(names) & set(schema.names):
        yield Fault(table.where, "none of the schema's columns is in the first line", "check that it names the columns, as the schema does")
        return
    for name in sorted({n for n in names if names.count(n) > 1}):
        yield Fault(f"{table.where}, column {name!r}", "appears more than once", "rename one of them")
    for name in schema.names:
        if name not in names:
            yield Fault(f"{table.where}, column {name!r}", "in the schema but not in the table", "add it, or drop it from the schema")
    for name in dict.fromkeys(names):
        if name not in schema.names:
            line = f'add [[columns]] name = "{name}", type = "id" to leave it out'
            yield Fault(f"{table.where}, column {name!r}", "in the table but not in the schema", line)
