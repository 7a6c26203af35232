import numpy as np
import pytest
import torch
from torch.nn import functional as F

from reprune.planning.sensitivity.adaptive_grid import Cells
from reprune.planning.sensitivity.sampling import Sample
from reprune.planning.sensitivity.sequential_sampling import Looks
from reprune.pruning.graph.analyze import analyze
from reprune.pruning.importance import score
from reprune.workloads.digits.model import ResNet


def cross_entropy(outputs, targets):
    return F.cross_entropy(outputs, targets, reduction="none")


@pytest.fixture(scope="module")
def curves():
    torch.manual_seed(0)
    model = ResNet(width=8, blocks=1).eval()
    x, targets = torch.rand(150, 1, 8, 8), torch.arange(150) % 10
    analysis = analyze(model, x[:2])
    dense = cross_entropy(model(x), targets).detach().double().numpy()
    saliency = score(model, analysis, "l2")

    def curves(**memory):
        sample = Sample(dense, 64)
        cells = {group.name: Cells(group, saliency[group.name], None, sample) for group in analysis.groups}
        looks = Looks(model, analysis, [(x, targets)], cross_entropy, sample, cells, **memory)
        numbers = sample.looks[0]
        for name, fisher in looks.fisher(numbers, sample.example_weights(numbers)).items():
            cells[name].propose(fisher)
        looks.measure(list(cells), lambda _: None)
        return {name: it.curve() for name, it in cells.items()}, looks.spent

    return curves


def test_little_memory_changes_nothing_but_the_time(curves):
    (at_once, spent), (in_pieces, more) = curves(), curves(memory_bytes=300_000)
    assert more > spent
    for name, curve in at_once.items():
        again = in_pieces[name]
        assert [point.width for point in again.points] == [point.width for point in curve.points]
        np.testing.assert_allclose(
            [point.loss_increase for point in again.points],
            [point.loss_increase for point in curve.points],
            rtol=1e-3,
            atol=1e-5,
        )
