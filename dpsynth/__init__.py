"""Differentially private synthetic tables: a durable budget, an attack gate that fails closed, a signed certificate."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dpsynth.version import __version__ as __version__

if TYPE_CHECKING:
    from dpsynth.errors import BadInput, BudgetExceeded, VerificationFailed
    from dpsynth.privacy.ledger import Ledger
    from dpsynth.releasing.pipeline import release, resume
    from dpsynth.schema import Schema
    from dpsynth.synthesizers import AIM, MST, MWEM, Independent, PrivBayes
    from dpsynth.synthesizers.model import Model, load

__all__ = [
    "AIM",
    "MST",
    "MWEM",
    "BadInput",
    "BudgetExceeded",
    "Independent",
    "Ledger",
    "Model",
    "PrivBayes",
    "Schema",
    "VerificationFailed",
    "load",
    "release",
    "resume",
]

_HOMES = {
    "AIM": "dpsynth.synthesizers",
    "BadInput": "dpsynth.errors",
    "BudgetExceeded": "dpsynth.errors",
    "Independent": "dpsynth.synthesizers",
    "Ledger": "dpsynth.privacy.ledger",
    "MST": "dpsynth.synthesizers",
    "MWEM": "dpsynth.synthesizers",
    "Model": "dpsynth.synthesizers.model",
    "PrivBayes": "dpsynth.synthesizers",
    "Schema": "dpsynth.schema",
    "VerificationFailed": "dpsynth.errors",
    "load": "dpsynth.synthesizers.model",
    "release": "dpsynth.releasing.pipeline",
    "resume": "dpsynth.releasing.pipeline",
}


def __getattr__(name: str) -> Any:
    """Names load on first use, so that `import dpsynth` stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'dpsynth' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
