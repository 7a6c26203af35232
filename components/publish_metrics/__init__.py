"""The ``publish_metrics`` step."""
