"""What writing a fact down would save: the open points of a schema, each with its line and its cost in epsilon."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpsynth.encoding.domains import DOMAIN_SHARE
from dpsynth.privacy import gdp
from dpsynth.privacy.cost import EVENT_SHARE
from dpsynth.schema import Column, Schema

AT_EPSILON, AT_DELTA = 1.0, 1e-9


@dataclass(frozen=True)
class OpenPoint:
    """A fact that is not public yet: `line` closes it; left open it takes `epsilon` of each release at (1, 1e-9)."""

    column: str
    what: str
    line: str
    epsilon: float


def open_points(schema: Schema) -> Iterator[OpenPoint]:
    """Every open point at once."""
    opened = [c for c in schema.synthesised if c.is_open]
    for column in opened:
        yield OpenPoint(column.name, *_missing_fact(column), epsilon=_saved(DOMAIN_SHARE / len(opened)))
    if not schema.unit.is_row and schema.unit.max_rows == 1:
        columns = ", ".join(f'"{c}"' for c in schema.unit.columns)
        line = f'privacy_unit = {{unit = "{schema.unit.name}", columns = [{columns}], max_rows = 1}}'
        yield OpenPoint(", ".join(schema.unit.columns), f"one row of each {schema.unit.name} counts; more make the noise larger", line, 0.0)
    if schema.n_public is None:
        yield OpenPoint("", "the number of rows is private; plan needs --units", 'n_public = {value = 10000, source = "annual report"}', 0.0)


def _missing_fact(column: Column) -> tuple[str, str]:
    if column.is_number:
        return "bounds are not public: measured", 'bounds = [low, high]\nbounds_basis = "publisher"'
    return "categories are not public: measured, with event delta", 'categories = ["a", "b"]\ncategories_basis = "publisher"'


def _saved(share: float) -> float:
    """The epsilon by which a release at (1, 1e-9) shrinks when `share` of its mu squared goes elsewhere."""
    mu = gdp.mu_of(AT_EPSILON, AT_DELTA * (1 - EVENT_SHARE))
    return AT_EPSILON - gdp.epsilon_of(AT_DELTA * (1 - EVENT_SHARE), mu * (1 - share) ** 0.5)
