"""A log of predictions, judged shard by shard through Kubeflow Pipelines' local runner."""

import builtins
import json
import logging

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from reprune.cli.app import app
from reprune.config import loading
from reprune.drift import compare_files
from reprune.drift.features import Column, Sample
from reprune.drift.reference import Reference
from reprune.errors import InputError
from reprune.events import VARIABLE, WATCHER
from reprune.registry.registry import Registry
from reprune.storage.uri import open_store

CLASSES = 3


def predictions(rows, seed, shift=0.0):
    rng = np.random.default_rng(seed)
    said = rng.integers(0, CLASSES, rows)
    return {
        "age": rng.normal(40 + shift, 10, rows),
        "predicted_class": said,
        "label": (said + (rng.random(rows) < 0.1)) % 3,
    }


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A champion whose reference is of predictions, and a log in two files with labels that came late."""
    monkeypatch.chdir(tmp_path)
    for variable in (VARIABLE, WATCHER):  # a local run sets them for its steps
        monkeypatch.setenv(variable, "")
    (tmp_path / "shop.yaml").write_text(
        "name: shop\nmodel: nowhere:build\ndata: nowhere:load\ndrift: {watch: [inputs, predictions, quality]}\n"
    )
    frozen = predictions(600, 0)
    columns = (
        Column("age", "inputs"),
        Column("predicted_class", "predictions", categorical=True),
        Column("label", "labels", categorical=True),
    )
    (tmp_path / "version").mkdir()
    values = np.stack(list(frozen.values()), axis=1).astype(np.float32)
    Reference(Sample(columns, values, {}), "0" * 64).save(tmp_path / "version" / "reference.safetensors")
    registry = Registry(open_store(tmp_path / "store"), "shop")
    registry.promote(registry.publish(tmp_path / "version", {}).id, reason="a test", expected=None)
    for number, shift in enumerate((0.0, 6.0)):
        rows = pd.DataFrame(predictions(1500, number + 1, shift)).assign(
            id=lambda t, n=number: [f"{n}-{i}" for i in t.index]
        )
        (tmp_path / "log" / f"day{number}").mkdir(parents=True)
        rows.drop(columns="label").to_parquet(tmp_path / "log" / f"day{number}" / "predictions.parquet")
        rows[["id", "label"]].to_csv(tmp_path / "log" / f"labels{number}.csv", index=False)
    return tmp_path


def test_a_log_of_no_champion_is_refused_before_anything_starts(project):
    found = CliRunner().invoke(app, ["drift", "shop.yaml", "--log", "log", "--store", "elsewhere"])
    assert isinstance(found.exception, InputError) and "shop has no champion" in str(found.exception)
    assert not (project / ".reprune").exists() and not (project / "elsewhere").exists()


def test_three_shards_of_two_files_are_judged_as_the_log_at_once(project):
    command = ["drift", "shop.yaml", "--log", "log", "--shards", "3", "--store", "store", "--json"]
    output = (builtins.print, logging.root.level, *logging.root.handlers)
    found = CliRunner().invoke(app, command, catch_exceptions=False)
    assert found.exit_code == 1, found.output
    report = json.loads(found.stdout)
    assert (builtins.print, logging.root.level, *logging.root.handlers) == output, "two steps ran side by side"

    whole = compare_files.compare(
        "shop",
        str(project / "log"),
        loading.load("shop.yaml").drift,
        store=open_store("store"),
        scratch=project / "scratch",
    ).report
    assert {key: report[key] for key in whole.model_dump()} == whole.model_dump(mode="json")
    assert (report["verdict"], report["window_examples"]) == ("drift", 3000)
    assert "correct" in {test["name"] for test in report["tests"]}, "labels of every day reach every shard"
