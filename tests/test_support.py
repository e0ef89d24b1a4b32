"""The rules of conftest.py, leaks.py and run.py: a checker that never fires is none."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from . import leaks, run
from .servers import Server


def test_a_key_without_ttl_is_a_leak(server: Server) -> None:
    client = server.client()
    client.set("peak:{q}:body:x", "1")
    client.zadd("peak:{q}:leases", {"id": 1})
    client.set("peak:{q}:call:c", "1", px=60_000)
    client.hset("peak:{q}:conf", "schema", "1")
    found = leaks.leaked_keys(client)
    assert found == ["peak:{q}:body:x", "peak:{q}:leases"]
    client.delete("peak:{q}:body:x", "peak:{q}:leases")


@pytest.mark.leaves_keys
def test_marked_tests_may_leave_living_tasks(server: Server) -> None:
    server.client().hset("peak:{q}:tasks", "id", "header")


@pytest.mark.leaves_keys("mine:*")
def test_marked_tests_may_leave_keys_of_their_own(server: Server) -> None:
    server.client().set("mine:1", "x")


def test_changed_settings_do_not_reach_the_next_test(server: Server) -> None:
    assert server.client().config_get("maxmemory-samples")["maxmemory-samples"] == "5"
    server.client().config_set("maxmemory-samples", 7)


def test_the_settings_of_the_test_before_are_gone(server: Server) -> None:
    test_changed_settings_do_not_reach_the_next_test(server)


def test_an_orphan_is_found_and_killed() -> None:
    before = leaks.children()
    sleeper = "import subprocess; subprocess.Popen(['sleep', '60'], start_new_session=True)"
    subprocess.run([sys.executable, "-c", sleeper], check=True)
    left = leaks.leaked_processes(before, timeout=0.1)
    assert list(left.values()) == ["sleep 60"]
    assert not leaks.leaked_processes(before, timeout=2)


async def test_coroutines_run_in_a_loop() -> None:
    await asyncio.sleep(0)
    assert asyncio.get_running_loop().is_running()


def test_a_marker_of_the_user_is_joined_with_ours() -> None:
    (call,), limit_s = run.commands(["-m", "faults", "tests/lua"])
    assert "(faults) and not full" in call
    assert limit_s == run.LIMIT_S["first"]


def test_the_full_tier_selects_everything_and_runs_on_both_servers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/redis-server")
    (first, roles, second, last), limit_s = run.commands(["--full", "-x"])
    assert ("not alone" in second, "alone" in last) == (True, True)
    assert ("-n" in second, "-n" in last) == (True, False)
    assert "not full" not in [*second, *last]
    for served in (first, roles):
        assert {"not full", "--server", "--served", "-x"} <= set(served)
    assert ("--role" in first, "--role" in roles) == (False, True)
    assert "--server" not in second
    assert limit_s == run.LIMIT_S["full"]


def test_a_debugger_gets_a_single_process() -> None:
    (call,), _ = run.commands(["--pdb"])
    assert "-n" not in call


@pytest.mark.parametrize(
    ("codes", "whole"), [((0, 5, 0), 0), ((5, 5), 5), ((0, 3, 5, 2), 3), ((0, 124, 0), 124)]
)
def test_one_call_that_has_nothing_to_do_is_no_failure_and_none_that_has_is(
    codes: tuple[int, ...], whole: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter(codes)
    monkeypatch.setattr(run, "commands", lambda _: ([["x"]] * len(codes), 60))
    monkeypatch.setattr(run, "_run", lambda *_: next(left))
    assert run.main(["--full"]) == whole


@pytest.mark.parametrize(("codes", "whole"), [((1, 0), 0), ((1, 1), 1), ((2,), 2)])
def test_what_failed_in_the_first_tier_runs_once_more(
    codes: tuple[int, ...], whole: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter(codes)
    monkeypatch.setattr(run, "_run", lambda *_: next(left))
    assert (run.main([]), list(left)) == (whole, [])


@pytest.mark.parametrize(("second", "whole"), [(0, 0), (1, 1)])
def test_what_failed_runs_once_more_with_the_same_options_and_alone(
    second: int, whole: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []
    codes = {"--served": (1, second), "last": (0, 0)}

    def run_call(call: list[str], _until: float) -> int:
        ran.append(call)
        return codes[call[0]]["--last-failed" in call]

    monkeypatch.setattr(run, "commands", lambda _: ([["--served"], ["last"]], 60))
    monkeypatch.setattr(run, "_run", run_call)
    assert run.main(["--full"]) == whole
    assert [call[0] for call in ran] == ["--served", "--served", "last"]
    assert ran[1][-2:] == ["-n", "0"]
