import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent / "project"


class Cli:
    """The command line, as a user runs it in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("REPRUNE_", "AWS_"))}

    def __call__(self, *arguments, code=0, **environment):
        done = subprocess.run(
            [sys.executable, "-m", "reprune", *map(str, arguments)],
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == code, f"exit code {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stdout + done.stderr
        return done

    def python(self, code):
        """Run a script of the user's in the folder."""
        subprocess.run([sys.executable, "-c", code], cwd=self.folder, env=self.environment, check=True)

    def run(self, *arguments, code=0, **environment):
        """Run the loop and return what it says for machines."""
        return json.loads(self("run", *arguments, "--json", code=code, **environment).stdout)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with a user's workload, and the command line in it."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(PROJECT, folder, dirs_exist_ok=True)
    return Cli(folder)
