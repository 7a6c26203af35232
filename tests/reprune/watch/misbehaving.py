"""The process that judges windows, and does what the name of a window says in place of judging it."""

import os
import signal
import sys
import time

if "does-not-start" in sys.argv:
    sys.exit(1)

from reprune.data import signals
from reprune.drift.monitor import window_judgement, window_worker
from reprune.errors import StoreError

judge = window_judgement.Judge.judge


def misbehave(self, order):
    name = order.key.rpartition("/")[2]
    if "sleeps" in name:
        time.sleep(3600)
    if "killed" in name:
        os.kill(os.getpid(), signal.SIGKILL)
    if "crashes" in name:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "exits" in name:
        os._exit(3)
    if "babbles" in name:
        os.write(answers, b"Segmentation fault (core dumped)\n")
    if "prints" in name:
        os.write(1, b"a library's own words\n")
    if "away" in name:
        raise StoreError("the store does not give it")
    if "raises" in name:
        signals.SHIPPED["classification"] = lambda outputs: outputs.logits
        self._signals = signals.SHIPPED["classification"]
    if "leaves" in name:
        self.left = bytearray(os.urandom(1)) * 150_000_000
    return judge(self, order)


window_judgement.Judge.judge = misbehave
answers = os.dup(1)
window_worker.main()
