"""The ``reject`` step."""
