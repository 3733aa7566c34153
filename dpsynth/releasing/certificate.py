"""The certificate: what is promised about a bundle, in words and figures, and the signatures under it.

A certificate is read strictly: its bytes must be exactly those that its contents are written as, so nothing can be hidden
in it, and its sentences follow from its figures, so the words cannot promise more than the arithmetic.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any, ClassVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from dpsynth.errors import VerificationFailed
from dpsynth.releasing.key import raw_bytes
from dpsynth.releasing.nearness import KIND, NEARER, Guarantee, Nearness

FORMAT = "dpsynth-certificate/3"
MEANING = "PASS means that none of the listed attacks found more than the policy allows. It is not a legal finding of anonymity."
PUBLICATION = (
    "The mechanism that produced these rows is (eps, delta)-DP. The decision to publish was made by tests that read the rows; "
    "that decision, its timing and the existence of this bundle are not covered."
)
LIMITS = (
    PUBLICATION,
    "What is protected is the presence of one unit; facts about a population, which would hold without any one unit in it, can be learned.",
    "Noise on counts is drawn exactly, as integers from the operating system's entropy; fits, samples and tests after it use floating-point numbers.",
    "How long the computation took, how much memory it used, and who was seen running it are not covered.",
    "The promise rests on the schema: a fact that it calls public but that was read off the rows is not protected.",
    "The model is central: the custodian holds the source table, its schema and the secret keys, and is trusted with them; no one else is.",
)
ANOTHER = (
    "The ledger was made, for a reason that it holds, although these people may have another: what is released through another adds to "
    "what is released through this one."
)
TRAINED = (
    "Steps of training add normal noise of floating-point numbers, from a cryptographic stream keyed afresh by the operating system, to sums "
    "of floating-point gradients: its lowest bits are not exact, and no proof covers them. The promise holds against whoever can not tell that "
    "stream, which draws the batches too, or the generator that a loss draws from, from chance: not against unbounded computing power."
)
MEASURED_BESIDE = (
    "The two histograms of nearness were measured under a charge of their own, whether or not the rows would pass; that they are shown only "
    "with rows that passed belongs to the decision to publish, which is not covered."
)
SLACK = 1 + 1e-9
EVENT_SHARE = 0.1

Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Event:
    """One thing that the release paid for."""

    kind: str
    what: str
    amount: float
    delta: float


@dataclass(frozen=True)
class Bounding:
    """What of one unit was counted. `by_id`: it is all rows that share an id, else one row; `max_rows`: of which so many at most; `count`: each
    row is one (`rows`), or all of a unit's together are (`units`); `null_ids`: rows without an id count nowhere (`drop`) or are `one-unit`."""

    by_id: bool
    max_rows: int
    count: str
    null_ids: str


@dataclass(frozen=True)
class LedgerTotals:
    """The ledger and all that may ever be spent through it on these people, fixed when it was created; never what is spent so far.

    `head` is the hash of the event with this release's verdict. To the custodian it shows whether the ledger still has the history
    that it had then; to all others it looks like 32 random bytes, whatever that history is (`privacy/chain.py`).
    """

    id: str
    dataset: str
    epsilon: float
    delta: float
    head: str


@dataclass(frozen=True)
class Generator:
    """The mechanism, its options and the code version."""

    name: str
    options: Mapping[str, Scalar]
    dpsynth_version: str


@dataclass(frozen=True)
class PolicyCopy:
    """The policy that the release passed, with its whole text."""

    name: str
    version: str
    text: str
    sha256: str

    @classmethod
    def of(cls, name: str, version: str, text: str) -> PolicyCopy:
        return cls(name, version, text, hashlib.sha256(text.encode()).hexdigest())

    @property
    def max_epsilon(self) -> float | None:
        """The largest epsilon that the text allows, where it states one at its top level or in any of its tables."""
        document = tomllib.loads(self.text)
        tables = [document, *(t for t in document.values() if isinstance(t, dict))]
        found = [t["max_epsilon"] for t in tables if isinstance(t.get("max_epsilon"), int | float)]
        return min(map(float, found), default=None)


@dataclass(frozen=True)
class Certificate:
    """What the custodian signs.

    `issued` and `review_by` are days (YYYY-MM-DD): a finer time would tell more of the run than it must. `unit` is the
    schema's word for the privacy unit. `amount`, in the ledger's currency (gdp: mu^2, zcdp: 2 rho), and `delta_event` are the whole
    charge, the sums over `events`. `nearness` is there where the gate's histograms are published too: `epsilon`, `delta` and the charge are
    then those of rows and histograms together.
    `files` has the SHA-256 of every other file of the bundle, the signature apart.
    """

    id: str
    issued: str
    review_by: str
    supersedes: str | None
    purpose: str
    recipient: str
    unit: str
    bounding: Bounding
    epsilon: float
    delta: float
    currency: str
    amount: float
    delta_event: float
    events: tuple[Event, ...]
    ledger: LedgerTotals
    generator: Generator
    schema: str
    policy: PolicyCopy
    attacks: tuple[str, ...]
    limits: tuple[str, ...] = LIMITS
    files: Mapping[str, str] = field(default_factory=dict)
    nearness: Nearness | None = None

    relation: ClassVar[str] = "add/remove one unit"
    verdict: ClassVar[str] = "PASS"

    @property
    def odds(self) -> float:
        """How often, at best, one who starts from even odds guesses a unit's presence right: (e^eps + delta) / (1 + e^eps)."""
        epsilon = max(-700.0, min(self.epsilon, 700.0))
        return min(1.0, 1 / (1 + math.exp(-epsilon)) + self.delta / (1 + math.exp(epsilon)))

    @property
    def statement(self) -> str:
        """The opening sentence: who is protected, by how much."""
        right = math.ceil(round(self.odds * 1000, 6)) / 10
        beside, parts = "", ""
        if self.nearness is not None:
            rows, histograms = self.nearness.rows, self.nearness.histograms
            beside = " and the two histograms published with them"
            parts = (
                f" The rows by themselves are ({rows.epsilon:g}, {rows.delta:g})-differentially private; "
                f"given the rows, what the histograms add is ({histograms.epsilon:g}, {histograms.delta:g})-differentially private."
            )
        return (
            f"Each {self.unit} in the source table is protected by ({self.epsilon:g}, {self.delta:g})-differential privacy: from these "
            f"synthetic rows{beside}, even an attacker who knows everything about everyone else can guess whether a given {self.unit} was in "
            f"the source table correctly at most {right:g} times in 100, where tossing a coin is correct 50 times in 100.{parts}"
        )

    def document(self) -> dict[str, Any]:
        """As JSON values, constants and derived sentence included."""
        said = {"format": FORMAT, "statement": self.statement, "meaning": MEANING, "relation": self.relation, "verdict": self.verdict}
        held = asdict(self) | {"events": [asdict(e) for e in self.events], "attacks": list(self.attacks), "limits": list(self.limits)}
        held |= {name: float(held[name]) for name in ("epsilon", "delta", "amount", "delta_event")}
        nearness = held.pop("nearness")
        return said | held | ({} if nearness is None else {"nearness": nearness | {"meaning": NEARER}})

    def to_bytes(self) -> bytes:
        """The canonical bytes, those that are signed: sorted keys, UTF-8, a newline at the end."""
        return (json.dumps(self.document(), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Certificate:
        """Read canonical bytes. Raises `VerificationFailed` on anything unknown, missing, of another type or spelled otherwise."""
        document = _parsed("certificate.json", content)
        if isinstance(document, dict) and document.get("format", FORMAT) != FORMAT:
            raise VerificationFailed(f"certificate.json: its format is not {FORMAT}; verify it with the dpsynth version that wrote it")
        beside = {"nearness": NEARNESS} if isinstance(document, dict) and "nearness" in document else {}
        faults = list(_mismatches(document, SHAPE | beside, "certificate.json"))
        if faults:
            raise VerificationFailed("\n".join(faults))
        certificate = cls(
            **{name: document[name] for name in PLAIN},
            events=tuple(Event(**e) for e in document["events"]),
            bounding=Bounding(**document["bounding"]),
            ledger=LedgerTotals(**document["ledger"]),
            generator=Generator(**document["generator"]),
            policy=PolicyCopy(**document["policy"]),
            attacks=tuple(document["attacks"]),
            limits=tuple(document["limits"]),
            nearness=_nearness(document["nearness"]) if beside else None,
        )
        if not certificate._is_written_as(content):
            raise VerificationFailed(
                "certificate.json: its fixed sentences or its spelling are not those of its contents; ask the custodian for the original"
            )
        return certificate

    def _is_written_as(self, content: bytes) -> bool:
        try:
            return self.to_bytes() == content
        except (ValueError, OverflowError):  # a NaN, text that has no bytes, a delta so far below 0 that no odds can be said
            return False

    def faults(self) -> Iterator[str]:
        """What in the certificate contradicts the rest of it: arithmetic, days, policy, the sentence it must hold."""
        yield from self._arithmetic_faults()
        yield from self._ledger_faults()
        yield from self._policy_faults()
        yield from self._nearness_faults()
        if PUBLICATION not in self.limits:
            yield "the limits lack the sentence on the decision to publish"
        if not _is_day(self.issued) or not _is_day(self.review_by) or self.review_by < self.issued:
            yield "issued and review_by are not two days in order"
        if not self.attacks:
            yield "PASS without any attack"
        bounding = self.bounding
        if bounding.max_rows < 1 or bounding.count not in ("rows", "units") or not (bounding.by_id or bounding.max_rows == 1):
            yield "what was counted of a unit is out of range"

    def _arithmetic_faults(self) -> Iterator[str]:
        from dpsynth.privacy.currency import CURRENCIES

        figures = (self.epsilon, self.delta, self.amount, self.delta_event, *(x for e in self.events for x in (e.amount, e.delta)))
        if not all(math.isfinite(x) and x >= 0 for x in figures) or self.epsilon == 0 or not 0 < self.delta < 1:
            yield "a figure of the privacy cost is out of range"
            return
        if self.currency not in CURRENCIES:
            yield f"the currency is not one of {', '.join(CURRENCIES)}"
            return
        currency = CURRENCIES[self.currency]
        reached = currency.delta_of(self.epsilon, self.amount) + self.delta_event
        if reached > self.delta * SLACK:
            yield (
                f"the charge ({currency.symbol} {self.amount:g}, event delta {self.delta_event:g}) costs delta {reached:g} "
                f"at epsilon {self.epsilon:g}, more than {self.delta:g}"
            )
        for name, total, parts in (
            ("amount", self.amount, [e.amount for e in self.events]),
            ("delta_event", self.delta_event, [e.delta for e in self.events]),
        ):
            if not math.isclose(math.fsum(parts), total, rel_tol=1e-9, abs_tol=1e-30):
                yield f"the events' {name} add up to {math.fsum(parts):g}, not to {total:g}"

    def _ledger_faults(self) -> Iterator[str]:
        from dpsynth.privacy.currency import CURRENCIES

        ledger = self.ledger
        if not (math.isfinite(ledger.epsilon) and ledger.epsilon > 0 and 0 < ledger.delta < 1):
            yield "the ledger's totals are out of range"
            return
        if not re.fullmatch(r"[0-9a-f]{64}", ledger.head):
            yield "the ledger's head is not a hash"
        if self.currency not in CURRENCIES:
            return
        capacity = CURRENCIES[self.currency].capacity(ledger.epsilon, ledger.delta * (1 - EVENT_SHARE))
        events = ledger.delta * EVENT_SHARE
        if self.amount > capacity * SLACK or self.delta_event > events * SLACK or self.delta > ledger.delta * SLACK:
            yield f"the charge is more than the ledger's whole ({ledger.epsilon:g}, {ledger.delta:g})"

    def _nearness_faults(self) -> Iterator[str]:
        """Whether the histograms were paid for, what the rows guarantee and what the histograms add, and what is read off them."""
        from dpsynth.privacy.currency import CURRENCIES
        from dpsynth.privacy.gdp import MAX_SIGMA, MIN_SIGMA

        charges = [e.amount for e in self.events if e.kind == KIND]
        if self.nearness is None or self.currency not in CURRENCIES:
            if charges:
                yield "a charge for histograms of nearness, and there are none"
            return
        yield from self.nearness.faults()
        if MEASURED_BESIDE not in self.limits:
            yield "the limits lack the sentence on the histograms"
        currency, charged, sigma = CURRENCIES[self.currency], math.fsum(charges), self.nearness.sigma
        if len(charges) != 1 or not MIN_SIGMA <= sigma <= MAX_SIGMA or currency.noise_cost(sigma, 1) > charged * SLACK:
            yield f"the histograms' noise of {sigma:g} is not paid for among the events"
        of_rows = math.fsum(e.amount for e in self.events if e.kind != KIND)  # no difference of two sums, which rounding would raise
        for what, part, amount, events in (
            ("rows", self.nearness.rows, of_rows, self.delta_event),
            ("histograms", self.nearness.histograms, charged, 0.0),
        ):
            if not (0 < part.epsilon <= self.epsilon and 0 < part.delta < 1):
                yield f"what is guaranteed of the {what} is out of range"
            elif currency.delta_of(part.epsilon, max(amount, 0.0)) + events > part.delta * SLACK:
                yield f"the {what} were charged more than ({part.epsilon:g}, {part.delta:g})"

    def _policy_faults(self) -> Iterator[str]:
        if hashlib.sha256(self.policy.text.encode()).hexdigest() != self.policy.sha256:
            yield "the policy's text does not have the policy's hash"
        try:
            most = self.policy.max_epsilon
        except (tomllib.TOMLDecodeError, RecursionError):
            yield "the policy's text is not TOML"
            return
        if most is not None and self.epsilon > most * SLACK:
            yield f"epsilon {self.epsilon:g} is more than the {most:g} that the policy allows"


@dataclass(frozen=True)
class Signature:
    """An Ed25519 signature over the exact bytes of `certificate.json`. `role` is a label that the signature does not cover."""

    role: str
    key: Ed25519PublicKey
    signature: bytes

    @classmethod
    def make(cls, content: bytes, key: Ed25519PrivateKey, role: str = "custodian") -> Signature:
        return cls(role, key.public_key(), key.sign(content))

    def is_valid(self, content: bytes) -> bool:
        try:
            self.key.verify(self.signature, content)
        except InvalidSignature:
            return False
        return True


def signatures_to_bytes(signatures: tuple[Signature, ...]) -> bytes:
    """`certificate.sig`: a JSON list, one field a line, so that `sed` can take it apart."""
    listed = [{"role": s.role, "key": _text64(raw_bytes(s.key)), "signature": _text64(s.signature)} for s in signatures]
    return (json.dumps(listed, indent=1, ensure_ascii=False) + "\n").encode()


def signatures_from_bytes(content: bytes) -> tuple[Signature, ...]:
    """Raises `VerificationFailed` unless the content is exactly what `signatures_to_bytes` writes for one signature or more."""
    listed = _parsed("certificate.sig", content)
    faults = list(_mismatches(listed, [{"role": str, "key": str, "signature": str}], "certificate.sig"))
    if faults or not listed:
        raise VerificationFailed("\n".join(faults) or "certificate.sig: there is no signature; ask the custodian for the signed bundle")
    try:
        found = tuple(Signature(s["role"], Ed25519PublicKey.from_public_bytes(_bytes64(s["key"])), _bytes64(s["signature"])) for s in listed)
    except ValueError:
        raise VerificationFailed("certificate.sig: a key or signature is damaged; ask the custodian for the original") from None
    if signatures_to_bytes(found) != content:
        raise VerificationFailed("certificate.sig: is not spelled as signatures are; ask the custodian for the original")
    return found


PLAIN: dict[str, Any] = {
    "id": str,
    "issued": str,
    "review_by": str,
    "supersedes": str | None,
    "purpose": str,
    "recipient": str,
    "unit": str,
    "epsilon": float,
    "delta": float,
    "currency": str,
    "amount": float,
    "delta_event": float,
    "schema": str,
    "files": {str: str},
}
SHAPE: dict[str, Any] = PLAIN | {
    "format": str,
    "statement": str,
    "meaning": str,
    "relation": str,
    "verdict": str,
    "events": [{"kind": str, "what": str, "amount": float, "delta": float}],
    "bounding": {"by_id": bool, "max_rows": int, "count": str, "null_ids": str},
    "ledger": {"id": str, "dataset": str, "epsilon": float, "delta": float, "head": str},
    "generator": {"name": str, "options": {str: Scalar}, "dpsynth_version": str},
    "policy": {"name": str, "version": str, "text": str, "sha256": str},
    "attacks": [str],
    "limits": [str],
}
NEARNESS: dict[str, Any] = {
    "rows": {"epsilon": float, "delta": float},
    "histograms": {"epsilon": float, "delta": float},
    "columns": int,
    "edges": [float],
    "sigma": float,
    "train": [int],
    "control": [int],
    "auc": float,
    "interval": [float],
    "meaning": str,
}


def _nearness(document: Mapping[str, Any]) -> Nearness:
    held = {name: document[name] for name in NEARNESS.keys() - {"meaning"}}
    lists = {name: tuple(held[name]) for name in ("edges", "train", "control", "interval")}
    parts = {name: Guarantee(**held[name]) for name in ("rows", "histograms")}
    return Nearness(**held | lists | parts)


def _mismatches(value: Any, shape: Any, where: str) -> Iterator[str]:
    """Where `value` is not of `shape`: a type, a list of one shape, an object with these keys, or one from any text to a shape."""
    if isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{where}: is not a list; ask the custodian for the original"
        else:
            for position, item in enumerate(value):
                yield from _mismatches(item, shape[0], f"{where}[{position}]")
    elif isinstance(shape, dict):
        if not isinstance(value, dict):
            yield f"{where}: is not an object; ask the custodian for the original"
            return
        keys = dict.fromkeys(value, shape[str]) if str in shape else shape
        for key in sorted(keys.keys() ^ value.keys()):
            yield f"{where}: {'lacks' if key in keys else 'has the unknown key'} {key!r}; ask the custodian for the original"
        for key in keys.keys() & value.keys():
            yield from _mismatches(value[key], keys[key], f"{where}, {key}")
    elif not isinstance(value, shape) or (isinstance(value, bool) and shape in (int, float)):
        yield f"{where}: is not of the right type; ask the custodian for the original"


def _parsed(where: str, content: bytes) -> Any:
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        raise VerificationFailed(f"{where}: is not JSON, so truncated or damaged; ask the custodian for the original") from None


def _is_day(text: str) -> bool:
    try:
        return re.fullmatch(r"\d{4}-\d\d-\d\d", text) is not None and date.fromisoformat(text) is not None
    except ValueError:
        return False


def _text64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
