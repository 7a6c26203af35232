"""Draw windows of three data streams, without drift or with a known shift.

Every detector sees the same windows. `python -m benchmarks.drift.digits` writes ``digits.npz``: penultimate layer,
predicted class and confidence of all 1,797 digits. Rows are assigned to reference and window at random, so the only
drift is the shift that a script adds. Only numpy is imported here, for environments without reprune.
"""

from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
REFERENCE = 500
SIZES = (50, 100, 300, 1000)
TABULAR = ("a", "b", "c", "income", "visits", "day", "return", "plan")


def tabular(rng, rows, *, mean=0.0, spread=1.0, correlation=0.6, balance=0.0, income=1.0, day=1.0):
    """Draw rows of eight columns.

    Three columns are normal and correlated; the others are skewed, counts, uniform, heavy-tailed and categorical.

    Args:
        rng: Source of randomness.
        rows: Number of rows.
        mean: Added to the column ``a``, in standard deviations.
        spread: Factor on the column ``b``.
        correlation: Between ``a``, ``b`` and ``c``.
        balance: Share moved from the commonest plan to the rarest.
        income: Factor on the column ``income``, which is independent of the others.
        day: Factor on the column ``day``.
    """
    covariance = np.full((3, 3), correlation) + (1 - correlation) * np.eye(3)
    normal = rng.multivariate_normal(np.zeros(3), covariance, size=rows)
    return {
        "a": normal[:, 0] + mean,
        "b": normal[:, 1] * spread,
        "c": normal[:, 2],
        "income": rng.lognormal(10, 0.6, rows) * income,
        "visits": rng.poisson(2.0, rows).astype(float),
        "day": rng.uniform(0, 365, rows) * day,
        "return": rng.standard_t(3, rows),
        "plan": rng.choice(5, rows, p=np.array([0.5, 0.25, 0.15, 0.07, 0.03]) + balance * np.array([-1, 0, 0, 0, 1])),
    }


class Digits:
    """The logged outputs for the digits."""

    def __init__(self):
        with np.load(HERE / "digits.npz") as arrays:
            self.arrays = {name: arrays[name] for name in arrays.files}

    def rows(self, name, chosen):
        """Return the columns of one stream: ``embeddings`` or ``predictions``."""
        if name == "predictions":
            return {key: self.arrays[key][chosen] for key in ("predicted_class", "confidence")}
        return {f"embedding[{i}]": column for i, column in enumerate(self.arrays["embedding"][chosen].T)}


def window(stream, seed, size, digits):
    """Return a reference and a window without drift, as columns by name."""
    rng = np.random.default_rng([seed, size])
    if stream == "tabular":
        return tabular(rng, REFERENCE), tabular(rng, size)
    order = rng.permutation(len(digits.arrays["confidence"]))
    return digits.rows(stream, order[:REFERENCE]), digits.rows(stream, order[REFERENCE : REFERENCE + size])
