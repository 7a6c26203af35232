import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprune.planning.sensitivity.sampling import FEW, Sample


def drawn(sample: Sample) -> list[int]:
    return [number for look in sample.looks for number in look]


@given(population=st.integers(2, 3000), limit=st.integers(2, 1024), seed=st.integers(0, 9))
def test_no_example_is_drawn_twice(population, limit, seed):
    losses = np.random.default_rng(seed).exponential(size=population)
    numbers = drawn(Sample(losses, limit, seed))
    assert len(set(numbers)) == len(numbers) <= population


@given(population=st.integers(2, FEW), seed=st.integers(0, 9))
def test_few_examples_are_all_drawn_at_once_and_the_answer_is_exact(population, seed):
    generator = np.random.default_rng(seed)
    sample = Sample(generator.exponential(size=population), FEW, seed)
    (look,) = sample.looks
    values = generator.standard_cauchy(size=population)
    found = sample.estimate(look, values[look])
    assert sorted(look) == list(range(population))
    assert found.mean == pytest.approx(values.mean())
    assert found.margin == 0


def test_an_estimate_weighs_strata_by_their_size():
    generator = np.random.default_rng(0)
    losses = generator.exponential(size=2000)
    values = losses**2 + generator.normal(scale=0.1, size=2000)
    inside = []
    for seed in range(200):
        sample = Sample(losses, 1024, seed)
        found = sample.estimate(sample.looks[0], values[sample.looks[0]])
        inside.append(abs(found.mean - values.mean()) <= found.margin)
    assert np.mean(inside) >= 0.9
