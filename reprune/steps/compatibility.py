"""Which versions may work together: the compiled pipeline, the image that a step runs in, and the store's layout."""

import contextlib
import json
import os
import re

from reprune import __version__
from reprune.errors import InputError, IntegrityError, StoreError
from reprune.storage.base import NotFoundError, Store

PIPELINE = "REPRUNE_PIPELINE_VERSION"
"""Environment variable of a step with the version that its pipeline was compiled by."""

LAYOUT = 1
"""Of keys and documents in a store; it is raised when an older reprune could not read them any more."""

MARK = "store.json"
"""Key of the document that says which layout a store has."""


def agree(one: str, other: str) -> bool:
    """Return whether two versions of reprune may work together: releases that differ in the last number alone do."""
    return _release(one) == _release(other)


def check_pipeline() -> None:
    """Compare the pipeline that this step belongs to with the library that it found in its image.

    Raises:
        InputError: They may not work together.
    """
    compiled = os.environ.get(PIPELINE, __version__)
    if not agree(compiled, __version__):
        raise InputError(
            f"The pipeline was compiled by reprune {compiled}, and this step's image has reprune {__version__}.",
            "Compile and submit the pipeline with the version of the images, or name images of its version.",
        )


def check_store(store: Store) -> None:
    """Refuse a store whose layout this library does not know; a store without a mark gets one.

    Raises:
        IntegrityError: The layout is another one, or the mark is damaged.
        StoreError: The store cannot be read.
    """
    try:
        found = store.get_json(MARK)
    except NotFoundError:
        with contextlib.suppress(StoreError):  # another step was faster, or the store may only be read
            store.put(MARK, json.dumps({"layout": LAYOUT}).encode(), if_absent=True)
        return
    layout = found.get("layout") if isinstance(found, dict) else None
    if layout != LAYOUT:
        raise IntegrityError(
            f"The store {store.uri} has layout {layout!r}, and reprune {__version__} knows layout {LAYOUT}.",
            "Use the version of reprune that wrote it, or another store.",
        )


def _release(version: str) -> str:
    match = re.match(r"\d+\.\d+", version)
    return match[0] if match else version
