"""Commands of the auditor and of the partner: split, attack, verify, registry."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpsynth.cli.reply import Reply, reason_lines, table
from dpsynth.cli.words import new_file, number, path, whole
from dpsynth.errors import BadInput, Fault, refuse
from dpsynth.privacy.cost import check_budget
from dpsynth.schema import Schema
from dpsynth.tables import header_faults, open_table

if TYPE_CHECKING:
    import pandas as pd


NOT_IN_SCHEMA = "in the table but not in the schema"  # as `header_faults` says it
EXIT_CODES = {"PASS": 0, "FAIL": 3, "INCONCLUSIVE": 4}


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

    tables, schema = _tables(words)
    policy, claim, out = Policy.load(words.policy), _claim(words), path(words.out)
    if out is not None and out.exists():
        raise BadInput(Fault(str(out), "exists already", "give a new folder"))
    frames = {name: source.rows() for name, source in tables.items()}
    report = evaluate(
        frames["train"],
        frames.get("control"),
        frames["synthetic"],
        schema,
        frames.get("reference"),
        policy,
        claim,
        progress=_say,
        subgroups=words.subgroup,
    )
    document = report.document() | {"roc": roc_curves(report)}
    if out is not None:
        _write(out, document, frames)
    return Reply(_lines(document, out), document | ({"out": str(out)} if out else {}), EXIT_CODES[document["verdict"]])


def _tables(words: Namespace) -> tuple[dict[str, Any], Schema]:
    """The tables to compare, checked, and their schema."""
    from dpsynth.releasing.manifest import read_split

    if words.split:
        if words.train or words.control or words.reference:
            raise BadInput(Fault("--split", "given together with --train, --control or --reference", "give one or the other"))
        schema, paths = read_split(Path(words.split))
    else:
        refuse(
            Fault(f"--{o}", "not given", "give --split DIR, or --train, --schema and (if there is one) --control")
            for o in ("train", "schema")
            if not getattr(words, o)
        )
        schema = Schema.load(words.schema)
        paths = {name: Path(given) for name in ("train", "control", "reference") if (given := getattr(words, name))}
    paths["synthetic"] = Path(words.synthetic)
    tables = {name: open_table(where, schema) for name, where in paths.items()}
    synthesised = schema.with_columns(schema.synthesised)
    faults = ((name, f) for name, source in tables.items() for f in header_faults(source, synthesised if _lacks_ids(source, schema) else schema))
    refuse(_to_leave_out(f) if name == "synthetic" and f.what == NOT_IN_SCHEMA else f for name, f in faults)
    return tables, schema


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


def _write(out: Path, document: dict[str, Any], frames: dict[str, pd.DataFrame]) -> None:
    from dpsynth.releasing.papers import audit_page, signed_statement

    out.mkdir(parents=True)
    out.chmod(0o700)
    (out / "attacks.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    (out / "report.html").write_text(audit_page(document), encoding="utf-8")
    for name, content in signed_statement(document, frames).items():
        (out / name).write_bytes(content)


def _lines(document: dict[str, Any], out: Path | None) -> list[str]:
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
    if document["claim"]:
        refuted = any(r["code"] == "claim_violated" for r in document["reasons"])
        lines.append(f"claim (epsilon {document['claim']['epsilon']:g}): {'refuted' if refuted else 'not refuted'}")
    lines += reason_lines(document["reasons"])
    return lines + ([f"in full: {out}/report.html"] if out else [])


def audit(words: Namespace) -> Reply:
    from dpsynth.releasing.audited import DELTA, audit_generator, finding
    from dpsynth.releasing.audited_once import audit_once
    from dpsynth.synthesizers import generator_named

    if Path(words.generator).exists():
        raise BadInput(Fault(words.generator, "is a file, not a generator", "to judge a synthetic table: dpsynth attack --synthetic FILE"))
    epsilon, runs = number(words.epsilon), whole(words.runs)
    faults = check_budget(epsilon, DELTA)
    if not isinstance(runs, int) or runs < 20:
        faults.append(Fault("--runs", "not a whole number of at least 20", "write --runs 1000"))
    refuse(faults)
    kind, carried = generator_named(words.generator), finding(words.generator)
    once = audit_once(kind, epsilon)  # type: ignore[arg-type]
    found = audit_generator(kind, runs, epsilon, DELTA, _say)  # type: ignore[arg-type]
    lines = [f"{words.generator} at ({epsilon:g}, {DELTA:g}): {found.words}", once.words, f"carried by this build: {carried}"]
    document = vars(found) | {"violated": found.violated, "one_run": vars(once) | {"refuted": once.refuted}, "carried": carried}
    return Reply(lines, document, 3 if found.violated or once.refuted else 0)


def _say(step: str) -> None:
    print(f"{step} ...", file=sys.stderr, flush=True)


def verify(words: Namespace) -> Reply:
    from dpsynth.releasing.key import KeyStore
    from dpsynth.releasing.verify import examine

    most = number(words.max_epsilon)
    if most is not None and (not isinstance(most, float) or not most > 0):
        raise BadInput(Fault("--max-epsilon", "not a number above 0", "write --max-epsilon 3"))
    found = examine(Path(words.bundle), KeyStore.default(), path(words.public_key), most, words.unit, words.policy)
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
