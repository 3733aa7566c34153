"""Audits of our own generators, and the findings that a build carries: the gate lets nothing out of code that was not audited.

A generator is run many times on each of two neighbouring tables (`worst_case.py`), through a door that keeps note (`witness.py`). Looked at
from inside: each noised count, each choice, the structure, the domains released; from outside: its rows (`looks.py`). The
budget is (1, 1e-2), where a thousand runs can see something; the code is the one that serves every budget.

Statement. Under mu-GDP no statistic of a run tells the two tables apart by more than mu: `attacks/audit.py` proves the contrary by counting.
All statistics of all pairs of tables share one error rate. Beside that the audit adds up what the questions of a run are worth at the
noise that they asked for, which finds a step that was not charged, however small: noise of scale sigma on counts that the unit moves
by s is worth s / sigma at least, and squares add up.

References: Nasr et al. 2023 (arXiv 2302.07956); `worst_case.py` for the tables.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attacks.audit import Audit, Floats, audit
from attacks.verdict import AuditFinding
from dpsynth.privacy.currency import GDP
from dpsynth.releasing.looks import look, worth
from dpsynth.releasing.witness import Witness
from dpsynth.releasing.worst_case import WORST_CASES, WorstCase
from dpsynth.synthesizers import Generator

EPSILON, DELTA, RUNS = 1.0, 1e-2, 1000
ALPHA = 1e-3  # how often a sound generator may be accused; where several are audited together, any of them
LEAST_SEEN = 2.5  # the factor of mu that an audit must have been able to see, or what it did not find says nothing
ROOMS = ("schema", "privacy", "encoding", "graphical", "synthesizers", "deep")
SET_ONE_IN = 2  # of the runs with the usual options are repeated with others
FINDINGS = "audits.json"


def audit_generator(
    kind: type[Generator],
    runs: int = RUNS,
    epsilon: float = EPSILON,
    delta: float = DELTA,
    progress: Callable[[str], None] | None = None,
    cases: Sequence[WorstCase] = WORST_CASES,
    alpha: float = ALPHA,
) -> Audit:
    """Run the generator `runs` times on each of two neighbouring tables, for some worst cases and for its `audited` options less often, and bound
    its mu from below, at one minus `alpha` over all that is looked at."""
    if kind.trains:
        from dpsynth.releasing.audited_training import audit_trained

        return audit_trained(kind, runs, epsilon, delta, alpha)
    sides: tuple[dict[str, Floats], dict[str, Floats]] = ({}, {})
    stated = 0.0
    for case, options, times in _trials(kind, runs, cases):
        about = ", ".join([case.name, *(f"{option} {value}" for option, value in options.items())])
        for side, frame, which in zip(sides, case.tables(), ("without", "with"), strict=True):
            if progress:
                progress(f"{times} runs {which} {about}")
            seen, most = _runs(kind(epsilon, delta, **options), frame, case, times)
            side.update({f"{about}: {name}": numbers for name, numbers in seen.items()})
            stated = max(stated, math.sqrt(most))
    charged = kind(epsilon, delta).request(cases[0].schema).cost_in(GDP)
    return audit(*sides, math.sqrt(charged.amount), alpha, charged.event_delta, stated)


def _trials(kind: type[Generator], runs: int, cases: Sequence[WorstCase]) -> Iterator[tuple[WorstCase, Mapping[str, Any], int]]:
    """Each worst case with the usual options and with each of the others, and how often each is run."""
    for case in cases:
        yield case, {}, runs // case.one_in
        for options in kind.audited:
            yield case, options, runs // case.one_in // SET_ONE_IN


def _runs(generator: Generator, frame: pd.DataFrame, case: WorstCase, runs: int) -> tuple[dict[str, Floats], float]:
    """Each statistic of so many runs on one table, and the most that the questions of one of them are worth."""
    schema, looks, most = case.schema, [], 0.0
    for _ in range(runs):
        witness = Witness(frame, schema)
        model = generator.fit(witness)
        looks.append(look(model, witness, case))
        most = max(most, worth(witness, case))
    return {name: np.array([seen[name] for seen in looks]) for name in looks[0]}, most


def code_hash() -> str:
    """SHA-256 over the sources that a generator's guarantee rests on."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(p for room in ROOMS for p in (root / room).rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def finding(generator: str) -> AuditFinding:
    """What the build's audit says of a generator: `passed`, `failed`, or `missing`: never audited, or other code than this, or by so few
    runs that it could not have seen a generator leak `LEAST_SEEN` times what it charges."""
    try:
        carried = json.loads((files("dpsynth") / "resources" / FINDINGS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "missing"
    found = carried["generators"].get(generator)
    if found is None or carried["code"] != code_hash():
        return "missing"
    if found["violated"]:
        return "failed"
    return "passed" if found["detectable"] <= LEAST_SEEN else "missing"


def carry(found: Mapping[str, Audit]) -> None:
    """Write the findings on all generators into the package, for the build to carry."""
    carried = {
        "code": code_hash(),
        "budget": [EPSILON, DELTA],
        "generators": {name: asdict(a) | {"violated": a.violated, "words": a.words} for name, a in found.items()},
    }
    target = Path(__file__).parents[1] / "resources" / FINDINGS
    target.write_text(json.dumps(carried, indent=1) + "\n", encoding="utf-8")
