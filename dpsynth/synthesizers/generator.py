"""What all generators share: one request, one grant, then measurements, then a model that no longer knows the rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd

from dpsynth.encoding import Codec, needs_events, released_attributes
from dpsynth.errors import BadInput, Fault, refuse
from dpsynth.privacy import Attribute, PrivateTable, Request
from dpsynth.privacy.cost import EVENT_SHARE, TICK, require_budget
from dpsynth.privacy.currency import CURRENCIES
from dpsynth.privacy.gdp import MAX_SIGMA
from dpsynth.privacy.table import single_use
from dpsynth.privacy.unit import most_moved, parts_of_one
from dpsynth.schema import Column, Schema
from dpsynth.schema.contradictions import contradictions
from dpsynth.synthesizers.answer import Answer
from dpsynth.synthesizers.model import Model
from dpsynth.synthesizers.source import Source

# No generator asks for less than this part of its grant at once, for each column; and of a measurement's amount so many ticks are enough
# that rounding one up is far below the part in 10^9 that is kept back for it.
LEAST_PART, FINEST = 1e-4, 2**33


@dataclass(frozen=True)
class Fitted:
    """What a generator makes of its answers."""

    source: Source
    codec: Codec
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Generator(ABC):
    """A differentially private generator of tables.

    Args:
        epsilon, delta: the guarantee of one fit, under adding or removing one privacy unit.

    Attributes:
        options: its arguments beside the budget that a release may set; `check` looks at them.
        audited: settings of these that an audit runs beside the usual ones, for what they alone lead to.
        trains: whether it takes noised steps, whose charge has an event delta: half of what there is, where categories need some too.

    Raises:
        BadInput: a budget that is none.
    """

    epsilon: float
    delta: float
    name: ClassVar[str]
    options: ClassVar[tuple[str, ...]] = ()
    audited: ClassVar[tuple[Mapping[str, Any], ...]] = ()
    trains: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_budget(self.epsilon, self.delta)

    def check(self, schema: Schema) -> list[Fault]:
        """What is wrong with this generator's options for a table of this schema."""
        return []

    def request(self, schema: Schema) -> Request:
        """What a fit on a table of this schema asks of the budget.

        Raises:
            BadInput: options that do not suit the schema, or so little budget that some measurement would not be bought by its share of it.
        """
        refuse([*contradictions(schema.impossible, {c.name: c for c in schema.columns}), *self.check(schema)])
        request = self.asked(schema)
        refuse(_too_little(request, schema))
        return request

    def asked(self, schema: Schema) -> Request:
        """The same where it was granted already: what is charged is not refused any more, also by code that would refuse it today."""
        return Request(self.epsilon, self.delta, self.trains or needs_events(schema), self.name, schema.unit.columns)

    def fit(self, rows: pd.DataFrame | PrivateTable, schema: Schema | None = None) -> Model:
        """Charge the whole budget, then measure, then estimate.

        Args:
            rows: a frame with its `schema` (an in-memory budget for this one fit), or `ledger.table(frame, schema)`.

        Raises:
            BudgetExceeded: before any row is read.
            BadInput: what `request` refuses, or the frame's columns are not the schema's; nothing was spent.
        """
        table = rows if isinstance(rows, PrivateTable) else single_use(rows, _checked(rows, schema))
        self.request(table.schema)
        return self.fit_charged(table)

    def fit_charged(self, table: PrivateTable) -> Model:
        """The same without a look at schema and options: for a table whose ledger holds the charge, a release's that goes on."""
        granted = table.grant(self.asked(table.schema))
        fitted = self._measure(table, released_attributes(table, 0.5 if self.trains else 1.0))
        return Model(
            schema=table.schema.with_columns(_released_columns(table.schema, fitted.codec)),
            codec=fitted.codec,
            source=fitted.source,
            answers=fitted.answers,
            generator=self.name,
            epsilon=self.epsilon,
            delta=self.delta,
            granted=granted,
            spent=table.spent,
            events=tuple(table.events),
            stamp=table.stamp,
        )

    @abstractmethod
    def _measure(self, table: PrivateTable, attributes: tuple[Attribute, ...]) -> Fitted:
        """Spend what is left of the grant on measurements and fit a model to them."""


def _too_little(request: Request, schema: Schema) -> list[Fault]:
    """What is wrong with a budget whose least share, in some currency, buys no noise below the largest there is: a measurement would be
    refused in the midst of a fit, when the whole of it is charged."""
    squared = (most_moved(schema.unit) * parts_of_one(schema.unit)) ** 2
    least = max(float(FINEST * TICK), squared / MAX_SIGMA**2) * len(schema.synthesised) / LEAST_PART
    if all(request.cost_in(currency).amount >= least for currency in CURRENCIES.values()):
        return []
    enough = 1.1 * max(currency.epsilon_of(request.delta * (1 - EVENT_SHARE), least) for currency in CURRENCIES.values())
    what = f"{request.epsilon:g} is so little, with delta {request.delta:g}, that its shares buy no measurement of this schema's columns"
    return [Fault("epsilon", what, f"write at least about {enough:.1e}")]


def _checked(frame: pd.DataFrame, schema: Schema | None) -> Schema:
    if schema is None:
        raise BadInput(Fault("schema", "not given", "pass fit(frame, schema), or fit(ledger.table(frame, schema))"))
    absent = [n for n in schema.names if n not in frame.columns]
    if absent:
        raise BadInput([Fault(f"column {n!r}", "in the schema but not in the table", "add it, or drop it from the schema") for n in absent])
    twice = [n for n in schema.names if list(frame.columns).count(n) > 1]
    if twice:
        raise BadInput([Fault(f"column {n!r}", "appears more than once", "rename one of them") for n in twice])
    return schema


def _released_columns(schema: Schema, codec: Codec) -> tuple[Column, ...]:
    released = {a.column.name: a.column for a in codec.attributes}
    return tuple(released.get(c.name, c) for c in schema.columns)
