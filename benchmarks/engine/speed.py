"""Measure the time and memory of analysis and surgery, beside Torch-Pruning.

    python -m benchmarks.engine.speed                # every shape, three times each
    python -m benchmarks.engine.speed bert_base llama_1b --repetitions 1

Each run is its own process, and uses its tool on a small model first, so imports are not counted. Writes
``speed.jsonl`` and the tables of ``docs/benchmarks/engine.md``.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import ROOT
from benchmarks.pages import write_tables
from benchmarks.records import Record, Records

HERE = Path(__file__).parent
RESULTS = HERE / "speed.jsonl"
TOOLS = ("reprune", "Torch-Pruning")
DEPTHS = (2, 4, 8, 16, 32)
CPU_SECONDS = 300


def _resnet50() -> Any:
    import torch

    from benchmarks.engine.models import vision

    return vision("resnet50", lambda: torch.randn(1, 3, 224, 224))()


def _vit_b_16() -> Any:
    import torch

    from benchmarks.engine.models import vision

    return vision("vit_b_16", lambda: torch.randn(1, 3, 224, 224))()


def _bert(**settings: Any) -> Callable[[], Any]:
    def build() -> Any:
        from benchmarks.engine.models import hub, ids

        return hub("BertForSequenceClassification", lambda: ids(16)[:1], **settings)()

    return build


def _llama(**settings: Any) -> Callable[[], Any]:
    def build() -> Any:
        import torch
        import transformers

        from benchmarks.engine.models import ids

        settings_of_1b = {"num_hidden_layers": 22, "num_attention_heads": 32, "intermediate_size": 5632}
        config = transformers.LlamaConfig(hidden_size=2048, **{"use_cache": False} | settings_of_1b | settings)
        with torch.device("meta"):
            model = transformers.LlamaForCausalLM(config)
        buffers = dict(transformers.LlamaForCausalLM(_small(config)).named_buffers())
        model.to_empty(device="cpu")
        with torch.no_grad():  # random enough, and filled in seconds
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape[-1]).mul_(0.02).expand_as(parameter))
                if parameter.dim() > 1:
                    parameter.mul_(1 + torch.rand(parameter.shape[0], 1))
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])
        return model, ids(16)[:1]

    return build


def _small(config: Any) -> Any:
    import copy

    config = copy.deepcopy(config)
    config.num_hidden_layers, config.vocab_size, config.intermediate_size = 1, 8, 8
    return config


MODELS: dict[str, Callable[[], Any]] = {
    "resnet50": _resnet50,
    "vit_b_16": _vit_b_16,
    "bert_base": _bert(),
    "llama_1b": _llama(num_key_value_heads=4),
    "llama_1b_without_gqa": _llama(num_key_value_heads=32),
    **{
        f"bert_{n}": _bert(
            num_hidden_layers=n, hidden_size=128, num_attention_heads=4, intermediate_size=512, vocab_size=100
        )
        for n in DEPTHS
    },
}


def main() -> None:
    """Measure the models in turns, and write the results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--tools", nargs="*", default=TOOLS)
    parser.add_argument("--one", nargs=2, metavar=("TOOL", "NAME"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(*given.one)))
        return
    names = given.names or list(MODELS)
    fresh: dict[tuple[str, str], list[Record]] = {(name, tool): [] for name in names for tool in given.tools}
    for repetition in range(given.repetitions):
        for name in names:
            for tool in given.tools:
                runs = fresh[name, tool]
                if repetition and "failed" in runs[0]:
                    continue
                runs.append({"model": name, "tool": tool, **isolated(tool, name)})
                print(runs[-1], flush=True)
        results = Records(RESULTS)
        others = [record for record in results if (record["model"], record["tool"]) not in fresh]
        runs = [*others, *(run for each in fresh.values() for run in each)]
        results.replace(sorted(runs, key=lambda it: (list(MODELS).index(it["model"]), TOOLS.index(it["tool"]))))
    from benchmarks.engine.page import speed_tables

    write_tables("engine.md", speed_tables(Records(RESULTS), DEPTHS))


def isolated(tool: str, name: str) -> dict[str, Any]:
    """Measure in a process of limited processor time."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))

    command = [sys.executable, "-m", "benchmarks.engine.speed", "--one", tool, name]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit, cwd=ROOT)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    if done.returncode in (-9, -24):
        return {"failed": f"not done after {CPU_SECONDS} s"}
    return {"failed": (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1][:200]}


def measure(tool: str, name: str) -> dict[str, Any]:
    """Analyze a model and prune it by half; return processor seconds and bytes."""
    import torch

    from benchmarks import torchvision_operators

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torchvision_operators.declare()
    analyze_and_cut = _reprune if tool == "reprune" else _peer
    small = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3))
    analyze_and_cut(small, torch.randn(1, 3, 8, 8), ["2"])
    model, inputs = MODELS[name]()
    model.eval()
    own = sum(parameter.nbytes for parameter in model.parameters())
    bare = _memory("VmRSS") - own
    layers = ["heads.head"] if name == "vit_b_16" else ["fc", "classifier", "lm_head"]
    outputs = [layer for layer in layers if layer in dict(model.named_modules())]
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak of resident memory
    seconds, analyzed, pruned = analyze_and_cut(model, inputs, outputs)
    return {
        "analysis_seconds": seconds[0],
        "cut_seconds": seconds[1],
        "model_bytes": own,
        "analysis_peak_bytes": analyzed - bare,
        "peak_bytes": _memory("VmHWM") - bare,
        "left": sum(parameter.numel() for parameter in pruned.parameters()) / (own / 4),
    }


def _reprune(model: Any, inputs: Any, _: list[str]) -> tuple[list[float], int, Any]:
    import reprune
    from reprune.pruning.prune import widths_at_ratio

    start = time.process_time()
    analysis = reprune.analyze(model, inputs)
    middle, peak = time.process_time(), _memory("VmHWM")
    keep = {name: range(width) for name, width in widths_at_ratio(analysis, 0.5).items()}
    pruned, _recipe = reprune.pruning.cut(model, analysis, keep)
    return [middle - start, time.process_time() - middle], peak, pruned


def _peer(model: Any, inputs: Any, outputs: list[str]) -> tuple[list[float], int, Any]:
    from benchmarks.engine import peer

    start = time.process_time()
    pruner = peer.pruner_of(model, inputs, peer.hints(model, outputs), 0.5)
    middle, peak = time.process_time(), _memory("VmHWM")
    pruner.step()
    peer.update_attributes(model, pruner)
    return [middle - start, time.process_time() - middle], peak, model


def _memory(field: str) -> int:
    """Return ``VmRSS``, resident memory, or ``VmHWM``, its peak, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
