import copy

import pytest
import torch
from torch import nn

from reprune.data.tasks import LanguageModeling
from reprune.errors import InputError
from reprune.training.distillation import Distillation
from reprune.training.similarity_distillation import Relations
from reprune.workloads.stdlib_text.model import Transformer

TOKENS = torch.randint(0, 256, (4, 12), generator=torch.Generator().manual_seed(0))


def models(width):
    torch.manual_seed(0)
    return Transformer(width=width, heads=2, layers=2), Transformer(width=32, heads=2, layers=2).eval()


def test_a_narrower_student_comes_nearer_to_the_relations_of_its_teacher():
    student, teacher = models(width=16)
    relations = Relations(student, teacher, ["layers.0", "layers.1"], weight=1.0)
    optimizer = torch.optim.Adam(student.parameters(), lr=0.01)
    distances = []
    for _ in range(30):
        student(TOKENS)
        with torch.no_grad():
            teacher(TOKENS)
        loss = relations.loss()
        assert loss.shape == (4,)
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
        distances.append(loss.mean().item())
    assert distances[-1] < distances[0] / 2


def test_a_copy_has_no_distance_and_the_term_is_added_to_the_rest():
    _, teacher = models(width=16)
    student = copy.deepcopy(teacher).train()
    plain = Distillation(LanguageModeling(), teacher, weight=0.5, temperature=2.0)
    relations = Relations(student, teacher, ["layers.1"], weight=10.0)
    both = Distillation(LanguageModeling(), teacher, weight=0.5, temperature=2.0, relations=relations)
    outputs = student(TOKENS)
    assert torch.allclose(both(outputs, TOKENS, TOKENS), plain(outputs, TOKENS, TOKENS), atol=1e-6)
    with torch.no_grad():
        student.layers[1].expand.weight.add_(torch.randn_like(student.layers[1].expand.weight))
    outputs = student(TOKENS)
    assert (both(outputs, TOKENS, TOKENS) > plain(outputs, TOKENS, TOKENS) + 0.01).all()


def test_a_module_that_is_not_there_is_named_with_those_that_are():
    student, teacher = models(width=16)
    with pytest.raises(InputError, match=r"no module 'layer.0'") as caught:
        Relations(student, teacher, ["layer.0"], weight=1.0)
    assert "layers.0" in caught.value.remedy


def test_a_module_without_a_sequence_is_refused():
    student = nn.Sequential(nn.Linear(3, 3))
    Relations(student, copy.deepcopy(student), ["0"], weight=1.0)
    with pytest.raises(InputError, match=r"returns \[2, 3\], not states"):
        student(torch.ones(2, 3))
