"""Every script imports without optional packages, and importing runs nothing."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sorted((ROOT / "benchmarks").rglob("*.py"))
]
TEXTS = [
    *(ROOT / "docs" / "benchmarks").glob("*.md"),
    *(ROOT / "benchmarks").rglob("*.md"),
    *(ROOT / "benchmarks").rglob("*.py"),
]
COMMANDS = sorted(
    {
        (text.name, module, options)
        for text in TEXTS
        for module, options in re.findall(r"python -m (benchmarks(?:\.\w+)+)([^\n#`&]*)", text.read_text())
    }
)


@pytest.fixture(scope="module")
def imported():
    command = [sys.executable, str(Path(__file__).with_name("importing.py")), str(ROOT)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("module", MODULES)
def test_a_script_imports_and_its_import_runs_nothing(imported, module):
    assert imported[module] == []


@pytest.mark.parametrize(("text", "module", "options"), COMMANDS, ids=[f"{t}-{m}" for t, m, _ in COMMANDS])
def test_a_command_that_is_shown_names_a_script_and_its_options(text, module, options):
    path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    assert path.is_file()
    source = path.read_text()
    assert 'if __name__ == "__main__":' in source
    for option in re.findall(r"--[\w-]+", options):
        assert f'"{option}"' in source


def test_commands_are_shown():
    assert len(COMMANDS) > 25
