import copy

import torch
from torch.utils import _pytree as pytree

from reprune.pruning.graph.capture import as_call


def outputs(model, inputs):
    """Return the tensors that a model gives in eval mode."""
    args, kwargs = as_call(inputs)
    with torch.no_grad():
        return [x for x in pytree.tree_leaves(model.eval()(*args, **kwargs)) if isinstance(x, torch.Tensor)]


def assert_close(left, right, tolerance=1e-5):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.shape == b.shape
        assert float((a - b).abs().max()) <= tolerance * max(1.0, float(a.abs().max()))


def larger_batch(inputs):
    """Return the inputs with a batch three times as large."""
    return pytree.tree_map(lambda x: torch.cat([x, x.flip(0), x]), inputs)


def zeroed(model, analysis, keep):
    """Return a dense copy in which every slice that would be removed is zero; nothing of the engine's own oracle."""
    dense = copy.deepcopy(model)
    tensors = {**dict(dense.named_parameters()), **dict(dense.named_buffers())}
    with torch.no_grad():
        for group in analysis.groups:
            gone = set(range(group.width)) - set(keep.get(group.name, range(group.width)))
            for member in group.members:
                indices = [i for cell in gone for i in member.cells[cell]]
                if member.role != "state":
                    tensors[member.tensor].index_fill_(member.dim, torch.tensor(indices, dtype=torch.long), 0)
    return dense


def randomize(model, seed=0):
    """Give every constant tensor other values, so that no mistake hides behind ones and zeros."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if tensor.is_floating_point() and tensor.numel() > 1 and (tensor == tensor.flatten()[0]).all():
                noise = torch.rand(tensor.shape, generator=generator)
                tensor.copy_(0.5 + noise if "mean" not in name else noise - 0.5)
    return model
