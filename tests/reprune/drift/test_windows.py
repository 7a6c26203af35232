"""Windows read from files: whole ones, and those that are no good."""

import numpy as np
import pandas as pd
import pytest

from reprune.drift import window_reader
from reprune.drift.summary_file import save
from reprune.drift.window_reader import summarize_reference, summarize_window
from reprune.drift.window_summary import merge
from reprune.errors import InputError
from reprune.storage.uri import open_store

ROWS = 400


def table(rows=ROWS, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "id": [f"r{i}" for i in range(rows)],
            "age": rng.integers(18, 90, rows),
            "height": rng.normal(1.7, 0.1, rows).round(3),
            "colour": rng.choice(["red", "green", "blue"], rows),
            "member": rng.random(rows) < 0.3,
            "predicted_class": rng.integers(0, 3, rows),
            "confidence": rng.random(rows).round(4),
            "label": rng.integers(0, 3, rows),
        }
    )


def write(frame, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        np.savez(
            path, **{name: frame[name].to_numpy(dtype=str if frame[name].dtype == "str" else None) for name in frame}
        )
    return path


def found(path, tmp_path, **options):
    return window_reader.find(path, tmp_path / "scratch", **options)


@pytest.fixture
def reference(tmp_path):
    return summarize_reference(found(write(table(), tmp_path / "reference.parquet"), tmp_path))


def read(frame, path, tmp_path, reference, **options):
    return summarize_window(found(write(frame, path), tmp_path), reference.frame, **options)


def test_parts_of_a_log_on_s3_fetch_their_own_files_and_every_label_and_merge_to_the_whole(s3, tmp_path, reference):
    log, store = tmp_path / "log", open_store(f"{s3.uri}/log")
    for number in range(3):
        rows = table(seed=number + 1).assign(id=lambda t, n=number: f"{n}-" + t["id"])
        write(rows.drop(columns="label"), log / f"day{number}" / "predictions.parquet")
        write(rows[["id", "label"]], log / f"labels{number}.csv")
    (log / "README.txt").write_text("no window")
    for path in log.rglob("*.*"):
        store.upload(path, path.relative_to(log).as_posix())

    def summarised(uri, scratch, **options):
        window = window_reader.find(uri, tmp_path / scratch, name="log", **options)
        return window, summarize_window(window, reference.frame).summary

    whole = summarised(log, "whole")[1]
    parts = [summarised(store.uri, f"part{i}", part=slice(i, None, 2)) for i in range(2)]
    assert [len(window.files) for window, _ in parts] == [2, 1]
    fetched = sorted(path.name for path in (tmp_path / "part1").rglob("*.*"))
    assert fetched == ["labels0.csv", "labels1.csv", "labels2.csv", "predictions.parquet"]
    assert not window_reader.find(store.uri, tmp_path / "none", part=slice(3, None, 4)).files
    save(whole, tmp_path / "whole.safetensors")
    save(merge(parts[1][1], parts[0][1]), tmp_path / "merged.safetensors")
    assert (tmp_path / "merged.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def test_every_format_gives_the_same_summary(tmp_path):
    written = []
    for suffix in ("parquet", "csv", "npz"):
        path = write(table(), tmp_path / f"window.{suffix}")
        window = window_reader.Window("window", tmp_path, (path,))
        chunks = list(window_reader.read(window))
        assert "id" not in chunks[0].columns
        summary = summarize_reference(window)
        save(summary, tmp_path / "summary")
        written.append([(f.name, f.group, f.categorical) for f in summary.frame.fields] + [summary.counts])
        assert summary.rows == ROWS
    assert str(written[0]) == str(written[1]) == str(written[2])
    assert ("label", "labels", True) in written[0] and ("correct", "quality", True) in written[0]
    assert ("age", "inputs", False) in written[0] and ("member", "inputs", True) in written[0]


def test_columns_in_another_order_and_more_of_them_change_nothing(tmp_path, reference):
    shuffled = table()[reversed(table().columns)].assign(extra=1.0)
    plain = read(table(), tmp_path / "a.parquet", tmp_path, reference)
    other = read(shuffled, tmp_path / "b.csv", tmp_path, reference)
    assert all((a == b).all() for a, b in zip(plain.summary.counts, other.summary.counts, strict=True))
    assert plain.notes == () and other.notes == ("not in the reference, so not compared: 'extra'",)


def test_a_window_in_parts_is_the_window(tmp_path, reference):
    whole = read(table(), tmp_path / "whole.parquet", tmp_path, reference).summary
    for i, part in enumerate((table()[:100], table()[100:])):
        write(part, tmp_path / "parts" / f"part-{i}.parquet")
    parts = summarize_window(found(tmp_path / "parts", tmp_path), reference.frame).summary
    assert parts.rows == whole.rows == ROWS
    assert all((a == b).all() for a, b in zip(parts.counts, whole.counts, strict=True))


def test_labels_that_come_later_are_paired_by_id(tmp_path, reference):
    folder = tmp_path / "log"
    write(table().drop(columns="label"), folder / "part-0.parquet")
    unlabelled = summarize_window(found(folder, tmp_path), reference.frame)
    assert "label" not in [field.name for field in unlabelled.summary.frame.fields]
    assert unlabelled.notes == ("not in the window, so not compared: 'label', 'correct'",)

    write(table()[["id", "label"]][:100].sample(frac=1, random_state=0), folder / "labels-0.csv")
    late = summarize_window(found(folder, tmp_path), reference.frame).summary
    correct = late.counts[[field.name for field in late.frame.fields].index("correct")]
    right = int((table()["label"] == table()["predicted_class"])[:100].sum())
    assert correct.tolist() == [100 - right, right, 0, 300]


def test_lists_and_arrays_become_columns(tmp_path):
    rng = np.random.default_rng(0)
    embedding, image = rng.normal(size=(50, 4)), rng.random((50, 1, 8, 8))
    np.savez(tmp_path / "w.npz", embedding=embedding, image=image)
    pd.DataFrame({"embedding": list(embedding)}).to_parquet(tmp_path / "w.parquet")
    arrays = summarize_reference(found(tmp_path / "w.npz", tmp_path))
    names = [field.name for field in arrays.frame.fields]
    assert names[:4] == [f"embedding[{i}]" for i in range(4)] and "image[7, 7]" in names and "image roughness" in names
    lists = summarize_reference(found(tmp_path / "w.parquet", tmp_path))
    assert [field.group for field in lists.frame.fields] == ["embeddings"] * 4
    assert (lists.counts[2] == arrays.counts[2]).all()


def test_missing_values_and_a_column_without_any_are_counted(tmp_path, reference):
    frame = table().assign(height=np.nan)
    frame.loc[:9, "colour"] = None
    for suffix in ("csv", "parquet"):
        summary = read(frame, tmp_path / f"w.{suffix}", tmp_path, reference).summary
        names = [field.name for field in summary.frame.fields]
        assert summary.counts[names.index("height")][-1] == ROWS
        assert summary.counts[names.index("colour")][-1] == 10


@pytest.mark.parametrize("suffix", ["parquet", "csv", "npz"])
def test_a_file_cut_in_half_is_said_to_be(tmp_path, reference, suffix):
    path = write(table(), tmp_path / f"w.{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b",", 0, len(data) // 2)] if suffix == "csv" else data[: len(data) // 2])
    with pytest.raises(InputError, match=f"cannot be read as {suffix.upper()}"):
        summarize_window(found(path, tmp_path), reference.frame)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_text_where_numbers_belong_is_named(tmp_path, reference, suffix):
    frame = table()
    frame["age"] = ["old"] * ROWS
    with pytest.raises(InputError, match="old"):
        read(frame, tmp_path / f"w.{suffix}", tmp_path, reference)


def test_a_column_that_cannot_be_read_is_named(tmp_path, reference):
    frame = table()
    frame["age"] = ["old"] * ROWS
    with pytest.raises(InputError, match="column 'age'.*'old'"):
        summarize_window(found(write(frame, tmp_path / "w.csv"), tmp_path), reference.frame)


def test_two_columns_of_one_name_and_none_to_compare_are_refused(tmp_path, reference):
    path = write(table(), tmp_path / "w.csv")
    header, rest = path.read_text().split("\n", 1)
    names = header.split(",")
    with pytest.raises(InputError, match="No column of"):
        summarize_window(found(path, tmp_path), reference.frame.only(()))
    path.write_text(f"{','.join([names[0], *names[:-1]])}\n{rest}")
    with pytest.raises(InputError, match="the same name"):
        summarize_window(found(path, tmp_path), reference.frame)


def test_windows_without_what_is_needed_are_refused(tmp_path, reference):
    with pytest.raises(InputError, match=r"lacks 'age', 'colour'"):
        read(table().drop(columns=["age", "colour"]), tmp_path / "w.parquet", tmp_path, reference)
    kept = read(table().drop(columns=["age"]), tmp_path / "w.parquet", tmp_path, reference, ignore=["age"])
    assert "age" not in [field.name for field in kept.summary.frame.fields]
    with pytest.raises(InputError, match="no rows"):
        read(table()[:0], tmp_path / "w.parquet", tmp_path, reference)
    with pytest.raises(InputError, match="no file or folder"):
        found(tmp_path / "nothing.csv", tmp_path)
    with pytest.raises(InputError, match="format"):
        found(write(table(), tmp_path / "w.csv").rename(tmp_path / "w.txt"), tmp_path)
    np.savez(tmp_path / "w.npz", a=np.zeros(3), b=np.zeros(4))
    with pytest.raises(InputError, match="differ in length"):
        summarize_reference(found(tmp_path / "w.npz", tmp_path))
