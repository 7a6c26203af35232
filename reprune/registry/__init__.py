"""The registry: immutable versions of a workload's model, and one champion among them that moves atomically."""

from reprune.registry.history import Canary, Champion, Move
from reprune.registry.registry import Registry, workloads
from reprune.registry.retention import retire
from reprune.registry.version import File, Version

__all__ = ["Canary", "Champion", "File", "Move", "Registry", "Version", "retire", "workloads"]
