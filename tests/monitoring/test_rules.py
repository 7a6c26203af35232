"""Rules and configurations, by Prometheus's own tools, against the metrics that the code really exports."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest

from reprune.monitoring.webhook import ACTION
from tests.monitoring import exported

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "monitoring"
RULES = MONITORING / "rules" / "reprune.rules.yaml"
ALERTMANAGER = MONITORING / "alertmanager" / "alertmanager.yml"
TESTS = sorted(Path(__file__).parent.glob("*.rules.test.yaml"))
PROMTOOL, AMTOOL = shutil.which("promtool"), shutil.which("amtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="needs promtool (apt-get install prometheus)")


def rules():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alerts():
    return [rule for rule in rules() if "alert" in rule]


def ran(*arguments):
    return subprocess.run([str(it) for it in arguments], capture_output=True, text=True, check=False, cwd=MONITORING)


@needs_promtool
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", RULES),
        ("check", "config", "--syntax-only", MONITORING / "prometheus" / "prometheus.yml"),
        *(("test", "rules", test) for test in TESTS),
    ],
    ids=["rules", "config", *(test.name.split(".")[0] + "." + test.name.split(".")[1] for test in TESTS)],
)
def test_promtool_agrees(arguments):
    done = ran(PROMTOOL, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_promtool_finds_nothing_to_object_to_in_what_a_monitor_exports():
    text = generate_latest(exported.monitor_registry()).decode()
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(AMTOOL is None, reason="needs amtool (apt-get install prometheus-alertmanager)")
def test_amtool_agrees_and_an_alert_with_an_action_goes_to_the_monitor_and_to_people():
    assert ran(AMTOOL, "check-config", ALERTMANAGER).returncode == 0
    for labels, receivers in ((f"action={ACTION}", "reprune-monitor,people"), ("severity=info", "people")):
        routed = ran(AMTOOL, "config", "routes", "test", f"--config.file={ALERTMANAGER}", labels)
        assert routed.stdout.strip() == receivers, routed


def test_every_rule_is_tested():
    cases = [case for file in TESTS for case in yaml.safe_load(file.read_text())["tests"]]
    fired = {it["alertname"] for case in cases for it in case.get("alert_rule_test", ()) if it.get("exp_alerts")}
    quiet = {it["alertname"] for case in cases for it in case.get("alert_rule_test", ()) if not it.get("exp_alerts")}
    recorded = {it["expr"] for case in cases for it in case.get("promql_expr_test", ())}
    assert {rule["alert"] for rule in alerts()} == fired == quiet
    assert {rule["record"] for rule in rules() if "record" in rule} == recorded


def test_every_rule_asks_for_metrics_and_labels_that_exist():
    known, recorded = exported.samples(), {rule["record"] for rule in rules() if "record" in rule}
    for rule in rules():
        names = set(re.findall(r"[\w:]*\breprune_\w[\w:]*", rule["expr"]))
        assert names and names <= known.keys() | recorded, names - known.keys() - recorded
        for name, label, operator, value in re.findall(r'(reprune_\w+)\{(\w+)(=~?|!=)"([^"]*)"', rule["expr"]):
            if label == "job":
                continue
            assert operator != "!=" and set(value.split("|")) <= known[name][label], (name, label, value)


def test_the_monitor_acts_on_the_alert_for_confirmed_drift_alone():
    asking = [rule["alert"] for rule in alerts() if rule["labels"].get("action") == ACTION]
    assert asking == ["RepruneDriftConfirmed"]
    routes = yaml.safe_load(ALERTMANAGER.read_text())["route"]["routes"]
    assert [it["matchers"] for it in routes if it["receiver"] == "reprune-monitor"] == [[f'action="{ACTION}"']]


def test_every_alert_has_a_runbook_that_exists_and_every_runbook_its_alert():
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbooks.md").read_text(), flags=re.MULTILINE)
    named = set()
    for rule in alerts():
        page, anchor = rule["annotations"]["runbook"].split("#")
        assert page == "docs/runbooks.md"
        named.add(anchor)
    assert named == {heading.lower() for heading in headings}
