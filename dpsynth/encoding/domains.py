"""The finite domain of each column: from the schema where it is public, measured under a charge where it is not.

Open categories are found by a threshold on the number of distinct units that hold them; open bounds by noisy counts on a
public ladder of powers of two; where to cut numbers into bins, by `binning.py`. What is found is a released value: the columns
returned say so in their basis.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dpsynth.encoding.binning import RELEASED, bins_of, is_cut_by_counts, with_measured_cuts
from dpsynth.privacy import Attribute, Bins, Categories, PrivateTable
from dpsynth.schema import Column, Schema

# Of a grant: for open bounds and categories together, if there are any; for all cuts together, at most.
DOMAIN_SHARE, CUTS_SHARE = 0.1, 0.02
LADDER = (*(-(2.0**k) for k in range(40, -11, -1)), 0.0, *(2.0**k for k in range(-10, 41)))
CLEAR_OF_NOISE = 4.0


def needs_events(schema: Schema) -> bool:
    """Whether a release of `schema` needs event delta: it does if some categories are unknown."""
    return any(c.is_open and not c.is_number for c in schema.synthesised)


def domain_share(schema: Schema) -> float:
    """The share of a grant that measuring domains takes, at most."""
    columns = schema.synthesised
    return DOMAIN_SHARE * any(c.is_open for c in columns) + CUTS_SHARE * any(map(is_cut_by_counts, columns))


def public_attribute(column: Column) -> Attribute:
    """The attribute of a column whose domain is known; numbers without cuts in public bins."""
    if column.is_number:
        return bins_of(column)
    if column.categories is None:
        raise ValueError(f"the categories of {column.name!r} are not known yet")
    return Categories(column, column.categories)


def released_attributes(table: PrivateTable, of_events: float = 1.0) -> tuple[Attribute, ...]:
    """Attributes of all synthesised columns: open ones are closed first, in equal parts of their share of the grant, then numbers are cut.

    Args:
        of_events: the share of the event delta that open categories may take.
    """
    amount = table.left.amount
    columns = _closed(table, amount * DOMAIN_SHARE, of_events)
    part = amount * CUTS_SHARE / max(sum(map(is_cut_by_counts, columns)), 1)
    return tuple(public_attribute(with_measured_cuts(table, c, part) if is_cut_by_counts(c) else c) for c in columns)


def _closed(table: PrivateTable, amount: float, of_events: float) -> tuple[Column, ...]:
    """All synthesised columns, the open ones measured."""
    columns = table.schema.synthesised
    opened = [c for c in columns if c.is_open]
    named = sum(not c.is_number for c in opened)
    delta = table.left.event_delta * of_events * (1 - 1e-9) / max(named, 1)
    return tuple(_measured(table, c, amount / len(opened), delta) if c.is_open else c for c in columns)


def _measured(table: PrivateTable, column: Column, amount: float, delta: float) -> Column:
    if column.is_number:
        return replace(column, bounds=_bounds(table, column, amount), bounds_basis=RELEASED, observed_bounds=None)
    sigma = table.discovery_sigma(amount)
    found = table.discover(column, sigma, delta)
    return replace(column, categories=found, categories_basis=RELEASED, observed_categories=None)


def _bounds(table: PrivateTable, column: Column, amount: float) -> tuple[float, float]:
    """The span of the rungs whose noisy counts stand clear of the noise; (0, 1) if none does."""
    rungs = tuple(r for r in LADDER if r == int(r)) if column.type == "integer" else LADDER
    sigma = table.sigma(amount)
    counts = table.marginal([Bins(column, rungs, column.special)], sigma)[: len(rungs) - 1]
    clear = np.flatnonzero(counts > CLEAR_OF_NOISE * sigma)
    return (rungs[clear[0]], rungs[clear[-1] + 1]) if len(clear) else (0.0, 1.0)
