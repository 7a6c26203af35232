"""The store: a folder or an S3 bucket behind one small interface, with atomic and conditional writes."""

from reprune.store.base import Entry, NotFoundError, Store
from reprune.store.opening import fetch_file, open_store

__all__ = ["Entry", "NotFoundError", "Store", "fetch_file", "open_store"]
