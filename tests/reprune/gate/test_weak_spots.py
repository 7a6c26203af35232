"""Simple features are the numbers they name, and a tree over them finds where the dense model errs, honestly."""

import numpy as np
import pytest
import torch
from sklearn.tree import DecisionTreeRegressor

from reprune.data.datasets import Data
from reprune.errors import InputError
from reprune.gate import slice_finder
from reprune.gate.confidence_intervals import compare
from reprune.gate.evidence import collect
from reprune.gate.input_features import simple_features


def test_features_of_images_tables_and_tokens() -> None:
    random = np.random.default_rng(0)
    images = random.random((5, 3, 8, 8), dtype=np.float32)
    found = simple_features(images)
    assert found["brightness"] == pytest.approx(images.mean(axis=(1, 2, 3)))
    assert found["contrast"] == pytest.approx(torch.from_numpy(images).flatten(1).std(dim=1).numpy())
    assert set(found) == {"brightness", "contrast"}
    assert list(simple_features(random.random((5, 3)))) == ["column 0", "column 1", "column 2"]
    tokens = np.array([[7, 8, 9, 4], [7, 8, 0, 0], [7, 0, 0, 0]])
    assert list(simple_features({"input_ids": tokens})["input_ids length"]) == [3, 2, 1]
    assert list(simple_features((random.random((2, 1)), tokens[:2]))) == ["input 0 column 0", "input 1 length"]
    assert simple_features(random.random((5, 3, 8))) == {}


def test_a_weak_spot_is_found_and_judged_on_examples_that_had_no_part_in_finding_it() -> None:
    rng = np.random.default_rng(0)
    column, other = rng.uniform(size=4000), rng.uniform(size=4000)
    scores = (rng.random(4000) < np.where(column > 0.8, 0.5, 0.95)).astype(float)
    found = slice_finder.find({"age": column, "height": other}, scores, smallest=20, seed=0)
    assert found and all("age > 0." in name for name in found)
    inside = np.logical_or.reduce(list(found.values()))
    assert column[inside].min() > 0.79 and inside.sum() > 250
    assert scores[inside].mean() == pytest.approx(0.5, abs=0.07)


def test_the_tree_explains_as_much_as_that_of_scikit_learn() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        features = {"age": rng.normal(size=400), "dose": rng.integers(0, 5, 400).astype(float)}
        errors = (rng.random(400) < 0.2 + 0.3 * (features["age"] > 0.5)).astype(float)
        leaves = slice_finder._grow(features, errors, np.ones(400, bool), np.ones(400, bool), 20, 2).values()
        assert (sum(leaves) == 1).all()
        table = np.column_stack(list(features.values()))
        peer = DecisionTreeRegressor(max_depth=2, min_samples_leaf=20).fit(table, errors).predict(table)
        left = sum(((errors[inside] - errors[inside].mean()) ** 2).sum() for inside in leaves)
        assert left == pytest.approx(((errors - peer) ** 2).sum())


def test_errors_without_a_pattern_make_no_model_look_better_or_worse() -> None:
    """Dense errs at random: judged where they were found, weak spots would flatter every candidate."""
    drops = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        features = {str(i): rng.uniform(size=600) for i in range(20)}
        dense, candidate = (rng.random((2, 600)) < 0.9).astype(float)
        masks = slice_finder.find(features, dense, smallest=20, seed=seed).values()
        drops += [compare(dense[inside], candidate[inside]).drop for inside in masks]
    assert len(drops) > 10 and np.mean(drops) == pytest.approx(0, abs=0.03)


def test_nothing_to_find_is_no_slice() -> None:
    column = np.linspace(0, 1, 500)
    assert slice_finder.find({"age": column}, np.ones(500), smallest=20, seed=0) == {}
    assert slice_finder.find({}, np.zeros(500), smallest=20, seed=0) == {}
    assert slice_finder.find({"age": column[:30]}, np.arange(30.0), smallest=20, seed=0) == {}


def test_slices_of_the_workload_are_judged_by_their_names(workload, data: Data, dense, tmp_path, monkeypatch) -> None:
    (tmp_path / "slices_of_mine.py").write_text(
        "import numpy\n"
        "def halves(dataset):\n"
        "    first = numpy.arange(len(dataset)) < len(dataset) // 2\n"
        "    return {'first half': first, 'second half': ~first}\n"
        "def wrong(dataset):\n"
        "    return {'first': numpy.ones(3, bool)}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    named = workload.replace(slices="slices_of_mine:halves")
    found = collect(named, data=data, dense=dense, candidate=dense)
    assert found.slices["first half"].sum() == found.examples // 2
    with pytest.raises(InputError, match=r"slices: 'first' is bool \[3\], not bool"):
        collect(workload.replace(slices="slices_of_mine:wrong"), data=data, dense=dense, candidate=dense)
