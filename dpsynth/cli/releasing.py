"""Commands of the custodian: demo, plan, release, sample, profile."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from dpsynth.cli.reply import Reply, Steps, reason_lines, table
from dpsynth.cli.words import new_file, number, options, path, whole
from dpsynth.errors import BadInput, Fault, refuse
from dpsynth.privacy.cost import Cost, check_budget
from dpsynth.privacy.store import is_server
from dpsynth.schema import Schema

if TYPE_CHECKING:
    from dpsynth.releasing.order import Order
    from dpsynth.releasing.pipeline import Outcome
    from dpsynth.releasing.plan import Prediction

DEMO_EPSILON, DEMO_DELTA = 1.0, 1e-9
# Two times of a plan that are no further apart than this are told as one.
NEAR = 1.5


def demo(words: Namespace) -> Reply:
    """The main job on the survey; its ledger stands beside the folder."""
    from dpsynth.privacy.ledger import Ledger
    from dpsynth.releasing.key import KeyStore
    from dpsynth.releasing.order import Order
    from dpsynth.releasing.pipeline import STEPS, carry_out
    from dpsynth.releasing.verify import verify
    from dpsynth.tables.survey import SurveyTable, survey_schema

    schema = survey_schema()
    survey = SurveyTable(schema)
    survey.header()
    out = Path(words.out) if words.out else _free_name(Path("dpsynth-demo"))
    account = out.with_name(f"{out.name}.ledger.db")
    if out.exists() or account.exists():
        raise BadInput(Fault(str(out), "exists already", "give another --out"))
    Ledger.create(account, schema.name, DEMO_EPSILON, DEMO_DELTA, another="a demonstration: the survey is public")
    order = Order(survey, schema, account, DEMO_EPSILON, DEMO_DELTA, out)
    try:
        outcome = carry_out(order, Steps(STEPS))
    except BadInput:
        if Ledger.open(account).spent == Cost():
            account.unlink()
        raise
    reply = _outcome(outcome)
    if outcome.bundle is None:
        return reply
    verified = verify(outcome.bundle, KeyStore.default(), None, None, None, None)
    lines = [*reply.lines, "", "What your partner will see (dpsynth verify):", *verified.lines()]
    return Reply(lines, reply.document | {"verification": verified.document(), "ledger": str(account)}, reply.exit_code)


def release(words: Namespace) -> Reply:
    from dpsynth.releasing.order import check
    from dpsynth.releasing.pipeline import MEASURING, STEPS, carry_out, resume

    if words.resume:
        usual = {"generator": "mst", "policy": "partner-contract", "purpose": "", "recipient": ""}
        owned = ("table", "schema", "ledger", "epsilon", "delta", "out", "rows", "key", "gate_epsilon", "option", *usual)
        given = [o.replace("_", "-") for o in owned if getattr(words, o) != usual.get(o)]
        faults = [Fault(f"--{o}", "a resumed run keeps its own", "give --resume DIR alone") for o in given]
        if words.dry_run:
            faults.append(Fault("--dry-run", "a resumed run goes on for real", "give --resume DIR alone"))
        refuse(faults)
        return _outcome(resume(words.resume, progress=Steps(STEPS)))
    order = _order(words)
    steps = STEPS if order.gate_epsilon is None else MEASURING
    if not words.dry_run:
        return _outcome(carry_out(order, Steps(steps)))
    checked = check(order)
    left = checked.ledger.largest_epsilon(order.delta)
    lines = [
        "Nothing is wrong that can be seen before reading cells; nothing was spent.",
        f"generator {order.generator} at ({order.epsilon:g}, {order.delta:g}), policy {checked.policy.name}, steps: {', '.join(steps)}",
        f"the ledger would still allow a single release of epsilon {left:.4g} at this delta",
    ]
    lines += checked.notes
    document = {"dry_run": True, "largest_epsilon": left, "steps": list(steps), "notes": list(checked.notes)}
    if order.gate_epsilon is None:
        return Reply(lines, document)
    lines.insert(
        2, f"beside the rows histograms of nearness at ({order.gate_epsilon:g}, {order.delta:g}); together ({checked.epsilon:g}, {order.delta:g})"
    )
    return Reply(lines, document | {"gate_epsilon": order.gate_epsilon, "epsilon": checked.epsilon})


def _order(words: Namespace) -> Order:
    from dpsynth.releasing.order import Order
    from dpsynth.tables import open_table

    refuse(
        Fault(f"--{name}" if name != "table" else "TABLE", "not given", "see `dpsynth release --help`")
        for name in ("table", "schema", "ledger", "epsilon", "delta", "out")
        if getattr(words, name) is None
    )
    schema = _schema(words.schema, lambda: _standing_faults(words))
    return Order(
        table=open_table(words.table, schema),
        schema=schema,
        ledger=words.ledger,
        epsilon=number(words.epsilon),
        delta=number(words.delta),
        out=Path(words.out),
        generator=words.generator,
        policy=words.policy,
        rows=whole(words.rows),
        key=path(words.key),
        purpose=words.purpose,
        recipient=words.recipient,
        gate_epsilon=number(words.gate_epsilon),
        options=options(words.option),
    )


def _standing_faults(words: Namespace) -> list[Fault]:
    """What can be said of the other arguments when the schema can not be read."""
    faults = check_budget(number(words.epsilon), number(words.delta))
    for name in ("table", "ledger"):
        if not is_server(getattr(words, name)) and not Path(getattr(words, name)).is_file():
            faults.append(Fault(getattr(words, name), "no such file", f"check the path of the {name}"))
    return faults


def _schema(text: str, others: object) -> Schema:
    try:
        return Schema.load(text)
    except BadInput as error:
        raise BadInput([*error.faults, *(others() if callable(others) else ())]) from None


def _outcome(outcome: Outcome) -> Reply:
    """A verdict in words, with what to do next."""
    lines = [f"{outcome.verdict}: {_MEANING[outcome.verdict]}", *(f"  {line}" for line in reason_lines(outcome.reasons))]
    if outcome.bundle is not None:
        from dpsynth.releasing.key import KeyStore, fingerprint
        from dpsynth.releasing.pipeline import signer

        state = Path(outcome.out) / "custodian"
        lines += [f"send this one file: {outcome.bundle}", f"for your eyes only: {state}/report.html"]
        if KeyStore.default().own() is not None:
            lines.append(f"signed with your key {fingerprint(signer(None).public_key())} (dpsynth key export FILE gives it to partners)")
    else:
        lines += [f"why, in full (for your eyes only): {outcome.out}/custodian/report.html"]
    document = {
        "release": outcome.release,
        "verdict": outcome.verdict,
        "reasons": list(outcome.reasons),
        "out": str(outcome.out),
        "bundle": None if outcome.bundle is None else str(outcome.bundle),
    }
    return Reply(lines, document, outcome.exit_code)


_MEANING = {
    "PASS": "none of the attacks found more than the policy allows",
    "FAIL": "blocked: an attack proved more than the policy allows",
    "INCONCLUSIVE": "blocked: the evidence is missing or too weak to let the table out",
}


def plan(words: Namespace) -> Reply:
    from attacks.policy import Policy
    from dpsynth.releasing.plan import predict
    from dpsynth.synthesizers import generator_named

    schema = Schema.load(words.schema)
    delta, units = number(words.delta), whole(words.units)
    epsilons = [number(part) for part in words.epsilon.split(",")]
    faults = [f for e in epsilons for f in check_budget(e, delta)]
    if units is not None and (not isinstance(units, int) or units < 1):
        faults.append(Fault("--units", "not a whole number above 0", "write --units 10000"))
    refuse(dict.fromkeys(faults))
    generator_named(words.generator)
    policy = Policy.load(words.policy)
    lines = [predict(schema, units, e, delta, policy, words.generator) for e in epsilons]  # type: ignore[arg-type]
    header = ["epsilon", "column error", "1,000 people as", "attacker right", f"{policy.name}", "CPU s", "of it the fit", "MB"]
    rows = [
        [
            f"{p.epsilon:g}",
            f"{p.column_error:.3f}",
            f"1,000 +- {p.group:,.0f}",
            f"{100 * p.best_odds:.1f} %",
            "can pass"
            if p.can_pass
            else "cannot pass" + (f" (control share {p.control_share:g} would)" if p.control_share and p.epsilon <= policy.max_epsilon else ""),
            _span(p.least_seconds, p.seconds),
            _span(p.least_fit_seconds, p.fit_seconds),
            f"{p.megabytes:,.0f}",
        ]
        for p in lines
    ]
    notes = [
        "",
        *_unit_notes(schema),
        "column error: expected total variation of one column's distribution, 0 to 1. 1,000 people as: within, 19 times in 20.",
        "attacker right: at best, guessing about one person from even odds. No row was read.",
        "CPU s: seconds on one core, for the whole release; by the clock a busy or slower machine takes longer. MB: memory, at its peak.",
        "From the least to the usual, where it depends on how much columns have to do with each other, which no schema tells.",
        "Error, time and memory are good to about a factor of two, of a span its nearer end; on tables unlike those they were fitted to,",
        "perhaps less: evenly spread categories that noise hides err up to three times as much.",
    ]
    alone = [f"{p.epsilon:g}" for p in lines if not p.structure]
    if alone:
        notes.append(f"At epsilon {', '.join(alone)} each column is told of by itself only: nothing of how columns go together.")
    said = [*table(header, rows), *notes, *_standing_notes(lines, words.generator)]
    return Reply(said, {"generator": words.generator, "policy": policy.name, "plan": [p.document() for p in lines]})


def _span(least: float, usual: float) -> str:
    """One figure where both are near enough to it, else both."""
    return f"{usual:,.0f}" if usual <= NEAR * least else f"{least:,.0f} to {usual:,.0f}"


def _standing_notes(lines: Sequence[Prediction], asked: str) -> list[str]:
    """Of AIM and the generators that train, how near each comes at each epsilon, and which are not offered."""
    names = sorted(lines[0].standing)
    if not names:
        return []
    rows = [[f"{p.epsilon:g}", *(_stands(p, n, asked) for n in names)] for p in lines]
    lost = [f"{p.epsilon:g}" for p in lines if asked in p.not_offered]
    return [
        "",
        "Two-way error over that of columns alone, as measured on other tables where rows told no more than here:",
        *table(["epsilon", *names], rows),
        "Below 1 is better; figures of other tables, not bounds. not offered: no better than columns alone there, or not measured.",
        *([f"{asked} is not offered at epsilon {', '.join(lost)}, and planned since you ask for it."] if lost else []),
    ]


def _stands(plan: Prediction, generator: str, asked: str) -> str:
    if generator in plan.not_offered and generator != asked:
        return "not offered"
    error = plan.standing[generator]
    return "not measured" if error is None else f"{error:.2f}"


def _unit_notes(schema: Schema) -> list[str]:
    """What the figures of a plan are of, where a unit has several rows."""
    from dpsynth.releasing.outline import GUESSED_ROWS

    unit = schema.unit
    if unit.count == "units":
        return [f"Each {unit.name} counts as one, however many rows: figures weigh each {unit.name} alike, and about as many rows are made."]
    if unit.keep is not None:
        return [f"How many rows of a {unit.name} count will be measured, at most {unit.max_rows}; reckoned here with {GUESSED_ROWS}."]
    return []


def sample(words: Namespace) -> Reply:
    from dpsynth.releasing.derived import write_sample
    from dpsynth.synthesizers.model import load

    rows, seed = whole(words.rows), whole(words.seed)
    faults = [] if isinstance(rows, int) and rows >= 0 else [Fault("--rows", "not a whole number of at least 0", "write --rows 10000")]
    if seed is not None and (not isinstance(seed, int) or seed < 0):
        faults.append(Fault("--seed", "not a whole number of at least 0", "write --seed 7"))
    refuse(faults)
    target, model = new_file(words.out), load(words.model)
    frame = model.sample(rows, seed)  # type: ignore[arg-type]
    said = write_sample(frame, model, target)
    return Reply(
        [f"{len(frame):,} rows in {target}", said], {"rows": len(frame), "out": str(target), "derived_from": model.certificate, "note": said}
    )


def profile(words: Namespace) -> Reply:
    from dpsynth.encoding.profile import profile as measured
    from dpsynth.encoding.profile import profile_request
    from dpsynth.privacy.ledger import Ledger
    from dpsynth.releasing.seen import Seen
    from dpsynth.tables import header_faults, open_table

    schema = Schema.load(words.schema)
    source = open_table(words.table, schema)
    faults = list(header_faults(source, schema))
    try:
        ledger = Ledger.open(words.ledger)
        delta = ledger.delta if words.delta is None else number(words.delta)
        faults += check_budget(number(words.epsilon), delta)
        private = ledger.table(source.rows, schema)
    except BadInput as error:
        raise BadInput([*faults, *error.faults]) from None
    refuse(faults)
    print("charged look at the cells ...", file=sys.stderr)
    with Seen.default().followed(ledger):
        private.grant(profile_request(number(words.epsilon), delta))  # type: ignore[arg-type]
    columns = measured(private, schema)
    states = list(columns[0].shares)
    rows = [[c.column, *(f"{100 * c.shares[s]:.1f}" for s in states), f"{100 * c.within:.1f}"] for c in columns]
    advice = [f"{c.column}: {line}" for c in columns for line in c.advice]
    counted = "rows" if schema.unit.count == "rows" else f"rows, each {schema.unit.name} weighed alike"
    lines = [
        f"per cent of {counted} (noised):",
        *table(["column", *states, "within"], rows),
        "",
        *(advice or ["no line of the schema needs changing"]),
    ]
    return Reply(lines, {"columns": [vars(c) for c in columns]})


def _free_name(wanted: Path) -> Path:
    names = chain([wanted], (wanted.with_name(f"{wanted.name}-{i}") for i in count(2)))
    return next(p for p in names if not p.exists() and not p.with_name(f"{p.name}.ledger.db").exists())
