import importlib
from pathlib import Path

import pytest
import yaml
from kfp import compiler

from reprune import __version__
from reprune.components import readmes

NAMES = readmes.names()


def test_every_step_of_the_design_has_a_component():
    assert set(NAMES) == {
        "validate_data", "detect_drift", "train", "profile_hardware", "analyze_sensitivity", "prune", "finetune",
        "export_onnx", "benchmark", "gate", "promote", "reject", "rollback", "publish_metrics",
        "summarize_shard", "judge_shards",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_component_compiles_with_our_image_and_installs_nothing(name, tmp_path):
    component = getattr(importlib.import_module(f"reprune.components.{name}.component"), name)
    compiler.Compiler().compile(component, str(tmp_path / "component.yaml"))
    text = (tmp_path / "component.yaml").read_text()
    spec = next(iter(yaml.safe_load_all(text)))
    container = next(iter(spec["deploymentSpec"]["executors"].values()))["container"]
    without_torch = {"benchmark", "publish_metrics", "rollback"}
    assert container["image"] == f"reprune-{'runtime' if name in without_torch else 'train'}:{__version__}"
    assert "pip install" not in " ".join(container["command"])


@pytest.mark.parametrize("name", NAMES)
def test_metadata_has_the_keys_of_the_convention_in_their_order(name):
    metadata = yaml.safe_load((readmes.ROOT / name / "metadata.yaml").read_text())
    assert list(metadata) == ["name", "stability", "dependencies", "tags", "lastVerified"]
    assert metadata["name"] == name
    assert metadata["stability"] in ("alpha", "beta", "stable")


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_says_what_the_docstring_says(name):
    written = Path(readmes.ROOT / name / "README.md").read_text()
    assert written == readmes.readme(name), "run `make readmes`"
