"""The networks say what their formulas say: shares of each column, masks, and a surprise that is a row's own."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

from dpsynth.deep.learning import surprise  # noqa: E402
from dpsynth.deep.modules import Autoencoder, OneHot, Unmasking, masks  # noqa: E402
from dpsynth.errors import BadInput  # noqa: E402
from dpsynth.privacy.training import require_rowwise  # noqa: E402

SIZES = (2, 3, 4)
START = np.log(np.concatenate([[0.4, 0.6], [0.1, 0.2, 0.7], [0.25] * 4]))
CODES = torch.tensor([[0, 2, 1], [1, 0, 3], [1, 1, 0]])


def stirred(network: torch.nn.Module) -> torch.nn.Module:
    """Away from where it starts, the same each time."""
    chance = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=chance))
    return network


def unmasking(times: int = 5) -> Unmasking:
    return Unmasking(SIZES, START, 6, times)


def autoencoder(draws: int = 3) -> Autoencoder:
    return Autoencoder(SIZES, START, 6, 2, draws)


@pytest.mark.parametrize("far", [1.0, 1e4])
def test_log_shares_are_each_columns_own_softmax_however_far_apart_logits_are(far):
    logits = far * torch.randn(5, 2, sum(SIZES), generator=torch.Generator().manual_seed(0))
    wanted = torch.cat([part.log_softmax(-1) for part in logits.split(SIZES, -1)], -1)
    torch.testing.assert_close(OneHot(SIZES).log_shares(logits), wanted)


def test_one_hot_is_one_of_each_column():
    hot = OneHot(SIZES)
    wanted = torch.cat([torch.nn.functional.one_hot(CODES[:, i], size) for i, size in enumerate(SIZES)], 1)
    torch.testing.assert_close(hot(CODES), wanted.float())
    torch.testing.assert_close(hot.spread(torch.tensor([1.0, 2.0, 3.0])), torch.tensor([1.0] * 2 + [2.0] * 3 + [3.0] * 4))


def test_both_start_at_the_columns_alone_and_an_empty_row_always_says_them():
    start = torch.tensor(START, dtype=torch.float32)
    hot = OneHot(SIZES)(CODES)
    torch.testing.assert_close(unmasking()(hot), start.expand(3, -1))
    torch.testing.assert_close(stirred(unmasking())(torch.zeros(1, sum(SIZES))), start[None])
    torch.testing.assert_close(autoencoder().decode(torch.randn(3, 2)), start.expand(3, -1))


@pytest.mark.parametrize("columns", [2, 3, 9])
def test_masks_leave_at_least_one_cell_and_not_all_and_weigh_the_others_evenly(columns):
    torch.manual_seed(1)
    visible, weights = masks(4000, 4, columns, torch.device("cpu"))
    held = visible.sum(-1)
    assert held.min() == 1 and held.max() == columns - 1
    torch.testing.assert_close(weights.sum(-1), torch.ones(4000, 4))
    torch.testing.assert_close(weights, (1 - visible) / (columns - held).unsqueeze(-1))
    assert (held[:, 1:] >= held[:, :-1]).all()  # times are spread over the diffusion
    # 16,000 draws, five standard deviations of the mean of a share at most
    spread = 5 * 0.5 / 4000**0.5
    np.testing.assert_allclose(np.bincount(held.flatten().long(), minlength=columns)[1:] / 16000, 1 / (columns - 1), atol=spread)
    np.testing.assert_allclose(visible.mean((0, 1)), 0.5, atol=spread)


def test_the_surprise_of_two_columns_is_that_of_the_one_masked_given_the_other():
    network = stirred(Unmasking((2, 3), np.zeros(5), 4, 1))
    codes = torch.tensor([[0, 2]] * 50)
    hot = network.hot(codes[:1])
    each = []
    for visible, masked in ((0, 1), (1, 0)):
        shares = network(hot * network.hot.spread(torch.eye(2)[visible])).split((2, 3), -1)[masked].log_softmax(-1)
        each.append(-shares[0, codes[0, masked]].item())
    torch.manual_seed(0)
    found = network.surprise(codes).tolist()
    assert abs(each[0] - each[1]) > 0.1
    assert {min(range(2), key=lambda i, s=s: abs(each[i] - s)) for s in found} == {0, 1}
    assert max(min(abs(e - s) for e in each) for s in found) < 1e-5


def test_the_surprise_of_an_autoencoder_bounds_the_evidence_from_below_and_is_tight_for_no_code():
    torch.manual_seed(0)
    network = stirred(autoencoder(draws=20_000))
    with torch.no_grad():
        bound = -network.surprise(CODES) * len(SIZES)
        told = network.hot.log_shares(network.decode(torch.randn(200_000, 2)))
        evidence = (told @ network.hot(CODES).T).double().exp().mean(0).log()
        assert (bound < evidence + 0.02).all()
        network.summing.weight.zero_(), network.summing.bias.zero_(), network.telling.weight.zero_()
        bound = -network.surprise(CODES) * len(SIZES)
        torch.testing.assert_close(bound, network.hot(CODES) @ torch.tensor(START, dtype=torch.float32))


@pytest.mark.parametrize("make", [unmasking, autoencoder])
def test_the_kernel_takes_a_rows_surprise_for_its_own(make):
    require_rowwise(make(), surprise, SIZES)

    def mixed(network, codes):
        return surprise(network, codes) - surprise(network, codes).mean()

    with pytest.raises(BadInput, match="depends on the other rows"):
        require_rowwise(make(), mixed, SIZES)
