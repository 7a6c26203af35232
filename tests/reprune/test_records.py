"""What is written as JSON and read back keeps numbers that are not finite, in JSON that every parser takes."""

import json
import math
import typing

import pytest
from pydantic import BaseModel

from reprune.drift.drift_report import DriftReport, DriftTest, Effect, Quality
from reprune.drift.monitor.monitor_state import State
from reprune.drift.monitor.worker_messages import Judged
from reprune.gate.verdict import Check, Verdict
from reprune.inference.latency.benchmark import Benchmark
from reprune.inference.latency.latency_table import LatencyTable
from reprune.metrics import DriftMetrics
from reprune.planning.sensitivity.curve_cache import Kept
from reprune.planning.sensitivity.curves import CurvePoint, Sensitivity
from reprune.training.training_history import Epoch, History

READ_BACK = [Verdict, DriftReport, Benchmark, LatencyTable, Sensitivity, Kept, History, Judged, State]


def types_in(annotation):
    yield annotation
    for part in typing.get_args(annotation):
        yield from types_in(part)


def records(kind, found):
    """Return a kind of record and those within it."""
    if kind not in found:
        found.add(kind)
        for field in kind.model_fields.values():
            for part in types_in(field.annotation):
                if isinstance(part, type) and issubclass(part, BaseModel):
                    records(part, found)
    return found


KINDS = sorted(set().union(*(records(kind, set()) for kind in READ_BACK)), key=lambda kind: kind.__qualname__)


def floats_of(kind):
    return [name for name, field in kind.model_fields.items() if field.annotation in (float, float | None)]


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if floats_of(kind)])
def test_numbers_that_are_not_finite_are_read_as_they_were(kind, number):
    for name in floats_of(kind):
        text = kind.model_construct(**{name: number}).model_dump_json(include={name})
        written = json.loads(text, parse_constant=pytest.fail)[name]
        assert repr(float(written)) == repr(number)  # a text such as "NaN", which pydantic reads as a number


def test_a_training_that_diverged_is_read_as_it_was():
    history = History(epochs=[Epoch(epoch=1, loss=math.nan, validation_score=-math.inf, learning_rate=0.1, seconds=1)])
    assert repr(History.model_validate_json(history.model_dump_json())) == repr(history)


def test_the_records_named_above_are_covered():
    assert {Check, CurvePoint, DriftTest, Effect, Quality, DriftMetrics, Epoch} <= set(KINDS)
