"""A small server that speaks the API of Kubeflow Pipelines, held to that project's own description of it."""

import itertools
import json
import re
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import jsonschema
import pytest
import yaml

API = json.loads((Path(__file__).parent / "kfp_api" / "swagger.json").read_text())
BASE = "/apis/v2beta1"
PAGE = 2  # few, so that lists have pages
EPOCH = datetime(2026, 11, 21, tzinfo=UTC)


class Refused(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status, self.message = status, message


def closed(definition):
    """Return a definition that refuses keys it does not name."""
    return definition | {"additionalProperties": False} if "properties" in definition else definition


SCHEMA = {"definitions": {name: closed(it) for name, it in API["definitions"].items()}}


def operation(method, path):
    for template, methods in API["paths"].items():
        form = re.sub(r"\{[^}]+\}", "([^/:]+)", template)
        match = re.fullmatch(form, path)
        if match and method in methods and "{" not in path:
            return methods[method], match.groups()
    raise Refused(404, f"no such path: {method} {path}")


def check(schema, value):
    jsonschema.Draft4Validator(SCHEMA | schema).validate(value)


class KubeflowPipelines:
    """What a server holds, and what it was asked for."""

    def __init__(self):
        self.pipelines, self.versions, self.experiments, self.runs, self.schedules = {}, {}, {}, {}, {}
        self.token = None
        self.forbidden = set()
        self.multi_user = False
        self.changes = []
        self.ended_with_their_schedule = []
        self._count = itertools.count(1)

    def stamp(self, kind):
        number = next(self._count)
        return f"{kind}-{number}", (EPOCH + timedelta(seconds=number)).isoformat().replace("+00:00", "Z")

    def answer(self, method, path, query, body, token):
        described, names = operation(method, path)
        name = described["operationId"].rpartition("_")[2]
        if self.token and token != f"Bearer {self.token}":
            raise Refused(401, "Request header error: there is no user identity header")
        if name in self.forbidden:
            raise Refused(403, f"User 'jane' is not authorized with reason: no verb for {name}")
        parameters = {it["name"]: it for it in described.get("parameters", ()) if it["in"] == "query"}
        if set(query) - set(parameters):
            raise Refused(400, f"unknown query parameters: {set(query) - set(parameters)}")
        for it in described.get("parameters", ()):
            if it["in"] == "body":
                check(it["schema"], body)
        if method != "get":
            self.changes.append(name)
        answer = getattr(self, f"do_{name}")(*names, query=query, body=body)
        check(described["responses"]["200"]["schema"], answer)
        return answer

    def listed(self, key, items, query):
        for predicate in json.loads(query.get("filter", "{}")).get("predicates", ()):
            assert predicate["operation"] == "EQUALS"
            items = [it for it in items if it[predicate["key"]] == predicate["stringValue"]]
        if self.multi_user and "experiment_id" not in query and not query.get("namespace"):
            raise Refused(400, "Invalid input error: a namespace cannot be empty in multi-user mode")
        ordered = sorted(items, key=lambda it: it["created_at"], reverse="desc" in query.get("sort_by", ""))
        start = int(query.get("page_token") or 0)
        page = {key: ordered[start : start + PAGE], "total_size": len(ordered)}
        return page | ({"next_page_token": str(start + PAGE)} if start + PAGE < len(ordered) else {})

    def do_GetHealthz(self, *, query, body):
        return {"multi_user": self.multi_user}

    def do_ListPipelines(self, *, query, body):
        return self.listed("pipelines", self.pipelines.values(), query)

    def do_CreatePipeline(self, *, query, body):
        if any(it["display_name"] == body["display_name"] for it in self.pipelines.values()):
            raise Refused(409, f"The name {body['display_name']} already exists. Please specify a new name")
        identifier, created = self.stamp("pipeline")
        self.pipelines[identifier] = body | {"pipeline_id": identifier, "created_at": created}
        return self.pipelines[identifier]

    def do_ListPipelineVersions(self, pipeline, *, query, body):
        items = [it for it in self.versions.values() if it["pipeline_id"] == pipeline]
        return self.listed("pipeline_versions", items, query)

    def do_UploadPipelineVersion(self, *, query, body):
        if query["pipelineid"] not in self.pipelines:
            raise Refused(404, f"Pipeline {query['pipelineid']} not found")
        spec, platform = yaml.safe_load_all(body)
        identifier, created = self.stamp("version")
        self.versions[identifier] = {
            "pipeline_id": query["pipelineid"],
            "pipeline_version_id": identifier,
            "display_name": query["name"],
            "name": query["name"],
            "created_at": created,
            "pipeline_spec": {"pipeline_spec": spec, "platform_spec": platform},
        }
        return self.versions[identifier]

    def do_ListExperiments(self, *, query, body):
        return self.listed("experiments", self.experiments.values(), query)

    def do_CreateExperiment(self, *, query, body):
        identifier, created = self.stamp("experiment")
        self.experiments[identifier] = body | {"experiment_id": identifier, "created_at": created}
        return self.experiments[identifier]

    def do_ListRuns(self, *, query, body):
        items = [it for it in self.runs.values() if it["experiment_id"] == query["experiment_id"]]
        return self.listed("runs", items, query)

    def do_CreateRun(self, *, query, body):
        reference = body["pipeline_version_reference"]
        if self.versions[reference["pipeline_version_id"]]["pipeline_id"] != reference["pipeline_id"]:
            raise Refused(400, "the version belongs to another pipeline")
        assert body["experiment_id"] in self.experiments
        return self.add_run(body)

    def add_run(self, body, state="RUNNING"):
        identifier, created = self.stamp("run")
        self.runs[identifier] = body | {
            "run_id": identifier,
            "created_at": created,
            "finished_at": "1970-01-01T00:00:00Z",  # what the server says of one that has not ended
            "state": state,
        }
        return self.runs[identifier]

    def do_ListRecurringRuns(self, *, query, body):
        return self.listed("recurringRuns", self.schedules.values(), query)

    def do_CreateRecurringRun(self, *, query, body):
        assert body["pipeline_version_reference"]["pipeline_id"] in self.pipelines
        assert len(body["trigger"]["cron_schedule"]["cron"].split()) == 6
        identifier, created = self.stamp("schedule")
        status = {"ENABLE": "ENABLED", "DISABLE": "DISABLED"}[body["mode"]]
        self.schedules[identifier] = body | {
            "recurring_run_id": identifier,
            "created_at": created,
            "status": status,
        }
        return self.schedules[identifier]

    def do_DisableRecurringRun(self, schedule, *, query, body):
        self.schedules[schedule] |= {"status": "DISABLED", "mode": "DISABLE"}
        return {}

    def do_DeleteRecurringRun(self, schedule, *, query, body):
        """As servers before 2.15 do: the runs go with it, whatever the propagation policy."""
        del self.schedules[schedule]
        self.ended_with_their_schedule += [
            name
            for name, run in self.runs.items()
            if run.get("recurring_run_id") == schedule and run["state"] == "RUNNING"
        ]
        return {}

    def fire(self, schedule):
        """Start the run that a schedule would start now, of the version that is newest now."""
        it = self.schedules[schedule]
        reference = it["pipeline_version_reference"]
        newest = max(
            (v for v in self.versions.values() if v["pipeline_id"] == reference["pipeline_id"]),
            key=lambda v: v["created_at"],
        )
        version = reference.get("pipeline_version_id") or newest["pipeline_version_id"]
        body = {
            "display_name": f"{it['display_name']}-1",
            "experiment_id": it["experiment_id"],
            "pipeline_version_reference": {"pipeline_id": reference["pipeline_id"], "pipeline_version_id": version},
            "recurring_run_id": schedule,
        }
        return self.add_run(body)


def handler(kubeflow):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def _do(self):
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            url = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            try:
                if self.headers.get("Content-Type", "").startswith("multipart/form-data"):
                    boundary = self.headers["Content-Type"].partition("boundary=")[2].encode()
                    body = data.split(b"--" + boundary)[1].partition(b"\r\n\r\n")[2]
                else:
                    body = json.loads(data) if data else None
                status, answer = (
                    200,
                    kubeflow.answer(self.command.lower(), url.path, query, body, self.headers.get("authorization")),
                )
            except Refused as refused:
                status, answer = refused.status, {"code": refused.status, "message": refused.message, "details": []}
            except (jsonschema.ValidationError, AssertionError, LookupError) as error:
                status, answer = 500, {"code": 13, "message": f"the test's server: {error!r}", "details": []}
            payload = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_DELETE = do_PATCH = _do

    return Handler


def serving(handler_class):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_class)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def kubeflow():
    """A server of Kubeflow Pipelines with nothing in it."""
    holds = KubeflowPipelines()
    server, holds.host = serving(handler(holds))
    yield holds
    server.shutdown()
    server.server_close()


@pytest.fixture
def login_page():
    """The address of a server that answers everything with a page to log in at."""

    class Page(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<html><body>Log in</body></html>")

        do_POST = do_GET

    server, host = serving(Page)
    yield host
    server.shutdown()
    server.server_close()
