"""Publications, moves, sweeps and reads, interleaved and crashed at any store operation; the machines' clocks differ.

With ``-s`` the test prints how many operations it ran.
"""

from collections import Counter
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from reprune.cli import version_rows
from reprune.errors import ConflictError, InputError
from reprune.gate import approval
from reprune.inference.champion import fetch_champion
from reprune.registry import history
from reprune.registry.registry import Registry
from reprune.registry.retention import retire
from tests.reprune.registry import candidates, stepped

SEED = 16
ACTORS, CONTENTS = 4, 4
ANY = st.integers(0, 11)
SKEWS = st.sampled_from([timedelta(0), timedelta(days=1), timedelta(days=-1)])
AT_ONCE = st.sampled_from([0, 3, 9, 1000])
"""Operations that an actor does before another one may go on."""

FILES = ["model.onnx", "requests.npz", "verdict.json"]


class Machine(RuleBasedStateMachine):
    """Up to four actors at once; each example has a workload of its own."""

    store, clocks, folders, counts = None, None, None, None

    @initialize(champions=st.sampled_from([4, 3, 0]))
    def begin(self, champions):
        self.counts["examples"] += 1
        self.registry = Registry(self.store, f"digits-{self.counts['examples']}")
        self.actors, self.known, self.fresh, self.had_champion, self.changed = [], [], [], False, False
        self.scratch = TemporaryDirectory()
        self.clocks.skews.clear()
        for content in range(champions):  # something to retire from the start
            champion = self.registry.pointer()
            lineage = candidates.lineage(champion)
            version = self.registry.publish(self.folders[content], lineage)
            self.registry.promote(version.id, reason="x", expected=champion)
            self.known.append((version.id, self.folders[content], lineage))
        if champions:
            self.retire(keep=0, skew=timedelta(0), at_once=0)
        self.had_champion = champions > 0

    def start(self, name, work, skew, at_once, refused=()):
        """Start an actor; `refused` names the errors with which its work may end."""
        actor = stepped.Actor(work, self.store, self.clocks, skew=skew, workload=self.registry.workload)
        actor.name, actor.refused = name, refused
        self.actors.append(actor)
        self.counts[name] += 1
        self.let(actor, at_once)

    @rule(content=st.integers(0, CONTENTS - 1), skew=SKEWS, at_once=AT_ONCE)
    @precondition(lambda self: len(self.actors) < ACTORS)
    def publish(self, content, skew, at_once):
        def work(registry):
            champion = registry.pointer()
            lineage = candidates.lineage(champion)
            version = registry.publish(self.folders[content], lineage)
            self.known.append((version.id, self.folders[content], lineage))
            self.fresh.append((version.id, champion))

        self.start("publish", work, skew, at_once)

    @rule(which=ANY, skew=SKEWS, at_once=AT_ONCE)
    @precondition(lambda self: len(self.actors) < ACTORS and self.known)
    def publish_again(self, which, skew, at_once):
        _, folder, lineage = self.known[which % len(self.known)]
        self.start("publish again", lambda registry: registry.publish(folder, lineage), skew, at_once)

    @rule(which=ANY, skew=SKEWS, how=st.sampled_from(["promote", "approve", "canary", "rollback"]), at_once=AT_ONCE)
    @precondition(lambda self: len(self.actors) < ACTORS and self.known)
    def move(self, which, skew, how, at_once):
        version = self.known[which % min(CONTENTS + 2, len(self.known))][0]  # an old one, which a sweep may retire
        work = {
            "promote": lambda registry: registry.promote(version, reason="x", expected=registry.champion()),
            "approve": lambda registry: approval.approve(registry, version),
            "canary": lambda registry: approval.approve(registry, version, canary=10),
            "rollback": lambda registry: registry.rollback(to=version, reason="x"),
        }[how]
        self.start(how, work, skew, at_once, (InputError, ConflictError))

    @rule(skew=SKEWS, how=st.sampled_from(["withdraw", "roll back"]), at_once=AT_ONCE)
    @precondition(lambda self: len(self.actors) < ACTORS)
    def undo(self, skew, how, at_once):
        work = {"withdraw": Registry.withdraw, "roll back": Registry.rollback}[how]
        self.start(how, lambda registry: work(registry, reason="x"), skew, at_once, (InputError, ConflictError))

    @rule(keep=st.sampled_from([0, 0, 0, 1, 2]), skew=SKEWS, at_once=AT_ONCE)
    @precondition(lambda self: len(self.actors) < ACTORS)
    def retire(self, keep, skew, at_once):
        def work(registry):
            self.counts["retired versions"] += len(retire(registry, keep))

        self.start("retire", work, skew, at_once)

    @rule(listed=st.booleans(), at_once=AT_ONCE)
    @precondition(lambda self: len(self.actors) < ACTORS and self.had_champion)
    def read(self, listed, at_once):
        if listed:
            self.list_versions(at_once)
            return
        folder = Path(self.scratch.name) / f"read-{sum(self.counts.values())}"
        self.start("read", lambda registry: fetch_champion(registry, folder, only=FILES), timedelta(0), at_once)

    def list_versions(self, at_once):
        def work(registry):
            states = {row["state"] for row in version_rows.describe(registry)}
            assert not states & {"gone", "damaged"}, states

        self.start("models", work, timedelta(0), at_once)

    @rule(which=ANY, operations=st.integers(1, 6))
    @precondition(lambda self: self.actors)
    def go_on(self, which, operations):
        self.let(self.actors[which % len(self.actors)], operations)

    def let(self, actor, operations):
        """Let an actor do some operations, and look after each write."""
        for _ in range(operations):
            if actor.over:
                break
            actor.step()
            if actor.wrote:
                self.changed = True
                self.champion_is_readable()
        self.look_at(actor)

    @rule(which=st.integers(0, ACTORS - 1))
    @precondition(lambda self: self.actors)
    def finish(self, which):
        self.go_on(which, 1000)

    @rule(which=ANY, crash=st.sampled_from([stepped.BEFORE, stepped.AFTER]))
    @precondition(lambda self: self.actors)
    def crash(self, which, crash):
        actor = self.actors[which % len(self.actors)]
        actor.step(crash)
        self.changed = True
        self.counts["crashes"] += actor.error is not None and isinstance(actor.error, stepped.Crash)
        self.look_at(actor)

    def look_at(self, actor):
        """Forget an actor that has ended, in a way that its work may end."""
        if not actor.over:
            return
        self.actors.remove(actor)
        self.counts["operations"] += actor.operations
        if actor.error is not None and not isinstance(actor.error, (*actor.refused, stepped.Crash)):
            raise AssertionError(f"{actor.name} ended with {actor.error!r}") from actor.error

    def champion_is_readable(self):
        document = self.registry.document()
        assert document.champion or not self.had_champion
        self.had_champion = document.champion is not None
        for pointed in (document.champion, document.canary):
            if pointed:
                self.registry.fetch(pointed.version, Path(self.scratch.name) / "champion")

    @invariant()
    def whatever_is_there_is_whole_and_waits_as_long_as_its_champion_stands(self):
        if not getattr(self, "changed", False):
            return
        self.changed = False
        self.champion_is_readable()
        versions = {version.id: version for version in self.registry.versions()}
        champion = self.registry.pointer()
        for version_id, compared_with in self.fresh:
            assert champion is None or compared_with != champion or version_id in versions
        for version in versions.values():
            self.registry.fetch(version, Path(self.scratch.name) / "version")

    def teardown(self):
        if not hasattr(self, "registry"):
            return
        for actor in list(self.actors):
            while actor.step():
                pass
            self.look_at(actor)
        self.counts["retired versions"] += len(retire(self.registry, 1))
        assert self.registry.retired_copies() == [], "a sweep finishes what others left"
        self.changed = True
        self.whatever_is_there_is_whole_and_waits_as_long_as_its_champion_stands()
        self.scratch.cleanup()


@pytest.fixture
def machine(store, tmp_path, monkeypatch):
    clocks = stepped.Clocks(writers=not store.uri.startswith("s3://"))
    monkeypatch.setattr(history, "datetime", clocks.datetime())
    folders = [candidates.write(tmp_path / str(content), str(content)) for content in range(CONTENTS)]
    return type("OnThisStore", (Machine,), {"store": store, "clocks": clocks, "folders": folders, "counts": Counter()})


def run(machine, store, *, examples, steps):
    seed(SEED)(machine)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(f"\n{store.uri.partition(':')[0]}, seed {SEED}: {dict(machine.counts)}")
    assert machine.counts["operations"] and machine.counts["retired versions"]


def test_a_champion_once_there_is_always_readable(machine, store):
    run(machine, store, examples=8 if store.uri.startswith("s3://") else 60, steps=40)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_champion_once_there_is_always_readable_in_many_more_histories(machine, store):
    run(machine, store, examples=60 if store.uri.startswith("s3://") else 500, steps=60)
