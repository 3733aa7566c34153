"""DPVAE and DPDiffusion: what is drawn is what the network says, what is learnt is there, and odd tables are tables."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from kernel_samples import bounded, listed, schema_of
from scipy.stats import chisquare

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

from dpsynth import load  # noqa: E402
from dpsynth.deep.diffusion import Diffused, DPDiffusion  # noqa: E402
from dpsynth.deep.learning import weights_of  # noqa: E402
from dpsynth.deep.modules import Autoencoder, Unmasking  # noqa: E402
from dpsynth.deep.network import Margin, Network  # noqa: E402
from dpsynth.deep.planning import steps_for  # noqa: E402
from dpsynth.deep.vae import DPVAE  # noqa: E402
from dpsynth.testing import seeded_table  # noqa: E402

SIZES = (2, 3, 2)
START = np.log(np.concatenate([[0.4, 0.6], [0.1, 0.2, 0.7], [0.5, 0.5]]))
MARGINS = tuple(Margin((i,), np.exp(part)) for i, part in enumerate(np.split(START, [2, 5])))
SCHEMA = schema_of({"a": listed("x", "y"), "b": listed("x", "y", "z"), "n": bounded(0, 9), "m": bounded(0, 9)})
each_generator = pytest.mark.parametrize("kind", [DPDiffusion, DPVAE])


def stirred(network):
    chance = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=chance))
    return network


def fit_of(found, chances) -> float:
    """The p-value of counts under these chances."""
    return float(chisquare(found, np.array(chances) * found.sum() / np.sum(chances)).pvalue)


def diffused(network: Unmasking) -> Diffused:
    return Diffused(("a", "b", "c"), SIZES, weights_of(network.embedding), weights_of(network.telling), START, MARGINS, 100.0)


def told_by_unmasking(network: Unmasking) -> dict[tuple[int, ...], float]:
    """The chance of each row, over all orders of its cells, by the network that was trained."""
    orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    chances = dict.fromkeys(product(*map(range, SIZES)), 0.0)
    for row, order in product(chances, orders):
        hot, chance = network.hot(torch.tensor([row])), 1.0
        for turn, column in enumerate(order):
            visible = torch.zeros(1, 3)
            visible[0, list(order[:turn])] = 1.0
            shares = network(hot * network.hot.spread(visible)).split(SIZES, -1)[column].softmax(-1)
            chance *= shares[0, row[column]].item()
        chances[row] += chance / len(orders)
    return chances


def test_rows_are_made_as_the_trained_network_tells_them():
    network = stirred(Unmasking(SIZES, START, 4, 1))
    rows = diffused(network).made(40_000, np.random.default_rng(5))
    chances = told_by_unmasking(network)
    found = np.bincount(np.ravel_multi_index(tuple(rows.T.astype(int)), SIZES), minlength=12)
    assert fit_of(found, list(chances.values())) > 1e-3
    assert fit_of(found, list(told_by_unmasking(Unmasking(SIZES, START, 4, 1)).values())) < 1e-9


def test_a_decoder_in_plain_arrays_tells_what_the_trained_one_tells():
    network = stirred(Autoencoder(SIZES, START, 5, 2, 1))
    layers = (weights_of(network.unfolding), network.unfolding.bias.detach().double().numpy()), (weights_of(network.telling), START)
    rows = Network(("a", "b", "c"), SIZES, layers, 2, None, MARGINS, 100.0)._made(40_000, np.random.default_rng(5))
    torch.manual_seed(0)
    with torch.no_grad():
        parts = [p.softmax(-1) for p in network.decode(torch.randn(400_000, 2)).split(SIZES, -1)]
    chances = torch.einsum("ra,rb,rc->abc", *parts).double().flatten().numpy() / 400_000
    found = np.bincount(np.ravel_multi_index(tuple(rows.T.astype(int)), SIZES), minlength=12)
    assert fit_of(found, chances) > 1e-3


def test_a_sample_has_the_margins_repeats_with_its_seed_and_names_its_columns():
    source = diffused(stirred(Unmasking(SIZES, START, 4, 1)))
    rows = source.sample(3000, np.random.default_rng(1), ("c", "b"))
    assert rows.shape == (3000, 2)
    np.testing.assert_allclose(np.bincount(rows[:, 1], minlength=3) / 3000, MARGINS[1].shares, atol=0.01)
    unweighed = source.made(3000, np.random.default_rng(1))[:, 1]
    assert abs(np.bincount(unweighed, minlength=3) / 3000 - MARGINS[1].shares).max() > 0.05
    np.testing.assert_array_equal(rows, source.sample(3000, np.random.default_rng(1), ("a", "b", "c"))[:, [2, 1]])
    assert (rows != source.sample(3000, np.random.default_rng(2), ("c", "b"))).any()
    drawn = source.draw(3000, np.random.default_rng(1), ("b",))
    np.testing.assert_allclose(np.bincount(drawn[:, 0], minlength=3) / 3000, MARGINS[1].shares, atol=0.05)
    assert source.sample(0, np.random.default_rng(1), ("a",)).shape == (0, 1)


def test_weights_of_another_network_are_refused():
    source = diffused(Unmasking(SIZES, START, 4, 1))
    Diffused.restored(source.document(), source.arrays())
    for name, wrong in (("embeddings", np.zeros((4, 6))), ("tellings", np.zeros((7, 3))), ("start", np.zeros(6))):
        with pytest.raises(ValueError, match="another network"):
            Diffused.restored(source.document(), {**source.arrays(), name: wrong})


def frame(rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    a, n = rng.choice(["x", "y"], rows, p=[0.3, 0.7]), rng.integers(0, 10, rows)
    return pd.DataFrame({"a": a, "b": np.where(rng.random(rows) < 0.9, a, "z"), "n": n.astype(str), "m": (9 - n).astype(str)})


def mean_distance(left: pd.DataFrame, right: pd.DataFrame) -> float:
    """Total variation, as a mean over the pairs of columns."""
    tables = [[f.astype(str).value_counts(list(pair), normalize=True) for f in (left, right)] for pair in combinations(SCHEMA.names, 2)]
    return float(np.mean([a.sub(b, fill_value=0).abs().sum() / 2 for a, b in tables]))


@each_generator
def test_what_columns_have_in_common_is_learnt(kind):
    rows = frame(8000)
    shuffled = rows.apply(lambda c: np.random.default_rng(ord(c.name)).permutation(c))
    model = kind(8.0, 1e-5).fit(seeded_table(rows, SCHEMA, 4))
    assert mean_distance(rows, model.sample(8000, seed=1)) < 0.6 * mean_distance(rows, shuffled)


@each_generator
def test_a_saved_model_is_sampled_without_torch(kind, tmp_path):
    model = kind(4.0, 1e-5).fit(frame(300), SCHEMA)
    assert model.spent.amount >= 0.999 * model.granted.amount
    path = tmp_path / "model.npz"
    model.save(path)
    pd.testing.assert_frame_equal(load(path).sample(50, seed=7), model.sample(50, seed=7))
    code = f"import sys; sys.modules['torch'] = None\nfrom dpsynth import load\nprint(len(load({str(path)!r}).sample(50, seed=7)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "50\n"


def test_steps_follow_what_the_rows_can_say_in_powers_of_two():
    assert [steps_for(w) for w in (0.0, 6.0, 22.0, 23.0, 600.0, 1e9)] == [16, 16, 16, 32, 512, 512]


@each_generator
def test_where_columns_deserve_all_they_get_all_and_nothing_is_trained(kind):
    few = kind(0.1, 1e-5).fit(frame(100), SCHEMA)
    assert {e["kind"] for e in few.events} == {"marginal"}
    assert few.source.kind == "graphical"
    assert few.spent.amount >= 0.999 * few.granted.amount
    assert len(few.sample(30)) == 30
    assert {e["kind"] for e in kind(8.0, 1e-5).fit(frame(300), SCHEMA).events} == {"marginal", "train"}
