import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprune.planning.loss_penalty import charges

WIDTHS = [4, 8, 16, 32, 64]


def test_where_measured_rises_have_saturated_the_next_cut_still_costs():
    charge = charges(np.array([2.3, 2.3, 2.3, 1.0, 0.0]), WIDTHS)
    assert charge[0] - charge[1] > 2 and charge[1] - charge[2] > 2


def test_evidence_tells_groups_apart():
    matters, hardly = (charges(rises * np.linspace(1, 0, 5), WIDTHS) for rises in (2.0, 0.1))
    assert matters == pytest.approx(20 * hardly)


@given(st.lists(st.floats(0, 5), min_size=4, max_size=4))
def test_charges_fall_with_the_width_are_no_less_than_the_rises_and_dense_is_free(rises):
    rises = np.array([*sorted(rises, reverse=True), 0.0])
    charge = charges(rises, WIDTHS)
    assert (np.diff(charge) <= 0).all() and (charge >= rises).all() and charge[-1] == 0
