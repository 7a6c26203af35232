"""Raw results are small documents or JSON lines, and agree with the pages."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import PAGES
from benchmarks.pages import replace_table
from benchmarks.records import Records

RESULTS = Path(__file__).parents[2] / "benchmarks"
LARGEST_DOCUMENT = 4096
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
RECORDS = st.lists(st.dictionaries(st.text(), VALUES | st.lists(VALUES), max_size=4), max_size=6)


def relative(path):
    return str(path.relative_to(RESULTS))


@pytest.mark.parametrize("path", sorted(RESULTS.rglob("*.json")), ids=relative)
def test_a_document_is_small(path):
    assert path.stat().st_size <= LARGEST_DOCUMENT
    json.loads(path.read_text())


@pytest.mark.parametrize("path", sorted(RESULTS.rglob("*.jsonl")), ids=relative)
def test_a_line_is_a_record(path):
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert records and all(isinstance(record, dict) for record in records)


@given(RECORDS)
def test_records_survive_the_file(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("records") / "results.jsonl"
    written = Records(path)
    for record in records:
        written.add(**record)
    assert list(written) == records == list(Records(path))
    written.replace(reversed(records))
    assert list(written) == records[::-1] == list(Records(path))


def test_records_are_found_by_their_keys(tmp_path):
    records = Records(tmp_path / "results.jsonl", ("model", "seed"))
    records.add(model="a", seed=0, score=1.0)
    records.add(model="b", seed=0)
    assert records.has("a", 0) and not records.has("a", 1)
    assert records.select(seed=0, model="b") == [{"model": "b", "seed": 0}]


def test_a_table_needs_its_place_on_the_page():
    assert replace_table("<!-- a -->\nold\n<!-- /a -->", "a", "new\n") == "<!-- a -->\nnew\n<!-- /a -->"
    with pytest.raises(ValueError, match="no place for the table 'b'"):
        replace_table("<!-- a -->\n<!-- /a -->", "b", "new")


def engine():
    from benchmarks.engine import coverage, page, speed

    tables = page.coverage_tables(Records(coverage.RESULTS))
    return "engine.md", tables | page.speed_tables(Records(speed.RESULTS), speed.DEPTHS)


def planning():
    from benchmarks.planning import page

    return "planning.md", page.tables()


def recovery():
    from benchmarks.recovery import page

    return "recovery.md", page.tables(Records(page.RESULTS))


@pytest.mark.parametrize("of", [engine, planning, recovery])
def test_the_tables_of_a_page_are_those_of_the_raw_results(of):
    page, tables = of()
    text = (PAGES / page).read_text()
    assert tables
    for name, table in tables.items():
        assert replace_table(text, name, table) == text, name


def test_the_int8_page_is_that_of_the_raw_results():
    from benchmarks.int8.page import page
    from benchmarks.int8.run import ACCURACY, CONDITIONS, SPEED

    written = page(json.loads(CONDITIONS.read_text()), list(Records(SPEED)), list(Records(ACCURACY)))
    assert (PAGES / "int8.md").read_text() == written
