"""The manifests on a real API server."""

import pytest

MONITOR = "system:serviceaccount:reprune:reprune-monitor"


@pytest.mark.parametrize("name", ["production", "local"])
def test_the_server_takes_every_object(kubectl, for_this_server, request, name):
    objects = for_this_server(request.getfixturevalue(name))
    said = kubectl("apply", "--server-side", "--dry-run=server", "--validate=true", objects=objects).stdout
    assert len(said.splitlines()) == len(objects)


def test_the_server_takes_the_pipeline_as_resources(kubectl, tmp_path):
    import yaml

    from reprune import workload
    from reprune.pipelines.compiling import compile_resources

    file = tmp_path / "pipeline.yaml"
    compile_resources(workload.load("digits"), file, store="s3://models/reprune", namespace="kubeflow")
    objects = list(yaml.safe_load_all(file.read_text()))
    kubectl("apply", "--server-side", "--dry-run=server", "--validate=true", objects=objects)


@pytest.fixture(scope="module")
def may(kubectl, production):
    kubectl("apply", objects=[it for it in production if it["kind"] in ("Role", "RoleBinding", "ServiceAccount")])

    def ask(verb, resource, namespace="kubeflow"):
        arguments = ("auth", "can-i", verb, resource, "--as", MONITOR, "-n", namespace)
        return kubectl(*arguments, check=False).stdout.strip() == "yes"

    return ask


GROUP = "pipelines.kubeflow.org"


@pytest.mark.parametrize(
    ("verb", "resource"),
    [("create", "runs"), ("get", "runs"), ("list", "runs"), ("get", "pipelines"), ("get", "experiments")],
)
def test_the_monitor_may_start_runs(may, verb, resource):
    assert may(verb, f"{resource}.{GROUP}")


@pytest.mark.parametrize(
    ("verb", "resource", "namespace"),
    [
        ("delete", f"runs.{GROUP}", "kubeflow"),
        ("terminate", f"runs.{GROUP}", "kubeflow"),
        ("create", f"pipelines.{GROUP}", "kubeflow"),
        ("create", f"jobs.{GROUP}", "kubeflow"),
        ("create", f"runs.{GROUP}", "default"),
        ("get", "secrets", "kubeflow"),
        ("get", "secrets", "reprune"),
        ("get", "pods", "reprune"),
        ("create", "pods", "kubeflow"),
        ("create", "workflows.argoproj.io", "kubeflow"),
        ("patch", "inferenceservices.serving.kserve.io", "kubeflow"),
        ("*", "*", "reprune"),
    ],
)
def test_the_monitor_may_do_nothing_else(may, verb, resource, namespace):
    assert not may(verb, resource, namespace)
