"""Numbers that a module's Python reads and that a cut changes."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from reprune.pruning.graph.analysis import Analysis, Edit, Reading
from reprune.pruning.graph.flow import Site
from reprune.pruning.recipe import AttributeEdit, Size, Slice

Shape = tuple[int, ...]


def attribute_edits(
    model: nn.Module, analysis: Analysis, slices: dict[str, tuple[Slice, ...]], removed: Any
) -> tuple[AttributeEdit, ...]:
    """Return every attribute that must change with a cut, of torch's own modules and of the user's."""
    names = {id(tensor): name for name, tensor in [*model.named_parameters(), *model.named_buffers()]}
    sizes, given = _sizes(analysis.flow.sites, analysis, removed), _sizes(analysis.flow.given, analysis, removed)
    edits = []
    for path, module in model.named_modules():
        after = {
            attribute: _after(tuple(tensor.shape), slices.get(names[id(tensor)], ()))
            for attribute, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        }
        wanted = _of_torch(module, after) or _of_user(
            path, module, sizes.get(path, {}), given.get(path, {}), analysis.readings
        )
        for attribute, value in wanted.items():
            before = getattr(module, attribute)
            before = tuple(before) if isinstance(before, list | tuple) else before
            if before != value:
                edits.append(AttributeEdit(module=path, attribute=attribute, before=before, after=value))
    return tuple(edits)


def is_torch(module: nn.Module) -> bool:
    """Whether a module is one of torch's own."""
    return type(module).__module__.startswith("torch.nn")


def _after(shape: Shape, cuts: tuple[Slice, ...]) -> Shape:
    kept = {cut.dim: len(cut.kept) for cut in cuts}
    return tuple(kept.get(dim, size) for dim, size in enumerate(shape))


def _of_torch(module: nn.Module, shapes: dict[str, Shape]) -> dict[str, Size]:
    """Return the attributes of torch's own modules, from the shapes that their tensors will have."""
    weight = shapes.get("weight")
    if isinstance(module, _ConvNd) and weight is not None:
        return _of_convolution(module, weight)
    if isinstance(module, nn.Linear) and weight is not None:
        return {"out_features": weight[0], "in_features": weight[1]}
    if isinstance(module, nn.Bilinear) and weight is not None:
        return {"out_features": weight[0], "in1_features": weight[1], "in2_features": weight[2]}
    if isinstance(module, nn.Embedding | nn.EmbeddingBag) and weight is not None:
        return {"num_embeddings": weight[0], "embedding_dim": weight[1]}
    if isinstance(module, _NormBase) and (any_shape := weight or shapes.get("running_mean")) is not None:
        return {"num_features": any_shape[0]}
    if isinstance(module, nn.LayerNorm | nn.RMSNorm) and weight is not None:
        return {"normalized_shape": weight}
    if isinstance(module, nn.GroupNorm) and weight is not None:
        single = module.num_groups == module.num_channels
        return {"num_channels": weight[0], "num_groups": weight[0] if single else module.num_groups}
    if isinstance(module, nn.PReLU) and weight is not None:
        return {"num_parameters": weight[0]}
    if isinstance(module, nn.RNNBase) and (recurrent := shapes.get("weight_hh_l0")) is not None:
        hidden = recurrent[0] * module.hidden_size // cast(Tensor, module.weight_hh_l0).shape[0]
        sizes: dict[str, Size] = {"input_size": shapes["weight_ih_l0"][1], "hidden_size": hidden}
        return sizes | {"proj_size": recurrent[1]} if module.proj_size else sizes
    if isinstance(module, nn.RNNCellBase) and (recurrent := shapes.get("weight_hh")) is not None:
        return {"input_size": shapes["weight_ih"][1], "hidden_size": recurrent[1]}
    if isinstance(module, nn.MultiheadAttention):
        return _of_attention(module, shapes)
    return {}


def _of_convolution(module: _ConvNd, weight: Shape) -> dict[str, Size]:
    depthwise = module.groups > 1 and module.groups == module.in_channels
    if module.transposed:
        groups = weight[0] if depthwise else module.groups
        return {"in_channels": weight[0], "out_channels": weight[1] * groups, "groups": groups}
    groups = weight[0] * module.groups // module.out_channels if depthwise else module.groups
    return {"in_channels": weight[1] * groups, "out_channels": weight[0], "groups": groups}


def _of_attention(module: nn.MultiheadAttention, shapes: dict[str, Shape]) -> dict[str, Size]:
    """``embed_dim`` is the width of the stream; the size of a head stays."""
    packed = shapes.get("in_proj_weight")
    width = packed[0] // 3 if packed is not None else shapes["q_proj_weight"][0]
    edits: dict[str, Size] = {"embed_dim": width, "num_heads": width // module.head_dim}
    if packed is not None:
        return edits | {"kdim": width, "vdim": width}
    return edits | {"kdim": shapes["k_proj_weight"][1], "vdim": shapes["v_proj_weight"][1]}


def _sizes(sites: list[Site], analysis: Analysis, removed: Any) -> dict[str, dict[int, list[int]]]:
    """Return, for each module whose Python has to do with sizes, what each size becomes, in order of execution."""
    kept = np.append(~removed, True)  # label without a cell: index -1
    found: dict[str, dict[int, list[int]]] = {}
    for site in sites:
        alive = kept[analysis.cells[site.grid]]
        others = tuple(axis for axis in range(alive.ndim) if axis != site.axis)
        found.setdefault(site.module, {}).setdefault(site.size, []).append(int(alive.any(axis=others).sum()))
    return found


def _of_user(
    path: str,
    module: nn.Module,
    computed: dict[int, list[int]],
    given: dict[int, list[int]],
    readings: Mapping[Edit, Reading],
) -> dict[str, Size]:
    """Return the integers among a module's own attributes that equal a size that its forward computed or was given."""
    edits: dict[str, Size] = {}
    for attribute, value in vars(module).items():
        reading = readings.get((path, attribute), "last")
        if reading == "never":
            continue
        sizes = given if reading == "given" else computed
        if type(value) is int and value in sizes:
            edits[attribute] = _read(sizes, value, reading)
        elif type(value) in (tuple, list) and value and all(type(each) is int for each in value):
            edits[attribute] = tuple(_read(sizes, each, reading) for each in value)
    return edits


def _read(sizes: dict[int, list[int]], value: int, reading: Reading) -> int:
    return sizes.get(value, [value])[0 if reading == "first" else -1]


def readable(model: nn.Module, analysis: Analysis, removed: Any) -> dict[Edit, set[Reading]]:
    """Return the attributes that have the value of a size which changes, and what else than the last they may mean."""
    tables: dict[str, dict[str, dict[int, list[int]]]] = {
        "computed": _sizes(analysis.flow.sites, analysis, removed),
        "given": _sizes(analysis.flow.given, analysis, removed),
    }
    found: dict[Edit, set[Reading]] = {}
    for path, module in model.named_modules():
        for source, sizes in tables.items():
            changing = {size for size, after in sizes.get(path, {}).items() if any(each != size for each in after)}
            for attribute, value in vars(module).items() if not is_torch(module) else ():
                values = value if isinstance(value, tuple | list) else (value,)
                if any(type(each) is int and each in changing for each in values):
                    readings: set[Reading] = {"given"} if source == "given" else {"first", "never"}
                    found[path, attribute] = found.get((path, attribute), set()) | readings
    return found
