"""Verification: whether a bundle is what its certificate says, offline and without the data.

Every check is made and reported, not only the first that fails. Parquet is parsed only once a key that this person knows
vouches for its exact bytes: a stranger's file gets no parser to play with.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dpsynth.durable import refusing
from dpsynth.errors import BadInput, Fault, VerificationFailed, refuse
from dpsynth.privacy.ledger import Ledger
from dpsynth.releasing.bundle import CERTIFIED, FILES, read_bundle
from dpsynth.releasing.certificate import Certificate, Signature, signatures_from_bytes
from dpsynth.releasing.key import KeyStore, KnownKey, fingerprint, load_public, raw_bytes, spoken
from dpsynth.schema import Schema

Status = Literal["ok", "failed", "skipped"]
ASK = "ask the custodian for the file again"
MARKS = {"ok": "ok     ", "failed": "FAILED ", "skipped": "skipped"}


@dataclass(frozen=True)
class Check:
    """One check: what was looked at, how it went, and each fault in words that say what to do."""

    name: str
    status: Status
    words: tuple[str, ...]


@dataclass(frozen=True)
class Terms:
    """What the partner asks for, beyond that the bundle be sound."""

    max_epsilon: float | None = None
    unit: str | None = None
    policy: str | None = None


@dataclass(frozen=True)
class Verification:
    """All checks of one bundle. `certificate` is there if it could be read, `signer` if a known key signed it."""

    bundle: Path
    checks: tuple[Check, ...]
    certificate: Certificate | None
    signer: KnownKey | None

    @property
    def ok(self) -> bool:
        return all(c.status == "ok" for c in self.checks)

    @property
    def exit_code(self) -> int:
        return 0 if self.ok else VerificationFailed.exit_code

    @property
    def faults(self) -> tuple[str, ...]:
        return tuple(_plain(f"{c.name}: {w}") for c in self.checks if c.status == "failed" for w in c.words)

    def require(self) -> Verification:
        """Itself, if all is well. Raises `VerificationFailed` with every fault, one a line."""
        if not self.ok:
            raise VerificationFailed("\n".join(self.faults))
        return self

    def document(self) -> dict[str, Any]:
        """For `--json`. The certificate is there only if a known key vouches for it."""
        vouched = self.certificate if self.signer else None
        return {
            "verified": self.ok,
            "bundle": str(self.bundle),
            "signer": {"name": self.signer.name, "fingerprint": self.signer.fingerprint} if self.signer else None,
            "checks": [{"name": c.name, "status": c.status, "words": list(c.words)} for c in self.checks],
            "certificate": vouched.document() if vouched else None,
        }

    def lines(self) -> list[str]:
        """For people. Control characters of a hostile bundle do not reach the terminal."""
        lines = [f"{MARKS[c.status]}  {c.name}: {word}" for c in self.checks for word in c.words]
        lines += ["", *(self.conclusion() if self.ok else ["NOT VERIFIED: do not rely on this file."])]
        return [_plain(line) for line in lines]

    def conclusion(self) -> list[str]:
        """What is verified, once all is well."""
        assert self.certificate is not None and self.signer is not None  # else a check had failed
        return [f"Verified: certificate {self.certificate.id}, signed by {self.signer.name}.", self.certificate.statement]


def verify(
    bundle: Path,
    keys: KeyStore,
    public_key: Path | None = None,
    max_epsilon: float | None = None,
    unit: str | None = None,
    policy: str | None = None,
) -> Verification:
    """Check a bundle, a folder or a zip, and return only if all is well.

    Raises:
        BadInput: as `examine` does.
        VerificationFailed: with every fault, one a line.
    """
    return examine(bundle, keys, public_key, max_epsilon, unit, policy).require()


def examine(
    bundle: Path,
    keys: KeyStore,
    public_key: Path | None = None,
    max_epsilon: float | None = None,
    unit: str | None = None,
    policy: str | None = None,
) -> Verification:
    """All checks of a bundle, a folder or a zip, whether or not they went well.

    With `public_key` that key alone counts, else one's own and the trusted ones.
    `policy` is a name, or the path or SHA-256 of the policy's text.

    Raises:
        BadInput: there is no bundle at the path, or a key, policy or figure to check against is no good.
    """
    terms = Terms(max_epsilon, unit, policy_term(policy))
    if max_epsilon is not None and not (math.isfinite(max_epsilon) and max_epsilon > 0):
        refuse([Fault("--max-epsilon", "is not a positive number", "write for example --max-epsilon 3")])
    known = (KnownKey(public_key.name, load_public(public_key)),) if public_key else keys.known()
    try:
        files = read_bundle(bundle)
    except VerificationFailed as error:
        return Verification(bundle, (Check("files", "failed", tuple(str(error).split("\n"))),), None, None)
    return _verification(bundle, files, known, terms)


def require_history(ledger: Ledger, given: Path, keys: KeyStore) -> Certificate:
    """Check that a ledger still has the history on which a certificate was given; the certificate.

    Args:
        given: a bundle, or the certificate.json of one, its certificate.sig beside it.

    Raises:
        BadInput: there is nothing of the kind at the path.
        VerificationFailed: events were dropped or rewritten since, or the certificate is another ledger's or not signed by a known key.
    """
    certificate = _signed_certificate(given, keys)
    if certificate.ledger.id != ledger.id:
        raise VerificationFailed(f"{given}: is a certificate of another ledger than {ledger.where}; give one that was released from it")
    if not any(e.hash == certificate.ledger.head for e in ledger.events()):
        what = f"its history is not the one that certificate {certificate.id} was given on: events were dropped or rewritten"
        raise VerificationFailed(f"{ledger.where}: {what}; restore it from a backup")
    return certificate


def _signed_certificate(given: Path, keys: KeyStore) -> Certificate:
    if given.suffix == ".json":
        with refusing(given, "be read", "give a bundle, or a certificate.json with its certificate.sig beside it"):
            files = {"certificate.json": given.read_bytes(), "certificate.sig": given.with_suffix(".sig").read_bytes()}
    else:
        files = read_bundle(given)
    certificate, reading = _read_certificate(files)
    _, signing = read_signatures(files, keys.known())
    faults = [f"{given}: {c.name}: {w}" for c in (reading, signing) if c.status == "failed" for w in c.words]
    if certificate is None or faults:
        raise VerificationFailed("\n".join(faults))
    return certificate


def _verification(bundle: Path, files: dict[str, bytes], known: tuple[KnownKey, ...], terms: Terms) -> Verification:
    certificate, reading = _read_certificate(files)
    signer, signing = read_signatures(files, known)
    checks = [check("files", file_faults(files, FILES), "the ten files of a bundle and no other"), reading, signing]
    if certificate is None:
        waits = "not looked at, since the certificate cannot be read"
        return Verification(bundle, (*checks, Check("contents", "skipped", (waits,))), None, signer)
    changed = tuple(_hash_faults(files, certificate))
    checks += [
        check("hashes", changed, "every file is the one that was certified"),
        check(
            "arithmetic",
            certificate.faults(),
            f"the charge is within ({certificate.epsilon:g}, {certificate.delta:g}) and the ledger's total",
        ),
        check("policy", _policy_faults(files, certificate), f"policy.toml is the certificate's {certificate.policy.name}"),
    ]
    if near := certificate.nearness:
        checks.append(
            check(
                "nearness",
                near.faults(),
                f"the AUC of {near.auc:.3f} is that of the noised histograms" if near.tells else "the noise of the histograms leaves no AUC to tell",
            )
        )
    if signer is None or changed or not {"schema.json", "synthetic.csv", "synthetic.parquet"} <= files.keys():
        checks.append(Check("rows", "skipped", ("not looked at: first a known key must vouch for these very files",)))
    else:
        checks.append(check("rows", _row_faults(files, certificate), "the rows keep to the schema, and both files hold the same rows"))
    if terms != Terms():
        checks.append(check("terms", _term_faults(certificate, terms), "what you asked for holds"))
    return Verification(bundle, tuple(checks), certificate, signer)


def check(name: str, faults: Iterator[str] | tuple[str, ...], well: str) -> Check:
    """The check of a name: failed with its faults, or ok with what went well."""
    found = tuple(faults)
    return Check(name, "failed", found) if found else Check(name, "ok", (well,))


def file_faults(files: dict[str, bytes], expected: tuple[str, ...]) -> Iterator[str]:
    """What is missing of the expected files, and what is there beside them."""
    for name in sorted(files.keys() ^ set(expected)):
        yield f"{name!r} is missing; {ASK}" if name in expected else f"{name!r} is not part of a bundle; remove it, or {ASK}"


def _read_certificate(files: dict[str, bytes]) -> tuple[Certificate | None, Check]:
    if "certificate.json" not in files:
        return None, Check("certificate", "failed", (f"certificate.json is missing; {ASK}",))
    try:
        certificate = Certificate.from_bytes(files["certificate.json"])
    except VerificationFailed as error:
        return None, Check("certificate", "failed", tuple(str(error).split("\n")))
    return certificate, Check("certificate", "ok", (f"{certificate.id}, issued {certificate.issued}, review by {certificate.review_by}",))


def read_signatures(files: dict[str, bytes], known: tuple[KnownKey, ...], signed: str = "certificate") -> tuple[KnownKey | None, Check]:
    """The known key that signed, if one did. One damaged signature spoils all; a stranger's counts for nothing."""
    paper, seal = f"{signed}.json", f"{signed}.sig"
    if not {paper, seal} <= files.keys():
        return None, Check("signature", "failed", (f"there is nothing to check; {ASK}",))
    try:
        signatures = signatures_from_bytes(files[seal])
    except VerificationFailed as error:
        return None, Check("signature", "failed", (str(error).replace("certificate.sig", seal),))
    if not all(s.is_valid(files[paper]) for s in signatures):
        return None, Check("signature", "failed", (f"does not fit: the {signed} was changed after it was signed; {ASK}",))
    names = {raw_bytes(k.key): k for k in known}
    signers = [names[raw_bytes(s.key)] for s in signatures if raw_bytes(s.key) in names]
    if not signers:
        return None, Check("signature", "failed", tuple(_stranger(s) for s in signatures))
    strangers = [s for s in signatures if raw_bytes(s.key) not in names]
    words = [f"by {k.name}, {k.fingerprint}" for k in signers]
    words += [f"a further one by a key that you do not know, {fingerprint(s.key)}, counts for nothing" for s in strangers]
    return signers[0], Check("signature", "ok", tuple(words))


def _stranger(signature: Signature) -> str:
    return (
        f"valid, but by a key that you do not know: {fingerprint(signature.key)} (to read out: {spoken(signature.key)}); call the custodian on "
        "a number that you already have, compare, ask for the public key as a file, run `dpsynth key trust FILE` and verify again"
    )


def _hash_faults(files: dict[str, bytes], certificate: Certificate) -> Iterator[str]:
    for name in sorted(certificate.files.keys() ^ set(CERTIFIED)):
        yield f"the certificate {'does not cover' if name in CERTIFIED else 'names the unknown file'} {name!r}; {ASK}"
    for name in CERTIFIED:
        if name in files and name in certificate.files and hashlib.sha256(files[name]).hexdigest() != certificate.files[name]:
            yield f"{name} is not the file that was certified; {ASK}"


def _policy_faults(files: dict[str, bytes], certificate: Certificate) -> Iterator[str]:
    if files.get("policy.toml") != certificate.policy.text.encode():
        yield f"policy.toml is not the text that the certificate holds; {ASK}"


def _row_faults(files: dict[str, bytes], certificate: Certificate) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from dpsynth.releasing.rows import csv_bytes, row_faults

    try:
        schema = Schema.from_dict(json.loads(files["schema.json"]), "schema.json")
    except (BadInput, ValueError, TypeError, AttributeError, RecursionError) as error:
        yield f"schema.json is not a schema ({str(error).splitlines()[0]}); {ASK}"
        return
    if schema.name != certificate.schema:
        yield f"schema.json is of another table than the certificate; {ASK}"
    try:
        table = pq.read_table(io.BytesIO(files["synthetic.parquet"]))
    except (pa.ArrowException, OSError, ValueError):
        yield f"synthetic.parquet cannot be read; {ASK}"
        return
    faults = [f"synthetic.parquet: {fault}; {ASK}" for fault in row_faults(table, schema, certificate.id)]
    yield from faults
    if not faults and (line := _first_difference(csv_bytes(table, schema), files["synthetic.csv"])):
        yield f"synthetic.csv and synthetic.parquet differ from line {line} on; {ASK}"


def _first_difference(expected: bytes, found: bytes) -> int | None:
    """The first line, from 1, in which two texts differ."""
    if expected == found:
        return None
    left, right = expected.split(b"\n"), found.split(b"\n")
    return next((i for i, (a, b) in enumerate(zip(left, right, strict=False), 1) if a != b), min(len(left), len(right)))


def _term_faults(certificate: Certificate, terms: Terms) -> Iterator[str]:
    if terms.max_epsilon is not None and not certificate.epsilon <= terms.max_epsilon:
        yield f"epsilon is {certificate.epsilon:g}, you accept at most {terms.max_epsilon:g}; ask the custodian for a release that spends less"
    if terms.unit is not None and certificate.unit != terms.unit:
        yield f"what is protected is a {certificate.unit!r}, you ask for {terms.unit!r}; ask the custodian for a release by that unit"
    held = certificate.policy
    if terms.policy is not None and terms.policy not in (held.name, held.sha256):
        yield f"the policy is {held.name!r} (SHA-256 {held.sha256}), not the one you ask for; ask the custodian which applies"


def policy_term(policy: str | None) -> str | None:
    """A shipped policy's name or a path as the hash of the text, since anyone may give a policy that name; else as it is."""
    from attacks.policy import SHIPPED, Policy

    if policy in SHIPPED:
        return Policy.load(policy).hash
    if policy is None or not (policy.endswith(".toml") or "/" in policy):
        return policy.lower() if policy and re.fullmatch(r"[0-9a-fA-F]{64}", policy) else policy
    try:
        return hashlib.sha256(Path(policy).read_bytes()).hexdigest()
    except OSError as error:
        fault = Fault(policy, f"cannot be read ({error.strerror})", "give a policy's name, the path of its file, or its SHA-256")
        raise BadInput(fault) from None


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
