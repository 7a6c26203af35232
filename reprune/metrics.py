"""What a run did, as Prometheus metrics: gauges in base units, published once when the run ends.

Labels are bounded: the workload, its steps, targets, checks and watched columns, never a run's identifier.
"""

import http.client
import logging
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, get_args
from urllib.error import URLError

from prometheus_client import CollectorRegistry, Gauge, delete_from_gateway, generate_latest, pushadd_to_gateway
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel, ConfigDict

from reprune.errors import InputError

log = logging.getLogger(__name__)

JOB = "reprune"
TIMEOUT_SECONDS = 10
_LAST_SUCCESS = "reprune_last_success_timestamp_seconds"
OUTCOMES = ("promoted", "waiting", "nothing-to-do", "rejected", "failed")
SUCCESSES = ("promoted", "waiting", "nothing-to-do", "rejected")
"""Outcomes after which the pipeline is known to work; what the gate rejected is no failure of the pipeline."""

CheckStatus = Literal["pass", "warn", "fail", "skip"]
DRIFT_TESTS = 20
"""Most drift tests that are published, the most surprising first: a model may have hundreds of inputs."""


class Latency(BaseModel):
    """Latencies of the champion on one target."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    target: str
    seconds: dict[str, float]
    """By percentile: ``{"p50": 0.0006, "p95": 0.0007}``; Prometheus keeps the label ``quantile`` for summaries."""


class ChampionMetrics(BaseModel):
    """What the champion is like; only what was measured."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    accuracy: float | None = None
    """Mean score on the test split, as a ratio."""
    parameters: int | None = None
    sparsity: float | None = None
    """Share of the dense model's parameters that were removed."""
    size_bytes: int | None = None
    latencies: tuple[Latency, ...] = ()
    speedups: dict[str, float] = {}
    """Measured speed-up over the dense model, by target."""

    @classmethod
    def from_lineage(cls, lineage: Mapping[str, Any]) -> Self | None:
        """Return what was measured of a version before its promotion; None where no pipeline made it."""
        if "comparison" not in lineage:
            return None
        dense, *_, served = lineage["comparison"]
        quantiles = {"p50": served["p50_seconds"], "p95": served["p95_seconds"]}
        return cls(
            accuracy=served["accuracy"],
            parameters=served["parameters"],
            sparsity=1 - served["parameters"] / dense["parameters"],
            size_bytes=served["size_bytes"],
            latencies=(Latency(target=served["target"], seconds=quantiles),),
            speedups={served["target"]: served["speed_up"]},
        )


class DriftMetrics(BaseModel):
    """One drift test."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")

    name: str
    statistic: float
    threshold: float
    adjusted_p_value: float


class RunMetrics(BaseModel):
    """A run's outcome and evidence, as plain values."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    workload: str
    outcome: Literal["promoted", "waiting", "nothing-to-do", "rejected", "failed"]
    ended: float
    """When the run ended, in seconds since 1970."""
    step_seconds: dict[str, float] = {}
    champion: ChampionMetrics | None = None
    drift: tuple[DriftMetrics, ...] = ()
    checks: dict[str, CheckStatus] = {}
    """The gate's checks and how each ended."""

    def registry(self) -> CollectorRegistry:
        """Return a registry of its own with the run's metrics."""
        registry = CollectorRegistry()
        writer = Writer(registry, self.workload)
        writer.one_hot(
            "run_outcome", "1 for how the latest run ended, 0 for the others.", "outcome", OUTCOMES, self.outcome
        )
        writer.write("last_run_timestamp_seconds", "When the latest run ended.", {(): self.ended})
        if self.outcome in SUCCESSES:
            writer.write("last_success_timestamp_seconds", "When a run last ended without failing.", {(): self.ended})
        steps = {(step,): seconds for step, seconds in self.step_seconds.items()}
        writer.write("step_duration_seconds", "Duration of each step of the latest run.", steps, ("step",))
        if self.champion is not None:
            writer.write_champion(self.champion)
        writer.write_drift(self.drift)
        statuses = {
            (check, status): float(status == found)
            for check, found in self.checks.items()
            for status in get_args(CheckStatus)
        }
        writer.write(
            "gate_check", "1 for how each check of the gate ended, 0 otherwise.", statuses, ("check", "status")
        )
        return registry


class Writer:
    """Adds metrics of one workload to a registry; what has no values is left out.

    Args:
        registry: Where to.
        workload: Name of the workload, a label of every metric.
    """

    def __init__(self, registry: CollectorRegistry, workload: str) -> None:
        self._registry = registry
        self._workload = workload

    def write(self, name: str, text: str, values: Mapping[Any, float], labels: Iterable[str] = ()) -> None:
        """Add a gauge: its values by those of the labels."""
        if not values:
            return
        gauge = Gauge(f"reprune_{name}", text, ("workload", *labels), registry=self._registry)
        for key, value in values.items():
            gauge.labels(self._workload, *key).set(value)

    def count(self, name: str, text: str, values: Mapping[Any, float], labels: Sequence[str] = ()) -> None:
        """Add a counter, whose totals are counted elsewhere; its name gets the suffix ``_total``."""
        family = CounterMetricFamily(f"reprune_{name}", text, labels=("workload", *labels))
        for key, value in values.items():
            family.add_metric((self._workload, *key), value)
        self._registry.register(_Given(family))

    def one_hot(self, name: str, text: str, label: str, choices: Iterable[str], chosen: str) -> None:
        """Add a gauge that is 1 for one value of a label and 0 for the others."""
        self.write(name, text, {(choice,): float(choice == chosen) for choice in choices}, (label,))

    def write_champion(self, champion: ChampionMetrics) -> None:
        """Add what the champion is like."""
        single = {
            "champion_accuracy_ratio": ("Mean score of the champion on the test split.", champion.accuracy),
            "champion_parameters": ("Parameters of the champion.", champion.parameters),
            "champion_sparsity_ratio": ("Share of the dense parameters that were removed.", champion.sparsity),
            "champion_size_bytes": ("Size of the champion's ONNX file.", champion.size_bytes),
        }
        for name, (text, value) in single.items():
            self.write(name, text, {} if value is None else {(): float(value)})
        latencies = {(item.target, q): seconds for item in champion.latencies for q, seconds in item.seconds.items()}
        self.write(
            "champion_latency_seconds", "Latency of the champion on a target.", latencies, ("target", "percentile")
        )
        speedups = {(target,): ratio for target, ratio in champion.speedups.items()}
        self.write("champion_speedup_ratio", "Measured speed-up of the champion over dense.", speedups, ("target",))

    def write_drift(self, drift: Iterable[DriftMetrics]) -> None:
        """Add the most surprising drift tests."""
        tests = sorted(drift, key=lambda test: test.adjusted_p_value)[:DRIFT_TESTS]
        for name, text, attribute in (
            ("drift_statistic", "Statistic of each drift test of the latest window.", "statistic"),
            ("drift_threshold", "What the statistic must exceed for an alarm.", "threshold"),
            ("drift_p_value", "Probability of so large a statistic in any test without drift.", "adjusted_p_value"),
        ):
            self.write(name, text, {(test.name,): getattr(test, attribute) for test in tests}, ("test",))


class _Given(Collector):
    """A metric as it is given."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        """Return it."""
        return [self._metric]


def publish(
    registry: CollectorRegistry, workload: str, *, pushgateway: str | None = None, textfile: Path | None = None
) -> str:
    """Publish a run's metrics: one push, or a file for the node exporter's textfile collector.

    The push replaces metrics of the same name in the workload's group and leaves others: a failed run does not take
    away the time of the last success.

    Args:
        registry: What to publish.
        workload: Name of the workload: the group on the Pushgateway.
        pushgateway: Address such as ``pushgateway:9091``.
        textfile: File to write when there is no Pushgateway or it cannot be reached; it must end in ``.prom``.

    Returns:
        Where the metrics are, in words. A Pushgateway that does not answer is a warning, never an error: the run
        itself has succeeded or failed for reasons of its own.
    """
    if pushgateway:
        try:
            pushadd_to_gateway(
                pushgateway, job=JOB, registry=registry, grouping_key={"workload": workload}, timeout=TIMEOUT_SECONDS
            )
            return f"pushed to {pushgateway}"
        except (URLError, OSError, http.client.HTTPException, ValueError) as error:
            log.warning("the Pushgateway at %s does not take the metrics: %s", pushgateway, error)
    if textfile is None:
        return (
            "published nowhere: the Pushgateway did not answer, and no file is named"
            if pushgateway
            else "not published"
        )
    write_textfile(textfile, registry)
    return f"written to {textfile}"


def retract(workload: str, *, pushgateway: str) -> None:
    """Delete the metrics of a workload that is retired: a Pushgateway shows its group for ever otherwise.

    Args:
        workload: Name of the workload.
        pushgateway: Address such as ``pushgateway:9091``.

    Raises:
        InputError: The Pushgateway does not answer.
    """
    try:
        delete_from_gateway(pushgateway, job=JOB, grouping_key={"workload": workload}, timeout=TIMEOUT_SECONDS)
    except (URLError, OSError, http.client.HTTPException, ValueError) as error:
        raise InputError(
            f"The Pushgateway at {pushgateway} does not delete the metrics of {workload}: {error}.",
            "Check its address; what is deleted already is no error.",
        ) from None


def write_textfile(path: Path, registry: CollectorRegistry) -> None:
    """Write metrics in the text format, whole or not at all: a scrape never reads half a file.

    A time of last success that the file holds already is kept when this run has none of its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = generate_latest(registry).decode()
    if _LAST_SUCCESS not in text and path.is_file():
        text += "".join(f"{line}\n" for line in path.read_text().splitlines() if _LAST_SUCCESS in line)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(partial, 0o644)  # the node exporter runs as another user
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
