"""Which architectures reprune and Torch-Pruning cut to half their width, and whether what is left works.

    python docs/benchmarks/engine/coverage.py            # every architecture, each tool in a process of its own
    python docs/benchmarks/engine/coverage.py resnet50   # some of them; the others keep their results

Writes ``coverage.json`` beside this file and the table into ``../engine.md``.
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

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "coverage.json", HERE.parent / "engine.md"
TOOLS = ("reprune", "Torch-Pruning")
STEPS = ("pruned", "runs", "reloads", "exports", "learns", "right")
CPU_SECONDS, WALL_SECONDS, MEMORY_BYTES = 60, 1200, 8 << 30


def main() -> None:
    """Run what was asked for, and write the results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--one", nargs=2, metavar=("TOOL", "NAME"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(examine(*given.one)))
        return
    from models import MODELS

    names = given.names or list(MODELS)
    with ThreadPoolExecutor(given.jobs) as pool:
        pending = {pool.submit(lambda name: {t: isolated(t, name) for t in TOOLS}, name): name for name in names}
        for future in as_completed(pending):
            name, found = pending[future], future.result()
            print(f"{name:22}", *(f"{tool}: {told(found[tool])};" for tool in TOOLS), flush=True)
            results = (json.loads(RESULTS.read_text()) if RESULTS.exists() else {}) | {name: found}
            RESULTS.write_text(json.dumps({n: results[n] for n in MODELS if n in results}, indent=1) + "\n")
    from page import write_coverage

    write_coverage(json.loads(RESULTS.read_text()), PAGE)


def told(result: dict[str, Any]) -> str:
    """Return a result in a few words."""
    done = [step for step in STEPS if result.get(step) is True]
    return "all" if len(done) == len(STEPS) else f"{', '.join(done) or 'nothing'} ({result.get('why', '')[:150]})"


def isolated(tool: str, name: str) -> dict[str, Any]:
    """Examine one tool on one architecture in a process with limits on its time and memory."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))

    command = [sys.executable, __file__, "--one", tool, name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=WALL_SECONDS, preexec_fn=limit)
    except subprocess.TimeoutExpired:
        return {"why": f"not done after {WALL_SECONDS} s"}
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    if done.returncode in (-9, -24):
        return {"why": f"not done after {CPU_SECONDS} s of processor time"}
    return {"why": (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1][:300]}


def examine(tool: str, name: str) -> dict[str, Any]:
    """Cut an architecture with a tool to half its width, and use what is left in every way."""
    import torch
    from models import built

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
        reprune.save(pruned, folder, factory=f"models:{name}", recipe=recipe)
        return reprune.load(folder, factory=f"models:{name}")

    use(pruned, inputs, reload, result)
    kept = {tensor: {cut.dim: cut.kept for cut in cuts} for tensor, cuts in recipe.slices.items()}
    result["right"], result["judged by"], _ = judge(model, inputs, pruned, kept)


def _examine_peer(name: str, model: Any, inputs: Any, result: dict[str, Any]) -> None:
    import peer
    import torch

    import reprune

    analysis = reprune.analyze(model, inputs)
    outputs = sorted({f.what.rpartition("[")[0].rpartition(".")[0] for f in analysis.frozen if _ends(f)})
    kept: dict[str, Any] | None = None
    try:
        pruned, told = peer.prune_and_tell(model, inputs, outputs)
        kept = {tensor: dict(enumerate(dims)) for tensor, dims in told.items()}
    except Exception:  # perhaps the indices in place of weights are to blame
        pruned = peer.prune(model, inputs, outputs)
    result["pruned"], result["left"] = count(pruned) < count(model), count(pruned)

    def reload(folder: str) -> Any:
        torch.save(pruned, f"{folder}/model.pt")
        return torch.load(f"{folder}/model.pt", weights_only=False)  # a pickle of our own making: the peer's only way

    use(pruned, inputs, reload, result)
    if kept is None:
        result["why"] = "what it cut could not be read off, so whether the result is right is unknown"
        return
    result["right"], result["judged by"], same = judge(model, inputs, pruned, kept, analysis)
    if result["right"] is not True:
        result["why"] = result["judged by"]
    if same is not None:
        result["reprune at equal widths"] = equal_widths(model, inputs, pruned, analysis, same)


def _ends(frozen: Any) -> bool:
    return frozen.reason == "reaches the model's output" and frozen.what.endswith(("weight[0]",))


def use(pruned: Any, inputs: Any, reload: Callable[[str], Any], result: dict[str, Any]) -> None:
    """Run a cut model, write it and read it again, export it, and take a training step."""
    import torch

    from reprune.pruning import oracle
    from reprune.pruning.capture import as_call

    args, kwargs = as_call(inputs)

    def reloads() -> None:
        with tempfile.TemporaryDirectory() as folder:
            again = oracle.run(reload(folder), inputs)
        if not all(torch.equal(a, b) for a, b in zip(oracle.run(pruned, inputs), again, strict=True)):
            raise ValueError("the reloaded model gives other outputs")

    def learns() -> None:
        pruned.train()
        optimizer = torch.optim.SGD(pruned.parameters(), lr=1e-4)
        out = torch.utils._pytree.tree_leaves(pruned(*args, **kwargs))
        sum(x.square().mean() for x in out if torch.is_tensor(x) and x.is_floating_point()).backward()
        optimizer.step()
        pruned.eval()

    steps = {
        "runs": lambda: oracle.run(pruned, inputs),
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
    """Tell whether a cut model is the dense one without what was cut.

    First by zeroing what was cut in the dense model, with nothing of the engine's. Where that differs, it may be for a
    normalisation over what was cut; then the engine's oracle decides, if what was cut are cells of its groups.

    Returns:
        Yes, no, or None for unknown; how that was found; and the cells that are gone, if they are cells at all.
    """
    import copy

    import numpy as np
    import torch

    import reprune
    from reprune.pruning import oracle
    from reprune.pruning.capture import tensors_of

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
    found = oracle.run(pruned, inputs)
    problem = oracle.difference(oracle.run(dense, inputs), found)
    if problem is None and analysis is None:
        return True, "zeroing", None
    analysis = analysis or reprune.analyze(model, inputs)
    cells = np.zeros(sum(group.width for group in analysis.groups), dtype=bool)
    explained: dict[tuple[str, int], set[int]] = {}
    for group in analysis.groups:
        for cell in range(group.width):
            if all(set(m.cells[cell]) <= gone.get((m.tensor, m.dim), set()) for m in group.members):
                cells[analysis.offsets[group.name] + cell] = True
                for member in group.members:
                    explained.setdefault((member.tensor, member.dim), set()).update(member.cells[cell])
    same = cells if explained == gone else None
    if problem is None:
        return True, "zeroing", same
    if same is not None:
        problem = oracle.difference(oracle.zeroed(analysis, model, same, inputs), found)
        return problem is None, "the oracle" if problem is None else f"another function: {problem}", same
    norms = any(word in type(m).__name__ for m in model.modules() for word in ("LayerNorm", "GroupNorm", "RMSNorm"))
    if norms:
        return None, "it cut what reprune leaves whole, under a normalisation: unknown whether it is right", None
    return False, f"another function: {problem}", None


def equal_widths(model: Any, inputs: Any, pruned: Any, analysis: Any, removed: Any) -> dict[str, int]:
    """Cut the very same cells with reprune, and count parameters and operations of both results."""
    import numpy as np

    from reprune.pruning import cut

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
    """Return the number of parameters, ties counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


def macs(model: Any, inputs: Any) -> int:
    """Return the multiplications and additions of one call, as torch's own counter counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    from reprune.pruning import oracle

    with FlopCounterMode(display=False) as counter:
        oracle.run(model, inputs)
    return counter.get_total_flops() // 2


def described(error: Exception) -> str:
    """Return an error in one line."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {line}"[:300]


if __name__ == "__main__":
    main()
