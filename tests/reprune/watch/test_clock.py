"""Cooldowns survive a wall clock that jumps."""

from reprune.drift.monitor.clock import SteadyClock


class Clocks:
    """A wall clock and a monotonic clock to turn by hand."""

    def __init__(self, wall=1_000_000.0):
        self.wall, self.monotonic = wall, 50.0

    def pass_(self, seconds):
        self.wall += seconds
        self.monotonic += seconds

    def clock(self, steady=0.0, wall=None):
        return SteadyClock(steady, wall, walls=lambda: self.wall, monotonics=lambda: self.monotonic)


def test_it_follows_time_while_the_wall_clock_jumps_about():
    clocks = Clocks()
    clock = clocks.clock()
    for jump in (+86_400, -10 * 86_400, +3600):
        clocks.wall += jump
        clocks.pass_(10)
        clock.now()
    assert clock.now() == 30
    assert clock.jumps == 3


def test_it_goes_on_where_the_last_process_ended():
    clocks = Clocks()
    clock = clocks.clock(steady=100.0, wall=clocks.wall - 40)
    assert clock.now() == 140
    assert clock.jumps == 0


def test_a_clock_set_back_between_two_processes_takes_nothing_away():
    clocks = Clocks()
    clock = clocks.clock(steady=100.0, wall=clocks.wall + 86_400)
    assert clock.now() == 100
    clocks.pass_(5)
    assert clock.now() == 105
