"""Text, JSON and YAML from files: what is read as what, and that all else is one error."""

import datetime
import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from reprune import text_files
from reprune.errors import InputError

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=64) | st.text(max_size=64).map(str.encode))
@pytest.mark.parametrize("reader", [text_files.read, text_files.read_json, text_files.read_yaml])
def test_any_bytes_are_read_or_refused_by_name(tmp_path_factory, reader, data):
    path = tmp_path_factory.mktemp("any") / "given"
    path.write_bytes(data)
    try:
        found = reader(path)
    except InputError as error:
        assert str(path) in error.message and error.remedy
    else:
        json.dumps(found)


@settings(max_examples=100, deadline=None)
@given(value=JSON)
def test_what_was_written_is_read(value):
    assert text_files.parse_yaml(yaml.safe_dump(value, allow_unicode=True), "here") == value
    assert text_files.parse_yaml(json.dumps(value), "here") == value


@pytest.mark.parametrize("word", ["on", "off", "yes", "no", "On", "OFF", "Yes", "y", "n", "2026-11-30"])
def test_words_stay_words(word):
    assert text_files.parse_yaml(f"key: {word}", "here") == {"key": word}


@pytest.mark.parametrize(("text", "value"), [("true", True), ("False", False), ("TRUE", True), ("~", None)])
def test_booleans_are_those_of_yaml_1_2(text, value):
    assert text_files.parse_yaml(text, "here") is value


@pytest.mark.parametrize(
    "text",
    [
        *("&a [*a]", "a: !!binary aGk=", "!!set {a}", "[" * 100_000, "0b_", "!!bool maybe", "!!timestamp now"),
        *("1" * 5000, f"a: 0x{'1' * 5000}", "a: [", "!!python/object/apply:os.getcwd []", "a: \0"),
        yaml.dump({"at": datetime.datetime(2026, 11, 30)}).replace("at: ", "at: !!timestamp "),
    ],
    ids=lambda text: text[:12],
)
def test_what_json_cannot_hold_is_no_yaml_here(text):
    with pytest.raises(InputError, match="mine.yaml is not YAML: "):
        text_files.parse_yaml(text, "mine.yaml")


def test_a_mark_of_byte_order_is_no_part_of_the_text(tmp_path):
    (tmp_path / "windows.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert text_files.read_json(tmp_path / "windows.json") == {"a": 1}


@pytest.mark.parametrize("name", ["absent", "a" * 300, "zero\0byte", "."])
def test_a_file_that_cannot_be_opened_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="the policy cannot be read: ") as caught:
        text_files.read(tmp_path / name, name="the policy", remedy="Name another.")
    assert caught.value.remedy == "Name another."


def test_the_byte_that_is_not_text_is_named(tmp_path):
    (tmp_path / "bytes").write_bytes(b"ok\xff")
    with pytest.raises(InputError, match="byte 0xff at place 2 is not UTF-8"):
        text_files.read(tmp_path / "bytes")
