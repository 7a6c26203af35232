"""Scripts that measure reprune, and their raw results."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "benchmarks"
WORK = ROOT / "build" / "benchmarks"
"""Trained weights, plans and latency tables, kept so that a script can resume."""
