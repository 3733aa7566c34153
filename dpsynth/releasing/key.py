"""Signing keys: Ed25519, PEM files, and a folder of keys that this person owns or trusts.

A signature says who vouches for a bundle, so trust never comes from the bundle itself: a public key counts
once a person has compared its fingerprint with the custodian, on a line they already have, and trusted it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from dpsynth.durable import refusing, sync_folder, write_new
from dpsynth.errors import BadInput, Fault

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._ -]{0,63}")
LARGEST_PEM = 1 << 16
MAKE_ONE = "make one with `dpsynth key create`, or with `openssl genpkey -algorithm ed25519 -out key.pem`"
ASK_PUBLIC = "ask its owner for the file that `dpsynth key export FILE` writes"


def raw_bytes(key: Ed25519PublicKey) -> bytes:
    """The 32 bytes of a public key."""
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def fingerprint(key: Ed25519PublicKey) -> str:
    """`SHA256:` and 43 characters, base64url of the SHA-256 of the raw key: to compare by copy and paste."""
    return "SHA256:" + base64.urlsafe_b64encode(hashlib.sha256(raw_bytes(key)).digest()).decode().rstrip("=")


def spoken(key: Ed25519PublicKey) -> str:
    """The same hash as sixteen groups of four hexadecimal digits: to compare by telephone."""
    digits = hashlib.sha256(raw_bytes(key)).hexdigest()
    return " ".join(digits[i : i + 4] for i in range(0, len(digits), 4))


def load_private(path: Path) -> Ed25519PrivateKey:
    """Read an unencrypted Ed25519 private key. Raises `BadInput`, also if others than its owner can read the file."""
    pem = _read_pem(path, MAKE_ONE)
    if b"PRIVATE KEY-----" not in pem:
        what = "holds a public key, a private one is needed to sign" if b"PUBLIC KEY-----" in pem else "is not a PEM private key"
        raise BadInput(Fault(str(path), what, MAKE_ONE))
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        instead = "write it without a passphrase, with `openssl pkey -in FILE -out key.pem`, and keep that file to yourself"
        raise BadInput(Fault(str(path), "the private key is encrypted", instead)) from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadInput(Fault(str(path), "the PEM private key is damaged or of an unknown kind", MAKE_ONE)) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadInput(Fault(str(path), "the private key is not an Ed25519 key", MAKE_ONE))
    if path.stat().st_mode & 0o077:
        raise BadInput(Fault(str(path), "others can read the private key", f"run `chmod 600 '{path}'`"))
    return key


def load_public(path: Path) -> Ed25519PublicKey:
    """Read an Ed25519 public key. Raises `BadInput`."""
    pem = _read_pem(path, ASK_PUBLIC)
    if b"PRIVATE KEY-----" in pem:
        raise BadInput(Fault(str(path), "holds a private key, which its owner should show to nobody", ASK_PUBLIC))
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise BadInput(Fault(str(path), "is not a PEM public key", ASK_PUBLIC)) from None
    if not isinstance(key, Ed25519PublicKey):
        raise BadInput(Fault(str(path), "the public key is not an Ed25519 key", ASK_PUBLIC))
    return key


@dataclass(frozen=True)
class KnownKey:
    """A public key whose signatures count, under the name this person gave it."""

    name: str
    key: Ed25519PublicKey

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.key)

    @property
    def spoken(self) -> str:
        return spoken(self.key)


@dataclass(frozen=True)
class KeyStore:
    """The folder `home`: `key.pem` is this person's own key, `trusted/NAME.pem` are the keys of others."""

    home: Path

    @classmethod
    def default(cls) -> KeyStore:
        """In `$DPSYNTH_HOME`, else `$XDG_CONFIG_HOME/dpsynth`, else `~/.config/dpsynth`."""
        if home := os.environ.get("DPSYNTH_HOME"):
            return cls(Path(home))
        config = os.environ.get("XDG_CONFIG_HOME")
        return cls((Path(config) if config else Path.home() / ".config") / "dpsynth")

    @property
    def own_path(self) -> Path:
        return self.home / "key.pem"

    @property
    def trusted_folder(self) -> Path:
        return self.home / "trusted"

    def create(self) -> Ed25519PrivateKey:
        """Make this person's key. Raises `BadInput` if there is one: a key is never overwritten."""
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        if not store_whole(self.own_path, pem, 0o600):
            raise BadInput(Fault(str(self.own_path), "there is a key already", "use it, or move it away first; `dpsynth key show` shows it"))
        return key

    def own(self) -> Ed25519PrivateKey | None:
        """This person's key, or `None` if there is none yet. Raises `BadInput` if it is no good."""
        return load_private(self.own_path) if os.path.lexists(self.own_path) else None

    def own_or_create(self) -> tuple[Ed25519PrivateKey, bool]:
        """This person's key, and whether it was made just now. Safe when two first releases start at once."""
        if key := self.own():
            return key, False
        try:
            return self.create(), True
        except BadInput:
            if key := self.own():
                return key, False
            raise

    def show(self) -> KnownKey:
        """This person's public key. Raises `BadInput` if there is none."""
        key = self.own()
        if key is None:
            raise BadInput(Fault(str(self.own_path), "there is no key yet", "make one with `dpsynth key create`"))
        return KnownKey("own key", key.public_key())

    def export(self, path: Path) -> KnownKey:
        """Write this person's public key to the new file `path`."""
        known = self.show()
        if os.path.lexists(path):
            raise BadInput(Fault(str(path), "exists already", "name a file that does not"))
        with refusing(path, "be written", "name a file in a folder that you can write to"):
            write_new(path, _public_pem(known.key))
        return known

    def trust(self, path: Path, name: str | None = None) -> KnownKey:
        """Remember the public key in `path` as `name` (the file's name by default)."""
        key = load_public(path)
        name = name or path.stem
        if not NAME.fullmatch(name):
            raise BadInput(Fault(name, "is not a name for a key", "use up to 64 letters, digits, spaces and . _ -, starting with a letter or digit"))
        target = self.trusted_folder / f"{name}.pem"
        if not store_whole(target, _public_pem(key), 0o644) and raw_bytes(load_public(target)) != raw_bytes(key):
            raise BadInput(Fault(name, "another key is trusted under this name", f"give another name, or remove {target} first"))
        return KnownKey(name, key)

    def trusted(self) -> tuple[KnownKey, ...]:
        """The keys of others, by name."""
        with refusing(self.trusted_folder, "be listed", "make the folder readable"):
            paths = sorted(self.trusted_folder.glob("*.pem")) if self.trusted_folder.exists() else []
        return tuple(KnownKey(p.stem, load_public(p)) for p in paths)

    def known(self) -> tuple[KnownKey, ...]:
        """All keys whose signatures count: this person's own and the trusted ones."""
        own = self.own()
        return ((KnownKey("own key", own.public_key()),) if own else ()) + self.trusted()


def _public_pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _read_pem(path: Path, instead: str) -> bytes:
    with refusing(path, "be read", instead), path.open("rb") as file:
        pem = file.read(LARGEST_PEM + 1)
    if len(pem) > LARGEST_PEM:
        raise BadInput(Fault(str(path), "is too large for a PEM key", instead))
    return pem


def store_whole(path: Path, content: bytes, mode: int) -> bool:
    """Put a whole file at `path` unless something is there already; say whether it was put there."""
    with refusing(path, "be written", "set DPSYNTH_HOME to a folder that you can write to"):
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = path.parent / f".{path.name}-{secrets.token_hex(8)}"
        try:
            write_new(aside, content, mode)
            os.link(aside, path)
            sync_folder(path.parent)
        except FileExistsError:
            return False
        finally:
            aside.unlink(missing_ok=True)
    return True
