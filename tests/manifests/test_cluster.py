"""The manifests on a real API server."""

import base64
import json
import os
import threading
import time
from pathlib import Path

import pytest
import yaml

from reprune.config import loading
from reprune.errors import ClusterError
from reprune.pipelines.compiling import compile_resources
from reprune.steps import kubeflow_trainjob
from reprune.steps.context import Step
from reprune.steps.kubernetes import CustomObjects

MONITOR = "system:serviceaccount:reprune:reprune-monitor"


@pytest.mark.parametrize("name", ["production", "local"])
def test_the_server_takes_every_object(kubectl, for_this_server, request, name):
    objects = for_this_server(request.getfixturevalue(name))
    said = kubectl("apply", "--server-side", "--dry-run=server", "--validate=true", objects=objects).stdout
    assert len(said.splitlines()) == len(objects)


def test_the_server_takes_the_pipeline_as_resources(kubectl, tmp_path):
    file = tmp_path / "pipeline.yaml"
    compile_resources(loading.load("digits"), file, store="s3://models/reprune", namespace="kubeflow")
    objects = list(yaml.safe_load_all(file.read_text()))
    kubectl("apply", "--server-side", "--dry-run=server", "--validate=true", objects=objects)


@pytest.fixture(scope="module")
def may(kubectl, production):
    """Ask whether the monitor may do a thing, by the review that Kubeflow Pipelines itself asks for."""
    kubectl("apply", objects=[it for it in production if it["kind"] in ("Role", "RoleBinding", "ServiceAccount")])

    def ask(verb, resource, group, namespace="kubeflow"):
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": MONITOR,
                "groups": ["system:serviceaccounts", "system:serviceaccounts:reprune", "system:authenticated"],
                "resourceAttributes": {"verb": verb, "group": group, "resource": resource, "namespace": namespace},
            },
        }
        return json.loads(kubectl("create", "-o", "json", objects=[review]).stdout)["status"]["allowed"]

    return ask


PIPELINES = "pipelines.kubeflow.org"


@pytest.mark.parametrize(
    ("verb", "resource"),
    [("create", "runs"), ("get", "runs"), ("list", "runs"), ("get", "pipelines"), ("get", "experiments")],
)
def test_the_monitor_may_start_runs(may, verb, resource):
    assert may(verb, resource, PIPELINES)


@pytest.mark.parametrize(
    ("verb", "resource", "group", "namespace"),
    [
        ("delete", "runs", PIPELINES, "kubeflow"),
        ("terminate", "runs", PIPELINES, "kubeflow"),
        ("create", "pipelines", PIPELINES, "kubeflow"),
        ("create", "jobs", PIPELINES, "kubeflow"),
        ("create", "runs", PIPELINES, "default"),
        ("get", "secrets", "", "kubeflow"),
        ("get", "secrets", "", "reprune"),
        ("list", "pods", "", "reprune"),
        ("create", "pods", "", "kubeflow"),
        ("create", "workflows", "argoproj.io", "kubeflow"),
        ("patch", "inferenceservices", "serving.kserve.io", "kubeflow"),
        ("*", "*", "*", "reprune"),
    ],
)
def test_the_monitor_may_do_nothing_else(may, verb, resource, group, namespace):
    assert not may(verb, resource, group, namespace)


def test_a_train_job_is_taken_followed_and_deleted(kubectl, monkeypatch, tmp_path):
    monkeypatch.setattr(kubeflow_trainjob, "POLL_SECONDS", 0.1)
    monkeypatch.setenv(kubeflow_trainjob.IMAGE, "registry.example/train@sha256:" + "1" * 64)
    section = {"train_job": {"nodes": 2}, "secrets": {"reprune-store": ["AWS_ACCESS_KEY_ID"]}}
    loaded = loading.load("digits").replace(cluster=section)
    step = Step("train", workload=loaded.model_dump_json(), store=str(tmp_path), run="run-1")
    training = kubeflow_trainjob.Training(key="a" * 64, epochs=1, learning_rate=0.1)
    at = (kubeflow_trainjob.GROUP, kubeflow_trainjob.VERSION, kubeflow_trainjob.PLURAL, "kubeflow")
    jobs = CustomObjects(*at)
    name = "reprune-digits-aaaaaaaaaa"
    jobs.delete(name)
    CustomObjects(*at, dry_run=True).create(kubeflow_trainjob.body(step, name, training))
    assert jobs.get(name) is None
    condition = {
        "reason": "Because",
        "message": "it is so",
        "status": "True",
        "lastTransitionTime": "2026-11-21T00:00:00Z",
    }

    def end(kind):
        status = {"conditions": [condition | {"type": kind}]}
        jobs.api.patch_namespaced_custom_object_status(**jobs.at, name=name, body={"status": status})

    def trainer():
        while not jobs.get(name):
            time.sleep(0.05)
        end("Complete")

    thread = threading.Thread(target=trainer)
    thread.start()
    kubeflow_trainjob.train_elsewhere(step, training, jobs)
    thread.join()
    jobs.delete(name)


@pytest.mark.parametrize(("user", "told"), [({"token": "expired"}, "401"), ({"as": MONITOR}, "403")])
def test_a_refusal_of_the_server_says_what_to_do(kubectl, monkeypatch, tmp_path, user, told):
    config = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    if "as" in user:
        token = kubectl("get", "secrets", "-n", "reprune", "-o", "json").stdout
        mine = [it for it in json.loads(token)["items"] if it["metadata"]["name"].startswith("reprune-monitor-token")]
        if not mine:
            pytest.skip("this server makes no tokens for service accounts by itself")
        user = {"token": base64.b64decode(mine[0]["data"]["token"]).decode()}
    config["users"] = [it | {"user": user} for it in config["users"]]
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(file))
    with pytest.raises(ClusterError, match=told):
        CustomObjects("serving.kserve.io", "v1beta1", "inferenceservices", "kubeflow").get("digits")
