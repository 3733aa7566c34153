from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from release_samples import certificate

from dpsynth.errors import VerificationFailed
from dpsynth.privacy import ZCDP
from dpsynth.privacy.gdp import mu_of
from dpsynth.releasing.certificate import (
    LIMITS,
    MEANING,
    PUBLICATION,
    TRAINED,
    Certificate,
    PolicyCopy,
    Signature,
    signatures_from_bytes,
    signatures_to_bytes,
)

CERTIFICATE = certificate()


def test_round_trip_is_exact() -> None:
    content = CERTIFICATE.to_bytes()
    assert content.endswith(b"}\n")
    read = Certificate.from_bytes(content)
    assert read.to_bytes() == content
    assert read.odds == CERTIFICATE.odds
    assert list(read.faults()) == []


def test_keys_are_sorted_and_text_is_utf8() -> None:
    content = replace(CERTIFICATE, recipient="Université Zürich").to_bytes()
    document = json.loads(content)
    assert list(document) == sorted(document)
    assert "Université Zürich".encode() in content


def test_it_says_what_it_must() -> None:
    document = json.loads(CERTIFICATE.to_bytes())
    assert document["format"] == "dpsynth-certificate/3"
    assert document["meaning"] == MEANING
    assert document["relation"] == "add/remove one unit"
    assert document["verdict"] == "PASS"
    assert PUBLICATION in document["limits"]
    assert any("the custodian" in said and "is trusted" in said for said in document["limits"])
    assert document["ledger"] == {"id": "L1", "dataset": "clinic", "epsilon": 3.0, "delta": 1e-6, "head": "5f" * 32}


def test_whole_numbers_are_written_as_the_floats_they_stand_for() -> None:
    assert replace(CERTIFICATE, epsilon=1).to_bytes() == replace(CERTIFICATE, epsilon=1.0).to_bytes()


@pytest.mark.parametrize(("epsilon", "odds"), [(1.0, 73.2), (0.1, 52.5), (10.0, 100.0), (1000.0, 100.0)])
def test_the_odds_are_those_of_epsilon_rounded_up(epsilon: float, odds: float) -> None:
    changed = replace(CERTIFICATE, epsilon=epsilon)
    assert f"at most {odds:g} times in 100" in changed.statement
    assert changed.odds * 100 <= odds


@pytest.mark.parametrize("key", sorted(CERTIFICATE.document()))
def test_a_missing_key_or_another_type_is_refused(key: str) -> None:
    document = CERTIFICATE.document()
    for wrong in (
        document | {key: {"?": [1]}},
        document | {key: 7},
        document | {key: True},
        {k: v for k, v in document.items() if k != key},
    ):
        with pytest.raises(VerificationFailed, match=key):
            Certificate.from_bytes(json.dumps(wrong, sort_keys=True, indent=1, ensure_ascii=False).encode() + b"\n")


@pytest.mark.parametrize(
    "edit",
    [
        lambda t: t.replace('"verdict": "PASS"', '"verdict": "SURE"'),
        lambda t: t.replace("73.2 times", "50.1 times"),
        lambda t: t.replace("It is not a legal", "It is a legal"),
        lambda t: t.replace('"epsilon": 1.0', '"epsilon": 1.00', 1),
        lambda t: t + "\n",
        lambda t: t[:-2],
        lambda t: t.replace("{", '{"extra": 1,', 1),
        lambda t: t.replace('"id": ', '"id": "other",\n "id": ', 1),
        lambda t: t.replace('"delta": 1e-09', '"delta": NaN', 1),
        lambda t: t.replace('\n "delta": 1e-09', '\n "delta": -1e+308', 1),
        lambda t: "[" * 100_000,
        lambda t: "null",
        lambda t: "",
    ],
)
def test_any_other_spelling_is_refused(edit) -> None:  # type: ignore[no-untyped-def]
    changed = edit(CERTIFICATE.to_bytes().decode())
    with pytest.raises(VerificationFailed):
        Certificate.from_bytes(changed.encode())


def test_bytes_that_are_not_text_are_refused() -> None:
    with pytest.raises(VerificationFailed):
        Certificate.from_bytes(b"\xff\xfe")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epsilon": 0.9}, "more than 1e-09"),
        ({"epsilon": math.nan}, "out of range"),
        ({"delta": 0.0}, "out of range"),
        ({"delta_event": 1e-9}, "more than 1e-09"),
        ({"amount": CERTIFICATE.amount * 0.9}, "add up"),
        ({"currency": "rdp"}, "one of gdp, zcdp"),
        ({"currency": "zcdp"}, "more than 1e-09"),
        ({"currency": "zcdp", "amount": 1e300}, "more than 1e-09"),
        ({"currency": "zcdp", "ledger": replace(CERTIFICATE.ledger, epsilon=1e300)}, "more than 1e-09"),
        ({"events": ()}, "add up"),
        ({"limits": ("none",)}, "decision to publish"),
        ({"issued": "yesterday"}, "two days"),
        ({"review_by": "2020-01-01"}, "two days"),
        ({"attacks": ()}, "without any attack"),
        ({"ledger": replace(CERTIFICATE.ledger, epsilon=0.5)}, "ledger's whole"),
        ({"ledger": replace(CERTIFICATE.ledger, delta=1e-10)}, "ledger's whole"),
        ({"ledger": replace(CERTIFICATE.ledger, epsilon=-1.0)}, "ledger's totals"),
        ({"ledger": replace(CERTIFICATE.ledger, head="A" * 64)}, "head is not a hash"),
        ({"ledger": replace(CERTIFICATE.ledger, head="12: " + "5f" * 30)}, "head is not a hash"),
        ({"policy": replace(CERTIFICATE.policy, sha256="0" * 64)}, "policy's hash"),
        ({"policy": PolicyCopy.of("p", "1", "max_epsilon = 0.5\n")}, "policy allows"),
        ({"policy": PolicyCopy.of("p", "1", "[privacy]\nmax_epsilon = 0.5\n")}, "policy allows"),
        ({"policy": PolicyCopy.of("p", "1", "not toml")}, "not TOML"),
    ],
)
def test_a_certificate_that_contradicts_itself(change, words) -> None:  # type: ignore[no-untyped-def]
    assert any(words in fault for fault in replace(CERTIFICATE, **change).faults())


def test_a_release_may_use_its_ledger_up() -> None:
    charge = mu_of(3.0, 0.9e-6) ** 2
    spent = replace(CERTIFICATE.events[0], amount=charge)
    whole = replace(CERTIFICATE, epsilon=3.0, delta=1e-6, amount=charge, events=(spent,))
    assert list(whole.faults()) == []


def test_a_certificate_in_zcdp_is_reckoned_in_zcdp() -> None:
    charge = float(ZCDP.capacity(1.0, 0.9e-9))
    spent = replace(CERTIFICATE.events[0], amount=charge)
    whole = replace(CERTIFICATE, currency="zcdp", amount=charge, events=(spent,), ledger=replace(CERTIFICATE.ledger, epsilon=1.0, delta=1e-9))
    assert list(whole.faults()) == []
    assert Certificate.from_bytes(whole.to_bytes()) == whole
    more = replace(whole, amount=charge * 1.02, events=(replace(spent, amount=charge * 1.02),))
    assert len([f for f in more.faults() if "2 rho" in f or "ledger's whole" in f]) == 2
    assert list(replace(more, currency="gdp").faults()) == []


def test_a_certificate_of_before_is_read_though_its_sentences_on_limits_are_others_now() -> None:
    """One that was given when a release that trains did not say against whom, and none said whom it trusts."""
    content = Path(__file__).with_name("certificate_of_before.json").read_bytes()
    read = Certificate.from_bytes(content)
    assert list(read.faults()) == []
    assert read.limits[0] == PUBLICATION and not {*LIMITS, TRAINED} <= {*read.limits}


def test_a_certificate_of_another_format_is_for_another_version() -> None:
    old = CERTIFICATE.to_bytes().replace(b"dpsynth-certificate/3", b"dpsynth-certificate/1").replace(b'"amount"', b'"mu_squared"')
    with pytest.raises(VerificationFailed, match="the dpsynth version that wrote it"):
        Certificate.from_bytes(old)


def test_signature_covers_the_exact_bytes() -> None:
    key, content = Ed25519PrivateKey.generate(), CERTIFICATE.to_bytes()
    made = Signature.make(content, key)
    assert made.is_valid(content)
    assert not made.is_valid(content + b" ")
    both = signatures_to_bytes((made, Signature.make(content, Ed25519PrivateKey.generate(), "auditor")))
    assert [s.role for s in signatures_from_bytes(both)] == ["custodian", "auditor"]
    assert all(s.is_valid(content) for s in signatures_from_bytes(both))


@pytest.mark.parametrize("content", [b"", b"[]\n", b"{}", b'[{"role": "a"}]', b'[{"key": "AA==", "role": "a", "signature": "AA=="}]\n', b"\xff"])
def test_damaged_signature_files_are_refused(content: bytes) -> None:
    with pytest.raises(VerificationFailed, match=r"certificate\.sig"):
        signatures_from_bytes(content)
