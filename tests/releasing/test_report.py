from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest
from release_samples import ACCURACY, certificate, released_schema, rows

from dpsynth.releasing import charts
from dpsynth.releasing.certificate import MEANING, Event
from dpsynth.releasing.report import AuditorFacts, CustodianFacts, PublicFacts, auditor_report, custodian_report, public_report
from dpsynth.schema import Schema

HOSTILE = "<script>alert('x')</script>&\"$a^b$\n]]>"
VOID = {"meta", "link", "br", "img", "input", "hr"}


def public(**changes: Any) -> PublicFacts:
    return replace(PublicFacts(certificate(), released_schema(), rows(), ACCURACY), **changes)


def custodian(**changes: Any) -> CustodianFacts:
    attack = {
        "name": "membership_auc",
        "status": "ok",
        "effect": 0.51,
        "ci": [0.49, 0.53],
        "p": 0.2,
        "p_adjusted": 0.4,
        "tolerance": 0.57,
        "minimum_detectable": 0.02,
        "control_detected": True,
        "seconds": 1.5,
        "column": None,
    }
    dead = dict.fromkeys(attack) | {"name": "linkability", "status": "error"}
    facts = CustodianFacts(
        release="R1",
        verdict="FAIL",
        reasons=[{"code": "tolerance_exceeded", "attack": "membership_auc", "column": None, "words": "too much", "next": "spend less"}],
        attacks=[attack, dead],
        comparisons=[
            {"column": "sex", "kind": "categorical", "labels": ["F", "M"], "train": [0.5, 0.5], "synthetic": [0.4, 0.6], "tv": 0.1},
            {"column": "age", "kind": "numeric", "edges": [0, 10, 20], "train": [0.5, 0.5], "synthetic": [0.4, 0.6], "tv": 0.1},
        ],
        pairs=[{"columns": ["sex", "age"], "tv": 0.2}],
        roc=[{"attack": "membership", "fpr": [0, 0.5, 1], "tpr": [0, 0.6, 1]}],
        ledger=["capacity epsilon 3"],
        attempts=2,
        next_steps=["lower epsilon"],
    )
    return replace(facts, **changes)


def auditor(**changes: Any) -> AuditorFacts:
    ours = custodian()
    facts = AuditorFacts(
        verdict=ours.verdict,
        reasons=ours.reasons,
        attacks=ours.attacks,
        roc=ours.roc,
        next_steps=ours.next_steps,
        policy={"name": "partner-contract", "version": "2", "hash": "ab" * 32},
        claim={"epsilon": 1.0, "delta": 1e-9, "outcome": "refuted"},
        inputs={"train": "12" * 32, "synthetic": "34" * 32},
    )
    return replace(facts, **changes)


class Page(HTMLParser):
    """Tags of a page; complains if they do not nest."""

    def __init__(self, html: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


PAGES = {"public": lambda: public_report(public()), "custodian": lambda: custodian_report(custodian()), "auditor": lambda: auditor_report(auditor())}


@pytest.mark.parametrize("name", PAGES)
def test_page_is_whole_and_loads_nothing(name: str) -> None:
    html = PAGES[name]()
    page = Page(html)
    assert page.open == []
    assert html.lstrip().startswith("<!doctype html>")
    assert not re.search(r"https?://|url\((?!#)|@import|//[a-z]", html.replace("//www.w3.org", ""))
    tags = {t for t, _ in page.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "base", "form"}
    for _, attributes in page.tags:
        assert all((v or "").startswith("#") for k, v in attributes.items() if k in ("src", "href", "xlink:href", "srcset", "action"))
        assert not any(k.startswith("on") for k in attributes)


@pytest.mark.parametrize("name", PAGES)
def test_page_is_accessible(name: str) -> None:
    html = PAGES[name]()
    page = Page(html)
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert [t for t, _ in page.tags].count("h1") == 1
    assert all(a.get("scope") in ("col", "row") for t, a in page.tags if t == "th")
    assert all(a.get("aria-hidden") == "true" for t, a in page.tags if t == "svg")
    assert sum(a.get("role") == "img" and bool(a.get("aria-label")) for _, a in page.tags) == sum(t == "svg" for t, _ in page.tags)
    assert all(a["aria-labelledby"] in ids for _, a in page.tags if "aria-labelledby" in a)
    references = re.findall(r'(?:href="#|url\(#)([^")]+)', html)
    assert set(references) <= set(ids)


@pytest.mark.parametrize("name", PAGES)
def test_equal_facts_give_equal_bytes(name: str) -> None:
    assert PAGES[name]() == PAGES[name]()


def test_public_page_says_what_it_must() -> None:
    html = public_report(public())
    for words in (
        certificate().statement,
        MEANING,
        *certificate().limits,
        "all that may ever be spent on these people through it",
        "dpsynth verify",
        certificate().id,
        "sex \N{MULTIPLICATION SIGN} level",
        "mst",
    ):
        assert words.replace("'", "&#39;").replace(">", "&gt;") in html
    assert html.count("<svg") == 5
    assert "40.7 % ± 3.1 %" in html  # 410 of 1,008, bound 31


def test_public_page_says_where_columns_alone_were_bought() -> None:
    alone = [{**e, "columns": e["columns"][:1]} for e in ACCURACY if len(e["columns"]) == 1]
    paired = [*alone, {"columns": ["a", "b"], "sigma": 1.0, "cells": 4, "bound_95": 2.0}]
    assert "Structure: none." in public_report(public(accuracy=alone))
    assert "Structure: none." not in public_report(public(accuracy=paired))
    trained = replace(certificate(), events=(*certificate().events, Event("train", "steps", 0.1, 0.0)))
    assert "Structure: none." not in public_report(public(accuracy=alone, certificate=trained))
    single = replace(released_schema(), columns=released_schema().synthesised[:1])
    assert "Structure: none." not in public_report(public(accuracy=alone, schema=single))


def test_public_page_knows_only_the_released() -> None:
    before = public_report(public())
    leaky = replace(
        released_schema(),
        columns=tuple(replace(c, observed_categories=("secret ward",), observed_bounds=(1, 2)) for c in released_schema().columns),
    )
    assert public_report(public(schema=leaky)) == before


def test_whiskers_follow_the_noisy_counts() -> None:
    changed = [ACCURACY[0] | {"noisy": [100, 395, 203]}, *ACCURACY[1:]]
    assert public_report(public(accuracy=changed)) != public_report(public())
    unfit = [ACCURACY[0] | {"noisy": [1, 2]}]
    assert "±" not in public_report(public(accuracy=unfit)).split('id="measured"')[0].replace("A dark line", "")


@pytest.mark.parametrize(
    "frame",
    [rows(0), rows(1), rows().assign(age=None), rows().assign(sex=None, weight=None), rows().assign(age=-1), rows().assign(weight=2.5)],
)
def test_thin_tables_make_a_page(frame: pd.DataFrame) -> None:
    for accuracy in ([], ACCURACY, [ACCURACY[0] | {"noisy": [-5, -3, 0]}]):
        assert Page(public_report(public(synthetic=frame, accuracy=accuracy))).open == []


def test_hostile_names_are_escaped() -> None:
    schema = Schema.from_dict(
        {
            "name": HOSTILE,
            "title": HOSTILE,
            "privacy_unit": {"unit": "row"},
            "columns": [
                {
                    "name": HOSTILE,
                    "type": "categorical",
                    "categories": [HOSTILE, "b"],
                    "categories_basis": "publisher",
                    "description": HOSTILE,
                },
                {"name": HOSTILE + "2", "type": "integer", "bounds": [0, 9], "bounds_basis": "publisher", "description": HOSTILE},
            ],
        }
    )
    frame = pd.DataFrame({HOSTILE: [HOSTILE, "b"], HOSTILE + "2": [1, 2]})
    held = certificate(purpose=HOSTILE, recipient=HOSTILE, unit=HOSTILE, attacks=(HOSTILE,), limits=(HOSTILE,))
    html = public_report(PublicFacts(held, schema, frame, [{"columns": [HOSTILE], "sigma": 1.0, "cells": 3, "bound_95": 2.0, "noisy": [1, 1, 1]}]))
    assert "<script" not in html and Page(html).open == []
    facts = custodian()
    facts = replace(
        facts,
        release=HOSTILE,
        reasons=[dict.fromkeys(facts.reasons[0], HOSTILE)],
        attacks=[dict(facts.attacks[0]) | {"name": HOSTILE, "status": HOSTILE}],
        comparisons=[dict(c) | {"column": HOSTILE} | ({"labels": [HOSTILE, "b"]} if "labels" in c else {}) for c in facts.comparisons],
        pairs=[{"columns": [HOSTILE, "b"], "tv": 0.1}],
        roc=[dict(facts.roc[0]) | {"attack": HOSTILE}],
        ledger=[HOSTILE],
        next_steps=[HOSTILE],
    )
    html = custodian_report(facts)
    assert "<script" not in html and Page(html).open == []
    named = dict.fromkeys(("name", "version", "hash"), HOSTILE)
    attacked = {name: getattr(facts, name) for name in ("reasons", "attacks", "roc", "next_steps")}
    html = auditor_report(auditor(**attacked, policy=named, inputs={HOSTILE: HOSTILE}, claim={"epsilon": 1.0, "delta": 0.0, "outcome": HOSTILE}))
    assert "<script" not in html and Page(html).open == []


@pytest.mark.parametrize(
    ("verdict", "words"),
    [("PASS", "found more than the policy allows."), ("FAIL", "Nothing was published"), ("INCONCLUSIVE", "not enough to decide")],
)
def test_custodian_page_opens_with_the_verdict(verdict: Any, words: str) -> None:
    html = custodian_report(custodian(verdict=verdict))
    banner, top, attacks, columns = (html.index(w) for w in ("DO NOT SEND<", words, 'id="attacks"', 'id="columns"'))
    assert banner < top < attacks < columns
    assert html.index("lower epsilon") < attacks
    assert "tolerance_exceeded" in html and "spend less" in html


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        ({"epsilon": 1.0004, "delta": 1e-9, "outcome": "not refuted"}, "claims epsilon 1.0004 and delta 1e-09: <strong>not refuted</strong>"),
        (None, "No differential privacy was claimed"),
    ],
)
def test_auditor_page_says_what_was_judged_and_speaks_of_no_release(claim: Any, words: str) -> None:
    html = auditor_report(auditor(claim=claim))
    assert words in html and all(
        said in html for said in ("12" * 32, "34" * 32, "ab" * 32, "partner-contract", "tolerance_exceeded", "lower epsilon")
    )
    assert not any(said in html for said in ("DO NOT SEND", "zip", "edger", "attempt"))


def test_custodian_page_without_evidence() -> None:
    html = custodian_report(CustodianFacts("INCONCLUSIVE", [], [], release="R"))
    assert Page(html).open == [] and "DO NOT SEND" in html and "<svg" not in html


@pytest.mark.parametrize(
    "svg",
    [charts.bars(["a<b", "$x$"], [charts.Series("s", "#000", [0.1, 0.2])], "k"), charts.roc([charts.Curve("c", [0, 1], [0, 1])], "k")],
)
def test_charts_are_well_formed_svg(svg: str) -> None:
    root = ElementTree.fromstring(svg)
    assert root.tag == "svg" and "viewBox" in root.attrib and "width" not in root.attrib
    assert all(i.startswith("k-") for e in root.iter() if (i := e.get("id")))


def test_effects_are_measured_from_guessing() -> None:
    near = [dict(custodian().attacks[0]) | {"effect": 0.5, "ci": [0.5, 0.5]}]
    html = custodian_report(custodian(attacks=near, roc=(), comparisons=()))
    assert charts.intervals([charts.Interval("membership_auc", 0.0, 0.0, 0.0)], "attacks") in html


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({}, "within"),
        ({"ci": [0.6, 0.7]}, "exceeds"),
        ({"ci": [0.5, 0.6]}, "undecided"),
        ({"ci": None}, "reported"),
        ({"control_detected": False}, "void: control missed"),
        ({"status": "not_applicable"}, "not applicable"),
        ({"status": "error", "effect": None, "ci": None}, "error"),
    ],
)
def test_an_attack_that_ran_is_not_thereby_passed(change: dict[str, Any], outcome: str) -> None:
    html = custodian_report(custodian(attacks=[dict(custodian().attacks[0]) | change]))
    assert re.findall(r'<td><span class="\w*">([^<]+)</span>', html) == [outcome]


def test_numbers_without_edges_keep_their_order() -> None:
    labels = [f"{i} to {i + 1}" for i in range(20)] + ["missing"]
    numbers = {"column": "age", "kind": "integer", "labels": labels, "train": [1 / 21] * 21, "synthetic": [1 / 21] * 21, "tv": 0.0}
    html = custodian_report(custodian(comparisons=[numbers]))
    assert html.index("0 to 1") < html.index("6 to 7") < html.index("18 to 19")


def test_a_step_is_told_once() -> None:
    assert custodian_report(custodian(next_steps=["spend less", "spend less"])).count("spend less") == 1
