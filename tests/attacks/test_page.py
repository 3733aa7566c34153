"""What docs/attacks.md shows works as it stands there, and every name that `attacks` promises is there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from scipy import stats

import attacks
from attacks.policy import LATER, MAY_FAIL_ONLY, REQUIRED

PAGE = (Path(__file__).parents[2] / "docs" / "attacks.md").read_text(encoding="utf-8")


def test_every_name_is_there_and_every_judged_endpoint_is_described() -> None:
    assert set(attacks.__all__) == set(attacks._HOME)
    assert all(getattr(attacks, name) is not None for name in attacks.__all__)
    for name in (*REQUIRED, *LATER, *MAY_FAIL_ONLY):
        family = "|`singling_out_\\*`" if name.startswith("singling_out_") else ""
        assert re.search(rf"`{name}`|`_{name.rpartition('_')[2]}`{family}", PAGE), name


def test_the_example_tells_members() -> None:
    """A model's loss of a person is his own, one lower if he was trained on, give or take .3."""
    rng = np.random.default_rng(3)
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    people, strangers = rng.normal(0, 5, 400), rng.normal(0, 5, 300)
    inside = rng.permuted(np.arange(16)[:, None].repeat(400, axis=1) < 8, axis=0)
    member = rng.random(400) < 0.5

    def loss(trained: np.ndarray, whom: np.ndarray) -> np.ndarray:
        return whom - (trained if whom is people else 0.0) + rng.normal(0, 0.3, len(whom))

    names = {"loss": loss, "model": member, "people": people, "shadows": list(inside), "inside": inside, "strangers": strangers}
    exec(example, names)
    for found in ("lira", "rmia"):
        scores = names[found]
        assert stats.mannwhitneyu(scores[member], scores[~member]).statistic / (member.sum() * (~member).sum()) > 0.9
