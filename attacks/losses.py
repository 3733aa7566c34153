"""Membership from a model's losses: an attacker who holds the model, and models of his own trained with and without each record.

Knowledge: model internals. A loss is any number per record that a model makes lower for what it was trained on (a negative log-likelihood,
a diffusion model's denoising error). Pure functions from losses to scores, higher = more likely trained on; labels are not asked for.

Both raise `UnanswerableError` where a loss is no finite number, where some record is in fewer than two shadow models or in all but one
of them (or, if no shadow model holds any, with fewer than two models): there is nothing to learn its distribution from.

References: Carlini et al. (IEEE S&P 2022, arXiv 2112.03570) for the likelihood ratio (LiRA); Zarifzadeh, Liu and Shokri (ICML 2024,
arXiv 2312.03262) for the robust one (RMIA).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from attacks.scores import UnanswerableError

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

FEWEST_RUNS = 2
OWN_SPREAD = 32
GAMMA = 2.0
SMALL = 1e-9


def likelihood_ratio(losses: Floats, shadow: Floats, inside: Flags) -> Floats:
    """log N(loss | trained on) - log N(loss | not) of each record, shape (n,), with normal distributions fitted to shadow models' losses.

    `losses`, shape (n,), are those of the model under attack; `shadow`, shape (runs, n), those of the shadow models, of which `inside`,
    shape (runs, n), says which were trained on which record. Where some record has fewer than 32 models on a side, all records share
    the spread on that side. If no model holds any record (the offline attack): how far the loss is below its mean, in spreads.
    """
    _require_runs(inside)
    _require_finite(losses, shadow)
    out_mean, out_spread = _normal(shadow, ~inside)
    if not inside.any():
        return np.asarray((out_mean - losses) / out_spread)
    in_mean, in_spread = _normal(shadow, inside)
    return _log_density(losses, in_mean, in_spread) - _log_density(losses, out_mean, out_spread)


def robust_likelihood_ratio(losses: Floats, shadow: Floats, inside: Flags, others: Floats, shadow_others: Floats, gamma: float = GAMMA) -> Floats:
    """The share of strangers whose likelihood ratio a record's exceeds `gamma` times, shape (n,). A few shadow models suffice.

    The likelihood is exp(-loss), its ratio that of the model under attack to the mean over shadow models, where those with the record
    and those without weigh the same. `others`, shape (k,), and `shadow_others`, shape (runs, k), are losses of strangers, who were
    in no model.
    """
    _require_runs(inside)
    _require_finite(losses, shadow, others, shadow_others)
    if not len(others):
        raise UnanswerableError("underpowered", "no strangers to compare with")
    usual = _log_mean(-shadow, ~inside)
    if inside.any():
        usual = np.logaddexp(usual, _log_mean(-shadow, inside)) - np.log(2)
    strangers = np.sort(-others - _log_mean(-shadow_others, np.ones(shadow_others.shape, dtype=bool)))
    return np.asarray(np.searchsorted(strangers, -losses - usual - np.log(gamma), side="right") / len(strangers))


def _require_runs(inside: Flags) -> None:
    held, runs = inside.sum(axis=0), len(inside)
    if runs < FEWEST_RUNS or (inside.any() and not ((held >= FEWEST_RUNS) & (runs - held >= FEWEST_RUNS)).all()):
        raise UnanswerableError("underpowered", f"fewer than {FEWEST_RUNS} shadow models with some record, or without it")


def _require_finite(*losses: Floats) -> None:
    if not all(np.isfinite(each).all() for each in losses):
        raise UnanswerableError("underpowered", "a loss is no finite number")


def _normal(shadow: Floats, chosen: Flags) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each record's losses over the chosen runs, each of shape (n,)."""
    runs = chosen.sum(axis=0)
    mean = np.where(chosen, shadow, 0.0).sum(axis=0) / runs
    squares = np.where(chosen, np.square(shadow - mean), 0.0).sum(axis=0)
    variance = squares / (runs - 1) if runs.min() >= OWN_SPREAD else np.full(len(runs), squares.sum() / (runs - 1).sum())
    return mean, np.maximum(np.sqrt(variance), SMALL * (1 + np.abs(mean)))


def _log_density(x: Floats, mean: Floats, spread: Floats) -> Floats:
    return np.asarray(-np.square((x - mean) / spread) / 2 - np.log(spread))


def _log_mean(logs: Floats, chosen: Flags) -> Floats:
    return np.asarray(logsumexp(logs, axis=0, b=chosen) - np.log(chosen.sum(axis=0)))
