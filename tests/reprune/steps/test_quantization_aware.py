"""Fine-tuning for INT8 where its file alone loses too much, and what is exported from that."""

import json

import pytest
import safetensors.torch
import torch
from torch.utils.data import DataLoader

import reprune
from reprune.config import loading
from reprune.data.tasks import Classification
from reprune.inference.onnx.mixed_precision import Mixed
from reprune.pruning import bundle
from reprune.steps import export_onnx, finetune
from reprune.steps.benchmark import QUANTIZED
from reprune.steps.context import Step
from reprune.steps.qat import NAME
from reprune.training.trainer import Settings, fit
from tests.reprune.steps import unbalanced

EPOCHS = 10
DROP = 0.05
PROJECT = unbalanced.__name__


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a dense model that was trained, and a pruned one that eight bits do not suit, all of it in them."""
    folder = tmp_path_factory.mktemp("aware")
    torch.manual_seed(0)
    dense = learnt(unbalanced.build(), epochs=3)
    pruned, recipe = reprune.prune(dense, torch.rand(2, 1, 8, 8), ratio=0.25)
    unbalanced.unbalance(learnt(pruned, epochs=1), octaves=9)
    bundle.save(dense, folder / "dense", factory=f"{PROJECT}:build")
    cost = {"train": 1.0, "prune": 0.5}
    bundle.save(pruned, folder / "pruned", factory=f"{PROJECT}:build", recipe=recipe, cost=cost)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("reprune.inference.onnx.mixed_precision.FLOAT_SHARE", 0.0)
        yield folder


def learnt(model, epochs):
    def batches(key):
        draw = torch.Generator().manual_seed(key)
        return DataLoader(unbalanced.load("train"), 32, shuffle=True, generator=draw)

    task = Classification()
    settings = Settings(epochs=epochs, learning_rate=1e-2)
    fit(model, batches, lambda outputs, targets, _: task.loss(outputs, targets), settings, validate=lambda _: 0.0)
    return model


def finetuned(folder, name, **quantize):
    """Fine-tune the pruned model; returns the workload, the candidate's folder and the step's record."""
    asked = loading.load("digits").replace(
        model=f"{PROJECT}:build",
        data=f"{PROJECT}:load",
        train={"epochs": 3, "batch_size": 32},
        finetune={"epochs": 1, "learning_rate": 0.01},
        gate={"quantization_agreement": 0.9, "quantization_error": 1.0},
        quantize={"format": "int8", "accuracy_drop": DROP, **quantize},
    )
    paths = {"dense": folder / "dense", "pruned": folder / "pruned", "candidate": folder / name}
    with Step("finetune", workload=asked.model_dump_json(), store=str(folder / "store"), run=name) as step:
        finetune.run(step, **paths, report=folder / f"{name}.html")
    return asked, folder / name, step.record


@pytest.fixture(scope="module")
def aware(folder):
    """What fine-tuning leaves where it may go on under rounding."""
    return finetuned(folder, "aware", epochs=EPOCHS)


def test_the_quantized_file_loses_less_and_the_float_weights_stay(folder, aware):
    asked, candidate, record = aware
    found = record["quantization_aware"]
    before, after = (Mixed.model_validate(found[when]["mixed"]).loss for when in ("before", "after"))
    assert found["helped"] and len(found["history"]) == EPOCHS
    assert before.drop > DROP >= after.drop and before.float_score == after.float_score
    _, plain, without = finetuned(folder, "plain", epochs=0)
    assert without["quantization_aware"] is None and without["score_after"] == record["score_after"]
    files, others = (bundle.Description.read(it).files for it in (candidate, plain))
    assert files.pop(bundle.QUANTIZED) and files == others  # weights and recipe, digest by digest
    own, float_only = (bundle.load(candidate, allow=[asked.model], quantized=it).state_dict() for it in (True, False))
    assert own.keys() == float_only.keys()


def test_what_it_cost_is_counted_and_told(folder, aware):
    _, candidate, record = aware
    assert set(record["cost"]) == {"train", "prune", "finetune", NAME}
    assert record["cost"][NAME] == pytest.approx(EPOCHS * record["cost"]["finetune"])
    assert bundle.Description.read(candidate).lineage["cost"] == record["cost"]
    assert f"after {EPOCHS} epochs under rounding, int8 loses" in (folder / "aware.html").read_text()


def test_the_export_quantizes_the_weights_that_were_made_for_it(folder, aware):
    asked, candidate, record = aware
    exported = folder / "exported"
    with Step("export_onnx", workload=asked.model_dump_json(), store=str(folder / "store"), run="aware") as step:
        paths = {"dense": folder / "dense", "candidate": candidate, "report": folder / "export.html"}
        export_onnx.run(step, **paths, exported=exported)
    found = json.loads((exported / "export.json").read_text())["quantization"]
    assert found == record["quantization_aware"]["after"]
    assert found["status"] == "made" and (exported / QUANTIZED).is_file()


def test_an_altered_file_of_such_weights_is_refused(aware, tmp_path):
    _, candidate, _ = aware
    for file in candidate.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    state = safetensors.torch.load_file(tmp_path / bundle.QUANTIZED)
    safetensors.torch.save_file({name: value + 1 for name, value in state.items()}, tmp_path / bundle.QUANTIZED)
    with pytest.raises(reprune.errors.IntegrityError, match="quantized.safetensors is damaged"):
        bundle.load(tmp_path)
