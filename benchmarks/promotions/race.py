"""200 promotions at once: one history, no lost update, every loser told.

``python -m benchmarks.promotions.race NAME URI`` races on an empty store (a folder, or ``s3://bucket/prefix`` on
the server that the usual AWS variables name) and adds what came of it to results.json beside itself. Every promotion
has a version of its own and the champion as all saw it; all wait for one file to appear, and then promote. In a second
race each loser looks again, and tries until it wins.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from reprune.registry import Registry
from reprune.store import Store, open_store

PROMOTIONS = 200
PROCESSES = 20
WORKLOAD = "raced"

RACER = """
import json, sys, threading, time
from pathlib import Path
from reprune.errors import ConflictError
from reprune.registry import Registry
from reprune.store import open_store

uri, workload, signal, stubborn, *versions = sys.argv[1:]
seen = Registry(open_store(uri), workload).champion()
told, tries = [], []

def promote(version):
    registry, expected = Registry(open_store(uri), workload), seen
    while not Path(signal).exists():
        time.sleep(0.001)
    for attempt in range(1, 100_000):
        try:
            registry.promote(version, reason="raced", expected=expected, by=version[:12])
            told.append([version, "won", ""])
            break
        except ConflictError as error:
            if stubborn != "True":
                told.append([version, "lost", error.message])
                break
            expected = registry.champion()
    tries.append(attempt)

threads = [threading.Thread(target=promote, args=(version,)) for version in versions]
for thread in threads:
    thread.start()
print("ready", flush=True)
for thread in threads:
    thread.join()
print(json.dumps([told, tries]), flush=True)
"""


def race(store: Store, versions: list[str], *, stubborn: bool) -> dict[str, Any]:
    """Let all versions be promoted at once, and compare what each was told with the history."""
    registry = Registry(store, WORKLOAD)
    before = len(registry.history())
    share = len(versions) // PROCESSES
    with tempfile.TemporaryDirectory() as folder:
        signal = Path(folder) / "go"
        command = [sys.executable, "-c", RACER, store.uri, WORKLOAD, str(signal), str(stubborn)]
        racers = [
            subprocess.Popen(
                [*command, *versions[place * share : (place + 1) * share]], stdout=subprocess.PIPE, text=True
            )
            for place in range(PROCESSES)
        ]
        for racer in racers:
            assert racer.stdout is not None and racer.stdout.readline() == "ready\n"
        started = time.perf_counter()
        signal.touch()
        answers = [json.loads(racer.communicate()[0]) for racer in racers]
        seconds = time.perf_counter() - started
    moves = registry.history()
    outcome = {version: (word, message) for told, _ in answers for version, word, message in told}
    won = {version for version, (word, _) in outcome.items() if word == "won"}
    recorded = Counter(move.version for move in moves[before:])
    winners = {move.version[:12] for move in moves[before:]}
    return {
        "promotions": len(versions),
        "told that they won": len(won),
        "moves in the history": len(moves) - before,
        "won but not in the history, or there twice": sum(recorded[version] != 1 for version in won),
        "in the history but not won": len(recorded.keys() - won),
        "lost and told who won": sum(
            word == "lost" and any(it in message for it in winners) for word, message in outcome.values()
        ),
        "told nothing": len(set(versions) - outcome.keys()),
        "chain whole": [move.sequence for move in moves] == list(range(1, len(moves) + 1))
        and [move.previous for move in moves[1:]] == [move.version for move in moves[:-1]],
        "tries": sum(attempt for _, tries in answers for attempt in tries),
        "seconds": round(seconds, 1),
    }


def main() -> None:
    """Race on a store."""
    name, uri = sys.argv[1:]
    store = open_store(uri)
    registry = Registry(store, WORKLOAD)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model").write_text("model")
        versions = [registry.publish(Path(folder), {"number": it}).id for it in range(2 * PROMOTIONS + 1)]
    registry.promote(versions[0], reason="first", expected=None)
    written = Path(__file__).with_name("results.json")
    results = json.loads(written.read_text()) if written.exists() else {}
    results[name] = {}
    races = {"once": (versions[1 : PROMOTIONS + 1], False), "until each has won": (versions[PROMOTIONS + 1 :], True)}
    for kind, (racing, stubborn) in races.items():
        results[name][kind] = race(store, racing, stubborn=stubborn)
        print(kind, json.dumps(results[name][kind], indent=1), flush=True)
        written.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
