from types import SimpleNamespace

import pytest
import torch
from torch import nn

from reprune.config.limits import LatencyLimit, SizeLimit
from reprune.config.target import Target
from reprune.inference.latency.latency_table import Axis, LatencyTable, OperatorLatency
from reprune.inference.latency.operators import OperatorShape, example_batch
from reprune.planning import baselines
from reprune.planning.cost_model import Prices
from reprune.planning.knapsack import InfeasibleError
from reprune.planning.plan import make_plan
from reprune.planning.sensitivity.curves import Curve, CurvePoint, Sensitivity
from reprune.pruning.graph.analyze import analyze
from reprune.pruning.importance import score
from reprune.pruning.prune import cut

BLOCK = 8


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(32, 64, 3, padding=1)
    with torch.no_grad():
        second.weight[::2] *= 0.01  # half of the second layer is next to nothing
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


@pytest.fixture(scope="module")
def analysis(model):
    return analyze(model, torch.randn(2, 3, 8, 8))


def table(analysis):
    """Return a planted kernel's latencies: whole blocks of channels, three times slower where a block is not filled."""
    operators, examples = {}, example_batch(analysis.operators)
    for item in analysis.operators:
        shape = OperatorShape.of(item, examples)
        outs, ins = item.weight_shape[:2]
        points = []
        for i in range(1, ins + 1):
            for o in range(1, outs + 1):
                slow = 3 if o % BLOCK and o > BLOCK else 1
                points.append((i, o, 1e-6 + slow * shape.macs(i, o) / 50e9))
        operators[shape.key()] = OperatorLatency(input=Axis(), output=Axis(block=BLOCK), points=tuple(points))
    return LatencyTable(key="planted", target=Target(), operators=operators)


def sensitivity(analysis):
    curves = {
        group.name: Curve(
            dense_width=group.width,
            points=tuple(
                CurvePoint(width=w, loss_increase=(k + 1) * (1 - w / group.width) ** 2, standard_error=0.01)
                for w in range(1, group.width, 3)
            ),
        )
        for k, group in enumerate(analysis.groups)
    }
    return Sensitivity(criterion="planted", examples=100, dense_loss=0.1, curves=curves)


def row(name, model, analysis, **options):
    if name == "magnitude":
        return baselines.magnitude(analysis, score(model, analysis, "l2"), **options)
    return (
        baselines.uniform(analysis, **options)
        if name == "uniform"
        else baselines.macs(analysis, sensitivity(analysis), **options)
    )


def budget(latency, size=None):
    limit = None if size is None else SizeLimit.model_validate(size)
    return SimpleNamespace(latency=LatencyLimit.model_validate(latency), size=limit)


ROWS = ("uniform", "magnitude", "macs")


@pytest.mark.parametrize("name", ROWS)
def test_a_row_goes_from_dense_to_narrow_by_macs(name, model, analysis):
    plans = row(name, model, analysis)
    macs = [baselines.macs_of(analysis, plan) for plan in plans]
    assert plans[0] == {group.name: group.width for group in analysis.groups}
    assert macs == sorted(macs, reverse=True)
    assert macs[-1] < 0.1 * macs[0]
    assert all(1 <= plan[group.name] <= group.width for plan in plans for group in analysis.groups)


def test_macs_are_those_of_the_layers(analysis):
    assert baselines.macs_of(analysis, {}) == 64 * (32 * 3 * 9 + 64 * 32 * 9) + 64 * 10


def test_uniform_takes_the_same_share_of_every_group(model, analysis):
    for plan in baselines.uniform(analysis):
        shares = [plan[group.name] / group.width for group in analysis.groups]
        assert max(shares) - min(shares) < 1 / 32


def test_magnitude_takes_what_is_next_to_nothing_first(model, analysis):
    plans = row("magnitude", model, analysis)
    plan = next(plan for plan in plans if plan["2"] <= 32)
    assert plan["2"] == 32 and plan["0"] >= 30


@pytest.mark.parametrize("name", ROWS)
def test_channels_are_rounded_up_where_asked(name, model, analysis):
    plans = row(name, model, analysis, round_to=8)
    assert len(plans) > 3
    assert all(width % 8 == 0 for plan in plans for width in plan.values())


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("latency", ["0.3x", "0.6x"])
def test_a_baseline_answers_to_the_same_budget_measured_and_corrected(name, latency, model, analysis):
    tables = [table(analysis)]
    prices = Prices(analysis, tables)

    def measure(widths):  # the whole graph is slower than its operators say, and the more so the narrower
        kept = sum((prices.dense | dict(widths)).values()) / sum(prices.dense.values())
        return 3e-6 + (1.6 - 0.4 * kept) * prices.latencies(widths)

    plan = make_plan(
        analysis, tables, sensitivity(analysis), budget(latency), measure=measure, plans=row(name, model, analysis)
    )
    assert plan.holds
    assert plan.measured_latency_seconds[0] <= plan.budget_seconds[0]
    assert plan.widths in row(name, model, analysis)
    cut(model, analysis, {name: list(range(width)) for name, width in plan.widths.items()})


def test_a_narrower_plan_that_is_slower_is_passed_over(model, analysis):
    tables = [table(analysis)]
    prices, plans = Prices(analysis, tables), baselines.uniform(analysis)
    seconds = [float(prices.latencies(plan)[0]) for plan in plans]
    assert seconds != sorted(seconds, reverse=True), "the planted kernel makes some narrower plans slower"
    plan = make_plan(analysis, tables, sensitivity(analysis), budget("0.5x"), plans=plans)
    assert plan.predicted_latency_seconds[0] <= 0.5 * seconds[0]
    assert all(width % BLOCK == 0 for width in plan.widths.values())


@pytest.mark.parametrize("name", ROWS)
def test_size_is_a_budget_of_a_baseline_too(name, model, analysis):
    dense = Prices(analysis, [table(analysis)]).weight_bytes({}) + 1000
    plan = make_plan(
        analysis, [table(analysis)], sensitivity(analysis), budget("1x", "0.3x"),
        dense_size_bytes=dense, plans=row(name, model, analysis),
    )  # fmt: skip
    assert plan.holds and plan.size_bytes <= 0.3 * dense


@pytest.mark.parametrize("name", ROWS)
def test_what_no_plan_of_a_row_holds_is_refused_with_the_nearest(name, model, analysis):
    with pytest.raises(InfeasibleError, match=r"0\.001x is out of reach") as caught:
        make_plan(
            analysis, [table(analysis)], sensitivity(analysis), budget("0.001x"), plans=row(name, model, analysis)
        )
    assert "latency 0." in caught.value.remedy


def test_the_planner_is_charged_no_more_than_any_baseline_at_the_same_latency(model, analysis):
    tables, curves = [table(analysis)], sensitivity(analysis)
    widths = {group.name: list(range(1, group.width + 1)) for group in analysis.groups}
    problem = Prices(analysis, tables).problem(curves, widths)

    def charge(plan):
        return problem.loss(tuple(plan.widths[name] - 1 for name in problem.names))

    for latency in ("0.25x", "0.5x", "0.75x"):
        best = make_plan(analysis, tables, curves, budget(latency), candidates=widths)
        for name in ROWS:
            other = make_plan(analysis, tables, curves, budget(latency), plans=row(name, model, analysis))
            assert charge(best) <= charge(other) + 1e-9
