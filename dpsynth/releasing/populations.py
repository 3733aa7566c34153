"""Populations that this desk has a ledger of, so that nobody makes a second one by mistake: two budgets for the same people add up.

One file a population in the custodian's home, `populations/HASH.json`: that it is there is the claim, what it says is for people. It is
put there before the ledger is made, so a crash in between refuses too much, not too little. A ledger that is made for a stated reason is
refused by no claim, and claims what nobody has. What a desk cannot know: ledgers made at other desks, or from Python by `Ledger.create`,
which asks nobody; and other names for the same people.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dpsynth.errors import BadInput, Fault
from dpsynth.releasing.key import KeyStore, store_whole


@dataclass(frozen=True)
class Populations:
    """The claims in the custodian's home."""

    home: Path

    @classmethod
    def default(cls) -> Populations:
        """Beside the keys."""
        return cls(KeyStore.default().home)

    @contextmanager
    def claimed(self, dataset: str, address: str, another: str = "") -> Iterator[None]:
        """Claim a population for the ledger at `address`, which is made inside; the claim is given up if that fails.

        Args:
            another: why, if the population may have a ledger already; then an earlier claim stays as it is.

        Raises:
            BadInput: the population is claimed already and no reason is given, or the home cannot be written.
        """
        name = hashlib.sha256(dataset.encode("utf-8", "surrogatepass")).hexdigest()
        claim = self.home / "populations" / f"{name}.json"
        new = store_whole(claim, json.dumps({"dataset": dataset, "ledger": address}).encode(), 0o600)
        if not new and not another:
            what = f"has a ledger already: {json.loads(claim.read_bytes())['ledger']}"
            instead = 'use that one (a lost ledger is a spent one), or say why these people may have another: --another "REASON"'
            raise BadInput(Fault(dataset, what, instead))
        try:
            yield
        except BadInput:  # anything else may have left a ledger
            if new:
                claim.unlink()
            raise
