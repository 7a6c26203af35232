"""The ``benchmark`` step."""
