"""Privacy units: who a row belongs to, which of a unit's rows are kept, and which side of a split it falls on.

Statement. All three are functions of a secret key and of the unit's own rows only: never of file position, never of
another unit's rows. So adding or removing one unit adds or removes its rows (at most max_rows of them after
bounding) and moves nothing else.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd

from dpsynth.schema.cells import read_text
from dpsynth.schema.schema import Schema

KEY_BYTES = 32


def new_key() -> bytes:
    """A fresh secret key from the operating system."""
    return secrets.token_bytes(KEY_BYTES)


def unit_ids(frame: pd.DataFrame, schema: Schema) -> list[bytes | None]:
    """Each row's unit, length n. A row without an id is None where the schema drops such rows, else one shared unit.

    Where the unit is the row, the id is the row's canonical bytes with the number of its occurrence, so identical
    rows are distinct units.
    """
    if schema.unit.is_row:
        return list(_numbered(_row_bytes(frame, schema)))
    columns = [read_text(frame[name], schema.column(name)) for name in schema.unit.columns]
    nobody = b"\x00no id" if schema.unit.null_ids == "one-unit" else None
    return [nobody if any(c is None for c in cells) else _joined(cells) for cells in zip(*columns, strict=True)]


def keyed_uniform(key: bytes, purpose: str, ids: Iterable[bytes]) -> npt.NDArray[np.float64]:
    """Independent uniform draws in [0, 1), one per id, the same for the same key, purpose and id."""
    person = hashlib.blake2b(purpose.encode(), digest_size=16).digest()
    words = b"".join(hashlib.blake2b(i, key=key, person=person, digest_size=8).digest() for i in ids)
    return (np.frombuffer(words, dtype="<u8") >> np.uint64(11)).astype(np.float64) / 2.0**53


def kept_rows(frame: pd.DataFrame, schema: Schema, key: bytes) -> npt.NDArray[np.int64]:
    """Positions of the rows that count: at most max_rows of each unit, chosen by the key; all rows where the unit is the row."""
    if schema.unit.is_row:
        return np.arange(len(frame))
    units = unit_ids(frame, schema)
    ordinals = _numbered((u or b"") + b"\x1e" + row for u, row in zip(units, _row_bytes(frame, schema), strict=True))
    order = np.argsort(keyed_uniform(key, "rows of a unit", ordinals), kind="stable")
    seen: Counter[bytes] = Counter()
    kept = []
    for position in order:
        unit = units[position]
        if unit is not None and seen[unit] < schema.unit.max_rows:
            seen[unit] += 1
            kept.append(position)
    return np.sort(np.array(kept, dtype=np.int64))


def _row_bytes(frame: pd.DataFrame, schema: Schema) -> list[bytes]:
    columns = [read_text(frame[c.name], c) for c in schema.columns]
    return [_joined(cells) for cells in zip(*columns, strict=True)]


def _joined(cells: Iterable[str | None]) -> bytes:
    """Canonical bytes of cells: length-prefixed, so that no two rows share them unless they are equal."""
    return b"".join(b"-" if c is None else b"%d:" % len(c) + c.encode("utf-8", "surrogatepass") for c in cells)


def _numbered(rows: Iterable[bytes]) -> Iterable[bytes]:
    seen: Counter[bytes] = Counter()
    for row in rows:
        seen[row] += 1
        yield row + b"#%d" % seen[row]
