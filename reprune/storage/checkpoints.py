"""Checkpoints in the store: tensors and a little state in one object, so that a write is whole or absent."""

import json
import logging
from collections.abc import Callable
from typing import Any, Self, TypeVar

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from reprune import hashing
from reprune.errors import StoreError
from reprune.storage import retry, safetensors_stream
from reprune.storage.base import NotFoundError, Store
from reprune.storage.uri import open_store

log = logging.getLogger(__name__)

KEPT = 2
"""Generations of a checkpoint: the newest, and the one to fall back on where that is damaged."""

_HEADER = len(hashing.of_bytes(b"")) + 1

_T = TypeVar("_T")


class Checkpoints:
    """The checkpoints of one piece of work, named by what goes into it.

    The key is a digest of everything that decides the result (data, code, settings, the model it starts from), so that
    a later run picks up exactly its own work and never somebody else's. Each write is a new generation; the last two
    are kept. A generation is used only where its digest is right and it says itself that it belongs to this work.

    Args:
        store: Where they are kept.
        workload: Name of the workload.
        key: Digest of what the work starts from.
    """

    def __init__(self, store: Store, workload: str, key: str) -> None:
        self._store = store
        self._prefix = f"checkpoints/{workload}/{key[:16]}"
        self._owner = {"workload": workload, "key": key}

    @property
    def place(self) -> dict[str, str]:
        """What another process opens the same checkpoints with: `at`."""
        return self._owner | {"store": self._store.uri}

    @classmethod
    def at(cls, place: dict[str, str]) -> Self:
        """Open the checkpoints at a place."""
        return cls(open_store(place["store"]), place["workload"], place["key"])

    def save(self, name: str, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Write a new generation atomically, then delete all but the last two.

        Raises:
            StoreError: The store still failed after several attempts; earlier generations are as they were.
        """
        metadata = {"state": json.dumps(state), "owner": json.dumps(self._owner), "name": name}
        payload = safetensors_stream.pieces(tensors, metadata)
        generations = self._patiently(lambda: self._generations(name))
        key = self._key(name, generations[-1] + 1 if generations else 1)
        header = hashing.of_pieces(payload).encode() + b"\n"
        self._patiently(lambda: self._store.put_pieces(key, [header, *payload]))
        for old in generations[: 1 - KEPT]:
            self._patiently(lambda old=old: self._store.delete(self._key(name, old)))  # type: ignore[misc]

    def load(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the newest generation that is whole, or None where there is none; what is passed over is logged."""
        for generation in reversed(self._patiently(lambda: self._generations(name))):
            key = self._key(name, generation)
            try:
                stored = self._patiently(lambda key=key: self._store.get(key))  # type: ignore[misc]
            except NotFoundError:  # a run that has just ended deleted it
                continue
            try:
                return self._read(name, stored)
            except ValueError as error:
                log.warning("The checkpoint %s is refused: %s. The one before it is used, if any.", key, error)
        return None

    def _read(self, name: str, stored: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
        header, payload = stored[: _HEADER - 1], stored[_HEADER:]
        if header.decode(errors="replace") != hashing.of_bytes(payload):
            raise ValueError("it is not what its digest says")
        try:
            tensors, metadata = safetensors.torch.load(payload), safetensors_stream.metadata_of(payload)
        except SafetensorError as error:
            raise ValueError(f"it cannot be read ({error})") from None
        if json.loads(metadata["owner"]) != self._owner or metadata["name"] != name:
            raise ValueError(f"it belongs to other work, {metadata['name']} of {metadata['owner']}")
        return tensors, json.loads(metadata["state"])

    def _generations(self, name: str) -> list[int]:
        prefix = f"{self._prefix}/{name}/"
        stems = (key.removeprefix(prefix).removesuffix(".safetensors") for key in self._store.list(prefix))
        return sorted(int(stem) for stem in stems if stem.isdigit())

    def _key(self, name: str, generation: int) -> str:
        return f"{self._prefix}/{name}/{generation:06d}.safetensors"

    def _patiently(self, action: Callable[[], _T]) -> _T:
        return retry.insist(action, on=StoreError, but_not=NotFoundError)


def clear(store: Store, workload: str) -> None:
    """Delete the checkpoints of a workload, once its run has come to an end."""
    for key in list(store.list(f"checkpoints/{workload}/")):
        store.delete(key)
