"""What the steps ask of a cluster, as it stands in the compiled pipeline."""

import pytest
import yaml

from reprune.config import loading
from reprune.config.cluster import STEPS
from reprune.errors import InputError
from reprune.pipelines.compiling import compile_pipeline

CLUSTER = {
    "secrets": {"reprune-store": ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]},
    "environment": {"AWS_ENDPOINT_URL_S3": "https://s3.example"},
    "certificates": "private-ca",
    "pull_secrets": ["registry"],
    "labels": {"team": "vision"},
    "deadline": "6h",
    "steps": {
        "train": {
            "cpu": 8,
            "memory": "32Gi",
            "accelerator": {"count": 2},
            "tolerations": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}],
            "image": "registry.example/mine@sha256:" + "1" * 64,
        },
        "prune": {"storage_class": "fast", "scratch": "100Gi", "retries": 0},
        "benchmark": {"node_selector": {"pool": "serving"}},
    },
    "targets": {"cpu-4-threads-batch-32": {"node_selector": {"node.kubernetes.io/instance-type": "c7i.xlarge"}}},
}


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    path = tmp_path_factory.mktemp("needs") / "pipeline.yaml"
    two = [{"batch_size": 32}, {"batch_size": 32, "threads": 4}]
    chosen = loading.load("digits").replace(target=two, cluster=CLUSTER)
    compile_pipeline(chosen, path, store="s3://models/reprune")
    return list(yaml.safe_load_all(path.read_text()))


@pytest.fixture(scope="module")
def containers(documents):
    executors = documents[0]["deploymentSpec"]["executors"]
    return {name.removeprefix("exec-"): executor["container"] for name, executor in executors.items()}


@pytest.fixture(scope="module")
def pods(documents):
    executors = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return {name.removeprefix("exec-"): executor for name, executor in executors.items()}


@pytest.fixture(scope="module")
def of_a_log(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "pipeline.yaml"
    compile_pipeline(loading.load("digits"), path, store="s3://models/reprune", log="s3://logs/digits", shards=2)
    return next(iter(yaml.safe_load_all(path.read_text())))["deploymentSpec"]["executors"]


def environment(container):
    return {item["name"]: item["value"] for item in container["env"]}


def test_every_step_of_the_pipelines_is_one_that_the_section_can_name(containers, of_a_log):
    names = {name.removesuffix("-2").replace("-", "_") for name in containers}
    assert names | {name.removeprefix("exec-").replace("-", "_") for name in of_a_log} == set(STEPS)


def test_a_step_gets_what_the_workload_asks_for_and_its_defaults_for_the_rest(containers, pods):
    assert containers["train"]["resources"]["resourceCpuLimit"] == "8"
    assert containers["train"]["resources"]["resourceMemoryRequest"] == "32Gi"
    assert containers["train"]["resources"]["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert containers["train"]["resources"]["accelerator"]["resourceCount"] == "2"
    assert environment(containers["train"])["OMP_NUM_THREADS"] == "8"
    assert pods["train"]["activeDeadlineSeconds"] == "86400", "not named, so it is the step's own"
    assert pods["train"]["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert containers["gate"]["resources"]["resourceMemoryLimit"] == "4Gi"


def test_each_target_is_measured_in_its_own_place_with_a_core_to_spare(containers, pods):
    assert pods["benchmark"]["nodeSelector"]["labels"] == {"pool": "serving"}
    assert pods["benchmark-2"]["nodeSelector"]["labels"] == {"node.kubernetes.io/instance-type": "c7i.xlarge"}
    assert pods["profile-hardware-2"]["nodeSelector"] == pods["benchmark-2"]["nodeSelector"]
    assert "nodeSelector" not in pods["profile-hardware"]
    assert containers["benchmark"]["resources"]["resourceCpuLimit"] == "2"
    assert containers["benchmark-2"]["resources"]["resourceCpuLimit"] == "5"


def test_the_image_of_one_step_can_be_another_one(containers):
    assert containers["train"]["image"].startswith("registry.example/mine@sha256:")
    assert containers["gate"]["image"].startswith("reprune-train:")


def test_every_step_sees_the_secrets_by_reference_and_the_endpoint_and_the_private_ca(containers, pods):
    for name, pod in pods.items():
        (secret,) = pod["secretAsEnv"]
        assert secret["secretName"] == "reprune-store"
        assert [it["envVar"] for it in secret["keyToEnv"]] == ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
        assert environment(containers[name])["AWS_ENDPOINT_URL_S3"] == "https://s3.example"
        assert environment(containers[name])["AWS_CA_BUNDLE"] == "/etc/reprune/certificates/ca.crt"
        assert pod["configMapAsVolume"][0]["mountPath"] == "/etc/reprune/certificates"
        assert [it["secretName"] for it in pod["imagePullSecret"]] == ["registry"]


def test_every_pod_can_be_found_by_its_labels_and_is_not_root(pods):
    for name, pod in pods.items():
        labels = pod["podMetadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "reprune"
        assert name.startswith(labels["app.kubernetes.io/component"])
        assert labels["reprune.dev/workload"] == "digits"
        assert labels["team"] == "vision"
        assert pod["securityContext"]["runAsNonRoot"] is True


def test_scratch_is_the_node_s_disk_or_a_volume_of_its_own(pods):
    assert pods["train"]["emptyDirMounts"] == [{"volumeName": "scratch", "mountPath": "/tmp", "sizeLimit": "10Gi"}]
    (volume,) = pods["prune"]["genericEphemeralVolume"]
    assert (volume["mountPath"], volume["size"], volume["storageClassName"]) == ("/tmp", "100Gi", "fast")


def test_steps_are_tried_again_with_growing_waits_unless_told_not_to(documents):
    components = documents[0]["components"]
    tasks = {name: task for it in components.values() if "dag" in it for name, task in it["dag"]["tasks"].items()}
    assert tasks["train"]["retryPolicy"] == {
        "maxRetryCount": 2,
        "backoffDuration": "30s",
        "backoffFactor": 2.0,
        "backoffMaxDuration": "3600s",
    }
    assert "retryPolicy" not in tasks["prune"]


def test_a_run_ends_at_its_deadline_even_when_it_waits_for_a_node_that_does_not_exist(documents):
    config = documents[1]["platforms"]["kubernetes"]["pipelineConfig"]
    assert config["activeDeadlineSeconds"] == 6 * 3600


def test_a_target_that_needs_an_accelerator_and_asks_for_none_is_refused(tmp_path):
    cuda = loading.load("digits").replace(target={"provider": "CUDAExecutionProvider"})
    with pytest.raises(InputError, match="asks for no accelerator") as error:
        compile_pipeline(cuda, tmp_path / "pipeline.yaml", store="reprune-store")
    assert "cuda-1-thread-batch-1" in error.value.remedy
    asked = cuda.replace(cluster={"targets": {"cuda-1-thread-batch-1": {"accelerator": {}}}})
    compile_pipeline(asked, tmp_path / "pipeline.yaml", store="reprune-store")


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"environment": {"AWS_SECRET_ACCESS_KEY": "abc"}}, "cluster.secrets"),
        ({"steps": {"trian": {}}}, "trian"),
        ({"steps": {"train": {"memory": "8 gigs"}}}, "8Gi"),
        ({"steps": {"train": {"timeout": "forever"}}}, "90m or 4h"),
        ({"steps": {"train": {"cpus": 3}}}, "did you mean cpu"),
        ({"targets": {"cpu-9-threads": {}}}, "cpu-1-thread-batch-32"),
        ({"secrets": {"Not A Name": []}}, "reprune-store"),
    ],
)
def test_what_cannot_be_is_refused_with_the_key_and_the_remedy(section, told):
    with pytest.raises(InputError, match=told):
        loading.load("digits").replace(cluster=section)


def test_a_secret_value_is_not_repeated_in_the_message():
    with pytest.raises(InputError) as error:
        loading.load("digits").replace(cluster={"environment": {"AWS_SECRET_ACCESS_KEY": "do-not-tell"}})
    assert "do-not-tell" not in str(error.value)
