"""Independent: every column's distribution, nothing between columns. The baseline, and the fallback for tiny budgets.

Statement. A fit is (epsilon, delta)-DP: its d one-way marginals are measured through `PrivateTable` for the whole grant.
Sensitivity: that of a marginal, see `privacy/table.py`. Reference: `Wasserman, Zhou 2010 (arXiv 0811.2501), perturbed
histograms`; the simplex fit is `graphical/estimation.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dpsynth.encoding import Codec, Decoder
from dpsynth.graphical import estimate
from dpsynth.privacy import Attribute, PrivateTable
from dpsynth.synthesizers.generator import Fitted, Generator, domain_of, measure


@dataclass(frozen=True)
class Independent(Generator):
    """One-way marginals only."""

    name: ClassVar[str] = "independent"

    def _measure(self, table: PrivateTable, attributes: tuple[Attribute, ...]) -> Fitted:
        share = table.left.mu**2 / len(attributes)
        measurements = tuple(measure(table, [a], share) for a in attributes)
        return Fitted(estimate(domain_of(attributes), measurements), Codec(tuple(map(Decoder, attributes))), measurements)
