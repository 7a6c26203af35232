"""A Kubeflow Pipelines server, through the API client that kfp is made on; whatever fails says what to do about it.

kfp itself is not imported: the monitor starts runs without it, and without the Kubernetes and Google clients it brings.
"""

import json
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import kfp_server_api
import urllib3
from pydantic import BaseModel

from reprune import text_files
from reprune.errors import ClusterError, InputError
from reprune.pipelines.refusals import COOKIES, TOKEN, reason, refused

ENDPOINT = "KF_PIPELINES_ENDPOINT"
TOKEN_FILE = "KF_PIPELINES_SA_TOKEN_PATH"
"""Environment variable with the path of a pod's own token, where it is not at the usual place; both are kfp's."""
USUAL_TOKEN_FILE = "/var/run/secrets/kubeflow/pipelines/token"
TIMEOUT = (5, 60)
"""Seconds to connect, and to wait for an answer."""

IN_FLIGHT = ("PENDING", "RUNNING", "CANCELING", "PAUSED", "RUNTIME_STATE_UNSPECIFIED")

_T = TypeVar("_T")


class Run(BaseModel):
    """A run of a pipeline, as the server tells of it."""

    id: str
    name: str
    state: str
    created: datetime | None
    finished: datetime | None
    pipeline_id: str
    version_id: str
    schedule_id: str
    error: str

    @property
    def in_flight(self) -> bool:
        """Whether it has not ended yet."""
        return self.state in IN_FLIGHT


class Schedule(BaseModel):
    """A recurring run, as the server tells of it."""

    id: str
    cron: str
    enabled: bool
    pipeline_id: str
    version_id: str
    max_concurrency: int
    no_catchup: bool
    parameters: dict[str, Any]
    service_account: str


def name_of(workload: str) -> str:
    """Return what a workload's pipeline and its experiment are called."""
    return f"reprune-{workload}"


class Server:
    """Pipelines, runs and schedules of a server.

    Args:
        host: URL of the API or of the dashboard; by default what KF_PIPELINES_ENDPOINT says.
        namespace: The profile's namespace, where Kubeflow has several users.
        dry_run: Whether changes are only told.
        tell: Takes each change, as a sentence.

    Raises:
        InputError: No server is named.
        ClusterError: The server cannot be reached, or refuses.
    """

    def __init__(
        self,
        host: str | None = None,
        *,
        namespace: str | None = None,
        dry_run: bool = False,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.host = host or os.environ.get(ENDPOINT) or ""
        if not self.host:
            raise InputError(
                "No Kubeflow Pipelines server is named.",
                f"Give --host or {ENDPOINT}, as in http://localhost:8080 after "
                "kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80",
            )
        if any(character.isspace() for character in self.host):
            raise InputError(f"--host: {self.host!r} is no URL.", "Write it as in http://localhost:8080.")
        self.namespace, self.dry_run = namespace, dry_run
        self._tell = tell
        api = kfp_server_api.ApiClient(_configuration(self.host), cookie=_secret(COOKIES))
        self._ask("look at the server", _healthz, api=api)
        self._pipelines = kfp_server_api.PipelineServiceApi(api)
        self._uploads = kfp_server_api.PipelineUploadServiceApi(api)
        self._experiments = kfp_server_api.ExperimentServiceApi(api)
        self._runs = kfp_server_api.RunServiceApi(api)
        self._schedules = kfp_server_api.RecurringRunServiceApi(api)

    def change(self, what: str, method: Callable[..., _T], /, **arguments: Any) -> _T | None:
        """Make one change, and tell it; a dry run tells it and returns None."""
        if self.dry_run:
            self._tell(f"would {what}")
            return None
        made = self._ask(what, method, _request_timeout=TIMEOUT, **arguments)
        self._tell(what)
        return made

    # Pipelines and their versions

    def pipeline(self, name: str) -> str | None:
        """Return the identifier of a pipeline, or None where there is no such pipeline."""
        found = self._all(
            f"look for the pipeline {name}",
            self._pipelines.pipeline_service_list_pipelines,
            "pipelines",
            filter=_equals("display_name", name),
            **self._in_namespace(),
        )
        return next((it.pipeline_id for it in found), None)

    def create_pipeline(self, name: str, description: str) -> str | None:
        """Create a pipeline without versions; returns its identifier."""
        body = kfp_server_api.V2beta1Pipeline(
            display_name=name, name=name, description=description, namespace=self.namespace
        )
        made = self.change(
            f"create the pipeline {name}", self._pipelines.pipeline_service_create_pipeline, pipeline=body
        )
        return made.pipeline_id if made else None

    def versions(self, pipeline_id: str) -> dict[str, str]:
        """Return the versions of a pipeline: identifiers by name, newest first."""
        found = self._all(
            "list the versions of the pipeline",
            self._pipelines.pipeline_service_list_pipeline_versions,
            "pipeline_versions",
            pipeline_id=pipeline_id,
            sort_by="created_at desc",
        )
        return {it.display_name: it.pipeline_version_id for it in found}

    def upload(self, file: Path, *, pipeline_id: str, name: str) -> str | None:
        """Upload a compiled pipeline as a new version; returns its identifier."""
        made = self.change(
            f"upload version {name}",
            self._uploads.upload_pipeline_version,
            uploadfile=str(file),
            pipelineid=pipeline_id,
            name=name,
        )
        return made.pipeline_version_id if made else None

    # Experiments, which are folders of runs

    def experiment(self, name: str) -> str | None:
        """Return the identifier of an experiment, or None where there is no such experiment."""
        found = self._all(
            f"look for the experiment {name}",
            self._experiments.experiment_service_list_experiments,
            "experiments",
            filter=_equals("display_name", name),
            **self._in_namespace(),
        )
        return next((it.experiment_id for it in found), None)

    def create_experiment(self, name: str) -> str | None:
        """Create an experiment; returns its identifier."""
        body = kfp_server_api.V2beta1Experiment(display_name=name, namespace=self.namespace)
        made = self.change(
            f"create the experiment {name}", self._experiments.experiment_service_create_experiment, experiment=body
        )
        return made.experiment_id if made else None

    # Runs

    def runs(self, experiment_id: str) -> Iterator[Run]:
        """Yield the runs of an experiment, newest first."""
        found = self._all(
            "list the runs",
            self._runs.run_service_list_runs,
            "runs",
            experiment_id=experiment_id,
            sort_by="created_at desc",
        )
        for it in found:
            of = it.pipeline_version_reference
            yield Run(
                id=it.run_id,
                name=it.display_name or "",
                state=it.state or "PENDING",
                created=it.created_at,
                finished=it.finished_at if it.finished_at and it.finished_at.year > 1970 else None,
                pipeline_id=of.pipeline_id or "" if of else "",
                version_id=of.pipeline_version_id or "" if of else "",
                schedule_id=it.recurring_run_id or "",
                error=it.error.message or "" if it.error else "",
            )

    def start(self, name: str, *, of: tuple[str, str], experiment_id: str, **settings: Any) -> str | None:
        """Start a run of a version of a pipeline; returns its identifier."""
        body = kfp_server_api.V2beta1Run(
            display_name=name,
            experiment_id=experiment_id,
            pipeline_version_reference=_reference(*of),
            **_settings(**settings),
        )
        made = self.change(f"start the run {name}", self._runs.run_service_create_run, run=body)
        return made.run_id if made else None

    # Schedules, which the server calls recurring runs

    def schedules(self, pipeline_id: str) -> list[Schedule]:
        """Return the schedules of a pipeline, enabled and disabled."""
        found = self._all(
            "list the schedules",
            self._schedules.recurring_run_service_list_recurring_runs,
            "recurring_runs",
            **self._in_namespace(),
        )
        every = [_schedule(it) for it in found]
        return [it for it in every if it.pipeline_id == pipeline_id]

    def create_schedule(self, name: str, cron: str, *, pipeline_id: str, experiment_id: str, **settings: Any) -> None:
        """Start the newest version of a pipeline again and again, one run at a time, never for missed times.

        kfp's own `create_recurring_run` asks for a version, to which the schedule would then be pinned for ever.
        """
        body = kfp_server_api.V2beta1RecurringRun(
            display_name=name,
            experiment_id=experiment_id,
            pipeline_version_reference=_reference(pipeline_id),
            trigger=kfp_server_api.V2beta1Trigger(cron_schedule=kfp_server_api.V2beta1CronSchedule(cron=cron)),
            mode=kfp_server_api.RecurringRunMode.ENABLE,
            max_concurrency="1",
            no_catchup=True,
            **_settings(**settings),
        )
        self.change(
            f"schedule {name} at {cron!r} (UTC)",
            self._schedules.recurring_run_service_create_recurring_run,
            recurring_run=body,
        )

    def disable(self, schedule: Schedule) -> None:
        """Let a schedule start no more runs; those in flight go on."""
        self.change(
            f"disable the schedule {schedule.cron!r} ({schedule.id})",
            self._schedules.recurring_run_service_disable_recurring_run,
            recurring_run_id=schedule.id,
        )

    def delete(self, schedule: Schedule) -> None:
        """Delete a schedule; only for one without runs in flight, which older servers would end with it."""
        self.change(
            f"delete the disabled schedule {schedule.cron!r} ({schedule.id})",
            self._schedules.recurring_run_service_delete_recurring_run,
            recurring_run_id=schedule.id,
            propagation_policy="ORPHAN",
        )

    def _in_namespace(self) -> dict[str, str]:
        return {"namespace": self.namespace} if self.namespace else {}

    def _all(self, what: str, method: Callable[..., Any], items: str, **arguments: Any) -> Iterator[Any]:
        """Yield the items of all pages of a list."""
        token = ""
        while True:
            page = self._ask(what, method, page_token=token, page_size=100, _request_timeout=TIMEOUT, **arguments)
            yield from getattr(page, items, None) or ()
            token = getattr(page, "next_page_token", None) or ""
            if not token:
                return

    def _ask(self, what: str, method: Callable[..., _T], **arguments: Any) -> _T:
        try:
            return method(**arguments)
        except kfp_server_api.ApiException as error:
            raise refused(what, self.host, error) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ClusterError(
                f"Kubeflow Pipelines cannot be reached at {self.host}: {reason(error)}.",
                "Check --host; from outside the cluster: kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80",
            ) from None
        except ValueError as error:
            raise ClusterError(
                f"What answers at {self.host} is not the API of Kubeflow Pipelines 2 ({error}).",
                f"Check --host. A login page in front of it needs {TOKEN} or {COOKIES}.",
            ) from None


def _configuration(host: str) -> Any:
    """Return how a server is spoken to: with the token given, or the pod's own, which is read anew each time."""
    config = kfp_server_api.Configuration(host=(host if "://" in host else f"https://{host}").rstrip("/"))
    config.ssl_ca_cert = os.environ.get("SSL_CERT_FILE")
    given, file = _secret(TOKEN), Path(os.environ.get(TOKEN_FILE) or USUAL_TOKEN_FILE)
    if given or file.is_file():
        config.api_key_prefix["authorization"] = "Bearer"
        config.api_key["authorization"] = given or _token_in(file)
    if not given and file.is_file():
        config.refresh_api_key_hook = lambda it: it.api_key.update(authorization=_token_in(file))
    return config


def _secret(variable: str) -> str | None:
    """Return a secret for a header from the environment, or None."""
    return _for_header(os.environ.get(variable, ""), variable) or None


def _token_in(file: Path) -> str:
    """Return the token that a file holds now; a cluster writes a new one before the old expires."""
    name = f"the token in {file}"
    return _for_header(text_files.read(file, name=name, remedy="Put the token in it, on one line."), name)


def _for_header(secret: str, origin: str) -> str:
    """Return a secret on one line; what no header can hold is refused here, because messages from below repeat it."""
    value = secret.strip()  # files of secrets mostly end in a line break
    if not (value.isascii() and value.isprintable()):
        raise InputError(f"{origin} holds line breaks, or characters that are not ASCII.", "Put it on one line.")
    return value


def _healthz(api: Any) -> None:
    """Ask whether the server is one; any page of HTML would pass for an empty answer."""
    health = kfp_server_api.HealthzServiceApi(api)
    _, _, headers = health.healthz_service_get_healthz_with_http_info(_request_timeout=TIMEOUT)
    if "json" not in headers.get("Content-Type", ""):
        raise ValueError(f"it answers with {headers.get('Content-Type') or 'something without a type'}")


def _reference(pipeline_id: str, version_id: str | None = None) -> Any:
    return kfp_server_api.V2beta1PipelineVersionReference(pipeline_id=pipeline_id, pipeline_version_id=version_id)


def _settings(*, parameters: dict[str, Any] | None = None, service_account: str | None = None) -> dict[str, Any]:
    config = kfp_server_api.V2beta1RuntimeConfig(parameters=parameters or {})
    return {"runtime_config": config, "service_account": service_account}


def _schedule(it: Any) -> Schedule:
    of, cron = it.pipeline_version_reference, it.trigger.cron_schedule if it.trigger else None
    return Schedule(
        id=it.recurring_run_id,
        cron=cron.cron if cron else "",
        enabled=it.status != "DISABLED" and it.mode != "DISABLE",
        pipeline_id=of.pipeline_id or "" if of else "",
        version_id=of.pipeline_version_id or "" if of else "",
        max_concurrency=int(it.max_concurrency or 0),
        no_catchup=bool(it.no_catchup),
        parameters=(it.runtime_config.parameters or {}) if it.runtime_config else {},
        service_account=it.service_account or "",
    )


def _equals(key: str, value: str) -> str:
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": key, "stringValue": value}]})
