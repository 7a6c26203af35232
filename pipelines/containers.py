"""The containers of a local run: what its steps may see, and that all is there before anything starts."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from reprune import __version__
from reprune.config.workload import Workload
from reprune.errors import InputError, StepError
from reprune.events import WATCHER
from reprune.pipelines import files
from reprune.steps import compatibility
from reprune.steps.context import GRACE_SECONDS
from reprune.steps.publish_metrics import PUSHGATEWAY

if TYPE_CHECKING:
    from docker import DockerClient
    from kfp import local

LABEL = "dev.reprune.run"
VERSION_LABEL = "org.opencontainers.image.version"

_PASSED_ON = ("AWS_", "REPRUNE_", "OMP_", "SSL_CERT", "REQUESTS_CA", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


class Containers:
    """A Docker engine, and how it runs the steps of one run; a context manager around the run.

    Each container has a read-only root, no capability, the caller's own user, and of the disk only the store, the run's
    folder and what the workload file names. It has no network where nothing that the run needs is beyond this disk.

    Args:
        workload: The workload.
        store: URI of the store; a folder must be absolute.
        folder: The run's folder.
        writable: Other folders that steps write to.

    Raises:
        InputError: No engine answers, its client is not installed, or a file that the workload names is missing.
    """

    def __init__(self, workload: Workload, *, store: str, folder: Path, writable: tuple[Path, ...] = ()) -> None:
        self._client = _connect()
        self._name = folder.name
        local_store = "://" not in store
        self._writable = [folder, *writable, *([Path(store)] if local_store else [])]
        self._readable = list(files.on_this_machine(workload).values())
        remote = [it for it in (store, *files.named(workload).values()) if "://" in it]
        self.network = "host" if remote or os.environ.get(PUSHGATEWAY) else "none"
        self._s3 = bool(remote)

    def check(self, images: set[str]) -> None:
        """Find out now whether the images are there and fit.

        Raises:
            InputError: One is missing, or holds another version of reprune.
        """
        present = {name: it for it in self._client.images.list() for name in it.tags + (it.attrs["RepoDigests"] or [])}
        for name in sorted(images):
            if name not in present:
                raise InputError(
                    f"The Docker engine has no image {name}.",
                    "`make images` builds reprune's own; `docker pull` fetches one from your registry.",
                )
            version = present[name].labels.get(VERSION_LABEL, __version__)
            if not compatibility.agree(version, __version__):
                raise InputError(
                    f"The image {name} has reprune {version}, and this is reprune {__version__}.",
                    "Build or name an image of the same version.",
                )

    def environment(self, own: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of every step: what concerns it of the caller's, and its own."""
        chosen = {key: value for key, value in os.environ.items() if key.upper().startswith(_PASSED_ON)}
        chosen.pop(WATCHER, None)  # a container does not see this machine's processes
        return chosen | (_credentials() if self._s3 else {}) | dict(own)

    def runner(self) -> "local.DockerRunner":
        """Return how kfp starts the containers."""
        from docker.types import Mount
        from kfp import local

        for folder in self._writable:
            folder.mkdir(parents=True, exist_ok=True)
        security = self._client.info().get("SecurityOptions") or []
        mounts = [Mount(str(it), str(it), type="bind", read_only=True) for it in self._readable]
        mounts += [Mount(str(it), str(it), type="bind") for it in self._writable]
        return local.DockerRunner(
            mounts=mounts,
            network_mode=self.network,
            # A rootless engine's root is the user that started it.
            user="0:0" if any("rootless" in it for it in security) else f"{os.getuid()}:{os.getgid()}",
            read_only=True,
            tmpfs={"/tmp": ""},
            shm_size="1g",
            cap_drop=["ALL"],
            security_opt=["no-new-privileges", *(["label=disable"] if any("selinux" in it for it in security) else [])],
            labels={LABEL: self._name},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Stop what still runs of this run, and tell what the engine refused.

        The run has asked its steps to keep what they have and end; what has not after a while is killed.
        """
        from docker.errors import APIError, DockerException

        for container in self._client.containers.list(filters={"label": f"{LABEL}={self._name}"}):
            with contextlib.suppress(APIError):  # it has ended meanwhile
                try:
                    container.stop(timeout=GRACE_SECONDS)
                except BaseException:  # a second Ctrl-C does not wait
                    container.kill()
                    raise
        self._client.close()
        if isinstance(error, DockerException):
            told = getattr(error, "explanation", None) or error
            raise StepError(f"The Docker engine could not run a step: {told}.", "Look into the engine's log.") from None


def _connect() -> "DockerClient":
    try:
        import docker
    except ModuleNotFoundError:
        raise InputError(
            "--runner docker: Docker's Python client is not installed.", "pip install 'reprune[docker]'"
        ) from None
    where = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if where.startswith("ssh:"):
        raise InputError(
            f"--runner docker: the engine at {where} is on another machine, where this one's folders are not.",
            "Name one of this machine in DOCKER_HOST, such as unix:///var/run/docker.sock.",
        )
    try:
        client = docker.from_env()
        client.ping()
    except Exception as error:  # requests, urllib3 and docker each have errors of their own for it
        raise InputError(
            f"--runner docker: no Docker engine answers at {where}: {_innermost(error)}.",
            "Start one, or name it in DOCKER_HOST; without --runner docker, steps are processes on this machine.",
        ) from None
    return client


def _innermost(error: BaseException) -> str:
    while error.__context__ is not None:
        error = error.__context__
    return (str(error).strip() or type(error).__name__).rstrip(".")


def _credentials() -> dict[str, Any]:
    """Return the caller's credentials for S3, wherever they stand; a container sees neither home nor profile."""
    import boto3

    session = boto3.Session()
    found = session.get_credentials()
    if found is None:
        return {}
    frozen = found.get_frozen_credentials()
    told = {
        "AWS_ACCESS_KEY_ID": frozen.access_key,
        "AWS_SECRET_ACCESS_KEY": frozen.secret_key,
        "AWS_SESSION_TOKEN": frozen.token,
        "AWS_DEFAULT_REGION": session.region_name,
    }
    return {key: value for key, value in told.items() if value}
