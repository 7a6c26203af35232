"""What a policy may say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from reprune.config.gate import CHECKS, GatePolicy
from reprune.config.loading import parse
from reprune.errors import InputError

WORKLOAD = {"name": "x", "model": "a:b", "data": "a:c"}


def test_a_policy_that_blocks_on_nothing_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="gate: .*blocks on nothing.*quality"):
        parse(WORKLOAD | {"gate": dict.fromkeys(CHECKS, "warn")}, origin="x.yaml")


def test_one_blocking_check_is_enough() -> None:
    gate = dict.fromkeys(CHECKS, "off") | {"latency": "block"}
    assert parse(WORKLOAD | {"gate": gate}, origin="x.yaml").gate.severity("latency") == "block"


def test_a_lost_class_and_a_long_tail_block_by_default_and_every_check_has_a_severity() -> None:
    policy = GatePolicy()
    assert policy.slices == policy.extreme_latency == "block"
    assert {policy.severity(check) for check in CHECKS} == {"block", "warn"}
    assert GatePolicy.model_validate_json(policy.model_dump_json()) == policy


def test_the_documentation_lists_every_check_with_its_default_and_its_limits() -> None:
    page = (Path(__file__).parents[3] / "docs" / "gate-in-ci.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (block|warn|off) \| .* \|(.*)\|$", page, re.MULTILINE)
    assert {check: severity for check, severity, _ in rows} == {it: GatePolicy().severity(it) for it in CHECKS}
    limits = {key for _, _, cell in rows for key in re.findall(r"`(\w+)`", cell)}
    assert limits == set(GatePolicy.model_fields) - set(CHECKS) - {"confidence", "minimum_examples"}


def test_a_misspelt_check_is_answered_with_the_right_one() -> None:
    with pytest.raises(InputError, match="gate.qualty is not a key; did you mean quality"):
        parse(WORKLOAD | {"gate": {"qualty": "warn"}}, origin="x.yaml")


def test_the_policy_needs_nothing_heavy() -> None:
    code = (
        "import sys, reprune.config.gate; print(sorted({'torch', 'scipy', 'numpy', 'onnxruntime'} & set(sys.modules)))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
