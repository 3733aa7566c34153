"""The bundle: the folder `public/` and the one zip file to send, each written whole or not at all.

Everything is built aside, flushed to disk and renamed as the last step. A process killed at any moment leaves no
`public/` or a whole one; calling `write_public` again clears what was left aside and completes the work.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import secrets
import shutil
import stat
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpsynth.durable import refusing, sync_folder, write_new
from dpsynth.errors import BadInput, DpsynthError, Fault, VerificationFailed
from dpsynth.releasing.certificate import Certificate, Signature, signatures_to_bytes
from dpsynth.releasing.rows import DICTIONARY, csv_bytes, lines_bytes, parquet_bytes, released_schema, row_faults, to_arrow
from dpsynth.schema import Schema

if TYPE_CHECKING:
    import pandas as pd
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

CERTIFIED = (
    "README.txt",
    "accuracy.json",
    "dictionary.csv",
    "policy.toml",
    "report.html",
    "schema.json",
    "synthetic.csv",
    "synthetic.parquet",
)
FILES = (*CERTIFIED, "certificate.json", "certificate.sig")
LARGEST_BUNDLE = 4 << 30
MOST_ENTRIES = 100
ASIDE = ".public-"
EPOCH = (1980, 1, 1, 0, 0, 0)
ASK_AGAIN = "ask the custodian for the file again"


@dataclass(frozen=True)
class PublicContents:
    """What goes into `public/`. `schema` has the released domain; `certificate` has no `files` yet."""

    synthetic: pd.DataFrame
    schema: Schema
    dictionary: Sequence[Mapping[str, str]]
    accuracy: Sequence[Mapping[str, Any]]
    policy_text: str
    certificate: Certificate
    report_html: str


def write_public(out_dir: Path, contents: PublicContents, signing_key: Ed25519PrivateKey) -> Path:
    """Write `out_dir/public/` and `out_dir/NAME-ID.zip`; return the zip's path. Calling it again changes nothing.

    Raises:
        BadInput: `out_dir` cannot be written, or its `public/` belongs to another release.
        DpsynthError: the contents contradict their schema or certificate; nothing was written.
    """
    public = out_dir / "public"
    target = out_dir / bundle_name(contents.schema.name, contents.certificate.id)
    with refusing(out_dir, "be written", "name a folder that you can write to, with room on its disk"):
        out_dir.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(out_dir, target)
        if os.path.lexists(public):
            _check_same_release(public, contents.certificate.id)
        else:
            _write_folder(out_dir, public, _signed_files(contents, signing_key))
        if not os.path.lexists(target):
            _write_zip(target, read_folder(public))
    return target


def bundle_name(schema_name: str, certificate_id: str) -> str:
    """`NAME-ID.zip`, the name kept to letters, digits, `_` and `-`."""
    safe = re.sub(r"[^A-Za-z0-9_]+", "-", schema_name).strip("-")[:60] or "table"
    return f"{safe}-{certificate_id}.zip"


def read_bundle(path: Path) -> dict[str, bytes]:
    """The files of a bundle, a folder or a zip, in memory; nothing is extracted.

    Raises:
        BadInput: there is nothing at `path`, or it is not a bundle at all.
        VerificationFailed: it is a bundle, but damaged, or it holds what a bundle never holds.
    """
    with refusing(path, "be read", "give the zip file that the custodian sent, or the folder it was unpacked into"):
        if path.is_dir():
            return read_folder(path)
        if path.open("rb").read(2) == b"PK" or path.suffix.lower() == ".zip":
            return _read_zip(path)
    raise _not_a_bundle(path)


def read_folder(folder: Path, expected: Sequence[str] = FILES) -> dict[str, bytes]:
    """The regular files of a folder, which must hold nothing else, and some of what is expected."""
    names = sorted(entry.name for entry in folder.iterdir())
    if not set(names) & set(expected):
        raise _not_a_bundle(folder)
    odd = [n for n in names if not stat.S_ISREG(os.lstat(folder / n).st_mode)]
    if odd:
        raise VerificationFailed("\n".join(f"{n!r}: is a folder, a link or a device, and a bundle has plain files only; {ASK_AGAIN}" for n in odd))
    if len(names) > MOST_ENTRIES or sum(os.lstat(folder / n).st_size for n in names) > LARGEST_BUNDLE:
        raise VerificationFailed(f"{folder}: has more than a bundle may hold; {ASK_AGAIN}")
    return {n: (folder / n).read_bytes() for n in names}


def _signed_files(contents: PublicContents, key: Ed25519PrivateKey) -> dict[str, bytes]:
    certificate = contents.certificate
    schema = released_schema(contents.schema, certificate.id)
    try:
        table = to_arrow(contents.synthetic, schema, certificate.id)
    except (ValueError, OverflowError) as error:
        raise DpsynthError(f"the rows are not of the schema, so nothing was written: {error}") from error
    faults = [*row_faults(table, schema, certificate.id), *certificate.faults()]
    if contents.policy_text != certificate.policy.text:
        faults.append("policy_text is not the certificate's")
    if schema.name != certificate.schema:
        faults.append("the certificate names another schema")
    if faults:
        raise DpsynthError("the bundle would not verify, so it was not written: " + "; ".join(faults))
    files = {
        "README.txt": readme(certificate, schema.name).encode(),
        "accuracy.json": (json.dumps(list(contents.accuracy), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode(),
        "dictionary.csv": lines_bytes(list(DICTIONARY), ([row.get(k, "") for k in DICTIONARY] for row in contents.dictionary)),
        "policy.toml": contents.policy_text.encode(),
        "report.html": contents.report_html.encode(),
        "schema.json": (schema.to_json() + "\n").encode(),
        "synthetic.csv": csv_bytes(table, schema),
        "synthetic.parquet": parquet_bytes(table),
    }
    signed = replace(certificate, files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()}).to_bytes()
    return files | {"certificate.json": signed, "certificate.sig": signatures_to_bytes((Signature.make(signed, key),))}


def readme(certificate: Certificate, schema_name: str) -> str:
    """README.txt: what the files are, what the certificate means, how to check it with and without dpsynth."""
    from importlib.resources import files

    text = (files("dpsynth") / "resources" / "bundle_readme.txt").read_text(encoding="utf-8")
    words = {"STATEMENT": certificate.statement, "ZIP": bundle_name(schema_name, certificate.id), "ID": certificate.id}
    return re.sub("@(STATEMENT|ZIP|ID)@", lambda found: words[found[1]], text)


def _write_folder(out_dir: Path, public: Path, files: Mapping[str, bytes]) -> None:
    aside = out_dir / f"{ASIDE}{secrets.token_hex(8)}"
    aside.mkdir(mode=0o755)
    try:
        aside.chmod(0o755)
        for name in FILES:
            write_new(aside / name, files[name])
        sync_folder(aside)
        aside.rename(public)
        sync_folder(out_dir)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def _write_zip(target: Path, files: Mapping[str, bytes]) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system, entry.external_attr, entry.compress_type = 3, (stat.S_IFREG | 0o644) << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, files[name], compresslevel=6)
    aside = target.parent / f".{target.name}-{secrets.token_hex(8)}"
    try:
        write_new(aside, content.getvalue())
        aside.rename(target)
        sync_folder(target.parent)
    finally:
        aside.unlink(missing_ok=True)


def _clear_leftovers(out_dir: Path, target: Path) -> None:
    for folder in out_dir.glob(f"{ASIDE}*"):
        shutil.rmtree(folder)
    for path in tuple(out_dir.iterdir()):
        if path.name.startswith(f".{target.name}-"):
            path.unlink()


def _check_same_release(public: Path, certificate_id: str) -> None:
    """What stands in `public` must be the whole bundle of this very certificate."""
    other = BadInput(Fault(str(public), "exists already and is not this release", "name another --out"))
    if public.is_symlink() or not public.is_dir():
        raise other
    files = read_folder(public)
    if set(files) != set(FILES) or Certificate.from_bytes(files["certificate.json"]).id != certificate_id:
        raise other
    hashes = Certificate.from_bytes(files["certificate.json"]).files
    if any(hashlib.sha256(files[name]).hexdigest() != hashes.get(name) for name in CERTIFIED):
        raise VerificationFailed(f"{public}: was changed after it was written; remove it and resume the release")


def _read_zip(path: Path) -> dict[str, bytes]:
    damaged = VerificationFailed(f"{path}: the zip file is truncated or damaged; {ASK_AGAIN}")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if not {e.filename for e in entries} & set(FILES):
                raise _not_a_bundle(path)
            faults = _zip_faults(entries)
            if faults:
                raise VerificationFailed("\n".join(f"{path}: {fault}; do not unpack it, {ASK_AGAIN}" for fault in faults))
            return {entry.filename: _member(archive, entry) for entry in entries}
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, NotImplementedError, ValueError, RuntimeError):
        raise damaged from None
    except Exception as error:
        if type(error).__module__ == "zlib":
            raise damaged from None
        raise


def _zip_faults(entries: Sequence[zipfile.ZipInfo]) -> list[str]:
    """What an honest bundle never holds. Names are checked before anything is read."""
    names = [e.filename for e in entries]
    faults = [f"holds {n!r} twice" for n in sorted({n for n in names if names.count(n) > 1})] if len(names) <= MOST_ENTRIES else []
    for entry in entries[:MOST_ENTRIES]:
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if re.search(r"[/\\:\0]", entry.orig_filename) or entry.filename in ("", ".", ".."):
            faults.append(f"holds the path {entry.orig_filename!r} instead of a plain name")
        elif kind not in (0, stat.S_IFREG) or entry.flag_bits & 1:
            faults.append(f"holds {entry.filename!r}, which is a link, a device or encrypted")
    if len(names) > MOST_ENTRIES or sum(e.file_size for e in entries) > LARGEST_BUNDLE:
        faults.append("holds more than a bundle may")
    return faults


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with archive.open(entry) as stream:
        content = stream.read(entry.file_size + 1)
    if len(content) != entry.file_size:
        raise zipfile.BadZipFile(entry.filename)
    return content


def _not_a_bundle(path: Path) -> BadInput:
    nested = path / "public"
    instead = f"give {nested}" if nested.is_dir() else "give the zip file that the custodian sent, or the folder it was unpacked into"
    return BadInput(Fault(str(path), "is not a bundle", instead))
