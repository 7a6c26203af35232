"""Containers on a real engine: DOCKER_HOST names it; its images are those that `make images` made.

With BASE_IMAGE in the environment they are built first, with BUILDER and BUILD_FLAGS as `make images` takes them.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import docker
import pytest

from reprune import __version__

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "tests" / "end_to_end" / "project"
SOMEBODY = 54321
"""A user that no image knows; the tests are that user where they are started by root."""


@pytest.fixture(scope="session")
def engine():
    if "DOCKER_HOST" not in os.environ:
        pytest.skip("DOCKER_HOST does not name a Docker engine")
    client = docker.from_env()
    client.ping()
    yield client
    client.close()


@pytest.fixture(scope="session")
def image(engine):
    """Return an image's name, having built it where BASE_IMAGE says on what."""
    found = {}

    def get(target):
        name = f"reprune-{target}:{__version__}"
        if target not in found and "BASE_IMAGE" in os.environ:
            done = subprocess.run(["make", "images", f"IMAGES={target}"], cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
        found[target] = any(name in it.tags for it in engine.images.list())
        if not found[target]:
            pytest.skip(f"there is no image {name}: make images IMAGES={target}, or set BASE_IMAGE")
        return name

    return get


@pytest.fixture(scope="session")
def inside(engine):
    """Return what a command prints in a container that may do as little as possible."""

    def run(image, *command, **options):
        restricted = {"read_only": True, "tmpfs": {"/tmp": ""}, "network_mode": "none", "cap_drop": ["ALL"]}
        container = engine.containers.run(image, list(command), detach=True, **restricted | options)
        try:
            status = container.wait()["StatusCode"]  # logs that are followed may lose a part on older engines
            assert status == 0, container.logs().decode()
            return container.logs(stderr=False).decode().strip()
        finally:
            container.remove()

    return run


class Caller:
    """The command line in a folder, as somebody who is not root."""

    def __init__(self, folder):
        self.folder = folder
        self.user = os.getuid() or SOMEBODY

    def __call__(self, *arguments, code=0, **variables):
        done = subprocess.run(**self._call(arguments, variables))
        assert done.returncode in (code if isinstance(code, tuple) else (code,)), (
            f"exit code {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
        )
        assert "Traceback" not in done.stdout + done.stderr
        return done

    def start(self, *arguments, **variables):
        """Start the command line in a session of its own; returns its process."""
        return subprocess.Popen(**self._call(arguments, variables), start_new_session=True)

    def _call(self, arguments, variables):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("REPRUNE_", "AWS_"))} | variables
        return {
            "args": [*self._become(), sys.executable, "-m", "reprune", *map(str, arguments)],
            "cwd": self.folder,
            "env": environment | {"HOME": str(self.folder)},
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
        }

    def run(self, *arguments, **options):
        """Run the loop in containers and return what it says for machines."""
        return json.loads(self("run", *arguments, "--runner", "docker", "--json", **options).stdout)

    def _become(self):
        """Return the command that gives up being root, but for reading this Python wherever it is installed."""
        if os.getuid():
            return []
        shutil.chown(self.folder, SOMEBODY, SOMEBODY)
        socket = os.environ.get("DOCKER_HOST", "").removeprefix("unix://")
        group = os.stat(socket).st_gid if os.path.exists(socket) else SOMEBODY
        kept = "-all,+dac_read_search"
        return [
            *("setpriv", "--reuid", str(SOMEBODY), "--regid", str(SOMEBODY), "--groups", str(group)),
            *(f"--inh-caps={kept}", f"--ambient-caps={kept}", f"--bounding-set={kept}"),
        ]


@pytest.fixture(scope="module")
def caller(tmp_path_factory):
    """A folder with a user's workload, below a folder that everybody may enter."""
    folder = tmp_path_factory.mktemp("project")
    for parent in (folder.parent, folder.parent.parent):
        parent.chmod(0o755)
    shutil.copytree(PROJECT, folder, dirs_exist_ok=True)
    return Caller(folder)
