"""What an analysis costs in memory, counted by the tensors that its operators make."""

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdRef

from reprune.pruning.graph.analyze import analyze
from reprune.pruning.graph.trial_pruning import Trials


class Allocations(TorchDispatchMode):
    """Adds up the bytes of all storages alive that operators have made; those of the model are not counted."""

    def __init__(self, model):
        super().__init__()
        self.known = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
        self.alive: dict[WeakIdRef, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(result):
            if type(tensor) is torch.Tensor:
                self._note(tensor)
        return result

    def _note(self, tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.known:
            self.alive[WeakIdRef(storage)] = storage.nbytes()
        self.alive = {ref: size for ref, size in self.alive.items() if ref() is not None}
        self.peak = max(self.peak, sum(self.alive.values()))


class Deep(nn.Module):
    """Residual layers, each with a wide middle."""

    def __init__(self, layers: int, width: int = 64):
        super().__init__()
        self.inp, self.out = nn.Linear(8, width), nn.Linear(width, 3)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 16 * width), nn.ReLU(), nn.Linear(16 * width, width)) for _ in range(layers)
        )

    def forward(self, x):
        x = self.inp(x)
        for layer in self.layers:
            x = x + layer(x)
        return self.out(x)


def test_trial_cuts_never_hold_a_second_model():
    model = Deep(12)
    own = sum(parameter.nbytes for parameter in model.parameters())
    analysis = analyze(model, torch.randn(2, 8))
    with Allocations(model) as seen:
        failed, _ = Trials(model).failing(analysis)
    assert not failed
    assert own / 100 < seen.peak < 0.3 * own
