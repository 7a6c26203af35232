"""How far each round goes."""

from dataclasses import dataclass

import pytest

from reprune.pruning.iterative.schedules import Fixed, Following, share_at


@dataclass(frozen=True)
class Done:
    progress: float
    drop_share: float = 0.0
    recovered: bool = True


def walk(pace, answer, most=50):
    """Go as a pace says, each round ending as ``answer(progress)`` does; return the rounds."""
    rounds = []
    while (following := pace.following(rounds)) and len(rounds) < most:
        rounds.append(answer(following[0]))
    return rounds


@pytest.mark.parametrize(
    ("schedule", "shares", "epochs"),
    [
        ("one-shot", [1], 8),
        ("constant", [0.25, 0.5, 0.75, 1], 2),
        ("cubic", [0.578125, 0.875, 0.984375, 1], 2),
    ],
)
def test_a_schedule_goes_all_the_way_with_the_same_epochs_in_all(schedule, shares, epochs):
    pace = Fixed(schedule, rounds=4, recovery=2)
    assert [it.progress for it in walk(pace, Done)] == shares
    assert pace.epochs(2) == epochs


def test_agp_cuts_after_every_epoch():
    pace = Fixed("agp", rounds=4, recovery=2)
    rounds = walk(pace, Done)
    assert len(rounds) == 8 and pace.epochs(2) == 1
    assert [it.progress for it in rounds][1::2] == [share_at("cubic", k / 4) for k in range(1, 5)]


def test_a_fixed_number_of_rounds_ends_where_recovery_fails():
    pace = Fixed("constant", rounds=4, recovery=1)
    rounds = walk(pace, lambda progress: Done(progress, recovered=progress < 0.7))
    assert [it.progress for it in rounds] == [0.25, 0.5, 0.75]


def test_easy_recovery_makes_longer_steps_and_hard_recovery_shorter_ones():
    easy, fair, hard = (walk(Following(), lambda p, left=left: Done(p, left)) for left in (0.1, 0.4, 0.9))
    assert [it.progress for it in easy] == [0.5, 1]
    assert [it.progress for it in fair] == [0.5, 1]
    assert [it.progress for it in hard] == [0.5, 0.75, 0.875, 0.9375, 1]


def test_what_cannot_be_recovered_is_tried_again_with_half_the_step():
    rounds = walk(Following(), lambda progress: Done(progress, 0.4 if progress < 0.6 else 2.0, progress < 0.6))
    assert [it.progress for it in rounds] == [0.5, 1, 0.75, 0.625, 0.5625, 0.625]
    assert [it.recovered for it in rounds] == [True, False, False, False, True, False]


def test_a_model_that_nothing_can_be_cut_from_is_given_up_after_a_few_tries():
    rounds = walk(Following(), lambda progress: Done(progress, 3.0, recovered=False))
    assert [it.progress for it in rounds] == [0.5, 0.25, 0.125, 0.0625]
