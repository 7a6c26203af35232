"""Where a re-prune runs: nowhere (a dry run), on this machine, or on a Kubeflow Pipelines server."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from reprune.errors import StepError
from reprune.watch.state import Launch, Outcome

TOKEN_VARIABLES = ("REPRUNE_MONITOR_TOKEN", "REPRUNE_MONITOR_TOKEN_FILE")
OUTCOMES: tuple[Outcome, ...] = ("promoted", "waiting", "rejected", "nothing-to-do")


class DryRun:
    """Starts nothing; the state says what would have been started."""

    dry_run = True

    def start(self, launch: Launch) -> str:
        """Do nothing."""
        return ""

    def find(self, launch: Launch) -> str | None:
        """Return None: nothing runs."""
        return None

    def outcome(self, launch: Launch) -> Outcome | None:
        """Return that it was a dry run."""
        return "dry-run"


class Local:
    """Starts ``reprune run`` on this machine. It goes on when the monitor ends, and is found again when it is back.

    Args:
        workload: The workload as ``reprune run`` takes it.
        store: URI of the store.
        folder: Where the runs leave their logs and results.
    """

    dry_run = False

    def __init__(self, workload: str, store: str, folder: Path) -> None:
        self._arguments = ["run", workload, "--store", store, "--trigger", "alert", "--json"]
        self._folder = folder
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, launch: Launch) -> str:
        """Start the process, and return its identifier and start time."""
        environment = {name: value for name, value in os.environ.items() if name not in TOKEN_VARIABLES}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._file(launch, "json").open("wb") as result, self._file(launch, "log").open("wb") as log:
                child = subprocess.Popen(
                    [sys.executable, "-m", "reprune", *self._arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=result,
                    stderr=log,
                    env=environment,
                    start_new_session=True,  # an interrupt is for the monitor alone
                )
            self._children[launch.id] = child
            handle = f"{child.pid} {_started(child.pid)}"
            self._file(launch, "pid").write_text(handle)
        except OSError as error:
            raise StepError(f"reprune run cannot be started: {error}.", "Make room on this machine.") from None
        return handle

    def find(self, launch: Launch) -> str | None:
        """Return what `start` wrote down."""
        try:
            return self._file(launch, "pid").read_text()
        except OSError:
            return None

    def outcome(self, launch: Launch) -> Outcome | None:
        """Return None while the process runs, then what it says of itself."""
        child = self._children.get(launch.id)
        if child is not None and child.poll() is None:
            return None
        pid, _, started = launch.handle.partition(" ")
        if child is None and pid.isdecimal() and started and _started(int(pid)) == started:
            return None
        try:
            said = json.loads(self._file(launch, "json").read_text().splitlines()[-1])["outcome"]
        except (OSError, ValueError, LookupError, TypeError):
            return "failed"
        return said if said in OUTCOMES else "failed"

    def _file(self, launch: Launch, suffix: str) -> Path:
        return self._folder / f"{launch.id}.{suffix}"


class Kubeflow:
    """Starts a run of the newest version of an uploaded pipeline.

    A run is named after its launch, so that one whose start was cut short is found again and not started twice.

    Args:
        host: Address of the Kubeflow Pipelines API.
        pipeline: Name of the pipeline, as it was uploaded.
        namespace: Namespace of the user, where the server has several.
    """

    dry_run = False

    def __init__(self, host: str, pipeline: str, namespace: str | None = None) -> None:
        self._host, self._pipeline, self._namespace = host, pipeline, namespace

    def start(self, launch: Launch) -> str:
        """Start the run, and return its identifier."""
        with _told(self._host):
            client = self._client()
            pipeline = client.get_pipeline_id(self._pipeline)
            if pipeline is None:
                raise StepError(
                    f"{self._host} has no pipeline {self._pipeline!r}.", "Upload it: reprune compile, then upload."
                )
            versions = client.list_pipeline_versions(pipeline, page_size=1, sort_by="created_at desc")
            run = client.run_pipeline(
                client.create_experiment(self._pipeline, namespace=self._namespace).experiment_id,
                self._name(launch),
                pipeline_id=pipeline,
                version_id=versions.pipeline_versions[0].pipeline_version_id,
                params={"trigger": "alert"},
            )
            return str(run.run_id)

    def find(self, launch: Launch) -> str | None:
        """Return the identifier of the run by this launch's name."""
        wanted = {"predicates": [{"operation": "EQUALS", "key": "name", "stringValue": self._name(launch)}]}
        with _told(self._host):
            found = self._client().list_runs(page_size=1, namespace=self._namespace, filter=json.dumps(wanted)).runs
        return str(found[0].run_id) if found else None

    def outcome(self, launch: Launch) -> Outcome | None:
        """Return how the run ended."""
        with _told(self._host):
            state = self._client().get_run(launch.handle).state
        if state == "SUCCEEDED":
            return "succeeded"
        return "failed" if state in ("FAILED", "CANCELED", "SKIPPED") else None

    def _name(self, launch: Launch) -> str:
        return f"{self._pipeline}-{launch.id}"

    def _client(self) -> Any:
        import kfp

        return kfp.Client(host=self._host, namespace=self._namespace or "kubeflow")


class _told:
    """Turns what kfp raises into an error that says what to do."""

    def __init__(self, host: str) -> None:
        self._host = host

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, StepError):
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise StepError(
                f"Kubeflow Pipelines at {self._host} does not do it: {first[:300]}",
                "Check its address, and that the monitor may start runs.",
            ) from error


def _started(pid: int) -> str:
    """Return when a process started, in the kernel's ticks, so that another one of its number is not taken for it."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]
