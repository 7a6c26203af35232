"""Objects of other projects in Kubernetes, one kind in one namespace; whatever fails says what to do about it."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

from reprune.errors import ClusterError, first_line

TIMEOUT = (5, 60)
"""Seconds to connect, and to wait for an answer."""

_T = TypeVar("_T")


class CustomObjects:
    """One kind of objects, through the cluster that KUBECONFIG or the pod names.

    Args:
        group: API group, as in ``serving.kserve.io``.
        version: Version of that API.
        plural: The kind, in lower case and the plural.
        namespace: The namespace.
        dry_run: Whether changes are only checked by the server, and told.
        tell: Takes each change, as a sentence.

    Raises:
        ClusterError: There is no cluster to speak to.
    """

    def __init__(
        self,
        group: str,
        version: str,
        plural: str,
        namespace: str,
        *,
        dry_run: bool = False,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        import kubernetes  # it comes with kfp, and takes a second to import

        named = os.environ.get("KUBECONFIG")
        try:
            if os.environ.get("KUBERNETES_SERVICE_HOST") and not named:
                kubernetes.config.load_incluster_config()
            else:
                kubernetes.config.load_kube_config(named or "~/.kube/config")
        except Exception as error:  # a file that is no kubeconfig ends in whatever the client runs into
            raise ClusterError(
                f"There is no cluster to speak to: {first_line(error)}.",
                "Set KUBECONFIG, or run in a pod with a ServiceAccount.",
            ) from None
        self.api = kubernetes.client.CustomObjectsApi()
        self.at = {"group": group, "version": version, "namespace": namespace, "plural": plural}
        self.dry_run, self._tell = dry_run, tell

    def get(self, name: str) -> dict[str, Any] | None:
        """Return an object, or None where there is none."""
        return self._ask(f"read {name}", self.api.get_namespaced_custom_object, name=name)

    def create(self, body: dict[str, Any]) -> None:
        """Create an object."""
        self._change(f"create {body['metadata']['name']}", self.api.create_namespaced_custom_object, body=body)

    def patch(self, name: str, what: str, spec: dict[str, Any]) -> None:
        """Merge a change into the spec of an object; None removes a key."""
        body = {"spec": spec}
        self._change(f"{what} of {name}", self.api.patch_namespaced_custom_object, name=name, body=body)

    def delete(self, name: str) -> None:
        """Delete an object, and what belongs to it; one that is not there is no error."""
        if self._ask(f"delete {name}", self.api.delete_namespaced_custom_object, name=name, **self._dry()) is not None:
            self._told(f"delete {name}")

    def _change(self, what: str, method: Callable[..., Any], **arguments: Any) -> None:
        if self._ask(what, method, **self._dry(), **arguments) is None:
            kind, namespace = f"{self.at['plural']}.{self.at['group']}", self.at["namespace"]
            raise ClusterError(
                f"The cluster knows no {kind} in a namespace {namespace}.",
                "Install what brings them, or name another namespace.",
            )
        self._told(what)

    def _dry(self) -> dict[str, str]:
        return {"dry_run": "All"} if self.dry_run else {}

    def _told(self, what: str) -> None:
        self._tell(f"would {what}" if self.dry_run else what)

    def _ask(self, what: str, method: Callable[..., _T], **arguments: Any) -> _T | None:
        import kubernetes
        import urllib3

        try:
            return method(**self.at, **arguments, _request_timeout=TIMEOUT)
        except kubernetes.client.ApiException as error:
            if error.status == 404:
                return None
            remedy = {
                401: "The token has expired; log in again.",
                403: "docs/cluster.md lists the verbs that it takes; ask for a Role with them.",
            }.get(error.status, "Read the message of the API server.")
            raise ClusterError(f"The cluster does not {what}: {error.status} {error.reason}.", remedy) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ClusterError(
                f"The Kubernetes API cannot be reached, to {what}: {type(error).__name__}.",
                "Check KUBECONFIG and the network.",
            ) from None
