"""The ``judge_shards`` step."""
