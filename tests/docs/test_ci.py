"""Workflows of this repository and those that the pages show: valid for their systems, and of commands that exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from reprune.cli.app import app

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PAGES = [ROOT / "docs" / name for name in ("gate-in-ci.md", "re-prune-from-ci.md")]
SHOWN = [
    (page.name, text)
    for page in PAGES
    for text in re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
]
WHOLE = {"on": {"push": None}}


def check(path, system):
    schema = f"vendor.{'github-workflows' if system == 'github' else 'gitlab-ci'}"
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def scripts(document):
    """Return every line of shell in a workflow of either system."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key in ("run", "script", "before_script"):
                yield from ("\n".join(value) if isinstance(value, list) else value).splitlines()
            else:
                yield from scripts(value)
    elif isinstance(document, list):
        for item in document:
            yield from scripts(item)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda it: it.name)
def test_our_workflows_are_valid(path):
    check(path, "github")


@pytest.mark.parametrize(("page", "text"), SHOWN, ids=[f"{page}-{n}" for n, (page, _) in enumerate(SHOWN)])
def test_shown_workflows_are_valid_and_call_commands_that_exist(page, text, tmp_path):
    document = yaml.safe_load(text)
    system = "github" if "jobs" in document else "gitlab"
    if system == "github":
        document = WHOLE | {key: value for key, value in document.items() if key is not True}
    (tmp_path / "ci.yml").write_text(yaml.safe_dump(document))
    check(tmp_path / "ci.yml", system)
    commands = get_command(app).commands
    called = [shlex.split(line)[1:] for line in scripts(document) if line.startswith("reprune ")]
    for words in called:
        known = {name for option in commands[words[0]].params for name in option.opts}
        assert {word for word in words if word.startswith("--")} <= known


def test_our_workflow_runs_what_ci_runs():
    ours = set(re.findall(r"^\s*(?:sudo )?(make (?!images)[\w -]+)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE))
    theirs = set(scripts(yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())))
    assert ours and ours <= theirs


def test_the_targets_of_our_workflows_exist():
    lines = [
        line for path in WORKFLOWS for line in scripts(yaml.safe_load(path.read_text())) if line.startswith("make")
    ]
    assert len(lines) >= 4
    for line in lines:
        targets = [word for word in shlex.split(line)[1:] if re.fullmatch(r"[a-z-]+", word)]
        done = subprocess.run(["make", "--dry-run", *targets], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
