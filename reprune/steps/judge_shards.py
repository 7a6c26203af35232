"""Judge the shards of a log of predictions as one window."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from reprune.drift import shards, summary_file
from reprune.drift.window_summary import Summary
from reprune.report import drift_page
from reprune.steps.context import Step


def run(step: Step, *, log: str, parts: Sequence[str], report: Path) -> str:
    """Return the verdict, with what moved in the step's record."""
    notes = [note for name, it in step.records().items() if name.startswith("summarize_shard") for note in it["notes"]]
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        policy, name = step.workload.drift, step.workload.name
        reference = shards.champions_reference(name, policy, store=step.store, scratch=scratch / "reference")
        summaries = [_load(step, key, scratch) for key in parts if key]
        found = shards.judge_shards(reference, summaries, policy, notes=notes, seed=step.workload.seed)
    report.write_text(drift_page.render_report(found, f"{log} against the champion of {name}"))
    step.record = {"log": log, "report": found.model_dump(mode="json")}
    step.summary = found.summary
    return found.verdict


def _load(step: Step, key: str, scratch: Path) -> Summary:
    file = scratch / Path(key).name
    step.store.download(key, file)
    return summary_file.load(file)
