"""The ``promote`` step."""
