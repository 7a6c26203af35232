"""Dashboards: valid by Grafana's own schema, and every query shows something that the code really exports."""

import json
import re
import threading
from contextlib import ExitStack, contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path

import jsonschema
import pytest
import yaml
from prometheus_client import MetricsHandler

from tests.conftest import free_port
from tests.monitoring import exported, production
from tests.monitoring.programs import PROMETHEUS, await_, prometheus

MONITORING = Path(__file__).parents[2] / "monitoring"
DASHBOARDS = sorted((MONITORING / "dashboards").glob("*.json"))
SCHEMA = json.loads(Path(__file__).with_name("grafana-dashboard.schema.json").read_text())
RULES = MONITORING / "rules" / "reprune.rules.yaml"
VARIABLES = {"$workload": ".+", "$__rate_interval": "1m", "$__range_s": "60", "$__range": "1m"}


def queries():
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["expr"]


def recorded():
    return {
        rule["record"] for g in yaml.safe_load(RULES.read_text())["groups"] for rule in g["rules"] if "record" in rule
    }


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_grafana_takes_it(path):
    dashboard = json.loads(path.read_text())
    jsonschema.Draft7Validator(SCHEMA).validate(dashboard)
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + i, place["y"] + j) for i in range(place["w"]) for j in range(place["h"])}
        assert place["x"] + place["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells


def test_each_dashboard_has_an_address_of_its_own():
    uids = [json.loads(path.read_text())["uid"] for path in DASHBOARDS]
    assert len(set(uids)) == len(uids) == 4


def test_every_query_names_what_is_exported():
    known = exported.samples().keys() | recorded()
    for where, expression in queries():
        names = set(re.findall(r"[\w:]*\breprune_\w[\w:]*", expression))
        assert names and names <= known, (where, names - known)


def test_every_metric_is_shown_or_asked_for_by_a_rule():
    asked = " ".join(expression for _, expression in queries()) + RULES.read_text()
    unseen = {name for name in exported.samples() if not re.search(rf"\b{name}\b", asked)}
    assert unseen == set()


@contextmanager
def exporting(registry):
    server = ThreadingHTTPServer(("127.0.0.1", 0), MetricsHandler.factory(registry))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.skipif(PROMETHEUS is None, reason="needs apt-get install prometheus")
def test_every_panel_shows_something_in_a_real_prometheus(tmp_path):
    with ExitStack() as stack:
        jobs = {"reprune-monitor": exported.monitor_registry(), "reprune": exported.run_registry()}
        targets = {job: stack.enter_context(exporting(registry)) for job, registry in jobs.items()}
        config = {
            "global": {"scrape_interval": "300ms", "evaluation_interval": "300ms"},
            "rule_files": [str(RULES)],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in targets.items()
            ],
        }
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
        query = stack.enter_context(prometheus(tmp_path, f"127.0.0.1:{free_port()}"))
        await_("the records", lambda: all(query(name) for name in recorded()))
        await_("a second scrape", lambda: query("increase(reprune_monitor_windows_total[1m])"))
        for where, expression in queries():
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            found = query(expression)
            assert found, (where, expression)
            assert {series["metric"]["workload"] for series in found} == {production.NAME}, where
