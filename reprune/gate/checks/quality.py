"""Whether the candidate answers as well: against dense and champion on the same examples, overall and in each slice."""

import numpy as np

from reprune import formatting
from reprune.config.gate import GatePolicy
from reprune.gate import confidence_intervals
from reprune.gate.confidence_intervals import Comparison
from reprune.gate.evidence import Evidence
from reprune.gate.predictions import CANDIDATE, CHAMPION, DENSE
from reprune.gate.verdict import Check, Status


def against_dense(evidence: Evidence, policy: GatePolicy, allowed: float) -> list[Check]:
    """Check that outputs are numbers and better than chance, and that the drop against dense is small enough."""
    return [_finite(evidence, policy), *_informed(evidence, policy), _against(DENSE, evidence, policy, allowed)]


def against_champion(evidence: Evidence, policy: GatePolicy, allowed: float) -> list[Check]:
    """Check that the drop against the present champion is shown to be small enough."""
    if CHAMPION in evidence.answers:
        return [
            _against(CHAMPION, evidence, policy, policy.champion_drop if policy.champion_drop is not None else allowed)
        ]
    statement = "there is no champion yet to compare with"
    return [
        Check(
            name="quality against champion",
            family="champion",
            severity=policy.champion,
            status="skipped",
            statement=statement,
        )
    ]


def in_slices(evidence: Evidence, policy: GatePolicy, allowed: float) -> list[Check]:
    """Check each class and slice for a loss that chance does not explain.

    A slice is too small to prove that nothing was lost there, so here the burden lies the other way: a check fails
    where the loss is shown to exceed what is allowed, at the policy's confidence over all slices together.
    """
    allowed = policy.slice_drop if policy.slice_drop is not None else allowed
    scores = {name: evidence.answers[name].scores for name in (DENSE, CANDIDATE)}
    judged = {name: inside for name, inside in evidence.slices.items() if inside.sum() >= policy.minimum_examples}
    raw = [
        confidence_intervals.p_value_of_harm(scores[DENSE][inside], scores[CANDIDATE][inside], allowed)
        for inside in judged.values()
    ]
    adjusted = dict(zip(judged, confidence_intervals.holm(raw), strict=True))
    checks = []
    for name, inside in evidence.slices.items():
        if name in adjusted:
            seen = confidence_intervals.compare(scores[DENSE][inside], scores[CANDIDATE][inside], policy.confidence)
            checks.append(_slice(name, seen, adjusted[name], evidence, policy, allowed))
        else:
            checks.append(_too_small(name, int(inside.sum()), policy))
    return checks


def form(evidence: Evidence) -> tuple[formatting.Form, str]:
    """Return how a difference of scores is written, and its unit: points where scores are shares."""
    shares = all(((answers.scores >= 0) & (answers.scores <= 1)).all() for answers in evidence.answers.values())
    return (formatting.points, "points") if shares else (formatting.plain, f"of {evidence.metric}")


def _finite(evidence: Evidence, policy: GatePolicy) -> Check:
    examples = formatting.count(evidence.examples, "example")
    wrong = evidence.answers[CANDIDATE].not_finite
    return Check(
        name="finite outputs",
        family="quality",
        severity=policy.quality,
        status="failed" if wrong else "passed",
        statement=f"{CANDIDATE} returned NaN or infinity on {wrong:,} of {examples}"
        if wrong
        else f"every output of {CANDIDATE} is a finite number, on {examples}",
        examples=evidence.examples,
    )


def _informed(evidence: Evidence, policy: GatePolicy) -> list[Check]:
    """Check that the candidate's answers have to do with the labels: where labels are wrong for all, no drop is seen.

    Chance is what answers of the same frequencies would get right blindly (Cohen 1960, Educ. Psychol. Meas. 20:37).
    """
    predicted = evidence.answers[CANDIDATE].predicted
    if evidence.labels is None or predicted is None or (evidence.labels == evidence.labels[0]).all():
        return []
    found = confidence_intervals.mean_interval(evidence.answers[CANDIDATE].scores, confidence=2 * policy.confidence - 1)
    share = sum(float((evidence.labels == it).mean() * (predicted == it).mean()) for it in np.unique(evidence.labels))
    better = found.low > share
    chance = f"its answers would be by chance ({formatting.percent(share)})"
    return [
        Check.measured(
            found,
            share,
            rule="low above",
            name="better than chance",
            family="quality",
            severity=policy.quality,
            status="passed" if better else "failed",
            statement=f"{CANDIDATE} is right on {formatting.percent(found.value)}, "
            f"{'more' if better else 'not shown to be more'} than {chance}",
            unit="share",
            examples=found.examples,
        )
    ]


def _against(reference: str, evidence: Evidence, policy: GatePolicy, allowed: float) -> Check:
    scores = {name: evidence.answers[name].scores for name in (reference, CANDIDATE)}
    family = "quality" if reference == DENSE else "champion"
    if not all(np.isfinite(value).all() for value in scores.values()):
        statement = f"scores against {reference} are not all finite, so no drop can be computed"
        return Check(
            name=f"quality against {reference}",
            family=family,
            severity=policy.severity(family),
            status="failed",
            statement=statement,
        )
    seen = confidence_intervals.compare(scores[reference], scores[CANDIDATE], policy.confidence)
    status = _status(seen, allowed, policy)
    return Check.measured(
        seen,
        allowed,
        name=f"quality against {reference}",
        family=family,
        severity=policy.severity(family),
        status=status,
        statement=_statement(reference, seen, status, evidence, policy, allowed),
        unit="share",
        examples=seen.examples,
    )


def _status(seen: Comparison, allowed: float, policy: GatePolicy) -> Status:
    if seen.examples < policy.minimum_examples:
        return "inconclusive"
    if seen.high <= allowed:
        return "passed"
    return "failed" if seen.drop >= allowed else "inconclusive"


def _statement(
    reference: str, seen: Comparison, status: Status, evidence: Evidence, policy: GatePolicy, allowed: float
) -> str:
    write, unit = form(evidence)
    bound = f"{formatting.bound(policy.confidence)} {write(seen.high)}, allowed {write(allowed)}"
    known = "the champion" if reference == CHAMPION else reference
    said = f"{_moved(seen, write, unit)} against {known} ({bound}) on {formatting.count(seen.examples, 'example')}"
    if status != "inconclusive":
        return said
    if seen.examples < policy.minimum_examples:
        return f"{said}: too few to conclude anything, at least {policy.minimum_examples} are needed"
    needed = max(seen.examples_needed(allowed), seen.examples + 1)
    return f"{said}: too few to tell; with the differences seen, {formatting.about(needed)} would be needed"


def _moved(seen: Comparison, write: formatting.Form, unit: str) -> str:
    moved = write(abs(seen.drop))
    if seen.drop == 0:
        return f"{CANDIDATE} lost nothing"
    return f"{CANDIDATE} {'lost' if seen.drop > 0 else 'gained'} {moved} {unit}"


def _slice(
    name: str, seen: Comparison, p_value: float, evidence: Evidence, policy: GatePolicy, allowed: float
) -> Check:
    write, unit = form(evidence)
    harmed = p_value <= 1 - policy.confidence and seen.drop > allowed
    interval = f"interval {_signed(-seen.high, write)} to {_signed(-seen.low, write)}"
    said = f"{name}: {_moved(seen, write, unit)} ({interval}) on {formatting.count(seen.examples, 'example')}"
    if harmed:
        said += f", more than the {write(allowed)} allowed (p = {p_value:.2g} after Holm's correction)"
    elif seen.drop > allowed:
        said += ", which chance explains"
    return Check.measured(
        seen,
        allowed,
        rule="low below",
        name=f"slice: {name}",
        family="slices",
        severity=policy.slices,
        status="failed" if harmed else "passed",
        statement=said,
        unit="share",
        examples=seen.examples,
    )


def _signed(value: float, write: formatting.Form) -> str:
    """Return a change of the score with its sign."""
    text = write(abs(value))
    return f"+{text}" if value > 0 else f"−{text}" if value < 0 else text


def _too_small(name: str, examples: int, policy: GatePolicy) -> Check:
    return Check(
        name=f"slice: {name}",
        family="slices",
        severity=policy.slices,
        status="skipped",
        statement=f"{name}: {formatting.count(examples, 'example')} are too few to judge "
        f"({policy.minimum_examples} needed)",
        examples=examples,
    )
