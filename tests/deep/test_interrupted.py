"""Ctrl-C in the midst of a training: the charge stays, what was learnt is kept, and the release goes on without another charge."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kernel_samples import bounded, listed, schema_of

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

from dpsynth.cli import main  # noqa: E402
from dpsynth.deep import DPGAN  # noqa: E402
from dpsynth.deep.gan import _Critic, _Held, _Pair  # noqa: E402
from dpsynth.privacy import Ledger  # noqa: E402
from dpsynth.privacy.answers import Answers  # noqa: E402
from dpsynth.releasing.run import Run  # noqa: E402
from dpsynth.synthesizers.model import load  # noqa: E402
from dpsynth.testing import seeded_table  # noqa: E402

SCHEMA = schema_of({"a": listed("x", "y"), "b": listed("x", "y", "z"), "n": bounded(0, 9), "m": bounded(0, 9)})
ROWS = 6000


@pytest.fixture
def files(tmp_path: Path) -> Path:
    rng = np.random.default_rng(2)
    a, n = rng.choice(["x", "y"], ROWS, p=[0.3, 0.7]), rng.integers(0, 10, ROWS)
    frame = pd.DataFrame({"a": a, "b": np.where(rng.random(ROWS) < 0.9, a, "z"), "n": n, "m": 9 - n})
    frame.to_csv(tmp_path / "people.csv", index=False)
    (tmp_path / "schema.json").write_text(SCHEMA.to_json())
    Ledger.create(tmp_path / "ledger.db", "people", 8.0, 1e-5)
    return tmp_path


CHILD = """
import os, signal, sys
from dpsynth.cli import main
from dpsynth.privacy.training import Clock
words, left = Clock.words, [3]
def said(clock, *facts):
    left[0] -= 1
    left[0] or os.kill(os.getpid(), signal.SIGINT)
    return words(clock, *facts)
Clock.words = said
sys.exit(main())
"""


@pytest.mark.parametrize("generator", ["gan", "vae", "diffusion"])
def test_ctrl_c_keeps_the_charge_and_what_was_learnt(generator: str, files: Path) -> None:
    """Pressed as the third block of steps begins."""
    words = ["release", files / "people.csv", "--schema", files / "schema.json", "--ledger", files / "ledger.db", "--epsilon", "4", "--delta", "1e-6"]
    command = [sys.executable, "-c", CHILD, *map(str, [*words, "--generator", generator, "--out", files / "out"])]
    running = subprocess.run(command, check=False, capture_output=True, text=True)
    said = running.stderr.splitlines()
    assert running.returncode == 130, said
    assert "interrupted; what was charged stays charged; go on with --resume" in said[-1]
    ledger, run = Ledger.open(files / "ledger.db"), Run(files / "out")
    spent = ledger.spent
    assert spent.amount > 0 and not run.model.exists() and not list(run.out.glob("*.zip"))
    told = run.answers.read_bytes()
    assert told.count(b'"steps"') >= 2

    assert main(["release", "--resume", str(run.out)]) in (0, 3, 4)

    assert ledger.spent == spent
    assert [e.kind for e in ledger.events()].count("grant") == 1
    assert run.answers.read_bytes().startswith(told)
    assert len(load(run.model).sample(20)) == 20
    assert json.loads(run.attacks.read_text())["verdict"] in ("PASS", "FAIL", "INCONCLUSIVE")


class Stopped(BaseException):
    """Ctrl-C, in one process."""


def test_a_resumed_gan_goes_on_with_what_held_its_critic_and_with_the_chance_of_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    a = rng.choice(["x", "y"], 1000)
    frame = pd.DataFrame({"a": a, "b": np.where(rng.random(1000) < 0.9, a, "z"), "n": rng.integers(0, 10, 1000), "m": 1})
    held_before: list[list[Any]] = []
    turns: list[tuple[int, int]] = []
    hold, improve = _Held.hold, _Pair._improve

    def holding(self: _Held, critic: _Critic) -> None:
        held_before.append([d.clone() for d in self.directions])
        hold(self, critic)

    def improving(self: _Pair, optimiser: Any, adversarial: float, turn: int) -> None:
        improve(self, optimiser, adversarial, turn)
        turns.append((turn, self.chance.initial_seed() if adversarial else turn))

    def trained(stop: int) -> None:
        def progress(words: str) -> None:
            if words.startswith("train: step") and words.split()[2] == f"{stop:,}":
                raise Stopped

        table = seeded_table(frame, SCHEMA, 1)
        table._answers, table.progress = Answers(tmp_path / "answers.jsonl"), progress
        DPGAN(4.0, 1e-5).fit(table)

    monkeypatch.setattr(_Held, "hold", holding)
    monkeypatch.setattr(_Pair, "_improve", improving)
    with pytest.raises(Stopped):
        trained(stop=3)
    assert len(held_before) == 2 and not torch.equal(held_before[0][0], held_before[1][0])
    restored: list[Any] = []
    monkeypatch.setattr(_Held, "load_state_dict", lambda self, state: restored.append(state) or torch.nn.Module.load_state_dict(self, state))
    trained(stop=0)
    assert len(restored) == 1
    first = list(restored[0].values())
    for kept, seen in zip(first, held_before[2], strict=True):
        torch.testing.assert_close(kept, seen, rtol=0, atol=0)
    assert not torch.equal(held_before[2][0], held_before[0][0])
    taken = [turn for turn, _ in turns if turn > 0]
    assert taken == [1, 2, *range(4, 4 + len(taken) - 2)] and all(turn == seed for turn, seed in turns)


def test_what_holds_a_critic_is_kept_with_it() -> None:
    torch.manual_seed(0)
    critic = _Critic(9)
    held, fresh = _Held(critic), _Held(critic)
    with torch.no_grad():
        for weight in critic.parameters():
            weight.mul_(3)
    held.hold(critic)
    fresh.load_state_dict(held.state_dict())
    for one, other in zip(held.directions, fresh.directions, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
        assert one.std() > 0
    for layer in critic.layers[::2]:
        assert torch.linalg.matrix_norm(layer.weight, 2) < 1.2
