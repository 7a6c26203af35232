"""Publish what the run did to Prometheus, whether it succeeded or failed."""

import os
import time
from pathlib import Path

from prometheus_client import generate_latest

from reprune.errors import IntegrityError
from reprune.metrics import ChampionMetrics, DriftMetrics, RunMetrics, publish
from reprune.steps import run_outcome
from reprune.steps.context import METRICS_FOLDER, Step

PUSHGATEWAY = "REPRUNE_PUSHGATEWAY"
"""Environment variable with the address of a Pushgateway."""

_STATUS = {"passed": "pass", "warning": "warn", "failed": "fail", "inconclusive": "fail", "skipped": "skip"}


def run(step: Step, *, metrics: Path, state: str, error: str) -> None:
    """Push once, or write a file; a run that failed publishes that it did."""
    records = step.records()
    ended = run_outcome.read(records)
    found = RunMetrics(
        workload=step.workload.name,
        outcome=ended.kind if state == "SUCCEEDED" else "failed",
        ended=time.time(),
        step_seconds={name: record["seconds"] for name, record in records.items() if "seconds" in record},
        champion=_champion(step),
        drift=tuple(DriftMetrics.model_validate(test) for test in records.get("detect_drift", {}).get("tests", [])),
        checks={check["name"]: _STATUS[check["status"]] for check in records.get("gate", {}).get("checks", [])},
    )
    registry = found.registry()
    metrics.write_bytes(generate_latest(registry))
    folder = os.environ.get(METRICS_FOLDER)
    textfile = Path(folder) / f"reprune-{step.workload.name}.prom" if folder else None
    where = publish(registry, step.workload.name, pushgateway=os.environ.get(PUSHGATEWAY), textfile=textfile)
    step.record = None
    step.summary = f"{found.outcome}; {where}"


def _champion(step: Step) -> ChampionMetrics | None:
    """Return what was measured of the champion when it was promoted, if it can be read."""
    try:
        version = step.registry.with_champion(lambda champion: step.registry.version(champion.version))
    except IntegrityError as error:
        step.warn(error.message)  # the run has told of it; here it must not hide how the run ended
        return None
    return ChampionMetrics.from_lineage(version.lineage) if version else None
