"""The alerting rules, by Prometheus's own tests, against the metrics that the code really publishes."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from reprune.metrics import ChampionMetrics, DriftMetrics, Latency, RunMetrics

ROOT = Path(__file__).parents[2]
RULES = ROOT / "monitoring" / "rules" / "reprune.rules.yaml"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="needs promtool (apt-get install prometheus)")


def rules():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


@needs_promtool
@pytest.mark.parametrize(
    "arguments",
    [("check", "rules", str(RULES)), ("test", "rules", str(Path(__file__).with_name("reprune.rules.test.yaml")))],
    ids=["check", "test"],
)
def test_promtool_agrees(arguments):
    ran = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_rule_asks_for_metrics_that_exist():
    full = RunMetrics(
        workload="digits",
        outcome="promoted",
        ended=1.0,
        step_seconds={"train": 1.0},
        champion=ChampionMetrics(
            accuracy=1, parameters=1, sparsity=0, size_bytes=1, latencies=(Latency(target="t", seconds={"p50": 1}),)
        ),
        drift=(DriftMetrics(name="x", statistic=1, threshold=1, adjusted_p_value=1),),
        checks={"quality": "pass"},
    )
    published = {metric.name for metric in full.registry().collect()}
    asked = {name for rule in rules() for name in re.findall(r"\breprune_\w+", rule["expr"])}
    assert asked
    assert asked <= published


def test_every_alert_has_a_runbook_that_exists():
    headings = set(re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbooks.md").read_text(), flags=re.MULTILINE))
    for rule in rules():
        page, anchor = rule["annotations"]["runbook"].split("#")
        assert page == "docs/runbooks.md"
        assert anchor in {heading.lower() for heading in headings}
