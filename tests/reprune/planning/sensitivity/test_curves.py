import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprune.errors import InputError
from reprune.planning.sensitivity.curves import Curve, CurvePoint, Sensitivity


@given(
    st.lists(
        st.tuples(st.floats(-1, 5, allow_nan=False), st.floats(0, 1)), min_size=1, max_size=9
    )
)  # fmt: skip
def test_predicted_loss_never_rises_with_the_width_and_dense_is_free(points):
    curve = Curve(
        dense_width=32,
        points=tuple(
            CurvePoint(width=3 * (i + 1), loss_increase=y, standard_error=e) for i, (y, e) in enumerate(points)
        ),
    )
    losses = [curve.loss(width) for width in range(1, 33)]
    assert all(left >= right - 1e-12 for left, right in zip(losses, losses[1:], strict=False))
    assert losses[-1] == 0
    assert min(losses) >= 0


def test_between_measured_widths_loss_is_linear_and_noise_is_pooled_by_precision():
    def curve(*points):
        return Curve(
            dense_width=8,
            points=tuple(CurvePoint(width=w, loss_increase=y, standard_error=e) for w, y, e in points),
        )

    assert curve((2, 3.0, 0.1), (4, 1.0, 0.1)).loss(3) == pytest.approx(2.0)
    assert curve((2, 1.0, 0.1), (4, 2.0, 0.1)).loss(2) == pytest.approx(1.5)
    assert curve((2, 1.0, 0.01), (4, 2.0, 1.0)).loss(2) == pytest.approx(1.0, abs=0.01)


def test_a_planner_is_charged_for_cutting_even_what_showed_no_loss():
    flat = Curve(dense_width=8, points=(CurvePoint(width=4, loss_increase=0.0, standard_error=0.1),))
    losses = Sensitivity(criterion="l1", examples=9, dense_loss=1.0, curves={"g": flat}).losses("g", [2, 4, 8])
    assert losses[0] > losses[1] > losses[2] == 0


def test_a_group_that_was_never_measured_is_named():
    with pytest.raises(InputError, match="'other'"):
        Sensitivity(criterion="l1", examples=9, dense_loss=1.0, curves={}).losses("other", [1])
