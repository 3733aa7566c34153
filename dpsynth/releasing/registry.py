"""A release as an entry of the OpenDP registry of differential privacy deployments, at its top tier (3).

Everything but the publisher's own facts comes from the verified bundle: its certificate and its released schema. Written as JSON, which is
YAML, the registry's format; one paragraph a field.

Reference: registry.opendp.org/transparency-tiers, and the schema of the registry's entries as of 2026 (`basic`, `dp_variant`,
`privacy_loss`, `deployment_model`, `implementation`, `administrative`).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dpsynth.errors import Fault
from dpsynth.releasing.certificate import ANOTHER, MEANING, PUBLICATION, TRAINED, Certificate
from dpsynth.schema import Schema

TIER = 3
CURATOR_TYPES = ("Government", "Industry", "Nonprofit")
SECTORS = ("Technology", "Healthcare", "Education", "Government", "Energy", "Finance")


@dataclass(frozen=True)
class Publisher:
    """What no certificate knows: who publishes, for where, in which sector, and who wrote the entry."""

    name: str
    type: str
    region: str
    author: str
    sector: str | None = None

    def faults(self) -> Iterator[Fault]:
        """What the registry would not take."""
        for option, value in (("--curator", self.name), ("--region", self.region), ("--author", self.author)):
            if not value.strip():
                yield Fault(option, "is empty", "write a name")
        if self.type not in CURATOR_TYPES:
            yield Fault("--curator-type", "not one that the registry knows", f"write one of {', '.join(CURATOR_TYPES)}")
        if self.sector is not None and self.sector not in SECTORS:
            yield Fault("--sector", "not one that the registry knows", f"write one of {', '.join(SECTORS)}, or leave it out")


def entry(certificate: Certificate, schema: Schema, publisher: Publisher) -> dict[str, Any]:
    """The entry, of JSON values. `schema` is the bundle's released schema."""
    name = schema.title or schema.name
    return {
        "url_slug": _slug(f"{name} {publisher.name} {certificate.issued[:4]}"),
        "deployment": {
            "basic": _basic(certificate, schema, publisher, name),
            "dp_variant": _variant(certificate, schema),
            "privacy_loss": _loss(certificate),
            "deployment_model": _model(certificate, publisher),
            "implementation": _implementation(certificate),
            "administrative": {"status": "Draft", "registry_authors": [publisher.author], "tier": TIER},
        },
    }


def to_text(found: dict[str, Any]) -> str:
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _basic(certificate: Certificate, schema: Schema, publisher: Publisher, name: str) -> dict[str, Any]:
    sector = {"data_product_sector": publisher.sector} if publisher.sector else {}
    return {
        "name": f"Synthetic table: {name}",
        "data_curators": [{"data_curator_name": publisher.name, "data_curator_type": publisher.type}],
        "description": f"A synthetic table of {len(schema.synthesised)} columns, with a signed certificate ({certificate.id}) that anyone "
        "who knows the curator's public key verifies offline.",
        "intended_use": certificate.purpose or "Not stated",
        "data_product_type": "Synthetic data",
        "data_product_region": publisher.region,
        **sector,
        "publication_date": certificate.issued,
    }


def _variant(certificate: Certificate, schema: Schema) -> dict[str, Any]:
    columns = ", ".join(c.name for c in schema.synthesised)
    return {
        "variant_name": "Approximate DP",
        "data_domain": f"All tables of any number of rows with the columns {columns}, whatever their cells hold: a cell outside a column's "
        f"domain counts as missing, or as `other` where the schema has that category, or is clipped to its bounds. Each row belongs to one "
        f"{certificate.unit}.",
        "unprotected_quantities": "No statistic is published without noise. The schema holds what the curator declared public, each fact with "
        f"its basis. {PUBLICATION}",
    }


def _loss(certificate: Certificate) -> dict[str, Any]:
    ledger = certificate.ledger
    another = f" {ANOTHER}" if ANOTHER in certificate.limits else ""
    return {
        "privacy_unit": certificate.unit,
        "privacy_unit_details": _adjacent(certificate),
        "privacy_parameters": {"epsilon": certificate.epsilon, "delta": certificate.delta},
        "privacy_parameters_details": f"{certificate.statement} All that may ever be released on this population through its ledger, "
        f"{ledger.id}, is together ({ledger.epsilon:g}, {ledger.delta:g})-differentially private.{another}",
    }


def _adjacent(certificate: Certificate) -> str:
    unit, bounding = certificate.unit, certificate.bounding
    if not bounding.by_id:
        return f"Tables are adjacent if one is the other with one row, which is one {unit}, added or removed."
    most = "one row counts" if bounding.max_rows == 1 else f"at most {bounding.max_rows:,} rows count"
    weight = "" if bounding.count == "rows" else f", and all that count weigh as much as one {unit} together"
    nulls = "count nowhere" if bounding.null_ids == "drop" else f"are all of one {unit}"
    return (
        f"Tables are adjacent if one is the other with all rows of one {unit} added or removed. Of one {unit} {most}, chosen by a secret "
        f"key{weight}; rows without an id {nulls}."
    )


def _model(certificate: Certificate, publisher: Publisher) -> dict[str, Any]:
    ledger = certificate.ledger
    return {
        "model_name": "Central",
        "trust_assumptions": f"{publisher.name} is trusted with the source table, its schema and its secret keys. No one else is trusted: "
        f"whoever has the synthetic table may know everything about all others in the source table, and may have {_power(certificate)}.",
        "actors": f"Curator: {publisher.name}, who holds the source table and ran the release. Recipient: {certificate.recipient or 'anyone'}. "
        "Adversary: whoever has the bundle.",
        "release_type": "Many releases",
        "release_type_details": f"This entry is of one release. Others through the same ledger draw on the same budget: it refuses what would "
        f"exceed ({ledger.epsilon:g}, {ledger.delta:g}) in all, never resets, and is charged before the rows are read.",
        "data_source_type": "Static",
        "access_type": "Non-interactive",
        "access_type_details": "Recipients get the synthetic table, not a way to ask questions of the source table.",
    }


def _implementation(certificate: Certificate) -> dict[str, Any]:
    generator, policy = certificate.generator, certificate.policy
    options = ", ".join(f"{k} = {v}" for k, v in generator.options.items())
    return {
        "preprocessing_and_hyperparameter_tuning": "Each column's domain is public with its basis in the schema, or was measured with noise under "
        "this release's charge. The generator's constants were fixed beforehand on public tables. The generator has no look at the rows that is not "
        "charged; the attacks have, for the decision to publish alone, which is not covered.",
        "mechanisms": f"Generator {generator.name}{f' ({options})' if options else ''} of dpsynth {generator.dpsynth_version}: integer counts with "
        "discrete Gaussian noise, selections by the exponential mechanism on integer scores, and thresholds on noisy counts for what is not public. "
        f"{_noise(certificate)} Not covered: running time. The source table stays with the curator, and so does the folder with true comparisons.",
        "composition": _composition(certificate),
        "post_processing": f"{_fitted(certificate)}, and rows are drawn from it; neither touches the source table. "
        "Attacks then compare the rows with the source table and with a part of it that was held back, for the decision to publish alone.",
        "justification": f"The release passed the policy {policy.name}, version {policy.version} (SHA-256 {policy.sha256}), which is in the bundle "
        f"in full. Attacks: {', '.join(certificate.attacks)}. {MEANING}",
        "utility": "accuracy.json in the bundle states the noise scale and the 95 % error bound of each marginal that was measured.",
    }


def _trained(certificate: Certificate) -> bool:
    return any(e.kind == "train" for e in certificate.events)


def _power(certificate: Certificate) -> str:
    """What an adversary may have to compute with."""
    bounded = "computing power that does not tell from chance the streams that training draws from"
    return bounded if _trained(certificate) else "unbounded computing power"


def _noise(certificate: Certificate) -> str:
    exact = "comes from OpenDP's exact samplers over the operating system's entropy, so floating-point attacks on noise do not apply"
    return f"Noise on counts {exact}. A network is trained by noised gradients as well. {TRAINED}" if _trained(certificate) else f"Noise {exact}."


def _fitted(certificate: Certificate) -> str:
    model = "network is trained through noised gradients and weighed by" if _trained(certificate) else "graphical model is fitted to"
    return f"A {model} the noisy counts"


def _composition(certificate: Certificate) -> str:
    law = {"gdp": "mu-Gaussian differential privacy, where squares of mu add up", "zcdp": "zero-concentrated DP, where rho adds up"}
    events = ", ".join(f"{n} {kind}" for kind, n in sorted(Counter(e.kind for e in certificate.events).items()) if kind != "unused")
    return (
        f"Adaptive sequential composition in {law[certificate.currency]}, with the delta of thresholds apart; converted to (epsilon, delta) "
        f"once, rounding against the curator. This release: {events}."
    )
