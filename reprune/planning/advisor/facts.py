"""What each method is worth on one target, measured once for a model and a machine and kept in the store."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import BaseModel, ConfigDict

from reprune import hashing
from reprune.config.target import Target, machine
from reprune.data.model_io import feed
from reprune.inference.latency.benchmark import Benchmark, compare
from reprune.planning.advisor import variants
from reprune.planning.planning_context import Subject
from reprune.storage.base import Store

SECONDS = 8.0
"""Time for the rounds of all variants together."""


class Facts(BaseModel):
    """The measurements.

    Attributes:
        benchmark: The variants of the model against the dense one, in turns, with a control.
        missing: By method, why it could not be tried.
        reused: Whether they come from the store.
    """

    model_config = ConfigDict(frozen=True)

    benchmark: Benchmark
    missing: dict[str, str]
    reused: bool = False


def gather(subject: Subject, target: Target, store: Store, progress: Callable[[float], None] | None = None) -> Facts:
    """Return what a store knows of this model on this machine and target, or measure it and keep it there.

    What decides latency is the graph and its shapes, so that retrained weights need no new measurement.
    """
    shapes = {name: [list(value.shape), str(value.dtype)] for name, value in subject.model.state_dict().items()}
    operators = [str(operator) for operator in subject.analysis.operators]
    name = hashing.of_json([shapes, operators])[:16]
    key = f"advice/{machine().key(target)}/{name}.json"
    if store.exists(key):
        return store.get_model(key, Facts).model_copy(update={"reused": True})
    with TemporaryDirectory(prefix="reprune-advice-") as folder:
        made = variants.make(subject, Path(folder))
        files = {method: it for method, it in made.items() if isinstance(it, Path)}
        feeds = feed(subject.example(target.batch_size))
        measured = compare(files, feeds, target, seconds=SECONDS, progress=progress)
    found = Facts(benchmark=measured, missing={m: it for m, it in made.items() if isinstance(it, str)})
    store.put(key, found.model_dump_json().encode())
    return found
