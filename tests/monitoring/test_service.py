"""The monitor as others meet it: over HTTP, as a process that is killed and comes back."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import get_args

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from reprune.drift.monitor.monitor_state import Keeper, Verdict
from reprune.drift.monitor.watchdog import Progress
from reprune.monitoring.launchers import DryRun
from reprune.monitoring.monitor import Monitor
from reprune.monitoring.service import Server, Token
from reprune.storage.uri import open_store
from tests.conftest import free_port
from tests.monitoring import production
from tests.reprune.drift import bombs

TOKEN = "a-token-of-enough-letters"


class Recorder(DryRun):
    """A launcher that writes down what it starts."""

    dry_run = False

    def __init__(self):
        self.started = []

    def start(self, launch):
        self.started.append(launch)
        return "handle"

    def outcome(self, launch):
        return None


class Client:
    """Speaks to a monitor."""

    def __init__(self, port):
        self.address = f"http://127.0.0.1:{port}"

    def get(self, path, body=None, headers=None):
        request = urllib.request.Request(self.address + path, data=body, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def post(self, *alerts, token=TOKEN, body=None):
        if body is None:
            body = json.dumps({"version": "4", "alerts": alerts}).encode()
        status, text = self.get("/alerts", body, {"Authorization": f"Bearer {token}"} if token else {})
        return status, json.loads(text)

    def metric(self, name, **labels):
        """Return the value of one metric."""
        for family in text_string_to_metric_families(self.get("/metrics")[1]):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return sample.value
        raise AssertionError(f"no {name} {labels}")

    def refused(self, reason):
        return self.metric("reprune_monitor_refusals_total", reason=reason)


def alert(fingerprint="ab12", status="firing", **labels):
    labels = {"alertname": "RepruneDriftConfirmed", "workload": production.NAME, "action": "reprune"} | labels
    return {
        "status": status,
        "labels": labels,
        "annotations": {},
        "startsAt": "2026-11-21T14:00:00.000Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph",
        "fingerprint": fingerprint,
    }


@pytest.fixture
def store(tmp_path):
    store = open_store(tmp_path / "store")
    production.promote(store, tmp_path / "champion")
    return store


@pytest.fixture
def launcher():
    return Recorder()


@pytest.fixture
def token():
    return Token(given=TOKEN)


@pytest.fixture
def unwatched(store, launcher):
    """A monitor that has not looked at the store yet."""
    return Monitor(production.workload(monitor={"window_memory_megabytes": 128}), store, launcher)


@pytest.fixture
def monitor(unwatched):
    unwatched.look()
    return unwatched


@pytest.fixture
def client(monitor, token):
    with Server(("127.0.0.1", 0), monitor, token) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield Client(server.server_port)
        server.shutdown()


def test_a_firing_alert_starts_one_re_prune_however_often_it_is_sent(client, launcher):
    status, answer = client.post(alert())
    assert status == 200
    assert answer == {"alerts": [{"started": launcher.started[0].id, "progress": "running"}]}
    assert client.post(alert())[1] == {"alerts": [{"refused": "answered"}]}
    assert client.post(alert("cd34"))[1] == {"alerts": [{"refused": "in-flight"}]}
    assert len(launcher.started) == 1
    assert client.refused("answered") == client.refused("in-flight") == 1
    assert client.metric("reprune_monitor_launches_total", source="alert") == 1


def test_alerts_that_ask_for_nothing_are_passed_over(client, launcher):
    for passed, other in (
        ("resolved", alert(status="resolved")),
        ("other-workload", alert(workload="another")),
        ("no-action", alert(action="page")),
    ):
        assert client.post(other) == (200, {"alerts": [{"passed": passed}]})
        assert client.refused(passed) == 1
    assert launcher.started == []


@pytest.mark.parametrize("given", ["", "another-token-of-letters", TOKEN + "x", TOKEN[:-1]])
def test_without_the_token_nothing_is_read(client, launcher, given):
    status, answer = client.post(alert(), token=given)
    assert status == 401 and TOKEN not in str(answer)
    assert client.refused("unauthorized") == 1 and launcher.started == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{not json",
        b"\xff\xfe",
        b'{"version": "3", "alerts": []}',
        b'{"version": "4"}',
        json.dumps({"version": "4", "alerts": [alert(fingerprint="../../etc")]}).encode(),
        json.dumps({"version": "4", "alerts": [alert()] * 1001}).encode(),
        b"[" * 100_000,
    ],
    ids=["empty", "list", "no json", "no text", "version", "no alerts", "fingerprint", "too many", "deep"],
)
def test_a_body_that_is_none_of_alertmanagers_starts_nothing(client, launcher, body):
    status, answer = client.post(body=body)
    assert status == 400 and "no webhook of Alertmanager" in answer["error"]
    assert client.refused("malformed") == 1 and launcher.started == []


def test_a_body_that_is_too_large_is_not_read(client, launcher):
    host, port = client.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        head = f"POST /alerts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 2000000\r\n\r\n"
        connection.sendall(head.encode())
        assert b" 413 " in connection.recv(1000)
    assert client.refused("oversized") == 1 and launcher.started == []


@pytest.mark.parametrize("token", [Token()])
def test_without_a_token_of_its_own_it_takes_no_alerts(client, launcher):
    assert client.post(alert())[0] == 403
    assert client.refused("no-token") == 1 and launcher.started == []


def test_a_token_in_a_file_may_change_and_must_not_be_short(tmp_path):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    token = Token(file)
    assert token.read() == TOKEN
    file.write_text("another-token-of-letters")
    assert token.read() == "another-token-of-letters"
    file.write_text("short")
    with pytest.raises(Exception, match="fewer than 16"):
        Token(file)


def test_a_launcher_that_fails_lets_alertmanager_try_again(client, launcher, monkeypatch):
    from reprune.errors import StepError

    def fail(launch):
        raise StepError("the server is away")

    monkeypatch.setattr(launcher, "start", fail)
    assert client.post(alert()) == (502, {"alerts": [{"failed": "the server is away"}]})


def test_it_is_ready_once_it_has_looked(unwatched, token):
    with Server(("127.0.0.1", 0), unwatched, token) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        client = Client(server.server_port)
        assert client.get("/healthz") == (200, "alive\n")
        assert client.get("/readyz") == (503, "the store has not been looked at yet\n")
        assert client.post(alert())[1] == {"alerts": [{"refused": "no-champion"}]}
        server.shutdown()


class Hanging(Recorder):
    """Starts re-prunes on a server that accepts connections and, for a while, never answers."""

    def __init__(self):
        super().__init__()
        self.asked, self.answers = threading.Event(), threading.Event()

    def outcome(self, launch):
        self.asked.set()
        self.answers.wait()


def test_it_is_unhealthy_while_it_stands_still_and_healthy_again_afterwards(store, token):
    launcher, stop, seconds = Hanging(), threading.Event(), [0.0]
    monitor = Monitor(production.workload(), store, launcher, Progress(lambda: seconds[0]))
    monitor.look()
    watching = threading.Thread(target=monitor.watch, args=(stop, 3600), daemon=True)
    with Server(("127.0.0.1", 0), monitor, token) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        server.watching = watching.is_alive
        client = Client(server.server_port)
        assert client.post(alert())[0] == 200
        watching.start()
        assert launcher.asked.wait(60)
        assert client.get("/healthz") == (200, "alive\n") and client.get("/readyz")[0] == 200
        seconds[0] += client.metric("reprune_monitor_progress_limit_seconds") + 1
        status, said = client.get("/healthz")
        assert status == 500 and "no progress for 5101 s" in said and "re-prunes" in said
        assert client.get("/readyz") == (503, said) and client.metric("reprune_monitor_ready") == 0
        assert client.metric("reprune_monitor_progress_age_seconds") == 5101 and "stalled" in client.get("/")[1]
        launcher.answers.set()
        await_(lambda: client.get("/readyz")[0] == 200)
        assert client.get("/healthz") == (200, "alive\n")
        stop.set()
        server.shutdown()


def test_a_window_that_was_set_aside_is_shown_and_counted(client, monitor, store):
    path = Path(store.uri) / production.key_of("a.npz")
    path.parent.mkdir(parents=True)
    bombs.npz(path, (1 << 60, 0))
    production.log_window(store, "b", count=20_000, columns=1500, seed=10)
    production.log_window(store, "c", seed=10)
    monitor.look()
    counted = [client.metric("reprune_monitor_windows_total", verdict=it) for it in get_args(Verdict)]
    assert dict(zip(get_args(Verdict), counted, strict=True)) == {
        "drift": 0, "no drift": 1, "inconclusive": 0, "broken": 1, "set aside": 1
    }  # fmt: skip
    page = client.get("/")[1]
    assert "rows without any values" in page and "monitor.window_memory_megabytes" in page
    assert client.get("/healthz")[0] == client.get("/readyz")[0] == 200


def test_it_is_not_ready_while_the_store_is_gone(client, monitor, tmp_path):
    assert client.get("/readyz") == (200, "ready\n")
    (tmp_path / "store").rename(tmp_path / "away")
    (tmp_path / "store").write_text("a file")
    monitor.look()
    assert client.get("/readyz")[0] == 503
    assert client.post(alert())[0] == 503
    assert client.metric("reprune_monitor_ready") == 0 and client.metric("reprune_monitor_errors_total") == 1
    assert client.metric("reprune_champion_accuracy_ratio") == 0.989, "what was known last is still told"
    assert "failed" in client.get("/")[1]
    (tmp_path / "store").unlink()
    (tmp_path / "away").rename(tmp_path / "store")
    monitor.look()
    assert client.get("/readyz")[0] == 200


def test_the_page_tells_what_is_known_and_escapes_what_came_from_outside(client, monitor, store):
    production.log_window(store, "a", seed=10, shift=1.0)
    monitor.look()
    client.post(alert(alertname="<script>alert(1)</script>"))
    status, page = client.get("/")
    assert status == 200 and "<script>" not in page and "&lt;script&gt;" in page
    for told in ("signals in production", "correlations of inputs", "98.9%", "2.00x", "running"):
        assert told in page


def test_other_paths_and_methods_are_refused(client):
    assert client.get("/etc/passwd")[0] == 404
    assert client.get("/metrics", body=b"{}")[0] == 404
    request = urllib.request.Request(client.address + "/", method="DELETE")
    with pytest.raises(urllib.error.HTTPError, match="501"):
        urllib.request.urlopen(request, timeout=10)


def await_(condition, seconds=60):
    for _ in range(int(seconds * 20)):
        try:
            if condition():
                return
        except (OSError, AssertionError):
            pass
        time.sleep(0.05)
    raise AssertionError("it did not come about")


def test_killed_at_any_moment_it_comes_back_with_all_it_knew(store, tmp_path):
    (tmp_path / "workload.yaml").write_text(
        yaml.safe_dump({"name": production.NAME, "model": "nowhere:build", "data": "nowhere:load"})
    )
    port = free_port()
    command = [sys.executable, "-m", "reprune", "monitor", "workload.yaml", "--store", "store", "--interval", "0.2"]
    client, keeper = Client(port), Keeper(store, production.NAME)
    environment = os.environ | {"REPRUNE_MONITOR_TOKEN": TOKEN}
    log = (tmp_path / "log").open("wb")

    def start():
        return subprocess.Popen(
            [*command, "--listen", f"127.0.0.1:{port}"], cwd=tmp_path, env=environment, stdout=log, stderr=log
        )

    production.log_window(store, "a", seed=10, shift=1.0)
    first = start()
    await_(lambda: keeper.read().drifted == 1 and client.get("/readyz")[0] == 200)
    assert client.post(alert())[1]["alerts"][0]["progress"] == "dry-run"
    first.kill()
    first.wait()
    second = start()
    try:
        await_(lambda: client.get("/readyz")[0] == 200)
        assert client.metric("reprune_monitor_windows_total", verdict="drift") == 1
        assert client.metric("reprune_monitor_drift_windows") == 1
        assert client.post(alert())[1] == {"alerts": [{"refused": "answered"}]}
    finally:
        second.send_signal(signal.SIGTERM)
        assert second.wait(timeout=30) == 0
    assert TOKEN not in (tmp_path / "log").read_text()
