"""Files that declare more than they hold are refused before they are read, and with them work without end."""

import os
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from reprune.cli.app import app
from reprune.drift import declared_size, file_readers
from reprune.errors import InputError
from tests.reprune.drift import bombs

ABSURD = 1 << 60


def rows_of(path, **limits):
    return sum(len(next(iter(batch.values()))) for batch in file_readers.batches(path, {}, skip=(), **limits))


BOMBS = {
    "rows of no values": lambda folder: bombs.npz(folder / "a.npz", (ABSURD, 0)),
    "rows of empty text": lambda folder: bombs.npz(folder / "a.npz", (ABSURD,), "<U0"),
    "rows without end": lambda folder: bombs.npz(folder / "a.npz", (ABSURD,), data=bytes(80)),
    "one row without end": lambda folder: bombs.npz(folder / "a.npz", (1, ABSURD, ABSURD), data=bytes(80)),
    "rows below none": lambda folder: bombs.npz(folder / "a.npz", (-5, 3)),
    "more bytes than deflate can pack": lambda folder: bombs.directory_of(
        bombs.npz(folder / "a.npz", (1 << 28,), method=zipfile.ZIP_DEFLATED), size=(1 << 31) + 128
    ),
    "another way of packing": lambda folder: bombs.npz(
        folder / "a.npz", (1 << 24,), "|u1", bytes(1 << 24), method=zipfile.ZIP_LZMA
    ),
    "entries that overlap": lambda folder: bombs.overlapping(folder / "a.npz", 5000),
    "Parquet rows without end": lambda folder: bombs.parquet(folder / "a.parquet", ABSURD),
    "a CSV line without end": lambda folder: bombs.endless_line(folder / "a.csv"),
}


@pytest.fixture(params=BOMBS.values(), ids=BOMBS)
def bomb(request, tmp_path):
    return request.param(tmp_path)


def test_a_file_that_declares_more_than_it_holds_is_refused(bomb):
    with pytest.raises(InputError, match=str(bomb)):
        rows_of(bomb)


@pytest.mark.parametrize("rows", [20_000, 1 << 31])
def test_a_parquet_file_of_fewer_rows_than_it_declares_is_refused(rows, tmp_path):
    with pytest.raises(InputError, match=f"declares {rows:,} rows"):
        rows_of(bombs.parquet(tmp_path / "a.parquet", rows))


def test_rows_of_which_no_column_is_read_are_not_counted_one_by_one(tmp_path):
    path = bombs.parquet(tmp_path / "a.parquet", declared_size.MOST_ROWS)
    with pytest.raises(InputError, match="no columns to read"):
        list(file_readers.batches(path, {}, skip=("input",)))


@pytest.mark.parametrize(
    "command",
    [
        ["drift", "--reference", "good.csv", "--window", "BOMB"],
        ["drift", "--reference", "BOMB", "--window", "good.csv"],
        ["reference", "BOMB", "--out", "reference.safetensors"],
    ],
    ids=["window", "reference", "a reference to keep"],
)
def test_the_command_line_refuses_it_as_bad_input(bomb, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.csv").write_text("input\n" + "1\n2\n" * 50)
    done = CliRunner().invoke(app, [bomb.name if it == "BOMB" else it for it in command])
    assert isinstance(done.exception, InputError) and done.exception.exit_code == 2, done.output
    assert bomb.name in done.exception.message and not (tmp_path / "reference.safetensors").exists()


@pytest.mark.parametrize("suffix", file_readers.SUFFIXES)
def test_a_pipe_is_no_file(suffix, tmp_path):
    os.mkfifo(tmp_path / f"a{suffix}")
    with pytest.raises(InputError, match="no regular file"):
        rows_of(tmp_path / f"a{suffix}")


SIZES = st.one_of(st.integers(0, 4), st.sampled_from([1 << 31, 1 << 32, 1 << 60, 1 << 63, 1 << 70]))


@settings(deadline=None, max_examples=200)
@given(
    shape=st.lists(SIZES, min_size=1, max_size=4),
    dtype=st.sampled_from(["<f8", "<f4", "|u1", "|b1", "<i8", "<U0", "|S0", "<U3", "|V0", "<c16"]),
    held=st.integers(0, 300),
)
def test_whatever_a_header_declares_no_more_rows_come_than_there_are_bytes(tmp_path_factory, shape, dtype, held):
    path = bombs.npz(tmp_path_factory.mktemp("npz") / "a.npz", shape, dtype, bytes(held))
    try:
        rows = rows_of(path)
    except InputError:
        return
    assert rows == shape[0] <= held


def test_real_files_of_few_bytes_and_many_rows_are_read(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", input=np.zeros((200_000, 3)))
    pq.write_table(pa.table({"input": [[0.0, 0.0]] * 100_000, "id": [1] * 100_000}), tmp_path / "a.parquet")
    np.savez(tmp_path / "none.npz", input=np.zeros((0, 3)))
    assert (rows_of(tmp_path / "a.npz"), rows_of(tmp_path / "a.parquet")) == (200_000, 100_000)
    assert rows_of(tmp_path / "none.npz") == 0


@pytest.mark.parametrize("suffix", file_readers.SUFFIXES)
def test_a_limit_holds_for_what_a_file_is_once_it_is_unpacked(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    if suffix == ".npz":
        np.savez_compressed(path, input=np.zeros(100_000))
    elif suffix == ".parquet":
        pq.write_table(pa.table({"input": np.zeros(100_000)}), path)
    else:
        path.write_text("input\n" + "1.2345\n" * 100_000)
    assert rows_of(path, most_bytes=900_000) == 100_000
    with pytest.raises(InputError, match="at most 500,000 are read"):
        rows_of(path, most_bytes=500_000)


def test_the_limits_are_far_above_real_logs():
    assert declared_size.MOST_ROWS >= 10**9 and declared_size.MOST_BYTES >= 10**12
