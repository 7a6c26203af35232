"""The ``rollback`` step."""
