"""Columns alone: what the answers about single columns say, with nothing between columns but what rules forbid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dpsynth.graphical import Domain, GraphicalModel, Measurement, estimate
from dpsynth.privacy import Attribute
from dpsynth.synthesizers.answer import Answer
from dpsynth.synthesizers.zeros import NONE, Zeros

CLOSE = 0.6


def columns_alone(attributes: Sequence[Attribute], answers: Sequence[Answer], zeros: Zeros = NONE) -> GraphicalModel:
    """The model of the columns' own codes that is as independent as `zeros` allow; answers about anything but one whole column are left
    aside."""
    whole = {(a,) for a in attributes}
    domain = Domain(tuple(a.column.name for a in attributes), tuple(a.size for a in attributes))
    fixed = zeros.factors({a.column.name: np.arange(a.size) for a in attributes})
    return estimate(domain, [Measurement(a.columns, a.values, a.sigma) for a in answers if a.attributes in whole], None, fixed, CLOSE)
