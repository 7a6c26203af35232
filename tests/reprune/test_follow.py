"""A folder that follows the champion."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from reprune.errors import InputError, IntegrityError
from reprune.inference.champion_sync import Follower
from reprune.registry.registry import Registry
from reprune.storage.uri import open_store


@pytest.fixture
def registry(tmp_path):
    return Registry(open_store(tmp_path / "store"), "toy")


@pytest.fixture
def promote(registry, tmp_path):
    def promote(text):
        source = tmp_path / "made" / text
        source.mkdir(parents=True)
        (source / "model.onnx").write_text(text)
        (source / "notes.txt").write_text("notes")
        version = registry.publish(source)
        return registry.promote(version.id, reason="a test", expected=registry.champion())

    return promote


@pytest.fixture
def listener():
    """A server that is told of new champions; the first time it does not listen."""
    told, answers = [], [503]

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_POST(self):
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(answers.pop() if answers else 200)
            self.end_headers()

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/reload", told
    server.shutdown()
    server.server_close()


def served(folder):
    return (folder / "current" / "model.onnx").read_text()


def test_the_folder_follows_the_champion_and_keeps_the_one_before(registry, promote, tmp_path):
    folder = tmp_path / "models"
    follower = Follower(registry, folder)
    first = promote("one")
    assert follower.update()
    assert served(folder) == "one"
    open_before = (folder / "current" / "model.onnx").open()
    promote("two")
    assert follower.update()
    assert served(folder) == "two"
    assert open_before.read() == "one", "who reads the one before goes on"
    assert not follower.update()
    promote("three")
    follower.update()
    kept = {path.name for path in (folder / "versions").iterdir()}
    assert len(kept) == 2 and first.version not in kept
    registry.rollback(reason="a test")
    follower.update()
    assert served(folder) == "two"


def test_only_what_is_asked_for_is_fetched(registry, promote, tmp_path):
    promote("one")
    Follower(registry, tmp_path / "models", only=["model.onnx"]).update()
    assert [path.name for path in (tmp_path / "models" / "current").iterdir()] == ["model.onnx"]


def test_a_damaged_champion_is_not_served(registry, promote, tmp_path):
    folder = tmp_path / "models"
    follower = Follower(registry, folder)
    promote("one")
    follower.update()
    second = promote("two")
    (damaged,) = (tmp_path / "store").rglob(f"{second.version}/files/model.onnx")
    damaged.chmod(0o644)
    damaged.write_text("not what the digest says")
    with pytest.raises(IntegrityError):
        follower.update()
    assert served(folder) == "one"
    damaged.write_text("two")
    follower.update()
    assert served(folder) == "two"


def test_a_download_that_was_cut_short_is_done_again(registry, promote, tmp_path):
    champion = promote("one")
    partial = tmp_path / "models" / f".{champion.version}.part"
    partial.mkdir(parents=True)
    (partial / "model.onnx").write_text("half of")
    Follower(registry, tmp_path / "models").update()
    assert served(tmp_path / "models") == "one"


def test_no_champion_is_an_error_that_names_the_workload(registry, tmp_path):
    with pytest.raises(InputError, match="toy has no champion"):
        Follower(registry, tmp_path / "models").update()


def test_the_server_is_told_until_it_listens_and_then_no_more(registry, promote, tmp_path, listener):
    url, told = listener
    champion = promote("one")
    follower = Follower(registry, tmp_path / "models", notify=url)
    for _ in range(3):
        follower.update()
    assert [it["version"] for it in told] == [champion.version] * 2
    assert told[0]["path"] == str(tmp_path / "models" / "current")


def test_watching_survives_a_store_that_is_gone_for_a_while(registry, promote, tmp_path):
    promote("one")
    folder, stop = tmp_path / "models", threading.Event()
    follower = Follower(registry, folder)
    follower.update()
    (tmp_path / "store").rename(tmp_path / "away")
    watching = threading.Thread(target=follower.watch, args=(0.01, stop))
    watching.start()
    try:
        assert served(folder) == "one"
        (tmp_path / "away").rename(tmp_path / "store")
        promote("two")
        for _ in range(1000):
            if served(folder) == "two":
                break
            stop.wait(0.01)
        assert served(folder) == "two"
    finally:
        stop.set()
        watching.join()
