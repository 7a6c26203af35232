"""The ``analyze_sensitivity`` step."""
