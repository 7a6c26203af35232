"""Corruptions do what they say, and a candidate that suffers more than the dense model under one is named by it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from reprune.config.gate import GatePolicy
from reprune.gate import corruptions
from reprune.gate.evaluate import judge
from reprune.gate.evidence import Evidence, collect
from reprune.gate.robustness_conditions import Condition
from tests.reprune.gate.conftest import BUDGET, failing

RANDOM = np.random.default_rng(0)


def corrupted(inputs, seed: int = 0) -> dict:
    return {it.name: it.apply(inputs, inputs, np.random.default_rng(seed)) for it in corruptions.fitting(inputs)}


def test_images_are_corrupted_each_in_its_own_way_and_repeatably() -> None:
    images = RANDOM.random((40, 3, 8, 8), dtype=np.float32)
    found = corrupted(images)
    assert set(found) == {"noise", "blur", "brightness", "contrast"}
    assert all(np.array_equal(found[name], again) for name, again in corrupted(images).items())
    assert {it.dtype for it in found.values()} == {images.dtype}
    assert (found["noise"] - images).std() == pytest.approx(0.5 * images.std(), rel=0.05)
    assert found["brightness"].mean() - images.mean() == pytest.approx(0.5 * images.std(), rel=0.01)
    within = (1, 2, 3)
    np.testing.assert_allclose(found["contrast"].std(axis=within), images.std(axis=within) / 2, rtol=0.01)


def test_a_blur_is_that_of_torch_with_the_same_kernel() -> None:
    images = RANDOM.random((5, 3, 8, 6), dtype=np.float32)
    line = torch.tensor([0.25, 0.5, 0.25])
    kernel = torch.outer(line, line).expand(3, 1, 3, 3)
    padded = functional.pad(torch.from_numpy(images), (1, 1, 1, 1), mode="replicate")
    expected = functional.conv2d(padded, kernel, groups=3).numpy()
    np.testing.assert_allclose(corrupted(images)["blur"], expected, atol=1e-6)


def test_a_fifth_of_a_table_goes_missing_and_noise_has_each_columns_scale() -> None:
    table = (RANDOM.standard_normal((2000, 3)) * [1.0, 10.0, 0.0] + 5).astype(np.float32)
    found = corrupted(table)
    gone = (found["missing values"] != table)[:, :2]
    assert gone.mean() == pytest.approx(0.2, abs=0.02)
    np.testing.assert_allclose(found["missing values"][:, 0][gone[:, 0]], table[:, 0].mean(), rtol=1e-5)
    assert (found["noise in columns"] - table).std(axis=0) == pytest.approx([0.5, 5.0, 0.0], rel=0.1)


def test_tokens_are_left_alone_beside_a_table_that_is_not() -> None:
    tokens, table = np.arange(40).reshape(10, 4), RANDOM.standard_normal((10, 3))
    assert corruptions.fitting(tokens) == []
    for changed in corrupted({"tokens": tokens, "table": table}).values():
        assert np.array_equal(changed["tokens"], tokens) and not np.array_equal(changed["table"], table)


def test_the_evidence_holds_each_corruption_and_production(equal: Evidence, data) -> None:
    assert set(equal.conditions) == {"noise", "blur", "brightness", "contrast", "production"}
    for name, condition in equal.conditions.items():
        assert (condition.dense == condition.candidate).all(), name
        assert condition.corrupted == (name != "production")
    assert len(equal.conditions["noise"].dense) == min(1024, equal.examples)
    assert equal.conditions["noise"].dense.mean() < equal.answers["dense"].scores.mean()


def test_robustness_off_costs_nothing(workload, data, dense) -> None:
    spared = workload.replace(gate={"robustness": "off"})
    assert collect(spared, data=data, dense=dense, candidate=dense).conditions == {}


def test_a_candidate_that_suffers_more_from_noise_is_named(equal: Evidence) -> None:
    check, verdict = judged(equal, 0.12)
    assert failing(verdict) == {"robustness: noise"} and verdict.passed and check.status == "failed"
    assert check.low < check.estimate < check.high and check.estimate == pytest.approx(0.12, abs=0.01)
    assert not judge(suffering(equal, 0.12), GatePolicy(robustness="block"), BUDGET).passed


def test_an_excess_within_the_limit_that_is_not_shown_is_a_doubt(equal: Evidence) -> None:
    check, _ = judged(equal, 0.045)
    assert check.status == "inconclusive" and "too few to tell" in check.statement


def test_what_a_candidate_loses_everywhere_is_no_matter_of_robustness(equal: Evidence) -> None:
    worse = worsened(equal.answers["dense"].scores, 0.1)
    answers = equal.answers | {"pruned": replace(equal.answers["pruned"], scores=worse)}
    noisy = Condition(equal.answers["dense"].scores, worse, corrupted=True)
    verdict = judge(replace(equal, answers=answers, conditions={"noise": noisy}), GatePolicy(), BUDGET)
    assert verdict.named("robustness: noise").status == "passed"
    assert verdict.named("quality against dense").status == "failed"


def test_a_window_without_labels_and_one_too_small_are_not_judged(equal: Evidence) -> None:
    few = Condition(np.ones(5), np.ones(5), corrupted=False)
    blind = Condition(np.ones(500), np.ones(500), corrupted=False, labelled=False)
    verdict = judge(replace(equal, conditions={"few": few, "production": blind}), GatePolicy(), BUDGET)
    assert verdict.named("robustness: few").status == verdict.named("robustness: production").status == "skipped"
    none = judge(replace(equal, conditions={}), GatePolicy(), BUDGET)
    assert none.named("robustness").status == "skipped"


def worsened(scores: np.ndarray, share: float) -> np.ndarray:
    lost = scores.copy()
    lost[np.flatnonzero(scores)[: round(share * len(scores))]] = 0
    return lost


def suffering(equal: Evidence, lost: float) -> Evidence:
    scores = equal.answers["dense"].scores
    noisy = Condition(scores, worsened(scores, lost), corrupted=True)
    return replace(equal, conditions=dict(equal.conditions) | {"noise": noisy})


def judged(equal: Evidence, lost: float):
    verdict = judge(suffering(equal, lost), GatePolicy(), BUDGET)
    return verdict.named("robustness: noise"), verdict
