"""Every attack sees what is planted for it, sees nothing in strangers' rows, knows what it says it knows, and does not know who is a member."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from attacks import density
from attacks.density import WIDTH
from attacks.distances import surroundings
from attacks.evidence import Evidence, Table
from attacks.measures import AUC, EXCESS
from attacks.nearest import rare_rows
from attacks.policy import MAY_FAIL_ONLY, Policy
from attacks.scores import Floats, UnanswerableError
from attacks.suite import DETECTED, Attack, suite
from attacks.targets import by_group, holders_of_rare_categories, outliers

RNG = np.random.default_rng(0)
POLICY = Policy.load("partner-contract")
NAMES = ("age", "income", "hours", "claims", "region", "job", "sex")
NEARLY_IMPOSSIBLE = 1e-7
MEMBERS = 1_500


def people(rng: np.random.Generator, n: int) -> Table:
    """Numbers and categories that hang together, a few people far off, a few rare jobs."""
    kind = rng.integers(0, 4, n)
    numbers = rng.normal(kind[:, None] * 2.0, 1 + (rng.random((n, 1)) < 0.05) * 9, (n, 4))
    numbers[rng.random((n, 4)) < 0.02] = np.nan
    job = np.where(rng.random(n) < 0.7, kind, np.minimum(rng.geometric(0.15, n), 30))
    return Table(numbers, np.column_stack([(kind + (rng.random(n) < 0.3)) % 4, job, rng.integers(-1, 2, n)]).astype(np.int32))


@cache
def evidence(seed: int = 0, members: int = MEMBERS) -> Evidence:
    rng = np.random.default_rng(seed)
    tables = [people(rng, members) for _ in range(4)]
    return Evidence(*tables, tables[0], NAMES)


def met_by(name: str, members: int = MEMBERS) -> Evidence:
    """People of the kind that this attack is for: where single values are looked at, none stands apart."""
    e = evidence(members=members)
    if name != "single_value":
        return e
    halves = {t: Table((part.numbers * 2).round(), part.codes) for t, part in vars(e).items() if isinstance(part, Table)}
    return replace(e, origin=None, **halves)


ATTACKS = {a.name: a for a in suite(POLICY, ("sex", "region")) if not a.name.startswith("singling_out")}


def p_null(attack: Attack, e: Evidence, seed: int = 1) -> float:
    scores = attack.score(e, np.random.default_rng(seed))
    found = [measure.of(scores, POLICY.tolerance.get(name), POLICY.confidence).p_null for name, measure in attack.measures.items()]
    return min(1.0, min(found) * len(found))


def planted(attack: Attack, e: Evidence) -> Evidence:
    return e.against(attack.plant(e, np.random.default_rng(2)))


@pytest.mark.parametrize("name", ATTACKS)
def test_the_planted_leak_is_seen_and_strangers_rows_are_not_taken_for_one(name: str) -> None:
    attack = ATTACKS[name]
    assert p_null(attack, planted(attack, met_by(name))) < DETECTED / 50
    assert p_null(attack, met_by(name)) > NEARLY_IMPOSSIBLE


@pytest.mark.parametrize("name", ATTACKS)
def test_who_is_a_member_makes_no_difference_to_a_score(name: str) -> None:
    """Members and controls change places: each keeps the score it had. What is decided by lot may differ: few rows here are tied."""
    e = planted(ATTACKS["distance"], met_by(name, 400))
    swapped = replace(e, members=e.controls, controls=e.members, origin=None)
    first, second = (ATTACKS[name].score(x, np.random.default_rng(3)) for x in (e, swapped))
    for one, other in ((first.members, second.controls), (first.controls, second.members)):
        assert np.mean(np.isclose(one, other, equal_nan=True)) > 0.99


@pytest.mark.parametrize("name", [name for name, attack in ATTACKS.items() if "reference" not in attack.knows])
def test_an_attack_that_knows_no_reference_does_not_look_at_it(name: str) -> None:
    e = met_by(name, 400)
    other = replace(e, reference=Table(e.reference.numbers * 9, e.reference.codes), origin=None)
    first, second = (ATTACKS[name].score(x, np.random.default_rng(3)).pooled for x in (e, other))
    assert np.array_equal(first, second, equal_nan=True)


def test_one_that_does_is_void_without() -> None:
    e = replace(evidence(members=200), reference=evidence().reference.take(np.arange(0)), origin=None)
    for name in ("density_ratio", "gen_lra", "plagiarism", "classifier", "membership"):
        with pytest.raises(UnanswerableError):
            ATTACKS[name].score(e, np.random.default_rng(3))


def test_every_attack_that_is_judged_says_what_it_knows() -> None:
    assert all(attack.knows for attack in suite(POLICY))
    assert {m for a in suite(POLICY, ("sex",)) for m in a.measures} | {"shadow"} >= {*POLICY.required, *MAY_FAIL_ONLY}


def small(seed: int) -> Evidence:
    """Fewer rows than are looked at around a target, so that nothing of a density is cut off."""
    rng = np.random.default_rng(seed)
    members, others, synthetic, reference = people(rng, 12), people(rng, 9), people(rng, 15), people(rng, 11)
    return Evidence(members, others, reference, synthetic, members, NAMES)


def kernel(e: Evidence, x: Table, y: Table) -> Floats:
    """exp(-D / WIDTH) for every pair of rows, shape (len(x), len(y))."""
    a, b = (surroundings(e).scale.rows(t).astype(float) for t in (x, y))
    return np.asarray(np.exp(-np.minimum(np.abs(a[:, None] - b[None]), 1).sum(axis=2) / WIDTH))


def test_the_density_ratio_equals_its_definition() -> None:
    e = small(1)
    slow = np.log(kernel(e, e.pool, e.synthetic).mean(axis=1)) - np.log(kernel(e, e.pool, e.reference).mean(axis=1))
    assert np.allclose(density.density_ratio(e, RNG).pooled, slow, atol=1e-4)


def test_gen_lra_is_the_likelihood_ratio_of_adding_the_target_to_the_reference() -> None:
    """The likelihood of all synthetic rows under the reference and the target, less that under the reference alone, up to the same constant."""
    e = small(2)
    slow = []
    for i in range(len(e.pool)):
        with_target = kernel(e, e.synthetic, e.reference.then(e.pool.take(np.array([i])))).mean(axis=1)
        slow.append(np.log(with_target).sum() - np.log(kernel(e, e.synthetic, e.reference).mean(axis=1)).sum())
    constant = len(e.synthetic) * np.log(len(e.reference) / (len(e.reference) + 1))
    assert np.allclose(density.gen_lra(e, RNG).pooled, np.array(slow) - constant, atol=1e-4)


def test_plagiarism_is_the_weighted_share_of_synthetic_rows_among_the_closest() -> None:
    e = small(3)
    near = -np.log(kernel(e, e.pool, e.synthetic.then(e.reference)))
    weight = np.repeat([1 / len(e.synthetic), 1 / len(e.reference)], [len(e.synthetic), len(e.reference)])
    for i, found in enumerate(density.plagiarism(e, RNG).pooled):
        order = np.argsort(near[i])
        taken = next(t for t in range(1, len(order)) if weight[order[:t]].sum() >= 4 / len(e.synthetic) - 1e-12)
        inside = weight[order[:taken]].copy()
        inside[-1] /= 2
        synthetic = order[:taken] < len(e.synthetic)
        assert found == pytest.approx(inside[synthetic].sum() / inside.sum())


def test_outliers_are_the_tenth_with_the_farthest_five_closest_others() -> None:
    e = small(4)
    near = -np.log(kernel(e, e.pool, e.pool))
    np.fill_diagonal(near, np.inf)
    far = np.sort(near, axis=1)[:, :5].mean(axis=1)
    assert np.flatnonzero(outliers(e)).tolist() == sorted(np.argsort(far)[-len(outliers(e)[outliers(e)]) :].tolist())
    assert 2 <= outliers(e).sum() <= 3
    assert outliers(evidence()).mean() == pytest.approx(0.1, abs=0.01)


def test_holders_of_rare_categories_are_the_tenth_whose_rarest_one_fewest_hold() -> None:
    e = evidence(members=200)
    rarest = [min(int((e.pool.codes[:, j] == c).sum()) for j, c in enumerate(row)) for row in e.pool.codes]
    chosen = holders_of_rare_categories(e)
    assert max(np.array(rarest)[chosen]) < min(np.array(rarest)[~chosen]) and 0.1 <= chosen.mean() < 0.2
    bare = replace(e, **{part: Table(getattr(e, part).numbers, np.zeros((200, 0), dtype=np.int32)) for part in ("members", "controls")})
    assert not holders_of_rare_categories(bare).any()


def test_each_group_is_attacked_by_itself_and_named_by_its_column_alone() -> None:
    e = evidence(members=200)
    whole, grouped = ATTACKS["distance"].score(e, RNG), by_group(("sex", "region"), ATTACKS["distance"].score)(e, RNG)
    assert grouped.columns == ("sex",) * 3 + ("region",) * 4
    for j, (column, value) in enumerate([(2, -1), (2, 0), (2, 1), (0, 0), (0, 1), (0, 2), (0, 3)]):
        assert np.array_equal(grouped.members[:, j], np.where(e.members.codes[:, column] == value, whole.members, np.nan), equal_nan=True)
    with pytest.raises(UnanswerableError):
        by_group(("sex",), ATTACKS["distance"].score)(evidence(members=30), RNG)


@pytest.mark.parametrize("seed", range(5))
def test_one_percent_copied_with_numbers_off_by_a_little_can_not_pass_and_strangers_do(seed: int) -> None:
    """No number is the same to five digits, so no row is an exact match."""
    e, rng = evidence(seed), np.random.default_rng(seed)
    copied = e.members.take(rng.permutation(np.flatnonzero(rare_rows(e)[:MEMBERS]))[: MEMBERS // 100])
    jittered = Table(copied.numbers * (1 + 0.001 * rng.choice([-1, 1], copied.numbers.shape)), copied.codes)
    leak = e.against(e.synthetic.take(np.arange(len(copied), MEMBERS)).then(jittered))
    upper = {name: EXCESS.of(ATTACKS[name].score(leak, rng), 0.005, 0.95).upper for name in ("exact_match", "near_match")}
    assert upper["exact_match"] < 0.005 < upper["near_match"]
    assert EXCESS.of(ATTACKS["near_match"].score(e, rng), 0.005, 0.95).upper < 0.005


def test_a_group_of_which_alone_rows_were_copied_is_found_though_the_table_looks_harmless() -> None:
    e = evidence()
    group = np.flatnonzero(e.members.codes[:, 1] >= 8)
    copied = e.against(e.synthetic.take(np.arange(len(group), MEMBERS)).then(e.members.take(group)))
    whole = AUC.of(ATTACKS["distance"].score(copied, RNG), 0.57, 0.95)
    rare = AUC.of(ATTACKS["distance_rare"].score(copied, RNG), 0.57, 0.95)
    assert whole.upper < 0.57 < rare.lower and len(group) < MEMBERS / 10


@pytest.mark.parametrize("seed", range(3))
def test_what_is_planted_for_membership_does_not_fade_with_the_size_of_the_table(seed: int) -> None:
    """Marginals of sixty thousand people tell next to nothing of each; what is planted tells of those under attack."""
    rng = np.random.default_rng(seed)
    train = people(rng, 60_000)
    members, controls, reference = train.take(np.arange(MEMBERS)), people(rng, MEMBERS), people(rng, MEMBERS)
    large = Evidence(members, controls, reference, people(rng, 60_000), train, NAMES)
    assert p_null(ATTACKS["membership"], planted(ATTACKS["membership"], large)) < DETECTED / 100
