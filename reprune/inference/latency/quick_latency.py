"""A quick look at whole graphs, for planning, within a second or so; evidence takes a `benchmark`."""

import os
import random
from collections.abc import Mapping

import numpy as np

from reprune.config.target import Target
from reprune.inference.latency.timing import Samples, interleave
from reprune.inference.session import open_session

QUANTILE = 0.1
"""Of the calls' durations. On a busy machine a long call is disturbed more often than a short one, which flatters the
short one's median; the calls that ran through without a break do not show it."""

Model = str | os.PathLike[str] | bytes


def measure_latency(
    models: Mapping[str, Model],
    inputs: Mapping[str, np.ndarray],
    target: Target,
    *,
    seconds: float = 0.5,
    seed: int = 0,
) -> dict[str, float]:
    """Return the undisturbed latency of each model in seconds, measured in this process, interleaved.

    Args:
        models: ONNX files or their contents, by name.
        inputs: Examples by input name, batch first; they are repeated or cut to the target's batch size.
        target: Where the models are served.
        seconds: Time for all of them together, by the target's timer: where that is processor time, a busy machine
            takes longer, but measures as many calls.
        seed: Seed of the order.
    """
    feeds = {name: value[np.arange(target.batch_size) % len(value)] for name, value in inputs.items()}
    sessions = {name: open_session(model, target) for name, model in models.items()}
    calls = {name: (lambda session=session: session.run(None, feeds)) for name, session in sessions.items()}
    samples = {name: Samples() for name in models}
    timer = target.timer()
    interleave(calls, samples, seconds=seconds, rng=random.Random(seed), clock=timer, timer=timer)
    return {name: float(np.quantile(record.seconds, QUANTILE)) for name, record in samples.items()}
