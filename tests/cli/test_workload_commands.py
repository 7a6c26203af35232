import json
import subprocess
import sys

import jsonschema
import pytest
import yaml

from reprune.config import loading


def reprune(*arguments, cwd, code=0):
    done = subprocess.run([sys.executable, "-m", "reprune", *arguments], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_init_writes_what_the_schema_accepts_and_never_over_a_file(tmp_path):
    reprune("init", cwd=tmp_path)
    schema = json.loads(reprune("schema", cwd=tmp_path))
    jsonschema.validate(yaml.safe_load((tmp_path / "workload.yaml").read_text()), schema)
    (tmp_path / "workload.yaml").write_text("mine")
    assert "exists already" in reprune("init", cwd=tmp_path, code=2)
    assert (tmp_path / "workload.yaml").read_text() == "mine"
    reprune("init", "--force", cwd=tmp_path)


def test_expectations_are_written_and_hold_once_they_are_named(tmp_path):
    reprune("expectations", "breast-cancer", cwd=tmp_path)
    suite = json.loads((tmp_path / "expectations" / "train.json").read_text())
    assert {"type", "kwargs", "severity"} <= set(suite[0])
    assert "exist already" in reprune("expectations", "breast-cancer", cwd=tmp_path, code=2)
    raw = {"name": "mine", "model": "a:b", "data": "a:c", "expectations": {"train": "expectations/train.json"}}
    (tmp_path / "workload.yaml").write_text(yaml.safe_dump(raw))
    loaded = loading.load(str(tmp_path / "workload.yaml"))
    assert list(loaded.expectations["train"]) == suite
    jsonschema.validate(raw, json.loads(reprune("schema", cwd=tmp_path)))
    (tmp_path / "expectations" / "train.json").write_text("[")
    told = reprune("compile", "workload.yaml", cwd=tmp_path, code=2)
    assert "expectations.train" in told and "cannot be read" in told


def test_compile_writes_a_pipeline(tmp_path):
    reprune("compile", "digits", "-o", "pipeline.yaml", "--store", "s3://models/reprune", cwd=tmp_path)
    spec = next(iter(yaml.safe_load_all((tmp_path / "pipeline.yaml").read_text())))
    assert spec["pipelineInfo"]["name"] == "reprune-digits"
    assert spec["root"]["inputDefinitions"]["parameters"]["store"]["defaultValue"] == "s3://models/reprune"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "digit"], "did you mean digits"),
        (["run", "digits", "--split", "production"], "is not NAME=WHERE"),
        (["run", "digits", "--split", "prod=x.npz"], "NAME is one of train"),
        (["compile", "digits", "-o", "pipeline.txt"], "is no .yaml file"),
        (["run", "digits", "--store", "ftp://x"], "ftp"),
        (["run", "digits", "--no-such-option"], "No such option"),
    ],
)
def test_what_cannot_be_meant_is_told_with_exit_code_2(tmp_path, arguments, told):
    assert told in " ".join(reprune(*arguments, cwd=tmp_path, code=2).split())
    assert not list(tmp_path.iterdir()), "something was written"


def test_help_imports_nothing_heavy(tmp_path):
    code = (
        "import sys, runpy\nsys.argv = ['reprune', '--help']\n"
        "try:\n    runpy.run_module('reprune', run_name='__main__')\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'kfp', 'numpy', 'boto3', 'onnxruntime', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "run" in done.stdout and "rollback" in done.stdout


EVERY = ["run", "init", "schema", "compile", "benchmark", "profile", "models", "show", "rollback"]


@pytest.mark.parametrize("command", EVERY)
def test_every_command_explains_itself(tmp_path, command):
    assert len(reprune(command, "--help", cwd=tmp_path)) > 200


def test_version(tmp_path):
    import reprune as package

    assert package.__version__ in reprune("--version", cwd=tmp_path)
