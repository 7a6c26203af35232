"""What cannot work is one clear message: the split, the example, the remedy."""

import random

import numpy as np
import pytest
import torch

from reprune.data.validation.preflight import preflight, read
from reprune.errors import InputError


def refused(workload):
    with pytest.raises(InputError) as caught:
        preflight(workload)
    assert caught.value.remedy
    return caught.value.message


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("split", ["train", "validation", "test", "production"])
def test_values_that_are_not_finite(project, split, value):
    message = refused(
        project(f"""
        def load(split):
            inputs, targets = tensors(split)
            if split == "{split}":
                inputs[37, 2] = float("{value}")
            return TensorDataset(inputs, targets)
        """)
    )
    assert message == f"data: example 37 of {split} has {value} in its input."


def test_targets_that_are_not_finite(project):
    message = refused(
        project(
            """
            def load(split):
                inputs, _ = tensors(split)
                targets = inputs.sum(dim=1)
                targets[5] = float("nan")
                return TensorDataset(inputs, targets)
            """,
            task="regression",
        )
    )
    assert message == "data: example 5 of train has nan in its target."


def test_labels_out_of_range_beyond_the_first_batch(project):
    message = refused(
        project("""
        def load(split):
            inputs, targets = tensors(split)
            if split == "test":
                targets[101] = 3
            return TensorDataset(inputs, targets)
        """)
    )
    assert "example 101 of test" in message and "label 3" in message and "0 to 2" in message


def test_a_negative_label(project):
    message = refused(
        project("""
        def load(split):
            inputs, targets = tensors(split)
            targets[2] = -1
            return TensorDataset(inputs, targets)
        """)
    )
    assert "example 2 of train" in message and "label -1" in message


def test_labels_that_are_no_whole_numbers(project):
    message = refused(
        project("""
        def load(split):
            inputs, targets = tensors(split)
            return TensorDataset(inputs, targets.float())
        """)
    )
    assert "integer class" in message


def test_a_model_that_is_no_module(project):
    assert "not a torch.nn.Module" in refused(project("build = lambda: 3"))


def test_shapes_that_the_model_refuses(project):
    message = refused(project("build = lambda: nn.Linear(FEATURES + 1, CLASSES)"))
    assert "refuses the train split" in message and "float32 [4]" in message


def test_a_type_that_the_model_refuses(project):
    message = refused(
        project("""
        def load(split):
            inputs, targets = tensors(split)
            return TensorDataset(inputs.double(), targets)
        """)
    )
    assert "refuses the train split" in message and "float64 [4]" in message


def test_examples_that_differ_in_shape(project):
    message = refused(
        project("""
        def load(split):
            inputs, targets = tensors(split)
            return [(x[: 3 if i == 70 else 4], t) for i, (x, t) in enumerate(zip(inputs, targets))]
        """)
    )
    assert message == "data: example 70 of train has input float32 [3], the first has float32 [4]."


def test_splits_that_differ_in_type(project):
    message = refused(
        project("""
        build = lambda: nn.Sequential(Cast(), nn.Linear(FEATURES, CLASSES))

        class Cast(nn.Module):
            def forward(self, x):
                return x.float()

        def load(split):
            inputs, targets = tensors(split)
            return TensorDataset(inputs.half() if split == "test" else inputs, targets)
        """)
    )
    assert message == "data: input of test is float16 [4], of train float32 [4]."


def test_an_empty_split(project):
    message = refused(
        project("""
        def load(split):
            inputs, targets = tensors(split)
            return TensorDataset(*((inputs[:0], targets[:0]) if split == "validation" else (inputs, targets)))
        """)
    )
    assert "validation split is empty" in message


def test_an_iterable_train_split_that_yields_nothing(project):
    message = refused(
        project("""
        class Nothing(torch.utils.data.IterableDataset):
            def __iter__(self):
                return iter(())

        def load(split):
            return Nothing() if split == "train" else TensorDataset(*tensors(split))
        """)
    )
    assert "train split is empty" in message


def test_an_example_that_cannot_be_read(project):
    message = refused(
        project("""
        class Broken:
            def __len__(self):
                return 50
            def __getitem__(self, index):
                if index == 40:
                    raise OSError("disk gone")
                return torch.zeros(FEATURES), 0

        def load(split):
            return Broken() if split == "test" else TensorDataset(*tensors(split))
        """)
    )
    assert "test raised OSError: disk gone" in message and "after 40 examples" in message


def test_inputs_that_are_no_tensors(project):
    message = refused(
        project("""
        def load(split):
            return [("some text", 0)] * 10
        """)
    )
    assert message == ("data: example 0 of train has a str as input; only tensors and numbers can be learnt from.")


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            "def signals(self, outputs): return {'c': outputs.softmax(dim=1)}",
            "signals() of Own fails on the first batch",
        ),
        (
            "def loss(self, outputs, targets): return super().loss(outputs, targets).mean()",
            "loss of Own has the shape []",
        ),
        ("def signals(self, outputs): return {'all': outputs}", "signals()['all'] of Own has the shape [64, 3]"),
    ],
)
def test_a_task_that_fails_is_told_before_anything_is_trained(project, method, message):
    workload = project(
        f"""
        from reprune.data.tasks import Classification

        class Own(Classification):
            {method}

        def load(split):
            return TensorDataset(*tensors(split))
        """,
        task="{module}:Own",
    )
    assert message in refused(workload)


@pytest.mark.parametrize("kind", ["DataLoader", "IterableDataset", "dict", "tuple"])
def test_every_form_of_data_that_the_contract_allows(project, kind):
    workload = project(f"""
    KIND = "{kind}"

    class Model(nn.Linear):
        def forward(self, x, y=None):
            return super().forward(x)

    def build():
        return Model(FEATURES, CLASSES)

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(TensorDataset(*tensors("train")))

    def load(split):
        dataset = TensorDataset(*tensors(split))
        if KIND == "dict":
            return [({{"x": x, "y": x}}, t) for x, t in dataset]
        if KIND == "tuple":
            return [((x, x), t) for x, t in dataset]
        if split != "train":
            return dataset
        return Stream() if KIND == "IterableDataset" else torch.utils.data.DataLoader(dataset, batch_size=7)
    """)
    splits = preflight(workload)
    assert {name: split.total for name, split in splits.items()} == {
        "train": 300,
        "validation": 60,
        "test": 120,
        "production": 90,
    }


def test_a_large_split_is_sampled_evenly(project):
    splits = preflight(
        project("""
        def load(split):
            inputs, targets = tensors(split)
            times = 100 if split == "train" else 1
            return TensorDataset(inputs.repeat(times, 1), targets.repeat(times))
        """)
    )
    train = splits["train"]
    assert (train.total, len(train.indices)) == (30_000, 10_000)
    assert (train.indices[0], train.indices[-1]) == (0, 29_999)


class Augmented(torch.utils.data.Dataset):
    """Draws from every generator that augmentation is written with."""

    def __len__(self):
        return 100

    def __getitem__(self, index):
        return torch.randn(3) + random.random() + torch.from_numpy(np.random.rand(3)), index


def test_augmentation_gives_the_same_digest_and_disturbs_no_generator():
    def draws():
        return torch.rand(1).item(), np.random.rand(), random.random()

    def seed():
        torch.manual_seed(7)
        np.random.seed(7)
        random.seed(7)

    seed()
    expected = draws()
    seed()
    first, second = read(Augmented()), read(Augmented())
    assert draws() == expected
    assert first.digest == second.digest
