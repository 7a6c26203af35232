"""Power on digits, and windows that are no good."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import TensorDataset

from reprune.config.drift import DriftPolicy
from reprune.drift.dataset import DatasetExamples
from reprune.drift.detect import compare, detect
from reprune.drift.drift_report import DriftReport
from reprune.drift.features import Column, Sample
from reprune.errors import InputError, IntegrityError

REFERENCE, WINDOW = slice(0, 720), slice(720, 900)


def rotated(images, degrees=20.0):
    angle = torch.deg2rad(torch.tensor(degrees))
    turn = torch.tensor([[angle.cos(), -angle.sin(), 0], [angle.sin(), angle.cos(), 0]])
    grid = F.affine_grid(turn.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def noisy(images, spread=0.1):
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    return ((images + spread * noise).clamp(0, 1) * 16).round() / 16


def dimmed(images):
    """Darker by 5 %, and still 17 grey levels, so that no new value gives it away."""
    return (images * 0.95 * 16).round() / 16


@pytest.fixture(scope="module")
def reference(champion):
    return champion.reference(REFERENCE)


@pytest.mark.parametrize("change", [rotated, noisy, dimmed])
def test_small_changes_of_the_images_are_detected(champion, reference, change):
    report = detect(reference, champion.window(WINDOW, change), champion.model, champion.signals)
    assert report.drifted
    assert report.verdict == "drift"
    assert all(test.statistic > test.threshold for test in report.alarms)


def test_an_overrepresented_class_is_seen_in_the_predictions(champion, reference):
    labels = champion.labels[720:]
    threes = (labels == 3).nonzero()[:, 0]
    chosen = 720 + torch.cat([threes.repeat(4)[:70], torch.arange(110)])
    report = detect(reference, champion.window(chosen), champion.model, champion.signals)
    assert "predicted_class" in {test.name for test in report.alarms}


def test_an_undisturbed_window_raises_no_alarm_and_every_test_says_how_sure_it_is(champion, reference):
    report = detect(reference, champion.window(WINDOW), champion.model, champion.signals)
    assert not report.drifted
    assert (report.reference_examples, report.window_examples) == (720, 180)
    assert report.summary.startswith(f"no drift: {len(report.tests)} tests on 180 examples, smallest p 0.")
    assert all(test.statistic <= test.threshold and test.adjusted_p_value >= test.p_value for test in report.tests)
    assert DriftReport.model_validate_json(report.model_dump_json()) == report


def test_the_same_window_gives_the_same_report(champion, reference):
    first, second = (detect(reference, champion.window(WINDOW), champion.model, champion.signals) for _ in range(2))
    assert first == second


def test_labels_are_watched_only_when_asked_for(champion, reference):
    images, labels = champion.images[WINDOW], torch.zeros(180, dtype=torch.long)
    placeholders = DatasetExamples(TensorDataset(images, labels))
    assert not detect(reference, placeholders, champion.model, champion.signals).drifted
    policy = DriftPolicy(watch=("labels",))
    assert [test.name for test in detect(reference, placeholders, champion.model, champion.signals, policy).alarms] == [
        "label"
    ]


@pytest.mark.parametrize("examples", [0, 1, 29])
def test_a_small_window_is_inconclusive_however_strange(champion, reference, examples):
    window = champion.window(slice(0, examples), lambda images: images * 100)
    report = detect(reference, window, champion.model, champion.signals)
    assert report.verdict == "inconclusive"
    assert not report.drifted
    assert f"{examples} example" in report.summary


def test_values_that_are_not_finite_are_named(champion, reference):
    images = champion.images[WINDOW].clone()
    images[7, 0, 3, 3] = torch.nan
    with pytest.raises(InputError, match="example 7"):
        detect(reference, champion.window(WINDOW, lambda _: images), champion.model, champion.signals)


@pytest.mark.parametrize("shape", [(1, 9, 9), (64,), (3, 8, 8)])
def test_inputs_of_another_shape_are_refused(champion, reference, shape):
    window = DatasetExamples(TensorDataset(torch.zeros(40, *shape), torch.zeros(40, dtype=torch.long)))
    with pytest.raises(InputError, match="production"):
        detect(reference, window, champion.model, champion.signals)


def test_examples_that_differ_in_shape_are_refused(champion, reference):
    window = [(torch.zeros(1, 8, 8 + i % 2), 0) for i in range(40)]
    with pytest.raises(InputError, match="cannot be read as batches"):
        detect(reference, DatasetExamples(window), champion.model, champion.signals)


def test_a_reference_of_another_model_is_refused(champion, reference, tmp_path):
    other = tmp_path / "other.onnx"
    other.write_bytes(champion.model.read_bytes() + b"\0")
    with pytest.raises(IntegrityError, match="of model"):
        detect(reference, champion.window(WINDOW), other, champion.signals)


def test_constant_columns_and_new_categories():
    columns = (Column("constant", "inputs"), Column("colour", "inputs", categorical=True))
    rng = np.random.default_rng(0)

    def sample(n, colours, constant=1.0):
        values = np.stack([np.full(n, constant), rng.integers(0, colours, n)], axis=1)
        return Sample(columns, values.astype(np.float32), {})

    assert not compare(sample(200, 3), sample(100, 3), DriftPolicy()).drifted
    report = compare(sample(200, 3), sample(100, 4), DriftPolicy())
    assert [test.name for test in report.alarms] == ["colour"]
    report = compare(sample(200, 3), sample(100, 3, constant=2.0), DriftPolicy())
    assert [test.name for test in report.alarms] == ["constant"]


def test_a_constant_that_stays_is_no_division_by_zero():
    columns = (Column("a", "inputs"), Column("b", "inputs"))
    same = Sample(columns, np.ones((50, 2), dtype=np.float32), {})
    report = compare(same, same, DriftPolicy())
    assert not report.drifted
    assert all(test.p_value == 1 for test in report.tests)
