"""AIM: round by round the marginal that the model gets most wrong, at a noise that adapts.

Statement. A fit is (epsilon, delta)-DP: a share of the grant measures every column; in each round a marginal is chosen by the
exponential mechanism and measured, all through `PrivateTable`, until nothing of the grant is left. Sensitivity: `bench.py`
and `privacy/table.py`; the candidates of a round depend on the schema and on earlier answers only.

Reference: McKenna, Mullins, Sheldon, Miklau 2022 (arXiv 2201.12677), Algorithms 1-3. Kept: workload weights, rounds (16 a column at
first), split between choosing and measuring, annealing, the growing limit on the model's size, tested after the round is
counted. Not as in the paper, each measured in docs/benchmarks.md: more budget for columns, coarse views (`views.py`; in larger groups than
elsewhere, since each of many marginals gets little of the budget), the choice of nothing (`bench.py`), smaller steps of annealing,
each later, accounting by Gaussian DP unless the ledger counts in zCDP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dpsynth.errors import Fault
from dpsynth.graphical import Clique
from dpsynth.privacy import Attribute, PrivateTable
from dpsynth.schema import Schema
from dpsynth.synthesizers.bench import MEAN_NOISE, Bench, cells_of, size_faults
from dpsynth.synthesizers.generator import Fitted, Generator
from dpsynth.synthesizers.workload import Workload, closure, faults_of

MEASURING = 0.9
ROUNDS_A_COLUMN = 16
LEARNT, ANNEALING = 0.2, 1.5
GROUP = 1 / 6


@dataclass(frozen=True)
class AIM(Generator):
    """Adaptive and iterative mechanism.

    Args:
        workload: the marginals that matter: all of so many columns (2), those of three columns that hold a target ("income"), a
            whole-numbered weight for each ({("age", "income"): 5}), or all pairs with weights of columns ({"age": 5}): a pair weighs what
            its heavier column does, a column that is not named weighs 1.
        max_model_size: megabytes (2^20 bytes) that the model's cliques may take, at 8 bytes a cell.
    """

    workload: Workload = 2
    max_model_size: float = 10.0
    name: ClassVar[str] = "aim"
    options: ClassVar[tuple[str, ...]] = ("workload", "max_model_size")
    audited: ClassVar[tuple[Mapping[str, Any], ...]] = ({"workload": 3},)

    def check(self, schema: Schema) -> list[Fault]:
        return faults_of(self.workload, schema) + size_faults(self.max_model_size, schema)

    def _measure(self, table: PrivateTable, attributes: tuple[Attribute, ...]) -> Fitted:
        budget = table.left.amount
        bench = Bench.begin(table, attributes, cells_of(self.max_model_size), GROUP)
        weights = bench.views.candidates(closure(self.workload, bench.views.columns))
        rounds = ROUNDS_A_COLUMN * len(attributes)
        measuring, choosing = MEASURING * budget / rounds, (1 - MEASURING) * budget / rounds
        last = not bench.affords_structure
        while not last:
            if bench.left < 2 * (measuring + choosing):
                measuring, choosing, last = MEASURING * bench.left, (1 - MEASURING) * bench.left, True
            used = 1 - (bench.left - measuring - choosing) / budget
            limit = used * cells_of(self.max_model_size)
            chosen = bench.choose(bench.within(weights, limit), choosing, measuring)
            if chosen is None or not _learnt(bench, chosen, measuring):
                measuring, choosing = ANNEALING * measuring, ANNEALING * choosing
        return bench.finish()


def _learnt(bench: Bench, clique: Clique, amount: float) -> bool:
    """Measure, refit, and say whether the model moved by more than a part of what the noise alone is."""
    before = bench.model.project(clique)
    answer = bench.measure(clique, amount)
    bench.refit()
    moved = float(np.abs(bench.model.project(clique) - before).sum())
    return moved > LEARNT * MEAN_NOISE * answer.sigma * answer.values.size
