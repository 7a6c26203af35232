"""What the statistics of the permutation null measure, and what they find."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from reprune.drift.multivariate import Conditional, Dependence, MaximumMeanDiscrepancy
from reprune.drift.permutation import Kind, calibrate
from reprune.drift.statistics import ChiSquare, LocationSpreadShape, normal_scores

REFERENCE, WINDOW = 300, 200


def labellings(rng, count=3):
    observed = np.repeat(np.float32([0, 1]), [REFERENCE, WINDOW])
    return np.stack([rng.permuted(observed) for _ in range(count)])


def calibrated(statistics, kinds, *, rate=0.05, seed=0, groups=None):
    return calibrate(
        statistics, kinds, reference=REFERENCE, window=WINDOW, false_alarm_rate=rate, seed=seed, groups=groups
    )


def share_found(statistic, draw, trials=20):
    """Share of windows in which a statistic of the pooled rows exceeds its threshold at 5 %."""
    found = []
    for seed in range(trials):
        pooled = draw(np.random.default_rng(seed))
        found.append(calibrated([statistic(pooled)], [Kind("inputs", "it")], seed=seed).adjusted_p_values[0] <= 0.05)
    return np.mean(found)


def test_categories_are_told_by_chi_square_and_the_largest_residual():
    rng = np.random.default_rng(0)
    values = rng.choice(4, REFERENCE + WINDOW, p=[0.6, 0.3, 0.09, 0.01]).astype(float)
    values[:7] = np.nan
    windows = labellings(rng)
    for window, found in zip(windows.astype(bool), ChiSquare(values)(windows)[:, 0], strict=True):
        counts = [
            np.unique(np.nan_to_num(part, nan=9), return_counts=True) for part in (values[~window], values[window])
        ]
        names = sorted({*counts[0][0], *counts[1][0]})
        table = np.array([[dict(zip(*part, strict=True)).get(name, 0) for name in names] for part in counts])
        chi_square = stats.chi2_contingency(table, correction=False).statistic
        alone = [np.column_stack([table[:, k], np.delete(table, k, axis=1).sum(axis=1)]) for k in range(len(names))]
        largest = max(stats.chi2_contingency(part, correction=False).statistic for part in alone)
        assert found == pytest.approx(chi_square + largest, rel=1e-4)


def test_rare_categories_count_with_those_that_the_reference_does_not_know():
    """Which are unknown depends on the deal that was observed, so on their own they would always stand out."""
    rng = np.random.default_rng(0)
    values = np.array([0.0, 1.0, 2.0, 3.0, np.nan])[rng.choice(5, REFERENCE + WINDOW, p=[0.6, 0.37, 0.01, 0.01, 0.01])]
    windows = labellings(rng)
    merged = ChiSquare(np.where(values == 2, 3, values))(windows)
    assert ChiSquare(values, unknown=3, rare=20)(windows) == pytest.approx(merged)
    assert ChiSquare(values, unknown=3)(windows) != pytest.approx(merged)


def test_bins_of_all_columns_are_summed_as_if_each_were_a_category():
    rng = np.random.default_rng(0)
    values = np.column_stack([rng.poisson(1, REFERENCE + WINDOW), rng.normal(size=REFERENCE + WINDOW).round()])
    values = np.column_stack([values, np.ones(len(values)), rng.normal(size=len(values))])
    windows = labellings(rng)
    for window, found in zip(windows.astype(bool), LocationSpreadShape(values, [0, 1, 2])(windows), strict=True):
        expected = 0.0
        for column in values[:, :2].T:
            for value in np.unique(column):
                table = [[(column[part] == value).sum(), (column[part] != value).sum()] for part in (window, ~window)]
                expected += stats.chi2_contingency(table, correction=False).statistic
        assert len(found) == 5 and found[-1] == pytest.approx(expected, rel=1e-3)


def test_a_column_is_told_by_the_largest_of_location_spread_and_shape():
    """Squares of a standardized difference of means, and a likelihood ratio; less 2 log 10 where not of location."""
    rng = np.random.default_rng(0)
    window = np.repeat([False, True], [REFERENCE, WINDOW])

    def squared(rows):
        return (rows[window].mean() - rows[~window].mean()) ** 2 / rows.var() / (1 / REFERENCE + 1 / WINDOW)

    def ratio(rows):
        table = [[rows[part].sum(), (~rows[part]).sum()] for part in (window, ~window)]
        return stats.chi2_contingency(table, correction=False, lambda_="log-likelihood").statistic

    largest = set()
    for change in (lambda x: x + 1, lambda x: 1.5 * x, lambda x: np.minimum(x, 2)):
        column = rng.normal(scale=2, size=len(window))
        column[window] = change(column[window])
        column = column.round()
        scores, levels = normal_scores(column[:, None])[:, 0], np.unique(column)[:-1]
        shape = max(ratio(column <= level) for level in levels) - 2 * np.log(10 * len(levels))
        expected = [squared(scores), squared(np.square(scores)) - 2 * np.log(10), shape]
        found = LocationSpreadShape(column[:, None])(window[None].astype(np.float32))[0, 0]
        assert found == pytest.approx(max(expected), rel=1e-3)
        largest.add(int(np.argmax(expected)))
    assert largest == {0, 1, 2}


def test_a_tail_that_is_empty_is_found():
    def column(rng):
        return np.append(rng.uniform(size=REFERENCE), 0.9 * rng.uniform(size=WINDOW))[:, None]

    assert share_found(LocationSpreadShape, column) >= 0.9


def test_kinds_have_false_alarms_by_their_weights():
    values = np.random.default_rng(0).normal(size=(REFERENCE + WINDOW, 2))
    statistics = [LocationSpreadShape(values[:, [k]]) for k in (0, 1)]
    alike, apart = (
        calibrated(statistics, [Kind("inputs", "one"), Kind("inputs", "other", weight)]).thresholds
        for weight in (1.0, 0.1)
    )
    assert apart[0] < alike[0] and apart[1] > 1.3 * alike[1]


def test_groups_have_false_alarms_by_their_weights():
    values = np.random.default_rng(0).normal(size=(REFERENCE + WINDOW, 2))
    statistics = [LocationSpreadShape(values[:, [k]]) for k in (0, 1)]
    kinds = [Kind("inputs", "one"), Kind("predictions", "one")]
    alike, apart = (calibrated(statistics, kinds, groups=given).thresholds for given in (None, {"predictions": 0.1}))
    assert apart[0] < alike[0] and apart[1] > 1.3 * alike[1]


JOINT = (LocationSpreadShape, MaximumMeanDiscrepancy, Dependence, Conditional)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), ties=st.booleans(), statistic=st.sampled_from(JOINT))
def test_statistics_do_not_ask_in_which_order_rows_stand(seed, ties, statistic):
    """What permutation rests on: rows that are dealt the same sides have the same statistic."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(60, 4)) @ rng.normal(size=(4, 4))
    values = values.round() if ties else values
    window = rng.permuted(np.repeat(np.float32([0, 1]), [40, 20]))
    order = rng.permutation(60)
    here, there = (statistic(values[o])(window[None, o]) for o in (np.arange(60), order))
    assert there == pytest.approx(here, rel=1e-3, abs=1e-4)


def test_a_column_that_moves_is_found_sooner_where_others_tell_it():
    def columns(rng):
        latent = rng.normal(size=(REFERENCE + WINDOW, 1))
        values = latent + rng.normal(size=(REFERENCE + WINDOW, 4)) / 3
        values[REFERENCE:, 0] += 0.2
        return values

    assert share_found(Conditional, columns) >= 0.9
    assert share_found(lambda values: LocationSpreadShape(values[:, :1]), columns) <= 0.6


def test_a_column_that_stops_following_the_others_is_found():
    def columns(rng):
        values = rng.normal(size=(REFERENCE + WINDOW, 1)) + rng.normal(size=(REFERENCE + WINDOW, 4)) / 2
        values[REFERENCE:, 0] = rng.permutation(values[REFERENCE:, 0])
        return values

    assert share_found(Conditional, columns) >= 0.9


def test_many_columns_take_no_power_from_a_test_of_another_group():
    """A class that is predicted oftener is found among a hundred pixels as among none, at half the rate."""

    def p_value(seed, pixels):
        rng = np.random.default_rng(seed)
        classes = rng.choice(5, REFERENCE + WINDOW)
        classes[REFERENCE:][rng.random(WINDOW) < 0.2] = 0
        noise = rng.normal(size=(len(classes), pixels))
        statistics = [ChiSquare(classes.astype(float)), *([LocationSpreadShape(noise)] if pixels else [])]
        kinds = [Kind("predictions", "class"), *[Kind("inputs", "pixel")] * pixels]
        return calibrated(statistics, kinds, rate=0.02, seed=seed).adjusted_p_values[0]

    pairs = np.array([[p_value(seed, pixels) for pixels in (0, 100)] for seed in range(2)])
    assert (pairs[:, 1] <= 3 * pairs[:, 0] + 0.003).all()


@pytest.mark.parametrize("columns", [5, 40], ids=["few columns", "more pairs than rows"])
def test_dependence_is_the_squared_distance_of_the_correlations(columns):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(REFERENCE + WINDOW, columns)) + rng.normal(size=(REFERENCE + WINDOW, 1))
    scores = normal_scores(values)
    scores /= scores.std(axis=0)
    windows = labellings(rng)
    for window, found in zip(windows.astype(bool), Dependence(values)(windows)[:, 0], strict=True):
        one, other = (scores[part].T @ scores[part] / part.sum() for part in (window, ~window))
        assert found == pytest.approx((np.square(one - other)[np.triu_indices(columns, k=1)]).sum(), rel=1e-3)


def test_normal_scores_share_ranks_and_put_missing_values_last():
    scores = normal_scores(np.array([[3.0], [1.0], [np.inf], [1.0], [np.nan]]))[:, 0]
    assert scores[1] == scores[3] < scores[0] < scores[2] < scores[4]
    assert scores[4] == pytest.approx(stats.norm.ppf(0.9)) and scores[0] == pytest.approx(0)


def test_a_change_of_spread_is_found_and_one_of_location_still():
    def column(mean, spread):
        return lambda rng: np.append(rng.normal(size=REFERENCE), mean + spread * rng.normal(size=WINDOW))[:, None]

    assert share_found(LocationSpreadShape, column(0.0, 1.3)) >= 0.8
    assert share_found(LocationSpreadShape, column(0.4, 1.0)) >= 0.9


def test_correlations_that_change_are_found_where_no_column_does():
    def columns(rng):
        parts = [np.full((3, 3), c) + (1 - c) * np.eye(3) for c in (0.6, 0.2)]
        return np.concatenate(
            [
                rng.multivariate_normal(np.zeros(3), part, rows)
                for part, rows in zip(parts, (REFERENCE, WINDOW), strict=True)
            ]
        )

    assert share_found(Dependence, columns) >= 0.9
    assert share_found(LocationSpreadShape, lambda rng: columns(rng)[:, :1]) <= 0.3


def test_what_lies_far_outside_the_null_does_not_move_its_threshold():
    rng = np.random.default_rng(0)
    near = rng.normal(size=(REFERENCE + WINDOW, 1))
    far = near.copy()
    far[REFERENCE:] += 1000
    thresholds = [
        calibrated([LocationSpreadShape(values)], [Kind("inputs", "column")], rate=0.01).thresholds[0]
        for values in (near, far)
    ]
    assert thresholds[1] == pytest.approx(thresholds[0], rel=0.3)
