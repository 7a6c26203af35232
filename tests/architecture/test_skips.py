"""A run of the tests says why some were skipped: each reason once."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = """
import pytest

@pytest.mark.skipif(True, reason="needs a server")
@pytest.mark.parametrize("n", range(3))
def test_marked(n): ...

@pytest.fixture
def engine():
    pytest.skip("needs an engine")

def test_in_a_fixture(engine): ...
def test_that_runs(): ...
"""


@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["alone", "side by side"])
def test_each_reason_is_told_once_with_its_number(tmp_path, options):
    (tmp_path / "test_some.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", *options]
    done = subprocess.run([*command, tmp_path / "test_some.py"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    told = re.findall(r"^ +(\d+)  (.+)$", done.stdout, re.MULTILINE)
    assert told == [("3", "needs a server"), ("1", "needs an engine")]
