"""Versions and the champion, on every kind of store."""

import re
import subprocess
import sys
from datetime import timedelta
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reprune.errors import ConflictError, InputError, IntegrityError
from reprune.registry.history import Champion, History
from reprune.registry.registry import Registry, workloads
from reprune.registry.retention import retire
from reprune.storage.uri import open_store


@pytest.fixture
def registry(store):
    return Registry(store, "digits")


@pytest.fixture
def publish(registry, tmp_path):
    def publish(name, lineage=None):
        folder = tmp_path / "publish" / name
        (folder / "bundle").mkdir(parents=True, exist_ok=True)
        (folder / "bundle" / "weights.safetensors").write_text(f"weights of {name}")
        (folder / "report.html").write_text(name)
        return registry.publish(folder, lineage)

    return publish


@pytest.fixture
def promoted(registry, publish):
    """Versions a, b and c, promoted in this order."""
    versions = [publish(name) for name in "abc"]
    for version in versions:
        registry.promote(version.id, reason="good", expected=registry.champion(), by="run 1")
    return versions


def key_of(version, name):
    return f"registry/digits/versions/{version.id}/{name}"


def flip(store, key):
    data = bytearray(store.get(key))
    data[len(data) // 2] ^= 1
    store.put(key, bytes(data))


def test_what_is_published_is_fetched_as_it_was(registry, publish, tmp_path):
    version = publish("a", {"run": "1", "accuracy": 0.987})
    assert [file.path for file in version.files] == ["bundle/weights.safetensors", "report.html"]
    assert registry.version(version.id) == version
    assert registry.versions() == [version]
    assert version.lineage == {"run": "1", "accuracy": 0.987}
    registry.fetch(version, tmp_path / "all")
    assert (tmp_path / "all" / "bundle" / "weights.safetensors").read_text() == "weights of a"
    registry.fetch(version.id[:8], tmp_path / "some", only=["bundle"])
    assert [p.name for p in (tmp_path / "some").rglob("*") if p.is_file()] == ["weights.safetensors"]
    assert registry.read(version, "report.html") == b"a"
    with pytest.raises(InputError, match="has no 'nope'"):
        registry.fetch(version, tmp_path / "none", only=["report.html", "nope"])
    with pytest.raises(InputError, match="has no 'bundle'"):
        registry.read(version, "bundle")
    assert not (tmp_path / "none").exists()


def test_the_identifier_is_the_sha256_of_the_manifest(registry, publish, store):
    version = publish("a", {"z": 1, "a": 2})
    assert sha256(store.get(key_of(version, "manifest.json"))).hexdigest() == version.id


def test_publishing_again_is_the_same_version_whatever_the_order_of_its_lineage(registry, publish):
    first = publish("a", {"x": 1, "y": 2})
    assert publish("a", {"y": 2, "x": 1}).id == first.id
    assert publish("a", {"x": 1, "y": 3}).id != first.id
    assert publish("b", {"x": 1, "y": 2}).id != first.id
    assert len(registry.versions()) == 3


def test_a_publication_cut_short_is_invisible_and_goes_on(registry, publish, store):
    version = publish("a")
    store.delete(key_of(version, "manifest.json"))
    store.delete(key_of(version, "files/report.html"))
    assert registry.versions() == []
    with pytest.raises(InputError, match="There is no version"):
        registry.promote(version.id, reason="good", expected=None)
    assert publish("a") == version
    assert registry.read(version, "report.html") == b"a"


def test_a_file_that_changes_while_it_is_published_is_told_and_makes_no_version(registry, store, tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x").write_text("before")
    upload = store.upload

    def while_somebody_writes(path, key):
        path.write_text("after")
        return upload(path, key)

    monkeypatch.setattr(store, "upload", while_somebody_writes)
    with pytest.raises(IntegrityError, match="x changed while it was being published"):
        registry.publish(tmp_path / "folder")
    assert registry.ids() == []


def test_what_cannot_be_published_is_refused_before_anything_is_written(registry, store, tmp_path):
    with pytest.raises(InputError, match="no folder"):
        registry.publish(tmp_path / "nope")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no files"):
        registry.publish(tmp_path / "empty")
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / ".secret").write_text("x")
    with pytest.raises(InputError, match=r"'\.secret' in .* cannot be published"):
        registry.publish(tmp_path / "hidden")
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "x").write_text("x")
    for lineage in ({"loss": float("nan")}, {"model": object()}):
        with pytest.raises(InputError, match="lineage is no JSON"):
            registry.publish(tmp_path / "good", lineage)
    assert list(store.list()) == []


def test_a_flipped_byte_in_a_file_is_told_and_no_file_is_left(registry, publish, store, tmp_path):
    version = publish("a")
    flip(store, key_of(version, "files/report.html"))
    expected = sha256(b"a").hexdigest()
    for read in (lambda: registry.fetch(version, tmp_path / "out"), lambda: registry.read(version, "report.html")):
        with pytest.raises(IntegrityError, match=rf"report\.html is damaged: its sha256 is .*expected {expected}"):
            read()
    assert not (tmp_path / "out" / "report.html").exists()


def test_a_lost_file_is_told(registry, publish, store, tmp_path):
    version = publish("a")
    store.delete(key_of(version, "files/report.html"))
    for read in (lambda: registry.fetch(version, tmp_path / "out"), lambda: registry.read(version, "report.html")):
        with pytest.raises(IntegrityError, match=r"lacks its file report\.html"):
            read()


def test_a_flipped_byte_in_a_manifest_is_told(registry, publish, store):
    version = publish("a")
    flip(store, key_of(version, "manifest.json"))
    for read in (
        lambda: registry.version(version.id),
        registry.versions,
        lambda: registry.promote(version.id, reason="good", expected=None),
    ):
        with pytest.raises(IntegrityError, match=rf"manifest\.json is damaged: .* expected {version.id}"):
            read()
    assert registry.champion() is None


def test_a_manifest_that_climbs_out_is_refused_even_with_the_right_digest(registry, store, tmp_path):
    climbing = (
        b'{"files":[{"path":"../../evil","sha256":"'
        + b"0" * 64
        + b'","size_bytes":1}],"format":1,"lineage":{},"workload":"x"}'
    )
    version_id = sha256(climbing).hexdigest()
    store.put(f"registry/digits/versions/{version_id}/manifest.json", climbing)
    with pytest.raises(IntegrityError, match="is no name in a store"):
        registry.fetch(version_id, tmp_path)


@pytest.mark.parametrize("reference", ["0" * 64, "0000", "xyz1", "", "../../x", "abc"])
def test_an_unknown_version_is_told(registry, publish, reference):
    publish("a")
    with pytest.raises(InputError, match="There is no version|is no version"):
        registry.version(reference)


def test_an_ambiguous_prefix_is_told_with_its_candidates(registry, store):
    for last in "ab":
        store.put(f"registry/digits/versions/{'0' * 63}{last}/manifest.json", b"{}")
    with pytest.raises(InputError, match="could be 2 versions"):
        registry.version("00000")


@pytest.mark.parametrize("name", ["", "Digits", "-x", "a" * 64, "a/b", "..", "a_b"])
def test_workloads_need_a_name_that_every_store_and_cluster_takes(store, name):
    with pytest.raises(InputError, match="cannot be the name of a workload"):
        Registry(store, name)


def test_promotion_moves_the_champion_and_keeps_the_history(registry, promoted, store):
    champion = registry.champion()
    assert (champion.version, champion.sequence, champion.reason, champion.by) == (promoted[2].id, 3, "good", "run 1")
    assert champion.since.utcoffset().total_seconds() == 0
    assert Champion.model_validate_json(champion.model_dump_json()) == champion
    moves = registry.history()
    assert [(m.action, m.previous, m.version) for m in moves] == [
        ("promote", None, promoted[0].id),
        ("promote", promoted[0].id, promoted[1].id),
        ("promote", promoted[1].id, promoted[2].id),
    ]
    assert workloads(store) == ["digits"]


def test_a_promotion_decided_against_another_champion_loses_and_is_told_who_won(registry, publish):
    a, b, c = (publish(name) for name in "abc")
    registry.promote(a.id, reason="first", expected=None)
    seen = registry.champion()
    registry.promote(b.id, reason="better", expected=seen, by="run 7")
    told = rf"{c.short} did not become champion of digits: .* now is {b.short}, since .* UTC, by run 7 \(better\)"
    for stale in (seen, None):
        with pytest.raises(ConflictError, match=told):
            registry.promote(c.id, reason="good", expected=stale)
    assert registry.champion().version == b.id
    assert len(registry.history()) == 2


def test_promoting_the_champion_again_does_nothing(registry, promoted):
    before = registry.history()
    assert registry.promote(promoted[2].id, reason="again", expected=None) == registry.champion()
    assert registry.history() == before


def test_a_move_needs_a_reason(registry, promoted):
    with pytest.raises(InputError, match="needs a reason"):
        registry.promote(promoted[0].id, reason=" ", expected=registry.champion())
    with pytest.raises(InputError, match="needs a reason"):
        registry.rollback(reason="")


def test_rollbacks_walk_back_and_stop_at_the_first(registry, promoted):
    a, b, c = promoted
    assert registry.rollback(reason="bad").version == b.id
    assert registry.rollback(reason="bad").version == a.id
    with pytest.raises(InputError, match=f"{a.short} is the first champion of digits"):
        registry.rollback(reason="bad")
    assert registry.champion().version == a.id
    assert registry.rollback(to=c.id[:10], reason="it was the data").version == c.id
    assert registry.rollback(reason="no, it was not").version == a.id


def test_after_a_rollback_a_promotion_stands_on_what_was_rolled_back_to(registry, promoted, publish):
    a, b, _ = promoted
    registry.rollback(reason="bad")
    d = publish("d")
    registry.promote(d.id, reason="good", expected=registry.champion())
    assert registry.rollback(reason="bad").version == b.id
    assert registry.rollback(reason="bad").version == a.id


def test_rollback_to_a_named_version_takes_off_what_lies_above_it(registry, promoted):
    a, _, c = promoted
    assert registry.rollback(to=a.id, reason="bad").version == a.id
    with pytest.raises(InputError, match="is the first champion"):
        registry.rollback(reason="bad")
    with pytest.raises(InputError, match=f"{a.short} is the champion of digits already"):
        registry.rollback(to=a.id, reason="bad")


def test_rollback_has_nowhere_to_go_without_a_champion_or_to_what_never_was_one(registry, promoted, publish, store):
    with pytest.raises(InputError, match="other has no champion"):
        Registry(store, "other").rollback(reason="bad")
    never = publish("never")
    with pytest.raises(InputError, match=f"{never.short} of digits was never champion"):
        registry.rollback(to=never.id[:12], reason="bad")
    with pytest.raises(InputError, match="There is no version"):
        registry.rollback(to="0" * 64, reason="bad")


def test_a_champion_that_is_gone_is_told_and_can_be_rolled_back_from_but_not_to(registry, promoted, store):
    a, b, c = promoted
    store.delete(key_of(c, "manifest.json"))
    with pytest.raises(IntegrityError, match=f"champion of digits is version {c.short}, which is gone") as caught:
        registry.champion()
    assert "reprune rollback digits --to" in caught.value.remedy
    assert registry.pointer().version == c.id
    store.delete(key_of(b, "manifest.json"))
    with pytest.raises(IntegrityError, match=f"Version {b.short} of digits, to go back to, is gone"):
        registry.rollback(reason="gone")
    assert registry.rollback(to=a.id, reason="gone").version == a.id
    assert registry.champion().version == a.id


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "list", "format"])
def test_a_damaged_pointer_is_told_and_left_as_it_is(registry, promoted, store, damage):
    key = "registry/digits/champion.json"
    whole = store.get(key)
    damaged = {
        "flip": whole.replace(b'"good"', b'"goof"', 1),
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "list": b"[]",
        "format": whole.replace(b'"format": 1', b'"format": 2'),
    }[damage]
    store.put(key, damaged)
    for use in (registry.champion, registry.history, lambda: registry.rollback(reason="bad")):
        with pytest.raises(IntegrityError, match=re.escape(f"{store.uri}/{key}")):
            use()
    assert store.get(key) == damaged


PROMOTER = """
import sys
from reprune.errors import ConflictError
from reprune.registry.registry import Registry
from reprune.storage.uri import open_store
registry = Registry(open_store(sys.argv[1]), "digits")
seen = registry.champion()
print("ready", flush=True)
for number, version in enumerate(sys.argv[3:]):
    sys.stdin.readline()
    try:
        registry.promote(version, reason="raced", expected=seen, by=sys.argv[2])
        print("won", flush=True)
    except ConflictError as error:
        print("lost", error.message, flush=True)
    sys.stdin.readline()
    seen = registry.champion()
    print("ready", flush=True)
"""


def test_of_promotions_at_once_by_processes_exactly_one_wins_and_each_loser_is_told(registry, publish, store):
    racers, rounds = 6, 4
    versions = [[publish(f"v{racer}-{turn}").id for turn in range(rounds)] for racer in range(racers)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    processes = [
        subprocess.Popen([sys.executable, "-c", PROMOTER, store.uri, f"racer {i}", *own], **pipes)
        for i, own in enumerate(versions)
    ]

    def all_do():
        for process in processes:
            process.stdin.write("go\n")
        return [process.stdout.readline().split(maxsplit=1) for process in processes]

    try:
        assert all(process.stdout.readline() == "ready\n" for process in processes)
        for turn in range(rounds):
            answers = all_do()
            winners = [racer for racer, answer in enumerate(answers) if answer[0] == "won"]
            assert len(winners) == 1, answers
            (winner,) = winners
            assert registry.champion().version == versions[winner][turn]
            for racer, answer in enumerate(answers):
                if racer != winner:
                    assert f"by racer {winner} (raced)" in answer[1]
            all_do()
    finally:
        for process in processes:
            process.stdin.close()
            process.wait(timeout=60)
            process.stdout.close()
    moves = registry.history()
    assert [move.sequence for move in moves] == list(range(1, rounds + 1))
    assert [move.previous for move in moves[1:]] == [move.version for move in moves[:-1]]


MOVES = st.lists(st.one_of(st.just("rollback"), st.sampled_from("abcd")), max_size=30)


@given(MOVES)
@settings(deadline=None)
def test_a_history_stands_as_a_stack_that_promotions_push_and_rollbacks_pop(moves):
    history, stack = History(), []
    for move in moves:
        if move == "rollback":
            if len(stack) < 2:
                continue
            stack.pop()
            history = history.extended("rollback", stack[-1], reason="r", by="")
        elif not stack or stack[-1] != move:
            stack.append(move)
            history = history.extended("promote", move, reason="r", by="")
        assert history.standing() == stack
        assert not stack or history.champion.version == stack[-1]
    assert History.load(history.dump(), where="here") == history if history.moves else True


def test_two_names_for_one_folder_are_one_registry(publish, registry, tmp_path):
    publish("a")
    if registry.store.uri.startswith("s3://"):
        pytest.skip("folders only")
    assert Registry(open_store(f"file://{registry.store.uri}"), "digits").ids() == registry.ids()


def test_a_canary_stands_beside_the_champion_until_it_is_withdrawn_or_the_champion_moves(registry, publish, promoted):
    trial = publish("d")
    before = registry.champion()
    canary = registry.try_out(trial.id, 10, reason="looks good", expected=before, by="eve")
    assert (canary.version, canary.percent, canary.by) == (trial.id, 10, "eve")
    assert registry.canary() == canary and registry.champion() == before
    registry.try_out(trial.id, 50, reason="still good", expected=before)
    assert registry.canary().percent == 50
    assert registry.withdraw(reason="slow").version == trial.id
    assert registry.canary() is None and registry.champion() == before
    registry.try_out(trial.id, 0, reason="in the shadow", expected=before)
    registry.promote(trial.id, reason="good", expected=before)
    assert registry.canary() is None and registry.champion().version == trial.id
    assert [move.action for move in registry.history()][3:] == ["canary", "canary", "withdraw", "canary", "promote"]
    assert registry.rollback(reason="bad").version == promoted[-1].id


def test_a_canary_that_cannot_be(registry, publish, promoted, tmp_path):
    trial, champion = publish("d"), registry.champion()
    for percent in (-1, 100):
        with pytest.raises(InputError, match=f"{percent} %"):
            registry.try_out(trial.id, percent, reason="x", expected=champion)
    with pytest.raises(InputError, match="is the champion"):
        registry.try_out(champion.version, 5, reason="x", expected=champion)
    with pytest.raises(InputError, match="no canary"):
        registry.withdraw(reason="x")
    registry.rollback(reason="bad")
    with pytest.raises(ConflictError, match="somebody else was first"):
        registry.try_out(trial.id, 5, reason="x", expected=champion)
    with pytest.raises(InputError, match="no champion to stand beside"):
        other = Registry(registry.store, "other")
        version = other.publish(registry.fetch(trial, tmp_path / "other"))
        other.try_out(version.id, 5, reason="x", expected=None)


def test_old_versions_are_retired_by_the_rule(registry, publish, store, monkeypatch):
    versions = [publish(name) for name in "abcdefg"]
    ages = {version.id: place for place, version in enumerate(versions)}
    for version in versions[:5]:
        registry.promote(version.id, reason="good", expected=registry.champion())
    champion = registry.champion()
    published = {version.id: champion.since - timedelta(days=10 - ages[version.id]) for version in versions}
    published[versions[6].id] = champion.since + timedelta(days=1)
    monkeypatch.setattr(type(registry), "published", lambda self, version_id: published[version_id])
    registry.try_out(versions[1].id, 10, reason="an old one again", expected=champion)
    gone = retire(registry, keep=2)
    assert sorted(ages[version_id] for version_id in gone) == [0, 2]
    assert sorted(ages[version_id] for version_id in registry.ids()) == [1, 3, 4, 5, 6]
    assert not [key for key in store.list("registry/digits/versions/") if versions[0].id in key]
    assert retire(registry, keep=2) == []
    assert registry.rollback(reason="bad").version == versions[3].id


def test_without_a_champion_nothing_is_retired(registry, publish):
    publish("a")
    assert retire(registry, keep=2) == [] and len(registry.ids()) == 1
