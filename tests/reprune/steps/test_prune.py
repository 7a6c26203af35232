"""The prune step with the steps around it, in this process: a first cycle, then cycles that start from its champion."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import reprune
from reprune.config.loading import parse
from reprune.pruning import bundle
from reprune.registry.registry import Registry
from reprune.steps import analyze_sensitivity, finetune, profile_hardware, prune, recovery, train
from reprune.steps.context import Step, read_records
from reprune.steps.warm_start import Former, former_cut, former_model, note_replay
from reprune.storage.uri import open_store

PROJECT = Path(__file__).parents[2] / "end_to_end" / "project"
RAW = {
    "name": "shapes",
    "model": "shapes:build",
    "data": "shapes:load",
    "code": str(PROJECT),
    "target": {"batch_size": 16},
    "budget": {"latency": "0.7x", "accuracy_drop": 0.02},
    "train": {"epochs": 4},
    "prune": {"epochs": 1, "examples": 64},
    "finetune": {"epochs": 2},
}


class Cycle:
    """One run of the steps from training to fine-tuning, each called as its component calls it."""

    def __init__(self, folder, store, run, *, data="a" * 64, **changes):
        self.folder, self.store, self.run_id, self.data = folder / run, str(store), run, data
        self.folder.mkdir()
        self.workload = parse(RAW | changes, origin="test")

    def at(self, name):
        return self.folder / name

    def step(self, name):
        return Step(name, workload=self.workload.model_dump_json(), store=self.store, run=self.run_id)

    def train(self):
        nothing = {"examples": {}, "inspected": {}, "classes": 4, "expectations": {}, "failures": [], "leaks": []}
        self.at("validation.json").write_text(json.dumps(nothing | {"data_digest": self.data}))
        with self.step("train") as step:
            train.run(step, validation=self.at("validation.json"), dense=self.at("dense"), report=self.at("t.html"))

    def prune(self):
        dense, curves = self.at("dense"), self.at("curves.json")
        with self.step("profile_hardware") as step:
            target = self.workload.target[0].model_dump_json()
            profile = profile_hardware.run(step, dense=dense, target=target, report=self.at("h.html"))
        with self.step("analyze_sensitivity") as step:
            analyze_sensitivity.run(step, dense=dense, sensitivity=curves, report=self.at("s.html"))
        with self.step("prune") as step:
            prune.run(
                step,
                dense=dense,
                sensitivity=curves,
                profiles=[profile],
                pruned=self.at("pruned"),
                report=self.at("p.html"),
            )

    def finetune(self):
        paths = {"dense": self.at("dense"), "pruned": self.at("pruned"), "candidate": self.at("candidate")}
        with self.step("finetune") as step:
            finetune.run(step, **paths, report=self.at("f.html"))

    def whole(self):
        self.train()
        self.prune()
        self.finetune()
        return self.records()

    def records(self):
        return read_records(open_store(self.store), self.workload.name, self.run_id)

    def promote(self):
        """Make the candidate champion, as the steps after these would."""
        folder = self.at("version")
        shutil.copytree(self.at("candidate"), folder)
        (folder / "model.onnx").write_text("onnx")
        registry = Registry(open_store(self.store), self.workload.name)
        version = registry.publish(folder, bundle.Description.read(folder).lineage)
        registry.promote(version.id, reason="a test", expected=registry.champion())
        return version


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A first cycle, its candidate promoted."""
    folder = tmp_path_factory.mktemp("cycles")
    cycle = Cycle(folder, folder / "store", "first")
    cycle.whole()
    cycle.version = cycle.promote()
    cycle.parent = folder
    return cycle


@pytest.fixture(scope="module")
def champion(tmp_path_factory):
    """A dense model that was trained, and a champion that was cut from it by hand."""
    folder = tmp_path_factory.mktemp("champion")
    cycle = Cycle(folder, folder / "store", "first")
    cycle.train()
    smaller, recipe = reprune.prune(
        bundle.load(cycle.at("dense"), allow=["shapes:build"]), torch.randn(2, 8), ratio=0.5
    )
    with torch.no_grad():
        smaller[0].bias += 0.1  # a recovery, which leads away from the weights of the dense model
    origin = bundle.Description.read(cycle.at("dense")).lineage
    bundle.save(smaller, cycle.at("candidate"), factory="shapes:build", recipe=recipe, **origin)
    cycle.version = cycle.promote()
    cycle.parent = folder
    return cycle


def second(first, run, **changes):
    """A cycle in a copy of the first one's store."""
    store = first.parent / f"store-{run}"
    shutil.copytree(first.store, store)
    return Cycle(first.parent, store, run, **changes)


@pytest.mark.slow
def test_the_first_cycle_searches_and_says_why(first):
    record = first.records()["prune"]
    assert record["warm_start"]["reason"] == "there is no champion yet"
    assert record["plan"]["holds"] and record["rounds"]
    chosen = record["rounds"][record["chosen"] - 1]
    assert chosen["excess"] <= 1 and "budget holds" in record["reason"]
    assert record["cost"] == pytest.approx(record["rounds"][-1]["cost_so_far"]) and record["cost"] < 2
    page = first.at("p.html").read_text()
    for shown in ("Warm start", "there is no champion yet".capitalize(), "cost so far", record["reason"][:40]):
        assert shown in page
    spent = first.records()["finetune"]["cost"]
    assert set(spent) == {"train", "prune", "finetune"} and spent["train"] == 1


@pytest.mark.slow
def test_on_the_same_data_the_dense_model_is_kept_and_the_recipe_serves(first):
    cycle = second(first, "same")
    records = cycle.whole()
    assert "the run before" in records["train"]["summary"]
    before, now = (bundle.Description.read(it.at("dense")).files["weights.safetensors"] for it in (first, cycle))
    assert before == now
    assert records["analyze_sensitivity"]["sensitivity"] is None
    warm = records["prune"]["warm_start"]
    assert warm["accepted"] and warm["version"] == first.version.short
    assert records["prune"]["plan"] is None and len(records["prune"]["rounds"]) == 1
    assert 0 < warm["overlap"]["chance"] < warm["overlap"]["overall"] <= 1
    assert bundle.recipe_of(cycle.at("pruned")) == bundle.recipe_of(first.at("pruned"))
    assert "without a search" in records["prune"]["summary"]
    then, again = (sum(it.records()["finetune"]["cost"].values()) for it in (first, cycle))
    assert again <= 0.4 * then
    page = cycle.at("p.html").read_text()
    assert "picked at random would give" in page and "own weights, with the new dense model as the teacher" in page


def test_on_other_data_training_goes_on_from_the_weights_of_the_run_before(champion):
    cycle = second(champion, "other", data="b" * 64)
    cycle.train()
    record = cycle.records()["train"]
    assert "from the weights of the run before" in record["summary"] and len(record["history"]) == 1
    assert bundle.Description.read(cycle.at("dense")).lineage["cost"] == {"train": 0.25}


def test_a_training_at_another_rate_does_not_take_up_what_was_learnt_at_this_one(champion):
    rates, killed = [], champion.parent / "killed"
    for share in (0.3, 0.2):  # one epoch each
        cycle = second(champion, f"rate-{share}", data="b" * 64, warm_start=share)
        checkpoints = Path(cycle.store) / "checkpoints"
        if killed.exists():  # before it had ended: only its checkpoints are left
            shutil.copytree(killed, checkpoints, dirs_exist_ok=True)
        cycle.train()
        shutil.copytree(checkpoints, killed, dirs_exist_ok=True)
        rates += [epoch["learning_rate"] for epoch in cycle.records()["train"]["history"]]
    assert len(rates) == 2 and rates[1] / rates[0] == pytest.approx(2 / 3)


def test_zero_begins_every_cycle_anew(champion):
    cycle = second(champion, "anew", warm_start=0)
    cycle.train()
    assert "after 4 epochs" in cycle.records()["train"]["summary"]
    with cycle.step("analyze_sensitivity") as step:
        assert former_cut(step, bundle.load(cycle.at("dense"), allow=["shapes:build"])) == "warm_start is 0"


@pytest.mark.slow
def test_a_recipe_that_misses_a_new_budget_is_told_and_the_search_is_run(first):
    cycle = second(first, "tighter", budget={"latency": "0.15x", "accuracy_drop": 0.02})
    cycle.train()
    cycle.prune()
    record = cycle.records()["prune"]
    assert "misses the budget" in record["warm_start"]["reason"] and not record["warm_start"]["accepted"]
    assert record["plan"]["holds"] and record["sensitivity"]["curves"]
    assert record["rounds"][record["chosen"] - 1]["latency_ratio"] < 0.2


@pytest.mark.slow
def test_a_recipe_that_no_longer_recovers_is_told_and_what_it_cost_counts(first):
    cycle = second(first, "lost", prune={"epochs": 0, "examples": 64, "score_drop": 0.1})
    cycle.train()
    model = bundle.load(cycle.at("dense"), allow=["shapes:build"])
    slices = bundle.recipe_of(first.at("pruned")).slices
    cuts = {name: cut for name in ("0", "2") for cut in slices.get(f"{name}.weight", ()) if cut.dim == 0}
    name, cut = min(cuts.items(), key=lambda it: len(it[1].kept))  # which layers are cut depends on what was measured
    with torch.no_grad():  # what the champion keeps is worth nothing in this dense model
        model[int(name)].weight[list(cut.kept)] = 0
        model[int(name)].bias[list(cut.kept)] = 0
    origin = bundle.Description.read(cycle.at("dense")).lineage
    bundle.save(model, cycle.at("dense"), factory="shapes:build", **origin | {"code_digest": "c" * 64})
    cycle.prune()
    record = cycle.records()["prune"]
    assert record["warm_start"]["begun"].endswith("cut again: it was made by other code")
    assert "no longer recovers" in record["warm_start"]["reason"] and record["warm_start"]["round"]
    share = len(cut.kept) / model[int(name)].out_features
    assert record["warm_start"]["overlap"]["groups"][name] < share / (2 - share), "picked at random would be more alike"
    assert record["plan"] and record["rounds"][record["chosen"] - 1]["recovered"]


def test_a_replay_that_the_gate_refused_is_not_tried_again(champion):
    cycle = second(champion, "refused")
    cycle.train()
    with cycle.step("prune") as step:
        note_replay(step)
        assert isinstance(former_cut(step, bundle.load(cycle.at("dense"), allow=["shapes:build"])), Former)
        step.put_evidence("reject.json", b"{}")
        why = former_cut(step, bundle.load(cycle.at("dense"), allow=["shapes:build"]))
    assert why == f"the gate refused a replay of the champion {champion.version.short} in run refused"


def test_a_recipe_of_another_architecture_is_told_tensor_by_tensor(champion):
    cycle = second(champion, "wider")
    other = nn.Sequential(nn.Linear(8, 1024), nn.ReLU(), nn.Linear(1024, 512), nn.ReLU(), nn.Linear(512, 4))
    with cycle.step("prune") as step:
        why = former_cut(step, other)
    assert "2.weight is [512, 1024], the recipe expects [1024, 1024]" in why and "does not serve" in why


def replayed(cycle):
    """Prune by the champion's cut alone, and fine-tune; returns what became of it, the pruned tensors, and the rate."""
    cycle.at("curves.json").write_text("null")
    with cycle.step("prune") as step:
        prune.run(
            step,
            dense=cycle.at("dense"),
            sensitivity=cycle.at("curves.json"),
            profiles=[],
            pruned=cycle.at("pruned"),
            report=cycle.at("p.html"),
        )
    cycle.finetune()
    records = cycle.records()
    (epoch,) = records["finetune"]["history"]
    return (
        records["prune"]["warm_start"],
        bundle.load(cycle.at("pruned"), allow=["shapes:build"]).state_dict(),
        epoch["learning_rate"],
    )


def test_recovery_begins_from_the_weights_of_the_champion_and_without_them_from_the_dense_model(champion):
    cycle = second(champion, "own", prune={"epochs": 1, "examples": 64, "score_drop": 1.0}, budget={"latency": "0.95x"})
    cycle.train()
    warm, tensors, rate = replayed(cycle)
    assert warm["accepted"] and warm["begun"].startswith("recovery began from the champion's own weights")
    with cycle.step("judge") as step:
        worth = recovery.judgement(step, bundle.load(champion.at("candidate"), allow=["shapes:build"]))
    assert warm["round"]["loss_before"] == pytest.approx(worth.loss)
    (path,) = Path(cycle.store).glob(f"registry/*/versions/{champion.version.id}/files/{bundle.WEIGHTS}")
    path.unlink()
    again, others, whole_rate = replayed(cycle)  # the checkpoints of the first are there
    assert again["accepted"] and again["weights"] is None
    assert "cut again: " in again["begun"] and "lacks its file weights.safetensors" in again["begun"]
    assert again["round"]["loss_before"] != pytest.approx(worth.loss)
    assert not all(torch.equal(tensors[name], others[name]) for name in others)
    assert rate == pytest.approx(0.3 * whole_rate)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, None),
        ({"entry_points": {"model": "shapes:other"}}, "it was built by shapes:other, the workload names shapes:build"),
        ({"entry_points": None}, "it was built by nobody knows what, the workload names shapes:build"),
        ({"code_digest": "c" * 64}, "it was made by other code"),
        ({"masks": {"0.bias": torch.ones(512, dtype=torch.bool)}}, "single weights of it are masked"),
        ({"file": {"0.bias": torch.ones(3)}}, "weights.safetensors does not fit the model: "),
        ({"quantized": True}, None),
        ({"damaged": True}, "is damaged: its sha256 is"),
    ],
)
def test_weights_that_cannot_be_gone_on_from_are_told(champion, changes, why):
    cycle = second(champion, f"told-{len(list(champion.parent.iterdir()))}")
    model, folder = bundle.load(champion.at("candidate"), allow=["shapes:build"]), cycle.at("version")
    with torch.no_grad():
        model[0].bias += 1
    origin = bundle.Description.read(champion.at("candidate")).lineage
    options = {"masks": changes.get("masks")}
    if "quantized" in changes:
        options["quantized"] = bundle.load(champion.at("candidate"), allow=["shapes:build"])
    bundle.save(model, folder, factory="shapes:build", recipe=bundle.recipe_of(champion.at("candidate")), **options)
    if "file" in changes:
        save_file(changes["file"], folder / bundle.WEIGHTS)
    registry = Registry(open_store(cycle.store), cycle.workload.name)
    version = registry.publish(folder, origin | {key: value for key, value in changes.items() if key in origin})
    registry.promote(version.id, reason="a test", expected=registry.champion())
    if "damaged" in changes:
        (Path(cycle.store) / f"registry/shapes/versions/{version.id}/files" / bundle.WEIGHTS).write_bytes(b"damaged")
    dense = bundle.load(champion.at("dense"), allow=["shapes:build"])
    with cycle.step("prune") as step:
        former = former_cut(step, dense)
        found = former_model(step, former, dense, origin)
    if why is None:
        assert torch.equal(found.model[0].bias, model[0].bias), "in float"
    else:
        assert why in found
