"""Generators that learn how likely rows are: columns are measured, the rest of the grant trains one network, and its loss is a row's own."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from dpsynth.deep.columns import Columns
from dpsynth.encoding import Codec
from dpsynth.errors import Fault
from dpsynth.privacy import Attribute, PrivateTable
from dpsynth.schema import Schema
from dpsynth.synthesizers.generator import Fitted, Generator
from dpsynth.synthesizers.source import Source


@dataclass(frozen=True)
class Likely(Generator):
    """Where columns deserve nearly all of the grant they get all of it, and the model is that of independent columns."""

    trains: ClassVar[bool] = True

    def check(self, schema: Schema) -> list[Fault]:
        from dpsynth.deep.learning import faults_of

        return faults_of(self, schema)

    def _measure(self, table: PrivateTable, attributes: tuple[Attribute, ...]) -> Fitted:
        columns = Columns.measured(table, attributes)
        if columns.all_there_is:
            return columns.independent()
        return Fitted(self._learnt(table, columns), Codec(columns.decoders), columns.answers)

    @abstractmethod
    def _learnt(self, table: PrivateTable, columns: Columns) -> Source:
        """Spend what is left of the grant on training, and keep of it what rows are drawn from."""
