"""What looks wrong is reported, by Great Expectations."""

import re

import numpy as np
import pytest
from torch.utils.data import TensorDataset

from reprune.config import loading
from reprune.data.validation.result import Validation
from reprune.data.validation.validate import frame, inferred, validate
from reprune.errors import InputError


@pytest.fixture(scope="module")
def digits():
    return validate(loading.load("digits"))


def test_the_shipped_digits_are_fit_to_learn_from(digits):
    assert digits.summary == "1,797 examples, 10 classes, 0 failed expectations"
    assert digits.warnings == ()
    assert digits.expectations["critical"] > 20 and digits.expectations["warning"] > 20
    digits.require()


def test_the_result_is_json_without_the_page(digits):
    text = digits.model_dump_json()
    assert "<html" not in text
    assert Validation.model_validate_json(text) == digits.model_copy(update={"html": ""})


def test_the_page_is_whole_in_itself(digits):
    loaded = [*re.findall(r'\bsrc="([^"]*)"', digits.html), *re.findall(r'<link[^>]*href="([^"]*)"', digits.html)]
    assert loaded == ["data:,"]
    assert "<script" not in digits.html
    for said in ("values must never be null", "input roughness", "34 of 34 expectations met"):
        assert said in digits.html


def test_nothing_is_printed(project, capfd):
    validate(project())
    assert capfd.readouterr() == ("", "")


def test_arrays_and_numbers_do_as_well_as_tensors(project, tmp_path):
    """As a dataset of one's own yields them, or a file for the train split."""
    of_arrays = """
        def load(split):
            return [(row.numpy(), int(label)) for row, label in zip(*tensors(split))]
        """
    found = validate(project(of_arrays))
    inputs = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    np.savez(tmp_path / "train.npz", inputs=inputs, targets=np.arange(60) % 3)
    assert found.expectations == validate(project()).expectations
    assert validate(project(of_arrays, splits={"train": str(tmp_path / "train.npz")})).expectations["critical"]


def test_another_unit_and_a_skewed_balance_are_warnings(project):
    found = validate(
        project("""
        def load(split):
            inputs, targets = tensors(split)
            if split == "test":
                inputs[:, 1] *= 255
                targets[20:] = 0
            return TensorDataset(inputs, targets)
        """)
    )
    failed = {(f.split, f.column, f.expectation) for f in found.failures}
    assert ("test", "input[1]", "expect_column_values_to_be_between") in failed
    assert ("test", "target", "expect_column_kl_divergence_to_be_less_than") in failed
    assert {f.severity for f in found.failures} == {"warning"}
    assert {f.split for f in found.failures} == {"test"}
    assert found.failed["critical"] == 0 and found.failed["warning"] == len(found.warnings)
    found.require()


def test_a_class_that_train_does_not_have_is_critical(project):
    found = validate(
        project("""
        def load(split):
            inputs, targets = tensors(split)
            return TensorDataset(inputs, targets.clamp(max=1) if split == "train" else targets)
        """)
    )
    with pytest.raises(InputError, match="expect_column_values_to_be_in_set"):
        found.require()
    assert "failed" in found.html


def test_production_never_blocks(project):
    found = validate(
        project("""
        def load(split):
            inputs, targets = tensors(split)
            return TensorDataset(inputs * 1000 if split == "production" else inputs, targets)
        """)
    )
    assert {f.split for f in found.failures} == {"production"}
    assert found.failed["critical"] == 0


def test_inputs_that_are_in_train_too_are_told(project):
    found = validate(
        project("""
        def load(split):
            inputs, targets = tensors(split)
            if split == "test":
                inputs[10:14] = tensors("train")[0][50:54]
            return TensorDataset(inputs, targets)
        """)
    )
    assert found.leaks == (
        "4 of 120 inputs of test are in train too, which flatters its accuracy (the first: example 10)",
    )
    assert found.leaks[0] in found.html
    assert "inputs shared between splits" in found.summary


def test_the_digest_is_of_the_content(project):
    same = """
    def load(split):
        inputs, targets = tensors(split)
        CHANGE
        return TensorDataset(inputs, targets)
    """
    changed = {
        "nothing": "pass",
        "production": 'inputs += split == "production"',
        "an input": 'inputs[3, 1] += 1e-3 * (split == "train")',
        "a label": 'targets[0] = (targets[0] + (split == "test")) % 3',
    }
    digests = {name: validate(project(same.replace("CHANGE", change))).data_digest for name, change in changed.items()}
    assert digests["nothing"] == digests["production"]
    assert len({digests["nothing"], digests["an input"], digests["a label"]}) == 3


def test_a_frame_has_one_column_a_feature_or_summaries():
    import torch

    vectors = frame(TensorDataset(torch.arange(12.0).reshape(3, 4), torch.tensor([0, 1, 0])))
    assert list(vectors.columns) == ["input[0]", "input[1]", "input[2]", "input[3]", "target"]
    assert vectors["input[2]"].tolist() == [2, 6, 10]
    images = frame(TensorDataset(torch.eye(4).expand(2, 1, 4, 4), torch.tensor([0.5, 1.5])))
    assert images["input mean"].tolist() == [0.25, 0.25]
    assert images["input zeros"].tolist() == [0.75, 0.75]
    assert images["input roughness"].tolist() == [0.5, 0.5]
    assert images["target"].dtype == "float32"


def test_what_is_written_down_holds_in_place_of_what_would_be_inferred(project):
    learnt_before = inferred(project())
    assert set(learnt_before) == {"train", "validation", "test", "production"}
    moved = """
        def load(split):
            inputs, targets = tensors(split)
            return TensorDataset(inputs * 255, targets)
        """
    assert not validate(project(moved)).failures  # all of it has another unit, so nothing looks wrong
    found = validate(project(moved, expectations={"train": learnt_before["train"]}))
    assert {(f.split, f.severity) for f in found.failures} == {("train", "warning")}


def test_an_edited_expectation_may_stop_everything(project):
    mine = {"type": "expect_column_max_to_be_between", "kwargs": {"column": "input[0]", "max_value": 0.1}}
    found = validate(project(expectations={"test": [mine]}))
    assert [(f.split, f.severity) for f in found.failures] == [("test", "critical")]
    assert "input[0]" in found.html
    with pytest.raises(InputError, match="1 critical expectation failed"):
        found.require()


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"type": "expect_nothing", "kwargs": {}}, "number 1 is no expectation: expect_nothing not found"),
        ({"kwargs": {}}, "missing 1 required positional argument: 'type'"),
        ({"type": "expect_column_max_to_be_between", "kwargs": {"colum": "a"}}, "colum extra fields not permitted"),
    ],
)
def test_what_is_no_expectation_is_refused(project, item, message):
    with pytest.raises(InputError, match=f"expectations.test: .*{message}"):
        validate(project(expectations={"test": [item]}))
