"""What writing a fact down would save: the open points of a schema, each with its line and its cost in epsilon."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpsynth.encoding.binning import is_cut_by_counts
from dpsynth.encoding.domains import CUTS_SHARE, DOMAIN_SHARE
from dpsynth.privacy import bounding, gdp
from dpsynth.privacy.cost import EVENT_SHARE
from dpsynth.schema import Column, PrivacyUnit, Schema

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
    numbers = sum(map(is_cut_by_counts, schema.synthesised))
    if numbers:
        what = f"{numbers} number{'s are' if numbers > 1 else ' is'} cut into bins by noisy counts"
        yield OpenPoint("", what, 'cuts = [18, 40, 65]\ncuts_basis = "publisher"', _saved(CUTS_SHARE))
    yield from _unit_points(schema.unit)
    if schema.n_public is None:
        yield OpenPoint("", "the number of rows is private; plan needs --units", 'n_public = {value = 10000, source = "annual report"}', 0.0)


def _unit_points(unit: PrivacyUnit) -> Iterator[OpenPoint]:
    """What else may be written of a unit with several rows."""
    if unit.is_row or unit.count == "units":
        return
    columns = ", ".join(f'"{c}"' for c in unit.columns)
    entry = f'privacy_unit = {{unit = "{unit.name}", columns = [{columns}], '
    whole = f'{entry}max_rows = 40, count = "units"}}  # each {unit.name} counts as one, shared over its rows: the noise of one row'
    if unit.keep is not None:
        what = f"how many rows of each {unit.name} count is measured; they make the noise that many times as large"
        yield OpenPoint(", ".join(unit.columns), what, f"{entry}max_rows = 3}}  # or\n{whole}", _saved(bounding.SHARE))
    elif unit.max_rows == 1:
        what = f"one row of each {unit.name} counts; more make the noise larger"
        measured = f'{entry}max_rows = "measure"}}  # as many as leave most of them whole; or'
        yield OpenPoint(", ".join(unit.columns), what, f"{entry}max_rows = 1}}  # or\n{measured}\n{whole}", 0.0)


def _missing_fact(column: Column) -> tuple[str, str]:
    if column.is_number:
        return "bounds are not public: measured", 'bounds = [low, high]\nbounds_basis = "publisher"'
    return "categories are not public: measured, with event delta", 'categories = ["a", "b"]\ncategories_basis = "publisher"'


def _saved(share: float) -> float:
    """The epsilon by which a release at (1, 1e-9) shrinks when `share` of its mu squared goes elsewhere."""
    mu = gdp.mu_of(AT_EPSILON, AT_DELTA * (1 - EVENT_SHARE))
    return AT_EPSILON - gdp.epsilon_of(AT_DELTA * (1 - EVENT_SHARE), mu * (1 - share) ** 0.5)
