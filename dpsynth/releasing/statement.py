"""An auditor's statement: which files were judged, by which policy, with which verdict, under a signature; and its check without them.

The seed of the attacks is a function of the judged tables' bytes, so that the same tables get the same verdict: an auditor can not repeat an
audit until chance lets a table pass, and need not be believed that he did not. A maker can not look for a lucky table either: the seed
depends on the held-back rows, which he does not have.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpsynth import __version__
from dpsynth.durable import refusing
from dpsynth.errors import BadInput, VerificationFailed
from dpsynth.releasing.bundle import read_folder
from dpsynth.releasing.certificate import Signature, signatures_to_bytes
from dpsynth.releasing.key import KeyStore, KnownKey, load_public
from dpsynth.releasing.verify import Check, Terms, Verification, check, file_faults, policy_term, read_signatures

if TYPE_CHECKING:
    from attacks.policy import Policy

FORMAT = "dpsynth-audit/2"
TABLES = ("train", "control", "reference", "synthetic")
STATED = ("attacks.json", "policy.toml", "report.html")
FILES = (*STATED, "statement.json", "statement.sig")
ASK = "ask the auditor for the folder again"
EXIT_CODES = {"PASS": 0, "FAIL": 3, "INCONCLUSIVE": 4}


@dataclass(frozen=True)
class Statement:
    """What an auditor says of a synthetic table.

    Attributes:
        at: when, by the auditor's clock.
        claim: the maker's (epsilon, delta) and whether it was refuted; None where nothing is claimed.
        policy: its name, version and hash, and whether by it anything is published.
        subgroups: the columns whose groups were attacked each by itself.
        seed: of the attacks, by `seed_of`.
        inputs_sha256: of each file that was read, by its role: the tables, the schema, the manifest of the split.
        files_sha256: of each file beside the statement.
    """

    at: str
    dpsynth_version: str
    verdict: str
    claim: dict[str, Any] | None
    policy: dict[str, Any]
    subgroups: list[str]
    seed: int
    inputs_sha256: dict[str, str]
    files_sha256: dict[str, str]

    def to_bytes(self) -> bytes:
        return (json.dumps({"format": FORMAT} | vars(self), indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Statement:
        """Raises `VerificationFailed` unless the content is what `to_bytes` writes."""
        try:
            document = json.loads(content)
            statement = cls(**{name: value for name, value in document.items() if name != "format"})
            hashes = (statement.inputs_sha256, statement.files_sha256)
            whole = isinstance(statement.policy, dict) and all(isinstance(h, str) for of in hashes for h in of.values())
            if whole and statement.to_bytes() == content:
                return statement
        except (ValueError, TypeError, AttributeError, RecursionError):
            pass
        raise VerificationFailed(f"statement.json: is no statement of the format {FORMAT}; {ASK}")


@dataclass(frozen=True)
class AuditVerification(Verification):
    """All checks of an auditor's folder. `statement` is there if a known key signed it and it could be read."""

    statement: Statement | None = None

    @property
    def exit_code(self) -> int:
        """6 unless all is well, else the verdict's own code: who relies on 0 relies on a PASS."""
        return EXIT_CODES[self.statement.verdict] if self.ok and self.statement else VerificationFailed.exit_code

    def document(self) -> dict[str, Any]:
        return super().document() | {"statement": vars(self.statement) if self.statement else None}

    def conclusion(self) -> list[str]:
        from dpsynth.releasing.papers import KEPT

        assert self.statement is not None and self.signer is not None  # else a check had failed
        said = f"{self.statement.verdict} by the policy {self.statement.policy['name']}, signed by {self.signer.name}, {self.statement.at}"
        of = f"It is of the one file with the SHA-256 {self.statement.inputs_sha256['synthetic']}."
        return [f"Verified: {said}.", of, *([] if self.statement.policy["publishes"] else [KEPT])]


def hashes_of(paths: Mapping[str, Path]) -> dict[str, str]:
    """SHA-256 of each file's bytes."""
    hashes = {}
    for role, path in paths.items():
        with refusing(path, "be read", "give a file that you can read"), path.open("rb") as file:
            hashes[role] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


def seed_of(inputs: Mapping[str, str]) -> int:
    """48 bits of the hash of the tables' hashes. Neither schema, policy, claim nor subgroups draw anew."""
    tables = "".join(f"{role} {inputs[role]}\n" for role in TABLES if role in inputs)
    return int(_hash(tables.encode())[:12], 16)


def audit_folder(document: Mapping[str, Any], policy: Policy, subgroups: Sequence[str], inputs: Mapping[str, str]) -> dict[str, bytes]:
    """The files of an auditor's folder: what was found, by which policy, for people, and the statement with its signature.

    Args:
        document: the attacks' findings, made with `seed_of(inputs)`.
        inputs: the hashes of what was read, by role.
    """
    from dpsynth.releasing.papers import audit_page

    files = {
        "attacks.json": json.dumps(document, indent=1).encode(),
        "policy.toml": policy.text.encode(),
        "report.html": audit_page(document, inputs).encode(),
    }
    statement = Statement(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        dpsynth_version=__version__,
        verdict=document["verdict"],
        claim=document["claim"],
        policy=document["policy"],
        subgroups=list(subgroups),
        seed=seed_of(inputs),
        inputs_sha256=dict(inputs),
        files_sha256={name: _hash(content) for name, content in files.items()},
    ).to_bytes()
    key, _ = KeyStore.default().own_or_create()
    return files | {"statement.json": statement, "statement.sig": signatures_to_bytes((Signature.make(statement, key, "auditor"),))}


def claim_outcome(document: Mapping[str, Any], policy: Policy) -> str:
    """What became of the maker's claim, by the verdict's own rule: refuted if the guesses about members are among its reasons.

    Where the split is biased, or the reference knows the controls, they are no proof of anything, and refute nobody.
    """
    from attacks.verdict import replay

    tests = document["tests"]
    if tests["claim_p"] is None:
        return "not tested"
    silent = {**document, "tests": tests | {"claim_p": 1.0}}
    return "not refuted" if replay(document, policy).reasons == replay(silent, policy).reasons else "refuted"


def is_audit(path: Path) -> bool:
    """Whether a statement, and so no bundle of a release, is to be verified."""
    return (path / "statement.json").is_file()


def examine_audit(
    folder: Path,
    keys: KeyStore,
    public_key: Path | None = None,
    max_epsilon: float | None = None,
    unit: str | None = None,
    policy: str | None = None,
) -> AuditVerification:
    """All checks of an auditor's folder, with the terms of `verify.examine`; `BadInput` as there.

    The tables are not needed, and so not looked at: what they have to be is said by their hashes.
    """
    terms = Terms(max_epsilon, unit, policy_term(policy))
    known = (KnownKey(public_key.name, load_public(public_key)),) if public_key else keys.known()
    try:
        files = read_folder(folder, FILES)
    except VerificationFailed as error:
        return AuditVerification(folder, (Check("files", "failed", tuple(str(error).split("\n"))),), None, None)
    signer, signing = read_signatures(files, known, "statement")
    checks = [check("files", file_faults(files, FILES), "the five files of an audit and no other"), signing]
    if signer is None or checks[0].status == "failed":
        waits = Check("statement", "skipped", ("not looked at: first a known key must vouch for it, and all files be there",))
        return AuditVerification(folder, (*checks, waits), None, signer)
    try:
        statement = Statement.from_bytes(files["statement.json"])
    except VerificationFailed as error:
        return AuditVerification(folder, (*checks, Check("statement", "failed", (str(error),))), None, signer)
    changed = tuple(_hash_faults(files, statement))
    checks += [
        check("hashes", changed, "every file is the one that was signed"),
        check("seed", _seed_faults(statement), "the attacks' seed is the one that these tables have"),
        Check("verdict", "skipped", ("not looked at, since a file was changed",))
        if changed
        else check("verdict", _verdict_faults(files, statement), "attacks.json and policy.toml give it again"),
    ]
    if terms != Terms():
        checks.append(check("terms", _term_faults(statement, terms), "what you asked for holds"))
    return AuditVerification(folder, tuple(checks), None, signer, statement)


def _hash_faults(files: Mapping[str, bytes], statement: Statement) -> Iterator[str]:
    for name in sorted({*STATED, *statement.files_sha256}):
        if name not in STATED or _hash(files[name]) != statement.files_sha256.get(name):
            yield f"{name} is not the file that was signed; {ASK}"


def _seed_faults(statement: Statement) -> Iterator[str]:
    if not {"train", "synthetic", "schema"} <= statement.inputs_sha256.keys():
        yield f"the statement does not say which files were judged; {ASK}"
    elif statement.seed != seed_of(statement.inputs_sha256):
        yield f"the attacks' seed is not that of the tables, so the verdict may have been picked from several; {ASK}"


def _verdict_faults(files: Mapping[str, bytes], statement: Statement) -> Iterator[str]:
    from attacks.policy import Policy
    from attacks.verdict import replay

    try:
        document, policy = json.loads(files["attacks.json"]), Policy.from_text(files["policy.toml"].decode(), "policy.toml")
        outcome, claim, tests = replay(document, policy).outcome, document["claim"], document["tests"]
        became = None if claim is None else claim_outcome(document, policy)
        said = (document["verdict"], None if claim is None else claim["outcome"])
    except (BadInput, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        yield f"attacks.json and policy.toml give no verdict ({str(error).splitlines()[0]}); {ASK}"
        return
    if statement.policy != {"name": policy.name, "version": policy.version, "hash": policy.hash, "publishes": policy.publishes}:
        yield f"policy.toml is not the policy that the statement names; {ASK}"
    if not all(_is_probability(tests[f"{name}_p"]) for name in ("exchangeability", "blind", "claim")):
        yield f"attacks.json has a p-value that is none; {ASK}"
    if (statement.verdict, statement.claim) != (said[0], claim):
        yield f"the statement says something else than attacks.json; {ASK}"
    if said[0] != outcome:
        yield f"the verdict is said to be {said[0]}, but by its own figures it is {outcome}; {ASK}"
    if said[1] != became:
        made = statement.dpsynth_version
        yield f"the claim is said to be {said[1]}, but by its own figures it is {became}; ask the auditor to judge anew (this was by dpsynth {made})"


def _is_probability(value: object) -> bool:
    """Or None: not obtained."""
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1)


def _term_faults(statement: Statement, terms: Terms) -> Iterator[str]:
    if terms.max_epsilon is not None or terms.unit is not None:
        yield "an audit bounds no epsilon and protects no unit, whatever was claimed; ask the maker for a certificate"
    if terms.policy is not None and terms.policy not in (statement.policy.get("name"), statement.policy.get("hash")):
        yield f"the policy is {statement.policy.get('name')!r}, not the one you ask for; ask the auditor which applies"


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
