"""The manifests on a real API server."""

import json

import pytest
import yaml

from reprune import workload
from reprune.pipelines.compiling import compile_resources

MONITOR = "system:serviceaccount:reprune:reprune-monitor"


@pytest.mark.parametrize("name", ["production", "local"])
def test_the_server_takes_every_object(kubectl, for_this_server, request, name):
    objects = for_this_server(request.getfixturevalue(name))
    said = kubectl("apply", "--server-side", "--dry-run=server", "--validate=true", objects=objects).stdout
    assert len(said.splitlines()) == len(objects)


def test_the_server_takes_the_pipeline_as_resources(kubectl, tmp_path):
    file = tmp_path / "pipeline.yaml"
    compile_resources(workload.load("digits"), file, store="s3://models/reprune", namespace="kubeflow")
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
