"""Measure latency on the target hardware."""
