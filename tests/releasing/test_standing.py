"""What is said of a generator is what was measured where rows told no more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dpsynth.releasing.standing import EVEN, MEASURED, Setting, loses, standings

FIGURES = Path(__file__).parents[2] / "benchmarks" / "results" / "deep.jsonl"
EPSILONS = {0.266: 1.0, 0.715: 3.0, 1.659: 8.0}


def test_settings_are_in_the_order_of_their_loudness_but_for_ties() -> None:
    loudness = [s.loudness for s in MEASURED]
    assert loudness == sorted(loudness)


@pytest.mark.parametrize("setting", MEASURED, ids=lambda s: f"{s.table} {s.mu}")
def test_a_measured_setting_says_what_was_measured(setting: Setting) -> None:
    said = standings(setting.loudness)
    assert {g: said[g] for g in setting.errors} == setting.errors


@pytest.mark.parametrize("setting", MEASURED, ids=lambda s: f"{s.table} {s.mu}")
def test_settings_are_those_of_the_benchmark(setting: Setting) -> None:
    lines = [json.loads(line) for line in FIGURES.read_text().splitlines()]
    errors: dict[str, list[float]] = {}
    for line in lines:
        if (line["table"], line["epsilon"], line["status"]) == (setting.table, EPSILONS[setting.mu], "ok"):
            assert line["rows"] == setting.rows
            errors.setdefault(line["generator"].removeprefix("ours-"), []).append(line["tv2"])
    mean = {generator: sum(found) / len(found) for generator, found in errors.items()}
    for generator, error in setting.errors.items():
        assert error == pytest.approx(mean[generator] / mean["independent"], abs=0.006)
    assert set(mean) - {"independent", "smartnoise-dpctgan"} == set(setting.errors)


def test_small_tables_lose_large_ones_win_and_of_what_was_not_measured_nothing_is_said() -> None:
    small, large, least = standings(0.5), standings(1_000.0), standings(0.1)
    assert loses(small["diffusion"]) and loses(small["vae"]) and not loses(small["aim"])
    assert not loses(large["diffusion"]) and not loses(large["vae"])
    assert small["gan"] is None and set(least.values()) == {None} and loses(None)
    assert not loses(EVEN)
