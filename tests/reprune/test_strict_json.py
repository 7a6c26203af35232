import enum
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprune import strict_json
from reprune.errors import InputError

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
KEYS = PLAIN | st.sampled_from(["__float__", "__tuple__", "__dict__"]) | st.tuples(PLAIN)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner),
    max_leaves=12,
)


def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


def again(value):
    """Write a value, and read it with a parser that takes nothing but JSON."""
    return strict_json.decode(json.loads(strict_json.write(value, "it"), parse_constant=refuse), "it")


@given(VALUES)
def test_what_is_written_comes_back_exactly(value):
    assert repr(again(value)) == repr(value)  # repr: NaN equals itself, 1 is not True, -0.0 is not 0.0


@given(VALUES)
def test_json_that_means_itself_stays_as_it_is(value):
    plain = json.loads(json.dumps(value, default=str, skipkeys=True), parse_constant=lambda _: 0.5)
    if not any(f'"{tag}"' in json.dumps(plain) for tag in ("__float__", "__tuple__", "__dict__")):
        assert strict_json.encode(plain, "it") == plain


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"layers": [1, {2, 3}]}, r"it\.layers\[1\] cannot be written as JSON: \{2, 3\} is a set"),
        ({"a": {frozenset(): 1}}, r"a key of it\.a cannot be written as JSON: frozenset\(\) is a frozenset"),
        ({"name": "\ud800"}, r"it\.name cannot be written as JSON: '\\ud800' is not Unicode"),
        ({"big": 10**5000}, "it cannot be written as JSON: Exceeds the limit"),
    ],
)
def test_what_cannot_be_written_is_named(value, message):
    with pytest.raises(InputError, match=message):
        strict_json.encode(value, "it")


def test_a_value_that_holds_itself_is_refused():
    loop = []
    loop.append(loop)
    with pytest.raises(InputError, match="holds itself"):
        strict_json.encode(loop, "it")


@pytest.mark.parametrize(
    "value",
    [
        {"__float__": "1.5"},
        {"__float__": []},
        {"__tuple__": 3},
        {"__dict__": [[1]]},
        {"__dict__": [[[], 1]]},
        {"__dict__": [[{"a": 1}, 1]]},
        {"__dict__": {}},
    ],
)
def test_what_encode_never_makes_is_refused(value):
    with pytest.raises(InputError, match="cannot be read"):
        strict_json.decode({"it": [value]}, "arguments")


def test_subclasses_come_back_as_plain_types():
    class Kind(enum.IntEnum):
        WIDE = 3

    assert again({"kind": Kind.WIDE}) == {"kind": 3}
    assert type(again({"kind": Kind.WIDE})["kind"]) is int


def test_infinities_are_written_as_transformers_writes_them():
    assert strict_json.encode([math.inf, -math.inf, math.nan], "it") == [
        {"__float__": "Infinity"},
        {"__float__": "-Infinity"},
        {"__float__": "NaN"},
    ]
