"""Summarise a shard of a log of predictions for the champion's reference."""

from pathlib import Path
from tempfile import TemporaryDirectory

from reprune.drift import shards, summary_file
from reprune.steps.context import Step


def run(step: Step, *, log: str, shard: int, of: int) -> str:
    """Return the key in the store of the shard's summary; empty where no file is left for it."""
    step.part = str(shard)
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        reference = shards.champions_reference(
            step.workload.name, step.workload.drift, store=step.store, scratch=scratch / "reference"
        )
        step.progress("reading the shard")
        found = shards.summarize_shard(log, reference, shard=shard, of=of, scratch=scratch / "log")
        step.record = {"rows": found.summary.rows if found else 0, "notes": found.notes if found else []}
        step.summary = f"{step.record['rows']:,} rows of {log}"
        if found is None:
            return ""
        summary_file.save(found.summary, scratch / "shard.safetensors")
        return step.put_evidence(f"shard-{shard}.safetensors", (scratch / "shard.safetensors").read_bytes())
