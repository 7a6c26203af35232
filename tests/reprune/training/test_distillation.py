import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reprune.data.tasks import Classification, LanguageModeling, Regression
from reprune.training.distillation import Distillation


def softened(outputs, taught, temperature):
    """Hinton's term for the last dimension, position by position."""
    student, teacher = (logits.div(temperature).softmax(-1) for logits in (outputs, taught))
    return (teacher * (teacher / student).log()).sum(-1) * temperature**2


@pytest.fixture
def teacher():
    torch.manual_seed(0)
    return nn.Linear(4, 5)


@pytest.mark.parametrize("given", [None, 3.0])
def test_of_classes_it_is_the_mix_of_labels_and_softened_answers(teacher, given):
    inputs, targets = torch.randn(7, 4), torch.randint(0, 5, (7,))
    outputs = torch.randn(7, 5)
    found = Distillation(Classification(), teacher, weight=0.7, temperature=given)(outputs, targets, inputs)
    hard = F.cross_entropy(outputs, targets, reduction="none")
    torch.testing.assert_close(found, 0.3 * hard + 0.7 * softened(outputs, teacher(inputs), given or 2.0))


@pytest.mark.parametrize("given", [None, 3.0])
def test_of_text_it_is_a_mean_over_positions_and_not_softened_unless_told_to(teacher, given):
    inputs, targets = torch.randn(7, 3, 4), torch.randint(0, 5, (7, 3))
    outputs = torch.randn(7, 3, 5)
    found = Distillation(LanguageModeling(), teacher, weight=1.0, temperature=given)(outputs, targets, inputs)
    torch.testing.assert_close(found, softened(outputs, teacher(inputs), given or 1.0).mean(dim=1))


def test_of_numbers_it_is_the_squared_distance(teacher):
    inputs, outputs = torch.randn(7, 4), torch.randn(7, 5)
    found = Distillation(Regression(), teacher, weight=1.0)(outputs, torch.randn(7, 5), inputs)
    torch.testing.assert_close(found, (outputs - teacher(inputs)).square().mean(dim=1))


def test_the_teacher_learns_nothing_and_without_weight_is_not_asked(teacher):
    inputs, targets = torch.randn(7, 4), torch.randint(0, 5, (7,))
    outputs = torch.randn(7, 5, requires_grad=True)
    Distillation(Classification(), teacher, weight=0.5)(outputs, targets, inputs).sum().backward()
    assert outputs.grad is not None and teacher.weight.grad is None
    wrong = torch.randn(7, 99)  # the teacher would refuse it
    hard = Distillation(Classification(), teacher, weight=0.0)(outputs, targets, wrong)
    torch.testing.assert_close(hard, F.cross_entropy(outputs, targets, reduction="none"))
