"""``reprune drift`` and ``reprune reference``."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from reprune.cli.app import app
from reprune.drift import detect
from reprune.drift.features import Column, Sample
from reprune.drift.reference import Reference
from reprune.errors import InputError, IntegrityError


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=True)


def table(rows, seed, shift=0.0, colours="abc"):
    rng = np.random.default_rng(seed)
    numbers = {f"x{i}": rng.normal(size=rows) for i in range(4)}
    return pd.DataFrame(numbers | {"colour": rng.choice(list(colours), rows)}).assign(x2=lambda t: t["x2"] + shift)


@pytest.fixture
def files(tmp_path):
    table(800, 0).to_parquet(tmp_path / "reference.parquet")
    table(300, 1).to_csv(tmp_path / "same.csv", index=False)
    table(300, 2, shift=0.6, colours="abcd").to_parquet(tmp_path / "moved.parquet")
    return tmp_path


def test_the_exit_code_says_whether_data_drifted_and_the_report_what_moved(files):
    reference = files / "reference.safetensors"
    assert invoke("reference", files / "reference.parquet", "--out", reference).exit_code == 0
    quiet = invoke("drift", "--reference", reference, "--window", files / "same.csv")
    assert quiet.exit_code == 0 and "no drift: 8 tests on 300 examples" in quiet.stdout

    found = invoke("drift", "--reference", reference, "--window", files / "moved.parquet", "--json")
    assert found.exit_code == 1
    report = json.loads(found.stdout)
    tests = {test["name"]: test for test in report["tests"]}
    assert {"x2", "colour"} <= {name for name, test in tests.items() if test["alarm"]}
    assert not tests["x0"]["alarm"]
    assert tests["x2"]["effect"]["shift"] == pytest.approx(0.6, abs=0.2)
    assert tests["colour"]["effect"]["new_categories"] == ["d"]
    assert (tests["x2"]["reference_examples"], tests["x2"]["window_examples"]) == (800, 300)


def test_a_reference_may_be_data_and_the_page_draws_both(files):
    html = files / "drift.html"
    found = invoke(
        "drift", "--reference", files / "reference.parquet", "--window", files / "moved.parquet", "--html", html
    )
    assert found.exit_code == 1 and "drift: " in found.stdout
    assert html.read_text().count("<figure") == 5 and ">drift</span>" in html.read_text()


def test_columns_and_groups_can_be_left_out(files):
    arguments = ("drift", "--reference", files / "reference.parquet", "--window", files / "moved.parquet")
    assert invoke(*arguments, "--ignore", "x2", "--ignore", "colour").exit_code == 0
    nothing = invoke(*arguments, "--watch", "predictions")
    assert isinstance(nothing.exception, InputError) and "Nothing is watched" in str(nothing.exception)


def test_a_champions_reference_is_one(files):
    rng = np.random.default_rng(0)
    values = np.stack([rng.normal(size=500), rng.integers(0, 3, 500), rng.integers(0, 3, 500)], axis=1)
    columns = (
        Column("confidence", "predictions"),
        Column("predicted_class", "predictions", categorical=True),
        Column("label", "labels", categorical=True),
    )
    champion = files / "champion.safetensors"
    Reference(Sample(columns, values.astype(np.float32), {}), "0" * 64).save(champion)
    log = pd.DataFrame({"confidence": rng.normal(size=200), "predicted_class": rng.integers(0, 3, 200)})
    log.to_parquet(files / "log.parquet")
    found = invoke("drift", "--reference", champion, "--window", files / "log.parquet")
    assert found.exit_code == 0, found.exception
    assert "not in the window, so not compared: 'label', 'correct'" in found.stdout
    assert detect.summary(Reference.load(champion).sample).rows == 500
    champion.write_bytes(champion.read_bytes()[:-100])
    cut = invoke("drift", "--reference", champion, "--window", files / "log.parquet")
    assert isinstance(cut.exception, IntegrityError)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reference", "reference.parquet"], "drift compares either"),
        (["--reference", "nothing.parquet", "--window", "same.csv"], "no file or folder"),
        (["--reference", "nothing.safetensors", "--window", "same.csv"], "no file"),
        (["--reference", "reference.parquet", "--window", "same.csv", "--watch", "tea"], "no group 'tea'"),
    ],
)
def test_bad_input_is_one_error(files, monkeypatch, arguments, message):
    monkeypatch.chdir(files)
    found = invoke("drift", *arguments)
    assert isinstance(found.exception, InputError) and found.exception.exit_code == 2
    assert message in str(found.exception)
