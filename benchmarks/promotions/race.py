"""Run 200 promotions at once, and check them against the history.

    python -m benchmarks.promotions.race NAME URI

URI is an empty store: a folder, or ``s3://bucket/prefix`` on the server of the usual AWS variables. Every promotion has
its own version and expects the same champion; all wait for one file to appear, and then promote. In a second race each
loser reads the champion again and retries until it wins. Adds the outcome to ``results.json``.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from reprune.registry.registry import Registry
from reprune.storage.base import Store
from reprune.storage.uri import open_store

PROMOTIONS = 200
PROCESSES = 20
WORKLOAD = "raced"

RACER = """
import json, sys, threading, time
from pathlib import Path
from reprune.errors import ConflictError
from reprune.registry.registry import Registry
from reprune.storage.uri import open_store

uri, workload, signal, retry, *versions = sys.argv[1:]
seen = Registry(open_store(uri), workload).champion()
reports, tries = [], []

def promote(version):
    registry, expected = Registry(open_store(uri), workload), seen
    while not Path(signal).exists():
        time.sleep(0.001)
    for attempt in range(1, 100_000):
        try:
            registry.promote(version, reason="raced", expected=expected, by=version[:12])
            reports.append([version, "won", ""])
            break
        except ConflictError as error:
            if retry != "True":
                reports.append([version, "lost", error.message])
                break
            expected = registry.champion()
    tries.append(attempt)

threads = [threading.Thread(target=promote, args=(version,)) for version in versions]
for thread in threads:
    thread.start()
print("ready", flush=True)
for thread in threads:
    thread.join()
print(json.dumps([reports, tries]), flush=True)
"""


def race(store: Store, versions: list[str], *, retry: bool) -> dict[str, Any]:
    """Promote all versions at once, and compare each report with the history."""
    registry = Registry(store, WORKLOAD)
    before = len(registry.history())
    share = len(versions) // PROCESSES
    with tempfile.TemporaryDirectory() as folder:
        signal = Path(folder) / "go"
        command = [sys.executable, "-c", RACER, store.uri, WORKLOAD, str(signal), str(retry)]
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
    outcome = {version: (word, message) for reports, _ in answers for version, word, message in reports}
    won = {version for version, (word, _) in outcome.items() if word == "won"}
    recorded = Counter(move.version for move in moves[before:])
    winners = {move.version[:12] for move in moves[before:]}
    return {
        "promotions": len(versions),
        "reported as won": len(won),
        "moves in the history": len(moves) - before,
        "won but not in the history exactly once": sum(recorded[version] != 1 for version in won),
        "in the history but not won": len(recorded.keys() - won),
        "reported as lost, with the winner": sum(
            word == "lost" and any(it in message for it in winners) for word, message in outcome.values()
        ),
        "no report": len(set(versions) - outcome.keys()),
        "unbroken chain": [move.sequence for move in moves] == list(range(1, len(moves) + 1))
        and [move.previous for move in moves[1:]] == [move.version for move in moves[:-1]],
        "tries": sum(attempt for _, tries in answers for attempt in tries),
        "seconds": round(seconds, 1),
    }


def main() -> None:
    """Run both races on a store, and write the outcome."""
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
    for kind, (racing, retry) in races.items():
        results[name][kind] = race(store, racing, retry=retry)
        print(kind, json.dumps(results[name][kind], indent=1), flush=True)
        written.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
