"""Inputs made up for ONNX graphs, so that several can be timed on the same ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnxruntime

from reprune.errors import InputError

Dim = int | str | None
Shapes = Mapping[str, Sequence[int]]

_TYPES = {
    "float": np.float32, "float16": np.float16, "double": np.float64, "bool": np.bool_,
    "int8": np.int8, "int16": np.int16, "int32": np.int32, "int64": np.int64,
    "uint8": np.uint8, "uint16": np.uint16, "uint32": np.uint32, "uint64": np.uint64,
}  # fmt: skip


@dataclass(frozen=True)
class GraphInput:
    """An input of a graph.

    Attributes:
        name: Its name.
        type: Its type, as onnxruntime writes it: ``tensor(float)``.
        shape: Its dimensions, the batch first; a number is fixed, a name or None is free.
    """

    name: str
    type: str
    shape: tuple[Dim, ...]

    def __str__(self) -> str:
        dims = ", ".join("?" if dim is None else str(dim) for dim in self.shape)
        return f"{self.name} {self.type}[{dims}]"


def inputs_of(session: onnxruntime.InferenceSession) -> list[GraphInput]:
    """Return the inputs of a session's graph, in its order."""
    return [GraphInput(it.name, it.type, tuple(it.shape)) for it in session.get_inputs()]


def made_up(
    models: Mapping[str, Sequence[GraphInput]], *, batch_size: int | None = None, shapes: Shapes | None = None
) -> dict[str, np.ndarray]:
    """Return one batch of random inputs that all models take, by name.

    Models whose inputs have the same names are matched by name, others by place; both are handed the same values. Where
    one model fixes a dimension that another leaves free, it is fixed for all. Numbers are drawn from a normal
    distribution, integers are 0 or 1, which any vocabulary has.

    Args:
        models: Each model's inputs, in order.
        batch_size: The first dimension of every input; by default what the models or ``shapes`` fix it to, or 1.
        shapes: Whole shapes, the batch included, by input name, for graphs with other free dimensions.

    Raises:
        InputError: The models take different inputs, a dimension stays free, or something asked for does not fit.
    """
    shapes = dict(shapes or {})
    (first, wanted), *others = models.items()
    found = list(wanted)
    names = {own.name: {own.name} for own in wanted}
    for name, its in others:
        for k, (place, own) in enumerate(_matched(first, wanted, name, its)):
            found[place] = _unified(first, found[place], name, own)
            names[wanted[place].name].add(its[k].name)
    _known(shapes, names)
    asked = [_asked(it, next((shapes[n] for n in names[own.name] if n in shapes), None))
             for it, own in zip(found, wanted, strict=True)]  # fmt: skip
    batch = _batch(asked, batch_size)
    rng = np.random.default_rng(0)
    filled: dict[str, np.ndarray] = {}
    for it, own in zip(asked, wanted, strict=True):
        values = _values(it, (batch, *_fixed(it)), rng)
        filled |= dict.fromkeys(sorted(names[own.name]), values)
    return filled


def _matched(
    first: str, wanted: Sequence[GraphInput], name: str, its: Sequence[GraphInput]
) -> list[tuple[int, GraphInput]]:
    """Return the place among the first model's inputs of each input of another."""
    places = {it.name: place for place, it in enumerate(wanted)}
    named = [it.name for it in its]
    if set(named) == set(places):
        return [(places[it.name], it) for it in its]
    if len(its) == len(wanted) and not set(named) & set(places):
        return list(enumerate(its))
    raise InputError(
        f"{first} and {name} take different inputs: {_listed(wanted)} and {_listed(its)}.",
        "Compare models that can be served the same requests.",
    )


def _unified(first: str, one: GraphInput, name: str, other: GraphInput) -> GraphInput:
    agree = one.type == other.type and len(one.shape) == len(other.shape)
    pairs = list(zip(one.shape, other.shape, strict=False))
    if not agree or any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs):
        raise InputError(
            f"{first} and {name} take different inputs: {one} and {other}.",
            "Compare models that can be served the same requests.",
        )
    return replace(one, shape=tuple(a if isinstance(a, int) else b if isinstance(b, int) else a for a, b in pairs))


def _known(shapes: Shapes, names: Mapping[str, set[str]]) -> None:
    every = set().union(*names.values())
    for name in shapes:
        if name not in every:
            raise InputError(f"No model has an input {name!r}.", f"They have {', '.join(sorted(every))}.")


def _asked(it: GraphInput, shape: Sequence[int] | None) -> GraphInput:
    """Return an input with the shape that was asked for, if it can have that."""
    if shape is None:
        return it
    fits = len(shape) == len(it.shape) and all(
        not isinstance(dim, int) or dim == size for dim, size in zip(it.shape, shape, strict=True)
    )
    if not fits:
        asked = "x".join(map(str, shape))
        raise InputError(f"{it} cannot have the shape {asked}.", "Fixed dimensions stay; the batch is the first one.")
    return replace(it, shape=tuple(shape))


def _batch(inputs: Sequence[GraphInput], asked: int | None) -> int:
    """Return the size of the batch: the first dimension of every input."""
    for it in inputs:
        if not it.shape:
            raise InputError(f"The input {it} has no dimension for the batch.", "Export it with the batch first.")
    fixed = {size: it for it in inputs if isinstance(size := it.shape[0], int)}
    if len(fixed) > 1:
        raise InputError(
            f"The inputs have different first dimensions: {', '.join(map(str, fixed.values()))}.",
            "The first dimension of every input is the batch; export the models so, and ask for one size.",
        )
    for size, it in fixed.items():
        if asked is not None and asked != size:
            raise InputError(
                f"A batch of {asked} does not fit the input {it}.",
                f"Ask for a batch of {size}, or export the models with a free batch.",
            )
        return size
    return asked or 1


def _fixed(it: GraphInput) -> list[int]:
    dims = it.shape[1:]
    if not all(isinstance(dim, int) for dim in dims):
        example = "x".join(["1", *(str(dim) if isinstance(dim, int) else "128" for dim in dims)])
        raise InputError(
            f"The input {it} has free dimensions beside the batch.", f"Give its shape: --input {it.name}={example}."
        )
    return [int(dim) for dim in dims if dim is not None]


def _values(it: GraphInput, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    kind = _TYPES.get(it.type.removeprefix("tensor(").removesuffix(")"))
    if kind is None:
        raise InputError(f"Values for the input {it} cannot be made up.", "Only numbers can; export the model so.")
    if np.issubdtype(kind, np.floating):
        return rng.standard_normal(shape).astype(kind)
    return rng.integers(0, 2, size=shape).astype(kind)


def _listed(inputs: Sequence[GraphInput]) -> str:
    return ", ".join(map(str, inputs)) or "none"
