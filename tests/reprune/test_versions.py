import json

import pytest

from reprune import __version__
from reprune.config.loading import load
from reprune.errors import InputError, IntegrityError
from reprune.steps import compatibility
from reprune.steps.context import Step
from reprune.storage.uri import open_store

WORKLOAD = load("digits").model_dump_json(exclude_defaults=True)


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [("0.1.0", "0.1.9", True), ("0.1.0", "0.1.0.dev3", True), ("0.1.0", "0.2.0", False), ("1.1.0", "11.0", False)],
)
def test_releases_that_differ_in_the_last_number_alone_may_work_together(one, other, together):
    assert compatibility.agree(one, other) is together


def test_a_step_refuses_a_pipeline_of_another_version(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv(compatibility.PIPELINE, "0.9.0")
    with pytest.raises(SystemExit) as ended, Step("gate", workload=WORKLOAD, store=str(tmp_path), run="r"):
        pytest.fail("the step went on")
    assert ended.value.code == InputError.exit_code
    assert "compiled by reprune 0.9.0" in (told := capsys.readouterr().err) and f"has reprune {__version__}" in told
    assert not list(tmp_path.iterdir()), "nothing may be written by the wrong version"


def test_a_step_refuses_a_store_of_another_layout(tmp_path, capsys):
    (tmp_path / compatibility.MARK).write_text(json.dumps({"layout": compatibility.LAYOUT + 1}))
    with pytest.raises(SystemExit) as ended, Step("gate", workload=WORKLOAD, store=str(tmp_path), run="r"):
        pytest.fail("the step went on")
    assert ended.value.code == IntegrityError.exit_code
    assert f"has layout {compatibility.LAYOUT + 1}" in capsys.readouterr().err


def test_a_step_marks_a_store_that_has_no_mark_and_takes_it_from_then_on(tmp_path):
    for _ in range(2):
        with Step("gate", workload=WORKLOAD, store=str(tmp_path), run="r"):
            pass
    assert json.loads((tmp_path / compatibility.MARK).read_text()) == {"layout": compatibility.LAYOUT}
    compatibility.check_store(open_store(tmp_path))


def test_a_damaged_mark_is_told(tmp_path):
    (tmp_path / compatibility.MARK).write_text("{")
    with pytest.raises(IntegrityError, match="damaged"):
        compatibility.check_store(open_store(tmp_path))
