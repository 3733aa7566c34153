"""The schema of a table: columns, file format, privacy unit. Loaded from JSON or TOML; immutable."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from dpsynth.schema.column import Basis, Column
from dpsynth.schema.impossible import Impossible

# Of so many whole parts a unit's count is made where units are counted: a share of it is a whole number, and so is what noise is added to.
PARTS = 2**10


@dataclass(frozen=True)
class PrivacyUnit:
    """Whose data one must be able to add or remove: a row, or all rows that share an id.

    Attributes:
        columns: those of the id; empty when each row is a unit.
        max_rows: the most rows of one unit that count, chosen by a secret key; one where the schema does not say.
        null_ids: rows without an id count nowhere (`drop`) or are all of one unit (`one-unit`).
        count: what counts are of. `rows`: each row that counts is one. `units`: each unit is one, shared evenly over its rows, so
            that distributions are those of a row drawn from a unit drawn at random.
        keep: None where `max_rows` is final. Else the share of the units that ought to be left whole: how many rows that takes, up to
            `max_rows`, is measured under a charge.
    """

    name: str
    columns: tuple[str, ...] = ()
    max_rows: int = 1
    null_ids: str = "drop"
    count: Literal["rows", "units"] = "rows"
    keep: float | None = None

    @property
    def is_row(self) -> bool:
        return not self.columns

    def to_dict(self) -> dict[str, Any]:
        """The entry of a schema document."""
        if self.is_row:
            return {"unit": self.name}
        document = {"unit": self.name, "columns": list(self.columns), "max_rows": self.max_rows, "null_ids": self.null_ids}
        if self.count != "rows":
            document["count"] = self.count
        return document if self.keep is None else document | {"max_rows": "measure", "most_rows": self.max_rows, "keep": self.keep}


@dataclass(frozen=True)
class FileFormat:
    """How a CSV spells its cells."""

    separator: str = ","
    encoding: str = "utf-8"
    decimal: str = "."


@dataclass(frozen=True)
class Schema:
    """What is public about a table.

    Attributes:
        name: the population's name; a ledger serves one population.
        columns: in the file's order, at least one of them synthesised.
        unit: the privacy unit.
        n_public: how many units the table is about (rows, where each is its own), if that is public knowledge (with its source), else None.
        impossible: combinations of cells that no row holds, so no synthetic one either.
    """

    name: str
    columns: tuple[Column, ...]
    unit: PrivacyUnit
    file: FileFormat = FileFormat()
    title: str = ""
    target: str | None = None
    n_public: int | None = None
    n_public_source: str = ""
    impossible: tuple[Impossible, ...] = ()

    @classmethod
    def load(cls, path: str | Path) -> Schema:
        """Read a schema file, JSON or TOML. Raises `BadInput` with all faults at once."""
        from dpsynth.schema.document import read_document, schema_from_document

        return schema_from_document(read_document(Path(path)), str(path))

    @classmethod
    def from_dict(cls, document: dict[str, Any], where: str = "schema") -> Schema:
        """The same from a parsed document."""
        from dpsynth.schema.document import schema_from_document

        return schema_from_document(document, where)

    @property
    def synthesised(self) -> tuple[Column, ...]:
        return tuple(c for c in self.columns if c.is_synthesised)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns)

    def column(self, name: str) -> Column:
        return next(c for c in self.columns if c.name == name)

    def with_columns(self, columns: tuple[Column, ...]) -> Schema:
        return replace(self, columns=columns)

    def with_unit(self, unit: PrivacyUnit) -> Schema:
        return replace(self, unit=unit)

    def to_dict(self) -> dict[str, Any]:
        """A JSON document that `load` reads back to an equal schema."""
        document: dict[str, Any] = {"name": self.name, "title": self.title, "privacy_unit": self.unit.to_dict()}
        if self.target:
            document["target"] = self.target
        if self.n_public is not None:
            document["n_public"] = {"value": self.n_public, "source": self.n_public_source}
        if self.file != FileFormat():
            document["file"] = vars(self.file)
        if self.unit.is_row and any(c.type == "id" for c in self.columns):
            document["one_row_per_person"] = {"basis": "judgement"}
        if self.impossible:
            document["impossible"] = [rule.to_dict() for rule in self.impossible]
        return document | {"columns": [_column_document(c) for c in self.columns]}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False)


def _column_document(column: Column) -> dict[str, Any]:
    document: dict[str, Any] = {"name": column.name, "type": column.type}
    if column.is_number:
        document |= _fact("bounds", column.bounds, column.observed_bounds, column.bounds_basis)
        document["bins"] = column.bins
        if column.cuts is not None:
            document |= _fact("cuts", column.cuts, None, column.cuts_basis)
        if column.special:
            document["special"] = list(column.special)
    elif column.is_synthesised:
        document |= _fact("categories", column.categories, column.observed_categories, column.categories_basis)
        if column.on_unknown != "missing":
            document["on_unknown"] = column.on_unknown
    if column.missing:
        document["missing"] = list(column.missing)
    if column.description:
        document["description"] = column.description
    return document


def _fact(key: str, public: tuple[Any, ...] | None, observed: tuple[Any, ...] | None, basis: Basis | None) -> dict[str, Any]:
    value = public if public is not None else observed
    return {key: None if value is None else list(value), f"{key}_basis": basis.text if basis else "measure"}
