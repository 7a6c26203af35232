"""Great Expectations, kept quiet: an ephemeral context, a suite for each split, and one page of what was found."""

import contextlib
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # read when the package is imported

import great_expectations
import pandas as pd
from great_expectations.core import ExpectationSuite, ExpectationSuiteValidationResult
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.expectations.expectation import Expectation
from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
from great_expectations.render.view.view import DefaultJinjaSectionView
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reprune.data.validation.result import Failure, Severity

Results = dict[str, ExpectationSuiteValidationResult]

_SCRIPT = re.compile(r"<script.*?</script>", re.DOTALL)
"""Charts of theirs that need a library from elsewhere; their figures are in the text too."""


@dataclass(frozen=True)
class Findings:
    """What the suites of all splits found.

    Attributes:
        run: Expectations that ran, by severity.
        failures: Those that were not met.
        html: One page of all of them.
    """

    run: dict[Severity, int]
    failures: tuple[Failure, ...]
    html: str


def run(
    frames: Mapping[str, pd.DataFrame],
    suites: Mapping[str, list[Expectation]],
    *,
    title: str,
    notes: Sequence[str] = (),
) -> Findings:
    """Hold splits against their suites.

    Args:
        frames: The splits as tables (see `table`).
        suites: What is expected of each.
        title: Heading of the page.
        notes: What else was found, for the page.
    """
    with _quiet():
        results = _validate(frames, suites)
        for result in results.values():
            for item in result.results:
                item.result = _plain(item.result)  # the renderers refuse numpy's scalars
        page = _page(results, title, notes)
    counted: dict[Severity, int] = {"critical": 0, "warning": 0, "info": 0}
    for result in results.values():
        for item in result.results:
            counted[_severity(item)] += 1
    return Findings(counted, tuple(_failures(results)), page)


def _validate(frames: Mapping[str, pd.DataFrame], suites: Mapping[str, list[Expectation]]) -> Results:
    context = great_expectations.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas("splits")
    results = {}
    for name, expectations in suites.items():
        suite = ExpectationSuite(name, expectations=expectations)
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe(name)
        results[name] = batch.get_batch({"dataframe": frames[name]}).validate(context.suites.add(suite))
    return results


def _severity(item: Any) -> Severity:
    return cast(Severity, str(item.expectation_config.severity.value))


def _failures(results: Results) -> Iterator[Failure]:
    for split, result in results.items():
        for item in result.results:
            if not item.success:
                configuration = item.expectation_config
                assert configuration is not None
                yield Failure(
                    split=split,
                    expectation=configuration.type,
                    column=configuration.kwargs.get("column"),
                    severity=_severity(item),
                    observed=_observed(item),
                )


def _observed(item: Any) -> str:
    """Return what was found, in words."""
    if item.exception_info and item.exception_info.get("exception_message"):
        return f"could not be evaluated: {item.exception_info['exception_message']}"
    if item.result.get("unexpected_percent") is not None:
        some = item.result.get("partial_unexpected_list", [])[:3]
        return f"{item.result['unexpected_percent']:.3g} % unexpected values, such as {', '.join(map(_short, some))}"
    return f"observed {_short(item.result.get('observed_value'))}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)[:200]


def _plain(value: Any) -> Any:
    """Return JSON's own types in place of numpy's."""
    return json.loads(json.dumps(value, default=lambda other: other.item() if hasattr(other, "item") else str(other)))


def _page(results: Results, title: str, notes: Sequence[str]) -> str:
    """Put the sections that Great Expectations renders on a page of ours: theirs loads a dozen files from elsewhere."""
    renderer, view = ValidationResultsPageRenderer(), DefaultJinjaSectionView()
    splits = []
    for name, result in results.items():
        sections = renderer.render(result).to_json_dict()["sections"]
        rendered = []
        for i, section in enumerate(sections):
            html = view.render({"section": section, "section_loop": {"index": f"{name}-{i}"}})  # type: ignore[no-untyped-call]
            rendered.append(Markup(_SCRIPT.sub("", html)))
        splits.append({"name": name, "result": result, "sections": rendered})
    loader = PackageLoader("reprune.data.validation", ".")
    template = Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template("page.html")
    return template.render(title=title, splits=splits, notes=notes)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the package's own log to what is critical."""
    logger = logging.getLogger("great_expectations")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
