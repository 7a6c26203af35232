"""Metrics as Prometheus's own programs see them."""

import shutil
import socket
import subprocess
import time
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from reprune import metrics
from reprune.cli.app import app
from reprune.errors import InputError
from reprune.metrics import ChampionMetrics, DriftMetrics, Latency, RunMetrics, publish

PROMTOOL, PUSHGATEWAY = shutil.which("promtool"), shutil.which("prometheus-pushgateway")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="needs promtool (apt-get install prometheus)")
needs_pushgateway = pytest.mark.skipif(PUSHGATEWAY is None, reason="needs apt-get install prometheus-pushgateway")


def run_metrics(outcome="promoted", ended=1_700_000_000.0):
    return RunMetrics(
        workload="digits",
        outcome=outcome,
        ended=ended,
        step_seconds={"train": 41.5, "prune": 60.0},
        champion=ChampionMetrics(
            accuracy=0.985,
            parameters=61_004,
            sparsity=0.776,
            size_bytes=300_000,
            latencies=(Latency(target="CPU, 1 thread, batch 32", seconds={"p50": 0.00062, "p95": 0.00066}),),
            speedups={"CPU, 1 thread, batch 32": 3.2},
        ),
        drift=(DriftMetrics(name="confidence", statistic=0.1, threshold=0.17, adjusted_p_value=0.4),),
        checks={"quality": "pass", "latency": "warn"},
    )


def samples(text):
    return {
        (
            sample.name,
            tuple(sorted((k, v) for k, v in sample.labels.items() if k not in ("job", "instance", "workload"))),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def text_of(run):
    return metrics.generate_latest(run.registry()).decode()


def test_every_value_is_there_under_its_label():
    found = samples(text_of(run_metrics()))
    assert found["reprune_run_outcome", (("outcome", "promoted"),)] == 1
    assert found["reprune_run_outcome", (("outcome", "failed"),)] == 0
    assert found["reprune_last_success_timestamp_seconds", ()] == 1_700_000_000
    assert found["reprune_step_duration_seconds", (("step", "train"),)] == 41.5
    target = ("target", "CPU, 1 thread, batch 32")
    assert found["reprune_champion_latency_seconds", (("percentile", "p95"), target)] == 0.00066
    assert found["reprune_champion_speedup_ratio", (target,)] == 3.2
    assert found["reprune_champion_sparsity_ratio", ()] == 0.776
    assert found["reprune_drift_threshold", (("test", "confidence"),)] == 0.17
    assert found["reprune_gate_check", (("check", "latency"), ("status", "warn"))] == 1
    assert found["reprune_gate_check", (("check", "latency"), ("status", "pass"))] == 0


def test_what_was_not_measured_is_absent_and_not_zero():
    text = text_of(RunMetrics(workload="digits", outcome="failed", ended=1.0))
    assert {name for name, _ in samples(text)} == {"reprune_run_outcome", "reprune_last_run_timestamp_seconds"}


def test_drift_of_hundreds_of_inputs_stays_bounded_and_keeps_the_most_surprising():
    tests = [DriftMetrics(name=f"x{i}", statistic=1, threshold=1, adjusted_p_value=1 - i / 500) for i in range(500)]
    found = samples(text_of(RunMetrics(workload="digits", outcome="promoted", ended=1.0, drift=tests)))
    published = {dict(labels)["test"] for name, labels in found if name == "reprune_drift_p_value"}
    assert len(published) == metrics.DRIFT_TESTS
    assert "x499" in published


@needs_promtool
def test_promtool_finds_nothing_to_object_to():
    checked = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=text_of(run_metrics()), capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_textfile_is_replaced_whole_and_readable_by_others(tmp_path):
    path = tmp_path / "collector" / "digits.prom"
    said = publish(run_metrics().registry(), "digits", textfile=path)
    assert said == f"written to {path}"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_run_keeps_the_time_of_the_last_success_in_the_textfile(tmp_path):
    path = tmp_path / "digits.prom"
    publish(run_metrics(ended=100.0).registry(), "digits", textfile=path)
    publish(run_metrics("failed", ended=200.0).registry(), "digits", textfile=path)
    found = samples(path.read_text())
    assert found["reprune_last_success_timestamp_seconds", ()] == 100
    assert found["reprune_last_run_timestamp_seconds", ()] == 200


def test_a_pushgateway_that_does_not_answer_is_a_warning_and_the_textfile_is_written(tmp_path, caplog):
    path = tmp_path / "digits.prom"
    said = publish(run_metrics().registry(), "digits", pushgateway=f"127.0.0.1:{free_port()}", textfile=path)
    assert said == f"written to {path}"
    assert "does not take the metrics" in caplog.text
    assert samples(path.read_text())["reprune_run_outcome", (("outcome", "promoted"),)] == 1


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def gateway(tmp_path):
    address = f"127.0.0.1:{free_port()}"
    options = [f"--web.listen-address={address}", f"--persistence.file={tmp_path / 'pushed'}"]  # Debian's is for all
    process = subprocess.Popen([PUSHGATEWAY, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://{address}/-/ready", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        else:
            pytest.fail("the Pushgateway did not become ready")
        yield address
    finally:
        process.terminate()
        process.wait(timeout=10)


def shown(gateway, present="", absent="\0"):
    """Return what the Pushgateway shows, once that is what it was told: it works through a queue."""
    for _ in range(100):
        with urllib.request.urlopen(f"http://{gateway}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        if present in text and absent not in text:
            break
        time.sleep(0.1)
    return text


@needs_pushgateway
def test_a_real_pushgateway_takes_one_group_a_workload(gateway):
    assert publish(run_metrics(ended=100.0).registry(), "digits", pushgateway=gateway) == f"pushed to {gateway}"
    publish(run_metrics("failed", ended=200.0).registry(), "digits", pushgateway=gateway)
    text = shown(gateway, 'outcome="failed",workload="digits"} 1')
    found = samples(text)
    assert found["reprune_run_outcome", (("outcome", "failed"),)] == 1
    assert found["reprune_run_outcome", (("outcome", "promoted"),)] == 0
    assert found["reprune_last_success_timestamp_seconds", ()] == 100
    assert found["reprune_last_run_timestamp_seconds", ()] == 200
    assert 'job="reprune"' in text and 'workload="digits"' in text


@needs_pushgateway
def test_a_workload_that_is_retired_is_forgotten_and_the_others_stay(gateway):
    publish(run_metrics().registry(), "digits", pushgateway=gateway)
    publish(run_metrics().registry(), "other", pushgateway=gateway)
    for _ in range(2):
        result = CliRunner().invoke(app, ["retire", "digits", "--pushgateway", gateway])
        assert result.exit_code == 0, result.output
    assert 'workload="other"' in shown(gateway, absent="digits")


def test_a_pushgateway_that_does_not_answer_forgets_nothing_and_says_so():
    with pytest.raises(InputError, match="does not delete the metrics of digits"):
        metrics.retract("digits", pushgateway=f"127.0.0.1:{free_port()}")
