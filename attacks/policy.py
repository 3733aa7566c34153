"""How much leak is too much. A policy is a small TOML file; its text and hash go into every certificate."""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dpsynth.errors import BadInput, Fault, refuse

SHIPPED = ("strict-public", "partner-contract", "internal")
REQUIRED = (
    "membership_auc",
    "membership_tpr",
    "singling_out_univariate",
    "singling_out_multivariate",
    "exact_match",
    "near_match",
    "rare_value",
    "distance_tpr",
    "linkability",
    "attribute_inference",
)
LATER = ("single_value",)  # where a policy states it; those up to version 4 know none, and judge what they judged
MAY_FAIL_ONLY = (
    "distance",
    "attribute_inference_confident",
    "nndr",
    "adversarial_accuracy",
    "dcr_share",
    "density_ratio",
    "gen_lra",
    "reconstruction",
    "exact_match_outliers",
    "distance_outliers",
    "distance_rare",
    "distance_subgroups",
    "shadow",
)
AREAS = (
    *("membership_auc", "nndr", "dcr_share", "density_ratio", "gen_lra", "shadow"),
    *("distance", "distance_outliers", "distance_rare", "distance_subgroups"),
)
MAY_NOT_APPLY = ("exact_match", "near_match", "rare_value", "single_value")


@dataclass(frozen=True)
class Policy:
    """What a synthetic table has to stand up to before it is let out.

    Attributes:
        name, version: which policy.
        publishes: whether a PASS may write a public bundle at all.
        max_epsilon: the largest epsilon that may be claimed.
        split: shares of the privacy units in `train`, `control` and `reference`.
        confidence: of the one-sided bounds; `1 - confidence` is also the family error of proving a leak.
        exchangeability_alpha, blind_alpha, claim_alpha: levels of the three tests beside the endpoints.
        singling_out_guesses: the least number of guesses of a singling-out attack.
        tolerance: per endpoint, what its upper bound has to stay below; one that may only fail a table is judged if it is here.
        text: the file, byte for byte.
    """

    name: str
    version: int
    publishes: bool
    max_epsilon: float
    split: Mapping[str, float]
    confidence: float
    exchangeability_alpha: float
    blind_alpha: float
    claim_alpha: float
    singling_out_guesses: int
    tolerance: Mapping[str, float]
    text: str

    @property
    def alpha(self) -> float:
        return 1 - self.confidence

    @property
    def max_delta(self) -> float:
        """Below which a claimed delta has to stay: a mechanism that publishes a share delta of all people is (0, delta)-private, so a
        larger one bounds less than the tolerance of exact matches does."""
        return self.tolerance["exact_match"]

    @property
    def hash(self) -> str:
        """SHA-256 of the text, hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def required(self) -> tuple[str, ...]:
        """The endpoints without which there is no PASS."""
        return (*REQUIRED, *(name for name in LATER if name in self.tolerance))

    @classmethod
    def load(cls, name_or_path: str | Path) -> Policy:
        """A shipped policy by name, or a file. Raises `BadInput` with all faults of the file at once."""
        if str(name_or_path) in SHIPPED:
            shipped = resources.files("attacks") / "policies" / f"{name_or_path}.toml"
            return cls.from_text(shipped.read_text(encoding="utf-8"), str(name_or_path))
        try:
            return cls.from_text(Path(name_or_path).read_bytes().decode("utf-8"), str(name_or_path))
        except (OSError, UnicodeDecodeError, ValueError) as error:
            what = f"cannot be read as a policy ({type(error).__name__})"
            raise BadInput(Fault(str(name_or_path), what, f"name one of {', '.join(SHIPPED)}, or the path of a TOML file")) from None

    @classmethod
    def from_text(cls, text: str, where: str = "policy") -> Policy:
        """The policy that the TOML text writes down. Raises `BadInput` with all faults at once."""
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise BadInput(Fault(where, f"not valid TOML ({error})", "mend the file at that place")) from None
        refuse(_faults(document, where))
        tests = document["tests"]
        return cls(
            name=document["name"],
            version=document["version"],
            publishes=document["publishes"],
            max_epsilon=float(document["max_epsilon"]),
            split=MappingProxyType({k: float(v) for k, v in document["split"].items()}),
            confidence=float(tests["confidence"]),
            exchangeability_alpha=float(tests["exchangeability_alpha"]),
            blind_alpha=float(tests["blind_alpha"]),
            claim_alpha=float(tests["claim_alpha"]),
            singling_out_guesses=tests["singling_out_guesses"],
            tolerance=MappingProxyType({k: float(v) for k, v in document["tolerance"].items()}),
            text=text,
        )


@dataclass(frozen=True)
class _Rule:
    """What a value of a policy has to be."""

    holds: Callable[[Any], bool]
    instead: str


def _between(low: float, high: float) -> _Rule:
    return _Rule(lambda v: _is_number(v) and low < v < high, f"write a number between {low:g} and {high:g}")


def _whole(least: int) -> _Rule:
    return _Rule(lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= least, f"write a whole number from {least} on")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


SECTIONS: Mapping[str, Mapping[str, _Rule]] = {
    "": {
        "name": _Rule(lambda v: isinstance(v, str) and bool(v.strip()), "write a name in quotes"),
        "version": _whole(1),
        "publishes": _Rule(lambda v: isinstance(v, bool), "write true or false"),
        "max_epsilon": _Rule(lambda v: _is_number(v) and v > 0, "write a positive number"),
    },
    "split": {share: _between(0, 1) for share in ("train", "control", "reference")},
    "tests": {
        "confidence": _between(0.5, 1),
        "exchangeability_alpha": _between(0.002, 0.5),
        "blind_alpha": _between(0, 0.5),
        "claim_alpha": _between(0, 0.5),
        "singling_out_guesses": _whole(100),
    },
    "tolerance": {e: _between(0.5, 1) if e in AREAS else _between(0, 1) for e in (*REQUIRED, *LATER, *MAY_FAIL_ONLY)},
}


def _faults(document: Mapping[str, Any], where: str) -> Iterator[Fault]:
    for section, rules in SECTIONS.items():
        at = f"{where}, [{section}]" if section else where
        entries = document.get(section, {}) if section else {k: v for k, v in document.items() if k not in SECTIONS}
        if not isinstance(entries, Mapping):
            yield Fault(at, "not a section", f"write [{section}] and its keys below")
            continue
        yield from (Fault(f"{at}, {k}", "unknown key", f"use {', '.join(rules)}") for k in entries if k not in rules)
        yield from (
            Fault(f"{at}, {k}", "missing", rule.instead) for k, rule in rules.items() if k not in entries and k not in (*LATER, *MAY_FAIL_ONLY)
        )
        yield from (
            Fault(f"{at}, {k}", "wrong type or out of range", rules[k].instead) for k, v in entries.items() if k in rules and not rules[k].holds(v)
        )
    shares = document.get("split")
    if isinstance(shares, Mapping) and all(map(_is_number, shares.values())) and abs(sum(shares.values()) - 1) > 1e-9:
        yield Fault(f"{where}, [split]", "the shares do not add up to 1", "write train = 0.7, control = 0.15, reference = 0.15")
