"""Independent: every column's distribution, nothing between columns but the schema's rules. The baseline, and the fallback for tiny budgets.

Statement. A fit is (epsilon, delta)-DP: its d one-way marginals are measured through `PrivateTable` for the whole grant.
Sensitivity: that of a marginal, see `privacy/table.py`. Reference: `Wasserman, Zhou 2010 (arXiv 0811.2501), perturbed
histograms`; the fit is `alone.py`. Rules of two columns are public and no answers: they are factors of the fit (`zeros.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dpsynth.encoding import Codec, Decoder
from dpsynth.privacy import Attribute, PrivateTable
from dpsynth.synthesizers.alone import columns_alone
from dpsynth.synthesizers.answer import measure
from dpsynth.synthesizers.bench import SAFE
from dpsynth.synthesizers.generator import Fitted, Generator
from dpsynth.synthesizers.source import Graphical
from dpsynth.synthesizers.zeros import Zeros


@dataclass(frozen=True)
class Independent(Generator):
    """One-way marginals only."""

    name: ClassVar[str] = "independent"

    def _measure(self, table: PrivateTable, attributes: tuple[Attribute, ...]) -> Fitted:
        answers = tuple(measure(table, [a], table.left.amount * SAFE / (len(attributes) - i)) for i, a in enumerate(attributes))
        zeros = Zeros.of(table.schema.impossible, attributes)
        return Fitted(Graphical(columns_alone(attributes, answers, zeros)), Codec(tuple(map(Decoder, attributes))), answers)
