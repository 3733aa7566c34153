"""A cell, judged: the tables are made, attacked once, and decided on twice, with the generator's claim and without any."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import attacks
from attacks.policy import Policy
from attacks.suite import evaluate
from attacks.verdict import replay
from benchmarks.gate.case import Case
from benchmarks.gate.cell import Cell, Line
from benchmarks.gate.planted import DELTA, GENERATORS
from benchmarks.gate.tables import draw, population
from dpsynth.errors import BadInput


def make(cell: Cell) -> Case:
    """The tables of a cell, always the same ones."""
    whole = population(cell.table)
    planted = GENERATORS[cell.generator]
    kept = whole if cell.unique else whole.without(whole.near_unique)
    return planted.make(draw(kept, cell.n, cell.shares, Policy.load(cell.policy), cell.rows, planted.in_time), cell.plant)


def judge(cell: Cell) -> Line:
    """Verdicts and reasons, with what bears on them.

    `bare` is the verdict on a table without a claim, `claimed` on the same that claims the generator's (epsilon, delta). REFUSED is an
    error message in place of a verdict; BROKE is an exception, and a fault of ours.
    """
    started = time.process_time()
    case = make(cell)
    made = time.process_time()
    line = _judged(case, cell)
    return line | {"suite": suite(), "cpu_make": round(made - started, 2), "cpu_gate": round(time.process_time() - made, 2)}


def _judged(case: Case, cell: Cell) -> Line:
    policy = Policy.load(cell.policy)
    claim = attacks.Claim(GENERATORS[cell.generator].epsilon, DELTA)
    try:
        report = evaluate(case.train, case.control, case.synthetic, case.schema, case.reference, policy=policy, claim=claim, seed=cell.seed)
    except BadInput as refusal:
        return _alike("REFUSED", [f.what for f in refusal.faults])
    except Exception as error:
        return _alike("BROKE", [type(error).__name__])
    document = report.document()
    bare = replay(document | {"claim": None}, policy)
    return {
        "bare": bare.outcome,
        "bare_reasons": [f"{r.code}:{r.attack}" for r in bare.reasons],
        "claimed": report.verdict,
        "claimed_reasons": [f"{r.code}:{r.attack}" for r in report.reasons],
        "epsilon": claim.epsilon,
        "p": {name: _short(report.tests[f"{name}_p"]) for name in ("exchangeability", "blind", "claim")},
        "upper": {a["name"]: a["ci"] and _short(a["ci"][1]) for a in document["attacks"]},
    }


def _alike(outcome: str, reasons: list[str]) -> Line:
    return {"bare": outcome, "bare_reasons": reasons, "claimed": outcome, "claimed_reasons": reasons}


def _short(number: Any) -> float | None:
    return None if number is None else float(f"{number:.4g}")


def suite() -> str:
    """Which code judged: the first digits of a hash of the attacks."""
    files = sorted(Path(attacks.__file__).parent.rglob("*.py")) + sorted(Path(attacks.__file__).parent.rglob("*.toml"))
    return hashlib.sha256(b"\0".join(f.read_bytes() for f in files)).hexdigest()[:8]
