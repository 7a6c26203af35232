"""The registry: immutable versions of a workload's model, and one champion among them that moves atomically."""

from reprune.registry.history import Champion, Move
from reprune.registry.registry import Registry, workloads
from reprune.registry.version import File, Version

__all__ = ["Champion", "File", "Move", "Registry", "Version", "workloads"]
