"""The ``gate`` step."""
