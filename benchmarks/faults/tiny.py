"""A tiny release: every durable action of a real one, none of the work in between that changes nothing on disk.

120 rows of 60 people, two columns, a ledger and a key of its own. In place of the attacks stands a verdict given beforehand (which reads
the split, as the attacks do), in place of the drawn pages a line of text: both only compute. The fingerprint's hash is made cheap, and 1 MB
of room is claimed instead of 32. All else is the product's own code.
Spies tell the supervisor when rows are read, and every answer at the moment when the generator gets it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd

from benchmarks.faults.child import Tell
from dpsynth.privacy import Ledger, PrivateTable, Request, fingerprint
from dpsynth.privacy.chain import Event
from dpsynth.releasing import gate, papers, pipeline, run
from dpsynth.releasing.order import Order
from dpsynth.releasing.run import Run
from dpsynth.schema import Schema
from dpsynth.tables import FrameTable

CAPACITY, DELTA = (3.0, 1e-6), 1e-9
EPSILON = 1.0
STEADY = "independent"  # asks the same number of questions each time
BESIDE = 0  # the number of the answer beside the rows
PEOPLE = 60

SCHEMA = Schema.from_dict(
    {
        "name": "tiny",
        "privacy_unit": {"unit": "person", "columns": ["who"], "max_rows": 2},
        "columns": [
            {"name": "who", "type": "id"},
            {"name": "sex", "type": "categorical", "categories": ["F", "M"], "categories_basis": "publisher"},
            {"name": "ill", "type": "categorical", "categories": ["no", "yes"], "categories_basis": "publisher"},
        ],
    }
)
FRAME = pd.DataFrame(
    {
        "who": [f"p{i // 2}" for i in range(2 * PEOPLE)],
        "sex": [("F", "M")[i // 2 % 2] for i in range(2 * PEOPLE)],
        "ill": [("no", "no", "yes")[i % 3] for i in range(2 * PEOPLE)],
    }
)


def PLANTED() -> None:  # noqa: N802
    """A bug to plant in every child: the tests that show that the harness would see one put it here."""


class Stop(Exception):
    """Raised between two steps by a child that is to go no further."""


def ledger_of(folder: Path) -> Path:
    return folder / "ledger.db"


def out_of(folder: Path) -> Path:
    return folder / "out"


def run_of(folder: Path) -> Run:
    return Run(out_of(folder))


def home_of(folder: Path) -> Path:
    return folder / "home"


def prepare(folder: Path) -> Path:
    """A folder with a new ledger of the tiny population."""
    folder.mkdir()
    create(folder)
    return folder


def create(folder: Path) -> None:
    Ledger.create(ledger_of(folder), SCHEMA.name, *CAPACITY)


@dataclass(frozen=True)
class State:
    """A folder as a process left it, what the process had told, and the events of the ledger; to be copied, not to be touched."""

    folder: Path
    told: tuple[str, ...]
    events: tuple[Event, ...]


def copied(state: State, folder: Path) -> None:
    """The state in another folder, its run's ledger there too."""
    shutil.copytree(state.folder, folder)
    order = run_of(folder).custodian / "run.json"
    if order.exists():
        order.write_text(order.read_text().replace(str(state.folder), str(folder)))


def request(purpose: str = "faults") -> Request:
    """What one tiny release asks for."""
    return Request(EPSILON, DELTA, False, purpose, SCHEMA.unit.columns)


def release(
    folder: Path, verdict: str = "PASS", until: str | None = None, generator: str = "mst", beside: float | None = None
) -> Callable[[Tell], str]:
    """The deed of releasing into `folder`, up to the step `until`, with histograms of epsilon `beside` the rows if any."""

    def deed(tell: Tell) -> str:
        with world(folder, verdict, tell):
            order = Order(FrameTable(FRAME), SCHEMA, ledger_of(folder), EPSILON, DELTA, out_of(folder), generator, gate_epsilon=beside)
            return _told(lambda: pipeline.carry_out(order, _progress(tell, until)))

    return deed


def resume(folder: Path, verdict: str = "PASS", until: str | None = None) -> Callable[[Tell], str]:
    """The deed of going on with it."""

    def deed(tell: Tell) -> str:
        with world(folder, verdict, tell):
            return _told(lambda: pipeline.resume(out_of(folder), FRAME, _progress(tell, until)))

    return deed


def _told(go: Callable[[], pipeline.Outcome]) -> str:
    try:
        return go().verdict
    except Stop:
        return "stopped"


def _progress(tell: Tell, until: str | None) -> pipeline.Progress:
    def say(step: str) -> None:
        tell(f"step {step}")
        if step == until:
            raise Stop

    return say


@contextmanager
def world(folder: Path, verdict: str, tell: Tell) -> Iterator[None]:
    """The product with its attacks and pages exchanged, its key in `folder`, and the spies in place."""
    pages = {"custodian_page": lambda *_: "for the custodian", "public_report": lambda *_: "for the public"}
    spies = {name: _told_answer(getattr(PrivateTable, name), tell) for name in ("marginal", "select", "discover")}
    with (
        patch.dict(os.environ, DPSYNTH_HOME=str(home_of(folder))),
        patch.object(gate, "judge", _verdict(verdict)),
        patch.multiple(papers, **pages),
        patch.object(run, "ROOM_BYTES", 1 << 20),
        patch.object(fingerprint, "COST", 16),
        patch.multiple(PrivateTable, **spies),
        patch.object(FrameTable, "rows", _told_rows(FrameTable.rows, tell)),
    ):
        PLANTED()
        yield


def _verdict(verdict: str) -> Callable[..., dict[str, Any]]:
    """What the attacks would say. An endpoint with no figures, and a reason that no second attack would lift where it is no PASS."""
    none = dict.fromkeys(("effect", "ci", "p", "p_adjusted", "tolerance", "minimum_detectable", "control_detected", "seconds", "column"))
    blocked = {"code": "tolerance_exceeded", "attack": "exact_match", "column": None, "words": "too many", "next": "ask for less"}

    def judge(*_: Any) -> dict[str, Any]:
        attacks = [none | {"name": "exact_match", "status": "ok", "role": "required", "words": ""}]
        return {"verdict": verdict, "reasons": [] if verdict == "PASS" else [blocked], "attacks": attacks}

    return judge


def _told_rows(real: Callable[..., pd.DataFrame], tell: Tell) -> Callable[..., pd.DataFrame]:
    def rows(table: FrameTable) -> pd.DataFrame:
        tell("read")
        return real(table)

    return rows


def _told_answer(real: Callable[..., Any], tell: Tell) -> Callable[..., Any]:
    """Tell the number and the digest of each answer of a table as it leaves the kernel; what is beside the rows has a number of its own."""

    def ask(table: PrivateTable, *question: Any) -> Any:
        answer = real(table, *question)
        step = len(table.events) if table.schema.names == SCHEMA.names else BESIDE
        tell(f"answer {step} {hashlib.sha256(repr(np.asarray(answer).tolist()).encode()).hexdigest()}")
        return answer

    return ask


def warm(folder: Path) -> None:
    """Import and compile all that a release needs, once, so that a forked child need not."""
    prepare(folder)
    try:
        release(folder)(lambda line: None)
        resume(folder)(lambda line: None)
    finally:
        shutil.rmtree(folder)
