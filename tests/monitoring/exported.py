"""Every metric that the code can export, by asking the code."""

from reprune.drift.drift_report import Quality
from reprune.drift.monitor.metrics import Snapshot, registry_of
from reprune.drift.monitor.monitor_state import Launch, State, Window
from reprune.metrics import ChampionMetrics, DriftMetrics, RunMetrics
from reprune.monitoring import webhook
from reprune.registry.history import History
from reprune.registry.manifest import File, Manifest, Version
from tests.monitoring import production

TEST = DriftMetrics(name="confidence", statistic=0.3, threshold=0.17, adjusted_p_value=0.001)


def run_registry():
    """Return what a run pushes, with everything in it."""
    return RunMetrics(
        workload=production.NAME,
        outcome="promoted",
        ended=1.0,
        step_seconds={"train": 1.0},
        champion=ChampionMetrics.from_lineage({"comparison": production.COMPARISON}),
        drift=(TEST,),
        checks={"quality": "pass"},
    ).registry()


def monitor_registry():
    """Return what a monitor is scraped for, with everything in it."""
    state = State(champion="v", drifted=2, episode="a", tests=(TEST,), window_counts={"drift": 2})
    state.quality = Quality(reference=0.99, estimated=0.95, estimated_interval=(0.93, 0.97), actual=0.94, labelled=200)
    state.windows["a"] = Window(key="a", modified="", verdict="drift", summary="", at=1.0)
    state.launches.append(
        Launch(id="1", source="alert", fingerprint="f", reason="", at=1.0, steady=1.0, progress="promoted")
    )
    files = (File(path="model.onnx", size_bytes=1, sha256="0" * 64),)
    version = Version.of(Manifest(workload=production.NAME, files=files, lineage={"comparison": production.COMPARISON}))
    seen = Snapshot(
        state=state,
        history=History().extended("promote", version.id, reason="a test", by=""),
        champion=version,
        now=2.0,
        ready=True,
        last_look=1.0,
        refusals=dict.fromkeys(webhook.REFUSED, 0),
    )
    served = {"requests_per_second": 500, "price_per_hour": 0.04}
    return registry_of(production.workload(serving=served), seen)


def samples():
    """Return the names of all samples, each with the names and values of its labels."""
    found = {}
    for registry in (run_registry(), monitor_registry()):
        for family in registry.collect():
            for sample in family.samples:
                values = found.setdefault(sample.name, {})
                for label, value in sample.labels.items():
                    values.setdefault(label, set()).add(value)
    return found
