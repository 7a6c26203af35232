"""Re-prunes on a Kubeflow Pipelines server."""

from reprune.drift.monitor.monitor_state import Launch, Outcome
from reprune.errors import InputError
from reprune.pipelines.server import Run, Server, name_of


class Kubeflow:
    """Starts runs of the newest version of a workload's pipeline.

    A run is named after its launch, so that one whose start was cut short is found again. A run that is in flight
    already, of the schedule or of a person, is followed in place of a second one.

    Args:
        workload: Name of the workload.
        host: Address of the server; by default what KF_PIPELINES_ENDPOINT says.
        namespace: The profile's namespace, where Kubeflow has several users.
        service_account: Under which the run is.
    """

    dry_run = False

    def __init__(
        self, workload: str, host: str | None = None, namespace: str | None = None, service_account: str | None = None
    ) -> None:
        self._name, self._host, self._namespace, self._account = name_of(workload), host, namespace, service_account

    def start(self, launch: Launch) -> str:
        """Start a run, and return its identifier.

        Raises:
            ClusterError: The server cannot be reached, or refuses.
            InputError: It has no pipeline of this workload.
        """
        server = self._server()
        experiment = server.experiment(self._name) or server.create_experiment(self._name) or ""
        flying = next((run for run in server.runs(experiment) if run.in_flight), None)
        if flying is not None:
            return flying.id
        pipeline = server.pipeline(self._name)
        versions = server.versions(pipeline) if pipeline else {}
        if not pipeline or not versions:
            raise InputError(f"{server.host} has no pipeline {self._name}.", "Bring it there: reprune submit, once.")
        newest = next(iter(versions.values()))
        started = server.start(
            self._run_name(launch),
            of=(pipeline, newest),
            experiment_id=experiment,
            parameters={"trigger": "alert"},
            service_account=self._account,
        )
        return started or ""

    def find(self, launch: Launch) -> str | None:
        """Return the identifier of the run with this launch's name."""
        return next((run.id for run in self._runs() if run.name == self._run_name(launch)), None)

    def outcome(self, launch: Launch) -> Outcome | None:
        """Return how the run ended; what became of its candidate is in the registry."""
        run = next((run for run in self._runs() if run.id == launch.handle), None)
        if run is None:
            return "lost"
        if run.in_flight:
            return None
        return "succeeded" if run.state == "SUCCEEDED" else "failed"

    def _runs(self) -> list[Run]:
        server = self._server()
        experiment = server.experiment(self._name)
        return list(server.runs(experiment)) if experiment else []

    def _server(self) -> Server:
        return Server(self._host, namespace=self._namespace)

    def _run_name(self, launch: Launch) -> str:
        return f"{self._name} monitor {launch.id}"
