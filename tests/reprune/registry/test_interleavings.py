"""Two pieces of work at once: the second is done between any two store operations of the first, which may crash."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from reprune.cli import version_rows
from reprune.errors import InputError, RetiredError
from reprune.inference.champion import fetch_champion
from reprune.registry import history
from reprune.registry.history import History
from reprune.registry.registry import Registry
from reprune.registry.retention import retire
from tests.reprune.registry import candidates, stepped

FILES = ["model.onnx", "requests.npz", "verdict.json"]


class Scene:
    """A registry in which a is an old champion, c the one before and d the champion; e waits.

    Each scene has a workload of its own, with the same versions.
    """

    def __init__(self, store, tmp_path, number):
        self.store, self.workload = store, f"digits-{number}"
        self.registry = Registry(store, self.workload)
        self.folder = tmp_path / self.workload
        self.id, self.lineage = {}, {}
        for name in "acde":
            self.publish(self.registry, name)
            if name != "e":
                self.registry.promote(self.id[name], reason="good", expected=self.registry.pointer())
        self.champion = self.registry.pointer()

    def publish(self, registry, name):
        folder = self.folder / name
        if name not in self.lineage:
            candidates.write(folder, name)
            self.lineage[name] = candidates.lineage(registry.pointer())
        self.id[name] = registry.publish(folder, self.lineage[name]).id
        return self.id[name]

    def actor(self, work, skew=timedelta(0)):
        return stepped.Actor(work, self.store, stepped.Clocks(writers=False), skew=skew, workload=self.workload)

    def check(self):
        """Everything that is there is whole, champion, canary and what waits among it; nothing retired is left."""
        document = self.registry.document()
        there = {version.id for version in self.registry.versions()}
        assert document.champion.version in there
        assert document.canary is None or document.canary.version in there
        assert document.champion != self.champion or self.id["e"] in there
        for version_id in there:
            self.registry.fetch(version_id, self.folder / "whole")
        assert not {row["state"] for row in version_rows.describe(self.registry)} & {"gone", "damaged"}
        self.sweep()
        assert self.registry.retired_copies() == []
        assert self.registry.champion() == document.champion

    def sweep(self):
        return retire(self.registry, 0)


def allowed(work, *errors):
    """Return the work, with some errors as its result."""

    def either(scene, registry):
        try:
            return work(scene, registry)
        except errors as error:
            return error

    return either


SWEEP = allowed(lambda scene, registry: retire(registry, 0))
BACK_TO_A = allowed(lambda scene, registry: registry.rollback(to=scene.id["a"], reason="x"), RetiredError)
WORK = {
    "sweep": SWEEP,
    "back to a": BACK_TO_A,
    "promote a": allowed(
        lambda scene, registry: registry.promote(scene.id["a"], reason="x", expected=registry.champion()), RetiredError
    ),
    "try out a": allowed(
        lambda scene, registry: registry.try_out(scene.id["a"], 5, reason="x", expected=registry.champion()),
        RetiredError,
    ),
    "publish a again": allowed(lambda scene, registry: scene.publish(registry, "a")),
    "promote e": allowed(
        lambda scene, registry: registry.promote(scene.id["e"], reason="x", expected=registry.champion())
    ),
    "publish f": allowed(lambda scene, registry: scene.publish(registry, "f")),
    "read": allowed(lambda scene, registry: fetch_champion(registry, scene.folder / "read", only=FILES)),
    "models": allowed(lambda scene, registry: version_rows.describe(registry)),
}


@pytest.mark.parametrize(
    ("second", "crash"),
    [(name, None) for name in WORK if name not in ("read", "models")]
    + [
        (name, crash) for name in ("sweep", "back to a", "publish a again") for crash in (stepped.BEFORE, stepped.AFTER)
    ],
)
def test_a_sweep_agrees_with_whatever_is_done_between_two_of_its_operations(store, tmp_path, second, crash):
    at, goes_on = 0, True
    while goes_on:
        scene = Scene(store, tmp_path, at)
        sweep = scene.actor(lambda registry, scene=scene: SWEEP(scene, registry))
        goes_on = all(sweep.step() for _ in range(at))
        WORK[second](scene, scene.registry)
        if crash is None:
            sweep.finish()
        else:
            sweep.step(crash)
        scene.check()
        at += 19 if store.uri.startswith("s3://") else 1
    assert at > 10


@pytest.mark.parametrize("first", [name for name in WORK if name != "sweep"])
def test_a_sweep_between_two_operations_of_anything_else_takes_nothing_that_it_needs(store, tmp_path, first):
    at, goes_on = 0, True
    while goes_on:
        scene = Scene(store, tmp_path, at)
        if first in ("read", "models"):  # a champion that was resolved is retired only after two promotions
            scene.publish(scene.registry, "f")
        if first == "publish a again":
            scene.sweep()
        actor = scene.actor(lambda registry, scene=scene: WORK[first](scene, registry))
        goes_on = all(actor.step() for _ in range(at))
        if first in ("read", "models"):
            for name in "ef":
                scene.registry.promote(scene.id[name], reason="good", expected=scene.registry.pointer())
        scene.sweep()
        if first in ("read", "models"):
            assert scene.registry.document().retirements(scene.id["d"])
        result = actor.finish()
        if first == "models":
            assert not {row["state"] for row in result} & {"gone", "damaged"}
        scene.check()
        at += 9 if store.uri.startswith("s3://") else 1
    assert at > 2


def test_a_rollback_to_a_marked_version_is_refused_with_a_remedy(store, tmp_path):
    scene = Scene(store, tmp_path, 0)
    sweep = scene.actor(lambda registry: retire(registry, 0))
    while not scene.registry.document().retirements(scene.id["a"]):
        sweep.step()
    before = scene.registry.document()
    key = f"registry/{scene.workload}/versions/{scene.id['a']}/manifest.json"
    assert store.exists(key), "marked, and not deleted yet"
    for reference in (scene.id["a"], scene.id["a"][:12]):
        for use in (
            lambda it: scene.registry.rollback(to=it, reason="x"),
            lambda it: scene.registry.promote(it, reason="x", expected=scene.registry.champion()),
            lambda it: scene.registry.try_out(it, 5, reason="x", expected=scene.registry.champion()),
            scene.registry.version,
        ):
            with pytest.raises(RetiredError, match=f"Version {scene.id['a'][:12]} .* was retired at .* UTC") as caught:
                use(reference)
            assert "reprune models" in caught.value.remedy
    assert scene.registry.document() == before
    assert sweep.finish() == [scene.id["a"]]


def test_the_command_line_names_the_remedy_for_a_retired_version(tmp_path):
    from reprune.storage.uri import open_store

    scene = Scene(open_store(tmp_path / "store"), tmp_path, 0)
    scene.sweep()
    command = [sys.executable, "-m", "reprune", "rollback", scene.workload, "--to", scene.id["a"][:12]]
    done = subprocess.run([*command, "--store", scene.store.uri], capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "was retired at" in done.stderr and "reprune models" in done.stderr


def test_a_sweep_does_not_make_a_promotion_lose_that_nobody_else_won(store, tmp_path):
    scene = Scene(store, tmp_path, 0)
    promotion = scene.actor(lambda registry: registry.promote(scene.id["e"], reason="x", expected=registry.champion()))
    while scene.registry.document().champion.version == scene.id["d"]:
        operations = promotion.operations
        promotion.step()
        if promotion.operations == 3 and operations == 2:
            scene.sweep()
    assert promotion.finish().version == scene.id["e"]


def test_a_version_that_was_retired_can_be_published_again_and_again(store, tmp_path):
    scene = Scene(store, tmp_path, 0)
    for times in (1, 2):
        scene.sweep()
        assert scene.registry.document().retirements(scene.id["a"]) == times
        scene.publish(scene.registry, "a")
        assert scene.registry.rollback(to=scene.id["a"], reason="x").version == scene.id["a"]
        assert scene.registry.files_uri(scene.registry.version(scene.id["a"])).endswith(f"/again-{times}/files")
        for name in "cd":
            scene.registry.promote(scene.id[name], reason="x", expected=scene.registry.champion())
        scene.check()


def test_only_what_is_marked_can_be_deleted(store, tmp_path):
    scene = Scene(store, tmp_path, 0)
    with pytest.raises(InputError, match="is not retired, so its files stay"):
        scene.registry.delete(scene.id["a"])
    for name in "de":
        with pytest.raises(InputError, match="is the (champion|canary) of .* and cannot be retired"):
            scene.registry.try_out(scene.id["e"], 5, reason="x", expected=scene.registry.champion())
            scene.registry.mark_retired(lambda _, name=name: [scene.id[name]], reason="x")
    assert len(scene.registry.ids()) == 4


@pytest.mark.parametrize("promoter", [-1, 0, 1])
@pytest.mark.parametrize("publisher", [-1, 0, 1])
def test_a_wrong_clock_retires_no_candidate_that_waits(store, tmp_path, monkeypatch, promoter, publisher):
    clocks = stepped.Clocks(writers=True)
    monkeypatch.setattr(history, "datetime", clocks.datetime())
    scene = Scene(store, tmp_path, 0)

    def act(work, days):
        return stepped.Actor(work, store, clocks, skew=timedelta(days=days), workload=scene.workload).finish()

    act(lambda registry: registry.promote(scene.id["e"], reason="x", expected=registry.champion()), promoter)
    waits = act(lambda registry: scene.publish(registry, "f"), publisher)
    for sweeper in (-1, 0, 1):
        act(lambda registry: retire(registry, 0), sweeper)
    assert set(scene.registry.ids()) == {scene.id["d"], scene.id["e"], waits}
    act(lambda registry: registry.promote(waits, reason="x", expected=registry.champion()), 0)
    assert act(lambda registry: retire(registry, 1), 1) == [scene.id["d"]], "the youngest is the last published"


def test_histories_and_versions_from_before_retirements_were_marked(store, tmp_path):
    scene = Scene(store, tmp_path, 0)
    for key in list(store.list(f"registry/{scene.workload}/versions/")):
        if "/after/" in key:
            store.delete(key)
    old = store.get(f"registry/{scene.workload}/champion.json")
    assert b'"format": 1' in old and b"retire" not in old
    assert scene.registry.champion().version == scene.id["d"]
    assert scene.sweep() == [scene.id["a"]], "e may wait: its publication has no record"
    new = store.get(f"registry/{scene.workload}/champion.json")
    assert b'"format": 2' in new, "a reprune that knows no marks must not move a pointer"
    for damaged in (new.replace(b'"format": 2', b'"format": 1'), old.replace(b'"format": 1', b'"format": 2')):
        with pytest.raises(Exception, match="its moves are not what its sha256 says"):
            History.load(damaged, where="here")
    scene.check()


def test_no_time_of_a_move_decides_anything():
    long_ago, soon = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    moves = History().extended("promote", "a", reason="x", by="").extended("promote", "b", reason="x", by="").moves
    turned = History(moves=tuple(m.model_copy(update={"at": t}) for m, t in zip(moves, (soon, long_ago), strict=True)))
    assert turned.champion.version == "b" and turned.standing() == ["a", "b"]
