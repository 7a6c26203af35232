"""A model, however a user names it, as an ONNX file: a file, a bundle's folder, or a version in a registry."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reprune.errors import InputError
from reprune.inference.champion import ONNX, fetch_champion
from reprune.registry.registry import Registry, workloads
from reprune.storage.base import Store
from reprune.storage.uri import fetch_file

DESCRIPTION = "bundle.json"
"""What makes a folder a bundle; `reprune.pruning.bundle` says so too, but brings torch along."""

if TYPE_CHECKING:
    from reprune.data.model_io import Inputs


def onnx_file(
    reference: str,
    store: Store,
    scratch: Path,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    example: "Inputs | None" = None,
    allow: Iterable[str] = (),
) -> Path:
    """Return the ONNX file of a model.

    Args:
        reference: An ONNX file, here or on S3; a folder with ``model.onnx`` in it; the folder of a bundle, which is
            exported; a workload of the store, for its champion; or ``WORKLOAD@VERSION``.
        store: Where workloads are looked up.
        scratch: A folder for what is fetched or exported.
        shapes: Shapes by input name, to export a bundle with.
        example: Inputs to export a bundle with; by default, without shapes, those of the data that it was made with.
        allow: Packages and entry points that may build a bundle's model, as in `reprune.load`.

    Raises:
        InputError: There is no such file, folder or workload, the folder holds no model, or its model is not allowed.
        IntegrityError: A version or a bundle is damaged.
    """
    if "://" in reference:
        scratch.mkdir(parents=True, exist_ok=True)
        return fetch_file(reference, scratch)
    path = Path(reference)
    if path.is_file():
        return path
    if (path / ONNX).is_file():
        return path / ONNX
    if (path / DESCRIPTION).is_file():
        return _exported(path, scratch, shapes or {}, example, tuple(allow))
    workload, at, version = reference.partition("@")
    if "/" in reference or workload not in workloads(store):
        raise _nothing(reference, path, store)
    registry, folder = Registry(store, workload), scratch / reference
    if at:
        registry.fetch(version, folder, only=[ONNX])
    else:
        fetch_champion(registry, folder, only=[ONNX])
    return folder / ONNX


def _nothing(reference: str, path: Path, store: Store) -> InputError:
    if path.is_dir():
        return InputError(
            f"The folder {reference} holds neither {ONNX} nor a bundle ({DESCRIPTION}).",
            "Name an ONNX file, or a folder written by reprune.save.",
        )
    return InputError(
        f"There is no file or folder {reference}, and no workload of that name in {store.uri}.",
        "Name an ONNX file, the folder of a bundle, or a workload that `reprune models` lists.",
    )


def _exported(
    folder: Path,
    scratch: Path,
    shapes: Mapping[str, Sequence[int]],
    example: "Inputs | None",
    allow: tuple[str, ...],
) -> Path:
    from reprune.inference.onnx.export import export
    from reprune.pruning import bundle

    written = scratch / f"{folder.resolve().name}.onnx"
    scratch.mkdir(parents=True, exist_ok=True)
    description = bundle.Description.read(folder)
    inputs = _example(folder, description.lineage, shapes, allow) if example is None else example
    export(bundle.load(folder, allow=allow), inputs, written)
    return written


def _example(
    folder: Path, lineage: Mapping[str, Any], shapes: Mapping[str, Sequence[int]], allow: tuple[str, ...]
) -> "Inputs":
    """Return inputs to export with: of the shapes given, or from the data that the bundle was made with."""
    import torch

    from reprune.config import entry_points
    from reprune.data.datasets import iter_batches
    from reprune.pruning.bundle_allowlist import Allowlist

    if shapes:
        generator = torch.Generator().manual_seed(0)
        made = {name: torch.randn(*shape, generator=generator) for name, shape in shapes.items()}
        return made["input"] if set(made) == {"input"} else made
    source = lineage.get("entry_points", {}).get("data")
    if source is None:
        raise InputError(
            f"{folder} is a bundle without {ONNX}, and what its model takes is not written in it.",
            "Give the shape of its inputs, the batch first: --input input=1x3x224x224.",
        )
    key = f"{DESCRIPTION}: data"
    with entry_points.without_working_folder():
        load = Allowlist.of(allow).resolve_data(source, key=key)
        data = entry_points.invoke(load, "validation", name=source, key=key)
    inputs: Inputs = next(iter_batches(data, batch_size=2))[0]
    return inputs
