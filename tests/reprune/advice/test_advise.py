import pytest

from reprune.config.sections import Budget
from reprune.config.target import Target, machine
from reprune.inference.latency.benchmark import CONTROL, Benchmark, ModelTiming
from reprune.inference.latency.bootstrap import Estimate
from reprune.inference.latency.system_load import Load
from reprune.planning.advisor.advise import advise
from reprune.planning.advisor.facts import Facts

TIMES = {"structured": 0.3, "int8": 0.6, "structured+int8": 0.2, "unstructured": 1.0, "2:4": 0.99}
SIZES = {"structured": 0.3, "int8": 0.26, "structured+int8": 0.1}


def facts(times=TIMES, dense_seconds=2e-3, missing=None):
    """Return planted measurements; a control within 3 %."""

    def timing(name, ratio):
        spread = Estimate(value=ratio, low=0.97 * ratio, high=1.03 * ratio)
        seconds = Estimate(value=dense_seconds * ratio, low=dense_seconds * ratio, high=dense_seconds * ratio)
        return ModelTiming(
            p50_seconds=seconds, p95_seconds=seconds, p99_seconds=seconds, throughput=1.0, latency_ratio=spread,
            size_bytes=int(1e6 * SIZES.get(name, 1.0)), cold_start_seconds=0.1, peak_memory_bytes=None, calls=100,
            warm_up_calls=1,
        )  # fmt: skip

    models = {name: timing(name, ratio) for name, ratio in {"dense": 1.0, CONTROL: 1.0, **times}.items()}
    load = Load(load_average=None, other_cores=None, steal_ratio=None, contended=False)
    measured = Benchmark(
        target=Target(), machine=machine(), baseline="dense", models=models,
        noise=Estimate(value=1.0, low=0.97, high=1.03), rounds=100, sessions=2, load=load,
    )  # fmt: skip
    return Facts(benchmark=measured, missing=missing or {"heads": "the model has no attention heads that can be cut"})


def budget(latency, size=None):
    return Budget.model_validate({"latency": latency} | ({"size": size} if size else {}))


@pytest.mark.parametrize(
    ("latency", "size", "answer"),
    [
        ("4ms", None, "nothing"),  # dense takes 2 ms
        ("0.7x", None, "int8"),
        ("0.4x", None, "structured"),
        ("0.25x", None, "structured+int8"),
        ("0.05x", None, "structured+int8"),  # narrower than what was tried
        ("4ms", "0.5MB", "int8"),
        ("0.7x", "0.15x", "structured+int8"),
    ],
)
def test_the_least_trouble_that_meets_the_budget_is_advised(latency, size, answer):
    advice = advise(facts(), budget(latency, size))
    assert advice.answer == answer
    assert advice.expected_ratio == (None if answer == "nothing" else TIMES[answer])


def test_a_model_that_meets_its_budget_is_left_alone_and_that_is_the_reason():
    assert "do not prune" in advise(facts(), budget("2ms")).reasons[0]


def test_a_budget_beyond_what_was_tried_leads_to_the_planner():
    assert "reprune plan" in advise(facts(), budget("0.05x")).reasons[0]


def test_zeros_are_not_faster_and_the_runtime_is_the_reason():
    rows = {row.method: row for row in advise(facts(), budget("0.5x")).rows}
    for method in ("unstructured", "2:4"):
        assert not rows[method].faster and "zeros like any other number" in rows[method].reason
    assert rows["heads"].latency_ratio is None and "no attention heads" in rows["heads"].reason


def test_zeros_that_are_measured_to_be_faster_are_called_faster():
    rows = {row.method: row for row in advise(facts(TIMES | {"2:4": 0.7}), budget("0.5x")).rows}
    assert rows["2:4"].faster and "faster" in rows["2:4"].reason


def test_what_lies_within_the_noise_is_no_gain():
    advice = advise(facts({"structured": 0.98, "int8": 1.0, "structured+int8": 1.01}), budget("0.5x"))
    assert advice.answer == "nothing" and "do not prune" in advice.reasons[0]


def test_a_run_that_does_not_pay_is_advised_against():
    saved = 0.7 * 2e-3
    enough, few = int(600 / saved) + 1, int(600 / saved) - 1
    assert advise(facts(), budget("0.4x"), run_seconds=600, inferences=enough).answer == "structured"
    against = advise(facts(), budget("0.4x"), run_seconds=600, inferences=few)
    assert against.answer == "nothing" and against.expected_ratio is None
    assert any(f"{few:,} are expected" in reason for reason in against.reasons)
    unasked = advise(facts(), budget("0.4x"), run_seconds=600)
    assert unasked.answer == "structured" and any("paid for itself" in reason for reason in unasked.reasons)


def test_a_method_without_training_costs_no_run():
    assert advise(facts(), budget("0.7x"), run_seconds=1e9, inferences=1).answer == "int8"
