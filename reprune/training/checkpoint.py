"""Checkpoints in the store: tensors and a little state in one object, so that a write is whole or absent."""

import json
import logging
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from reprune import digest
from reprune.store import Store

log = logging.getLogger(__name__)

_HEADER = len(digest.of_bytes(b"")) + 1


class Checkpoints:
    """The checkpoints of one piece of work, named by what goes into it.

    The key is a digest of everything that decides the result (data, code, settings, the model it starts from), so that
    a later run picks up exactly its own work and never somebody else's.

    Args:
        store: Where they are kept.
        workload: Name of the workload.
        key: Digest of what the work starts from.
    """

    def __init__(self, store: Store, workload: str, key: str) -> None:
        self._store = store
        self._prefix = f"checkpoints/{workload}/{key[:16]}"

    def save(self, name: str, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Write one checkpoint over the one before, atomically."""
        unique = {key: tensor.detach().contiguous().cpu() for key, tensor in tensors.items()}
        payload = safetensors.torch.save(unique, metadata={"state": json.dumps(state)})
        self._store.put(self._key(name), digest.of_bytes(payload).encode() + b"\n" + payload)

    def load(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return a checkpoint, or None where there is none or it is damaged (which is logged)."""
        key = self._key(name)
        if not self._store.exists(key):
            return None
        stored = self._store.get(key)
        header, payload = stored[: _HEADER - 1], stored[_HEADER:]
        if header.decode(errors="replace") != digest.of_bytes(payload):
            log.warning("The checkpoint %s is damaged; its work is done again.", key)
            return None
        try:
            return safetensors.torch.load(payload), _state(payload)
        except SafetensorError as error:
            log.warning("The checkpoint %s cannot be read (%s); its work is done again.", key, error)
            return None

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}.safetensors"


def clear(store: Store, workload: str) -> None:
    """Delete the checkpoints of a workload, once its run has come to an end."""
    for key in list(store.list(f"checkpoints/{workload}/")):
        store.delete(key)


def _state(payload: bytes) -> dict[str, Any]:
    """Read the state out of the header: eight bytes of length, then JSON (the safetensors format)."""
    length = int.from_bytes(payload[:8], "little")
    metadata = json.loads(payload[8 : 8 + length])["__metadata__"]
    state: dict[str, Any] = json.loads(metadata["state"])
    return state
