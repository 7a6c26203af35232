"""What a champion was made for, frozen with it: a bounded sample that later windows are compared with."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from reprune import hashing
from reprune.drift.features import Column, Sample
from reprune.errors import IntegrityError

FORMAT = 1
LIMIT = 2000
"""Most examples that a reference holds."""


_BEGINS = b'{"__metadata__":{"reference":'
"""How the header of a reference begins, after eight bytes for its length."""


def is_reference(path: Path) -> bool:
    """Return whether a file says that it is a reference, also where it is cut short."""
    with path.open("rb") as file:
        return file.read(8 + len(_BEGINS))[8:] == _BEGINS


@dataclass(frozen=True)
class Reference:
    """A sample of inputs, predictions and labels as they were when the champion was promoted.

    Attributes:
        sample: The examples as watched columns, without the inputs themselves where those are large.
        model_sha256: Digest of the ONNX file that the predictions are of.
    """

    sample: Sample
    model_sha256: str

    def save(self, path: Path) -> None:
        """Write the reference as one safetensors file; equal references give equal bytes."""
        described = {
            "format": FORMAT,
            "model_sha256": self.model_sha256,
            "columns": [asdict(column) for column in self.sample.columns],
            "shapes": self.sample.shapes,
        }
        save_file({"values": self.sample.values}, path, metadata={"reference": json.dumps(described)})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a reference.

        Raises:
            IntegrityError: The file is missing, cut short, or not a reference that this version reads.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                described = json.loads((file.metadata() or {})["reference"])
                values = file.get_tensor("values")
            if described["format"] != FORMAT:
                raise ValueError(f"format {described['format']!r}, not {FORMAT}")
            columns = tuple(Column(**column) for column in described["columns"])
            if values.dtype != np.float32 or values.ndim != 2 or values.shape[1] != len(columns):
                raise ValueError(f"{len(columns)} columns described, {values.dtype} {list(values.shape)} there")
            return cls(Sample(columns, values, dict(described["shapes"])), str(described["model_sha256"]))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise IntegrityError(
                f"The champion's drift reference {path} cannot be used: {error}.",
                "Promote a champion anew (`--force`), or roll back to one whose reference is whole.",
            ) from None

    def belongs_to(self, model: Path) -> None:
        """Raise IntegrityError unless the predictions are of this very ONNX file."""
        found = hashing.of_file(model)
        if found != self.model_sha256:
            raise IntegrityError(
                f"The drift reference is of model {self.model_sha256[:12]}…, not of {model} ({found[:12]}…).",
                "Compare windows with the reference that lies beside the model.",
            )
