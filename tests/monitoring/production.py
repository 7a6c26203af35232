"""A champion in production for tests: three classes of four numbers, told apart by one matrix product."""

from datetime import UTC, datetime

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import TensorProto, helper

from reprune import hashing
from reprune.config.loading import parse
from reprune.data import signals
from reprune.drift.features import sample
from reprune.drift.monitor import prediction_log
from reprune.drift.reference import LIMIT, Reference
from reprune.registry.registry import Registry

NAME = "signals"
COMPARISON = [
    {"model": "dense", "metric": "accuracy", "accuracy": 0.991, "parameters": 1000, "size_bytes": 40_000}
    | {"p50_seconds": 0.004, "p95_seconds": 0.005, "target": "CPU, 1 thread, batch 1"},
    {"model": "pruned", "metric": "accuracy", "accuracy": 0.989, "parameters": 250, "size_bytes": 12_000}
    | {"p50_seconds": 0.002, "p95_seconds": 0.003, "target": "CPU, 1 thread, batch 1"}
    | {"speed_up": 2.0, "speed_up_interval": [1.9, 2.1], "control": 1.0, "control_interval": [0.99, 1.01]},
]


def workload(**changes):
    return parse({"name": NAME, "model": "nowhere:build", "data": "nowhere:load"} | changes, origin="a test")


def inputs(count, seed, shift=0.0, columns=4):
    return (np.random.default_rng(seed).normal(size=(count, columns)) + shift).astype(np.float32)


def write_model(path, scale=1.0):
    weights = (np.random.default_rng(7).normal(size=(4, 3)) * scale).astype(np.float32)
    node = helper.make_node("MatMul", ["input", "weights"], ["output"])
    graph = helper.make_graph(
        [node],
        "signals",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 3])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def promote(store, folder, *, shift=0.0, scale=1.0, name=NAME):
    """Publish a version whose reference is of data with a shift, and make it the champion."""
    folder.mkdir(parents=True, exist_ok=True)
    write_model(folder / "model.onnx", scale)
    held_out = prediction_log.Window({"input": inputs(300, seed=1, shift=shift)}, np.arange(300) % 3, rows=300)
    frozen = sample(held_out, folder / "model.onnx", signals.classification, limit=LIMIT, seed=0, name="held out")
    Reference(frozen, hashing.of_file(folder / "model.onnx")).save(folder / "reference.safetensors")
    registry = Registry(store, name)
    version = registry.publish(folder, {"comparison": COMPARISON})
    return registry.promote(version.id, reason="a test", expected=registry.champion())


def log_window(store, name, *, count=100, seed=2, shift=0.0, columns=4, day=None, **more):
    arrays = {"input": inputs(count, seed, shift, columns)} | more
    return prediction_log.write(store, NAME, name, arrays, day=day or datetime.now(UTC).date())


def key_of(name):
    return f"{prediction_log.ROOT}/{NAME}/{datetime.now(UTC):%Y-%m-%d}/{name}"


def log_labels(store, name, ids, labels):
    written = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": list(ids), "label": list(labels)}), written)
    store.put(key_of(f"{name}.parquet"), written.getvalue().to_pybytes())
