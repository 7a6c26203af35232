import shutil

import pytest
import torch
from torch.utils.data import TensorDataset

from reprune.drift.dataset import DatasetExamples
from reprune.drift.decision import Decision, decide
from reprune.errors import InputError, IntegrityError

CHAMPION = "1f3c09abcdef"


@pytest.fixture(scope="module")
def version(champion, tmp_path_factory):
    folder = tmp_path_factory.mktemp("version")
    shutil.copy(champion.model, folder / "model.onnx")
    champion.reference(slice(0, 720)).save(folder / "reference.safetensors")
    return folder


def test_without_a_champion_there_is_something_to_do(champion):
    decision = decide(None, None, champion.window(slice(720, 900)), champion.signals)
    assert (decision.action, decision.cause, decision.reason) == ("reprune", "no-champion", "no champion yet")


@pytest.mark.parametrize(("trigger", "cause"), [("force", "forced"), ("alert", "alert")])
def test_a_person_or_an_alert_is_obeyed(champion, version, trigger, cause):
    decision = decide(CHAMPION, version, None, champion.signals, trigger=trigger)
    assert (decision.action, decision.cause) == ("reprune", cause)


def test_no_drift_is_skipped_with_its_reason(champion, version):
    decision = decide(CHAMPION, version, champion.window(slice(720, 900)), champion.signals)
    assert (decision.action, decision.cause) == ("skip", "no-drift")
    assert decision.reason.startswith("champion 1f3c09abcdef; no drift: ")
    assert Decision.model_validate_json(decision.model_dump_json()) == decision


def test_drift_asks_for_another_round(champion, version):
    window = champion.window(slice(720, 900), lambda images: images.flip(-1))
    decision = decide(CHAMPION, version, window, champion.signals)
    assert (decision.action, decision.cause) == ("reprune", "drift")
    assert decision.reason.startswith("drift: ")
    assert decision.report is not None and decision.report.alarms


def test_no_production_data_is_skipped(champion, version):
    decision = decide(CHAMPION, version, None, champion.signals)
    assert (decision.action, decision.cause) == ("skip", "no-data")


def test_one_row_is_inconclusive_and_never_an_alarm(champion, version):
    decision = decide(CHAMPION, version, champion.window(slice(720, 721), lambda x: x * 50), champion.signals)
    assert (decision.action, decision.cause) == ("skip", "inconclusive")
    assert "1 example against 720" in decision.reason


def test_a_window_that_is_no_input_is_refused_and_never_an_alarm(champion, version):
    window = DatasetExamples(TensorDataset(torch.full((50, 1, 8, 8), torch.inf), torch.zeros(50, dtype=torch.long)))
    with pytest.raises(InputError, match="not finite"):
        decide(CHAMPION, version, window, champion.signals)


def test_a_missing_reference_is_told_even_without_production_data(champion, tmp_path):
    with pytest.raises(IntegrityError, match=r"reference\.safetensors"):
        decide(CHAMPION, tmp_path, None, champion.signals)
