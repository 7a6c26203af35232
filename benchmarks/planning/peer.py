"""Prune with Torch-Pruning 1.6.1 as its examples do, to a number of MACs."""

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from reprune.data.model_io import Inputs, call

STEP = 1 / 32
"""Share of the channels removed in each step."""

DEEPEST = 0.9

COUNTS = ("num_heads", "num_attention_heads", "heads")
"""Attributes that hold a module's number of heads."""

VARIANTS: dict[str, dict[str, Any]] = {
    "TP uniform": {},
    "TP uniform, round_to=8": {"round_to": 8},
    "TP global": {"global_pruning": True},
    "TP global, round_to=8": {"global_pruning": True, "round_to": 8},
}


def macs(model: nn.Module, inputs: Inputs) -> float:
    """Return the multiply-accumulates of one example, attention's included."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call(model, inputs)
    return counter.get_total_flops() / 2 / len(inputs)


def prune(
    model: nn.Module, inputs: Inputs, variant: str, reductions: Mapping[str, float]
) -> dict[str, tuple[nn.Module, float]]:
    """Prune step by step, and return the model closest to each MAC reduction.

    Returns:
        The model and its MAC reduction, by the names of ``reductions``.

    Raises:
        Exception: Whatever Torch-Pruning or the pruned model raises.
    """
    dense = macs(model, inputs)
    best: dict[str, tuple[nn.Module, float]] = {}
    for pruned in _steps(copy.deepcopy(model), inputs, VARIANTS[variant]):
        reduction = dense / macs(pruned, inputs)
        for name, wanted in reductions.items():
            if name not in best or abs(math.log(reduction / wanted)) < abs(math.log(best[name][1] / wanted)):
                best[name] = copy.deepcopy(pruned), reduction
        if reduction > 1.1 * max(reductions.values()):
            break
    return best


def _steps(model: nn.Module, inputs: Inputs, options: Mapping[str, Any]) -> Iterator[nn.Module]:
    import torch_pruning as tp

    for parameter in model.parameters():
        parameter.requires_grad_(True)
    pruner = tp.pruner.BasePruner(
        model,
        inputs,
        importance=tp.importance.MagnitudeImportance(p=2),
        pruning_ratio=DEEPEST,
        iterative_steps=round(DEEPEST / STEP),
        ignored_layers=[_classifier(model)],
        num_heads=dict(_heads(model)),
        **options,
    )
    for _ in range(round(DEEPEST / STEP)):
        pruner.step()
        _update_attributes(model, pruner)
        yield model


def _classifier(model: nn.Module) -> nn.Module:
    """Return the output layer, which is the last one."""
    return [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1]


def _heads(model: nn.Module) -> Iterator[tuple[nn.Module, int]]:
    """Yield each attention projection with its number of heads."""
    for module in model.modules():
        for projection in _projections(module):
            yield projection, next(getattr(module, name) for name in COUNTS if hasattr(module, name))


def _projections(module: nn.Module) -> list[nn.Module]:
    if hasattr(module, "qkv"):
        return [module.qkv]
    names = ("query", "key", "value")
    return [getattr(module, name) for name in names] if all(hasattr(module, name) for name in names) else []


def _update_attributes(model: nn.Module, pruner: Any) -> None:
    """Update the attributes that attention modules read their sizes from."""
    for module in model.modules():
        projections = _projections(module)
        if not projections:
            continue
        heads = pruner.num_heads[projections[0]]
        width = projections[0].out_features // (3 if hasattr(module, "qkv") else 1)
        for name in COUNTS:
            if hasattr(module, name):
                setattr(module, name, heads)
        for name in ("head_dim", "attention_head_size", "head_size"):
            if hasattr(module, name):
                setattr(module, name, width // heads)
        for name in ("all_head_size", "attn_dim"):
            if hasattr(module, name):
                setattr(module, name, width)
