"""A log too large for one machine: its files dealt to shards, summarised apart, and judged as one window.

The verdict is that of the whole log read at once, to the last bit: rows are known by the file that they lie in, and
summaries merge exactly.
"""

from collections.abc import Sequence
from functools import reduce
from pathlib import Path

from reprune.config.drift import DriftPolicy
from reprune.drift import compare_files, window_reader
from reprune.drift.drift_report import DriftReport
from reprune.drift.two_sample import judge, watched
from reprune.drift.window_reader import Read
from reprune.drift.window_summary import Summary, merge
from reprune.storage.base import Store


def champions_reference(workload: str, policy: DriftPolicy, *, store: Store, scratch: Path) -> Summary:
    """Return what a champion's log is compared with.

    Args:
        workload: Name of the workload.
        policy: What of it is watched.
        store: Where the champion is.
        scratch: A folder for what is fetched.

    Raises:
        InputError: There is no champion, or nothing of its reference is watched.
        IntegrityError: The reference is damaged.
    """
    return watched(compare_files.champions_reference(workload, store, scratch), policy)


def summarize_shard(log: str, reference: Summary, *, shard: int, of: int, scratch: Path) -> Read | None:
    """Summarise every ``of``-th file of a log, beginning with a shard's own; None where there are fewer files.

    Args:
        log: A folder of prediction logs, here or on S3; only the shard's files are fetched, and late labels.
        reference: What they are summarised for.
        shard: From 0.
        of: How many shards there are.
        scratch: A folder for what is fetched.

    Raises:
        InputError: A file cannot be read, or does not go with the reference.
    """
    window = window_reader.find(log, scratch, part=slice(shard, None, of))
    return window_reader.summarize_window(window, reference.frame) if window.files else None


def judge_shards(
    reference: Summary, parts: Sequence[Summary], policy: DriftPolicy, *, notes: Sequence[str] = (), seed: int = 0
) -> DriftReport:
    """Judge the shards of a log as the one window that they are.

    Args:
        reference: What they were summarised for.
        parts: In any order.
        policy: False-alarm rate, guard of small samples.
        notes: What a person should know of the shards; each is passed on once.
        seed: Seed of the permutations.

    Raises:
        InputError: They were not summarised for this reference: another champion was promoted meanwhile.
    """
    return judge(reference, reduce(merge, parts), policy, seed=seed, notes=tuple(dict.fromkeys(notes)))
