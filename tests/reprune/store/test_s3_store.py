"""What can go wrong with S3: no server, no bucket, no rights, and servers that ignore or misread conditions."""

import http.client
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from reprune.errors import InputError, StoreError
from reprune.registry.registry import Registry
from reprune.storage.uri import open_store


class Proxy(ThreadingHTTPServer):
    """Hands every request on to an S3 server, after `change` has had its way with it.

    ``change(method, headers)`` may edit the headers, or return a status to answer with in place of the server;
    ``page`` is the size of its listings; with ``cut`` it hangs up in the middle of each object.
    """

    def __init__(self, endpoint, change, page=None, cut=False):
        super().__init__(("127.0.0.1", 0), _Forward)
        self.upstream = urlsplit(endpoint).netloc
        self.change = change
        self.page = page
        self.cut = cut
        self.seen = []

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class _Forward(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _forward(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append((self.command, self.path))
        status, answer_headers, answer = self.server.change(self.command, headers), [], b""
        if status is None:
            upstream = http.client.HTTPConnection(self.server.upstream)
            path = f"{self.path}&max-keys={self.server.page}" if self.server.page else self.path
            upstream.request(self.command, path, body, headers)
            response = upstream.getresponse()
            status, answer_headers, answer = response.status, response.getheaders(), response.read()
            upstream.close()
        elif isinstance(status, tuple):
            status, answer = status
        self.send_response(status)
        length = str(len(answer))
        for name, value in answer_headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.server.cut and self.command == "GET":
            self.wfile.write(answer[: len(answer) // 2])
            self.close_connection = True
        elif self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _forward

    def log_message(self, *_):
        pass


@pytest.fixture
def bucket(moto_endpoint, s3):
    """A bucket on moto, which checks no signatures, so that a proxy may change requests."""
    if s3.endpoint != moto_endpoint:
        pytest.skip("the given server checks signatures, which a proxy breaks")
    return s3


def dropping(name):
    def change(_, headers):
        headers.pop(name, None)

    return change


def keys_in(bucket):
    return [item["Key"] for item in bucket.client.list_objects_v2(Bucket=bucket.bucket).get("Contents", [])]


@pytest.mark.parametrize("name", ["If-None-Match", "If-Match"])
def test_a_server_that_ignores_conditions_is_refused_for_promotion_and_nothing_is_written(bucket, name, tmp_path):
    (tmp_path / "model").write_text("x")
    with Proxy(bucket.endpoint, dropping(name.lower())) as proxy:
        store = open_store(bucket.uri, endpoint_url=proxy.endpoint)
        registry = Registry(store, "digits")
        version = registry.publish(tmp_path)
        before = keys_in(bucket)
        for use in (
            store.check_conditional_writes,
            lambda: store.put("k", b"x", if_absent=True),
            lambda: registry.promote(version.id, reason="good", expected=None),
        ):
            with pytest.raises(StoreError, match=f"ignores {name}, so two promotions"):
                use()
        assert keys_in(bucket) == before, "neither a probe nor a champion"
        assert registry.champion() is None


def test_a_server_that_knows_the_bare_etag_only_is_served_so(bucket):
    def as_ceph_16(_, headers):
        if "if-match" in headers:
            if headers["if-match"].startswith('"'):
                return 412
            headers["if-match"] = f'"{headers["if-match"]}"'
        return None

    with Proxy(bucket.endpoint, as_ceph_16) as proxy:
        store = open_store(bucket.uri, endpoint_url=proxy.endpoint)
        store.put("k", b"one", if_absent=True)
        store.put("k", b"two", if_match=store.entry("k").token)
        assert store.get("k") == b"two"


def test_checks_leave_nothing_behind(s3):
    store = open_store(s3.uri)
    store.check(write=True)
    store.check_conditional_writes()
    assert keys_in(s3) == []


def test_the_probe_is_made_once_a_process(bucket):
    with Proxy(bucket.endpoint, lambda *_: None) as proxy:
        open_store(bucket.uri, endpoint_url=proxy.endpoint).check_conditional_writes()
        probed = len(proxy.seen)
        open_store(bucket.uri, endpoint_url=proxy.endpoint).check_conditional_writes()
        assert 0 < probed == len(proxy.seen) <= 8


def test_a_promotion_whose_answer_is_lost_is_still_known_to_have_won(bucket, tmp_path):
    """The server writes, the answer is an error, and the retry finds the condition broken by the first try itself."""
    (tmp_path / "model").write_text("x")
    lost = []

    def lose_one_answer(method, headers):
        if method == "PUT" and "if-none-match" in headers and armed and not lost:
            lost.append(True)
            store_direct.put("registry/digits/champion.json", body_of[0])
            return 500
        return None

    armed, body_of = [], []
    store_direct = open_store(bucket.uri)
    with Proxy(bucket.endpoint, lose_one_answer) as proxy:
        store = open_store(bucket.uri, endpoint_url=proxy.endpoint)
        store.check_conditional_writes()
        put = store.put

        def spying(key, data, **condition):
            body_of.append(data)
            armed.append(True)
            put(key, data, **condition)

        registry = Registry(store, "digits")
        version = registry.publish(tmp_path)
        store.put = spying
        champion = registry.promote(version.id, reason="good", expected=None)
    assert lost, "the answer was lost, so this was tested"
    assert champion.version == version.id
    assert len(Registry(store_direct, "digits").history()) == 1


def test_a_server_that_cannot_be_reached_is_told_in_seconds(s3):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://user:SECRET@127.0.0.1:{unused.getsockname()[1]}"
    store = open_store("s3://bucket/prefix", endpoint_url=endpoint)
    started = time.monotonic()
    with pytest.raises(StoreError, match="The S3 server of s3://bucket/prefix cannot be reached") as caught:
        store.check(write=True)
    assert time.monotonic() - started < 30, "an unreachable server must not hang a run"
    assert "SECRET" not in str(caught.value)
    assert "--endpoint-url" in caught.value.remedy


def test_a_server_that_hangs_up_is_told_and_leaves_no_file(bucket, tmp_path):
    open_store(bucket.uri).put("k", b"x" * 100_000)
    with Proxy(bucket.endpoint, lambda *_: None, cut=True) as proxy:
        store = open_store(bucket.uri, endpoint_url=proxy.endpoint)
        for read in (store.get, lambda key: store.download(key, tmp_path / "file")):
            with pytest.raises(StoreError, match="cannot be reached, or hangs up"):
                read("k")
        assert len(proxy.seen) > 4, "each was tried again"
    assert list(tmp_path.glob("*file*")) == []


def test_no_bucket_is_told(s3):
    store = open_store("s3://no-such-bucket-here/x")
    for use in (store.check, lambda: store.get("k"), lambda: store.put("k", b"x"), lambda: list(store.list())):
        with pytest.raises(StoreError, match="There is no bucket for s3://no-such-bucket-here/x"):
            use()


def test_no_credentials_are_told(s3, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(StoreError, match=f"There are no credentials for {re.escape(s3.uri)}"):
        open_store(s3.uri).check()


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"])
def test_denied_access_is_told_without_the_key(bucket, code):
    answer = f"<Error><Code>{code}</Code><Message>the key testing-secret</Message></Error>".encode()
    with Proxy(bucket.endpoint, lambda *_: (403, answer)) as proxy:
        store = open_store(bucket.uri, endpoint_url=proxy.endpoint)
        with pytest.raises(StoreError, match=rf"denies access to {re.escape(bucket.uri)} \({code}\)") as caught:
            store.check(write=True)
        assert "testing" not in str(caught.value)


def test_wrong_keys_are_denied_by_a_server_that_looks_at_them(s3, moto_endpoint, monkeypatch):
    if s3.endpoint == moto_endpoint:
        pytest.skip("moto checks no signatures")
    with monkeypatch.context() as wrong:
        wrong.setenv("AWS_SECRET_ACCESS_KEY", "WRONGSECRET")
        with pytest.raises(StoreError, match="denies access") as caught:
            open_store(s3.uri).check(write=True)
    assert "WRONGSECRET" not in str(caught.value)


def test_a_read_only_bucket_is_told_before_it_is_needed(bucket):
    denied = b"<Error><Code>AccessDenied</Code></Error>"
    with Proxy(bucket.endpoint, lambda method, _: (403, denied) if method == "PUT" else None) as proxy:
        store = open_store(bucket.uri, endpoint_url=proxy.endpoint)
        store.check()
        with pytest.raises(StoreError, match="denies access"):
            store.check(write=True)


def test_an_endpoint_that_is_no_url_is_told():
    with pytest.raises(InputError, match="is no URL"):
        open_store("s3://bucket/x", endpoint_url="not a url")


def test_what_others_keep_in_the_bucket_is_left_alone(s3):
    s3.client.put_object(Bucket=s3.bucket, Key="prefix/.hidden", Body=b"x")
    s3.client.put_object(Bucket=s3.bucket, Key="prefix/folder/", Body=b"")
    s3.client.put_object(Bucket=s3.bucket, Key="prefixed/k", Body=b"x")
    store = open_store(s3.uri)
    store.put("k", b"x")
    assert list(store.list()) == ["k"]


def test_listing_goes_beyond_one_page(bucket):
    store = open_store(bucket.uri)
    names = [f"many/{i}" for i in range(7)]
    for name in names:
        store.put(name, b"")
    with Proxy(bucket.endpoint, lambda *_: None, page=3) as proxy:
        assert list(open_store(bucket.uri, endpoint_url=proxy.endpoint).list("many/")) == names
        assert len(proxy.seen) == 3, "so it went over three pages"
