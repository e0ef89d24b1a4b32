"""Histories: one event a line, whatever kills the writer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .history import LONGEST, Recorder, read


def test_events_of_all_processes_come_in_order_of_time(tmp_path: Path) -> None:
    one, other = Recorder(tmp_path, "a-1"), Recorder(tmp_path, "b-2")
    for number in range(3):
        one("ping", number=number)
        other("pong", number=number)
    one.close()
    other.close()
    events = read(tmp_path)
    assert [event["e"] for event in events] == ["ping", "pong"] * 3
    assert [event["p"] for event in events[:2]] == ["a-1", "b-2"]


def test_many_rows_go_in_lines_that_are_one_write(tmp_path: Path) -> None:
    record = Recorder(tmp_path, "a-1")
    rows = [["x" * 22, 59_969_719_542_173, 1, 3, "a-route-of-some-length"] for _ in range(64)]
    record.each("claim", "tasks", rows, asked=1)
    with pytest.raises(ValueError, match="expected <= 4096"):
        record("claim", text="x" * LONGEST)
    record.close()
    events = read(tmp_path)
    assert sum(len(event["tasks"]) for event in events) == 64
    assert max(map(len, (tmp_path / "a-1.jsonl").read_bytes().splitlines())) < LONGEST


def test_a_torn_last_line_is_not_an_event(tmp_path: Path) -> None:
    record = Recorder(tmp_path, "a-1")
    record("whole")
    record.close()
    with (tmp_path / "a-1.jsonl").open("ab") as file:
        file.write(b'{"t": 1, "p"')
    assert [event["e"] for event in read(tmp_path)] == ["whole"]


def test_what_was_written_is_there_at_once(tmp_path: Path) -> None:
    record = Recorder(tmp_path, "a-1")
    pid = os.fork()
    if pid == 0:
        record("last words")
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    record.close()
    assert [event["e"] for event in read(tmp_path)] == ["last words"]
