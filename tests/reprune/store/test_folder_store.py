"""What can go wrong with a folder: full and read-only disks, files in the way, writers that are killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from reprune.errors import ConflictError, StoreError
from reprune.storage.base import NotFoundError
from reprune.storage.uri import open_store

NAMESPACE = ["unshare", "-rm"]


def python_on_mount(options, folder, code):
    """Run Python with a small file system of its own on a folder, in a mount namespace that ends with it."""
    if not shutil.which("unshare") or subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets no user make a mount namespace")
    script = f"mount -t tmpfs -o {options} tmpfs {folder} && exec {sys.executable} -c '{code}'"
    return subprocess.run([*NAMESPACE, "sh", "-c", script], capture_output=True, text=True)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"])
def test_what_may_never_end_is_not_read(make, tmp_path):
    store = open_store(tmp_path / "store")
    store.put("a/whole", b"x")
    make(tmp_path / "store" / "a" / "endless")
    with pytest.raises(StoreError, match="a/endless is no regular file"):
        store.get("a/endless")
    with pytest.raises(StoreError, match="a/endless is no regular file"):
        store.download("a/endless", tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists() and store.get("a/whole") == b"x"


def test_a_full_disk_is_told_and_nothing_is_half_written(tmp_path):
    code = f"""
import os
from reprune.errors import StoreError
from reprune.storage.uri import open_store
store = open_store("{tmp_path}")
store.put("small", b"x")
try:
    store.put("big", b"x" * 300_000)
except StoreError as error:
    print(error)
print(sorted(os.listdir("{tmp_path}")))
"""
    done = python_on_mount("size=128k", tmp_path, code)
    assert f"The store {tmp_path} is on a full disk at 'big'." in done.stdout, done.stderr
    assert "Make room there" in done.stdout
    assert "['.lock', 'small']" in done.stdout


def test_a_read_only_store_is_told_before_it_is_needed(tmp_path):
    code = f"""
from reprune.errors import StoreError
from reprune.storage.uri import open_store
store = open_store("{tmp_path}")
store.check()
try:
    store.check(write=True)
except StoreError as error:
    print(error)
"""
    done = python_on_mount("ro", tmp_path, code)
    assert f"The store {tmp_path} is on a read-only file system" in done.stdout, done.stderr


def test_a_folder_of_somebody_else_is_told():
    code = """
import os, sys
from reprune.errors import StoreError
from reprune.storage.uri import open_store
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    open_store(sys.argv[1]).check(write=True)
except StoreError as error:
    print(error)
"""
    with TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o555)
        done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True)
        assert f"The store {folder} cannot be read or written by this user" in done.stdout, done.stderr
        assert os.listdir(folder) == []


def test_a_file_is_no_store_and_no_folder_of_one(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="file is a file"):
        open_store(tmp_path / "file")
    with pytest.raises(StoreError, match="has a file where a folder is needed"):
        open_store(tmp_path / "file" / "below").check(write=True)
    store = open_store(tmp_path)
    with pytest.raises(StoreError, match="has a file where a folder is needed"):
        store.put("file/below", b"x")
    store.put("folder/below", b"x")
    with pytest.raises(StoreError, match="has a file where a folder is needed"):
        store.put("folder", b"x")
    assert store.get("file") == b"x"


def test_a_store_that_is_not_there_is_empty_and_stays_unmade(tmp_path):
    store = open_store(tmp_path / "none")
    store.check()
    assert list(store.list()) == []
    assert not store.exists("k")
    store.delete("k")
    assert not (tmp_path / "none").exists()


def test_what_others_may_read_follows_the_umask(tmp_path):
    open_store(tmp_path).put("k", b"x")
    probe = tmp_path / "probe"
    probe.touch()
    assert (tmp_path / "k").stat().st_mode == probe.stat().st_mode


def test_leftovers_of_killed_writers_are_invisible_and_swept_when_old(tmp_path):
    store = open_store(tmp_path)
    store.put("runs/k", b"x")
    young, old = tmp_path / "runs" / ".tmp-young", tmp_path / "runs" / ".tmp-old"
    for path in (young, old):
        path.write_bytes(b"half")
    long_ago = time.time() - 7200
    os.utime(old, (long_ago, long_ago))
    assert list(store.list()) == ["runs/k"]
    store.check()
    assert old.exists(), "a check that only reads changes nothing"
    store.check(write=True)
    assert not old.exists()
    assert young.exists(), "its writer may still be at work"


@pytest.mark.parametrize("days", [-1, 1])
def test_a_wrong_clock_sweeps_up_no_file_whose_writer_is_at_work(tmp_path, monkeypatch, days):
    store = open_store(tmp_path)
    young, old = tmp_path / ".tmp-young", tmp_path / ".tmp-old"
    for path in (young, old):
        path.write_bytes(b"half")
    long_ago = time.time() - 7200
    os.utime(old, (long_ago, long_ago))
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + days * 86400)
    store.check(write=True)
    assert young.exists() and not old.exists()


WRITER = """
import itertools, sys
from hashlib import sha256
from reprune.storage.uri import open_store
store = open_store(sys.argv[1])
print("ready", flush=True)
for i in itertools.count():
    data = bytes([i % 256]) * 500_000
    store.put("k", sha256(data).digest() + data)
    entry = store.entry("cas") if store.exists("cas") else None
    store.put("cas", str(i).encode(), if_match=entry.token if entry else None, if_absent=entry is None)
"""


def test_a_writer_killed_at_any_time_leaves_a_whole_value_and_no_lock(tmp_path):
    store = open_store(tmp_path)
    for milliseconds in (3, 17, 53, 151, 307):
        with subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE) as writer:
            assert writer.stdout.readline() == b"ready\n"
            while not store.exists("k"):
                time.sleep(0.001)
            until = time.monotonic() + milliseconds / 1000
            seen = [store.get("k")]
            while time.monotonic() < until:
                seen.append(store.get("k"))
            writer.send_signal(signal.SIGKILL)
        for stored in [*seen, store.get("k")]:
            assert sha256(stored[32:]).digest() == stored[:32], "half a value was seen"
        assert set(store.list()) <= {"k", "cas"}
        store.put("after", b"the lock is free", if_absent=True)
        store.delete("after")


class ModelOfAStore(RuleBasedStateMachine):
    """A folder behaves as a dictionary with compare-and-swap."""

    keys = st.sampled_from(["a", "b", "c/d", "c/e", "c/f/g"])
    values = st.binary(max_size=8)

    @initialize()
    def start(self):
        self.folder = TemporaryDirectory()
        self.store = open_store(self.folder.name)
        self.model = {}
        self.tokens = []

    @rule(key=keys, value=values)
    def put(self, key, value):
        self.store.put(key, value)
        self.model[key] = value

    @rule(key=keys, value=values)
    def put_if_absent(self, key, value):
        if key in self.model:
            with pytest.raises(ConflictError):
                self.store.put(key, value, if_absent=True)
        else:
            self.store.put(key, value, if_absent=True)
            self.model[key] = value

    @rule(key=keys)
    def read(self, key):
        if key in self.model:
            entry = self.store.entry(key)
            assert entry.data == self.model[key]
            self.tokens.append((entry.token, entry.data))
        else:
            with pytest.raises(NotFoundError):
                self.store.get(key)

    @rule(key=keys, value=values, data=st.data())
    def swap(self, key, value, data):
        if not self.tokens:
            return
        token, seen = data.draw(st.sampled_from(self.tokens))
        if self.model.get(key) == seen:
            self.store.put(key, value, if_match=token)
            self.model[key] = value
        else:
            with pytest.raises(ConflictError):
                self.store.put(key, value, if_match=token)

    @rule(key=keys)
    def delete(self, key):
        self.store.delete(key)
        self.model.pop(key, None)

    @rule(prefix=st.sampled_from(["", "a", "c", "c/", "c/f/", "z/"]))
    def list(self, prefix):
        assert list(self.store.list(prefix)) == sorted(key for key in self.model if key.startswith(prefix))

    @invariant()
    def no_temporary_file_stays(self):
        if hasattr(self, "folder"):
            assert not list(Path(self.folder.name).rglob(".tmp-*"))

    def teardown(self):
        if hasattr(self, "folder"):
            self.folder.cleanup()


ModelOfAStore.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestFolderAgainstItsModel = ModelOfAStore.TestCase
