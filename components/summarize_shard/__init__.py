"""The ``summarize_shard`` step."""
