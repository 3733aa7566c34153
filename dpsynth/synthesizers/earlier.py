"""An earlier model: what a release that is paid for already says of the marginals that it measured, as potentials to start from.

Statement. A fit that starts from an earlier model is (epsilon, delta)-DP whatever that model says: to the fit it is a constant, like a
schema. That the two together keep what was promised takes that the earlier one was charged for, so only a model that a ledger
paid for is suited.

Sensitivity: none; no row is asked here. What the new rows say is measured as without an earlier model.

Reference: Liu, Vietri, Steinke, Ullman, Wu 2021 (arXiv 2102.08598), who start multiplicative weights from public data. Here the
start is a released model, no rows, and of it only what it measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from dpsynth.errors import Fault
from dpsynth.graphical import Clique, Factor, Graph, Measurement, estimate
from dpsynth.schema import Column, Schema
from dpsynth.synthesizers.model import Model
from dpsynth.synthesizers.source import Graphical
from dpsynth.synthesizers.views import Views

DRAWN = 100_000
NOISE = math.sqrt(DRAWN * 1e-4)  # of a count: what chance does to a cell of a ten-thousandth
EVEN = 1e-3  # of the rows drawn: what every cell has a part of, for what they do not show may still be


def earlier_faults(earlier: Any, schema: Schema) -> list[Fault]:
    """Why a fit on a table of this schema can not start from `earlier`."""
    if not isinstance(earlier, Model):
        return [Fault("earlier", "is not a model", 'give one that was released: dpsynth.load("model.npz")')]
    faults = []
    if earlier.stamp != "ledgered":
        faults.append(Fault("earlier", f"this model is {earlier.stamp}", "give one whose fit a ledger paid for: fit(ledger.table(frame, schema))"))
    if not isinstance(earlier.source, Graphical):
        faults.append(Fault("earlier", f"a model of {earlier.generator} is no model of marginals", "give one of aim, mst, privbayes or mwem"))
    return [*faults, *_column_faults(earlier.schema, schema)]


def _column_faults(earlier: Schema, schema: Schema) -> Iterator[Fault]:
    before, now = ({c.name: c for c in s.synthesised} for s in (earlier, schema))
    for name in [*now, *(n for n in before if n not in now)]:
        where, instead = f"earlier: column {name!r}", "give a model of the same columns, or none"
        if name not in before or name not in now:
            yield Fault(where, f"is not in {'its' if name in now else 'this'} schema", instead)
        elif before[name].type != now[name].type:
            yield Fault(where, f"is {before[name].type} there and {now[name].type} here", instead)
        elif differing := [fact for fact, of in _facts(before[name], now[name]).items() if of[0] != of[1]]:
            yield Fault(where, f"has other {' and '.join(differing)} there than here", instead)


def _facts(before: Column, now: Column) -> dict[str, tuple[Any, Any]]:
    """What both schemas declare of a column; what one of them leaves to be measured may differ."""
    if before.is_number:
        special = {"special values": (set(before.special), set(now.special))}
        return special | ({"bounds": (before.bounds, now.bounds)} if _declared(before) and _declared(now) else {})
    return {"categories": (set(before.categories or ()), set(now.categories or ()))} if _declared(before) and _declared(now) else {}


def _declared(column: Column) -> bool:
    basis = column.bounds_basis if column.is_number else column.categories_basis
    return not column.is_open and basis is not None and basis.word != "released"


def potentials(earlier: Model, views: Views, cells: float) -> tuple[Factor, ...]:
    """What the earlier model says of each column and of the marginals that it measured, in the views of this fit.

    Its own codes may be others than these, so rows are drawn from it and read anew, always the same ones: a fit that is resumed has to ask the
    same questions. A thousandth of them is spread evenly: where the earlier model says zero, a potential is finite, and new rows can teach better.

    Args:
        cells: how many a model over the potentials' cliques may have; of marginals, in the order in which they were measured, those that do not
            fit are left out.
    """
    rng, domain = np.random.default_rng(0), views.domain
    made = earlier.codec.decode(earlier.source.sample(DRAWN, rng, earlier.codec.names), rng)
    kept = [*((c,) for c in views.columns), *fitting(measured(earlier, views), views, cells)]
    known = estimate(domain, [_counted(made, clique, views) for clique in kept], fixed=views.links)
    parts = dict(zip(known.cliques, known.parts, strict=True))
    return tuple(Factor(domain.project(c), parts[c].reshape(domain.project(c).sizes)) for c in kept)


def measured(earlier: Model, views: Views) -> list[Clique]:
    """The marginals of several columns that an earlier model measured, as views of this fit, in the order of their measurement."""
    return list(dict.fromkeys(views.nearest(a.attributes) for a in earlier.answers if len(a.attributes) > 1))


def fitting(cliques: list[Clique], views: Views, cells: float) -> Iterator[Clique]:
    """Those with which, one after the other, a model keeps to so many cells."""
    graph = Graph.of(views.domain, (f.domain.names for f in views.links))
    for clique in cliques:
        larger = graph.plus(clique)
        if larger.cells <= cells:
            graph = larger
            yield clique


def _counted(made: pd.DataFrame, clique: Clique, views: Views) -> Measurement:
    attributes = views.attributes(clique)
    sizes = [a.size for a in attributes]
    codes = np.ravel_multi_index([a.encode(made[a.column.name], ".") for a in attributes], sizes)
    counts = np.bincount(codes, minlength=math.prod(sizes)).reshape(sizes)
    return Measurement(clique, (1 - EVEN) * counts + EVEN * DRAWN / counts.size, NOISE)
