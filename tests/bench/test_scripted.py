"""The driver of scripts alone, and the parts that use it, in small."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.harness.scripted import BATCH, Scripted
from bench.harness.server import Server, embedded_server
from bench.parts import ceiling, growth, profile, scripts


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(embedded_server(), unix=True) as one:
        yield one


def test_a_round_leaves_as_many_waiting_and_every_script_is_timed(server: Server) -> None:
    queue = Scripted(server, "round")
    queue.admit(200)
    queue.log_times()
    scripts._round(queue)
    times = queue.times()
    assert growth._waiting(queue) == 200
    assert len(times["claim"]) == 2
    assert set(scripts.TASKS) <= set(times)
    assert all(micros > 0 for several in times.values() for micros in several)
    queue.close()


def test_lanes_and_full_routes_are_measured(server: Server) -> None:
    for way in (growth.lanes, growth.full_routes):
        found = way(server, [10], 2)
        assert found["10"]["claim"]["calls"] >= 2


def test_late_tasks_are_swept_to_the_end(server: Server) -> None:
    found = growth.sweep(server, 3 * BATCH)
    assert found["calls"] >= 3
    assert found["longest_us"] > 0


def test_bytes_a_task_are_of_what_waits(server: Server) -> None:
    found = growth.memory(server, [128, 640])
    assert 200 < found["640"] < 800


def test_inner_commands_are_counted_by_script(server: Server) -> None:
    found = profile.inner(server, 2, 3)
    assert list(found) == ["admit", "claim", "publish, and the next"]
    for row in found.values():
        assert row["commands"] > 3
        assert row["us"] >= row["commands_us"] > 0


def test_the_client_in_c_makes_round_trips() -> None:
    with ceiling.compiled() as program, Server(embedded_server()) as server:
        if program is None:
            pytest.skip("no C compiler")
        found = ceiling.in_c(program, server, 0.1)
    assert "failed" not in found
    assert all(found[str(level)]["done"] > 0 for level in ceiling.LEVELS)
