import io
import json
import time

from rich.console import Console

from reprune.cli.console import Watch, clock
from reprune.events import Events, Reader


def shown(events, *, terminal=False):
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100, color_system=None)
    return out, console


def test_each_step_is_a_line_with_what_it_found_and_how_long_it_took(tmp_path):
    path = tmp_path / "events.jsonl"
    out, console = shown(path)
    with Watch(Reader(path), console) as watch:
        events = Events("train", path)
        events.emit("started", run="r1")
        events.emit("progress", text="epoch 1 of 2", fraction=0.5)
        events.emit("finished", summary="98.7% accuracy", seconds=41.0)
    assert "✓ train" in out.getvalue() and "98.7% accuracy" in out.getvalue() and "41.0 s" in out.getvalue()
    assert watch.work_seconds == 41.0 and watch.run_id == "r1" and watch.failure is None


def test_a_failure_is_kept_with_its_message_and_exit_code(tmp_path):
    path = tmp_path / "events.jsonl"
    out, console = shown(path)
    with Watch(Reader(path), console) as watch:
        events = Events("train", path)
        events.emit("started", run="r1")
        events.emit("failed", message="no such thing", remedy="look again", exit_code=2)
    assert "✗ train" in out.getvalue()
    assert watch.failure["message"] == "no such thing" and watch.failure["exit_code"] == 2


def test_on_a_terminal_progress_is_drawn_in_place(tmp_path):
    path = tmp_path / "events.jsonl"
    out, console = shown(path, terminal=True)
    with Watch(Reader(path), console):
        events = Events("prune", path)
        events.emit("started", run="r1")
        events.emit("progress", text="round 3 of about 5", fraction=0.6)
        time.sleep(0.8)
        events.emit("finished", summary="done", seconds=1.0)
    assert "● prune" in out.getvalue() and "round 3 of about 5" in out.getvalue()


def test_a_line_that_is_still_being_written_is_not_read(tmp_path):
    path = tmp_path / "events.jsonl"
    reader = Reader(path)
    whole = json.dumps({"event": "progress"}) + "\n"
    path.write_text(whole + whole[:9])
    assert len(reader.new()) == 1
    path.write_text(whole + whole)
    assert len(reader.new()) == 1
    assert reader.new() == []


def test_clock():
    assert [clock(s) for s in (0, 38.2, 161, 3723)] == ["0:00", "0:38", "2:41", "1:02:03"]
