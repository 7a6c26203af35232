"""`reprune submit`, `schedule`, `unschedule` and `runs`, through kfp's own client, against a server of its API."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from reprune.cli.app import app
from reprune.errors import ClusterError, ConflictError, InputError

STORE = ["--store", "s3://models/reprune"]
DAILY, WEEKLY = "0 0 3 * * *", "0 0 3 * * SUN"


@pytest.fixture(autouse=True)
def compiled_once(monkeypatch, tmp_path_factory):
    """Compile each pipeline once: the tests are about what becomes of it."""
    from reprune.pipelines import compiling, scheduling

    def compile_pipeline(workload, path, *, store, image=None):
        key = (workload.model_dump_json(), store, image)
        if key not in _COMPILED:
            version = compiling.compile_pipeline(workload, path, store=store, image=image)
            _COMPILED[key] = (version, path.read_bytes())
        version, data = _COMPILED[key]
        path.write_bytes(data)
        return version

    monkeypatch.setattr(scheduling, "compile_pipeline", compile_pipeline)


_COMPILED = {}


@pytest.fixture
def reprune(kubeflow, monkeypatch, tmp_path):
    """Run a command against the server; what it raises on purpose is raised."""
    monkeypatch.setenv("HOME", str(tmp_path))  # kfp keeps a context there

    def run(*arguments):
        options = ["--host", kubeflow.host] if "--host" not in arguments else []
        result = CliRunner().invoke(app, [*arguments, *options])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    return run


def test_submitting_publishes_the_pipeline_and_starts_a_run_of_that_very_version(kubeflow, reprune):
    told = reprune("submit", "digits", *STORE)
    (run,) = kubeflow.runs.values()
    (version,) = kubeflow.versions.values()
    assert run["pipeline_version_reference"]["pipeline_version_id"] == version["pipeline_version_id"]
    assert run["runtime_config"]["parameters"] == {"trigger": "schedule"}
    assert version["pipeline_spec"]["pipeline_spec"]["pipelineInfo"]["name"] == "reprune-digits"
    assert version["pipeline_spec"]["platform_spec"]["platforms"]["kubernetes"]
    assert run["run_id"] in told and version["name"] in told


def test_submitting_again_while_it_runs_changes_nothing_and_names_the_run_in_flight(kubeflow, reprune):
    reprune("submit", "digits", *STORE)
    kubeflow.changes.clear()
    told = reprune("submit", "digits", *STORE)
    assert kubeflow.changes == []
    (run,) = kubeflow.runs
    assert run in told


def test_submitting_again_afterwards_starts_another_run_of_the_version_that_is_there(kubeflow, reprune):
    reprune("submit", "digits", *STORE)
    for run in kubeflow.runs.values():
        run["state"] = "SUCCEEDED"
    kubeflow.changes.clear()
    reprune("submit", "digits", "--force", *STORE)
    assert kubeflow.changes == ["CreateRun"]
    assert [run["runtime_config"]["parameters"]["trigger"] for run in kubeflow.runs.values()] == ["schedule", "force"]


def test_another_version_is_not_started_beside_a_run_in_flight_unless_told_so(kubeflow, reprune):
    reprune("submit", "digits", *STORE)
    with pytest.raises(ConflictError, match="in flight"):
        reprune("submit", "digits", "--store", "s3://models/elsewhere")
    reprune("submit", "digits", "--beside", "--store", "s3://models/elsewhere")
    assert len(kubeflow.runs) == 2


def test_a_dry_run_changes_nothing_and_says_what_it_would_change(kubeflow, reprune):
    told = reprune("submit", "digits", "--dry-run", *STORE)
    assert "would create the pipeline reprune-digits" in told
    assert "would start the run" in told
    told = reprune("schedule", "digits", "--cron", DAILY, "--dry-run", *STORE)
    assert f"would schedule reprune-digits at '{DAILY}'" in told
    assert kubeflow.changes == []


def test_a_schedule_follows_the_newest_version_one_run_at_a_time_and_makes_up_for_nothing(kubeflow, reprune):
    reprune("schedule", "digits", "--cron", DAILY, *STORE)
    ((identifier, schedule),) = kubeflow.schedules.items()
    assert "pipeline_version_id" not in schedule["pipeline_version_reference"]
    assert schedule["no_catchup"] is True
    assert schedule["max_concurrency"] == "1"
    reprune("submit", "digits", "--store", "s3://models/elsewhere")
    newest = max(kubeflow.versions.values(), key=lambda it: it["created_at"])
    fired = kubeflow.fire(identifier)
    assert fired["pipeline_version_reference"]["pipeline_version_id"] == newest["pipeline_version_id"]


def test_scheduling_the_same_again_changes_nothing(kubeflow, reprune):
    reprune("schedule", "digits", "--cron", DAILY, *STORE)
    kubeflow.changes.clear()
    assert "scheduled already" in reprune("schedule", "digits", "--cron", f" {DAILY} ", *STORE)
    assert kubeflow.changes == []


def test_another_schedule_is_replaced_only_when_told_so_and_no_run_in_flight_is_ended(kubeflow, reprune):
    reprune("schedule", "digits", "--cron", DAILY, *STORE)
    (first,) = kubeflow.schedules
    run = kubeflow.fire(first)
    with pytest.raises(ConflictError, match="scheduled already: '0 0 3 ") as error:
        reprune("schedule", "digits", "--cron", WEEKLY, *STORE)
    assert "--replace" in error.value.remedy

    kubeflow.changes.clear()
    reprune("schedule", "digits", "--cron", WEEKLY, "--replace", *STORE)
    assert kubeflow.changes == ["CreateRecurringRun", "DisableRecurringRun"], "never a moment without a schedule"
    assert kubeflow.schedules[first]["status"] == "DISABLED"

    run["state"] = "SUCCEEDED"
    reprune("schedule", "digits", "--cron", WEEKLY, *STORE)
    assert first not in kubeflow.schedules, "deleted once its run has ended"
    assert kubeflow.ended_with_their_schedule == []


def test_unscheduling_waits_for_the_run_in_flight_and_can_be_repeated(kubeflow, reprune):
    assert "is not scheduled" in reprune("unschedule", "digits")
    reprune("schedule", "digits", "--cron", DAILY, *STORE)
    (first,) = kubeflow.schedules
    run = kubeflow.fire(first)
    assert "not scheduled any more" in reprune("unschedule", "digits")
    assert kubeflow.schedules[first]["status"] == "DISABLED"
    run["state"] = "FAILED"
    assert "is not scheduled" in reprune("unschedule", "digits")
    assert kubeflow.schedules == {}
    assert kubeflow.ended_with_their_schedule == []


def test_schedules_of_other_workloads_are_left_alone(kubeflow, reprune):
    reprune("schedule", "digits", "--cron", DAILY, *STORE)
    reprune("schedule", "breast-cancer", "--cron", WEEKLY, *STORE)
    reprune("unschedule", "digits")
    (left,) = kubeflow.schedules.values()
    assert left["trigger"]["cron_schedule"]["cron"] == WEEKLY


def test_runs_lists_every_page_newest_first_with_the_schedule(kubeflow, reprune):
    assert "No runs yet" in reprune("runs", "digits")
    reprune("schedule", "digits", "--cron", DAILY, *STORE)
    (first,) = kubeflow.schedules
    for _ in range(5):
        kubeflow.fire(first)["state"] = "SUCCEEDED"
    document = json.loads(reprune("runs", "digits", "--json"))
    assert [it["id"] for it in document["runs"]] == sorted(kubeflow.runs, reverse=True)
    assert document["schedules"] == [DAILY]
    assert "succeeded" in reprune("runs", "digits", "--limit", "1")


def test_the_service_account_of_the_workload_is_that_of_its_runs(kubeflow, reprune, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "name: mine\nmodel: reprune.workloads.digits.model:build\ndata: reprune.workloads.digits.data:load\n"
        "cluster: {service_account: reprune-steps}\n"
    )
    reprune("schedule", str(file), "--cron", DAILY, *STORE)
    (schedule,) = kubeflow.schedules.values()
    assert schedule["service_account"] == "reprune-steps"
    kubeflow.changes.clear()
    reprune("schedule", str(file), "--cron", DAILY, *STORE)
    assert kubeflow.changes == []


def test_a_server_that_cannot_be_reached_is_named_at_once(reprune):
    with pytest.raises(ClusterError, match=r"cannot be reached at http://127\.0\.0\.1:9") as error:
        reprune("runs", "digits", "--host", "http://127.0.0.1:9")
    assert "port-forward" in error.value.remedy


def test_an_expired_token_says_how_to_get_a_new_one(kubeflow, reprune, monkeypatch):
    kubeflow.token = "fresh"
    monkeypatch.setenv("REPRUNE_KFP_TOKEN", "stale")
    with pytest.raises(ClusterError, match="does not know who asks") as error:
        reprune("runs", "digits")
    assert "REPRUNE_KFP_TOKEN" in error.value.remedy
    assert "stale" not in str(error.value)
    monkeypatch.setenv("REPRUNE_KFP_TOKEN", "fresh\n")
    reprune("runs", "digits")


@pytest.mark.parametrize("variable", ["REPRUNE_KFP_TOKEN", "REPRUNE_KFP_COOKIES"])
def test_a_secret_that_no_header_can_hold_is_refused_without_repeating_it(reprune, monkeypatch, variable):
    monkeypatch.setenv(variable, "first\nsecond")
    with pytest.raises(InputError, match=f"{variable} holds line breaks") as error:
        reprune("runs", "digits", "--host", "http://127.0.0.1:9")
    assert "first" not in str(error.value) and "second" not in str(error.value)


def test_a_token_file_that_no_header_can_hold_is_refused_without_repeating_it(reprune, monkeypatch, tmp_path):
    (tmp_path / "token").write_text("first\nsecond\n")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    with pytest.raises(InputError, match="token holds line breaks") as error:
        reprune("runs", "digits", "--host", "http://127.0.0.1:9")
    assert "first" not in str(error.value) and "second" not in str(error.value)


def test_what_is_forbidden_is_named(kubeflow, reprune):
    kubeflow.forbidden = {"CreateRecurringRun"}
    with pytest.raises(ClusterError, match="does not allow you to schedule reprune-digits"):
        reprune("schedule", "digits", "--cron", DAILY, *STORE)


def test_a_login_page_in_front_of_the_server_is_recognized(reprune, login_page):
    with pytest.raises(ClusterError, match="not the API of Kubeflow Pipelines"):
        reprune("runs", "digits", "--host", login_page)


def test_a_server_with_several_users_needs_a_namespace(kubeflow, reprune):
    kubeflow.multi_user = True
    with pytest.raises(InputError, match="namespace") as error:
        reprune("submit", "digits", *STORE)
    assert "--namespace" in error.value.remedy
    reprune("submit", "digits", "--namespace", "team-a", *STORE)
    (pipeline,) = kubeflow.pipelines.values()
    assert pipeline["namespace"] == "team-a"


def test_a_folder_is_no_store_for_a_cluster(kubeflow, reprune):
    with pytest.raises(InputError, match="is a folder"):
        reprune("submit", "digits")
    assert kubeflow.changes == []


def test_the_resources_for_gitops_are_a_pipeline_and_a_version_named_by_its_contents(tmp_path, reprune):
    names = []
    for store in ("s3://a/b", "s3://a/c"):
        file = tmp_path / "resources.yaml"
        result = CliRunner().invoke(
            app, ["compile", "digits", "--kubernetes", "--namespace", "team-a", "--store", store, "-o", str(file)]
        )
        assert result.exit_code == 0, result.output
        pipeline, version = yaml.safe_load_all(file.read_text())
        assert (pipeline["kind"], version["kind"]) == ("Pipeline", "PipelineVersion")
        assert {it["metadata"]["namespace"] for it in (pipeline, version)} == {"team-a"}
        assert version["spec"]["pipelineName"] == pipeline["metadata"]["name"] == "reprune-digits"
        assert version["spec"]["platformSpec"]["platforms"]["kubernetes"]
        names.append(version["metadata"]["name"])
    assert names[0] != names[1]
