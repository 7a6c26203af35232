"""The monitor over HTTP: metrics, health, a page for people, and Alertmanager's webhook.

The standard library's server is enough: a scrape a few times a minute, a webhook now and then. It takes a bounded
number of connections at a time, each for a bounded time, and bodies of a bounded size.
"""

import json
import logging
import os
import signal
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from reprune import text_files
from reprune.drift.monitor.metrics import registry_of
from reprune.drift.monitor.retrain_trigger import Answer
from reprune.errors import InputError, RepruneError
from reprune.monitoring import status, webhook
from reprune.monitoring.monitor import Monitor

log = logging.getLogger(__name__)

CONNECTIONS = 32
"""Most connections that are served at a time."""
PATIENCE_SECONDS = 10
"""Longest wait for the next bytes of a request."""
ENDING_SECONDS = 10.0
"""Longest wait, when the monitor ends, for what it does just then."""
SHORTEST_TOKEN = 16
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
HTML, TEXT, JSON = "text/html; charset=utf-8", "text/plain; charset=utf-8", "application/json"

Reply = tuple[HTTPStatus, str, bytes]


class Token:
    """The bearer token of the webhook: from a file, which may be changed while the monitor runs, or given.

    Args:
        file: The file; white space around the token is no part of it.
        given: The token itself, where there is no file.

    Raises:
        InputError: The file cannot be read, or the token is too short to be one.
    """

    def __init__(self, file: Path | None = None, given: str = "") -> None:
        self._file, self._given = file, given
        if self.read() and len(self.read()) < SHORTEST_TOKEN:
            raise InputError(
                f"The webhook's token has fewer than {SHORTEST_TOKEN} characters.", "Make one: openssl rand -hex 32."
            )

    def read(self) -> str:
        """Return the token; empty where there is none."""
        if self._file is None:
            return self._given
        return text_files.read(
            self._file, name=f"The webhook's token in {self._file}", remedy="Name a text file."
        ).strip()


class Server(ThreadingHTTPServer):
    """Serves one monitor.

    Args:
        address: Host and port.
        monitor: What it serves.
        token: Of the webhook.
    """

    daemon_threads = True

    def __init__(self, address: tuple[str, int], monitor: Monitor, token: Token) -> None:
        self.monitor, self.token = monitor, token
        self.watching: Callable[[], bool] = lambda: True
        self._room = threading.BoundedSemaphore(CONNECTIONS)
        super().__init__(address, Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, if there is room."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Make room again when the connection has ended."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong, without what was sent."""
        log.exception("a request failed")


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Server
    timeout = PATIENCE_SECONDS
    server_version, sys_version = "reprune", ""

    def do_GET(self) -> None:
        """Answer a GET."""
        pages: dict[str, Callable[[], Reply]] = {
            "/": self._status,
            "/metrics": self._metrics,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
        }
        self._answer({"GET": pages})

    def do_POST(self) -> None:
        """Answer a POST."""
        self._answer({"POST": {"/alerts": self._alerts}})

    def _answer(self, routes: dict[str, dict[str, Callable[[], Reply]]]) -> None:
        path = self.path.partition("?")[0]
        found = routes[self.command].get(path)
        if found is None:
            reply = (HTTPStatus.NOT_FOUND, TEXT, b"There are /, /metrics, /healthz, /readyz, and POST /alerts.\n")
        else:
            try:
                reply = found()
            except InputError as error:
                reply = _json(HTTPStatus.BAD_REQUEST, {"error": error.message})
            except RepruneError as error:
                reply = _json(HTTPStatus.SERVICE_UNAVAILABLE, {"error": error.message})
        code, kind, body = reply
        self.send_response(code)
        for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        if path == "/":
            self.send_header("Refresh", "30")
        self.end_headers()
        self.wfile.write(body)

    def _status(self) -> Reply:
        monitor = self.server.monitor
        page = status.render(monitor.workload, monitor.snapshot(), monitor.problem, dry_run=monitor.dry_run)
        return HTTPStatus.OK, HTML, page.encode()

    def _metrics(self) -> Reply:
        registry = registry_of(self.server.monitor.workload, self.server.monitor.snapshot())
        return HTTPStatus.OK, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(registry)

    def _healthz(self) -> Reply:
        wrong = self.server.monitor.stalled if self.server.watching() else "nothing is watched any more"
        code = HTTPStatus.INTERNAL_SERVER_ERROR if wrong else HTTPStatus.OK
        return code, TEXT, f"{wrong or 'alive'}\n".encode()

    def _readyz(self) -> Reply:
        snapshot, problem = self.server.monitor.snapshot(), self.server.monitor.problem
        if snapshot.ready:
            return HTTPStatus.OK, TEXT, b"ready\n"
        reason = problem.message if problem else self.server.monitor.stalled or "the store has not been looked at yet"
        return HTTPStatus.SERVICE_UNAVAILABLE, TEXT, f"{reason}\n".encode()

    def _alerts(self) -> Reply:
        refusals = self.server.monitor.refusals
        token = self.server.token.read()
        if not token:
            refusals["no-token"] += 1
            return _json(HTTPStatus.FORBIDDEN, {"error": "The monitor has no token, so it takes no alerts."})
        if not webhook.is_authorized(self.headers.get("Authorization"), token):
            refusals["unauthorized"] += 1
            return _json(HTTPStatus.UNAUTHORIZED, {"error": "The bearer token is missing or wrong."})
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            refusals["malformed"] += 1
            return _json(HTTPStatus.LENGTH_REQUIRED, {"error": "The body has no Content-Length."})
        if len(length) > 12 or int(length) > webhook.MAX_BYTES:
            refusals["oversized"] += 1
            told = f"The body is larger than {webhook.MAX_BYTES:,} bytes."
            return _json(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": told})
        try:
            answers = self.server.monitor.alerted(self.rfile.read(int(length)))
        except InputError:
            refusals["malformed"] += 1
            raise
        failed = any(isinstance(answer, Answer) and answer.failure for answer in answers)
        # Alertmanager tries again what ends with a status of 500 or more
        return _json(HTTPStatus.BAD_GATEWAY if failed else HTTPStatus.OK, {"alerts": [_told(it) for it in answers]})

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log no more than method, known path and status: what comes from outside may hold anything."""
        path = getattr(self, "path", "").partition("?")[0]
        known = path if path in ("/", "/metrics", "/healthz", "/readyz", "/alerts") else "another path"
        status_code = str(arguments[1]) if len(arguments) > 1 else "no status"
        log.info("%s %s: %s", self.command if self.command in ("GET", "POST") else "request", known, status_code)


def serve(monitor: Monitor, address: tuple[str, int], token: Token, *, interval: float) -> None:
    """Watch and serve until SIGTERM or SIGINT; what was started goes on.

    Raises:
        InputError: The address cannot be listened on.
    """
    try:
        server = Server(address, monitor, token)
    except OSError as error:
        raise InputError(
            f"{address[0]}:{address[1]} cannot be listened on: {error.strerror}.", "Choose another with --listen."
        ) from None
    stop = threading.Event()
    watching = threading.Thread(target=monitor.watch, args=(stop, interval), name="watch", daemon=True)
    server.watching = watching.is_alive

    def end(number: int, _: Any) -> None:
        log.info("%s: ends; what it started goes on", signal.Signals(number).name)
        stop.set()
        threading.Thread(target=server.shutdown, daemon=True).start()  # it waits for the loop that this interrupts

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    with server:
        watching.start()
        watched = monitor.workload.name, monitor.store.uri
        log.info("process %d watches %s in %s and serves http://%s:%d", os.getpid(), *watched, *address)
        server.serve_forever(poll_interval=0.2)
        monitor.close()
        watching.join(ENDING_SECONDS)


def _json(code: HTTPStatus, value: dict[str, Any]) -> Reply:
    return code, JSON, json.dumps(value).encode() + b"\n"


def _told(answer: Answer | str) -> dict[str, str]:
    if isinstance(answer, str):
        return {"passed": answer}
    if answer.launch is not None:
        return {"started": answer.launch.id, "progress": answer.launch.progress}
    if answer.failure is not None:
        return {"failed": answer.failure.message}
    return {"refused": str(answer.refusal)}
