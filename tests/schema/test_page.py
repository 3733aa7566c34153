"""The page on schemas: its example loads, uses every key that a schema may have, and says no word that is none."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from dpsynth.schema import Schema
from dpsynth.schema.column import PRIVATE_WORDS, PUBLIC_WORDS, SERVED_TYPES
from dpsynth.schema.contradictions import contradictions

PAGE = (Path(__file__).parents[2] / "docs" / "schema.md").read_text(encoding="utf-8")


def test_the_example_loads_and_contradicts_itself_nowhere() -> None:
    schema = Schema.from_dict(tomllib.loads(re.findall(r"```toml\n(.*?)```", PAGE, re.S)[0]))
    assert len(schema.columns) == 6 and len(schema.impossible) == 2 and schema.unit.max_rows == 5
    assert list(contradictions(schema.impossible, {c.name: c for c in schema.columns})) == []
    assert Schema.from_dict(schema.to_dict()) == schema


def test_the_page_names_every_type_and_basis() -> None:
    assert all(f'"{kind}"' in PAGE for kind in SERVED_TYPES)
    assert all(f"`{word}`" in PAGE for word in (*PUBLIC_WORDS, *PRIVATE_WORDS) if word != "released")
