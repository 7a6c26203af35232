import re

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reprune.config import loading
from reprune.config.limits import LatencyLimit, SizeLimit
from reprune.errors import InputError

MINIMAL = {"name": "mine", "model": "my.models:build", "data": "my.data:load"}


def refused(**changes):
    with pytest.raises(InputError) as caught:
        loading.parse(MINIMAL | changes, origin="mine.yaml")
    return str(caught.value)


def test_three_keys_are_enough():
    loaded = loading.parse(MINIMAL, origin="mine.yaml")
    assert loaded.task == "classification"
    assert len(loaded.target) == 1
    assert loaded.budget.latency.resolve(0.008) == pytest.approx(0.004)


@pytest.mark.parametrize("name", ["digits", "breast-cancer", "stdlib-text"])
def test_shipped_workloads_load(name):
    assert loading.load(name).name == name


def test_the_template_is_a_workload(tmp_path):
    from importlib import resources

    text = (resources.files("reprune.workloads") / "template.yaml").read_text()
    assert loading.parse(yaml.safe_load(text), origin="template").name == "my-model"


def test_the_values_that_the_template_shows_are_the_defaults():
    from importlib import resources

    lines = (resources.files("reprune.workloads") / "template.yaml").read_text().splitlines()
    shown = {}
    for line in lines:
        for key in ("train", "prune", "finetune"):
            if line.startswith(f"# {key}: "):
                shown[key] = yaml.safe_load(line.removeprefix("# "))[key]
    defaults = loading.parse(MINIMAL, origin="mine.yaml").model_dump()
    assert set(shown) == {"train", "prune", "finetune"}
    for key, values in shown.items():
        assert values.items() <= defaults[key].items()


def test_misspelt_keys_are_refused_with_a_guess():
    assert "buget is not a key; did you mean budget?" in refused(buget={})
    assert "did you mean latency?" in refused(budget={"latencey": "0.5x"})
    assert "did you mean threads?" in refused(target=[{"thread": 1}])


def test_all_problems_are_told_at_once():
    message = refused(name="My Model", train={"epochs": 0}, task="clasification")
    assert "name: 'My Model'" in message and "train.epochs: 0" in message and "task: 'clasification'" in message


@pytest.mark.parametrize("latency", ["0ms", "0x", "-1ms", "4", "4 parsecs", "2x", None])
def test_impossible_latency_budgets_are_refused_by_key_and_value(latency):
    message = refused(budget={"latency": latency})
    assert "budget.latency" in message and repr(latency) in message


def test_missing_keys_are_named():
    with pytest.raises(InputError, match="model is missing"):
        loading.parse({"name": "mine", "data": "my.data:load"}, origin="mine.yaml")


@pytest.mark.parametrize("model", ["my.models", "my models:build", "os.system('x'):y", "a:b:c", ":b", "../x:y"])
def test_what_is_no_entry_point_is_refused(model):
    assert "is not an entry point" in refused(model=model)


def test_an_unknown_workload_is_refused_with_a_guess():
    with pytest.raises(InputError, match="did you mean digits"):
        loading.load("digit")


def test_a_file_that_is_no_yaml_is_refused(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("name: [")
    with pytest.raises(InputError, match="is not YAML"):
        loading.load(str(path))
    path.write_text("just text")
    with pytest.raises(InputError, match="holds no keys"):
        loading.load(str(path))


def test_paths_are_taken_from_the_folder_of_the_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(MINIMAL | {"weights": "w.safetensors", "splits": {"production": "window.npz"}}))
    loaded = loading.load(str(path))
    assert loaded.code == str(tmp_path)
    assert loaded.weights == str(tmp_path / "w.safetensors")
    assert loaded.splits["production"] == str(tmp_path / "window.npz")


def test_weights_on_s3_stay_where_they_are(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(MINIMAL | {"weights": "s3://models/w.safetensors"}))
    assert loading.load(str(path)).weights == "s3://models/w.safetensors"


@pytest.mark.parametrize("name", loading.shipped())
def test_json_round_trip(name):
    loaded = loading.load(name)
    assert loading.parse(loaded.model_dump(mode="json"), origin="again") == loaded


@pytest.mark.parametrize("name", loading.shipped())
def test_the_schema_accepts_what_ships(name):
    from importlib import resources

    text = (resources.files("reprune.workloads") / name.replace("-", "_") / "workload.yaml").read_text()
    jsonschema.validate(yaml.safe_load(text), loading.schema())


def test_the_schema_refuses_what_the_contract_refuses():
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(MINIMAL | {"buget": {}}, loading.schema())


@given(st.floats(0.001, 1000), st.sampled_from(["ms", "s", "us"]))
def test_latencies_resolve_to_seconds(number, unit):
    scale = {"s": 1, "ms": 1e-3, "us": 1e-6}[unit]
    limit = LatencyLimit.model_validate(f"{number:.3f}{unit}")
    assert limit.resolve(1.0) == pytest.approx(float(f"{number:.3f}") * scale)
    assert LatencyLimit.model_validate(limit.model_dump()) == limit


@given(st.integers(1, 100))
def test_relative_sizes_scale_with_the_dense_model(percent):
    assert SizeLimit.model_validate(f"{percent / 100}x").resolve(1000) == pytest.approx(10 * percent)


def test_quantize_takes_a_format_alone_or_a_section():
    assert loading.parse(MINIMAL, origin="mine.yaml").quantize is None
    alone = loading.parse(MINIMAL | {"quantize": "int8"}, origin="mine.yaml")
    assert alone == loading.parse(MINIMAL | {"quantize": {"format": "int8"}}, origin="mine.yaml")
    assert loading.parse(alone.model_dump(mode="json", exclude_defaults=True), origin="again") == alone
    for accepted in ("dynamic-int8", {"format": "int8", "calibration": "entropy", "examples": 16}):
        jsonschema.validate(MINIMAL | {"quantize": accepted}, loading.schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(MINIMAL | {"quantize": "int7"}, loading.schema())


@pytest.mark.parametrize(
    ("quantize", "told"),
    [
        ("int7", "quantize.format: 'int7'.*'int8', 'dynamic-int8'"),
        ({"calibration": "median"}, "quantize.calibration: 'median'.*'minmax', 'entropy' or 'percentile'"),
        ({"calibratoin": "minmax"}, "quantize.calibratoin is not a key; did you mean calibration?"),
        ({"examples": 0}, "quantize.examples: 0"),
    ],
)
def test_what_cannot_be_quantized_to_is_refused(quantize, told):
    assert re.search(told, refused(quantize=quantize))


@pytest.mark.parametrize("word", ["off", "no", "false", "block", "warn"])
def test_a_check_is_switched_off_as_the_documentation_says(tmp_path, word):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(MINIMAL) + f"gate: {{latency: {word}, tail_latency: {word}}}\n")
    found = loading.load(str(path)).gate
    expected = "off" if word in ("off", "no", "false") else word
    assert (found.latency, found.tail_latency, found.extreme_latency) == (expected, expected, "block")
    assert loading.load(str(path)).replace(seed=1).gate == found


def test_what_another_reader_of_yaml_makes_of_off_is_off():
    assert loading.parse(MINIMAL | yaml.safe_load("gate: {latency: off}"), origin="mine.yaml").gate.latency == "off"


@pytest.mark.parametrize("word", ["on", "yes", "true", "0"])
def test_a_check_that_is_only_switched_on_does_not_say_what_it_does(tmp_path, word):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(MINIMAL) + f"gate: {{latency: {word}}}\n")
    with pytest.raises(InputError, match="gate.latency: .*'block', 'warn' or 'off'"):
        loading.load(str(path))


@pytest.mark.parametrize(
    ("word", "value"), [("on", True), ("off", False), ("yes", True), ("no", False), ("true", True)]
)
def test_keys_that_are_switches_take_the_words_of_switches(tmp_path, word, value):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(MINIMAL) + f"monitor: {{online: {word}}}\nfinetune: {{calibrate: {word}}}\n")
    loaded = loading.load(str(path))
    assert (loaded.monitor.online, loaded.finetune.calibrate) == (value, value)


@pytest.mark.parametrize("name", ["off", "yes", "n", "on"])
def test_a_name_may_be_a_word_that_yaml_1_1_takes_for_a_switch(tmp_path, name):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(MINIMAL | {"name": "NAME"}).replace("NAME", name))
    assert loading.load(str(path)).name == name


@pytest.mark.parametrize("where", ["a" * 300, "zero\0byte"])
def test_what_cannot_be_the_name_of_a_file_is_refused(tmp_path, where):
    for keys in ({"code": where}, {"weights": where}, {"splits": {"test": where}}, {"expectations": {"test": where}}):
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(MINIMAL | keys))
        with pytest.raises(InputError, match="is not the name of a file|cannot be read"):
            loading.load(str(tmp_path / "mine.yaml"))


def test_a_value_of_any_size_makes_a_message_that_can_be_read():
    assert len(refused(task="a" * 100_000)) < 1000
