"""Measure image sizes, and step start-up as a process and in a container.

    DOCKER_HOST=... python -m benchmarks.containers.measure --rounds 5

Each round starts every step once as a process and once in its container, in random order, as kfp's runners do: the
interpreter, kfp's executor and the step's imports, but no work. Writes ``measured.json`` and prints the tables of the
page.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

from reprune import __version__
from reprune.components import readmes

HERE = Path(__file__).parent
WITHOUT_TORCH = {"benchmark", "publish_metrics", "rollback"}
START = (
    "import resource, kfp.dsl.executor_main, reprune.steps.context, reprune.steps.{step}; "
    "used = resource.getrusage(resource.RUSAGE_SELF); print(used.ru_utime + used.ru_stime)"
)


def image_of(step: str) -> str:
    """Return the image of a step."""
    return f"reprune-{'runtime' if step in WITHOUT_TORCH else 'train'}:{__version__}"


def timed(run, *arguments) -> dict[str, float]:
    """Return the wall and processor seconds of one start."""
    started = time.perf_counter()
    printed = run(*arguments)
    return {"seconds": time.perf_counter() - started, "cpu_seconds": float(printed or "nan")}


def main() -> None:
    """Time the starts, write the results, and print the tables."""
    import docker

    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", nargs="*", default=readmes.names())
    arguments = parser.parse_args()
    rounds, steps = arguments.rounds, arguments.steps
    client = docker.from_env()

    def in_container(image: str, command: list[str]) -> str:
        return client.containers.run(
            image, command, remove=True, network_mode="none", read_only=True, tmpfs={"/tmp": ""}, cap_drop=["ALL"]
        ).decode()

    def as_process(code: str) -> str:
        return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    def start(step: str, place: str) -> dict[str, float]:
        if step == "nothing":
            return timed(in_container, image_of("benchmark"), ["true"])
        code = START.format(step=step)
        if place == "process":
            return timed(as_process, code)
        return timed(in_container, image_of(step), ["python3", "-c", code])

    for step in ("benchmark", "train"):  # load the files of both images into memory
        start(step, "container"), start(step, "process")
    cases = [(step, place) for step in steps for place in ("process", "container")] + [("nothing", "container")]
    found: dict[str, list[dict[str, float]]] = {f"{step} {place}": [] for step, place in cases}
    images = ("runtime", "train", "monitor")
    result = {
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "engine": client.version()["Version"],
        },
        "load_average": [],
        "torch": importlib.metadata.version("torch"),
        "size_bytes": {name: client.images.get(f"reprune-{name}:{__version__}").attrs["Size"] for name in images},
        "starts": found,
    }
    for number in range(rounds):
        random.Random(number).shuffle(cases)
        for step, place in cases:
            found[f"{step} {place}"].append(start(step, place))
        result["load_average"].append(os.getloadavg()[1])
        (HERE / "measured.json").write_text(json.dumps(result, indent=1) + "\n")
    show(result, steps)


def show(result: dict, steps: list[str]) -> None:
    """Print the tables."""
    print("| image | size |\n|---|---|")
    for name, size in result["size_bytes"].items():
        print(f"| `reprune-{name}` | {size / 1e6:,.0f} MB |")
    print("\n| step | process | container | processor time: process | container | container over process |")
    print("|---|---|---|---|---|---|")
    for step in steps:
        alone, inside = (result["starts"][f"{step} {place}"] for place in ("process", "container"))
        ratio = statistics.median(c["cpu_seconds"] / p["cpu_seconds"] for p, c in zip(alone, inside, strict=True))
        cells = [spread(its, key) for key in ("seconds", "cpu_seconds") for its in (alone, inside)]
        print(f"| `{step}` | {' | '.join(cells)} | {ratio:.2f} |")
    print(f"\nA container that does nothing: {spread(result['starts']['nothing container'], 'seconds')}.")


def spread(values: list[dict[str, float]], key: str) -> str:
    """Return the median and the range, formatted."""
    numbers = [it[key] for it in values]
    return f"{statistics.median(numbers):.1f} s ({min(numbers):.1f} – {max(numbers):.1f})"


if __name__ == "__main__":
    main()
