"""The audits of a build: one error rate for all of them."""

import pytest

pytest.importorskip("opacus")

from benchmarks import audits
from dpsynth.releasing.audited import ALPHA


def test_all_audits_of_a_build_together_accuse_sound_code_once_in_a_thousand() -> None:
    assert len(audits.GENERATORS) > len(audits.COUNTING) > 3
    assert (len(audits.GENERATORS) + len(audits.COUNTING)) * audits.SHARE <= ALPHA * (1 + 1e-9)
