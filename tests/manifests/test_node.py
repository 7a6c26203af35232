"""The monitor on a real node: rolled out, scraped, killed, drained.

The node must have the image ``localhost/reprune-monitor:dev``, and reach this machine at REPRUNE_TEST_HOST, where the
test starts an S3 server.
"""

import json
import os
import secrets
import subprocess
import sys
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from reprune.storage.uri import open_store
from tests.conftest import free_port
from tests.monitoring import production

pytestmark = pytest.mark.slow

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test-secret"}
METRICS = "/api/v1/namespaces/reprune/services/reprune-monitor:http/proxy/metrics"
WORKLOAD = f"name: {production.NAME}\nmodel: nowhere:build\ndata: nowhere:load\n"


def eventually(ask, seconds=300):
    """Ask until the answer is a yes, and return it."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(1)
    return answer


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A champion and a window of its production data, on an S3 server that pods reach."""
    host = os.environ.get("REPRUNE_TEST_HOST")
    if not host:
        pytest.skip("REPRUNE_TEST_HOST does not say where pods reach this machine")
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "0.0.0.0", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    before = dict(os.environ)
    os.environ.update(KEYS, AWS_REGION="us-east-1")
    try:
        import boto3

        url = f"http://{host}:{port}"
        client = boto3.client("s3", endpoint_url=url)
        eventually(lambda: _made(client))
        opened = open_store("s3://models/reprune", endpoint_url=url)
        production.promote(opened, tmp_path_factory.mktemp("champion"))
        production.log_window(opened, "first", shift=3.0)
        opened.url = url
        yield opened
    finally:
        server.kill()
        os.environ.clear()
        os.environ.update(before)


def _made(client):
    try:
        client.create_bucket(Bucket="models")
    except Exception:  # not up yet
        return False
    return True


@pytest.fixture(scope="module")
def monitor(kubectl, for_this_server, overlay, store):
    """Install the local overlay, with that store and without its own S3 server; a call tells of its one pod."""
    objects = overlay("local", AWS_ENDPOINT_URL_S3=store.url, REPRUNE_WORKLOAD="/etc/reprune/workload.yaml")
    objects = [it for it in objects if it["metadata"]["name"] != "s3"]
    for name, data in (("reprune-store", KEYS), ("reprune-monitor", {"token": secrets.token_hex(32)})):
        objects.append(_object("Secret", name, stringData=data))
    objects.append(_object("ConfigMap", "reprune-workload", data={"workload.yaml": WORKLOAD}))
    for it in objects:  # the monitor looks once a minute otherwise
        if it["kind"] == "Deployment":
            it["spec"]["template"]["spec"]["containers"][0]["args"] += ["--interval", "1"]
    kubectl("delete", "deployment", "reprune-monitor", "-n", "reprune", "--ignore-not-found")
    kubectl("apply", objects=for_this_server(objects))
    kubectl("rollout", "status", "deployment/reprune-monitor", "-n", "reprune", "--timeout=400s")

    def pod():
        found = json.loads(kubectl("get", "pods", "-n", "reprune", "-o", "json").stdout)["items"]
        mine = [it for it in found if it["metadata"]["labels"].get("app.kubernetes.io/component") == "monitor"]
        ready = [it for it in mine if "deletionTimestamp" not in it["metadata"] and _is_ready(it)]
        return ready[0] if len(ready) == 1 else None

    yield pod
    kubectl("delete", "deployment", "reprune-monitor", "-n", "reprune", "--ignore-not-found")


def _object(kind, name, **rest):
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "reprune"}, **rest}


def _is_ready(pod):
    conditions = {it["type"]: it["status"] for it in pod["status"].get("conditions", ())}
    return conditions.get("Ready") == "True"


def drift_windows(kubectl):
    """Scrape the monitor through its Service, and return how many windows it has found to drift."""
    scraped = kubectl("get", "--raw", METRICS, check=False)
    for family in text_string_to_metric_families(scraped.stdout if scraped.returncode == 0 else ""):
        for sample in family.samples:
            if sample.name == "reprune_monitor_windows_total" and sample.labels["verdict"] == "drift":
                return sample.value
    return None


def test_it_is_scraped_and_has_judged_the_window(kubectl, monitor):
    assert eventually(lambda: drift_windows(kubectl)) == 1


def test_it_runs_as_a_user_with_a_root_that_nobody_can_write(kubectl, monitor):
    name = eventually(monitor)["metadata"]["name"]
    script = "import os; print(os.getuid()); open('/tmp/room', 'w'); open('/opt/reprune/room', 'w')"
    done = kubectl("exec", "-n", "reprune", name, "--", "python3", "-c", script, check=False)
    assert done.stdout.strip() == "65532"
    assert "Read-only file system: '/opt/reprune/room'" in done.stderr


def test_killed_it_comes_back_and_remembers(kubectl, monitor):
    before = eventually(monitor)["metadata"]["uid"]
    kubectl(
        "delete", "pod", "-n", "reprune", "-l", "app.kubernetes.io/component=monitor", "--grace-period=0", "--force"
    )
    eventually(lambda: (pod := monitor()) and pod["metadata"]["uid"] != before)
    assert eventually(lambda: drift_windows(kubectl)) == 1, "the window of before, not judged a second time"


def test_a_drained_node_ends_it_with_sigterm_and_it_comes_back(kubectl, monitor, store):
    pod = eventually(monitor)
    follow = ["kubectl", "logs", "-f", "-n", "reprune", pod["metadata"]["name"]]
    log = subprocess.Popen(follow, stdout=subprocess.PIPE, text=True)
    node = pod["spec"]["nodeName"]
    mine = "app.kubernetes.io/name=reprune"
    try:
        kubectl("drain", node, f"--pod-selector={mine}", "--delete-emptydir-data", "--timeout=120s")
        told, _ = log.communicate(timeout=120)
    finally:
        kubectl("uncordon", node)
        log.kill()
    assert "SIGTERM" in told.splitlines()[-1], told
    production.log_window(store, "second", shift=3.0, seed=5)
    eventually(monitor)
    assert eventually(lambda: (drift_windows(kubectl) or 0) > 1)


def test_a_missing_secret_is_named_by_the_cluster(kubectl, monitor):
    kubectl("delete", "secret", "reprune-store", "-n", "reprune")
    try:
        kubectl("rollout", "restart", "deployment/reprune-monitor", "-n", "reprune")
        told = eventually(lambda: "reprune-store" in kubectl("get", "events", "-n", "reprune").stdout)
        assert told
    finally:
        kubectl("apply", objects=[_object("Secret", "reprune-store", stringData=KEYS)])
    eventually(monitor)
