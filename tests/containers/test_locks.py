"""The locks are what the images are made from; here they are held against what the project asks for."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "manifests" / "images"
LOCKS = sorted(path.name for path in IMAGES.glob("*.lock"))


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def versions(path):
    """Return what a file of requirements pins, without the local part of a version (``+cpu``)."""
    return {normal(n): v for n, v in re.findall(r"^([\w.-]+)==([^\s+;]+)", path.read_text(), re.MULTILINE)}


@pytest.mark.parametrize("lock", LOCKS)
def test_everything_in_a_lock_has_a_hash(lock):
    entries = re.split(r"\n(?=\w)", (IMAGES / lock).read_text().strip())
    assert entries and all("--hash=sha256:" in entry for entry in entries)


@pytest.mark.parametrize("lock", [it for it in LOCKS if it != "build.lock"])
def test_a_lock_has_the_versions_that_are_tested_together(lock):
    tested = versions(ROOT / "constraints.txt")
    locked = versions(IMAGES / lock)
    assert {n: v for n, v in locked.items() if n in tested} == {n: v for n, v in tested.items() if n in locked}


@pytest.mark.parametrize("lock", ["train-cpu.lock", "train-cuda.lock"])
def test_what_every_step_may_import_is_locked(lock):
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {normal(re.match(r"[\w.-]+", it)[0]) for it in asked}
    missing = names - set(versions(IMAGES / lock)) - ({"onnxruntime"} if "cuda" in lock else set())
    assert not missing, "run `make lock`"


@pytest.mark.parametrize("name", ["runtime", "monitor"])
def test_what_an_image_lists_is_locked(name):
    listed = [line.split("#")[0].strip() for line in (IMAGES / f"{name}.in").read_text().splitlines()]
    assert {normal(it) for it in listed if it} <= set(versions(IMAGES / f"{name}.lock")), "run `make lock`"
