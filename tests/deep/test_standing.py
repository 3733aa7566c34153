"""What is said of a generator is what was measured with rows no louder."""

from __future__ import annotations

import pytest

from dpsynth.deep.standing import MEASURED, loses, standing


def test_settings_are_in_the_order_of_their_loudness_but_for_ties():
    loudness = [s.loudness for s in MEASURED]
    assert loudness == sorted(loudness)


@pytest.mark.parametrize("setting", MEASURED, ids=lambda s: f"{s.table} {s.mu}")
def test_a_measured_setting_says_what_was_measured(setting):
    for generator, error in setting.errors.items():
        assert standing(generator, setting.rows, setting.cells, setting.mu) == error


def test_small_tables_lose_large_ones_win_and_what_was_not_measured_loses():
    assert loses("diffusion", 500, 602, 0.3) and loses("vae", 1000, 604, 1.66)
    assert not loses("diffusion", 39_074, 602, 0.266) and not loses("vae", 1_000_000, 604, 1.0)
    assert loses("gan", 39_074, 602, 0.266)
    assert loses("other", 1_000_000, 602, 1.0)
