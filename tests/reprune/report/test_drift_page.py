"""The page of a drift decision."""

import numpy as np
import pytest

from reprune.config.drift import DriftPolicy
from reprune.drift.decision import Decision
from reprune.drift.detect import compare
from reprune.drift.features import Column, Sample
from reprune.report import drift_page

COLUMNS = (Column("input[0]", "inputs"), Column("<b>name</b>", "inputs"), Column("class", "predictions", True))


def sample(n, shift, seed):
    rng = np.random.default_rng(seed)
    values = np.stack([rng.normal(size=n), rng.normal(size=n) + shift, rng.integers(0, 3, n)], axis=1)
    return Sample(COLUMNS, values.astype(np.float32), {})


@pytest.fixture(scope="module")
def drifted():
    report = compare(sample(300, 0, 1), sample(100, 2, 2), DriftPolicy())
    return Decision(action="reprune", cause="drift", reason=report.summary, report=report)


def test_the_page_ranks_what_moved_and_draws_it(drifted):
    html = drift_page.render(drifted)
    assert html.count("<figure") == 3
    assert html.index("&lt;b&gt;name") < html.index("input[0]")
    assert ">reprune</span>" in html and ">alarm<" in html and ">no alarm<" in html
    assert "100 production examples against 300 of the reference" in html


def test_names_are_escaped(drifted):
    html = drift_page.render(drifted)
    assert "<b>name</b>" not in html
    assert "&lt;b&gt;name&lt;/b&gt;" in html


def test_a_decision_without_tests_says_why():
    html = drift_page.render(Decision(action="reprune", cause="no-champion", reason="no champion yet"))
    assert "No tests ran" in html and "no champion yet" in html
