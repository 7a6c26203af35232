"""What holds for every store."""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from reprune.errors import ConflictError, InputError, IntegrityError
from reprune.storage.base import NotFoundError
from reprune.storage.uri import fetch_file, open_store

BIG = 21 << 20
"""More than two parts of a multipart upload."""


def test_what_is_put_is_read_and_listed_until_it_is_deleted(store):
    store.check(write=True)
    assert list(store.list()) == []
    store.put("a/b.json", b"one")
    store.put("a/b.json", b"two")
    store.put("a-b", b"")
    assert store.get("a/b.json") == b"two"
    assert store.get("a-b") == b""
    assert list(store.list()) == ["a-b", "a/b.json"]
    assert list(store.list("a/")) == ["a/b.json"]
    assert list(store.list("a/b.")) == ["a/b.json"]
    assert list(store.list("nothing/")) == []
    assert store.exists("a/b.json")
    assert not store.exists("a")
    assert abs(datetime.now(UTC) - store.modified("a/b.json")) < timedelta(minutes=5)
    store.delete("a/b.json")
    store.delete("a/b.json")
    assert list(store.list()) == ["a-b"]
    assert not store.exists("a/b.json")


def test_pieces_are_written_as_if_they_were_joined(store):
    store.put_pieces("a/b", [b"one", memoryview(bytearray(b", two")), b""])
    assert store.get("a/b") == b"one, two"
    assert list(store.list()) == ["a/b"]


@pytest.mark.parametrize("name", ["nope", "a/nope", "a"])
def test_what_is_not_there_is_named(store, name, tmp_path):
    store.put("a/b", b"one")
    for read in (store.get, store.entry, store.modified, lambda key: store.download(key, tmp_path / "file")):
        with pytest.raises(NotFoundError, match=f"{re.escape(store.uri)} has no '{name}'"):
            read(name)
    assert list(tmp_path.glob("*file*")) == []


def test_conditions_hold_or_nothing_is_written(store):
    store.check_conditional_writes()
    assert list(store.list()) == [], "the check leaves nothing behind"
    with pytest.raises(ConflictError):
        store.put("k", b"zero", if_match="0" * 32)
    store.put("k", b"one", if_absent=True)
    with pytest.raises(ConflictError):
        store.put("k", b"two", if_absent=True)
    first = store.entry("k")
    store.put("k", b"two", if_match=first.token)
    with pytest.raises(ConflictError):
        store.put("k", b"three", if_match=first.token)
    assert store.get("k") == b"two"


def test_big_files_go_up_and_down_in_pieces(store, tmp_path):
    content = os.urandom(BIG)
    (tmp_path / "big").write_bytes(content)
    digest = store.upload(tmp_path / "big", "x/big")
    assert digest == sha256(content).hexdigest()
    store.download("x/big", tmp_path / "new" / "folder" / "back", sha256=digest)
    assert (tmp_path / "new" / "folder" / "back").read_bytes() == content
    store.put("x/bytes", content * 4)
    assert sha256(store.get("x/bytes")).digest() == sha256(content * 4).digest()


def test_a_wrong_digest_is_told_and_leaves_no_file(store, tmp_path):
    store.put("k", b"flipped")
    expected = sha256(b"original").hexdigest()
    found = sha256(b"flipped").hexdigest()
    for read in (store.get, lambda key, sha256: store.download(key, tmp_path / "file", sha256=sha256)):
        with pytest.raises(IntegrityError, match=f"/k is damaged: its sha256 is {found}, expected {expected}"):
            read("k", sha256=expected)
    assert list(tmp_path.glob("*file*")) == []


def test_json_goes_round_and_damage_is_told(store):
    store.put_json("k.json", {"a": [1, 2.5, None]})
    assert store.get_json("k.json") == {"a": [1, 2.5, None]}
    for damaged in (b"{", b"\xff\xfe\xfd"):
        store.put("k.json", damaged)
        with pytest.raises(IntegrityError, match=r"k\.json is damaged: it is no JSON"):
            store.get_json("k.json")


@pytest.mark.parametrize(
    "key",
    ["", "/etc/passwd", "..", "a/../b", "a//b", "a/", ".hidden", "a/.hidden", "a\\b", "a\nb", "a\0b", "ä", "a" * 201]
    + ["a/" * 360 + "a", "a.", "a ", "-rf", "C:x"],
)
def test_names_that_could_leave_the_store_are_refused(store, key, tmp_path):
    (tmp_path / "file").write_text("x")
    for use in (
        lambda: store.put(key, b"x"),
        lambda: store.get(key),
        lambda: store.exists(key),
        lambda: store.delete(key),
        lambda: store.upload(tmp_path / "file", key),
        lambda: store.download(key, tmp_path / "out"),
    ):
        with pytest.raises(InputError, match="cannot be a name in a store"):
            use()
    assert list(store.list()) == []


@pytest.mark.parametrize("prefix", ["/", "../", "a/../", "a//", ".", "\n"])
def test_prefixes_that_could_leave_the_store_are_refused(store, prefix):
    with pytest.raises(InputError, match="cannot begin a name"):
        list(store.list(prefix))


def test_a_missing_source_is_the_callers_mistake(store, tmp_path):
    with pytest.raises(InputError, match="nope cannot be read: No such file"):
        store.upload(tmp_path / "nope", "k")
    assert list(store.list()) == []


def test_a_file_is_fetched_from_wherever_it_is(store, tmp_path):
    store.put("models/dense v2.safetensors", b"weights")
    fetched = fetch_file(f"{store.uri}/models/dense v2.safetensors", tmp_path)
    assert fetched.read_bytes() == b"weights"
    assert fetched.name == "dense v2.safetensors"


def test_relative_and_file_uris_are_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_store("here").uri == str(tmp_path / "here")
    assert open_store(f"file://{tmp_path}/with%20space").uri == f"{tmp_path}/with space"
    assert list(tmp_path.iterdir()) == [], "opening creates nothing"


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("", "is empty"),
        ("http://user:SECRET@host/x", "http:// is no store"),
        ("file://host/x", "no absolute path"),
        ("file:relative", "no absolute path"),
        ("s3://", "names no bucket"),
        ("s3://KEY:SECRET@bucket/x", "names a bucket that cannot be"),
        ("s3://bucket/../x", "cannot be a name"),
    ],
)
def test_uris_that_are_no_store_are_told_without_their_secrets(uri, told):
    with pytest.raises(InputError, match=told) as caught:
        open_store(uri)
    assert "SECRET" not in str(caught.value)


def test_a_folder_needs_no_boto3():
    code = "import sys, reprune; reprune.open_store('x').check(); sys.exit('boto3' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
