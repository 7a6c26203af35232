"""The other workloads that ship, through the whole loop; digits run as the front page of the documentation says."""

import json

import pytest
import yaml

from reprune.config import loading

SHORT = {
    "breast-cancer": {"train": {"epochs": 10, "batch_size": 32}, "finetune": {"epochs": 5}},
    "stdlib-text": {
        "train": {"epochs": 2, "batch_size": 32},
        "prune": {"rounds": 1, "epochs": 1, "examples": 128},
        "finetune": {"epochs": 1},
        "budget": {"latency": "0.8x", "accuracy_drop": 0.05},
    },
}


@pytest.fixture
def short(project, request):
    """A shipped workload with fewer epochs, as a file; its entry points are those that ship."""
    raw = loading.load(request.param).model_dump(mode="json", exclude_defaults=True) | SHORT[request.param]
    raw["gate"] = {
        "latency": "warn",
        "tail_latency": "warn",
        "extreme_latency": "warn",
    }  # other tests run beside this one
    (project.folder / f"{request.param}.yaml").write_text(yaml.safe_dump(raw))
    return f"{request.param}.yaml"


@pytest.mark.slow
@pytest.mark.parametrize("short", ["breast-cancer", "stdlib-text"], indirect=True)
def test_the_loop_promotes_a_smaller_model(project, short):
    done = project.run(short)
    assert done["outcome"] == "promoted", done["reasons"]
    dense, pruned = done["comparison"]
    assert pruned["parameters"] < dense["parameters"]


@pytest.mark.slow
def test_weights_that_are_trained_already_are_only_evaluated(project):
    code_path = project.folder / "trained.yaml"
    raw = yaml.safe_load((project.folder / "workload.yaml").read_text())
    raw |= {"name": "trained", "weights": "dense.safetensors"}
    code_path.write_text(yaml.safe_dump(raw))
    script = (
        "import shapes, torch, safetensors.torch\n"
        "model = shapes.build(); x, y = shapes.points('train', 600)\n"
        "optimizer = torch.optim.AdamW(model.parameters(), 1e-3)\n"
        "for _ in range(60):\n"
        "    optimizer.zero_grad(); torch.nn.functional.cross_entropy(model(x), y).backward(); optimizer.step()\n"
        "safetensors.torch.save_model(model, 'dense.safetensors')\n"
    )
    project.python(script)
    done = project.run("trained.yaml")
    record = project.folder / "reprune-store" / "runs" / "trained" / done["run"] / "train.json"
    found = json.loads(record.read_text())
    assert found["history"] == [] and "as given" in found["summary"]
    assert done["outcome"] == "promoted", done["reasons"]
