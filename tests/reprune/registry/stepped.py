"""Work on a real store, one store operation at a time, on a machine with a clock of its own; it may crash."""

import threading
from datetime import datetime, timedelta

from reprune.errors import RepruneError
from reprune.registry.registry import Registry
from reprune.storage.base import Store

BEFORE, AFTER = "before", "after"


class Crash(BaseException):
    """The process ended here; no handler of an Exception sees it."""


class Clocks:
    """The clocks of the machines: ``datetime`` for `reprune.registry.history`, and who wrote which key.

    ``writers`` says whether files carry the time of the machine that wrote them, as in a folder, or the server's.
    """

    def __init__(self, *, writers):
        self.machine, self.writers, self.skews = threading.local(), writers, {}

    def datetime(self):
        machine = self.machine

        class Skewed(datetime):
            @classmethod
            def now(cls, tz=None):
                return datetime.now(tz) + getattr(machine, "skew", timedelta(0))

        return Skewed


class Stepped(Store):
    """A real store for one actor: each operation waits for the actor's turn."""

    def __init__(self, real, actor):
        self.uri, self._real, self._actor = real.uri, real, actor

    def entry(self, key):
        return self._actor.operate(lambda: self._real.entry(key))

    def put(self, key, data, **conditions):
        self._actor.operate(lambda: self._real.put(key, data, **conditions), wrote=key)

    def exists(self, key):
        return self._actor.operate(lambda: self._real.exists(key))

    def modified(self, key):
        skew = self._actor.clocks.skews.get(key, timedelta(0))
        return self._actor.operate(lambda: self._real.modified(key)) + skew

    def list(self, prefix=""):
        yield from self._actor.operate(lambda: list(self._real.list(prefix)))

    def delete(self, key):
        self._actor.operate(lambda: self._real.delete(key), wrote=key)

    def upload(self, path, key):
        return self._actor.operate(lambda: self._real.upload(path, key), wrote=key)

    def _fetch(self, key, path):
        self._actor.operate(lambda: self._real._fetch(key, path))

    def check(self, *, write=False):
        self._real.check(write=write)

    def check_conditional_writes(self):
        self._real.check_conditional_writes()


class Actor:
    """A process that does some work on the registry, from one store operation to the next.

    Attributes:
        operations: Number of operations done so far.
        wrote: Whether the last step may have changed the store.
        over: Whether the work has ended.
        result: What it returned.
        error: What it raised, in place of a result.
    """

    def __init__(self, work, real, clocks, *, skew=timedelta(0), workload="digits"):
        self.wrote = False
        self.operations, self.over, self.result, self.error = 0, False, None, None
        self.clocks, self._skew, self._crash, self._dead = clocks, skew, None, False
        self._go, self._paused = threading.Semaphore(0), threading.Semaphore(0)
        self._registry = Registry(Stepped(real, self), workload)
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()
        self._paused.acquire()

    def step(self, crash=None):
        """Let it do one operation, or crash before or after it; returns whether it goes on."""
        if not self.over:
            self._crash, self.wrote = crash, False
            self._go.release()
            self._paused.acquire()
        return not self.over

    def finish(self):
        """Let it do the rest; returns the result or raises the error."""
        while self.step():
            pass
        self._thread.join()
        if self.error is not None:
            raise self.error
        return self.result

    def operate(self, operation, wrote=None):
        """Do one operation when it is this actor's turn."""
        if not self._dead:
            self._paused.release()
            self._go.acquire()
            self._dead = self._crash is not None
        if self._dead and self._crash != AFTER:
            raise Crash
        self.operations += 1
        self.wrote = wrote is not None
        try:
            done = operation()
        finally:
            if self._dead:
                self._crash = BEFORE  # what runs while the stack unwinds does nothing more
        if wrote is not None and self.clocks.writers:
            self.clocks.skews[wrote] = self._skew
        if self._dead:
            raise Crash
        return done

    def _run(self, work):
        self.clocks.machine.skew = self._skew
        try:
            self.result = work(self._registry)
        except (RepruneError, Crash) as error:
            self.error = error
        except BaseException as error:  # the test that steps this actor fails by it
            self.error = error
        self.over = True
        self._paused.release()
