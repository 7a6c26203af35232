"""The zoo's architectures as workloads: a data set of a few random examples, and a task that any output fits."""

import torch
from torch.utils import _pytree as pytree

from reprune.config.workload import Workload
from reprune.data.datasets import Data
from reprune.planning.planning_context import Subject
from tests.reprune.pruning.helpers import randomize
from tests.reprune.pruning.zoo import MORE, ZOO

ARCHITECTURES = {**ZOO, **MORE}
FAMILIES = (
    "regnet",
    "resnext_32x4d",
    "depth_multiplier",
    "grouped_decoder",
    "unet",
    "llama",
    "lstm",
    "tied_autoencoder",
)
"""One of each family, and every kind of convolution with groups: enough for each run of the suite."""

_chosen = "regnet"


class Squares:
    """The loss is the mean square of everything that the model returns for an example."""

    metric = "score"

    def loss(self, outputs, targets):
        leaves = [x for x in pytree.tree_leaves(outputs) if isinstance(x, torch.Tensor) and x.is_floating_point()]
        own = [x.reshape(len(targets), -1) for x in leaves if x.dim() and len(x) == len(targets)]
        return sum(x.square().mean(1) for x in own)

    def score(self, outputs, targets):
        return -self.loss(outputs, targets)

    def signals(self, outputs):
        return {}

    def check(self, outputs, targets):
        pass


def build():
    """Build the chosen architecture, without constant tensors that would hide a mistake."""
    torch.manual_seed(0)
    return randomize(ARCHITECTURES[_chosen]()[0]).eval()


def load(split):
    """Return the chosen architecture's example inputs, one example at a time."""
    inputs = ARCHITECTURES[_chosen]()[1]
    count = len(pytree.tree_leaves(inputs)[0])
    return [(pytree.tree_map(lambda x, i=i: x[i], inputs), 0.0) for i in range(count)]


def subject(name, folder):
    """Prepare an architecture for planning, as a workload of that model would be."""
    global _chosen
    _chosen = name
    keys = {"model": f"{__name__}:build", "data": f"{__name__}:load", "task": f"{__name__}:Squares"}
    workload = Workload.model_validate(keys | {"name": "zoo", "train": {"batch_size": 2}})
    return Subject(build(), workload, Data(workload), Squares(), folder)
