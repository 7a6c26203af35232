import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from reprune.errors import InputError
from reprune.planning.sensitivity import Curve, CurvePoint, Sensitivity, analyze_sensitivity

ANALYSIS = SimpleNamespace(groups=(SimpleNamespace(name="matters", width=8), SimpleNamespace(name="idle", width=8)))


class TwoBranches(nn.Module):
    """Output is the sum of the branches' units; the idle branch's units are tiny."""

    def __init__(self):
        super().__init__()
        self.matters = nn.Linear(3, 8)
        self.idle = nn.Linear(3, 8)
        with torch.no_grad():
            self.idle.weight.mul_(1e-4)
            self.idle.bias.mul_(1e-4)

    def forward(self, x):
        assert not self.training
        return self.matters(x).sum(1) + self.idle(x).sum(1)


def narrow(model, keep):
    smaller = copy.deepcopy(model)
    with torch.no_grad():
        for name, cells in keep.items():
            gone = [i for i in range(8) if i not in cells]
            getattr(smaller, name).weight[gone] = 0
            getattr(smaller, name).bias[gone] = 0
    return smaller


def squared(outputs, targets):
    return (outputs - targets) ** 2


@pytest.fixture(scope="module")
def analyzed():
    torch.manual_seed(0)
    model = TwoBranches().eval()
    batches = [(x, model(x).detach()) for x in torch.randn(4, 32, 3)]
    saliency = {name: getattr(model, name).weight.detach().abs().sum(1) for name in ("matters", "idle")}
    model.train()
    shares = []
    result = analyze_sensitivity(
        model, ANALYSIS, batches, squared, saliency=saliency, narrow=narrow, progress=shares.append
    )
    return model, batches, saliency, result, shares


def test_what_matters_costs_loss_and_what_is_idle_does_not(analyzed):
    result = analyzed[3]
    assert result.examples == 128
    assert result.dense_loss == pytest.approx(0, abs=1e-9)
    assert [point.width for point in result.curves["matters"].points] == list(range(1, 8))
    assert result.curves["matters"].loss(1) > 1000 * result.curves["idle"].loss(1)
    assert result.curves["matters"].loss(8) == 0


def test_a_point_is_the_mean_of_paired_differences_after_cutting_the_least_salient(analyzed):
    model, batches, saliency, result, _ = analyzed
    keep = saliency["matters"].argsort(descending=True)[:3].tolist()
    inputs, targets = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
    with torch.no_grad():
        rise = squared(narrow(model.eval(), {"matters": keep})(inputs), targets) - squared(model(inputs), targets)
    model.train()
    (point,) = [p for p in result.curves["matters"].points if p.width == 3]
    assert point.loss_increase == pytest.approx(float(rise.mean()), rel=1e-5)
    assert point.standard_error == pytest.approx(float(rise.std() / len(rise) ** 0.5), rel=1e-4)


def test_the_model_stays_in_training_mode_and_progress_is_told(analyzed):
    assert analyzed[0].training
    assert analyzed[4] == [0.5, 1.0]


def test_it_survives_json(analyzed):
    again = Sensitivity.model_validate_json(analyzed[3].model_dump_json())
    assert again == analyzed[3]
    np.testing.assert_array_equal(again.losses("matters", [1, 4, 8]), analyzed[3].losses("matters", [1, 4, 8]))


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


def test_a_group_that_was_never_measured_is_named(analyzed):
    with pytest.raises(InputError, match="'other'"):
        analyzed[3].losses("other", [1])


@pytest.mark.parametrize("batches", [[], [(torch.zeros(1, 3), torch.zeros(1))]])
def test_too_few_examples_for_an_error_bar_are_refused(batches):
    with pytest.raises(InputError, match="error bar"):
        analyze_sensitivity(TwoBranches(), ANALYSIS, batches, squared, saliency={}, narrow=narrow)
