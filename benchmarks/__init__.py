"""Scripts that measure reprune, and their raw results; ``docs/benchmarks/`` holds the pages."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "benchmarks"
