"""A store, a workload file and a bundle that version 0.1.0 of November 2026 wrote stay readable."""

import json
import shutil
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Cli

ASSETS = Path(__file__).parents[1] / "assets" / "store-0.1"


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    folder = tmp_path_factory.mktemp("before")
    shutil.copytree(ASSETS, folder, dirs_exist_ok=True)
    return Cli(folder)


def test_the_registry_shows_its_champion(before):
    assert "1e831679e283" in before("models", "--store", "store").stdout
    assert "1e831679e283" in before("show", "shapes", "--store", "store").stdout


def test_the_champion_loads_and_both_of_its_forms_answer_alike(before):
    before.python(
        "import reprune, shapes, numpy as np\n"
        "champion = reprune.champion('shapes', store='store', allow=['shapes:build'])\n"
        "inputs, _ = shapes.points('test', 16)\n"
        "torch_says = champion.torch()(inputs).detach().numpy()\n"
        "session = champion.onnx()\n"
        "onnx_says = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})[0]\n"
        "assert torch_says.shape == (16, 4) and np.abs(torch_says - onnx_says).max() < 1e-4\n"
    )


def test_a_workload_file_with_every_key_is_understood(before):
    before("compile", "workload.yaml", "--output", "pipeline.yaml")
    before.python(
        "from reprune.config.loading import load\n"
        "workload = load('workload.yaml')\n"
        "assert workload.budget.latency.text == '0.9x' and workload.seed == 3, workload\n"
    )


def test_a_second_cycle_sees_the_champion_and_has_nothing_to_do(before):
    said = before("run", "workload.yaml", "--store", "store", "--json").stdout
    assert json.loads(said)["outcome"] == "nothing-to-do", said
