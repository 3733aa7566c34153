"""What a release says of itself: to the public, from released values only; to the custodian, with the rows beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from dpsynth import __version__
from dpsynth.encoding.codec import labels
from dpsynth.privacy import Attribute, Bins, Cost, Ledger, Merged
from dpsynth.releasing.bundle import PublicContents
from dpsynth.releasing.certificate import (
    ANOTHER,
    LIMITS,
    MEASURED_BESIDE,
    TRAINED,
    Bounding,
    Certificate,
    Event,
    Generator,
    LedgerTotals,
    PolicyCopy,
)
from dpsynth.releasing.nearness import KIND, Nearness
from dpsynth.releasing.order import together
from dpsynth.releasing.report import AuditorFacts, CustodianFacts, PublicFacts, auditor_report, custodian_report, public_report
from dpsynth.releasing.rows import dictionary_of
from dpsynth.schema import PrivacyUnit, Schema
from dpsynth.utility.fidelity import Shares, encode, row_weights, shares, total_variation

if TYPE_CHECKING:
    import pandas as pd

    from attacks.policy import Policy
    from dpsynth.releasing.split import Split
    from dpsynth.synthesizers import Model
    from dpsynth.synthesizers.answer import Answer

REVIEW_AFTER = timedelta(days=730)
KEPT = "by this policy nothing is published, whatever the verdict: the table stays in the house"
WITHIN = 1.96


def public_contents(
    release: str,
    document: Mapping[str, Any],
    model: Model,
    candidate: pd.DataFrame,
    policy: Policy,
    schema: Schema,
    ledger: Ledger,
    order: Mapping[str, Any],
    beside: tuple[Nearness, Cost] | None = None,
) -> PublicContents:
    """Everything that goes into `public/`. Depends on the rows through the model's released values, the noised counts of nearness (`beside`, with
    what they were charged) and the one verdict only."""
    released = _released_schema(model.schema)
    measured = accuracy(model)
    certificate = _certificate(release, document, model, policy, schema, ledger, order, beside)
    return PublicContents(
        synthetic=candidate,
        schema=released,
        dictionary=dictionary_of(released),
        accuracy=measured,
        policy_text=policy.text,
        certificate=certificate,
        report_html=public_report(PublicFacts(certificate, released, candidate, measured)),
    )


def accuracy(model: Model) -> list[dict[str, Any]]:
    """Each measured marginal: what a count of one is, its noise scale, a cell's error bound (19 times in 20), its cells' names and noisy
    counts.

    The counts are of the bounded training part, before any later pooling: the answer as it was given.
    """
    return [{"counted": counted(model.schema.unit)} | _measured(answer) for answer in model.answers]


def counted(unit: PrivacyUnit) -> str:
    """What a count of one is: a row, or a unit by its name."""
    return unit.name if unit.count == "units" else "row"


def bounding_words(unit: PrivacyUnit) -> tuple[str, ...]:
    """What a reader of the figures has to know of how a unit's rows were counted; nothing where the unit is the row."""
    if unit.is_row:
        return ()
    rows = "one row" if unit.max_rows == 1 else f"at most {unit.max_rows:,} rows"
    if unit.count == "rows":
        return (f"Of each {unit.name} {rows} counted, chosen by a secret key; figures are of these rows.",)
    return (
        f"Each {unit.name} counted as one, shared evenly over {rows}, chosen by a secret key: figures weigh each {unit.name} alike, not each row.",
    )


def _measured(answer: Answer) -> dict[str, Any]:
    bins = answer.attributes[0] if len(answer.attributes) == 1 else None
    whole = bool((answer.values == np.rint(answer.values)).all())
    return ({"edges": list(bins.edges)} if isinstance(bins, Bins) else {}) | {
        "columns": list(answer.columns),
        "sigma": answer.sigma,
        "cells": int(answer.values.size),
        "bound_95": math.ceil(WITHIN * answer.sigma),
        "labels": [labels(a) for a in answer.attributes],
        "noisy": (answer.values.astype(np.int64) if whole else answer.values).tolist(),
    }


def _certificate(
    release: str,
    document: Mapping[str, Any],
    model: Model,
    policy: Policy,
    schema: Schema,
    ledger: Ledger,
    order: Mapping[str, Any],
    beside: tuple[Nearness, Cost] | None,
) -> Certificate:
    today = date.today()
    events = [Event(e["kind"], _what(e["what"]), e["amount"], e["delta"]) for e in model.events]
    unused = model.granted.amount - math.fsum(e.amount for e in events)
    events.append(
        Event(
            "unused",
            "left over from rounding; charged all the same",
            max(unused, 0.0),
            max(model.granted.event_delta - math.fsum(e.delta for e in events), 0.0),
        )
    )
    nearness, costs = (None, []) if beside is None else (beside[0], [beside[1]])
    events += [Event(KIND, "units of train and of control, by side and bin", cost.amount, cost.event_delta) for cost in costs]
    return Certificate(
        id=release,
        issued=today.isoformat(),
        review_by=(today + REVIEW_AFTER).isoformat(),
        supersedes=None,
        purpose=order["purpose"],
        recipient=order["recipient"],
        unit=schema.unit.name,
        bounding=_bounding(model.schema.unit),
        epsilon=together(model.epsilon, model.delta, [model.granted, *costs]),
        delta=model.delta,
        currency=model.granted.currency.name,
        amount=math.fsum(e.amount for e in events),
        delta_event=math.fsum(e.delta for e in events),
        events=tuple(events),
        ledger=LedgerTotals(ledger.id, ledger.dataset, ledger.epsilon, ledger.delta, head_of(ledger, release)),
        generator=Generator(model.generator, {}, __version__),
        schema=schema.name,
        policy=PolicyCopy.of(policy.name, str(policy.version), policy.text),
        attacks=tuple(a["name"] for a in document["attacks"] if a["role"] != "descriptive"),
        limits=(
            *LIMITS,
            *([ANOTHER] if "another" in ledger.events()[0].body else []),
            *([TRAINED] if any(e.kind == "train" for e in events) else []),
            *bounding_words(model.schema.unit),
            *([] if beside is None else [MEASURED_BESIDE]),
        ),
        nearness=nearness,
    )


def _bounding(unit: PrivacyUnit) -> Bounding:
    return Bounding(not unit.is_row, 1 if unit.is_row else unit.max_rows, unit.count, unit.null_ids)


def head_of(ledger: Ledger, release: str) -> str:
    """The hash of the event with the verdict on a release. Says nothing of the ledger's history to who does not have it."""
    return [e.hash for e in ledger.events() if e.kind == "verdict" and e.body["release"] == release][-1]


def _what(what: Any) -> str:
    """The columns a measurement was of; for a selection how many candidates it had."""
    if isinstance(what, int):
        return f"one of {what} choices"
    return what if isinstance(what, str) else " x ".join(what)


def _released_schema(schema: Schema) -> Schema:
    """The schema of the synthetic rows: only what is in them, and no unit to name."""
    return Schema(schema.name, schema.synthesised, PrivacyUnit("row"), title=schema.title, target=schema.target, impossible=schema.impossible)


def custodian_page(release: str, document: Mapping[str, Any], model: Model, split: Split, candidate: pd.DataFrame, ledger: Ledger) -> str:
    """The page for the custodian's eyes only: verdict, attacks, and the synthetic rows beside the real ones."""
    attributes = [a.base if isinstance(a, Merged) else a for a in model.codec.attributes]
    comparisons, pairs = compare(split.train, candidate, attributes, row_weights(split.train, model.schema))
    attempt = next(e.body["attempt"] for e in ledger.events() if e.kind == "grant" and e.body["release"] == release)
    return custodian_report(
        CustodianFacts(
            release=release,
            verdict=document["verdict"],
            reasons=document["reasons"],
            attacks=document["attacks"],
            comparisons=comparisons,
            pairs=pairs,
            roc=document.get("roc", []),
            ledger=ledger_lines(ledger),
            attempts=attempt,
            next_steps=[r["next"] for r in document["reasons"]] or ["Send the zip file beside public/, and nothing else."],
        )
    )


def ledger_lines(ledger: Ledger) -> list[str]:
    """The ledger in a few lines."""
    spent = ledger.spent
    return [
        f"{ledger.dataset}: epsilon {ledger.epsilon:g} at delta {ledger.delta:g} in all",
        f"spent: {ledger.currency.symbol} {spent.amount:.6g} of {ledger.capacity.amount:.6g}, as epsilon {spent.epsilon(ledger.delta):.4g}",
        f"largest single further release: epsilon {ledger.largest_epsilon(ledger.delta):.4g} at delta {ledger.delta:g}",
    ]


def compare(
    real: pd.DataFrame, synthetic: pd.DataFrame, attributes: Sequence[Attribute], weights: Shares | None = None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """One-way shares side by side, and the total variation of every pair of columns, the worst first; `weights` are the real rows'."""
    left, right = encode(real, attributes), encode(synthetic, attributes)
    ones = []
    for attribute in attributes:
        a, b = shares(left, [attribute], weights), shares(right, [attribute])
        ones.append(
            {
                "column": attribute.column.name,
                "kind": attribute.column.type,
                "labels": labels(attribute),
                "train": a.tolist(),
                "synthetic": b.tolist(),
                "tv": total_variation(a, b),
            }
        )
    twos = [
        {"columns": [a.column.name, b.column.name], "tv": total_variation(shares(left, [a, b], weights), shares(right, [a, b]))}
        for i, a in enumerate(attributes)
        for b in attributes[:i]
    ]
    return ones, sorted(twos, key=lambda pair: -pair["tv"])


def audit_page(document: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """The auditor's page: the attacks on somebody's table, without a release of ours around it; `inputs` are the hashes of what was read."""
    return auditor_report(
        AuditorFacts(
            verdict=document["verdict"],
            reasons=document["reasons"],
            attacks=document["attacks"],
            roc=document.get("roc", []),
            next_steps=[r["next"] for r in document["reasons"]] + ([] if document["policy"]["publishes"] else [KEPT]),
            policy=document["policy"],
            claim=document["claim"],
            inputs=inputs,
        )
    )
