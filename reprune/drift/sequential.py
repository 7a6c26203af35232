"""Slow drift: windows that follow one another, judged alone and together, with a stated rate of false alarms.

What one window is too small to show, eight together do. Since summaries merge exactly, each window is judged alone,
every two together, every four and every eight. In eight windows that makes fifteen looks, and each look has 8/15 of the
false-alarm rate. Rates add up whatever looks have in common, the reference included, so in any number T of windows
without drift at most T × rate false alarms are expected: one in 1/rate windows or fewer. That is an average over
references: one that is unlike the rest by chance has more of them, and most have fewer.
"""

from dataclasses import dataclass

from reprune.config.drift import DriftPolicy
from reprune.drift.drift_report import DriftReport
from reprune.drift.two_sample import judge
from reprune.drift.window_summary import Summary, merge

LONGEST = 8
"""Most windows that are judged together; a power of two."""

LOOKS = 2 * LONGEST - 1
"""Looks in so many windows."""


@dataclass(frozen=True)
class Look:
    """One judgement.

    Attributes:
        windows: How many of the latest windows it looked at together.
        report: What it found.
    """

    windows: int
    report: DriftReport


@dataclass(frozen=True)
class Recent:
    """What is kept of the latest windows.

    Attributes:
        blocks: Summaries of 1, 2, 4 windows that wait for as many more; None where none waits.
    """

    blocks: tuple[Summary | None, ...] = ()

    def add(
        self, reference: Summary, window: Summary, policy: DriftPolicy | None = None, *, seed: int = 0
    ) -> "tuple[Recent, list[Look]]":
        """Judge the next window, alone and with those before it.

        Args:
            reference: What windows should look like.
            window: Summarised in its frame.
            policy: Its false-alarm rate is that of a window, over all looks.
            seed: Seed of the permutations.

        Returns:
            What to keep, and one to four looks, the shortest first.

        Raises:
            InputError: See `judge` and `merge`.
        """
        policy = policy or DriftPolicy()
        each = policy.model_copy(update={"false_alarm_rate": policy.false_alarm_rate * LONGEST / LOOKS})
        blocks, looks, span = list(self.blocks), [Look(1, judge(reference, window, each, seed=seed))], 1
        for level in range(LONGEST.bit_length() - 1):
            if level == len(blocks):
                blocks.append(None)
            earlier = blocks[level]
            if earlier is None:
                blocks[level] = window
                return Recent(tuple(blocks)), looks
            window, blocks[level], span = merge(earlier, window), None, 2 * span
            looks.append(Look(span, judge(reference, window, each, seed=seed)))
        return Recent(tuple(blocks)), looks
