"""The red team and the gate's decision. Judges anybody's synthetic table.

    import attacks
    report = attacks.evaluate(train, control, synthetic, schema, reference=reference)
    report.verdict                      # PASS, FAIL or INCONCLUSIVE

Names are imported when first used, so that `import attacks` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attacks.claim import Claim
    from attacks.losses import likelihood_ratio, robust_likelihood_ratio
    from attacks.policy import Policy
    from attacks.result import Endpoint
    from attacks.shadows import shadow
    from attacks.suite import Report, evaluate, required_imports
    from attacks.verdict import Reason, Verdict, decide, replay

__all__ = [
    "Claim",
    "Endpoint",
    "Policy",
    "Reason",
    "Report",
    "Verdict",
    "decide",
    "evaluate",
    "likelihood_ratio",
    "replay",
    "required_imports",
    "robust_likelihood_ratio",
    "shadow",
]

_HOME = {
    "Claim": "claim",
    "Endpoint": "result",
    "Policy": "policy",
    "Reason": "verdict",
    "Report": "suite",
    "Verdict": "verdict",
    "decide": "verdict",
    "evaluate": "suite",
    "likelihood_ratio": "losses",
    "replay": "verdict",
    "required_imports": "suite",
    "robust_likelihood_ratio": "losses",
    "shadow": "shadows",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'attacks' has no attribute {name!r}")
    return getattr(import_module(f"attacks.{_HOME[name]}"), name)
