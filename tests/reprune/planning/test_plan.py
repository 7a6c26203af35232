import copy
import itertools
import math
import re
from types import SimpleNamespace

import numpy as np
import pytest

from reprune.config.limits import LatencyLimit, SizeLimit
from reprune.config.target import Target
from reprune.errors import InputError
from reprune.inference.latency.latency_table import Axis, LatencyTable, OperatorLatency
from reprune.inference.latency.operators import OperatorShape, example_batch
from reprune.planning.cost_model import Prices
from reprune.planning.knapsack import InfeasibleError
from reprune.planning.plan import Plan, make_plan
from reprune.planning.planner import MARGIN
from reprune.planning.sensitivity.curves import Curve, CurvePoint, Sensitivity

BLOCK = 16
CALL = 20e-6
"""Seconds of a call, whatever it computes."""


def operator(name, out_width, in_width, in_cells, out_cells, *, kind="conv", kernel=3, size=8, groups=1):
    convolution = kind == "conv"
    return SimpleNamespace(
        name=name, kind=kind, in_cells=in_cells, out_cells=out_cells, groups=groups,
        weight_shape=(out_width, in_width // groups, kernel, kernel) if convolution else (out_width, in_width),
        input_shape=(2, in_width, size, size) if convolution else (2, in_width),
        stride=(1, 1) if convolution else (), padding=(kernel // 2,) * 2 if convolution else (),
        dilation=(1, 1) if convolution else (),
    )  # fmt: skip


def residual_net(blocks=4, width=64):
    """Return the analysis of a residual network: one stream through all blocks, and each block's own inner group."""
    operators = [operator("stem", width, 3, {}, {"stream": 1})]
    for k in range(blocks):
        operators.append(operator(f"block{k}.a", width, width, {"stream": 1}, {f"inner{k}": 1}))
        operators.append(operator(f"block{k}.b", width, width, {f"inner{k}": 1}, {"stream": 1}))
    operators.append(operator("fc", 10, width, {"stream": 1}, {}, kind="linear"))
    names = ["stream", *(f"inner{k}" for k in range(blocks))]
    groups = tuple(SimpleNamespace(name=name, kind="channel", width=width) for name in names)
    return SimpleNamespace(groups=groups, operators=tuple(operators))


def concatenating_net(branches=5, width=32):
    """Return the analysis of branches that are concatenated and then mixed by one operator."""
    names = [f"branch{k}" for k in range(branches)]
    operators = [operator(name, width, 3, {}, {name: 1}) for name in names]
    operators.append(operator("mix", 64, branches * width, dict.fromkeys(names, 1), {"mixed": 1}))
    operators.append(operator("head", 10, 64, {"mixed": 1}, {}, kernel=1))
    groups = tuple(SimpleNamespace(name=name, kind="channel", width=32) for name in names)
    return SimpleNamespace(
        groups=(*groups, SimpleNamespace(name="mixed", kind="channel", width=64)), operators=tuple(operators)
    )


def kernel_seconds(shape, in_width, out_width):
    """Return the latency of a planted kernel: whole blocks of output, and input off 4 takes a slow path."""
    ins, outs = (math.ceil(width / BLOCK) * BLOCK for width in (in_width, out_width))
    slow = 2.5 if in_width % 4 and in_width > 4 else 1.0
    return 1e-6 + slow * shape.macs(ins, outs) / 50e9


def table(analysis, batch_size=1):
    shapes = {}
    examples = example_batch(analysis.operators)
    for item in analysis.operators:
        shape = OperatorShape.of(item, examples)
        ins, outs = item.weight_shape[1] * item.groups, item.weight_shape[0]
        points = shapes.setdefault(shape.key(), {})
        for i in {4, 8, *range(BLOCK, ins, BLOCK), ins, ins - 1}:
            for o in {4, 8, *range(BLOCK, outs, BLOCK), outs}:
                if i <= ins and o <= outs:
                    points[i, o] = batch_size * kernel_seconds(shape, i, o)
    axes = {"input": Axis(quantum=4, block=BLOCK), "output": Axis(quantum=1, block=BLOCK)}
    operators = {
        key: OperatorLatency(points=tuple((i, o, s) for (i, o), s in sorted(points.items())), **axes)
        for key, points in shapes.items()
    }
    target = Target(batch_size=batch_size)
    return LatencyTable(key=f"planted-{batch_size}", target=target, operators=operators, overhead_seconds=CALL)


def sensitivity(analysis):
    curves = {}
    for k, group in enumerate(analysis.groups):
        points = tuple(
            CurvePoint(width=w, loss_increase=(k + 1) * (1 - w / group.width) ** 2, standard_error=0.01)
            for w in range(4, group.width, 4)
        )
        curves[group.name] = Curve(dense_width=group.width, points=points)
    return Sensitivity(criterion="planted", examples=100, dense_loss=0.1, curves=curves)


def budget(latency="0.5x", size=None):
    limit = None if size is None else SizeLimit.model_validate(size)
    return SimpleNamespace(latency=LatencyLimit.model_validate(latency), size=limit)


def whole_graph(analysis, tables, *, scale=1.3, offset=CALL, bend=0.0):
    """Return a planted stop-watch: operators, overhead, and a bend that no sum of operators predicts."""
    prices = Prices(analysis, tables)

    def measure(widths):
        kept = np.mean([(prices.dense | dict(widths))[name] / whole for name, whole in prices.dense.items()])
        return offset + scale * (1 + bend * (1 - kept)) * prices.latencies(widths)

    return measure


@pytest.mark.parametrize("bend", [0.0, 0.8, -0.3])
@pytest.mark.parametrize("latency", ["0.3x", "0.5x", "0.75x"])
def test_the_measured_budget_holds_and_is_used(latency, bend):
    analysis = residual_net()
    tables = [table(analysis)]
    measure = whole_graph(analysis, tables, bend=bend)
    plan = make_plan(analysis, tables, sensitivity(analysis), budget(latency), measure=measure)
    assert plan.holds
    assert plan.measured_latency_seconds == tuple(measure(plan.widths))
    assert plan.dense_seconds == tuple(measure({}))
    assert plan.budget_seconds[0] == pytest.approx(float(latency[:-1]) * measure({})[0])


@pytest.mark.parametrize("latency", ["0.3x", "0.5x", "0.75x"])
def test_no_other_choice_of_widths_that_holds_the_measured_budget_is_charged_less(latency):
    analysis = residual_net(blocks=3)
    tables, curves = [table(analysis)], sensitivity(analysis)
    measure = whole_graph(analysis, tables)
    plan = make_plan(analysis, tables, curves, budget(latency), measure=measure)
    problem = Prices(analysis, tables).problem(curves, Prices(analysis, tables).candidates())
    best = min(
        problem.loss(choice)
        for choice in itertools.product(*(range(len(widths)) for widths in problem.widths))
        if measure(problem.chosen(choice))[0] <= (1 - MARGIN) * plan.budget_seconds[0]
    )
    chosen = tuple(widths.index(plan.widths[name]) for name, widths in zip(problem.names, problem.widths, strict=True))
    assert problem.loss(chosen) == pytest.approx(best, rel=0.02)


def test_widths_are_whole_blocks():
    analysis = residual_net()
    plan = make_plan(analysis, [table(analysis)], sensitivity(analysis), budget("0.4x"))
    assert all(width % BLOCK == 0 or width in (4, 8) for width in plan.widths.values())
    assert any(width < 64 for width in plan.widths.values())


def test_the_groups_that_cost_least_loss_are_cut_most():
    analysis = residual_net()
    plan = make_plan(analysis, [table(analysis)], sensitivity(analysis), budget("0.6x"))
    assert plan.widths["inner0"] <= plan.widths["inner3"]


def test_without_a_stop_watch_the_prediction_decides():
    analysis = residual_net()
    plan = make_plan(analysis, [table(analysis)], sensitivity(analysis), budget())
    assert plan.measured_latency_seconds is None
    assert plan.rounds == ()
    assert plan.prediction_error is None
    assert plan.predicted_latency_seconds[0] <= 0.5 * plan.dense_seconds[0]
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def test_predictions_that_were_too_hopeful_are_corrected_and_reported():
    analysis = residual_net()
    tables = [table(analysis)]
    measure = whole_graph(analysis, tables, bend=2.0)
    plans = [
        make_plan(analysis, tables, sensitivity(analysis), budget(f"{share}x"), measure=measure)
        for share in (0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7)
    ]
    hopeful = [plan for plan in plans if plan.rounds[0].measured_seconds[0] > plan.budget_seconds[0]]
    assert len(hopeful) >= 2
    for plan in hopeful:
        assert len(plan.rounds) > 1
        assert plan.prediction_error > 0.05
        assert plan.holds
        assert plan.measured_latency_seconds[0] <= plan.budget_seconds[0]
        assert Plan.model_validate_json(plan.model_dump_json()) == plan


def test_kinds_of_groups_are_told_apart_before_the_first_plan():
    analysis = residual_net()
    analysis.groups[0].kind = "embedding"
    tables = [table(analysis)]
    prices, asked = Prices(analysis, tables), []

    def measure(widths):  # what is done with the stream's activations takes as long again as all operators
        asked.append(set(widths))
        seconds = prices.latencies(widths)
        share = (prices.elements(widths) / prices.elements({}))[prices.kinds.index("embedding")]
        return CALL + seconds + share * prices.latencies({})

    plan = make_plan(analysis, tables, sensitivity(analysis), budget("0.5x"), measure=measure)
    assert asked[:3] == [set(), {group.name for group in analysis.groups[1:]}, {"stream"}]
    assert plan.holds and plan.prediction_error < 0.05


def test_a_budget_on_several_targets_holds_on_all():
    analysis = residual_net()
    tables = [table(analysis), table(analysis, batch_size=32)]
    measure = whole_graph(analysis, tables)
    plan = make_plan(analysis, tables, sensitivity(analysis), budget("0.5x"), measure=measure)
    assert plan.targets == ("CPU, 1 thread, batch 1", "CPU, 1 thread, batch 32")
    assert plan.holds
    assert all(np.array(plan.measured_latency_seconds) <= plan.budget_seconds)


def test_a_budget_on_size_holds_too_and_counts_what_cannot_be_cut():
    analysis = residual_net()
    weights = sum(4 * math.prod(op.weight_shape) for op in analysis.operators)
    loose = make_plan(
        analysis, [table(analysis)], sensitivity(analysis), budget("0.9x"), dense_size_bytes=weights + 1e5
    )
    tight = make_plan(
        analysis, [table(analysis)], sensitivity(analysis), budget("0.9x", "0.4x"), dense_size_bytes=weights + 1e5
    )
    assert tight.size_bytes <= tight.size_budget_bytes == pytest.approx(0.4 * (weights + 1e5))
    assert tight.holds
    assert tight.predicted_loss > loose.predicted_loss
    left = [tight.widths["stream"], *(tight.widths[f"inner{k}"] for k in range(4))]
    kept = left[0] * 3 * 9 + sum(2 * left[0] * inner * 9 for inner in left[1:]) + 10 * left[0]
    biases = left[0] * 5 + sum(left[1:]) + 10
    dense_biases = 64 * 9 + 10
    assert tight.size_bytes == pytest.approx(4 * (kept + biases - dense_biases) + 1e5)


def test_a_limit_on_size_without_the_dense_size_is_refused():
    analysis = residual_net()
    with pytest.raises(InputError, match=r"budget\.size"):
        make_plan(analysis, [table(analysis)], sensitivity(analysis), budget("0.9x", "0.4x"))


def refused(*arguments, **options):
    with pytest.raises(InfeasibleError) as caught:
        make_plan(*arguments, **options)
    return caught.value


@pytest.mark.parametrize("offset", [20e-6, 1.0])
@pytest.mark.parametrize("latency", ["0.01x", "2us"])
def test_the_nearest_budget_that_is_named_holds(latency, offset):
    analysis = residual_net()
    tables, curves = [table(analysis)], sensitivity(analysis)
    measure = whole_graph(analysis, tables, offset=offset)
    error = refused(analysis, tables, curves, budget(latency), measure=measure)
    assert error.message == f"budget.latency: {latency} is out of reach on CPU, 1 thread, batch 1."
    nearest = re.search(r"latency ([0-9.]+(x|ms)) \(", error.remedy)[1]
    plan = make_plan(analysis, tables, curves, budget(nearest), measure=measure)
    assert plan.holds
    if offset < 1:  # else no cut is worth anything
        least = float(measure({name: widths[0] for name, widths in Prices(analysis, tables).candidates().items()})[0])
        assert plan.measured_latency_seconds[0] == pytest.approx(least, rel=0.05)
        assert plan.budget_seconds[0] < 1.2 * least


def test_a_size_out_of_reach_is_told_from_a_latency():
    analysis = residual_net()
    tables, curves = [table(analysis)], sensitivity(analysis)
    dense = Prices(analysis, tables).weight_bytes({}) + 1e5
    error = refused(analysis, tables, curves, budget("0.9x", "0.01x"), dense_size_bytes=dense)
    assert error.message == "budget.size: 0.01x is out of reach."
    measure = whole_graph(analysis, tables)
    measured = refused(analysis, tables, curves, budget("0.9x", "0.01x"), dense_size_bytes=dense, measure=measure)
    assert measured.message == error.message
    nearest = re.search(r"nearest that can be held is size ([0-9.]+x) ", error.remedy)[1]
    assert make_plan(analysis, tables, curves, budget("0.9x", nearest), dense_size_bytes=dense).holds


def test_when_both_are_out_of_reach_both_are_named():
    analysis = residual_net()
    tables, curves = [table(analysis)], sensitivity(analysis)
    dense = Prices(analysis, tables).weight_bytes({}) + 1e5
    error = refused(analysis, tables, curves, budget("0.01x", "1kB"), dense_size_bytes=dense)
    latency, size = re.search(r"latency ([0-9.]+x) with size ([0-9.]+MB) ", error.remedy).groups()
    assert make_plan(analysis, tables, curves, budget(latency, size), dense_size_bytes=dense).holds


def test_an_absolute_budget_that_only_the_slower_target_breaks_names_it():
    analysis = residual_net()
    tables, curves = [table(analysis), table(analysis, batch_size=32)], sensitivity(analysis)
    measure = whole_graph(analysis, tables)
    allowed = f"{1e3 * float(measure({})[0]):.4f}ms"  # what the dense model takes at batch 1
    error = refused(analysis, tables, curves, budget(allowed), measure=measure)
    assert error.message.endswith("is out of reach on CPU, 1 thread, batch 32.")
    assert "on every target" in error.remedy
    nearest = re.search(r"latency ([0-9.]+ms) ", error.remedy)[1]
    plan = make_plan(analysis, tables, curves, budget(nearest), measure=measure)
    assert plan.holds and all(np.array(plan.measured_latency_seconds) <= plan.budget_seconds)


def test_the_front_goes_from_fast_to_dense_and_gains_at_each_step():
    analysis = residual_net()
    tables = [table(analysis), table(analysis, batch_size=32)]
    timed = []
    whole = whole_graph(analysis, tables)

    def measure(widths):
        timed.append(dict(widths))
        return whole(widths)

    plan = make_plan(analysis, tables, sensitivity(analysis), budget("0.5x"), measure=measure, alternatives=3)
    front = plan.alternatives
    assert len(front) >= 5
    slowest = [max(np.array(it.predicted_latency_seconds) / plan.dense_seconds) for it in front]
    losses = [it.predicted_loss for it in front]
    assert slowest == sorted(slowest) and losses == sorted(losses, reverse=True)
    assert front[-1].widths == plan.dense_widths and losses[-1] == 0
    measured = [it for it in front if it.measured_latency_seconds is not None]
    assert len(measured) == 3 and len(timed) == 1 + len(plan.rounds) + 3
    for it in measured:
        assert it.measured_latency_seconds == pytest.approx(it.predicted_latency_seconds, rel=0.05)
    faster = [
        it for it in front if np.all(np.array(it.predicted_latency_seconds) <= 0.95 * np.array(plan.budget_seconds))
    ]
    assert all(it.predicted_loss >= plan.predicted_loss - 1e-3 for it in faster)
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def test_a_budget_that_dense_meets_cuts_nothing():
    analysis = residual_net()
    tables = [table(analysis)]
    plan = make_plan(analysis, tables, sensitivity(analysis), budget("5s"), measure=whole_graph(analysis, tables))
    assert plan.widths == plan.dense_widths
    assert plan.holds


def test_widths_of_a_stream_through_many_slight_operators_fill_whole_blocks():
    analysis = residual_net(blocks=16)
    prices = Prices(analysis, [table(analysis)]).at_rates(np.array([[2e-9]]))  # a narrower one saves within a block too
    widths = prices.candidates()["stream"]
    assert [width for width in widths if width > 8] == [16, 32, 48, 64]


def test_many_groups_feeding_one_operator_are_priced_nearly_right():
    analysis = concatenating_net()
    tables = [table(analysis)]
    prices = Prices(analysis, tables)
    problem = prices.problem(sensitivity(analysis), prices.candidates())
    dense = problem.cost(problem.dense())[0]
    assert dense == pytest.approx(prices.latencies({})[0], rel=0.02)
    halved = dict.fromkeys(problem.names, 16)
    choice = tuple(widths.index(16) for widths in problem.widths)
    assert problem.cost(choice)[0] == pytest.approx(prices.latencies(halved)[0], rel=0.35)
    plan = make_plan(analysis, tables, sensitivity(analysis), budget("0.5x"), measure=whole_graph(analysis, tables))
    assert plan.holds


def test_a_weight_that_two_operators_share_is_stored_once():
    analysis = residual_net()
    twice = SimpleNamespace(groups=analysis.groups, operators=(*analysis.operators, copy.copy(analysis.operators[1])))
    tables = [table(analysis)]
    narrow = {"stream": 32}
    assert Prices(twice, tables).removed_bytes(narrow) == Prices(analysis, tables).removed_bytes(narrow)


def test_a_model_without_groups_is_refused():
    analysis = residual_net()
    frozen = SimpleNamespace(groups=(), operators=(analysis.operators[0],), parameters=frozenset(), shapes={}, whole={})
    frozen.operators[0].out_cells.clear()
    with pytest.raises(InputError, match="no group"):
        make_plan(frozen, [table(frozen)], sensitivity(analysis), budget())
