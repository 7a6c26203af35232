import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from reprune.config.target import Target, machine
from reprune.errors import IntegrityError
from reprune.inference.latency import profile_store
from reprune.inference.latency.operators import OperatorShape
from reprune.inference.latency.profile_store import complete, key_of, read_profile
from reprune.storage.base import NotFoundError
from reprune.storage.uri import open_store

KEY = key_of(Target())


def planted(shape, in_width, out_width):
    return 1e-6 * (5 + in_width * out_width)


@pytest.fixture
def folder(tmp_path):
    return open_store(tmp_path / "store")


def altered(store, **changes):
    """Alter what the store holds of this machine."""
    store.put_json(KEY, store.get_json(KEY) | changes)


def test_what_the_store_holds_is_used_again_and_counted(machine_of, folder, conv, linear):
    machine_of(planted)
    first = complete(folder, [conv(32, 32)], Target())
    name = "conv 3x3 stride 1x1 padding 1x1 on 8x8"
    assert first.shapes == (name,)
    assert first.reused == {name: 0} and first.measured[name] == len(first.table.points) > 10
    machine_of(lambda *_: pytest.fail("measured again"))
    again = complete(folder, [conv(32, 32)], Target())
    assert (again.reused, again.measured) == (first.measured, {name: 0})
    assert again.table.operators == first.table.operators == read_profile(folder, KEY).operators
    machine_of(planted)
    more = complete(folder, [linear(64, 10, 2)], Target())
    assert set(more.table.operators) == {name, "linear 1 rows"}
    assert set(more.asked.operators) == {"linear 1 rows"}


def test_what_is_known_need_not_be_refined(machine_of, folder, conv):
    machine_of(planted)
    coarse = complete(folder, [conv(128, 128)], Target(), seconds=0.0)
    same = complete(folder, [conv(128, 128)], Target(), refine=False)
    assert sum(coarse.measured.values()) > sum(same.measured.values()) == 0
    assert sum(complete(folder, [conv(128, 128)], Target()).measured.values()) > 0


def test_fresh_measures_again_what_was_asked_for_and_leaves_the_rest(machine_of, folder, conv, linear):
    machine_of(planted, noise=0)
    complete(folder, [conv(32, 32), linear(64, 10, 2)], Target())
    machine_of(lambda *it: 2 * planted(*it), noise=0)
    complete(folder, [conv(32, 32)], Target(), fresh=True)
    table = read_profile(folder, KEY)
    assert table.latency(OperatorShape.of(conv(32, 32), 2), 32, 32) == pytest.approx(2 * planted(None, 32, 32))
    assert table.latency(OperatorShape.of(linear(64, 10, 2), 2), 64, 10) == pytest.approx(planted(None, 64, 10))


def test_another_machines_table_under_this_machines_name_is_never_used(machine_of, folder, conv):
    machine_of(planted, noise=0)
    complete(folder, [conv(32, 32)], Target())
    altered(folder, key="vax-780-cpu-1-thread-batch-1-0123456789ab")
    with pytest.raises(IntegrityError, match="vax-780"):
        read_profile(folder, KEY)
    machine_of(lambda *it: 2 * planted(*it), noise=0)
    found = complete(folder, [conv(32, 32)], Target())
    assert set(found.reused.values()) == {0}
    assert "vax-780" in found.discarded and machine().runtime in found.discarded
    assert read_profile(folder, KEY).latency(OperatorShape.of(conv(32, 32), 2), 32, 32) == pytest.approx(
        2 * planted(None, 32, 32)
    )


def test_another_runtimes_table_is_never_used(machine_of, folder, conv, monkeypatch):
    machine_of(planted)
    older = replace(machine(), runtime="onnxruntime 1.2.3")
    with monkeypatch.context() as patch:
        for module in ("profile_store", "profiler"):
            patch.setattr(f"reprune.inference.latency.{module}.machine", lambda: older)
        before = complete(folder, [conv(32, 32)], Target())
    assert before.key != KEY
    now = complete(folder, [conv(32, 32)], Target())
    assert (now.key, set(now.reused.values())) == (KEY, {0})
    folder.put(KEY, folder.get(before.key))  # even when somebody copies it
    copied = complete(folder, [conv(32, 32)], Target())
    assert "onnxruntime 1.2.3" in copied.discarded and set(copied.reused.values()) == {0}
    renamed = json.loads(folder.get(before.key)) | {"key": KEY.removeprefix("profiles/").removesuffix(".json")}
    folder.put_json(KEY, renamed)  # and renames it inside
    assert "onnxruntime 1.2.3" in complete(folder, [conv(32, 32)], Target()).discarded


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\xfe", b'{"key": 1}'])
def test_a_damaged_table_is_measured_anew_and_read_by_nobody(machine_of, folder, conv, damage):
    machine_of(planted)
    folder.put(KEY, damage)
    with pytest.raises(IntegrityError, match="is damaged"):
        read_profile(folder, KEY)
    found = complete(folder, [conv(16, 16)], Target())
    assert "is damaged" in found.discarded
    assert read_profile(folder, KEY).operators == found.table.operators


def test_a_table_that_is_not_there_is_not_found(folder):
    with pytest.raises(NotFoundError):
        read_profile(folder, KEY)


def test_many_at_once_lose_nothing(machine_of, store, conv):
    machine_of(planted)
    sizes = [4, 8, 12, 16, 20, 24]
    with ThreadPoolExecutor(len(sizes)) as threads:
        found = list(
            threads.map(lambda size: complete(store, [conv(32, 32, size=size), conv(size, 64)], Target()), sizes)
        )
    table = read_profile(store, KEY)
    for each in found:
        for name in each.shapes:
            measured = {(i, o) for i, o, _ in each.asked.operators[name].points}
            assert measured <= {(i, o) for i, o, _ in table.operators[name].points}
    assert len(table.operators) == len(sizes)  # on 8x8 both of one


def test_a_table_does_not_grow_without_end_and_forgets_what_was_used_longest_ago(machine_of, folder, conv, monkeypatch):
    machine_of(planted)
    monkeypatch.setattr(profile_store, "MOST_POINTS", 200)
    for size in (4, 6, 10, 4, 12, 14):
        last = complete(folder, [conv(32, 32, size=size)], Target())
        assert len(last.table.points) <= 200
        assert set(last.shapes) <= set(last.table.operators)
    kept = [name.partition(" on ")[2] for name in read_profile(folder, KEY).operators]
    assert kept[-3:] == ["4x4", "12x12", "14x14"] and "6x6" not in kept


def test_one_operator_does_not_grow_without_end_and_still_answers(machine_of, folder, linear, monkeypatch):
    machine_of(planted, noise=0)
    monkeypatch.setattr(profile_store, "MOST_OPERATOR_POINTS", 400)
    for width in range(70, 130, 7):
        found = complete(folder, [linear(width, width, 2)], Target())
        (operator,) = found.table.operators.values()
        shape = OperatorShape.of(linear(width, width, 2), 2)
        assert found.table.latency(shape, width, width) == pytest.approx(planted(None, width, width))
        assert found.table.latency(shape, width // 2, width // 2) == pytest.approx(
            planted(None, width // 2, width // 2), rel=0.4
        )
    assert len(operator.points) <= 400 + max(found.measured.values())
