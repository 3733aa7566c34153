"""MWEM+PGM: a fixed number of rounds, each of them choosing and measuring the pair that the model gets most wrong.

Statement. A fit is (epsilon, delta)-DP: a share of the grant measures every column, the rest is split evenly over one round a
column, each round choosing by the exponential mechanism and measuring through `PrivateTable`. Sensitivity: `bench.py`
and `privacy/table.py`.

References: Hardt, Ligett, McSherry 2012 (arXiv 1012.4763), Figure 1; McKenna, Sheldon, Miklau 2019 (arXiv 1901.09136),
section 5, for the graphical model in place of the histogram. A baseline: AIM adapts what is fixed here.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

from dpsynth.errors import Fault
from dpsynth.privacy import Attribute, PrivateTable
from dpsynth.schema import Schema
from dpsynth.synthesizers.bench import Bench, cells_of, size_faults
from dpsynth.synthesizers.generator import Fitted, Generator

MEASURING = 0.9


@dataclass(frozen=True)
class MWEM(Generator):
    """Multiplicative weights, exponential mechanism, with a graphical model.

    Args:
        max_model_size: megabytes (2^20 bytes) that the model's cliques may take, at 8 bytes a cell.
    """

    max_model_size: float = 10.0
    name: ClassVar[str] = "mwem"
    options: ClassVar[tuple[str, ...]] = ("max_model_size",)

    def check(self, schema: Schema) -> list[Fault]:
        return size_faults(self.max_model_size, schema)

    def _measure(self, table: PrivateTable, attributes: tuple[Attribute, ...]) -> Fitted:
        bench = Bench.begin(table, attributes, cells_of(self.max_model_size))
        rounds = len(attributes) if bench.affords_structure else 0
        pairs = bench.views.candidates(dict.fromkeys(combinations(bench.views.columns, 2), 1))
        for i in range(rounds):
            share = bench.left / (rounds - i)
            chosen = bench.choose(bench.within(pairs, cells_of(self.max_model_size)), (1 - MEASURING) * share, MEASURING * share)
            if chosen is not None:
                bench.measure(chosen, MEASURING * share)
                bench.refit()
        return bench.finish()
