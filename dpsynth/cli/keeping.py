"""Commands that keep things: schemas, ledgers, keys, the installation."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from dpsynth.cli.reply import Reply, table
from dpsynth.cli.words import new_file, number
from dpsynth.errors import BadInput, Fault, VerificationFailed, refuse
from dpsynth.privacy.cost import check_budget
from dpsynth.schema import FileFormat, Schema
from dpsynth.schema.contradictions import contradictions


def init(words: Namespace) -> Reply:
    from dpsynth.schema.draft import draft, file_types, read_dictionary
    from dpsynth.tables import FileTable

    source = Path(words.table)
    header = FileTable(source, FileFormat(separator=words.separator)).header()
    dictionary = read_dictionary(Path(words.dictionary)) if words.dictionary else {}
    unit = tuple(words.unit.split(",")) if words.unit else ()
    text = draft(source.name.split(".")[0], header, unit, file_types(source), dictionary)
    if words.separator != ",":
        text = text.replace("\n[[columns]]", f'\n[file]\nseparator = "{words.separator}"\n\n[[columns]]', 1)
    target = new_file(words.out)
    target.write_text(text, encoding="utf-8")
    try:
        schema = Schema.load(target)
    except BadInput:
        target.unlink()
        raise
    opened = sum(c.is_open for c in schema.columns)
    lines = [f"{target}: {len(schema.columns)} columns, {opened} of them open (measured under a charge)", f"next: dpsynth schema check {target}"]
    return Reply(lines, {"schema": str(target), "columns": len(schema.columns), "open": opened})


def schema_check(words: Namespace) -> Reply:
    from dpsynth.encoding.advice import open_points

    schema = Schema.load(words.schema)
    refuse(contradictions(schema.impossible, {c.name: c for c in schema.columns}, f"{words.schema}, impossible"))
    points = list(open_points(schema))
    lines = [f"{words.schema}: sound; {len(schema.synthesised)} columns to synthesise, unit {schema.unit.name}"]
    for point in points:
        cost = f" (left open it takes {point.epsilon:.3f} of epsilon 1)" if point.epsilon else ""
        lines += [f"{point.column or 'table'}: {point.what}{cost}", *(f"    {line}" for line in point.line.splitlines())]
    return Reply(lines, {"schema": schema.name, "open_points": [vars(p) for p in points]})


def ledger_create(words: Namespace) -> Reply:
    from dpsynth.privacy.currency import CURRENCIES
    from dpsynth.privacy.ledger import Ledger
    from dpsynth.privacy.store import store_at
    from dpsynth.releasing.populations import Populations

    epsilon, delta = number(words.epsilon), number(words.delta)
    faults = check_budget(epsilon, delta)
    if words.currency not in CURRENCIES:
        faults.append(Fault("currency", f"{words.currency!r} is unknown", f"write one of {', '.join(CURRENCIES)}"))
    if words.another is not None and not words.another.strip():
        faults.append(Fault("--another", "empty", 'say why: --another "a trial on made-up rows"'))
    refuse(faults)
    another = words.another or ""
    with Populations.default().claimed(words.dataset, store_at(words.path).kept_address, another):
        ledger = Ledger.create(words.path, words.dataset, epsilon, delta, CURRENCIES[words.currency], another)  # type: ignore[arg-type]
    budget = f"epsilon {epsilon:g} at delta {delta:g}, counted in {ledger.currency.name}"
    said = f"{ledger.where}: all that may ever be spent through it on {ledger.dataset}: {budget}"
    return Reply(
        [said, "keep it with the table, and back it up: a lost ledger is a spent one"],
        {"id": ledger.id, "path": ledger.where, "currency": ledger.currency.name},
    )


def ledger_show(words: Namespace) -> Reply:
    from dpsynth.privacy.history import standing
    from dpsynth.privacy.ledger import Ledger

    ledger = Ledger.open(words.path)
    events = ledger.events()
    spent, pending, left = ledger.spent, ledger.pending, ledger.largest_epsilon(ledger.delta)
    grants = [(e, standing(events, e)) for e in events if e.kind == "grant"]
    read = {e.body["release"]: str(e.body["version"]) for e in events if e.kind == "version"}
    rows = [
        [e.at, f"{e.body['epsilon']:g}", f"{e.body['delta']:g}", e.body["purpose"], read.get(e.body["release"], "-"), stands] for e, stands in grants
    ]
    still = (
        f"of it open: {ledger.currency.symbol} {pending.amount:.6g}, granted to releases that have not ended their fit; it stays spent, resume them"
    )
    lines = [
        f"{ledger.dataset}: epsilon {ledger.epsilon:g} at delta {ledger.delta:g} in all, counted in {ledger.currency.name}",
        f"spent: {ledger.currency.symbol} {spent.amount:.6g} of {ledger.capacity.amount:.6g}, "
        f"as epsilon {spent.epsilon(ledger.delta):.4g} at delta {ledger.delta:g}",
        *([still] if pending.amount else []),
        f"largest single further release: epsilon {left:.4g} at delta {ledger.delta:g}",
        "",
        *table(["when", "epsilon", "delta", "for", "version", "stands"], rows),
    ]
    document = {
        "id": ledger.id,
        "dataset": ledger.dataset,
        "epsilon": ledger.epsilon,
        "delta": ledger.delta,
        "currency": ledger.currency.name,
        "spent": {"amount": spent.amount, "delta": spent.event_delta, "epsilon": spent.epsilon(ledger.delta)},
        "open": {"amount": pending.amount, "delta": pending.event_delta},
        "largest_epsilon": left,
        "grants": [e.body | {"at": e.at, "stands": stands} for e, stands in grants],
        "events": [{"seq": e.seq, "at": e.at, "kind": e.kind, "body": e.body} for e in events],
    }
    return Reply(lines, document)


def ledger_verify(words: Namespace) -> Reply:
    from dpsynth.privacy.ledger import Ledger
    from dpsynth.privacy.store import store_at
    from dpsynth.releasing.key import KeyStore
    from dpsynth.releasing.seen import Seen
    from dpsynth.releasing.verify import require_history

    where = store_at(words.path).where
    try:
        head = Ledger.verify(words.path)
    except VerificationFailed as error:
        raise VerificationFailed(f"{where}: {error}; restore it from a backup") from None
    ledger, keys = Ledger.open(words.path), KeyStore.default()
    seen = Seen.default()
    for fault in seen.faults(ledger):
        raise VerificationFailed(str(fault))
    certificates = [require_history(ledger, Path(given), keys).id for given in words.certificate]
    lines = [f"{where}: the chain of events is whole, and each grant charges what its epsilon and delta are worth; its head is {head}"]
    if not ledger.shows_secrets:
        lines.append("its secrets are not this role's to read, so whether they are the ones that it was made with was not checked")
    lines += [f"{where}: its history is the one that certificate {given} was given on" for given in certificates]
    if not certificates:
        known = "it holds all that this desk remembers of it" if seen.memory(ledger) else "this desk remembers nothing of it"
        lines.append(f"{known}; what others saw only a certificate shows: --certificate FILE, the last bundle released")
    return Reply(lines, {"head": head, "certificates": certificates})


def ledger_reopen(words: Namespace) -> Reply:
    from dpsynth.privacy.ledger import Ledger
    from dpsynth.releasing.seen import Seen

    ledger = Ledger.open(words.path)
    with Seen.default().followed(ledger):
        ledger.reopen(words.reason)
    return Reply([f"{ledger.where}: open to releases again; the reason is in its history"], {"reopened": True})


def key_create(words: Namespace) -> Reply:
    from dpsynth.releasing.key import KeyStore

    store = KeyStore.default()
    store.create()
    known = store.show()
    lines = [f"made {store.own_path}", f"fingerprint {known.fingerprint}", f"by telephone: {known.spoken}", "keep a copy of the file somewhere safe"]
    return Reply(lines, {"fingerprint": known.fingerprint, "path": str(store.own_path)})


def key_show(words: Namespace) -> Reply:
    from dpsynth.releasing.key import KeyStore

    known = KeyStore.default().show()
    return Reply([known.fingerprint, f"by telephone: {known.spoken}"], {"fingerprint": known.fingerprint, "spoken": known.spoken})


def key_list(words: Namespace) -> Reply:
    from dpsynth.releasing.key import KeyStore

    known = KeyStore.default().known()
    rows = [[k.name, k.fingerprint] for k in known]
    return Reply(table(["name", "fingerprint"], rows) if rows else ["no keys yet"], {"keys": [{"name": n, "fingerprint": f} for n, f in rows]})


def key_export(words: Namespace) -> Reply:
    from dpsynth.releasing.key import KeyStore

    known = KeyStore.default().export(Path(words.file))
    return Reply([f"{words.file}: your public key, fingerprint {known.fingerprint}"], {"fingerprint": known.fingerprint, "file": words.file})


def key_trust(words: Namespace) -> Reply:
    from dpsynth.releasing.key import KeyStore

    known = KeyStore.default().trust(Path(words.file), words.name)
    lines = [f"trusted as {known.name}: {known.fingerprint}", f"compare it with the custodian by telephone: {known.spoken}"]
    return Reply(lines, {"name": known.name, "fingerprint": known.fingerprint})


def doctor(words: Namespace) -> Reply:
    from dpsynth.cli.health import examine

    findings = examine()
    rows = [[f.what, "ok" if f.works else "no", f.detail] for f in findings]
    broken = [f for f in findings if f.needed and not f.works]
    return Reply(table(["what", "works", ""], rows), {"findings": [vars(f) for f in findings]}, 1 if broken else 0)
