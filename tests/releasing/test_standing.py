"""What is said of a generator is what was measured with rows no louder."""

from __future__ import annotations

import pytest

from dpsynth.releasing.standing import MEASURED, Setting, loses, standings


def test_settings_are_in_the_order_of_their_loudness_but_for_ties() -> None:
    loudness = [s.loudness for s in MEASURED]
    assert loudness == sorted(loudness)


@pytest.mark.parametrize("setting", MEASURED, ids=lambda s: f"{s.table} {s.mu}")
def test_a_measured_setting_says_what_was_measured(setting: Setting) -> None:
    said = standings(setting.rows, setting.cells, setting.mu)
    assert {g: said[g] for g in setting.errors} == setting.errors
    assert list(said.values()) == sorted(said.values())


def test_small_tables_lose_and_large_ones_win() -> None:
    small, large = standings(500, 602, 0.3), standings(1_000_000, 604, 1.0)
    assert loses(small["diffusion"]) and loses(small["vae"]) and loses(small["gan"]) and not loses(small["aim"])
    assert not loses(large["diffusion"]) and not loses(large["vae"])
