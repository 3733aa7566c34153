"""Ctrl-C in the midst of a training: the charge stays, what was learnt is kept, and the release goes on without another charge."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kernel_samples import bounded, listed, schema_of

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

from dpsynth.cli import main  # noqa: E402
from dpsynth.deep.gan import _Critic, _Held  # noqa: E402
from dpsynth.privacy import Ledger  # noqa: E402
from dpsynth.releasing.run import Run  # noqa: E402
from dpsynth.synthesizers.model import load  # noqa: E402

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


@pytest.mark.parametrize("generator", ["gan", "vae", "diffusion"])
def test_ctrl_c_keeps_the_charge_and_what_was_learnt(generator: str, files: Path) -> None:
    words = ["release", files / "people.csv", "--schema", files / "schema.json", "--ledger", files / "ledger.db", "--epsilon", "4", "--delta", "1e-6"]
    command = [
        sys.executable,
        "-c",
        "import sys; from dpsynth.cli import main; sys.exit(main())",
        *map(str, [*words, "--generator", generator, "--out", files / "out"]),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as running:
        assert running.stderr is not None
        said = []
        for line in running.stderr:
            said.append(line)
            if "train: step" in line and "train: step 1 of" not in line:
                running.send_signal(signal.SIGINT)
                break
        said.append(running.stderr.read())
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
