"""Training by a TrainJob: what is asked for, how it is followed, and that the step takes up what the job has learnt."""

import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest
import yaml

from reprune.config import loading
from reprune.errors import ClusterError, StepError
from reprune.steps import code_archive, kubeflow_trainjob, train
from reprune.steps.context import Step

CRD = Path(__file__).parents[2] / "manifests" / "crds" / "trainjobs.yaml"
SCHEMA = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
TRAINING = kubeflow_trainjob.Training(key="0123456789abcdef" * 4, epochs=2, learning_rate=0.001)
SECRET = {"reprune-store": {"AWS_ACCESS_KEY_ID": "a key"}}
CLUSTER = {
    "secrets": {"reprune-store": ["AWS_ACCESS_KEY_ID"]},
    "environment": {"AWS_REGION": "eu-west-1"},
    "steps": {"train": {"cpu": 8, "memory": "32Gi", "accelerator": {"count": 2}, "timeout": "6h"}},
    "train_job": {"nodes": 2, "processes": 2},
}


class Jobs:
    """TrainJobs in memory, held to the Trainer's definition; each ends as it is told to."""

    def __init__(self, *ends):
        self.held, self.made, self.deleted, self.ends, self.away = {}, [], [], list(ends), 0

    def get(self, name):
        if self.away:
            self.away -= 1
            raise ClusterError("The Kubernetes API cannot be reached.")
        job = self.held.get(name)
        if job and "status" not in job and self.ends:
            job["status"] = self.condition(self.ends.pop(0))
        return job

    @staticmethod
    def condition(kind):
        now = datetime.now(UTC).isoformat()
        it = {"type": kind, "status": "True", "reason": "Because", "message": "it is so.", "lastTransitionTime": now}
        return {"conditions": [it]}

    def create(self, body):
        jsonschema.Draft202012Validator(SCHEMA).validate(body)
        self.made.append(body)
        self.held[body["metadata"]["name"]] = body

    def delete(self, name):
        self.deleted.append(name)
        del self.held[name]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(kubeflow_trainjob, "POLL_SECONDS", 0.01)
    monkeypatch.setenv(kubeflow_trainjob.IMAGE, "registry.example/train@sha256:" + "1" * 64)


@pytest.fixture
def step(tmp_path):
    return a_step(tmp_path, cluster=CLUSTER)


def a_step(tmp_path, **changes):
    loaded = loading.load("breast-cancer").replace(**changes)
    return Step("train", workload=loaded.model_dump_json(), store=str(tmp_path / "store"), run="run-1")


def test_the_job_asks_for_what_the_workload_says(step):
    jobs = Jobs("Complete")
    kubeflow_trainjob.train_elsewhere(step, TRAINING, jobs)
    (job,) = jobs.made
    trainer = job["spec"]["trainer"]
    assert job["spec"]["runtimeRef"] == {"name": "torch-distributed"}
    assert job["spec"]["activeDeadlineSeconds"] == 6 * 3600
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (2, 2)
    assert trainer["resourcesPerNode"]["limits"] == {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "2"}
    assert trainer["image"].startswith("registry.example/train@sha256:")
    environment = {it["name"]: it for it in trainer["env"]}
    assert environment["AWS_REGION"]["value"] == "eu-west-1"
    reference = {"name": "reprune-store", "key": "AWS_ACCESS_KEY_ID"}
    assert environment["AWS_ACCESS_KEY_ID"]["valueFrom"]["secretKeyRef"] == reference, "by reference, never by value"


def test_code_that_travels_in_the_pipeline_travels_on_to_the_job(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "made_up.py").write_text("def build(): ...\n")
    step = a_step(tmp_path, code=code_archive.pack(folder), cluster=CLUSTER)
    assert Path(step.workload.code).is_dir(), "unpacked for the step itself"
    job = kubeflow_trainjob.body(step, "a-job", TRAINING)
    given = {it["name"]: it.get("value") for it in job["spec"]["trainer"]["env"]}
    again = Step("train", workload=given["REPRUNE_WORKLOAD_JSON"], store=given["REPRUNE_STORE"], run="run-1")
    assert (Path(again.workload.code) / "made_up.py").is_file()
    assert code_archive.PREFIX in given["REPRUNE_WORKLOAD_JSON"]


def test_a_step_that_is_tried_again_follows_the_job_it_made_before(step):
    jobs = Jobs("Complete")
    kubeflow_trainjob.train_elsewhere(step, TRAINING, jobs)
    kubeflow_trainjob.train_elsewhere(step, TRAINING, jobs)
    assert len(jobs.made) == 1


def test_a_job_that_failed_fails_the_step_and_is_made_again_on_the_next_try(step):
    jobs = Jobs("Failed")
    with pytest.raises(StepError, match="failed: Because: it is so"):
        kubeflow_trainjob.train_elsewhere(step, TRAINING, jobs)
    jobs.ends = ["Complete"]
    kubeflow_trainjob.train_elsewhere(step, TRAINING, jobs)
    assert len(jobs.deleted) == 1
    assert len(jobs.made) == 2


def test_an_api_that_is_away_for_a_while_is_waited_for_but_not_for_ever(step, monkeypatch):
    monkeypatch.setattr(kubeflow_trainjob, "PATIENCE", 3)
    jobs = Jobs()
    jobs.create(kubeflow_trainjob.body(step, "a-job", TRAINING))
    jobs.away, jobs.ends = 3, ["Complete"]
    kubeflow_trainjob._follow(jobs, "a-job")
    jobs.away = 10
    with pytest.raises(ClusterError):
        kubeflow_trainjob._follow(jobs, "a-job")


def test_a_job_that_somebody_deleted_is_said_so(step):
    with pytest.raises(StepError, match="was deleted while it ran"):
        kubeflow_trainjob._follow(Jobs(), "a-job")


@pytest.mark.slow
def test_the_job_learns_and_the_step_only_takes_it_up(tmp_path, monkeypatch):
    """The job's own command runs here, in two processes, in the place of the Trainer's nodes."""
    short = {"epochs": 2, "batch_size": 32}
    step = a_step(tmp_path, train=short, cluster={"train_job": {"processes": 2}})
    jobs = Jobs()

    def trainer():
        while not jobs.made:
            stop.wait(0.05)
        (job,) = jobs.made
        spec = job["spec"]["trainer"]
        given = {it["name"]: it["value"] for it in spec["env"]}
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        counts = [f"--nnodes={spec['numNodes']}", f"--nproc-per-node={spec['numProcPerNode']}"]
        environment = os.environ | given | {"OMP_NUM_THREADS": "1"}
        assert spec["command"][0] == "torchrun"
        done = subprocess.run([*launcher, *counts, *spec["command"][1:]], env=environment, capture_output=True)
        log.append(done.stderr.decode())
        jobs.ends.append("Failed" if done.returncode else "Complete")

    stop, log = threading.Event(), []
    monkeypatch.setattr(kubeflow_trainjob, "_jobs_here", lambda: jobs)
    thread = threading.Thread(target=trainer)
    thread.start()
    try:
        history = train._train(step, _model(), {}, epochs=2, learning_rate=0.001)
    finally:
        thread.join()
    assert jobs.made, log
    assert [it.epoch for it in history.epochs] == [1, 2]
    again = train_step_without_job(step, monkeypatch)
    assert again.model_dump()["epochs"] == history.model_dump()["epochs"], "nothing was learnt a second time"


def _model():
    from reprune.pruning import bundle

    return bundle.build(loading.load("breast-cancer").model, key="model")


def train_step_without_job(step, monkeypatch):
    monkeypatch.delenv(kubeflow_trainjob.IMAGE)
    return train._train(step, _model(), {}, epochs=2, learning_rate=0.001)
