"""Audits of our own generators, and the findings that a build carries: the gate lets nothing out of code that was not audited.

A generator is run many times on a small table and on the same table with one row more, whose cells nobody else has. Looked at
from inside: each noised measurement at the row's own cells, and the pairs of columns chosen. The budget is (1, 1e-2), where
a thousand runs can see something; the code is the one that serves every budget.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd

from attacks.audit import Audit, Floats, audit
from attacks.verdict import AuditFinding
from dpsynth.privacy import GDP
from dpsynth.privacy.attribute import Attribute
from dpsynth.schema import Schema
from dpsynth.synthesizers import Generator, Model
from dpsynth.synthesizers.answer import Answer

EPSILON, DELTA, RUNS = 1.0, 1e-2, 1000
ROOMS = ("schema", "privacy", "encoding", "graphical", "synthesizers", "deep")
FINDINGS = "audits.json"

COLUMNS = [
    {"name": name, "type": "categorical", "categories": ["a", "b", "c"], "categories_basis": "publisher"} for name in ("one", "two", "three", "four")
] + [{"name": "open", "type": "categorical", "categories_basis": "measure"}]
SCHEMA = Schema.from_dict({"name": "audit", "privacy_unit": {"unit": "row"}, "columns": COLUMNS})
CROWD = (["a"] * len(COLUMNS), ["c"] * len(COLUMNS))
CANARY = ["b"] * len(COLUMNS)
EACH = 400


def neighbours() -> tuple[pd.DataFrame, pd.DataFrame]:
    """A table of two kinds of rows, so that columns depend on each other, and the same with one row more that shares no cell with them."""
    base = pd.DataFrame([kind for kind in CROWD for _ in range(EACH)], columns=list(SCHEMA.names))
    return base, pd.concat([base, pd.DataFrame([CANARY], columns=base.columns)], ignore_index=True)


def audit_generator(
    kind: type[Generator], runs: int = RUNS, epsilon: float = EPSILON, delta: float = DELTA, progress: Callable[[str], None] | None = None
) -> Audit:
    """Run the generator `runs` times on each of two neighbouring tables and bound its mu from below."""
    if kind.trains:
        from dpsynth.releasing.audited_training import audit_trained

        return audit_trained(kind, runs, epsilon, delta)
    generator = kind(epsilon, delta)
    looks: list[dict[str, Floats]] = []
    for name, frame in zip(("without the row", "with the row"), neighbours(), strict=True):
        if progress:
            progress(f"{runs} runs {name}")
        seen = [look(generator.fit(frame, SCHEMA)) for _ in range(runs)]
        looks.append({key: np.array([s[key] for s in seen]) for key in seen[0]})
    return audit(looks[0], looks[1], math.sqrt(generator.request(SCHEMA).cost_in(GDP).amount))


def look(model: Model) -> dict[str, float]:
    """What a run shows of the added row: noise in its cells, in units of its scale; pairs chosen; its category named."""
    attributes = {a.column.name: a for a in model.codec.attributes}
    standing = [_standing(answer) for answer in model.answers]
    z, weight = (np.array(column) for column in zip(*standing, strict=True))
    pairs = {tuple(sorted(answer.columns)) for answer in model.answers if len(answer.columns) == 2}
    names = sorted(SCHEMA.names)
    chosen = {f"pair {a}, {b}": float((a, b) in pairs) for i, a in enumerate(names) for b in names[i + 1 :]}
    named = "b" in (attributes["open"].column.categories or ())
    return {"all measurements": float(z @ weight / np.sqrt(weight @ weight)), "category named": float(named), "rows": model.total} | chosen


def _standing(answer: Answer) -> tuple[float, float]:
    """The noisy count of the row's own cell, less what the crowd has in it, in units of the noise; and the cell's weight."""
    own = _cell(answer.attributes, CANARY)
    crowd = EACH * sum(_cell(answer.attributes, kind) == own for kind in CROWD)
    return (float(answer.values[own]) - crowd) / answer.sigma, 1 / answer.sigma


def _cell(attributes: Sequence[Attribute], row: list[str]) -> tuple[int, ...]:
    cells = dict(zip(SCHEMA.names, row, strict=True))
    return tuple(int(a.encode(pd.Series([cells[a.column.name]]), ".")[0]) for a in attributes)


def code_hash() -> str:
    """SHA-256 over the sources that a generator's guarantee rests on."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(p for room in ROOMS for p in (root / room).rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def finding(generator: str) -> AuditFinding:
    """What the build's audit says of a generator: `passed`, `failed`, or `missing` (never audited, or other code than this)."""
    try:
        carried = json.loads((files("dpsynth") / "resources" / FINDINGS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "missing"
    found = carried["generators"].get(generator)
    if found is None or carried["code"] != code_hash():
        return "missing"
    return "failed" if found["violated"] else "passed"


def carry(found: Mapping[str, Audit]) -> None:
    """Write the findings on all generators into the package, for the build to carry."""
    carried = {
        "code": code_hash(),
        "budget": [EPSILON, DELTA],
        "generators": {name: asdict(a) | {"violated": a.violated, "words": a.words} for name, a in found.items()},
    }
    target = Path(__file__).parents[1] / "resources" / FINDINGS
    target.write_text(json.dumps(carried, indent=1) + "\n", encoding="utf-8")
