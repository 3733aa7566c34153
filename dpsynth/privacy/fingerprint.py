"""The fingerprint of a table: whether two releases read the same version of it.

Statement. It is a keyed hash of the cells as read, never a refusal, and nothing shows it outside the ledger. Whoever may read the
ledger's events but not its secrets can check no guess of the rows against it. Who has the secrets too, which is who has the whole
ledger, and knows all of the table but a row, pays about half a second and 64 MB for each guess of that row (scrypt): a ledger is as
private as the table, and is kept with it. The same rows in another order are another version.

Reference: Percival, Josefsson: RFC 7914 (scrypt).
"""

from __future__ import annotations

import hashlib

import pandas as pd

from dpsynth.schema.cells import read_text
from dpsynth.schema.schema import Schema

COST, BLOCK = 2**16, 8


def fingerprint(frame: pd.DataFrame, schema: Schema, key: bytes) -> str:
    """The fingerprint of a frame's columns as the schema reads them, in hexadecimal. Fails on no cell."""
    digest = hashlib.sha256()
    for column in (c for c in schema.columns if c.name in frame):
        codes, texts = pd.factorize(read_text(frame[column.name], column), use_na_sentinel=True)
        digest.update(b"%d:" % len(codes) + codes.astype("<i8").tobytes() + b"%d:" % len(texts))
        digest.update(b"".join(map(_sized, texts)))
    return hashlib.scrypt(digest.digest(), salt=key, n=COST, r=BLOCK, p=1, maxmem=2 * 128 * COST * BLOCK, dklen=32).hex()


def _sized(text: str) -> bytes:
    """A text's bytes after their number, so that no two lists of texts give the same bytes."""
    content = text.encode("utf-8", "surrogatepass")
    return b"%d:" % len(content) + content
