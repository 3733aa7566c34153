from __future__ import annotations

import base64
import hashlib
import os
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from dpsynth.errors import BadInput
from dpsynth.releasing.key import KeyStore, fingerprint, load_private, load_public, raw_bytes, spoken


@pytest.fixture
def keys(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "home" / "dpsynth")


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def test_home_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/h")
    monkeypatch.setenv("DPSYNTH_HOME", "/a")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/b")
    assert KeyStore.default().home == Path("/a")
    monkeypatch.delenv("DPSYNTH_HOME")
    assert KeyStore.default().home == Path("/b/dpsynth")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert KeyStore.default().home == Path("/h/.config/dpsynth")


def test_created_key_is_private_and_is_the_one_read_back(keys: KeyStore) -> None:
    old = os.umask(0)
    try:
        key = keys.create()
    finally:
        os.umask(old)
    assert stat.S_IMODE(keys.own_path.stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.home.stat().st_mode) == 0o700
    assert [p.name for p in keys.home.iterdir()] == ["key.pem"]
    own = keys.own()
    assert own is not None and raw_bytes(own.public_key()) == raw_bytes(key.public_key())


def test_a_key_is_never_overwritten(keys: KeyStore) -> None:
    keys.create()
    before = keys.own_path.read_bytes()
    with pytest.raises(BadInput, match="there is a key already"):
        keys.create()
    assert keys.own_path.read_bytes() == before
    assert keys.own_or_create()[1] is False


def test_two_first_releases_at_once_use_one_key(keys: KeyStore) -> None:
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(raw_bytes(keys.own_or_create()[0].public_key()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(found)) == 1


def test_a_key_that_others_can_read_is_refused(keys: KeyStore) -> None:
    keys.create()
    keys.own_path.chmod(0o644)
    with pytest.raises(BadInput, match="chmod 600"):
        keys.own()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o660])
def test_a_key_file_by_path_is_its_owners_only_too(mode: int, keys: KeyStore, tmp_path: Path) -> None:
    keys.create()
    path = tmp_path / "key.pem"
    path.write_bytes(keys.own_path.read_bytes())
    path.chmod(mode)
    with pytest.raises(BadInput, match=f"others can read the private key; run `chmod 600 '{path}'`"):
        load_private(path)
    path.chmod(0o400)
    load_private(path)


def test_fingerprint_is_the_hash_of_the_raw_key(keys: KeyStore) -> None:
    public = keys.create().public_key()
    digest = hashlib.sha256(raw_bytes(public)).digest()
    text = fingerprint(public).removeprefix("SHA256:")
    assert base64.urlsafe_b64decode(text + "=") == digest
    assert bytes.fromhex(spoken(public)) == digest
    assert len(spoken(public).split()) == 16


def test_export_then_trust(keys: KeyStore, tmp_path: Path) -> None:
    keys.create()
    exported = keys.export(tmp_path / "hospital.pem")
    partner = KeyStore(tmp_path / "partner")
    assert partner.known() == ()
    assert partner.trust(tmp_path / "hospital.pem").name == "hospital"
    partner.trust(tmp_path / "hospital.pem", "St. Mary")
    assert [(k.name, k.fingerprint) for k in partner.trusted()] == [("St. Mary", exported.fingerprint), ("hospital", exported.fingerprint)]
    openssl("pkey", "-pubin", "-in", tmp_path / "hospital.pem", "-noout")
    with pytest.raises(BadInput, match="exists already"):
        keys.export(tmp_path / "hospital.pem")


def test_a_trusted_name_keeps_its_key(keys: KeyStore, tmp_path: Path) -> None:
    keys.create()
    keys.export(tmp_path / "a.pem")
    other = KeyStore(tmp_path / "other")
    other.create()
    other.export(tmp_path / "b.pem")
    keys.trust(tmp_path / "a.pem", "lab")
    keys.trust(tmp_path / "a.pem", "lab")
    with pytest.raises(BadInput, match="another key"):
        keys.trust(tmp_path / "b.pem", "lab")
    assert keys.trusted()[0].fingerprint == keys.show().fingerprint


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "", "x" * 65, "a\nb"])
def test_names_cannot_leave_the_folder(keys: KeyStore, tmp_path: Path, name: str) -> None:
    keys.create()
    keys.export(tmp_path / "a.pem")
    if name:
        with pytest.raises(BadInput, match="not a name"):
            keys.trust(tmp_path / "a.pem", name)
    else:
        assert keys.trust(tmp_path / "a.pem", name).name == "a"


def test_key_made_by_openssl(tmp_path: Path) -> None:
    openssl("genpkey", "-algorithm", "ed25519", "-out", tmp_path / "k.pem")
    openssl("pkey", "-in", tmp_path / "k.pem", "-pubout", "-out", tmp_path / "p.pem")
    assert raw_bytes(load_private(tmp_path / "k.pem").public_key()) == raw_bytes(load_public(tmp_path / "p.pem"))


def test_bad_private_keys(tmp_path: Path) -> None:
    openssl("genpkey", "-algorithm", "ed25519", "-out", tmp_path / "good.pem")
    openssl("pkey", "-in", tmp_path / "good.pem", "-pubout", "-out", tmp_path / "public.pem")
    openssl("pkey", "-in", tmp_path / "good.pem", "-aes256", "-passout", "pass:x", "-out", tmp_path / "locked.pem")
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", tmp_path / "ec.pem")
    (tmp_path / "junk.pem").write_text("junk")
    (tmp_path / "cut.pem").write_bytes((tmp_path / "good.pem").read_bytes()[:60])
    (tmp_path / "huge.pem").write_bytes(b" " * (1 << 17))
    faults = {
        "public": "public key",
        "locked": "encrypted",
        "ec": "not an Ed25519",
        "junk": "not a PEM",
        "cut": "damaged",
        "huge": "too large",
    }
    for name, words in faults.items():
        with pytest.raises(BadInput, match=words) as caught:
            load_private(tmp_path / f"{name}.pem")
        assert "\n" not in str(caught.value)
    for path in (tmp_path, tmp_path / "none.pem"):
        with pytest.raises(BadInput, match="cannot be read"):
            load_private(path)


def test_bad_public_keys(tmp_path: Path) -> None:
    openssl("genpkey", "-algorithm", "ed25519", "-out", tmp_path / "private.pem")
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", tmp_path / "e.pem")
    openssl("pkey", "-in", tmp_path / "e.pem", "-pubout", "-out", tmp_path / "ec.pem")
    (tmp_path / "junk.pem").write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    for name, words in {"private": "private key", "ec": "not an Ed25519", "junk": "not a PEM public key"}.items():
        with pytest.raises(BadInput, match=words):
            load_public(tmp_path / f"{name}.pem")


def test_home_under_a_file_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="DPSYNTH_HOME"):
        KeyStore(tmp_path / "file" / "home").create()
