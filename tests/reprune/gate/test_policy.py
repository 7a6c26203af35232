"""What a policy may say."""

import subprocess
import sys

import pytest

from reprune.errors import InputError
from reprune.gate.policy import CHECKS, GatePolicy
from reprune.workload import parse

WORKLOAD = {"name": "x", "model": "a:b", "data": "a:c"}


def test_a_policy_that_blocks_on_nothing_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="gate: .*blocks on nothing.*quality"):
        parse(WORKLOAD | {"gate": dict.fromkeys(CHECKS, "warn")}, origin="x.yaml")


def test_one_blocking_check_is_enough() -> None:
    gate = dict.fromkeys(CHECKS, "off") | {"latency": "block"}
    assert parse(WORKLOAD | {"gate": gate}, origin="x.yaml").gate.severity("latency") == "block"


def test_slices_warn_by_default_and_every_check_has_a_severity() -> None:
    policy = GatePolicy()
    assert policy.slices == "warn"
    assert {policy.severity(check) for check in CHECKS} == {"block", "warn"}
    assert GatePolicy.model_validate_json(policy.model_dump_json()) == policy


def test_a_misspelt_check_is_answered_with_the_right_one() -> None:
    with pytest.raises(InputError, match="gate.qualty is not a key; did you mean quality"):
        parse(WORKLOAD | {"gate": {"qualty": "warn"}}, origin="x.yaml")


def test_the_policy_needs_nothing_heavy() -> None:
    code = (
        "import sys, reprune.gate.policy; print(sorted({'torch', 'scipy', 'numpy', 'onnxruntime'} & set(sys.modules)))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
