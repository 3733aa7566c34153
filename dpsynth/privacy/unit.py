"""Privacy units: who a row belongs to, which of a unit's rows count and for how much, and which side of a split it falls on.

Statement. All of it is a function of a secret key and of the unit's own rows only: never of another unit's rows, nor of
where in the file it stands. So adding or removing one unit adds or removes its rows (at most max_rows of them after
bounding), each with its own weight, and moves nothing else.

Sensitivity. Where rows are counted, a unit is at most m = max_rows rows of weight 1. Where units are counted, a unit is PARTS parts
in all, whole numbers shared evenly over its k <= m rows that count: floor(PARTS / k) each, and one more for the first
PARTS mod k of them by the key. Whatever cells these rows fall in, they move the counts by PARTS parts in L1, hence by at most
that in L2: by 1, however many rows the unit has. What is then released is about a row drawn from a unit drawn at random.

A row without an id counts nowhere, or all such rows are one unit, with bounds and weight like any other: as the schema says. That unit
is protected as a whole; who is only a part of it, being removed, changes a unit, which is a removal and an addition: twice the mu.

Ids are the same where their text is, or where a `.0` is all that sets them apart, which whole numbers get in a file that lacks some ids.

References: Wilson et al. 2020 (arXiv 1909.01917), bounding by unit; Amin et al. 2019 (ICML), what bounds cost and spare.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from dpsynth.schema.cells import read_text
from dpsynth.schema.schema import PARTS, PrivacyUnit, Schema

Whole = npt.NDArray[np.int64]
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
    columns = [map(_without_point, read_text(frame[name], schema.column(name))) for name in schema.unit.columns]
    nobody = b"\x00no id" if schema.unit.null_ids == "one-unit" else None
    return [nobody if any(c is None for c in cells) else _joined(cells) for cells in zip(*columns, strict=True)]


def keyed_uniform(key: bytes, purpose: str, ids: Iterable[bytes]) -> npt.NDArray[np.float64]:
    """Independent uniform draws in [0, 1), one per id, the same for the same key, purpose and id."""
    person = hashlib.blake2b(purpose.encode(), digest_size=16).digest()
    words = b"".join(hashlib.blake2b(i, key=key, person=person, digest_size=8).digest() for i in ids)
    return (np.frombuffer(words, dtype="<u8") >> np.uint64(11)).astype(np.float64) / 2.0**53


@dataclass(frozen=True, eq=False)
class Kept:
    """The rows that count.

    Attributes:
        positions: in the table's order, shape (k,).
        parts: how many of its unit's parts each row stands for, shape (k,); None where each row is a count of its own.
    """

    positions: Whole
    parts: Whole | None = None


def bound(frame: pd.DataFrame, schema: Schema, key: bytes) -> Kept:
    """At most max_rows rows of each unit, chosen by the key; all rows where the unit is the row."""
    if schema.unit.is_row:
        return Kept(np.arange(len(frame)))
    draws = keyed_uniform(key, "rows of a unit", _numbered(_row_bytes(frame, schema)))  # its bytes hold a row's id: equal ones are one unit's
    owners, _ = pd.factorize(np.array(unit_ids(frame, schema), dtype=object), use_na_sentinel=True)
    places, held = _places(owners, draws)
    kept = np.flatnonzero((owners >= 0) & (places < schema.unit.max_rows))
    if schema.unit.count == "rows":
        return Kept(kept)
    return Kept(kept, _shared_out(places[kept], np.minimum(held[kept], schema.unit.max_rows)))


def kept_rows(frame: pd.DataFrame, schema: Schema, key: bytes) -> Whole:
    """Positions of the rows that count."""
    return bound(frame, schema, key).positions


def rows_of_units(frame: pd.DataFrame, schema: Schema) -> Whole:
    """How many rows each unit has before any are left out, shape (units,)."""
    return np.array(list(Counter(u for u in unit_ids(frame, schema) if u is not None).values()), dtype=np.int64)


def parts_of_one(unit: PrivacyUnit) -> int:
    """Of how many whole parts a count of one is made."""
    return PARTS if unit.count == "units" else 1


def most_moved(unit: PrivacyUnit) -> int:
    """By how much one unit moves the counts of a marginal at most, in L1 and in L2: each of its rows by 1, or all of them by 1."""
    return 1 if unit.count == "units" else unit.max_rows


def _places(owners: Whole, draws: npt.NDArray[np.float64]) -> tuple[Whole, Whole]:
    """Each row's place among its owner's rows by their draws, from 0, and how many those are."""
    order = np.lexsort((draws, owners))
    sizes = np.bincount(owners + 1)
    places = np.empty(len(owners), dtype=np.int64)
    places[order] = np.arange(len(owners)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return places, sizes[owners + 1]


def _shared_out(places: Whole, rows: Whole) -> Whole:
    """A unit's parts over its rows: as even as whole numbers are, one more for the first by the key."""
    return PARTS // rows + (places < PARTS % rows)


def _without_point(text: str | None) -> str | None:
    return text[:-2] if text is not None and text.endswith(".0") and text[:-2].removeprefix("-").isdecimal() else text


def _row_bytes(frame: pd.DataFrame, schema: Schema) -> list[bytes]:
    """The same for two rows only where all of their cells are read alike: else which of them is the first would matter."""
    columns = [_told_apart(frame[c.name], read_text(frame[c.name], c), schema.file.decimal) for c in schema.columns]
    return [_joined(cells) for cells in zip(*columns, strict=True)]


def _told_apart(cells: pd.Series, texts: Iterable[str | None], decimal: str) -> Iterable[str | None]:
    """Texts, with the kind of their cells where that decides how a number is read: in a file with decimal commas the text `1.5` is 15."""
    if decimal == ".":
        return texts
    return (t if t is None else ("text " if isinstance(c, str) else "other ") + t for c, t in zip(cells, texts, strict=True))


def _joined(cells: Iterable[str | None]) -> bytes:
    """Canonical bytes of cells: length-prefixed, so that no two rows share them unless they are equal."""
    return b"".join(b"-" if c is None else b"%d:" % len(c) + c.encode("utf-8", "surrogatepass") for c in cells)


def _numbered(rows: Iterable[bytes]) -> Iterable[bytes]:
    seen: Counter[bytes] = Counter()
    for row in rows:
        seen[row] += 1
        yield row + b"#%d" % seen[row]
