"""Real servers that several folders of tests share, and why tests were skipped."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import boto3
import pytest
from botocore.config import Config

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as many tests run side by side as there are cores

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # the tests run as a shell's job in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what they start, they send Ctrl-C to


def pytest_terminal_summary(terminalreporter):
    """Say why tests were skipped: each reason once, with the number of tests."""
    reasons = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", []))
    if reasons:
        terminalreporter.section("why tests were skipped", sep="-")
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count:5}  {reason}")


def _reason(report):
    return report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple | list) else "not stated"


GIVEN_ENDPOINT = "REPRUNE_TEST_S3_ENDPOINT"


@dataclass(frozen=True)
class S3:
    """A bucket of its own on a real S3 server; the AWS variables of this process and its children point there."""

    endpoint: str
    bucket: str

    @property
    def uri(self):
        return f"s3://{self.bucket}/prefix"

    @cached_property
    def client(self):
        plain = Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required")
        return boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1", config=plain)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def moto_endpoint(tmp_path_factory):
    """Moto's server in a process of its own."""
    port = free_port()
    log = tmp_path_factory.mktemp("moto") / "log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as server:
        try:
            for _ in range(600):
                assert server.poll() is None, log.read_text()
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


@contextlib.contextmanager
def _bucket(kind, request, monkeypatch):
    if kind == "given":
        endpoint = os.environ.get(GIVEN_ENDPOINT)
        if not endpoint:
            pytest.skip(f"no S3 server given: set {GIVEN_ENDPOINT}, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    else:
        endpoint = request.getfixturevalue("moto_endpoint")
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing-secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    server = S3(endpoint, f"reprune-{uuid.uuid4().hex[:16]}")
    server.client.create_bucket(Bucket=server.bucket)
    yield server
    for page in server.client.get_paginator("list_objects_v2").paginate(Bucket=server.bucket):
        for item in page.get(
            "Contents", []
        ):  # one by one: DeleteObjects wants checksums that older servers do not know
            server.client.delete_object(Bucket=server.bucket, Key=item["Key"])
    server.client.delete_bucket(Bucket=server.bucket)


@pytest.fixture(params=["moto", "given"])
def s3(request, monkeypatch):
    """An S3 server with an empty bucket: moto's always, and the one that REPRUNE_TEST_S3_ENDPOINT names if it is set.

    The keys for that one stand in the usual AWS variables.
    """
    with _bucket(request.param, request, monkeypatch) as server:
        yield server


@pytest.fixture(params=["folder", "moto", "given"])
def store(request, monkeypatch, tmp_path_factory):
    """Each kind of store, empty."""
    from reprune.storage.uri import open_store

    if request.param == "folder":
        yield open_store(tmp_path_factory.mktemp("folder") / "store")
        return
    with _bucket(request.param, request, monkeypatch) as server:
        yield open_store(server.uri)
