"""Run Torch-Pruning as its documentation and examples do.

It gets three things that reprune finds by itself: the output layers to ignore, the number of heads of every attention
module, and after the cut the sizes that attention modules keep in attributes, as in its examples for BERT, ViT and
Llama.
"""

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from reprune.pruning.graph.capture import as_call, tensors_of

HEADS = ("num_heads", "num_attention_heads", "n_heads", "heads")
PROJECTIONS = (
    ("query", "key", "value"),
    ("q_proj", "k_proj", "v_proj"),
    ("q_lin", "k_lin", "v_lin"),
    ("q", "k", "v"),
)
WIDTHS = ("all_head_size", "inner_dim", "attn_dim", "embed_dim", "dim", "hidden_size")


@dataclass
class Hints:
    """The settings that its user writes by hand."""

    outputs: list[nn.Module] = field(default_factory=list)
    heads: dict[nn.Module, int] = field(default_factory=dict)
    """Query, key and value projections, or packed ones, with their numbers of heads."""
    groups: dict[nn.Module, int] = field(default_factory=dict)
    """torch's own attention modules, whose heads lose dimensions alike."""


def hints(model: nn.Module, outputs: list[str]) -> Hints:
    """Collect the settings; `outputs` names the layers that give the model's outputs."""
    found = Hints([model.get_submodule(path) for path in outputs])
    for module in model.modules():
        count = next((v for n in HEADS if isinstance(v := getattr(module, n, None), int)), None)
        if count is None and isinstance(config := getattr(module, "config", None), object):
            count = getattr(config, "num_attention_heads", None)
        if isinstance(module, nn.MultiheadAttention):
            found.groups[module] = module.num_heads
            continue
        for names in PROJECTIONS:
            layers = [getattr(module, name, None) for name in names]
            if isinstance(count, int) and all(isinstance(layer, nn.Linear) for layer in layers):
                size = layers[0].out_features // count
                found.heads.update({layer: layer.out_features // size for layer in layers})
        if isinstance(count, int) and isinstance(getattr(module, "qkv", None), nn.Linear):
            found.heads[module.qkv] = count
    return found


def pruner_of(model: nn.Module, example_inputs: Any, given: Hints, ratio: float) -> Any:
    """Build its pruner, which removes random channels and whole heads."""
    import torch_pruning as tp

    args, kwargs = as_call(example_inputs)
    return tp.pruner.BasePruner(
        model,
        kwargs or (args[0] if len(args) == 1 else list(args)),
        importance=tp.importance.RandomImportance(),
        pruning_ratio=ratio,
        ignored_layers=given.outputs,
        num_heads=dict(given.heads),
        out_channel_groups=dict(given.groups),
        prune_num_heads=bool(given.heads),
        prune_head_dims=not given.heads,
        head_pruning_ratio=ratio,
        forward_fn=lambda m, _: m(*args, **kwargs),
        output_transform=lambda out: [
            x for x in pytree.tree_leaves(out) if isinstance(x, Tensor) and x.grad_fn is not None
        ],
    )


def update_attributes(model: nn.Module, pruner: Any) -> None:
    """Update the sizes that attention modules read, as its examples do."""
    for module in model.modules():
        layers = [getattr(module, n, None) for names in (*PROJECTIONS, ("qkv",)) for n in names]
        layers = [layer for layer in layers if isinstance(layer, nn.Linear) and layer in pruner.num_heads]
        if not layers:
            continue
        heads = pruner.num_heads[layers[0]]
        packed = 3 if hasattr(module, "qkv") else 1
        width = layers[0].out_features // packed
        for name in HEADS:
            if isinstance(getattr(module, name, None), int):
                setattr(module, name, heads)
        for name in WIDTHS:
            if isinstance(getattr(module, name, None), int):
                setattr(module, name, width)
        if hasattr(module, "num_key_value_groups"):
            module.num_key_value_groups = heads // (layers[1].out_features // module.head_dim)
    if hasattr(model, "hidden_dim") and hasattr(model, "conv_proj"):
        model.hidden_dim = model.conv_proj.out_channels  # as its test of torchvision's vision transformer does


def prune(model: nn.Module, example_inputs: Any, outputs: list[str], ratio: float = 0.5) -> nn.Module:
    """Prune a copy of a model by the same ratio everywhere, at random."""
    pruned = copy.deepcopy(model)
    pruner = pruner_of(pruned, example_inputs, hints(pruned, outputs), ratio)
    pruner.step()
    update_attributes(pruned, pruner)
    return pruned


Kept = dict[str, list[Any]]
"""The kept indices of each dimension, by tensor."""


def prune_with_indices(model: nn.Module, example_inputs: Any, outputs: list[str]) -> tuple[nn.Module, Kept]:
    """Prune a copy of a model as `prune` does, and return the kept indices.

    During the cut every tensor holds its own flat indices, so the kept ones can be read back; then it gets the model's
    values. The choice is random, so the values do not affect it.
    """
    dense = tensors_of(model)
    coded = copy.deepcopy(model).double()
    for tensor in tensors_of(coded).values():
        if tensor.is_floating_point():
            tensor.data = torch.arange(tensor.numel(), dtype=torch.float64).reshape(tensor.shape)
    floating = pytree.tree_map(
        lambda x: x.double() if isinstance(x, Tensor) and x.is_floating_point() else x, example_inputs
    )
    pruned = prune(coded, floating, outputs)
    kept = {}
    for name, tensor in tensors_of(pruned).items():
        if tensor.is_floating_point():
            codes = tensor.detach().long()
            steps = torch.empty(dense[name].shape, device="meta").stride()
            kept[name] = [
                (codes // step % size).unique().tolist() for step, size in zip(steps, dense[name].shape, strict=True)
            ]
            tensor.data = dense[name].detach().flatten()[codes]
    return pruned.eval(), kept
