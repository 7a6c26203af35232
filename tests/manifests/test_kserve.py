"""`reprune deploy`: InferenceServices in both dialects, held to KServe's definition, and put back where they fail."""

import copy
import json
import threading
from pathlib import Path

import jsonschema
import pytest
import yaml

from reprune.errors import ClusterError, InputError
from reprune.pipelines import kserve

CRD = yaml.safe_load((Path(__file__).parent / "crds" / "inferenceservices.yaml").read_text())
SCHEMA = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
ONE, TWO, THREE = ("1" * 64, "2" * 64, "3" * 64)


def uri(version):
    return f"s3://models/reprune/registry/digits/versions/{version}/files"


def merged(there, patch):
    """JSON merge patch, RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    done = dict(there) if isinstance(there, dict) else {}
    for key, value in patch.items():
        if value is None:
            done.pop(key, None)
        else:
            done[key] = merged(done.get(key), value)
    return done


class Cluster:
    """InferenceServices in memory, whose controller is ready at once, or fails for some versions."""

    dry_run = False

    def __init__(self):
        self.held, self.patches, self.broken = {}, 0, set()

    def get(self, name):
        return copy.deepcopy(self.held.get(name))

    def create(self, body):
        self._keep(body | {"metadata": body["metadata"] | {"generation": 1}})

    def patch(self, name, what, spec):
        self.patches += 1
        there = self.held[name]
        generation = there["metadata"]["generation"] + 1
        new = {"metadata": there["metadata"] | {"generation": generation}, "spec": merged(there["spec"], spec)}
        self._keep(there | new)

    def _keep(self, body):
        jsonschema.Draft202012Validator(SCHEMA).validate(body)
        served = json.dumps(body["spec"])
        fails = any(uri(version) in served for version in self.broken)
        status = {"observedGeneration": body["metadata"]["generation"], "conditions": []}
        if fails:
            failure = {"reason": "ModelLoadFailed", "message": "no such object"}
            status["modelStatus"] = {"transitionStatus": "BlockedByFailedLoad", "lastFailureInfo": failure}
        else:
            status["conditions"] = [{"type": "Ready", "status": "True"}]
        self.held[body["metadata"]["name"]] = body | {"status": status}


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.setattr(kserve, "POLL_SECONDS", 0.01)
    return Cluster()


def deploy(cluster, version, **options):
    return kserve.deploy(cluster, "digits", uri(version), version, timeout=5, **options)


def spec(cluster):
    return cluster.held["digits"]["spec"]


@pytest.mark.parametrize("mode", ["Standard", "Knative"])
def test_the_first_is_created_the_next_patched_and_the_same_left_alone(cluster, mode):
    assert deploy(cluster, ONE, mode=mode, account="reader", runtime="mine")
    assert spec(cluster)["predictor"]["serviceAccountName"] == "reader"
    assert spec(cluster)["predictor"]["model"]["runtime"] == "mine"
    assert deploy(cluster, TWO)
    assert spec(cluster)["predictor"]["model"]["storageUri"] == uri(TWO)
    assert spec(cluster)["predictor"]["model"]["runtime"] == "mine", "what others set stays"
    patches = cluster.patches
    assert not deploy(cluster, TWO)
    assert cluster.patches == patches


def test_a_canary_of_knative_is_a_share_of_the_newest_revision(cluster):
    deploy(cluster, ONE, mode="Knative")
    deploy(cluster, TWO, canary=10)
    assert spec(cluster)["predictor"]["canaryTrafficPercent"] == 10
    assert spec(cluster)["predictor"]["model"]["storageUri"] == uri(TWO)
    assert "canary" not in spec(cluster), "refused outside Standard mode"
    deploy(cluster, TWO)
    assert "canaryTrafficPercent" not in spec(cluster)["predictor"]


def test_a_canary_of_standard_stands_beside_and_takes_over_under_its_own_name(cluster):
    deploy(cluster, ONE)
    deploy(cluster, TWO, canary=10)
    assert spec(cluster)["predictor"]["model"]["storageUri"] == uri(ONE)
    (canary,) = spec(cluster)["canary"]
    assert canary["trafficPercent"] == 10
    assert canary["predictor"]["model"]["storageUri"] == uri(TWO)
    assert canary["predictor"]["name"] != spec(cluster)["predictor"]["name"]
    assert "canaryTrafficPercent" not in json.dumps(spec(cluster)), "ignored in Standard mode"
    deploy(cluster, TWO)
    assert "canary" not in spec(cluster)
    assert spec(cluster)["predictor"]["name"] == canary["predictor"]["name"], "its pods are taken over"


def test_a_rollback_ends_a_canary(cluster):
    deploy(cluster, ONE)
    before = copy.deepcopy(spec(cluster))
    deploy(cluster, TWO, canary=10)
    deploy(cluster, ONE)
    assert spec(cluster) == before


@pytest.mark.parametrize("mode", ["Standard", "Knative"])
@pytest.mark.parametrize("canary", [None, 10])
def test_what_does_not_load_is_put_back_as_it_was(cluster, mode, canary):
    deploy(cluster, ONE, mode=mode)
    deploy(cluster, TWO, canary=20)
    before = copy.deepcopy(spec(cluster))
    cluster.broken = {THREE}
    with pytest.raises(ClusterError, match="ModelLoadFailed: no such object.*put back"):
        deploy(cluster, THREE, canary=canary)
    assert spec(cluster) == before


def test_one_that_is_never_ready_is_put_back_when_its_time_is_over(cluster, monkeypatch):
    deploy(cluster, ONE)
    before = copy.deepcopy(spec(cluster))
    ready, keep = cluster._keep, []

    def never(body):
        ready(body)
        if uri(TWO) in json.dumps(body["spec"]):
            cluster.held["digits"]["status"]["conditions"] = keep

    monkeypatch.setattr(cluster, "_keep", never)
    with pytest.raises(ClusterError, match="not ready after 0 s"):
        kserve.deploy(cluster, "digits", uri(TWO), TWO, timeout=0.1)
    assert spec(cluster) == before


def test_a_status_of_before_the_change_counts_for_nothing(cluster):
    deploy(cluster, ONE)
    service = cluster.get("digits")
    service["metadata"]["generation"] += 1
    assert kserve._state(service) == (False, "")


def test_a_canary_needs_something_to_stand_beside(cluster):
    with pytest.raises(InputError, match="no digits for a canary"):
        deploy(cluster, ONE, canary=10)


def test_another_mode_is_refused(cluster):
    deploy(cluster, ONE)
    cluster.held["digits"]["metadata"]["annotations"][kserve.MODE] = "ModelMesh"
    with pytest.raises(InputError, match="ModelMesh"):
        deploy(cluster, TWO)


def test_no_cluster_is_said_so(monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ClusterError, match="no cluster to speak to"):
        kserve.inference_services("default")


def test_an_api_that_cannot_be_reached_is_said_so(monkeypatch, tmp_path):
    config = tmp_path / "kubeconfig"
    monkeypatch.setenv("KUBECONFIG", str(config))
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    user = {"name": "u", "user": {"token": "t"}}
    config.write_text(
        yaml.safe_dump({"clusters": [cluster], "contexts": [context], "users": [user], "current-context": "x"})
    )
    with pytest.raises(ClusterError, match="Kubernetes API cannot be reached"):
        kserve.inference_services("default").get("digits")


def test_on_a_real_api_server(kubectl, monkeypatch):
    """The server keeps the objects and their versions; a thread stands in for KServe's controller."""
    monkeypatch.setattr(kserve, "POLL_SECONDS", 0.1)
    kubectl("delete", "inferenceservices", "--all", "-n", "reprune")
    told = []
    services = kserve.inference_services("reprune", tell=told.append)
    dry = kserve.inference_services("reprune", dry_run=True, tell=told.append)
    stop = threading.Event()

    def controller():
        while not stop.wait(0.05):
            found = services.get("digits")
            if not found or found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"]:
                continue
            ready = {"type": "Ready", "status": "False" if uri(THREE) in json.dumps(found["spec"]) else "True"}
            status = {"observedGeneration": found["metadata"]["generation"], "conditions": [ready]}
            if ready["status"] == "False":
                status["modelStatus"] = {"transitionStatus": "InvalidSpec", "states": {}}
            else:
                status["modelStatus"] = {"transitionStatus": "UpToDate"}
            at = services.at | {"name": "digits"}
            try:
                services.api.patch_namespaced_custom_object_status(**at, body={"status": status})
            except Exception:  # it changed meanwhile
                continue

    thread = threading.Thread(target=controller)
    thread.start()
    try:
        assert kserve.deploy(dry, "digits", uri(ONE), ONE)
        assert services.get("digits") is None
        assert told == ["would create digits"]
        deploy(services, ONE)
        deploy(services, TWO, canary=10)
        before = services.get("digits")["spec"]
        assert before["canary"][0]["trafficPercent"] == 10
        with pytest.raises(ClusterError, match="put back"):
            deploy(services, THREE)
        assert services.get("digits")["spec"] == before
        deploy(services, TWO)
        assert "canary" not in services.get("digits")["spec"]
    finally:
        stop.set()
        thread.join()
        kubectl("delete", "inferenceservices", "--all", "-n", "reprune")
