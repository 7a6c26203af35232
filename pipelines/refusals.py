"""What the answers of a Kubeflow Pipelines server mean when they are not what was asked for."""

import json

import kfp_server_api

from reprune.errors import ClusterError, ConflictError, InputError, RepruneError

TOKEN = "REPRUNE_KFP_TOKEN"
"""Environment variable with the bearer token for the server."""

COOKIES = "REPRUNE_KFP_COOKIES"
"""Environment variable with the session cookie of a login page in front of the server."""


def refused(what: str, host: str, error: kfp_server_api.ApiException) -> RepruneError:
    """Return what an answer with an error status means, and what to do."""
    told = _told(error)
    if error.status == 401:
        return ClusterError(
            f"{host} does not know who asks to {what}: {told}.",
            f"The token is missing or has expired; put a new one into {TOKEN}: kubectl create token NAME -n NAMESPACE "
            "--audience pipelines.kubeflow.org",
        )
    if error.status == 403:
        return ClusterError(
            f"{host} does not allow you to {what}: {told}.",
            "docs/cluster.md lists the verbs that each command needs; ask for a Role with them, or log in as another.",
        )
    if error.status == 409:
        return ConflictError(f"{host} has it already, so it did not {what}: {told}.", "Run the command again.")
    if error.status in (400, 404) and "namespace" in told:
        return InputError(f"{host} could not {what}: {told}.", "Name the profile's namespace with --namespace.")
    return ClusterError(f"{host} could not {what}: {error.status} {told}.", "The log of ml-pipeline says more.")


def _told(error: kfp_server_api.ApiException) -> str:
    try:
        body = json.loads(error.body)
        text = body.get("message") or body.get("error") or error.reason
    except (TypeError, ValueError, AttributeError):
        text = error.reason
    return str(text).strip().rstrip(".")[:300]


def reason(error: BaseException) -> str:
    """Return the innermost reason of a connection that failed."""
    inner = getattr(error, "reason", None) or error
    return str(inner).rpartition(": ")[2].rstrip(".)>'\"") or type(inner).__name__
