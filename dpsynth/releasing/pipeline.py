"""A release, step by step: charge, split, fit, sample, attack, gate, publish. Each step ends durably; `resume` goes on after it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpsynth.errors import BadInput, BudgetExceeded, Fault, refuse
from dpsynth.privacy.ledger import Attempt, Ledger, require_population
from dpsynth.releasing.nearness import KIND, Guarantee, Nearness, published
from dpsynth.releasing.order import Checked, Order, asked_beside, check
from dpsynth.releasing.run import Run
from dpsynth.releasing.seen import Seen
from dpsynth.releasing.split import Split, divide, shares_of
from dpsynth.schema import Schema
from dpsynth.tables import FrameTable, Table, header_faults, open_table, table_at

if TYPE_CHECKING:
    import pandas as pd
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from attacks.policy import Policy
    from dpsynth.privacy import Cost, Request
    from dpsynth.synthesizers import Generator, Model

STEPS = ("charge", "fit", "sample", "attack", "gate", "publish")
MEASURING = ("charge", "fit", "sample", "measure", "attack", "gate", "publish")
EXIT_CODES = {"PASS": 0, "FAIL": 3, "INCONCLUSIVE": 4}
MOST_BY_DEFAULT = 2_000_000
PROVISIONAL = {"missing_evidence", "attack_failed"}

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """How a release ended: the gate's verdict and reasons, and the one file to send if there is one."""

    release: str
    verdict: str
    reasons: tuple[dict[str, Any], ...]
    out: Path
    bundle: Path | None

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.verdict]


def release(
    rows: pd.DataFrame | str | Path,
    schema: Schema,
    ledger: Ledger,
    *,
    epsilon: float,
    delta: float,
    out: str | Path,
    generator: str = "mst",
    policy: str = "partner-contract",
    n_rows: int | None = None,
    key: Path | None = None,
    purpose: str = "",
    recipient: str = "",
    gate_epsilon: float | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Release a synthetic copy of a table, if the gate lets it out. What the command line calls.

    Args:
        rows: a frame, or the path of a CSV or Parquet file.
        epsilon, delta: the guarantee asked for; charged to `ledger` in full before a row is read.
        n_rows: synthetic rows to make; about as many as the table holds if not given.
        gate_epsilon: publish histograms of how near people come to the synthetic rows, at this epsilon and `delta`, charged beside the rows;
            see `yardstick.py`. None for none.
        options: of the generator, by name, for example `{"workload": {"age": 5}}` for `aim`.
        progress: called with the name of each step as it begins, and before the first with what should be known before anything is spent.

    Raises:
        BadInput: with all faults at once; nothing was spent.
        BudgetExceeded: the ledger refuses; no row was read.
        RunDry: too few of the rows that the fitted model draws keep to the schema's rules; the charge stays, and `resume` draws again.
    """
    table: Table = open_table(rows, schema) if isinstance(rows, str | Path) else FrameTable(rows)
    address, chosen = ledger.store.address, options or {}
    order = Order(table, schema, address, epsilon, delta, Path(out), generator, policy, n_rows, key, purpose, recipient, gate_epsilon, chosen)
    return carry_out(order, progress)


def carry_out(order: Order, progress: Progress | None = None) -> Outcome:
    """Check the order, make its folder, charge, and go through the steps. Raises as `release` does."""
    checked = check(order)
    for note in checked.notes:
        (progress or _silent)(note)
    run = Run.start(order.out, _recorded(order, checked))
    steps = _Steps(run, order.table, checked.ledger, progress or _silent)
    with run.alone():
        try:
            signer(None if order.key is None else str(order.key))
            steps.charge()
        except (BadInput, BudgetExceeded):
            run.abandon()
            raise
        return steps.go()


def resume(out: str | Path, frame: pd.DataFrame | None = None, progress: Progress | None = None) -> Outcome:
    """Go on with a run that was killed or blocked: same answers, same rows, same policy, no new charge.

    Args:
        out: the folder that the release made.
        frame: the table, if the first call was given a frame and not a file.

    Raises:
        BadInput: not such a folder, its table or ledger is gone, or its policy is not the one that was charged for.
        BudgetExceeded: the run was killed before its charge, and the ledger refuses it now.
    """
    run = Run(Path(out))
    order = run.state()["order"]
    schema = Schema.from_dict(order["schema"])
    if frame is None and order["table"] is None:
        raise BadInput(Fault(str(out), "was started from a frame", "call dpsynth.resume(out, frame)"))
    table = FrameTable(frame) if frame is not None else table_at(order["table"], schema)
    if not run.attacks.exists():
        refuse(header_faults(table, schema))
    ledger = Ledger.open(order["ledger"])
    require_population(ledger, schema)
    if ledger.id != order["ledger_id"]:
        raise BadInput(Fault(ledger.where, "is another ledger than the release was charged to", "put the one it was charged to in its place"))
    steps = _Steps(run, table, ledger, progress or _silent)
    with run.alone():
        steps.charge()
        return steps.go()


class _Steps:
    """The steps of one run. Whatever a step needs it takes from the run's folder, so any of them can be the first of a process."""

    def __init__(self, run: Run, table: Table, ledger: Ledger, say: Progress):
        self.run = run
        self.table = table
        self.ledger = ledger
        self.state = run.state()
        self.order = self.state["order"]
        self.release: str = self.state["release"]
        self.schema = Schema.from_dict(self.order["schema"])
        self.beside: tuple[Nearness, Cost] | None = None
        self._progress = say

    def say(self, step: str) -> None:
        self.run.log(step)
        self._progress(step)

    def charge(self) -> None:
        """Take the whole request from the ledger, once. Raises `BadInput` if the run's policy is not the one that was charged for."""
        self.say("charge")
        attempt = Attempt(self.policy.hash, self.code, None if self.schema.unit.is_row else shares_of(self.policy))
        with self.followed():
            beside = [(request, self._beside) for request in self.requests[1:]]
            granted = self.ledger.grant(self.requests[0], self.release, attempt, *beside)
        if granted.body.get("policy") != attempt.policy:
            raise BadInput(Fault(str(self.run.out), "holds another policy than the release was charged with", "restore it, or make a new release"))

    def go(self) -> Outcome:
        self.fit()
        self.sample()
        self.measure()
        document = self.attack()
        self.gate(document)
        bundle = self.publish(document) if document["verdict"] == "PASS" and self.policy.publishes else None
        return Outcome(self.release, document["verdict"], tuple(document["reasons"]), self.run.out, bundle)

    def followed(self) -> AbstractContextManager[None]:
        """Inside it the release writes to the ledger; this desk remembers it."""
        return Seen.default().followed(self.ledger, self.release, self._beside)

    @cached_property
    def code(self) -> str:
        """The hash of the code that is at work now: not the one that was charged for, where a release was resumed after an update."""
        from dpsynth.releasing.audited import code_hash

        return code_hash()

    @cached_property
    def generator(self) -> Generator:
        from dpsynth.synthesizers.options import generator_with

        return generator_with(self.order["generator"], self.order["epsilon"], self.order["delta"], self.order.get("options", {}))

    @cached_property
    def requests(self) -> list[Request]:
        """What the release asks of the ledger: for its rows, and perhaps for histograms beside them."""
        return [self.generator.asked(self.schema), *asked_beside(self.order.get("gate_epsilon"), self.order["delta"], self.schema)]

    @property
    def _beside(self) -> str:
        """The name that the histograms are charged under."""
        return f"{self.release} {KIND}"

    @cached_property
    def policy(self) -> Policy:
        from attacks.policy import Policy

        return Policy.from_text(self.order["policy"])

    @cached_property
    def model(self) -> Model:
        from dpsynth.synthesizers.model import load

        return load(self.run.model)

    @cached_property
    def split(self) -> Split:
        """The rows, split. Reached only after the charge: from inside a measurement, or by the gate."""
        frame = self.table.rows()
        with self.followed():
            self.ledger.saw(self.release, frame, self.schema)
        key = bytes.fromhex(self.state["split_key"]) if self.schema.unit.is_row else self.ledger.split_key
        return divide(frame, self.schema, key, shares_of(self.policy))

    def fit(self) -> None:
        if not self.run.model.exists():
            self._fit()
        self._fitted(self.release)

    def _fitted(self, name: str) -> None:
        with self.followed():
            self.ledger.fitted(name, self.code)

    def _fit(self) -> None:
        self.say("fit")
        request = self.generator.asked(self.schema)
        table = self.ledger.resumable_table(lambda: self.split.train, self.schema, self.release, self.run.answers, self.followed)
        table.progress = self._progress
        model = self.generator.fit_charged(table)
        if model.stamp != "ledgered" or model.granted != request.cost_in(self.ledger.currency):
            raise BadInput(Fault("model", f"is {model.stamp}", "release only what was paid for by the ledger with real noise"))
        self.run.place(self.run.model, model.save)

    def sample(self) -> None:
        if self.run.candidate.exists():
            return
        if self.verdicts:
            raise BadInput(Fault(str(self.run.candidate), "is gone, and its verdict was given", "restore it; rows are not drawn twice"))
        self.say("sample")
        rows = self.order["rows"] or min(max(1, round(self.model.total / self.policy.split["train"])), MOST_BY_DEFAULT)
        frame = self.model.sample(rows)
        self.run.place(self.run.candidate, lambda path: frame.to_parquet(path, index=False))

    def measure(self) -> None:
        """Ask for the histograms of nearness, where they are paid for: before the attacks, so that no verdict decides whether they are measured."""
        for request in self.requests[1:]:
            self.say("measure")
            self.beside = self._nearness(request), request.cost_in(self.ledger.currency)

    def _nearness(self, request: Request) -> Nearness:
        """What is told once, and after that told again from the journal."""
        from dpsynth.releasing.yardstick import Yardstick, located, located_schema, measured

        schema, mark = self.model.schema, self.run.candidate_hash()
        yardstick = Yardstick.of(self.candidate, schema)
        table = self.ledger.resumable_table(
            lambda: located(self.split, schema, self.ledger.split_key, yardstick, mark),
            located_schema(schema, yardstick, mark),
            self._beside,
            self.run.nearness,
            self.followed,
        )
        table.grant(request)
        sigma, counts = measured(table, yardstick)
        self._fitted(self._beside)
        rows, histograms = (Guarantee(float(r.epsilon), float(r.delta)) for r in self.requests)
        return published(rows, histograms, len(schema.synthesised), yardstick.edges_in_columns, sigma, counts.tolist())

    def attack(self) -> dict[str, Any]:
        """The attacks' document with the verdict; run once, and again only where evidence was missing."""
        for verdict in self.verdicts:
            self._require_same_rows(verdict)
        if self.run.attacks.exists():
            document: dict[str, Any] = json.loads(self.run.attacks.read_text(encoding="utf-8"))
            self._require_same_rows(document)
            if document["verdict"] != "INCONCLUSIVE" or not {r["code"] for r in document["reasons"]} <= PROVISIONAL:
                return document
        self.say("attack")
        from dpsynth.releasing.gate import Claimed, judge

        measured = tuple(dict.fromkeys(a.columns for a in self.model.answers))
        claim = Claimed(self.order["generator"], self.order["epsilon"], self.order["delta"], measured)
        document = judge(self.split, self.candidate, self.schema, self.policy, claim, self.state["attack_seed"])
        document |= {"candidate": self.run.candidate_hash()}
        self.run.report.unlink(missing_ok=True)
        self.run.put(self.run.attacks, json.dumps(document, indent=1).encode())
        return document

    @property
    def verdicts(self) -> list[dict[str, Any]]:
        """What the ledger was told of this release so far."""
        return [e.body for e in self.ledger.events() if e.kind == "verdict" and e.body["release"] == self.release]

    def _require_same_rows(self, judged: dict[str, Any]) -> None:
        """What was attacked is what is published, and rows that were refused are not exchanged for others."""
        if judged["candidate"] != self.run.candidate_hash():
            raise BadInput(Fault(str(self.run.candidate), "is not what was attacked", "restore it, or make a new release"))

    @cached_property
    def candidate(self) -> pd.DataFrame:
        import pandas as pd

        return pd.read_parquet(self.run.candidate)

    def gate(self, document: dict[str, Any]) -> None:
        """Write the verdict into the ledger, once, and the custodian's report."""
        self.say("gate")
        known = self.verdicts
        if not known or known[-1]["verdict"] != document["verdict"]:
            said = {"release": self.release, "verdict": document["verdict"], "candidate": document["candidate"], "code": self.code}
            with self.followed():
                self.ledger.record("verdict", said)
        if not self.run.report.exists():
            from dpsynth.releasing.papers import custodian_page

            page = custodian_page(self.release, document, self.model, self.split, self.candidate, self.ledger)
            self.run.put(self.run.report, page.encode())

    def publish(self, document: dict[str, Any]) -> Path:
        self.say("publish")
        if self.model.certificate is None:
            self.model = replace(self.model, certificate=self.release)
            self.run.place(self.run.model, self.model.save)
        from dpsynth.releasing.bundle import write_public
        from dpsynth.releasing.papers import public_contents

        contents = public_contents(self.release, document, self.model, self.candidate, self.policy, self.schema, self.ledger, self.order, self.beside)
        return write_public(self.run.out, contents, signer(self.order["key"]))


def signer(path: str | None) -> Ed25519PrivateKey:
    """The key in the file at `path`, else the custodian's own, made if there is none."""
    from dpsynth.releasing.key import KeyStore, load_private

    return load_private(Path(path)) if path else KeyStore.default().own_or_create()[0]


def _recorded(order: Order, checked: Checked) -> dict[str, Any]:
    """The order as a document, policy and schema in full: a resume must not meet changed ones."""
    from dpsynth.synthesizers.options import recorded

    return {
        "table": order.table.address,
        "schema": order.schema.to_dict(),
        "ledger": checked.ledger.store.kept_address,
        "ledger_id": checked.ledger.id,
        "epsilon": order.epsilon,
        "delta": order.delta,
        "generator": order.generator,
        "policy": checked.policy.text,
        "rows": order.rows,
        "key": None if order.key is None else str(order.key.absolute()),
        "purpose": order.purpose,
        "recipient": order.recipient,
        **({} if order.gate_epsilon is None else {"gate_epsilon": order.gate_epsilon}),
        **({"options": recorded(order.options)} if order.options else {}),
    }


def _silent(step: str) -> None:
    """Progress for callers who asked for none."""
