"""Prune each architecture to half its width, and check the result.

    python -m benchmarks.engine.coverage            # every architecture, each tool in its own process
    python -m benchmarks.engine.coverage resnet50   # some; the others keep their results

Compares reprune and Torch-Pruning. Writes ``coverage.jsonl`` and the tables of ``docs/benchmarks/engine.md``.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from benchmarks import ROOT
from benchmarks.pages import write_tables
from benchmarks.records import Records

HERE = Path(__file__).parent
RESULTS = HERE / "coverage.jsonl"
TOOLS = ("reprune", "Torch-Pruning")
STEPS = ("pruned", "runs", "reloads", "exports", "learns", "right")
CPU_SECONDS, WALL_SECONDS, MEMORY_BYTES = 60, 1200, 8 << 30


def main() -> None:
    """Examine the named architectures, and write the results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--jobs", type=int, default=2, help="number of parallel processes")
    parser.add_argument("--one", nargs=2, metavar=("TOOL", "NAME"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(examine(*given.one)))
        return
    from benchmarks.engine.models import MODELS

    names = given.names or list(MODELS)
    with ThreadPoolExecutor(given.jobs) as pool:
        pending = {pool.submit(lambda name: {t: isolated(t, name) for t in TOOLS}, name): name for name in names}
        for future in as_completed(pending):
            name, found = pending[future], future.result()
            print(f"{name:22}", *(f"{tool}: {summary(found[tool])};" for tool in TOOLS), flush=True)
            results = Records(RESULTS)
            others = [record for record in results if record["architecture"] != name]
            fresh = [{"architecture": name, "tool": tool, **result} for tool, result in found.items()]
            results.replace(sorted([*others, *fresh], key=lambda it: list(MODELS).index(it["architecture"])))
    from benchmarks.engine.page import coverage_tables

    write_tables("engine.md", coverage_tables(Records(RESULTS)))


def summary(result: dict[str, Any]) -> str:
    """Return a one-line summary of a result."""
    done = [step for step in STEPS if result.get(step) is True]
    return "all" if len(done) == len(STEPS) else f"{', '.join(done) or 'nothing'} ({result.get('why', '')[:150]})"


def isolated(tool: str, name: str) -> dict[str, Any]:
    """Examine one tool on one architecture in a process of limited time and memory."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))

    command = [sys.executable, "-m", "benchmarks.engine.coverage", "--one", tool, name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=WALL_SECONDS, preexec_fn=limit, cwd=ROOT)
    except subprocess.TimeoutExpired:
        return {"why": f"not done after {WALL_SECONDS} s"}
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    if done.returncode in (-9, -24):
        return {"why": f"not done after {CPU_SECONDS} s of processor time"}
    return {"why": (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1][:300]}


def examine(tool: str, name: str) -> dict[str, Any]:
    """Prune an architecture to half its width, and use the result in every way."""
    import torch

    from benchmarks.engine.models import built

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    model, inputs = built(name)
    result: dict[str, Any] = {"parameters": count(model)}
    examine_one = _examine_reprune if tool == "reprune" else _examine_peer
    try:
        examine_one(name, model, inputs, result)
    except Exception as error:
        result["why"] = described(error)
    return result


def _examine_reprune(name: str, model: Any, inputs: Any, result: dict[str, Any]) -> None:
    import reprune

    pruned, recipe = reprune.prune(model, inputs, ratio=0.5, criterion="random")
    result["pruned"], result["left"] = count(pruned) < count(model), count(pruned)

    def reload(folder: str) -> Any:
        reprune.save(pruned, folder, factory=f"benchmarks.engine.models:{name}", recipe=recipe)
        return reprune.load(folder, factory=f"benchmarks.engine.models:{name}")

    use(pruned, inputs, reload, result)
    kept = {tensor: {cut.dim: cut.kept for cut in cuts} for tensor, cuts in recipe.slices.items()}
    result["right"], result["judged by"], _ = judge(model, inputs, pruned, kept)


def _examine_peer(name: str, model: Any, inputs: Any, result: dict[str, Any]) -> None:
    import torch

    import reprune
    from benchmarks.engine import peer

    analysis = reprune.analyze(model, inputs)
    outputs = sorted({f.what.rpartition("[")[0].rpartition(".")[0] for f in analysis.frozen if _ends(f)})
    kept: dict[str, Any] | None = None
    try:
        pruned, indices = peer.prune_with_indices(model, inputs, outputs)
        kept = {tensor: dict(enumerate(dims)) for tensor, dims in indices.items()}
    except Exception:  # the indices in place of weights may be the cause
        pruned = peer.prune(model, inputs, outputs)
    result["pruned"], result["left"] = count(pruned) < count(model), count(pruned)

    def reload(folder: str) -> Any:
        torch.save(pruned, f"{folder}/model.pt")
        return torch.load(f"{folder}/model.pt", weights_only=False)  # our own pickle: the peer has no other format

    use(pruned, inputs, reload, result)
    if kept is None:
        result["why"] = "the cut indices could not be read back: correctness unknown"
        return
    result["right"], result["judged by"], same = judge(model, inputs, pruned, kept, analysis)
    if result["right"] is not True:
        result["why"] = result["judged by"]
    if same is not None:
        result["reprune at equal widths"] = equal_widths(model, inputs, pruned, analysis, same)


def _ends(frozen: Any) -> bool:
    return frozen.reason == "reaches the model's output" and frozen.what.endswith(("weight[0]",))


def use(pruned: Any, inputs: Any, reload: Callable[[str], Any], result: dict[str, Any]) -> None:
    """Run a pruned model, save and reload it, export it, and train one step."""
    import torch

    from reprune.pruning import verify
    from reprune.pruning.graph.capture import as_call

    args, kwargs = as_call(inputs)

    def reloads() -> None:
        with tempfile.TemporaryDirectory() as folder:
            again = verify.run(reload(folder), inputs)
        if not all(torch.equal(a, b) for a, b in zip(verify.run(pruned, inputs), again, strict=True)):
            raise ValueError("the reloaded model gives other outputs")

    def learns() -> None:
        pruned.train()
        optimizer = torch.optim.SGD(pruned.parameters(), lr=1e-4)
        out = torch.utils._pytree.tree_leaves(pruned(*args, **kwargs))
        sum(x.square().mean() for x in out if torch.is_tensor(x) and x.is_floating_point()).backward()
        optimizer.step()
        pruned.eval()

    steps = {
        "runs": lambda: verify.run(pruned, inputs),
        "reloads": reloads,
        "exports": lambda: torch.export.export(pruned, args, kwargs, strict=False),
    }
    weights = {key: value.clone() for key, value in pruned.state_dict().items()}
    for step, action in {**steps, "learns": learns}.items():
        try:
            action()
            result[step] = True
        except Exception as error:
            result[step] = False
            result.setdefault("why", f"{step}: {described(error)}")
            if step == "runs":
                raise
    pruned.eval().load_state_dict(weights)


def judge(
    model: Any, inputs: Any, pruned: Any, kept: dict[str, dict[int, Any]], analysis: Any = None
) -> tuple[bool | None, str, Any]:
    """Return whether a pruned model equals the dense one without the removed slices.

    The slices are first zeroed in the dense model, without the engine. If the outputs differ, a normalization over the
    removed slices may be the cause; then the engine's oracle decides, if the slices are channels of its groups.

    Returns:
        True, False, or None for unknown; how it was decided; and the removed channels, if the slices are channels.
    """
    import copy

    import numpy as np
    import torch

    import reprune
    from reprune.pruning import verify
    from reprune.pruning.graph.capture import tensors_of

    dense = copy.deepcopy(model)
    gone: dict[tuple[str, int], set[int]] = {}
    with torch.no_grad():
        for name, tensor in tensors_of(dense).items():
            for dim, indices in kept.get(name, {}).items():
                lost = sorted(set(range(tensor.shape[dim])) - {int(i) for i in indices})
                if lost:
                    gone[name, dim] = set(lost)
                    if not name.endswith("running_var"):
                        tensor.index_fill_(dim, torch.tensor(lost), 0)
    found = verify.run(pruned, inputs)
    problem = verify.difference(verify.run(dense, inputs), found)
    if problem is None and analysis is None:
        return True, "zeroing", None
    analysis = analysis or reprune.analyze(model, inputs)
    removed = np.zeros(sum(group.width for group in analysis.groups), dtype=bool)
    explained: dict[tuple[str, int], set[int]] = {}
    for group in analysis.groups:
        for cell in range(group.width):
            if all(set(m.cells[cell]) <= gone.get((m.tensor, m.dim), set()) for m in group.members):
                removed[analysis.offsets[group.name] + cell] = True
                for member in group.members:
                    explained.setdefault((member.tensor, member.dim), set()).update(member.cells[cell])
    same = removed if explained == gone else None
    if problem is None:
        return True, "zeroing", same
    if same is not None:
        problem = verify.difference(verify.zeroed(analysis, model, same, inputs), found)
        return problem is None, "the oracle" if problem is None else f"another function: {problem}", same
    norms = any(word in type(m).__name__ for m in model.modules() for word in ("LayerNorm", "GroupNorm", "RMSNorm"))
    if norms:
        return None, "cuts a dimension that reprune keeps, under a normalization: correctness unknown", None
    return False, f"another function: {problem}", None


def equal_widths(model: Any, inputs: Any, pruned: Any, analysis: Any, removed: Any) -> dict[str, int]:
    """Remove the same channels with reprune, and count both results."""
    import numpy as np

    from reprune.pruning.prune import cut

    offsets = analysis.offsets
    keep = {
        group.name: np.flatnonzero(~removed[offsets[group.name] : offsets[group.name] + group.width]).tolist()
        for group in analysis.groups
    }
    ours, _ = cut(model, analysis, keep)
    return {
        "parameters": count(ours),
        "parameters of the peer": count(pruned),
        "macs": macs(ours, inputs),
        "macs of the peer": macs(pruned, inputs),
    }


def count(model: Any) -> int:
    """Return the number of parameters; tied ones count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def macs(model: Any, inputs: Any) -> int:
    """Return the multiply-accumulates of one call, by torch's counter."""
    from torch.utils.flop_counter import FlopCounterMode

    from reprune.pruning import verify

    with FlopCounterMode(display=False) as counter:
        verify.run(model, inputs)
    return counter.get_total_flops() // 2


def described(error: Exception) -> str:
    """Return a one-line description of an error."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {line}"[:300]


if __name__ == "__main__":
    main()
