"""Keep immutable versions of a workload's model and one champion among them, moved by compare-and-swap."""
