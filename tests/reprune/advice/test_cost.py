"""What a run cost, read from a store that also holds what is no record of a step that has ended."""

import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reprune.config.loading import load
from reprune.planning.advisor.run_cost import last_run_seconds
from reprune.steps.context import Step, read_records
from reprune.storage.uri import open_store

BESIDE = st.sampled_from([{"models": {}}, {"step": "prune"}, {"seconds": 3.0}, [], None, "text", 1])
"""JSON that lies beside records: timings, notes of a step under way, whatever else."""


def ended(seconds, at):
    return {"step": "any", "summary": "", "seconds": seconds, "ended": at}


def test_a_run_leaves_timings_beside_its_records_and_they_are_no_record(tmp_path):
    for name, evidence in (("benchmark", "timings-cpu.json"), ("gate", "report.html")):
        with Step(name, workload=load("digits").model_dump_json(), store=str(tmp_path), run="one") as step:
            step.put_evidence(evidence, b'{"models": {}}')
    store = open_store(tmp_path)
    records = read_records(store, "digits", "one")
    assert set(records) == {"benchmark", "timings-cpu", "gate"}
    took = sum(records[step]["seconds"] for step in ("benchmark", "gate"))
    assert last_run_seconds(store, "digits") == pytest.approx(took)


def test_a_copy_of_the_store_answers_as_the_store(tmp_path):
    store = open_store(tmp_path / "store")
    store.put_json("runs/digits/one/gate.json", ended(5.0, 10.0))
    store.put_json("runs/digits/one/timings-cpu.json", {"models": {}})
    shutil.copytree(tmp_path / "store", tmp_path / "copy")
    assert last_run_seconds(open_store(tmp_path / "copy"), "digits") == 5.0


@settings(max_examples=40, deadline=None)
@given(
    finished=st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e9)), max_size=3, unique_by=lambda it: it[1]),
    under_way=st.lists(BESIDE, max_size=3),
    beside=st.lists(BESIDE, max_size=3),
)
def test_only_steps_that_have_ended_count_whatever_lies_beside_them(tmp_path_factory, finished, under_way, beside):
    store = open_store(tmp_path_factory.mktemp("store"))
    for number, (seconds, at) in enumerate(finished):
        for step in ("train", "gate"):
            store.put_json(f"runs/digits/ended-{number}/{step}.json", ended(seconds, at))
        for place, found in enumerate(beside):
            store.put_json(f"runs/digits/ended-{number}/beside-{place}.json", found)
    for place, found in enumerate(under_way):
        store.put_json(f"runs/digits/under-way-{place}/train.json", ended(1.0, 2e9))
        store.put_json(f"runs/digits/under-way-{place}/gate.json", found)
    newest = max(finished, key=lambda it: it[1], default=None)
    assert last_run_seconds(store, "digits") == (None if newest is None else 2 * newest[0])
