import numpy as np
import pytest

from reprune.errors import InputError
from reprune.inference.latency.graph_inputs import GraphInput, made_up


def image(name="image", *shape, kind="float"):
    return GraphInput(name, f"tensor({kind})", shape or ("batch", 3, 8, 8))


def test_one_batch_that_all_models_take():
    feeds = made_up({"a": [image()], "b": [image()]}, batch_size=4)
    assert feeds["image"].shape == (4, 3, 8, 8)
    assert feeds["image"].dtype == np.float32
    assert feeds["image"].std() > 0.5


def test_a_batch_of_one_where_nothing_says_otherwise_and_the_models_own_where_they_fix_it():
    assert len(made_up({"a": [image()]})["image"]) == 1
    assert len(made_up({"a": [image()], "b": [image("image", 2, 3, 8, 8)]})["image"]) == 2


def test_integers_are_in_any_vocabulary_and_booleans_are_booleans():
    feeds = made_up({"a": [image("ids", "n", 9, kind="int64"), image("mask", "n", 9, kind="bool")]}, batch_size=3)
    assert set(np.unique(feeds["ids"])) <= {0, 1}
    assert (feeds["ids"].dtype, feeds["mask"].dtype) == (np.int64, np.bool_)


def test_other_names_for_the_same_inputs_get_the_same_values():
    feeds = made_up({"torch": [image("input")], "keras": [image("x")]})
    np.testing.assert_array_equal(feeds["input"], feeds["x"])


def test_names_in_another_order_are_matched_by_name():
    one, two = image("one", "n", 2), image("two", "n", 3)
    assert made_up({"a": [one, two], "b": [two, one]})["two"].shape == (1, 3)


def test_a_dimension_that_one_model_fixes_is_fixed_for_all():
    feeds = made_up({"free": [image("ids", "n", "length")], "fixed": [image("ids", "n", 16)]})
    assert feeds["ids"].shape == (1, 16)


def test_free_dimensions_come_from_the_shape_asked_for():
    assert made_up({"a": [image("ids", "n", "length")]}, shapes={"ids": (2, 7)})["ids"].shape == (2, 7)
    with pytest.raises(InputError, match="free dimensions") as caught:
        made_up({"a": [image("ids", None, "length")]})
    assert "--input ids=1x128" in caught.value.remedy


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ([image("image", "batch", 1, 8, 8)], "different inputs"),
        ([image("image", "batch", 3, 8)], "different inputs"),
        ([image(kind="float16")], "different inputs"),
        ([image(), image("mask", "batch")], "different inputs"),
        ([], "different inputs.* and none"),
    ],
)
def test_models_that_take_different_inputs_are_not_compared(other, told):
    with pytest.raises(InputError, match=told):
        made_up({"a": [image()], "b": other})


@pytest.mark.parametrize(
    ("inputs", "options", "told"),
    [
        ([image("x", 1, 4)], {"batch_size": 8}, "batch of 8 does not fit"),
        ([image("x", 1, 4), image("y", 5, 4)], {}, "different first dimensions"),
        ([image("x", "n", 4)], {"batch_size": 8, "shapes": {"x": (2, 4)}}, "batch of 8 does not fit"),
        ([image("x", "n", 4)], {"shapes": {"y": (1, 4)}}, "No model has an input 'y'"),
        ([image("x", "n", 4)], {"shapes": {"x": (1, 5)}}, "cannot have the shape 1x5"),
        ([image("x", "n", 4, kind="string")], {}, "cannot be made up"),
        ([GraphInput("x", "tensor(float)", ())], {}, "no dimension for the batch"),
    ],
)
def test_what_does_not_fit_is_named(inputs, options, told):
    with pytest.raises(InputError, match=told):
        made_up({"a": inputs}, **options)
