"""The promotion gate: checks on paired evidence, and a verdict with its reasons."""
