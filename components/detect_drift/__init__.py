"""The ``detect_drift`` step."""
