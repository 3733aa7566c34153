"""Ways to break the kernel: what draws noise, charges, counts, keeps the ledger, and what asks it."""

from __future__ import annotations

from mutation import Mutation

CHARGED = "privacy/test_private_table.py::test_each_question_is_charged_its_cost"
NEIGHBOURS = "privacy/test_unit_neighbours.py::test_no_marginal_moves_by_more_than_is_charged_and_some_by_all_of_it"
BEFORE = "privacy/test_private_table.py::test_nothing_is_read_before_a_grant_nor_by_a_charge_that_does_not_fit"
ALONE = "privacy/test_private_table.py::test_a_granted_table_is_not_copied_pickled_or_forked"
LAW = "privacy/test_noise.py::test_noise_follows_its_law"
SIDE = "releasing/test_split.py::test_a_side_depends_on_the_key_and_the_unit_alone"
PLAN = "privacy/test_dpsgd.py"

NOISE = (
    Mutation(
        "noise dropped",
        "dpsynth/privacy/noise.py",
        "scale=float(sigma))(counts.flatten())",
        "scale=float(sigma))(counts.flatten()) and counts.flatten()",
        (f"{LAW}[cells at 1]",),
    ),
    Mutation(
        "seed reused",
        "dpsynth/privacy/noise.py",
        "noisy = measurements.make_gaussian(domain, metric[0], scale=float(sigma))(counts.flatten())",
        "noisy = counts.flatten() + np.rint(np.random.default_rng(7).normal(0, sigma, counts.size)).astype(np.int64)",
        ("privacy/test_noise.py::test_streams_differ_between_threads_forks_processes_and_draws",),
    ),
    Mutation(
        "noise of a table kept and used again",
        "dpsynth/privacy/noise.py",
        "(counts.flatten())\n        return np.asarray(noisy",
        "(np.zeros(counts.size, dtype=np.int64))\n"
        '        noisy = counts.flatten() + np.asarray(self.__dict__.setdefault(f"{counts.size} {sigma}", noisy))\n'
        "        return np.asarray(noisy",
        (f"{LAW}[two answers]",),
    ),
    Mutation(
        "one draw for all cells",
        "dpsynth/privacy/noise.py",
        "scale=float(sigma))(counts.flatten())",
        "scale=float(sigma))([0])[0] + counts.flatten()",
        (f"{LAW}[neighbouring cells]",),
    ),
    Mutation(
        "continuous noise, rounded",
        "dpsynth/privacy/noise.py",
        "noisy = measurements.make_gaussian(domain, metric[0], scale=float(sigma))(counts.flatten())",
        "noisy = np.rint(counts.flatten() + np.random.default_rng().normal(0, sigma, counts.size))",
        (f"{LAW}[last digit of eight]", f"{LAW}[cells at 0.5]"),
    ),
    Mutation(
        "permute-and-flip charged as bounded range",
        "dpsynth/privacy/noise.py",
        "from opendp.measures import zero_concentrated_divergence\n",
        "from opendp.measures import max_divergence as zero_concentrated_divergence\n",
        (f"{LAW}[choice between two]",),
    ),
    Mutation(
        "the best score chosen without noise",
        "dpsynth/privacy/noise.py",
        "return int(measurements.make_noisy_max(",
        "return int(np.argmax(scores)) if scale else int(measurements.make_noisy_max(",
        (f"{LAW}[choice between scores]",),
    ),
    Mutation(
        "repeatable noise passed for private",
        "dpsynth/privacy/table.py",
        'stamp if self._noise.private else "not private"',
        "stamp",
        ("privacy/test_private_table.py::test_a_repeatable_noise_source_stamps_what_it_makes",),
    ),
)

ACCOUNTING = (
    Mutation(
        "discrete Gaussian charged as 1/sigma",
        "dpsynth/privacy/gdp.py",
        "return 2 * math.sqrt(2) * float(erfinv(_mass_at_zero(sigma))) * (1 + SAFETY)",
        "return 1 / sigma * (1 + SAFETY)",
        ("privacy/test_gdp.py::test_discrete_gaussian_mu_bounds_every_vertex_of_the_tradeoff_curve[1.0]",),
    ),
    Mutation(
        "selection charged in Gaussian DP as in zCDP",
        "dpsynth/privacy/currency.py",
        "return Fraction(gdp.selection_mu(epsilon)) ** 2",
        "return Fraction(epsilon) ** 2 / 4",
        ("privacy/test_currency.py::test_a_million_tiny_charges_are_no_less_than_the_truth_and_hardly_more[gdp]",),
    ),
    Mutation(
        "selection charged a thousandth less than one answer tells",
        "dpsynth/privacy/gdp.py",
        "return exact * (1 + SAFETY)",
        "return exact * (1 - 1e-3)",
        ("privacy/test_gdp.py::test_dp_accounting_composes_selections_to_no_more[0.3-1]",),
    ),
    Mutation(
        "selection's range taken from a looser inverse",
        "dpsynth/privacy/gdp.py",
        "return exact * (1 - 3 * SAFETY)",
        "return exact * (1 + 1e-6)",
        ("privacy/test_gdp.py::test_selection_epsilon_is_paid_by_mu",),
    ),
    Mutation(
        "sigma rounded down",
        "dpsynth/privacy/gdp.py",
        "2.0)[1] * (1 + SAFETY), MAX_SIGMA)",
        "2.0)[0] * (1 - SAFETY), MAX_SIGMA)",
        ("privacy/test_gdp.py::test_sigma_of_a_cost_is_paid_by_it",),
    ),
    Mutation(
        "the unsafe end of a bracket",
        "dpsynth/privacy/gdp.py",
        "delta_of(epsilon, mu) - delta, 0.0, 1.0)[0]",
        "delta_of(epsilon, mu) - delta, 0.0, 1.0)[1] * (1 + 1e-8)",
        ("privacy/test_gdp.py::test_mu_of_promises_no_more_and_little_less",),
    ),
    Mutation(
        "noise too small for the bound let through",
        "dpsynth/privacy/gdp.py",
        "if not MIN_SIGMA <= sigma < math.inf:",
        "if not 0 < sigma < math.inf:",
        ("privacy/test_gdp.py::test_too_little_noise_is_refused",),
    ),
    Mutation(
        "zCDP's rho halved",
        "dpsynth/privacy/zcdp.py",
        "return 1 / (2 * Fraction(sigma) ** 2)",
        "return 1 / (4 * Fraction(sigma) ** 2)",
        ("privacy/test_zcdp.py::test_the_discrete_gaussian_has_its_divergence_at_most",),
    ),
    Mutation(
        "filter switched: zCDP's costs in Gaussian DP's capacity",
        "dpsynth/privacy/currency.py",
        "return 2 * Fraction(zcdp.rho_of(epsilon, delta))",
        "return Fraction(gdp.mu_of(epsilon, delta)) ** 2",
        ("privacy/test_currency.py::test_what_was_promised_amounts_to_no_more[zcdp]",),
    ),
    Mutation(
        "filter switched: goes on while either of two has room",
        "dpsynth/privacy/cost.py",
        "self.amount_ticks <= room.amount_ticks and self.delta_ticks",
        "self.amount_ticks <= room.amount_ticks or self.delta_ticks",
        ("privacy/test_cost.py::test_a_refused_charge_spends_nothing_and_nothing_refunds",),
    ),
    Mutation(
        "currencies mixed",
        "dpsynth/privacy/cost.py",
        "if self.currency != other.currency:",
        "if False:",
        ("privacy/test_cost.py::test_two_currencies_have_nothing_to_do_with_each_other",),
    ),
    Mutation(
        "capacity rounded up",
        "dpsynth/privacy/cost.py",
        "return cls(math.floor(amount / TICK)",
        "return cls(math.ceil(amount / TICK) + 1",
        ("privacy/test_cost.py::test_a_promise_is_rounded_down_and_a_measurement_up",),
    ),
    Mutation(
        "measurements rounded down",
        "dpsynth/privacy/cost.py",
        "return cls(math.ceil(amount / TICK)",
        "return cls(math.floor(amount / TICK)",
        ("privacy/test_currency.py::test_a_million_tiny_charges_are_no_less_than_the_truth_and_hardly_more[gdp]",),
    ),
    Mutation(
        "the whole delta for the curve and a tenth for events",
        "dpsynth/privacy/cost.py",
        "currency.capacity(epsilon, delta * (1 - EVENT_SHARE))",
        "currency.capacity(epsilon, delta)",
        ("privacy/test_cost.py::test_a_promise_is_rounded_down_and_a_measurement_up",),
    ),
    Mutation(
        "DP-SGD charged by the central limit",
        "dpsynth/privacy/dpsgd.py",
        "    losses = _losses(plan)\n",
        "    return plan.rate * math.sqrt(plan.steps * math.expm1(plan.sigma**-2))\n    losses = _losses(plan)\n",
        (f"{PLAN}::test_the_central_limit_is_no_bound",),
    ),
    Mutation(
        "DP-SGD's losses rounded optimistically",
        "dpsynth/privacy/dpsgd.py",
        "value_discretization_interval=_interval(plan))",
        "value_discretization_interval=_interval(plan), pessimistic_estimate=False, use_connect_dots=False)",
        (f"{PLAN}::test_one_step_is_the_mixture_itself[1.0-0.3]",),
    ),
    Mutation(
        "DP-SGD's event delta not charged",
        "dpsynth/privacy/dpsgd.py",
        "return Cost.measured(currency, Fraction(mu) ** 2, delta)",
        "return Cost.measured(currency, Fraction(mu) ** 2)",
        (f"{PLAN}::test_a_plan_is_one_charge_in_either_currency[gdp]",),
    ),
    Mutation(
        "DP-SGD's noise a little less than its mu needs",
        "dpsynth/privacy/dpsgd.py",
        "    return sigma\n",
        "    return sigma * (1 - CLOSE)\n",
        (f"{PLAN}::test_the_noise_for_a_mu_costs_no_more_and_less_noise_does",),
    ),
)

SENSITIVITY = (
    Mutation("sensitivity without m", "dpsynth/privacy/unit.py", 'return 1 if unit.count == "units" else unit.max_rows', "return 1", (NEIGHBOURS,)),
    Mutation(
        "a marginal charged for one row",
        "dpsynth/privacy/table.py",
        "return (self.sensitivity * self._one) ** 2",
        "return self._one**2",
        (CHARGED,),
    ),
    Mutation(
        "a choice as sharp as for one row",
        "dpsynth/privacy/table.py",
        "scale = 2 * self.sensitivity * self._one",
        "scale = 2 * self._one",
        (f"{LAW}[choice between cliques]",),
    ),
    Mutation(
        "a choice without its weights",
        "dpsynth/privacy/table.py",
        "* int(max(weights)) / epsilon",
        "/ epsilon",
        (f"{LAW}[choice between cliques]",),
    ),
    Mutation(
        "a choice twice as sharp", "dpsynth/privacy/table.py", "scale = 2 * self.sens", "scale = self.sens", (f"{LAW}[choice between cliques]",)
    ),
    Mutation(
        "a choice sharper by a rounding",
        "dpsynth/privacy/table.py",
        "scale = math.nextafter(scale, math.inf)",
        "scale = float(scale)",
        ("privacy/test_currency.py::test_a_choice_is_no_sharper_than_is_charged_to_the_last_bit[zcdp]",),
    ),
    Mutation(
        "weights not bounded",
        "dpsynth/privacy/table.py",
        "1 <= weight <= MAX_WEIGHT",
        "1 <= weight",
        ("privacy/test_private_table.py::test_weights_and_penalties_that_are_not_whole_are_refused_and_nothing_is_spent",),
    ),
    Mutation(
        "weights below one",
        "dpsynth/privacy/table.py",
        "and 1 <= weight",
        "and weight",
        ("privacy/test_private_table.py::test_weights_and_penalties_that_are_not_whole_are_refused_and_nothing_is_spent",),
    ),
    Mutation(
        "float scores",
        "dpsynth/privacy/tally.py",
        'scaled, dtype=np.int64, casting="same_kind")',
        "scaled, dtype=np.float32)",
        ("privacy/test_tally.py::test_a_distance_neither_wraps_nor_rounds",),
    ),
    Mutation(
        "references in floating point",
        "dpsynth/privacy/table.py",
        'reference.dtype.kind != "i"',
        'reference.dtype.kind not in "if"',
        ("privacy/test_private_table.py::test_a_reference_that_would_amplify_a_row_is_refused_and_nothing_is_spent",),
    ),
    Mutation(
        "references of another shape",
        "dpsynth/privacy/table.py",
        "reference.shape != tuple(a.size for a in clique) or",
        "",
        ("privacy/test_private_table.py::test_a_reference_that_would_amplify_a_row_is_refused_and_nothing_is_spent",),
    ),
    Mutation(
        "scores that wrap",
        "dpsynth/privacy/table.py",
        "abs(int(penalty)) > MAX_SCORE:",
        "abs(int(penalty)) > 2**80:",
        ("privacy/test_private_table.py::test_weights_and_penalties_that_are_not_whole_are_refused_and_nothing_is_spent",),
    ),
    Mutation(
        "a candidate dropped by data",
        "dpsynth/privacy/table.py",
        "return self._noise.choose(np.array(scores, dtype=np.int64), scale)",
        "rare = [len(c) and self._tally().counts(c).max() < 3 * self._one for c in cliques]\n"
        "            return self._noise.choose(np.where(rare, -(2**40), np.array(scores, dtype=np.int64)), scale)",
        ("privacy/test_private_table.py::test_one_unit_moves_each_answer_by_no_more_than_is_charged[drop]",),
    ),
    Mutation(
        "threshold without m",
        "dpsynth/privacy/table.py",
        "gdp.threshold(scale, delta, self.rows_per_unit)",
        "gdp.threshold(scale, delta, 1)",
        (f"{LAW}[lone values of a unit with three]",),
    ),
    Mutation(
        "threshold one too low",
        "dpsynth/privacy/gdp.py",
        "    return 1 + low\n",
        "    return low\n",
        ("privacy/test_gdp.py::test_threshold_hides_a_value_of_one_unit_and_is_the_least",),
    ),
    Mutation("names charged as if a unit held one", "dpsynth/privacy/table.py", "else self.rows_per_unit\n", "else 1\n", (CHARGED,)),
    Mutation("delta not added", "dpsynth/privacy/table.py", "self._discovery_squared), delta)", "self._discovery_squared))", (CHARGED,)),
    Mutation(
        "names counted by row instead of person",
        "dpsynth/privacy/table.py",
        "for value, _ in set(zip(values, unit_ids(frame, self.schema), strict=True)))",
        "for value, _ in zip(values, unit_ids(frame, self.schema), strict=True))",
        ("privacy/test_unit_neighbours.py::test_no_support_of_values_moves_by_more_than_is_charged_and_some_by_all_of_it",),
    ),
)

UNITS = (
    Mutation(
        "a column's type decides how its cells are spelled",
        "dpsynth/schema/cells.py",
        "return str(_as_whole(cell))",
        "return str(cell)",
        ("tables/test_tables.py::test_no_row_of_a_frame_decides_what_becomes_of_others[None-cells0]",),
    ),
    Mutation(
        "a Parquet file read by columns that agree on a type",
        "dpsynth/tables/source.py",
        "column.to_pandas(integer_object_nulls=True)",
        "column.to_pandas()",
        ("tables/test_tables.py::test_no_row_of_a_parquet_file_decides_what_becomes_of_others[integers beyond what floats tell apart]",),
    ),
    Mutation(
        "row unit instead of person",
        "dpsynth/privacy/unit.py",
        "    if schema.unit.is_row:\n        return Kept(",
        "    if schema.unit.columns or schema.unit.is_row:\n        return Kept(",
        ("privacy/test_private_table.py::test_one_unit_moves_each_answer_by_no_more_than_is_charged[drop]",),
    ),
    Mutation(
        "one row more than may count",
        "dpsynth/privacy/unit.py",
        "(places < schema.unit.max_rows)",
        "(places <= schema.unit.max_rows)",
        (NEIGHBOURS,),
    ),
    Mutation(
        "row choice by position",
        "dpsynth/privacy/unit.py",
        'draws = keyed_uniform(key, "rows of a unit", ',
        'draws = np.arange(len(frame)) / len(frame) if len(frame) else keyed_uniform(key, "rows of a unit", ',
        ("privacy/test_private_table.py::test_the_rows_that_count_of_a_unit_depend_on_its_own_rows_and_the_key_only",),
    ),
    Mutation(
        "a unit's parts rounded up",
        "dpsynth/privacy/unit.py",
        "return PARTS // rows + (places < PARTS % rows)",
        "return -(-PARTS // rows) + 0 * places",
        ("privacy/test_unit_rows.py::test_a_units_parts_are_shared_evenly_over_its_rows_and_none_is_lost",),
    ),
    Mutation(
        "rows without an id are nobody's, and all count",
        "dpsynth/privacy/unit.py",
        'nobody = b"\\x00no id" if schema.unit.null_ids == "one-unit" else None',
        'nobody = b"\\x00no id"',
        ("privacy/test_private_table.py::test_rows_without_an_id_are_dropped_or_one_unit_as_the_schema_says",),
    ),
    Mutation(
        "ids that run together",
        "dpsynth/privacy/unit.py",
        'b"%d:" % len(c) + c.encode(',
        "c.encode(",
        ("privacy/test_private_table.py::test_composite_ids_do_not_run_together",),
    ),
    Mutation(
        "split by position",
        "dpsynth/releasing/split.py",
        'draws = keyed_uniform(key, "split", [u or b"" for u in units])',
        'draws = keyed_uniform(key, "split", [b"%d" % i for i in range(len(units))])',
        (SIDE,),
    ),
    Mutation(
        "fixed-size split",
        "dpsynth/releasing/split.py",
        'draws = keyed_uniform(key, "split", [u or b"" for u in units])',
        'draws = np.argsort(np.argsort(keyed_uniform(key, "split", [u or b"" for u in units]))) / max(len(units), 1)',
        ("releasing/test_split.py::test_sizes_are_those_of_independent_draws_and_not_fixed",),
    ),
    Mutation(
        "raw min and max",
        "dpsynth/privacy/attribute.py",
        "np.searchsorted(np.array(self.edges[1:-1]), values,",
        "np.searchsorted(np.linspace(*np.nanquantile([*values, 0, 1], [0, 1]), self.bins + 1)[1:-1], values,",
        ("encoding/test_encoding.py::test_encoding_is_total_and_row_by_row",),
    ),
    Mutation(
        "a cell that refuses",
        "dpsynth/schema/cells.py",
        "    except ValueError:\n        return math.nan\n",
        "    except ZeroDivisionError:\n        return math.nan\n",
        ("encoding/test_encoding.py::test_encoding_is_total_and_row_by_row",),
    ),
    Mutation(
        "anybody's map from cells to codes",
        "dpsynth/privacy/attribute.py",
        "return type(attribute) in (Categories, Bins, CellStates) or",
        "return isinstance(attribute, (Categories, Bins, CellStates)) or",
        ("privacy/test_told_once.py::test_only_the_kernels_own_attributes",),
    ),
)

CHARGES = (
    Mutation(
        "charge after read",
        "dpsynth/privacy/table.py",
        "            self._open().charge(cost)\n",
        "            draw()\n            self._open().charge(cost)\n",
        (BEFORE,),
    ),
    Mutation("charge forgotten", "dpsynth/privacy/table.py", "            self._open().charge(cost)\n", "            self._open()\n", (CHARGED,)),
    Mutation(
        "refund on error",
        "dpsynth/privacy/table.py",
        "            answer = draw()\n",
        "            try:\n"
        "                answer = draw()\n"
        "            except Exception:\n"
        "                self._open().spent = self._open().spent - cost\n"
        "                raise\n",
        ("privacy/test_charge_order.py::test_a_question_that_fails_stays_charged",),
    ),
    Mutation(
        "size test before charge",
        "dpsynth/privacy/table.py",
        "        require_budget(request.epsilon, request.delta)\n",
        "        require_budget(request.epsilon, request.delta)\n"
        "        if isinstance(self._rows, pd.DataFrame) and self._rows.shape[0] < 2:\n"
        '            raise BudgetExceeded("too few rows")\n',
        ("privacy/test_charge_order.py::test_how_many_rows_there_are_refuses_no_grant",),
    ),
    Mutation(
        "reference row count from raw n",
        "dpsynth/synthesizers/bench.py",
        "_Reference(whole(self.model.project(clique))",
        "_Reference(whole(self.model.project(clique) / self.model.total * len(self.table._rows))",
        ("privacy/test_charge_order.py::test_what_a_generator_builds_between_questions_is_built_without_rows[mst]",),
    ),
    Mutation(
        "the rows of a unit measured for nothing",
        "dpsynth/privacy/table.py",
        "self._ask(question, self._cost(self.currency.noise_cost(sigma, 1)), draw)",
        "self._ask(question, self._cost(Fraction(0)), draw)",
        ("privacy/test_unit_rows.py::test_it_is_the_first_question_of_a_grant_and_final_after_it",),
    ),
    Mutation(
        "a second grant for one table",
        "dpsynth/privacy/table.py",
        "            if self._filter is not None:\n                raise BudgetExceeded(",
        "            if False:\n                raise BudgetExceeded(",
        ("privacy/test_private_table.py::test_a_refused_grant_reads_nothing_and_a_second_one_is_refused",),
    ),
    Mutation(
        "threads meter one grant twice",
        "dpsynth/privacy/table.py",
        "with self._turn:  # a second filter",
        "with threading.Lock():  # a second filter",
        ("privacy/test_told_once.py::test_threads_that_share_a_table_share_its_grant",),
    ),
    Mutation(
        "a thread asks before max_rows is final",
        "dpsynth/privacy/table.py",
        "        with self._turn:\n            self._open().charge(cost)\n",
        "        with threading.Lock():\n            self._open().charge(cost)\n",
        ("privacy/test_unit_rows.py::test_no_question_of_another_thread_comes_before_the_number_of_rows_is_final",),
    ),
    Mutation(
        "an answer told again at another price",
        "dpsynth/privacy/table.py",
        'asked = question | {"cost": [cost.amount_ticks, cost.delta_ticks]}',
        "asked = question",
        ("privacy/test_told_once.py::test_a_resume_under_other_bounds_buys_no_more_answers",),
    ),
    Mutation("forked child shares the grant", "dpsynth/privacy/table.py", "if os.getpid() != self._process:", "if False:", (ALONE,)),
    Mutation("a copy shares the grant", "dpsynth/privacy/table.py", "def __reduce_ex__(", "def _reduce_ex_(", (ALONE,)),
    Mutation(
        "journal answers re-drawn",
        "dpsynth/privacy/table.py",
        "            if known is not None:\n                return known\n",
        "",
        ("privacy/test_private_table.py::test_what_was_answered_is_answered_again_from_the_journal",),
    ),
    Mutation(
        "a lost journal answered anew",
        "dpsynth/privacy/answers.py",
        "if self._keeper and self._keeper.told(self._next) is not None:",
        "if False:",
        ("privacy/test_told_once.py::test_a_lost_journal_is_not_answered_anew",),
    ),
    Mutation(
        "a step told twice",
        "dpsynth/privacy/ledger.py",
        "elif known != digest:",
        "elif False:",
        ("privacy/test_told_once.py::test_two_at_once_one_is_told",),
    ),
    Mutation(
        "a ledger without a bottom",
        "dpsynth/privacy/ledger.py",
        "if not request.cost_in(ledger.currency).fits(left):",
        "if False:",
        ("privacy/test_ledger.py::test_it_holds_twelve_releases_and_not_thirteen_and_says_what_still_fits[file]",),
    ),
    Mutation(
        "a larger delta than the ledger's",
        "dpsynth/privacy/ledger.py",
        "if request.delta > ledger.delta:",
        "if False:",
        ("privacy/test_ledger.py::test_a_delta_above_the_ledgers_is_refused[file]",),
    ),
    Mutation(
        "a release resumed with more than it was granted",
        "dpsynth/privacy/ledger.py",
        "if granted.cost != request.cost_in(self.currency):",
        "if False:",
        ("privacy/test_ledger.py::test_a_release_is_charged_once_and_only_with_its_own_amount[file]",),
    ),
    Mutation(
        "rows and persons on one ledger",
        "dpsynth/privacy/ledger.py",
        "if first is not None and list(unit) != first:",
        "if False:",
        ("privacy/test_told_once.py::test_a_ledger_protects_one_unit",),
    ),
    Mutation(
        "events not chained",
        "dpsynth/privacy/chain.py",
        "row.previous != previous or row.hash != _hash(*row[:-1])",
        "row.hash != _hash(*row[:-1])",
        ("privacy/test_chain_spliced.py::test_an_event_written_anew_with_a_hash_of_its_own_is_found",),
    ),
    Mutation(
        "events edited",
        "dpsynth/privacy/chain.py",
        "row.previous != previous or row.hash != _hash(*row[:-1])",
        "row.previous != previous",
        ("privacy/test_file_store.py::test_tampering_is_found",),
    ),
    Mutation(
        "a grant that is rolled back",
        "dpsynth/privacy/file_store.py",
        '        try:\n            connection.execute("COMMIT")',
        '        try:\n            connection.execute("ROLLBACK")',
        ("privacy/test_ledger.py::test_a_release_is_charged_once_and_only_with_its_own_amount[file]",),
    ),
)

UNTRUE = "privacy/test_forged.py"
SET_BACK = "releasing/test_seen.py::test_a_release_under_way_is_not_told_anew_from_a_ledger_set_back"

LEDGER = (
    Mutation(
        "grants believed as they stand",
        "dpsynth/privacy/ledger.py",
        "    history.require_grants(events)\n",
        "",
        (f"{UNTRUE}::test_a_grant_is_worth_its_own_epsilon_and_delta",),
    ),
    Mutation(
        "a refund in the chain",
        "dpsynth/privacy/history.py",
        "return abs(amount - worth.amount_ticks) * MILLION <= worth.amount_ticks and",
        "return amount <= worth.amount_ticks and",
        (f"{UNTRUE}::test_a_grant_is_worth_its_own_epsilon_and_delta",),
    ),
    Mutation(
        "a refund of delta in the chain",
        "dpsynth/privacy/history.py",
        "and events in (0, worth.delta_ticks)",
        "and events <= worth.delta_ticks",
        (f"{UNTRUE}::test_a_grant_is_worth_its_own_epsilon_and_delta",),
    ),
    Mutation(
        "an overspent history",
        "dpsynth/privacy/history.py",
        "if total.amount_ticks * MILLION > capacity.amount_ticks * (MILLION + 1) or",
        "if",
        (f"{UNTRUE}::test_grants_that_do_not_fit_the_capacity_are_no_ledger",),
    ),
    Mutation(
        "a release charged twice in the chain",
        "dpsynth/privacy/history.py",
        '        charged.add(event.body["release"])\n',
        "",
        (f"{UNTRUE}::test_a_release_is_charged_once",),
    ),
    Mutation(
        "a pass under any policy opens a ledger",
        "dpsynth/privacy/history.py",
        "by_policy.setdefault(policies.get(release), [])",
        "by_policy.setdefault(None, [])",
        ("privacy/test_ledger.py::test_only_a_pass_under_their_own_policy_answers_blocked_releases",),
    ),
    Mutation(
        "secrets that nobody looks at",
        "dpsynth/privacy/ledger.py",
        "for name in SECRETS if session.shows_secrets() else ():",
        "for name in ():",
        ("privacy/test_file_store.py::test_verify_finds_an_exchanged_secret",),
    ),
    Mutation(
        "told steps that the desk forgets",
        "dpsynth/releasing/seen.py",
        "{release: ledger.told(release) for release in releases}",
        "{}",
        (SET_BACK,),
    ),
    Mutation(
        "told steps that the desk does not look for",
        "dpsynth/releasing/seen.py",
        "elif any(ledger.told(release, range(told[0])) != told for release, told in memory.told.items()):",
        "elif False:",
        (SET_BACK,),
    ),
    Mutation(
        "steps told behind the desk's back",
        "dpsynth/releasing/pipeline.py",
        "self.release, self.run.answers, self.followed)",
        "self.release, self.run.answers)",
        (SET_BACK,),
    ),
    Mutation(
        "an end of a fit behind the desk's back",
        "dpsynth/releasing/pipeline.py",
        "        with self.followed():\n            self.ledger.fitted(name, self.code)\n",
        "        self.ledger.fitted(name, self.code)\n",
        ("releasing/test_seen.py::test_what_was_told_is_remembered_until_an_event_holds_it",),
    ),
    Mutation(
        "a verdict under code that nobody names",
        "dpsynth/releasing/pipeline.py",
        ', "code": self.code}',
        "}",
        ("releasing/test_history.py::test_what_a_resumed_release_ended_under_is_the_code_that_was_at_work",),
    ),
)

TRAINED = "privacy/test_training.py"

TRAINING = (
    Mutation(
        "a step without noise",
        "dpsynth/privacy/table.py",
        "self._noise.add_gaussian(exact, plan.sigma * clip)",
        "exact",
        (f"{TRAINED}::test_gradients_are_over_the_declared_batch_whatever_was_drawn_and_an_empty_batch_is_a_step",),
    ),
    Mutation(
        "normal noise of half its scale",
        "dpsynth/privacy/noise.py",
        "exact + sigma * normal.numpy()",
        "exact + sigma / 2 * normal.numpy()",
        (f"{TRAINED}::test_batches_are_poisson_and_noise_is_normal_by_system_entropy",),
    ),
    Mutation(
        "noise of one norm, whatever the clip",
        "dpsynth/privacy/table.py",
        "self._noise.add_gaussian(exact, plan.sigma * clip)",
        "self._noise.add_gaussian(exact, plan.sigma)",
        (f"{TRAINED}::test_noise_is_of_the_plans_sigma_in_clipping_norms_and_batches_of_its_rate[2.0]",),
    ),
    Mutation(
        "batches of twice the plan's rate",
        "dpsynth/privacy/table.py",
        "self._noise.include(len(units.ends), plan.rate)",
        "self._noise.include(len(units.ends), 2 * plan.rate)",
        (f"{TRAINED}::test_noise_is_of_the_plans_sigma_in_clipping_norms_and_batches_of_its_rate[2.0]",),
    ),
    Mutation(
        "batches of one size",
        "dpsynth/privacy/noise.py",
        'words = np.frombuffer(_stream(8 * units), dtype="<u8")\n',
        'words = np.frombuffer(_stream(8 * units), dtype="<u8")\n        return np.sort(np.argsort(words)[: round(rate * units)])\n',
        (f"{TRAINED}::test_batches_are_poisson_and_noise_is_normal_by_system_entropy",),
    ),
    Mutation(
        "gradients not clipped",
        "dpsynth/privacy/training.py",
        "(clip * (1 - CLOSE) / norms).clamp(max=1)",
        "torch.ones_like(norms)",
        (f"{TRAINED}::test_the_fast_clipped_sum_is_that_of_single_units[4096-rows-rows]",),
    ),
    Mutation(
        "the size that was drawn for a normaliser",
        "dpsynth/privacy/table.py",
        "/ (plan.rate * declared))",
        "/ max(sum(len(piece.ends) for piece in batch), 1))",
        (f"{TRAINED}::test_gradients_are_over_the_declared_batch_whatever_was_drawn_and_an_empty_batch_is_a_step",),
    ),
    Mutation(
        "rows clipped where persons are protected",
        "dpsynth/privacy/table.py",
        "np.arange(len(frame)) if self.schema.unit.is_row else pd.fact",
        "np.arange(len(frame)) if self.schema.unit.columns else pd.fact",
        (f"{TRAINED}::test_a_person_moves_a_step_by_the_clip_at_most_whatever_rows_it_has[rows]",),
    ),
    Mutation(
        "norms of a person's rows added as if they were apart",
        "dpsynth/privacy/training.py",
        "        if self.most == 1:\n            return items\n",
        "        if self.most >= 1:\n            return items\n",
        (f"{TRAINED}::test_the_fast_clipped_sum_is_that_of_single_units[4096-persons-rows]",),
    ),
    Mutation(
        "steps written down after they read",
        "dpsynth/privacy/table.py",
        "            self._answers.record(spent, _token())\n",
        "            if block.stop == block.start + 1:\n                self._answers.record(spent, _token())\n",
        (f"{TRAINED}::test_steps_are_journalled_before_they_read_and_a_resume_begins_after_them_with_what_was_learnt",),
    ),
    Mutation(
        "a large batch truncated",
        "dpsynth/privacy/training.py",
        "in np.split(order, cuts) if",
        "in np.split(order, cuts)[:1] if",
        (f"{TRAINED}::test_the_fast_clipped_sum_is_that_of_single_units[4-rows-rows]",),
    ),
    Mutation(
        "a loss that looks at other rows let through",
        "dpsynth/privacy/training.py",
        "    if not torch.allclose(together, alone, rtol=TOLERANCE, atol=1e-5) or not all(_is_own(tried, loss, codes, row) for row in rows):\n",
        "    if len(alone) != len(together):\n",
        (f"{TRAINED}::test_what_would_break_the_clipping_is_refused_before_a_charge[loss over the batch's size]",),
    ),
    Mutation(
        "a loss's own generator let through",
        "dpsynth/privacy/training.py",
        '        if kwargs.get("generator") is not None:\n',
        "        if False:\n",
        (f"{TRAINED}::test_what_would_break_the_clipping_is_refused_before_a_charge[own generator]",),
    ),
    Mutation(
        "a training that is not charged",
        "dpsynth/privacy/table.py",
        "        self._ask(question, cost, _token)\n",
        "        self._ask(question, cost - cost, _token)\n",
        (f"{TRAINED}::test_the_whole_plan_is_one_charge_in_the_ledgers_currency_before_a_row_is_read",),
    ),
)

NEAR = "releasing/test_yardstick.py"
GATE = "releasing/test_gate_epsilon.py"

NEARNESS = (
    Mutation(
        "histograms without noise",
        "dpsynth/releasing/yardstick.py",
        "counts = table.marginal([side, place], sigma)",
        "counts = 0 * table.marginal([side, place], sigma) + table._tally().counts([side, place])",
        (f"{NEAR}::test_noise_of_the_charged_scale_is_on_every_count[gdp]",),
    ),
    Mutation(
        "distances on a scale of people's own",
        "dpsynth/releasing/yardstick.py",
        "        return self._nearest(_places(self.attributes, self.decimal, frame), 1)[:, 0]",
        "        places = _places(self.attributes, self.decimal, frame)\n        return self._nearest(places / places.std(axis=0), 1)[:, 0]",
        (f"{NEAR}::test_a_person_among_many_moves_no_other",),
    ),
    Mutation(
        "bins stretched to the farthest person",
        "dpsynth/releasing/yardstick.py",
        "np.searchsorted(np.array(yardstick.edges), distances[nearest])",
        "distances[nearest] * (yardstick.bins - 1) // max(int(distances.max(initial=1)), 1)",
        (f"{NEAR}::test_a_person_among_many_moves_no_other",),
    ),
    Mutation(
        "no more than so many people compared",
        "dpsynth/releasing/yardstick.py",
        "nearest = order[~owners.duplicated().to_numpy()]",
        "nearest = order[~owners.duplicated().to_numpy()][:LOOKED_AT]",
        (f"{NEAR}::test_among_thousands_each_unit_is_compared_and_none_makes_room_for_another[persons]",),
    ),
    Mutation(
        "other rows of train measured than were trained on",
        "dpsynth/releasing/pipeline.py",
        "located(self.split, schema, self.ledger.split_key, yardstick, mark)",
        "located(self.split, schema, bytes(32), yardstick, mark)",
        (f"{GATE}::test_the_rows_of_train_that_are_measured_are_those_that_were_trained_on[rows]",),
    ),
    Mutation(
        "histograms that are told again about other bins",
        "dpsynth/releasing/yardstick.py",
        "bin, edges {' '.join(map(str, yardstick.edges))}, {mark}",
        "bin, {mark}",
        (f"{GATE}::test_an_answer_is_about_the_bins_that_were_there",),
    ),
    Mutation(
        "histograms charged after the rows were read",
        "dpsynth/releasing/pipeline.py",
        "self.release, attempt, *beside)",
        "self.release, attempt)",
        (f"{GATE}::test_both_charges_are_in_the_ledger_before_a_row_is_read",),
    ),
    Mutation(
        "histograms charged, and then the rows refused",
        "dpsynth/releasing/pipeline.py",
        "            granted = self.ledger.grant(self.requests[0], self.release, attempt, *beside)",
        "            for other in beside:\n                self.ledger.grant(*other)\n"
        "            granted = self.ledger.grant(self.requests[0], self.release, attempt)",
        (f"{GATE}::test_nothing_is_half_spent_where_another_release_came_first[0]",),
    ),
    Mutation(
        "histograms that are told again about other rows",
        "dpsynth/releasing/pipeline.py",
        "schema, mark = self.model.schema, self.run.candidate_hash()",
        'schema, mark = self.model.schema, "rows"',
        (f"{GATE}::test_an_answer_is_about_the_rows_that_were_there",),
    ),
    Mutation(
        "what is beside a release dropped once it was told",
        "dpsynth/privacy/ledger.py",
        'if attempt is not None and granted.body.get("beside", []) != names:',
        "if False:",
        ("privacy/test_ledger.py::test_nothing_is_added_beside_a_release_that_was_charged_nor_dropped",),
    ),
    Mutation(
        "rows granted, and what is beside them forgotten",
        "dpsynth/privacy/ledger.py",
        '                self._granted(session, other, name, None, {"of": release})\n            return',
        "                pass\n            return",
        ("privacy/test_ledger.py::test_requests_beside_each_other_are_granted_together_or_not_at_all[file]",),
    ),
    Mutation(
        "both together said to be no more than the rows alone",
        "dpsynth/releasing/papers.py",
        "epsilon=together(model.epsilon, model.delta, [model.granted, *costs])",
        "epsilon=model.epsilon",
        (f"{GATE}::test_it_is_charged_published_and_verified[gdp]",),
    ),
)

KERNEL = (*NOISE, *ACCOUNTING, *SENSITIVITY, *UNITS, *CHARGES, *LEDGER, *TRAINING, *NEARNESS)
