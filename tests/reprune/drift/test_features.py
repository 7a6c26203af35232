"""Columns of inputs, held against torch's operators."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from reprune.data.feature_summaries import numbers
from reprune.drift.features import input_columns


@pytest.mark.parametrize("shape", [(3, 17, 30), (1, 50, 9), (40, 30)])
def test_large_inputs_are_pooled_as_torch_pools_them(shape):
    values = torch.rand(6, *shape, generator=torch.Generator().manual_seed(0))
    columns = input_columns("x", values.numpy())
    planes = values.double().reshape(6, -1, *shape[-2:]).mean(dim=1, keepdim=True)
    pooled = F.adaptive_avg_pool2d(planes, (8, 8))[:, 0]
    for i, j in np.ndindex(8, 8):
        np.testing.assert_allclose(columns[f"x[{i}, {j}]"], pooled[:, i, j], rtol=1e-4)


def test_long_vectors_are_pooled_to_64_steps():
    values = torch.rand(6, 1000, generator=torch.Generator().manual_seed(0))
    columns = input_columns("x", values.numpy())
    pooled = F.adaptive_avg_pool1d(values.double()[:, None], 64)[:, 0]
    assert len([name for name in columns if name.startswith("x[")]) == 64
    np.testing.assert_allclose(columns["x[63]"], pooled[:, 63], rtol=1e-4)


def test_summaries_leave_missing_values_out():
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    values[0, 0, 0] = values[1] = np.nan
    columns = input_columns("x", values)
    known = values[0].ravel()[1:].astype(np.float64)
    expected = {"mean": known.mean(), "std": known.std(), "min": 1, "max": 11, "missing": 1 / 12, "zeros": 0}
    for name, value in expected.items():
        assert columns[f"x {name}"][0] == pytest.approx(value, rel=1e-4)
    assert columns["x roughness"][0] == pytest.approx((1 + 4) / 2) and np.isnan(columns["x roughness"][1])
    assert columns["x missing"][1] == 1 and np.isinf(columns["x min"][1])


def test_the_last_bits_are_cut_and_what_is_not_finite_stays():
    values = np.array([1 + 2.0**-20, -0.0, np.inf, np.nan, 3])
    np.testing.assert_array_equal(numbers(values), np.array([1, 0, np.inf, np.nan, 3], dtype=np.float32))
