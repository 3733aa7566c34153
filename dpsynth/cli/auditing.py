"""Commands of the auditor and of the partner: split, attack, verify, registry."""

from __future__ import annotations

import json
import sys
import zlib
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpsynth.cli.reply import Reply, reason_lines, table
from dpsynth.cli.words import new_file, new_folder, number, path, whole
from dpsynth.errors import BadInput, Fault, refuse
from dpsynth.privacy.cost import check_budget
from dpsynth.schema import Schema
from dpsynth.tables import FileTable, header_faults, open_table

if TYPE_CHECKING:
    from attacks.policy import Policy


NOT_IN_SCHEMA = "in the table but not in the schema"  # as `header_faults` says it


def split(words: Namespace) -> Reply:
    from attacks.policy import Policy
    from dpsynth.releasing.manifest import write_split

    schema = Schema.load(words.schema)
    source = open_table(words.table, schema)
    faults = list(header_faults(source, schema))
    out = Path(words.out)
    if out.exists():
        faults.append(Fault(words.out, "exists already", "give a new folder"))
    policy = Policy.load(words.policy)
    refuse(faults)
    manifest = write_split(source, schema, policy, out)
    lines = [f"{name}: {rows:,} rows" for name, rows in manifest["rows"].items()]
    lines += [f"give the vendor {out}/train.csv and nothing else", f"then: dpsynth attack --split {out} --synthetic FILE"]
    return Reply(lines, manifest | {"out": str(out)})


def attack(words: Namespace) -> Reply:
    from attacks.policy import Policy
    from attacks.suite import evaluate
    from dpsynth.releasing.gate import roc_curves
    from dpsynth.releasing.statement import EXIT_CODES, claim_outcome, hashes_of, seed_of

    schema, files = _inputs(words)
    tables = _tables(files, schema)
    policy, claim, out = Policy.load(words.policy), _claim(words), new_folder(words.out)
    inputs = hashes_of(files)
    frames = {name: source.rows() for name, source in tables.items()}
    again = hashes_of(files)
    refuse(Fault(str(files[role]), "changed while it was read", "wait until it is written") for role in files if again[role] != inputs[role])
    report = evaluate(
        frames["train"],
        frames.get("control"),
        frames["synthetic"],
        schema,
        frames.get("reference"),
        policy,
        claim,
        seed=seed_of(inputs),
        progress=_say,
        subgroups=words.subgroup,
    )
    document = report.document() | {"roc": roc_curves(report)}
    document["policy"]["publishes"] = policy.publishes
    if claim:
        document["claim"]["outcome"] = claim_outcome(document, policy)
    if out is not None:
        _write(out, document, policy, words.subgroup, inputs)
    return Reply(_lines(document, out), document | ({"out": str(out)} if out else {}), EXIT_CODES[document["verdict"]])


def _inputs(words: Namespace) -> tuple[Schema, dict[str, Path]]:
    """The schema, and every file that the verdict rests on by its role."""
    from dpsynth.releasing.manifest import read_split

    if words.split:
        if words.train or words.control or words.reference:
            raise BadInput(Fault("--split", "given together with --train, --control or --reference", "give one or the other"))
        schema, files = read_split(Path(words.split))
        if words.schema and replace(Schema.load(words.schema), file=schema.file).to_json() != schema.to_json():  # a split's files are CSV of ours
            raise BadInput(Fault("--schema", "is not what the table was split by", "leave it out, or split anew by it"))
        files |= {name: Path(words.split) / f"{name}.json" for name in ("schema", "manifest")}
    else:
        refuse(
            Fault(f"--{o}", "not given", "give --split DIR, or --train, --schema and (if there is one) --control")
            for o in ("train", "schema")
            if not getattr(words, o)
        )
        schema = Schema.load(words.schema)
        files = {name: Path(given) for name in ("train", "control", "reference", "schema") if (given := getattr(words, name))}
    return schema, files | {"synthetic": Path(words.synthetic)}


def _tables(files: dict[str, Path], schema: Schema) -> dict[str, FileTable]:
    """The tables to compare, checked."""
    from dpsynth.releasing.statement import TABLES

    tables = {name: open_table(files[name], schema) for name in TABLES if name in files}
    synthesised = schema.with_columns(schema.synthesised)
    faults = ((name, f) for name, source in tables.items() for f in header_faults(source, synthesised if _lacks_ids(source, schema) else schema))
    refuse(_to_leave_out(f) if name == "synthetic" and f.what == NOT_IN_SCHEMA else f for name, f in faults)
    refuse(_unread(tables["synthetic"]))
    return tables


def _unread(synthetic: FileTable) -> Iterator[Fault]:
    """What no attack would look at, in a table that a verdict would vouch for: cells beyond the header, a compressed file's damaged end."""
    try:
        row = next(synthetic.longer_rows(), None)
    except (OSError, EOFError, zlib.error):
        yield Fault(synthetic.where, "is damaged, or is not compressed to its end", "ask for the file again")
        return
    if row is not None:
        yield Fault(f"{synthetic.where}, row {row}", "has more cells than the first line has names", "have each row hold one cell a column")


def _to_leave_out(fault: Fault) -> Fault:
    """A column that train does not have either can not be declared: other tools write an index."""
    return replace(fault, instead="leave it out of the synthetic table (an index: to_csv(index=False)), for no attack would look at it")


def _lacks_ids(source: Any, schema: Schema) -> bool:
    """Whether a table leaves out every id column, as synthetic ones do."""
    try:
        return not {c.name for c in schema.columns if not c.is_synthesised} & set(source.header())
    except BadInput:
        return False


def _claim(words: Namespace) -> Any:
    from attacks.claim import Claim

    if words.claim_epsilon is None and words.claim_delta is None:
        return None
    return Claim(number(words.claim_epsilon), number(words.claim_delta) if words.claim_delta is not None else 0.0)  # type: ignore[arg-type]


def _write(out: Path, document: dict[str, Any], policy: Policy, subgroups: list[str], inputs: dict[str, str]) -> None:
    from dpsynth.releasing.statement import audit_folder

    out.mkdir(parents=True)
    out.chmod(0o700)
    for name, content in audit_folder(document, policy, subgroups, inputs).items():
        (out / name).write_bytes(content)


def _lines(document: dict[str, Any], out: Path | None) -> list[str]:
    from dpsynth.releasing.papers import KEPT

    rows = [
        [
            a["name"],
            a["status"],
            "" if a["effect"] is None else f"{a['effect']:.4f}",
            "" if a["ci"] is None or a["ci"][1] is None else f"{a['ci'][1]:.4f}",
            "" if a["tolerance"] is None else f"{a['tolerance']:g}",
            "" if a["minimum_detectable"] is None else f"{a['minimum_detectable']:.4f}",
            {True: "seen", False: "missed", None: ""}[a["control_detected"]],
        ]
        for a in document["attacks"]
    ]
    lines = [
        document["verdict"],
        "",
        *table(["attack", "status", "effect", "upper bound", "tolerance", "least detectable", "planted leak"], rows),
        "",
    ]
    if not document["policy"]["publishes"]:
        lines.append(f"{document['policy']['name']}: {KEPT}")
    if claim := document["claim"]:
        lines.append(f"claim (epsilon {claim['epsilon']:g}): {claim['outcome']}")
    lines += reason_lines(document["reasons"])
    return lines + ([f"in full: {out}/report.html"] if out else [])


def audit(words: Namespace) -> Reply:
    from dpsynth.releasing.audited import ALPHA, DELTA, audit_generator, finding
    from dpsynth.releasing.audited_once import audit_once
    from dpsynth.synthesizers import generator_named

    if Path(words.generator).is_file():
        raise BadInput(Fault(words.generator, "is a file, not a generator", "to judge a synthetic table: dpsynth attack --synthetic FILE"))
    epsilon, runs = number(words.epsilon), whole(words.runs)
    faults = check_budget(epsilon, DELTA)
    if not isinstance(runs, int) or runs < 20:
        faults.append(Fault("--runs", "not a whole number of at least 20", "write --runs 1000"))
    refuse(faults)
    kind, carried = generator_named(words.generator), finding(words.generator)
    once = audit_once(kind, epsilon, alpha=ALPHA / 2)  # type: ignore[arg-type]
    found = audit_generator(kind, runs, epsilon, DELTA, _say, alpha=ALPHA / 2)  # type: ignore[arg-type]
    lines = [f"{words.generator} at ({epsilon:g}, {DELTA:g}): {found.words}", once.words, f"carried by this build: {carried}"]
    document = vars(found) | {"violated": found.violated, "one_run": vars(once) | {"refuted": once.refuted}, "carried": carried}
    return Reply(lines, document, 3 if found.violated or once.refuted else 0)


def _say(step: str) -> None:
    print(f"{step} ...", file=sys.stderr, flush=True)


def verify(words: Namespace) -> Reply:
    from dpsynth.releasing.key import KeyStore
    from dpsynth.releasing.statement import examine_audit, is_audit
    from dpsynth.releasing.verify import examine

    most = number(words.max_epsilon)
    if most is not None and (not isinstance(most, float) or not most > 0):
        raise BadInput(Fault("--max-epsilon", "not a number above 0", "write --max-epsilon 3"))
    judged = examine_audit if is_audit(Path(words.bundle)) else examine
    found = judged(Path(words.bundle), KeyStore.default(), path(words.public_key), most, words.unit, words.policy)
    return Reply(found.lines(), found.document(), found.exit_code)


def registry(words: Namespace) -> Reply:
    """The bundle's entry for the registry of deployments; written only of a bundle that verifies."""
    from dpsynth.releasing.bundle import read_bundle
    from dpsynth.releasing.key import KeyStore
    from dpsynth.releasing.registry import Publisher, entry, to_text
    from dpsynth.releasing.verify import verify as verified

    publisher = Publisher(words.curator, words.curator_type, words.region, words.author or words.curator, words.sector)
    refuse(publisher.faults())
    out = new_file(words.out)
    found = verified(Path(words.bundle), KeyStore.default(), path(words.public_key))
    assert found.certificate is not None  # it verified
    schema = Schema.from_dict(json.loads(read_bundle(Path(words.bundle))["schema.json"]), "schema.json")
    document = entry(found.certificate, schema, publisher)
    out.write_text(to_text(document), encoding="utf-8")
    return Reply([f"{out}: an entry for the registry, as a draft; read it through before you send it"], document)
