"""PrivBayes: columns one at a time, each with the few earlier ones that say most about it.

Statement. A fit is (epsilon, delta)-DP: a share of the grant measures every column; each further step chooses a column that has no
place yet and a parent that has one, then up to two parents more, every choice by the exponential mechanism and charged, and
measures that family once, all through `PrivateTable`. What a step does not need goes to the steps after it, and in the end to the columns.

Sensitivity. A row moves the score of a family by at most 1: it is an L1 distance from a reference, less a penalty (`privacy/table.py`), and
reference, penalty and the list of families are made of earlier answers, the schema and the budget alone (`network.py`).

Reference: Zhang, Cormode, Procopiuc, Srivastava, Xiao 2017 (ACM TODS 42:25), Algorithms 2 and 4, sections 4.3 (score R) and 4.5
(theta-usefulness). Not as in the paper: a family grows by an edge, then parent by parent, in place of one choice among all sets of
parents; it may be of coarse views (`views.py`); R is taken against released factors and lowered by the noise that the table would
get, and nothing may be chosen (`bench.py`); usefulness is judged on the noisy number of rows; the answers are explained by the graphical
model (arXiv 1901.09136, section 5), unless the paper's own conditionals are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dpsynth.errors import Fault
from dpsynth.privacy import Attribute, PrivateTable
from dpsynth.schema import Schema
from dpsynth.synthesizers.bench import cells_of, size_faults
from dpsynth.synthesizers.generator import Fitted, Generator
from dpsynth.synthesizers.network import Ancestral, Network

MEASURING = 0.85
FITTINGS = {"estimated": Network, "ancestral": Ancestral}


@dataclass(frozen=True)
class PrivBayes(Generator):
    """A Bayesian network of columns.

    Args:
        max_model_size: megabytes (2^20 bytes) that the model's cliques may take, at 8 bytes a cell.
        fitting: "estimated", one distribution that explains all answers; or "ancestral", the paper's product of each family's clipped
            table, to compare with. Ancestral was further from the data on every table measured (docs/benchmarks.md), and a tenth faster.
    """

    max_model_size: float = 10.0
    fitting: str = "estimated"
    name: ClassVar[str] = "privbayes"
    options: ClassVar[tuple[str, ...]] = ("max_model_size",)

    def check(self, schema: Schema) -> list[Fault]:
        known = isinstance(self.fitting, str) and self.fitting in FITTINGS
        unknown = [] if known else [Fault("fitting", "not a way to fit a network", f"write one of {', '.join(FITTINGS)}")]
        return unknown + size_faults(self.max_model_size, schema)

    def _measure(self, table: PrivateTable, attributes: tuple[Attribute, ...]) -> Fitted:
        network = FITTINGS[self.fitting].begin(table, attributes, cells_of(self.max_model_size))
        steps = len(attributes) - 1 if network.affords_structure else 0
        for i in range(steps):
            share = network.left / (steps - i)
            family = network.family((1 - MEASURING) * share, MEASURING * share, cells_of(self.max_model_size))
            if family is not None:
                network.place(family, MEASURING * share)
        return network.finish()
