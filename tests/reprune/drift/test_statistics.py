"""What the statistics of the permutation null measure, and what they find."""

import numpy as np
import pytest
from scipy import stats

from reprune.drift.permutation import calibrate
from reprune.drift.statistics import AndersonDarlingKlotz, ChiSquare, Dependence, normal_scores

REFERENCE, WINDOW = 300, 200


def labellings(rng, count=3):
    observed = np.repeat(np.float32([0, 1]), [REFERENCE, WINDOW])
    return np.stack([rng.permuted(observed) for _ in range(count)])


def share_found(statistic, draw, trials=20):
    """Share of windows in which a statistic of the pooled rows exceeds its threshold at 5 %."""
    found = []
    for seed in range(trials):
        pooled = draw(np.random.default_rng(seed))
        result = calibrate([statistic(pooled)], reference=REFERENCE, window=WINDOW, false_alarm_rate=0.05, seed=seed)
        found.append(result.adjusted_p_values[0] <= 0.05)
    return np.mean(found)


def test_chi_square_is_that_of_the_contingency_table():
    rng = np.random.default_rng(0)
    values = rng.choice(4, REFERENCE + WINDOW, p=[0.6, 0.3, 0.09, 0.01]).astype(float)
    values[:7] = np.nan
    windows = labellings(rng)
    for window, found in zip(windows.astype(bool), ChiSquare(values)(windows)[:, 0], strict=True):
        counts = [
            np.unique(np.nan_to_num(part, nan=9), return_counts=True) for part in (values[~window], values[window])
        ]
        names = sorted({*counts[0][0], *counts[1][0]})
        table = [[dict(zip(*part, strict=True)).get(name, 0) for name in names] for part in counts]
        assert found == pytest.approx(stats.chi2_contingency(table, correction=False).statistic, rel=1e-4)


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

    assert share_found(AndersonDarlingKlotz, column(0.0, 1.3)) >= 0.8
    assert share_found(AndersonDarlingKlotz, column(0.4, 1.0)) >= 0.9


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
    assert share_found(AndersonDarlingKlotz, lambda rng: columns(rng)[:, :1]) <= 0.3


def test_what_lies_far_outside_the_null_does_not_move_its_threshold():
    rng = np.random.default_rng(0)
    near = rng.normal(size=(REFERENCE + WINDOW, 1))
    far = near.copy()
    far[REFERENCE:] += 1000
    thresholds = [
        calibrate(
            [AndersonDarlingKlotz(values)], reference=REFERENCE, window=WINDOW, false_alarm_rate=0.01, seed=0
        ).thresholds[0]
        for values in (near, far)
    ]
    assert thresholds[1] == pytest.approx(thresholds[0], rel=0.3)
