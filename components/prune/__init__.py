"""The ``prune`` step."""
