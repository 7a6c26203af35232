"""A version of a model on KServe: an InferenceService created or patched, watched, and put back where it fails."""

import time
from collections.abc import Callable
from typing import Any, Literal, Protocol

from reprune.errors import ClusterError, InputError
from reprune.steps.kubernetes import CustomObjects

GROUP, VERSION, PLURAL = "serving.kserve.io", "v1beta1", "inferenceservices"
MODE = f"{GROUP}/deploymentMode"
POLL_SECONDS = 2.0

Mode = Literal["Standard", "Knative"]
_MODES: dict[str, Mode] = {
    "Standard": "Standard",
    "RawDeployment": "Standard",
    "Knative": "Knative",
    "Serverless": "Knative",
}


class Services(Protocol):
    """What is asked of InferenceServices."""

    dry_run: bool

    def get(self, name: str) -> dict[str, Any] | None:
        """Return an InferenceService, or None where there is none."""

    def create(self, body: dict[str, Any]) -> None:
        """Create an InferenceService."""

    def patch(self, name: str, what: str, spec: dict[str, Any]) -> None:
        """Merge a change into the spec of an InferenceService; None removes a key."""


def inference_services(
    namespace: str, *, dry_run: bool = False, tell: Callable[[str], None] = lambda _: None
) -> CustomObjects:
    """Return the InferenceServices of a namespace.

    Raises:
        ClusterError: There is no cluster to speak to.
    """
    return CustomObjects(GROUP, VERSION, PLURAL, namespace, dry_run=dry_run, tell=tell)


def mode_of(service: dict[str, Any]) -> Mode:
    """Return how KServe deploys an InferenceService; the canary is written differently for each."""
    annotated = service["metadata"].get("annotations", {}).get(MODE)
    named = annotated or service.get("status", {}).get("deploymentMode") or "Standard"
    if named not in _MODES:
        raise InputError(f"{service['metadata']['name']} is deployed as {named}.", "Use Standard or Knative.")
    return _MODES[named]


def predictor(uri: str, version: str, *, runtime: str | None, account: str | None) -> dict[str, Any]:
    """Return what serves a version: a predictor that loads ``model.onnx`` from a folder of the store."""
    model = {"name": "kserve-container", "modelFormat": {"name": "onnx"}, "protocolVersion": "v2", "storageUri": uri}
    named = {"name": f"v-{version[:12]}", "model": model | ({"runtime": runtime} if runtime else {})}
    return named | ({"serviceAccountName": account} if account else {})


def deploy(
    services: Services,
    name: str,
    uri: str,
    version: str,
    *,
    canary: int | None = None,
    mode: Mode = "Standard",
    runtime: str | None = None,
    account: str | None = None,
    timeout: float = 600.0,
) -> bool:
    """Let an InferenceService serve a version, to all or, as a canary, to a share of the traffic.

    Args:
        services: Where.
        name: Name of the InferenceService; created where there is none.
        uri: Folder of the version's files.
        version: Identifier of the version.
        canary: Percent of the traffic; None for all of it, which also ends a trial.
        mode: How KServe deploys one that is created.
        runtime: ServingRuntime; by default the one that KServe chooses for ONNX.
        account: ServiceAccount with access to the store.
        timeout: Seconds that it may take until it is ready.

    Returns:
        Whether anything was changed.

    Raises:
        ClusterError: It did not become ready; what was served before is served again.
        InputError: A canary has nothing to stand beside.
    """
    wanted = predictor(uri, version, runtime=runtime, account=account)
    found = services.get(name)
    if found is None:
        if canary is not None:
            raise InputError(f"There is no {name} for a canary to stand beside.", "Deploy the champion first.")
        metadata = {"name": name, "annotations": {MODE: mode}}
        kind = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "InferenceService", "metadata": metadata}
        services.create(kind | {"spec": {"predictor": wanted}})
        _wait(services, name, timeout, back=None)
        return True
    change = _change(found, wanted, canary)
    if not _differs(found["spec"], change):
        return False
    share = f"{canary} % of the traffic" if canary is not None else "all traffic"
    services.patch(name, f"give {version[:12]} {share}", change)
    _wait(services, name, timeout, back=_undo(found["spec"], change))
    return True


def _change(found: dict[str, Any], wanted: dict[str, Any], canary: int | None) -> dict[str, Any]:
    """Return the patch of the spec, in the dialect of the InferenceService's mode."""
    if mode_of(found) == "Knative":
        plain = {key: value for key, value in wanted.items() if key != "name"}  # revisions have names of their own
        return {"predictor": plain | {"canaryTrafficPercent": canary}}
    if canary is not None:
        return {"canary": [{"predictor": wanted, "trafficPercent": canary}]}
    return {"predictor": wanted, "canary": None}  # named like its canary was, it takes over those pods


def _differs(spec: Any, change: Any) -> bool:
    """Return whether a merge patch would change anything."""
    if isinstance(change, dict):
        there = spec if isinstance(spec, dict) else {}
        return any(_differs(there.get(key), value) for key, value in change.items())
    return bool(spec != change)


def _undo(spec: Any, change: Any) -> Any:
    """Return the merge patch that takes another one back."""
    if isinstance(change, dict) and isinstance(spec, dict):
        return {key: _undo(spec.get(key), value) for key, value in change.items()}
    return spec


def _wait(services: Services, name: str, timeout: float, *, back: dict[str, Any] | None) -> None:
    """Wait until the change is served; put back what was before when it fails."""
    if services.dry_run:
        return
    deadline = time.monotonic() + timeout
    problem = f"it was not ready after {timeout:.0f} s"
    while time.monotonic() < deadline:
        service = services.get(name) or {}
        ready, failed = _state(service)
        if ready:
            return
        if failed:
            problem = failed
            break
        time.sleep(POLL_SECONDS)
    if back is None:
        raise ClusterError(f"{name} was created and does not serve: {problem}.", f"kubectl describe isvc {name}")
    services.patch(name, "put back what was served before", back)
    raise ClusterError(
        f"{name} does not serve the new version: {problem}. What was served before is put back.",
        f"kubectl describe isvc {name} says more.",
    )


def _state(service: dict[str, Any]) -> tuple[bool, str]:
    """Return whether the newest change is served, and why it never will be, if that is known."""
    status = service.get("status", {})
    if status.get("observedGeneration", -1) < service.get("metadata", {}).get("generation", 0):
        return False, ""
    model = status.get("modelStatus", {})
    failure = model.get("lastFailureInfo", {})
    if model.get("transitionStatus") in ("BlockedByFailedLoad", "InvalidSpec"):
        return False, f"{failure.get('reason', model['transitionStatus'])}: {failure.get('message', 'no message')}"
    for canary in status.get("canaryStatuses", ()):
        if not canary.get("ready"):
            told = canary.get("modelStatus", {}).get("transitionStatus")
            return False, f"the canary {canary.get('name')} is {told}" if told == "BlockedByFailedLoad" else ""
    ready = [it for it in status.get("conditions", ()) if it["type"] == "Ready"]
    return bool(ready) and ready[0]["status"] == "True", ""
