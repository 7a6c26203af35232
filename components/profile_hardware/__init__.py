"""The ``profile_hardware`` step."""
