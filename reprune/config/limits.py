"""Limits as people write them: ``4ms``, ``50MB``, or ``0.5x`` of the dense model's own figure."""

import re
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_serializer, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

_QUANTITY = re.compile(r"^\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([A-Za-zµ]+)\s*$")


class Limit(BaseModel):
    """An upper limit, either absolute in base units or relative to the dense model.

    Attributes:
        value: The number, in base units (seconds, bytes) or as a ratio.
        relative: Whether ``value`` is a ratio of the dense model's figure.
        text: The limit as it was written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    units: ClassVar[dict[str, float]] = {}
    example: ClassVar[str] = "0.5x"

    value: float
    relative: bool
    text: str

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, written: Any) -> Any:
        if isinstance(written, (dict, Limit)):
            return written
        match = _QUANTITY.match(str(written))
        if not match:
            raise ValueError(f"is not a quantity with a unit; write it like {cls.example}")
        number, unit = float(match[1]), match[2]
        if unit in ("x", "X"):
            return {"value": number, "relative": True, "text": str(written)}
        if unit not in cls.units:
            raise ValueError(f"has the unknown unit {unit!r}; use one of x, {', '.join(cls.units)}")
        return {"value": number * cls.units[unit], "relative": False, "text": str(written)}

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.value <= 0:
            raise ValueError(f"must be more than 0; write it like {self.example}")
        if self.relative and self.value > 1:
            raise ValueError("is more than the dense model itself; a relative limit lies between 0x and 1x")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe the limit as it is written, not as it is kept."""
        units = "|".join(["x", *cls.units])
        return {
            "type": "string",
            "pattern": rf"^\s*[0-9.]+\s*({units})\s*$",
            "description": cls.__doc__,
            "examples": [cls.example],
        }

    @model_serializer
    def _written(self) -> str:
        return self.text

    def resolve(self, dense: float) -> float:
        """Return the limit in base units, given the dense model's figure in the same units."""
        return self.value * dense if self.relative else self.value


class LatencyLimit(Limit):
    """A limit on latency, in seconds."""

    units: ClassVar[dict[str, float]] = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
    example: ClassVar[str] = "0.5x or 4ms"


class SizeLimit(Limit):
    """A limit on the size of the served file, in bytes."""

    units: ClassVar[dict[str, float]] = {
        "B": 1.0,
        "kB": 1e3,
        "KB": 1e3,
        "MB": 1e6,
        "GB": 1e9,
        "KiB": 2**10,
        "MiB": 2**20,
    }
    example: ClassVar[str] = "0.5x or 50MB"
