"""No package and no image carries the benchmarks."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = "from setuptools.build_meta import build_wheel; build_wheel('wheels')"
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "build", "*.egg-info", "docs", "manifests")


def test_the_wheel_holds_the_library_and_its_shells_alone(tmp_path):
    pytest.importorskip("setuptools", minversion="77")  # what pyproject.toml builds with
    shutil.copytree(ROOT, tmp_path / "source", ignore=NOT_COPIED)
    done = subprocess.run([sys.executable, "-c", BUILD], cwd=tmp_path / "source", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "source" / "wheels").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "reprune/__init__.py" in names and "reprune/components/__init__.py" in names
    assert all(re.match(r"reprune(/|-[\d.]+\.dist-info/)", name) for name in names)


def test_the_images_are_built_without_the_benchmarks():
    first, *exceptions = (ROOT / ".dockerignore").read_text().split()
    assert first == "*" and "!benchmarks" not in exceptions
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Containerfile").read_text(), re.MULTILINE)
    assert copied and not [
        source for each in copied for source in each.split() if source.startswith(("benchmarks", "."))
    ]
