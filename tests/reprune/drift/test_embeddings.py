"""The penultimate layer, read from the file that is served."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from reprune.config.drift import DriftPolicy
from reprune.drift.detect import compare, detect
from reprune.drift.embeddings import WIDTH, pooled, with_embedding
from reprune.drift.features import Sample
from reprune.drift.reference import Reference
from reprune.inference.onnx.export import export


def test_the_embedding_is_what_the_last_layer_reads(champion):
    session = onnxruntime.InferenceSession(with_embedding(champion.model))
    logits, layer = session.run(None, {session.get_inputs()[0].name: champion.images[:5].numpy()})
    (alone,) = onnxruntime.InferenceSession(champion.model).run(None, {"input": champion.images[:5].numpy()})
    assert layer.shape == (5, 64) and layer.min() == 0
    np.testing.assert_allclose(logits, alone, atol=1e-5)


def test_a_model_of_one_layer_has_none(tmp_path):
    export(nn.Linear(4, 2).eval(), torch.zeros(2, 4), tmp_path / "model.onnx")
    assert with_embedding(tmp_path / "model.onnx") is None


@pytest.mark.parametrize(("shape", "width"), [((3, 10), 10), ((3, 7, 10), 10), ((3, 10, 4, 4), 10), ((3, 500), WIDTH)])
def test_layers_of_any_shape_become_one_vector_an_example(shape, width):
    layer = np.random.default_rng(0).normal(size=shape)
    assert pooled(layer).shape == (3, width)
    assert np.array_equal(pooled(layer), pooled(layer))


def test_embeddings_are_judged_together_and_an_older_reference_goes_without(champion):
    reference, window = champion.sample(slice(0, 300)), champion.sample(slice(300, 500))
    report = compare(reference, window, DriftPolicy(watch=("embeddings",)))
    assert {test.name for test in report.tests} == {"embeddings jointly", "correlations of embeddings"}
    assert not report.drifted
    turned = champion.sample(slice(300, 500), lambda images: images.flip(3))
    assert compare(reference, turned, DriftPolicy(watch=("embeddings",))).drifted

    kept = tuple(column for column in reference.columns if column.group != "embeddings")
    older = Reference(Sample.only(reference, kept), champion.reference(slice(0, 2)).model_sha256)
    found = detect(older, champion.window(slice(300, 500)), champion.model, champion.signals)
    assert found.verdict == "no drift" and "embeddings" not in {test.group for test in found.tests}
