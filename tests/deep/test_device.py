"""A training on another device: all of a step is where its network is, and comes to the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

from dpsynth.deep.gan import _Pair  # noqa: E402
from dpsynth.deep.learning import surprise  # noqa: E402
from dpsynth.deep.modules import Autoencoder, Unmasking  # noqa: E402
from dpsynth.deep.network import Margin  # noqa: E402
from dpsynth.privacy import training  # noqa: E402
from dpsynth.privacy.training import Units, clipped_sum  # noqa: E402

SIZES = (3, 4, 2)
START = np.zeros(sum(SIZES))
ROWS = 20
EACH, IN_UNITS = np.arange(1, ROWS + 1), np.array([5, 9, ROWS])


def pair() -> _Pair:
    margins = [Margin((i,), np.full(size, 1 / size)) for i, size in enumerate(SIZES)]
    return _Pair(SIZES, 0, [*margins, Margin((0, 1), np.full((3, 4), 1 / 12))])


def networks() -> dict[str, tuple[list[Any], Any, Any]]:
    """What has to be moved, the network that sees rows, its loss."""
    both, told, read = pair(), Unmasking(SIZES, START, 8, 6), Autoencoder(SIZES, START, 8, 4, 4)
    return {
        "gan": ([both.maker, both.held, both.critic], both.critic, both._loss),
        "vae": ([read], read, surprise),
        "diffusion": ([told], told, surprise),
    }


each_network = pytest.mark.parametrize("name", ["gan", "vae", "diffusion"])
each_unit = pytest.mark.parametrize("ends", [EACH, IN_UNITS], ids=["a row a unit", "several"])


def batch(device: str, ends: Any) -> Units:
    codes = np.random.default_rng(0).integers(SIZES, size=(ROWS, len(SIZES)))
    return Units(torch.from_numpy(codes), ends, torch.full((ROWS,), 0.5)).to(torch.device(device))


@each_network
@each_unit
def test_a_step_mixes_no_devices(name: str, ends: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On torch's device without numbers, which refuses tensors of any other, as CUDA does."""
    monkeypatch.setattr(training, "_finite", lambda rows, factors: rows)  # asks for a number
    monkeypatch.setattr(training, "_plainly", lambda network: nullcontext())  # knows devices with numbers only
    moved, network, loss = networks()[name]
    with pytest.raises(RuntimeError):
        clipped_sum(network.to("meta"), loss, [batch("cpu", ends)], 1.0)
    for part in moved:
        part.to("meta")
    found = clipped_sum(network, loss, [batch("meta", ends)], 1.0)
    assert found and {tensor.device.type for tensor in found.values()} == {"meta"}


def test_what_holds_a_critic_is_where_it_is() -> None:
    both = pair()
    both.held.to("meta").hold(both.critic.to("meta"))
    with pytest.raises(RuntimeError):
        pair().held.hold(both.critic)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here")
@each_network
@each_unit
def test_cuda_comes_to_the_same_gradients(name: str, ends: Any) -> None:
    def found(device: str) -> Any:
        torch.manual_seed(0)
        moved, network, loss = networks()[name]
        for part in moved:
            part.to(device)
        with _chance_told(device):
            return training.flat(list(clipped_sum(network, loss, [batch(device, ends)], 0.1).values()))

    np.testing.assert_allclose(found("cuda"), found("cpu"), rtol=1e-3, atol=1e-6)


def _chance_told(device: str) -> Any:
    """Draws that are the same on each device: told by row."""
    told: Callable[..., Any] = training._Told
    return told(range(ROWS), torch.device(device))
