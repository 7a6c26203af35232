"""Real programs on loopback, for the tests."""

import json
import shutil
import subprocess
import time
import urllib.request
from contextlib import contextmanager

PROMETHEUS = shutil.which("prometheus")
ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")


@contextmanager
def running(command, log):
    """Run a program as long as the block lasts."""
    with log.open("wb") as output, subprocess.Popen([str(it) for it in command], stdout=output, stderr=output) as run:
        try:
            yield
        finally:
            run.terminate()
            run.wait(timeout=20)


@contextmanager
def prometheus(folder, address):
    """Run Prometheus with the configuration in a folder; yields a function that asks it."""
    command = [PROMETHEUS, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]

    def query(expression):
        quoted = urllib.request.quote(expression)
        return get(f"{address}/api/v1/query?query={quoted}")["data"]["result"]

    with running([*command, f"--web.listen-address={address}"], folder / "prometheus.log"):
        yield query


def get(address):
    with urllib.request.urlopen(f"http://{address}", timeout=5) as answer:
        return json.loads(answer.read())


def await_(what, condition, seconds=60):
    """Wait until a condition is true, and return what it returned."""
    for _ in range(seconds * 10):
        try:
            found = condition()
        except OSError:
            found = None
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come about")
