"""A split on disk, for an auditor: three tables, and a signed manifest that ties them to each other and to the schema."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpsynth.durable import refusing
from dpsynth.errors import BadInput, Fault, VerificationFailed
from dpsynth.privacy.unit import new_key
from dpsynth.releasing.certificate import Signature, signatures_from_bytes, signatures_to_bytes
from dpsynth.releasing.key import KeyStore, raw_bytes
from dpsynth.releasing.split import SIDES, divide, shares_of
from dpsynth.schema import FileFormat, Schema
from dpsynth.tables import Table

if TYPE_CHECKING:
    from attacks.policy import Policy

FORMAT = "dpsynth-split/1"


def write_split(table: Table, schema: Schema, policy: Policy, out: Path) -> dict[str, Any]:
    """Split `table` by a fresh secret key and write DIR with train.csv, control.csv, reference.csv, schema.json and manifest.

    The key is not kept: who holds the folder holds the split. Raises `BadInput` if the folder cannot be made; leaves nothing then.
    """
    signing_key, _ = KeyStore.default().own_or_create()
    parts = divide(table.rows(), schema, new_key(), shares_of(policy))
    written = Schema(**{**vars(schema), "file": FileFormat(decimal=schema.file.decimal)})
    with refusing(out, "be written", "give a folder on a writable medium"):
        try:
            out.mkdir(parents=True, mode=0o700)
            for side in SIDES:
                getattr(parts, side).to_csv(out / f"{side}.csv", index=False)
            (out / "schema.json").write_text(written.to_json(), encoding="utf-8")
        except OSError:
            shutil.rmtree(out, ignore_errors=True)
            raise
    hashes = {name: _hash(out / name) for name in (*(f"{s}.csv" for s in SIDES), "schema.json")}
    manifest = {
        "format": FORMAT,
        "schema": schema.name,
        "unit": schema.unit.name,
        "rows": {s: len(getattr(parts, s)) for s in SIDES},
        "sha256": hashes,
    }
    content = json.dumps(manifest, indent=1).encode()
    (out / "manifest.json").write_bytes(content)
    (out / "manifest.sig").write_bytes(signatures_to_bytes((Signature.make(content, signing_key),)))
    return manifest


def read_split(folder: Path) -> tuple[Schema, dict[str, Path]]:
    """The schema and the three tables of a split, unchanged since they were written and signed by a known key.

    Raises:
        BadInput: not a split's folder.
        VerificationFailed: a file was changed, or the manifest's signature is not by a known key.
    """
    try:
        content = (folder / "manifest.json").read_bytes()
        manifest = json.loads(content)
        if manifest["format"] != FORMAT:
            raise ValueError
        hashes = dict(manifest["sha256"])
        signatures = signatures_from_bytes((folder / "manifest.sig").read_bytes())
    except (OSError, ValueError, KeyError, TypeError):
        raise BadInput(Fault(str(folder), "not the folder of a split", "make one: dpsynth split TABLE --schema S --out DIR")) from None
    changed = [name for name, digest in hashes.items() if not (folder / name).is_file() or _hash(folder / name) != digest]
    if changed or set(hashes) != {*(f"{s}.csv" for s in SIDES), "schema.json"}:
        raise VerificationFailed(f"{folder}: changed since the split: {', '.join(changed) or 'manifest.json'}; split anew")
    known = KeyStore.default().known()
    if not any(raw_bytes(s.key) == raw_bytes(k.key) and s.is_valid(content) for s in signatures for k in known):
        raise VerificationFailed(f"{folder}: the manifest is not signed by a key you know; `dpsynth key trust FILE` adds the splitter's")
    return Schema.load(folder / "schema.json"), {side: folder / f"{side}.csv" for side in SIDES}


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
