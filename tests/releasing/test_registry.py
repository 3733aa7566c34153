"""The registry's entry: every field of its top tier, nothing it does not know, and no fact that the bundle does not hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from release_samples import ACCURACY, POLICY, certificate, released_schema, rows

from dpsynth.cli import main
from dpsynth.releasing.bundle import PublicContents, write_public
from dpsynth.releasing.certificate import ANOTHER, LIMITS, Bounding
from dpsynth.releasing.key import KeyStore
from dpsynth.releasing.papers import _released_schema
from dpsynth.releasing.registry import Publisher, entry, to_text
from dpsynth.releasing.rows import dictionary_of
from dpsynth.releasing.rows import released_schema as public_schema
from dpsynth.schema import Schema

HOSPITAL = Publisher("St. Anna Hospital", "Nonprofit", "Austria", "A. Clerk", "Healthcare")

# Each field of the registry's schema and the tier that it belongs to; `details` fields that tier 3 leaves free are not asked for.
ASKED = {
    "basic": {
        1: "name data_curators description intended_use data_product_type data_product_region publication_date",
    },
    "dp_variant": {2: "variant_name", 3: "data_domain unprotected_quantities"},
    "privacy_loss": {2: "privacy_unit privacy_parameters", 3: "privacy_unit_details privacy_parameters_details"},
    "deployment_model": {2: "model_name release_type data_source_type access_type", 3: "trust_assumptions actors access_type_details"},
    "implementation": {3: "preprocessing_and_hyperparameter_tuning mechanisms composition post_processing justification utility"},
    "administrative": {1: "status registry_authors tier"},
}
KNOWN = {
    "basic": {"data_product_sector"},
    "privacy_loss": {"number_of_privacy_units"},
    "deployment_model": {"model_name_details", "release_type_details", "data_source_type_details"},
    "implementation": {"additional_information"},
    "administrative": {"evidence_sources"},
}
ENUMERATED = {
    ("basic", "data_product_type"): {"Summary statistics", "Machine learning model", "Dataset", "Synthetic data", "Interactive API", "SQL queries"},
    ("basic", "data_product_sector"): {"Technology", "Healthcare", "Education", "Government", "Energy", "Finance"},
    ("dp_variant", "variant_name"): {"Pure DP", "Approximate DP", "Zero-concentrated DP", "Renyi DP", "Custom"},
    ("deployment_model", "model_name"): {"Local", "Central", "Shuffle", "Federated", "Varies"},
    ("deployment_model", "release_type"): {"One release", "Many releases"},
    ("deployment_model", "data_source_type"): {"Static", "Dynamic"},
    ("deployment_model", "access_type"): {"Interactive", "Non-interactive"},
    ("administrative", "status"): {"Draft"},
}


def in_a_bundle() -> Schema:
    """The schema as a bundle holds it: without ids, so with no unit to name."""
    return public_schema(_released_schema(released_schema()), "7b0c9a52")


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return entry(certificate(), in_a_bundle(), HOSPITAL)


@pytest.mark.parametrize("room", sorted(ASKED))
def test_every_field_of_the_top_tier_is_there_and_no_unknown_one(made: dict[str, Any], room: str) -> None:
    asked = {field for fields in ASKED[room].values() for field in fields.split()}
    found = made["deployment"][room]
    assert asked <= found.keys() <= asked | KNOWN.get(room, set())
    assert all(found[field] for field in asked)


def test_the_rooms_are_the_registrys(made: dict[str, Any]) -> None:
    assert set(made) == {"url_slug", "deployment"}
    assert set(made["deployment"]) == set(ASKED)
    assert made["deployment"]["administrative"]["tier"] == 3
    assert made["url_slug"] == "visits-to-a-clinic-st-anna-hospital-2026"


@pytest.mark.parametrize(("room", "field"), sorted(ENUMERATED))
def test_enumerated_fields_hold_what_the_registry_lists(made: dict[str, Any], room: str, field: str) -> None:
    assert made["deployment"][room][field] in ENUMERATED[room, field]


def test_texts_are_one_paragraph_each(made: dict[str, Any]) -> None:
    assert all("\n" not in text and "  " not in text for text in _texts(made))


def test_the_figures_are_those_of_the_certificate(made: dict[str, Any]) -> None:
    held, loss = certificate(), made["deployment"]["privacy_loss"]
    assert loss["privacy_parameters"] == {"epsilon": held.epsilon, "delta": held.delta}
    assert loss["privacy_unit"] == "person"
    assert all(words in loss["privacy_unit_details"] for words in ("all rows of one person", "at most 2 rows count", "count nowhere"))
    assert "(3, 1e-06)" in loss["privacy_parameters_details"]
    assert "2 measurement" in made["deployment"]["implementation"]["composition"]


def test_a_row_unit_and_the_other_currency_are_said_as_they_are() -> None:
    held = replace(certificate(), unit="visit", bounding=Bounding(False, 1, "rows", "drop"), currency="zcdp")
    made = entry(held, in_a_bundle(), replace(HOSPITAL, sector=None))["deployment"]
    assert "one row, which is one visit" in made["privacy_loss"]["privacy_unit_details"]
    assert "zero-concentrated" in made["implementation"]["composition"]
    assert "data_product_sector" not in made["basic"]


@pytest.mark.parametrize(
    ("kind", "power"), [("measurement", "unbounded computing power."), ("train", "computing power that does not tell from chance")]
)
def test_an_adversary_of_a_release_that_trains_is_bounded(kind: str, power: str) -> None:
    held = replace(certificate(), events=tuple(replace(e, kind=kind) for e in certificate().events))
    assert f"may have {power}" in entry(held, in_a_bundle(), HOSPITAL)["deployment"]["deployment_model"]["trust_assumptions"]


@pytest.mark.parametrize("another", [(), (ANOTHER,)])
def test_a_ledgers_total_is_of_what_is_released_through_it(another: tuple[str, ...]) -> None:
    made = entry(replace(certificate(), limits=(*LIMITS, *another)), in_a_bundle(), HOSPITAL)["deployment"]["privacy_loss"]
    assert "through its ledger, L1, is together (3, 1e-06)" in made["privacy_parameters_details"]
    assert made["privacy_parameters_details"].count(ANOTHER) == len(another)


def test_what_the_registry_would_not_take_is_named_all_at_once() -> None:
    faults = list(replace(HOSPITAL, name=" ", type="Hospital", sector="Health").faults())
    assert [f.where for f in faults] == ["--curator", "--curator-type", "--sector"]


def test_only_a_bundle_that_verifies_is_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DPSYNTH_HOME", str(tmp_path / "home"))
    schema = released_schema()
    contents = PublicContents(rows(), schema, dictionary_of(schema), ACCURACY, POLICY, certificate(), "<!doctype html>")
    bundle = write_public(tmp_path / "out", contents, KeyStore.default().create())
    target = tmp_path / "clinic.yaml"
    words = ["registry", str(bundle), "--curator", "St. Anna Hospital", "--curator-type", "Nonprofit", "--region", "Austria", "--out", str(target)]
    assert main(words) == 0, capsys.readouterr().err
    written = json.loads(target.read_text(encoding="utf-8"))
    assert written == entry(*_held(bundle), Publisher("St. Anna Hospital", "Nonprofit", "Austria", "St. Anna Hospital"))
    target.unlink()
    stranger = write_public(tmp_path / "other", contents, Ed25519PrivateKey.generate())
    assert main([words[0], str(stranger), *words[2:]]) == 6
    assert not target.exists()


def test_it_is_written_as_text_that_reads_back(made: dict[str, Any]) -> None:
    assert json.loads(to_text(made)) == made


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _held(bundle: Path) -> tuple[Any, Any]:
    from dpsynth.releasing.bundle import read_bundle
    from dpsynth.releasing.certificate import Certificate
    from dpsynth.schema import Schema

    files = read_bundle(bundle)
    return Certificate.from_bytes(files["certificate.json"]), Schema.from_dict(json.loads(files["schema.json"]))
